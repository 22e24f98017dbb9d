"""The exercises of ``projects/recommender``: the mistakes that readers make do not pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_array

import rlcourse.labs.recommender  # noqa: F401  (registers the checks)
from rlcourse.labs import verdict

RIGHT = [0.5, 0.6667, 0.7039]


def cut(user: Any, time: Any, fraction: float) -> Any:
    keep = np.zeros(len(user), dtype=bool)
    for person in np.unique(user):
        rows = np.flatnonzero(user == person)
        rows = rows[np.argsort(time[rows])]
        keep[rows[: int(fraction * len(rows) + 1e-9)]] = True
    return keep


def by_rows(user: Any, time: Any, fraction: float) -> Any:
    return cut(user, np.arange(len(user)), fraction)


def by_quantile(user: Any, time: Any, fraction: float) -> Any:
    return time <= np.quantile(time, fraction)


def at_random(user: Any, time: Any, fraction: float) -> Any:
    return np.random.default_rng(0).random(len(user)) < fraction


def sampled(rank: int, items: int, m: int, k: int) -> Any:
    return stats.hypergeom(items - 1, rank - 1, m).cdf(k - 1)


def with_replacement(rank: int, items: int, m: int, k: int) -> Any:
    return stats.binom(m, (rank - 1) / (items - 1)).cdf(k - 1)


def one_off(rank: int, items: int, m: int, k: int) -> Any:
    return stats.hypergeom(items - 1, rank - 1, m).cdf(k)


def counts_itself(rank: int, items: int, m: int, k: int) -> Any:
    return stats.hypergeom(items, rank, m).cdf(k - 1)


def robust(reward: Any, own: Any, logged: Any, model: Any, value: Any) -> Any:
    return float(np.mean(value + own / logged * (reward - model)))


def plain_weights(reward: Any, own: Any, logged: Any, model: Any, value: Any) -> Any:
    return float(np.mean(own / logged * reward))


def model_alone(reward: Any, own: Any, logged: Any, model: Any, value: Any) -> Any:
    return float(np.mean(value))


def no_weights(reward: Any, own: Any, logged: Any, model: Any, value: Any) -> Any:
    return float(np.mean(value + own * (reward - model)))


def nothing_where_never(reward: Any, own: Any, logged: Any, model: Any, value: Any) -> Any:
    return float(np.mean(np.where(own > 0, value + own / logged * (reward - model), 0.0)))


def has_bug(module: Any) -> bool:
    relevant = csr_array(np.array([[0.0, 1.0, 0.0]], dtype=np.float32))
    return bool(module.ndcg(np.array([[1, 0]]), relevant)[0] < 1)


def too_strict(module: Any) -> bool:
    """Accuses whoever gives less than one, also where one was missed."""
    relevant = csr_array(np.array([[0.0, 1.0, 1.0]], dtype=np.float32))
    return bool(module.ndcg(np.array([[1, 0]]), relevant)[0] < 1)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by-hand", RIGHT),
        ("cut", cut),
        ("sampled", sampled),
        ("robust", robust),
        ("hunt", has_bug),
    ],
)
def test_right_answers_pass(name: str, answer: Any) -> None:
    found = verdict(f"recommender/{name}", answer)
    assert found.passed, found.message


@pytest.mark.parametrize(
    ("name", "mistake", "words"),
    [
        ("by-hand", [2 / 3, *RIGHT[1:]], "how many places"),
        ("by-hand", [0.5, 0.5, RIGHT[2]], "were to be found"),
        ("by-hand", [*RIGHT[:2], 1.5 / 2.5616], "the best list there is"),
        ("by-hand", "good", "3 numbers"),
        ("cut", by_rows, "not in the order of time"),
        ("cut", by_quantile, "expected"),
        ("cut", at_random, "expected"),
        ("sampled", with_replacement, "expected"),
        ("sampled", one_off, "one place"),
        ("sampled", counts_itself, "nobody can come before it"),
        ("robust", plain_weights, "what is corrected"),
        ("robust", model_alone, "what is corrected"),
        ("robust", no_weights, "what is corrected"),
        ("robust", nothing_where_never, "the model still speaks"),
        ("hunt", too_strict, "accused a sound one"),
        ("hunt", lambda module: False, "let the bug pass"),
        ("hunt", 1, "expected a function"),
    ],
)
def test_wrong_answers_do_not_pass(name: str, mistake: Any, words: str) -> None:
    found = verdict(f"recommender/{name}", mistake)
    assert found.passed is False
    assert words in found.message, found.message
