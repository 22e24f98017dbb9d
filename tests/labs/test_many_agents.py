"""The exercises of ``playgrounds/many_agents``: the mistakes that readers make do not pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rlcourse.labs.many_agents  # noqa: F401  (registers the checks)
from rlcourse.algorithms.self_play import outcome
from rlcourse.labs import verdict


def never_empties(order: Any, paid: Any) -> Any:
    account, said = dict.fromkeys(order, 0.0), []
    for mover, pay in zip(order, paid, strict=True):
        said.append(account[mover])
        for agent in account:
            account[agent] += pay.get(agent, 0.0)
    return said


def pays_first(order: Any, paid: Any) -> Any:
    account, said = dict.fromkeys(order, 0.0), []
    for mover, pay in zip(order, paid, strict=True):
        for agent in account:
            account[agent] += pay.get(agent, 0.0)
        said.append(account[mover])
        account[mover] = 0.0
    return said


def forgets_own_move(order: Any, paid: Any) -> Any:
    account, said = dict.fromkeys(order, 0.0), []
    for mover, pay in zip(order, paid, strict=True):
        said.append(account[mover])
        for agent in account:
            account[agent] += pay.get(agent, 0.0)
        account[mover] = 0.0
    return said


def last_pay_only(order: Any, paid: Any) -> Any:
    return [0.0, *(pay.get(name, 0.0) for pay, name in zip(paid, order[1:], strict=False))][
        : len(order)
    ]


def friendly(following: Any, row: Any) -> Any:
    return max(row.values()) if row is not None else -outcome(following)  # type: ignore[operator]


def always_wins(following: Any, row: Any) -> Any:
    return -max(row.values()) if row is not None else 1.0


def loses_by_winning(following: Any, row: Any) -> Any:
    return -max(row.values()) if row is not None else outcome(following)


def hopes(following: Any, row: Any) -> Any:
    if row is None:
        return -outcome(following)  # type: ignore[operator]
    return -min(row.values())


def one_side(game: Any, x: Any, y: Any) -> Any:
    return (game @ y).max() - x @ game @ y


def wrong_best(game: Any, x: Any, y: Any) -> Any:
    return (game @ y).max() - (x @ game).max()


def turned_only(board: Any) -> Any:
    square = np.array(board).reshape(3, 3)
    return min(tuple(int(m) for m in np.rot90(square, k).ravel()) for k in range(4))


def counts_marks(board: Any) -> Any:
    return tuple(sorted(board))


def accuses_all(module: Any) -> bool:
    return True


def accuses_nobody(module: Any) -> bool:
    return False


def looks_at_the_clock(module: Any) -> bool:
    world = module.Spread(copies=1, max_cycles=1)
    world.reset(0)
    return bool(world.step([0, 0, 0]).terminated.any())


@pytest.mark.parametrize(
    ("name", "mistake", "words"),
    [
        ("by-hand", [-2.0, -11.75, 1.25, 5 / 16], "the share"),
        ("by-hand", [-2.0, -11.75, 5 / 3, 30 / 41], "the third action"),
        ("by-hand", [1, 2, 3], "4 numbers"),
        ("told", never_empties, "must not be told again"),
        ("told", pays_first, "what was paid before it"),
        ("told", forgets_own_move, "its own move's pay"),
        ("told", last_pay_only, "everything since its last turn"),
        ("told", 3, "expected a function"),
        ("target", friendly, "the other side"),
        ("target", always_wins, "a full board that nobody has won"),
        ("target", loses_by_winning, "the mover has just won"),
        ("target", hopes, "the other side"),
        ("gap", one_side, "the second one's best against x"),
        ("gap", wrong_best, "the first player's best action"),
        ("symmetry", turned_only, "seen from another side"),
        ("symmetry", counts_marks, "there are 765"),
        ("symmetry", lambda board: board, "seen from another side"),
        ("hunt", accuses_all, "accused a sound one"),
        ("hunt", accuses_nobody, "let the bug pass"),
        ("hunt", looks_at_the_clock, "let the bug pass"),
        ("hunt", 1, "expected a function"),
    ],
)
def test_wrong_answers_do_not_pass(name: str, mistake: Any, words: str) -> None:
    found = verdict(f"many_agents/{name}", mistake)
    assert found.passed is False
    assert words in found.message


def test_a_detector_of_any_difference_accuses_the_other_bug_too() -> None:
    found = verdict("many_agents/hunt", lambda module: module.__name__ != "rlcourse.envs.many")
    assert found.passed is False and "takes the clock for an end" in found.message
