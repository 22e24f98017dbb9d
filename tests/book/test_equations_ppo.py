"""The equations of the chapter ``policies/ppo``, each against a road of its own.

The right-hand sides are written out as they are printed, on plain arrays. The oracles enumerate every
trajectory of a world with three rooms, integrate, search or difference; where the package has the equation
as code, the code is held to the same oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import minimize
from torch import Tensor

from rlcourse.algorithms import a2c, ppo
from rlcourse.distributions import SquashedNormal
from rlcourse.networks import ActorCritic
from rlcourse.returns import gae
from rlcourse.rollout import Segments

Floats = NDArray[np.float64]
Path = list[tuple[int, int, float, int]]  # room, action, reward, next room

# Three rooms, two actions, at most three steps; room 3 is the end. As in tests/test_reinforce.py.
NEXT: list[list[list[tuple[float, int]]]] = [
    [[(0.7, 1), (0.3, 2)], [(1.0, 2)]],
    [[(0.5, 3), (0.5, 0)], [(1.0, 3)]],
    [[(1.0, 3)], [(0.6, 1), (0.4, 3)]],
]
REWARD = [[1.0, 0.0], [-1.0, 2.0], [0.5, -0.5]]
STEPS = 3


def softmax(theta: Floats) -> Floats:
    table: Floats = np.exp(theta) / np.exp(theta).sum(axis=1, keepdims=True)
    return table


def policies(seed: int, count: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield softmax(rng.normal(size=(3, 2)))


def trajectories(
    pi: Callable[[int, int], Floats], s: int = 0, t: int = 0
) -> list[tuple[float, Path]]:
    """Every way from room ``s`` on at step ``t``: its probability and its steps; pi(t, s) acts."""
    if s == 3 or t == STEPS:
        return [(1.0, [])]
    found: list[tuple[float, Path]] = []
    for a in (0, 1):
        for chance, following in NEXT[s][a]:
            for p, rest in trajectories(pi, following, t + 1):
                row = (s, a, REWARD[s][a], following)
                found.append((float(pi(t, s)[a]) * chance * p, [row, *rest]))
    return found


def always(table: Floats) -> Callable[[int, int], Floats]:
    row: Callable[[int, int], Floats] = lambda t, s: table[s]  # noqa: E731
    return row


def value(pi: Callable[[int, int], Floats], gamma: float = 1.0, s: int = 0, t: int = 0) -> float:
    """Mean discounted return from room ``s`` on at step ``t``."""
    ways = trajectories(pi, s, t)
    return sum(p * sum(gamma**k * row[2] for k, row in enumerate(path)) for p, path in ways)


def advantage(table: Floats, gamma: float = 1.0) -> Floats:
    """A[t, s, a] of a policy, from enumerated values."""
    v = [[value(always(table), gamma, s, t) for s in range(4)] for t in range(STEPS + 1)]
    return np.array(
        [
            [
                [
                    REWARD[s][a] + gamma * sum(p * v[t + 1][x] for p, x in NEXT[s][a]) - v[t][s]
                    for a in (0, 1)
                ]
                for s in range(3)
            ]
            for t in range(STEPS)
        ]
    )


def surrogate(new: Floats, old: Floats, gamma: float = 1.0) -> float:
    """The right-hand side as it is printed: the old policy's ways, weighted by the ratio."""
    A, total = advantage(old, gamma), value(always(old), gamma)
    for p, path in trajectories(always(old)):
        rho = [new[s, a] / old[s, a] for s, a, *_ in path]
        total += p * sum(gamma**t * rho[t] * A[t, s, a] for t, (s, a, *_) in enumerate(path))
    return total


def differences(function: Callable[[Floats], float], theta: Floats, h: float = 1e-6) -> Floats:
    units = h * np.eye(theta.size).reshape(-1, *theta.shape)
    slopes = [(function(theta + u) - function(theta - u)) / (2 * h) for u in units]
    return np.array(slopes).reshape(theta.shape)


def score(pi: Floats, s: int, a: int) -> Floats:
    """The gradient of log softmax by all six logits."""
    g = np.zeros((3, 2))
    g[s] = np.eye(2)[a] - pi[s]
    return g.ravel()


def fisher(pi: Floats) -> Floats:
    F = np.zeros((6, 6))
    for p, path in trajectories(always(pi)):
        for s, a, *_ in path:
            F += p * np.outer(score(pi, s, a), score(pi, s, a))
    return F


def divergence(old: Floats, new: Floats) -> float:
    """Between two distributions over whole ways, by enumeration."""
    ways = zip(trajectories(always(old)), trajectories(always(new)), strict=True)
    return sum(p * np.log(p / q) for (p, _), (q, _) in ways)


# --- the ruler ------------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-ppo-gaussian-kl", oracle="the integral over squashed actions, by quadrature"
)
@pytest.mark.parametrize(("mu", "delta", "sigma"), [(0.0, 1.0, 1.0), (0.3, -0.2, 0.4)])
def test_divergence_of_two_normal_policies(mu: float, delta: float, sigma: float) -> None:
    low, high = torch.tensor([-2.0]).double(), torch.tensor([2.0]).double()
    log_std = torch.tensor([sigma]).double().log()

    def density(mean: float, a: float) -> float:
        u = np.arctanh(a / 2)
        one = SquashedNormal(torch.tensor([[mean]]).double(), log_std, low, high)
        return float(one.log_prob(torch.tensor([[u]]).double()).exp())

    def integrand(a: float) -> float:
        p, q = density(mu, a), density(mu + delta, a)
        return p * np.log(p / q) if p > 1e-290 and q > 1e-290 else 0.0

    edge = 2 * np.tanh(mu + 8 * sigma), 2 * np.tanh(mu - 8 * sigma)
    integral, _ = quad(integrand, edge[1], edge[0], limit=400)
    assert delta**2 / (2 * sigma**2) == pytest.approx(integral, rel=1e-6)


# --- the surrogate --------------------------------------------------------------------------------


@pytest.mark.equation("eq-ppo-difference", oracle="both returns, by enumerating all ways")
@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_difference_of_two_policies(gamma: float) -> None:
    for old, new in zip(policies(0, 5), policies(1, 5), strict=True):
        A = advantage(old, gamma)
        right = sum(
            p * sum(gamma**t * A[t, s, a] for t, (s, a, *_) in enumerate(path))
            for p, path in trajectories(always(new))
        )
        left = value(always(new), gamma) - value(always(old), gamma)
        assert right == pytest.approx(left)


@pytest.mark.equation(
    "eq-ppo-surrogate", oracle="the enumerated gains of acting by the new policy once, at each step"
)
@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_surrogate(gamma: float) -> None:
    for old, new in zip(policies(2, 5), policies(3, 5), strict=True):
        base = value(always(old), gamma)

        def once(t: int, new: Floats = new, old: Floats = old) -> Callable[[int, int], Floats]:
            return lambda k, s: new[s] if k == t else old[s]

        gains = sum(value(once(t), gamma) - base for t in range(STEPS))
        assert surrogate(new, old, gamma) == pytest.approx(base + gains)
        assert abs(base + gains - value(always(new), gamma)) > 1e-3  # and that is not the return


@pytest.mark.equation(
    "eq-ppo-surrogate-gradient", oracle="finite differences of the enumerated return"
)
@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_gradient_of_the_surrogate(gamma: float) -> None:
    theta = np.random.default_rng(4).normal(size=(3, 2))
    old = softmax(theta)
    A = advantage(old, gamma)
    middle = np.zeros(6)
    for p, path in trajectories(always(old)):
        for t, (s, a, *_) in enumerate(path):
            middle += p * gamma**t * score(old, s, a) * A[t, s, a]
    true = differences(lambda th: value(always(softmax(th)), gamma), theta)
    left = differences(lambda th: surrogate(softmax(th), old, gamma), theta)
    np.testing.assert_allclose(middle, true.ravel(), atol=1e-8)
    np.testing.assert_allclose(left, true, atol=1e-8)


def test_the_packages_loss_has_the_policy_gradient_at_ratio_one() -> None:
    """All ways of the three rooms as one batch, weighted by their probability."""
    theta = np.random.default_rng(5).normal(size=(3, 2))
    old = softmax(theta)
    A = advantage(old)
    logits = torch.tensor(theta, requires_grad=True)
    total = torch.zeros((), dtype=torch.float64)
    for p, path in trajectories(always(old)):
        for t, (s, a, *_) in enumerate(path):
            log_prob = logits.log_softmax(dim=1)[s, a][None]
            gain = torch.tensor([A[t, s, a]])
            total = total + p * ppo.clipped_loss(log_prob, log_prob.detach(), gain, 0.2).sum()
    (got,) = torch.autograd.grad(-total, logits)
    true = differences(lambda th: value(always(softmax(th))), theta)
    np.testing.assert_allclose(got.numpy(), true, atol=1e-8)


@pytest.mark.equation(
    "eq-ppo-bound", oracle="200 random worlds, returns by recursion and by linear equations"
)
@pytest.mark.parametrize(("steps", "gamma"), [(2, 1.0), (6, 0.9), (None, 0.5), (None, 0.9)])
def test_bound(steps: int | None, gamma: float) -> None:
    rng = np.random.default_rng(0)
    shortfalls = []
    for _ in range(200):
        P, R = rng.dirichlet(np.ones(4), size=(4, 2)), rng.normal(size=(4, 2))
        old = rng.dirichlet(np.ones(2), size=4)
        # mostly small changes: far away the bound is empty
        new = old + rng.choice([0.05, 0.3, 1.0]) * (rng.dirichlet(np.ones(2), size=4) - old)
        J_new, L, largest = returns(P, R, old, new, steps, gamma)
        D = np.abs(new - old).sum(axis=1).max() / 2
        sum_t = (
            gamma / (1 - gamma) ** 2 if steps is None else sum(gamma**t * t for t in range(steps))
        )
        penalty = 4 * largest * D**2 * sum_t
        assert J_new >= L - penalty - 1e-9
        shortfalls.append(L - J_new)
    assert max(shortfalls) > 1e-3  # without a penalty it would be no bound


@pytest.mark.equation("eq-ppo-bound", oracle="a world made by hand in which it holds with equality")
@pytest.mark.parametrize("D", [0.01, 0.2, 0.5])
def test_the_bound_is_reached(D: float) -> None:
    """Action 1 leads to a place where it pays as badly as it paid well before."""
    P, R = np.zeros((4, 2, 4)), np.zeros((4, 2))
    P[0, 0, 0] = P[0, 1, 1] = P[1:, :, 1] = 1.0
    R[0], R[1] = (-1.0, 1.0), (1.0, -1.0)
    old, new = np.full((4, 2), 0.5), np.tile([0.5 - D, 0.5 + D], (4, 1))
    J_new, L, largest = returns(P, R, old, new, 2, 1.0)
    assert J_new == pytest.approx(2 * D - 4 * D**2)  # by hand
    assert pytest.approx(L - 4 * largest * D**2 * (0 + 1)) == J_new


def returns(
    P: Floats, R: Floats, old: Floats, new: Floats, steps: int | None, gamma: float
) -> tuple[float, float, float]:
    """J(new), the surrogate, and the largest old advantage, from state 0."""

    def chain(pi: Floats) -> tuple[Floats, Floats]:
        return np.einsum("sa,sax->sx", pi, P), (pi * R).sum(axis=1)

    if steps is None:
        (P_new, r_new), (P_old, r_old) = chain(new), chain(old)
        v_new, v_old = (
            np.linalg.solve(np.eye(4) - gamma * p, r) for p, r in ((P_new, r_new), (P_old, r_old))
        )
        A = R + gamma * P @ v_old - v_old[:, None]
        d = np.linalg.solve(np.eye(4) - gamma * P_old.T, np.eye(4)[0])
        L = v_old[0] + d @ (new * A).sum(axis=1)
        return float(v_new[0]), float(L), float(abs(A).max())
    v_new, v_old, found = np.zeros(4), np.zeros(4), []
    for _ in range(steps):
        found.insert(
            0, R + gamma * P @ v_old - (old * (R + gamma * P @ v_old)).sum(axis=1)[:, None]
        )
        v_old = (old * (R + gamma * P @ v_old)).sum(axis=1)
        v_new = (new * (R + gamma * P @ v_new)).sum(axis=1)
    d, L = np.eye(4)[0], v_old[0]
    for t, A in enumerate(found):
        L += gamma**t * d @ (new * A).sum(axis=1)
        d = d @ chain(old)[0]
    return float(v_new[0]), float(L), float(np.abs(found).max())


# --- natural steps --------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-ppo-fisher", oracle="the enumerated divergence of two distributions over whole ways"
)
def test_fisher_is_the_curvature_of_the_divergence() -> None:
    rng = np.random.default_rng(6)
    theta = rng.normal(size=(3, 2))
    F = fisher(softmax(theta))
    for _ in range(5):
        delta = 1e-3 * rng.normal(size=(3, 2))
        bowl = delta.ravel() @ F @ delta.ravel() / 2
        exact = divergence(softmax(theta), softmax(theta + delta))
        assert bowl == pytest.approx(exact, rel=5e-3)
    # and the divergence of whole ways is the sum of those of the rooms on the way
    old, new = softmax(theta), softmax(theta + 1.0 * rng.normal(size=(3, 2)))
    rooms = (old * np.log(old / new)).sum(axis=1)
    visited = sum(p * sum(rooms[s] for s, *_ in path) for p, path in trajectories(always(old)))
    assert visited == pytest.approx(divergence(old, new))


@pytest.mark.equation(
    "eq-ppo-natural", oracle="a search for the best policy inside a small exact divergence"
)
def test_natural_step() -> None:
    theta = np.random.default_rng(7).normal(size=(3, 2))
    old, delta = softmax(theta), 1e-5
    g = differences(lambda th: value(always(softmax(th))), theta).ravel()
    F = fisher(old)
    inverse = np.linalg.pinv(F)
    step = np.sqrt(2 * delta / (g @ inverse @ g)) * inverse @ g
    assert step @ F @ step / 2 == pytest.approx(delta)

    def moved(x: Floats) -> Floats:  # one number a room: no flat directions for the search
        return softmax(theta + 1e-2 * np.stack([x, -x], axis=1))

    found = minimize(
        lambda x: 1e3 * (value(always(old)) - value(always(moved(x)))),
        np.zeros(3) + 0.01,
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda x: 1 - divergence(old, moved(x)) / delta},
        options={"ftol": 1e-12, "maxiter": 200},
    )
    assert found.success
    change = softmax(theta + step.reshape(3, 2)) - old
    np.testing.assert_allclose(change, moved(found.x) - old, rtol=0.02, atol=2e-6)


# --- the clip -------------------------------------------------------------------------------------


@pytest.mark.equation("eq-ppo-clip", oracle="exact fractions, case by case")
@pytest.mark.parametrize("eps", [Fraction(1, 10), Fraction(1, 5), Fraction(0)])
def test_clipped_objective(eps: Fraction) -> None:
    samples = [(Fraction(r, 8), Fraction(a, 2)) for r in range(1, 20) for a in range(-4, 5)]
    expected = []
    for rho, A in samples:
        if A >= 0:
            expected.append(A * (rho if rho <= 1 + eps else 1 + eps))
        else:
            expected.append(A * (rho if rho >= 1 - eps else 1 - eps))
    rho, A = (np.array(column, dtype=np.float64) for column in zip(*samples, strict=True))
    printed = np.minimum(rho * A, np.clip(rho, 1 - float(eps), 1 + float(eps)) * A)
    np.testing.assert_allclose(printed, np.array(expected, dtype=np.float64), atol=1e-12)
    log_rho = torch.from_numpy(np.log(rho))
    losses = ppo.clipped_loss(
        log_rho - 1.5, torch.full_like(log_rho, -1.5), torch.tensor(A), float(eps)
    )
    np.testing.assert_allclose(losses.numpy(), -printed, atol=1e-12)


@pytest.mark.equation(
    "eq-ppo-clip-gradient", oracle="finite differences of a softmax policy; exactly zero where zero"
)
@pytest.mark.parametrize("A", [1.7, -0.6])
@pytest.mark.parametrize("rho", [0.4, 0.79, 0.81, 1.0, 1.19, 1.21, 2.5])
def test_gradient_of_the_clipped_objective(rho: float, A: float) -> None:
    theta = np.array([[0.3, -0.8, 0.1]])
    a = 1
    p = softmax(theta)[0, a]
    log_old = np.log(p / rho)

    def objective(th: Floats) -> float:
        r = softmax(th)[0, a] / np.exp(log_old)
        return float(min(r * A, np.clip(r, 0.8, 1.2) * A))

    logits = torch.tensor(theta, requires_grad=True)
    log_prob = logits.log_softmax(dim=1)[0, a][None]
    loss = ppo.clipped_loss(log_prob, torch.tensor([log_old]), torch.tensor([A]).double(), 0.2)
    (got,) = torch.autograd.grad(-loss.sum(), logits)
    if (A > 0 and rho > 1.2) or (A < 0 and rho < 0.8):
        printed = np.zeros((1, 3))
        assert (got == 0).all()
    else:
        printed = rho * A * (np.eye(3)[a] - softmax(theta))
    np.testing.assert_allclose(printed, differences(objective, theta), atol=1e-8)
    np.testing.assert_allclose(got.numpy(), printed, atol=1e-12)


@pytest.mark.equation("eq-ppo-kl", oracle="the sum over all actions; a normal one by quadrature")
def test_estimate_of_the_divergence() -> None:
    rng = np.random.default_rng(8)
    for _ in range(20):
        old, new = rng.dirichlet(np.ones(5), size=2)
        rho = new / old
        terms = rho - 1 - np.log(rho)
        assert (old * terms).sum() == pytest.approx((old * np.log(old / new)).sum())
        assert (terms >= 0).all()

    def term(x: float) -> float:
        log_p, log_q = -(x**2) / 2, -((x - 0.7) ** 2) / 2
        rho = np.exp(log_q - log_p)
        return float(np.exp(log_p) / np.sqrt(2 * np.pi) * (rho - 1 - (log_q - log_p)))

    assert quad(term, -12, 12)[0] == pytest.approx(0.7**2 / 2)


# --- the critic -----------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-ppo-value-clip", oracle="the larger of two parabolas, and finite differences of it"
)
def test_value_clip() -> None:
    rng = np.random.default_rng(9)
    old, G = rng.normal(size=(2, 300))
    V = old + rng.normal(size=300) * 0.5
    eps = 0.2

    def printed(v: Floats) -> Floats:
        near = old + np.clip(v - old, -eps, eps)
        return np.maximum((v - G) ** 2, (near - G) ** 2) / 2

    values = torch.tensor(V, requires_grad=True)
    losses = ppo.value_loss(values, torch.tensor(old), torch.tensor(G), eps)
    np.testing.assert_allclose(losses.detach().numpy(), printed(V), atol=1e-12)
    (got,) = torch.autograd.grad(losses.sum(), values)
    np.testing.assert_allclose(
        got.numpy(), (printed(V + 1e-7) - printed(V - 1e-7)) / 2e-7, atol=1e-6
    )
    # Case by case: no pull where the value has moved past the clip towards the return, and only there.
    towards = (abs(V - old) > eps) & (np.sign(V - old) == np.sign(G - old - eps * np.sign(V - old)))
    nearer = abs(V - G) < abs(old + eps * np.sign(V - old) - G)
    still = towards & nearer
    assert (got.numpy()[still] == 0).all() and still.any()
    np.testing.assert_allclose(got.numpy()[~still], (V - G)[~still], atol=1e-12)


@pytest.mark.equation(
    "eq-ppo-explained-variance", oracle="the squared correlation, for a least-squares line"
)
def test_explained_variance() -> None:
    rng = np.random.default_rng(10)
    x = rng.normal(size=400)
    G = 2.0 * x + rng.normal(size=400)
    slope, offset = np.polyfit(x, G, 1)
    V = slope * x + offset
    assert 1 - np.var(G - V) / np.var(G) == pytest.approx(np.corrcoef(x, G)[0, 1] ** 2)
    assert 1 - np.var(G - 3.0) / np.var(G) == pytest.approx(0.0)  # a constant explains nothing


# --- what the page says of an update --------------------------------------------------------------


def ratios_of(config: ppo.Config, module: Any = ppo) -> list[Tensor]:
    """The ratios that reach the loss, step by step."""
    seen: list[Tensor] = []

    def spy(log_prob: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
        seen.append((log_prob - old).detach().exp())
        return ppo.clipped_loss(log_prob, old, advantages, clip)

    module.train(config, loss=spy)
    return seen


@pytest.mark.parametrize("normalize", [False, True])
def test_only_the_first_step_of_a_batch_is_at_ratio_one(normalize: bool) -> None:
    config = ppo.Config(
        steps=1024, epochs=5, learning_rate_end=1e-3, normalize_observations=normalize
    )
    seen = ratios_of(config)
    assert len(seen) == 20  # four batches of five steps
    for k, ratio in enumerate(seen):
        if k % 5 == 0:
            assert float((ratio - 1).abs().max()) < 1e-5
        else:
            assert float((ratio - 1).abs().max()) > 1e-4


def test_minibatches_of_one_epoch_leave_ratio_one_after_the_first() -> None:
    seen = ratios_of(ppo.Config(steps=512, epochs=1, batch_size=64, learning_rate_end=1e-3))
    assert float((seen[0] - 1).abs().max()) < 1e-5
    assert float((seen[3] - 1).abs().max()) > 1e-4


def test_the_estimate_of_an_update_is_never_negative() -> None:
    config = ppo.Config(steps=2048, epochs=3, learning_rate_end=1e-3)
    log = ppo.train(config).log
    kl = [row["kl"] for row in log if "kl" in row]
    assert len(kl) > 10 and min(kl) >= 0.0 and max(kl) > 1e-5
    seen = ratios_of(config)
    last = [float((r - 1 - r.log()).mean()) for r in seen[2::3]]  # the third epoch of each batch
    np.testing.assert_allclose(
        sorted(set(kl)), sorted(set(last))[-len(set(kl)) :], rtol=0.05, atol=1e-6
    )


def test_at_ratio_one_the_gradient_is_that_of_a2c() -> None:
    torch.manual_seed(0)
    segments = Segments("CartPole-v1", {}, num_envs=4, seed=0)
    network = ActorCritic(segments.observation_space, segments.action_space)
    dice = torch.Generator().manual_seed(0)

    def act(obs: Any) -> tuple[Any, Any]:
        with torch.inference_mode():
            raw = network.actor(torch.from_numpy(obs)).sample(dice).numpy()
        return raw, raw

    segment = segments.play(act, 40)
    assert segment.boundary.any()
    weights = list(network.parameters())
    config = a2c.Config(gamma=0.97, lam=0.9, entropy=0.01)
    theirs = torch.autograd.grad(
        a2c.segment_loss(network, segment, config, a2c.actor_critic_loss), weights
    )

    def flat(array: Any) -> Tensor:
        return torch.from_numpy(array.reshape(160, *array.shape[2:]))

    chances, values = network(flat(segment.obs))
    known = values.detach().view(40, 4).numpy()
    with torch.no_grad():
        beyond = network.critic(flat(segment.next_obs)).view(40, 4).numpy()
    discount = 0.97 * (1.0 - segment.terminated)
    gain = flat(gae(segment.reward, discount, known, beyond, 0.9, segment.boundary)).float()
    log_prob = chances.log_prob(flat(segment.raw))
    total = (
        ppo.clipped_loss(log_prob, log_prob.detach(), gain, 0.2).mean()
        + 0.5 * ppo.value_loss(values, values.detach(), gain + values.detach(), 0.2).mean()
        - 0.01 * chances.entropy().mean()
    )
    for ours, its in zip(torch.autograd.grad(total, weights), theirs, strict=True):
        torch.testing.assert_close(ours, its, rtol=1e-4, atol=1e-6)


def test_a_clip_that_is_never_reached_changes_nothing() -> None:
    gentle = {"steps": 1024, "epochs": 4, "learning_rate": 1e-4, "learning_rate_end": 1e-4}
    logs = [
        ppo.train(ppo.Config(**gentle, clip=clip, clip_end=clip)).log  # type: ignore[arg-type]
        for clip in (0.2, 1e9)
    ]
    assert logs[0] == logs[1]
    steep = {**gentle, "learning_rate": 3e-3, "learning_rate_end": 3e-3, "epochs": 20}
    logs = [
        ppo.train(ppo.Config(**steep, clip=clip, clip_end=clip)).log  # type: ignore[arg-type]
        for clip in (0.2, 1e9)
    ]
    assert logs[0] != logs[1]
