"""Worlds: one stepping convention, tiny worlds with known values, and two of our own.

Importing this package registers ``rlcourse/Grid-v0``, ``rlcourse/TicTacToe-v0`` and the probes with
Gymnasium.
"""

import gymnasium as gym

from rlcourse.envs.model import ModelEnv
from rlcourse.envs.probes import PROBES
from rlcourse.mdp import chain

gym.register("rlcourse/Grid-v0", "rlcourse.envs.grid:GridEnv", max_episode_steps=200)
gym.register("rlcourse/TicTacToe-v0", "rlcourse.envs.tictactoe:TicTacToeEnv")
gym.register("rlcourse/MaximisationBias-v0", "rlcourse.envs.bias:MaximisationBiasEnv")
gym.register("rlcourse/RandomWalk-v0", lambda length=5: ModelEnv(chain(length)))
for _probe in PROBES:
    gym.register(_probe.env_id, _probe.make, max_episode_steps=_probe.time_limit)
