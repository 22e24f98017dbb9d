"""Atari games, stepped and counted: the part of a loop that teaches nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from rlcourse.atari.environment import Game, Games
from rlcourse.envs.vector import Step
from rlcourse.rollout import Segments

__all__ = ["GameSegments"]


class GameSegments(Segments):
    """Copies of a game, stepped and counted: one log row a whole game, with the machine's own score.

    >>> segments = GameSegments(Game("pong"), num_envs=2, seed=0, threads=1)
    >>> segments.play(lambda obs: (np.zeros(2, int), np.zeros(2, int)), steps=3).next_obs.shape
    (3, 2, 4, 84, 84)
    """

    envs: Games
    observation_space: Box
    action_space: Discrete

    def __init__(self, game: Game, num_envs: int, seed: int, threads: int) -> None:
        self.threads = threads
        super().__init__(game.name, dataclasses.asdict(game), num_envs, seed)
        self.observation_space, self.action_space = (
            self.envs.observation_space,
            self.envs.action_space,
        )

    def _begin(self) -> Games:
        games = Games(Game(**self.options), self.num_envs, threads=self.threads)
        words = np.random.SeedSequence([self.seed, self.steps]).generate_state(1)
        games.reset(int(words[0]) & 0x7FFFFFFF)
        self.total, self.length = np.zeros(self.num_envs), np.zeros(self.num_envs, np.int64)
        return games

    def step(self, action: Any) -> Step:
        """Act once in every copy."""
        self.send(action)
        return self.receive()

    def send(self, action: Any) -> None:
        """Act, and do not wait; see :meth:`rlcourse.atari.environment.Games.send`."""
        self.envs.send(action)

    def receive(self) -> Step:
        """Where that has led, counted."""
        step = self.envs.receive()
        self.steps += self.num_envs
        self.total += self.envs.score
        self.length += 1
        for i in np.flatnonzero(self.envs.over):
            total, length = float(self.total[i]), int(self.length[i])
            row = {"step": self.steps, "return": total, "length": length}
            self.log.append({**row, **self.note})
            self.total[i] = self.length[i] = 0
        return step
