"""The exercises of ``playgrounds/mazes``: the mistakes that readers make do not pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rlcourse.labs.mazes  # noqa: F401  (registers the checks)
from rlcourse.labs import verdict

# --- mistakes that readers make ---------------------------------------------------------------------


def looks_one_move_ahead(onward: Any, goal: Any) -> Any:
    return np.asarray(onward) == goal


def stops_too_early(onward: Any, goal: Any) -> Any:
    onward = np.array(onward)
    onward[goal] = goal
    place = onward[onward]
    return place == goal


def leaves_the_goal(onward: Any, goal: Any) -> Any:
    onward, place = np.array(onward), np.arange(len(onward))
    for _ in onward:
        place = onward[place]
    return place == goal


def compares_texts(train: Any, test: Any) -> Any:
    return sum(text in set(train) for text in test)


def wipes_the_goal_alone(train: Any, test: Any) -> Any:
    bare = lambda text: text.replace("G", ".")  # noqa: E731
    return sum(bare(text) in set(map(bare, train)) for text in test)


def counts_kinds_of_walls(train: Any, test: Any) -> Any:
    bare = lambda text: text.replace("S", ".").replace("G", ".")  # noqa: E731
    return len(set(map(bare, train)) & set(map(bare, test)))


def forgets_the_lines(train: Any, test: Any) -> Any:
    bare = lambda text: text.replace("S", ".").replace("G", ".").replace("\n", "")  # noqa: E731
    return sum(bare(text) in set(map(bare, train)) for text in test)


def neighbours(x: Any) -> Any:
    x = np.pad(x, 1)
    return np.array([x[1:-1, :-2], x[2:, 1:-1], x[1:-1, 2:], x[:-2, 1:-1]])


def is_not_thrown_back(v: Any, r: Any, p: Any, o: Any) -> Any:
    return neighbours(o * (r + p * v)).max(axis=0)


def falls_off_a_wall(v: Any, r: Any, p: Any, o: Any) -> Any:
    """Thrown back at the border alone."""
    u, inside = r + p * v, neighbours(np.ones_like(o))
    return (neighbours(o * u) + (1 - inside) * u).max(axis=0)


def pays_for_leaving(v: Any, r: Any, p: Any, o: Any) -> Any:
    return (r + neighbours(o * p * v) + (1 - neighbours(o)) * p * v).max(axis=0)


def forgets_up_and_down(v: Any, r: Any, p: Any, o: Any) -> Any:
    u = r + p * v
    return (neighbours(o * u) + (1 - neighbours(o)) * u)[[0, 2]].max(axis=0)


def averages(v: Any, r: Any, p: Any, o: Any) -> Any:
    u = r + p * v
    return (neighbours(o * u) + (1 - neighbours(o)) * u).mean(axis=0)


def accuses_all(module: Any) -> bool:
    return True


def accuses_nobody(module: Any) -> bool:
    return False


def compares_whole_texts(module: Any) -> bool:
    train, test = (set(module.mazes(20, 0, split=s, rooms=3)) for s in ("train", "test"))
    return bool(train & test)


@pytest.mark.parametrize(
    ("name", "mistake", "words"),
    [
        ("by-hand", [0.0625, 4, 80, 0], "the exponent"),
        ("by-hand", [0.125, 3, 80, 0], "the sweep"),
        ("by-hand", [0.125, 4, 40, 0], "there and back"),
        ("by-hand", [0.125, 4, 80, 1], "always right"),
        ("by-hand", "four", "4 numbers"),
        ("fates", looks_one_move_ahead, "a row that leads to the goal"),
        ("fates", stops_too_early, "furthest away"),
        ("fates", leaves_the_goal, "who has arrived has arrived"),
        ("leak", compares_texts, "start and goal elsewhere"),
        ("leak", wipes_the_goal_alone, "start and goal elsewhere"),
        ("leak", counts_kinds_of_walls, "start and goal elsewhere"),
        ("leak", forgets_the_lines, "lying down"),
        ("sweep", is_not_thrown_back, "the r of the cell"),
        ("sweep", pays_for_leaving, "what arriving pays"),
        ("sweep", falls_off_a_wall, "thrown back"),
        ("sweep", forgets_up_and_down, "walls on all sides"),
        ("sweep", averages, "what arriving pays"),
        ("hunt", accuses_all, "accused a sound one"),
        ("hunt", accuses_nobody, "let the bug pass"),
        ("hunt", compares_whole_texts, "let the bug pass"),
        ("hunt", 1, "expected a function"),
    ],
)
def test_wrong_answers_do_not_pass(name: str, mistake: Any, words: str) -> None:
    found = verdict(f"mazes/{name}", mistake)
    assert found.passed is False
    assert words in found.message
