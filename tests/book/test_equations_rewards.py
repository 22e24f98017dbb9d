"""The equations of the chapter ``playgrounds/rewards``, each against a road of its own.

Worlds are plain arrays here. The oracles push distributions forward in time, enumerate all policies, ask a
solver of linear programs or a computer algebra of fractions; none of them applies a Bellman operator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog

from rlcourse.algorithms.dynamic_programming import evaluate
from rlcourse.envs.rewards import bicycle, boat, lock
from rlcourse.envs.shaping import PotentialShaping
from rlcourse.envs.vector import make
from rlcourse.mdp import TabularMDP, grid, shaped

Floats = NDArray[np.float64]


class World(NamedTuple):
    """``P[s, a, s']`` with zero rows for terminal states, ``R[s, a]``, the discount."""

    P: Floats
    R: Floats
    gamma: float

    @property
    def terminal(self) -> NDArray[np.bool_]:
        """Where nothing follows."""
        return np.asarray(self.P.sum(axis=(1, 2)) == 0)

    def model(self) -> TabularMDP:
        """The same world for the package."""
        P = self.P.copy()
        P[self.terminal] = 1 / len(P)
        return TabularMDP(P, self.R, self.terminal)


def world(seed: int, states: int = 4, actions: int = 2) -> World:
    """A random world; the odd ones have an end, the last state."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(states, 0.5), size=(states, actions))
    R = rng.normal(size=(states, actions))
    if seed % 2:
        P[-1], R[-1] = 0.0, 0.0
    return World(P, R, float(rng.uniform(0.3, 0.9)))


def forward(w: World, pay: Floats, policy: Floats, first: Floats | None = None) -> Floats:
    """Discounted expected pay ``[S, A, S'] -> [S]`` (or from given weights of actions ``[S, A]`` first).

    The distribution of the state is pushed forward through time; nothing is solved.
    """
    size = float(np.abs(pay).max()) or 1.0
    steps = int(np.log(1e-13 * (1 - w.gamma) / size) / np.log(w.gamma)) + 2
    here, total = np.eye(len(w.P)), np.zeros(len(w.P))
    for t in range(steps):
        now = policy if t or first is None else first
        moves = here[:, :, None, None] * (now[:, :, None] * w.P)[None]
        total += w.gamma**t * (moves * pay[None]).sum(axis=(1, 2, 3))
        here = moves.sum(axis=(1, 2))
    return total


def own(w: World) -> Floats:
    """The world's reward as pay for transitions ``[S, A, S']``."""
    return np.repeat(w.R[:, :, None], len(w.P), axis=2)


def bonus(w: World, phi: Floats) -> Floats:
    """The printed right-hand side, for every transition ``[S, A, S']``."""
    counted = np.where(w.terminal, 0.0, phi)
    return np.broadcast_to(
        w.gamma * counted[None, None, :] - counted[:, None, None], w.P.shape
    ).copy()


def policies(w: World) -> list[Floats]:
    """All deterministic policies ``[S, A]``."""
    states, actions = w.R.shape
    return [np.eye(actions)[list(c)] for c in itertools.product(range(actions), repeat=states)]


def random_policy(w: World, seed: int) -> Floats:
    return np.random.default_rng(1000 + seed).dirichlet(np.ones(w.R.shape[1]), size=len(w.P))


def by_linear_programming(mdp: TabularMDP, gamma: float) -> Floats:
    """Optimal values ``[S]`` of a model."""
    states, actions = mdp.reward.shape
    ahead = gamma * np.asarray(mdp.rows)
    now = np.tile(np.eye(states), (actions, 1))
    found = linprog(
        np.ones(states), ahead - now, -np.asarray(mdp.reward).T.ravel(), bounds=(None, None)
    )
    assert found.success
    return np.asarray(found.x)


def best_ends(mdp: TabularMDP, gamma: float) -> bool:
    """Whether a ride that follows optimal values of a world without chance ends."""
    values = by_linear_programming(mdp, gamma)
    rows = np.asarray(mdp.rows).reshape(mdp.num_actions, mdp.num_states, -1)
    state = int(mdp.start.argmax())
    for _ in range(2 * mdp.num_states):
        worth = [mdp.reward[state, a] + gamma * rows[a, state] @ values
                 for a in range(mdp.num_actions)]  # fmt: skip
        state = int(rows[int(np.argmax(worth)), state].argmax())
        if mdp.terminal[state]:
            return True
    return False


def straddles(ends: Callable[[float], bool], flip: float, room: float = 1e-3) -> bool:
    """Whether a ride ends just on one side of ``flip``."""
    return ends(flip * (1 - room)) != ends(flip * (1 + room))


@pytest.mark.equation(
    "eq-rewards-orbit", oracle="linear programming on both sides of the flip; sums of coins by hand"
)
def test_orbit() -> None:
    for gamma in (0.9, 0.99):
        c = (1 - gamma**2) / (gamma**2 + gamma - 1)
        coins = sum(gamma ** (2 * k + 1) * c for k in range(20_000))  # every second move
        assert 1 + c == pytest.approx(coins, rel=1e-9)
        assert best_ends(bicycle(nearer=c * 0.999), gamma)
        assert not best_ends(bicycle(nearer=c * 1.001), gamma)
        assert straddles(lambda x, g=gamma: best_ends(bicycle(goal=2.0, nearer=x), g), 2 * c)


@pytest.mark.equation(
    "eq-rewards-shaping",
    oracle="what the wrapper and the model pay, transition by transition, against exact fractions",
)
def test_shaping() -> None:
    phi = np.array([0.25, 1.5, -2.0, 8.0, 0.75, 4.0])  # the last one lies on the goal
    env = PotentialShaping(make("rlcourse/Grid-v0", text=["S..", "..G"]), phi.__getitem__, 0.5)
    model = shaped(grid(["S..", "..G"]), phi, 0.5)
    rng, obs, ends = np.random.default_rng(0), int(env.reset(seed=0)[0]), 0
    for _ in range(200):
        action = int(rng.integers(4))
        following, reward, terminated, _, info = env.step(action)
        counted = Fraction(0) if terminated else Fraction(phi[following])
        expected = Fraction(1, 2) * counted - Fraction(phi[obs])
        assert reward - info["task_reward"] == float(expected)
        assert model.reward[obs, action] - info["task_reward"] == float(expected)
        ends += terminated
        obs = int(env.reset()[0]) if terminated else int(following)
    assert ends > 5


@pytest.mark.equation(
    "eq-rewards-telescope", oracle="the sum, term by term, in exact fractions along random paths"
)
def test_telescope() -> None:
    rng = np.random.default_rng(0)
    gamma = Fraction(9, 10)
    for length, terminated in itertools.product((1, 2, 7, 20), (False, True)):
        phi = [Fraction(int(x), 7) for x in rng.integers(-50, 50, length + 1)]
        total = Fraction(0)
        for t in range(length):
            after = Fraction(0) if terminated and t == length - 1 else phi[t + 1]
            total += gamma**t * (gamma * after - phi[t])
        assert total == gamma**length * (1 - terminated) * phi[-1] - phi[0]


@pytest.mark.equation(
    "eq-rewards-invariance",
    oracle="pay for transitions summed forward in time, 40 random worlds and policies",
)
def test_invariance() -> None:
    for seed in range(40):
        w = world(seed)
        phi = np.where(w.terminal, 0.0, 5 * np.random.default_rng(seed).normal(size=4))
        pi, paid = random_policy(w, seed), own(w) + bonus(w, phi)
        V, shifted = forward(w, own(w), pi), forward(w, paid, pi)
        np.testing.assert_allclose(shifted, V - phi, atol=1e-8)
        for a in range(2):
            first = np.tile(np.eye(2)[a], (4, 1))
            q, q_shifted = forward(w, own(w), pi, first), forward(w, paid, pi, first)
            np.testing.assert_allclose(q_shifted, q - phi, atol=1e-8)
        np.testing.assert_allclose(
            evaluate(shaped(w.model(), phi, w.gamma), pi, w.gamma), V - phi, atol=1e-8
        )


@pytest.mark.equation(
    "eq-rewards-perfect", oracle="the best of all deterministic policies, each summed forward"
)
def test_perfect() -> None:
    for seed in range(6):
        w = world(seed)
        best = np.max([forward(w, own(w), pi) for pi in policies(w)], axis=0)
        paid = own(w) + bonus(w, best)
        left = np.max([forward(w, paid, pi) for pi in policies(w)], axis=0)
        np.testing.assert_allclose(left, 0.0, atol=1e-9)
        at_once = (w.P * paid).sum(axis=2)
        np.testing.assert_allclose(at_once.max(axis=1), 0.0, atol=1e-9)
        greedy = np.eye(2)[at_once.argmax(axis=1)]
        np.testing.assert_allclose(forward(w, own(w), greedy), best, atol=1e-9)


@pytest.mark.equation(
    "eq-rewards-wiewiora",
    oracle="two tables in exact fractions along one path, for three kinds of target",
)
def test_wiewiora() -> None:
    """With fractions the equality is one, and the greedy actions of both are the same at every step."""
    targets: dict[str, Callable[[list[Fraction]], Fraction]] = {
        "q_learning": max,
        "expected_sarsa": lambda row: Fraction(9, 10) * max(row) + Fraction(1, 10) * sum(row) / 3,
        "sarsa": lambda row: row[1],
    }
    gamma, alpha = Fraction(3, 4), Fraction(1, 2)
    for value in targets.values():
        rng = np.random.default_rng(5)
        phi = [Fraction(int(x), 4) for x in rng.integers(-9, 9, 5)]
        phi[4] = Fraction(0)  # the end
        guessed = [[phi[s]] * 3 for s in range(5)]
        paid = [[Fraction(0)] * 3 for _ in range(5)]
        for _ in range(150):
            s, a, t = int(rng.integers(4)), int(rng.integers(3)), int(rng.integers(5))
            reward, discount = Fraction(int(rng.integers(-3, 4))), gamma * (t != 4)
            guessed[s][a] += alpha * (reward + discount * value(guessed[t]) - guessed[s][a])
            extra = discount * phi[t] - phi[s]
            paid[s][a] += alpha * (reward + extra + discount * value(paid[t]) - paid[s][a])
            for state in range(4):
                assert paid[state] == [q - phi[state] for q in guessed[state]]
                assert paid[state].index(max(paid[state])) == guessed[state].index(
                    max(guessed[state])
                )


@pytest.mark.equation(
    "eq-rewards-same", oracle="the bonus summed forward under every deterministic policy"
)
def test_same_for_all() -> None:
    for seed in range(6):
        w = world(seed)
        rng = np.random.default_rng(seed)
        phi = np.where(w.terminal, 0.0, rng.normal(size=4))
        collected = np.array([forward(w, bonus(w, phi), pi) for pi in policies(w)])
        np.testing.assert_allclose(collected, np.tile(-phi, (len(collected), 1)), atol=1e-9)
        # The other way: if some policies collect more, no potential gives this bonus (least squares).
        other = np.where(w.terminal[:, None], 0.0, rng.normal(size=(4, 2)))
        pay = np.repeat(other[:, :, None], 4, axis=2)
        spread = np.ptp([forward(w, pay, pi) for pi in policies(w)], axis=0).max()
        inner = ~w.terminal
        system = (w.gamma * w.P - np.eye(4)[:, None, :])[inner][:, :, inner].reshape(
            -1, inner.sum()
        )
        nearest, *_ = np.linalg.lstsq(system, other[inner].ravel(), rcond=None)
        misfit = np.abs(system @ nearest - other[inner].ravel()).max()
        assert (spread > 1e-6) == (misfit > 1e-6)
        assert spread > 0.1


@pytest.mark.equation(
    "eq-rewards-converse",
    oracle="enumeration: the best of the shaped task is the worst of the task",
)
def test_converse() -> None:
    for seed in range(6):
        w = world(seed)
        F = np.where(w.terminal[:, None], 0.0, np.random.default_rng(50 + seed).normal(size=(4, 2)))
        extra = np.repeat(F[:, :, None], 4, axis=2)
        task = -0.5 * extra
        of_task = np.array([forward(w, task, pi) for pi in policies(w)])
        of_shaped = np.array([forward(w, task + extra, pi) for pi in policies(w)])
        np.testing.assert_allclose(of_shaped, -of_task, atol=1e-10)
        chosen = of_shaped.sum(axis=1).argmax()
        np.testing.assert_allclose(of_task[chosen], of_task.min(axis=0), atol=1e-9)
        assert (of_task[chosen] < of_task.max(axis=0) - 1e-3).any()


@pytest.mark.equation(
    "eq-rewards-race", oracle="linear programming on both sides of the flip; laps summed by hand"
)
def test_race() -> None:
    for gamma in (0.9, 0.95, 0.99):
        p = ((gamma**6 + gamma**7) / (1 - gamma**8) - gamma) / gamma**2
        laps = sum(gamma ** (8 * k + 6) + gamma ** (8 * k + 7) for k in range(5000))
        assert gamma + gamma**2 * p == pytest.approx(laps, rel=1e-9)
        assert best_ends(boat(p * 1.001), gamma) and not best_ends(boat(p * 0.999), gamma)


@pytest.mark.equation(
    "eq-rewards-mirror",
    oracle="both policies' returns summed forward, small steps and large",
)
def test_mirror() -> None:
    for seed, eta in itertools.product(range(10), (0.01, 1.0, 50.0)):
        w = world(seed)
        pi = random_policy(w, seed)
        V = forward(w, own(w), pi)
        q = np.stack(
            [forward(w, own(w), pi, np.tile(np.eye(2)[a], (4, 1))) for a in range(2)], axis=1
        )
        leaned = pi * np.exp(eta * (q - V[:, None]))
        leaned /= leaned.sum(axis=1, keepdims=True)
        better = forward(w, own(w), leaned)
        assert (better >= V - 1e-9).all()
        assert (better > V + 1e-9).any()
        if eta == 50.0:
            gap = np.abs(q[:, 0] - q[:, 1]) > 0.5
            np.testing.assert_array_equal(leaned.argmax(axis=1)[gap], q.argmax(axis=1)[gap])


@pytest.mark.equation(
    "eq-rewards-ends", oracle="kept potentials and their ends summed forward, random worlds"
)
def test_ends() -> None:
    moved = 0.0
    for seed in range(1, 21, 2):  # those with an end
        w, pi = world(seed), random_policy(world(seed), seed)
        phi = np.random.default_rng(seed).normal(size=4)  # the end keeps its own
        kept = w.gamma * phi[None, None, :] - phi[:, None, None] + np.zeros_like(w.P)
        paid = forward(w, own(w) + kept, pi)
        arriving = np.zeros_like(w.P)
        arriving[:, :, -1] = w.gamma * phi[-1]  # gamma ** T * phi, paid at the step T - 1
        prize = forward(w, arriving, pi)
        inner = ~w.terminal
        expected = forward(w, own(w), pi) - phi + prize
        np.testing.assert_allclose(paid[inner], expected[inner], atol=1e-8)
        moved = max(moved, float(np.abs(prize).max()))
    assert moved > 0.1


@pytest.mark.equation(
    "eq-rewards-standing", oracle="exact fractions; the rent summed forward in random worlds"
)
def test_standing() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        before, after, gamma = (Fraction(int(x), 10) for x in rng.integers(1, 10, 3))
        assert after - before == (gamma * after - before) + (1 - gamma) * after
    for seed in range(0, 10, 2):
        w, pi = world(seed), random_policy(world(seed), seed)
        phi = np.random.default_rng(seed).normal(size=4)
        plain = phi[None, None, :] - phi[:, None, None] + np.zeros_like(w.P)
        rent = (1 - w.gamma) * phi[None, None, :] + np.zeros_like(w.P)
        expected = forward(w, own(w), pi) - phi + forward(w, rent, pi)
        np.testing.assert_allclose(forward(w, own(w) + plain, pi), expected, atol=1e-8)


@pytest.mark.equation(
    "eq-rewards-luck", oracle="the time still alive, summed forward from powers of the walk"
)
def test_luck() -> None:
    """E[T] is the sum of P(T > t), from the distribution pushed forward; no system is solved."""

    def summed(walk: Floats) -> float:
        here, total = np.eye(len(walk))[0], 0.0
        while here.sum() > 1e-13:
            total, here = total + here.sum(), here @ walk
        return total

    for n in (1, 2, 5, 9):
        walk = np.zeros((n, n))
        for i in range(n):
            walk[i, max(i - 1, 0)] += 0.5
            if i + 1 < n:
                walk[i, i + 1] += 0.5
        assert summed(walk) == pytest.approx(n * (n + 1), rel=1e-9)
    for n in (1, 2, 5, 8):
        P = np.asarray(lock(n).rows).reshape(2, n + 1, n + 1).mean(axis=0)[:n, :n]
        assert summed(P) == pytest.approx(2 ** (n + 1) - 2, rel=1e-9)


@pytest.mark.equation(
    "eq-rewards-affine", oracle="rewards summed forward; the discounted time alive summed forward"
)
def test_affine() -> None:
    for seed in range(20):
        w, pi = world(seed), random_policy(world(seed), seed)
        k, c = 2.5, -0.7
        changed = np.where(w.terminal[:, None, None], 0.0, k * own(w) + c)
        # (1 - gamma ** T) / (1 - gamma) = 1 + gamma + ... + gamma ** (T - 1)
        alive = forward(w, np.ones_like(w.P), pi)
        expected = k * forward(w, own(w), pi) + c * alive
        np.testing.assert_allclose(forward(w, changed, pi), expected, atol=1e-8)
        if seed % 2 == 0:
            np.testing.assert_allclose(alive, 1 / (1 - w.gamma), rtol=1e-9)


@pytest.mark.equation(
    "eq-rewards-hurry", oracle="linear programming on both sides of both frontiers, two maps"
)
def test_hurry() -> None:
    maps = {("H.S...G",): (2, 4), ("S......", ".......", "H.###..", "......G"): (2, 9)}

    def goes_home(text: tuple[str, ...], wage: float, gamma: float) -> bool:
        world = grid(text, step=wage)
        values = by_linear_programming(world, gamma)
        state, cells = int(world.start.argmax()), "".join(text)
        rows = np.asarray(world.rows).reshape(4, world.num_states, -1)
        for _ in range(30):
            worth = [world.reward[state, a] + gamma * rows[a, state] @ values for a in range(4)]
            state = int(rows[int(np.argmax(worth)), state].argmax())
            if world.terminal[state]:
                return cells[state] == "G"
        return False

    for (text, (m, n)), gamma in itertools.product(maps.items(), (0.9, 0.99)):
        low = -(1 - gamma) * gamma ** (n - 1) / (gamma**m - gamma**n)
        high = (1 - gamma) / gamma
        assert goes_home(text, high * 0.99, gamma) and not goes_home(text, high * 1.01, gamma)
        assert goes_home(text, low * 0.999, gamma) and not goes_home(text, low * 1.001, gamma)
    # Without discount the lower frontier is -1 / (n - m).
    g = 1 - 1e-7
    assert (1 - g) * g**8 / (g**2 - g**9) == pytest.approx(1 / 7, rel=1e-5)


@pytest.mark.equation(
    "eq-rewards-patience", oracle="both discounted sums, compared around the flip"
)
def test_patience() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        k, more = (int(x) for x in rng.integers(1, 12, 2))
        small, large = sorted(rng.uniform(0.1, 5.0, 2))
        flip = (small / large) ** (1 / more)

        def prefers(
            gamma: float, r: Any = small, R: Any = large, k: int = k, K: int = k + more
        ) -> bool:
            coin = np.array([0.0] * (k - 1) + [r]) @ gamma ** np.arange(k)
            prize = np.array([0.0] * (K - 1) + [R]) @ gamma ** np.arange(K)
            return bool(prize >= coin)

        assert not prefers(flip * (1 - 1e-6))
        assert prefers(min(flip * (1 + 1e-6), 1.0))
