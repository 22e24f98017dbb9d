"""Seven worlds so small that the right answer is known by heart.

A learner that fails on CartPole could have any of a hundred bugs. A learner that fails on one of these
has the bug that the world was made for. Each probe is a tiny model with the optimal value of every
state in closed form; ``Probe.values(gamma)`` returns it.

The idea is in folklore (Andy Jones, "Debugging RL, without the agonizing pain", 2021); the two worlds
about time limits are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rlcourse.envs.model import ModelEnv
from rlcourse.errors import InvalidArgumentError
from rlcourse.mdp import TabularMDP

__all__ = ["PROBES", "Probe", "probe"]


@dataclass(frozen=True)
class Probe:
    """A tiny world: its id in Gymnasium, what it isolates, its model and its optimal values."""

    env_id: str
    isolates: str
    model: Callable[[], TabularMDP]
    time_limit: int | None
    values: Callable[[float], list[float]]  # gamma -> optimal value of each state

    def make(self) -> ModelEnv:
        """A fresh environment, without the time limit that Gymnasium's registry adds."""
        return ModelEnv(self.model())


def _model(
    moves: list[list[int]], rewards: list[list[float]], start: list[float] | None = None
) -> TabularMDP:
    """A deterministic model; the state after the last one is the end."""
    states, actions = len(moves) + 1, len(moves[0])
    transition = np.zeros((states, actions, states))
    for state, successors in enumerate([*moves, [len(moves)] * actions]):
        for action, successor in enumerate(successors):
            transition[state, action, successor] = 1.0
    reward = np.array([*rewards, [0.0] * actions])
    first = np.eye(states)[0] if start is None else np.array([*start, 0.0])
    return TabularMDP(transition, reward, np.arange(states) == states - 1, first)


PROBES = (
    Probe(
        "rlcourse/Probe-OneStep-v0",
        "the value of a reward: one state, one step, reward 1",
        lambda: _model([[1]], [[1.0]]),
        None,
        lambda gamma: [1.0, 0.0],
    ),
    Probe(
        "rlcourse/Probe-Delay-v0",
        "bootstrapping and discount: the reward comes one step later",
        lambda: _model([[1], [2]], [[0.0], [1.0]]),
        None,
        lambda gamma: [gamma, 1.0, 0.0],
    ),
    Probe(
        "rlcourse/Probe-TwoActions-v0",
        "choice: one action pays 1, the other -1",
        lambda: _model([[1, 1]], [[-1.0, 1.0]]),
        None,
        lambda gamma: [1.0, 0.0],
    ),
    Probe(
        "rlcourse/Probe-Observation-v0",
        "the observation matters: two first states, each with its own right action",
        lambda: _model([[2, 2], [2, 2]], [[1.0, -1.0], [-1.0, 1.0]], start=[0.5, 0.5]),
        None,
        lambda gamma: [1.0, 1.0, 0.0],
    ),
    Probe(
        "rlcourse/Probe-Forever-v0",
        "a time limit is not an end: reward 1 for ever, cut after ten steps",
        lambda: _model([[0]], [[1.0]]),
        10,
        lambda gamma: [1 / (1 - gamma), 0.0],
    ),
    Probe(
        "rlcourse/Probe-LastMoment-v0",
        "an end is an end: three steps, terminated and truncated on the same one",
        lambda: _model([[1], [2], [3]], [[1.0], [1.0], [1.0]]),
        3,
        lambda gamma: [1 + gamma + gamma**2, 1 + gamma, 1.0, 0.0],
    ),
    Probe(
        "rlcourse/Probe-Corridor-v0",
        "autoreset: every step leads one state on; a row that leads from the end to the start is false",
        lambda: _model([[s + 1] for s in range(5)], [[0.0]] * 4 + [[1.0]]),
        None,
        lambda gamma: [*(gamma ** (4 - s) for s in range(5)), 0.0],
    ),
)


def make(env_id: str) -> ModelEnv:
    """A probe's environment by its id: what Gymnasium calls."""
    return next(p for p in PROBES if p.env_id == env_id).make()


def probe(name: str) -> Probe:
    """The probe whose id contains ``name``.

    >>> probe("Delay").values(0.9)
    [0.9, 1.0, 0.0]
    """
    for candidate in PROBES:
        if name in candidate.env_id:
            return candidate
    names = ", ".join(p.env_id.split("-")[1] for p in PROBES)
    raise InvalidArgumentError(f"name = {name!r}: must be one of {names}")
