"""Numbers that change while an agent learns: exploration rates and step sizes.

A schedule is a function of a count (steps taken, or visits of a state-action pair) that starts at
zero. Every bug list of the field holds a schedule that never moved, so each of these is tested at
its start, its middle, its end and beyond.
"""

from __future__ import annotations

from collections.abc import Callable

from rlcourse.errors import InvalidArgumentError, check_positive

__all__ = ["Schedule", "constant", "linear", "power"]

Schedule = Callable[[int], float]


def constant(value: float) -> Schedule:
    """Always ``value``.

    >>> constant(0.1)(0), constant(0.1)(10**6)
    (0.1, 0.1)
    """
    return lambda count: value


def linear(start: float, end: float, steps: int) -> Schedule:
    """From ``start`` to ``end`` in a straight line over ``steps`` counts, then ``end`` for ever.

    >>> epsilon = linear(1.0, 0.2, steps=8)
    >>> [round(epsilon(count), 2) for count in (0, 4, 8, 800)]
    [1.0, 0.6, 0.2, 0.2]
    """
    check_positive("steps", steps)
    return lambda count: end + (start - end) * max(0.0, 1.0 - count / steps)


def power(exponent: float) -> Schedule:
    r"""The step size $(n + 1)^{-\omega}$ after $n$ earlier visits.

    For $1/2 < \omega \le 1$ it meets the Robbins-Monro conditions
    $\sum_n \alpha_n = \infty$ and $\sum_n \alpha_n^2 < \infty$; $\omega = 1$ is the sample mean.

    >>> [power(1.0)(count) for count in (0, 1, 3)]
    [1.0, 0.5, 0.25]
    """
    if not 0.0 <= exponent <= 1.0:
        raise InvalidArgumentError(f"exponent = {exponent!r}: must be in [0, 1]")
    return lambda count: float((count + 1) ** -exponent)
