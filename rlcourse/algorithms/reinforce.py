r"""REINFORCE: the policy gradient from whole episodes, with baselines and an entropy bonus.

Papers: Williams 1992 (REINFORCE, with its baseline), Sutton et al. 2000 (the policy gradient theorem);
Kool et al. 2019 (the baseline from the other episodes of a batch), Williams & Peng 1991 (the entropy bonus).
The gradient of the expected return is the expectation of

.. math:: \sum_t \nabla_\theta \log \pi(A_t \mid S_t; \theta)\,\bigl(G_t - b_t\bigr)

for every :math:`b_t` that does not look at :math:`A_t` or at what it leads to.

Deviations from Williams 1992: Adam; the mean over a batch of whole episodes; the factor :math:`\gamma^t` before
the :math:`t`-th term is left out, as everybody does: with :math:`\gamma < 1` what is followed is then no
gradient of any objective (Nota & Thomas 2020). A time limit that strikes counts as worth the baseline's guess
if there is a learned one, else as worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlcourse.checkpoint import Checkpoint, read_config, restore
from rlcourse.errors import InvalidArgumentError, check_settings
from rlcourse.mdp import Bools, Floats
from rlcourse.networks import (
    Actor,
    DrawingPolicy,
    ModePolicy,
    check_device,
    descend,
    flatten,
    seeded,
    value_network,
)
from rlcourse.returns import discounted_returns
from rlcourse.rollout import Progress, Whole, WholeEpisodes
from rlcourse.seeding import streams

__all__ = ["Config", "Result", "Run", "batch_baseline", "load_policy", "policy_loss", "train"]

BASELINES = ("none", "batch", "learned")


@dataclass(frozen=True)
class Config:
    """What a run is made of; the defaults learn CartPole (chosen on seeds that no contract uses)."""

    env_id: str = "CartPole-v1"
    env_options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 150_000  # environment steps, of all environments together
    num_envs: int = 16  # whole episodes an update, side by side
    gamma: float = 0.99  # discount a step
    learning_rate: float = 3e-3  # Adam's step size in the first step
    learning_rate_end: float = 0.0  # the same in the last one
    max_grad_norm: float = 0.5  # a longer gradient is cut to this length
    baseline: str = "learned"  # none; batch: the mean of the other episodes; learned: a network
    value_updates: int = 10  # steps of the learned baseline's own descent a batch
    normalize: bool = True  # divide the advantages of a batch by their root mean square
    entropy: float = 0.0  # weight of the entropy bonus
    hidden: tuple[int, ...] = (64, 64)  # units of the fully connected layers
    checkpoint_every: int = 32  # batches between points from which a run can be resumed

    def __post_init__(self) -> None:
        check_settings(
            self,
            fractions="gamma",
            not_negative="learning_rate learning_rate_end max_grad_norm entropy",
            positive="steps num_envs value_updates checkpoint_every",
        )
        if self.baseline not in BASELINES:
            raise InvalidArgumentError(
                f"baseline = {self.baseline!r}: must be one of {', '.join(BASELINES)}"
            )


@dataclass(frozen=True)
class Result:
    """A trained agent: its frozen policy without chance and one log row an episode."""

    policy: ModePolicy
    log: list[dict[str, float]]
    config: Config
    seed: int


# --- the losses ------------------------------------------------------------------------------------

# Of log-probabilities [B], advantages [B] and the number of episodes: a loss.
Loss = Callable[[Tensor, Tensor, int], Tensor]


def policy_loss(log_prob: Tensor, advantages: Tensor, episodes: int) -> Tensor:
    r"""Minus :math:`\frac1N \sum_n \sum_t \log \pi(A_t \mid S_t)\,\hat A_t`, whose gradient is the estimate.

    Args:
        log_prob: of the actions of all steps of ``episodes`` episodes, ``[B]``.
        advantages: ``[B]``; constants to the gradient.
        episodes: how many they are.
    """
    assert log_prob.shape == advantages.shape
    return -(log_prob * advantages.detach()).sum() / episodes


def batch_baseline(returns: Floats, running: Bools) -> Floats:
    """For each episode the mean return from ``t`` on of the *others* that still run at ``t``; ``[T, N]``.

    An episode must not be in its own baseline: with it the gradient is no longer right on average. Where no
    other is left the baseline is zero.

    >>> batch_baseline(np.array([[1.0, 2.0, 6.0]]), np.ones((1, 3), bool))
    array([[4. , 3.5, 1.5]])
    """
    total = (returns * running).sum(axis=1, keepdims=True) - returns * running
    others = running.sum(axis=1, keepdims=True) - running
    mean: Floats = np.divide(total, others, out=np.zeros_like(total), where=others > 0)
    return mean


# --- the loop --------------------------------------------------------------------------------------


class Run:
    """All of a run that changes; ``kept`` is what a checkpoint holds."""

    algorithm = "reinforce"
    kept = (*("actor", "critic", "optimizer", "critic_optimizer", "episodes", "dice", "updates"),)

    def __init__(self, config: Config, seed: int, device: str) -> None:
        self.config, self.seed, self.device, self.updates = config, seed, check_device(device), 0
        random = streams(seed)
        options = config.env_options
        self.episodes = WholeEpisodes(config.env_id, options, config.num_envs, random.env)
        spaces = self.episodes.observation_space, self.episodes.action_space
        with seeded(random.network):
            self.actor = Actor(*spaces, config.hidden).to(device)
            self.critic = value_network(spaces[0], config.hidden).to(device)
        self.weights, self.critic_weights = flatten(self.actor), flatten(self.critic)
        self.optimizer, self.critic_optimizer = (
            torch.optim.Adam([weights], fused=True)
            for weights in (self.weights, self.critic_weights)
        )
        self.dice = torch.Generator(device)
        self.dice.manual_seed(int(random.exploration.integers(2**62)))
        self.act = DrawingPolicy(self.actor, self.dice)

    def policy(self) -> ModePolicy:
        """The policy as it stands, frozen and without chance."""
        return ModePolicy(deepcopy(self.actor))


def train(
    config: Config,
    seed: int = 0,
    *,
    loss: Loss = policy_loss,
    device: str = "cpu",
    on_progress: Progress | None = None,
    on_checkpoint: Callable[[Run], None] | None = None,
    resume: Checkpoint | None = None,
) -> Result:
    """Learn from batches of whole episodes; hand in your own loss and it trains a real agent.

    >>> train(Config(steps=512, num_envs=4)).policy(np.zeros((3, 4), np.float32)).shape
    (3,)

    Raises:
        DivergenceError: a loss or its gradient is no longer finite.
    """
    run = Run(config, seed, device)
    if resume is not None:
        restore(run, resume)
    episodes = run.episodes
    while episodes.steps < config.steps:
        update(run, episodes.play(run.act), loss)
        if on_progress:
            on_progress(episodes.steps, episodes.log[-1], run)
        if on_checkpoint and run.updates % config.checkpoint_every == 0:
            on_checkpoint(run)
    if on_checkpoint:
        on_checkpoint(run)
    episodes.close()
    return Result(run.policy(), episodes.log, config, seed)


def update(run: Run, batch: Whole, loss: Loss) -> None:
    """One step up the gradient of the expected return, and some for the baseline."""
    config, running = run.config, batch.running
    lengths, count = running.sum(axis=0), running.shape[1]
    last = np.arange(len(running))[:, None] == lengths - 1  # [T, N]

    def visited(array: Any) -> Tensor:
        return torch.from_numpy(array[running]).to(run.device)  # [B, ...]

    obs, raw = visited(batch.obs), visited(batch.raw)
    learned = config.baseline == "learned"
    values, beyond = np.zeros(running.shape), np.zeros(count)
    if learned:
        with torch.no_grad():
            values[running] = run.critic(obs).cpu().numpy()
            beyond = run.critic(torch.from_numpy(batch.last_obs).to(run.device)).cpu().numpy()
    returns = discounted_returns(
        batch.reward, config.gamma * ~(last & batch.terminated), last * beyond, last
    )
    baseline = batch_baseline(returns, running) if config.baseline == "batch" else values
    advantages = visited(returns - baseline).float()
    if config.normalize:
        advantages = advantages / (advantages.square().mean().sqrt() + 1e-8)

    share = min(1.0, run.episodes.steps / config.steps)
    rate = config.learning_rate + share * (config.learning_rate_end - config.learning_rate)
    down = partial(descend, learning_rate=rate, max_norm=config.max_grad_norm)
    chances = run.actor(obs)
    total = loss(chances.log_prob(raw), advantages, count)
    if config.entropy:
        total = total - config.entropy * chances.entropy().sum() / count
    facts = {"step": run.episodes.steps, "obs": obs, "advantages": advantages}
    run.episodes.note = {"loss": down(total, run.weights, run.optimizer, facts=facts)}
    wanted = visited(returns).float()
    for _ in range(config.value_updates if learned else 0):
        error = ((run.critic(obs) - wanted) ** 2).mean() / 2
        facts = {"step": run.episodes.steps, "obs": obs, "returns": wanted}
        down(error, run.critic_weights, run.critic_optimizer, facts=facts)
    run.updates += 1


def load_policy(kept: Checkpoint) -> ModePolicy:
    """The frozen policy of a checkpoint."""
    run = Run(read_config(Config, kept, "reinforce"), kept.seed, "cpu")
    restore(run, kept, only=("actor",))
    run.episodes.close()
    return run.policy()
