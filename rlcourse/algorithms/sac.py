r"""Soft actor-critic: off-policy, for continuous actions, with a price on being predictable.

Papers: Haarnoja et al. 2018 (SAC, and "Applications", its sections 5 and 6: twin critics and the temperature that
finds itself); Fujimoto et al. 2018 (the smaller of two critics). For a drawn :math:`A'` the critics move towards

.. math:: Y = R + \gamma_{t+1} \bigl(\min_i Q_i(S', A'; \theta^-_i) - \alpha \log \pi(A' \mid S')\bigr)

the policy down :math:`\alpha \log \pi(A \mid S) - \min_i Q_i(S, A)` through the action it draws, and
:math:`\log \alpha` down :math:`-\log \alpha\,(\log \pi + \bar H)`.

Deviations from Haarnoja et al. 2018: the temperature's loss is in :math:`\log \alpha` where the paper writes
:math:`\alpha`, as in the authors' code; environments side by side, updates in bursts; the deviation is bounded by
a curve. Entropy is that of actions in the environment's units, so that :math:`\bar H` is minus their number *plus*
the logarithm of the box's half widths. Environments start anew at checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlcourse.checkpoint import Checkpoint, read_config, restore
from rlcourse.errors import InvalidArgumentError, check_finite, check_multiple, check_settings
from rlcourse.networks import (
    DrawingPolicy,
    ModePolicy,
    SquashedActor,
    TwinCritic,
    check_device,
    descend,
    flatten,
    seeded,
    tensors,
)
from rlcourse.replay import Batch, VectorActionReplay
from rlcourse.rollout import Progress, Segments
from rlcourse.seeding import streams

__all__ = ["Config", "Result", "Run", "actor_loss", "critic_loss", "load_policy", "train"]


@dataclass(frozen=True)
class Config:
    """What a run is made of; the defaults swing a pendulum up."""

    env_id: str = "Pendulum-v1"
    env_options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 20_000  # environment steps, of all environments together
    num_envs: int = 4  # environments side by side
    gamma: float = 0.99  # discount a step
    learning_rate: float = 1e-3  # Adam's step size, of all three losses
    max_grad_norm: float = 100.0  # a longer gradient is cut to this length
    batch_size: int = 128  # transitions an update
    replay_size: int = 100_000  # transitions remembered
    learning_starts: int = 1_000  # steps with random actions before the first update
    train_every: int = 4  # steps between bursts of updates
    updates: int = 4  # updates in a burst
    tau: float = 0.005  # how far the target critics follow at each update
    temperature: float = 1.0  # alpha, in the beginning
    target_entropy: float | None = None  # nats; by default that of half-used actions (see above)
    hidden: tuple[int, ...] = (128, 128)  # units of the fully connected layers
    checkpoint_every: int = 5_000  # steps between points from which a run can be resumed

    def __post_init__(self) -> None:
        check_settings(
            self,
            fractions="gamma tau",
            not_negative="learning_rate max_grad_norm",
            positive="steps num_envs batch_size replay_size learning_starts train_every updates "
            "checkpoint_every",
        )
        check_finite("target_entropy", self.target_entropy or 0.0)
        if not check_finite("temperature", self.temperature) > 0:
            raise InvalidArgumentError(f"temperature = {self.temperature}: must be above zero")
        for name in ("steps", "train_every", "replay_size", "checkpoint_every"):
            check_multiple(name, getattr(self, name), "num_envs", self.num_envs)


@dataclass(frozen=True)
class Result:
    """A trained agent: its frozen policy without chance and one log row an episode."""

    policy: ModePolicy
    log: list[dict[str, float]]
    config: Config
    seed: int


# --- the losses ------------------------------------------------------------------------------------


def critic_loss(
    critics: nn.Module,
    targets: nn.Module,
    actor: nn.Module,
    batch: Batch,
    alpha: Tensor,
    dice: torch.Generator,
) -> Tensor:
    r"""Both critics' squared errors to :math:`R + \gamma (\min_i Q_i(S', A') - \alpha \log \pi(A'))`, ``[B]``."""
    with torch.no_grad():
        chances = actor(batch.next_obs)
        raw = chances.sample(dice)
        next_q = targets(batch.next_obs, chances.act(raw)).min(dim=0).values
        soft = next_q - alpha * chances.log_prob(raw)
        y: Tensor = batch.reward + batch.discount * soft  # [B]
    q: Tensor = critics(batch.obs, batch.action)  # [2, B]
    assert y.shape == q[0].shape
    return ((q - y) ** 2).sum(dim=0) / 2


def actor_loss(
    critics: nn.Module, actor: nn.Module, batch: Batch, alpha: Tensor, dice: torch.Generator
) -> tuple[Tensor, Tensor]:
    r""":math:`\alpha \log \pi(A) - \min_i Q_i(S, A)` for drawn actions, and :math:`\log \pi(A)`; both ``[B]``."""
    chances = actor(batch.obs)
    raw = chances.sample(dice)
    log_prob = chances.log_prob(raw)
    q = critics(batch.obs, chances.act(raw)).min(dim=0).values
    assert q.shape == log_prob.shape
    return alpha * log_prob - q, log_prob.detach()


# --- the loop --------------------------------------------------------------------------------------


class Run:
    """All of a run that changes; ``kept`` is what a checkpoint holds."""

    algorithm = "sac"
    kept = (
        *("actor", "critics", "targets", "log_alpha", "actor_optimizer", "critic_optimizer"),
        *("alpha_optimizer", "replay", "episodes", "exploration", "dice"),
    )

    def __init__(self, config: Config, seed: int, device: str) -> None:
        self.config, self.seed, self.device = config, seed, check_device(device)
        random = streams(seed)
        self.exploration = random.exploration
        envs = config.env_id, config.env_options, config.num_envs
        self.episodes = Segments(*envs, random.env)
        spaces = self.episodes.observation_space, self.episodes.action_space
        with seeded(random.network):
            self.actor = SquashedActor(*spaces, config.hidden).to(device)
            self.critics = TwinCritic(*spaces, config.hidden).to(device)
        self.targets = deepcopy(self.critics)
        self.log_alpha = nn.ParameterList([torch.tensor([config.temperature]).log()]).to(device)
        parts = (self.actor, self.critics, self.log_alpha)
        self.actor_weights, self.critic_weights, self.alpha_weights = map(flatten, parts)
        self.target_weights = flatten(self.targets)
        self.actor_optimizer, self.critic_optimizer, self.alpha_optimizer = (
            torch.optim.Adam([weights], lr=config.learning_rate, fused=True)
            for weights in (self.actor_weights, self.critic_weights, self.alpha_weights)
        )
        usual = float(((self.actor.high - self.actor.low) / 2).log().sub(1).sum())
        self.target_entropy = usual if config.target_entropy is None else config.target_entropy
        memory = partial(VectorActionReplay, num_envs=config.num_envs, gamma=config.gamma)
        self.replay = memory(config.replay_size, *spaces, rng=random.replay)
        self.dice = torch.Generator(device)
        self.dice.manual_seed(int(self.exploration.integers(2**62)))
        self.draw = DrawingPolicy(self.actor, self.dice)

    def act(self, obs: Any) -> Any:
        """Draw what the environments take."""
        if self.episodes.steps < self.config.learning_starts:
            low, high = self.actor.low.cpu().numpy(), self.actor.high.cpu().numpy()
            return self.exploration.uniform(low, high, (len(obs), len(low))).astype(np.float32)
        return self.draw(obs)[1]

    def policy(self) -> ModePolicy:
        """The policy as it stands, frozen and without chance."""
        return ModePolicy(deepcopy(self.actor))


def train(
    config: Config,
    seed: int = 0,
    *,
    device: str = "cpu",
    on_progress: Progress | None = None,
    on_checkpoint: Callable[[Run], None] | None = None,
    resume: Checkpoint | None = None,
) -> Result:
    """Learn.

    >>> result = train(Config(steps=400, learning_starts=200, batch_size=16, hidden=(8,)))
    >>> result.policy(np.zeros((3, 3), np.float32)).shape
    (3, 1)

    Raises:
        DivergenceError: a loss or its gradient is no longer finite.
    """
    run = Run(config, seed, device)
    if resume is not None:
        restore(run, resume)
    episodes, enough = run.episodes, min(config.learning_starts, config.replay_size)
    while episodes.steps < config.steps:
        step = episodes.step(run.act(episodes.obs))
        run.replay.add(step)
        if len(run.replay) >= enough and episodes.steps % config.train_every == 0:
            for _ in range(config.updates):
                update(run)
        if on_progress and step.boundary.any():
            on_progress(episodes.steps, episodes.log[-1], run)
        if episodes.steps % config.checkpoint_every == 0:
            episodes.restart()
            run.replay.cut()
            if on_checkpoint:
                on_checkpoint(run)
    if on_checkpoint:
        on_checkpoint(run)
    episodes.close()
    return Result(run.policy(), episodes.log, config, seed)


def update(run: Run) -> None:
    """One step down each of the three losses, and the targets one small step behind the critics."""
    config = run.config
    batch = tensors(run.replay.sample(config.batch_size), run.device)
    facts = {"step": run.episodes.steps, **batch._asdict()}
    rate, longest = config.learning_rate, config.max_grad_norm
    down = partial(descend, learning_rate=rate, max_norm=longest, facts=facts)
    alpha = run.alpha_weights.detach().exp()
    losses = critic_loss(run.critics, run.targets, run.actor, batch, alpha, run.dice)
    value = down(losses.mean(), run.critic_weights, run.critic_optimizer)

    run.critics.requires_grad_(False)  # the action's way to the value needs no gradient of weights
    losses, log_prob = actor_loss(run.critics, run.actor, batch, alpha, run.dice)
    down(losses.mean(), run.actor_weights, run.actor_optimizer)
    run.critics.requires_grad_(True)

    surplus = log_prob.mean() + run.target_entropy  # above zero: too predictable
    down(-(run.log_alpha[0] * surplus).sum(), run.alpha_weights, run.alpha_optimizer)
    run.target_weights.data.lerp_(run.critic_weights.data, config.tau)
    run.episodes.note = {"loss": value, "alpha": float(alpha)}


def load_policy(kept: Checkpoint) -> ModePolicy:
    """The frozen policy of a checkpoint."""
    run = Run(read_config(Config, kept, "sac"), kept.seed, "cpu")
    restore(run, kept, only=("actor",))
    run.episodes.close()
    return run.policy()
