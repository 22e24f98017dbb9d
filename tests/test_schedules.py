"""A schedule that never moves is the quietest bug of the field."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcourse.errors import InvalidArgumentError
from rlcourse.schedules import constant, linear, power

unit = st.floats(0, 1)


def test_linear_moves_from_start_to_end() -> None:
    schedule = linear(1.0, 0.1, steps=100)
    assert schedule(0) == pytest.approx(1.0)
    assert schedule(50) == pytest.approx(0.55)
    assert schedule(100) == pytest.approx(0.1)
    assert schedule(10**9) == pytest.approx(0.1)
    falling = [schedule(count) for count in range(101)]
    assert all(later < earlier for earlier, later in itertools.pairwise(falling))


@given(start=unit, end=unit, steps=st.integers(1, 10_000), count=st.integers(0, 20_000))
def test_linear_equals_interpolation(start: float, end: float, steps: int, count: int) -> None:
    expected = np.interp(count, [0, steps], [start, end])
    assert linear(start, end, steps)(count) == pytest.approx(float(expected), abs=1e-12)


def test_constant_stays() -> None:
    assert {constant(0.3)(count) for count in (0, 1, 10**9)} == {0.3}


def test_power_one_is_the_sample_mean() -> None:
    """With the step size 1/(n+1) the running estimate is the mean of all samples."""
    samples = np.random.default_rng(0).normal(size=50)
    step_size, estimate = power(1.0), 17.0  # the first sample overwrites the first guess
    for count, sample in enumerate(samples):
        estimate += step_size(count) * (sample - estimate)
    assert estimate == pytest.approx(samples.mean())


@pytest.mark.parametrize(("exponent", "finite"), [(0.4, False), (0.6, True), (1.0, True)])
def test_robbins_monro_on_dyadic_blocks(exponent: float, finite: bool) -> None:
    """A sum diverges if its dyadic blocks do not shrink: the sum always, its squares up to 1/2."""
    steps = np.array([power(exponent)(count) for count in range(2**14)])

    def grows(terms: np.ndarray) -> bool:
        blocks = [terms[2**k : 2 ** (k + 1)].sum() for k in (12, 13)]
        return bool(blocks[1] > 0.999 * blocks[0])

    assert grows(steps)
    assert grows(steps**2) is not finite


@pytest.mark.parametrize("exponent", [-0.1, 1.5, float("nan")])
def test_power_outside_its_range(exponent: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"exponent = .*\[0, 1\]"):
        power(exponent)


@pytest.mark.parametrize("steps", [0, -5, 2.5])
def test_linear_needs_steps(steps: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"steps = .*whole number"):
        linear(1.0, 0.0, steps)  # type: ignore[arg-type]
