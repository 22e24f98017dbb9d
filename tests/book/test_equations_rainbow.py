"""The equations of the chapter ``values/rainbow``, each against a road of its own.

The right-hand sides are written out as they are printed, on plain arrays. The oracles enumerate, integrate,
solve or simulate with a stated interval; where the package has the equation as code, the code is held to the
same oracle.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor, nn

from rlcourse.algorithms.dqn import double_dqn_loss
from rlcourse.algorithms.rainbow import rainbow_loss
from rlcourse.distributions import project
from rlcourse.envs.vector import Step
from rlcourse.networks import Dueling, NoisyLinear, Plain, reset_noise, seeded
from rlcourse.replay import Batch, PrioritizedReplay, UniformReplay

Floats = NDArray[np.float64]


class Table(nn.Module):
    """A network that looks its answer up: row ``s`` for state ``s``."""

    def __init__(self, rows: Floats) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows))

    def forward(self, obs: Tensor) -> Tensor:
        return self.rows[obs]


def batch_of(seed: int, size: int, states: int, actions: int) -> Batch:
    rng = np.random.default_rng(seed)
    whole = (rng.integers(states, size=size), rng.integers(actions, size=size))
    discount = 0.9 * (rng.random(size) < 0.7)
    following = rng.integers(states, size=size)
    fields = (*whole, rng.normal(size=size), discount, following, np.ones(size), np.arange(size))
    return Batch(*map(torch.from_numpy, fields))


def filled(errors: Floats, alpha: float, seed: int = 0) -> PrioritizedReplay:
    """A memory with one row for each error; its priorities are their sizes."""
    n, rng = len(errors), np.random.default_rng(seed)
    replay = PrioritizedReplay(n, Discrete(n), num_envs=n, alpha=alpha, floor=0.0, rng=rng)
    cut = np.ones(n, bool)
    replay.add(Step(np.arange(n), np.zeros(n, int), np.zeros(n), cut, cut, np.arange(n)))
    replay.prioritize(np.arange(n), errors)
    return replay


# --- 1: Double ------------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-rainbow-overestimation", oracle="400 simulated learners at rest, within 4 sd"
)
@pytest.mark.parametrize(("m", "gamma", "alpha", "pay"), [(4, 0.9, 0.1, 0.5), (10, 0.8, 0.2, -1.0)])
def test_overestimation_feeds_itself(m: int, gamma: float, alpha: float, pay: float) -> None:
    highest, _ = quad(lambda x: m * x * norm.pdf(x) * norm.cdf(x) ** (m - 1), -np.inf, np.inf)
    b = 2.0 * np.sqrt(alpha / (2 - alpha)) * highest  # rewards of standard deviation 2
    rng, q = np.random.default_rng(m), np.zeros((400, m))
    settle, late = round(12 / (alpha * (1 - gamma))), []
    for t in range(2 * settle):
        q += alpha * (rng.normal(pay, 2.0, q.shape) + gamma * q.max(axis=1, keepdims=True) - q)
        if t >= settle:
            late.append(q.max(axis=1))
    learners = np.mean(late, axis=0)  # independent of each other
    error = learners.std() / np.sqrt(len(learners))
    assert abs(learners.mean() - (pay + b) / (1 - gamma)) < 4 * error
    assert learners.mean() - pay / (1 - gamma) > 20 * error  # far above the truth


@pytest.mark.equation("eq-rainbow-double", oracle="each transition alone, by loops over two tables")
@pytest.mark.parametrize("seed", range(5))
def test_double_target(seed: int) -> None:
    rng = np.random.default_rng(seed)
    theta, old = rng.normal(size=(2, 6, 4))
    batch = batch_of(seed, 40, 6, 4)
    _, errors = double_dqn_loss(Table(theta), Table(old), batch)
    for i, error in enumerate(errors.tolist()):
        s, a, following = (int(x[i]) for x in (batch.obs, batch.action, batch.next_obs))
        best = max(range(4), key=lambda k: theta[following, k])
        y = float(batch.reward[i]) + float(batch.discount[i]) * old[following, best]
        assert error == pytest.approx(y - theta[s, a])


@pytest.mark.equation(
    "eq-rainbow-double-bias", oracle="400,000 pairs of correlated opinions, within 4 sd"
)
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9, 1.0])
def test_double_keeps_the_share_rho_of_the_bias(rho: float) -> None:
    rng, m = np.random.default_rng(0), 5
    q = rng.normal(size=(400_000, m))
    old = rho * q + np.sqrt(1 - rho**2) * rng.normal(size=q.shape)
    judged = old[np.arange(len(q)), q.argmax(axis=1)]
    highest, _ = quad(lambda x: m * x * norm.pdf(x) * norm.cdf(x) ** (m - 1), -np.inf, np.inf)
    assert abs(judged.mean() - rho * highest) < 4 * judged.std() / np.sqrt(len(q))


# --- 2: prioritised replay ------------------------------------------------------------------------


@pytest.mark.equation("eq-rainbow-priority", oracle="60,000 draws of the replay, within 5 sd")
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_priorities(alpha: float) -> None:
    errors = np.array([4.0, -1.0, 0.5, 2.0, -0.1, 3.0])
    p = abs(errors)
    expected = p**alpha / sum(p**alpha)
    replay = filled(errors, alpha)
    rows = np.concatenate([replay.sample(2).index for _ in range(30_000)])
    share = np.bincount(rows, minlength=6) / rows.size
    assert (abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / rows.size)).all()


@pytest.mark.equation("eq-rainbow-weights", oracle="the odds against the least likely row drawn")
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.6, 0.4), (0.5, 0.0)])
def test_weights(alpha: float, beta: float) -> None:
    errors = np.random.default_rng(1).exponential(size=8) + 0.05
    P = errors**alpha / sum(errors**alpha)
    w = (len(P) * P) ** -beta
    w = w / w.max()
    assert w == pytest.approx((errors.min() / errors) ** (alpha * beta))
    for _ in range(20):
        batch = filled(errors, alpha).sample(16, beta)
        drawn = errors[batch.index]  # the package divides by the largest of the batch
        assert batch.weight == pytest.approx((drawn.min() / drawn) ** (alpha * beta), rel=1e-5)


@pytest.mark.equation(
    "eq-rainbow-unbiased", oracle="exact fractions; 4,000 weighted batches of the replay"
)
def test_full_weights_give_the_plain_average_back() -> None:
    errors = [Fraction(4), Fraction(-1), Fraction(1, 2), Fraction(-2)]
    total, n = sum(map(abs, errors)), len(errors)
    P = [abs(e) / total for e in errors]
    left = sum(p * (1 / (n * p)) * e for p, e in zip(P, errors, strict=True))
    assert left == sum(errors) / n == Fraction(3, 8)
    replay = filled(np.array([float(e) for e in errors]), 1.0)
    batches = [replay.sample(32, 1.0) for _ in range(4000)]
    # The largest weight of a batch differs from batch to batch: undo it by the weights' own mean.
    means = [
        np.mean(b.weight * [float(errors[i]) for i in b.index]) / b.weight.mean() for b in batches
    ]
    assert np.mean(means) == pytest.approx(3 / 8, abs=0.01)
    plain = np.mean([np.mean([float(errors[i]) for i in b.index]) for b in batches])
    assert plain > 1.0  # without weights another number


@pytest.mark.equation("eq-rainbow-lottery", oracle="the root of the enumerated expected update")
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.6, 0.4), (0.6, 1.0), (0.0, 0.3)])
@pytest.mark.parametrize("winners", [1, 3])
def test_lottery(alpha: float, beta: float, winners: int) -> None:
    r, rewards = 10.0, np.array([10.0] * winners + [0.0] * (20 - winners))
    p = winners / 20
    e = 1 + alpha * (1 - beta)
    rest = r / (1 + ((1 - p) / p) ** (1 / e))

    def expected_update(q: float) -> float:
        delta = rewards - q
        P = abs(delta) ** alpha / sum(abs(delta) ** alpha)
        return float(sum(P * (20 * P) ** -beta * delta))

    assert rest == pytest.approx(brentq(expected_update, 1e-6, r - 1e-6))


# --- 3: dueling -----------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-rainbow-dueling", oracle="the only V and A of mean zero with V + A = Q, by linear equations"
)
@pytest.mark.parametrize("seed", range(3))
def test_dueling(seed: int) -> None:
    with seeded(seed):
        head = Dueling(5, actions=4, atoms=1, linear=nn.Linear).double()
        phi = torch.randn(1, 5, dtype=torch.float64)
    V = head.value(phi).item()
    A = head.advantage(phi).flatten().detach().numpy()
    Q = V + A - A.sum() / 4
    assert head(phi).flatten().detach().numpy() == pytest.approx(Q)
    # Unknowns V, A_1 ... A_4: four sums and one constraint.
    system = np.block([[np.ones((4, 1)), np.eye(4)], [np.zeros((1, 1)), np.ones((1, 4))]])
    solved = np.linalg.solve(system, np.append(Q, 0.0))
    assert solved == pytest.approx([V, *(A - A.mean())])
    assert Q.mean() == pytest.approx(V)


@pytest.mark.equation("eq-rainbow-sharing", oracle="gradients of both heads by finite differences")
@pytest.mark.parametrize("actions", [2, 3, 6])
def test_what_a_dueling_head_shares(actions: int) -> None:
    with seeded(actions):
        phi = torch.randn(1, 4, dtype=torch.float64)
        heads = [kind(4, actions, 1, nn.Linear).double() for kind in (Dueling, Plain)]
    size = float(phi.square().sum()) + 1  # the constant feature of the bias
    same = np.eye(actions)
    for head, expected in zip(heads, (size * (1 + same - 1 / actions), size * same), strict=True):
        weights = list(head.parameters())
        rows = []
        with torch.no_grad():
            for w in weights:
                flat = w.view(-1)
                for k in range(flat.numel()):  # linear in each weight: any step is exact
                    flat[k] += 0.5
                    above = head(phi).flatten()
                    flat[k] -= 1.0
                    rows.append((above - head(phi).flatten()).numpy())
                    flat[k] += 0.5
        gradient = np.array(rows)  # [weights, actions]
        assert gradient.T @ gradient == pytest.approx(expected)


# --- 4: n steps -----------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-rainbow-n-step", oracle="a walk along random episodes of two environments, row by row"
)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_n_step_targets(n: int) -> None:
    rng, gamma, rows = np.random.default_rng(n), 0.8, 60
    reward = rng.normal(size=(rows, 2)).round(3)
    terminated, truncated = rng.random((2, rows, 2)) < 0.12
    replay = UniformReplay(2 * rows, Discrete(1000), num_envs=2, gamma=gamma, n=n, rng=rng)
    value = rng.normal(size=1000)  # max_a Q of the target network, by state
    for t in range(rows):
        here = 2 * t + np.arange(2)
        zeros = np.zeros(2, int)
        step = Step(here, zeros, reward[t], terminated[t], truncated[t], here + 500)
        replay.add(step)
    batch = replay.sample(500)
    for i, row in enumerate(batch.index):
        t, env = divmod(int(row), 2)
        m = 1  # rewards until the episode is cut, the memory ends or there are n
        while m < n and t + m < rows and not (terminated | truncated)[t + m - 1, env]:
            m += 1
        last = t + m - 1
        guess = value[2 * last + env + 500]
        y = sum(gamma**k * reward[t + k, env] for k in range(m))
        y += gamma**m * (1 - terminated[last, env]) * guess
        got = batch.reward[i] + batch.discount[i] * value[batch.next_obs[i]]
        assert got == pytest.approx(y, abs=1e-5)


@pytest.mark.equation("eq-rainbow-trade", oracle="400,000 simulated targets, within 5 sd")
@pytest.mark.parametrize("n", [1, 3, 8])
def test_bias_and_variance_of_n_steps(n: int) -> None:
    gamma, sigma, e = 0.9, 1.5, 2.0
    rng = np.random.default_rng(n)
    rewards = rng.normal(1.0, sigma, size=(400_000, n))
    truth = 1 / (1 - gamma)  # one coin a step on average, for ever
    targets = rewards @ gamma ** np.arange(n) + gamma**n * (truth + e)
    variance = sigma**2 * (1 - gamma ** (2 * n)) / (1 - gamma**2)
    assert abs(targets.mean() - truth - gamma**n * e) < 5 * np.sqrt(variance / len(targets))
    assert targets.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / len(targets)))


@pytest.mark.equation(
    "eq-rainbow-copies", oracle="a learner that fits every target before it is copied"
)
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("gamma", [0.5, 0.99])
def test_a_value_travels_n_steps_a_copy(n: int, gamma: float) -> None:
    network = old = 0.0
    for K in range(1, 31):
        target = sum(gamma**k for k in range(n)) + gamma**n * old
        for _ in range(200):  # updates between copies
            network += 0.3 * (target - network)
        old = network
        assert old == pytest.approx((1 - gamma ** (n * K)) / (1 - gamma))


@pytest.mark.equation(
    "eq-rainbow-uncorrected",
    oracle="a backward recursion on random MDPs; value iteration for n = 1",
)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_operator_without_correction(n: int) -> None:
    rng, gamma, S, A = np.random.default_rng(n), 0.9, 3, 2
    P, R = rng.dirichlet(np.ones(S), size=(S, A)), rng.normal(size=(S, A))
    mu, Q = rng.dirichlet(np.ones(A), S), rng.normal(size=(S, A))

    def printed(s: int, a: int) -> float:
        """The expectation, by enumeration of all roads of n steps."""
        total = 0.0
        for states in itertools.product(range(S), repeat=n):  # S_1 ... S_n
            for later in itertools.product(range(A), repeat=n - 1):  # A_1 ... A_{n-1}
                road = list(zip((s, *states[:-1]), (a, *later), states, strict=True))
                chance = prod(P[x, b, y] for x, b, y in road)
                chance *= prod(mu[x, b] for x, b, _ in road[1:])
                rewards = sum(gamma**k * R[x, b] for k, (x, b, _) in enumerate(road))
                total += chance * (rewards + gamma**n * Q[states[-1]].max())
        return float(total)

    v = Q.max(axis=1)
    for _ in range(n - 1):
        v = (mu * (R + gamma * P @ v)).sum(axis=1)
    backward = R + gamma * P @ v
    for s, a in np.ndindex(S, A):
        assert printed(s, a) == pytest.approx(backward[s, a])
    if n == 1:
        assert backward == pytest.approx(R + gamma * np.einsum("sat,t->sa", P, Q.max(axis=1)))


# --- 5: distributions -----------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-rainbow-distributional", oracle="all roads of three steps with their returns and chances"
)
@pytest.mark.parametrize("seed", range(4))
def test_distributional_bellman_equation(seed: int) -> None:
    rng, gamma, S, A = np.random.default_rng(seed), 0.5, 3, 2
    P = rng.dirichlet(np.ones(S), size=(S, A))
    R = rng.integers(-2, 3, size=(S, A)).astype(float)
    Z: dict[tuple[int, int], dict[float, float]] = {sa: {0.0: 1.0} for sa in np.ndindex(S, A)}
    plans = []  # the greedy action of each state, with 0, 1, 2 steps to go
    for _ in range(3):  # three steps to go, the last first
        mean = {sa: sum(z * p for z, p in law.items()) for sa, law in Z.items()}
        best = [max(range(A), key=lambda a: mean[s, a]) for s in range(S)]
        plans.append(best)
        new: dict[tuple[int, int], dict[float, float]] = {}
        for s, a in np.ndindex(S, A):
            law: dict[float, float] = {}
            for following in range(S):
                for z, p in Z[following, best[following]].items():
                    key = round(float(R[s, a] + gamma * z), 9)
                    law[key] = law.get(key, 0.0) + P[s, a, following] * p
            new[s, a] = law
        Z = new
    for s, a in np.ndindex(S, A):
        roads: dict[float, float] = {}
        for one, two, three in itertools.product(range(S), repeat=3):
            b, c = plans[2][one], plans[1][two]
            chance = P[s, a, one] * P[one, b, two] * P[two, c, three]
            key = round(float(R[s, a] + gamma * R[one, b] + gamma**2 * R[two, c]), 9)
            roads[key] = roads.get(key, 0.0) + chance
        assert sorted(Z[s, a]) == sorted(roads)
        for key, chance in roads.items():
            assert Z[s, a][key] == pytest.approx(chance)


@pytest.mark.equation(
    "eq-rainbow-projection", oracle="linear interpolation: each atom's neighbours, by numpy.interp"
)
@pytest.mark.parametrize("seed", range(6))
def test_projection(seed: int) -> None:
    rng = np.random.default_rng(seed)
    support = np.linspace(-2.0, 6.0, 9)
    p = rng.dirichlet(np.ones(9), size=4)
    reward = np.array([0.0, 1.0, 0.37, 9.0])  # on the atoms, on them, between them, beyond the end
    gamma = np.array([1.0, 0.0, 0.9, 1.0])
    moved = reward[:, None] + gamma[:, None] * support
    spacing = support[1] - support[0]
    clipped = np.clip(moved, support[0], support[-1])
    share = np.clip(1 - abs(clipped[:, None, :] - support[:, None]) / spacing, 0, 1)
    y = (share * p[:, None, :]).sum(axis=2)
    # Whatever a function is worth on the support: projecting the law is interpolating the function.
    for test_function in (*np.eye(9), np.ones(9), support):
        interpolated = np.interp(moved, support, test_function)
        assert y @ test_function == pytest.approx((p * interpolated).sum(axis=1))
    got = project(*map(torch.from_numpy, (p, moved, support))).numpy()
    assert got == pytest.approx(y, abs=1e-9)
    assert got.sum(axis=1) == pytest.approx(1.0)


@pytest.mark.equation(
    "eq-rainbow-cross-entropy", oracle="loops over transitions; the gradient by finite differences"
)
@pytest.mark.parametrize("double", [True, False])
def test_cross_entropy(double: bool) -> None:
    rng, S, A, K = np.random.default_rng(0), 4, 3, 5
    theta, old = rng.normal(size=(2, S, A, K))
    support = np.linspace(0.0, 4.0, K)
    batch = batch_of(1, 12, S, A)
    network = Table(theta)
    losses, _ = rainbow_loss(
        network, Table(old), batch, support=torch.from_numpy(support), double=double
    )

    def softmax(x: Floats) -> Floats:
        chances: Floats = np.exp(x) / np.exp(x).sum()
        return chances

    def loss_of(i: int, parameters: Floats, frozen: Floats) -> float:
        s, a, following = (int(x[i]) for x in (batch.obs, batch.action, batch.next_obs))
        chooser = frozen if double else old
        best = max(range(A), key=lambda k: float(softmax(chooser[following, k]) @ support))
        moved = float(batch.reward[i]) + float(batch.discount[i]) * support
        hats = [np.interp(moved, support, hat) for hat in np.eye(K)]
        y = np.array([softmax(old[following, best]) @ hat for hat in hats])
        return float(-sum(y[k] * np.log(softmax(parameters[s, a])[k]) for k in range(K)))

    for i, loss in enumerate(losses.tolist()):
        assert loss == pytest.approx(loss_of(i, theta, theta))
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert network.rows.grad is not None
    for index in ((0, 0, 0), (1, 2, 3), (3, 1, 4), (2, 0, 2)):
        h, up, down = 1e-5, theta.copy(), theta.copy()
        up[index] += h
        down[index] -= h
        slope = sum(loss_of(i, up, theta) - loss_of(i, down, theta) for i in range(12)) / (2 * h)
        assert float(network.rows.grad[index]) == pytest.approx(slope, abs=1e-7)


# --- 6: noise -------------------------------------------------------------------------------------


def noisy_layer(inputs: int, outputs: int) -> tuple[NoisyLinear, torch.Generator]:
    with seeded(0):
        layer = NoisyLinear(inputs, outputs).double()
        with torch.no_grad():
            for sigma in (layer.weight_sigma, layer.bias_sigma):
                nn.init.uniform_(sigma, 0.1, 0.5)
    return layer, torch.Generator().manual_seed(3)


@pytest.mark.equation("eq-rainbow-noisy", oracle="every weight and input alone, by loops")
def test_noisy_layer() -> None:
    layer, generator = noisy_layer(3, 2)
    reset_noise(layer, generator)
    x = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)
    mu, sigma, mu_b, sigma_b = (
        w.detach().numpy() for w in (layer.weight, layer.weight_sigma, layer.bias, layer.bias_sigma)
    )
    eps_in, eps_out = layer.noise_in.numpy(), layer.noise_out.numpy()
    got = layer(x)[0].tolist()
    for i in range(2):
        y = mu_b[i] + sigma_b[i] * eps_out[i]
        for j in range(3):
            y += (mu[i, j] + sigma[i, j] * eps_out[i] * eps_in[j]) * float(x[0, j])
        assert got[i] == pytest.approx(y)


@pytest.mark.equation(
    "eq-rainbow-factorised", oracle="moments by integration over the normal density, within 5 sd"
)
def test_factorised_noise() -> None:
    layer, generator = noisy_layer(400, 500)
    reset_noise(layer, generator)
    noise = torch.outer(layer.noise_out, layer.noise_in).numpy()

    def f(x: Any) -> Any:
        return np.sign(x) * np.sqrt(abs(x))

    for values in (layer.noise_in.numpy(), layer.noise_out.numpy()):
        back = np.sign(values) * values**2  # undo f: these must be standard normal numbers
        assert f(back) == pytest.approx(values)
        assert abs(back.mean()) < 5 / np.sqrt(back.size)
        assert back.var() == pytest.approx(1.0, abs=5 * np.sqrt(2 / back.size))
        second, _ = quad(lambda x: f(x) ** 2 * norm.pdf(x), -np.inf, np.inf)
        assert np.mean(values**2) == pytest.approx(
            second, abs=5 * np.sqrt((1 - 2 / np.pi) / back.size)
        )
    assert np.linalg.matrix_rank(noise) == 1  # one number a row and one a column


@pytest.mark.equation(
    "eq-rainbow-noise-variance", oracle="20,000 draws of the layer's noise, within 5 sd"
)
def test_variance_of_a_noisy_output() -> None:
    layer, generator = noisy_layer(4, 3)
    x = torch.tensor([[0.5, -1.0, 2.0, 1.0]], dtype=torch.float64)
    draws = []
    with torch.no_grad():
        for _ in range(20_000):
            reset_noise(layer, generator)
            draws.append(layer(x)[0].numpy())
    y = np.array(draws)
    sigma, sigma_b = layer.weight_sigma.detach().numpy(), layer.bias_sigma.detach().numpy()
    expected = 2 / np.pi * (sigma**2 * x.numpy() ** 2).sum(axis=1)
    expected += np.sqrt(2 / np.pi) * sigma_b**2
    fourth = ((y - y.mean(axis=0)) ** 4).mean(axis=0)
    error = np.sqrt((fourth - y.var(axis=0) ** 2) / len(y))
    assert (abs(y.var(axis=0) - expected) < 5 * error).all()
    assert (expected > 20 * error).all()
