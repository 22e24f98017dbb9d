"""Frozen policies: exact where there is a model, and the same by playing."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlcourse.envs.vector import make
from rlcourse.errors import CourseError
from rlcourse.evaluation import exact_return, play, tabular_policy
from rlcourse.mdp import chain, from_env, grid, random_mdp

numbers = itertools.count(1)


class Sprint(gym.Env[Any, Any]):
    """The k-th one made pays k once, in the last of its k steps."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def __init__(self) -> None:
        self.number = next(numbers)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        self.left = self.number
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        self.left -= 1
        over = self.left == 0
        return 0, float(self.number * over), over, False, {}


gym.register("tests/Sprint-v0", Sprint)


def test_every_environment_contributes_equally() -> None:
    """To stop at the first eight finished would count the short ones twice and the long not."""
    global numbers
    numbers = itertools.count(1)
    returns = play(lambda obs: np.zeros(len(obs), dtype=int), "tests/Sprint-v0", episodes=8,
                   num_envs=4)  # fmt: skip
    assert sorted(returns) == [1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("num_envs", [1, 4])
def test_playing_agrees_with_the_model(num_envs: int) -> None:
    env_options = {"is_slippery": True}
    mdp = from_env(make("FrozenLake-v1", **env_options))
    actions = np.array([0, 3, 3, 3, 0, 0, 0, 0, 3, 1, 0, 0, 0, 2, 1, 0])
    exact = exact_return(mdp, actions, horizon=100)
    returns = play(
        tabular_policy(actions), "FrozenLake-v1", episodes=400, num_envs=num_envs, **env_options
    )
    assert 0.5 < exact < 0.9
    assert abs(returns.mean() - exact) < 5 * np.sqrt(exact * (1 - exact) / 400)


def test_returns_are_raw_sums_of_whole_episodes() -> None:
    right_then_nothing = tabular_policy([2] * 16)
    returns = play(right_then_nothing, "rlcourse/Grid-v0", text="S...G", step=-0.5, episodes=6,
                   num_envs=3)  # fmt: skip
    assert returns.tolist() == [1 - 4 * 0.5] * 6


def test_playing_is_its_seed() -> None:
    policy = tabular_policy(np.zeros(500, dtype=int))
    walk = tabular_policy([1] * 7)

    def run(seed: int) -> list[float]:
        return play(policy, "FrozenLake-v1", episodes=60, seed=seed).tolist()

    def left(obs: Any) -> Any:
        return np.ones(len(obs), dtype=int)

    assert run(0) == run(0)
    starts = [play(left, "CartPole-v1", episodes=20, seed=seed).tolist() for seed in (0, 1)]
    assert starts[0] != starts[1]
    assert play(walk, "rlcourse/RandomWalk-v0", episodes=1).shape == (1,)


def test_a_horizon_cuts_the_sum() -> None:
    """Against the sum over all paths, by powers of the matrix."""
    mdp = random_mdp(5, 2, seed=3)
    policy = np.full((5, 2), 0.5)
    matrix, reward = mdp.under(policy)
    powers = [np.linalg.matrix_power(0.9 * matrix, k) @ reward for k in range(7)]
    got = exact_return(mdp, policy, horizon=7, gamma=0.9)
    assert got == pytest.approx(mdp.start @ sum(powers))


def test_policies_without_the_models_extra_state_are_completed() -> None:
    mdp = from_env(gym.make("Taxi-v4"))
    short = np.zeros(500, dtype=int)
    assert exact_return(mdp, short, horizon=200) == exact_return(
        mdp, np.zeros(501, dtype=int), horizon=200
    )
    soft = np.full((500, 6), 1 / 6)
    assert exact_return(mdp, soft, horizon=9) == pytest.approx(
        exact_return(mdp, np.full((501, 6), 1 / 6), horizon=9)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact_return(chain(3), np.full((5, 2), 0.5), gamma=1.5), r"gamma = 1\.5"),
        (lambda: exact_return(chain(3), [0] * 5, horizon=0), r"horizon = 0"),
        (
            lambda: exact_return(chain(3), [0] * 3),
            r"policy of shape \(3,\): must be integers \[5\]",
        ),
        (lambda: exact_return(chain(3), [[1.0, 0.0]] * 3), r"policy of shape \(3, 2\)"),
        (lambda: exact_return(chain(3), 1), r"policy of shape \(\)"),
        (lambda: exact_return(chain(3), [7] * 5), r"policy\[0\] = 7: actions must be in 0\.\.1"),
        (lambda: exact_return(grid("S.G"), [0, 0, 0]), r"gamma = 1: state 0 never reaches"),
        (lambda: play(tabular_policy([0]), "NoSuch-v0"), r"env_id = 'NoSuch-v0'"),
        (lambda: play(tabular_policy([0]), "Taxi-v4", episodes=0), r"episodes = 0"),
        (lambda: play(tabular_policy([0]), "Taxi-v4", num_envs=0), r"num_envs = 0"),
        (
            lambda: play(tabular_policy([0]), "Taxi-v4", episodes=5, num_envs=2),
            r"episodes = 5: must be a multiple of num_envs = 2",
        ),
        (lambda: play(tabular_policy([0]), "Taxi-v4", seed=-1), r"seed = -1"),
        (
            lambda: play(lambda obs: np.zeros(3), "CartPole-v1", num_envs=2),
            r"action of shape \(3,\): must be \[2\]",
        ),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(CourseError, match=message):
        call()
