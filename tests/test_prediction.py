"""Prediction: closed forms on probes, the gambler's ruin on the walk, a reference on every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlcourse.algorithms.prediction import Config, train
from rlcourse.envs.probes import PROBES, Probe
from rlcourse.envs.vector import make
from rlcourse.errors import CourseError
from rlcourse.seeding import streams

BEST = {"TwoActions": [[0, 1], [0, 1]], "Observation": [[1, 0], [0, 1], [1, 0]]}


@pytest.mark.parametrize("n", [1, 2, 3, 0])
@pytest.mark.parametrize("world", PROBES, ids=lambda world: world.env_id.split("-")[1])
def test_probes(world: Probe, n: int) -> None:
    """The optimal policy's values, from an optimistic start that an end must not let through."""
    policy = BEST.get(world.env_id.split("-")[1])
    config = Config(world.env_id, episodes=600, gamma=0.9, alpha=0.4, initial=5.0, n=n)
    values = train(config, policy=policy).values[-1]
    end = world.model().terminal
    np.testing.assert_allclose(values[~end], np.array(world.values(0.9))[~end], atol=1e-6)


@pytest.mark.parametrize("n", [1, 4, 0])
@pytest.mark.parametrize("length", [5, 9])
def test_random_walk(n: int, length: int) -> None:
    """The mean estimate lies on i / (length + 1), the gambler's chance."""
    config = Config(env_options={"length": length}, episodes=3000, alpha=0.02, n=n)
    late = train(config, seed=1).values[1500:].mean(axis=0)[1:-1]
    np.testing.assert_allclose(late, np.arange(1, length + 1) / (length + 1), atol=0.06)


def test_a_policy_that_always_goes_right() -> None:
    values = train(Config(episodes=400, alpha=0.5), policy=np.tile([0.0, 1.0], (7, 1))).values
    np.testing.assert_allclose(values[-1][3:6], 1.0, atol=1e-6)
    assert (values[-1][:3] == 0.5).all()  # never visited


@pytest.mark.parametrize("n", [1, 2, 3, 0])
def test_every_update_follows_the_definition(n: int) -> None:
    """Record whole episodes, then apply G_{t:t+n} to each state, written out as a sum of powers."""
    config = Config(episodes=40, gamma=0.9, alpha=0.3, n=n)
    seeds = streams(7)
    env = make(config.env_id)
    values = np.full(7, 0.5)
    history = [values.copy()]
    obs, _ = env.reset(seed=seeds.env)
    for _ in range(config.episodes):
        states, rewards, over = [obs], [], False
        while not over:
            action = int(seeds.exploration.random() >= 0.5)
            obs, reward, over, _, _ = env.step(action)
            states.append(obs)
            rewards.append(reward)
        length = len(rewards)
        full = max(length - (n or length), 0)  # so many windows fill before the episode ends
        for t in range(full):
            target = sum(0.9**k * rewards[t + k] for k in range(n)) + 0.9**n * values[states[t + n]]
            values[states[t]] += 0.3 * (target - values[states[t]])
        for t in reversed(range(full, length)):  # the end settles the rest
            target = sum(0.9**k * rewards[t + k] for k in range(length - t))
            values[states[t]] += 0.3 * (target - values[states[t]])
        history.append(values.copy())
        obs, _ = env.reset()
    np.testing.assert_allclose(train(config, seed=7).values, history, atol=1e-12)


def test_history_is_not_overwritten() -> None:
    """Row zero is the first guess, and the rows move."""
    history = train(Config(episodes=50)).values
    assert (history[0] == 0.5).all()
    assert len(np.unique(history, axis=0)) > 40
    one = train(Config(episodes=20)).values
    np.testing.assert_array_equal(history[:21], one)


def test_a_run_is_its_seed() -> None:
    runs = [train(Config(episodes=30), seed) for seed in (1, 1, 2)]
    assert runs[0].log == runs[1].log != runs[2].log
    np.testing.assert_array_equal(runs[0].values, runs[1].values)


def test_progress_is_told_after_every_episode() -> None:
    told: list[Any] = []
    result = train(Config(episodes=5), on_progress=lambda *args: told.append(args[:2]))
    assert told == [(row["step"], row) for row in result.log] and len(told) == 5


UNIFORM = np.full((7, 2), 0.5)


@pytest.mark.parametrize(
    ("settings", "policy", "message"),
    [
        ({"gamma": -0.1}, None, r"gamma = -0\.1: must be a number in \[0, 1\]"),
        ({"alpha": 2}, None, r"alpha = 2"),
        ({"episodes": 0}, None, r"episodes = 0"),
        ({"n": -1}, None, r"n = -1"),
        ({"initial": float("nan")}, None, r"initial = nan: must be finite"),
        ({}, UNIFORM[:3], r"policy of shape \(3, 2\): must be probabilities \[7, 2\]"),
        ({}, UNIFORM * 2, r"policy of shape .*summing to one"),
        ({}, UNIFORM * np.nan, r"policy of shape .*summing to one"),
        ({}, [[1.5, -0.5]] * 7, r"policy of shape .*summing to one"),
        ({}, "right", r"policy: must be an array of numbers"),
        ({"env_id": "CartPole-v1"}, None, r"CartPole-v1.*Discrete"),
    ],
)
def test_bad_input(settings: dict[str, Any], policy: Any, message: str) -> None:
    with pytest.raises(CourseError, match=message):
        train(Config(**settings), policy=policy)
