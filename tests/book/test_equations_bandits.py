"""The labelled equations of the chapter ``projects/bandits``, each against an independent oracle."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate, stats

from rlcourse.algorithms.bandit_oracles import CHANCES, exact_play, replay
from rlcourse.algorithms.bandits import Config


@pytest.mark.equation(
    "eq-bandits-regret", oracle="both sides over every history of four pulls, in exact fractions"
)
def test_regret() -> None:
    means = (Fraction(1, 5), Fraction(7, 10), Fraction(1, 2))
    best, steps = max(means), 4
    rng = np.random.default_rng(0)
    chances: dict[tuple[tuple[int, int], ...], list[Fraction]] = {}

    def rule(history: tuple[tuple[int, int], ...]) -> list[Fraction]:
        """Any rule: chances drawn once for each history."""
        if history not in chances:
            row = [int(n) for n in rng.integers(1, 9, 3)]
            chances[history] = [Fraction(n, sum(row)) for n in row]
        return chances[history]

    paid, pulls, total = Fraction(0), [Fraction(0)] * 3, Fraction(0)
    for arms in itertools.product(range(3), repeat=steps):
        for rewards in itertools.product((0, 1), repeat=steps):
            history = tuple(zip(arms, rewards, strict=True))
            chance = Fraction(1)
            for t, (a, r) in enumerate(history):
                chance *= rule(history[:t])[a] * (means[a] if r else 1 - means[a])
            total += chance
            paid += chance * sum(rewards)
            for a in arms:
                pulls[a] += chance
    assert total == 1
    gaps = [best - mean for mean in means]
    assert steps * best - paid == sum(g * n for g, n in zip(gaps, pulls, strict=True))


@pytest.mark.equation(
    "eq-bandits-epsilon", oracle="a step's expected loss over the coin and every arm, in fractions"
)
def test_epsilon() -> None:
    means, epsilon = [Fraction(k, 10) for k in (9, 7, 4, 2)], Fraction(1, 10)
    gaps = [max(means) - mean for mean in means]
    rate = epsilon * sum(gaps) / 4
    for favourite in range(4):
        loss = (1 - epsilon) * gaps[favourite]
        loss += sum(epsilon * Fraction(1, 4) * gap for gap in gaps)
        assert loss >= rate
        assert (loss == rate) == (favourite == 0)


@pytest.mark.equation(
    "eq-bandits-ucb", oracle="Hoeffding's bound solved for the width by bisection; binomial tails"
)
def test_ucb() -> None:
    """The bonus is where a mean of n lies too low with probability t ** -4 at most."""
    for n, t in itertools.product((1, 5, 40), (2, 10, 1000)):
        low, high = 0.0, 20.0
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if np.exp(-2 * n * middle**2) > t**-4.0 else (low, middle)
        bonus = np.sqrt(2 * np.log(t) / n)
        assert bonus == pytest.approx(low, rel=1e-9)
        for p in (0.2, 0.5, 0.9):
            too_low = stats.binom.cdf(np.floor(n * (p - bonus)), n, p)
            assert too_low <= t**-4.0 + 1e-15


@pytest.mark.equation(
    "eq-bandits-ucb-bound", oracle="the exact expected regret over all histories of up to 40 pulls"
)
def test_ucb_bound() -> None:
    for truth in itertools.combinations((0.05, 0.3, 0.5, 0.55, 0.95), 2):
        gap = max(truth) - min(truth)
        for T in (2, 10, 40):
            paid = exact_play(T, CHANCES["ucb1"], truth).values[0, 0, 0, 0]
            bound = 8 * np.log(T) / gap + (1 + np.pi**2 / 3) * gap
            assert T * max(truth) - paid <= bound


@pytest.mark.equation(
    "eq-bandits-lai-robbins",
    oracle="the divergence as the mean log-likelihood ratio, by Monte Carlo and by scipy",
)
def test_lai_robbins() -> None:
    rng = np.random.default_rng(0)
    for mu, best in ((0.6, 0.9), (0.3, 0.5), (0.1, 0.2)):
        kl = mu * np.log(mu / best) + (1 - mu) * np.log((1 - mu) / (1 - best))
        x = rng.random(400_000) < mu
        ratio = np.where(x, np.log(mu / best), np.log((1 - mu) / (1 - best)))
        assert abs(kl - ratio.mean()) < 5 * ratio.std() / np.sqrt(len(x))
        assert kl == pytest.approx(stats.entropy([mu, 1 - mu], [best, 1 - best]))


@pytest.mark.equation(
    "eq-bandits-thompson", oracle="Bayes' rule by numerical integration over the unknown chance"
)
def test_thompson() -> None:
    for s, n in ((0, 0), (3, 4), (2, 9)):
        likelihood = lambda p, s=s, n=n: p**s * (1 - p) ** (n - s)  # noqa: E731
        whole, _ = integrate.quad(likelihood, 0, 1)
        for edge in (0.2, 0.5, 0.8):
            part, _ = integrate.quad(likelihood, 0, edge)
            assert stats.beta(1 + s, 1 + n - s).cdf(edge) == pytest.approx(part / whole)


@pytest.mark.equation(
    "eq-bandits-bayes", oracle="the best of all plans over histories, arm by arm, in fractions"
)
def test_bayes() -> None:
    """All plans of three pulls, each a full tree of decisions, judged under the two uniform priors."""

    def evidence(arm: int, history: list[tuple[int, int]]) -> Fraction:
        own = [r for a, r in history if a == arm]
        s, f = sum(own), len(own) - sum(own)
        # the integral of p^s (1 - p)^f: s! f! / (s + f + 1)!
        factorial = [Fraction(1), Fraction(1), Fraction(2), Fraction(6), Fraction(24)]
        return factorial[s] * factorial[f] / factorial[s + f + 1]

    nodes = [()] + [(r,) for r in (0, 1)] + list(itertools.product((0, 1), repeat=2))
    best = Fraction(0)
    for decisions in itertools.product((0, 1), repeat=len(nodes)):
        plan = dict(zip(nodes, decisions, strict=True))
        value = Fraction(0)
        for rewards in itertools.product((0, 1), repeat=3):
            history = [(plan[rewards[:t]], rewards[t]) for t in range(3)]
            value += sum(rewards) * evidence(0, history) * evidence(1, history)
        best = max(best, value)
    assert exact_play(3).values[0, 0, 0, 0] == pytest.approx(float(best))


@pytest.mark.equation(
    "eq-bandits-gradient", oracle="finite differences of the expected reward of a softmax"
)
def test_gradient() -> None:
    H, mu, baseline = np.array([0.2, -1.0, 0.7]), np.array([0.9, 0.2, 0.5]), 0.37

    def value(z: np.ndarray) -> float:
        return float(np.exp(z) @ mu / np.exp(z).sum())

    pi = np.exp(H) / np.exp(H).sum()
    mean_step = sum(pi[a] * (mu[a] - baseline) * (np.eye(3)[a] - pi) for a in range(3))
    slope = [(value(H + e) - value(H - e)) / 2e-6 for e in 1e-6 * np.eye(3)]
    np.testing.assert_allclose(mean_step, slope, atol=1e-8)


@pytest.mark.equation(
    "eq-bandits-exp3", oracle="the mean of the estimate over the arm pulled, in exact fractions"
)
def test_exp3() -> None:
    w, gamma = [Fraction(5), Fraction(2), Fraction(1)], Fraction(1, 4)
    r = [Fraction(1, 3), Fraction(1), Fraction(1, 5)]
    p = [(1 - gamma) * x / sum(w) + gamma / 3 for x in w]
    assert sum(p) == 1 and min(p) >= gamma / 3
    for a in range(3):
        assert sum(p[b] * (r[a] / p[a] if a == b else 0) for b in range(3)) == r[a]


@pytest.mark.equation(
    "eq-bandits-lin-ucb", oracle="least squares with d more rows; the posterior of a linear model"
)
def test_lin_ucb() -> None:
    rng = np.random.default_rng(0)
    X, r, x = rng.normal(size=(12, 3)), rng.normal(size=12), rng.normal(size=3)
    A, b = np.eye(3) + X.T @ X, X.T @ r
    w = np.linalg.solve(A, b)
    more = np.linalg.lstsq(np.vstack([X, np.eye(3)]), np.r_[r, np.zeros(3)], rcond=None)[0]
    np.testing.assert_allclose(w, more)
    # Weights drawn from N(0, I), rewards with deviation 1: condition on the rewards, by the joint normal.
    K = X @ X.T + np.eye(12)
    mean = x @ X.T @ np.linalg.solve(K, r)
    deviation = np.sqrt(x @ x - x @ X.T @ np.linalg.solve(K, X @ x))
    assert x @ w == pytest.approx(mean)
    assert np.sqrt(x @ np.linalg.solve(A, x)) == pytest.approx(deviation)


@pytest.mark.equation(
    "eq-bandits-replay", oracle="every log of three events and what replay makes of it"
)
def test_replay() -> None:
    """The first match of a uniform log pays what the arm pays to the guest who comes, on average."""
    pays, pull = ((0.3, 0.8), (0.6, 0.1)), (1, 0)
    x_of = lambda m, c, rng, x: np.stack([x[:, 1], 1 - x[:, 1]], axis=1)  # noqa: E731
    mean, reached = 0.0, 0.0
    for log in itertools.product(itertools.product((0, 1), repeat=3), repeat=3):
        guests, arms, luck = np.array(log).T
        chance = np.prod([0.25 * (pays[g][a] if r else 1 - pays[g][a]) for g, a, r in log])
        context = np.column_stack([np.ones(3), guests])
        config = Config(steps=1, runs=1)
        found = replay(arms, luck, config, arms=2, contexts=context, index=x_of)
        if found.matched[0]:
            mean, reached = mean + chance * found.mean[0], reached + chance
    assert reached == pytest.approx(1 - 0.5**3)
    assert mean / reached == pytest.approx((pays[0][pull[0]] + pays[1][pull[1]]) / 2)


@pytest.mark.equation(
    "eq-bandits-replay-bias", oracle="a log of a hundred thousand events, matched and averaged"
)
def test_replay_bias() -> None:
    rng = np.random.default_rng(0)
    share, logger = np.array([0.3, 0.7]), np.array([[0.8, 0.2], [0.1, 0.9]])
    pays, pull = np.array([[0.3, 0.8], [0.6, 0.1]]), np.array([1, 0])
    guest = rng.choice(2, size=100_000, p=share)
    arm = (rng.random(100_000) < logger[guest, 1]).astype(int)
    paid = rng.random(100_000) < pays[guest, arm]
    match = arm == pull[guest]
    chance = share * logger[[0, 1], pull]
    says = chance @ pays[[0, 1], pull] / chance.sum()
    assert paid[match].mean() == pytest.approx(says, abs=5 * 0.5 / np.sqrt(match.sum()))
    weighed = (match * paid / logger[guest, arm]).mean()
    truth = share @ pays[[0, 1], pull]
    assert weighed == pytest.approx(truth, abs=0.02) and abs(says - truth) > 0.02
