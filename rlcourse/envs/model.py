"""A Gymnasium environment that samples from a :class:`~rlcourse.mdp.TabularMDP`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.mdp import TabularMDP, chain

__all__ = ["ModelEnv", "random_walk"]


class ModelEnv(gym.Env[Any, Any]):
    """States and actions are numbers; each step pays the model's expected reward ``R[s, a]``.

    The model is on view as ``mdp``, so that whatever an agent learns here can be judged exactly.

    >>> from rlcourse.mdp import chain
    >>> env = ModelEnv(chain(5))
    >>> env.reset(seed=0)[0]
    3
    """

    def __init__(self, mdp: TabularMDP) -> None:
        self.mdp = mdp
        self.observation_space = gym.spaces.Discrete(mdp.num_states)
        self.action_space = gym.spaces.Discrete(mdp.num_actions)
        self.state = -1
        self._successors: dict[tuple[int, int], tuple[Any, Any]] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Draw a first state from ``mdp.start``."""
        super().reset(seed=seed)
        self.state = int(self.np_random.choice(self.mdp.num_states, p=self.mdp.start))
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Draw a successor from ``P[state, action]``."""
        if not self.action_space.contains(action):
            raise InvalidArgumentError(
                f"action = {action!r}: must be in 0..{self.mdp.num_actions - 1}"
            )
        state, action = self.state, int(action)
        if (state, action) not in self._successors:
            if state < 0 or self.mdp.terminal[state]:
                raise CourseError(f"state = {state}: no episode is running; call reset() first")
            row = self.mdp.successors(state, action)
            reachable = np.flatnonzero(row)
            self._successors[state, action] = (reachable, np.cumsum(row[reachable]))
        reachable, cumulative = self._successors[state, action]
        draw = self.np_random.random() * cumulative[-1]
        self.state = int(reachable[np.searchsorted(cumulative, draw, side="right")])
        reward = self._reward(state, action, self.state)
        return self.state, reward, bool(self.mdp.terminal[self.state]), False, {}

    def _reward(self, state: int, action: int, next_state: int) -> float:
        return float(self.mdp.reward[state, action])


def random_walk(length: int = 5) -> ModelEnv:
    """The random walk of :func:`rlcourse.mdp.chain`: ``rlcourse/RandomWalk-v0``."""
    return ModelEnv(chain(length))
