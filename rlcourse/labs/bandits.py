"""Checks of the exercises of the chapter ``projects/bandits``."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from rlcourse.algorithms import bandits
from rlcourse.labs import (
    call,
    exercise,
    expect_by_hand,
    expect_call,
    expect_close,
    expect_detector,
)
from rlcourse.mutants import hunt


@exercise("bandits/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: posterior means and UCB1 indices of two films after ten evenings."""
    expect_by_hand(
        answer,
        (
            (2 / 3, "the posterior mean of A", "the two prior pulls, one of them a success"),
            (7 / 11, "the posterior mean of B", "the two prior pulls, one of them a success"),
            (1 + np.sqrt(2 * np.log(10)), "UCB1 of A", "whose pulls the logarithm counts"),
            (2 / 3 + np.sqrt(2 * np.log(10) / 9), "UCB1 of B", "whose pulls stand below the line"),
        ),
        tolerance=5e-3,
    )
    return "right: one success of one is little evidence and much hope."


@exercise("bandits/index")
def _index(answer: Any) -> str:
    """``answer(counts, sums, width)``: the UCB1 index of every arm."""
    for counts, sums, width, look in (
        ([4.0, 6.0], [3.0, 3.0], 2**0.5, "the mean: what was paid, by how often"),
        ([10.0, 10.0, 80.0], [5.0, 9.0, 40.0], 1.0, "the width: it multiplies the square root"),
        ([1.0, 999.0], [0.0, 999.0], 2**0.5, "the logarithm: of all pulls together"),
        ([0.0, 3.0], [0.0, 2.0], 2**0.5, "an arm that was never pulled: infinite hope"),
        ([1.0, 0.0], [1.0, 0.0], 0.0, "an arm that was never pulled, where the width is zero"),
    ):
        n, total = np.array(counts), sum(counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            right = np.array(sums) / n + width * np.sqrt(np.log(total) / n)
        expected = np.where(n > 0, right, np.inf)
        expect_call(answer, (n, np.array(sums), width), expected, look=look)
    return "right: a mean, and the hope that is left beside it."


@exercise("bandits/constant")
def _constant(answer: Any) -> str:
    """``answer(means)``: the constant of Lai and Robbins."""
    for means, look in (
        ([0.5, 0.75], "the order in the divergence: the worse arm comes first"),
        ([0.9, 0.6, 0.3], "the sum: one term for each worse arm"),
        ([0.2, 0.7, 0.7, 0.4], "arms that are as good as the best: they cost nothing"),
    ):
        best = max(means)
        right = 0.0
        for p in (mean for mean in means if mean < best):
            right += (best - p) / (p * np.log(p / best) + (1 - p) * np.log((1 - p) / (1 - best)))
        expect_call(answer, (np.array(means),), right, look=look)
    return "right: the price of knowing, per e-fold of time."


@cache
def _two_films(steps: int, known: float, s: int, f: int) -> float:
    if steps == 0:
        return 0.0
    p = (1 + s) / (2 + s + f)
    win, lose = (_two_films(steps - 1, known, s + i, f + 1 - i) for i in (1, 0))
    return max(steps * known, p * (1 + win) + (1 - p) * lose)


@exercise("bandits/known")
def _known(answer: Any) -> str:
    """``answer(steps, known)``: the value of a known arm beside one of which nothing is known."""
    for steps, known, look in (
        (1, 0.3, "the last evening: the larger of two means"),
        (1, 0.8, "the last evening: the larger of two means"),
        (2, 0.55, "what a success today changes tomorrow: the posterior mean becomes 2/3"),
        (10, 0.6, "the counts: both successes and failures belong to the state"),
        (25, 0.75, "all evenings that are left, each with its own maximum"),
    ):
        right = _two_films(steps, known, 0, 0)
        expect_call(answer, (steps, known), right, look=look)
    return "right: it may be best to show the film that looks worse."


@exercise("bandits/replay")
def _replay(answer: Any) -> str:
    """``answer(guests, logger, pays, policy)``: what replay says in the long run, and the truth."""
    rng = np.random.default_rng(0)
    for k in range(4):
        guests, logger = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4), size=3)
        logger = np.full((3, 4), 0.25) if k == 0 else logger
        pays, policy = rng.random((3, 4)), rng.integers(4, size=3)
        own, met = pays[np.arange(3), policy], logger[np.arange(3), policy]
        right = [float(guests * met @ own / (guests @ met)), float(guests @ own)]
        look = "uniform log: both are the same" if k == 0 else "which guests a match is made of"
        expect_close(call(answer, (guests, logger, pays, policy)), right,
                     what="(what replay says, the truth)", look=look)  # fmt: skip
    return "right: a match is not a guest drawn at random."


@exercise("bandits/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: True only for the UCB1 whose arms count nothing but themselves."""
    expect_detector(
        answer,
        buggy=hunt("ucb1-own-clock"),
        sound=bandits,
        other=hunt("bandit-ties-to-the-first"),
        but="that one gives ties to the first arm, and its bounds are right",
    )
    return "right: it accuses the one and nobody else."
