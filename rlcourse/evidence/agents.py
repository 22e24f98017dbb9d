"""What contracts measure on teams: ``measure(config, seed, **options) -> (score, extra)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlcourse.algorithms import ippo, iql
from rlcourse.envs.many import assigned, make_world, nearest, random_policy, team_returns
from rlcourse.networks import GreedyPolicy
from rlcourse.seeding import streams

__all__ = ["learned_return", "scripted_return", "shortest"]

Measured = tuple[float, dict[str, Any]]
POINTS = 20  # points of a stored learning curve
SCRIPTS = {"nearest": nearest, "assigned": assigned}
ORIGINAL = "mpe2/simple_spread_v3"  # whatever has learned where, it is judged here


def scripted_return(
    config: Mapping[str, Any], seed: int, *, script: str, episodes: int = 100
) -> Measured:
    """The mean return an agent and episode of a policy that learns nothing, in the original world."""
    policy = SCRIPTS[script] if script in SCRIPTS else random_policy(seed)
    returns, lengths = _play(policy, seed, episodes)
    return float(returns.mean()), _facts(returns, lengths)


def learned_return(
    config: Mapping[str, Any], seed: int, *, algorithm: str, episodes: int = 100
) -> Measured:
    """The mean return an agent and episode of the frozen policies, in the original world.

    They learn in :class:`rlcourse.envs.many.Spread`. Beside it: the share of the way from random play to the
    script that divides the landmarks, in the same episodes; and a curve, on other starts in the same world.
    """
    settings: Any = {"ippo": ippo, "iql": iql}[algorithm].Config(**config)
    due = np.linspace(0, settings.steps, POINTS + 1)[1:]
    x: list[float] = []
    curve: list[float] = []

    def note(policy: Any) -> None:
        world = make_world(settings.env_id, 100)
        returns, _ = team_returns(policy, world, episodes=200, seed=streams(seed).evaluation)
        x.append(float(due[len(x)]))
        curve.append(float(returns.mean()))

    def watch(steps: int, row: dict[str, float], run: Any) -> None:
        while len(x) < POINTS and steps >= due[len(x)]:
            if algorithm == "ippo":
                note(run.policy())
            else:
                note(iql.TeamPolicy([GreedyPolicy(learner.network) for learner in run]))

    if algorithm == "ippo":
        policy: Any = ippo.train(settings, seed, on_progress=watch).policy
    else:
        policy = iql.train(settings, seed, on_progress=watch).policy
    while len(x) < POINTS:
        note(policy)
    returns, lengths = _play(policy, seed, episodes)
    low = _play(random_policy(seed), seed, episodes)[0].mean()
    high = _play(assigned, seed, episodes)[0].mean()
    share = float((returns.mean() - low) / (high - low))
    return float(returns.mean()), {
        "x": x,
        "curves": curve,
        "share": share,
        **_facts(returns, lengths),
    }


def shortest(config: Mapping[str, Any], seed: int, *, of: str) -> Measured:
    """The cycles of the shortest episode in which another contract's team of this seed was judged."""
    from rlcourse.evidence import load

    kept = load(of)["shortest"]  # one number where all seeds have the same
    return float(kept[seed] if isinstance(kept, list) else kept), {}


def _play(policy: Any, seed: int, episodes: int) -> Any:
    world = make_world(ORIGINAL, min(episodes, 20))
    try:
        return team_returns(policy, world, episodes=episodes, seed=streams(seed).evaluation)
    finally:
        world.close()


def _facts(returns: Any, lengths: Any) -> dict[str, Any]:
    """The shortest and the longest episode, and how far agents of one episode differ in what they are paid."""
    spread = float((returns.max(axis=1) - returns.min(axis=1)).mean())
    return {"shortest": int(lengths.min()), "longest": int(lengths.max()), "apart": spread}
