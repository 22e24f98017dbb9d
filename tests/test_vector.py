"""The stepping convention: every row a real transition, every policy input a living state."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlcourse.envs.vector import Step, Stepper, make, make_vector
from rlcourse.errors import CourseError, InvalidArgumentError, UnknownEnvironmentError

CORRIDOR = "rlcourse/Probe-Corridor-v0"


class Clock(gym.Env[Any, Any]):
    """The state is the step; the episode is cut off after ``length``; a reset starts at 100."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int = 4) -> None:
        self.length = length
        self.observation_space = gym.spaces.Box(0, 1000, (1,), np.float64)
        self.face = np.zeros(1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.face = np.full(1, 100.0)
        return self.face, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.face += 1  # in place, as careless environments do
        return self.face, 0.0, False, bool(self.face[0] >= 100 + self.length), {}


def test_next_obs_is_the_true_successor() -> None:
    """In a corridor each step leads one on; a jump from the last state to the first is false."""
    stepper = make_vector(CORRIDOR, 3)
    obs = stepper.reset(seed=0)
    ends = 0
    for _ in range(23):
        step = stepper.step(np.zeros(3, dtype=int))
        np.testing.assert_array_equal(step.obs, obs)
        np.testing.assert_array_equal(step.next_obs, step.obs + 1)
        np.testing.assert_array_equal(step.terminated, step.next_obs == 5)
        ends += step.terminated.sum()
        obs = stepper.obs
    assert ends == 3 * 4


def test_the_policy_sees_the_new_episode() -> None:
    """After an end the next input is the first state of the new episode, never the dead one."""
    stepper = make_vector(CORRIDOR, 2)
    stepper.reset(seed=0)
    inputs = []
    for _ in range(15):
        inputs.append(int(stepper.obs[0]))
        step = stepper.step([0, 0])
        assert (stepper.obs[step.boundary] == 0).all()
        assert (stepper.obs[~step.boundary] == step.next_obs[~step.boundary]).all()
    assert inputs == [0, 1, 2, 3, 4] * 3


def test_environments_out_of_step_with_each_other() -> None:
    """Episodes of 2, 3 and 5 steps side by side, over an environment that reuses its buffer."""
    envs = SyncVectorEnv(
        [lambda: Clock(2), lambda: Clock(3), lambda: Clock(5)],
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    stepper = Stepper(envs)
    stepper.reset(seed=0)
    steps = [stepper.step([0, 0, 0]) for _ in range(30)]
    for t, step in enumerate(steps):
        phase = np.array([[t % 2], [t % 3], [t % 5]])
        np.testing.assert_array_equal(step.obs, 100 + phase)
        np.testing.assert_array_equal(step.next_obs, 101 + phase)
        np.testing.assert_array_equal(step.truncated, (phase + 1).ravel() == [2, 3, 5])
        assert not step.terminated.any()


def test_cartpole_obeys_its_physics_on_every_row() -> None:
    """Put each recorded state and action into a fresh CartPole: it must say the same successor."""
    stepper = make_vector("CartPole-v1", 3)
    stepper.reset(seed=1)
    rng = np.random.default_rng(0)
    lab = gym.make("CartPole-v1").unwrapped
    lab.reset(seed=0)
    boundaries = 0
    for _ in range(80):
        step = stepper.step(rng.integers(2, size=3))
        boundaries += step.boundary.sum()
        for i in range(3):
            lab.state, lab.steps_beyond_terminated = step.obs[i].astype(float), None
            following, _, terminated, _, _ = lab.step(int(step.action[i]))
            np.testing.assert_allclose(step.next_obs[i], following, atol=1e-5)
            assert step.terminated[i] == terminated
    assert boundaries >= 5


def test_recorded_steps_do_not_change_later() -> None:
    stepper = make_vector("CartPole-v1", 2)
    stepper.reset(seed=0)
    first = stepper.step([0, 1])
    kept = [np.array(field) for field in first]
    for _ in range(50):
        stepper.step([1, 0])
    for field, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(field, copy)


def test_the_discount_drops_only_at_a_true_end() -> None:
    step = Step(*[np.zeros(4)] * 3, np.array([0, 1, 0, 1]) == 1, np.array([0, 0, 1, 1]) == 1, None)
    assert step.discount(0.9).tolist() == [0.9, 0.0, 0.9, 0.0]
    assert step.boundary.tolist() == [False, True, True, True]


def test_terminated_and_truncated_together_is_an_end() -> None:
    stepper = make_vector("rlcourse/Probe-LastMoment-v0", 1)
    stepper.reset(seed=0)
    steps = [stepper.step([0]) for _ in range(3)]
    assert steps[2].terminated.all() and steps[2].truncated.all()
    assert [float(step.discount(0.9)[0]) for step in steps] == [0.9, 0.9, 0.0]


def test_a_seed_is_a_run() -> None:
    def run(seed: int) -> list[float]:
        stepper = make_vector("CartPole-v1", 2)
        stepper.reset(seed=seed)
        return [float(stepper.step([0, 1]).next_obs.sum()) for _ in range(40)]

    assert run(0) == run(0) != run(1)
    start = make_vector("CartPole-v1", 2).reset(seed=0)
    assert (start[0] != start[1]).all()  # the copies do not play the same episode


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_modes_with_rows_of_no_transition_are_refused(mode: AutoresetMode) -> None:
    envs = SyncVectorEnv([lambda: gym.make("CartPole-v1")], autoreset_mode=mode)
    with pytest.raises(InvalidArgumentError, match=r"envs: autoreset mode .*must be SAME_STEP"):
        Stepper(envs)


def test_steps_that_cannot_be_taken() -> None:
    stepper = make_vector("CartPole-v1", 2)
    with pytest.raises(CourseError, match=r"call reset"):
        stepper.step([0, 0])
    stepper.reset(seed=0)
    for action in ([0], [0, 1, 0], 1):
        with pytest.raises(InvalidArgumentError, match=r"action of shape .*must be \[2\]"):
            stepper.step(action)  # type: ignore[arg-type]


# --- making environments --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Taxi-v3", "Taxi-v4"),
        ("CliffWalking-v0", "CliffWalking-v1"),
        ("LunarLander-v2", "LunarLander-v3"),
    ],
)
def test_retired_ids_name_their_heirs(old: str, new: str) -> None:
    with pytest.raises(UnknownEnvironmentError, match=rf"env_id = '{old}': retired; use '{new}'"):
        make(old)
    assert new in gym.registry


@pytest.mark.parametrize(
    ("env_id", "near"),
    [
        ("FrozenLake", "FrozenLake-v1"),
        ("Frozenlake-v1", "FrozenLake-v1"),
        ("CartPole-v7", "CartPole-v1"),
        ("rlcourse/Gird-v0", "rlcourse/Grid-v0"),
    ],
)
def test_unknown_ids_name_the_nearest(env_id: str, near: str) -> None:
    with pytest.raises(UnknownEnvironmentError, match=rf"env_id = '{env_id}': .*{near}"):
        make(env_id)


def test_ids_like_nothing_known() -> None:
    with pytest.raises(UnknownEnvironmentError, match=r"env_id = '%%%%': no such environment"):
        make("%%%%")
    with pytest.raises(CourseError, match=r"env_id = None: must be the name"):
        make(None)  # type: ignore[arg-type]


def test_options_that_an_environment_does_not_take() -> None:
    with pytest.raises(InvalidArgumentError, match=r"options = .*'slippery'.*FrozenLake-v1 says"):
        make("FrozenLake-v1", slippery=True)
    with pytest.raises(InvalidArgumentError, match=r"num_envs = 0: must be a whole number"):
        make_vector("CartPole-v1", 0)


def test_the_cliff_has_a_time_limit() -> None:
    for env, limit in ((make("CliffWalking-v1"), 1000),
                       (make("CliffWalking-v1", max_episode_steps=7), 7)):  # fmt: skip
        env.reset(seed=0)
        cuts = [env.step(0)[3] for _ in range(limit)]
        assert cuts == [False] * (limit - 1) + [True]
