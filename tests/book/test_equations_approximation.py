"""The equations of the chapter ``values/approximation``, each against a road of its own.

The right-hand sides are written out as they are printed, on plain arrays. The oracles are finite
differences, enumeration of every step, least squares, hand-solved worlds and PyTorch's own derivatives;
where the package has the equation as code, the code is held to the same oracle.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from scipy.optimize import minimize

from rlcourse.algorithms import linear
from rlcourse.algorithms.linear import BAIRD_START, Problem, Step, baird, semi_gradient, tdc
from rlcourse.mdp import TabularMDP
from rlcourse.networks import q_network, seeded

Floats = NDArray[np.float64]


class World(NamedTuple):
    """A random off-policy problem without an end: everything needed to enumerate its steps."""

    P: Floats  # [S, A, S]
    R: Floats  # [S, A]
    X: Floats  # [S, d]
    pi: Floats  # [S, A]
    b: Floats
    d: Floats  # long-run visits of b, [S]

    def chain(self, policy: Floats) -> Floats:
        return np.einsum("sa,sat->st", policy, self.P)

    def problem(self) -> Problem:
        return Problem(TabularMDP(self.P, self.R), self.X, self.pi, self.b)


def world(seed: int, *, states: int = 5, features: int = 3, on_policy: bool = False) -> World:
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(states), size=(states, 2))
    pi, b = rng.dirichlet(np.ones(2), size=(2, states))
    b = pi if on_policy else b
    d = np.linalg.matrix_power(np.einsum("sa,sat->st", b, P), 5000)[0]  # a road of its own
    X, R = rng.normal(size=(states, features)), rng.normal(size=(states, 2))
    return World(P, R, X, pi, b, d)


def slope(function: object, at: Floats, eps: float = 1e-6) -> Floats:
    """The gradient, from the definition."""
    call = function.__call__  # type: ignore[attr-defined]
    steps = eps * np.eye(at.size).reshape(at.size, *at.shape)
    return np.array([(call(at + e) - call(at - e)) / (2 * eps) for e in steps]).reshape(at.shape)


# --- features --------------------------------------------------------------------------------------


@pytest.mark.equation("eq-approx-step", oracle="finite differences of half the squared error")
@pytest.mark.parametrize("seed", range(20))
def test_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, x, target, alpha = rng.normal(size=4), rng.normal(size=4), float(rng.normal()), 0.1
    assert slope(lambda u: u @ x, w) == pytest.approx(x, abs=1e-8)  # the gradient of v is x
    downhill = -slope(lambda u: 0.5 * (target - u @ x) ** 2, w)
    printed = w + alpha * (target - w @ x) * x
    assert printed == pytest.approx(w + alpha * downhill, abs=1e-8)
    step = Step(x, 1.0, 0.0, 0.0, x, target)
    assert linear.gradient_monte_carlo(w, w, step)[0] == pytest.approx(downhill, abs=1e-8)


@pytest.mark.equation("eq-approx-spill", oracle="the values before and after the package's update")
@pytest.mark.parametrize("seed", range(20))
def test_spill(seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, (x, other, ahead) = rng.normal(size=4), rng.normal(size=(3, 4))
    alpha, reward, gamma = 0.1, 2.0, 0.9
    delta = reward + gamma * (w @ ahead) - w @ x
    dw, _ = semi_gradient(w, w, Step(x, 1.0, reward, gamma, ahead, 0.0))
    assert (w + alpha * dw) @ other - w @ other == pytest.approx(alpha * delta * (x @ other))


# --- what is minimised -----------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-value-error", oracle="40,000 states visited by a simulated walk, within 4 standard errors"
)
def test_value_error() -> None:
    m = world(0)
    truth = np.array([1.0, -2.0, 0.5, 3.0, 0.0])
    w = np.array([0.3, -1.0, 0.7])
    printed = sum(m.d[s] * (truth[s] - w @ m.X[s]) ** 2 for s in range(5))
    rng = np.random.default_rng(1)
    cumulative, chain = m.chain(m.b).cumsum(axis=1), np.zeros(40_000, dtype=np.int64)
    for _ in range(60):  # 40,000 walkers, until they have forgotten where they began
        chain = (rng.random(chain.size)[:, None] > cumulative[chain]).sum(axis=1).clip(max=4)
    errors = (truth - m.X @ w)[chain] ** 2
    assert abs(errors.mean() - printed) < 4 * errors.std() / np.sqrt(errors.size)
    assert linear.visits(m.problem()) == pytest.approx(m.d)


@pytest.mark.equation(
    "eq-semi-gradient", oracle="finite differences of half the squared error, the target held still"
)
@pytest.mark.parametrize("seed", range(20))
def test_semi_gradient(seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, (x, ahead) = rng.normal(size=4), rng.normal(size=(2, 4))
    rho, reward = 1.7, 0.5
    for discount in (0.9, 0.0):
        target = reward + discount * (w @ ahead)  # a number: it does not move with u
        downhill = -slope(lambda u, y=target: 0.5 * (y - u @ x) ** 2, w)
        delta = reward + discount * w @ ahead - w @ x
        assert rho * delta * x == pytest.approx(rho * downhill, abs=1e-8)
        step = Step(x, rho, reward, discount, ahead, 0.0)
        assert semi_gradient(w, w, step)[0] == pytest.approx(rho * downhill, abs=1e-8)


@pytest.mark.equation(
    "eq-squared-td-error", oracle="the fork solved by hand: 1/2, 3/4, 1/4; the truth is no minimum"
)
def test_squared_td_error() -> None:
    d = np.array([1 / 2, 1 / 4, 1 / 4])  # A, B, C: an episode is A and one of the others

    def printed(v: Floats) -> float:
        at_a = 0.5 * (v[1] - v[0]) ** 2 + 0.5 * (v[2] - v[0]) ** 2
        return float(d @ [at_a, (1 - v[1]) ** 2, (0 - v[2]) ** 2])

    # By hand: A lies in the middle, and B = 1 - e, C = e leave (1 - 2 e)^2 / 8 + e^2 / 2: e = 1/4.
    found = minimize(printed, np.zeros(3), tol=1e-12)
    assert found.x == pytest.approx([1 / 2, 3 / 4, 1 / 4], abs=1e-5)
    assert found.fun == pytest.approx(1 / 16)
    truth = np.array([0.5, 1.0, 0.0])
    assert printed(truth) == pytest.approx(1 / 8)
    assert abs(slope(printed, truth)).max() > 0.1


@pytest.mark.equation(
    "eq-td-fixed-point", oracle="every step of 30 random off-policy worlds, enumerated"
)
@pytest.mark.parametrize("seed", range(30))
def test_td_fixed_point(seed: int) -> None:
    m, gamma = world(seed), 0.9
    D, P_pi = np.diag(m.d), m.chain(m.pi)
    A = m.X.T @ D @ (np.eye(5) - gamma * P_pi) @ m.X
    b = m.X.T @ D @ (m.pi * m.R).sum(axis=1)
    rng = np.random.default_rng(seed)
    for w in (np.linalg.solve(A, b), rng.normal(size=3)):
        mean = np.zeros(3)
        for s, a, t in itertools.product(range(5), range(2), range(5)):
            rho = m.pi[s, a] / m.b[s, a]
            delta = m.R[s, a] + gamma * m.X[t] @ w - m.X[s] @ w
            mean += m.d[s] * m.b[s, a] * m.P[s, a, t] * rho * delta * m.X[s]
        assert mean == pytest.approx(b - A @ w, abs=1e-10)
    M, c = linear.expected(m.problem(), gamma, semi_gradient)
    assert pytest.approx(A) == M
    assert c == pytest.approx(b)


def fits(m: World, gamma: float) -> tuple[float, float]:
    """The value errors of TD's fixed point and of the best fit, by least squares."""
    P_pi, r = m.chain(m.pi), (m.pi * m.R).sum(axis=1)
    truth = np.linalg.solve(np.eye(len(r)) - gamma * P_pi, r)
    root = np.sqrt(m.d)[:, None]
    best = np.linalg.lstsq(root * m.X, root[:, 0] * truth, rcond=None)[0]
    v = np.zeros(len(r))
    for _ in range(4000):  # project, back up, project: TD's fixed point without its matrix
        v = m.X @ np.linalg.lstsq(root * m.X, root[:, 0] * (r + gamma * P_pi @ v), rcond=None)[0]
    return float(m.d @ (truth - v) ** 2), float(m.d @ (truth - m.X @ best) ** 2)


@pytest.mark.equation(
    "eq-td-bound",
    oracle="60 random worlds, by projected iteration; an off-policy world that breaks it",
)
@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99])
def test_td_bound(gamma: float) -> None:
    for seed in range(20):
        td, best = fits(world(seed, on_policy=True), gamma)
        assert best <= td <= 1 / (1 - gamma**2) * best
    # It is about on-policy: two states that both lead to the second, which another walker hardly sees.
    # With features 1 and x the fixed point is w = 1 / (1 - gamma x): as large as you like.
    P, r, rare, x = np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([1.0, 0.0]), 1e-9, 1 / gamma - 1e-3
    d, X = np.array([1 - rare, rare]), np.array([[1.0], [x]])
    w = (X.T * d @ r) / (X.T * d @ (X - gamma * P @ X))
    td, best = (
        d @ (r - X[:, 0] * w[0, 0]) ** 2,
        d @ (r - X[:, 0]) ** 2,
    )  # v is r here; w = 1 fits well
    assert w[0, 0] == pytest.approx(1 / (1 - gamma * x), rel=1e-3)
    assert td > 1 / (1 - gamma**2) * best


# --- the triad -------------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-mean-path", oracle="200 mean updates, one after another, each an enumeration of every step"
)
@pytest.mark.parametrize("seed", range(5))
def test_mean_path(seed: int) -> None:
    m, gamma, alpha, k = world(seed), 0.9, 0.05, 200
    steps = [
        (m.d[s] * m.b[s, a] * m.P[s, a, t], Step(m.X[s], m.pi[s, a] / m.b[s, a], m.R[s, a], gamma, m.X[t], 0.0))
        for s, a, t in itertools.product(range(5), range(2), range(5))
    ]  # fmt: skip
    first = w = np.array([5.0, -3.0, 1.0])
    for _ in range(k):
        w = w + alpha * sum(p * semi_gradient(w, w, step)[0] for p, step in steps)
    A = m.X.T @ np.diag(m.d) @ (np.eye(5) - gamma * m.chain(m.pi)) @ m.X
    star = np.linalg.solve(A, m.X.T @ np.diag(m.d) @ (m.pi * m.R).sum(axis=1))
    printed = np.linalg.matrix_power(np.eye(3) - alpha * A, k) @ (first - star)
    assert w - star == pytest.approx(printed, abs=1e-9)


@pytest.mark.equation(
    "eq-mean-path", oracle="1,000 sampled runs of Baird's counterexample, within 4 se"
)
def test_mean_path_of_sampled_runs() -> None:
    """There the states are drawn anew in every step, so the mean of runs follows the path exactly."""
    problem, gamma, alpha, k, runs = baird(), 0.99, 0.01, 100, 1000
    config = linear.Config(gamma=gamma, alpha=alpha, steps=k)
    last = np.array(
        [linear.train(problem, config, s, initial=BAIRD_START).weights[-1] for s in range(runs)]
    )
    P = np.zeros((7, 7))
    P[:, 6] = 1.0
    A = problem.features.T @ (np.eye(7) - gamma * P) @ problem.features / 7
    printed = np.linalg.matrix_power(np.eye(8) - alpha * A, k) @ BAIRD_START
    assert (abs(last.mean(axis=0) - printed) < 4 * last.std(axis=0) / np.sqrt(runs)).all()


@pytest.mark.equation(
    "eq-on-policy-positive", oracle="the least generalised eigenvalue on 100 random chains"
)
@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99])
def test_on_policy_positive(gamma: float) -> None:
    least = []
    for seed in range(100):
        m = world(seed, on_policy=True)
        key = np.diag(m.d) @ (np.eye(5) - gamma * m.chain(m.pi))
        scale = np.diag(m.d**-0.5)
        least.append(np.linalg.eigvalsh(scale @ (key + key.T) / 2 @ scale).min())
    assert min(least) >= 1 - gamma - 1e-12
    # and where another walks it fails: the seven rooms
    P = np.zeros((7, 7))
    P[:, 6] = 1.0
    key = (np.eye(7) - 0.99 * P) / 7
    assert np.linalg.eigvalsh(key + key.T).min() < 0


# --- the repair ------------------------------------------------------------------------------------


def projected(m: World, gamma: float, w: Floats) -> float:
    """Project the Bellman error by a regression, measure its length."""
    error = (m.pi * m.R).sum(axis=1) + gamma * m.chain(m.pi) @ m.X @ w - m.X @ w
    root = np.sqrt(m.d)[:, None]
    return float(
        np.sum((root * m.X @ np.linalg.lstsq(root * m.X, root[:, 0] * error, rcond=None)[0]) ** 2)
    )


@pytest.mark.equation(
    "eq-projected-error", oracle="the Bellman error projected by a weighted regression"
)
@pytest.mark.parametrize("seed", range(20))
def test_projected_error(seed: int) -> None:
    m, gamma = world(seed), 0.9
    D = np.diag(m.d)
    A = m.X.T @ D @ (np.eye(5) - gamma * m.chain(m.pi)) @ m.X
    b, C = m.X.T @ D @ (m.pi * m.R).sum(axis=1), m.X.T @ D @ m.X
    w = np.random.default_rng(seed).normal(size=3)
    printed = (b - A @ w) @ np.linalg.inv(C) @ (b - A @ w)
    assert printed == pytest.approx(projected(m, gamma, w))
    assert projected(m, gamma, np.linalg.solve(A, b)) == pytest.approx(0, abs=1e-20)


@pytest.mark.equation(
    "eq-tdc", oracle="finite differences of the projected Bellman error, every step enumerated"
)
@pytest.mark.parametrize("seed", range(20))
def test_tdc(seed: int) -> None:
    m, gamma = world(seed), 0.9
    w = np.random.default_rng(seed).normal(size=3)

    def mean(h: Floats) -> tuple[Floats, Floats]:
        dw, dh = np.zeros(3), np.zeros(3)
        for s, a, t in itertools.product(range(5), range(2), range(5)):
            p, rho = m.d[s] * m.b[s, a] * m.P[s, a, t], m.pi[s, a] / m.b[s, a]
            x, ahead = m.X[s], m.X[t]
            delta = m.R[s, a] + gamma * ahead @ w - x @ w
            printed = rho * (delta * x - gamma * (h @ x) * ahead), (rho * delta - h @ x) * x
            dw, dh = dw + p * printed[0], dh + p * printed[1]
            ours = tdc(w, h, Step(x, rho, m.R[s, a], gamma, ahead, 0.0))
            assert np.array(ours) == pytest.approx(np.array(printed))
        return dw, dh

    # The second line is linear in h and rests at the regression of rho * delta on x.
    rest = np.linalg.solve(
        np.column_stack([mean(np.zeros(3))[1] - mean(e)[1] for e in np.eye(3)]),
        mean(np.zeros(3))[1],
    )
    assert mean(rest)[1] == pytest.approx(np.zeros(3), abs=1e-10)
    downhill = -0.5 * slope(lambda u: projected(m, gamma, u), w, eps=1e-5)
    assert mean(rest)[0] == pytest.approx(downhill, abs=1e-6)


# --- networks --------------------------------------------------------------------------------------


@pytest.mark.equation("eq-network", oracle="the package's network in PyTorch, weight for weight")
@pytest.mark.parametrize("seed", range(5))
def test_network(seed: int) -> None:
    with seeded(seed):
        net = q_network(Box(-1, 1, (4,)), 1, [16])
    W, u, w, c = (p.detach().numpy() for p in net.parameters())
    states = np.random.default_rng(seed).normal(size=(10, 4))
    theirs = net(torch.tensor(states)).detach().numpy()[:, 0]  # it computes with 32 bits
    printed = [w[0] @ np.maximum(0, W @ s + u) + c[0] for s in states]
    assert printed == pytest.approx(theirs, abs=1e-5)


@pytest.mark.equation(
    "eq-network-gradient", oracle="finite differences, and PyTorch's own derivatives"
)
@pytest.mark.parametrize("seed", range(10))
def test_network_gradient(seed: int) -> None:
    rng = np.random.default_rng(seed)
    W, u, w, c, s = (rng.normal(size=shape) for shape in ((6, 3), 6, 6, (), 3))
    x = np.maximum(0, W @ s + u)
    m = (W @ s + u > 0).astype(float)
    printed = {"W": np.outer(w * m, s), "u": w * m, "w": x, "c": np.array(1.0)}
    parts = {"W": W, "u": u, "w": w, "c": c}
    for name, gradient in printed.items():

        def value(part: Floats, name: str = name) -> float:
            p = {**parts, name: part}
            return float(p["w"] @ np.maximum(0, p["W"] @ s + p["u"]) + p["c"])

        flat = slope(lambda z, n=name: value(z.reshape(parts[n].shape), n), parts[name].ravel())
        assert gradient.ravel() == pytest.approx(flat, abs=1e-7)
    leaves = {name: torch.tensor(part, requires_grad=True) for name, part in parts.items()}
    hidden = torch.relu(leaves["W"] @ torch.tensor(s) + leaves["u"])
    (leaves["w"] @ hidden + leaves["c"]).backward()
    for name, gradient in printed.items():
        assert gradient == pytest.approx(leaves[name].grad.numpy())


@pytest.mark.equation("eq-broadcast-loss", oracle="the double sum; PyTorch's silent broadcasting")
def test_broadcast_loss() -> None:
    rng = np.random.default_rng(0)
    v, y = rng.normal(size=(2, 64))
    y = 3 * y + 1
    printed = y.var() + v.var() + (v.mean() - y.mean()) ** 2
    double_sum = sum((a - b) ** 2 for a in v for b in y) / 64**2
    assert printed == pytest.approx(double_sum)
    column, row = torch.tensor(v)[:, None], torch.tensor(y)
    assert float(((column - row) ** 2).mean()) == pytest.approx(printed)
    best = minimize(lambda z: y.var() + z.var() + (z.mean() - y.mean()) ** 2, v, tol=1e-10)
    assert best.x == pytest.approx(np.full(64, y.mean()), abs=1e-4)
