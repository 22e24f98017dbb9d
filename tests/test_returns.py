"""Returns, against their definitions: sums written out, one episode at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcourse.errors import InvalidArgumentError
from rlcourse.returns import discounted_returns, gae, lambda_returns, n_step_returns


class Data(NamedTuple):
    """Experience of one environment; ``values[t]`` and ``next_values[t]`` are drawn apart."""

    rewards: np.ndarray
    discounts: np.ndarray
    values: np.ndarray
    next_values: np.ndarray
    boundaries: np.ndarray
    gamma: float


@st.composite
def experience(draw: Callable[..., Any], steps: int = 12) -> Data:
    """Random rewards and values; random ends, random time limits, sometimes both at once."""
    length = draw(st.integers(1, steps))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    terminated, truncated = (rng.random(length) < draw(st.floats(0, 0.6)) for _ in range(2))
    gamma = draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    return Data(
        rng.normal(size=length),
        gamma * (1.0 - terminated),
        rng.normal(size=length) * 10,
        rng.normal(size=length) * 10,
        terminated | truncated,
        gamma,
    )


def last_step(data: Data, t: int) -> int:
    """The last step of the episode that step ``t`` belongs to, as far as the data go."""
    following = [k for k in range(t, len(data.rewards)) if data.boundaries[k]]
    return following[0] if following else len(data.rewards) - 1


def n_step(data: Data, t: int, n: int) -> float:
    """Rewards of at most ``n`` steps, then the value of where they led; by powers of gamma."""
    end = min(t + n - 1, last_step(data, t))
    total = sum(data.gamma ** (k - t) * data.rewards[k] for k in range(t, end + 1))
    return float(total + data.gamma ** (end - t) * data.discounts[end] * data.next_values[end])


lams = st.sampled_from([0.0, 0.3, 0.95, 1.0])


@given(experience())
def test_discounted_return_is_the_sum_of_powers(data: Data) -> None:
    expected = [n_step(data, t, 10**6) for t in range(len(data.rewards))]
    got = discounted_returns(data.rewards, data.discounts, data.next_values, data.boundaries)
    np.testing.assert_allclose(got, expected, atol=1e-9)


@given(experience(), st.integers(1, 14))
def test_n_step_equals_brute_force(data: Data, n: int) -> None:
    expected = [n_step(data, t, n) for t in range(len(data.rewards))]
    got = n_step_returns(data.rewards, data.discounts, data.next_values, n, data.boundaries)
    np.testing.assert_allclose(got, expected, atol=1e-9)


@given(experience(), lams)
def test_lambda_return_is_the_weighted_sum_of_n_step_returns(data: Data, lam: float) -> None:
    r"""$(1-\lambda)\sum_{n<N}\lambda^{n-1}G_{t:t+n} + \lambda^{N-1}G_{t:t+N}$, N steps to the cut."""
    expected = []
    for t in range(len(data.rewards)):
        steps = last_step(data, t) - t + 1
        weights = [(1 - lam) * lam ** (n - 1) for n in range(1, steps)] + [lam ** (steps - 1)]
        expected.append(sum(w * n_step(data, t, n) for n, w in enumerate(weights, start=1)))
    got = lambda_returns(data.rewards, data.discounts, data.next_values, lam, data.boundaries)
    np.testing.assert_allclose(got, expected, atol=1e-8)


@given(experience(), lams)
def test_gae_equals_the_double_sum(data: Data, lam: float) -> None:
    r"""$\sum_{l}(\gamma\lambda)^l\,\delta_{t+l}$ up to the end of the episode, term by term."""
    rewards, discounts, values, next_values, boundaries, gamma = data
    expected = [
        sum(
            (gamma * lam) ** (k - t) * (rewards[k] + discounts[k] * next_values[k] - values[k])
            for k in range(t, last_step(data, t) + 1)
        )
        for t in range(len(rewards))
    ]
    got = gae(rewards, discounts, values, next_values, lam, boundaries)
    np.testing.assert_allclose(got, expected, atol=1e-8)


@given(experience(), lams)
@settings(max_examples=30)
def test_environments_side_by_side_do_not_touch(data: Data, lam: float) -> None:
    """A batch ``[T, 2]`` gives what each environment gives alone."""
    other = Data(*(np.flip(field) for field in data[:5]), gamma=data.gamma)
    r, d, v, w, b = (np.stack(pair, axis=1) for pair in zip(data[:5], other[:5], strict=True))
    for i, one in enumerate((data, other)):
        alone = [one.rewards, one.discounts, one.next_values]
        np.testing.assert_allclose(
            discounted_returns(r, d, w, b)[:, i], discounted_returns(*alone, one.boundaries)
        )
        np.testing.assert_allclose(
            n_step_returns(r, d, w, 3, b)[:, i], n_step_returns(*alone, 3, one.boundaries)
        )
        np.testing.assert_allclose(
            lambda_returns(r, d, w, lam, b)[:, i], lambda_returns(*alone, lam, one.boundaries)
        )
        expected = gae(one.rewards, one.discounts, one.values, one.next_values, lam, one.boundaries)
        np.testing.assert_allclose(gae(r, d, v, w, lam, b)[:, i], expected)


def test_an_episode_that_ends_does_not_see_the_next_one() -> None:
    """Bug two of the list: a value of 100 behind the boundary must not leak into the trace."""
    rewards, discounts = [0.0, -4.0, 0.0], [1.0, 1.0, 1.0]
    values, next_values = [0.0, 0.0, 100.0], [0.0, 0.0, 100.0]
    cut = [False, True, False]
    assert gae(rewards, discounts, values, next_values, 1.0, cut)[:2].tolist() == [-4.0, -4.0]


def test_an_end_is_a_boundary_by_itself() -> None:
    """Without ``boundaries`` a zero discount cuts."""
    args = ([1.0, 1.0, 1.0], [0.9, 0.0, 0.9], [2.0, 2.0, 2.0], [5.0, 5.0, 5.0])
    cut = [False, True, False]
    np.testing.assert_allclose(gae(*args, 0.9), gae(*args, 0.9, cut))


SHAPED = {
    "discounted": lambda r, d, v, b: discounted_returns(r, d, v, b),
    "n_step": lambda r, d, v, b: n_step_returns(r, d, v, 2, b),
    "lambda": lambda r, d, v, b: lambda_returns(r, d, v, 0.9, b),
    "gae": lambda r, d, v, b: gae(r, d, np.zeros(np.shape(r)), v, 0.9, b),
}


@pytest.mark.parametrize("name", SHAPED)
@pytest.mark.parametrize("wrong", ["discounts", "next_values", "boundaries"])
@pytest.mark.parametrize("shape", [(4, 1), (1, 4), (3,), ()])
def test_shapes_that_do_not_match_are_refused(name: str, wrong: str, shape: tuple) -> None:
    """A column among rows would broadcast into a table, and its mean looks plausible."""
    arrays = {key: np.zeros(4) for key in ("discounts", "next_values", "boundaries")}
    arrays[wrong] = np.zeros(shape)
    with pytest.raises(InvalidArgumentError, match=rf"{wrong} of shape .*must be \(4,\)"):
        SHAPED[name](np.zeros(4), *arrays.values())


@pytest.mark.parametrize("shape", [(4, 1), (1, 4), (3,), ()])
def test_gae_checks_its_values_too(shape: tuple) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^values of shape .*must be \(4,\)"):
        gae(np.zeros(4), np.zeros(4), np.zeros(shape), np.zeros(4), 0.9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: discounted_returns([], []), r"rewards of shape \(0,\).*T >= 1"),
        (lambda: discounted_returns(1.0, 1.0), r"rewards of shape \(\)"),
        (lambda: n_step_returns([1.0], [1.0], [1.0], 0), r"n = 0: must be a whole number"),
        (lambda: lambda_returns([1.0], [1.0], [1.0], 1.1), r"lam = 1\.1: must be .*\[0, 1\]"),
        (lambda: gae([1.0], [1.0], [1.0], [1.0], -0.1), r"lam = -0\.1"),
        (lambda: discounted_returns(["a"], [1.0]), r"rewards: must be .*numbers"),
        (lambda: gae([1.0], [1.0], ["x"], [1.0], 0.9), r"values: must be .*numbers"),
    ],
)
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        call()
