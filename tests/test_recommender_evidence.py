"""What contracts measure on recommenders, on made-up data: that each measure is what it says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rlcourse import evidence
from rlcourse.errors import InvalidArgumentError
from rlcourse.evidence import recommender as measures
from rlcourse.recommender import actor_critic, baselines, metrics
from rlcourse.recommender.data import load, sessions

TINY = {"epochs": 1, "epochs_rewarded": 1, "embedding": 8, "hidden": [8], "negatives": 20}


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


def test_who_has_seen_the_future_shows_and_a_shuffle_takes_the_order_away() -> None:
    honest = measures.ranked({}, 0, name="ease")[1]["ndcg"]
    assert measures.future({}, 0, leak=True)[1]["ndcg"] > honest + 0.1
    shuffled = measures.future({}, 0, leak=False)[1]["ndcg"]
    assert shuffled != measures.ranked({}, 0, name="chain")[1]["ndcg"]


def test_the_control_is_the_run_that_never_had_a_critic() -> None:
    """From one first stage, it ends where a control that was trained alone ends."""
    split = sessions(load(size="tiny"))
    score, facts = measures.learned(TINY, 3)
    config = actor_critic.Config(**TINY)
    for weight, key in ((0.5, "ndcg"), (0.0, "control")):
        alone = actor_critic.train(replace(config, advantage=weight), split, 3)
        assert facts[key] == metrics.judge(alone.scores, split).mean("ndcg")
    assert score == facts["ndcg"] and facts["difference"] == score - facts["control"]
    assert len(facts["epoch"]) == len(facts["entropies"]) == 2
    assert "user" not in facts


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
    monkeypatch.setattr(evidence, "load", lambda name: kept)
    score, facts = measures.boards({}, 0, of="recommender-actor-critic")
    assert -1 <= score <= 1 and facts["paid"].keys() == facts["real"].keys()
    assert facts["paid"]["control"] == 0.4 and facts["real"]["actor-critic"] == 0.2
    assert facts["bound"] > facts["paid"]["random"]
    ratio, errors = measures.estimators({}, 0, logs=40, rounds=300)
    assert ratio == errors["dr"] / errors["ips"]
    for name in ("ips", "snips", "dr"):
        assert abs(errors[f"{name}_bias"]) < 5 * errors[name] / np.sqrt(40)
