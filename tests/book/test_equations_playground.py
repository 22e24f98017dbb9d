"""The equations of the chapter ``playgrounds/playground``, each against a road of its own.

The right-hand sides are written out as they are printed. The oracles enumerate, solve, fit by least squares,
or play through a wrapper.
"""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TransformReward
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import linregress, norm

from rlcourse.envs.vector import make
from rlcourse.playground.policies import heuristic
from rlcourse.playground.run import play_episode


@pytest.mark.equation("eq-play-paired", oracle="all samples of starts, enumerated")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_error_of_a_paired_difference(n: int) -> None:
    """Four equally likely starts with known returns of both; 4 ** n samples, drawn with replacement."""
    x, y = np.array([1.0, 4.0, 9.0, 10.0]), np.array([0.0, 5.0, 6.0, 13.0])
    differences, apart = [], []
    for sample in itertools.product(range(4), repeat=n):
        differences.append(x[[*sample]].mean() - y[[*sample]].mean())
        for other in itertools.product(range(4), repeat=n):
            apart.append(x[[*sample]].mean() - y[[*other]].mean())
    rho = np.corrcoef(x, y)[0, 1]
    printed = np.sqrt((x.var() + y.var() - 2 * rho * x.std() * y.std()) / n)
    assert np.std(differences) == pytest.approx(printed)
    assert np.std(apart) == pytest.approx(np.sqrt((x.var() + y.var()) / n))  # rho of zero
    assert printed < np.std(apart)


@pytest.mark.equation(
    "eq-play-episodes", oracle="a root finder on the power, which is integrated numerically"
)
@pytest.mark.parametrize("power", [0.5, 0.8, 0.9])
def test_how_many_episodes_a_comparison_needs(power: float) -> None:
    """Power: the chance that the mean difference lies 1.96 of its errors above zero."""
    sigma, d = 7.0, 1.5
    bar = brentq(
        lambda z: quad(lambda u: np.exp(-u * u / 2), -12, z)[0] / np.sqrt(2 * np.pi) - 0.975, 0, 5
    )

    def reached(n: float) -> float:
        error = sigma / n**0.5
        density = lambda u: np.exp(-(((u - d) / error) ** 2) / 2) / (error * np.sqrt(2 * np.pi))  # noqa: E731
        return float(quad(density, bar * error, d + 12 * error)[0])

    wanted = brentq(lambda n: reached(n) - power, 2, 5000)
    printed = (norm.ppf(0.975) + norm.ppf(power)) ** 2 * sigma**2 / d**2
    assert printed == pytest.approx(wanted, rel=1e-5)


@pytest.mark.equation("eq-play-slope", oracle="scipy's regression, and the normal equations solved")
@pytest.mark.parametrize("n", [3, 10, 200])
def test_a_slope_and_its_error(n: int) -> None:
    x = np.random.default_rng(n).normal(20, 12, n)
    i = np.arange(1, n + 1)
    slope = ((i - i.mean()) * x).sum() / ((i - i.mean()) ** 2).sum()
    residuals = x - x.mean() - slope * (i - i.mean())
    s = np.sqrt((residuals**2).sum() / (n - 2))
    error = s * np.sqrt(12 / (n * (n**2 - 1)))
    fit = linregress(i, x)
    assert (slope, error) == pytest.approx((fit.slope, fit.stderr))
    design = np.stack([np.ones(n), i], axis=1)
    solved, squares, *_ = np.linalg.lstsq(design, x, rcond=None)
    covariance = np.linalg.inv(design.T @ design) * squares[0] / (n - 2)
    assert (slope, error) == pytest.approx((solved[1], covariance[1, 1] ** 0.5))


@pytest.mark.equation(
    "eq-play-wrapped", oracle="whole episodes, played through Gymnasium's wrapper"
)
@pytest.mark.parametrize(("c", "b", "gamma"), [(0.5, 2.0, 0.9), (3.0, -1.0, 0.99), (1.0, 0.5, 0.0)])
def test_the_return_of_a_wrapped_reward(c: float, b: float, gamma: float) -> None:
    def discounted(env: gym.Env[int, int], seed: int) -> tuple[float, int]:
        rng, total, T, over = np.random.default_rng(seed), 0.0, 0, False
        env.reset(seed=seed)
        while not over:
            _, reward, terminated, truncated, _ = env.step(int(rng.integers(4)))
            total, T, over = total + gamma**T * float(reward), T + 1, terminated or truncated
        return total, T

    plain = make("CliffWalking-v1", max_episode_steps=60)
    wrapped = TransformReward(plain, lambda reward: c * float(reward) + b)
    for seed in range(5):
        g, steps = discounted(plain, seed)
        seen, _ = discounted(wrapped, seed)
        printed = c * g + b * (1 - gamma**steps) / (1 - gamma)
        assert seen == pytest.approx(printed)


@pytest.mark.equation("eq-play-first", oracle="the distribution of ages, stepped as a Markov chain")
@pytest.mark.parametrize("p", [0.05, 0.3, 1.0])
def test_what_is_finished_early_is_short(p: float) -> None:
    ages = np.zeros(60)
    ages[0] = 1.0  # one copy, at the beginning of an episode: [steps since it began]
    for t in range(1, 60):
        ending = ages * p  # an episode of age k ends with length k + 1
        mean = (ending * np.arange(1, 61)).sum() / ending.sum()
        assert mean == pytest.approx((1 - (1 - p) ** t) / p)
        ages = np.concatenate([[ending.sum()], ((1 - p) * ages)[:-1]])


def test_the_crossing_of_the_page_is_what_the_page_says() -> None:
    """The two closed forms of the page, against the linear system of the road."""
    lanes = 5
    careful, blind = np.zeros(lanes + 1), np.zeros(lanes + 1)
    for lane in reversed(range(lanes)):
        # careful: waits with chance 0.4; blind: is hit with chance 0.4
        careful[lane] = np.linalg.solve([[1 - 0.4]], [-1 + 0.6 * careful[lane + 1]])[0]
        blind[lane] = 0.4 * -20 + 0.6 * (-1 + blind[lane + 1])
    assert careful[0] == pytest.approx(-5 / 0.6)
    assert blind[0] == pytest.approx(-(0.6 + 0.4 * 20) * (1 - 0.6**5) / (1 - 0.6))


def test_early_never_loses_from_the_same_start() -> None:
    env = make("MountainCar-v0")
    swing = heuristic(env)
    early = lambda obs: np.where(obs[:, 1] >= 0.005 * (obs[:, 0] + 0.4), 2, 0)  # noqa: E731
    ahead = [
        play_episode(env, early, seed).return_ - play_episode(env, swing, seed).return_
        for seed in range(100, 140)
    ]
    assert min(ahead) >= 0 and sum(gap > 0 for gap in ahead) > 20
