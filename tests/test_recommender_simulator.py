"""Predicted stars and the simulated audience: fitted on histories alone, and doing what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from rlcourse.errors import InvalidArgumentError
from rlcourse.recommender import metrics, simulator
from rlcourse.recommender.data import Events, MovieLens, Split, load, sessions
from rlcourse.recommender.ratings import factorise
from rlcourse.recommender.simulator import Audience, SessionEnv, Sessions


@pytest.fixture(scope="module")
def data() -> MovieLens:
    return load(size="small")


@pytest.fixture(scope="module")
def split(data: MovieLens) -> Split:
    return sessions(data)


@pytest.fixture(scope="module")
def audience(data: MovieLens, split: Split) -> Audience:
    return simulator.fit(data, split)


# --- stars ----------------------------------------------------------------------------------------


def test_factors_stand_still_where_the_penalised_error_is_least(split: Split) -> None:
    """Finite differences of the objective, at an item whose part was fitted last."""
    fitted = factorise(split, factors=3, ridge=0.1, rounds=2)
    events = split.history

    def objective(item: int, part: NDArray[np.float64]) -> float:
        own = np.flatnonzero(events.item == item)
        changed = fitted.item.copy()
        changed[item] = part
        errors = events.rating[own] - fitted._replace(item=changed).predict_pairs(
            events.user[own], events.item[own]
        )
        return float(errors @ errors + 0.1 * len(own) * part @ part)

    for item in (0, 200):
        best = fitted.item[item]
        for axis in range(4):
            nudge = 1e-4 * np.eye(4)[axis]
            slope = (objective(item, best + nudge) - objective(item, best - nudge)) / 2e-4
            assert slope == pytest.approx(0.0, abs=1e-5)


def test_predicted_stars_beat_the_mean_and_the_two_ways_to_ask_agree(split: Split) -> None:
    fitted, held = factorise(split), split.held_out
    pairs = fitted.predict_pairs(held.user, held.item)
    mean = metrics.rmse(np.full(len(pairs), fitted.mean), held.rating)
    assert metrics.rmse(pairs, held.rating) < 0.9 * mean
    whole = fitted.predict(np.arange(len(split.users)))
    np.testing.assert_allclose(whole[held.user, held.item], pairs, atol=1e-12)


# --- the audience ---------------------------------------------------------------------------------


def test_the_fit_has_never_seen_what_is_held_out(data: MovieLens, split: Split) -> None:
    """Another future, the same people."""
    held = split.held_out
    other = Events((held.item + 7) % len(split.items), 6 - held.rating, held.start)
    one, two = (simulator.fit(data, s) for s in (split, replace(split, held_out=other)))
    np.testing.assert_array_equal(one.taste, two.taste)
    assert (one.pull, one.noise) == (two.pull, two.noise)


def test_rates_are_those_of_real_sessions(split: Split, audience: Audience) -> None:
    """Predicted chances against the sessions that were held out, which the fit has not seen."""
    session = Sessions(audience, np.arange(len(split.users)))
    chance, unseen = session.consumes(), ~session.seen
    happened = split.held_out.matrix(len(split.items)).toarray()
    assert chance[unseen].mean() == pytest.approx(happened[unseen].mean(), rel=0.3)
    order = np.argsort(chance[unseen])
    tenths = [happened[unseen][part].mean() for part in np.array_split(order, 10)]
    assert tenths[-1] > 5 * tenths[0] and tenths == sorted(tenths)
    assert (chance[session.seen] == 0).all()


def test_what_was_watched_last_matters(audience: Audience) -> None:
    user = np.array([0])
    session = Sessions(audience, user)
    row = audience.chain[[100]].toarray()[0]
    follower = int(np.where(session.seen[0], -1.0, row).argmax())
    before = session.consumes()[0, follower]
    session.obs[0, -1, 0] = 101  # item 100
    assert session.consumes()[0, follower] > before


def certain(audience: Audience, consume: bool) -> Audience:
    """The same people, who take everything, or nothing."""
    taste = np.full_like(audience.taste, 50.0 if consume else -50.0)
    return replace(audience, taste=taste, pull=0.0)


def test_more_of_the_same_genre_halves_the_chance_each_time(audience: Audience) -> None:
    session = Sessions(certain(audience, True), np.array([3]))
    genre = np.bincount(audience.genre).argmax()
    items = np.flatnonzero((audience.genre == genre) & ~session.seen[0])[:4]
    for item, chance in zip(items, (1.0, 0.5, 0.25, 0.125), strict=True):
        assert session.consumes()[0, item] == pytest.approx(chance)
        session.step(np.array([item]))
    other = np.flatnonzero((audience.genre != genre) & ~session.seen[0])[0]
    assert session.consumes()[0, other] == pytest.approx(1.0)


def test_who_finds_nothing_leaves_after_four_misses_with_probability_three_tenths(
    audience: Audience,
) -> None:
    session = Sessions(certain(audience, False), np.repeat(np.arange(600), 5), seed=1)
    left = []
    for _ in range(6):
        step = session.step(np.zeros(3000, dtype=np.int64))
        left.append(step.terminated.sum())
        assert not session.consumed.any() and not step.reward.any() and not step.truncated.any()
    assert left[:3] == [0, 0, 0]
    remaining = 3000 - np.cumsum([0, *left])[:-1]
    for gone, there in zip(left[3:], remaining[3:], strict=True):
        assert gone == pytest.approx(0.3 * there, abs=5 * np.sqrt(0.21 * there))


def test_rewards_are_what_liking_pays_and_who_left_gets_nothing(audience: Audience) -> None:
    session = Sessions(certain(audience, True), np.arange(500), seed=2)
    item = simulator.clairvoyant(session, session.seen)
    likes = session.likes[np.arange(500), item]
    step = session.step(item)
    assert set(np.unique(step.reward)) <= {-0.25, 1.0} and session.consumed.all()
    assert session.liked.mean() == pytest.approx(likes.mean(), abs=5 * 0.5 / np.sqrt(500))
    np.testing.assert_array_equal(step.next_obs[:, -1, 0], item + 1)
    np.testing.assert_array_equal(step.next_obs[:, -1, 1], np.where(step.reward > 0, 5, 2))
    np.testing.assert_array_equal(step.obs[:, 1:], step.next_obs[:, :-1])
    session.left[:] = True
    step = session.step(item)
    assert not step.reward.any() and not step.terminated.any() and not step.truncated.any()


def test_a_session_ends_after_twenty(audience: Audience) -> None:
    session = Sessions(certain(audience, True), np.arange(4))
    ends = [
        session.step(simulator.clairvoyant(session, session.seen)).truncated.all()
        for _ in range(20)
    ]
    assert ends == [False] * 19 + [True]


def test_knowing_the_audience_is_the_bound(audience: Audience, split: Split) -> None:
    """Nobody who cannot look into heads gets what one who can gets."""
    users = np.arange(len(split.users))

    def earned(knows: bool) -> NDArray[np.float64]:
        session, rng = Sessions(audience, users, seed=3), np.random.default_rng(4)
        total = np.zeros(len(users))
        for _ in range(20):
            item = (
                simulator.clairvoyant(session, session.seen)
                if knows
                else rng.integers(len(split.items), size=len(users))
            )
            total += session.step(item).reward
        return total

    difference = earned(True) - earned(False)
    assert difference.mean() > 10 * difference.std() / np.sqrt(len(users))


def test_the_environment_passes_gymnasiums_checker_and_follows_its_seed(audience: Audience) -> None:
    env = SessionEnv(audience)
    check_env(env, skip_render_check=True)

    def play(seed: int) -> list[float]:
        _, info = env.reset(seed=seed)
        env.action_space.seed(seed)
        rewards, over = [float(info["user"])], False
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            rewards.append(reward)
            over = terminated or truncated
        return rewards

    assert play(5) == play(5) != play(6)
    observation, info = env.reset(options={"user": 7})
    own = slice(*audience.split.history.start[7:9])
    last = audience.split.history.item[own][-50:]
    assert info["user"] == 7
    assert observation[-len(last) :, 0].tolist() == (last + 1).tolist()


@pytest.mark.parametrize("items", [[0], [0, 10**6], [0, -1], [[0, 1]]])
def test_a_wrong_recommendation_is_told_of(audience: Audience, items: list[int]) -> None:
    with pytest.raises(InvalidArgumentError, match="recommended has shape"):
        Sessions(audience, np.array([0, 1])).step(np.array(items))


@pytest.mark.parametrize("users", [[], [-1], [10**6]])
def test_people_who_are_not_there_are_told_of(audience: Audience, users: list[int]) -> None:
    with pytest.raises(InvalidArgumentError, match="users: must be numbers of people"):
        Sessions(audience, np.array(users, dtype=np.int64))
