"""Checks of the exercises of the chapter ``policies/choosing``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rlcourse import statistics
from rlcourse.labs import (
    exercise,
    expect_by_hand,
    expect_call,
    expect_detector,
    hunt,
)


@exercise("choosing/duels")
def _duels(answer: Any) -> str:
    """``answer``: P(X > Y), P(Y > X), difference of means; X is 3, 5, 8 and Y is 3, 4, 12."""
    expect_by_hand(
        answer,
        (
            (0.5, "the probability of improvement of X", "the tie of 3 and 3, which counts half"),
            (0.5, "that of Y over X", "what the two of them add up to"),
            (-1.0, "the difference of the means", "both sums, and whose comes first"),
        ),
        tolerance=1e-3,
    )
    return "right: nine duels, four wins and a tie on either side."


@exercise("choosing/normalise")
def _normalise(answer: Any) -> str:
    """``answer(scores, random, best)``: ``[runs, worlds]``."""
    scores = np.array([[20.0, -500.0], [260.0, -80.0], [500.0, -290.0]])
    expected = [[0.0, 0.0], [0.5, 1.0], [1.0, 0.5]]
    expect_call(
        answer,
        (scores, np.array([20.0, -500.0]), np.array([500.0, -80.0])),
        expected,
        look="where zero lies: at random play, not at a score of zero",
    )
    expect_call(
        answer,
        (np.array([[-7.0], [3.0]]), np.array([-5.0]), np.array([-4.0])),
        [[-2.0], [8.0]],
        look="runs worse than random or better than the best: nothing is cut off",
    )
    return "right: random play is zero and the best run is one, whatever the units."


@exercise("choosing/seeds")
def _seeds(answer: Any) -> str:
    """``answer(scores, gap)``: the smallest number of seeds a group."""
    # Deviations of 10 exactly, by hand: squares of 10 each, over one less than their number.
    two = np.array([0.0, 10.0 * math.sqrt(2.0)])
    five = np.array([0.0, 0.0, 0.0, 0.0, 10.0 * math.sqrt(5.0)])
    for scores, gap, seeds, look in (
        (two, 10.2, 8, "the deviation: divide by one less than the number of scores"),
        (five, 21.0, 2, "the square of the ratio"),
        (five, 9.3, 10, "rounding: up, not to the nearest"),
        (five, 1.01, 785, "the factor of eight"),
        (five, 1000.0, 2, "the smallest number that has a deviation at all"),
    ):
        expect_call(answer, (scores, gap), seeds, look=look)
    return "right: half the gap, four times the seeds."


@exercise("choosing/profile")
def _profile(answer: Any) -> str:
    """``answer(scores, bars)``: the share of runs above each bar."""
    scores = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.25], [0.2, 0.9]])
    bars = np.array([-1.0, 0.2, 0.5, 0.9, 1.0])
    expected = [sum(x > bar for x in scores.ravel()) / 8 for bar in bars]
    expect_call(answer, (scores, bars), expected, look="whether a run at the bar is above it")
    expect_call(
        answer,
        (np.array([[2.0, 0.0, 0.0]]), np.array([1.0])),
        [1 / 3],
        look="which axes you average",
    )
    return "right: one curve, and no single number to hide behind."


@exercise("choosing/price")
def _price(answer: Any) -> str:
    """``answer(steps, seconds, prices)``: who is done first."""
    steps, seconds = np.array([20_000, 200_000, 90_000]), np.array([60.0, 12.0, 20.0])
    prices = np.array([0.0, 1e-5, 1e-4, 1e-3, 1.0])
    expected = []
    for price in prices:
        totals = [price * n + t for n, t in zip(steps, seconds, strict=True)]
        expected.append(totals.index(min(totals)))
    expect_call(answer, (steps, seconds, prices), expected, look="price times steps, plus seconds")
    even = (np.array([10, 5, 5]), np.array([0.0, 5.0, 5.0]), np.array([1.0, 2.0]))
    expect_call(answer, even, [0, 1], look="equals: the first of them")
    return "right: the same learners, and another winner at another price."


@exercise("choosing/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: whether ties are counted as wins."""
    expect_detector(
        answer,
        buggy=hunt("improvement-of-everybody"),
        sound=statistics,
        other=hunt("improvement-of-nobody"),
        but="it gives too little to both sides, not too much",
    )
    return "right: an agent does not beat its twin in more than half of all duels."
