"""What contracts measure on mazes: ``measure(config, seed, **options) -> (score, extra)``.

The mazes that judge are the same for all: the first of the set ``test``, drawn from seed zero. No training
maze has the walls of one of them, whatever its seed (:func:`rlcourse.envs.mazes.split_of`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from rlcourse.algorithms import planner, tabular
from rlcourse.envs.mazes import distances, follow, maze, mazes, success
from rlcourse.evaluation import exact_return
from rlcourse.mdp import grid

__all__ = ["random_success", "table_steps", "unseen_success"]

Measured = tuple[float, dict[str, Any]]
POINTS = 8  # points of a stored learning curve
JUDGES = 100  # test mazes


@cache
def judges(rooms: int = 4, method: str = "wilson") -> tuple[str, ...]:
    """The test mazes, always the same.

    >>> len(judges(6))
    40
    """
    return tuple(mazes(JUDGES if rooms == 4 else 40, 0, split="test", rooms=rooms, method=method))


def unseen_success(config: Mapping[str, Any], seed: int, *, larger: bool = False) -> Measured:
    """From what share of the cells of unseen mazes the greedy policy arrives; exact, nothing is played.

    Beside it the same of the training mazes (``seen``), the difference of the two (``gap``), both as curves,
    and the same of unseen mazes that were dug depth first (``corridors``). With ``larger`` also of mazes of
    six rooms a side, for as many sweeps as there and for twice as many.
    """
    settings = planner.Config(**config)
    trained = mazes(
        settings.count, seed, split="train", rooms=settings.rooms, method=settings.method
    )[:JUDGES]
    due = np.linspace(0, settings.steps, POINTS + 1)[1:].tolist()
    seen: list[float] = []
    unseen: list[float] = []

    def watch(steps: int, row: dict[str, float], policy: Any) -> None:
        if steps >= due[len(unseen)]:
            seen.append(success(trained, policy(trained)))
            unseen.append(success(judges(), policy(judges())))

    result = planner.train(settings, seed, on_progress=watch)
    policy, dug = result.policy, judges(method="depth-first")
    extra: dict[str, Any] = {
        "x": due,
        "curves": unseen,
        "seen_curves": seen,
        "seen": seen[-1],
        "gap": seen[-1] - unseen[-1],
        "corridors": success(dug, policy(dug)),
    }
    if larger:
        wide, network = judges(6), policy.network
        assert isinstance(network, planner.Planner)
        for name in ("larger", "larger_twice"):
            extra[name] = success(wide, policy(wide))
            network.sweeps = 2 * settings.sweeps
    return unseen[-1], extra


class _SolvedError(Exception):
    """Raised out of a run that has nothing left to learn."""


def table_steps(config: Mapping[str, Any], seed: int, *, rooms: int = 4) -> Measured:
    """Environment steps until tabular Q-learning walks one maze by a shortest way; the budget if it never does.

    Beside it, what the table is worth in the test mazes (``unseen``), the length of the way, and the
    multiplications that value iteration needs for the same answer, one for each cell, action and sweep.
    """
    text = maze(rooms, seed)
    away, start = distances(text), "".join(text.split()).index("S")
    settings = tabular.Config(
        **{"env_id": "rlcourse/Grid-v0", "env_options": {"text": text}, **config}
    )
    spent, kept = float(settings.steps), np.zeros(0, dtype=np.int64)

    def watch(steps: int, row: dict[str, float], table: Any) -> None:
        nonlocal spent, kept
        policy = np.argmax(table, axis=1)
        if follow(text, policy)[start] == away[start]:
            spent, kept = float(steps), policy
            raise _SolvedError

    with suppress(_SolvedError):
        kept = tabular.train(settings, seed, on_progress=watch).policy
    repeated = np.tile(kept, (JUDGES, 1))
    return spent, {
        "unseen": success(judges(rooms), repeated),
        "way": int(away[start]),
        "planning": int((away >= 0).sum() * 4 * away.max()),
    }


def random_success(config: Mapping[str, Any], seed: int, *, rooms: int = 4) -> Measured:
    """The chance that a random walk arrives in so many ``moves``, from any cell of ten test mazes; exact."""
    each = []
    for text in judges(rooms)[10 * seed : 10 * seed + 10]:
        world, away = grid(text), distances(text)
        policy = np.full(world.reward.shape, 0.25)
        inside = np.where(away > 0, 1.0, 0.0)
        anywhere = replace(world, start=inside / inside.sum())
        each.append(exact_return(anywhere, policy, horizon=int(config["moves"])))
    return float(np.mean(each)), {}
