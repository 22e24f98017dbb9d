"""One environment, stepped and counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlcourse.envs.vector import make
from rlcourse.errors import CourseError
from rlcourse.rollout import Episodes, Segments, WholeEpisodes


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


# --- stretches ------------------------------------------------------------------------------------

CORRIDOR = "rlcourse/Probe-Corridor-v0"  # every step leads one state on; the fifth one ends


def stay(obs: Any) -> Any:
    """Action zero, and for a raw one the observation that led to it."""
    return np.array(obs), np.zeros(len(obs), int)


@pytest.mark.parametrize("limit", [3, 5, 6])
def test_stretches_hold_the_true_successors_and_join(limit: int) -> None:
    """Stretches of four out of episodes of another length: the next one begins where the last one stopped."""
    segments = Segments(CORRIDOR, {"max_episode_steps": limit}, num_envs=2, seed=0)
    length = min(limit, 5)
    for k in range(6):
        part = segments.play(stay, 4)
        at = np.arange(4 * k, 4 * k + 4) % length
        for field in (part.obs, part.raw):  # what the policy was shown is what is remembered
            np.testing.assert_array_equal(field, np.tile(at, (2, 1)).T)
        np.testing.assert_array_equal(part.next_obs, part.obs + 1)
        np.testing.assert_array_equal(part.boundary[:, 0], at == length - 1)
        np.testing.assert_array_equal(part.terminated[:, 0], (at == 4))
        np.testing.assert_array_equal(part.reward[:, 1], at == 4)
    assert segments.steps == 48
    ends = [2 * t for t in range(length, 25, length) for _ in range(2)]
    assert [row["step"] for row in segments.log] == ends
    assert {(row["return"], row["length"]) for row in segments.log} == {(float(limit > 4), length)}


def test_stretches_copy_what_they_keep() -> None:
    """A policy may reuse its arrays between stretches, an environment always may."""
    segments = Segments("CartPole-v1", {}, num_envs=2, seed=0)
    first = segments.play(lambda obs: (np.ones(2, int), np.ones(2, int)), 30)
    kept = [np.array(field) for field in first]
    segments.play(lambda obs: (np.zeros(2, int), np.zeros(2, int)), 30)
    for field, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(field, copy)
    same = first.next_obs[:-1][~first.boundary[:-1]] == first.obs[1:][~first.boundary[:-1]]
    assert same.all() and first.boundary.any()
    assert not (
        first.next_obs[:-1][first.boundary[:-1]] == first.obs[1:][first.boundary[:-1]]
    ).any()


def test_stretches_are_their_seed_and_begin_anew_elsewhere() -> None:
    def obs_of(seed: int, restart: bool = False) -> np.ndarray:
        segments = Segments("CartPole-v1", {}, num_envs=2, seed=seed)
        segments.play(lambda obs: (np.ones(2, int), np.ones(2, int)), 5)
        if restart:
            segments.restart()
            assert segments.length.tolist() == [0, 0] and segments.total.tolist() == [0.0, 0.0]
        return np.concatenate([segments.obs.ravel(), segments.play(stay, 3).obs.ravel()])

    assert (obs_of(0) == obs_of(0)).all() and not (obs_of(0) == obs_of(1)).any()
    assert (obs_of(0, True) == obs_of(0, True)).all()
    first = Segments("CartPole-v1", {}, num_envs=2, seed=0).obs
    assert not (obs_of(0, True)[:8] == first.ravel()).any()  # not the first start once more


# --- whole episodes -------------------------------------------------------------------------------


def test_a_batch_is_one_episode_of_each_to_its_end() -> None:
    """Cut after three, or ended in the moment of the cut; where each one stopped is told, not where it went on."""
    for limit, ended in ((3, False), (5, True), (6, True)):
        episodes = WholeEpisodes(CORRIDOR, {"max_episode_steps": limit}, num_envs=3, seed=0)
        length = min(limit, 5)
        batch = episodes.play(stay)
        for field in (batch.obs, batch.raw):
            np.testing.assert_array_equal(field, np.tile(np.arange(length), (3, 1)).T)
        assert batch.last_obs.tolist() == [length] * 3 and batch.terminated.tolist() == [ended] * 3
        assert batch.running.all() and episodes.steps == 3 * length
        assert episodes.log == [
            {"step": 3 * length, "return": float(ended), "length": length} for _ in range(3)
        ]


def test_after_its_end_an_episode_is_padded() -> None:
    """Of different lengths, against each environment played on its own."""
    episodes = WholeEpisodes("CartPole-v1", {}, num_envs=4, seed=3)
    batch = episodes.play(lambda obs: ((obs[:, 2] > 0).astype(int),) * 2)
    lengths = batch.running.sum(axis=0)
    assert len(set(lengths.tolist())) > 1
    for i, length in enumerate(lengths):
        env = make("CartPole-v1")
        env.reset(seed=0)
        env.unwrapped.state = batch.obs[0, i].astype(np.float64)  # type: ignore[attr-defined]
        for t in range(length):
            action = int(batch.obs[t, i, 2] > 0)
            assert batch.raw[t, i] == action
            obs, reward, terminated, _, _ = env.step(action)
            following = batch.last_obs[i] if t == length - 1 else batch.obs[t + 1, i]
            np.testing.assert_allclose(following, obs, atol=1e-4)
            assert batch.reward[t, i] == reward and terminated == (t == length - 1)
        assert not batch.running[length:, i].any() and not batch.reward[length:, i].any()
    assert [row["length"] for row in episodes.log] == lengths.tolist()


def test_every_episode_starts_somewhere_else_and_a_batch_can_be_had_again() -> None:
    """Bug 22: the same seed for every episode would be the same start; so would one for all environments."""
    episodes = WholeEpisodes("CartPole-v1", {}, num_envs=4, seed=0)
    act = lambda obs: (np.ones(len(obs), int),) * 2  # noqa: E731
    batches = [episodes.play(act) for _ in range(5)]
    starts = {tuple(row) for batch in batches for row in batch.obs[0]}
    assert len(starts) == 20
    again = WholeEpisodes("CartPole-v1", {}, num_envs=4, seed=0)
    again.steps = int(sum(batch.running.sum() for batch in batches[:3]))
    np.testing.assert_array_equal(again.play(act).obs, batches[3].obs)
    other = WholeEpisodes("CartPole-v1", {}, num_envs=4, seed=1).play(act)
    assert not (other.obs[0] == batches[0].obs[0]).any()


@pytest.mark.parametrize("num_envs", [0, -1, 2.5])
def test_numbers_of_environments_that_cannot_be(num_envs: Any) -> None:
    for kind in (Segments, WholeEpisodes):
        with pytest.raises(CourseError, match=rf"num_envs = {num_envs}: must be a whole number"):
            kind("CartPole-v1", {}, num_envs, 0)
