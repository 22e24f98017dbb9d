"""Checks of the exercises of the chapter ``values/approximation``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rlcourse.algorithms import linear
from rlcourse.algorithms.linear import BAIRD_START, Config, Problem, Step, baird
from rlcourse.errors import DivergenceError
from rlcourse.labs import (
    NotRightError,
    call,
    exercise,
    expect_by_hand,
    expect_call,
    expect_close,
    expect_detector,
    hunt,
)
from rlcourse.mdp import Floats, TabularMDP, random_mdp


@exercise("approximation/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: the values of A, B and C after one update."""
    expect_by_hand(
        answer,
        (
            (
                1.6,
                "the new value of A",
                "the TD error, with the old weights, and how many features of A moved",
            ),
            (2.3, "the new value of B", "the features that B shares with A"),
            (2.0, "the new value of C", "whether C shares a feature with A"),
        ),
    )
    return "right: B moved without being visited, C shares nothing and stayed."


@exercise("approximation/tiles")
def _tiles(answer: Any) -> str:
    """``answer(s, tilings, cells)``: one one in each tiling, flat."""
    expect_call(answer, (0.0, 1, 4), [1, 0, 0, 0, 0], look="the length: cells + 1 for each tiling")
    expect_call(answer, (0.3, 1, 4), [0, 1, 0, 0, 0], look="the cell of a single grid")
    look = "by how much each tiling is shifted, and that its ones stand one tiling after another"
    expect_call(answer, (0.3, 2, 2), [1, 0, 0, 0, 1, 0], look=look)
    expect_call(answer, (0.9, 2, 2), [0, 1, 0, 0, 0, 1], look="the last cell, past the right end")
    line = np.linspace(0, 0.999, 40)
    x = np.array([call(answer, (s, 8, 5)) for s in line.tolist()])
    expect_close(x.sum(axis=1), np.full(40, 8.0), what="ones in each vector", look=look)
    # an independent road: two positions share a tile unless an edge lies between them
    edges = np.array([(m - k / 8) / 5 for k in range(8) for m in range(1, 7)]).reshape(8, 6)
    apart = ((line[0] < edges) & (edges <= line[:, None, None])).any(axis=2).sum(axis=1)
    expect_close(x @ x[0], 8.0 - apart, what="tiles shared with position 0", look=look)
    far = 1 / 5
    return f"right: what you learn at one place reaches {far} far, and less the farther it is."


@exercise("approximation/semi-gradient")
def _semi_gradient(answer: Any) -> str:
    """``answer(w, h, step)``: the directions of w and of h."""
    w = np.array([1.0, -2.0, 0.5])
    for rho, reward, discount in ((1.0, 1.0, 0.9), (3.0, -1.0, 0.5), (2.0, 4.0, 0.0)):
        x, next_x = np.array([1.0, 0.25, 0.0]), np.array([0.0, 2.0, 1.0])
        step = Step(x, rho, reward, discount, next_x, float("nan"))
        dw, dh = _directions(answer, w, np.zeros(3), step)
        guess = discount * (0 * 1.0 + 2 * -2.0 + 1 * 0.5)
        error = reward + guess - (1.0 * 1.0 + 0.25 * -2.0)
        what = f"the direction of w for rho = {rho}, reward = {reward}, discount = {discount}"
        look = "the ratio, the sign of the TD error, and the features of which state"
        expect_close(dw, [rho * error, rho * error * 0.25, 0.0], what=what, look=look)
        expect_close(dh, np.zeros(3), what="the direction of h")
    for seed in range(5):
        problem, gamma = _world(seed), 0.9
        M, c = _expected(problem, gamma, answer)
        A, b, _ = _matrices(problem, gamma)
        what = f"the mean update on random world {seed}"
        expect_close(M[:4, :4], A, what=f"{what}, the matrix A", look="the eigenvalue equation")
        expect_close(c[:4], b, what=f"{what}, the vector b", look="how often rho enters")
    grown = _rooms(answer, 1000)
    return (
        f"right: its mean is the semi-gradient's. In the seven rooms it multiplies the error by "
        f"{grown:.0f} in 1,000 steps, as it must."
    )


@exercise("approximation/oracle")
def _oracle(answer: Any) -> str:
    """``answer(X, P, d, gamma)``: whether mean semi-gradient TD grows from somewhere."""
    rooms = baird()
    solid, mixed = (rooms.mdp.under(p)[0] for p in (rooms.target, rooms.behaviour))
    d, X = linear.visits(rooms), rooms.features
    # Two states that both lead to the second, one feature of sizes 1 and 2:
    # A = d(0) (1 - 2 gamma) + d(1) (4 - 4 gamma), negative where the first is visited more.
    pair, onward = np.array([[1.0], [2.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    first, second = np.array([0.9, 0.1]), np.array([0.1, 0.9])
    unused = np.diag([1.0, 0.0])  # of its eigenvalues one is zero, exactly
    itself = "the eigenvalues of A itself, and where the features enter"
    cases = (
        (X, solid, d, 0.99, True, "Baird's counterexample", "the smallest real part"),
        (np.eye(7), solid, d, 0.99, False, "the rooms with a table", itself),
        # Before the rooms, where rounding decides on which side of zero the smallest eigenvalue lies.
        (unused, onward, second, 0.9, False, "a feature that is never on", "eigenvalues of zero"),
        (X, mixed, d, 0.99, False, "the rooms, on-policy", "whose chain it is, and gamma"),
        (X, solid, d, 0.8, False, "the rooms at gamma = 0.8", "where gamma enters"),
        (pair, onward, first, 0.9, True, "two states, one feature", "where the visits enter"),
        (pair, onward, second, 0.9, False, "the same, visited otherwise", "where the visits enter"),
    )
    for *arguments, expected, name, look in cases:
        got = call(answer, arguments)
        if not isinstance(got, bool | np.bool_):
            raise NotRightError(f"on {name} it returned {got!r}; expected True or False.")
        if bool(got) != expected:
            raise NotRightError(f"on {name} it returned {bool(got)}. Look at {look}.")
    return "right: seven worlds judged without a single step of learning."


@exercise("approximation/tdc")
def _tdc(answer: Any) -> str:
    """``answer(w, h, step)``: the directions of w and of h."""
    for seed in range(5):
        problem, gamma = _world(seed), 0.9
        rng = np.random.default_rng(seed)
        M, c = _expected(problem, gamma, answer)
        A, b, C = _matrices(problem, gamma)
        w, h = rng.normal(size=(2, 4))
        where = f"on random world {seed}"
        if len(c) < 8:
            raise NotRightError(f"{where}: h never moves; what does the second line do?")
        dw, dh = np.split(c - M @ np.concatenate([w, h]), 2)
        look = "the regression: its target is rho * delta, its prediction is h @ x"
        expect_close(dh, b - A @ w - C @ h, what=f"{where}, the mean direction of h", look=look)
        best = np.linalg.solve(C, b - A @ w)
        dw, _ = np.split(c - M @ np.concatenate([w, best]), 2)
        slope = [
            (_projected(problem, gamma, w + e) - _projected(problem, gamma, w - e)) / 2e-5
            for e in 1e-5 * np.eye(4)
        ]
        what = (
            f"{where}, the mean direction of w, against finite differences of the projected error"
        )
        look = "the sign of the correction, its discount, and which features it points along"
        expect_close(dw, -0.5 * np.array(slope), what=what, look=look, tolerance=1e-4)
    left = _rooms(answer, 5000, alpha=0.005)
    return (
        f"right: it descends the projected Bellman error, and in the seven rooms the values keep "
        f"{left:.0%} of their first error after 5,000 steps instead of exploding."
    )


@exercise("approximation/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: whether the module's semi-gradient moves its target."""
    expect_detector(
        answer,
        buggy=hunt("target-not-detached"),
        sound=linear,
        other=hunt("ratio-forgotten"),
        but="the target of that one is held still",
    )
    return "right: stable is not the same as correct, and your test can tell them apart."


def _world(seed: int) -> Problem:
    """A random off-policy problem: six states, the last one an end, four features."""
    rng = np.random.default_rng(seed)
    drawn = random_mdp(6, 2, seed=seed)
    chances = drawn.rows.reshape(2, 6, 6).transpose(1, 0, 2)
    mdp = TabularMDP(
        chances, drawn.reward, np.arange(6) == 5, np.full(6, 1 / 5) * (np.arange(6) < 5)
    )
    target, behaviour = rng.dirichlet(np.ones(2), size=(2, 6))
    return Problem(mdp, rng.normal(size=(6, 4)), target, behaviour)


def _matrices(problem: Problem, gamma: float) -> tuple[Floats, Floats, Floats]:
    """A, b and C of the mean semi-gradient update; an end has no features left to be seen."""
    chances, rewards = problem.mdp.under(problem.target)
    d, x = linear.visits(problem), problem.features
    ahead = chances @ np.where(problem.mdp.terminal[:, None], 0.0, x)
    weighted = x.T * d
    return weighted @ (x - gamma * ahead), weighted @ rewards, weighted @ x


def _projected(problem: Problem, gamma: float, w: Floats) -> float:
    """The projected Bellman error, by a weighted regression of the Bellman error on the features."""
    chances, rewards = problem.mdp.under(problem.target)
    values = np.where(problem.mdp.terminal, 0.0, problem.features @ w)
    error = rewards + gamma * chances @ values - problem.features @ w
    root = np.sqrt(np.maximum(linear.visits(problem), 0.0))
    x = root[:, None] * problem.features
    return float(np.sum((x @ np.linalg.lstsq(x, root * error, rcond=None)[0]) ** 2))


def _directions(answer: Any, w: Floats, h: Floats, step: Step) -> tuple[Any, Any]:
    got = call(answer, (w, h, step))
    try:
        dw, dh = got
    except (TypeError, ValueError):
        raise NotRightError("expected two arrays: the direction of w and the one of h.") from None
    return dw, dh


def _expected(problem: Problem, gamma: float, answer: Any) -> tuple[Floats, Floats]:
    size = problem.features.shape[1]

    def update(w: Floats, h: Floats, step: Step) -> tuple[Floats, Floats]:
        dw, dh = _directions(answer, w, h, step)
        for name, direction in (("w", dw), ("h", dh)):
            if np.shape(direction) != (size,):
                raise NotRightError(
                    f"the direction of {name} has shape {np.shape(direction)}; expected ({size},)."
                )
        return np.asarray(dw), np.asarray(dh)

    return linear.expected(problem, gamma, update)


def _rooms(update: Callable[..., Any], steps: int, alpha: float = 0.01) -> float:
    """By what factor the error of Baird's counterexample has grown."""
    problem, config = baird(), Config(alpha=alpha, steps=steps)
    try:
        run = linear.train(problem, config, update=update, initial=BAIRD_START)
    except DivergenceError:
        return float("inf")
    except Exception as error:  # whatever a learner's code raises is news for the learner
        raise NotRightError(
            f"in the seven rooms it raised {type(error).__name__}: {error}"
        ) from None
    errors = np.linalg.norm(run.weights[[0, -1]] @ problem.features.T, axis=1)
    return float(errors[1] / errors[0])
