"""What contracts measure on rewards: ``measure(config, seed, **options) -> (score, extra)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from rlcourse.algorithms import tabular
from rlcourse.algorithms.dynamic_programming import policy_iteration
from rlcourse.envs.rewards import POCKET, boat, lock, shaped_grid
from rlcourse.evaluation import exact_return
from rlcourse.mdp import Floats, grid, parse_map

__all__ = ["POTENTIALS", "finishes", "potential", "steps_to_goal", "steps_to_open"]

Measured = tuple[float, dict[str, Any]]
POINTS = 40  # points of a stored learning curve
POTENTIALS = ("none", "path", "crow", "crow + 1", "crow - 1", "minus crow", "large")


class _SolvedError(Exception):
    """Raised out of a run that has nothing left to learn."""


def steps_to_open(config: Mapping[str, Any], seed: int) -> Measured:
    """Environment steps until the greedy policy opens the untouched lock; the whole budget if never."""
    settings = tabular.Config(**config)
    world = lock(settings.env_options["length"])
    limit = world.num_states - 1
    return _steps_until(settings, seed, lambda p: exact_return(world, p, horizon=limit) == 1), {}


def potential(name: str, gamma: float) -> Floats:
    """One of :data:`POTENTIALS` on the map :data:`rlcourse.envs.rewards.POCKET`, shape ``[S]``.

    ``path`` is half of the true value; ``crow`` what the value would be if nothing stood in the way, as
    it is or one higher or lower; ``minus crow`` the distance as the crow flies, negative; ``large`` ten
    times the true value.

    >>> potential("minus crow", 0.99)[27]
    np.float64(-8.0)
    """
    if name == "none":
        return np.zeros(parse_map(POCKET).size)
    *_, best = policy_iteration(grid(POCKET), gamma)
    cells = parse_map(POCKET)
    goal = np.argwhere(cells == "G")[0]
    crow = np.abs(np.indices(cells.shape) - goal[:, None, None]).sum(axis=0).ravel()
    flown = gamma ** np.maximum(crow - 1.0, 0.0)
    table: dict[str, Floats] = {
        "path": 0.5 * best.values,
        "crow": flown,
        "crow + 1": flown + 1.0,
        "crow - 1": flown - 1.0,
        "minus crow": -crow.astype(np.float64),
        "large": 10.0 * best.values,
    }
    return table[name]


def steps_to_goal(config: Mapping[str, Any], seed: int, *, shaping: str) -> Measured:
    """Environment steps until the greedy policy takes a shortest way around the pocket."""
    gamma = tabular.Config(**config).gamma
    world = {"text": POCKET, "potential": potential(shaping, gamma).tolist(), "gamma": gamma}
    shaped_grid(**world)  # what the id below names: so that its code counts, too
    settings = tabular.Config(**{"env_id": "rlcourse/Shaped-v0", "env_options": world, **config})
    mdp = grid(POCKET)
    clock = grid(POCKET, goal=0.0, step=-1.0)
    *_, best = policy_iteration(clock, 1.0)
    shortest = round(-float(clock.start @ best.values))
    return _steps_until(settings, seed, lambda p: exact_return(mdp, p, horizon=shortest) == 1), {}


def finishes(config: Mapping[str, Any], seed: int, *, limit: int = 100) -> Measured:
    """The chance that the boat's greedy policy finishes in time, and how it and the pay have changed."""
    settings = tabular.Config(**config)
    paid, task = boat(**settings.env_options), boat(prize=1.0, gate=0.0)
    due = np.linspace(0, settings.steps, POINTS + 1)[1:]
    rows: list[tuple[float, float]] = []

    def judge(policy: Any) -> tuple[float, float]:
        return (
            exact_return(task, policy, horizon=limit),
            exact_return(paid, policy, horizon=limit),
        )

    def watch(steps: int, row: dict[str, float], table: Any) -> None:
        while len(rows) < POINTS and steps >= due[len(rows)]:
            rows.append(judge(np.argmax(table, axis=1)))

    result = tabular.train(settings, seed, on_progress=watch)
    last = judge(result.policy)
    rows.extend([last] * (POINTS - len(rows)))  # the budget may have cut the last episode
    curves, pay = zip(*rows, strict=True)
    return last[0], {"x": due.tolist(), "curves": list(curves), "pay": list(pay)}


def _steps_until(settings: tabular.Config, seed: int, solved: Callable[[Any], bool]) -> float:
    """Environment steps at the first end of an episode at which the greedy policy is ``solved``."""
    spent = float(settings.steps)

    def watch(steps: int, row: dict[str, float], table: Any) -> None:
        nonlocal spent
        if solved(np.argmax(table, axis=1)):
            spent = float(steps)
            raise _SolvedError

    with suppress(_SolvedError):
        tabular.train(settings, seed, on_progress=watch)
    return spent
