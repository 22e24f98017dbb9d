"""The exercises of ``policies/choosing``: the mistakes that readers make do not pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import rlcourse.labs.choosing  # registers the checks
from rlcourse import statistics
from rlcourse.labs import verdict

# --- mistakes that readers make, each with the words that must be in the reply --------------------


def from_zero(scores: Any, random: Any, best: Any) -> Any:
    return scores / best


def only_shifted(scores: Any, random: Any, best: Any) -> Any:
    return (scores - random) / best


def cut_off(scores: Any, random: Any, best: Any) -> Any:
    return np.clip((scores - random) / (best - random), 0, 1)


def by_the_number(scores: Any, gap: float) -> int:
    return max(2, math.ceil(8 * (np.std(scores) / gap) ** 2))


def not_squared(scores: Any, gap: float) -> int:
    return max(2, math.ceil(8 * np.std(scores, ddof=1) / gap))


def to_the_nearest(scores: Any, gap: float) -> int:
    return max(2, round(8 * (np.std(scores, ddof=1) / gap) ** 2))


def of_one_mean(scores: Any, gap: float) -> int:
    return max(2, math.ceil(4 * (np.std(scores, ddof=1) / gap) ** 2))


def no_fewest(scores: Any, gap: float) -> int:
    return math.ceil(8 * (np.std(scores, ddof=1) / gap) ** 2)


def at_the_bar_too(scores: Any, bars: Any) -> Any:
    return (scores[..., None] >= bars).mean(axis=(0, 1))


def below(scores: Any, bars: Any) -> Any:
    return (scores[..., None] < bars).mean(axis=(0, 1))


def each_world(scores: Any, bars: Any) -> Any:
    return (scores[..., None] > bars).mean(axis=0)


def steps_alone(steps: Any, seconds: Any, prices: Any) -> Any:
    return np.full(len(prices), np.argmin(steps))


def dearest(steps: Any, seconds: Any, prices: Any) -> Any:
    return (np.outer(prices, steps) + seconds).argmax(axis=1)


def the_last_of_equals(steps: Any, seconds: Any, prices: Any) -> Any:
    totals = np.outer(prices, steps) + seconds
    return len(steps) - 1 - totals[:, ::-1].argmin(axis=1)


def any_wrong_statistic(module: Any) -> bool:
    return bool(module.probability_of_improvement([1.0], [1.0]) != 0.5)


def looks_at_the_iqm(module: Any) -> bool:
    return bool(module.iqm([0.0, 1.0, 2.0, 9.0]) != 1.5)


WRONG: list[tuple[str, Any, str]] = [
    ("duels", [4 / 9, 0.5, -1.0], "the probability of improvement of X"),
    ("duels", [0.5, 4 / 9, -1.0], "that of Y over X"),
    ("duels", [0.5, 0.5, 1.0], "the difference of the means"),
    ("duels", [0.5, 0.5], "expected 3 numbers"),
    ("normalise", from_zero, "random play"),
    ("normalise", only_shifted, "random play"),
    ("normalise", cut_off, "nothing is cut off"),
    ("normalise", 3.0, "expected a function"),
    ("seeds", by_the_number, "one less than the number"),
    ("seeds", not_squared, "the square"),
    ("seeds", to_the_nearest, "rounding"),
    ("seeds", of_one_mean, "one less than the number"),
    ("seeds", no_fewest, "has a deviation at all"),
    ("profile", at_the_bar_too, "at the bar"),
    ("profile", below, "at the bar"),
    ("profile", each_world, "expected shape"),
    ("price", steps_alone, "price times steps"),
    ("price", dearest, "price times steps"),
    ("price", the_last_of_equals, "the first of them"),
    ("hunt", lambda module: True, "accused"),
    ("hunt", lambda module: False, "let the bug pass"),
    ("hunt", any_wrong_statistic, "too little to both sides"),
    ("hunt", looks_at_the_iqm, "let the bug pass"),
]


@pytest.mark.parametrize(
    ("name", "answer", "reply"),
    WRONG,
    ids=[f"{name}-{getattr(answer, '__name__', answer)}" for name, answer, _ in WRONG],
)
def test_known_mistakes_do_not_pass(name: str, answer: Any, reply: str) -> None:
    passed, message = verdict(f"choosing/{name}", answer)
    assert passed is False
    assert reply in message, message


def test_other_roads_to_a_right_answer_pass() -> None:
    def counted(scores: Any, bars: Any) -> list[float]:
        return [float(np.mean([x > bar for x in np.ravel(scores)])) for bar in bars]

    def by_the_twins_sum(module: Any) -> bool:
        p = module.probability_of_improvement
        return bool(p([1, 1, 2], [1, 2, 2]) + p([1, 2, 2], [1, 1, 2]) > 1 + 1e-12)

    for name, answer in (("profile", counted), ("hunt", by_the_twins_sum)):
        passed, message = verdict(f"choosing/{name}", answer)
        assert passed, message


def test_the_colleagues_module_differs_only_in_ties() -> None:
    colleague = rlcourse.labs.choosing.hunt("improvement-of-everybody")
    p, q = colleague.probability_of_improvement, statistics.probability_of_improvement
    assert p([1.0, 5.0], [2.0, 3.0]) == q([1.0, 5.0], [2.0, 3.0]) == 0.5
    assert (p([1.0], [1.0]), q([1.0], [1.0])) == (1.0, 0.5)
