"""What contracts measure on learned policies: ``measure(config, seed, **options) -> (score, extra)``.

``ALGORITHM_return`` is the mean return of the frozen policy without chance, over whole episodes that it has never
seen; ``ALGORITHM_seconds`` the wall clock from nothing until an evaluation reaches ``target``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from rlcourse.algorithms import a2c, a3c, ppo, reinforce, sac
from rlcourse.evaluation import play
from rlcourse.mutants import hunt

__all__ = [
    *("reinforce_return", "a2c_return", "a3c_return", "ppo_return", "sac_return"),
    *("a2c_seconds", "ppo_seconds", "sac_seconds", "a3c_speedup"),
]

Measured = tuple[float, dict[str, Any]]
POINTS = 20  # points of a stored learning curve


def _return(
    module: Any,
    config: Mapping[str, Any],
    seed: int,
    *,
    episodes: int = 100,
    curve_episodes: int = 20,
    bug: str | None = None,
) -> Measured:
    """The mean return of the frozen policy without chance, over whole episodes that it has never seen.

    Beside it, at as many points as a curve has, the same of fewer episodes. With ``bug`` the algorithm is the
    one with that mutation.
    """
    module = hunt(bug) if bug else module
    settings = module.Config(**config)
    checkpoints = np.linspace(0, settings.steps, POINTS + 1)[1:]
    curve: list[float] = []

    def note(policy: Any) -> None:
        curve.append(_mean(policy, settings, curve_episodes, seed))

    def watch(steps: int, row: dict[str, float], run: Any) -> None:
        while len(curve) < POINTS and steps >= checkpoints[len(curve)]:
            note(run.policy())

    result = module.train(settings, seed, on_progress=watch)
    while len(curve) < POINTS:  # the last episodes may have been cut by the budget
        note(result.policy)
    x = [float(point) for point in checkpoints]
    return _mean(result.policy, settings, episodes, seed), {"x": x, "curves": curve}


def _seconds(
    module: Any,
    config: Mapping[str, Any],
    seed: int,
    *,
    target: float,
    every: int,
    episodes: int = 20,
) -> Measured:
    """Seconds of wall clock from nothing until an evaluation reaches ``target``, evaluations included.

    A run that never does counts as ten times what it took.
    """
    start = time.perf_counter()
    settings = module.Config(**config)
    reached: list[float] = []
    checked = [0]

    def watch(steps: int, row: dict[str, float], run: Any) -> None:
        if steps >= checked[0] + every:
            checked[0] = steps
            if _mean(run.policy(), settings, episodes, seed) >= target:
                reached[:] = [time.perf_counter() - start, float(steps)]
                raise StopIteration

    try:
        module.train(settings, seed, on_progress=watch)
    except StopIteration:
        return reached[0], {"steps": reached[1]}
    return 10 * (time.perf_counter() - start), {"steps": float(settings.steps)}


def a3c_speedup(config: Mapping[str, Any], seed: int) -> Measured:
    """Environment steps per second of two workers, over those of one; the start of the processes is left out."""
    speeds = []
    for workers in (1, 2):
        told: list[tuple[float, int]] = []

        def watch(steps: int, row: dict[str, float], run: Any, told: Any = told) -> None:
            told.append((time.perf_counter(), steps))

        a3c.train(a3c.Config(**config, workers=workers), seed, on_progress=watch)
        (start, first), (end, last) = told[len(told) // 10], told[-1]
        speeds.append((last - first) / (end - start))
    return speeds[1] / speeds[0], {"one": speeds[0], "two": speeds[1]}


def _mean(policy: Any, settings: Any, episodes: int, seed: int) -> float:
    width = min(episodes, 20)
    options = settings.env_options
    returns = play(policy, settings.env_id, episodes=episodes, num_envs=width, seed=seed, **options)
    return float(returns.mean())


# One for each algorithm, so that a result depends on the code of its own algorithm alone.
reinforce_return = partial(_return, reinforce)
a2c_return = partial(_return, a2c)
a2c_seconds = partial(_seconds, a2c)
a3c_return = partial(_return, a3c)
ppo_return = partial(_return, ppo)
ppo_seconds = partial(_seconds, ppo)
sac_return = partial(_return, sac)
sac_seconds = partial(_seconds, sac)
