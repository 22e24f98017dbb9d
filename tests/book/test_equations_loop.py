"""The equations of the chapter ``foundations/loop``, each against an oracle of its own."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from rlcourse.envs.probes import probe
from rlcourse.envs.vector import make
from rlcourse.mdp import TabularMDP, from_env
from rlcourse.returns import discounted_returns

GOAL, HOLES = 15, (5, 7, 11, 12)
MAP = "SFFFFHFHFFFHHFFG"


def neighbour(cell: int, action: int) -> int:
    """The lake by its rules: left, down, right, up, and the edges hold."""
    i, j = divmod(cell, 4)
    di, dj = ((0, -1), (1, 0), (0, 1), (-1, 0))[action]
    return 4 * min(max(i + di, 0), 3) + min(max(j + dj, 0), 3)


def goal_distance() -> list[int | None]:
    """Steps to the goal by breadth-first search; None for a hole."""
    distance: list[int | None] = [None] * 16
    distance[GOAL], ring = 0, [GOAL]
    while ring:
        ring = [
            cell
            for cell in range(16)
            if distance[cell] is None
            and cell not in HOLES
            and any(neighbour(cell, action) in ring for action in range(4))
        ]
        known = max(d for d in distance if d is not None)
        for cell in ring:
            distance[cell] = known + 1
    return distance


@pytest.mark.equation("eq-mean-interval", oracle="coverage in 4,000 experiments with a known mean")
def test_mean_interval() -> None:
    rng = np.random.default_rng(0)
    true_mean, n = 20.0, 200
    x = rng.geometric(1 / true_mean, size=(4000, n))  # skewed, like the lengths of episodes
    centre, half = x.mean(axis=1), 1.96 * x.std(axis=1, ddof=1) / np.sqrt(n)
    covered = np.mean((centre - half <= true_mean) & (true_mean <= centre + half))
    # A skewed sample of 200 covers a little less than the promised 95 %.
    assert 0.93 <= covered <= 0.96
    narrow = np.mean(np.abs(centre - true_mean) <= half / 2)
    assert narrow < 0.75


@pytest.mark.equation(
    "eq-return", oracle="the linear system G = R + gamma N G of the shift matrix N"
)
def test_return() -> None:
    rng = np.random.default_rng(1)
    for gamma in (0.0, 0.3, 0.9, 1.0):
        R, T = rng.normal(size=30), 30
        printed = [sum(gamma**k * R[t + k] for k in range(T - t)) for t in range(T)]
        system = np.linalg.solve(np.eye(T) - gamma * np.eye(T, k=1), R)
        np.testing.assert_allclose(printed, system, atol=1e-12)
        np.testing.assert_allclose(discounted_returns(R, [gamma] * T), system, atol=1e-12)


@pytest.mark.equation("eq-return-recursion", oracle="the sum of the definition, in exact fractions")
def test_return_recursion() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        T, gamma = int(rng.integers(1, 12)), Fraction(int(rng.integers(0, 8)), 7)
        R = [Fraction(int(x), 3) for x in rng.integers(-9, 9, size=T)]  # R[t] is R_{t+1}
        G = [sum((gamma**k * R[t + k] for k in range(T - t)), Fraction(0)) for t in range(T + 1)]
        assert G[T] == 0
        assert all(now == R[t] + gamma * later for t, (now, later) in enumerate(pairwise(G)))


@pytest.mark.equation(
    "eq-horizon", oracle="exact partial sums and their geometric tail; a probe world"
)
def test_horizon() -> None:
    for gamma in (Fraction(0), Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)):
        right = 1 / (1 - gamma)
        total, n = sum((gamma**k for k in range(400)), Fraction(0)), 400
        assert right - total == gamma**n / (1 - gamma)
    # the value of the one-state world as the fixed point of v = 1 + gamma v, by iteration
    v = 0.0
    for _ in range(5000):
        v = 1.0 + 0.99 * v
    assert v == pytest.approx(1 / (1 - 0.99), abs=1e-9)
    assert probe("Forever").values(0.99)[0] == pytest.approx(v, abs=1e-9)


@pytest.mark.equation("eq-survival", oracle="a Monte Carlo simulation of the coin, within 4 sigma")
def test_survival() -> None:
    rng = np.random.default_rng(3)
    R = rng.normal(1.0, 2.0, size=200)
    for gamma in (0.5, 0.9):
        right = sum(gamma**k * R[k] for k in range(len(R)))
        # N rewards are paid: the first always, then one more for each coin that lets the world go on
        N = np.minimum(rng.geometric(1 - gamma, size=200_000), len(R))
        paid = np.concatenate([[0.0], np.cumsum(R)])[N]
        assert abs(paid.mean() - right) < 4 * paid.std() / np.sqrt(len(paid))


@pytest.mark.equation("eq-bootstrap", oracle="exact values of random loops and dead ends, to 1e-10")
def test_bootstrap() -> None:
    rng = np.random.default_rng(4)
    cut_alive = cut_dead = 0
    for _ in range(100):
        states, gamma = 8, float(rng.uniform(0.3, 0.99))
        successor = rng.integers(states + 1, size=states)  # the last number is the end
        reward = rng.normal(size=states)
        system = np.eye(states)
        for s, n in enumerate(successor):
            if n < states:
                system[s, n] -= gamma
        v = np.append(np.linalg.solve(system, reward), 99.0)  # nobody may read the last entry
        s, rewards, terminated = 0, [], False
        limit = int(rng.integers(1, 10))
        while len(rewards) < limit and not terminated:
            rewards.append(reward[s])
            s = int(successor[s])
            terminated = s == states
        T = len(rewards)
        printed = sum(gamma**k * R for k, R in enumerate(rewards))
        printed += gamma**T * (1 - terminated) * v[s]
        assert printed == pytest.approx(v[0], abs=1e-10)
        cut_alive, cut_dead = cut_alive + (not terminated), cut_dead + terminated
    assert min(cut_alive, cut_dead) > 20


@pytest.mark.equation(
    "eq-first-update", oracle="shortest paths by breadth-first search: Q* = gamma^(d-1)"
)
def test_first_update() -> None:
    model: Any = make("FrozenLake-v1", is_slippery=False).unwrapped
    gamma, alpha = 0.9, 0.8
    Q = np.zeros((16, 4))
    for _ in range(200):
        for s in range(16):
            if MAP[s] in "HG":
                continue
            for a in range(4):
                ((_, s_next, r, terminated),) = model.P[s][a]
                Q[s, a] += alpha * (r + gamma * (1 - terminated) * Q[s_next].max() - Q[s, a])
    distance = goal_distance()
    for s in range(16):
        for a in range(4):
            if MAP[s] in "HG":
                assert Q[s, a] == 0
                continue
            d = distance[neighbour(s, a)]
            assert Q[s, a] == pytest.approx(0.0 if d is None else gamma**d, abs=1e-9)


def naive_policy(first: int, epsilon: float) -> Any:
    policy = np.full((16, 4), epsilon / 4)
    policy[:, first] += 1 - epsilon
    return policy


def printed_goal_probability(first: int, epsilon: float) -> Any:
    """The system of the page, from the package's model."""
    lake: TabularMDP = from_env(make("FrozenLake-v1", is_slippery=False))
    P, r = lake.under(naive_policy(first, epsilon))
    return np.linalg.solve(np.eye(16) - P, r)


@pytest.mark.equation("eq-goal-probability", oracle="walking the lake's own rules 40,000 times")
def test_goal_probability() -> None:
    rng = np.random.default_rng(5)
    for first, epsilon in ((0, 1.0), (1, 0.5)):
        h = printed_goal_probability(first, epsilon)
        moves = np.array([[neighbour(cell, action) for action in range(4)] for cell in range(16)])
        over = np.array([cell in (*HOLES, GOAL) for cell in range(16)])
        here = np.zeros(40_000, dtype=int)
        while not over[here].all():
            lucky = rng.random(here.size) < epsilon
            action = np.where(lucky, rng.integers(4, size=here.size), first)
            here = np.where(over[here], here, moves[here, action])
        p = (here == GOAL).mean()
        assert abs(p - h[0]) < 4 * np.sqrt(h[0] * (1 - h[0]) / here.size)
        assert h[GOAL] == 0 and all(h[hole] == 0 for hole in HOLES)


def exact_goal_probability(first: int, epsilon: Fraction) -> Fraction:
    """The same chance by Gaussian elimination in fractions, from the lake's rules."""
    rows = []
    for cell in range(16):
        row = [Fraction(0)] * 17
        row[cell] += 1
        if MAP[cell] not in "HG":
            for action in range(4):
                chance = epsilon / 4 + (1 - epsilon if action == first else 0)
                landed = neighbour(cell, action)
                row[landed] -= chance
                row[16] += chance * (landed == GOAL)
        rows.append(row)
    for pivot in range(16):
        swap = next(i for i in range(pivot, 16) if rows[i][pivot])
        rows[pivot], rows[swap] = rows[swap], rows[pivot]
        rows[pivot] = [x / rows[pivot][pivot] for x in rows[pivot]]
        for i in range(16):
            if i != pivot and rows[i][pivot]:
                factor = rows[i][pivot]
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[pivot], strict=True)]
    return rows[0][16]


@pytest.mark.equation(
    "eq-small-epsilon", oracle="Gaussian elimination in exact fractions, epsilon down to 1e-6"
)
def test_small_epsilon() -> None:
    errors = []
    for power in (2, 4, 6):
        epsilon = Fraction(1, 10**power)
        printed = Fraction(2, 3) * (epsilon / 4) ** 3
        errors.append(abs(float(exact_goal_probability(0, epsilon) / printed - 1)))
    assert errors[0] < 0.01 and errors[1] < errors[0] / 50 and errors[2] < errors[1] / 50
    # the remark in the last solution: the walker that is sent down, h(0) = epsilon / 12
    tiny = Fraction(1, 10**6)
    assert float(exact_goal_probability(1, tiny) / (tiny / 12)) == pytest.approx(1, abs=1e-5)
    # and the powers that it names: a tenth of epsilon, a thousandth of the chance
    for first in (0, 2, 3):
        ratio = exact_goal_probability(first, tiny) / exact_goal_probability(first, tiny / 10)
        assert float(ratio) == pytest.approx(1000, rel=1e-3)
