"""The equations of the chapter ``policies/choosing``, each against a road of its own.

The right-hand sides are written out as they are printed. The oracles enumerate, solve, or come from a library
of statistics.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import mannwhitneyu, norm

from rlcourse.statistics import probability_of_improvement


@pytest.mark.equation("eq-choose-seeds", oracle="every pair of groups, enumerated")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_deviation_of_a_difference(n: int) -> None:
    """Groups drawn with replacement from four scores: 4 ** n of each, all pairs of them."""
    pool = np.array([0.0, 1.0, 5.0, 12.0])
    means = np.array([np.mean(group) for group in itertools.product(pool, repeat=n)])
    differences = np.subtract.outer(means, means)
    sigma = pool.std()
    assert differences.std() == pytest.approx(sigma * np.sqrt(2 / n))
    # The gap of which this is the number of seeds: two deviations, neither more nor less.
    gap = 2 * differences.std()
    assert 8 * (sigma / gap) ** 2 == pytest.approx(n)


@pytest.mark.equation(
    "eq-choose-normalised", oracle="the affine map that two points fix, solved for"
)
def test_a_normalised_score_is_the_line_through_zero_and_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        low, best = np.sort(rng.normal(0, 100, 2))
        slope, offset = np.linalg.solve([[low, 1.0], [best, 1.0]], [0.0, 1.0])
        x = rng.normal(0, 200, 5)
        np.testing.assert_allclose((x - low) / (best - low), slope * x + offset, atol=1e-9)
        # The units of the rewards do not matter: the same game in cents, and with an entrance fee.
        a, b = rng.uniform(0.1, 50), rng.normal()
        moved = (a * x + b - (a * low + b)) / ((a * best + b) - (a * low + b))
        np.testing.assert_allclose(moved, slope * x + offset, atol=1e-8)


@pytest.mark.equation("eq-choose-improvement", oracle="scipy's U of Mann and Whitney, over nm")
def test_the_probability_of_improvement() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        n, m = rng.integers(1, 9, 2)
        x, y = rng.integers(0, 6, n).astype(float), rng.integers(0, 6, m).astype(float)  # with ties
        printed = sum((a > b) + 0.5 * (a == b) for a in x for b in y) / (n * m)
        oracle = mannwhitneyu(x, y).statistic / (n * m)
        assert printed == pytest.approx(oracle)
        assert probability_of_improvement(x, y) == pytest.approx(oracle)


def test_the_three_dice_of_the_page_go_round_in_a_circle() -> None:
    dice = ([2, 4, 9], [1, 6, 8], [3, 5, 7])
    for x, y in itertools.pairwise([*dice, dice[0]]):
        assert sum(a > b for a, b in itertools.product(x, y)) == 5
        assert probability_of_improvement(x, y) == pytest.approx(5 / 9)


@pytest.mark.equation("eq-choose-price", oracle="a root finder on the two totals")
def test_the_price_at_which_two_learners_are_even() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        n_a, t_a = rng.uniform(1e3, 1e5), rng.uniform(50, 100)
        n_b, t_b = n_a * rng.uniform(2, 20), rng.uniform(1, 40)  # more steps, fewer seconds
        even = brentq(lambda p, a=(n_a, t_a), b=(n_b, t_b): p * a[0] + a[1] - p * b[0] - b[1], 0, 1e3,
                      xtol=1e-14)  # fmt: skip
        assert (t_a - t_b) / (n_b - n_a) == pytest.approx(even, rel=1e-6)


@pytest.mark.equation(
    "eq-choose-selection", oracle="known closed forms for two to four, and tables of samples"
)
@pytest.mark.parametrize(
    ("k", "closed"),
    [
        (1, 0.0),
        (2, 1 / np.sqrt(np.pi)),
        (3, 1.5 / np.sqrt(np.pi)),
        (4, 3 / np.sqrt(np.pi) * (1 - np.arccos(1 / 3) / np.pi)),
        (50, None),
    ],
)
def test_what_the_best_of_several_flatters(k: int, closed: float | None) -> None:
    s = 1.7
    printed = quad(lambda x: k * x * norm.pdf(x / s) / s * norm.cdf(x / s) ** (k - 1), -20, 20)[0]
    if closed is not None:
        assert printed == pytest.approx(s * closed, abs=1e-7)
    drawn = s * np.random.default_rng(k).standard_normal((200_000, k)).max(axis=1)
    error = drawn.std() / np.sqrt(len(drawn))
    assert abs(drawn.mean() - printed) < 4.5 * error
    assert printed <= s * np.sqrt(2 * np.log(k)) + 1e-12
