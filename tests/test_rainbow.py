"""Rainbow: equal to DQN with its own switches off, and by hand with them on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlcourse.algorithms import dqn, rainbow
from rlcourse.algorithms.rainbow import Config, Run, expected, rainbow_loss, train
from rlcourse.envs.probes import PROBES, Probe
from rlcourse.errors import InvalidArgumentError
from rlcourse.networks import NoisyLinear, Plain
from rlcourse.replay import Batch

OFF: dict[str, Any] = {
    "double": False, "dueling": False, "prioritized": False, "n": 1, "noisy": False,
    "distributional": False,
}  # fmt: skip
QUICK: dict[str, Any] = {
    "steps": 400, "num_envs": 8, "gamma": 0.9, "hidden": (32,), "learning_rate": 1e-2,
    "batch_size": 32, "replay_size": 800, "learning_starts": 64, "train_every": 8, "updates": 8,
    "target_every": 5, "epsilon_end": 1.0, "epsilon_steps": 400, "checkpoint_every": 8000,
}  # fmt: skip
TINY: dict[str, Any] = {
    **QUICK, "env_id": "rlcourse/Probe-Corridor-v0", "steps": 160, "hidden": (8,), "batch_size": 8,
    "updates": 2, "target_every": 3,
}  # fmt: skip
RANGE = {"v_min": -2.0, "v_max": 10.0}


# --- against DQN ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "on",
    [{}, {"double": True}, {"dueling": True}, {"prioritized": True}, {"n": 3}],
    ids=["nothing", "double", "dueling", "prioritized", "three steps"],
)
def test_without_its_own_two_switches_it_is_dqn(on: dict[str, Any]) -> None:
    """Number for number, over restarts: the log, the losses in it and the weights."""
    same = {**TINY, "env_id": "CartPole-v1", "steps": 400, "checkpoint_every": 160}
    ours = train(Config(**same, **{**OFF, **on}), 3)
    theirs = dqn.train(dqn.Config(**same, **on), 3)
    assert ours.log == theirs.log and len(ours.log) > 5
    pairs = zip(ours.policy.network.parameters(), theirs.policy.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


# --- the probes -----------------------------------------------------------------------------------

# A noisy network's values are those of its mean weights, which is not the mean of its values.
SWITCHES = {
    "all": ({}, 0.1),
    "distributional": ({**OFF, "distributional": True}, 0.15),
    "noisy": ({**OFF, "noisy": True}, 0.6),
}


@pytest.mark.parametrize("world", PROBES, ids=lambda world: world.env_id.split("-")[1])
@pytest.mark.parametrize(("switches", "error"), SWITCHES.values(), ids=SWITCHES)
def test_every_switch_solves_every_probe(
    world: Probe, switches: dict[str, Any], error: float
) -> None:
    config = Config(**{**QUICK, **RANGE, **switches, "env_id": world.env_id})
    policy = train(config, seed=1).policy
    model = world.model()
    states = np.flatnonzero(~model.terminal)
    values = np.array(world.values(0.9))[states]
    got = policy.q_values(states).max(1)
    np.testing.assert_allclose(got, values, atol=min(error, 0.15), rtol=error / 10)
    if model.num_actions > 1:
        np.testing.assert_array_equal(policy(states), model.reward[states].argmax(1))


# --- the loss -------------------------------------------------------------------------------------


class Logits(nn.Module):
    """A network in double precision with three actions of five atoms."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 15)).double()

    def forward(self, obs: Tensor) -> Tensor:
        return self.layers(obs).unflatten(1, (3, 5))


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def by_hand(
    ahead: np.ndarray, chooser: np.ndarray, batch: Batch, support: np.ndarray
) -> np.ndarray:
    """The target distributions, one atom at a time: each gives its two neighbours what they are due."""
    targets = np.zeros((len(ahead), len(support)))
    gap = support[1] - support[0]
    for b in range(len(ahead)):
        best = max(range(3), key=lambda a: float(softmax(chooser[b, a]) @ support))
        for p, z in zip(softmax(ahead[b, best]), support, strict=True):
            y = float(batch.reward[b]) + float(batch.discount[b]) * z
            y = min(max(y, support[0]), support[-1])
            for i, point in enumerate(support):
                targets[b, i] += p * max(0.0, 1 - abs(y - point) / gap)
    return targets


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(
    "one_network", [False, True], ids=["target apart", "target is the network"]
)
def test_the_gradient_is_the_semi_gradient(double: bool, one_network: bool) -> None:
    """Cross-entropy with a target computed by hand and held still, by finite differences."""
    network = Logits(0)
    target = network if one_network else Logits(1)
    rng, size = np.random.default_rng(0), 9
    batch = Batch(
        torch.tensor(rng.normal(size=(size, 4))), torch.tensor(rng.integers(3, size=size)),
        torch.tensor(2 * rng.normal(size=size)), torch.tensor(0.9 * (rng.random(size) < 0.7)),
        torch.tensor(rng.normal(size=(size, 4))), torch.tensor(rng.random(size)), None,
    )  # fmt: skip
    support = torch.linspace(-3, 3, 5, dtype=torch.float64)
    with torch.no_grad():
        ahead = target(batch.next_obs).numpy()
        chooser = network(batch.next_obs).numpy() if double else ahead
    y = by_hand(ahead, chooser, batch, support.numpy())

    def rows() -> np.ndarray:
        with torch.no_grad():
            logits = network(batch.obs).numpy()[np.arange(size), batch.action.numpy()]
        return np.asarray(-(y * np.log(softmax(logits))).sum(1))

    losses, errors = rainbow_loss(network, target, batch, support=support, double=double)
    np.testing.assert_allclose(losses.detach().numpy(), rows(), rtol=1e-9)
    np.testing.assert_array_equal(errors.numpy(), losses.detach().numpy())
    assert not errors.requires_grad
    (batch.weight * losses).mean().backward()
    for p in network.parameters():
        flat, gradient = p.detach().view(-1), p.grad.view(-1)  # type: ignore[union-attr]
        for i in range(len(flat)):
            old, ends = float(flat[i]), []
            for sign in (1, -1):
                flat[i] = old + sign * 1e-6
                ends.append(float((batch.weight.numpy() * rows()).mean()))
            flat[i] = old
            assert float(gradient[i]) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-8)
    if not one_network:
        assert all(p.grad is None for p in target.parameters())


def test_double_chooses_with_one_network_and_judges_with_the_other() -> None:
    """One next state, two actions, atoms 0 and 1; the logits say almost surely."""
    sure = 50.0
    low, high = [sure, 0.0], [0.0, sure]

    class Fixed(nn.Module):
        def __init__(self, logits: Any) -> None:
            super().__init__()
            self.logits = torch.tensor([logits])

        def forward(self, obs: Tensor) -> Tensor:
            return self.logits.expand(len(obs), 2, 2)

    online, target = Fixed([high, low]), Fixed([low, high])
    support, one = torch.tensor([0.0, 1.0]), torch.ones(1)
    batch = Batch(torch.zeros(1), torch.tensor([0]), 0 * one, one, torch.zeros(1), one, None)
    # The target's own best is worth 1, as the prediction says; the online network's best it calls 0.
    own = rainbow_loss(online, target, batch, support=support, double=False)[0]
    crossed = rainbow_loss(online, target, batch, support=support, double=True)[0]
    assert own.item() == pytest.approx(0.0, abs=1e-6) and crossed.item() == pytest.approx(sure)


def test_expected_is_the_mean_of_the_distribution() -> None:
    rng = np.random.default_rng(0)
    logits, support = rng.normal(size=(4, 3, 5)), np.linspace(-1, 1, 5)
    got = expected(torch.tensor(logits), torch.tensor(support))
    for b in range(4):
        for a in range(3):
            assert float(got[b, a]) == pytest.approx(
                sum(p * z for p, z in zip(softmax(logits[b, a]), support, strict=True))
            )


# --- noise ----------------------------------------------------------------------------------------


def noises(network: nn.Module) -> list[Tensor]:
    return [m.noise_in.clone() for m in network.modules() if isinstance(m, NoisyLinear)]


def test_every_update_has_noise_of_its_own_and_so_has_the_target() -> None:
    seen: list[Tensor] = []

    def loss(network: nn.Module, target: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        seen.extend(noises(network) + noises(target))
        return dqn.dqn_loss(network, target, batch)

    train(Config(**{**TINY, **OFF, "noisy": True}), loss=loss)
    assert len(seen) == 26 * 4  # two layers of each network in each update
    assert all((noise != 0).all() for noise in seen)
    first = [float(noise[0]) for noise in seen]
    assert len(set(first)) == len(first)


def test_a_frozen_policy_has_no_noise() -> None:
    """Its values are those of the mean weights, however often it is asked, and while the run goes on."""
    taken: list[tuple[Any, Any]] = []
    states = np.arange(5)

    def watch(steps: int, row: dict[str, float], run: Run) -> None:
        policy = run.policy()
        with torch.no_grad():
            x = torch.eye(6)[:5]
            for layer in run.network:
                if isinstance(layer, NoisyLinear):
                    x = x @ layer.weight.T + layer.bias
                elif isinstance(layer, nn.ReLU):
                    x = x.clamp(min=0)
            head = next(layer.q for layer in run.network if isinstance(layer, Plain))
            q = x @ head.weight.T + head.bias
        np.testing.assert_allclose(policy.q_values(states), q, atol=1e-5)
        with torch.no_grad():
            noisy = run.network(torch.arange(5)).numpy()
        assert not np.allclose(noisy, q, atol=1e-3)
        taken.append((policy, policy.q_values(states)))

    config = Config(**{**TINY, **OFF, "noisy": True})
    result = train(config, on_progress=watch)
    assert len(taken) > 2
    for policy, values in taken:
        np.testing.assert_array_equal(policy.q_values(states), values)
    np.testing.assert_array_equal(result.policy.q_values(states), result.policy.q_values(states))


def test_noise_explores_in_the_place_of_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is learned here. Without noise every action is the greedy one, at an epsilon of one."""
    runs: list[Run] = []
    config = Config(**{**TINY, **RANGE, "env_id": "rlcourse/Probe-TwoActions-v0", "steps": 800,
                       "learning_starts": 800, "train_every": 1600, "checkpoint_every": 800})  # fmt: skip
    train(config, on_checkpoint=runs.append)
    acted = runs[0].replay.action.reshape(-1, 8)
    assert 10 < acted[:, 0].sum() < 90  # of a hundred draws both actions come out
    assert (acted == acted[:, :1]).all()  # all eight act on one draw, as the module says
    monkeypatch.setattr(rainbow, "reset_noise", lambda network, generator: None)
    result = train(config, on_checkpoint=runs.append)
    assert (runs[-1].replay.action == result.policy(np.array([0]))[0]).all()


def test_without_noise_epsilon_explores() -> None:
    runs: list[Run] = []
    config = Config(**{**TINY, **OFF, "env_id": "rlcourse/Probe-TwoActions-v0", "steps": 800,
                       "learning_starts": 800, "train_every": 1600, "checkpoint_every": 800})  # fmt: skip
    train(config, on_checkpoint=runs.append)
    assert abs(runs[0].replay.action.mean() - 0.5) < 5 * 0.5 / np.sqrt(800)


# --- runs -----------------------------------------------------------------------------------------


def test_a_run_is_its_seed() -> None:
    config = Config(**{**TINY, "env_id": "CartPole-v1", "steps": 320})
    torch.manual_seed(1)
    first = train(config, 4)
    torch.manual_seed(2)
    again, other = train(config, 4), train(config, 5)
    assert first.log == again.log != other.log and len(first.log) > 5
    pairs = zip(first.policy.network.parameters(), again.policy.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_values_lie_within_the_range_of_the_atoms() -> None:
    """What no distribution on the atoms can say it does not say: the value of ten is cut to four."""
    config = Config(**{**QUICK, "env_id": "rlcourse/Probe-Forever-v0", "v_min": 0.0, "v_max": 4.0})
    best = train(config, 1).policy.q_values(np.array([0])).max()
    assert best == pytest.approx(4.0, abs=0.1) and best <= 4.0


def test_a_loss_handed_in_trains() -> None:
    """An agent that is told the opposite of every reward learns the opposite choice."""
    support = torch.linspace(-2, 10, 51)

    def upside_down(network: nn.Module, target: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        return rainbow_loss(network, target, batch._replace(reward=-batch.reward), support=support)

    config = Config(**{**QUICK, **RANGE, "env_id": "rlcourse/Probe-TwoActions-v0", "steps": 200})
    assert train(config).policy(np.array([0]))[0] == 1
    assert train(config, loss=upside_down).policy(np.array([0]))[0] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"atoms": 1}, r"atoms = 1: must be at least 2"),
        ({"atoms": 0}, r"atoms = 0: must be a whole number"),
        ({"atoms": 5.5}, r"atoms = 5\.5"),
        ({"v_min": 3.0, "v_max": 3.0}, r"v_max = 3\.0: must be above v_min = 3\.0"),
        ({"v_min": float("nan")}, r"v_min = nan: must be finite"),
        ({"v_max": float("inf")}, r"v_max = inf: must be finite"),
        ({"v_max": "far"}, r"v_max = 'far'"),
        ({"gamma": 1.2}, r"gamma = 1\.2"),
        ({"steps": 1001}, r"steps = 1001: must be a multiple"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Config(**settings)
    assert Config(distributional=False, atoms=1).atoms == 1
