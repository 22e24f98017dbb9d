"""Linear prediction: exact fixed points, walks against their laws, divergence by eigenvalues."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlcourse.algorithms import linear
from rlcourse.algorithms.dynamic_programming import evaluate
from rlcourse.algorithms.linear import (
    BAIRD_START,
    Config,
    Problem,
    baird,
    expected,
    gradient_monte_carlo,
    long_walk,
    semi_gradient,
    tdc,
    train,
    visits,
)
from rlcourse.errors import CourseError, DivergenceError
from rlcourse.mdp import TabularMDP, chain, random_mdp

UNIFORM = np.full((7, 2), 0.5)


def fork() -> Problem:
    """A leads to B or C by a coin; B ends with 1, C with 0. The values are 1/2, 1 and 0."""
    transition = np.zeros((4, 1, 4))
    transition[0, 0, [1, 2]], transition[1:, 0, 3] = 0.5, 1.0
    reward, only = np.array([[0.0], [1.0], [0.0], [0.0]]), np.ones((4, 1))
    mdp = TabularMDP(transition, reward, np.arange(4) == 3, np.eye(4)[0])
    return Problem(mdp, np.eye(4)[:, :3], only, only)


def off_policy(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    target, behaviour = rng.dirichlet(np.ones(2), size=(2, 6))
    return Problem(random_mdp(6, 2, seed=seed), np.eye(6), target, behaviour)


# --- fixed points ----------------------------------------------------------------------------------


@pytest.mark.parametrize("update", [semi_gradient, gradient_monte_carlo])
def test_semi_gradient_finds_the_true_values_of_a_table(update: Any) -> None:
    """Hand-solved: the full gradient would say 1/2, 3/4, 1/4."""
    M, c = expected(fork(), 1.0, update)
    assert np.linalg.solve(M, c) == pytest.approx([0.5, 1.0, 0.0])


@pytest.mark.parametrize("seed", range(10))
def test_off_policy_values_are_those_of_the_target_policy(seed: int) -> None:
    problem = off_policy(seed)
    truth = evaluate(problem.mdp, problem.target, 0.9)
    for update in (semi_gradient, gradient_monte_carlo):
        M, c = expected(problem, 0.9, update)
        assert np.linalg.solve(M, c) == pytest.approx(truth)
    M, c = expected(problem, 0.9, tdc)
    w, h = np.split(np.linalg.solve(M, c), 2)
    assert w == pytest.approx(truth)
    assert h == pytest.approx(np.zeros(6), abs=1e-9)


@pytest.mark.parametrize(
    ("update", "options", "tolerance"),
    [
        (semi_gradient, {"alpha": 0.02}, 0.05),
        (gradient_monte_carlo, {"alpha": 0.02, "horizon": 10}, 0.05),
        (tdc, {"alpha": 0.02, "beta": 0.05}, 0.05),
    ],
)
def test_runs_end_where_the_mean_update_vanishes(
    update: Any, options: Any, tolerance: float
) -> None:
    run = train(fork(), Config(gamma=1.0, steps=20_000, **options), seed=0, update=update)
    assert run.weights[50:].mean(axis=0) == pytest.approx([0.5, 1.0, 0.0], abs=tolerance)


def test_a_run_off_policy_finds_the_target_policys_values() -> None:
    walk = chain(5)
    left, right = np.tile([0.7, 0.3], (7, 1)), np.tile([0.3, 0.7], (7, 1))
    problem = Problem(walk, np.eye(7), right, left)
    run = train(problem, Config(gamma=0.9, alpha=0.01, steps=60_000), seed=0)
    truth = evaluate(walk, right, 0.9)[1:-1]
    assert run.weights[50:].mean(axis=0)[1:-1] == pytest.approx(truth, abs=0.05)
    assert abs(evaluate(walk, left, 0.9)[1:-1] - truth).max() > 0.3  # another question entirely


# --- Baird -----------------------------------------------------------------------------------------


def test_baird_is_the_world_of_the_book() -> None:
    problem = baird()
    assert problem.features @ BAIRD_START == pytest.approx([3, 3, 3, 3, 3, 3, 12])
    assert np.linalg.matrix_rank(problem.features) == 7  # any values can be written
    assert visits(problem) == pytest.approx(np.full(7, 1 / 7))
    assert not problem.mdp.reward.any()
    assert not evaluate(problem.mdp, problem.target, 0.99).any()


def test_only_the_whole_triad_has_a_growing_direction() -> None:
    whole = baird()
    least = {}
    for name, problem, update in (
        ("triad", whole, semi_gradient),
        ("on-policy", whole._replace(target=whole.behaviour), semi_gradient),
        ("returns", whole, gradient_monte_carlo),
        ("table", whole._replace(features=np.eye(7)), semi_gradient),
        ("tdc", whole, tdc),
    ):
        eigenvalues = np.linalg.eigvals(expected(problem, 0.99, update)[0])
        least[name] = eigenvalues.real.min()
    assert least.pop("triad") == pytest.approx(-0.239, abs=1e-3)
    assert all(value > -1e-9 for value in least.values()), least


@pytest.mark.parametrize("seed", range(5))
def test_a_run_grows_as_the_matrix_says(seed: int) -> None:
    problem, config = baird(), Config(steps=1000)
    run = train(problem, config, seed, initial=BAIRD_START)
    A = expected(problem, config.gamma, semi_gradient)[0]
    path = np.linalg.matrix_power(np.eye(8) - config.alpha * A, config.steps) @ BAIRD_START
    ours, predicted = (np.linalg.norm(problem.features @ w) for w in (run.weights[-1], path))
    assert 0.5 < ours / predicted < 2


def test_divergence_is_told() -> None:
    with pytest.raises(DivergenceError, match=r"step \d+: largest weight \S+e\+100: must stay"):
        train(baird(), Config(alpha=0.1, steps=20_000), initial=BAIRD_START)


# --- the rest of the file --------------------------------------------------------------------------


def test_the_long_walk() -> None:
    """Nearly a straight line from -1 to 1, odd about the middle; and its groups."""
    walk = long_walk(10)
    values = evaluate(walk.mdp, walk.target, 1.0)
    assert values[:1000] == pytest.approx(-values[999::-1])
    assert values[:1000] == pytest.approx((np.arange(1000) - 499.5) / 500, abs=0.09)
    assert (np.diff(values[:1000]) > 0).all()
    assert (walk.features[:1000].sum(axis=0) == 100).all()
    assert not walk.features[1000].any()


def test_visits_are_counted_without_the_ends() -> None:
    """The gambler's walk from the middle of five: 1, 2, 3, 2, 1 of nine steps."""
    problem = Problem(chain(5), np.eye(7), UNIFORM, UNIFORM)
    assert visits(problem) == pytest.approx(np.array([0, 1, 2, 3, 2, 1, 0]) / 9)


def test_visits_of_a_sparse_model() -> None:
    dense, sparse = (random_mdp(8, 2, seed=3, branching=3, sparse=flag) for flag in (False, True))
    policy = np.full((8, 2), 0.5)
    counted = [visits(Problem(mdp, np.eye(8), policy, policy)) for mdp in (dense, sparse)]
    assert counted[0] == pytest.approx(counted[1])
    law = np.linalg.matrix_power(dense.under(policy)[0], 2000)[0]
    assert counted[0] == pytest.approx(law)


def test_records() -> None:
    run = train(baird(), Config(steps=30), initial=BAIRD_START)
    assert run.weights.shape == (101, 8)
    assert run.steps[[0, -1]].tolist() == [0, 30]
    assert run.weights[0].tolist() == list(BAIRD_START)
    assert len(np.unique(run.weights, axis=0)) > 3


def test_a_run_is_its_seed() -> None:
    runs = [train(long_walk(4), Config(gamma=1.0, steps=500), s).weights for s in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


@pytest.mark.parametrize(
    ("settings", "initial", "message"),
    [
        ({"gamma": 1.1}, None, r"gamma = 1\.1: must be a number in \[0, 1\]"),
        ({"alpha": -1}, None, r"alpha = -1"),
        ({"beta": "big"}, None, r"beta = 'big'"),
        ({"steps": 0}, None, r"steps = 0"),
        ({"horizon": -3}, None, r"horizon = -3: must be a whole number"),
        ({}, [1.0, 2.0], r"initial of shape \(2,\): must be \[8\]"),
        ({}, "high", r"initial: must be an array of numbers"),
    ],
)
def test_bad_input(settings: dict[str, Any], initial: Any, message: str) -> None:
    with pytest.raises(CourseError, match=message):
        train(baird(), Config(**settings), initial=initial)


def test_a_students_own_update_trains() -> None:
    def quiet(w: Any, h: Any, step: linear.Step) -> Any:
        return 0 * w, 0 * h

    run = train(baird(), Config(), update=quiet, initial=BAIRD_START)
    assert (run.weights == np.array(BAIRD_START)).all()
