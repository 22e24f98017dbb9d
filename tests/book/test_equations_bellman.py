"""The equations of the chapter ``foundations/bellman``, each against a road of its own.

Worlds are plain arrays here, and the right-hand sides are written out as they are printed. The oracles
look forward (push the distribution of states through time), enumerate, or ask a solver of linear
programs; none of them applies a Bellman operator.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog

from rlcourse.algorithms.dynamic_programming import (
    evaluate,
    finite_horizon,
    greedy,
    modified_policy_iteration,
    q_values,
    value_iteration,
)
from rlcourse.mdp import TabularMDP

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class World(NamedTuple):
    """``P[s, a, s']`` with zero rows for terminal states, ``R[s, a]``, the discount."""

    P: Floats
    R: Floats
    gamma: float

    def model(self) -> TabularMDP:
        """The same world for the package."""
        terminal = self.P.sum(axis=(1, 2)) == 0
        P = self.P.copy()
        P[terminal] = 1 / len(P)
        return TabularMDP(P, self.R, terminal)

    def bracket(self, v: Floats) -> Floats:
        """``R(s, a) + gamma * sum_s' P(s' | s, a) v(s')``, shape ``[S, A]``."""
        return self.R + self.gamma * np.einsum("sat,t->sa", self.P, v)


def world(seed: int, states: int = 5, actions: int = 3, gamma: float | None = None) -> World:
    """A random world; every other one has a terminal state, the last."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(states, 0.5), size=(states, actions))
    R = rng.normal(size=(states, actions))
    if seed % 2:
        P[-1], R[-1] = 0.0, 0.0
    return World(P, R, float(rng.uniform(0.3, 0.95)) if gamma is None else gamma)


def forward_return(w: World, plan: list[Floats]) -> Floats:
    """The expected discounted reward from every first state, by pushing distributions forward.

    ``plan[t]`` holds the probabilities ``[S, A]`` of the actions at time ``t``.
    """
    here = np.eye(len(w.P))  # here[first, s]: the probability of being in s at time t
    total = np.zeros(len(w.P))
    for t, policy in enumerate(plan):
        pairs = here[:, :, None] * policy[None]
        total += w.gamma**t * np.einsum("fsa,sa->f", pairs, w.R)
        here = np.einsum("fsa,sat->ft", pairs, w.P)
    return total


def long_enough(w: World, tolerance: float = 1e-12) -> int:
    """So many steps that the rewards beyond them cannot add up to ``tolerance``."""
    return int(np.ceil(np.log(tolerance * (1 - w.gamma) / np.abs(w.R).max()) / np.log(w.gamma))) + 1


def stationary(w: World, actions: Ints) -> Floats:
    """The return of one deterministic policy, forward."""
    return forward_return(w, [np.eye(w.R.shape[1])[actions]] * long_enough(w))


def best_of_all(w: World) -> Floats:
    """The largest return from each state over every deterministic stationary policy."""
    states, actions = w.R.shape
    everything = itertools.product(range(actions), repeat=states)
    return np.max([stationary(w, np.array(choice)) for choice in everything], axis=0)


def by_linear_programming(w: World) -> Floats:
    states, actions = w.R.shape
    rows = [np.eye(states)[s] - w.gamma * w.P[s, a] for s in range(states) for a in range(actions)]
    found = linprog(np.ones(states), A_ub=-np.array(rows), b_ub=-w.R.ravel(), bounds=(None, None))
    assert found.success
    return np.asarray(found.x)


SMALL = [world(seed, states=4, actions=2) for seed in range(6)]


@pytest.mark.equation(
    "eq-bellman-expectation",
    oracle="discounted rewards summed forward in time from every state, 40 random worlds",
)
def test_bellman_expectation() -> None:
    for seed in range(40):
        w = world(seed)
        policy = np.random.default_rng(1000 + seed).dirichlet(np.ones(3), size=5)
        V = forward_return(w, [policy] * long_enough(w))
        np.testing.assert_allclose((policy * w.bracket(V)).sum(axis=1), V, atol=1e-9)
        np.testing.assert_allclose(evaluate(w.model(), policy, w.gamma), V, atol=1e-9)


@pytest.mark.equation(
    "eq-bellman-linear",
    oracle="the gambler's ruin i/(n+1), and rewards summed forward in time",
)
def test_bellman_linear() -> None:
    n = 7  # a fair walk between two ends, the right one pays 1
    P = (np.eye(n + 2, k=1) + np.eye(n + 2, k=-1)) / 2
    P[[0, -1]] = 0.0
    r = P[:, -1].copy()
    V = np.linalg.inv(np.eye(n + 2) - P) @ r
    np.testing.assert_allclose(V[1:-1], np.arange(1, n + 1) / (n + 1), atol=1e-12)
    for seed in range(20):
        w = world(seed)
        policy = np.random.default_rng(seed).dirichlet(np.ones(3), size=5)
        chain = np.einsum("sa,sat->st", policy, w.P)
        V = np.linalg.inv(np.eye(5) - w.gamma * chain) @ (policy * w.R).sum(axis=1)
        forward = forward_return(w, [policy] * long_enough(w))
        np.testing.assert_allclose(V, forward, atol=1e-9)


@pytest.mark.equation(
    "eq-bellman-optimality", oracle="the best of all deterministic policies, each summed forward"
)
def test_bellman_optimality() -> None:
    for w in SMALL:
        V = best_of_all(w)
        np.testing.assert_allclose(w.bracket(V).max(axis=1), V, atol=1e-9)
        backed_up = q_values(w.model(), V, w.gamma).max(axis=1)
        np.testing.assert_allclose(backed_up, V, atol=1e-9)


@pytest.mark.equation(
    "eq-bellman-contraction",
    oracle="finite differences of T between random functions; equality for a constant shift",
)
def test_bellman_contraction() -> None:
    for seed in range(200):
        w = world(seed)
        rng = np.random.default_rng(seed)
        u, v = rng.normal(size=(2, 5)) * rng.choice([0.01, 1, 100])
        Tu, Tv = w.bracket(u).max(axis=1), w.bracket(v).max(axis=1)
        assert np.abs(Tu - Tv).max() <= w.gamma * np.abs(u - v).max() * (1 + 1e-12)
        # The printed T is the package's: the first sweep of its stream, on worlds without an end.
        if seed % 2 == 0:
            first = next(value_iteration(w.model(), w.gamma, u)).values
            np.testing.assert_allclose(first, Tu, atol=1e-12)
            # No smaller factor would do: a constant shift is shrunk by gamma exactly.
            shifted = w.bracket(u + 3.0).max(axis=1)
            np.testing.assert_allclose(shifted - Tu, 3.0 * w.gamma, atol=1e-12)


@pytest.mark.equation(
    "eq-bellman-program", oracle="the best of all deterministic policies, each summed forward"
)
def test_bellman_program() -> None:
    for w in SMALL:
        np.testing.assert_allclose(by_linear_programming(w), best_of_all(w), atol=1e-8)


@pytest.mark.equation(
    "eq-bellman-greedy",
    oracle="the return of the greedy policy summed forward, against the best of all policies",
)
def test_bellman_greedy() -> None:
    for w in SMALL:
        V = best_of_all(w)
        actions = w.bracket(V).argmax(axis=1)
        np.testing.assert_allclose(stationary(w, actions), V, atol=1e-9)
        np.testing.assert_array_equal(greedy(q_values(w.model(), V, w.gamma)), actions)
    # Wrong values give a policy that need not be best: the equation says greedy in v, not optimal.
    assert any((stationary(w, w.R.argmax(axis=1)) < best_of_all(w) - 1e-6).any() for w in SMALL)


@pytest.mark.equation(
    "eq-bellman-improvement",
    oracle="both policies' returns summed forward, over all pairs that meet the premise",
)
def test_bellman_improvement() -> None:
    met, failed = 0, 0
    for w in SMALL[:3]:
        policies = [np.array(choice) for choice in itertools.product(range(2), repeat=4)]
        returns = [stationary(w, policy) for policy in policies]
        for V in returns:
            Q = w.bracket(V)
            for other, V_other in zip(policies, returns, strict=True):
                if (Q[np.arange(4), other] >= V - 1e-12).all():
                    assert (V_other >= V - 1e-9).all()
                    met += 1
                else:
                    failed += bool((V_other < V - 1e-9).any())
    # The premise was met often, and without it the conclusion does fail.
    assert met > 100
    assert failed > 100


@pytest.mark.equation(
    "eq-bellman-modified",
    oracle="m + 1 steps of the greedy policy summed forward, then the old values",
)
def test_bellman_modified() -> None:
    for seed, m in itertools.product(range(6), (0, 1, 4)):
        w = world(seed)
        v = np.random.default_rng(seed).normal(size=5) * (w.P.sum(axis=(1, 2)) > 0)
        policy = np.eye(3)[w.bracket(v).argmax(axis=1)]
        chain = np.einsum("sa,sat->st", policy, w.P)
        tail = w.gamma ** (m + 1) * np.linalg.matrix_power(chain, m + 1) @ v
        expected = forward_return(w, [policy] * (m + 1)) + tail
        printed = v
        for _ in range(m + 1):
            printed = (policy * w.bracket(printed)).sum(axis=1)
        np.testing.assert_allclose(printed, expected, atol=1e-10)
        # The stream shows v after the greedy sweep; the next round starts from v_{k+1}.
        stream = modified_policy_iteration(w.model(), w.gamma, m, v)
        next(stream)
        greedy_sweep = w.bracket(expected).max(axis=1)
        np.testing.assert_allclose(next(stream).values, greedy_sweep, atol=1e-10)


@pytest.mark.equation(
    "eq-bellman-horizon",
    oracle="the best of all time-dependent plans of a small world, each summed forward",
)
def test_bellman_horizon() -> None:
    for seed, horizon in itertools.product(range(4), (1, 2, 3)):
        w = world(seed, states=2, actions=2, gamma=1.0 if seed < 2 else 0.8)
        rules = [np.eye(2)[list(choice)] for choice in itertools.product(range(2), repeat=2)]
        plans = itertools.product(rules, repeat=horizon)
        best = np.max([forward_return(w, list(plan)) for plan in plans], axis=0)
        V = np.zeros(2)
        for _ in range(horizon):
            V = w.bracket(V).max(axis=1)
        np.testing.assert_allclose(V, best, atol=1e-12)
        *_, last = finite_horizon(w.model(), horizon, w.gamma)
        np.testing.assert_allclose(last.values, best, atol=1e-12)


@pytest.mark.equation(
    "eq-bellman-late",
    oracle="linear programming in a world whose state is the last state seen and the last action",
)
def test_bellman_late() -> None:
    differs = 0
    for seed in range(10):
        w = world(seed)
        states, actions = w.R.shape
        # The agent knows (s, a) and must choose a' before it sees s'. Then it knows (s', a').
        P = np.zeros((states, actions, actions, states, actions))
        for choice in range(actions):
            P[:, :, choice, :, choice] = w.P
        pairs = states * actions
        # Arriving in (s', a') pays R(s', a').
        reward = np.einsum("sabtc,tc->sab", P, w.R).reshape(pairs, actions)
        delayed = World(P.reshape(pairs, actions, pairs), reward, w.gamma)
        expected = w.R + w.gamma * by_linear_programming(delayed).reshape(states, actions)
        W = np.zeros_like(w.R)
        for _ in range(long_enough(w)):
            W = w.R + w.gamma * np.einsum("sat,tb->sab", w.P, W).max(axis=2)
        np.testing.assert_allclose(W, expected, atol=1e-7)
        differs += bool(np.abs(W.max(axis=1) - by_linear_programming(w)).max() > 1e-3)
    assert differs > 5  # in a world with chance, late eyes cost something


@pytest.mark.equation(
    "eq-bellman-change", oracle="linear programming; equality in a world of one state"
)
def test_bellman_change() -> None:
    for seed in range(30):
        w = world(seed)
        truth = by_linear_programming(w)
        v = np.zeros(5)
        for _ in range(20):
            new = w.bracket(v).max(axis=1)
            bound = w.gamma / (1 - w.gamma) * np.abs(new - v).max()
            assert np.abs(truth - new).max() <= bound + 1e-7
            v = new
    # One state, one reward of 1: the first sweep says 1, and the bound is reached.
    for gamma in (0.5, 0.9, 0.999):
        w = World(np.ones((1, 1, 1)), np.ones((1, 1)), gamma)
        new = w.bracket(np.zeros(1)).max(axis=1)
        bound = w.gamma / (1 - w.gamma) * np.abs(new - 0).max()
        np.testing.assert_allclose(by_linear_programming(w) - new, bound, rtol=1e-9)


@pytest.mark.equation(
    "eq-bellman-bounds", oracle="linear programming, random first guesses, with and without an end"
)
def test_bellman_bounds() -> None:
    narrowest = np.inf
    for seed in range(60):
        w = world(seed)
        truth = by_linear_programming(w)
        v = np.random.default_rng(seed).normal(size=5) * (w.P.sum(axis=(1, 2)) > 0)
        sweeps = value_iteration(w.model(), w.gamma, v)
        for sweep in itertools.islice(sweeps, 15):
            Tv = w.bracket(v).max(axis=1)
            d, tail = Tv - v, w.gamma / (1 - w.gamma)
            low, high = Tv + tail * d.min(), Tv + tail * d.max()
            assert (low <= truth + 1e-7).all()
            assert (truth <= high + 1e-7).all()
            np.testing.assert_allclose(
                [sweep.values + sweep.low, sweep.values + sweep.high], [low, high]
            )
            narrowest = min(
                narrowest, float((high - low).max() / max(np.abs(d).max() * tail, 1e-12))
            )
            v = Tv
    # Far narrower than the largest change alone would allow (which is a width of 2).
    assert narrowest < 0.1
