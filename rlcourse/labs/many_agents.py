"""Checks of the exercises of the chapter ``playgrounds/many_agents``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rlcourse.algorithms import self_play
from rlcourse.algorithms.matrix_games import ROCK_PAPER_SCISSORS, exploitability
from rlcourse.envs import many
from rlcourse.labs import (
    NotRightError,
    call,
    exercise,
    expect_by_hand,
    expect_call,
    expect_close,
    expect_detector,
)
from rlcourse.mdp import Board
from rlcourse.mutants import hunt

__all__ = ["TurnGame"]


class TurnGame:
    """A game in which agents take turns, by PettingZoo's AEC rules and without PettingZoo.

    Whoever moves may have everybody paid: ``pay[turn][agent]``. After the last turn the episode is over, and each
    agent gets one more, in which it is told what is still due and does nothing.

    >>> game = TurnGame(["a", "b"], [{"a": 1.0, "b": 1.0}, {"a": 0.0, "b": 5.0}])
    >>> many.aec_returns(game, lambda obs: np.zeros(1), seed=0)
    {'a': 1.0, 'b': 6.0}
    """

    def __init__(self, agents: list[str], pay: list[dict[str, float]]) -> None:
        self.possible_agents, self.pay = list(agents), pay

    def reset(self, seed: int | None = None) -> None:
        """Nothing is random here."""
        self.agents, self.turn = list(self.possible_agents), 0
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._due = dict.fromkeys(self.agents, 0.0)

    @property
    def agent_selection(self) -> str:
        """Whose turn it is."""
        return self.possible_agents[self.turn % len(self.possible_agents)]

    def agent_iter(self) -> Iterator[str]:
        """The agents, turn by turn, until all have been told that it is over."""
        while self.agents:
            yield self.agent_selection

    def last(self) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """What the agent whose turn it is sees, and all that it has been paid since its last turn."""
        over = self.turn >= len(self.pay)
        return np.zeros(1), self._due[self.agent_selection], over, False, {}

    def step(self, action: int | None) -> None:
        """Its move; ``None`` when it is over."""
        mover = self.agent_selection
        self._due[mover] = 0.0
        if self.turn >= len(self.pay):
            self.agents.remove(mover)
            self.rewards = dict.fromkeys(self.agents, 0.0)
        else:
            self.rewards = {name: float(self.pay[self.turn][name]) for name in self.agents}
            for name, reward in self.rewards.items():
                self._due[name] += reward
        self.turn += 1


@exercise("many_agents/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: the three actions' values in the climbing game, and the partner's share at the flip."""
    look = "the row of the table, weighted by what the partner does"
    expect_by_hand(
        answer,
        (
            (-2.0, "the first action", look),
            (-11.75, "the second action", look),
            (1.25, "the third action", look),
            (
                30 / 41,
                "the share",
                "the first and the third row of the table, against such a partner",
            ),
        ),
        tolerance=1e-3,
    )
    return "right: the best pair is worth wanting only with a partner who is there three times in four, nearly."


@exercise("many_agents/told")
def _told(answer: Any) -> str:
    """``answer(order, paid)``: what the mover of each turn is told before it moves."""
    cases: tuple[tuple[list[str], list[dict[str, float]], list[float], str], ...] = (
        (["a"], [{"a": 1.0}], [0.0], "when: a turn is told what was paid before it, not in it"),
        (["a", "b"], [{"a": 1.0, "b": 2.0}, {"a": 0.0, "b": 0.0}], [0.0, 2.0],
         "those who wait: they are paid too"),
        (["a", "b", "a"], [{"a": 1.0, "b": 0.0}, {"a": 3.0, "b": 0.0}, {"a": 0.0, "b": 0.0}],
         [0.0, 0.0, 4.0], "everything since its last turn, its own move's pay included"),
        (["a", "a", "a"], [{"a": 1.0}, {"a": 2.0}, {"a": 4.0}], [0.0, 1.0, 2.0],
         "what has been told already: it must not be told again"),
    )  # fmt: skip
    for order, paid, expected, look in cases:
        expect_call(answer, (order, paid), expected, look=look)
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = [str(name) for name in rng.choice(["a", "b", "c"], size=12)]
        paid = [{name: float(rng.integers(5)) for name in "abc"} for _ in order]
        expected, told = [], dict.fromkeys("abc", 0)
        for turn, name in enumerate(order):
            expected.append(sum(pay[name] for pay in paid[told[name] : turn]))
            told[name] = turn
        expect_close(
            call(answer, (order, paid)), expected, what="a longer game", look="who is told what"
        )
    return "right: added up over the turns, everybody gets everything once."


@exercise("many_agents/target")
def _target(answer: Any) -> str:
    """``answer(following, row)``: what a move is worth that leads to ``following``."""
    won: Board = (-1, -1, -1, 1, 1, 0, 0, 0, 0)
    full: Board = (-1, 1, -1, -1, 1, 1, 1, -1, -1)
    open_: Board = (0, 0, 0, 0, -1, 0, 0, 0, 0)
    expect_call(answer, (won, None), 1.0, look="whose marks the -1 are: the mover has just won")
    expect_call(answer, (full, None), 0.0, look="a full board that nobody has won")
    expect_call(answer, (open_, {0: 0.5, 1: -1.0}), -0.5,
                look="the other side: it takes its best, and what is good for it is bad for you")  # fmt: skip
    for board in sorted(self_play.positions()):
        moved = sum(map(abs, board))
        seen: Board = tuple(mark * (-1) ** moved for mark in board)
        if moved and self_play.outcome(seen) is None:
            row = {
                c: -self_play.minimax(self_play.after(seen, c)) for c in range(9) if seen[c] == 0
            }
            right = -self_play.minimax(seen)
            expect_close(
                call(answer, (seen, row)), right, what=f"the board {seen}", look="the maximum"
            )
    result = self_play.train(self_play.Config(games=2_000), target=answer)
    return f"right on every position, and it has played 2,000 games and knows {len(result.table):,} boards."


@exercise("many_agents/gap")
def _gap(answer: Any) -> str:
    """``answer(game, x, y)``: what best answers to a pair of policies win of them together."""
    third = np.full(3, 1 / 3)
    look = "the first player's best action against y, less the second one's best against x"
    expect_call(answer, (ROCK_PAPER_SCISSORS, third, third), 0.0, look=look)
    expect_call(answer, (ROCK_PAPER_SCISSORS, np.eye(3)[0], third), 1.0, look=look)
    rng = np.random.default_rng(0)
    for _ in range(20):
        game = rng.normal(size=(3, 4))
        x, y = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4))
        pure = max(game[a] @ y for a in range(3)) - min(x @ game[:, b] for b in range(4))
        expect_close(call(answer, (game, x, y)), pure, what="a random game", look=look)
        assert abs(exploitability(game, x, y) - pure) < 1e-9
    return "right: it is never negative, and zero means that nobody regrets anything."


@exercise("many_agents/symmetry")
def _symmetry(answer: Any) -> str:
    """``answer(board)``: the same board for all eight that are turned or mirrored into one another."""
    rng = np.random.default_rng(0)
    boards = sorted(self_play.positions())
    for index in rng.choice(len(boards), size=200, replace=False):
        board = boards[index]
        first = call(answer, (board,))
        square = np.array(board).reshape(3, 3)
        for k in range(8):
            other = np.rot90(square[:, ::-1] if k >= 4 else square, k % 4)
            twin = tuple(int(mark) for mark in other.ravel())
            if tuple(np.ravel(call(answer, (twin,)))) != tuple(np.ravel(first)):
                raise NotRightError(
                    f"{board} and {twin} are one board, seen from another side, and got two answers."
                )
    number = len({tuple(np.ravel(call(answer, (board,))).tolist()) for board in boards})
    if number != 765:
        raise NotRightError(
            f"your function makes {number} boards of 5,478; up to symmetry there are 765. Does it mix boards "
            "that are not one another's images?"
        )
    return "right: 765 boards, seven times less to learn."


@exercise("many_agents/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: True only for the module whose turn loop pays twice."""
    expect_detector(
        answer,
        buggy=hunt("aec-paid-twice"),
        sound=many,
        other=hunt("spread-clock-is-an-end"),
        but="that one takes the clock for an end, and its turns are paid right",
    )
    return "right: it accuses the one and nobody else."
