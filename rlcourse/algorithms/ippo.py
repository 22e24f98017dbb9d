r"""Independent PPO with shared parameters: each agent learns by PPO, and all of them are one network.

Papers: de Witt et al. 2020 (IPPO), Yu et al. 2022 (MAPPO), Schulman et al. 2017 (PPO, equation 7). Rows are agents,
and what the others do is a part of the weather. With agent :math:`i`'s own observation :math:`o_i` and
:math:`r_i(\theta) = \pi(A_i \mid o_i; \theta) / \pi(A_i \mid o_i; \theta_\text{old})` the objective is

.. math:: \frac{1}{n} \sum_{i=1}^{n} \mathbb{E}\bigl[\min\bigl(r_i \hat A_i,
          \operatorname{clip}(r_i, 1 - \epsilon, 1 + \epsilon)\, \hat A_i\bigr)\bigr]

With ``central`` the critic sees what all agents see, and the actors do not: MAPPO's one difference.

Deviations: feed-forward networks, where Yu et al. 2022 also have recurrent ones; values are not normalised; each
agent is paid its own reward also under a central critic; advantages are normalised in each minibatch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from rlcourse.algorithms import ppo
from rlcourse.networks import Actor, ActorCritic, DrawingPolicy, check_device, flatten, seeded
from rlcourse.rollout import Crowd, Progress
from rlcourse.seeding import streams

__all__ = ["Config", "Run", "train"]


@dataclass(frozen=True)
class Config(ppo.Config):
    """What a run is made of; the defaults learn to spread. ``num_envs`` counts agents, of all copies."""

    env_id: str = "rlcourse/Spread"
    steps: int = 1_008_000  # agent steps, of all copies together
    num_envs: int = 192  # agents side by side: three in each of 64 copies
    horizon: int = 25  # steps of each of them in a batch: one episode of Spread
    epochs: int = 10
    batch_size: int = 1_200
    gamma: float = 0.9
    lam: float = 0.95
    learning_rate: float = 2e-3
    entropy: float = 0.01
    clip_end: float = 0.2
    hidden: tuple[int, ...] = (128, 128)
    central: bool = False  # the critic sees what all agents see (MAPPO)


class Own(nn.Module):
    """What an actor may look at: the first columns of a row, its own observation."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, rows: Tensor) -> Tensor:
        """``[B, columns or more] -> [B, columns]``."""
        return rows[:, : self.columns]


def network(
    own: Space[Any], seen: Space[Any], actions: Space[Any], hidden: tuple[int, ...]
) -> ActorCritic:
    """An actor of ``own`` observations and a critic of all that is ``seen``, which begins with them."""
    both = ActorCritic(seen, actions, hidden)
    assert own.shape is not None
    both.actor = nn.Sequential(Own(own.shape[0]), Actor(own, actions, hidden))  # type: ignore[assignment]
    return both


class Run(ppo.Run):
    """All of a run that changes: PPO's, whose environments are agents."""

    algorithm = "ippo"

    def __init__(self, config: Config, seed: int, device: str) -> None:
        self.config, self.seed, self.device, self.updates = config, seed, check_device(device), 0
        random = streams(seed)
        world = config.env_id, config.env_options, config.num_envs
        self.episodes = Crowd(*world, random.env, joint=config.central)
        seen, actions = self.episodes.observation_space, self.episodes.action_space
        with seeded(random.network):
            made = network(self.episodes.own_space, seen, actions, config.hidden)
        self.network, self.shuffle = made.to(device), random.replay
        self.weights = flatten(self.network)
        self.optimizer = torch.optim.Adam([self.weights], eps=config.adam_epsilon, fused=True)
        self.dice = torch.Generator(device)
        self.dice.manual_seed(int(random.exploration.integers(2**62)))
        self.act = DrawingPolicy(nn.Sequential(made.eye, made.actor), self.dice)


def train(
    config: Config,
    seed: int = 0,
    *,
    loss: ppo.Loss = ppo.clipped_loss,
    device: str = "cpu",
    on_progress: Progress | None = None,
) -> ppo.Result:
    """Learn; the loss, the advantages and the epochs are PPO's own.

    The policy takes own observations ``[N, d]``, one row an agent, and needs nobody else's.

    >>> import numpy as np
    >>> short = Config(steps=300, num_envs=6, batch_size=150, epochs=1)
    >>> train(short).policy(np.zeros((3, 18), np.float32)).shape
    (3,)

    Raises:
        DivergenceError: a loss or its gradient is no longer finite.
    """
    run = Run(config, seed, device)
    episodes = run.episodes
    while episodes.steps < config.steps:
        segment = episodes.play(run.act, config.horizon)
        ppo.update(run, segment, loss)
        if on_progress and segment.boundary.any():
            on_progress(episodes.steps, episodes.log[-1], run)
    episodes.close()
    return ppo.Result(run.policy(), episodes.log, config, seed)
