"""Independent PPO and Q-learning: rows are agents, actors see their own, teams learn a task with a known answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from rlcourse.algorithms import ippo, iql
from rlcourse.envs import many
from rlcourse.envs.many import Spread, random_policy, team_returns
from rlcourse.envs.vector import Step
from rlcourse.errors import InvalidArgumentError
from rlcourse.rollout import Crowd


class Mirror:
    """Two agents; each sees a coin, and both are paid for every agent that names its own coin. Never ends."""

    agents = 2

    def __init__(self, copies: int, **options: Any) -> None:
        self.num_envs = 2 * copies
        self.single_observation_space, self.single_action_space = Box(-1, 1, (1,)), Discrete(2)

    def _coins(self) -> Any:
        return self.rng.choice([-1.0, 1.0], size=(self.num_envs, 1)).astype(np.float32)

    def reset(self, seed: int) -> Any:
        self.rng, self.age = np.random.default_rng(seed), 0
        self.obs = self._coins()
        return self.obs

    def step(self, action: Any) -> Step:
        right = (np.asarray(action) == (self.obs[:, 0] > 0)).reshape(-1, 2)
        reward = np.repeat(right.sum(axis=1), 2).astype(float)
        self.age += 1
        current, self.obs = self.obs, self._coins()
        cut = np.full(self.num_envs, self.age % 10 == 0)
        return Step(current, np.asarray(action), reward, np.zeros_like(cut), cut, self.obs)

    def close(self) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    make: Any = lambda env_id, copies, **options: Mirror(copies, **options)  # noqa: E731
    monkeypatch.setattr("rlcourse.rollout.make_world", make)


def mistakes(policy: Any) -> int:
    coins = np.array([[-1.0], [1.0]] * 2, np.float32)
    return int((np.asarray(policy(coins)) != [0, 1, 0, 1]).sum())


def test_ippo_learns_a_task_of_which_the_answer_is_known(mirror: None) -> None:
    config = ippo.Config(
        steps=6_000, num_envs=8, horizon=25, batch_size=50, hidden=(16,), gamma=0.5
    )
    assert mistakes(ippo.train(config).policy) == 0


def test_a_central_critic_changes_what_the_critic_sees_and_nothing_that_the_actor_needs(
    mirror: None,
) -> None:
    config = ippo.Config(steps=6_000, num_envs=8, horizon=25, batch_size=50, hidden=(16,), gamma=0.5,
                         central=True)  # fmt: skip
    assert mistakes(ippo.train(config).policy) == 0  # of own observations alone


@pytest.mark.parametrize("shared", [True, False])
def test_independent_q_learning_learns_it_too(mirror: None, shared: bool) -> None:
    config = iql.Config(steps=8_000, num_envs=8, gamma=0.0, batch_size=32, hidden=(16,), train_every=8,
                        learning_starts=200, replay_size=8_000, epsilon_steps=4_000, checkpoint_every=8,
                        target_every=20, shared=shared)  # fmt: skip
    policy = iql.train(config).policy
    assert len(policy.policies) == (1 if shared else 2)
    assert mistakes(policy) == 0


def test_actors_are_blind_for_what_only_the_critic_sees() -> None:
    run = ippo.Run(ippo.Config(num_envs=6, batch_size=150, central=True), 0, "cpu")
    rows = torch.from_numpy(run.episodes.obs)
    assert rows.shape == (6, 54)
    other = rows.clone()
    other[:, 18:] += 1.0
    (chances, values), (same, moved) = run.network(rows), run.network(other)
    assert torch.equal(chances.log_prob(torch.zeros(6, dtype=torch.long)),
                       same.log_prob(torch.zeros(6, dtype=torch.long)))  # fmt: skip
    assert not torch.equal(values, moved)
    policy = run.policy()
    np.testing.assert_array_equal(policy(rows.numpy()), policy(rows[:, :18].numpy()))


def test_a_crowd_counts_agents_and_logs_each_of_their_episodes() -> None:
    crowd = Crowd("rlcourse/Spread", {"max_cycles": 5}, num_envs=6, seed=0)
    segment = crowd.play(lambda obs: (np.zeros(6, int), np.zeros(6, int)), steps=10)
    assert segment.reward.shape == (10, 6) and crowd.steps == 60 and len(crowd.log) == 12
    assert {row["length"] for row in crowd.log} == {5}
    totals = segment.reward[:5].sum(axis=0)
    np.testing.assert_allclose([row["return"] for row in crowd.log[:6]], totals)
    assert not segment.terminated.any() and segment.boundary[[4, 9]].all()
    with pytest.raises(InvalidArgumentError, match="multiple of agents = 3"):
        Crowd("rlcourse/Spread", {}, num_envs=7, seed=0)


@pytest.mark.parametrize("module", [ippo, iql])
def test_a_run_is_its_seed(module: Any) -> None:
    small = {"steps": 600, "num_envs": 6, "batch_size": 50}
    small |= {"horizon": 25, "epochs": 1} if module is ippo else {
        "learning_starts": 60, "train_every": 6, "checkpoint_every": 6, "replay_size": 600}  # fmt: skip
    a, b, c = (module.train(module.Config(**small), seed) for seed in (0, 0, 1))
    obs = np.random.default_rng(0).normal(size=(60, 18)).astype(np.float32)
    np.testing.assert_array_equal(a.policy(obs), b.policy(obs))
    assert a.log == b.log and a.log != c.log


def test_a_network_each_acts_for_its_own_rows() -> None:
    class Fixed:
        def __init__(self, action: int) -> None:
            self.action = action

        def __call__(self, obs: Any) -> Any:
            return np.full(len(obs), self.action)

    team = iql.TeamPolicy([Fixed(0), Fixed(1), Fixed(2)])  # type: ignore[list-item]
    assert team(np.zeros((6, 18))).tolist() == [0, 1, 2, 0, 1, 2]


def test_a_short_run_of_ippo_spreads_better_than_chance() -> None:
    config = ippo.Config(steps=60_000, num_envs=96, batch_size=600, hidden=(64, 64), epochs=6)
    learned, _ = team_returns(ippo.train(config).policy, Spread(copies=100), episodes=200, seed=1)
    chance, _ = team_returns(random_policy(0), Spread(copies=100), episodes=200, seed=1)
    assert learned.mean() > chance.mean() + 2


def test_worlds_are_made_by_the_name_that_the_config_gives() -> None:
    with pytest.raises(many.UnknownEnvironmentError):
        ippo.train(ippo.Config(env_id="CartPole-v1"))
