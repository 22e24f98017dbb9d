"""What contracts measure on networks: ``measure(config, seed, **options) -> (score, extra)``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlcourse.algorithms import dqn, rainbow
from rlcourse.envs.vector import make_vector
from rlcourse.evaluation import play
from rlcourse.networks import GreedyPolicy
from rlcourse.returns import discounted_returns
from rlcourse.seeding import streams

__all__ = ["judged", "played_return", "seconds_to"]

Measured = tuple[float, dict[str, Any]]
POINTS = 20  # points of a stored learning curve
ALGORITHMS: dict[str, Any] = {"dqn": dqn, "rainbow": rainbow}


def played_return(
    config: Mapping[str, Any],
    seed: int,
    *,
    algorithm: str = "dqn",
    episodes: int = 100,
    curve_episodes: int = 20,
) -> Measured:
    """The mean return of the frozen greedy policy over whole episodes that it has never seen.

    Beside it, at as many points as a curve has: the same of fewer episodes, and how far the values lie above
    the discounted returns that really followed.
    """
    module = ALGORITHMS[algorithm]
    settings = module.Config(**config)
    checkpoints = np.linspace(0, settings.steps, POINTS + 1)[1:]
    x: list[float] = []
    curves: list[float] = []
    above: list[float | None] = []

    def watch(steps: int, row: dict[str, float], run: Any) -> None:
        while len(x) < POINTS and steps >= checkpoints[len(x)]:
            note(run.policy())

    def note(policy: GreedyPolicy) -> None:
        returns, excess = judged(policy, settings, seed, curve_episodes)
        x.append(float(checkpoints[len(x)]))
        curves.append(returns)
        above.append(excess)

    result = module.train(settings, seed, on_progress=watch)
    while len(x) < POINTS:  # the last episodes may have been cut by the budget
        note(result.policy)
    score = play(
        result.policy,
        settings.env_id,
        episodes=episodes,
        num_envs=min(episodes, 20),
        seed=seed,
        **settings.env_options,
    )
    return float(score.mean()), {
        "x": x,
        "curves": curves,
        "overestimation": above,
    }


def judged(
    policy: GreedyPolicy, settings: Any, seed: int, episodes: int
) -> tuple[float, float | None]:
    """Of some greedy episodes: the mean return, and by how much the values exceed what followed.

    A state counts only if what lies beyond a time limit could not change its discounted return by more than
    one part in a hundred; with none left the excess is ``None``.
    """
    envs = make_vector(settings.env_id, episodes, **settings.env_options)
    obs = envs.reset(streams(seed).evaluation)
    reward, over, limit, best = [], [], [], []
    running = np.ones(episodes, dtype=bool)
    while running.any():
        values = policy.q_values(obs)
        step = envs.step(values.argmax(axis=1))
        reward.append(np.where(running, step.reward, 0.0))
        best.append(np.where(running, values.max(axis=1), np.nan))
        over.append(step.boundary & running)
        limit.append(step.truncated & ~step.terminated & running)
        running &= ~step.boundary
        obs = envs.obs
    envs.close()
    rewards = np.array(reward)
    discounts = np.where(np.array(over), 0.0, settings.gamma)
    followed = discounted_returns(rewards, discounts)
    blind = discounted_returns(
        np.array(limit, dtype=float), discounts
    )  # gamma ** steps to the limit
    seen = np.isfinite(best) & (blind < 0.01)
    excess = float((np.array(best) - followed)[seen].mean()) if seen.any() else None
    return float(rewards.sum(axis=0).mean()), excess


def seconds_to(
    config: Mapping[str, Any], seed: int, *, target: float, every: int, episodes: int = 20
) -> Measured:
    """Seconds of wall clock from nothing until an evaluation reaches ``target``, evaluations included.

    A run that never does counts as ten times what it took.
    """
    start = time.perf_counter()
    settings = dqn.Config(**config)
    reached: list[float] = []
    checked = [0]

    def watch(steps: int, row: dict[str, float], run: Any) -> None:
        if not reached and steps >= checked[0] + every:
            checked[0] = steps
            returns = play(
                run.policy(), settings.env_id, episodes=episodes, num_envs=episodes, seed=seed
            )
            if returns.mean() >= target:
                reached[:] = [time.perf_counter() - start, float(steps)]
                raise StopIteration

    try:
        dqn.train(settings, seed, on_progress=watch)
    except StopIteration:
        return reached[0], {"steps": reached[1]}
    return 10 * (time.perf_counter() - start), {"steps": float(settings.steps)}
