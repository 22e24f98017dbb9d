"""Worlds: one stepping convention, tiny worlds with known values, and some of our own.

Importing this package registers ``rlcourse/Grid-v0``, ``rlcourse/TicTacToe-v0``, the probes and the
other worlds of this folder with Gymnasium.
"""

import gymnasium as gym

import rlcourse.envs.heating
import rlcourse.envs.rewards  # noqa: F401  (both register themselves)
from rlcourse.envs.probes import PROBES

gym.register("rlcourse/Grid-v0", "rlcourse.envs.grid:GridEnv", max_episode_steps=200)
gym.register("rlcourse/TicTacToe-v0", "rlcourse.envs.tictactoe:TicTacToeEnv")
gym.register("rlcourse/MaximisationBias-v0", "rlcourse.envs.bias:MaximisationBiasEnv")
gym.register("rlcourse/RandomWalk-v0", "rlcourse.envs.model:random_walk")
for _probe in PROBES:
    gym.register(
        _probe.env_id,
        "rlcourse.envs.probes:make",
        max_episode_steps=_probe.time_limit,
        kwargs={"env_id": _probe.env_id},
    )
