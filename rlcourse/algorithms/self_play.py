r"""Self-play: one table learns tic-tac-toe by playing both sides, with nobody to teach it.

Papers: Shannon 1950 (minimax), Littman 1994 (minimax-Q; where players take turns its matrix game is a maximum),
Samuel 1959 (self-play). A board is written as its mover sees it: own marks 1, the other's -1. What is good for
the next mover is bad for the last, so that with :math:`b'` the board as the *opponent* sees it

.. math:: v(b) = \max_a \begin{cases} 1 & a \text{ wins} \\ 0 & a \text{ fills the board} \\
          -v(b') & \text{otherwise} \end{cases}

and a learner moves :math:`Q(b, a)` towards the same line with :math:`\max_a Q` in place of :math:`v`.

Deviation: no discount, so that a win is a win however late.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from rlcourse.errors import check_finite, check_fraction, check_positive
from rlcourse.mdp import Board, board_winner
from rlcourse.seeding import streams

__all__ = [
    "Config",
    "Result",
    "Verdict",
    "after",
    "judge",
    "minimax",
    "negamax_target",
    "outcome",
    "positions",
    "train",
]

EMPTY: Board = (0,) * 9
Row = dict[int, float]  # a value for each free cell
Moves = Callable[[Board], Iterable[int]]  # a board as its mover sees it -> the moves it may make


@dataclass(frozen=True)
class Config:
    """What a run is made of."""

    games: int = 40_000  # of self-play
    alpha: float = 1.0  # step size; the game has no chance in it, so a whole step is right
    epsilon: float = 0.5  # chance of a random move, of either side
    initial: float = 0.0  # first value of every entry

    def __post_init__(self) -> None:
        check_positive("games", self.games)
        check_fraction("alpha", self.alpha)
        check_fraction("epsilon", self.epsilon)
        check_finite("initial", self.initial)


@dataclass(frozen=True)
class Result:
    """What self-play has learned: its table, a row for each board it has met, and how games ended."""

    table: dict[Board, Row]
    log: list[dict[str, float]]  # a row a game: the number of moves and the first mover's outcome
    config: Config
    seed: int

    def best(self, board: Board) -> list[int]:
        """All moves that are equally best; on a board never met, every free cell."""
        row = self.table.get(board) or dict.fromkeys(_free(board), 0.0)
        top = max(row.values())
        return [cell for cell, value in row.items() if value == top]


# --- the game --------------------------------------------------------------------------------------


def _free(board: Board) -> list[int]:
    return [cell for cell in range(9) if board[cell] == 0]


def after(board: Board, cell: int) -> Board:
    """The board after a move, as the *other* player sees it.

    >>> after((0, 0, 0, 0, 0, 0, 0, 0, -1), 4)
    (0, 0, 0, 0, -1, 0, 0, 0, 1)
    """
    return tuple(-1 if place == cell else -mark for place, mark in enumerate(board))


def outcome(board: Board) -> float | None:
    """Of a board whose mover's opponent has moved: -1 where that one has won, 0 for a draw, None: it goes on."""
    if board_winner(board) == -1:
        return -1.0
    return None if 0 in board else 0.0


@cache
def minimax(board: Board = EMPTY) -> float:
    """The value of a board for its mover when both play perfectly.

    >>> minimax(), minimax((1, 1, 0, -1, -1, 0, 0, 0, 0))
    (0.0, 1.0)
    """
    known = outcome(board)
    if known is None:
        known = max(-minimax(after(board, cell)) for cell in _free(board))
    return known + 0.0  # no minus zero


@cache
def positions() -> frozenset[Board]:
    """Every position that play can reach, ends included, with X as 1 and O as -1.

    >>> len(positions())
    5478
    """
    found: set[Board] = set()
    stack = [EMPTY]
    while stack:
        board = stack.pop()  # as its mover sees it; X moves when marks are even
        moved = sum(map(abs, board))
        absolute = tuple(mark * (-1) ** moved for mark in board)
        if absolute not in found:
            found.add(absolute)
            if outcome(board) is None:
                stack.extend(after(board, cell) for cell in _free(board))
    return frozenset(found)


@dataclass(frozen=True)
class Verdict:
    """What a player can meet in the whole tree: boards on which it moves, and boards on which it is over."""

    decisions: int
    wins: int
    draws: int
    losses: int


def judge(moves: Moves, sides: Iterable[int] = (1, -1)) -> Verdict:
    """Let a player meet *every* reply, as first mover (1), as second (-1), or both: no sampling.

    Where it would choose among several moves by chance, all of them are followed. Boards count once a side.

    >>> judge(lambda board: [board.index(0)]).losses > 0
    True
    """
    decisions = wins = draws = losses = 0
    for side in sides:
        seen: set[Board] = set()
        stack = [EMPTY]
        while stack:
            board = stack.pop()
            if board in seen:
                continue
            seen.add(board)
            own = (sum(map(abs, board)) % 2 == 0) == (side == 1)  # its turn
            known = outcome(board)
            if known is not None:
                draws += known == 0
                losses += known == -1 and own  # it would have to move, and has lost
                wins += known == -1 and not own
                continue
            decisions += own
            stack.extend(after(board, cell) for cell in (moves(board) if own else _free(board)))
    return Verdict(decisions, wins, draws, losses)


# --- the target ------------------------------------------------------------------------------------


def negamax_target(following: Board, row: Row | None) -> float:
    """What a move is worth: the negative of what the other side can make of the board it leads to.

    ``row`` holds the values of the other side's moves, or None where the game is over.
    """
    known = outcome(following)
    if known is not None:
        return -known
    assert row is not None
    return -max(row.values())


# --- the loop --------------------------------------------------------------------------------------


def train(
    config: Config | None = None,
    seed: int = 0,
    *,
    target: Callable[[Board, Row | None], float] = negamax_target,
    on_game: Callable[[int, Result], bool | None] | None = None,
) -> Result:
    """Play against oneself and learn from both sides; hand in your own target and it plays by that.

    ``on_game`` is called after every game with its number and what has been learned; True stops the run.

    >>> result = train(Config(games=50))
    >>> len(result.log), result.table[EMPTY].keys() == set(range(9))
    (50, True)
    """
    config = config or Config()
    rng = random.Random(int(streams(seed).exploration.integers(2**63)))
    result = Result({}, [], config, seed)
    table = result.table

    def row_of(board: Board) -> Row:
        if board not in table:
            table[board] = dict.fromkeys(_free(board), config.initial)
        return table[board]

    for game in range(1, config.games + 1):
        board, known, moves = EMPTY, None, 0
        while known is None:
            row = row_of(board)
            anything = rng.random() < config.epsilon
            cell = rng.choice(list(row) if anything else result.best(board))
            following = after(board, cell)
            known = outcome(following)
            aim = target(following, row_of(following) if known is None else None)
            row[cell] += config.alpha * (aim - row[cell])
            board, moves = following, moves + 1
        first = known if moves % 2 == 0 else -known
        result.log.append({"length": float(moves), "outcome": first + 0.0})
        if on_game and on_game(game, result):
            break
    return result
