r"""A2C: the synchronous advantage actor-critic, a policy and a value learned side by side.

Papers: Mnih et al. 2016 (A3C, algorithm S3; A2C is what remains when its workers wait for each other), with GAE of
Schulman et al. 2016 in the place of the n-step advantage, which is :math:`\lambda = 1`. After every ``horizon``
steps one step is taken down the gradient of

.. math:: -\log \pi(A \mid S; \theta)\, \hat A + \tfrac{c_v}{2} \bigl(\hat G - V(S; \theta_v)\bigr)^2
          - c_e\, H(\pi(\cdot \mid S; \theta))

where :math:`\hat A` and the target :math:`\hat G = \hat A + V` count as constants.

Deviations from Mnih et al. 2016: environments side by side instead of asynchronous workers; policy and value
share no layers. Every ``checkpoint_every`` updates the environments start anew, so that a run resumed from there
is the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlcourse.checkpoint import Checkpoint, read_config, restore
from rlcourse.errors import check_settings
from rlcourse.networks import (
    ActorCritic,
    DrawingPolicy,
    ModePolicy,
    check_device,
    descend,
    flatten,
    seeded,
)
from rlcourse.returns import gae
from rlcourse.rollout import Progress, Segment, Segments
from rlcourse.seeding import streams

__all__ = [
    "Config",
    "Result",
    "Run",
    "actor_critic_loss",
    "load_policy",
    "segment_loss",
    "train",
]


@dataclass(frozen=True)
class Config:
    """What a run is made of; the defaults learn CartPole."""

    env_id: str = "CartPole-v1"
    env_options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 300_000  # environment steps, of all environments together
    num_envs: int = 8  # environments side by side
    horizon: int = 5  # steps of each of them before an update
    gamma: float = 0.99  # discount a step
    lam: float = 1.0  # GAE: 0 trusts the values, 1 the rewards
    learning_rate: float = 2e-3  # RMSProp's step size in the first step
    learning_rate_end: float = 0.0  # the same in the last one
    rms_decay: float = 0.99  # what RMSProp keeps of its mean square at each update
    rms_epsilon: float = 1e-5  # RMSProp's, in the denominator
    value_weight: float = 0.5  # of the value loss
    entropy: float = 0.0  # weight of the entropy bonus
    max_grad_norm: float = 0.5  # a longer gradient is cut to this length
    hidden: tuple[int, ...] = (64, 64)  # units of the fully connected layers
    checkpoint_every: int = 512  # updates between points from which a run can be resumed

    def __post_init__(self) -> None:
        check_settings(
            self,
            fractions="gamma lam rms_decay",
            not_negative="learning_rate learning_rate_end rms_epsilon value_weight entropy max_grad_norm",
            positive="steps num_envs horizon checkpoint_every",
        )


@dataclass(frozen=True)
class Result:
    """A trained agent: its frozen policy without chance and one log row an episode."""

    policy: ModePolicy
    log: list[dict[str, float]]
    config: Config
    seed: int


# --- the loss --------------------------------------------------------------------------------------

# Of log-probabilities, entropies, values, returns and the two weights: losses [B].
Loss = Callable[[Tensor, Tensor, Tensor, Tensor, float, float], Tensor]


def actor_critic_loss(
    log_prob: Tensor,
    entropy: Tensor,
    values: Tensor,
    returns: Tensor,
    value_weight: float,
    entropy_weight: float,
) -> Tensor:
    r"""Policy, value and entropy terms, with :math:`\hat A = \hat G - V`: losses ``[B]``."""
    assert log_prob.shape == entropy.shape == values.shape == returns.shape
    advantages = (returns - values).detach()
    value = (returns - values) ** 2 / 2
    return -log_prob * advantages + value_weight * value - entropy_weight * entropy


# --- the loop --------------------------------------------------------------------------------------


class Run:
    """All of a run that changes; ``kept`` is what a checkpoint holds."""

    algorithm = "a2c"
    kept = ("network", "optimizer", "episodes", "dice", "updates")

    def __init__(self, config: Config, seed: int, device: str) -> None:
        self.config, self.seed, self.device, self.updates = config, seed, check_device(device), 0
        random = streams(seed)
        options = config.env_options
        self.episodes = Segments(config.env_id, options, config.num_envs, random.env)
        spaces = self.episodes.observation_space, self.episodes.action_space
        with seeded(random.network):
            self.network = ActorCritic(*spaces, config.hidden).to(device)
        self.weights = flatten(self.network)
        self.optimizer = torch.optim.RMSprop(
            [self.weights], alpha=config.rms_decay, eps=config.rms_epsilon
        )
        self.dice = torch.Generator(device)
        self.dice.manual_seed(int(random.exploration.integers(2**62)))
        self.act = DrawingPolicy(self.network.actor, self.dice)

    def policy(self) -> ModePolicy:
        """The policy as it stands, frozen and without chance."""
        return self.network.policy()


def train(
    config: Config,
    seed: int = 0,
    *,
    loss: Loss = actor_critic_loss,
    device: str = "cpu",
    on_progress: Progress | None = None,
    on_checkpoint: Callable[[Run], None] | None = None,
    resume: Checkpoint | None = None,
) -> Result:
    """Learn; hand in your own loss and it trains a real agent.

    >>> train(Config(steps=512)).policy(np.zeros((3, 4), np.float32)).shape
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
    """One step down the gradient on one stretch of experience, which is then forgotten."""
    config, parts = run.config, segment._asdict()
    share = min(1.0, run.episodes.steps / config.steps)
    value = descend(
        segment_loss(run.network, segment, config, loss, run.device),
        run.weights,
        run.optimizer,
        config.learning_rate + share * (config.learning_rate_end - config.learning_rate),
        config.max_grad_norm,
        facts={"step": run.episodes.steps} | {k: torch.from_numpy(x) for k, x in parts.items()},
    )
    run.updates += 1
    run.episodes.note = {"loss": value}


def segment_loss(
    network: ActorCritic, segment: Segment, config: Any, loss: Loss, device: str = "cpu"
) -> Tensor:
    """The mean loss of a stretch of experience, whose targets are made with the network as it stands."""
    shape = segment.reward.shape

    def flat(array: Any) -> Tensor:
        return torch.from_numpy(array.reshape(shape[0] * shape[1], *array.shape[2:])).to(device)

    chances, values = network(flat(segment.obs))
    with torch.no_grad():
        beyond = network.critic(flat(segment.next_obs))
    known = values.detach().view(shape).cpu().numpy().astype(np.float64)
    advantages = gae(
        segment.reward,
        config.gamma * (1.0 - segment.terminated),
        known,
        beyond.view(shape).cpu().numpy(),
        config.lam,
        segment.boundary,
    )
    returns = flat(advantages + known).float()
    raw = flat(segment.raw)
    weights = config.value_weight, config.entropy
    return loss(chances.log_prob(raw), chances.entropy(), values, returns, *weights).mean()


def load_policy(kept: Checkpoint) -> ModePolicy:
    """The frozen policy of a checkpoint."""
    run = Run(read_config(Config, kept, "a2c"), kept.seed, "cpu")
    restore(run, kept, only=("network",))
    run.episodes.close()
    return run.policy()
