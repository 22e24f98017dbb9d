"""Off-policy estimators, against every log that could have been written."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from rlcourse.errors import InvalidArgumentError
from rlcourse.recommender import baselines, simulator
from rlcourse.recommender.data import load, sessions
from rlcourse.recommender.off_policy import (
    Estimate,
    Shelf,
    doubly_robust,
    estimates,
    importance_sampling,
    self_normalised,
    shelf,
)

LOGGING = np.array([0.5, 0.3, 0.2])
TARGET = np.array([0.1, 0.2, 0.7])
REWARD = np.array([0.2, 0.5, 0.9])  # the chance that an action pays one
MODEL = np.array([0.4, 0.1, 0.6])  # a wrong idea of it
TRUE = float(TARGET @ REWARD)


def expected(estimator: str, rounds: int = 3, logging: np.ndarray = LOGGING) -> float:
    """The mean of an estimator over all logs of some rounds, each with its probability."""
    total = 0.0
    for taken in product(range(3), repeat=rounds):
        for paid in product((0.0, 1.0), repeat=rounds):
            chance = np.prod(
                [
                    LOGGING[a] * (REWARD[a] if r else 1 - REWARD[a])
                    for a, r in zip(taken, paid, strict=True)
                ]
            )
            actions = np.array(taken)
            log = np.array(paid), TARGET[actions], logging[actions]
            if estimator == "dr":
                value = doubly_robust(*log, MODEL[actions], np.full(rounds, TARGET @ MODEL)).value
            else:
                value = {"is": importance_sampling, "snis": self_normalised}[estimator](*log).value
            total += chance * value
    return float(total)


def test_two_are_unbiased_though_the_model_is_wrong_and_one_is_not() -> None:
    assert expected("is") == pytest.approx(TRUE, abs=1e-12)
    assert expected("dr") == pytest.approx(TRUE, abs=1e-12)
    assert abs(expected("snis") - TRUE) > 0.01
    assert abs(expected("snis", rounds=5) - TRUE) < abs(expected("snis", rounds=2) - TRUE)


def test_with_a_right_model_wrong_propensities_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = np.array([0.3, 0.3, 0.4])
    monkeypatch.setattr(f"{__name__}.MODEL", REWARD)
    assert expected("dr", logging=wrong) == pytest.approx(TRUE, abs=1e-12)
    assert abs(expected("is", logging=wrong) - TRUE) > 0.05


def simulate(rounds: int, seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    actions = rng.choice(3, size=rounds, p=LOGGING)
    reward = (rng.random(rounds) < REWARD[actions]).astype(float)
    return reward, TARGET[actions], LOGGING[actions], REWARD[actions], np.full(rounds, TRUE)


@pytest.mark.parametrize("name", ["is", "snis", "dr"])
def test_standard_errors_are_the_spread_over_logs(name: str) -> None:
    estimates: list[Estimate] = []
    for seed in range(400):
        log = simulate(500, seed)
        if name == "dr":
            estimates.append(doubly_robust(*log))
        else:
            estimates.append({"is": importance_sampling, "snis": self_normalised}[name](*log[:3]))
    spread = np.std([e.value for e in estimates], ddof=1)
    assert np.mean([e.error for e in estimates]) == pytest.approx(spread, rel=0.12)


def test_a_good_model_makes_less_noise() -> None:
    log = simulate(2000, seed=0)
    assert doubly_robust(*log).error < 0.8 * importance_sampling(*log[:3]).error


def test_the_effective_number_of_rounds() -> None:
    same = importance_sampling([1, 0, 1, 0], [0.5] * 4, [0.5] * 4)
    assert same.rounds == pytest.approx(4) and same.value == 0.5
    one = importance_sampling([1, 0, 1, 0], [1, 0, 0, 0], [0.25] * 4)
    assert one.rounds == pytest.approx(1)


@pytest.mark.parametrize(
    ("log", "says"),
    [
        (([1, 0], [0.5, 0.5], [0.5]), "the same n"),
        (([1], [0.5], [0.5]), "at least 2"),
        (([1, 0], [0.5, 0.5], [0.5, 0.0]), "cannot have been taken"),
        (([1, 0], [0.5, 1.5], [0.5, 0.5]), r"target must lie in \[0, 1\]"),
        (([1, np.nan], [0.5, 0.5], [0.5, 0.5]), "reward"),
    ],
)
def test_bad_logs_are_told_of(log: tuple[list[float], ...], says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        importance_sampling(*log)


def test_a_policy_that_takes_nothing_that_was_logged_cannot_be_judged() -> None:
    with pytest.raises(InvalidArgumentError, match="at least one round"):
        self_normalised([1, 0], [0, 0], [0.5, 0.5])
    with pytest.raises(InvalidArgumentError, match="must be"):
        doubly_robust([1, 0], [0.5, 0.5], [0.5, 0.5], [0.5], [0.5, 0.5])
    with pytest.raises(InvalidArgumentError, match="predicted and predicted_value: must be finite"):
        doubly_robust([1, 0], [0.5, 0.5], [0.5, 0.5], [0.5, np.nan], [0.5, 0.5])


# --- in the simulator -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first_shelf() -> Shelf:
    data = load(size="tiny")
    split = sessions(data)
    audience = simulator.fit(data, split)
    return shelf(audience, baselines.popularity(split), np.arange(len(split.users)), 6)


def test_a_shelf_pays_what_the_audience_says(first_shelf: Shelf) -> None:
    pays = first_shelf.pays()
    wanted = first_shelf.consume * first_shelf.like
    wanted += first_shelf.consume * (1 - first_shelf.like) * -0.25
    np.testing.assert_allclose(pays, wanted)
    assert all(len(set(row)) == 6 for row in first_shelf.items)
    assert (first_shelf.consume > 0).all()  # nothing on it has been seen


def test_a_log_has_the_chances_that_wrote_it_and_the_rewards_of_the_shelf(
    first_shelf: Shelf,
) -> None:
    rng = np.random.default_rng(0)
    logging = np.tile([0.4, 0.3, 0.1, 0.1, 0.1, 0.0], (len(first_shelf.items), 1))
    person, place, reward = first_shelf.log(logging, 40_000, rng)
    share = np.bincount(place, minlength=6) / len(place)
    np.testing.assert_allclose(share, logging[0], atol=0.015)
    for k in range(5):
        mine = place == k
        expected = first_shelf.pays()[person[mine], k].mean()
        error = reward[mine].std() / np.sqrt(mine.sum())
        assert reward[mine].mean() == pytest.approx(expected, abs=4.5 * error)


def test_all_three_find_the_truth_and_the_model_helps(first_shelf: Shelf) -> None:
    rng = np.random.default_rng(1)
    logging = np.full((len(first_shelf.items), 6), 1 / 6)
    target = np.tile([0.0, 0.0, 0.1, 0.1, 0.2, 0.6], (len(first_shelf.items), 1))
    truth = (target * first_shelf.pays()).sum(axis=1).mean()
    said = [
        estimates(*first_shelf.log(logging, 600, rng), logging=logging, target=target)
        for _ in range(300)
    ]
    errors = {}
    for name in ("ips", "snips", "dr"):
        off = np.array([found[name].value - truth for found in said])
        assert abs(off.mean()) < 4.5 * off.std() / np.sqrt(len(off)), name
        errors[name] = off.std()
    assert errors["dr"] < errors["ips"]
