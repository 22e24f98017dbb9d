"""The recommender's actor and critic: what each sees, what it is taught, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rlcourse import checkpoint
from rlcourse.errors import CorruptCheckpointError, InvalidArgumentError
from rlcourse.recommender import baselines, metrics
from rlcourse.recommender.actor_critic import (
    STARS,
    Batch,
    Config,
    Reader,
    Run,
    score,
    sequence_loss,
    train,
)
from rlcourse.recommender.data import Events, Split, load, sessions

SHORT = Config(epochs=1, epochs_rewarded=1, embedding=8, hidden=(8,), negatives=20)


@pytest.fixture(scope="module")
def split() -> Split:
    return sessions(load(size="small"))


@pytest.fixture(scope="module")
def tiny() -> Split:
    return sessions(load(size="tiny"))


# --- the network ----------------------------------------------------------------------------------


def test_a_state_knows_the_past_with_its_stars_and_not_the_future() -> None:
    torch.manual_seed(0)
    network = Reader(np.ones(9), embedding=4, hidden=6)
    items, stars = torch.tensor([[9, 1, 2, 3]]), torch.tensor([[0, 5, 4, 3]])
    states = network.states(items, stars)
    later = network.states(torch.tensor([[9, 1, 2, 7]]), torch.tensor([[0, 5, 4, 1]]))
    torch.testing.assert_close(states[:, :3], later[:, :3])
    disliked = network.states(items, torch.tensor([[0, 1, 4, 3]]))
    assert (states[:, 1] - disliked[:, 1]).abs().max() > 1e-3


def test_before_it_has_learned_it_recommends_what_is_popular(split: Split) -> None:
    popularity = np.bincount(split.history.item, minlength=len(split.items)).astype(float)
    torch.manual_seed(0)
    network = Reader(popularity, embedding=64, hidden=96)
    users = np.arange(len(split.users))
    ranked = metrics.top_k(score(network, split, users, 50).astype(float), 20)
    popular = set(np.argsort(-popularity)[:30])
    assert np.mean([len(popular & set(row)) for row in ranked]) > 18


def test_logits_of_some_items_are_those_of_all() -> None:
    torch.manual_seed(0)
    network = Reader(np.arange(9.0), embedding=4, hidden=6)
    states, some = torch.randn(3, 6), torch.tensor([4, 0, 8])
    torch.testing.assert_close(network.logits(states, some), network.logits(states)[:, some])


def test_a_window_ends_where_it_is_told_and_is_padded_in_front(tiny: Split) -> None:
    user, nothing = 5, len(tiny.items)
    first, last = (int(tiny.history.start[user + k]) for k in (0, 1))
    batch = Batch(tiny, np.array([user, user]), np.array([last, first + 3]), 6)
    assert batch.items[0].tolist() == tiny.history.item[last - 6 : last].tolist()
    assert batch.items[1].tolist() == [nothing] * 3 + tiny.history.item[first : first + 3].tolist()
    assert batch.stars[1].tolist() == [0] * 3 + tiny.history.rating[first : first + 3].tolist()


# --- the loss -------------------------------------------------------------------------------------


def test_with_every_item_sampled_the_loss_is_the_whole_softmax() -> None:
    """And its gradient that of ``-c log pi``, by finite differences."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    item = torch.tensor([0, 3, 6, 2])
    coefficient = torch.tensor([1.0, 0.5, -0.3, 0.0], dtype=torch.float64)
    zeros = torch.zeros(4, dtype=torch.float64)

    def ours(values: Tensor) -> Tensor:
        target = values.gather(1, item[:, None]).squeeze(1)
        others = values.masked_fill(torch.arange(7) == item[:, None], -torch.inf)
        return sequence_loss(target, others, coefficient, zeros, zeros, 0.25)

    wanted = -coefficient * torch.log_softmax(logits, 1)[torch.arange(4), item]
    torch.testing.assert_close(ours(logits), wanted)
    assert torch.autograd.gradcheck(ours, logits.requires_grad_())


def test_the_correction_makes_a_sample_stand_for_all() -> None:
    """The expected sum of corrected exponentials is the sum over the catalogue, item by item."""
    share = np.array([0.1, 0.2, 0.7])
    logits, draws = np.array([0.3, -1.0, 2.0]), 5
    corrected = logits - np.log(draws * share)
    assert draws * share @ np.exp(corrected) == pytest.approx(np.exp(logits).sum())


def test_the_critic_learns_returns_and_the_actor_never_moves_it() -> None:
    values = torch.tensor([0.5, -1.0], requires_grad=True)
    returns = torch.tensor([1.0, 1.0])
    loss = sequence_loss(
        torch.zeros(2), torch.zeros(2, 3), torch.ones(2), values, returns, value_weight=0.25
    )
    loss.sum().backward()
    torch.testing.assert_close(values.grad, 0.25 * (values.detach() - returns))


def captured(split: Split, config: Config) -> list[tuple[Tensor, ...]]:
    """What the loss is given, batch by batch."""
    seen: list[tuple[Tensor, ...]] = []

    def spy(*arguments: Tensor) -> Tensor:
        seen.append(tuple(torch.as_tensor(a).detach().clone() for a in arguments))
        return sequence_loss(*arguments)  # type: ignore[arg-type]

    train(config, split, loss=spy)
    return seen


def test_an_event_is_judged_by_its_own_stars_and_what_followed() -> None:
    """GAE by hand: one user, four events, a window that holds them all."""
    events = Events(
        np.array([0, 1, 2, 3], np.int32), np.array([5, 1, 4, 3], np.int8), np.array([0, 4])
    )
    numbers = np.arange(4, dtype=np.int32)
    split = Split("four", numbers[:1], numbers, events, events)
    config = replace(SHORT, epochs_rewarded=1, targets=4, window=4, learning_rate=0.0)
    _, arguments = captured(split, config)
    _, _, coefficient, values, returns, weight = arguments
    reward = STARS[[5, 1, 4, 3]]
    network = train(config, split).network  # a learning rate of zero: the same weights
    batch = Batch(split, np.array([0]), np.array([4]), 8)
    known = network.critic(network.states(batch.items, batch.stars))[0, -5:, 0].detach().numpy()
    advantage = np.zeros(5)
    for t in reversed(range(4)):
        error = reward[t] + 0.9 * known[t + 1] - known[t]
        advantage[t] = error + 0.9 * 0.8 * advantage[t + 1]
    np.testing.assert_allclose(values, known[:4], atol=1e-6)
    np.testing.assert_allclose(returns, advantage[:4] + known[:4], atol=1e-6)
    np.testing.assert_allclose(coefficient, [1, 0, 1, 0] + 0.5 * advantage[:4], atol=1e-6)
    assert float(weight) == 0.25


def test_the_control_has_likes_alone_and_the_first_stage_everything(tiny: Split) -> None:
    control = captured(tiny, replace(SHORT, advantage=0.0))
    per_epoch = len(control) // 2
    for arguments in control[:per_epoch]:
        assert (arguments[2] == 1).all()
    for arguments in control[per_epoch:]:
        assert set(arguments[2].tolist()) == {0.0, 1.0} and float(arguments[5]) == 0.0


def test_a_slate_counts_for_what_is_not_in_it_anyway(tiny: Split) -> None:
    """The rewarded coefficients, over those without a slate, are the factor of the sampled softmax."""
    plain, slates = (captured(tiny, replace(SHORT, slate=k, learning_rate=0.0)) for k in (1, 4))
    for one, four in zip(plain, slates, strict=True):
        rewarded = not torch.equal(one[2], torch.ones_like(one[2]))
        target, others = one[0].double(), one[1].double()
        pi = target.exp() / (target.exp() + others.exp().sum(1))
        wanted = one[2] * (4 * (1 - pi) ** 3 if rewarded else 1.0)
        torch.testing.assert_close(four[2].double(), wanted.double(), rtol=1e-4, atol=1e-5)


# --- training -------------------------------------------------------------------------------------


def test_the_same_seed_the_same_scores_and_the_future_is_never_read(tiny: Split) -> None:
    held = tiny.held_out
    other = replace(tiny, held_out=Events((held.item + 3) % 70, 6 - held.rating, held.start))
    users = np.arange(10)
    one, two, three = (
        train(SHORT, s, seed).scores(users) for s, seed in ((tiny, 0), (other, 0), (tiny, 1))
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - three).max() > 1e-3


def test_it_learns_to_rank(split: Split) -> None:
    result = train(Config(epochs=10, epochs_rewarded=2), split)
    board = metrics.judge(result.scores, split)
    popular = metrics.judge(baselines.popularity(split), split)
    difference = board.by_user["ndcg"] - popular.by_user["ndcg"]
    untrained = metrics.judge(baselines.random(split), split)
    assert difference.mean() > -2 * difference.std() / np.sqrt(len(difference))
    assert board.mean("ndcg") > 4 * untrained.mean("ndcg")
    assert board.coverage > popular.coverage
    assert [row["rewarded"] for row in result.log] == [0.0] * 10 + [1.0] * 2
    assert result.log[9]["loss"] < result.log[0]["loss"]
    assert all(0 < row["entropy"] < np.log(len(split.items)) for row in result.log)
    assert all(0 < row["coverage"] <= 1 for row in result.log)
    assert ["kl" in row for row in result.log] == [False] * 10 + [True] * 2
    assert 0 < result.log[-2]["kl"] < result.log[-1]["kl"]


def test_a_run_that_was_cut_off_ends_as_the_whole_one_does(tiny: Split, tmp_path: Path) -> None:
    config = replace(SHORT, epochs=2, epochs_rewarded=2)

    def stop(epoch: int, row: dict[str, float], run: Run) -> None:
        checkpoint.save(tmp_path / "model", run)
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tiny, on_progress=stop)
    whole = train(config, tiny)
    resumed = train(config, tiny, resume=checkpoint.load(tmp_path / "model"))
    assert resumed.log == whole.log
    users = np.arange(len(tiny.users))
    np.testing.assert_array_equal(resumed.scores(users), whole.scores(users))


def test_a_checkpoint_of_another_catalogue_is_told_of(
    tiny: Split, split: Split, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path / "model", Run(SHORT, tiny, 0))
    with pytest.raises(CorruptCheckpointError, match=r"knows \d+ movies, these data have"):
        train(SHORT, split, resume=checkpoint.load(tmp_path / "model"))


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"epochs_rewarded": -1},
        {"gamma": 1.5},
        {"advantage": -1.0},
        {"hidden": (0,)},
        {"window": 2.5},
    ],
)
def test_settings_that_cannot_be_right_are_told_of(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(settings))):
        Config(**settings)  # type: ignore[arg-type]
