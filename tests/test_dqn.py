"""Deep Q-networks: losses by finite differences, runs on worlds with known values, parts by spying."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlcourse.algorithms import dqn
from rlcourse.algorithms.dqn import Config, Run, double_dqn_loss, dqn_loss, train
from rlcourse.envs.probes import PROBES, Probe
from rlcourse.errors import CourseError, DivergenceError, InvalidArgumentError
from rlcourse.evaluation import play
from rlcourse.networks import tensors
from rlcourse.replay import Batch, PrioritizedReplay

# Eight updates a step of eight environments: many updates, few steps, and a new target every five of them.
QUICK: dict[str, Any] = {
    "steps": 400, "num_envs": 8, "gamma": 0.9, "hidden": (32,), "learning_rate": 1e-2,
    "batch_size": 32, "replay_size": 800, "learning_starts": 64, "train_every": 8, "updates": 8,
    "target_every": 5, "epsilon_end": 1.0, "epsilon_steps": 400, "checkpoint_every": 8000,
}  # fmt: skip
# For what does not need to learn anything.
TINY: dict[str, Any] = {
    **QUICK, "env_id": "rlcourse/Probe-Corridor-v0", "steps": 160, "hidden": (8,), "batch_size": 8,
    "updates": 2, "target_every": 3,
}  # fmt: skip
SWITCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "double": {"double": True},
    "dueling": {"dueling": True},
    "prioritized": {"prioritized": True},
    "three steps": {"n": 3},
    "all": {"double": True, "dueling": True, "prioritized": True, "n": 3},
}
LOSSES = pytest.mark.parametrize("loss", [dqn_loss, double_dqn_loss])


class Poison(gym.Env[Any, Any]):
    """Pays one a step for so many steps of all environments, and then no number at all."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)
    left = 240

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return np.ones(2, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        Poison.left -= 1
        return np.ones(2, np.float32), 1.0 if Poison.left >= 0 else np.nan, False, False, {}


gym.register("tests/Poison-v0", Poison)


# --- the losses -----------------------------------------------------------------------------------


class Table(nn.Module):
    """Action values of numbered states: the simplest network there is."""

    def __init__(self, values: Any) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values, dtype=torch.float64))

    def forward(self, obs: Tensor) -> Tensor:
        return self.values[obs]


def batch_of(**fields: Any) -> Batch:
    """Transitions of numbered states, in double precision."""
    size = len(fields["action"])
    whole = {"obs": np.zeros(size), "next_obs": np.zeros(size), "index": np.arange(size), **fields}
    real = {"reward": np.zeros(size), "discount": np.full(size, 0.9), "weight": np.ones(size)}
    made = {name: torch.tensor(np.asarray(whole[name]), dtype=torch.int64) for name in whole
            if name not in real}  # fmt: skip
    made.update({k: torch.tensor(fields.get(k, v), dtype=torch.float64) for k, v in real.items()})
    return Batch(**made)


def double_network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


@LOSSES
@pytest.mark.parametrize(
    "one_network", [False, True], ids=["target apart", "target is the network"]
)
def test_the_gradient_is_the_semi_gradient(loss: dqn.Loss, one_network: bool) -> None:
    """Finite differences of Huber's function with the target held still, computed by hand in numpy."""
    network = double_network(0)
    target = network if one_network else double_network(1)
    rng = np.random.default_rng(0)
    size = 12
    batch = Batch(
        torch.tensor(rng.normal(size=(size, 4))), torch.tensor(rng.integers(3, size=size)),
        torch.tensor(3 * rng.normal(size=size)), torch.tensor(0.9 * (rng.random(size) < 0.7)),
        torch.tensor(rng.normal(size=(size, 4))), torch.tensor(rng.random(size)), None,
    )  # fmt: skip
    rows = np.arange(size)
    with torch.no_grad():
        ahead, online = target(batch.next_obs).numpy(), network(batch.next_obs).numpy()
    best = (ahead if loss is dqn_loss else online).argmax(1)
    y = batch.reward.numpy() + batch.discount.numpy() * ahead[rows, best]

    def objective() -> float:
        with torch.no_grad():
            error = np.abs(network(batch.obs).numpy()[rows, batch.action.numpy()] - y)
        huber = np.where(error < 1, 0.5 * error**2, error - 0.5)
        return float((batch.weight.numpy() * huber).mean())

    losses, errors = loss(network, target, batch)
    value = (batch.weight * losses).mean()
    assert float(value.detach()) == pytest.approx(objective())
    value.backward()
    with torch.no_grad():
        q = network(batch.obs).numpy()[rows, batch.action.numpy()]
        np.testing.assert_allclose(errors.numpy(), y - q, atol=1e-12)
        assert errors.abs().min() < 1 < errors.abs().max()  # both halves of Huber's function
        for p in network.parameters():
            flat, gradient = p.view(-1), p.grad.view(-1)  # type: ignore[union-attr]
            for i in range(len(flat)):
                old, step = float(flat[i]), 1e-6
                ends = []
                for sign in (1, -1):
                    flat[i] = old + sign * step
                    ends.append(objective())
                flat[i] = old
                slope = (ends[0] - ends[1]) / (2 * step)
                assert float(gradient[i]) == pytest.approx(slope, abs=1e-8)
    if not one_network:
        assert all(p.grad is None for p in target.parameters())
    assert not errors.requires_grad


@LOSSES
def test_hubers_gradient_is_the_error_cut_to_one(loss: dqn.Loss) -> None:
    """Of errors from a thousandth to a million, both ways."""
    rewards = np.array([1e-3, -0.5, 0.999, 1.5, -40.0, 1e6])
    network = Table(np.zeros((6, 2)))
    batch = batch_of(obs=np.arange(6), action=[0, 1] * 3, reward=rewards, discount=np.zeros(6))
    loss(network, Table(np.zeros((6, 2))), batch)[0].sum().backward()
    gradient = network.values.grad.numpy()[np.arange(6), [0, 1] * 3]  # type: ignore[union-attr]
    np.testing.assert_allclose(gradient, np.clip(-rewards, -1, 1))
    assert np.count_nonzero(network.values.grad) == 6  # of the actions taken alone


@LOSSES
def test_after_an_end_nothing_counts_and_after_a_time_limit_it_does(loss: dqn.Loss) -> None:
    """Two transitions alike; the discount, which the ring has set to zero at the end, is all that differs."""
    network = Table([[0.0, 0.0], [0.0, 1.0]])
    for beyond in (5.0, 500.0):
        target = Table([[0.0, 0.0], [beyond, beyond]])
        batch = batch_of(obs=[0, 0], action=[0, 0], reward=[1.0, 1.0], discount=[0.0, 0.9],
                         next_obs=[1, 1])  # fmt: skip
        assert loss(network, target, batch)[1].tolist() == [1.0, 1.0 + 0.9 * beyond]


def test_double_chooses_with_one_network_and_judges_with_the_other() -> None:
    """The online network prefers action 0 in the next state, the target network action 1."""
    online, target = Table([[0.0, 0.0], [7.0, 3.0]]), Table([[0.0, 0.0], [2.0, 9.0]])
    batch = batch_of(obs=[0], action=[0], next_obs=[1], discount=[1.0])
    assert float(dqn_loss(online, target, batch)[1]) == 9.0  # the target's best
    assert (
        float(double_dqn_loss(online, target, batch)[1]) == 2.0
    )  # the target's of the online best
    assert float(double_dqn_loss(target, online, batch)[1]) == 3.0


@LOSSES
def test_a_batch_of_losses_is_a_row_not_a_table(loss: dqn.Loss) -> None:
    """[B, 1] against [B] would make [B, B], with a mean that looks right: every row must stand alone."""
    rng = np.random.default_rng(1)
    network, target = Table(rng.normal(size=(5, 3))), Table(rng.normal(size=(5, 3)))
    fields = {"obs": rng.integers(5, size=7), "next_obs": rng.integers(5, size=7),
              "action": rng.integers(3, size=7), "reward": rng.normal(size=7)}  # fmt: skip
    losses, errors = loss(network, target, batch_of(**fields))
    assert losses.shape == errors.shape == (7,)
    for i in range(7):
        alone = loss(network, target, batch_of(**{k: v[i : i + 1] for k, v in fields.items()}))
        assert losses[i].item() == pytest.approx(alone[0].item())
        assert errors[i].item() == pytest.approx(alone[1].item())


@LOSSES
def test_columns_are_refused(loss: dqn.Loss) -> None:
    network, batch = Table(np.zeros((2, 2))), batch_of(action=[0, 1, 0])
    for name in ("reward", "discount"):
        column = batch._replace(**{name: getattr(batch, name)[:, None]})
        with pytest.raises(AssertionError):
            loss(network, network, column)


# --- one update -----------------------------------------------------------------------------------


def started(**options: Any) -> Run:
    """A run of the tiny size with a full memory, about to be updated."""
    run = Run(Config(**{**TINY, **options}), 0, "cpu")
    rng = np.random.default_rng(0)
    while run.episodes.steps < 80:
        run.replay.add(run.episodes.step(rng.integers(run.actions, size=8)))
    return run


def test_the_target_is_a_network_of_its_own() -> None:
    run = started(target_every=100)
    assert run.target is not run.network
    pairs = list(zip(run.network.parameters(), run.target.parameters(), strict=True))
    assert all(torch.equal(p, t) and p.data_ptr() != t.data_ptr() for p, t in pairs)
    before = [t.detach().clone() for _, t in pairs]
    for _ in range(5):
        dqn.update(run, dqn_loss)
    assert all(torch.equal(t, b) for (_, t), b in zip(pairs, before, strict=True))
    assert any(not torch.equal(p, t) for p, t in pairs)


@pytest.mark.parametrize("every", [1, 3, 4])
def test_the_target_is_copied_every_so_many_updates(every: int) -> None:
    run = started(target_every=every)
    history = []
    for k in range(13):
        history.append(run.weights.detach().clone())
        assert run.updates == k
        assert torch.equal(run.target_weights.detach(), history[k - k % every])
        obs = torch.arange(5)
        with torch.no_grad():
            same = torch.equal(run.target(obs), run.network(obs))
        assert same == (k % every == 0)  # the layers see the copy, not the vector alone
        dqn.update(run, dqn_loss)


def test_an_update_weighs_the_losses_and_remembers_the_errors() -> None:
    """With a loss whose gradient is known: twice the first weight, times the row, minus a half."""
    run = started(prioritized=True, max_grad_norm=1e9, alpha=0.5)
    run.replay.prioritize(np.arange(80), np.linspace(0.1, 3.0, 80))
    seen: list[Batch] = []

    def loss(network: nn.Module, target: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        seen.append(batch)
        return 2 * run.weights[0] * (batch.index - 0.5), 0.01 * (batch.index + 1.0) * -1

    run.weights.grad = torch.zeros_like(run.weights)
    dqn.update(run, loss)
    batch = seen[0]
    assert len(set(batch.weight.tolist())) > 3
    expected = (batch.weight.double() * 2 * (batch.index - 0.5)).mean()
    assert float(run.weights.grad[0]) == pytest.approx(float(expected), rel=1e-5)
    index = batch.index.numpy()
    priorities = (0.01 * (index + 1.0) + 1e-6) ** 0.5
    np.testing.assert_allclose(run.replay.tree.get(index), priorities, rtol=1e-5)


def test_a_long_gradient_is_cut() -> None:
    run = started(max_grad_norm=0.25)

    def steep(network: nn.Module, target: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        return 1e4 * network(batch.obs).sum(1), batch.reward

    dqn.update(run, steep)
    assert float(run.weights.grad.norm()) == pytest.approx(0.25, rel=1e-4)  # type: ignore[union-attr]


def test_rates_follow_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam's step falls to its end, the correction rises to one: both in a straight line over the run."""
    rates, betas = [], []
    sample, real = PrioritizedReplay.sample, dqn.update

    def drawn(self: Any, batch_size: int, beta: float = 1.0) -> Batch:
        betas.append(beta)
        return sample(self, batch_size, beta)

    def update(run: Run, loss: dqn.Loss) -> None:
        real(run, loss)
        share = run.episodes.steps / 160
        rates.append((run.optimizer.param_groups[0]["lr"], 0.03 + share * (0.01 - 0.03)))
        betas[-1] = (betas[-1], 0.2 + share * 0.8)

    monkeypatch.setattr(PrioritizedReplay, "sample", drawn)
    monkeypatch.setattr(dqn, "update", update)
    train(Config(**{**TINY, "prioritized": True, "beta": 0.2, "learning_rate": 0.03,
                    "learning_rate_end": 0.01}))  # fmt: skip
    for pairs in (rates, betas):
        assert len(pairs) == 26
        assert [got for got, _ in pairs] == pytest.approx([wanted for _, wanted in pairs])
    assert rates[-1][0] == pytest.approx(0.01) and betas[-1][0] == pytest.approx(1.0)


# --- runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", PROBES, ids=lambda world: world.env_id.split("-")[1])
@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_every_switch_solves_every_probe(world: Probe, switches: dict[str, Any]) -> None:
    """The closed-form value of every state, and the right action wherever there is one."""
    config = Config(env_id=world.env_id, **QUICK, **switches)
    policy = train(config, seed=1).policy
    model = world.model()
    states = np.flatnonzero(~model.terminal)
    values = np.array(world.values(0.9))[states]
    np.testing.assert_allclose(policy.q_values(states).max(1), values, atol=0.08)
    if model.num_actions > 1:
        np.testing.assert_array_equal(policy(states), model.reward[states].argmax(1))


def test_the_batches_hold_real_transitions() -> None:
    """In the corridor every step leads one state on, also into a time limit and before a restart."""
    seen: list[Batch] = []

    def loss(network: nn.Module, target: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        seen.append(batch)
        return dqn_loss(network, target, batch)

    train(Config(**{**TINY, "env_options": {"max_episode_steps": 4}, "checkpoint_every": 56}),
          loss=loss)  # fmt: skip
    obs, next_obs = (torch.cat([getattr(b, name) for b in seen]) for name in ("obs", "next_obs"))
    assert (next_obs == obs + 1).all() and set(obs.tolist()) == {0, 1, 2, 3}
    assert (torch.cat([b.discount for b in seen]) > 0).all()


def test_no_window_reaches_over_a_restart() -> None:
    """After 24 steps in 8 environments they begin anew: three steps from state 2 lead to state 3."""
    seen: list[Batch] = []

    def loss(network: nn.Module, target: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        seen.append(batch)
        return dqn_loss(network, target, batch)

    train(Config(**{**TINY, "n": 3, "checkpoint_every": 24}), loss=loss)
    whole = Batch(*(torch.cat(field) for field in zip(*seen, strict=True)))
    assert set(whole.obs.tolist()) == {0, 1, 2}  # no episode comes further
    assert (whole.next_obs > whole.obs).all() and (whole.next_obs <= 3).all()
    steps = whole.next_obs - whole.obs
    np.testing.assert_allclose(whole.discount, 0.9 ** steps.numpy(), rtol=1e-6)


def test_bursts_come_when_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    """None before enough is remembered; then so many updates every so many steps."""
    at: list[int] = []
    monkeypatch.setattr(dqn, "update", lambda run, loss: at.append(run.episodes.steps))
    train(Config(**{**TINY, "learning_starts": 70, "train_every": 32, "updates": 3}))
    assert at == [96] * 3 + [128] * 3 + [160] * 3
    at.clear()
    train(Config(**{**TINY, "learning_starts": 70, "replay_size": 40, "train_every": 32}))
    assert at == [step for step in (64, 96, 128, 160) for _ in range(2)]  # a full ring is enough


def test_epsilon_is_really_used() -> None:
    """Without an update the greedy action stays: all others are explored, and fewer and fewer."""
    config = Config(**{**TINY, "env_id": "rlcourse/Probe-TwoActions-v0", "steps": 3200,
                       "epsilon": 1.0, "epsilon_end": 0.0, "epsilon_steps": 1600,
                       "learning_starts": 4000, "replay_size": 4000, "checkpoint_every": 3200})  # fmt: skip
    runs: list[Run] = []
    result = train(config, on_checkpoint=runs.append)
    other = runs[0].replay.action[:3200] != result.policy(np.array([0]))[0]
    assert not other[1600:].any()
    for part in range(
        4
    ):  # epsilon falls by a quarter in each of four hundred steps; half are greedy
        chance = (1.0 - (part + 0.5) / 4) / 2
        count = other[400 * part : 400 * (part + 1)].sum()
        assert abs(count - 400 * chance) < 5 * np.sqrt(400 * chance * (1 - chance)), part
    spread = train(replace(config, epsilon_end=1.0), on_checkpoint=runs.append)
    acted = runs[-1].replay.action[:3200]
    assert abs(acted.mean() - 0.5) < 5 * 0.5 / np.sqrt(3200) and len(spread.log) == 3200


@pytest.mark.parametrize("switches", [{}, SWITCHES["all"]], ids=["plain", "all"])
def test_a_run_is_its_seed(switches: dict[str, Any]) -> None:
    config = Config(**{**TINY, **switches, "env_id": "CartPole-v1", "steps": 400})
    torch.manual_seed(1)
    first = train(config, 4)
    torch.manual_seed(2)  # what others draw is not our business
    np.random.seed(3)  # noqa: NPY002
    again, other = train(config, 4), train(config, 5)
    assert first.log == again.log != other.log and len(first.log) > 5
    for a, b in zip(
        first.policy.network.parameters(), again.policy.network.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    assert any("loss" in row for row in first.log)


def test_looking_at_a_run_does_not_disturb_it() -> None:
    config = Config(**{**TINY, "env_id": "CartPole-v1", "steps": 400, "prioritized": True})
    state = torch.random.get_rng_state()

    def watch(steps: int, row: dict[str, float], run: Run) -> None:
        play(run.policy(), "CartPole-v1", episodes=2, num_envs=2, max_episode_steps=20)

    quiet, watched = train(config), train(config, on_progress=watch)
    assert quiet.log == watched.log
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_policy_is_frozen() -> None:
    """Taken in the middle of a run it stays what it was, whatever the run learns afterwards."""
    taken: list[tuple[Any, Any, Run]] = []

    def watch(steps: int, row: dict[str, float], run: Run) -> None:
        policy = run.policy()
        taken.append((policy, policy.q_values(np.arange(5)), run))

    result = train(Config(**TINY), on_progress=watch)
    assert len(taken) > 2
    for policy, values, run in taken:
        np.testing.assert_array_equal(policy.q_values(np.arange(5)), values)
        assert not policy.network.training and run.network.training
    assert not np.array_equal(taken[0][1], result.policy.q_values(np.arange(5)))


def test_a_loss_handed_in_trains() -> None:
    """An agent that is told the opposite of every reward learns the opposite choice."""

    def upside_down(network: nn.Module, target: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        return dqn_loss(network, target, batch._replace(reward=-batch.reward))

    config = Config(**{**QUICK, "env_id": "rlcourse/Probe-TwoActions-v0"})
    assert train(config).policy(np.array([0]))[0] == 1
    assert train(config, loss=upside_down).policy(np.array([0]))[0] == 0


@pytest.mark.parametrize("num_envs", [1, 8])
def test_the_log_tells_every_episode(num_envs: int) -> None:
    """Three steps long, paying one each: how many environments there are changes nothing but the order."""
    heard: list[tuple[int, dict[str, float]]] = []
    config = Config(**{**TINY, "env_id": "rlcourse/Probe-LastMoment-v0", "steps": 96,
                       "num_envs": num_envs})  # fmt: skip
    result = train(config, on_progress=lambda *told: heard.append(told[:2]))
    assert {(row["return"], row["length"]) for row in result.log} == {(3.0, 3)}
    ends = range(3 * num_envs, 97, 3 * num_envs)
    assert [row["step"] for row in result.log] == [end for end in ends for _ in range(num_envs)]
    assert [steps for steps, _ in heard] == list(ends)
    assert all(row is result.log[(i + 1) * num_envs - 1] for i, (_, row) in enumerate(heard))


def test_the_device_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text of its own kind, by which it can be told from a default of the same letters."""

    class Named(str):
        pass

    asked: list[tuple[str, str]] = []
    cpu, runs = Named("cpu"), []
    to = nn.Module.to
    monkeypatch.setattr(dqn, "tensors", lambda b, d: asked.append(("batch", d)) or tensors(b, d))
    monkeypatch.setattr(nn.Module, "to", lambda m, d: asked.append(("weights", d)) or to(m, d))
    train(Config(**TINY), device=cpu, on_checkpoint=runs.append)
    assert {what for what, _ in asked} == {"batch", "weights"}
    assert all(device is cpu for _, device in asked) and runs[0].device is cpu


# --- what cannot go well --------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*The reward is a NaN value")
def test_a_reward_that_is_no_number_stops_the_run() -> None:
    runs: list[Run] = []
    config = Config(**{**TINY, "env_id": "tests/Poison-v0", "steps": 800, "checkpoint_every": 80})
    with pytest.raises(
        DivergenceError, match=r"step 2\d\d, update \d+, .*reward in \[.*not finite"
    ):
        train(config, on_checkpoint=runs.append)
    run = runs[0]
    assert run.updates > 5 and torch.isfinite(run.weights).all()
    assert np.isfinite(run.policy().q_values(np.ones((1, 2), np.float32))).all()


def test_an_absurd_learning_rate_stops_the_run() -> None:
    runs: list[Run] = []
    config = Config(**{**TINY, "learning_rate": 1e30})
    with pytest.raises(
        DivergenceError, match=r"gradient norm = .*learning rate .*e\+\d+; step \d+"
    ) as it:
        train(config, on_progress=lambda steps, row, run: runs.append(run))
    assert "try a smaller learning rate" in str(it.value)
    assert torch.isfinite(runs[0].weights).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.2}, r"gamma = 1\.2: must be a number in \[0, 1\]"),
        ({"gamma": float("nan")}, r"gamma = nan"),
        ({"epsilon": -0.1}, r"epsilon = -0\.1"),
        ({"epsilon_end": "low"}, r"epsilon_end = 'low'"),
        ({"epsilon_steps": 0}, r"epsilon_steps = 0"),
        ({"alpha": 2.0}, r"alpha = 2\.0"),
        ({"beta": -1.0}, r"beta = -1\.0"),
        ({"steps": 0}, r"steps = 0: must be a whole number"),
        ({"steps": 1001}, r"steps = 1001: must be a multiple of num_envs = 8"),
        ({"num_envs": 0}, r"num_envs = 0"),
        ({"num_envs": 2.5}, r"num_envs = 2\.5"),
        ({"batch_size": 0}, r"batch_size = 0"),
        ({"batch_size": None}, r"batch_size = None"),
        ({"replay_size": 1001}, r"replay_size = 1001: must be a multiple of num_envs = 8"),
        ({"train_every": 12}, r"train_every = 12: must be a multiple of num_envs = 8"),
        ({"checkpoint_every": 9}, r"checkpoint_every = 9: must be a multiple"),
        ({"learning_starts": 0}, r"learning_starts = 0"),
        ({"updates": 0}, r"updates = 0"),
        ({"target_every": 0}, r"target_every = 0"),
        ({"n": 0}, r"n = 0"),
        ({"learning_rate": float("nan")}, r"learning_rate = nan"),
        ({"learning_rate": -1e-3}, r"learning_rate = -0\.001"),
        ({"learning_rate_end": "small"}, r"learning_rate_end = 'small'"),
        ({"max_grad_norm": -1.0}, r"max_grad_norm = -1\.0"),
        ({"hidden": (0,)}, r"hidden = 0"),
        ({"hidden": (8, -1)}, r"hidden = -1"),
        ({"hidden": "wide"}, r"hidden = 'wide'"),
        ({"hidden": None}, r"hidden = None"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Config(**settings)


def test_settings_from_a_file_are_mended() -> None:
    """JSON knows no tuples, and some writers no whole numbers."""
    config = Config(**{**TINY, "hidden": [8], "batch_size": 8.0, "steps": 160.0, "num_envs": 8.0})
    assert config == Config(**TINY) == Config(**{**TINY, "hidden": 8})
    assert train(config).log == train(Config(**TINY)).log


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Pendulum-v1", r"'Pendulum-v1' has Box.*actions must be Discrete"),
        ("Blackjack-v1", r"observation_space = Tuple.*must be Discrete"),
        ("CartPole-v7", r"env_id = 'CartPole-v7'.*CartPole-v1"),
    ],
)
def test_environments_that_it_cannot_learn(env_id: str, message: str) -> None:
    with pytest.raises(CourseError, match=message):
        train(Config(**{**TINY, "env_id": env_id}))


@pytest.mark.parametrize("seed", [-1, 1.5, None])
def test_bad_seeds(seed: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"seed = "):
        train(Config(**TINY), seed)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(InvalidArgumentError, match=r"device = 'bogus'"):
        train(Config(**TINY), device="bogus")


def test_the_networks_of_a_run_can_be_copied() -> None:
    """A policy is a deep copy: nothing of it may point back into the run."""
    run = started()
    copy = deepcopy(run.network)
    before = copy(torch.arange(5)).detach()
    dqn.update(run, dqn_loss)
    assert torch.equal(copy(torch.arange(5)).detach(), before)
