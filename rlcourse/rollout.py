"""One environment, stepped and counted: the part of a tabular loop that teaches nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gymnasium.spaces import Discrete

from rlcourse.envs.vector import make
from rlcourse.errors import InvalidArgumentError

__all__ = ["Episodes", "Progress"]

# Called after every episode: (environment steps, its log row, the table as it stands).
Progress = Callable[[int, dict[str, float], Any], None]


class Episodes:
    """Steps one environment with numbered states and actions and keeps one log row an episode.

    >>> episodes = Episodes("FrozenLake-v1", {"is_slippery": False}, seed=0)
    >>> episodes.obs, episodes.step(2)
    (0, (0.0, False, False, 1))

    Raises:
        InvalidArgumentError: the environment's spaces are not ``Discrete``.
    """

    def __init__(
        self,
        env_id: str,
        options: Mapping[str, Any],
        seed: int,
        on_progress: Progress | None = None,
    ) -> None:
        self.env = make(env_id, **options)
        observations, actions = self.env.observation_space, self.env.action_space
        sizes = []
        for space in (observations, actions):
            if not isinstance(space, Discrete) or space.start != 0:
                raise InvalidArgumentError(
                    f"env_id = {env_id!r} has {space}: a table needs Discrete spaces from 0 on"
                )
            sizes.append(int(space.n))
        self.num_states, self.num_actions = sizes
        self.on_progress = on_progress
        self.log: list[dict[str, float]] = []
        self.steps = self.length = 0
        self.total = 0.0
        self.obs = int(self.env.reset(seed=seed)[0])

    def step(self, action: int) -> tuple[float, bool, bool, int]:
        """Act: ``(reward, terminated, truncated, next_obs)``."""
        next_obs, reward, terminated, truncated, _ = self.env.step(action)
        self.steps += 1
        self.length += 1
        self.total += float(reward)
        return float(reward), terminated, truncated, int(next_obs)

    def reset(self, table: Any = None) -> int:
        """Log the finished episode, report it with the table learned so far, start the next one."""
        row = {"step": self.steps, "return": self.total, "length": self.length}
        self.log.append(row)
        if self.on_progress:
            self.on_progress(self.steps, row, table)
        self.total, self.length = 0.0, 0
        return int(self.env.reset()[0])
