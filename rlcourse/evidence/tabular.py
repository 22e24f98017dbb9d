"""What contracts measure on tables: ``measure(config, seed, **options) -> (score, extra)``.

``extra`` is kept with the result: curves (``x`` and ``curves``) and whatever a page wants to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlcourse.algorithms import prediction, tabular
from rlcourse.algorithms.dynamic_programming import evaluate
from rlcourse.envs.vector import make
from rlcourse.evaluation import exact_return
from rlcourse.mdp import Floats, TabularMDP, chain, from_env
from rlcourse.mutants import hunt

__all__ = [
    "greedy_return",
    "left_choices",
    "left_gap",
    "online_gap",
    "online_return",
    "random_walk_error",
    "random_walk_gap",
    "reached_goal",
    "room_estimate",
]

Measured = tuple[float, dict[str, Any]]
POINTS = 40  # points of a stored learning curve


def greedy_return(
    config: Mapping[str, Any],
    seed: int,
    *,
    algorithm: str = "q_learning",
    bug: str | None = None,
    horizon: int | None = None,
    curve: bool = True,
) -> Measured:
    """The exact expected return of the greedy policy that was learned, and how it grew.

    With ``bug`` the algorithm is the one with that mutation: what a page says about a bug is measured
    on the bug.
    """
    module = hunt(bug) if bug else tabular
    settings = module.Config(**config)
    env = make(settings.env_id, **settings.env_options)
    mdp = from_env(env)
    limit = horizon or env.spec.max_episode_steps  # type: ignore[union-attr]
    checkpoints = np.linspace(0, settings.steps, POINTS + 1)[1:]
    x: list[float] = []
    curves: list[float] = []

    def watch(steps: int, row: dict[str, float], table: Any) -> None:
        while curve and len(x) < POINTS and steps >= checkpoints[len(x)]:
            q = np.sum(table, axis=0) if np.ndim(table) == 3 else np.asarray(table)
            x.append(float(checkpoints[len(x)]))
            curves.append(exact_return(mdp, q.argmax(axis=1), horizon=limit))

    result = module.ALGORITHMS[algorithm](settings, seed, on_progress=watch)
    score = exact_return(mdp, result.policy, horizon=limit)
    if curve:  # the last episode may have been cut by the budget
        missing = POINTS - len(x)
        x.extend(checkpoints[len(x) :].tolist())
        curves.extend([score] * missing)
    goals = sum(row["return"] > 0 for row in result.log)
    extra: dict[str, Any] = {"episodes_with_reward": goals, "episodes": len(result.log)}
    return score, {**extra, "x": x, "curves": curves} if curve else extra


def reached_goal(config: Mapping[str, Any], seed: int, *, bug: str | None = None) -> Measured:
    """One if any training episode was rewarded, else zero."""
    score, extra = greedy_return(config, seed, bug=bug, curve=False)
    return float(extra["episodes_with_reward"] > 0), {**extra, "greedy": score}


def online_return(
    config: Mapping[str, Any], seed: int, *, algorithm: str, last: int = 1000
) -> Measured:
    """The mean return of the last episodes *while exploring*, and of what the table implies exactly."""
    settings = tabular.Config(**config)
    result = tabular.ALGORITHMS[algorithm](settings, seed)
    returns = np.array([row["return"] for row in result.log])
    env = make(settings.env_id, **settings.env_options)
    mdp = from_env(env)
    limit = env.spec.max_episode_steps  # type: ignore[union-attr]
    exploring = _epsilon_greedy(result.policy, settings.epsilon_end, mdp)
    bins = np.array_split(returns, POINTS)
    return float(returns[-last:].mean()), {
        "greedy": exact_return(mdp, result.policy, horizon=limit),
        "exploring": exact_return(mdp, exploring, horizon=limit),
        "x": np.linspace(0, 1, POINTS + 1)[1:].tolist(),
        "curves": [float(part.mean()) for part in bins],
    }


def online_gap(
    config: Mapping[str, Any], seed: int, *, better: str, worse: str, last: int = 1000
) -> Measured:
    """How much more one algorithm earns while learning than another, with the same seed."""
    first, _ = online_return(config, seed, algorithm=better, last=last)
    second, _ = online_return(config, seed, algorithm=worse, last=last)
    return first - second, {better: first, worse: second}


def room_estimate(config: Mapping[str, Any], seed: int, *, algorithm: str) -> Measured:
    """How far an algorithm's estimate of the noisy room lies above the room's true value.

    Q-learning says: the largest entry. Double Q-learning says: what the second table thinks of the
    first one's best action.
    """
    settings = tabular.Config(**config)
    tables: list[Any] = []

    def watch(steps: int, row: dict[str, float], table: Any) -> None:
        tables[:] = [np.array(table)]

    tabular.ALGORITHMS[algorithm](settings, seed, on_progress=watch)
    table = tables[0]
    chooser, judge = (table[0][1], table[1][1]) if table.ndim == 3 else (table[1], table[1])
    mean = float(_bias_world(settings).reward[1, 0])
    return float(judge[chooser.argmax()]) - mean, {"truth": mean}


def left_choices(config: Mapping[str, Any], seed: int, *, algorithm: str) -> Measured:
    """The share of episodes that begin with the step into the losing room."""
    settings = tabular.Config(**config)
    result = tabular.ALGORITHMS[algorithm](settings, seed)
    left = np.array([row["length"] > 1 for row in result.log], dtype=float)
    return float(left.mean()), {
        "x": np.linspace(0, 100, POINTS + 1)[1:].tolist(),  # per cent of the run
        "curves": [float(part.mean()) for part in np.array_split(left, POINTS)],
    }


def left_gap(config: Mapping[str, Any], seed: int) -> Measured:
    """How much more often Q-learning enters the losing room than Double Q-learning, same seed."""
    single, _ = left_choices(config, seed, algorithm="q_learning")
    double, _ = left_choices(config, seed, algorithm="double_q_learning")
    return single - double, {"q_learning": single, "double_q_learning": double}


def _bias_world(settings: tabular.Config) -> TabularMDP:
    world: Any = make(settings.env_id, **settings.env_options).unwrapped
    mdp: TabularMDP = world.mdp
    return mdp


def random_walk_error(config: Mapping[str, Any], seed: int, *, average: bool = False) -> Measured:
    """Root-mean-square error of predicted values on the random walk, from the exact ones.

    With ``average`` of the mean estimate over the second half of the run, which the noise of a constant
    step size leaves unbiased; else of the estimate after every episode, averaged over the run.
    """
    settings = prediction.Config(**config)
    mdp = chain(**settings.env_options)
    truth = evaluate(mdp, np.full((mdp.num_states, 2), 0.5), settings.gamma)[1:-1]
    values: Floats = prediction.train(settings, seed).values[:, 1:-1]
    errors = np.sqrt(((values - truth) ** 2).mean(axis=1))
    mean = values[len(values) // 2 :].mean(axis=0)
    score = np.sqrt(((mean - truth) ** 2).mean()) if average else errors.mean()
    picks = np.unique(np.linspace(0, len(errors) - 1, POINTS + 1).round().astype(int))
    return float(score), {
        "x": picks.astype(float).tolist(),
        "curves": errors[picks].tolist(),
        "mean_values": mean.tolist(),
        "truth": truth.tolist(),
    }


def random_walk_gap(config: Mapping[str, Any], seed: int, *, worse: Mapping[str, Any]) -> Measured:
    """How much larger the error with the settings ``worse`` is than with ``config``, same seed."""
    first, _ = random_walk_error(config, seed)
    second, _ = random_walk_error({**config, **worse}, seed)
    return second - first, {"config": first, "worse": second}


def _epsilon_greedy(policy: Any, epsilon: float, mdp: TabularMDP) -> Floats:
    states, actions = mdp.reward.shape
    full = np.concatenate([policy, np.zeros(states - len(policy), dtype=int)])
    soft: Floats = (1 - epsilon) * np.eye(actions)[full] + epsilon / actions
    return soft
