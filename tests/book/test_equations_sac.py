"""The equations of the chapter ``policies/sac``, each against a road of its own.

The right-hand sides are written out as they are printed. The oracles enumerate, integrate, difference or
hand the problem to a solver of convex programs; where the package has the equation as code, the code is
held to the same oracle.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import entr, logsumexp, softmax
from scipy.stats import uniform
from torch import Tensor, nn

from rlcourse.algorithms import sac
from rlcourse.algorithms.dynamic_programming import q_values
from rlcourse.distributions import SquashedNormal
from rlcourse.mdp import MOVES, grid
from rlcourse.replay import Batch

Floats = NDArray[np.float64]
HALL = [".......", "S.....G", "......."]


def random_model(seed: int, states: int = 3, actions: int = 2) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(states), (states, actions)), rng.normal(size=(states, actions))


def random_policy(seed: int, states: int = 3, actions: int = 2) -> Floats:
    table: Floats = np.random.default_rng(100 + seed).dirichlet(np.ones(actions), states)
    return table


def forwards(P: Floats, R: Floats, pi: Floats, gamma: float, alpha: float, start: int) -> float:
    """Sum over time of the discounted reward and entropy, carrying the distribution of the state along."""
    d, total = np.eye(len(P))[start], 0.0
    for t in range(400):
        for s, a in itertools.product(range(len(P)), range(R.shape[1])):
            surprise = -np.log(pi[s, a]) if pi[s, a] > 0 else 0.0
            total += gamma**t * d[s] * pi[s, a] * (R[s, a] + alpha * surprise)
        d = np.einsum("s,sa,sax->x", d, pi, P)
    return float(total)


def soft_iteration(P: Floats, R: Floats, gamma: float, alpha: float) -> tuple[Floats, Floats]:
    """The right-hand sides of eq-sac-soft-optimal, applied until nothing moves."""
    v = np.zeros(len(P))
    for _ in range(2000):
        q = R + gamma * P @ v
        v = alpha * np.log(np.exp(q / alpha).sum(axis=1))
    return v, np.exp((q - v[:, None]) / alpha)


# --- one decision ---------------------------------------------------------------------------------


@pytest.mark.equation("eq-sac-bandit", oracle="a constrained maximisation over the simplex")
@pytest.mark.parametrize("seed", range(4))
def test_what_a_choice_is_worth_with_its_entropy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    r, alpha = rng.normal(size=4), rng.uniform(0.2, 2.0)
    star = np.exp(r / alpha) / np.exp(r / alpha).sum()

    def left(pi: Floats) -> float:
        return float(pi @ r - alpha * sum(p * np.log(p) for p in pi if p > 0))

    for pi in rng.dirichlet(np.ones(4), 20):
        kl = (pi * np.log(pi / star)).sum()
        right = alpha * np.log(np.exp(r / alpha).sum()) - alpha * kl
        assert left(pi) == pytest.approx(right)
    found = minimize(
        lambda pi: -left(pi), np.full(4, 0.25), bounds=[(1e-9, 1)] * 4, method="SLSQP", tol=1e-12,
        constraints={"type": "eq", "fun": lambda pi: pi.sum() - 1},
    )  # fmt: skip
    np.testing.assert_allclose(found.x, star, atol=1e-4)
    assert -found.fun == pytest.approx(alpha * logsumexp(r / alpha), abs=1e-7)


@pytest.mark.equation("eq-sac-soft-maximum", oracle="the best of all policies on a fine grid")
@pytest.mark.parametrize("alpha", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("r", [(1.0, 0.9, 0.0), (2.0, 2.0, 2.0), (-3.0, 0.0, 0.1)])
def test_how_far_the_soft_maximum_is_from_the_hard_one(r: tuple[float, ...], alpha: float) -> None:
    rewards, n = np.array(r), 300
    grid_of = np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)]) / n
    best = float((grid_of @ rewards + alpha * entr(grid_of).sum(axis=1)).max())
    soft = alpha * np.log(np.exp(rewards / alpha).sum())
    assert soft == pytest.approx(best, abs=2e-3)
    assert rewards.max() <= soft + 1e-12 and soft <= rewards.max() + alpha * np.log(3) + 1e-12
    if len(set(r)) == 1:
        assert soft == pytest.approx(rewards.max() + alpha * np.log(3))


# --- many decisions -------------------------------------------------------------------------------


@pytest.mark.equation("eq-sac-objective", oracle="a Monte Carlo average of single lives")
@pytest.mark.parametrize("seed", range(2))
def test_the_objective_is_what_lives_bring(seed: int) -> None:
    """Entropies as printed, against the surprise -log pi of the very actions that were drawn."""
    P, R = random_model(seed)
    pi, gamma, alpha, lives = random_policy(seed), 0.6, 0.8, 20_000
    rng, printed, d = np.random.default_rng(seed), 0.0, np.eye(3)[0]
    s, lived = np.zeros(lives, int), np.zeros(lives)
    for t in range(30):
        entropy = -(pi * np.log(pi)).sum(axis=1)
        printed += gamma**t * d @ ((pi * R).sum(axis=1) + alpha * entropy)
        d = np.einsum("s,sa,sax->x", d, pi, P)
        a = (rng.random(lives) > pi[s, 0]).astype(int)
        lived += gamma**t * (R[s, a] - alpha * np.log(pi[s, a]))
        s = (rng.random((lives, 1)) > P[s, a].cumsum(axis=1)[:, :-1]).sum(axis=1)
    assert abs(lived.mean() - printed) < 4 * lived.std() / np.sqrt(lives)


@pytest.mark.equation("eq-sac-soft-bellman", oracle="the sum over time, carried forwards")
@pytest.mark.parametrize("seed", range(3))
def test_soft_values_of_a_policy(seed: int) -> None:
    P, R = random_model(seed)
    pi, gamma, alpha, v = random_policy(seed), 0.8, 0.5, np.zeros(3)
    for _ in range(500):
        q = R + gamma * np.einsum("sax,x->sa", P, v)
        v = (pi * (q - alpha * np.log(pi))).sum(axis=1)
    for s in range(3):
        assert v[s] == pytest.approx(forwards(P, R, pi, gamma, alpha, s), abs=1e-9)


@pytest.mark.equation(
    "eq-sac-soft-optimal", oracle="a convex program over discounted visits of states and actions"
)
@pytest.mark.parametrize(("seed", "alpha"), [(0, 0.3), (1, 1.0), (2, 0.1)])
def test_the_soft_optimum_solves_a_convex_program(seed: int, alpha: float) -> None:
    P, R = random_model(seed)
    gamma, start = 0.7, np.array([0.5, 0.3, 0.2])
    v, pi = soft_iteration(P, R, gamma, alpha)

    def value(x: Floats) -> float:
        visits = x.reshape(3, 2)
        chosen = visits / visits.sum(axis=1, keepdims=True)
        return float((visits * (R - alpha * np.log(chosen))).sum())

    def flow(x: Floats) -> Floats:
        visits = x.reshape(3, 2)
        arrived: Floats = start + gamma * np.einsum("sa,sax->x", visits, P)
        return visits.sum(axis=1) - arrived

    first = np.full(6, 1 / (1 - gamma) / 6)
    found = minimize(
        lambda x: -value(x), first, bounds=[(1e-8, None)] * 6, method="SLSQP",
        constraints={"type": "eq", "fun": flow}, options={"ftol": 1e-13, "maxiter": 500},
    )  # fmt: skip
    assert found.success and abs(flow(found.x)).max() < 1e-8
    assert -found.fun == pytest.approx(start @ v, abs=1e-6)
    visits = found.x.reshape(3, 2)
    np.testing.assert_allclose(visits / visits.sum(axis=1, keepdims=True), pi, atol=2e-3)


def test_at_temperature_zero_the_soft_optimum_is_the_hard_one() -> None:
    P, R = random_model(5)
    v = np.zeros(3)
    for _ in range(500):
        v = (R + 0.7 * P @ v).max(axis=1)
    for alpha in (0.02, 0.005):
        soft, _ = soft_iteration(P, R, 0.7, alpha)
        assert (soft >= v - 1e-9).all() and (soft <= v + alpha * np.log(2) / 0.3 + 1e-9).all()


@pytest.mark.equation("eq-sac-ways", oracle="all ways home, one by one")
@pytest.mark.parametrize("alpha", [0.15, 0.25])
def test_a_soft_value_counts_the_ways_home(alpha: float) -> None:
    text = ["S..", "..G"]
    world, q = grid(text, goal=0, step=-1), np.zeros((6, 4))
    v = np.zeros(6)
    for _ in range(2000):
        q = q_values(world, v, 1.0)
        v = alpha * logsumexp(q / alpha, axis=1)
        v[world.terminal] = 0.0
    pi = np.exp((q - v[:, None]) / alpha)

    def walk(i: int, j: int, so_far: list[tuple[int, int]]) -> None:
        """Every way of at most ten moves, by its states and actions."""
        if (i, j) == (1, 2):
            ways.append(so_far)
        elif len(so_far) < 10:
            for a, (di, dj) in enumerate(MOVES):
                x, y = (i + di, j + dj) if 0 <= i + di < 2 and 0 <= j + dj < 3 else (i, j)
                walk(x, y, [*so_far, (3 * i + j, a)])

    ways: list[list[tuple[int, int]]] = []
    walk(0, 0, [])
    counted = alpha * np.log(sum(np.exp(-len(way) / alpha) for way in ways))
    assert v[0] == pytest.approx(counted, abs=2e-5 if alpha == 0.15 else 2e-3)
    assert v[0] > counted  # the longer ways are missing
    for way in ways[:: len(ways) // 50]:
        chance = np.prod([pi[s, a] for s, a in way])
        assert chance == pytest.approx(np.exp((-len(way) - v[0]) / alpha), rel=1e-6)


@pytest.mark.equation("eq-sac-improvement", oracle="values carried forwards, policy by policy")
@pytest.mark.parametrize("seed", range(4))
def test_a_softmax_of_the_values_improves_every_state(seed: int) -> None:
    P, R = random_model(seed)
    gamma, alpha, pi = 0.7, 0.4, random_policy(seed)

    def judged(pi: Floats) -> Floats:
        return np.array([forwards(P, R, pi, gamma, alpha, s) for s in range(3)])

    before = judged(pi)
    for _ in range(4):
        q = R + gamma * P @ before
        better = np.exp(q / alpha) / np.exp(q / alpha).sum(axis=1, keepdims=True)
        after = judged(better)
        assert (after >= before - 1e-9).all()
        pi, before = better, after
    np.testing.assert_allclose(before, soft_iteration(P, R, gamma, alpha)[0], atol=1e-4)
    np.testing.assert_allclose(pi, soft_iteration(P, R, gamma, alpha)[1], atol=1e-3)


@pytest.mark.equation("eq-sac-critical", oracle="soft value iteration on either side of the limit")
def test_where_freedom_pays_better_than_arriving() -> None:
    world = grid(HALL, goal=0, step=-1)
    inside = ~world.terminal
    counts = world.transition.sum(axis=1)[inside][:, inside]  # type: ignore[union-attr]
    limit = 1 / np.log(abs(np.linalg.eigvals(counts)).max())

    def still_growing(alpha: float) -> bool:
        v, seen = np.zeros(world.num_states), []
        for k in range(6000):
            v = alpha * logsumexp(q_values(world, v, 1.0) / alpha, axis=1)
            v[world.terminal] = 0.0
            if k in (2999, 5999):
                seen.append(v[world.start.argmax()])
        return bool(seen[1] > seen[0] + 1e-3)

    low, high = 0.3, 1.4
    for _ in range(11):
        middle = (low + high) / 2
        low, high = (low, middle) if still_growing(middle) else (middle, high)
    assert limit == pytest.approx((low + high) / 2, abs=2e-3)


# --- actions that are numbers ---------------------------------------------------------------------


class Knobs(nn.Module):
    """A policy of one action, the same in every state, in double precision."""

    def __init__(self, mean: float, sigma: float, half: float = 2.0) -> None:
        super().__init__()
        numbers = torch.tensor([mean, np.log(sigma)], dtype=torch.float64)
        self.numbers, self.half = nn.Parameter(numbers), half

    def forward(self, obs: Tensor) -> SquashedNormal:
        high = torch.tensor([self.half], dtype=torch.float64)
        return SquashedNormal(self.numbers[:1].expand(len(obs), 1), self.numbers[1:], -high, high)

    def density(self, a: float) -> float:
        raw = torch.tensor([[np.arctanh(a / self.half)]], dtype=torch.float64)
        return float(self(torch.zeros(1, 1)).log_prob(raw).exp().detach())

    def mean_of(self, f: Callable[[float], float]) -> float:
        """The integral of f over the normal number behind the action."""
        mean, sigma = float(self.numbers[0].detach()), float(self.numbers[1].detach().exp())

        def integrand(z: float) -> float:
            a = self.half * np.tanh(mean + sigma * z)
            return f(a) * float(np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))

        return float(quad(integrand, -9, 9, limit=400, epsabs=1e-10)[0])


def states(n: int) -> Batch:
    return Batch(torch.zeros(n, 1), *[None] * 6)


@pytest.mark.equation("eq-sac-projection", oracle="the divergence, integrated over the box")
@pytest.mark.parametrize(("mean", "sigma"), [(0.2, 0.5), (-0.6, 0.9)])
def test_the_policys_loss_is_a_divergence(mean: float, sigma: float) -> None:
    alpha, actor, n = 0.4, Knobs(mean, sigma), 400_000

    def q(a: Any) -> Any:
        return 0.3 * a - 0.5 * (a - 0.5) ** 2

    z = quad(lambda a: np.exp(q(a) / alpha), -2, 2)[0]

    def integrand(a: float) -> float:
        p = actor.density(a)
        return p * (np.log(p) - q(a) / alpha + np.log(z)) if p > 1e-290 else 0.0

    divergence = quad(integrand, -2 + 1e-9, 2 - 1e-9, limit=400)[0]
    critics: Any = lambda obs, action: q(action[:, 0]).expand(2, -1)  # noqa: E731
    with torch.no_grad():
        dice = torch.Generator().manual_seed(0)
        losses, _ = sac.actor_loss(critics, actor, states(n), torch.tensor(alpha), dice)
    printed = losses.numpy() / alpha + np.log(z)
    assert divergence > 0.01
    assert abs(printed.mean() - divergence) < 4 * printed.std() / np.sqrt(n)


@pytest.mark.equation(
    "eq-sac-two-gradients", oracle="central differences of the average, integrated"
)
@pytest.mark.parametrize("knob", [0, 1])
def test_both_gradients_of_an_average_are_right(knob: int) -> None:
    numbers, n, h = [0.3, np.log(0.6)], 400_000, 1e-4

    def f(a: Any) -> Any:
        return -((a - 1) ** 2) + 0.3 * a**3

    ends = []
    for step in (h, -h):
        moved = list(numbers)
        moved[knob] += step
        ends.append(Knobs(moved[0], np.exp(moved[1])).mean_of(f))
    exact = (ends[0] - ends[1]) / (2 * h)

    mean = torch.full((n, 1), numbers[0], dtype=torch.float64, requires_grad=True)
    log_std = torch.full((n, 1), numbers[1], dtype=torch.float64, requires_grad=True)
    high = torch.tensor([2.0], dtype=torch.float64)
    chances = SquashedNormal(mean, log_std, -high, high)
    raw = chances.sample(torch.Generator().manual_seed(0))
    value = f(chances.act(raw))[:, 0]
    weights = (mean, log_std)[knob]
    (path,) = torch.autograd.grad(value.sum(), weights, retain_graph=True)
    (score,) = torch.autograd.grad(chances.log_prob(raw.detach()).sum(), weights)
    for estimate in (path[:, 0].numpy(), (value.detach() * score[:, 0]).numpy()):
        assert abs(estimate.mean() - exact) < 4 * estimate.std() / np.sqrt(n)
    assert abs(exact) > 0.05


@pytest.mark.equation(
    "eq-sac-squashed-entropy", oracle="minus the integral of p log p over the box"
)
@pytest.mark.parametrize("half", [0.1, 2.0])
@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 0.87), (0.7, 0.4), (0.0, 1.6)])
def test_entropy_of_a_squashed_normal(mean: float, sigma: float, half: float) -> None:
    actor = Knobs(mean, sigma, half)

    def integrand(t: float) -> float:  # a = half * tanh t, so that the ends are far away
        p = actor.density(half * np.tanh(t)) if abs(t) < 17 else 0.0
        slope = half * (1 - np.tanh(t) ** 2)
        return -p * np.log(p) * slope if p > 1e-290 else 0.0

    entropy = quad(integrand, -14, 14, limit=400)[0]
    bent = actor.mean_of(lambda a: float(np.log1p(-((a / half) ** 2))) if abs(a) < half else 0.0)
    printed = 0.5 * np.log(2 * np.pi * np.e * sigma**2) + np.log(half) + bent
    assert printed == pytest.approx(entropy, abs=1e-5)
    assert printed <= np.log(2 * half)


@pytest.mark.equation(
    "eq-sac-usual-entropy", oracle="the entropy of an even draw from 1/(2e) of a box"
)
@pytest.mark.parametrize("half", [[1.0], [2.0], [0.1, 5.0]])
def test_the_usual_target_entropy(half: list[float]) -> None:
    class Still(gym.Env[Any, Any]):
        observation_space = Box(-1, 1, (1,))
        action_space = Box(-np.array(half, np.float32), np.array(half, np.float32))

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return np.zeros(1, np.float32), {}

    gym.registry.pop("tests/Still-v0", None)
    gym.register("tests/Still-v0", Still)
    even = sum(float(uniform(0, 2 * h / (2 * np.e)).entropy()) for h in half)
    assert sum(np.log(h) - 1 for h in half) == pytest.approx(even)
    run = sac.Run(sac.Config("tests/Still-v0", hidden=(4,)), 0, "cpu")
    assert run.target_entropy == pytest.approx(even, abs=1e-6)


# --- the judges -----------------------------------------------------------------------------------


@pytest.mark.equation("eq-sac-target", oracle="the average over the next action, integrated")
def test_the_target_is_right_on_average() -> None:
    """And without any chance where an episode has ended."""
    alpha, actor, n, ceiling = 0.3, Knobs(0.4, 0.7), 200_000, 1000.0

    def q1(a: Any) -> Any:
        return 2.0 - (a - 1) ** 2

    def q2(a: Any) -> Any:
        return 1.5 + 0.5 * a

    wanted = actor.mean_of(
        lambda a: min(q1(a), q2(a)) - alpha * np.log(max(actor.density(a), 1e-300))
    )
    targets: Any = lambda obs, a: torch.stack([q1(a[:, 0]), q2(a[:, 0])])  # noqa: E731
    critics: Any = lambda obs, a: torch.full((2, len(a)), ceiling, dtype=torch.float64)  # noqa: E731
    discount = torch.tensor([0.9, 0.0], dtype=torch.float64).repeat_interleave(n)
    obs = torch.zeros(2 * n, 1)
    reward = torch.full((2 * n,), 0.7, dtype=torch.float64)
    batch = Batch(obs, obs, reward, discount, obs, None, None)
    dice = torch.Generator().manual_seed(0)
    losses = sac.critic_loss(critics, targets, actor, batch, torch.tensor(alpha), dice)
    y = ceiling - losses.detach().sqrt().numpy()  # the sum of two halves of one square
    alive = y[:n]
    assert abs(alive.mean() - (0.7 + 0.9 * wanted)) < 4 * alive.std() / np.sqrt(n)
    np.testing.assert_allclose(y[n:], 0.7, atol=1e-9)


@pytest.mark.equation("eq-sac-smaller", oracle="a Monte Carlo average over pairs of guesses")
@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.7, 1.0])
def test_the_smaller_of_two_guesses(rho: float) -> None:
    mu, s, n = 1.3, 0.6, 400_000
    pairs = np.random.default_rng(0).multivariate_normal(
        [mu, mu], [[s**2, rho * s**2], [rho * s**2, s**2]], n, method="cholesky"
    ) if rho < 1 else mu + s * np.random.default_rng(0).normal(size=(n, 1)).repeat(2, axis=1)  # fmt: skip
    smaller = pairs.min(axis=1)
    printed = mu - s * np.sqrt((1 - rho) / np.pi)
    assert abs(smaller.mean() - printed) < 4 * smaller.std() / np.sqrt(n)


def filled(**options: Any) -> sac.Run:
    """A small run with something to remember."""
    run = sac.Run(sac.Config(hidden=(8,), batch_size=16, **options), 0, "cpu")
    for _ in range(40):
        run.replay.add(run.episodes.step(run.act(run.episodes.obs)))
    return run


@pytest.mark.equation("eq-sac-polyak", oracle="the weights that the package's updates leave behind")
def test_the_copies_are_an_average_over_the_past() -> None:
    tau, past = 0.3, []
    run = filled(tau=tau, learning_rate=0.05)
    first = run.target_weights.detach().clone()
    for _ in range(6):
        sac.update(run)
        past.append(run.critic_weights.detach().clone())
    n = len(past)
    older = sum(tau * (1 - tau) ** k * past[n - 1 - k] for k in range(n))
    printed = (1 - tau) ** n * first + older
    torch.testing.assert_close(run.target_weights.detach(), printed, atol=1e-6, rtol=1e-5)
    ages = np.arange(5000)
    assert (0.005 * 0.995**ages) @ ages == pytest.approx((1 - 0.005) / 0.005, rel=1e-6)


# --- the thermostat -------------------------------------------------------------------------------


def dual(r: Floats, alpha: float, wanted: float) -> float:
    return float(alpha * np.log(np.exp((r - r.max()) / alpha).sum()) + r.max() - alpha * wanted)


@pytest.mark.equation("eq-sac-dual", oracle="a constrained maximisation over the simplex")
@pytest.mark.parametrize("wanted", [0.4, 0.9, 1.3])
def test_the_multiplier_of_an_entropy_is_the_temperature(wanted: float) -> None:
    r = np.array([1.0, 0.7, 0.2, 0.0])
    entropy: Callable[[Floats], float] = lambda pi: float(entr(pi).sum())  # noqa: E731
    slope: Callable[[Floats], Floats] = lambda pi: -np.log(pi) - 1  # noqa: E731
    found = minimize(
        lambda pi: -pi @ r, np.full(4, 0.25), jac=lambda pi: -r, bounds=[(1e-9, 1)] * 4,
        method="SLSQP",
        constraints=[
            {"type": "eq", "fun": lambda pi: pi.sum() - 1, "jac": np.ones_like},
            {"type": "ineq", "fun": lambda pi: entropy(pi) - wanted, "jac": slope},
        ],
        options={"ftol": 1e-12, "maxiter": 500},
    )  # fmt: skip
    assert found.success and entropy(found.x) == pytest.approx(wanted, abs=1e-5)
    alphas = np.geomspace(0.01, 20, 40_001)
    values = [dual(r, alpha, wanted) for alpha in alphas]
    assert min(values) == pytest.approx(-found.fun, abs=1e-6)
    alpha = alphas[int(np.argmin(values))]
    np.testing.assert_allclose(softmax(r / alpha), found.x, atol=1e-3)
    # The inner maximum, at temperatures that are not the best, by another maximisation.
    for alpha in (0.3, 2.0):
        inner = minimize(
            lambda pi, a=alpha: -(pi @ r + a * (entropy(pi) - wanted)), np.full(4, 0.25),
            jac=lambda pi, a=alpha: -(r + a * slope(pi)), bounds=[(1e-9, 1)] * 4,
            method="SLSQP", tol=1e-12,
            constraints={"type": "eq", "fun": lambda pi: pi.sum() - 1, "jac": np.ones_like},
        )  # fmt: skip
        assert -inner.fun == pytest.approx(dual(r, alpha, wanted), abs=1e-6)


@pytest.mark.equation("eq-sac-dual-slope", oracle="central differences of the dual")
@pytest.mark.parametrize("alpha", [0.2, 0.7, 3.0])
@pytest.mark.parametrize("wanted", [0.3, 1.0, 1.6])
def test_slope_of_the_dual(alpha: float, wanted: float) -> None:
    r = np.array([1.0, 0.9, 0.2, 0.0])
    difference = (dual(r, alpha + 1e-5, wanted) - dual(r, alpha - 1e-5, wanted)) / 2e-5
    assert entr(softmax(r / alpha)).sum() - wanted == pytest.approx(difference, abs=1e-7)
    if wanted > np.log(4):
        assert difference < 0  # asked for too much: hotter, for ever


@pytest.mark.equation(
    "eq-sac-temperature", oracle="the entropy of a known policy, integrated over the box"
)
@pytest.mark.parametrize("sigma", [0.1, 0.9])
def test_the_temperatures_loss_pushes_towards_the_target(
    sigma: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient that the package's update leaves is that of the printed loss, on an average batch."""
    wanted, seen, real = -0.2, [], sac.actor_loss
    policy = Knobs(0.1, sigma)
    surprise = policy.mean_of(lambda a: np.log(max(policy.density(a), 1e-300)))

    def exact(*arguments: Any) -> tuple[Tensor, Tensor]:
        losses, log_prob = real(*arguments)
        seen.append(log_prob)
        return losses, torch.full_like(log_prob, surprise)

    monkeypatch.setattr(sac, "actor_loss", exact)
    run = filled(target_entropy=wanted, temperature=0.7)

    def printed(log_alpha: float) -> float:
        return -log_alpha * (surprise + wanted)

    x = float(np.log(0.7))
    difference = (printed(x + 1e-5) - printed(x - 1e-5)) / 2e-5
    sac.update(run)
    assert seen and not seen[0].requires_grad
    assert run.alpha_weights.grad.item() == pytest.approx(difference, abs=1e-5)  # type: ignore[union-attr]
    hotter = run.alpha_weights.item() > x
    assert hotter == (-surprise < wanted)
