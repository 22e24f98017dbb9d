"""How to summarise a handful of runs without fooling oneself.

Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice",
NeurIPS 2021. ``scores`` is an array of shape ``[runs]`` or ``[runs, tasks]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlcourse.errors import InvalidArgumentError, check_fraction, check_numbers, check_positive
from rlcourse.seeding import generator

__all__ = [
    "Interval",
    "bootstrap_interval",
    "difference_interval",
    "iqm",
    "probability_of_improvement",
]

Statistic = Callable[[NDArray[np.float64]], float]


class Interval(NamedTuple):
    """A statistic and the two ends of its confidence interval."""

    value: float
    low: float
    high: float


def _scores(name: str, scores: ArrayLike) -> NDArray[np.float64]:
    array = check_numbers(name, scores)
    if array.ndim not in (1, 2) or array.size == 0 or not np.isfinite(array).all():
        infinite = array.size - np.isfinite(array).sum()
        raise InvalidArgumentError(
            f"{name} of shape {array.shape} with {infinite} not finite: must be finite numbers of "
            "shape [runs] or [runs, tasks]"
        )
    return array if array.ndim == 2 else array[:, None]


def iqm(scores: ArrayLike) -> float:
    """The interquartile mean: the mean of what is left without the lowest and highest quarter.

    More robust than the mean, less wasteful than the median. Fractional quarters count fractionally,
    so that eight runs and nine runs are treated alike.

    >>> iqm([0, 1, 2, 3, 4, 5, 6, 100])
    3.5
    """
    ordered = np.sort(_scores("scores", scores), axis=None)
    quarter = ordered.size / 4
    index = np.arange(ordered.size)
    # the share of each sorted score that lies inside [quarter, 3 quarter]
    weight = np.clip(np.minimum(index + 1, 3 * quarter) - np.maximum(index, quarter), 0.0, 1.0)
    return float(weight @ ordered / weight.sum())


def bootstrap_interval(
    scores: ArrayLike,
    statistic: Statistic = iqm,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """A percentile bootstrap interval, stratified: runs are resampled within each task.

    >>> interval = bootstrap_interval([1.0, 2.0, 3.0, 4.0] * 5)
    >>> interval.low < interval.value < interval.high
    True

    Raises:
        InvalidArgumentError: scores of a wrong shape, or a confidence outside [0, 1).
    """
    array = _scores("scores", scores)
    check_fraction("confidence", confidence, below_one=True)
    check_positive("resamples", resamples)
    rng = generator(seed)
    runs, tasks = array.shape
    picks = rng.integers(runs, size=(resamples, runs, tasks))
    drawn = np.array([statistic(array[pick, np.arange(tasks)]) for pick in picks])
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(statistic(array), float(low), float(high))


def difference_interval(x: ArrayLike, y: ArrayLike, *, resamples: int = 2000) -> Interval:
    """The interquartile mean of X's runs less that of Y's, with the 95 % bootstrap interval of the difference.

    Zero inside: these runs cannot tell the two apart. Intervals of the two that overlap do not say that.

    >>> value, low, high = difference_interval([5.0, 6.0, 7.0] * 4, [1.0, 2.0, 3.0] * 4)
    >>> value, low > 0
    (4.0, True)

    Raises:
        InvalidArgumentError: x or y is not of shape ``[runs]`` and finite.
    """
    a, b = _scores("x", x), _scores("y", y)
    for name, array in (("x", a), ("y", b)):
        if array.shape[1] != 1:
            raise InvalidArgumentError(f"{name} of shape {array.shape}: must be of shape [runs]")
    check_positive("resamples", resamples)
    rng = generator(0)
    drawn = [iqm(rng.choice(a, len(a))) - iqm(rng.choice(b, len(b))) for _ in range(resamples)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(iqm(a) - iqm(b), float(low), float(high))


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """The chance that a run of X beats a run of Y, ties counting half, averaged over tasks.

    >>> probability_of_improvement([3, 4], [1, 3])
    0.875
    """
    a, b = _scores("x", x), _scores("y", y)
    if a.shape[1] != b.shape[1]:
        raise InvalidArgumentError(
            f"x has {a.shape[1]} tasks and y has {b.shape[1]}: must be the same tasks"
        )
    wins = (a[:, None, :] > b[None, :, :]) + 0.5 * (a[:, None, :] == b[None, :, :])
    return float(wins.mean())
