"""The network that plans: its losses by hand, its values in miniature, and learning from reward."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rlcourse.algorithms.planner import (  # noqa: E402
    Config,
    Planner,
    Rows,
    plain_network,
    td_loss,
    train,
)
from rlcourse.envs.mazes import distances, maps, mazes, success  # noqa: E402
from rlcourse.errors import DivergenceError, InvalidArgumentError  # noqa: E402

SMALL = Config(
    count=3, rooms=2, sweeps=6, steps=65_536, walkers=16, length=16, updates=2, target_every=5
)


def rows(seed: int = 0) -> Rows:
    """Four walks of five steps, at random, in mazes of two by two rooms."""
    rng = np.random.default_rng(seed)
    seen = torch.from_numpy(maps(mazes(3, 0, split="train", rooms=2)))[[0, 1, 2, 0]]
    cell, after, action = (torch.from_numpy(rng.integers(n, size=(4, 5))) for n in (9, 9, 4))
    reward = torch.from_numpy(rng.normal(size=(4, 5))).float()
    discount = torch.from_numpy(0.9 * rng.integers(2, size=(4, 5))).float()
    return Rows(seen, cell, action, reward, discount, after)


def test_the_loss_step_by_step() -> None:
    """Looped over walks and steps, in plain numbers."""
    batch, network, target = rows(), Planner(4), Planner(3)
    losses = td_loss(network, target, batch).detach().numpy()
    for b, t in np.ndindex(4, 5):
        q = network(batch.maps[b : b + 1])[0].reshape(4, 9).detach().numpy()
        later = target(batch.maps[b : b + 1])[0].reshape(4, 9).detach().numpy()
        y = float(batch.reward[b, t]) + float(batch.discount[b, t]) * max(
            later[a, batch.next_cell[b, t]] for a in range(4)
        )
        error = abs(y - q[batch.action[b, t], batch.cell[b, t]])
        huber = 0.5 * error**2 if error < 1 else error - 0.5
        assert losses[b, t] == pytest.approx(huber, abs=1e-5)


@pytest.mark.parametrize("kind", ["planner", "plain"])
def test_the_gradient_is_the_slope_and_the_target_has_none(kind: str) -> None:
    torch.manual_seed(0)
    make = (lambda: Planner(4)) if kind == "planner" else (lambda: plain_network(3, 8))
    network, target = make().double(), make().double()
    batch = Rows(*(x.double() if x.is_floating_point() else x for x in rows()))
    td_loss(network, target, batch).mean().backward()
    assert all(weight.grad is None for weight in target.parameters())
    weight = next(iter(network.parameters()))
    place, h = (0,) * weight.ndim, 1e-6
    slopes = []
    for sign in (1, -1):
        moved = deepcopy(network)
        with torch.no_grad():
            next(iter(moved.parameters()))[place] += sign * h
        slopes.append(float(td_loss(moved, target, batch).mean()))
    assert float(weight.grad[place]) == pytest.approx((slopes[0] - slopes[1]) / (2 * h), abs=1e-6)


def test_forty_five_numbers() -> None:
    assert sum(weight.numel() for weight in Planner(9).parameters()) == 45
    assert Planner(2).transitions().sum(dim=(1, 2, 3)).tolist() == pytest.approx([1.0] * 4)


def test_the_planner_knows_no_place() -> None:
    """A maze moved across a closed field has the same values."""
    torch.manual_seed(1)
    network = Planner(5)
    field = torch.zeros(2, 2, 12, 12)
    field[:, 0] = 1.0
    (seen,) = torch.from_numpy(maps(mazes(1, 0, split="train", rooms=3)))
    field[0, :, 1:6, 1:6], field[1, :, 6:11, 5:10] = seen, seen
    # Far from the border, so that what lies beyond it is out of reach of one sweep less than two.
    network.sweeps = 1
    here, there = network(field)
    torch.testing.assert_close(here[:, 1:6, 1:6], there[:, 6:11, 5:10])


def test_it_learns_its_mazes_from_reward_and_the_log_tells() -> None:
    told: list[tuple[int, float]] = []
    result = train(
        SMALL, 0, on_progress=lambda steps, row, policy: told.append((steps, row["loss"]))
    )
    texts = mazes(3, 0, split="train", rooms=2)
    assert success(texts, result.policy(texts)) == 1.0
    assert [row["step"] for row in result.log] == [steps for steps, _ in told]
    assert told[-1][0] == SMALL.steps and len(told) == SMALL.steps // 256
    values = result.policy.network(torch.from_numpy(maps(texts))).amax(dim=1).flatten(1).detach()
    for text, found in zip(texts, values.numpy(), strict=True):
        away = distances(text)
        near = (away > 0) & (away < 4)
        np.testing.assert_allclose(found[near], 0.95 ** (away[near] - 1), atol=0.15)


def test_the_plain_network_learns_its_mazes_too() -> None:
    config = Config(
        count=1,
        rooms=2,
        plans=False,
        steps=49_152,
        walkers=16,
        length=16,
        updates=4,
        learning_rate=3e-3,
    )
    texts = mazes(1, 0, split="train", rooms=2)
    result = train(config, 0)
    assert success(texts, result.policy(texts)) == 1.0


def test_a_run_depends_on_its_seed_alone() -> None:
    config = Config(count=3, rooms=2, sweeps=3, steps=2048, walkers=8, length=16)
    first, again, other = (train(config, seed).log for seed in (0, 0, 1))
    assert first == again != other


def test_a_loss_of_ones_own() -> None:
    seen: list[tuple[int, ...]] = []

    def nothing(network: Any, target: Any, batch: Rows) -> Any:
        seen.append(tuple(batch.cell.shape))
        assert batch.discount.max() <= 0.95 and batch.reward.min() >= 0
        assert ((batch.discount == 0) == (batch.reward == 1)).all()
        return td_loss(network, target, batch)

    train(Config(count=2, rooms=2, sweeps=2, steps=2048, updates=2, batch_size=7), loss=nothing)
    assert seen == [(7, 32)] * 4


def test_a_loss_that_is_not_finite() -> None:
    config = Config(count=2, rooms=2, sweeps=2, steps=1024)
    with pytest.raises(DivergenceError, match="step 0"):
        train(config, loss=lambda n, t, b: td_loss(n, t, b) * float("inf"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"gamma": 1.5}, "gamma = 1.5"),
        ({"sweeps": 0}, "sweeps = 0"),
        ({"steps": 1000}, "steps = 1000: must be a multiple of walkers . length = 1024"),
        ({"replay_size": 100}, "replay_size = 100"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0"),
    ],
)
def test_settings_that_cannot_be(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Config(**setting)


def test_what_is_measured() -> None:
    """The measures of the evidence, in miniature: scores are shares, and the gap is their difference."""
    from rlcourse.evidence.mazes import random_success, table_steps, unseen_success

    score, extra = unseen_success({"count": 2, "sweeps": 4, "steps": 8192}, 0, larger=True)
    assert 0 <= score <= 1 and len(extra["curves"]) == len(extra["x"]) == 8
    assert extra["gap"] == pytest.approx(extra["seen"] - score)
    assert 0 <= extra["larger"] <= 1 and 0 <= extra["larger_twice"] <= 1
    steps, extra = table_steps({"steps": 20_000, "alpha": 0.5}, 1)
    assert extra["way"] <= steps < 20_000 and 0 <= extra["unseen"] < 0.5
    assert table_steps({"steps": 3}, 1)[0] == 3
    few, many = (random_success({"moves": moves}, 0)[0] for moves in (1, 4000))
    assert 0 < few < 0.1 and many > 0.95
