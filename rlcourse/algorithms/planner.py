r"""A network that plans: value iteration inside, its model learned from reward by Q-learning.

Papers: Tamar et al. 2016 (value iteration networks), Nardelli et al. 2019 (value propagation: a gate in every
cell), Mnih et al. 2015 (the loss and the target network). A look at the map gives every cell three numbers: what
arriving pays, :math:`r`, what the future counts from there, :math:`p`, and whether one can get in, :math:`o`. With
a kernel :math:`w_a` for each action, :math:`V_0 = 0` and :math:`U_k = r + p\,V_k`,

.. math:: Q_{k+1}(s, a) = \sum_d w_a(d) \bigl[ o(s + d)\, U_k(s + d) + (1 - o(s + d))\, U_k(s) \bigr], \quad
          V_{k+1}(s) = \max_a Q_{k+1}(s, a)

is value iteration on a map whose closed cells throw one back, and the last :math:`Q` is that of all cells at once.

Deviations: Tamar et al. feed the values at the agent's cell to another layer and imitate an expert; here they are
the action values, and the reward alone teaches. Kernels sum to one and :math:`p, o` lie between zero and one, so
that no number of sweeps can blow up. A row of experience is a walk in one maze, which is looked at once for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rlcourse.envs.mazes import MazeWalkers, maps, mazes
from rlcourse.errors import check_fraction, check_multiple, check_not_negative, check_positive
from rlcourse.mdp import Ints
from rlcourse.networks import descend, flatten, seeded
from rlcourse.rollout import Progress
from rlcourse.schedules import linear
from rlcourse.seeding import streams

__all__ = ["Config", "MazePolicy", "Planner", "Result", "Rows", "plain_network", "td_loss", "train"]


@dataclass(frozen=True)
class Config:
    """What a run is made of."""

    count: int = 1000  # training mazes
    rooms: int = 4  # rooms a side: 2 * rooms - 1 cells
    method: str = "wilson"  # how the mazes are drawn
    plans: bool = True  # the planner; else the plain network
    sweeps: int = 20  # the planner's
    units: int = 256  # of the plain network's widest layer
    steps: int = 393_216  # environment steps, of all walkers together
    walkers: int = 32  # mazes walked in side by side
    length: int = 32  # steps of a walk
    batch_size: int = 32  # walks a gradient step
    replay_size: int = 16_384  # walks remembered
    gamma: float = 0.95  # discount a step
    learning_rate: float = 2e-2  # Adam's step size in the first step; it falls to zero
    max_grad_norm: float = 1.0  # a longer gradient is cut to this length
    updates: int = 1  # gradient steps after each round of walks
    target_every: int = 10  # rounds between copies into the target network
    epsilon: float = 1.0  # chance of a random action in the first step
    epsilon_end: float = 0.5  # the same from the middle of the run on

    def __post_init__(self) -> None:
        for name in ("gamma", "epsilon", "epsilon_end"):
            check_fraction(name, getattr(self, name))
        for name in ("count", "sweeps", "units", "length", "batch_size", "updates", "target_every"):
            object.__setattr__(self, name, check_positive(name, getattr(self, name)))
        for name in ("learning_rate", "max_grad_norm"):
            check_not_negative(name, getattr(self, name))
        check_multiple("steps", self.steps, "walkers * length", self.walkers * self.length)
        check_multiple("replay_size", self.replay_size, "walkers", self.walkers)


# --- the networks: maps [M, 2, H, W] -> action values [M, 4, H, W] of every cell ---------------------


class Planner(nn.Module):
    """45 numbers: what a free cell, a wall and a goal mean, and where each action leads.

    >>> Planner(sweeps=3)(torch.zeros(7, 2, 5, 9)).shape  # any size, and any number of sweeps
    torch.Size([7, 4, 5, 9])
    """

    def __init__(self, sweeps: int) -> None:
        super().__init__()
        self.sweeps = sweeps
        self.look = nn.Conv2d(2, 3, kernel_size=1)  # walls and goal -> r, p, o
        self.kernel = nn.Parameter(0.25 * torch.randn(4, 9))
        with torch.no_grad():  # at first all cells are alike: nothing pays, nearly all is open
            self.look.weight.mul_(0.1)
            self.look.bias.copy_(torch.tensor([0.0, 0.5, 0.5]))  # type: ignore[union-attr]

    def transitions(self) -> Tensor:
        """Where each action tries to go: chances ``[4, 1, 3, 3]``, the cell itself in the middle."""
        return (4.0 * self.kernel).softmax(dim=1).view(4, 1, 3, 3)

    def model(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``r, p, o`` of every cell, each ``[M, 1, H, W]``."""
        r, p, o = self.look(maps).chunk(3, dim=1)
        return r, torch.sigmoid(4.0 * p), torch.sigmoid(4.0 * o)  # the fours: they learn faster

    def forward(self, maps: Tensor) -> Tensor:
        """As many sweeps of value iteration as there are."""
        r, p, o = self.model(maps)
        w = self.transitions()
        back = 1.0 - functional.conv2d(o, w, padding=1)  # beyond the border nothing is open
        v = torch.zeros_like(r)
        for _ in range(self.sweeps):
            u = r + p * v
            q = functional.conv2d(o * u, w, padding=1) + back * u
            v = q.amax(dim=1, keepdim=True)
        return q


def plain_network(side: int, units: int) -> nn.Sequential:
    """A network without a plan for the same task: convolutions of 3 x 3, then fully connected layers.

    >>> plain_network(5, units=64)(torch.zeros(7, 2, 5, 5)).shape
    torch.Size([7, 4, 5, 5])
    """
    look = [nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    guess = [nn.Linear(16 * side**2, units), nn.ReLU(), nn.Linear(units, 4 * side**2)]
    return nn.Sequential(*look, nn.Flatten(), *guess, nn.Unflatten(1, (4, side, side)))


# --- the loss --------------------------------------------------------------------------------------


class Rows(NamedTuple):
    """``B`` walks of ``T`` steps, each in one maze."""

    maps: Any  # [B, 2, H, W]
    cell: Any  # [B, T], and so are the others
    action: Any
    reward: Any
    discount: Any  # gamma, or zero at a true end
    next_cell: Any


# Of the network, the target network and B walks: losses [B, T].
Loss = Callable[[nn.Module, nn.Module, Rows], Tensor]


def td_loss(network: nn.Module, target: nn.Module, rows: Rows) -> Tensor:
    r"""Huber's loss of :math:`R + \gamma_{t+1} \max_a Q(S', a; \theta^-) - Q(S, A; \theta)`, at every step."""
    with torch.no_grad():
        best = target(rows.maps).flatten(2).amax(dim=1)  # [B, S]
        y = rows.reward + rows.discount * best.gather(1, rows.next_cell)
    walk = torch.arange(len(rows.cell))[:, None]
    q = network(rows.maps).flatten(2)[walk, rows.action, rows.cell]  # [B, T]
    assert y.shape == q.shape
    return functional.smooth_l1_loss(q, y, reduction="none")


# --- the loop --------------------------------------------------------------------------------------


def train(
    config: Config,
    seed: int = 0,
    *,
    loss: Loss = td_loss,
    on_progress: Progress | None = None,
) -> Result:
    """Learn from walks in training mazes; ``on_progress`` is called with a policy after every round of them.

    >>> result = train(Config(count=2, rooms=2, steps=4096, sweeps=4))
    >>> result.policy(["S#.\\n...\\n#.G"]).shape
    (1, 9)

    Raises:
        DivergenceError: a loss or its gradient is no longer finite.
    """
    random = streams(seed)
    texts = mazes(config.count, seed, split="train", rooms=config.rooms, method=config.method)
    walkers = MazeWalkers(texts, config.walkers, np.random.default_rng(random.env))
    with seeded(random.network):
        plain = None if config.plans else plain_network(2 * config.rooms - 1, config.units)
        network = plain or Planner(config.sweeps)
    target = deepcopy(network)
    weights, target_weights = flatten(network), flatten(target)
    optimizer, seen = torch.optim.Adam([weights], fused=True), torch.from_numpy(walkers.maps)
    epsilon_at = linear(config.epsilon, config.epsilon_end, max(1, config.steps // 2))
    policy, log = MazePolicy(network), list[dict[str, float]]()
    a_round = config.walkers * config.length
    walks = np.zeros((config.replay_size, 5, config.length), np.int64)
    walked_in = np.zeros(config.replay_size, np.int64)  # the maze of each walk
    for steps in range(0, config.steps, a_round):
        maze = walkers.reset()[:, 0]
        best = policy.best(seen[maze])  # [N, S]: one look is enough for the whole walk
        new = np.arange(config.walkers) + steps // config.length
        walked_in[new % config.replay_size] = maze
        for t in range(config.length):
            exploring = random.exploration.random(config.walkers) < epsilon_at(steps)
            anything = random.exploration.integers(4, size=config.walkers)
            greedy = best[np.arange(config.walkers), walkers.obs[:, 1]]
            step = walkers.step(np.where(exploring, anything, greedy))
            cell, next_cell = step.obs[:, 1], step.next_obs[:, 1]
            facts = cell, step.action, step.reward, step.terminated, next_cell
            walks[new % config.replay_size, :, t] = np.stack(facts, axis=1)
        rate = config.learning_rate * (1 - steps / config.steps)
        for _ in range(config.updates):
            drawn = random.replay.integers(min(new[-1] + 1, len(walks)), size=config.batch_size)
            cells, actions, reward, terminated, after = torch.from_numpy(walks[drawn]).unbind(dim=1)
            discount = config.gamma * (1.0 - terminated.float())
            rows = Rows(seen[walked_in[drawn]], cells, actions, reward.float(), discount, after)
            losses = loss(network, target, rows)
            value = descend(
                losses.mean(), weights, optimizer, rate, config.max_grad_norm, facts={"step": steps}
            )
        if steps // a_round % config.target_every == 0:
            target_weights.data.copy_(weights.data)
        log.append({"step": steps + a_round, "loss": value})
        if on_progress:
            on_progress(steps + a_round, log[-1], policy)
    return Result(MazePolicy(deepcopy(network)), log, config, seed)


class MazePolicy:
    """The best action in every cell of every maze: ``policy(texts) -> [M, S]``."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @torch.inference_mode()
    def best(self, seen: Tensor) -> Ints:
        """The same for maps ``[M, 2, H, W]``."""
        actions: Ints = self.network(seen).argmax(dim=1).flatten(1).numpy()
        return actions

    def __call__(self, texts: Sequence[str]) -> Ints:
        """The best actions in mazes drawn as text: ``[M, S]``."""
        return self.best(torch.from_numpy(maps(texts)))


@dataclass(frozen=True)
class Result:
    """A trained agent: its frozen greedy policy and one log row a round of walks."""

    policy: MazePolicy
    log: list[dict[str, float]]
    config: Config
    seed: int
