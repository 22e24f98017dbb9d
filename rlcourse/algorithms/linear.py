r"""Prediction with a linear function, $v(s) = w \cdot x(s)$: semi-gradient TD, and what repairs it.

Papers: Sutton 1988 (TD), Baird 1995 (the counterexample), Sutton et al. 2009 (TDC). With
$\delta = R + \gamma\, w \cdot x' - w \cdot x$ and $\rho = \pi(a|s) / b(a|s)$ the weights move along

.. math:: \text{TD: } \rho\,\delta\,x \qquad
    \text{TDC: } \rho\,[\delta\,x - \gamma\,(h \cdot x)\,x'], \; h \text{ along } \rho\,\delta\,x - (h \cdot x)\,x

Deviations: rewards are the model's expected ones; Monte Carlo walks from a state that the world is set back to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rlcourse.algorithms.dynamic_programming import evaluate
from rlcourse.errors import (
    DivergenceError,
    InvalidArgumentError,
    check_fraction,
    check_numbers,
    check_positive,
)
from rlcourse.mdp import Floats, TabularMDP
from rlcourse.seeding import generator

__all__ = ["BAIRD_START", "Config", "Problem", "Result", "Step", "baird", "expected", "long_walk"]
__all__ += ["gradient_monte_carlo", "semi_gradient", "tdc", "train", "visits"]

BAIRD_START = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 10.0, 1.0)  # first weights, Sutton & Barto 2018
RECORDS = 100  # how often a run notes its weights


class Problem(NamedTuple):
    """Whose values are wanted, who walks, and what the learner sees of a state."""

    mdp: TabularMDP
    features: Floats  # x(s), [S, d]
    target: Floats  # the policy to be judged, probabilities [S, A]
    behaviour: Floats  # the policy that walks, [S, A]


class Step(NamedTuple):
    """One step of the walker, as the learner sees it."""

    x: Floats  # features of the state, [d]
    rho: float  # how much likelier the target policy was to act so
    reward: float
    discount: float  # gamma * (1 - terminated)
    next_x: Floats  # features of the next state, [d]
    outcome: float  # a return of the target policy from this state; nan without a horizon


@dataclass(frozen=True)
class Config:
    """A run; gamma, alpha and steps as in figure 11.2 of Sutton & Barto 2018, beta as in 11.5."""

    gamma: float = 0.99  # discount a step
    alpha: float = 0.01  # step size of the weights w
    beta: float = 0.05  # step size of the second weights h
    steps: int = 1000
    horizon: int = 0  # steps of the walk that yields an outcome; 0: none is made

    def __post_init__(self) -> None:
        for name in ("gamma", "alpha", "beta"):
            check_fraction(name, getattr(self, name))
        check_positive("steps", self.steps)
        if self.horizon != 0:
            check_positive("horizon", self.horizon)


class Result(NamedTuple):
    """The weights along the way, ``[101, d]``, and the steps at which they were noted."""

    weights: Floats
    steps: Floats


# Where one step moves w and h, before the step sizes.
Update = Callable[[Floats, Floats, Step], tuple[Floats, Floats]]


def semi_gradient(w: Floats, h: Floats, step: Step) -> tuple[Floats, Floats]:
    """TD(0): the target is held still, only the estimate has a gradient."""
    delta = step.reward + step.discount * (w @ step.next_x) - w @ step.x
    return step.rho * delta * step.x, 0 * h


def gradient_monte_carlo(w: Floats, h: Floats, step: Step) -> tuple[Floats, Floats]:
    """Towards a return, without a guess; the target policy walked it, so there is no ratio."""
    return (step.outcome - w @ step.x) * step.x, 0 * h


def tdc(w: Floats, h: Floats, step: Step) -> tuple[Floats, Floats]:
    """TD with gradient correction: h learns to foresee delta, and pays back what x' would add."""
    delta = step.reward + step.discount * (w @ step.next_x) - w @ step.x
    dw = step.rho * (delta * step.x - step.discount * (h @ step.x) * step.next_x)
    return dw, step.rho * delta * step.x - (h @ step.x) * step.x


def train(
    problem: Problem,
    config: Config,
    seed: int = 0,
    *,
    update: Update = semi_gradient,
    initial: ArrayLike | None = None,
) -> Result:
    """Let the behaviour walk and update the weights (zero at first) after every step.

    >>> train(baird(), Config(steps=200), initial=BAIRD_START).weights.shape
    (101, 8)

    Raises:
        DivergenceError: the weights have left the finite numbers.
    """
    mdp, x, target, behaviour = problem
    w = np.zeros(x.shape[1]) if initial is None else check_numbers("initial", initial)
    if w.shape != x.shape[1:]:
        raise InvalidArgumentError(f"initial of shape {w.shape}: must be [{x.shape[1]}]")
    h, history, rng = np.zeros_like(w), [w], generator(seed)
    due = np.linspace(0, config.steps, RECORDS + 1)
    chances, start = _cumulative(_dense(mdp)), _cumulative(mdp.start)
    acts, judged = _cumulative(behaviour), _cumulative(target)

    def draw(cumulative: Floats) -> int:
        return int(cumulative.searchsorted(rng.random(), "right"))

    def walk(state: int) -> float:
        """A return of the target policy."""
        total, weight = 0.0, 1.0
        for _ in range(config.horizon):
            action = draw(judged[state])
            total += weight * mdp.reward[state, action]
            state, weight = draw(chances[action, state]), weight * config.gamma
            if mdp.terminal[state]:
                break
        return total

    state = draw(start)
    for count in range(1, config.steps + 1):
        action = draw(acts[state])
        after = draw(chances[action, state])
        terminated = bool(mdp.terminal[after])
        step = Step(
            x[state],
            target[state, action] / behaviour[state, action],
            mdp.reward[state, action],
            config.gamma * (1 - terminated),
            x[after],
            walk(state) if config.horizon else float("nan"),
        )
        dw, dh = update(w, h, step)
        w, h = w + config.alpha * dw, h + config.beta * dh
        if not abs(w).max() < 1e100:
            raise DivergenceError(
                f"step {count}: largest weight {abs(w).max():.3g}: must stay finite; an eigenvalue below "
                "zero of `expected(problem, gamma, update)` would mean that no step size helps"
            )
        while len(history) <= RECORDS and count >= due[len(history)]:
            history.append(w)
        state = draw(start) if terminated else after
    return Result(np.array(history), due)


def visits(problem: Problem) -> Floats:
    """How often the behaviour acts in each state, in the long run, shape ``[S]``; it sums to one."""
    mdp = problem.mdp
    moves = np.einsum("sa,ast->st", problem.behaviour, _dense(mdp))
    moves = np.where(mdp.terminal, 0.0, moves) + np.outer(moves @ mdp.terminal, mdp.start)
    moves[mdp.terminal] = mdp.start  # an end is followed by a new start; nobody acts in it
    balance = np.eye(mdp.num_states) - moves.T
    balance[-1] = 1.0  # one equation follows from the others: here stands the sum
    return np.asarray(np.linalg.solve(balance, np.eye(mdp.num_states)[-1]))


def expected(problem: Problem, gamma: float, update: Update) -> tuple[Floats, Floats]:
    """What an update does on average, exactly: ``M`` and ``c`` of the mean direction ``c - M @ z``.

    ``z`` is w, or w and h together where the update uses h. Every step that can happen is put through
    the update itself, which must be linear in ``z`` up to a constant.

    >>> expected(baird(), 0.99, semi_gradient)[0].shape
    (8, 8)
    """
    mdp, x, target, behaviour = problem
    size, values = x.shape[1], evaluate(mdp, target, gamma)
    weight = np.einsum("s,sa,ast->sat", visits(problem), behaviour, _dense(mdp))
    steps = []
    for s, a, t in np.argwhere(weight > 1e-12):
        rho, discount = target[s, a] / behaviour[s, a], gamma * (1 - bool(mdp.terminal[t]))
        step = Step(x[s], rho, mdp.reward[s, a], discount, x[t], values[s])
        steps.append((weight[s, a, t], step))

    def mean(z: Floats) -> Floats:
        w, h = np.split(z, 2)
        return np.asarray(sum(p * np.concatenate(update(w, h, step)) for p, step in steps))

    c = mean(np.zeros(2 * size))
    M = c[:, None] - np.column_stack([mean(z) for z in np.eye(2 * size)])
    used = slice(None) if M[size:].any() else slice(size)
    return M[used, used], c[used]


def baird() -> Problem:
    """Baird's counterexample as in Sutton & Barto 2018, example 11.1: no reward, and yet TD diverges.

    Seven states, eight features. Action 0 (dashed) leads to one of the first six, action 1 (solid) to the
    seventh. The behaviour goes solid once in seven times, the target policy always.
    """
    transition = np.zeros((7, 2, 7))
    transition[:, 0, :6], transition[:, 1, 6] = 1 / 6, 1.0
    features = np.hstack([2 * np.eye(7), np.ones((7, 1))])
    features[6, 6:] = 1.0, 2.0
    behaviour, target = np.tile([6 / 7, 1 / 7], (7, 1)), np.tile([0.0, 1.0], (7, 1))
    return Problem(TabularMDP(transition, np.zeros((7, 2))), features, target, behaviour)


def long_walk(groups: int = 10) -> Problem:
    """A walk over 1,000 states that sees only in which group it is; Sutton & Barto 2018, example 9.1.

    Every step jumps up to 100 states to either side; falling out on the left pays -1, on the right 1.
    """
    i, j = np.indices((1000, 1000))
    transition = np.zeros((1001, 1, 1001))
    transition[:1000, 0, :1000] = np.where((abs(i - j) <= 100) & (i != j), 1 / 200, 0.0)
    out = transition[:, 0, 1000] = 1 - transition[:, 0].sum(axis=1)  # over the nearer edge
    state = np.arange(1001)
    reward = np.where(state < 500, -out, out)[:, None]
    mdp = TabularMDP(transition, reward, state == 1000, (state == 499).astype(float))
    features = np.eye(groups + 1)[state * groups // 1000, :groups]
    return Problem(mdp, features, np.ones((1001, 1)), np.ones((1001, 1)))


def _dense(mdp: TabularMDP) -> Floats:
    """P as an array [A, S, S]; rows of terminal states are zero."""
    rows = mdp.rows.toarray() if mdp.is_sparse else mdp.rows
    return np.asarray(rows).reshape(mdp.num_actions, mdp.num_states, mdp.num_states)


def _cumulative(chances: Floats) -> Floats:
    total: Floats = chances.cumsum(axis=-1)
    total[..., -1] = 1.0  # whatever rounding left
    return total
