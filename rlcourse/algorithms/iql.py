r"""Independent Q-learning: each agent runs a deep Q-network on what it sees, as if it were alone.

Papers: Tan 1993 (independent learners), Tampuu et al. 2017 (with deep Q-networks), Mnih et al. 2015 (DQN).
Agent :math:`i` moves :math:`Q_i(o_i, A_i)` towards :math:`R_i + \gamma_{t+1} \max_a Q_i(o_i', a; \theta^-_i)`.
Nothing in this line knows of the others, though they have a hand in :math:`R_i` and :math:`o_i'`: the same row of
the memory has another expected target once they have changed.

Deviations: as in ``dqn``; with ``shared`` all agents are one network, learned from all their rows.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlcourse.algorithms import dqn
from rlcourse.envs.vector import Step
from rlcourse.mdp import Ints
from rlcourse.networks import GreedyPolicy, check_device, flatten, q_network, seeded
from rlcourse.replay import UniformReplay
from rlcourse.rollout import Crowd, Progress
from rlcourse.schedules import linear
from rlcourse.seeding import streams

__all__ = ["Config", "Learner", "Result", "TeamPolicy", "train"]


@dataclass(frozen=True)
class Config(dqn.Config):
    """What a run is made of; the defaults learn to spread. ``num_envs`` counts agents, of all copies."""

    env_id: str = "rlcourse/Spread"
    steps: int = 1_008_000  # agent steps, of all copies together
    num_envs: int = 48  # agents side by side: three in each of 16 copies
    gamma: float = 0.9
    batch_size: int = 256
    replay_size: int = 240_000
    learning_starts: int = 4_800
    train_every: int = 48
    updates: int = 1
    target_every: int = 200
    epsilon_steps: int = 400_000
    checkpoint_every: int = 48
    double: bool = True
    shared: bool = True  # one network for all agents; else one each


class TeamPolicy:
    """Greedy policies, one an agent or one for all: ``policy(observations [C * A, d]) -> actions [C * A]``."""

    def __init__(self, policies: list[GreedyPolicy]) -> None:
        self.policies = policies

    def __call__(self, observations: NDArray[Any]) -> Ints:
        """Actions; row ``c * A + a`` is agent ``a``'s."""
        number = len(self.policies)
        actions = np.zeros(len(observations), dtype=np.int64)
        for k, policy in enumerate(self.policies):
            actions[k::number] = policy(observations[k::number])
        return actions


@dataclass(frozen=True)
class Result:
    """Trained agents: their frozen greedy policies and one log row an agent's episode."""

    policy: TeamPolicy
    log: list[dict[str, float]]
    config: Config
    seed: int


class Learner(dqn.Run):
    """One deep Q-network and its memory; DQN's own update moves it."""

    algorithm = "iql"

    def __init__(
        self, config: Config, episodes: Crowd, rows: int, network: int, rng: np.random.Generator
    ) -> None:
        self.config, self.device, self.updates = config, check_device("cpu"), 0
        self.episodes = episodes
        space = episodes.observation_space
        with seeded(network):
            self.network = q_network(space, episodes.num_actions, config.hidden)
        self.target = deepcopy(self.network)
        self.weights, self.target_weights = flatten(self.network), flatten(self.target)
        self.optimizer = torch.optim.Adam([self.weights], fused=True)
        size = config.replay_size * rows // config.num_envs
        self.replay = UniformReplay(
            size, space, num_envs=rows, gamma=config.gamma, n=config.n, rng=rng
        )


def train(
    config: Config,
    seed: int = 0,
    *,
    loss: dqn.Loss | None = None,
    on_progress: Progress | None = None,
) -> Result:
    """Learn; hand in your own loss and it trains real agents.

    >>> short = Config(steps=96, num_envs=6, learning_starts=24, train_every=12, checkpoint_every=6)
    >>> train(short).policy(np.zeros((6, 18), np.float32)).shape
    (6,)

    Raises:
        DivergenceError: a loss or its gradient is no longer finite.
    """
    random = streams(seed)
    episodes = Crowd(config.env_id, config.env_options, config.num_envs, random.env)
    number = 1 if config.shared else episodes.agents
    make = partial(Learner, config, episodes, config.num_envs // number)
    memories = random.replay.spawn(number)
    learners = [make(random.network + k, rng) for k, rng in enumerate(memories)]
    loss = loss or (dqn.double_dqn_loss if config.double else dqn.dqn_loss)
    epsilon_at = linear(config.epsilon, config.epsilon_end, config.epsilon_steps)
    greedy = TeamPolicy([GreedyPolicy(learner.network) for learner in learners])
    while episodes.steps < config.steps:
        exploring = random.exploration.random(config.num_envs) < epsilon_at(episodes.steps)
        anything = random.exploration.integers(episodes.num_actions, size=config.num_envs)
        step = episodes.step(np.where(exploring, anything, greedy(episodes.obs)))
        for k, learner in enumerate(learners):
            own: list[Any] = [field[k::number] for field in step]
            learner.replay.add(Step(*own))
        if episodes.steps >= config.learning_starts and episodes.steps % config.train_every == 0:
            for learner in learners * config.updates:
                dqn.update(learner, loss)
        if on_progress and step.boundary.any():
            on_progress(episodes.steps, episodes.log[-1], learners)
    episodes.close()
    frozen = [GreedyPolicy(deepcopy(learner.network).eval()) for learner in learners]
    return Result(TeamPolicy(frozen), episodes.log, config, seed)
