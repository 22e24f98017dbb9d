"""What contracts measure on bandits: ``measure(config, seed, **options) -> (score, extra)``.

A seed is a batch of runs that are played side by side, and its score their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rlcourse.algorithms.bandits import Config, play
from rlcourse.envs.bandit import LIKED, Bandit, bernoulli, tastes, trap

__all__ = ["WORLDS", "regret"]

Measured = tuple[float, dict[str, Any]]
POINTS = 40  # points of a stored curve

# By name: the fifty films, ten arms of which one is good, the guests with tastes (or with noise shown
# instead), and the sequence laid for UCB1.
WORLDS: dict[str, Callable[[int], Bandit]] = {
    "films": lambda steps: bernoulli(LIKED),
    "ten": lambda steps: bernoulli([0.9] + [0.6] * 9),
    "tastes": lambda steps: tastes(),
    "noise": lambda steps: tastes(shown="noise"),
    "trap": lambda steps: trap(steps),
}


def regret(config: Mapping[str, Any], seed: int, *, world: str, fixed: bool = False) -> Measured:
    """The mean regret of a batch of runs; with ``fixed`` against the best single arm, in hindsight."""
    settings = Config(**config)
    result = play(WORLDS[world](settings.steps), settings, seed, points=POINTS)
    curve = (result.fixed if fixed else result.regret).mean(axis=1)
    best = WORLDS[world](settings.steps).fixed(settings.steps)
    return float(curve[-1]), {
        "x": result.x.tolist(),
        "curves": curve.tolist(),
        "share": float(result.pulls[:, best].mean() / settings.steps),
    }
