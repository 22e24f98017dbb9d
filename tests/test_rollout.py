"""One environment, stepped and counted."""

from __future__ import annotations

from typing import Any

import pytest

from rlcourse.envs.vector import make
from rlcourse.errors import CourseError
from rlcourse.rollout import Episodes


def first_observations(seed: int, count: int) -> list[int]:
    episodes = Episodes("Taxi-v4", {}, seed)
    return [episodes.obs, *(episodes.reset() for _ in range(count - 1))]


def test_episodes_start_in_different_states() -> None:
    """300 first states: a hundred draws hit 85 different ones on average."""
    assert 65 <= len(set(first_observations(0, 100))) <= 99


def test_starts_depend_on_the_seed_alone() -> None:
    assert first_observations(3, 20) == first_observations(3, 20) != first_observations(4, 20)


def test_episodes_are_logged_as_they_were_played() -> None:
    """Against the environment itself, driven by the same actions."""
    run = Episodes("CliffWalking-v1", {"max_episode_steps": 20}, seed=0)
    env = make("CliffWalking-v1", max_episode_steps=20)
    obs = env.reset(seed=0)[0]
    env.action_space.seed(0)
    assert run.obs == obs
    expected, steps, total, length = [], 0, 0.0, 0
    for _ in range(300):
        action = env.action_space.sample()
        obs, reward, terminated, truncated, _ = env.step(action)
        assert run.step(action) == (reward, terminated, truncated, obs)
        steps, total, length = steps + 1, total + float(reward), length + 1
        if terminated or truncated:
            expected.append({"step": steps, "return": total, "length": length})
            assert run.reset() == env.reset()[0]
            total, length = 0.0, 0
    assert run.log == expected and len(expected) >= 15


def test_progress_hears_of_every_episode_and_sees_the_table() -> None:
    heard: list[Any] = []
    run = Episodes("FrozenLake-v1", {}, 0, lambda *args: heard.append(args))
    run.step(0)
    run.reset("the table")
    assert heard == [(1, {"step": 1, "return": 0.0, "length": 1}, "the table")]


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPole-v1", r"'CartPole-v1' has Box.*Discrete"),
        ("Pendulum-v1", r"'Pendulum-v1' has Box"),
        ("Blackjack-v1", r"'Blackjack-v1' has Tuple.*Discrete"),
        ("NoSuch-v0", r"env_id = 'NoSuch-v0'"),
    ],
)
def test_spaces_that_no_table_can_hold(env_id: str, message: str) -> None:
    with pytest.raises(CourseError, match=message):
        Episodes(env_id, {}, 0)
