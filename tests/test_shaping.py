"""Shaping, on models and around environments: what it adds up to, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray
from scipy.optimize import linprog

from rlcourse.algorithms import tabular
from rlcourse.envs.model import ModelEnv
from rlcourse.envs.rewards import shaped_grid
from rlcourse.envs.shaping import PotentialShaping
from rlcourse.envs.vector import make
from rlcourse.errors import InvalidArgumentError
from rlcourse.mdp import TabularMDP, grid, random_mdp, shaped

Floats = NDArray[np.float64]
MAP = ("S..", ".H.", "..G")


def world(seed: int, *, sparse: bool = False) -> TabularMDP:
    """A random world with two ends."""
    mdp = random_mdp(7, 3, branching=3, seed=seed, sparse=sparse)
    return replace(mdp, terminal=np.arange(7) >= 5, start=np.zeros(0))


def by_linear_programming(mdp: TabularMDP, gamma: float) -> Floats:
    """Optimal values [S] on a road that shares nothing with dynamic programming."""
    states = mdp.num_states
    P = np.stack([[mdp.successors(s, a) for a in range(mdp.num_actions)] for s in range(states)])
    rows = (np.eye(states)[:, None] - gamma * P).reshape(-1, states)
    found = linprog(np.ones(states), -rows, -np.asarray(mdp.reward).ravel(), bounds=(None, None))
    assert found.success
    return np.asarray(found.x)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sparse", [False, True])
def test_a_shaped_model_keeps_every_optimum(seed: int, sparse: bool) -> None:
    """Values are lower by the potential, even where a terminal state's row is full of it."""
    mdp, phi = world(seed, sparse=sparse), 10 * np.random.default_rng(seed).normal(size=7)
    phi[mdp.terminal] = 100.0
    helped = shaped(mdp, phi, 0.9)
    counted = np.where(mdp.terminal, 0.0, phi)
    truth = by_linear_programming(mdp, 0.9)
    np.testing.assert_allclose(by_linear_programming(helped, 0.9), truth - counted, atol=1e-6)
    assert helped.start is not None and (helped.terminal == mdp.terminal).all()
    np.testing.assert_array_equal(mdp.reward, world(seed, sparse=sparse).reward)  # not in place


def test_a_potential_that_cannot_be_one() -> None:
    mdp = grid("S.G")
    for wrong in ([0.0, 1.0], [0.0, np.nan, 0.0], [[0.0, 1.0, 2.0]]):
        with pytest.raises(
            InvalidArgumentError, match=r"potential of shape .*must be finite \[3\]"
        ):
            shaped(mdp, wrong, 0.9)
    with pytest.raises(InvalidArgumentError, match=r"gamma = 1\.1"):
        shaped(mdp, np.zeros(3), 1.1)
    with pytest.raises(InvalidArgumentError, match="potential of shape"):
        shaped_grid("S.G", [0.0, 1.0], 0.9)


def episodes(
    env: gym.Env[Any, Any], count: int, gamma: float
) -> list[tuple[float, int, bool, Any]]:
    """Of each random episode: the discounted sum of bonuses, its length, whether it ended, first and last."""
    found, rng = [], np.random.default_rng(0)
    for _ in range(count):
        first, total, t, over, terminated = env.reset()[0], 0.0, 0, False, False
        while not over:
            obs, reward, terminated, truncated, info = env.step(int(rng.integers(4)))
            total += gamma**t * (float(reward) - info["task_reward"])
            t, over = t + 1, terminated or truncated
        found.append((total, t, bool(terminated), (first, obs)))
    return found


def test_bonuses_telescope() -> None:
    """gamma^T Phi(S_T) - Phi(S_0) at a time limit, -Phi(S_0) at an end; both kinds occur."""
    phi = np.random.default_rng(3).normal(size=9) + 5
    env = PotentialShaping(
        make("rlcourse/Grid-v0", text=MAP, max_episode_steps=6), phi.__getitem__, 0.9
    )
    kinds = set()
    for total, length, terminated, (first, last) in episodes(env, 60, 0.9):
        left = 0.0 if terminated else 0.9**length * phi[last]
        assert total == pytest.approx(left - phi[first], abs=1e-12)
        kinds.add(terminated)
    assert kinds == {True, False}


def test_the_wrapper_pays_what_the_model_says() -> None:
    phi = np.random.default_rng(4).normal(size=9)
    env = shaped_grid(MAP, phi, 0.9, hole=-1.0, step=-0.1)
    model = shaped(grid(MAP, hole=-1.0, step=-0.1), phi, 0.9)
    obs, rng = env.reset(seed=0)[0], np.random.default_rng(0)
    for _ in range(300):
        action = int(rng.integers(4))
        following, reward, terminated, _, _ = env.step(action)
        assert reward == pytest.approx(model.reward[obs, action], abs=1e-12)
        obs = env.reset()[0] if terminated else following


def test_a_learner_cut_by_the_clock_finds_the_same_values() -> None:
    """One state, one reward of 1 for ever, cut every ten steps: worth 1 / (1 - gamma) less the potential."""
    gym.register(
        "rlcourse/Test-Shaped-v0",
        lambda: PotentialShaping(
            ModelEnv(TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)))), lambda _: 3.0, 0.9
        ),
        max_episode_steps=10,
    )
    try:
        config = tabular.Config("rlcourse/Test-Shaped-v0", steps=3000, gamma=0.9, alpha=0.5)
        inside = tabular.train(config).q[0, 0]
    finally:
        gym.registry.pop("rlcourse/Test-Shaped-v0")
    assert inside == pytest.approx(10.0 - 3.0, abs=1e-6)
    # The limit may also stand inside the wrapper.
    cut = PotentialShaping(make("FrozenLake-v1", max_episode_steps=1), lambda _: 3.0, 0.9)
    cut.reset(seed=0)
    _, reward, terminated, truncated, info = cut.step(0)
    assert truncated and not terminated
    assert reward - info["task_reward"] == pytest.approx(0.9 * 3 - 3)


def test_the_wrapper_is_an_environment_and_refuses_what_is_no_number() -> None:
    check_env(shaped_grid(MAP, np.zeros(9), 0.9).unwrapped, skip_render_check=True)
    env = PotentialShaping(make("FrozenLake-v1"), lambda obs: float("nan"), 0.9)
    with pytest.raises(InvalidArgumentError, match="potential = nan at 0: must be finite"):
        env.reset(seed=0)
    with pytest.raises(InvalidArgumentError, match="gamma = 2"):
        PotentialShaping(make("FrozenLake-v1"), float, 2)


def test_a_seed_is_a_run() -> None:
    def trace() -> list[float]:
        env = PotentialShaping(make("FrozenLake-v1"), float, 0.9)
        env.reset(seed=5)
        return [float(env.step(2)[1]) for _ in range(3)]

    assert trace() == trace()
