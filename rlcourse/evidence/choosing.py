"""What the contest of the learners needs besides their returns: random play, and a house judged over weeks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from rlcourse.algorithms import a2c, ppo, sac
from rlcourse.envs.heating import HeatingEnv
from rlcourse.envs.vector import make
from rlcourse.evaluation import play
from rlcourse.mutants import hunt
from rlcourse.seeding import generator

__all__ = ["a2c_heating", "ppo_heating", "random_return", "sac_heating"]

DAYS = 14  # of a trial: within one day it would pay to let the house go cold
POINTS = 10  # points of a stored learning curve


def random_return(
    config: Mapping[str, Any], seed: int, *, episodes: int = 100, days: int = 1
) -> tuple[float, dict[str, Any]]:
    """The mean return of a hand that shakes: even over buttons, even over a box. ``days`` divides it."""
    env_id, options = config["env_id"], config.get("env_options", {})
    actions, rng = make(env_id, **options).action_space, generator(seed)

    def policy(observations: Any) -> Any:
        number = len(observations)
        if isinstance(actions, Discrete):
            return rng.integers(actions.n, size=number)
        assert isinstance(actions, Box)
        return rng.uniform(actions.low, actions.high, (number, *actions.shape)).astype(
            actions.dtype
        )

    width = min(episodes, 20)
    returns = play(policy, env_id, episodes=episodes, num_envs=width, seed=seed, **options)
    return float(returns.mean()) / days, {}


def _heating(
    module: Any, config: Mapping[str, Any], seed: int, *, bug: str | None = None
) -> tuple[float, dict[str, Any]]:
    """Euros a day of the frozen policy without chance, over two weeks in a hundred houses.

    Beside it, at as many points as a curve has, the same of twenty houses. With ``bug`` the algorithm is the
    one with that mutation.
    """
    module = hunt(bug) if bug else module
    settings = module.Config(**config)
    assert isinstance(make(settings.env_id).unwrapped, HeatingEnv)  # so that its code counts, too
    checkpoints = np.linspace(0, settings.steps, POINTS + 1)[1:]
    curve: list[float] = []

    def judge(policy: Any, houses: int) -> float:
        returns = play(
            policy,
            settings.env_id,
            episodes=houses,
            num_envs=houses,
            seed=seed,
            max_episode_steps=24 * DAYS,
        )
        return float(returns.mean()) / DAYS

    def watch(steps: int, row: dict[str, float], run: Any) -> None:
        while len(curve) < POINTS and steps >= checkpoints[len(curve)]:
            curve.append(judge(run.policy(), 20))

    result = module.train(settings, seed, on_progress=watch)
    while len(curve) < POINTS:  # the last episodes may have been cut by the budget
        curve.append(judge(result.policy, 20))
    return judge(result.policy, 100), {"x": [float(x) for x in checkpoints], "curves": curve}


# One for each algorithm, so that a result depends on the code of its own algorithm alone.
a2c_heating = partial(_heating, a2c)
ppo_heating = partial(_heating, ppo)
sac_heating = partial(_heating, sac)
