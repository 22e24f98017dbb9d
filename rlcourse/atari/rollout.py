"""Atari games, stepped and counted: the part of a loop that teaches nothing."""

from __future__ import annotations

import dataclasses
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from rlcourse.atari.environment import Game, Games
from rlcourse.envs.vector import Step
from rlcourse.networks import DrawingPolicy
from rlcourse.rollout import Segment, Segments

__all__ = ["Ahead", "GameSegments"]


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


class Ahead:
    """Hands out stretches of experience, and has the next one played by a thread while its caller learns.

    The thread acts with a copy of the policy from before the update that is going on: what it plays is one update
    old when it is learned from. What is counted and logged here is what has been handed out, so a run with a
    thread depends on its seed and on nothing else, as one without.

    >>> import torch
    >>> from rlcourse.atari.networks import Agent
    >>> ahead = Ahead(GameSegments(Game("pong"), num_envs=2, seed=0, threads=1))
    >>> agent = Agent(ahead.observation_space, ahead.action_space)
    >>> act = DrawingPolicy(torch.nn.Sequential(agent.eye, agent.actor), torch.Generator())
    >>> ahead.play(act, steps=3).reward.shape, ahead.steps
    ((3, 2), 6)
    >>> ahead.close()
    """

    kept = ("steps", "log", "note")

    def __init__(self, segments: GameSegments) -> None:
        self.segments, self.actor = segments, ThreadPoolExecutor(1)
        self.coming: Future[Segment] | None = None
        self.steps = 0
        self.log: list[dict[str, float]] = []
        self.note: dict[str, float] = {}
        self.observation_space = segments.observation_space
        self.action_space = segments.action_space

    def play(self, act: DrawingPolicy, steps: int) -> Segment:
        """So many steps in each environment, played since the last call; at first and after a restart, now.

        The next ones are begun before they are asked for: ask for the same number each time. What went wrong in the
        thread is raised here, one call later.
        """
        played = self.coming.result() if self.coming else self.segments.play(act, steps)
        self.steps = self.segments.steps
        self.log += self.segments.log[len(self.log) :]
        self.segments.note = self.note
        old = DrawingPolicy(deepcopy(act.network), act.dice)
        self.coming = self.actor.submit(self.segments.play, old, steps)
        return played

    def restart(self) -> None:
        """Begin anew, behind what has been handed out; what is being played is thrown away."""
        if self.coming:
            self.coming.result()
        self.coming = None
        self.segments.steps, self.segments.log = self.steps, [*self.log]
        self.segments.restart()

    def close(self) -> None:
        """Wait for the thread, which would abort a process that leaves it in a step, and close."""
        self.actor.shutdown()
        self.segments.close()
