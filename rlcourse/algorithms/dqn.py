r"""Deep Q-networks, and four of their six repairs: Double, dueling, prioritised, multi-step.

Papers: Mnih et al. 2015 (DQN, algorithm 1), van Hasselt et al. 2016 (Double), Wang et al. 2016 (dueling),
Schaul et al. 2016 (prioritised), Sutton 1988 and Hessel et al. 2018 (multi-step). On transitions drawn from a
memory, the value of the action taken moves towards a target that counts as a constant,
:math:`Y = R + \gamma_{t+1} \max_{a} Q(S', a; \theta^-)`, where :math:`\theta^-` is a copy of the network that is
renewed now and then.

Deviations from Mnih et al. 2015: Adam, whose step size falls to zero, instead of RMSProp; the gradient's norm
is clipped; several environments side by side; updates in bursts; the value of the state in which a time limit
strikes is kept (the paper has no time limits). Every ``checkpoint_every`` steps the environments start anew, so
that a run resumed from there is the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from rlcourse.checkpoint import Checkpoint, read_config, restore
from rlcourse.errors import check_fraction, check_multiple, check_not_negative, check_positive
from rlcourse.networks import (
    GreedyPolicy,
    check_device,
    descend,
    flatten,
    q_network,
    seeded,
    tensors,
)
from rlcourse.replay import Batch, PrioritizedReplay, UniformReplay
from rlcourse.rollout import Progress, VectorEpisodes
from rlcourse.schedules import linear
from rlcourse.seeding import streams

__all__ = ["Config", "Result", "Run", "double_dqn_loss", "dqn_loss", "load_policy", "train"]


@dataclass(frozen=True)
class Config:
    """What a run is made of; the defaults are the plain agent on CartPole, without any repair."""

    env_id: str = "CartPole-v1"
    env_options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 60_000  # environment steps, of all environments together
    num_envs: int = 8  # environments side by side
    gamma: float = 0.99  # discount a step
    learning_rate: float = 1e-3  # Adam's step size in the first step
    learning_rate_end: float = 0.0  # the same in the last one
    max_grad_norm: float = 10.0  # a longer gradient is cut to this length
    batch_size: int = 64  # transitions an update
    replay_size: int = 100_000  # transitions remembered
    learning_starts: int = 1_000  # transitions remembered before the first update
    train_every: int = 8  # steps between bursts of updates
    updates: int = 4  # updates in a burst
    target_every: int = 128  # updates between copies into the target network; 1 means there is none
    epsilon: float = 1.0  # chance of a random action in the first step
    epsilon_end: float = 0.05  # the same in the end
    epsilon_steps: int = 8_000  # steps from the one to the other
    hidden: tuple[int, ...] = (128, 128)  # units of the fully connected layers
    double: bool = False  # van Hasselt et al. 2016
    dueling: bool = False  # Wang et al. 2016
    prioritized: bool = False  # Schaul et al. 2016
    alpha: float = 0.6  # how much priorities count
    beta: float = 0.4  # how much of their bias is undone in the first step; all in the last
    n: int = 1  # rewards in a target
    checkpoint_every: int = 20_480  # steps between points from which a run can be resumed

    def __post_init__(self) -> None:
        for name in ("gamma", "epsilon", "epsilon_end", "alpha", "beta"):
            check_fraction(name, getattr(self, name))
        for name in ("learning_rate", "learning_rate_end", "max_grad_norm"):
            check_not_negative(name, getattr(self, name))
        put = partial(object.__setattr__, self)  # so that 8.0 or a list, say from a file, is mended
        sizes = self.hidden if isinstance(self.hidden, list | tuple) else (self.hidden,)
        put("hidden", tuple(check_positive("hidden", size) for size in sizes))
        put("num_envs", check_positive("num_envs", self.num_envs))
        for name in ("steps", "train_every", "replay_size", "checkpoint_every"):
            put(name, check_multiple(name, getattr(self, name), "num_envs", self.num_envs))
        for name in ("batch_size", "updates", "target_every", "learning_starts", "epsilon_steps"):
            put(name, check_positive(name, getattr(self, name)))
        put("n", check_positive("n", self.n))


@dataclass(frozen=True)
class Result:
    """A trained agent: its frozen greedy policy and one log row an episode."""

    policy: GreedyPolicy
    log: list[dict[str, float]]
    config: Config
    seed: int


# --- the losses ------------------------------------------------------------------------------------

# Of the network, the target network and a batch of B: losses [B] and TD errors [B].
Loss = Callable[[nn.Module, nn.Module, Batch], tuple[Tensor, Tensor]]


def dqn_loss(network: nn.Module, target: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    r"""Huber's loss of :math:`R + \gamma_{t+1} \max_a Q(S', a; \theta^-) - Q(S, A; \theta)` (Mnih et al. 2015)."""
    with torch.no_grad():
        next_q = target(batch.next_obs).max(dim=1).values  # [B]
        y = batch.reward + batch.discount * next_q
    q = network(batch.obs).gather(1, batch.action[:, None]).squeeze(1)  # [B]
    assert y.shape == q.shape == batch.reward.shape
    return smooth_l1_loss(q, y, reduction="none"), y - q.detach()


def double_dqn_loss(network: nn.Module, target: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    r"""The same with :math:`Q(S', \arg\max_a Q(S', a; \theta); \theta^-)` (van Hasselt et al. 2016, equation 4)."""
    with torch.no_grad():
        best = network(batch.next_obs).argmax(dim=1, keepdim=True)  # [B, 1]
        next_q = target(batch.next_obs).gather(1, best).squeeze(1)  # [B]
        y = batch.reward + batch.discount * next_q
    q = network(batch.obs).gather(1, batch.action[:, None]).squeeze(1)  # [B]
    assert y.shape == q.shape == batch.reward.shape
    return smooth_l1_loss(q, y, reduction="none"), y - q.detach()


# --- the loop --------------------------------------------------------------------------------------


class Run:
    """All of a run that changes; ``kept`` is what a checkpoint holds."""

    algorithm = "dqn"
    kept: tuple[str, ...] = (
        *("network", "target", "optimizer", "replay", "episodes", "exploration", "updates"),
    )

    def __init__(self, config: Config, seed: int, device: str) -> None:
        self.config, self.seed, self.device, self.updates = config, seed, check_device(device), 0
        random = streams(seed)
        self.exploration = random.exploration
        options = config.env_options
        self.episodes = VectorEpisodes(config.env_id, options, config.num_envs, random.env)
        self.space, self.actions = self.episodes.observation_space, self.episodes.num_actions
        self.network_seed = random.network
        with seeded(self.network_seed):
            self.network = self.build(self.space, self.actions).to(device)
        self.target = deepcopy(self.network)
        self.weights, self.target_weights = flatten(self.network), flatten(self.target)
        self.optimizer = torch.optim.Adam([self.weights], fused=True)
        kind = (
            partial(PrioritizedReplay, alpha=config.alpha) if config.prioritized else UniformReplay
        )
        memory = partial(kind, num_envs=config.num_envs, gamma=config.gamma, n=config.n)
        self.replay = memory(config.replay_size, self.space, rng=random.replay)

    def build(self, space: Space[Any], actions: int) -> nn.Module:
        """The network."""
        return q_network(space, actions, self.config.hidden, dueling=self.config.dueling)

    def policy(self) -> GreedyPolicy:
        """The greedy policy as it stands, frozen."""
        return GreedyPolicy(deepcopy(self.network).eval())


def train(
    config: Config,
    seed: int = 0,
    *,
    loss: Loss | None = None,
    device: str = "cpu",
    on_progress: Progress | None = None,
    on_checkpoint: Callable[[Run], None] | None = None,
    resume: Checkpoint | None = None,
) -> Result:
    """Learn; hand in your own loss and it trains a real agent.

    >>> result = train(Config(steps=512, learning_starts=256, updates=2))
    >>> result.policy(np.zeros((3, 4), np.float32)).shape
    (3,)

    Raises:
        DivergenceError: a loss or its gradient is no longer finite.
    """
    run = Run(config, seed, device)
    if resume is not None:
        restore(run, resume)
    loss = loss or (double_dqn_loss if config.double else dqn_loss)
    epsilon_at = linear(config.epsilon, config.epsilon_end, config.epsilon_steps)
    greedy, episodes, replay = GreedyPolicy(run.network), run.episodes, run.replay
    while episodes.steps < config.steps:
        exploring = run.exploration.random(config.num_envs) < epsilon_at(episodes.steps)
        anything = run.exploration.integers(run.actions, size=config.num_envs)
        step = episodes.step(np.where(exploring, anything, greedy(episodes.obs)))
        replay.add(step)
        ready = len(replay) >= min(config.learning_starts, config.replay_size)
        if ready and episodes.steps % config.train_every == 0:
            for _ in range(config.updates):
                update(run, loss)
        if on_progress and step.boundary.any():
            on_progress(episodes.steps, episodes.log[-1], run)
        if episodes.steps % config.checkpoint_every == 0:
            episodes.restart()
            replay.cut()
            if on_checkpoint:
                on_checkpoint(run)
    if on_checkpoint:
        on_checkpoint(run)
    episodes.close()
    return Result(run.policy(), episodes.log, config, seed)


def update(run: Run, loss: Loss) -> None:
    """Draw a batch and take one step down the gradient of its loss."""
    config, share = run.config, run.episodes.steps / run.config.steps
    if isinstance(run.replay, PrioritizedReplay):
        drawn = run.replay.sample(config.batch_size, config.beta + share * (1 - config.beta))
    else:
        drawn = run.replay.sample(config.batch_size)
    batch = tensors(drawn, run.device)
    losses, errors = loss(run.network, run.target, batch)
    rate = config.learning_rate + share * (config.learning_rate_end - config.learning_rate)
    value = descend(
        (batch.weight * losses).mean(),
        run.weights,
        run.optimizer,
        rate,
        config.max_grad_norm,
        facts={"step": run.episodes.steps, "update": run.updates, **batch._asdict()},
    )
    if isinstance(run.replay, PrioritizedReplay):
        run.replay.prioritize(drawn.index, errors.cpu().numpy())
    run.updates += 1
    if run.updates % config.target_every == 0:
        run.target_weights.data.copy_(run.weights.data)
    run.episodes.note["loss"] = value


def load_policy(kept: Checkpoint) -> GreedyPolicy:
    """The frozen policy of a checkpoint."""
    run = Run(read_config(Config, kept, "dqn"), kept.seed, "cpu")
    restore(run, kept, only=("network",))
    run.episodes.close()
    return run.policy()
