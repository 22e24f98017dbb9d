"""The equations of the chapter ``policies/policy_gradients``, each against a road of its own.

Expectations are sums over everything that can happen in random worlds of three states. The oracle is the
gradient by central differences of an objective that comes from a linear system: in it there is no life, no
score and no logarithm.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import norm

from rlcourse.algorithms import reinforce
from rlcourse.algorithms.reinforce import batch_baseline, policy_loss
from rlcourse.distributions import Categorical, SquashedNormal
from rlcourse.envs.model import ModelEnv
from rlcourse.mdp import TabularMDP
from rlcourse.networks import Actor, seeded

Floats = NDArray[np.float64]
SEEDS = pytest.mark.parametrize("seed", range(4))


class World(NamedTuple):
    """Three states in a row and an end; an action leads on, by chance to any later one."""

    P: Floats  # [3, 2, 4]
    R: Floats  # [3, 2]
    mu: Floats  # [3]
    theta: Floats  # [3, 2], the numbers behind the softmax


def world(seed: int) -> World:
    rng = np.random.default_rng(seed)
    P = np.zeros((3, 2, 4))
    for s in range(3):
        P[s, :, s + 1 :] = rng.dirichlet(np.ones(3 - s), 2)
    R = rng.normal(2.0, 3.0, (3, 2))
    return World(P, R, rng.dirichlet(np.ones(3)), rng.normal(size=(3, 2)))


def softmax(x: Floats) -> Floats:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def objective(P: Floats, R: Floats, mu: Floats, theta: Floats, gamma: float) -> float:
    """The value of the start, from the Bellman equations."""
    pi = softmax(theta)
    chain = np.einsum("sa,sax->sx", pi, P[:, :, : len(P)])
    return float(mu @ np.linalg.solve(np.eye(len(P)) - gamma * chain, (pi * R).sum(axis=1)))


def differences(function: Callable[[Floats], float], x: Floats, h: float = 1e-5) -> Floats:
    slope = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        slope[index] = (function(x + step) - function(x - step)) / (2 * h)
    return slope


def oracle(w: World, gamma: float = 1.0) -> Floats:
    return differences(lambda theta: objective(w.P, w.R, w.mu, theta, gamma), w.theta)


Life = tuple[float, list[tuple[int, int]], list[float]]  # chance; states, actions; rewards


def lives(w: World) -> list[Life]:
    pi, found = softmax(w.theta), []
    unfinished: list[tuple[float, int, list[tuple[int, int]], list[float]]]
    unfinished = [(float(w.mu[s]), s, [], []) for s in range(3)]
    while unfinished:
        chance, s, path, paid = unfinished.pop()
        if s == 3:
            found.append((chance, path, paid))
            continue
        for a, following in itertools.product(range(2), range(s + 1, 4)):
            p = chance * pi[s, a] * w.P[s, a, following]
            unfinished.append((float(p), following, [*path, (s, a)], [*paid, float(w.R[s, a])]))
    return found


def score(w: World, s: int, a: int) -> Floats:
    """The gradient of a log-probability, by autograd."""
    theta = torch.tensor(w.theta, requires_grad=True)
    theta[s].log_softmax(0)[a].backward()
    assert theta.grad is not None
    return theta.grad.numpy()


def togo(paid: list[float], gamma: float = 1.0) -> Floats:
    return np.array(
        [sum(gamma**k * r for k, r in enumerate(paid[t:])) for t in range(len(paid))], float
    )


def estimates(w: World, weigh: Callable[[list[tuple[int, int]], list[float]], Any]) -> Floats:
    """For each life the sum of its scores, times the weights that ``weigh(path, paid)`` gives them."""
    table = {(s, a): score(w, s, a) for s in range(3) for a in range(2)}
    return np.array(
        [
            sum(weight * table[key] for weight, key in zip(weigh(path, paid), path, strict=True))
            for _, path, paid in lives(w)
        ]
    )


def chances(w: World) -> Floats:
    return np.array([chance for chance, _, _ in lives(w)])


def variance(p: Floats, g: Floats) -> float:
    return float(p @ ((g - np.tensordot(p, g, 1)) ** 2).sum(axis=(1, 2)))


# --- the dark rooms -------------------------------------------------------------------------------


def moves(p: float, w: float) -> float:
    """Expected moves to the middle of five rooms, by the linear system of the walk."""
    right = [1.0, p, 0.0, p, 0.0]
    chain = np.zeros((5, 5))
    for room in (0, 1, 3, 4):
        for following, chance in ((room + 1, right[room]), (room - 1, 1 - right[room])):
            if 0 <= following < 5 and following != 2:
                chain[room, following] += chance
    needed = np.linalg.solve(np.eye(5) - chain, [1.0, 1.0, 0.0, 1.0, 1.0])
    return float(w * needed[0] + (1 - w) * needed[4])


@pytest.mark.equation("eq-pg-rooms", oracle="the linear system of the walk")
@pytest.mark.parametrize("w", [0.5, 0.8, 0.99])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8, 0.95])
def test_moves_in_the_dark(p: float, w: float) -> None:
    assert w * 2 / p + (1 - w) * 2 / (1 - p) == pytest.approx(moves(p, w))


@pytest.mark.equation("eq-pg-rooms-best", oracle="a numerical search over the linear system")
@pytest.mark.parametrize("w", [0.5, 0.8, 0.95])
def test_the_best_coin(w: float) -> None:
    best = np.sqrt(w) / (np.sqrt(w) + np.sqrt(1 - w))
    found = minimize_scalar(lambda p: moves(p, w), bounds=(0.01, 0.99), method="bounded").x
    assert best == pytest.approx(found, abs=1e-4)
    assert moves(w, w) == pytest.approx(moves(0.5, w)) == pytest.approx(4.0)  # matching is no use


# --- the gradient ---------------------------------------------------------------------------------


@pytest.mark.equation("eq-pg-objective", oracle="the Bellman equations, solved")
@SEEDS
@pytest.mark.parametrize("gamma", [1.0, 0.6])
def test_a_sum_over_lives(seed: int, gamma: float) -> None:
    w = world(seed)
    J = sum(chance * togo(paid, gamma)[0] for chance, _, paid in lives(w))
    assert objective(*w[:3], w.theta, gamma) == pytest.approx(J)
    assert chances(w).sum() == pytest.approx(1.0)


@pytest.mark.equation("eq-pg-score-function", oracle="central differences of the Bellman solution")
@SEEDS
def test_whole_return_times_the_scores(seed: int) -> None:
    w = world(seed)
    g = estimates(w, lambda path, paid: [sum(paid)] * len(path))
    np.testing.assert_allclose(np.tensordot(chances(w), g, 1), oracle(w), atol=1e-7)


@pytest.mark.equation("eq-pg-softmax-score", oracle="central differences of log pi")
@SEEDS
def test_the_score_of_a_softmax(seed: int) -> None:
    numbers = np.random.default_rng(seed).normal(size=4)
    for a in range(4):
        printed = [(a == b) - softmax(numbers)[b] for b in range(4)]
        slope = differences(lambda x, a=a: float(np.log(softmax(x)[a])), numbers)
        np.testing.assert_allclose(printed, slope, atol=1e-8)


@pytest.mark.equation("eq-pg-zero", oracle="autograd through a network, action by action")
def test_a_score_has_the_mean_zero() -> None:
    with seeded(0):
        actor = Actor(gym.spaces.Box(-1, 1, (3,)), gym.spaces.Discrete(4), (8,))
        for parameter in actor.parameters():
            torch.nn.init.normal_(parameter)
    obs, total, size = torch.tensor([[0.3, -0.8, 0.5]]), torch.zeros(()), 0.0
    for a in range(4):
        log_p = actor(obs).log_p[0, a]
        slopes = torch.autograd.grad(log_p, list(actor.parameters()))
        one = log_p.exp().detach() * torch.cat([slope.flatten() for slope in slopes])
        total, size = total + one, size + float(one.norm())
    assert size > 0.1
    assert float(total.norm()) < 1e-5 * size


@pytest.mark.equation("eq-pg-togo", oracle="central differences of the Bellman solution")
@SEEDS
def test_reward_to_go(seed: int) -> None:
    w = world(seed)
    g = estimates(w, lambda path, paid: togo(paid))
    np.testing.assert_allclose(np.tensordot(chances(w), g, 1), oracle(w), atol=1e-7)


def test_the_loop_weighs_an_action_by_what_follows_it() -> None:
    """What ``update`` hands to the loss, against the rewards of the batch, episode by episode."""
    config = reinforce.Config(num_envs=3, gamma=0.9, baseline="none", normalize=False)
    run, seen = reinforce.Run(config, 0, "cpu"), []
    batch = run.episodes.play(run.act)

    def loss(log_prob: torch.Tensor, advantages: torch.Tensor, episodes: int) -> torch.Tensor:
        seen.append(advantages.numpy())
        return policy_loss(log_prob, advantages, episodes)

    reinforce.update(run, batch, loss)
    expected = np.zeros(batch.running.shape)
    for n, length in enumerate(batch.running.sum(axis=0)):
        expected[:length, n] = togo(batch.reward[:length, n].tolist(), 0.9)
    np.testing.assert_allclose(seen[0], expected[batch.running], rtol=1e-5)


@pytest.mark.equation("eq-pg-baseline", oracle="central differences of the Bellman solution")
@SEEDS
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_any_baseline_leaves_the_mean(seed: int, scale: float) -> None:
    w, b = world(seed), scale * np.random.default_rng(seed + 100).normal(size=3)
    g = estimates(w, lambda path, paid: togo(paid) - b[[s for s, _ in path]])
    np.testing.assert_allclose(np.tensordot(chances(w), g, 1), oracle(w), atol=1e-6)
    # The package's loss, life by life.
    theta = torch.tensor(w.theta, requires_grad=True)
    for chance, path, paid in lives(w):
        s, a = torch.tensor(path).T
        weights = torch.tensor(togo(paid) - b[s.numpy()])
        (chance * policy_loss(Categorical(theta[s]).log_prob(a), weights, 1)).backward()
    assert theta.grad is not None
    np.testing.assert_allclose(-theta.grad.numpy(), oracle(w), atol=1e-6)


def cyclic(seed: int) -> tuple[Floats, Floats, Floats, Floats]:
    """A model without an end: three states, every transition possible."""
    rng = np.random.default_rng(seed)
    R, theta = rng.normal(size=(2, 3, 2))
    return rng.dirichlet(np.ones(3), (3, 2)), R, rng.dirichlet(np.ones(3)), theta


def visits_and_values(
    P: Floats, R: Floats, mu: Floats, theta: Floats, gamma: float
) -> tuple[Floats, Floats]:
    """Discounted visits and action values, by summing over time."""
    pi = softmax(theta)
    chain, where = np.einsum("sa,sax->sx", pi, P), mu
    d, v = np.zeros(3), np.zeros(3)
    for t in range(400):
        d += gamma**t * where
        where = where @ chain
        v = (pi * (R + gamma * P @ v)).sum(axis=1)
    return d, R + gamma * P @ v


@pytest.mark.equation("eq-pg-theorem", oracle="central differences of the Bellman solution")
@SEEDS
@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_the_theorem(seed: int, gamma: float) -> None:
    P, R, mu, theta = cyclic(seed)
    d, q = visits_and_values(P, R, mu, theta, gamma)
    weights = torch.tensor(theta, requires_grad=True)
    pi = weights.softmax(1)
    total = torch.zeros(3, 2, dtype=torch.float64)
    for s, a in itertools.product(range(3), range(2)):
        (slope,) = torch.autograd.grad(pi[s, a], weights, retain_graph=True)
        total += d[s] * slope * q[s, a]
    expected = differences(lambda x: objective(P, R, mu, x, gamma), theta)
    np.testing.assert_allclose(total, expected, atol=1e-7)


@pytest.mark.equation("eq-pg-softmax-gradient", oracle="central differences, Bellman's solution")
@SEEDS
def test_visits_times_probability_times_advantage(seed: int) -> None:
    P, R, mu, theta = cyclic(seed)
    d, q = visits_and_values(P, R, mu, theta, 0.8)
    pi = softmax(theta)
    v = (pi * q).sum(axis=1)
    expected = differences(lambda x: objective(P, R, mu, x, 0.8), theta)
    np.testing.assert_allclose(d[:, None] * pi * (q - v[:, None]), expected, atol=1e-7)


# --- baselines ------------------------------------------------------------------------------------


@pytest.mark.equation("eq-pg-parabola", oracle="the variance over all lives, for each baseline")
@SEEDS
@pytest.mark.parametrize("whole", [True, False])
def test_the_variance_is_a_parabola(seed: int, whole: bool) -> None:
    w = world(seed)
    p = chances(w)

    def bare(path: Any, paid: list[float]) -> Any:
        return [sum(paid)] * len(path) if whole else togo(paid)

    g, Z = estimates(w, bare), estimates(w, lambda path, paid: [1.0] * len(path))
    length = float(p @ (Z**2).sum(axis=(1, 2)))
    best = float(p @ (Z * g).sum(axis=(1, 2))) / length
    for b in (-10.0, 0.0, best, 2 * best, 3.0):
        measured = variance(p, estimates(w, lambda path, paid, b=b: np.array(bare(path, paid)) - b))
        printed = variance(p, g - best * Z) + (b - best) ** 2 * length
        assert measured == pytest.approx(printed)
    assert variance(p, g - 2 * best * Z) == pytest.approx(variance(p, g))  # where it stops to help


@pytest.mark.equation("eq-pg-best", oracle="a numerical search for the smallest variance")
@SEEDS
def test_the_best_baseline_of_each_state(seed: int) -> None:
    w = world(seed)
    p, pi = chances(w), softmax(w.theta)
    v = np.zeros(4)
    q = np.zeros((3, 2))
    for s in (2, 1, 0):
        q[s] = w.R[s] + w.P[s] @ v
        v[s] = pi[s] @ q[s]
    size = np.array([[(score(w, s, a) ** 2).sum() for a in range(2)] for s in range(3)])
    printed = (pi * size * q).sum(axis=1) / (pi * size).sum(axis=1)

    g = estimates(w, lambda path, paid: togo(paid))
    marks = [
        estimates(w, lambda path, paid, s=s: [float(x == s) for x, _ in path]) for s in (0, 1, 2)
    ]

    def noise(b: Floats) -> float:
        return variance(p, g - sum(x * mark for x, mark in zip(b, marks, strict=True)))

    found = minimize(noise, np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(printed, found, atol=1e-3)
    assert noise(printed) <= min(noise(np.zeros(3)), noise(v[:3])) + 1e-12
    # Two actions: the value with the probabilities swapped.
    np.testing.assert_allclose(printed, (pi[:, ::-1] * q).sum(axis=1))


@pytest.mark.equation(
    "eq-pg-neighbours", oracle="every batch of two and of three lives; central differences"
)
@pytest.mark.parametrize("n", [2, 3])
def test_neighbours(n: int) -> None:
    w = world(0)
    p, exact = chances(w), oracle(w)
    Z = estimates(w, lambda path, paid: [1.0] * len(path))
    G = np.array([sum(paid) for _, _, paid in lives(w)])
    batches = np.array(list(itertools.product(range(len(p)), repeat=n)))
    likely, g = p[batches].prod(axis=1), G[batches]
    others = (g.sum(axis=1, keepdims=True) - g) / (n - 1)
    own = g.mean(axis=1, keepdims=True)
    # The package's, on returns that are the same at the first step of all.
    np.testing.assert_allclose(batch_baseline(g, np.ones_like(g, dtype=bool)), others)
    for baseline, share in ((others, 1.0), (own, (n - 1) / n)):
        mean = np.einsum("k,kn,knsa->sa", likely, g - baseline, Z[batches]) / n
        np.testing.assert_allclose(mean, share * exact, atol=1e-7)


# --- the discount ---------------------------------------------------------------------------------


@pytest.mark.equation("eq-pg-discounted", oracle="central differences of the Bellman solution")
@SEEDS
def test_the_factor_that_everybody_drops(seed: int) -> None:
    w, gamma = world(seed), 0.5
    kept = estimates(w, lambda path, paid: gamma ** np.arange(len(paid)) * togo(paid, gamma))
    dropped = estimates(w, lambda path, paid: togo(paid, gamma))
    exact = oracle(w, gamma)
    np.testing.assert_allclose(np.tensordot(chances(w), kept, 1), exact, atol=1e-7)
    assert abs(np.tensordot(chances(w), dropped, 1) - exact).max() > 1e-3


# --- entropy --------------------------------------------------------------------------------------


def idle_world() -> TabularMDP:
    """Three actions, nothing to gain, the end."""
    P = np.zeros((2, 3, 2))
    P[:, :, 1] = 1.0
    return TabularMDP(P, np.zeros((2, 3)), np.arange(2) == 1)


if "Idle-test-v0" not in gym.registry:
    gym.register("Idle-test-v0", entry_point=lambda: ModelEnv(idle_world()))


@pytest.mark.equation("eq-pg-loss", oracle="loops over the steps of a batch")
def test_the_loss_that_is_descended() -> None:
    config = reinforce.Config(
        num_envs=3, entropy=0.3, baseline="none", normalize=False, gamma=0.9, hidden=(8,)
    )
    run = reinforce.Run(config, 0, "cpu")
    batch, total = run.episodes.play(run.act), 0.0
    for n, length in enumerate(batch.running.sum(axis=0)):
        G = togo(batch.reward[:length, n].tolist(), 0.9)
        for t in range(length):
            with torch.no_grad():
                numbers = run.actor.layers(torch.from_numpy(batch.obs[t, n][None]))[0]
            pi = softmax(numbers.double().numpy())
            total += np.log(pi[batch.raw[t, n]]) * G[t] - 0.3 * (pi * np.log(pi)).sum()
    reinforce.update(run, batch, policy_loss)
    assert run.episodes.note["loss"] == pytest.approx(-total / 3, rel=1e-4)


@pytest.mark.equation("eq-pg-loss", oracle="a world in which only the bonus acts")
def test_entropy_rises_when_only_the_bonus_acts() -> None:
    entropy = {}
    for weight in (0.0, 0.1):
        config = reinforce.Config("Idle-test-v0", entropy=weight, baseline="none", hidden=())
        run = reinforce.Run(config, 0, "cpu")
        with torch.no_grad():
            run.actor.layers[-1].bias.copy_(torch.tensor([1.5, 0.0, -1.5]))
        for _ in range(60):
            reinforce.update(run, run.episodes.play(run.act), policy_loss)
        with torch.no_grad():
            entropy[weight] = float(run.actor(torch.zeros(1, dtype=torch.long)).entropy())
    pi = softmax(np.array([1.5, 0.0, -1.5]))
    before = -(pi * np.log(pi)).sum()
    assert entropy[0.0] == pytest.approx(before, abs=0.01)
    assert before + 0.1 < entropy[0.1] <= np.log(3) + 1e-6


@pytest.mark.equation("eq-pg-boltzmann", oracle="a numerical search over the simplex")
@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
def test_the_policy_that_a_bonus_wants(c: float) -> None:
    r = np.array([1.0, 0.2, -0.5, 1.0])

    def loss(pi: Floats) -> float:
        return float(-(pi @ r) + c * (pi * np.log(np.maximum(pi, 1e-300))).sum())

    one = {"type": "eq", "fun": lambda pi: pi.sum() - 1}
    found = minimize(
        loss, np.full(4, 0.25), bounds=[(1e-9, 1)] * 4, constraints=[one], options={"ftol": 1e-14}
    ).x
    printed = np.exp(r / c) / np.exp(r / c).sum()
    np.testing.assert_allclose(printed, found, atol=1e-4)


@pytest.mark.equation("eq-pg-entropy-gradient", oracle="central differences")
@SEEDS
def test_the_slope_of_the_entropy(seed: int) -> None:
    numbers = np.random.default_rng(seed).normal(size=4)

    def entropy(x: Floats) -> float:
        return float(-(softmax(x) * np.log(softmax(x))).sum())

    pi = softmax(numbers)
    printed = -pi * (np.log(pi) + entropy(numbers))
    np.testing.assert_allclose(printed, differences(entropy, numbers), atol=1e-8)
    # Two actions, as the text says: the difference d is pulled with -2 p (1 - p) d.
    d, p = 1.7, softmax(np.array([1.7, 0.0]))[0]
    pull = differences(entropy, np.array([d, 0.0]))
    assert pull[0] - pull[1] == pytest.approx(-2 * p * (1 - p) * d, abs=1e-7)


# --- squashed actions -----------------------------------------------------------------------------


@pytest.mark.equation("eq-pg-squashed", oracle="the integral over the box; the normal's own cdf")
@pytest.mark.parametrize(
    ("mean", "std", "low", "high"),
    [(0.0, 1.0, -2.0, 2.0), (0.8, 0.5, -2.0, 2.0), (-0.3, 0.7, 1.0, 4.0)],
)
def test_the_density_in_a_box(mean: float, std: float, low: float, high: float) -> None:
    m, h = (low + high) / 2, (high - low) / 2

    def log_density(a: float) -> float:
        u = np.arctanh((a - m) / h)
        return float(norm.logpdf(u, mean, std) - np.log(h) - np.log(1 - np.tanh(u) ** 2))

    mass, _ = quad(lambda a: np.exp(log_density(a)), low, high, limit=200)
    assert mass == pytest.approx(1.0, abs=1e-6)
    policy = SquashedNormal(
        torch.tensor([[mean]]).double(),
        torch.tensor([std]).double().log(),
        torch.tensor([low]).double(),
        torch.tensor([high]).double(),
    )
    for share in (0.1, 0.5, 0.85):
        a = low + share * (high - low)
        ends = np.arctanh((np.array([a - 1e-5, a + 1e-5]) - m) / h)
        below, above = norm.cdf(ends, mean, std)
        assert log_density(a) == pytest.approx(np.log((above - below) / 2e-5), abs=1e-5)
        raw = torch.tensor([[np.arctanh((a - m) / h)]])
        assert policy.log_prob(raw).item() == pytest.approx(log_density(a))
        assert policy.act(raw).item() == pytest.approx(a)


@pytest.mark.equation(
    "eq-pg-gaussian-score", oracle="central differences of the squashed log-density"
)
@pytest.mark.parametrize("u", [-1.2, 0.3, 4.0])
def test_the_score_of_a_squashed_normal(u: float) -> None:
    box = torch.tensor([-2.0]).double(), torch.tensor([2.0]).double()

    def log_pi(x: Floats) -> float:
        mean, log_std = torch.tensor([[x[0]]]), torch.tensor([x[1]])
        return float(SquashedNormal(mean, log_std, *box).log_prob(torch.tensor([[u]]).double()))

    mu, sigma = 0.4, 0.7
    printed = [(u - mu) / sigma**2, (u - mu) ** 2 / sigma**2 - 1]
    np.testing.assert_allclose(
        printed, differences(log_pi, np.array([mu, np.log(sigma)])), atol=1e-6
    )


# --- slow corners ---------------------------------------------------------------------------------


@pytest.mark.equation("eq-pg-escape", oracle="the differential equation, integrated numerically")
@pytest.mark.parametrize(("delta", "gap"), [(0.3, 1.0), (0.05, 1.0), (0.01, 2.0)])
def test_how_long_a_corner_holds(delta: float, gap: float) -> None:
    printed = ((1 - 2 * delta) / (delta * (1 - delta)) + 2 * np.log((1 - delta) / delta)) / (
        2 * gap
    )

    def uphill(_: float, numbers: Floats) -> Floats:
        return differences(lambda x: float(softmax(x)[0] * gap), numbers)

    def even(_: float, numbers: Floats) -> float:
        return float(numbers[0] - numbers[1])

    even.terminal = True  # type: ignore[attr-defined]
    start = np.array([np.log(delta / (1 - delta)), 0.0])
    done = solve_ivp(uphill, (0, 10 * printed), start, events=even, rtol=1e-8, atol=1e-10)
    assert done.t_events[0][0] == pytest.approx(printed, rel=1e-3)
    # And as long again from one half to 1 - delta.
    even.terminal = False  # type: ignore[attr-defined]
    further = solve_ivp(uphill, (0, 2 * printed), start, rtol=1e-8, atol=1e-10).y[:, -1]
    assert softmax(further)[0] == pytest.approx(1 - delta, rel=1e-3)
