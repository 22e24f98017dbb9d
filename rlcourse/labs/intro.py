"""Checks of the exercises of the chapter ``intro``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from rlcourse.algorithms import tabular
from rlcourse.labs import NotRightError, call, exercise, expect_call
from rlcourse.mutants import hunt

# Year and source of each card; the chapter's table cites them.
YEARS = {
    "bellman": 1957,
    "actor-critic": 1983,
    "td": 1988,
    "q-learning": 1989,
    "reinforce": 1992,
    "seven-games": 2013,
    "nature": 2015,
    "a3c": 2016,
    "ppo": 2017,
    "sac": 2018,
}

KINDS = ("supervised", "unsupervised", "bandit", "online rl", "offline rl")
# The kind of each situation, and the question that leads to it.
SITUATIONS = {
    "A": ("supervised", "is the right answer in the data?"),
    "B": ("unsupervised", "is there an answer or an action in the data at all?"),
    "C": ("bandit", "does one choice change what the next visitor sees?"),
    "D": ("online rl", "how long is a fall prepared, and may the robot try again?"),
    "E": (
        "offline rl",
        "may the learner try anything itself, and how many choices follow each other?",
    ),
    "F": (
        "supervised",
        "what does the database say about a move: how it ended, or that it was made?",
    ),
}


@exercise("intro/timeline")
def _timeline(answer: Any) -> str:
    """``answer``: the names of the cards, the oldest first."""
    if isinstance(answer, str) or not isinstance(answer, Sequence):
        raise NotRightError(f"expected a list of names, got {type(answer).__name__}.")
    unknown = [card for card in answer if card not in YEARS]
    if unknown:
        raise NotRightError(f"{unknown[0]!r} is no card; the names are the keys of `cards`.")
    missing = [card for card in YEARS if card not in answer]
    if missing:
        raise NotRightError(f"{missing[0]!r} has no place yet.")
    if len(answer) != len(YEARS):
        raise NotRightError("a card stands twice in the list.")
    wrong = [pair for pair in pairwise(answer) if YEARS[pair[0]] > YEARS[pair[1]]]
    if wrong:
        first, second = wrong[0]
        raise NotRightError(
            f"neighbours the wrong way round: {len(wrong)}. One pair: {first!r} before {second!r}. "
            "Look both up in the table below."
        )
    return "right: from dynamic programming to soft actor-critic, and the actor-critic before Q-learning."


@exercise("intro/kinds")
def _kinds(answer: Any) -> str:
    """``answer``: a kind for each of the situations A to F."""
    if not isinstance(answer, Mapping):
        raise NotRightError(f"expected a dictionary, got {type(answer).__name__}.")
    for letter, (kind, question) in SITUATIONS.items():
        given = answer.get(letter, ...)
        if given is ...:
            raise NotRightError(f"{letter} has no answer yet.")
        if given not in KINDS:
            raise NotRightError(f"{letter}: {given!r} must be one of {', '.join(KINDS)}.")
        if given != kind:
            raise NotRightError(f"{letter} is not {given!r}. Ask: {question}")
    return "right: the question decides, not the field that the data come from."


@exercise("intro/games-per-day")
def _games_per_day(answer: Any) -> str:
    """``answer(years_per_day, minutes_per_game)``: games played in a day, to one part in a hundred."""
    look = "the units: years to days, days to hours, hours to minutes"
    for years, minutes in ((1.0, 60.0), (1.0, 30.0), (250.0, 45.0)):
        games = years * 365.25 * 24 * 60 / minutes  # a year of 365 days passes too
        expect_call(answer, (years, minutes), games, look=look, tolerance=games / 100)
    return "right: with 180 years a day and 45 minutes a game you are in the millions."


@exercise("intro/verdict")
def _verdict(answer: Any) -> str:
    """``answer(scores, seeds, threshold)``: whether the median over all promised seeds is enough."""
    cases: tuple[tuple[list[float], int, float, bool, str], ...] = (
        ([0.7, 0.8, 0.9], 3, 0.75, True, "the middle score"),
        ([0.1, 0.2, 0.9], 3, 0.75, False, "the middle score: one good run is no evidence"),
        ([0.7, 0.7, 0.0], 3, 0.6, True, "the difference between the mean and the median"),
        ([0.0, 0.5, 0.5, 1.0], 4, 0.5, True, "what happens exactly at the threshold"),
        ([0.9, 0.9], 10, 0.75, False, "how many scores were promised, and how many came"),
        ([], 3, 0.75, False, "a claim with no scores at all"),
    )
    for scores, seeds, threshold, expected, look in cases:
        expect_call(answer, (scores, seeds, threshold), expected, look=look)
    return "right: neither a lucky seed nor a missing one gets past you."


@exercise("intro/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: True for a copy whose agents never arrive in the maze."""
    if not callable(answer):
        raise NotRightError(f"expected a function, got {type(answer).__name__}.")
    cases = ((tabular, False, "the sound module"), (hunt("argmax-ties"), True, "the sick copy"))
    for module, sick, name in cases:
        got = call(partial(answer, module), ())  # a module cannot be copied like other arguments
        if not isinstance(got, bool):
            raise NotRightError(f"expected True or False, got {type(got).__name__}.")
        if got is not sick:
            raise NotRightError(
                f"it says {got} of {name}. Look at the returns in the logs of `module.train`, not at "
                "those of `tabular.train`."
            )
    return "right: you can tell sick from sound without reading a line of it."
