"""The labelled equations of the chapter ``projects/recommender``, each against an independent oracle."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.sparse import csr_array
from scipy.special import logsumexp

from rlcourse.recommender import actor_critic, metrics, on_policy, simulator
from rlcourse.recommender.data import load, sessions
from rlcourse.seeding import streams


@pytest.mark.equation(
    "eq-rec-ndcg", oracle="the best of all orders of a small catalogue, found by trying each"
)
def test_ndcg() -> None:
    relevant, k = {1, 3, 4}, 3

    def gain(order: tuple[int, ...]) -> float:
        return sum(1 / np.log2(place + 1) for place, i in enumerate(order[:k], 1) if i in relevant)

    orders = list(itertools.permutations(range(5)))
    best = max(gain(order) for order in orders)
    assert best == pytest.approx(sum(1 / np.log2(j + 1) for j in range(1, min(k, 3) + 1)))
    sparse = csr_array(np.array([[i in relevant for i in range(5)]], dtype=np.float32))
    for order in orders:
        found = metrics.ndcg(np.array([order[:k]]), sparse)[0]
        assert found == pytest.approx(gain(order) / best)


@pytest.mark.equation(
    "eq-rec-ease",
    oracle="the least penalised square error without the item, column by column (lstsq)",
)
def test_ease() -> None:
    rng, ridge = np.random.default_rng(0), 2.0
    x = (rng.random((40, 6)) < 0.4).astype(float)
    inverse = np.linalg.inv(x.T @ x + ridge * np.eye(6))
    b = np.eye(6) - inverse / np.diag(inverse)
    assert np.abs(np.diag(b)).max() < 1e-12
    for item in range(6):
        others = np.delete(np.arange(6), item)
        longer = np.vstack([x[:, others], np.sqrt(ridge) * np.eye(5)])
        aim = np.concatenate([x[:, item], np.zeros(5)])
        np.testing.assert_allclose(b[others, item], np.linalg.lstsq(longer, aim)[0], atol=1e-10)


@pytest.mark.equation(
    "eq-rec-policy", oracle="the gates of Cho et al. 2014 and the softmax, written out in numpy"
)
def test_policy() -> None:
    torch.manual_seed(0)
    network = actor_critic.Reader(np.array([5.0, 1.0, 3.0, 0.0]), embedding=3, hidden=2)
    films, stars = [2, 0, 3], [4, 1, 5]
    known = {name: weight.detach().double().numpy() for name, weight in network.named_parameters()}
    h = np.zeros(2)

    def gate(x: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-x)))

    for film, star in zip(films, stars, strict=True):
        x = known["items.weight"][film] + known["stars.weight"][star]
        given = np.split(known["gru.weight_ih_l0"] @ x + known["gru.bias_ih_l0"], 3)
        kept = np.split(known["gru.weight_hh_l0"] @ h + known["gru.bias_hh_l0"], 3)
        reset, stay = gate(given[0] + kept[0]), gate(given[1] + kept[1])
        h = (1 - stay) * np.tanh(given[2] + reset * kept[2]) + stay * h
    wanted = known["actor.weight"] @ h + known["actor.bias"]
    score = np.exp([wanted @ known["items.weight"][i] + known["bias"][i] for i in range(4)])
    states = network.states(torch.tensor([films]), torch.tensor([stars]))
    np.testing.assert_allclose(states[0, -1].detach().numpy(), h, atol=1e-6)
    ours = network.logits(states[0, -1]).softmax(-1).detach().numpy()
    np.testing.assert_allclose(ours, score / score.sum(), atol=1e-6)
    np.testing.assert_allclose(known["bias"], np.log([6.0, 2.0, 4.0, 1.0]), atol=1e-6)


@pytest.mark.equation(
    "eq-rec-actor", oracle="central differences of the printed loss, by the logits and by the value"
)
def test_actor() -> None:
    rng = np.random.default_rng(1)
    logits, item, value, aim, liked, advantage = rng.normal(size=5), 2, 0.3, 0.9, 1.0, -0.4
    c, c_v = 0.5, 0.25

    def loss(theta: np.ndarray, v: float) -> float:
        log_pi = theta[item] - np.log(np.exp(theta).sum())
        return float(-(liked + c * advantage) * log_pi + c_v / 2 * (aim - v) ** 2)

    theta = torch.tensor(logits, requires_grad=True)
    v = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    others = theta[None].masked_fill(torch.arange(5) == item, -torch.inf)
    ours = actor_critic.sequence_loss(
        theta[item][None],
        others,
        torch.tensor([liked + c * advantage], dtype=torch.float64),
        v,
        torch.tensor([aim], dtype=torch.float64),
        c_v,
    )
    assert ours.item() == pytest.approx(loss(logits, value))
    ours.sum().backward()
    for k in range(5):
        nudge = 1e-5 * np.eye(5)[k]
        slope = (loss(logits + nudge, value) - loss(logits - nudge, value)) / 2e-5
        assert theta.grad[k].item() == pytest.approx(slope, abs=1e-8)
    slope = (loss(logits, value + 1e-5) - loss(logits, value - 1e-5)) / 2e-5
    assert v.grad.item() == pytest.approx(slope, abs=1e-8)


@pytest.mark.equation(
    "eq-rec-slate", oracle="every slate of K draws, counted in exact fractions; differences of that"
)
def test_slate() -> None:
    for k in (1, 2, 4):
        for p in (Fraction(1, 10), Fraction(1, 2), Fraction(4, 5)):

            def inside(q: Fraction, k: int = k) -> Fraction:
                """The chance that one item is among K draws, draw by draw."""
                total = Fraction(0)
                for draws in itertools.product((True, False), repeat=k):
                    chance = Fraction(1)
                    for hit in draws:
                        chance *= q if hit else 1 - q
                    total += chance * any(draws)
                return total

            step = Fraction(1, 10**6)
            slope = (inside(p + step) - inside(p - step)) / (2 * step)
            printed = k * (1 - p) ** (k - 1)
            assert float(printed) == pytest.approx(float(slope), abs=1e-9)
            log_prob = torch.tensor(np.log(float(p)))
            assert actor_critic.slate_factor(log_prob, k).item() == pytest.approx(float(printed))


@pytest.mark.equation("eq-rec-sampled", oracle="every sample of the others, counted")
def test_sampled() -> None:
    items, m = 9, 4
    drawn = list(itertools.combinations(range(1, items), m))  # the others, the best first
    for rank, k in itertools.product(range(1, items + 1), (1, 2, 3)):
        counted = np.mean([sum(other < rank for other in some) < k for some in drawn])
        ways = sum(stats.hypergeom(items - 1, rank - 1, m).pmf(better) for better in range(k))
        assert ways == pytest.approx(counted)


def every_round(logging: list[Fraction], pays: list[Fraction]) -> list[tuple[Fraction, int, int]]:
    """Each action and reward of one round, with its probability."""
    return [
        (logging[a] * (pays[a] if r else 1 - pays[a]), a, r)
        for a in range(len(logging))
        for r in (0, 1)
    ]


LOGGING = [Fraction(1, 2), Fraction(3, 10), Fraction(1, 5)]
TARGET = [Fraction(1, 10), Fraction(1, 5), Fraction(7, 10)]
PAYS = [Fraction(1, 5), Fraction(1, 2), Fraction(9, 10)]
TRUE = sum(t * p for t, p in zip(TARGET, PAYS, strict=True))


@pytest.mark.equation("eq-rec-ips", oracle="every round that a log could hold, in exact fractions")
def test_ips() -> None:
    mean = sum(p * TARGET[a] / LOGGING[a] * r for p, a, r in every_round(LOGGING, PAYS))
    assert mean == TRUE
    assert sum(p * r for p, _, r in every_round(LOGGING, PAYS)) != TRUE


@pytest.mark.equation(
    "eq-rec-dr", oracle="every round in exact fractions, once the model wrong, once the chances"
)
def test_doubly_robust() -> None:
    wrong_model, wrong_chances = [Fraction(1, 3)] * 3, [Fraction(1, 3)] * 3

    def mean(model: list[Fraction], chances: list[Fraction]) -> Fraction:
        value = sum(t * q for t, q in zip(TARGET, model, strict=True))
        return sum(
            (
                p * (value + TARGET[a] / chances[a] * (r - model[a]))
                for p, a, r in every_round(LOGGING, PAYS)
            ),
            Fraction(0),
        )

    assert mean(wrong_model, LOGGING) == TRUE
    assert mean(PAYS, wrong_chances) == TRUE
    assert mean(wrong_model, wrong_chances) != TRUE


@pytest.mark.equation(
    "eq-rec-prior",
    oracle="entropy as the slope of the free energy in the temperature, by finite differences",
)
def test_prior() -> None:
    data = load(size="tiny")
    split = sessions(data)
    config = actor_critic.Config(epochs=1, epochs_rewarded=0, embedding=8, hidden=(8,))
    start = actor_critic.train(config, split)
    prior = np.random.default_rng(0).normal(size=(len(split.users), len(split.items)))
    prior = prior.astype(np.float32)
    entropies: list[np.ndarray] = []

    def spy(*arguments: torch.Tensor) -> torch.Tensor:
        entropies.append(arguments[1].detach().double().numpy())
        return on_policy.session_loss(*arguments)  # type: ignore[arg-type]

    middle, step, people = 0.7, 1e-4, 16
    stage = on_policy.Config(updates=1, sessions=people, temperature=middle)
    on_policy.train(stage, simulator.fit(data, split), start, prior=prior, loss=spy)
    met = streams(0).replay.integers(len(split.users), size=people)
    energy = (start.scores(met) + prior[met]).astype(np.float64)
    energy[split.history.matrix(len(split.items))[met].nonzero()] = -np.inf

    def free(temperature: float) -> np.ndarray:
        return np.asarray(temperature * logsumexp(energy / temperature, axis=1))

    slope = (free(middle + step) - free(middle - step)) / (2 * step)
    np.testing.assert_allclose(entropies[0][:people], slope, rtol=1e-4)
