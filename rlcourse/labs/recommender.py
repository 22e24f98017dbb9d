"""Checks of the exercises of the chapter ``projects/recommender``."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from rlcourse.labs import exercise, expect_by_hand, expect_call, expect_detector
from rlcourse.mutants import hunt
from rlcourse.recommender import metrics


@exercise("recommender/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: precision, recall and NDCG of four places, two of them hits, three films to be found."""
    best = 1 + 1 / np.log2(3) + 1 / 2
    expect_by_hand(
        answer,
        (
            (2 / 4, "precision", "how many places there are"),
            (2 / 3, "recall", "how many films were to be found"),
            (1.5 / best, "NDCG", "the best list there is: three hits, in the first three places"),
        ),
        tolerance=5e-3,
    )
    return "right: the same list, three answers to three questions."


@exercise("recommender/cut")
def _cut(answer: Any) -> str:
    """``answer(user, time, fraction)``: True where a row is history, the rows in any order."""
    rng = np.random.default_rng(0)
    for case, look in (
        ("sorted", "the number of rows of a person that are history: rounded down"),
        ("shuffled", "rows that are not in the order of time"),
        ("late", "a person who came later than all others: the cut is each person's own"),
        ("grouped", "people whose rows lie among those of others"),
    ):
        user = np.repeat([0, 1, 2], [5, 10, 7])
        time = np.concatenate([np.arange(5), np.arange(10), np.arange(7)])
        time = time + (1000 * user if case == "late" else 0)
        order = np.arange(len(user))
        if case in ("shuffled", "late"):  # each person's rows together, out of time
            order = np.concatenate([rng.permutation(part) for part in np.split(order, [5, 15])])
        elif case == "grouped":
            order = rng.permutation(len(user))
        user, time = user[order], time[order]
        wanted = np.zeros(len(user), dtype=bool)
        for row in range(len(user)):
            own = time[user == user[row]]
            wanted[row] = (own < time[row]).sum() < int(0.8 * len(own) + 1e-9)
        expect_call(answer, (user, time, 0.8), wanted, look=look)
    return "right: nobody is judged by what came before what was known."


@exercise("recommender/sampled")
def _sampled(answer: Any) -> str:
    """``answer(rank, items, m, k)``: the chance of a hit among ``m`` sampled others, by counting samples."""
    for rank, items, m, k, look in (
        (1, 8, 3, 1, "the first of all: nobody can come before it"),
        (3, 8, 3, 1, "one place: none of those before it may be drawn"),
        (4, 9, 4, 2, "two places: one of those before it may be drawn"),
        (8, 9, 4, 3, "without replacement: an item is drawn once"),
    ):
        drawn = list(combinations(range(1, items), m))  # the others, the best first
        right = float(np.mean([sum(other < rank for other in some) < k for some in drawn]))
        expect_call(answer, (rank, items, m, k), right, look=look)
    return "right: a sample forgives whoever is not quite at the top."


@exercise("recommender/robust")
def _robust(answer: Any) -> str:
    """``answer(reward, own, logged, model, value)``: the doubly robust estimate."""
    rng = np.random.default_rng(1)
    for case, look in (
        ("right", "what is corrected: the difference of reward and model"),
        ("zero", "a model that says nothing: what is left is importance sampling"),
        ("never", "a round that the judged policy would never have chosen: the model still speaks"),
    ):
        n = 6
        reward, model, value = rng.random((3, n))
        own, logged = 0.2 + 0.6 * rng.random((2, n))
        if case == "zero":
            model, value = np.zeros(n), np.zeros(n)
        if case == "never":
            own[:3] = 0.0
        right = sum(value[i] + own[i] / logged[i] * (reward[i] - model[i]) for i in range(n)) / n
        expect_call(answer, (reward, own, logged, model, value), right, look=look)
    return "right: a model's word, and reality's correction."


@exercise("recommender/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: True only for the metrics in which nobody with few films can be perfect."""
    expect_detector(
        answer,
        buggy=hunt("ndcg-ideal-of-k"),
        sound=metrics,
        other=hunt("seen-stays"),
        but="that one recommends what was seen, and its NDCG is right",
    )
    return "right: it accuses the one and nobody else."
