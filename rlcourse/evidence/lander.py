"""How noisy is the moon? Two policies that learn nothing, episode by episode, from the same starts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlcourse.envs.vector import make
from rlcourse.seeding import generator, streams

__all__ = ["rule_return"]


def rule_return(
    config: Mapping[str, Any], seed: int, *, random: bool = False, episodes: int = 20
) -> tuple[float, dict[str, Any]]:
    """The mean return of the rule that comes with LunarLander, or of random play; beside it every return.

    Both policies meet the same starts: those that the seed fixes.
    """
    from gymnasium.envs.box2d import lunar_lander

    env = make(config["env_id"])
    actions = copy.deepcopy(env.action_space)
    actions.seed(int(streams(seed).exploration.integers(2**31)))
    starts = generator(streams(seed).evaluation)
    rule: Any = lunar_lander.heuristic
    returns = []
    for _ in range(episodes):
        obs, _ = env.reset(seed=int(starts.integers(2**31)))
        total, over = 0.0, False
        while not over:
            action = actions.sample() if random else rule(env, obs)
            obs, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    env.close()
    return float(np.mean(returns)), {"returns": returns}
