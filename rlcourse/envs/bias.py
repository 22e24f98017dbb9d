"""The world in which a maximum deceives: ``rlcourse/MaximisationBias-v0``."""

from __future__ import annotations

import numpy as np

from rlcourse.envs.model import ModelEnv
from rlcourse.mdp import TabularMDP

__all__ = ["MaximisationBiasEnv"]


class MaximisationBiasEnv(ModelEnv):
    """Right ends at once and pays nothing; left leads to a room of noisy bets that lose on average.

    In the first state actions 0-4 go left and 5-9 go right. In the room every action ends the episode
    and pays a normal reward of mean ``mean`` and deviation ``noise``. After Sutton & Barto 2018, example
    6.7 (there the first state has two actions; here all states have ten, half of them left).

    >>> env = MaximisationBiasEnv()
    >>> env.reset(seed=0)[0], env.step(0)[:3]
    (0, (1, 0.0, False))
    """

    def __init__(self, mean: float = -0.1, noise: float = 1.0) -> None:
        transition = np.zeros((3, 10, 3))
        transition[0, :5, 1] = transition[0, 5:, 2] = transition[1:, :, 2] = 1.0
        reward = np.zeros((3, 10))
        reward[1] = mean
        super().__init__(
            TabularMDP(transition, reward, np.array([False, False, True]), np.eye(3)[0])
        )
        self.noise = noise

    def _reward(self, state: int, action: int, next_state: int) -> float:
        mean = float(self.mdp.reward[state, action])
        return mean + (self.noise * float(self.np_random.normal()) if state == 1 else 0.0)
