"""The equations of the chapter ``policies/actor_critic``, each against a road of its own.

The right-hand sides are written out as they are printed, on plain arrays. The oracles write down everything
that can happen in small random worlds, integrate, difference or simulate; where the package has the
equation as code, the code is held to the same oracle.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import softmax

from rlcourse.algorithms import a2c, a3c, reinforce
from rlcourse.labs import hunt
from rlcourse.returns import gae, n_step_returns

Floats = NDArray[np.float64]


class World(NamedTuple):
    """Three rooms, two actions; what is missing from a row of ``P`` ends the episode. ``V`` is wrong."""

    P: Floats
    R: Floats
    theta: Floats
    mu: Floats
    V: Floats

    @property
    def pi(self) -> Floats:
        return np.asarray(softmax(self.theta, axis=1))

    def values(self, theta: Floats, gamma: float) -> Floats:
        pi = softmax(theta, axis=1)
        chain = np.einsum("sa,sax->sx", pi, self.P)
        return np.linalg.solve(np.eye(3) - gamma * chain, (pi * self.R).sum(axis=1))

    def visits(self, gamma: float) -> Floats:
        chain = np.einsum("sa,sax->sx", self.pi, self.P)
        return np.linalg.solve(np.eye(3) - gamma * chain.T, self.mu)

    def gradient(self, gamma: float, h: float = 1e-6) -> Floats:
        """Of the mean return, by differences: no score occurs in it."""
        found = np.zeros((3, 2))
        for unit in np.ndindex(3, 2):
            step = np.zeros((3, 2))
            step[unit] = h
            up, down = (self.mu @ self.values(self.theta + x, gamma) for x in (step, -step))
            found[unit] = (up - down) / (2 * h)
        return found


def world(seed: int) -> World:
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(4), size=(3, 2))[:, :, :3]
    return World(P, rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), rng.dirichlet(np.ones(3)),
                 rng.normal(size=3))  # fmt: skip


def stretches(
    w: World, s: int, a: int, n: int
) -> Iterator[tuple[float, list[tuple[int, int]], int]]:
    """All that can happen in n steps that begin with (s, a): chance, steps, last room or 3, the end."""
    rooms = [(x, w.P[s, a, x]) for x in range(3)] + [(3, 1 - w.P[s, a].sum())]
    for x, chance in rooms:
        if n == 1 or x == 3:
            yield float(chance), [(s, a)], x
            continue
        for b in (0, 1):
            for rest, steps, last in stretches(w, x, b, n - 1):
                yield float(chance * w.pi[x, b] * rest), [(s, a), *steps], last


def targets(w: World, s: int, a: int, n: int, gamma: float) -> tuple[Floats, Floats, Floats]:
    """Chances, n-step targets and the critic's error where each stretch stopped, discounted."""
    v = w.values(w.theta, gamma)
    rows = []
    for chance, steps, last in stretches(w, s, a, n):
        y = sum(gamma**k * w.R[step] for k, step in enumerate(steps))
        ahead = gamma ** len(steps) if last < 3 else 0.0
        end = min(last, 2)
        rows.append((chance, y + ahead * w.V[end], ahead * (w.V[end] - v[end])))
    chance, y, e = np.array(rows).T
    assert chance.sum() == pytest.approx(1)
    return chance, y, e


# --- one step, n steps ----------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-ac-n-step", oracle="exact fractions: both sides, and the package's targets"
)
@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_n_step_advantage_telescopes(n: int) -> None:
    rng = np.random.default_rng(n)
    R = [Fraction(int(x), 4) for x in rng.integers(-9, 9, 9)]
    V = [Fraction(int(x), 3) for x in rng.integers(-9, 9, 10)]
    gamma = Fraction(2, 3)
    left = sum(gamma**k * R[k] for k in range(n)) + gamma**n * V[n] - V[0]
    delta = [R[t] + gamma * V[t + 1] - V[t] for t in range(9)]
    assert left == sum(gamma**k * delta[k] for k in range(n))
    ours = n_step_returns(
        np.array(R, float), np.full(9, 2 / 3), np.array(V[1:], float), n, np.zeros(9, bool)
    )
    assert ours[0] - float(V[0]) == pytest.approx(float(left))


@pytest.mark.equation("eq-ac-bias", oracle="everything that can happen in n steps of random worlds")
@pytest.mark.parametrize("gamma", [1.0, 0.8])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_bias_is_the_judges_less_the_yardsticks(n: int, gamma: float) -> None:
    for seed in range(4):
        w = world(seed)
        v = w.values(w.theta, gamma)
        q = w.R + gamma * w.P @ v
        for s, a in np.ndindex(3, 2):
            chance, y, judge = targets(w, s, a, n, gamma)
            bias = chance @ (y - w.V[s]) - (q[s, a] - v[s])
            assert bias == pytest.approx(chance @ judge - (w.V[s] - v[s]))
            assert abs(chance @ judge) > 1e-6


@pytest.mark.equation(
    "eq-ac-moments", oracle="everything that can happen in n steps of random worlds"
)
@pytest.mark.parametrize("gamma", [1.0, 0.8])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_mean_and_mean_square_can_be_backed_up(n: int, gamma: float) -> None:
    for seed in range(4):
        w = world(seed)
        m, m2 = w.V, w.V**2
        for _ in range(n):
            q = w.R + gamma * w.P @ m
            q2 = w.R**2 + 2 * gamma * w.R * (w.P @ m) + gamma**2 * w.P @ m2
            m, m2 = (w.pi * q).sum(axis=1), (w.pi * q2).sum(axis=1)
        for s, a in np.ndindex(3, 2):
            chance, y, _ = targets(w, s, a, n, gamma)
            assert q[s, a] == pytest.approx(chance @ y)
            assert q2[s, a] == pytest.approx(chance @ y**2)


@pytest.mark.equation(
    "eq-ac-dial", oracle="the mean over every batch of N samples that there can be"
)
@pytest.mark.parametrize("N", [1, 2, 3])
def test_error_of_a_mean_gradient(N: int) -> None:
    w, gamma = world(5), 0.8
    true, visits = w.gradient(gamma), w.visits(gamma)
    rows, chances = [], []
    for s, a in np.ndindex(3, 2):
        score = np.zeros((3, 2))
        score[s] = np.eye(2)[a] - w.pi[s]
        for x in range(4):
            chance = w.P[s, a, x] if x < 3 else 1 - w.P[s, a].sum()
            advantage = w.R[s, a] + gamma * (w.V[x] if x < 3 else 0.0) - w.V[s]
            chances.append(visits[s] / visits.sum() * w.pi[s, a] * chance)
            rows.append(visits.sum() * (score * advantage).ravel())
    g, p = np.array(rows), np.array(chances)
    left = sum(
        np.prod(p[list(batch)]) * ((g[list(batch)].mean(axis=0) - true.ravel()) ** 2).sum()
        for batch in itertools.product(range(len(p)), repeat=N)
    )
    mean = p @ g
    bias, variance = ((mean - true.ravel()) ** 2).sum(), p @ ((g - mean) ** 2).sum(axis=1)
    assert left == pytest.approx(bias + variance / N)
    assert bias > 1e-3


# --- all lengths at once --------------------------------------------------------------------------


@pytest.mark.equation("eq-ac-gae", oracle="the weighted sum of n-step advantages, term by term")
@pytest.mark.parametrize("lam", [0.0, 0.5, 0.9])
def test_gae_is_the_mean_of_all_lengths(lam: float) -> None:
    rng = np.random.default_rng(1)
    R, V, gamma, T = rng.normal(size=8), np.append(rng.normal(size=8), 0.0), 0.9, 8  # a true end

    def n_step(n: int) -> float:
        m = min(n, T)  # behind the end there is nothing, for ever
        return sum(gamma**k * R[k] for k in range(m)) + gamma**m * V[m] - V[0]

    left = (1 - lam) * sum(lam ** (n - 1) * n_step(n) for n in range(1, 600))
    delta = R + gamma * V[1:] - V[:-1]
    right = sum((gamma * lam) ** k * delta[k] for k in range(T))
    assert left == pytest.approx(right)
    discount = gamma * (np.arange(8) < 7)
    assert gae(R, discount, V[:-1], V[1:], lam)[0] == pytest.approx(right)


@pytest.mark.equation(
    "eq-ac-boundary", oracle="the double sum, with the end of each episode looked up"
)
@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_two_masks(lam: float) -> None:
    rng = np.random.default_rng(2)
    gamma, T = 0.9, 60
    R, V, ahead = rng.normal(size=(3, T))
    terminated, truncated = rng.random((2, T)) < 0.3
    boundary = terminated | truncated
    delta = R + gamma * ~terminated * ahead - V
    double = [
        sum(
            (gamma * lam) ** (k - t) * delta[k]
            for k in range(t, next((j for j in range(t, T) if boundary[j]), T - 1) + 1)
        )
        for t in range(T)
    ]
    printed, A = [], 0.0
    for t in reversed(range(T)):
        A = delta[t] + gamma * (1 - terminated[t]) * lam * (1 - boundary[t]) * A
        printed.insert(0, A)
    np.testing.assert_allclose(printed, double, atol=1e-12)
    np.testing.assert_allclose(gae(R, gamma * ~terminated, V, ahead, lam, boundary), double)
    assert (terminated & truncated).any() and (truncated & ~terminated).any()


# --- the loss -------------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-ac-loss",
    oracle="differences of the mean return and of the entropy; the mean error of a value",
)
def test_gradient_of_the_loss() -> None:
    """Its mean over everything that can happen, with a critic that is right: each term by itself."""
    gamma, c_v, c_e = 0.8, 0.5, 0.3
    for seed in range(3):
        w = world(seed)
        v, share = w.values(w.theta, gamma), w.visits(gamma)
        for V in (v, w.V):
            logits, values = (torch.tensor(x, requires_grad=True) for x in (w.theta, V))
            total = torch.zeros((), dtype=torch.float64)
            errors = np.zeros(3)
            for s, a in np.ndindex(3, 2):
                chance = np.append(w.P[s, a], 1 - w.P[s, a].sum())
                G = torch.tensor(w.R[s, a] + gamma * np.append(V, 0.0))
                log_p = logits.log_softmax(dim=1)[s]
                entropy = -(log_p.exp() * log_p).sum()
                losses = a2c.actor_critic_loss(
                    log_p[a].expand(4), entropy.expand(4), values[s].expand(4), G, c_v, c_e
                )
                weight = share[s] * w.pi[s, a]
                total = total + weight * (torch.tensor(chance) * losses).sum()
                errors[s] += weight * chance @ (G.numpy() - V[s])
            by_theta, by_value = torch.autograd.grad(total, (logits, values))
            np.testing.assert_allclose(by_value.numpy(), -c_v * errors, atol=1e-10)
            if V is not v:
                assert abs(errors).max() > 0.01
                continue

            def bonus(theta: Floats, share: Floats = share) -> float:
                p = softmax(theta, axis=1)
                return float(-(share[:, None] * p * np.log(p)).sum())

            slope = np.zeros((3, 2))
            for unit in np.ndindex(3, 2):
                h = np.zeros((3, 2))
                h[unit] = 1e-6
                slope[unit] = (bonus(w.theta + h) - bonus(w.theta - h)) / 2e-6
            expected = -w.gradient(gamma) - c_e * slope
            np.testing.assert_allclose(by_theta.numpy(), expected, atol=1e-7)


@pytest.mark.equation(
    "eq-ac-leak", oracle="descent down the mutant's own loss, over everything that can happen"
)
@pytest.mark.parametrize("c_v", [0.5, 2.0])
def test_a_leaking_critic_pays_for_entropy(c_v: float) -> None:
    leaky, gamma, w = hunt("advantage-with-a-gradient"), 0.8, world(3)
    rooms, actions, ends = (index.ravel() for index in np.indices((3, 2, 4)))  # all that can happen
    arrive = np.concatenate([w.P, 1 - w.P.sum(axis=2, keepdims=True)], axis=2)
    chance = torch.tensor(w.pi[rooms, actions] * arrive.ravel())
    log_p, reward = (torch.tensor(x[rooms, actions]) for x in (np.log(w.pi), w.R))
    values = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for _ in range(3000):
        G = reward + gamma * torch.cat([values.detach(), torch.zeros(1)])[ends]
        losses = leaky.actor_critic_loss(log_p, torch.zeros_like(G), values[rooms], G, c_v, 0.0)
        (slope,) = torch.autograd.grad((chance * losses).sum(), values)
        with torch.no_grad():
            values -= 0.1 * slope
    # The printed sum as a series, not as a linear system.
    paid = (w.pi * (w.R - np.log(w.pi) / c_v)).sum(axis=1)
    chain, printed, after = np.einsum("sa,sax->sx", w.pi, w.P), np.zeros(3), np.eye(3)
    for k in range(200):
        printed += gamma**k * after @ paid
        after = after @ chain
    np.testing.assert_allclose(values.detach().numpy(), printed, atol=1e-8)
    assert (printed > w.values(w.theta, gamma) + 0.1).all()


# --- is it an actor-critic? -----------------------------------------------------------------------


@pytest.mark.equation("eq-ac-lift", oracle="the package's targets, with a lifted critic")
@pytest.mark.parametrize("c", [1.0, -2.5])
def test_lifting_the_critic(c: float) -> None:
    rng = np.random.default_rng(4)
    R, V, ahead = rng.normal(size=(3, 12))
    end, limit = np.arange(12) == 4, np.arange(12) == 8
    args = 0.9 * ~end, V, ahead, 1.0, end | limit
    before = gae(R, *args)
    after = gae(R, args[0], V + c, ahead + c, *args[3:])
    stop = np.repeat([4, 8, 11], [5, 4, 3])
    m = stop - np.arange(12) + 1
    printed = np.where(stop == 4, -c, -(1 - 0.9**m) * c)
    np.testing.assert_allclose(after - before, printed, atol=1e-12)


def test_the_listing_has_a_yardstick_and_a2c_a_judge() -> None:
    def advantages(module: Any, config: Any, lift: float) -> Floats:
        run, told = module.Run(config, 0, "cpu"), []
        critic = run.critic if module is reinforce else run.network.critic
        with torch.no_grad():
            critic[-2].bias += lift

        def spy(*given: Any) -> Any:
            told.append(given[1] if module is reinforce else (given[3] - given[2]).detach())
            loss = reinforce.policy_loss if module is reinforce else a2c.actor_critic_loss
            return loss(*given)

        steps = () if module is reinforce else (5,)
        module.update(run, run.episodes.play(run.act, *steps), spy)
        return np.asarray(told[0].double())

    listing = reinforce.Config(num_envs=1, baseline="learned", normalize=False)
    falls = advantages(reinforce, listing, 0.0) - advantages(reinforce, listing, 1.0)
    np.testing.assert_allclose(falls, 1.0, atol=1e-5)
    falls = advantages(a2c, a2c.Config(), 0.0) - advantages(a2c, a2c.Config(), 1.0)
    np.testing.assert_allclose(
        falls.reshape(5, 8).T, [1 - 0.99 ** np.arange(5, 0, -1)] * 8, atol=1e-5
    )


# --- workers --------------------------------------------------------------------------------------


@pytest.mark.equation("eq-ac-rmsprop", oracle="torch's own RMSProp, and the printed lines in numpy")
def test_shared_rmsprop() -> None:
    config = a3c.Config(learning_rate=0.02, learning_rate_end=0.02, max_grad_norm=1e9)
    start = torch.linspace(-1, 1, 6)
    shared = a3c.Shared(start.clone(), workers=1)
    theirs = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.RMSprop(
        [theirs], lr=0.02, alpha=config.rms_decay, eps=config.rms_epsilon
    )
    theta, g = start.double().numpy().copy(), np.zeros(6)
    for seed in range(6):
        delta = torch.from_numpy(np.random.default_rng(seed).normal(size=6)).float()
        shared.descend(delta, config)
        theirs.grad = delta.clone()
        optimizer.step()
        g = 0.99 * g + 0.01 * delta.numpy() ** 2
        theta = theta - 0.02 * delta.numpy() / (np.sqrt(g) + 1e-5)
    np.testing.assert_allclose(shared.weights, theirs.detach(), atol=1e-6)
    np.testing.assert_allclose(shared.weights, theta, atol=1e-5)


@pytest.mark.equation("eq-ac-stale", oracle="a simulated run with workers of any speed")
@pytest.mark.parametrize("kind", ["even", "exponential", "heavy", "one slow"])
@pytest.mark.parametrize("W", [1, 2, 5, 16])
def test_mean_age_of_a_gradient(W: int, kind: str) -> None:
    rng = np.random.default_rng(W)

    def lasts(i: int) -> float:
        if kind == "even":
            return 1.0 + 0.01 * i
        if kind == "heavy":
            return float(rng.pareto(3.0)) + 0.01
        return float(rng.exponential(20.0 if kind == "one slow" and i == 0 else 1.0))

    queue = [(lasts(i), i, 0) for i in range(W)]
    heapq.heapify(queue)
    ages = []
    for count in range(10_000):
        now, i, fetched = heapq.heappop(queue)
        ages.append(count - fetched)
        heapq.heappush(queue, (now + lasts(i), i, count + 1))
    # Every foreign update is counted once by each worker, but for those after its last own one.
    missing = sum(10_000 - fetched for _, _, fetched in queue)
    assert sum(ages) == 10_000 * (W - 1) - missing
    assert np.mean(ages) == pytest.approx(W - 1, abs=0.5)


@pytest.mark.equation("eq-ac-amdahl", oracle="a schedule of a thousand small jobs")
@pytest.mark.parametrize("s", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("W", [1, 3, 16])
def test_amdahl(W: int, s: float) -> None:
    job = (1 - s) / 48_000
    queue = [0.0] * W
    for _ in range(48_000):  # each job to whoever is free first
        heapq.heapreplace(queue, queue[0] + job)
    assert 1 / (s + max(queue)) == pytest.approx(1 / (s + (1 - s) / W), rel=1e-3)
    if s:
        assert 1 / (s + (1 - s) / W) < 1 / s


@pytest.mark.equation("eq-ac-waiting", oracle="quadrature; Monte Carlo, four standard errors")
@pytest.mark.parametrize("W", [1, 2, 7])
def test_waiting_for_the_slowest(W: int) -> None:
    printed = W / sum(1 / k for k in range(1, W + 1))
    longest = quad(lambda x: 1 - (1 - np.exp(-x)) ** W, 0, 60)[0]
    assert W / longest == pytest.approx(printed)
    drawn = np.random.default_rng(0).exponential(size=(50_000, W)).max(axis=1)
    assert abs(drawn.mean() - W / printed) < 4 * drawn.std() / np.sqrt(len(drawn))
