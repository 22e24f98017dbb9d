"""The equations of the chapter ``foundations/q_learning``, each against a road of its own.

The right-hand sides are written out as they are printed, on plain arrays. The oracles enumerate every
possibility, integrate, ask a solver of linear programs, or simulate with a stated interval; where the
package has the equation as code, the code is held to the same oracle.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import linprog
from scipy.special import zeta
from scipy.stats import norm

from rlcourse.algorithms import prediction, tabular
from rlcourse.algorithms.dynamic_programming import evaluate
from rlcourse.mdp import chain
from rlcourse.returns import n_step_returns

Floats = NDArray[np.float64]


def world(seed: int, states: int = 3, actions: int = 2) -> tuple[Floats, Floats, Floats]:
    """A random ``P[s, a, s']``, ``R[s, a]`` and stochastic policy ``[s, a]``."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(states), size=(states, actions))
    return transition, rng.normal(size=(states, actions)), rng.dirichlet(np.ones(actions), states)


def episode(seed: int) -> tuple[list[int], list[float], Floats]:
    """States ``S_0 ... S_T``, rewards ``R_1 ... R_T`` and a value for each state, the end's is zero."""
    rng = np.random.default_rng(seed)
    steps, states = int(rng.integers(1, 12)), 5
    visited = [*rng.integers(states, size=steps).tolist(), states]
    return visited, rng.normal(size=steps).tolist(), np.append(rng.normal(size=states), 0.0)


# --- prediction -----------------------------------------------------------------------------------


@pytest.mark.equation("eq-random-walk", oracle="200,000 simulated coin walks, within 4 sd")
@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_random_walk_values(length: int) -> None:
    line = np.arange(length + 2) / (length + 1)  # i / (N + 1)
    assert np.allclose(line[1:-1], (line[:-2] + line[2:]) / 2)
    rng = np.random.default_rng(length)
    walkers = 200_000 // length
    for start in range(1, length + 1):
        at = np.full(walkers, start)
        while ((at > 0) & (at <= length)).any():
            inside = (at > 0) & (at <= length)
            at[inside] += rng.choice([-1, 1], size=inside.sum())
        share = (at > length).mean()
        assert abs(share - line[start]) < 4 * np.sqrt(line[start] * (1 - line[start]) / walkers)
    world = chain(length)
    assert evaluate(world, np.full((length + 2, 2), 0.5), 1.0)[1:-1] == pytest.approx(line[1:-1])


@pytest.mark.equation("eq-mc-update", oracle="the weighted sum of all returns; the plain average")
def test_monte_carlo_update() -> None:
    returns = np.random.default_rng(0).normal(size=30)
    value, average, alpha = 0.7, 0.7, 0.3
    for n, g in enumerate(returns, start=1):
        value = value + alpha * (g - value)
        average = average + 1 / n * (g - average)
    weights = alpha * (1 - alpha) ** np.arange(30)[::-1]  # k visits ago counts (1 - alpha) ** k
    assert value == pytest.approx(weights @ returns + (1 - alpha) ** 30 * 0.7)
    assert average == pytest.approx(returns.mean())
    # The package: on a deterministic road every return is known, gamma ** (steps to the reward).
    config = prediction.Config(
        "rlcourse/Probe-Corridor-v0", episodes=20, gamma=0.9, alpha=alpha, initial=0.0, n=0
    )
    learned = prediction.train(config, seed=0).values[-1][:5]
    assert learned == pytest.approx((1 - (1 - alpha) ** 20) * 0.9 ** np.arange(4, -1, -1))


@pytest.mark.equation(
    "eq-td-update", oracle="enumeration of every step on 50 random MDPs, and a linear solve"
)
@pytest.mark.parametrize("seed", range(50))
def test_td_update(seed: int) -> None:
    P, R, policy = world(seed)
    gamma, alpha = 0.9, 0.2
    terminal = 2  # the last state ends an episode; its left-over guess must not count
    chances = np.einsum("sa,sat->st", policy, P)[:terminal, :terminal]
    rewards = (policy * R).sum(axis=1)[:terminal]
    truth = np.append(np.linalg.solve(np.eye(terminal) - gamma * chances, rewards), 77.0)

    def mean_error(V: Floats, s: int) -> float:
        total = 0.0
        for a, following in itertools.product(range(2), range(3)):
            terminated = following == terminal
            delta = R[s, a] + gamma * (1 - terminated) * V[following] - V[s]
            total += policy[s, a] * P[s, a, following] * delta
        return total

    for s in range(terminal):
        assert mean_error(truth, s) == pytest.approx(0.0, abs=1e-12)
    # Following the mean update leads to the truth from anywhere.
    V = np.array([5.0, -5.0, 77.0])
    for _ in range(3000):
        V = V + alpha * np.array([mean_error(V, 0), mean_error(V, 1), 0.0])
    assert pytest.approx(truth, abs=1e-6) == V


@pytest.mark.equation(
    "eq-mc-sum-of-td", oracle="the discounted sum of rewards of 100 random episodes"
)
@pytest.mark.parametrize("seed", range(100))
def test_monte_carlo_error_is_a_sum_of_td_errors(seed: int) -> None:
    S, R, V = episode(seed)
    T, gamma = len(R), 0.8
    delta = [R[k] + gamma * V[S[k + 1]] - V[S[k]] for k in range(T)]
    for t in range(T):
        direct = sum(gamma ** (k - t) * R[k] for k in range(t, T)) - V[S[t]]
        assert sum(gamma ** (k - t) * delta[k] for k in range(t, T)) == pytest.approx(direct)


@pytest.mark.equation(
    "eq-n-step-return", oracle="n exact backups, by enumeration of all roads of n steps"
)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_n_step_return(n: int) -> None:
    P, R, policy = world(n)
    V, gamma = np.array([2.0, -1.0, 0.5]), 0.7
    backed_up = V
    for _ in range(n):  # apply the operator of the policy n times
        backed_up = (policy * (R + gamma * np.einsum("sat,t->sa", P, backed_up))).sum(axis=1)
    for start in range(3):
        mean = 0.0
        for road in itertools.product(itertools.product(range(2), range(3)), repeat=n):
            s, chance, rewards = start, 1.0, []
            for a, following in road:
                chance *= policy[s, a] * P[s, a, following]
                rewards.append(R[s, a])
                s = following
            g = sum(gamma**k * r for k, r in enumerate(rewards)) + gamma**n * V[s]
            mean += chance * g
            following_values = np.array([V[following] for _, following in road])
            ours = n_step_returns(rewards, np.full(n, gamma), following_values, n)[0]
            assert ours == pytest.approx(g)
        assert mean == pytest.approx(backed_up[start])


# --- control --------------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-control-update", oracle="the closed form y - (1 - alpha)^n (y - q) for a constant target"
)
@pytest.mark.parametrize("name", ["q_learning", "sarsa", "expected_sarsa"])
def test_control_update(name: str) -> None:
    y, q, alpha, n = 1.0, 0.25, 0.1, 40
    estimate = q
    for _ in range(n):
        estimate = estimate + alpha * (y - estimate)
    closed = y - (1 - alpha) ** n * (y - q)
    assert estimate == pytest.approx(closed)
    config = tabular.Config("rlcourse/Probe-OneStep-v0", steps=n, alpha=alpha, initial=q)
    assert tabular.ALGORITHMS[name](config).q[0, 0] == pytest.approx(closed)


@pytest.mark.equation(
    "eq-three-targets",
    oracle="exact backups on 200 random MDPs, enumerating next states and actions",
)
@pytest.mark.parametrize("seed", range(200))
def test_three_targets(seed: int) -> None:
    P, R, _ = world(seed)
    rng = np.random.default_rng(seed + 1000)
    Q, gamma, epsilon = rng.normal(size=(3, 2)), 0.9, float(rng.uniform())
    policy = np.full((3, 2), epsilon / 2)
    policy[np.arange(3), Q.argmax(axis=1)] += 1 - epsilon
    ends = rng.random(3) < 0.3  # states that end the episode
    worth_of_policy = np.where(ends, 0.0, (policy * Q).sum(axis=1))
    worth_of_best = np.where(ends, 0.0, Q.max(axis=1))
    for s, a in itertools.product(range(3), range(2)):
        mean = dict.fromkeys(("sarsa", "expected_sarsa", "q_learning"), 0.0)
        for following, next_action in itertools.product(range(3), range(2)):
            chance = P[s, a, following] * policy[following, next_action]
            discount = gamma * (1 - ends[following])
            row = Q[following]
            printed = {
                "sarsa": R[s, a] + discount * row[next_action],
                "expected_sarsa": R[s, a] + discount * sum(policy[following] * row),
                "q_learning": R[s, a] + discount * max(row),
            }
            for name, y in printed.items():
                mean[name] += chance * y
                function = getattr(tabular, name)
                arguments: tuple[Any, ...] = (Q.tolist(), R[s, a], discount, following, next_action)
                assert function(*arguments, epsilon) == pytest.approx(y)
        assert mean["sarsa"] == pytest.approx(R[s, a] + gamma * P[s, a] @ worth_of_policy)
        assert mean["expected_sarsa"] == pytest.approx(mean["sarsa"])
        assert mean["q_learning"] == pytest.approx(R[s, a] + gamma * P[s, a] @ worth_of_best)


def trembling(P: Floats, R: Floats, gamma: float, epsilon: float) -> Floats:
    """The fixed point of the printed equation, shape ``[S]``."""
    v = np.zeros(len(R))
    for _ in range(5000):
        q = R + gamma * np.einsum("sat,t->sa", P, v)
        v = (1 - epsilon) * q.max(axis=1) + epsilon / q.shape[1] * q.sum(axis=1)
    return v


@pytest.mark.equation(
    "eq-soft-optimality", oracle="a linear program, and the best of all trembling policies"
)
@pytest.mark.parametrize("seed", range(20))
def test_soft_optimality(seed: int) -> None:
    P, R, _ = world(seed, states=4, actions=3)
    gamma, epsilon = 0.9, 0.3
    v = trembling(P, R, gamma, epsilon)
    # Linear program: the least v with v(s) >= (1 - epsilon) q(s, a) + epsilon * mean q(s, .).
    soft_P = (1 - epsilon) * P + epsilon * P.mean(axis=1, keepdims=True)
    soft_R = (1 - epsilon) * R + epsilon * R.mean(axis=1, keepdims=True)
    constraints = (gamma * soft_P - np.eye(4)[:, None, :]).reshape(12, 4)
    program = linprog(np.ones(4), constraints, -soft_R.ravel(), bounds=(None, None))
    assert v == pytest.approx(program.x, abs=1e-7)
    # Enumeration: every deterministic wish, walked with a trembling hand, by a linear solve.
    values = []
    for wish in itertools.product(range(3), repeat=4):
        policy = (1 - epsilon) * np.eye(3)[list(wish)] + epsilon / 3
        chances, rewards = np.einsum("sa,sat->st", policy, P), (policy * R).sum(axis=1)
        values.append(np.linalg.solve(np.eye(4) - gamma * chances, rewards))
    assert v == pytest.approx(np.max(values, axis=0), abs=1e-7)


# --- step sizes -----------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-robbins-monro", oracle="the zeta function and integral bounds, for n ** -omega"
)
def test_robbins_monro() -> None:
    n = np.arange(1, 1_000_001, dtype=np.float64)
    for omega in (0.6, 0.8, 1.0):
        # first sum: at least the integral of x ** -omega from 1 on, which has no bound
        grown = np.log(n[-1]) if omega == 1 else (n[-1] ** (1 - omega) - 1) / (1 - omega)
        assert (n**-omega).sum() >= grown
        # second sum: the value of the zeta function, up to the integral over the tail
        squares, tail = (n ** (-2 * omega)).sum(), n[-1] ** (1 - 2 * omega) / (2 * omega - 1)
        assert squares <= zeta(2 * omega) <= squares + tail
    # what fails: a constant (second sum), 1 / n ** 2 (first sum), n ** -0.5 (second sum)
    assert (n**-2).sum() <= zeta(2) == pytest.approx(np.pi**2 / 6)
    assert (n**-1).sum() >= np.log(n[-1])
    # What the conditions are for. Noise-free and from far away, the distance left after n steps is
    # the product of 1 - alpha: it vanishes where the first sum diverges, and only there.
    assert np.prod(1 - 1 / (n + 1)) < 1e-5
    assert np.prod(1 - 1 / (n + 1) ** 2) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.equation(
    "eq-constant-step-noise", oracle="100,000 learners of a coin, within 4 sd; exact enumeration"
)
@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.8, 1.0])
def test_constant_step_noise(alpha: float) -> None:
    p, learners = 0.3, 100_000
    printed = np.sqrt(p * (1 - p)) * np.sqrt(alpha / (2 - alpha))
    rng = np.random.default_rng(1)
    value = np.full(learners, p)
    for _ in range(int(np.ceil(10 / alpha))):
        value = value + alpha * ((rng.random(learners) < p) - value)
    # the sampling error of a standard deviation, with the sample's own fourth moment
    centred = value - value.mean()
    error = np.sqrt(((centred**4).mean() - (centred**2).mean() ** 2) / learners) / (2 * printed)
    assert abs(value.std() - printed) < 4 * error
    # all 2 ** 12 histories of a coin; what the first guess leaves behind is known: (1 - alpha) ** 24
    steps = 12
    flips = np.array(list(itertools.product([0.0, 1.0], repeat=steps)))
    chance = (p**flips * (1 - p) ** (1 - flips)).prod(axis=1)
    final = flips @ (alpha * (1 - alpha) ** np.arange(steps)[::-1])
    variance = chance @ final**2 - (chance @ final) ** 2
    assert variance == pytest.approx(printed**2 * (1 - (1 - alpha) ** (2 * steps)))


@pytest.mark.equation(
    "eq-never-sees-goal", oracle="4,000 simulated runs on the map of the lake, within 4 sd"
)
def test_never_sees_goal() -> None:
    lake = np.array([list("SFFF"), list("FHFH"), list("FFFH"), list("HFFG")])
    goal, over = (lake == "G").ravel(), np.isin(lake, ["G", "H"]).ravel()
    i, j = np.divmod(np.arange(16), 4)
    leads_to = np.array(  # [action, cell]: left, down, right, up
        [
            np.clip(i + di, 0, 3) * 4 + np.clip(j + dj, 0, 3)
            for di, dj in [(0, -1), (1, 0), (0, 1), (-1, 0)]
        ]
    )
    epsilons = np.maximum(0.05, 0.9 ** np.arange(60))  # a short schedule keeps the test short
    limit, runs, rng = 100, 4000, np.random.default_rng(0)

    def p(epsilon: float) -> float:
        """By pushing the distribution over cells through time."""
        chance, arrived = np.eye(16)[0], 0.0
        for _ in range(limit):
            pushed = np.zeros(16)
            for action in range(4):
                weight = epsilon / 4 + (1 - epsilon) * (action == 0)
                np.add.at(pushed, leads_to[action], weight * chance)
            arrived += pushed[goal].sum()
            chance = np.where(over, 0.0, pushed)
        return float(arrived)

    printed = np.prod([1 - p(epsilon) for epsilon in epsilons])
    saw = np.zeros(runs, dtype=bool)
    for epsilon in epsilons:
        at = np.zeros(runs, dtype=np.int64)
        for _ in range(limit):
            explore = rng.random(runs) < epsilon
            action = np.where(explore, rng.integers(4, size=runs), 0)
            at = np.where(over[at], at, leads_to[action, at])
        saw |= goal[at]
    assert abs((~saw).mean() - printed) < 4 * np.sqrt(printed * (1 - printed) / runs)


# --- the maximum ----------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-max-of-normals",
    oracle="closed forms for 2 and 3, and 200,000 simulated maxima of 10, within 4 sd",
)
def test_maximum_of_normals() -> None:
    def printed(m: int) -> float:
        return m * float(
            quad(lambda x: x * norm.pdf(x) * norm.cdf(x) ** (m - 1), -np.inf, np.inf)[0]
        )

    assert printed(1) == pytest.approx(0.0, abs=1e-9)
    assert printed(2) == pytest.approx(1 / np.sqrt(np.pi))
    assert printed(3) == pytest.approx(3 / (2 * np.sqrt(np.pi)))
    largest = np.random.default_rng(0).normal(size=(200_000, 10)).max(axis=1)
    assert abs(largest.mean() - printed(10)) < 4 * largest.std() / np.sqrt(largest.size)


@pytest.mark.equation(
    "eq-double-q-target", oracle="enumeration of two independent tables: never above the maximum"
)
@pytest.mark.parametrize("truth", [(0.0, 0.0, 0.0), (0.3, 0.0, -0.2), (1.0, -1.0, 0.0)])
def test_double_q_target(truth: tuple[float, ...]) -> None:
    reward, discount = -0.5, 0.9
    noise = (-1.0, 0.25, 0.75)  # equally likely, mean zero
    tables = [np.add(truth, draw) for draw in itertools.product(noise, repeat=3)]
    single, double = [], []
    for Q_A in tables:
        chosen = np.flatnonzero(np.isclose(Q_A, Q_A.max()))  # ties at random: average over them
        single.append(reward + discount * Q_A.max())
        double += [reward + discount * np.mean(Q_B[chosen]) for Q_B in tables]
    best = reward + discount * max(truth)
    assert np.mean(double) <= best + 1e-12
    assert np.mean(single) > best + 0.01
    if len(set(truth)) == 1:
        assert np.mean(double) == pytest.approx(best)
    # By another road: only the chooser's odds matter, for the judge is right on average.
    odds = np.mean(
        [(np.isclose(Q, Q.max())) / np.isclose(Q, Q.max()).sum() for Q in tables], axis=0
    )
    assert np.mean(double) == pytest.approx(reward + discount * odds @ truth)
