r"""Potential-based shaping around any environment (Ng, Harada & Russell 1999)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym

from rlcourse.errors import InvalidArgumentError, check_fraction

__all__ = ["PotentialShaping"]


class PotentialShaping(gym.Wrapper[Any, Any, Any, Any]):
    r"""Adds $\gamma\,\Phi(S_{t+1}) - \Phi(S_t)$ to every reward, which changes no optimal policy.

    Over an episode the bonuses telescope to $\gamma^T \Phi(S_T) - \Phi(S_0)$. At a true end the first
    term is zero, whatever ``potential`` says there; at a time limit it is not, since the world goes on
    and a learner goes on to count what comes. The task's own reward is kept as ``info["task_reward"]``.

    Args:
        env: the environment.
        potential: an observation -> a number.
        gamma: the discount of the learner.

    >>> env = PotentialShaping(gym.make("FrozenLake-v1", is_slippery=False), float, gamma=0.5)
    >>> _ = env.reset(seed=0)
    >>> env.step(2)[1], env.step(2)[1]  # 0.5 * 1 - 0, 0.5 * 2 - 1
    (0.5, 0.0)
    """

    def __init__(
        self, env: gym.Env[Any, Any], potential: Callable[[Any], float], gamma: float
    ) -> None:
        super().__init__(env)
        self.gamma = check_fraction("gamma", gamma)
        self.potential = potential
        self._before = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode and look up the potential of its first state."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._before = self._at(obs)
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act, and be paid for the potential gained."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        after = 0.0 if terminated else self._at(obs)
        bonus = self.gamma * after - self._before
        self._before = after
        return obs, float(reward) + bonus, terminated, truncated, {**info, "task_reward": reward}

    def _at(self, obs: Any) -> float:
        value = float(self.potential(obs))
        if not math.isfinite(value):
            raise InvalidArgumentError(f"potential = {value} at {obs!r}: must be finite")
        return value
