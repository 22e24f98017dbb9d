"""A world in which a worker comes to grief. In a file of its own, since other processes must import it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rlcourse.algorithms.a2c import actor_critic_loss


class Troubled(gym.Env[Any, Any]):
    """Five steps that pay one each; two actions.

    Args:
        folder: where workers meet: all wait in their first reset until ``workers`` of them are there.
        workers: how many they are.
        trouble: what happens on the twentieth step of a victim.
        victims: how many it happens to, whoever comes first.
    """

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, folder: str, workers: int = 2, trouble: str = "", victims: int = 1) -> None:
        self.folder, self.workers = Path(folder), workers
        self.trouble, self.victims, self.steps = trouble, victims, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        (self.folder / f"here-{os.getpid()}").touch()
        latest = time.monotonic() + 120
        while self.steps == 0 and len(list(self.folder.glob("here-*"))) < self.workers:
            assert time.monotonic() < latest, "the others never came"
            time.sleep(0.01)
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == 20 and self.trouble and self._is_victim():
            if self.trouble == "raise":
                raise OSError("the cable is out")
            if self.trouble == "leave":
                sys.exit(0)
            if self.trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(3600)
        end = self.steps % 5 == 0
        return np.full(2, self.np_random.random(), np.float32), 1.0, end, False, {}

    def _is_victim(self) -> bool:
        for number in range(self.victims):
            try:
                (self.folder / f"victim-{number}").touch(exist_ok=False)
                return True
            except FileExistsError:
                continue
        return False


gym.register("tests/Troubled-v0", Troubled)

# A loss is what a worker gets by name: it imports this file to find it, and so the world as well.
loss = lambda *fields: actor_critic_loss(*fields)  # noqa: E731
loss.__qualname__ = "loss"
