r"""Rainbow: all six repairs of deep Q-networks in one agent, each with its switch.

Papers: Hessel et al. 2018 (Rainbow); for the two repairs that are new here Bellemare et al. 2017 (C51) and
Fortunato et al. 2018 (noisy networks). The network predicts the *distribution* of the return on fixed atoms
:math:`z_i`; the loss is the cross-entropy between the projected target distribution of
:math:`R^{(n)} + \gamma^n z` and the prediction (Hessel et al., section 3), and it is also the priority. With every
switch off this is :mod:`rlcourse.algorithms.dqn`, number for number.

Deviations from Hessel et al. 2018: Adam's step size falls to zero; the gradient's norm is clipped; several
environments side by side, all of which act on one draw of noise; the memory is smaller and nothing is tuned to
Atari.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from rlcourse.algorithms import dqn
from rlcourse.checkpoint import Checkpoint, read_config, restore
from rlcourse.distributions import project
from rlcourse.errors import InvalidArgumentError, check_finite, check_positive
from rlcourse.networks import GreedyPolicy, q_network, reset_noise
from rlcourse.replay import Batch
from rlcourse.rollout import Progress
from rlcourse.schedules import linear

__all__ = ["Config", "Run", "expected", "load_policy", "rainbow_loss", "train"]


@dataclass(frozen=True)
class Config(dqn.Config):
    """All that DQN has, and two more repairs. All are on."""

    double: bool = True
    dueling: bool = True
    prioritized: bool = True
    n: int = 3
    noisy: bool = True  # Fortunato et al. 2018; it replaces epsilon
    distributional: bool = True  # Bellemare et al. 2017
    atoms: int = 51  # points of a distribution
    v_min: float = 0.0  # the first of them, in discounted reward
    v_max: float = 100.0  # the last of them

    def __post_init__(self) -> None:
        super().__post_init__()
        if check_positive("atoms", self.atoms) < 2 and self.distributional:
            raise InvalidArgumentError("atoms = 1: must be at least 2 for a distribution")
        if not check_finite("v_min", self.v_min) < check_finite("v_max", self.v_max):
            raise InvalidArgumentError(
                f"v_max = {self.v_max!r}: must be above v_min = {self.v_min!r}"
            )


# --- the loss --------------------------------------------------------------------------------------


def expected(logits: Tensor, support: Tensor) -> Tensor:
    r"""Action values :math:`Q(s, a) = \sum_i z_i\, p_i(s, a)`: ``[B, A, K] -> [B, A]``."""
    return logits.softmax(dim=-1) @ support


def rainbow_loss(
    network: nn.Module, target: nn.Module, batch: Batch, *, support: Tensor, double: bool = True
) -> tuple[Tensor, Tensor]:
    r"""Cross-entropy of :math:`\Phi_z(R^{(n)} + \gamma^n z)` and :math:`p(S, A; \theta)` (Hessel et al. 2018)."""
    row = torch.arange(len(batch.action), device=batch.action.device)
    with torch.no_grad():
        next_logits = target(batch.next_obs)  # [B, A, K]
        chooser = network(batch.next_obs) if double else next_logits
        best = expected(chooser, support).argmax(dim=1)  # [B]
        next_p = next_logits[row, best].softmax(dim=-1)  # [B, K]
        z = batch.reward[:, None] + batch.discount[:, None] * support  # [B, K]
        y = project(next_p, z, support)
    log_p = network(batch.obs)[row, batch.action].log_softmax(dim=-1)  # [B, K]
    assert y.shape == log_p.shape
    losses = -(y * log_p).sum(dim=1)
    return losses, losses.detach()


# --- the loop --------------------------------------------------------------------------------------


class Run(dqn.Run):
    """DQN's, with noise and a support."""

    algorithm = "rainbow"
    kept = (*dqn.Run.kept, "noise")
    config: Config

    def __init__(self, config: Config, seed: int, device: str) -> None:
        super().__init__(config, seed, device)
        self.noise = torch.Generator(device)
        self.noise.manual_seed(self.network_seed + 1)  # not the numbers that the weights began as
        self.support = torch.linspace(config.v_min, config.v_max, config.atoms, device=device)

    def build(self, space: Space[Any], actions: int) -> nn.Module:
        """The network."""
        config = self.config
        return q_network(
            space,
            actions,
            config.hidden,
            dueling=config.dueling,
            noisy=config.noisy,
            atoms=config.atoms if config.distributional else 1,
        )

    def values(self, output: Tensor) -> Tensor:
        """Action values ``[B, A]`` from what the network returns."""
        return expected(output, self.support) if self.config.distributional else output

    def policy(self) -> GreedyPolicy:
        """The greedy policy as it stands, frozen and without noise."""
        return GreedyPolicy(deepcopy(self.network).eval(), self.values)


def train(
    config: Config,
    seed: int = 0,
    *,
    loss: dqn.Loss | None = None,
    device: str = "cpu",
    on_progress: Progress | None = None,
    on_checkpoint: Callable[[Run], None] | None = None,
    resume: Checkpoint | None = None,
) -> dqn.Result:
    """Learn with every repair that is switched on.

    >>> result = train(Config(steps=512, learning_starts=256, updates=2))
    >>> result.policy(np.zeros((3, 4), np.float32)).shape
    (3,)

    Raises:
        DivergenceError: a loss or its gradient is no longer finite.
    """
    run = Run(config, seed, device)
    if resume is not None:
        restore(run, resume)
    if loss is None and config.distributional:
        loss = partial(rainbow_loss, support=run.support, double=config.double)
    loss = loss or (dqn.double_dqn_loss if config.double else dqn.dqn_loss)
    epsilon_at = linear(config.epsilon, config.epsilon_end, config.epsilon_steps)
    greedy, episodes, replay = GreedyPolicy(run.network, run.values), run.episodes, run.replay
    while episodes.steps < config.steps:
        if config.noisy:
            reset_noise(run.network, run.noise)
        epsilon = 0.0 if config.noisy else epsilon_at(episodes.steps)
        exploring = run.exploration.random(config.num_envs) < epsilon
        anything = run.exploration.integers(run.actions, size=config.num_envs)
        step = episodes.step(np.where(exploring, anything, greedy(episodes.obs)))
        replay.add(step)
        ready = len(replay) >= min(config.learning_starts, config.replay_size)
        if ready and episodes.steps % config.train_every == 0:
            for _ in range(config.updates):
                if config.noisy:
                    reset_noise(run.network, run.noise)
                    reset_noise(run.target, run.noise)
                dqn.update(run, loss)
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
    return dqn.Result(run.policy(), episodes.log, config, seed)


def load_policy(kept: Checkpoint) -> GreedyPolicy:
    """The frozen policy of a checkpoint."""
    run = Run(read_config(Config, kept, "rainbow"), kept.seed, "cpu")
    restore(run, kept, only=("network",))
    run.episodes.close()
    return run.policy()
