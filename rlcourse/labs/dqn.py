"""Checks of the exercises of the chapter ``values/dqn``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete

from rlcourse.algorithms import dqn
from rlcourse.envs.probes import probe
from rlcourse.evidence import folder
from rlcourse.labs import (
    NotRightError,
    call,
    call_uncopied,
    exercise,
    expect_call,
    expect_close,
    expect_detector,
    hunt,
)
from rlcourse.networks import q_network, seeded
from rlcourse.replay import Batch

# A network without hidden layers on numbered states is a table; these settings fit it in a second.
TABLE: dict[str, Any] = {
    **{"num_envs": 1, "hidden": (), "gamma": 0.9, "learning_rate": 0.1, "learning_rate_end": 0.02},
    **{"batch_size": 8, "learning_starts": 10, "train_every": 10, "updates": 20},
    **{"target_every": 20, "epsilon_end": 1.0, "steps": 300},
}


@exercise("dqn/normalised")
def _normalised(answer: Any) -> str:
    """``answer(agent, random, human)``: a score on the human scale, in per cent."""
    expect_call(answer, (-20.0, -20.0, 10.0), 0.0, look="what a random player must get")
    expect_call(answer, (10.0, -20.0, 10.0), 100.0, look="what the human must get")
    expect_call(answer, (40.0, -20.0, 10.0), 200.0, look="the length of the scale, human - random")
    path = folder() / "nature_2015_table2.tsv"
    columns = np.genfromtxt(path, delimiter="\t", usecols=(1, 2, 3, 4))
    random, human, agent, printed = columns.T
    got = call(answer, (agent, random, human))
    look = "whether your function takes whole columns (the paper rounds)"
    expect_close(got, printed, what="for the 49 rows of the table", look=look, tolerance=1.0)
    return "right: it gives all 49 percentages as they are printed."


@exercise("dqn/target")
def _target(answer: Any) -> str:
    """``answer(reward, terminated, truncated, next_q, gamma)``: the targets of a batch."""
    next_q = np.array([[1.0, 5.0], [4.0, 2.0], [-3.0, -1.0], [8.0, 9.0]])
    reward, off, on = np.array([1.0, 0.0, 2.0, -1.0]), np.zeros(4, bool), np.ones(4, bool)
    best = np.array([5.0, 4.0, -1.0, 9.0])
    look = "which of the actions counts, row by row, and along which axis"
    expect_call(answer, (reward, off, off, next_q, 0.5), reward + 0.5 * best, look=look)
    look = "what comes after a true end"
    expect_call(answer, (reward, on, off, next_q, 0.5), reward, look=look)
    look = "what a time limit does to the value: nothing"
    expect_call(answer, (reward, off, on, next_q, 0.5), reward + 0.5 * best, look=look)
    look = "a row that is terminated and truncated on the same step"
    expect_call(answer, (reward, on, on, next_q, 0.5), reward, look=look)
    mixed = np.array([False, True, False, True])
    expected = reward + 0.9 * np.array([5.0, 0.0, -1.0, 0.0])
    expect_call(answer, (reward, mixed, ~mixed, next_q, 0.9), expected, look="the two flags")
    return "right: the maximum of each row, unless the world has ended."


@exercise("dqn/ring")
def _ring(answer: Any) -> str:
    """``answer(capacity)``: a ring with ``add(item)`` and ``sample(batch_size, rng)``."""
    if not callable(answer):
        raise NotRightError(f"expected a class, got {type(answer).__name__}.")
    try:
        return _judge_ring(answer)
    except NotRightError:
        raise
    except Exception as error:  # whatever a learner's code raises is news for the learner
        raise NotRightError(f"it raised {type(error).__name__}: {error}") from None


def _judge_ring(answer: Any) -> str:
    rng = np.random.default_rng(0)

    def contents(ring: Any) -> dict[float, int]:
        drawn = ring.sample(4000, rng)
        if drawn is None or len(drawn) != 4000:
            raise NotRightError("sample(4000, rng): expected a list of 4000 items.")
        try:
            values, counts = np.unique([float(np.asarray(x)[0]) for x in drawn], return_counts=True)
        except (TypeError, IndexError):
            raise NotRightError(
                "sample: expected arrays that were added, got something else. Look at whether it "
                "draws a row that holds nothing yet."
            ) from None
        return dict(zip(values.tolist(), counts.tolist(), strict=True))

    def filled(count: int) -> Any:
        ring, item = answer(4), np.zeros(2)
        for number in range(count):
            ring.add(item + number)
        return ring

    for count, there in ((2, [0, 1]), (4, [0, 1, 2, 3]), (6, [2, 3, 4, 5]), (13, [9, 10, 11, 12])):
        found = contents(filled(count))
        if sorted(found) != there:
            raise NotRightError(
                f"capacity 4, items 0 to {count - 1} added: expected to draw {there}, got "
                f"{[int(x) for x in sorted(found)]}. Look at where number `added` goes, and at how "
                "many rows hold something."
            )
        if min(found.values()) < 0.8 * 4000 / len(there):
            raise NotRightError(
                f"capacity 4, {count} items added: {len(there)} items drawn {found} times; "
                "expected about equally often."
            )
    ring, item = answer(4), np.zeros(2)
    for number in range(3):
        item[:] = number  # as an environment does that reuses its array
        ring.add(item)
    if sorted(contents(ring)) != [0, 1, 2]:
        raise NotRightError(
            "one array was added three times with 0, 1 and 2 in it, and the ring holds "
            f"{[int(x) for x in sorted(contents(ring))]}. Look at whether `add` copies."
        )
    return "right: it forgets the oldest, draws evenly, and keeps what it was given."


@exercise("dqn/huber")
def _huber(answer: Any) -> str:
    """``answer(q, y)``: the derivative of Huber's loss of ``y - q`` with respect to ``q``."""

    def loss(q: Any, y: Any) -> Any:
        size = np.abs(y - q)
        return np.where(size <= 1, size**2 / 2, size - 0.5)

    y = np.array([0.0, 0.0, 0.0, 2.0, -3.0, 1.0])
    for name, q in (
        ("a small error", np.array([0.3, -0.3, 0.9, 2.5, -2.8, 1.0])),
        ("a large error", np.array([5.0, -5.0, 80.0, -9.0, 4.0, 3.5])),
    ):
        numeric = (loss(q + 1e-6, y) - loss(q - 1e-6, y)) / 2e-6
        look = f"{name}: its sign, and its size"
        expect_call(answer, (q, y), numeric, look=look, tolerance=1e-4)
    return "right: it agrees with finite differences, and no error pushes harder than one."


@exercise("dqn/depth")
def _depth(answer: Any) -> str:
    """``answer``: copies needed with one reward a target, with three, and environment steps."""
    try:
        got = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):
        got = np.zeros(0)
    if got.shape != (3,):
        raise NotRightError("expected three numbers in a list.")
    questions = (
        (119, "how deep the network reaches before the first copy"),
        (39, "how many rewards further each copy takes it now"),
        (119 * 128 * 2, "updates between copies, and steps between updates"),
    )
    for number, (value, (expected, look)) in enumerate(zip(got, questions, strict=True), start=1):
        # The number itself is the exercise: say where it went wrong, not what it is.
        if value != expected:
            raise NotRightError(f"answer {number}: {value:g} is not right. Look at {look}.")
    return "right: a value is a piece of news, and a copy carries it one target further."


@exercise("dqn/own-loss")
def _own_loss(answer: Any) -> str:
    """``answer(network, target, batch)``: losses ``[B]`` with the plain square, TD errors ``[B]``."""
    _judge_numbers(answer)
    probes = ("Delay", "TwoActions", "Forever", "LastMoment")
    worst = max(_train_on_probe(answer, name) for name in probes)
    return (
        f"right: four agents trained with it, no value further than {worst:.2f} from the exact one."
    )


def _judge_numbers(answer: Any) -> None:
    with seeded(0):
        network, target = q_network(Discrete(4), 3, ()), q_network(Discrete(4), 3, ())
    batch = Batch(
        torch.tensor([0, 1, 2, 3, 0]),
        torch.tensor([0, 2, 1, 1, 2]),
        torch.tensor([1.0, -4.0, 0.5, 7.0, 0.0]),
        torch.tensor([0.9, 0.9, 0.0, 0.5, 0.9]),
        torch.tensor([1, 2, 3, 0, 0]),
        torch.ones(5),
        torch.arange(5),
    )
    q = network(torch.arange(4)).detach().numpy()  # [4, 3]
    next_q = target(torch.arange(4)).detach().numpy()
    value = q[[0, 1, 2, 3, 0], [0, 2, 1, 1, 2]]
    y = batch.reward.numpy() + batch.discount.numpy() * next_q[[1, 2, 3, 0, 0]].max(axis=1)
    losses, errors = _called(answer, network, target, batch)
    look = "the value of the action that was taken, the maximum over the next ones, the discount"
    expect_close(
        errors.detach(), y - value, what="TD errors of a batch of 5", look=look, tolerance=1e-5
    )
    look = "the factor one half and the square"
    expect_close(
        losses.detach(), (y - value) ** 2 / 2, what="losses of the same", look=look, tolerance=1e-4
    )
    # With one network in both roles a missing `no_grad` shows in the gradient.
    losses, _ = _called(answer, network, network, batch)
    if not losses.requires_grad:
        raise NotRightError("no gradient reaches the network. Look at what is under no_grad.")
    network.zero_grad()
    losses.sum().backward()
    weight = next(p for p in network.parameters() if p.ndim == 2)  # [actions, states]
    y = batch.reward.numpy() + batch.discount.numpy() * q[[1, 2, 3, 0, 0]].max(axis=1)
    expected = np.zeros((3, 4))
    np.add.at(expected, ([0, 2, 1, 1, 2], [0, 1, 2, 3, 0]), value - y)
    assert weight.grad is not None
    look = "where no gradient may flow: the target counts as a constant"
    expect_close(
        weight.grad, expected, what="gradient of the losses' sum", look=look, tolerance=1e-4
    )


def _called(answer: Any, network: Any, target: Any, batch: Batch) -> tuple[Any, Any]:
    pair = call_uncopied(answer, network, target, batch)
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise NotRightError(
            f"expected two tensors, losses and TD errors, got {type(pair).__name__}."
        )
    losses, errors = pair
    for name, tensor in (("losses", losses), ("TD errors", errors)):
        if not isinstance(tensor, torch.Tensor) or tensor.shape != (5,):
            shape = tuple(getattr(tensor, "shape", ()))
            raise NotRightError(
                f"{name} of a batch of 5: expected a tensor of shape (5,), got shape {shape}. "
                "Look at [B, 1] - [B]."
            )
    return losses, errors


def _train_on_probe(answer: Any, name: str) -> float:
    """Train, and return the largest distance from the exact values."""
    world = probe(name)
    copies = 60 if name == "Forever" else 20
    config = dqn.Config(world.env_id, **TABLE | {"steps": 10 * copies})
    try:
        policy = dqn.train(config, loss=answer).policy
    except Exception as error:  # whatever a learner's code raises is news for the learner
        raise NotRightError(
            f"while training on the probe {name} it raised {type(error).__name__}: {error}"
        ) from None
    exact = world.values(0.9)[:-1]
    learned = policy.q_values(np.arange(len(exact))).max(axis=1)
    distance = float(np.abs(learned - exact).max())
    if distance > 0.3:
        raise NotRightError(
            f"trained on the probe {name}: values {learned.round(2)}, exact {np.round(exact, 2)}."
        )
    return distance


@exercise("dqn/hunt-copy")
def _hunt_copy(answer: Any) -> str:
    """``answer(module)``: whether the module's targets ask the network itself."""
    expect_detector(
        answer,
        buggy=hunt("dqn-target-is-no-copy"),
        sound=dqn,
        other=hunt("dqn-time-limit-is-death"),
        but="the target network of that one is sound",
    )
    return "right: it catches the copy that nobody asks, and accuses nobody else."
