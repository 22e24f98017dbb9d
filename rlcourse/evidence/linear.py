"""What contracts measure on linear functions: ``measure(config, seed, **options) -> (score, extra)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlcourse.algorithms import linear
from rlcourse.algorithms.dynamic_programming import evaluate
from rlcourse.algorithms.linear import Problem
from rlcourse.mdp import Floats

__all__ = ["baird_error", "walk_error"]

Measured = tuple[float, dict[str, Any]]


def baird_error(
    config: Mapping[str, Any],
    seed: int,
    *,
    update: str = "semi_gradient",
    on_policy: bool = False,
    table: bool = False,
    projected: bool = False,
) -> Measured:
    """Baird's counterexample: the last error of the values as a multiple of the first.

    Args:
        config: of :mod:`rlcourse.algorithms.linear`.
        seed: of the run.
        update: a name in :mod:`rlcourse.algorithms.linear`.
        on_policy: judge the policy that walks.
        table: a weight for each state; the first values are the same.
        projected: the score is of the projected Bellman error instead of the value error.
    """
    problem = linear.baird()
    start = np.array(linear.BAIRD_START)
    if on_policy:
        problem = problem._replace(target=problem.behaviour)
    if table:
        start = problem.features @ start
        problem = problem._replace(features=np.eye(len(start)))
    settings = linear.Config(**config)
    run = linear.train(problem, settings, seed, update=getattr(linear, update), initial=start)
    values = run.weights @ problem.features.T
    error = np.sqrt((values**2).mean(axis=1))  # every true value is zero
    bellman = np.sqrt(_projected_bellman(problem, run.weights, settings.gamma))
    score = bellman[-1] / bellman[0] if projected else error[-1] / error[0]
    return float(score), {
        "x": run.steps.tolist(),
        "curves": error.tolist(),
        "projected": bellman.tolist(),
    }


def walk_error(config: Mapping[str, Any], seed: int, *, update: str) -> Measured:
    """The long walk: how far the mean values of the second half lie from the exact fixed point.

    In units of the root-mean-square value error, weighted by visits, of the fixed point itself.
    """
    problem = linear.long_walk()
    settings = linear.Config(**config)
    run = linear.train(problem, settings, seed, update=getattr(linear, update))
    d, x = linear.visits(problem), problem.features
    truth = evaluate(problem.mdp, problem.target, settings.gamma)
    half = len(run.weights) // 2
    gap = _rms(
        d, x @ (run.weights[half:].mean(axis=0) - _fixed_point(problem, settings.gamma, update))
    )
    best = _rms(d, truth - x @ _fixed_point(problem, settings.gamma, update))
    curves = [_rms(d, truth - x @ w) for w in run.weights]
    return gap / best, {"x": run.steps.tolist(), "curves": curves, "fixed_point": best}


def _fixed_point(problem: Problem, gamma: float, update: str) -> Floats:
    """Where the mean update vanishes: for Monte Carlo the projection of the truth, else TD's."""
    x, weighted = problem.features, (problem.features.T * linear.visits(problem))
    chances, rewards = problem.mdp.under(problem.target)
    if update == "gradient_monte_carlo":
        truth = evaluate(problem.mdp, problem.target, gamma)
        return np.asarray(np.linalg.solve(weighted @ x, weighted @ truth))
    return np.asarray(np.linalg.solve(weighted @ (x - gamma * chances @ x), weighted @ rewards))


def _projected_bellman(problem: Problem, weights: Floats, gamma: float) -> Floats:
    """The squared projected Bellman error of each row of weights; rewards are zero."""
    x, weighted = problem.features, (problem.features.T * linear.visits(problem))
    chances, _ = problem.mdp.under(problem.target)
    g = weights @ (weighted @ (gamma * chances @ x - x)).T
    return np.asarray(np.maximum(0.0, np.einsum("ki,ij,kj->k", g, np.linalg.pinv(weighted @ x), g)))


def _rms(weight: Floats, error: Floats) -> float:
    return float(np.sqrt(weight @ error**2))
