"""Summaries of a handful of runs, against scipy and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rlcourse.errors import InvalidArgumentError
from rlcourse.statistics import (
    bootstrap_interval,
    difference_interval,
    iqm,
    probability_of_improvement,
)

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


def mean(scores: np.ndarray) -> float:
    return float(np.mean(scores))


@given(numbers)
def test_iqm_is_scipys_trimmed_mean(scores: list[float]) -> None:
    """Each score four times: then a quarter is a whole number, and scipy trims exactly that."""
    expected = scipy.stats.trim_mean(np.repeat(scores, 4), 0.25)
    assert iqm(scores) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(numbers, st.randoms())
def test_iqm_ignores_order_and_follows_shift_and_scale(scores: list[float], random: object) -> None:
    shuffled = list(scores)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert iqm(shuffled) == iqm(scores)
    assert iqm(np.array(scores) * 2 + 3) == pytest.approx(2 * iqm(scores) + 3, rel=1e-9, abs=1e-6)


def test_iqm_of_tasks_is_that_of_all_runs() -> None:
    table = np.random.default_rng(0).normal(size=(8, 3))
    assert iqm(table) == pytest.approx(scipy.stats.trim_mean(table, 0.25, axis=None))


def test_bootstrap_agrees_with_scipy() -> None:
    scores = np.random.default_rng(1).exponential(size=40)
    ours = bootstrap_interval(scores, mean, resamples=20_000)
    theirs = scipy.stats.bootstrap(
        (scores,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    )
    assert ours.value == pytest.approx(scores.mean())
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.04 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.04 * width)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Percentile intervals of 30 runs cover a little less than promised; far less is a bug."""
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        interval = bootstrap_interval(
            rng.normal(size=30), mean, confidence=0.8, resamples=200, seed=trial
        )
        covered += interval.low <= 0.0 <= interval.high
    assert 0.70 <= covered / 300 <= 0.88


def test_more_confidence_is_a_wider_interval() -> None:
    scores = np.random.default_rng(3).normal(size=20)
    narrow, wide = (bootstrap_interval(scores, confidence=c) for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_bootstrap_resamples_within_each_task() -> None:
    """Two tasks without any spread: mixing them up would give the mean one."""
    interval = bootstrap_interval(np.tile([0.0, 100.0], (6, 1)), mean)
    assert interval == (50.0, 50.0, 50.0)


def test_bootstrap_draws_runs_of_different_tasks_independently() -> None:
    """Task two is task one upside down: paired draws would always sum to zero."""
    scores = np.random.default_rng(0).normal(size=(10, 1)) * [1.0, -1.0]
    interval = bootstrap_interval(scores, mean)
    assert interval.high - interval.low > 0.1


def test_bootstrap_depends_on_its_seed_alone() -> None:
    scores = np.random.default_rng(4).normal(size=12)
    first = bootstrap_interval(scores, seed=1)
    np.random.default_rng(4).random(100)
    assert bootstrap_interval(scores, seed=1) == first != bootstrap_interval(scores, seed=2)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
)
def test_probability_of_improvement_is_the_mann_whitney_statistic(x: list, y: list) -> None:
    expected = scipy.stats.mannwhitneyu(x, y, method="asymptotic").statistic / (len(x) * len(y))
    assert probability_of_improvement(x, y) == pytest.approx(expected)
    assert probability_of_improvement(y, x) == pytest.approx(1 - expected)


def test_probability_of_improvement_averages_tasks() -> None:
    x, y = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert probability_of_improvement(x, y) == 0.5


@pytest.mark.parametrize(
    "scores", [[], [[[1.0]]], [1.0, np.nan], [np.inf], ["a"], None, [[1.0], [1.0, 2.0]]]
)
def test_scores_that_cannot_be_summarised(scores: object) -> None:
    for call in (iqm, bootstrap_interval, lambda s: probability_of_improvement([1.0], s)):
        with pytest.raises(InvalidArgumentError, match=r"(scores|y)\b.*must be"):
            call(scores)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 1.0}, r"confidence = 1\.0: must be a number in \[0, 1\)"),
        ({"confidence": 95}, r"confidence = 95"),
        ({"resamples": 0}, r"resamples = 0: must be a whole number"),
        ({"seed": -1}, r"seed = -1: must be a non-negative integer"),
    ],
)
def test_bad_bootstrap_settings(options: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        bootstrap_interval([1.0, 2.0], **options)


def test_tasks_must_match() -> None:
    with pytest.raises(InvalidArgumentError, match=r"x has 1 tasks and y has 2"):
        probability_of_improvement([1.0], [[1.0, 2.0]])


def test_the_interval_of_a_difference_is_scipys() -> None:
    """Two samples resampled apart, percentiles, twenty thousand times each."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(3.0, 1.0, 10), rng.exponential(2.0, 14)

    def gap(x: np.ndarray, y: np.ndarray) -> float:
        return scipy.stats.trim_mean(x, 0.25) - scipy.stats.trim_mean(y, 0.25)

    # trim_mean cuts whole runs, iqm fractions of them: the same for a multiple of four.
    x, y = x[:8], y[:12]
    theirs = scipy.stats.bootstrap(
        (x, y), gap, method="percentile", n_resamples=20_000, vectorized=False, rng=1
    ).confidence_interval
    value, low, high = difference_interval(x, y, resamples=20_000)
    assert value == pytest.approx(gap(x, y))
    # Four standard errors of the difference of two such quantiles: the deviation of a draw is about 0.9, so
    # the density at an end about 0.065, and sqrt(0.025 * 0.975 / 20000) / 0.065 = 0.017 for each of them.
    assert (low, high) == pytest.approx(tuple(theirs), abs=0.1)


def test_a_difference_of_several_tasks_is_refused() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"y of shape \(3, 2\): must be of shape \[runs\]"
    ):
        difference_interval([1.0, 2.0], np.ones((3, 2)))
