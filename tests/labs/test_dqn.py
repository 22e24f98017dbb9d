"""The exercises of ``values/dqn``: the mistakes that readers make do not pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import smooth_l1_loss

from rlcourse.labs import verdict
from rlcourse.labs.dqn import TABLE

# --- mistakes that readers make, each with the words that must be in the reply --------------------


def share_of_human(agent: Any, random: Any, human: Any) -> Any:
    return 100 * agent / human


def as_a_fraction(agent: Any, random: Any, human: Any) -> Any:
    return (agent - random) / (human - random)


def only_numbers(agent: Any, random: Any, human: Any) -> Any:
    return 100 * (agent - random) / (human - random) if agent > random else 0.0


def both_are_ends(reward: Any, terminated: Any, truncated: Any, next_q: Any, gamma: float) -> Any:
    return reward + gamma * ~(terminated | truncated) * next_q.max(axis=1)


def no_mask(reward: Any, terminated: Any, truncated: Any, next_q: Any, gamma: float) -> Any:
    return reward + gamma * next_q.max(axis=1)


def one_maximum(reward: Any, terminated: Any, truncated: Any, next_q: Any, gamma: float) -> Any:
    return reward + gamma * ~terminated * next_q.max()


def truncation_undoes_an_end(
    reward: Any, terminated: Any, truncated: Any, next_q: Any, gamma: float
) -> Any:
    return reward + gamma * (~terminated | truncated) * next_q.max(axis=1)


class Aliases:
    """Keeps the array itself."""

    def __init__(self, capacity: int) -> None:
        self.items: list[Any] = [None] * capacity
        self.capacity, self.added = capacity, 0

    def keep(self, item: Any) -> Any:
        return item

    def add(self, item: Any) -> None:
        self.items[self.added % self.capacity] = self.keep(item)
        self.added += 1

    def size(self) -> int:
        return min(self.added, self.capacity)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Any:
        return [self.items[row] for row in rng.integers(self.size(), size=batch_size)]


class EmptyRows(Aliases):
    """Draws from rows that hold nothing yet."""

    def keep(self, item: Any) -> Any:
        return item.copy()

    def size(self) -> int:
        return self.capacity


class Overgrown(EmptyRows):
    """Never forgets."""

    def add(self, item: Any) -> None:
        self.items = [*self.items[: self.added], self.keep(item)]
        self.added += 1

    def size(self) -> int:
        return self.added


class LosesTheNewest(EmptyRows):
    """Off by one."""

    def size(self) -> int:
        return max(1, min(self.added, self.capacity) - 1)


class ReturnsNothing(EmptyRows):
    """Forgets to return."""

    def sample(self, batch_size: int, rng: np.random.Generator) -> Any:
        pass


def wrong_sign(q: Any, y: Any) -> Any:
    return np.clip(y - q, -1, 1)


def square_slope(q: Any, y: Any) -> Any:
    return q - y


def clipped_loss_slope(q: Any, y: Any) -> Any:
    return np.where(abs(q - y) <= 1, q - y, 0.0)


def always_one(q: Any, y: Any) -> Any:
    return np.sign(q - y)


def plain_q(network: Any, batch: Any) -> Any:
    return network(batch.obs).gather(1, batch.action[:, None])


def aim(target: Any, batch: Any) -> Any:
    with torch.no_grad():
        return batch.reward + batch.discount * target(batch.next_obs).max(dim=1).values


def broadcast(network: Any, target: Any, batch: Any) -> Any:
    error = aim(target, batch) - plain_q(network, batch)  # [B, B]
    return error**2 / 2, error


def leaking_target(network: Any, target: Any, batch: Any) -> Any:
    y = batch.reward + batch.discount * target(batch.next_obs).max(dim=1).values
    error = y - plain_q(network, batch).squeeze(1)
    return error**2 / 2, error.detach()


def huber_again(network: Any, target: Any, batch: Any) -> Any:
    y, q = aim(target, batch), plain_q(network, batch).squeeze(1)
    return smooth_l1_loss(q, y, reduction="none"), (y - q).detach()


def no_half(network: Any, target: Any, batch: Any) -> Any:
    error = aim(target, batch) - plain_q(network, batch).squeeze(1)
    return error**2, error.detach()


def own_opinion(network: Any, target: Any, batch: Any) -> Any:
    error = aim(network, batch) - plain_q(network, batch).squeeze(1)
    return error**2 / 2, error.detach()


def already_averaged(network: Any, target: Any, batch: Any) -> Any:
    error = aim(target, batch) - plain_q(network, batch).squeeze(1)
    return (error**2 / 2).mean(), error.detach()


def detached(network: Any, target: Any, batch: Any) -> Any:
    error = (aim(target, batch) - plain_q(network, batch).squeeze(1)).detach()
    return error**2 / 2, error


def not_the_right_value(module: Any) -> bool:
    settings = {**TABLE, "env_id": "rlcourse/Probe-Forever-v0", "steps": 100}
    policy = module.train(module.Config(**settings)).policy
    return bool(abs(policy.q_values(np.array([0])).max() - 10) > 0.8)


WRONG: list[tuple[str, Any, str]] = [
    ("normalised", share_of_human, "random player"),
    ("normalised", as_a_fraction, "human must get"),
    ("normalised", only_numbers, "ValueError"),
    ("normalised", 93.5, "expected a function"),
    ("target", both_are_ends, "time limit"),
    ("target", no_mask, "after a true end"),
    ("target", one_maximum, "row by row"),
    ("target", truncation_undoes_an_end, "terminated and truncated"),
    ("ring", Aliases, "copies"),
    ("ring", EmptyRows, "holds nothing yet"),
    ("ring", Overgrown, "expected to draw [2, 3, 4, 5]"),
    ("ring", LosesTheNewest, "expected to draw"),
    ("ring", ReturnsNothing, "list of 4000"),
    ("ring", 5, "expected a class"),
    ("huber", wrong_sign, "its sign"),
    ("huber", square_slope, "a large error"),
    ("huber", clipped_loss_slope, "a large error"),
    ("huber", always_one, "a small error"),
    ("depth", [120, 40, 30_720], "answer 1"),
    ("depth", [119, 119, 30_464], "answer 2"),
    ("depth", [119, 39, 119 * 128], "answer 3"),
    ("depth", 119, "three numbers"),
    ("depth", "119", "three numbers"),
    ("own-loss", broadcast, "[B, 1] - [B]"),
    ("own-loss", leaking_target, "no gradient may flow"),
    ("own-loss", huber_again, "the square"),
    ("own-loss", no_half, "one half"),
    ("own-loss", own_opinion, "TD errors"),
    ("own-loss", already_averaged, "shape (5,)"),
    ("own-loss", detached, "no gradient reaches"),
    ("own-loss", 0.5, "expected a function"),
    ("hunt-copy", lambda module: True, "accused"),
    ("hunt-copy", lambda module: False, "let the bug pass"),
    ("hunt-copy", not_the_right_value, "let the bug pass"),
    ("hunt-copy", lambda module: 1 / 0, "ZeroDivisionError"),
    ("hunt-copy", "True", "expected a function"),
]


@pytest.mark.parametrize(
    ("name", "answer", "reply"),
    WRONG,
    ids=[f"{name}-{getattr(answer, '__name__', answer)}" for name, answer, _ in WRONG],
)
def test_known_mistakes_do_not_pass(
    name: str, answer: Callable[..., Any] | Any, reply: str
) -> None:
    passed, message = verdict(f"dqn/{name}", answer)
    assert passed is False
    assert reply in message, message


def test_a_loss_that_breaks_in_training_is_told_so() -> None:
    calls = iter(range(100))

    def breaks(network: Any, target: Any, batch: Any) -> Any:
        if next(calls) > 20:
            raise ZeroDivisionError("far into training")
        error = aim(target, batch) - plain_q(network, batch).squeeze(1)
        return error**2 / 2, error.detach()

    passed, message = verdict("dqn/own-loss", breaks)
    assert passed is False
    assert "while training on the probe" in message
    assert "ZeroDivisionError" in message
