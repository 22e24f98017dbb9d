"""The exercises of the Welcome chapter: known wrong answers do not pass."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rlcourse.algorithms import tabular
from rlcourse.labs import verdict

CHAPTER = Path(__file__).resolve().parents[2] / "book" / "intro.md"
ORDER = [
    *("bellman", "actor-critic", "td", "q-learning", "reinforce"),
    *("seven-games", "nature", "a3c", "ppo", "sac"),
]
KINDS = {
    **{"A": "supervised", "B": "unsupervised", "C": "bandit"},
    **{"D": "online rl", "E": "offline rl", "F": "supervised"},
}


def swapped(first: str, second: str) -> list[str]:
    places = {first: second, second: first}
    return [places.get(card, card) for card in ORDER]


WRONG = {
    "intro/timeline": {
        "q-learning before actor-critic": swapped("actor-critic", "q-learning"),
        "the newest first": ORDER[::-1],
        "nature before the workshop": swapped("nature", "seven-games"),
        "one card left out": ORDER[:-1],
        "one card twice": [*ORDER, "sac"],
        "a card of another set": [*ORDER[:-1], "alphago"],
        "a text": "bellman",
    },
    "intro/kinds": {
        "imitation taken for reinforcement": KINDS | {"F": "offline rl"},
        "bandit taken for reinforcement": KINDS | {"C": "online rl"},
        "a log taken for supervision": KINDS | {"E": "supervised"},
        "one left open": {letter: kind for letter, kind in KINDS.items() if letter != "D"},
        "a kind that is none": KINDS | {"A": "deep learning"},
        "a list": list(KINDS.values()),
    },
    "intro/games-per-day": {
        "hours taken for minutes": lambda years, minutes: years * 365.25 * 24 / minutes,
        "the other way round": lambda years, minutes: minutes / (years * 365.25 * 24 * 60),
        "a number of games": 2_100_000,
        "a constant": lambda years, minutes: 365.25 * 24,
    },
    "intro/hunt": {
        "always stuck": lambda module: True,
        "never stuck": lambda module: False,
        "asks the package, not the copy": lambda module: (
            not any(
                row["return"] > 0
                for row in tabular.train(
                    tabular.Config("rlcourse/Grid-v0", steps=2000, epsilon=0.1, epsilon_end=0.1)
                ).log
            )
        ),
        "a number": lambda module: 0,
    },
    "intro/verdict": {
        "the best seed": lambda scores, seeds, threshold: (
            len(scores) == seeds and max(scores, default=0.0) >= threshold
        ),
        "the mean": lambda scores, seeds, threshold: (
            len(scores) == seeds and np.mean(scores) >= threshold
        ),
        "missing seeds": lambda scores, seeds, threshold: (
            len(scores) > 0 and np.median(scores) >= threshold
        ),
        "strictly above": lambda scores, seeds, threshold: (
            len(scores) == seeds and np.median(scores) > threshold
        ),
        "always yes": lambda scores, seeds, threshold: True,
    },
}


@pytest.mark.parametrize(
    ("name", "which"), [(name, which) for name, wrongs in WRONG.items() for which in wrongs]
)
def test_a_known_wrong_answer_does_not_pass(name: str, which: str) -> None:
    found = verdict(name, WRONG[name][which])
    assert found.passed is False
    assert found.message


def test_a_message_never_gives_the_year_or_the_kind_away() -> None:
    for name, wrongs in WRONG.items():
        for answer in wrongs.values():
            assert not re.search(r"19\d\d|20\d\d", verdict(name, answer).message)
    assert "'bandit'" not in verdict("intro/kinds", KINDS | {"C": "online rl"}).message


def test_a_year_of_365_days_passes() -> None:
    assert verdict("intro/games-per-day", lambda y, m: y * 365 * 24 * 60 / m).passed


def test_the_cards_of_the_chapter_are_those_of_the_check() -> None:
    text = CHAPTER.read_text("utf-8")
    block = re.search(r"^cards = \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    assert block
    assert sorted(re.findall(r'^ +"([\w-]+)":', block[1], re.MULTILINE)) == sorted(ORDER)
