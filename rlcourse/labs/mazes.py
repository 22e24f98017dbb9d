"""Checks of the exercises of the chapter ``playgrounds/mazes``."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from rlcourse.algorithms.dynamic_programming import value_iteration
from rlcourse.envs import mazes as package
from rlcourse.envs.mazes import follow, maze, moves
from rlcourse.labs import (
    call,
    exercise,
    expect_by_hand,
    expect_call,
    expect_close,
    expect_detector,
)
from rlcourse.mdp import grid, parse_map
from rlcourse.mutants import hunt


@exercise("mazes/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: four numbers about the chapter's small corridors."""
    expect_by_hand(
        answer,
        (
            (
                0.125,
                "the value of the start",
                "the exponent: the last of four moves is paid in full",
            ),
            (4.0, "the sweep", "how far the news has come after the first one"),
            (80.0, "there and back", "equation eq-mazes-commute: five cells, and the way between"),
            (0.0, "always right", "where a policy stands that runs into a wall"),
        ),
    )
    return "right: four moves, four sweeps, eighty steps of luck."


@exercise("mazes/fates")
def _fates(answer: Any) -> str:
    """``answer(onward, goal)``: from which cells a policy comes to the goal."""
    for onward, goal, expected, look in (
        ([1, 2, 2], 2, [1, 1, 1], "a row that leads to the goal"),
        ([1, 0, 2], 2, [0, 0, 1], "two cells that send one to and fro"),
        (
            [1, 2, 0],
            2,
            [1, 1, 1],
            "a goal from which the table leads away: who has arrived has arrived",
        ),
        ([0, 0, 1, 2, 3], 0, [1, 1, 1, 1, 1], "the cell that is furthest away"),
    ):
        expect_call(answer, (onward, goal), expected, look=look)
    rng = np.random.default_rng(0)
    for seed in range(10):
        text = maze(3, seed)
        chosen = rng.integers(4, size=25)
        goal = "".join(text.split()).index("G")
        to = moves(text)[np.arange(25), chosen]
        look = "whether every cell is followed to the end"
        arrived = follow(text, chosen) >= 0
        expect_close(call(answer, (to, goal)), arrived, what="a random policy", look=look)
    return "right: there is no third fate."


@exercise("mazes/leak")
def _leak(answer: Any) -> str:
    """``answer(train, test)``: test mazes whose walls occur among the training mazes."""
    for train, test, expected, look in (
        (["S.G"], ["S.G"], 1, "the very same maze"),
        (["S.G"], ["G.S", ".SG"], 2, "the same walls with start and goal elsewhere"),
        (["S.G", "S#.G"], ["S#G", "SG."], 1, "mazes of which only one has been seen"),
        (["S.G"], ["S\n.\nG"], 0, "the lines of a maze: lying down it is another one"),
    ):
        expect_call(answer, (train, test), expected, look=look)
    train, test = ([maze(3, seed) for seed in range(a, a + 150)] for a in (0, 150))
    walls = {(parse_map(text) == "#").tobytes() for text in train}
    expected = sum((parse_map(text) == "#").tobytes() in walls for text in test)
    look = "whether test mazes are counted, each of them once"
    expect_close(call(answer, (train, test)), expected, what="150 mazes and 150 more", look=look)
    return "right: seeds that differ are no promise."


@exercise("mazes/sweep")
def _sweep(answer: Any) -> str:
    """``answer(v, r, p, o)``: one sweep of the planner with exact moves."""
    one = np.ones((1, 3))
    expect_call(
        answer,
        (0 * one, np.array([[1.0, 0.0, 2.0]]), 0.5 * one, one),
        [[1.0, 2.0, 2.0]],
        look="what arriving pays: the r of the cell that one comes to",
    )
    shut = np.array([[1.0, 0.0, 1.0]])
    expect_call(
        answer,
        (np.array([[4.0, 0.0, 8.0]]), 0 * one, 0.5 * one, shut),
        [[2.0, 4.0, 4.0]],
        look="a move that is thrown back, at a closed cell and at the border",
    )
    cross = np.zeros((3, 3))
    cross[1, 1] = 1.0
    expect_call(
        answer,
        (4 * cross, 0 * cross, 0.5 + 0 * cross, cross),
        [[0.0, 2.0, 0.0], [2.0, 2.0, 2.0], [0.0, 2.0, 0.0]],
        look="a move that is thrown back, in a cell with walls on all sides",
    )
    for seed in range(5):
        text = maze(3, seed)
        world, cells = grid(text), parse_map(text)
        r, o = (cells == "G") * 1.0, (cells != "#") * 1.0
        p = 0.9 * o * (cells != "G")
        sweeps = [
            step.values.reshape(cells.shape) for step in islice(value_iteration(world, 0.9), 8)
        ]
        for before, after in zip([np.zeros(cells.shape), *sweeps], sweeps, strict=False):
            got = np.asarray(call(answer, (before, r, p, o)), dtype=np.float64)
            inside = o * (cells != "G")
            shown = got * inside if got.shape == cells.shape else got
            expect_close(shown, after * inside, what="a maze", look="up and down, and the maximum")
    return "right: a convolution, a maximum, and that is value iteration."


@exercise("mazes/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: True only for the module whose split looks at start and goal."""
    expect_detector(
        answer,
        buggy=hunt("split-by-the-text"),
        sound=package,
        other=hunt("walker-starts-over-in-the-row"),
        but="that one tells its walkers a wrong successor, and splits as it should",
    )
    return "right: it accuses the one and nobody else."
