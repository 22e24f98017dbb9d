"""The exercises of ``projects/bandits``: the mistakes that readers make do not pass."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import rlcourse.labs.bandits  # noqa: F401  (registers the checks)
from rlcourse.labs import verdict

RIGHT = [2 / 3, 7 / 11, 3.1460, 1.3820]


def upper(counts: Any, sums: Any, width: Any) -> Any:
    n = np.maximum(counts, 1)
    bound = sums / n + width * np.sqrt(np.log(max(counts.sum(), 1)) / n)
    return np.where(counts > 0, bound, np.inf)


def own_clock(counts: Any, sums: Any, width: Any) -> Any:
    n = np.maximum(counts, 1)
    return np.where(counts > 0, sums / n + width * np.sqrt(np.log(n) / n), np.inf)


def untried_is_nothing(counts: Any, sums: Any, width: Any) -> Any:
    return np.where(counts > 0, upper(counts, sums, width), 0.0)


def width_inside(counts: Any, sums: Any, width: Any) -> Any:
    n = np.maximum(counts, 1)
    bound = sums / n + np.sqrt(width**2 / 2 * 2 * width * np.log(counts.sum()) / n)
    return np.where(counts > 0, bound, np.inf)


def no_bonus(counts: Any, sums: Any, width: Any) -> Any:
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def one_number(counts: Any, sums: Any, width: Any) -> Any:
    return float(upper(counts, sums, width).max())


def divergence(p: float, q: float) -> float:
    return float(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


def constant(means: Any) -> Any:
    best = means.max()
    return sum((best - p) / divergence(p, best) for p in means if p < best)


def other_way_round(means: Any) -> Any:
    best = means.max()
    return sum((best - p) / divergence(best, p) for p in means if p < best)


def second_best_only(means: Any) -> Any:
    best, second = np.unique(means)[[-1, -2]]
    return (best - second) / divergence(second, best)


def divides_by_zero(means: Any) -> Any:
    return sum((means.max() - p) / max(divergence(p, means.max()), 1e-3) + (p == means.max())
               for p in means)  # fmt: skip


@cache
def value(steps: int, known: float, s: int = 0, f: int = 0) -> float:
    if steps == 0:
        return 0.0
    p = (1 + s) / (2 + s + f)
    new = p * (1 + value(steps - 1, known, s + 1, f)) + (1 - p) * value(steps - 1, known, s, f + 1)
    return max(new, known + value(steps - 1, known, s, f))


def short_sighted(steps: int, known: float) -> Any:
    return steps * max(known, 0.5)


def never_the_known(steps: int, known: float) -> Any:
    return steps * 0.5


def looks_one_ahead(steps: int, known: float) -> Any:
    """Right for one evening, and then it forgets what it saw."""
    return 0.5 + 0.5 * (steps - 1) * max(known, 2 / 3) + 0.5 * (steps - 1) * max(known, 1 / 3)


def judged(guests: Any, logger: Any, pays: Any, policy: Any) -> Any:
    rows = np.arange(len(guests))
    met, own = guests * logger[rows, policy], pays[rows, policy]
    return [met @ own / met.sum(), guests @ own]


def always_the_truth(guests: Any, logger: Any, pays: Any, policy: Any) -> Any:
    return [judged(guests, logger, pays, policy)[1]] * 2


def forgets_to_divide(guests: Any, logger: Any, pays: Any, policy: Any) -> Any:
    rows = np.arange(len(guests))
    return [guests * logger[rows, policy] @ pays[rows, policy], guests @ pays[rows, policy]]


def accuses_all(module: Any) -> bool:
    return True


def accuses_nobody(module: Any) -> bool:
    return False


def bounds(module: Any) -> Any:
    m = module.Memory(1, 2, 1)
    m.counts[:], m.sums[:], m.total[:] = [1, 9], [0, 9], 10
    return module.RULES["ucb1"](m, module.Config(rule="ucb1"), None, np.ones((1, 1)))[0]


def has_bug(module: Any) -> bool:
    return bool(abs(bounds(module)[0] - np.sqrt(2 * np.log(10))) > 1e-9)


def looks_at_ties(module: Any) -> bool:
    scores = np.zeros((200, 2))
    return bool((module.argmax_random_ties(scores, np.random.default_rng(0)) == 0).all())


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by-hand", RIGHT),
        ("index", upper),
        ("constant", constant),
        ("known", value),
        ("replay", judged),
        ("hunt", has_bug),
    ],
)
def test_right_answers_pass(name: str, answer: Any) -> None:
    found = verdict(f"bandits/{name}", answer)
    assert found.passed, found.message


@pytest.mark.parametrize(
    ("name", "mistake", "words"),
    [
        ("by-hand", [1.0, *RIGHT[1:]], "the posterior mean of A"),
        ("by-hand", [RIGHT[0], 6 / 9, *RIGHT[2:]], "the posterior mean of B"),
        ("by-hand", [*RIGHT[:2], 1.0, RIGHT[3]], "whose pulls the logarithm counts"),
        ("by-hand", [*RIGHT[:3], RIGHT[2]], "UCB1 of B"),
        ("by-hand", "hope", "4 numbers"),
        ("index", own_clock, "for (["),
        ("index", untried_is_nothing, "infinite hope"),
        ("index", width_inside, "for (["),
        ("index", no_bonus, "for (["),
        ("index", one_number, "expected shape"),
        ("index", 3.0, "expected a function"),
        ("constant", other_way_round, "the worse arm comes first"),
        ("constant", second_best_only, "one term for each worse arm"),
        ("constant", divides_by_zero, "expected"),
        ("known", short_sighted, "what a success today"),
        ("known", never_the_known, "the larger of two means"),
        ("known", looks_one_ahead, "expected"),
        ("replay", always_the_truth, "which guests a match is made of"),
        ("replay", forgets_to_divide, "both are the same"),
        ("hunt", accuses_all, "accused a sound one"),
        ("hunt", accuses_nobody, "let the bug pass"),
        ("hunt", looks_at_ties, "let the bug pass"),
        ("hunt", 1, "expected a function"),
    ],
)
def test_wrong_answers_do_not_pass(name: str, mistake: Any, words: str) -> None:
    found = verdict(f"bandits/{name}", mistake)
    assert found.passed is False
    assert words in found.message
