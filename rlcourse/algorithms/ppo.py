r"""Proximal policy optimisation: several epochs over one batch, held near the policy that collected it.

Papers: Schulman et al. 2017 (PPO, equation 7), Schulman et al. 2016 (GAE, equation 16). With
:math:`r(\theta) = \pi(A \mid S; \theta) / \pi(A \mid S; \theta_\text{old})` the objective is

.. math:: \mathbb{E}\bigl[\min\bigl(r \hat A,
          \operatorname{clip}(r, 1 - \epsilon, 1 + \epsilon)\, \hat A\bigr)\bigr]

plus a value loss and an entropy bonus.

Deviations from Schulman et al. 2017: policy and value share no layers; the gradient's norm is clipped;
advantages are normalised in each minibatch; continuous actions are squashed by tanh, their entropy is that before.
Every ``checkpoint_every`` updates the environments start anew, so that a run can be resumed from there exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rlcourse.checkpoint import Checkpoint, read_config, restore
from rlcourse.errors import InvalidArgumentError, check_multiple, check_settings
from rlcourse.networks import (
    ActorCritic,
    DrawingPolicy,
    ModePolicy,
    Normalizer,
    check_device,
    descend,
    flatten,
    seeded,
)
from rlcourse.returns import gae
from rlcourse.rollout import Progress, Segment, Segments
from rlcourse.seeding import streams

__all__ = ["Config", "Result", "Run", "clipped_loss", "load_policy", "train", "value_loss"]


@dataclass(frozen=True)
class Config:
    """What a run is made of; the defaults learn CartPole."""

    env_id: str = "CartPole-v1"
    env_options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 100_000  # environment steps, of all environments together
    num_envs: int = 8  # environments side by side
    horizon: int = 32  # steps of each of them in a batch
    epochs: int = 20  # passes over a batch
    batch_size: int = 256  # transitions a gradient step
    gamma: float = 0.98  # discount a step
    lam: float = 0.8  # GAE: 0 trusts the values, 1 the rewards
    learning_rate: float = 1e-3  # Adam's step size in the first step
    learning_rate_end: float = 0.0  # the same in the last one
    adam_epsilon: float = 1e-5  # Adam's, in the denominator
    clip: float = 0.2  # how far the ratio may gain, in the first step
    clip_end: float = 0.0  # the same in the last one
    value_clip: bool = False  # hold the values near the old ones by the same measure
    max_kl: float = 0.0  # leave the batch when the policy has moved this far, in nats; 0 never
    value_weight: float = 0.5  # of the value loss
    entropy: float = 0.0  # weight of the entropy bonus
    max_grad_norm: float = 0.5  # a longer gradient is cut to this length
    normalize_advantages: bool = True  # to mean 0 and deviation 1, in each minibatch
    normalize_observations: bool = False  # likewise, by all that have been seen
    hidden: tuple[int, ...] = (64, 64)  # units of the fully connected layers
    checkpoint_every: int = 80  # batches between points from which a run can be resumed

    def __post_init__(self) -> None:
        check_settings(
            self,
            fractions="gamma lam",
            not_negative="learning_rate learning_rate_end adam_epsilon clip clip_end max_kl "
            "value_weight entropy max_grad_norm",
            positive="steps num_envs horizon epochs batch_size checkpoint_every",
        )
        batch = self.num_envs * self.horizon
        check_multiple("num_envs * horizon", batch, "batch_size", self.batch_size)
        if self.batch_size == 1 and self.normalize_advantages:
            raise InvalidArgumentError("batch_size = 1: normalize_advantages needs 2 or more")


@dataclass(frozen=True)
class Result:
    """A trained agent: its frozen policy without chance and one log row an episode."""

    policy: ModePolicy
    log: list[dict[str, float]]
    config: Config
    seed: int


# --- the losses ------------------------------------------------------------------------------------

# Of log-probabilities now and then, advantages and the clip: losses [B].
Loss = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def clipped_loss(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    r"""Minus :math:`\min(r \hat A, \operatorname{clip}(r, 1 - \epsilon, 1 + \epsilon) \hat A)`; all ``[B]``."""
    assert log_prob.shape == old_log_prob.shape == advantages.shape
    ratio = (log_prob - old_log_prob).exp()
    return -torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """Half the squared error ``[B]``; with a clip the worse of it and of values that moved no further."""
    assert values.shape == old_values.shape == returns.shape
    losses = (values - returns) ** 2
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        losses = torch.max(losses, (near - returns) ** 2)
    return losses / 2


# --- the loop --------------------------------------------------------------------------------------


class Run:
    """All of a run that changes; ``kept`` is what a checkpoint holds."""

    algorithm = "ppo"
    kept = ("network", "optimizer", "episodes", "dice", "shuffle", "updates")

    def __init__(self, config: Config, seed: int, device: str) -> None:
        self.config, self.seed, self.device, self.updates = config, seed, check_device(device), 0
        random = streams(seed)
        envs = config.env_id, config.env_options, config.num_envs
        self.episodes = Segments(*envs, random.env)
        spaces = self.episodes.observation_space, self.episodes.action_space
        with seeded(random.network):
            network = ActorCritic(*spaces, config.hidden, normalize=config.normalize_observations)
        self.network, self.shuffle = network.to(device), random.replay
        self.weights = flatten(self.network)
        self.optimizer = torch.optim.Adam([self.weights], eps=config.adam_epsilon, fused=True)
        self.dice = torch.Generator(device)
        self.dice.manual_seed(int(random.exploration.integers(2**62)))
        self.act = DrawingPolicy(nn.Sequential(network.eye, network.actor), self.dice)

    def policy(self) -> ModePolicy:
        """The policy as it stands, frozen and without chance."""
        return self.network.policy()


def train(
    config: Config,
    seed: int = 0,
    *,
    loss: Loss = clipped_loss,
    device: str = "cpu",
    on_progress: Progress | None = None,
    on_checkpoint: Callable[[Run], None] | None = None,
    resume: Checkpoint | None = None,
) -> Result:
    """Learn; hand in your own loss and it trains a real agent.

    >>> import numpy as np
    >>> train(Config(steps=512, epochs=2)).policy(np.zeros((3, 4), np.float32)).shape
    (3,)

    Raises:
        DivergenceError: a loss or its gradient is no longer finite.
    """
    run = Run(config, seed, device)
    if resume is not None:
        restore(run, resume)
    episodes = run.episodes
    while episodes.steps < config.steps:
        segment = episodes.play(run.act, config.horizon)
        update(run, segment, loss)
        if on_progress and segment.boundary.any():
            on_progress(episodes.steps, episodes.log[-1], run)
        if run.updates % config.checkpoint_every == 0:
            episodes.restart()
            if on_checkpoint:
                on_checkpoint(run)
    if on_checkpoint:
        on_checkpoint(run)
    episodes.close()
    return Result(run.policy(), episodes.log, config, seed)


def update(run: Run, segment: Segment, loss: Loss) -> None:
    """All epochs over one batch of experience."""
    config, network = run.config, run.network
    count = config.num_envs * config.horizon
    share = min(1.0, run.episodes.steps / config.steps)
    rate = config.learning_rate + share * (config.learning_rate_end - config.learning_rate)
    clip = config.clip + share * (config.clip_end - config.clip)

    def flat(array: Any) -> Tensor:
        return torch.from_numpy(array.reshape(count, *array.shape[2:])).to(run.device)

    obs, raw, near = flat(segment.obs), flat(segment.raw), clip if config.value_clip else None
    with torch.no_grad():
        old_chances, old_values = network(obs)
        old_log_prob = old_chances.log_prob(raw)
        beyond = network.critic(network.eye(flat(segment.next_obs)))
    advantages = gae(
        segment.reward,
        config.gamma * (1.0 - segment.terminated),
        old_values.view(segment.reward.shape).cpu().numpy(),
        beyond.view(segment.reward.shape).cpu().numpy(),
        config.lam,
        segment.boundary,
    )
    gains = flat(advantages).float()
    returns = gains + old_values

    for _ in range(config.epochs):
        order = torch.from_numpy(run.shuffle.permutation(count)).to(run.device)
        moved = []
        for rows in torch.split(order, config.batch_size):
            chances, values = network(obs[rows])
            log_prob, gain = chances.log_prob(raw[rows]), gains[rows]
            if config.normalize_advantages:
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            policy = loss(log_prob, old_log_prob[rows], gain, clip)
            value = value_loss(values, old_values[rows], returns[rows], near)
            total = policy.mean() + config.value_weight * value.mean()
            if config.entropy:
                total = total - config.entropy * chances.entropy().mean()
            descend(
                total,
                run.weights,
                run.optimizer,
                rate,
                config.max_grad_norm,
                facts={"step": run.episodes.steps, "obs": obs[rows], "advantages": gain},
            )
            step = (log_prob - old_log_prob[rows]).detach()
            moved.append((step.exp() - 1 - step).mean())  # Schulman 2020: an estimate of the KL
        kl = float(torch.stack(moved).mean())
        if config.max_kl and kl > config.max_kl:
            break
    if isinstance(network.eye, Normalizer):  # now: the batch was acted and learned with one eye
        network.eye.count(obs)
    run.updates += 1
    run.episodes.note = {"kl": kl, "loss": float(total.detach())}


def load_policy(kept: Checkpoint) -> ModePolicy:
    """The frozen policy of a checkpoint."""
    run = Run(read_config(Config, kept, "ppo"), kept.seed, "cpu")
    restore(run, kept, only=("network",))
    run.episodes.close()
    return run.policy()
