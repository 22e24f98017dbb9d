"""What contracts measure on recommenders, on made-up data: that each measure is what it says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from rlcourse import evidence
from rlcourse.errors import InvalidArgumentError
from rlcourse.evidence import recommender as measures
from rlcourse.recommender import actor_critic, baselines, metrics, simulator
from rlcourse.recommender.data import leave_last_out, load, sessions

TINY = {"epochs": 1, "epochs_rewarded": 1, "embedding": 8, "hidden": [8], "negatives": 20}
STAGE = {"updates": 2, "sessions": 8}


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sixty people who never lived, in the place of MovieLens."""
    caches = [f for _, f in inspect.getmembers(measures) if hasattr(f, "cache_clear")]
    for cached in caches:
        cached.cache_clear()
    data = load(size="tiny")
    monkeypatch.setattr(measures, "_data", lambda: data)
    monkeypatch.setattr(measures, "_kept", {})
    monkeypatch.setattr(measures, "CANDIDATES", 10)
    monkeypatch.setattr(measures, "PEOPLE", 20)
    monkeypatch.setattr(measures, "MANY", 20)
    yield
    for cached in caches:
        cached.cache_clear()


def test_nothing_is_measured_on_anything_but_movielens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(measures, "load", lambda: load(size="tiny"))
    with pytest.raises(InvalidArgumentError, match="SYNTHETIC tiny: this is measured on MovieLens"):
        measures._data()


def test_ten_parts_of_the_people_are_all_of_them_once() -> None:
    split = sessions(load(size="tiny"))
    board = metrics.judge(baselines.popularity(split), split)
    values = board.by_user["ndcg"]
    found = [measures.ranked({}, seed, name="popularity") for seed in range(10)]
    sizes = [len(part) for part in np.array_split(values, 10)]
    assert np.average([score for score, _ in found], weights=sizes) == pytest.approx(values.mean())
    assert all(facts == found[0][1] for _, facts in found)
    assert found[0][1]["ndcg"] == pytest.approx(values.mean())


def test_who_has_seen_the_future_shows_and_a_shuffle_takes_the_order_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = load(size="small")
    monkeypatch.setattr(measures, "_data", lambda: data)
    honest = measures.ranked({}, 0, name="ease")[1]["ndcg"]
    assert measures.future({}, 0, leak=True)[1]["ndcg"] > honest + 0.1
    shuffled = measures.future({}, 0, leak=False)[1]["ndcg"]
    assert shuffled != measures.ranked({}, 0, name="chain")[1]["ndcg"]


def test_the_control_is_the_run_that_never_had_a_critic() -> None:
    """From one first stage, it ends where a control that was trained alone ends."""
    split = sessions(load(size="tiny"))
    score, facts = measures.learned(TINY, 3, weight=0.2, stage=STAGE)
    config = actor_critic.Config(**TINY)
    for weight, key in ((0.5, "ndcg"), (0.0, "control")):
        alone = actor_critic.train(replace(config, advantage=weight), split, 3)
        assert facts[key] == metrics.judge(alone.scores, split).mean("ndcg")
    assert score == facts["ndcg"] and facts["difference"] == score - facts["control"]
    assert len(facts["epoch"]) == len(facts["entropies"]) == 2
    assert "user" not in facts


def test_a_stage_in_the_simulator_is_judged_against_the_same_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By other roads: the order of a mixture by hand, what each is paid, and steps of no length."""
    split = sessions(load(size="tiny"))
    _, facts = measures.learned(TINY, 3, weight=0.7, stage=STAGE)
    ours = actor_critic.train(actor_critic.Config(**TINY), split, 3)
    ease, users = baselines.ease(split), np.arange(len(split.users))
    seen = split.history.matrix(len(split.items)).toarray() > 0
    second = np.ma.array(ease(users), mask=seen)
    second = (second - second.mean(axis=1)[:, None]) / second.std(axis=1)[:, None]
    mixed = ours.scores(users) + 0.7 * second.filled(0.0)
    by_hand = metrics.judge(lambda some: mixed[some], split).mean("ndcg")
    assert facts["leaning"] == pytest.approx(by_hand)
    assert facts["gained"] == facts["leaning"] - facts["control"]
    people = np.random.default_rng(3).permutation(len(split.users))[:20]
    paid = [
        measures._paid(simulator.by_scores(scores, people), people, 3)
        for scores in (baselines.popularity(split), ease)
    ]
    best = max(*paid, facts["leaning_paid"])
    assert facts["earned"] == facts["taught_paid"] - best
    assert facts["taught"] != facts["leaning"] and 0 < facts["taught_paid"] < 20
    _, still = measures.learned(TINY, 3, weight=0.7, stage={**STAGE, "learning_rate": 0.0})
    assert still["taught"] == still["leaning"] and still["taught_paid"] == still["leaning_paid"]
    assert 0 < still["kept"] < 0.2  # one standard error


def test_settings_are_chosen_without_what_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search over ridges, by hand, on the last fifth of the histories; then with another future."""
    split = sessions(load(size="tiny"))
    inner, ridges = split.inner(), (3.0, 1000.0, 3e5)
    by_hand = [metrics.judge(baselines.ease(inner, ridge=r), inner).mean("ndcg") for r in ridges]
    config = {"grid": [{"ridge": ridge} for ridge in ridges]}
    found = [measures.chosen(config, seed, name="ease") for seed in range(10)]
    assert found[0][1]["grid"] == by_hand and found[0][1]["best"] == max(by_hand)
    assert found[0][1]["own"] == by_hand[1]
    board = metrics.judge(baselines.ease(inner), inner)
    sizes = [len(part) for part in np.array_split(board.by_user["ndcg"], 10)]
    lost = np.average([score for score, _ in found], weights=sizes)
    assert lost == pytest.approx(by_hand[1] - max(by_hand))
    alone = measures.chosen({"grid": [{"ridge": 1000.0}]}, 4, name="ease")
    assert alone[0] == 0.0
    held = split.held_out
    monkeypatch.setattr(
        measures, "_split", lambda: replace(split, held_out=held.keep(held.rating > 5))
    )
    measures._searched.cache_clear()
    assert measures.chosen(config, 0, name="ease") == found[0]


def test_the_last_rating_counts_whatever_its_stars() -> None:
    data = load(size="tiny")
    score, facts = measures.last_one({**TINY, "epochs_rewarded": 0}, 1)
    split = leave_last_out(data)
    popular = np.bincount(split.history.item[split.history.rating >= 4], minlength=len(split.items))
    worth = []
    for user, (first, end) in enumerate(pairwise(split.history.start)):
        scores = popular.astype(float)
        scores[split.history.item[first:end]] = -np.inf
        place = int(
            np.flatnonzero(np.argsort(-scores, kind="stable") == split.held_out.item[user])[0]
        )
        worth.append(1 / np.log2(place + 2) if place < 10 else 0.0)
    assert facts["popularity"] == pytest.approx(np.mean(worth))
    assert 0 <= score == facts["ndcg"] <= facts["hit_rate"]


def test_within_candidates_nothing_else_is_recommended() -> None:
    split = sessions(load(size="tiny"))
    chosen = measures._within(baselines.random(split))(np.arange(5))
    inside = chosen > -np.inf
    assert (inside.sum(axis=1) == 10).all()
    ease = baselines.ease(split)(np.arange(5)).astype(float)
    ease[split.history.matrix(len(split.items))[:5].nonzero()] = -np.inf
    for row, allowed in zip(ease, inside, strict=True):
        assert row[allowed].min() >= np.sort(row)[-10]


def test_boards_and_estimators_run_and_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, Any] = {"paid": [0.5], "ndcg": [0.2], "control_paid": [0.4], "control": [0.3]}
    kept |= {key: [0.1] for _, *keys in measures.LEARNED[2:] for key in keys}
    monkeypatch.setattr(evidence, "load", lambda name: kept)
    score, facts = measures.boards({}, 0, of="recommender-actor-critic")
    assert -1 <= score <= 1 and facts["paid"].keys() == facts["real"].keys()
    assert facts["paid"]["control"] == 0.4 and facts["real"]["actor-critic"] == 0.2
    assert facts["bound"] > facts["paid"]["random"]
    ratio, errors = measures.estimators({}, 0, logs=40, rounds=300)
    assert ratio == errors["dr"] / errors["ips"]
    for name in ("ips", "snips", "dr"):
        assert abs(errors[f"{name}_bias"]) < 5 * errors[name] / np.sqrt(40)
