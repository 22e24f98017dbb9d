"""The learners of ``algorithms``, before Atari's screens: their settings, their state, one step of their loops.

Nothing here learns. PPO's batch and DQN's are taught by ``algorithms.ppo.update`` and ``algorithms.dqn.update``,
as everywhere in this package; what is new is what they look at, what they remember, and with which eyes.

PPO deviates from Schulman et al. 2017 in one thing more than ``algorithms.ppo``: its batches are played ahead, by
the policy of one update ago. The ratio starts from today's, as in the decoupled objective of Hilton et al. 2022
(Batch size-invariance for policy optimization); their other ratio, from the player's to today's, is left out.

A game cannot be saved. A resumed run begins new games, and loses nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import nn

from rlcourse.algorithms import dqn, ppo
from rlcourse.atari.environment import Game
from rlcourse.atari.networks import Agent, eye, q_network
from rlcourse.atari.replay import FrameReplay, PrioritizedFrameReplay
from rlcourse.atari.rollout import Ahead, GameSegments
from rlcourse.checkpoint import Checkpoint, read_config, restore
from rlcourse.errors import CorruptCheckpointError, InvalidArgumentError, check_multiple
from rlcourse.evaluation import Policy
from rlcourse.networks import DrawingPolicy, GreedyPolicy, check_device, flatten, seeded
from rlcourse.schedules import linear
from rlcourse.seeding import streams

__all__ = [
    "AGENTS",
    "DQN",
    "PPO",
    "DQNConfig",
    "PPOConfig",
    "load_network",
    "load_player",
    "preset",
]


def _pong() -> Game:
    """Pong as its playing field, with the three buttons that move a paddle."""
    buttons = ("NOOP", "RIGHT", "LEFT")
    return Game("pong", height=42, width=42, cut_top=7, cut_bottom=3, actions=buttons)


@dataclass(frozen=True)
class _Sight:
    """What a learner looks at, and with which eyes; laid over its own settings."""

    game: Game = field(default_factory=_pong)
    network: str = "small"  # or nature, mnih2013
    centre: float = 87.0  # what a pixel is less, Pong's background,
    scale: float = 32.0  # and by what it is divided

    def __post_init__(self) -> None:
        if isinstance(self.game, Mapping):  # from a file
            object.__setattr__(self, "game", Game(**self.game))
        object.__setattr__(self, "env_id", self.game.name)
        if not self.scale > 0:
            raise InvalidArgumentError(f"scale = {self.scale!r}: must be more than zero")
        eye(Box(0, 255, self.game.shape, np.uint8), self.network)  # whether they fit
        super().__post_init__()  # type: ignore[misc]  # the learner's own checks


@dataclass(frozen=True)
class PPOConfig(_Sight, ppo.Config):
    """PPO's settings and a game's; the defaults learn Pong on two cores."""

    steps: int = 2_500_000  # agent steps, of four frames each
    num_envs: int = 16
    horizon: int = 128
    epochs: int = 3
    batch_size: int = 256
    gamma: float = 0.99
    lam: float = 0.95
    clip_end: float = 0.2
    entropy: float = 0.01
    ahead: bool = True  # a thread plays the next batch meanwhile: its policy is one update old


@dataclass(frozen=True)
class DQNConfig(_Sight, dqn.Config):
    """DQN's settings and a game's; the defaults are for Pong on two cores."""

    steps: int = 1_500_000  # agent steps, of four frames each
    learning_rate: float = 2.5e-4
    learning_starts: int = 5_000
    updates: int = 1
    target_every: int = 500
    epsilon_end: float = 0.02
    epsilon_steps: int = 100_000
    double: bool = True
    n: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        # The schedules end with the last burst of updates, and not before it.
        check_multiple("steps", self.steps, "train_every", self.train_every)


class PPO:
    """All of a PPO run that changes, as ``algorithms.ppo.update`` wants it."""

    algorithm = "atari-ppo"
    kept = ("network", "optimizer", "episodes", "dice", "shuffle", "updates", "seconds")

    def __init__(self, config: PPOConfig, seed: int, device: str = "cpu", threads: int = 0) -> None:
        self.config, self.seed, self.device = config, seed, check_device(device)
        self.updates, self.seconds, random = 0, 0.0, streams(seed)
        games = GameSegments(config.game, config.num_envs, random.env, threads)
        self.episodes: Any = Ahead(games) if config.ahead else games
        space, actions = games.observation_space, games.action_space
        look = {"centre": config.centre, "scale": config.scale}
        with seeded(random.network):
            self.network = Agent(space, actions, config.network, **look).to(device)
        self.shuffle, self.weights = random.replay, flatten(self.network)
        self.optimizer = torch.optim.Adam([self.weights], eps=config.adam_epsilon, fused=True)
        self.dice = torch.Generator(device)
        self.dice.manual_seed(int(random.exploration.integers(2**62)))
        self.act = DrawingPolicy(nn.Sequential(self.network.eye, self.network.actor), self.dice)

    def advance(self) -> None:
        """Have a batch played, or take the one that was played ahead, and learn from it."""
        segment = self.episodes.play(self.act, self.config.horizon)
        ppo.update(self, segment, ppo.clipped_loss)  # type: ignore[arg-type]

    def player(self, greedy: bool, seed: int) -> Policy:
        """The policy as it stands, frozen."""
        if greedy:
            return self.network.policy()
        dice = torch.Generator(self.device)
        dice.manual_seed(int(streams(seed).exploration.integers(2**62)))
        draw = DrawingPolicy(deepcopy(nn.Sequential(self.network.eye, self.network.actor)), dice)
        return lambda observations: draw(observations)[1]


class DQN:
    """All of a DQN run that changes, as ``algorithms.dqn.update`` wants it."""

    algorithm = "atari-dqn"
    kept = (*dqn.Run.kept, "seconds")

    def __init__(self, config: DQNConfig, seed: int, device: str = "cpu", threads: int = 0) -> None:
        self.config, self.seed, self.device = config, seed, check_device(device)
        self.updates, self.seconds, random = 0, 0.0, streams(seed)
        self.exploration = random.exploration
        self.episodes = GameSegments(config.game, config.num_envs, random.env, threads)
        space, self.actions = self.episodes.observation_space, int(self.episodes.action_space.n)
        look = {"centre": config.centre, "scale": config.scale}
        with seeded(random.network):
            self.network = q_network(space, self.actions, config.network, **look).to(device)
        self.target = deepcopy(self.network)
        self.weights, self.target_weights = flatten(self.network), flatten(self.target)
        self.optimizer = torch.optim.Adam([self.weights], fused=True)
        prior = partial(PrioritizedFrameReplay, alpha=config.alpha)
        memory: Any = prior if config.prioritized else FrameReplay
        options = {"num_envs": config.num_envs, "gamma": config.gamma, "n": config.n}
        self.replay = memory(config.replay_size, space, rng=random.replay, **options)
        self.greedy = GreedyPolicy(self.network)
        self.epsilon_at = linear(config.epsilon, config.epsilon_end, config.epsilon_steps)

    def advance(self) -> None:
        """So many steps as go between two bursts of updates, and one of those, while the last of them is played.

        The emulators' threads need no actor's beside them: they play on while the network learns.
        """
        config, episodes = self.config, self.episodes
        waits = config.train_every // config.num_envs - 1
        for wait in range(waits + 1):
            exploring = self.exploration.random(config.num_envs) < self.epsilon_at(episodes.steps)
            anything = self.exploration.integers(self.actions, size=config.num_envs)
            episodes.send(np.where(exploring, anything, self.greedy(episodes.obs)))
            if wait == waits and len(self.replay) >= min(
                config.learning_starts, config.replay_size
            ):
                for _ in range(config.updates):
                    loss = dqn.double_dqn_loss if config.double else dqn.dqn_loss
                    dqn.update(self, loss)  # type: ignore[arg-type]
            self.replay.add(episodes.receive())

    def player(self, greedy: bool, seed: int) -> Policy:
        """The greedy policy as it stands, frozen; it has no other."""
        return GreedyPolicy(deepcopy(self.network).eval())


AGENTS: dict[str, tuple[Any, Any]] = {"ppo": (PPO, PPOConfig), "dqn": (DQN, DQNConfig)}


def preset(algorithm: str, game: str, /, **changes: Any) -> PPOConfig | DQNConfig:
    """Settings for a game: Pong's, or for any other the same with its whole picture and all its buttons.

    >>> preset("dqn", "breakout").game.shape
    (4, 42, 42)

    Raises:
        InvalidArgumentError: no such algorithm or game.
    """
    if algorithm not in AGENTS:
        raise InvalidArgumentError(f"algorithm = {algorithm!r}: must be one of {', '.join(AGENTS)}")
    world = Game(game, height=42, width=42)
    other = {} if world.name == "pong" else {"game": world, "centre": 0.0, "scale": 255.0}
    config: PPOConfig | DQNConfig = AGENTS[algorithm][1](**{**other, **changes})
    return config


def load_player(kept: Checkpoint, *, greedy: bool = True, seed: int = 0) -> tuple[Policy, Game]:
    """A checkpoint's frozen policy, and the game that it was trained on.

    Raises:
        InvalidArgumentError: the checkpoint is of no Atari run.
        CorruptCheckpointError: its weights do not fit its settings.
    """
    run = _revived(kept)
    return run.player(greedy, seed), run.config.game


def load_network(kept: Checkpoint) -> nn.Module:
    """A checkpoint's network: PPO's :class:`rlcourse.atari.networks.Agent`, or DQN's action values.

    Raises:
        InvalidArgumentError: the checkpoint is of no Atari run.
        CorruptCheckpointError: its weights do not fit its settings.
    """
    network: nn.Module = _revived(kept).network
    return network


def _revived(kept: Checkpoint) -> Any:
    """A run with a checkpoint's network, and games that are closed."""
    name = kept.algorithm.removeprefix("atari-")
    if name not in AGENTS or name == kept.algorithm:
        raise InvalidArgumentError(
            f"the checkpoint is of {kept.algorithm!r}: must be of an Atari run; for others there is "
            "rlcourse evaluate"
        )
    kind, settings = AGENTS[name]
    config = read_config(settings, kept, kept.algorithm)
    try:
        # Only its eyes are wanted: no memory of a million pictures for that.
        few = {
            "num_envs": 1,
            **({"replay_size": 1} if name == "dqn" else {"horizon": config.batch_size}),
        }
        small = dataclasses.replace(config, **few)
        run = kind(small, kept.seed, threads=1)
        run.config = config
        restore(run, kept, only=("network",))
    except RuntimeError as error:
        raise CorruptCheckpointError(f"the checkpoint's weights do not fit ({error})") from error
    run.episodes.close()
    return run
