"""Learning in the simulator: the loss, what is remembered, and what a policy is asked there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from rlcourse.errors import InvalidArgumentError
from rlcourse.recommender import actor_critic, metrics, on_policy, simulator
from rlcourse.recommender.data import MovieLens, Split, load, sessions
from rlcourse.recommender.simulator import Audience, Sessions

SHORT = actor_critic.Config(epochs=1, epochs_rewarded=0, embedding=8, hidden=(8,), negatives=40)
STAGE = on_policy.Config(updates=2, sessions=16)


@pytest.fixture(scope="module")
def data() -> MovieLens:
    return load(size="tiny")


@pytest.fixture(scope="module")
def split(data: MovieLens) -> Split:
    return sessions(data)


@pytest.fixture(scope="module")
def audience(data: MovieLens, split: Split) -> Audience:
    return simulator.fit(data, split)


@pytest.fixture(scope="module")
def start(split: Split) -> actor_critic.Result:
    return actor_critic.train(SHORT, split)


def test_the_loss_by_hand() -> None:
    config = replace(STAGE, entropy=0.1, value_weight=0.5)
    ends = [torch.tensor([x], requires_grad=True) for x in (-2.0, 1.5, 0.25)]
    loss = on_policy.session_loss(*ends, torch.tensor([3.0]), torch.tensor([1.25]), config)
    assert loss.item() == pytest.approx(3.0 * 2.0 - 0.1 * 1.5 + 0.25 * 1.0)
    loss.sum().backward()
    slopes = [end.grad.item() for end in ends if end.grad is not None]
    assert slopes == pytest.approx([-3.0, -0.1, -0.5])


def test_what_the_loss_is_given(audience: Audience, start: actor_critic.Result) -> None:
    """Entropies of what is left, advantages of spread one, a row for each recommendation that was made."""
    seen: list[tuple[Tensor, ...]] = []

    def spy(*arguments: Tensor) -> Tensor:
        seen.append(tuple(a.detach().clone() for a in arguments[:5]))
        return on_policy.session_loss(*arguments)  # type: ignore[arg-type]

    on_policy.train(STAGE, audience, start, loss=spy)
    assert len(seen) == 2
    for log_prob, entropy, values, advantages, returns in seen:
        assert 16 * 4 <= len(log_prob) <= 16 * simulator.LENGTH  # nobody leaves before four misses
        assert (log_prob < 0).all() and (entropy > 0).all()
        assert (entropy < np.log(len(audience.split.items))).all()
        assert advantages.std().item() == pytest.approx(1.0, abs=0.02)
        assert torch.isfinite(values).all() and torch.isfinite(returns).all()


def test_the_start_stays_and_the_same_seed_gives_the_same(
    audience: Audience, start: actor_critic.Result
) -> None:
    users = np.arange(5)
    before = start.scores(users)
    one, two = (on_policy.train(STAGE, audience, start, seed=3) for _ in range(2))
    np.testing.assert_array_equal(start.scores(users), before)
    np.testing.assert_array_equal(one.scores(users), two.scores(users))
    assert np.abs(one.scores(users) - before).max() > 1e-4
    assert one.log[:-2] == start.log and {"paid", "entropy", "log"} <= one.log[-1].keys()


def test_without_an_auxiliary_loss_the_logs_are_forgotten_sooner(
    audience: Audience, start: actor_critic.Result
) -> None:
    """The supervised loss after some steps, with and without its weight."""
    stage = replace(STAGE, updates=12, learning_rate=1e-2)
    kept, free = (
        np.mean([row["log"] for row in on_policy.train(s, audience, start).log[-4:]])
        for s in (replace(stage, auxiliary=2.0), replace(stage, auxiliary=0.0))
    )
    assert kept < free


def test_it_learns_what_pays(audience: Audience, start: actor_critic.Result) -> None:
    """In a world where one genre alone is watched: it finds out, and nothing else told it."""
    favourite = np.bincount(audience.genre).argmax()
    taste = np.where(audience.genre == favourite, 4.0, -8.0).astype(np.float32)
    world = replace(audience, taste=np.tile(taste, (len(audience.taste), 1)), pull=0.0)
    stage = on_policy.Config(updates=60, sessions=64, auxiliary=0.0, learning_rate=1e-2)
    log = on_policy.train(stage, world, start).log
    paid = [row["paid"] for row in log if "paid" in row]
    assert np.mean(paid[-10:]) > 1.5 * np.mean(paid[:10])


def test_greedy_reads_what_was_watched_and_takes_the_best_that_is_left(
    audience: Audience, start: actor_critic.Result
) -> None:
    users = np.arange(len(audience.split.users))
    session = Sessions(audience, users)
    first = on_policy.greedy(start.network)(session, session.seen)
    logits = start.scores(users)
    np.testing.assert_array_equal(first, np.where(session.seen, -np.inf, logits).argmax(axis=1))


def test_a_session_never_shows_anything_twice(audience: Audience) -> None:
    shown: list[np.ndarray] = []

    def choose(session: Sessions, used: np.ndarray) -> np.ndarray:
        item = np.where(used, -np.inf, np.arange(used.shape[1])).argmax(axis=1)
        assert not used[np.arange(len(used)), item].any()
        shown.append(item)
        return np.asarray(item)

    people = np.arange(20)
    paid = simulator.play(audience, people, choose)
    assert paid.shape == (20,) and len(shown) <= simulator.LENGTH
    for person in np.array(shown).T:
        assert len(set(person)) == len(person)
    scores = lambda users: np.tile(np.arange(len(audience.split.items)), (len(users), 1))  # noqa: E731
    again = simulator.play(audience, people, simulator.by_scores(scores, people))
    np.testing.assert_array_equal(paid, again)


@pytest.mark.parametrize(
    "settings",
    [
        {"updates": 0},
        {"gamma": 2.0},
        {"auxiliary": -1.0},
        {"sessions": 1.5},
        {"temperature": 0.0},
        {"temperature": np.inf},
    ],
)
def test_settings_that_cannot_be_right_are_told_of(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(settings))):
        on_policy.Config(**settings)  # type: ignore[arg-type]


def test_a_policy_that_learned_there_can_still_be_judged_here(
    audience: Audience, start: actor_critic.Result, split: Split
) -> None:
    board = metrics.judge(on_policy.train(STAGE, audience, start).scores, split)
    assert 0 < board.mean("ndcg") < 1


def test_a_prior_in_units_of_its_spread_over_what_is_not_seen(
    audience: Audience, split: Split
) -> None:
    """By hand for one person; the seen, and whoever gets no opinion, get zeros."""
    values = np.random.default_rng(0).random(audience.taste.shape)
    values[1] = 3.0
    prior = on_policy.prior_of(lambda users: values[users], split, 0.5)
    seen = split.history.matrix(len(split.items)).toarray() > 0
    left = [v for v, used in zip(values[0], seen[0], strict=True) if not used]
    mean = sum(left) / len(left)
    spread = (sum((v - mean) ** 2 for v in left) / len(left)) ** 0.5
    np.testing.assert_allclose(
        prior[0][~seen[0]], [0.5 * (v - mean) / spread for v in left], rtol=1e-5
    )
    assert not prior[1].any() and not prior[seen].any()
    with pytest.raises(InvalidArgumentError, match="weight"):
        on_policy.prior_of(lambda users: values[users], split, -1.0)


def test_a_prior_moves_both_the_lot_and_what_is_best(
    audience: Audience, start: actor_critic.Result
) -> None:
    """Where it is large it decides; a temperature then decides how surely."""
    users = np.arange(len(audience.split.users))
    wish = np.random.default_rng(0).random(audience.taste.shape).astype(np.float32)
    session = Sessions(audience, users)
    best = on_policy.greedy(start.network, 1e4 * wish)(session, session.seen)
    np.testing.assert_array_equal(best, np.where(session.seen, -1.0, wish).argmax(axis=1))
    entropies = [
        on_policy.train(replace(STAGE, temperature=t), audience, start, prior=10 * wish).log[-1]
        for t in (0.1, 1.0, 10.0)
    ]
    sure, usual, unsure = (row["entropy"] for row in entropies)
    assert sure < usual < unsure


def test_what_a_prior_forbids_is_never_recommended(
    audience: Audience, start: actor_critic.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    within = np.random.default_rng(0).random(audience.taste.shape) < 0.9
    prior = np.where(within, 0.0, -np.inf).astype(np.float32)
    step, shown = Sessions.step, []

    def watched(session: Sessions, item: np.ndarray) -> simulator.Step:
        shown.append(within[session.users, item])
        return step(session, item)

    monkeypatch.setattr(Sessions, "step", watched)
    log = on_policy.train(STAGE, audience, start, prior=prior).log
    assert all(np.isfinite(value) for row in log[-2:] for value in row.values())
    people = np.arange(30)
    simulator.play(audience, people, on_policy.greedy(start.network, prior))
    assert len(shown) > 2 * 20 and np.concatenate(shown).all()
    few = np.full_like(prior, -np.inf)
    few[:, :15] = 0.0
    for wrong in (few, prior[:-1], np.full_like(prior, np.nan)):
        with pytest.raises(InvalidArgumentError, match="at least 20 unseen items each"):
            on_policy.train(STAGE, audience, start, prior=wrong)


def test_the_steps_fall_to_nothing(
    audience: Audience, start: actor_critic.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []
    descend = on_policy.descend

    def spy(*arguments: object, **facts: object) -> float:
        rates.append(arguments[3])
        return descend(*arguments, **facts)  # type: ignore[arg-type]

    monkeypatch.setattr(on_policy, "descend", spy)
    on_policy.train(replace(STAGE, updates=4, learning_rate=0.04), audience, start)
    assert rates == pytest.approx([0.04, 0.03, 0.02, 0.01])
