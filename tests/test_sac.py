"""Soft actor-critic: targets by hand, gradients by finite differences, densities by numerical integration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from scipy.stats import kstest
from torch import Tensor, nn

from rlcourse.algorithms import sac
from rlcourse.algorithms.sac import Config, Run, actor_loss, critic_loss, train
from rlcourse.checkpoint import load, save
from rlcourse.distributions import SquashedNormal
from rlcourse.errors import InvalidArgumentError
from rlcourse.networks import SquashedActor, tensors
from rlcourse.replay import Batch

TINY: dict[str, Any] = {
    "env_id": "tests/Road-v0", "steps": 240, "num_envs": 4, "hidden": (8,), "batch_size": 8,
    "replay_size": 400, "learning_starts": 80, "checkpoint_every": 8000,
}  # fmt: skip
# Many updates, few steps; a temperature too small to matter.
QUICK: dict[str, Any] = {
    **TINY, "steps": 400, "hidden": (32,), "learning_rate": 1e-2, "batch_size": 64, "gamma": 0.8,
    "updates": 8, "tau": 0.2, "temperature": 1e-9,
}  # fmt: skip


class Road(gym.Env[Any, Any]):
    """Each step pays one and leads one place on. After three it ends, or never.

    Args:
        ends: whether there is an end.
        dtype: of the actions, of which there are two.
    """

    observation_space = Box(0, 20, (1,))

    def __init__(self, ends: bool = True, dtype: Any = np.float32) -> None:
        self.ends, self.at = ends, 0
        self.action_space = Box(np.array([-2, 0], dtype), np.array([2, 1], dtype), dtype=dtype)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.at = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert np.shape(action) == (2,) and self.action_space.contains(
            self.action_space.dtype.type(action)
        )
        self.at = self.at + 1 if self.ends else 0
        return np.full(1, self.at, np.float32), 1.0, self.ends and self.at == 3, False, {}


gym.register("tests/Road-v0", Road)


# --- the losses -----------------------------------------------------------------------------------


class Fixed(nn.Module):
    """An actor that draws what it is told to, with log-probabilities as told; or critics that say what told."""

    def __init__(self, *told: Any) -> None:
        super().__init__()
        self.told = told
        self.asked: list[tuple[Tensor, ...]] = []

    def forward(self, *inputs: Tensor) -> Any:
        self.asked.append(inputs)
        return self if len(inputs) == 1 else self.told[0]

    def sample(self, dice: Any) -> Any:
        return self.told[0]

    def log_prob(self, raw: Tensor) -> Any:
        assert raw is self.told[0]
        return self.told[1]

    def act(self, raw: Tensor) -> Any:
        return 10 * raw


def test_the_soft_target_by_hand() -> None:
    """Y = R + 0.9 (min(Q1, Q2) - 0.5 log pi); after an end nothing but R, after a time limit the whole."""
    raw = torch.tensor([[1.0], [2.0], [3.0]])
    actor = Fixed(raw, torch.tensor([-2.0, 4.0, 0.0]))
    targets = Fixed(torch.tensor([[5.0, 1.0, 9.0], [3.0, 7.0, 8.0]]))
    critics = Fixed(torch.tensor([[0.0, 0.0, 1.0], [1.0, -1.0, 4.0]]))
    obs, action, next_obs = torch.zeros(3, 1), torch.ones(3, 1), torch.full((3, 1), 2.0)
    batch = Batch(obs, action, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.9, 0.9, 0.0]), next_obs,
                  None, None)  # fmt: skip
    # Y = 1 + 0.9 (3 + 1) = 4.6, 2 + 0.9 (1 - 2) = 1.1, 3
    wanted = [(4.6**2 + 3.6**2) / 2, (1.1**2 + 2.1**2) / 2, (2.0**2 + 1.0**2) / 2]
    losses = critic_loss(critics, targets, actor, batch, torch.tensor(0.5), torch.Generator())
    assert losses.tolist() == pytest.approx(wanted)
    # Who was asked what: the policy and the old critics about the next state, the critics about this one.
    assert actor.asked[0][0] is next_obs and targets.asked[0][0] is next_obs
    assert torch.equal(targets.asked[0][1], 10 * raw)
    assert critics.asked[0][0] is obs and critics.asked[0][1] is action


def test_the_policys_loss_by_hand() -> None:
    raw = torch.tensor([[1.0], [2.0]])
    actor = Fixed(raw, torch.tensor([-2.0, 4.0]))
    critics = Fixed(torch.tensor([[5.0, 1.0], [3.0, 7.0]]))
    batch = Batch(torch.zeros(2, 1), *[None] * 6)
    losses, log_prob = actor_loss(critics, actor, batch, torch.tensor(0.5), torch.Generator())
    assert losses.tolist() == [-1.0 - 3.0, 2.0 - 1.0] and log_prob.tolist() == [-2.0, 4.0]
    assert torch.equal(critics.asked[0][1], 10 * raw)


class Slope(nn.Module):
    """A policy of one action whose mean and logarithm of the deviation are two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor([0.3, -0.4], dtype=torch.float64))

    def forward(self, obs: Tensor) -> SquashedNormal:
        mean = self.numbers[0].expand(len(obs), 1)
        return SquashedNormal(mean, self.numbers[1:], torch.tensor([-2.0]), torch.tensor([2.0]))


def test_the_policys_gradient_goes_through_the_action_it_draws() -> None:
    """Finite differences with the same dice, in double precision; the critics are two parabolas."""
    actor = Slope()

    def critics(obs: Tensor, action: Tensor) -> Tensor:
        return torch.stack([-((action[:, 0] - 0.7) ** 2), 1 - (action[:, 0] + 0.5) ** 2])

    def objective() -> Tensor:
        batch = Batch(torch.zeros(2000, 1), *[None] * 6)
        dice = torch.Generator().manual_seed(3)
        return actor_loss(critics, actor, batch, torch.tensor(0.2), dice)[0].mean()  # type: ignore[arg-type]

    objective().backward()
    gradient, found = actor.numbers.grad, []
    with torch.no_grad():
        for i in range(2):
            ends = []
            for step in (1e-5, -2e-5):
                actor.numbers[i] += step
                ends.append(float(objective()))
            actor.numbers[i] += 1e-5
            found.append((ends[0] - ends[1]) / 2e-5)
    assert gradient.tolist() == pytest.approx(found, abs=1e-5)  # type: ignore[union-attr]
    assert min(abs(x) for x in found) > 0.05


# --- densities ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_density_integrates_to_one_over_pendulums_range(seed: int) -> None:
    """And on every part of it to the share of the actions that really fall there."""
    torch.manual_seed(seed)
    actor = SquashedActor(Box(-1, 1, (3,)), Box(-2, 2, (1,)), (16,))
    with torch.no_grad():
        actor.layers[-1].weight.mul_(4)  # far from the middle, narrow and wide
        chances = actor(torch.randn(1, 3))
        chances.mean, chances.log_std = chances.mean.double(), chances.log_std.double()
        u = torch.linspace(-18, 18, 200_001, dtype=torch.float64)[
            :, None
        ]  # a = 2 tanh u, to the ends
        a = chances.act(u)[:, 0].numpy()
        density = np.exp(chances.log_prob(u).numpy())
        mass = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(a))])
        assert a[0] == pytest.approx(-2) and a[-1] == pytest.approx(2)
        assert mass[-1] == pytest.approx(1.0, abs=1e-4)
        chances.mean, chances.log_std = (x.expand(4000, 1) for x in (chances.mean, chances.log_std))
        drawn = chances.act(chances.sample(torch.Generator().manual_seed(0)))[:, 0].numpy()
    assert kstest(drawn, lambda x: np.interp(x, a, mass)).pvalue > 1e-3


def test_probabilities_stay_finite_where_the_tanh_is_flat() -> None:
    """So do their slopes, at raw actions of which every digit of the squashed ones is lost."""
    raw = torch.tensor([[20.0], [-20.0], [300.0], [-1e4], [1e-30]], requires_grad=True)
    chances = SquashedNormal(
        torch.zeros(5, 1), torch.zeros(1), torch.tensor([-2.0]), torch.tensor([2.0])
    )
    log_prob = chances.log_prob(raw)
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all() and torch.isfinite(raw.grad).all()  # type: ignore[arg-type]
    # -u^2 / 2 - log sqrt(2 pi) - log 2 + 2 |u| - 2 log 2, the tail of log(1 - tanh^2)
    wanted = -(20.0**2) / 2 - 0.5 * np.log(2 * np.pi) - np.log(2) + 40 - 2 * np.log(2)
    assert float(log_prob[0].detach()) == pytest.approx(wanted, abs=1e-3)
    assert float(log_prob[0].detach()) == pytest.approx(float(log_prob[1].detach()))


def test_actions_stay_in_the_box_to_the_last_digit() -> None:
    """Boxes that do not lie around zero, too: environments insist on theirs."""
    low, high = np.sort(np.random.default_rng(0).normal(size=(2, 1000)), axis=0).astype(np.float32)
    spaces = torch.from_numpy(low), torch.from_numpy(high)
    chances = SquashedNormal(torch.zeros(1, 1000), torch.zeros(1000), *spaces)
    for raw in (50.0, -50.0, 9.0, -9.0):
        action = chances.act(torch.full((1, 1000), raw))
        assert Box(low, high).contains(action[0].numpy())


# --- one update -----------------------------------------------------------------------------------


def started(**options: Any) -> Run:
    """A run of the tiny size with something to remember, about to be updated."""
    run = Run(Config(**{**TINY, **options}), 0, "cpu")
    while run.episodes.steps < 80:
        run.replay.add(run.episodes.step(run.act(run.episodes.obs)))
    return run


def test_the_targets_follow_slowly() -> None:
    """theta' <- theta' + tau (theta - theta'), with the critics that have learned already."""
    run = started(tau=0.25, learning_rate=0.1)
    assert run.targets is not run.critics
    pairs = list(zip(run.critics.parameters(), run.targets.parameters(), strict=True))
    assert all(torch.equal(p, t) and p.data_ptr() != t.data_ptr() for p, t in pairs)
    for _ in range(3):
        before = [t.detach().clone() for _, t in pairs]
        sac.update(run)
        for (p, t), b in zip(pairs, before, strict=True):  # the layers themselves, not a vector
            torch.testing.assert_close(t.detach(), 0.75 * b + 0.25 * p.detach())
            assert not torch.equal(p, t)


@pytest.mark.parametrize(("tau", "same"), [(0.0, "the first ones"), (1.0, "the critics")])
def test_the_targets_at_both_ends_of_tau(tau: float, same: str) -> None:
    run = started(tau=tau)
    first = run.target_weights.detach().clone()
    for _ in range(3):
        sac.update(run)
    wanted = first if same == "the first ones" else run.critic_weights.detach()
    torch.testing.assert_close(run.target_weights.detach(), wanted)
    assert not torch.equal(run.critic_weights.detach(), first)


@pytest.mark.parametrize(("target", "sign"), [(5.0, 1), (-30.0, -1)])
def test_the_temperature_moves_in_the_right_direction(target: float, sign: int) -> None:
    """A box of width 4 times 1 has at most log 4 nats: five are too many, so it gets hotter; and the other way."""
    run = started(target_entropy=target, temperature=0.7, learning_rate=0.01)
    assert float(run.alpha_weights.detach().exp()) == pytest.approx(0.7)
    for k in range(1, 4):
        sac.update(run)
        # Adam's first steps under a gradient of one sign are its rate.
        assert float(run.alpha_weights.detach()) == pytest.approx(
            np.log(0.7) + sign * 0.01 * k, abs=2e-3
        )
    assert run.episodes.note["alpha"] == pytest.approx(0.7 * np.exp(sign * 0.02), rel=0.01)


@pytest.mark.parametrize(
    ("env_id", "wanted"),
    [("tests/Road-v0", np.log(2) + np.log(0.5) - 2), ("Pendulum-v1", np.log(2) - 1)],
)
def test_the_target_entropy_counts_in_the_environments_units(env_id: str, wanted: float) -> None:
    """Minus one an action in the unit box, more in a wider one by the logarithm of its half width."""
    assert Run(Config(env_id=env_id), 0, "cpu").target_entropy == pytest.approx(wanted)
    assert Run(Config(env_id=env_id, target_entropy=-3.0), 0, "cpu").target_entropy == -3.0


def test_the_policys_step_leaves_the_critics_alone() -> None:
    """Without a step of their own they stay, although the policy's loss goes through them."""
    run = started(learning_rate=0.01)
    critics, actor = run.critic_weights.detach().clone(), run.actor_weights.detach().clone()
    run.critic_optimizer.step = lambda *a: None  # type: ignore[method-assign, assignment]
    sac.update(run)
    assert torch.equal(run.critic_weights.detach(), critics)
    assert not torch.equal(run.actor_weights.detach(), actor)
    assert all(p.requires_grad for p in run.critics.parameters())


# --- runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "limit", "states", "values"),
    [
        (True, 9, [0, 1, 2], [2.44, 1.8, 1.0]),
        (True, 3, [0, 1, 2], [2.44, 1.8, 1.0]),
        (False, 3, [0], [5.0]),
    ],
    ids=["ends", "ends as it is cut", "is cut for ever"],
)
def test_values_are_the_closed_forms(
    ends: bool, limit: int, states: list[int], values: list[float]
) -> None:
    """With a discount of 0.8: 1 + 0.8 + 0.64, 1 + 0.8, 1; and 1 / (1 - 0.8) where only the time runs out."""
    options = {"ends": ends, "max_episode_steps": limit}
    runs: list[Run] = []
    train(Config(**QUICK, env_options=options), 1, on_checkpoint=runs.append)
    obs = torch.tensor(states, dtype=torch.float32)[:, None]
    with torch.no_grad():
        found = runs[0].critics(obs, torch.tensor([[0.5, 0.5]]).expand(len(states), 2))
    np.testing.assert_allclose(found, [values] * 2, atol=0.15)


def test_the_first_actions_are_any_of_the_box() -> None:
    run = Run(Config(**{**TINY, "num_envs": 400, "replay_size": 400, "steps": 400, "train_every": 400,
                        "checkpoint_every": 400}), 0, "cpu")  # fmt: skip
    drawn = run.act(run.episodes.obs)
    assert drawn.shape == (400, 2)
    assert kstest(drawn[:, 0], "uniform", (-2, 4)).pvalue > 1e-3
    assert kstest(drawn[:, 1], "uniform", (0, 1)).pvalue > 1e-3
    run.episodes.steps = 80
    assert np.std(run.act(run.episodes.obs), axis=0).min() > 0.05  # the policy draws, too


def test_bursts_come_when_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    at: list[int] = []
    monkeypatch.setattr(sac, "update", lambda run: at.append(run.episodes.steps))
    train(Config(**{**TINY, "learning_starts": 70, "train_every": 60, "updates": 3}))
    assert at == [120] * 3 + [180] * 3 + [240] * 3


def test_batches_hold_real_transitions() -> None:
    """On the road every step leads one place on, also into an end, a time limit and before a restart."""
    runs: list[Run] = []
    options = {"max_episode_steps": 2}
    for env_options in ({}, options):
        train(Config(**{**TINY, "env_options": env_options, "checkpoint_every": 44}),
              on_checkpoint=runs.append)  # fmt: skip
        batch = tensors(runs[-1].replay.sample(500), "cpu")
        assert (batch.next_obs == batch.obs + 1).all() and batch.action.shape == (500, 2)
        ended = (
            (batch.next_obs[:, 0] == 3) if env_options == {} else torch.zeros(500, dtype=torch.bool)
        )
        assert ((batch.discount == 0) == ended).all()


def test_without_its_memory_a_resumed_run_fills_a_new_one_first(tmp_path: Path) -> None:
    """A policy that learned from four rows, eight times over, would soon be none."""
    path, sizes = tmp_path / "run.safetensors", []
    real = sac.update

    def keep(run: Run) -> None:
        if not path.exists():
            save(path, run, replay=False)

    config = Config(**{**TINY, "checkpoint_every": 120})
    train(config, on_checkpoint=keep)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sac, "update", lambda run: (sizes.append(len(run.replay)), real(run)))
        train(config, resume=load(path))
    assert min(sizes) >= config.learning_starts and max(sizes) == 120


# --- what cannot go well --------------------------------------------------------------------------


def test_actions_in_double_precision_are_learned_too() -> None:
    """Gymnasium allows any real type; the memory keeps it."""
    result = train(Config(**TINY, env_options={"dtype": np.float64}))
    assert len(result.log) > 50


def test_a_temperature_of_zero_has_no_logarithm() -> None:
    with pytest.raises(InvalidArgumentError, match=r"temperature = 0\.0: must be"):
        Config(temperature=0.0)


@pytest.mark.parametrize(
    "actions",
    [Discrete(2), Box(-np.inf, 1, (1,)), Box(-1, 1, (2, 2))],
    ids=["numbered", "open", "table"],
)
def test_actions_that_are_no_bounded_vector(actions: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"action_space = .*: must be a bounded vector"):
        SquashedActor(Box(-1, 1, (3,)), actions)
    with pytest.raises(InvalidArgumentError, match=r"action_space = Discrete\(2\)"):
        train(Config(env_id="CartPole-v1"))
