"""Proximal policy optimisation: the clip by hand, its first step against A2C's, its parts by spying."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlcourse.algorithms import a2c, ppo
from rlcourse.algorithms.ppo import Config, Run, clipped_loss, train, value_loss
from rlcourse.envs.vector import Stepper
from rlcourse.errors import InvalidArgumentError

CORRIDOR = "rlcourse/Probe-Corridor-v0"
TINY: dict[str, Any] = {
    "steps": 280, "num_envs": 4, "horizon": 7, "batch_size": 28, "epochs": 3, "gamma": 0.9,
    "hidden": (8,), "normalize_advantages": False,
}  # fmt: skip
PENDULUM: dict[str, Any] = {"env_id": "Pendulum-v1", "env_options": {"max_episode_steps": 10}}


class InOrder:
    """In place of a generator: a batch is gone through from its first row to its last."""

    def permutation(self, count: int) -> np.ndarray:
        return np.arange(count)


def started(**options: Any) -> Run:
    run = Run(Config(**{**TINY, **options}), 0, "cpu")
    run.shuffle = InOrder()  # type: ignore[assignment]
    return run


# --- the clip -------------------------------------------------------------------------------------

# ratio, advantage; loss and slope by hand, for a clip of 0.2. The slope is that of the logarithm: r times A.
TABLE = [
    (1.0, 2.0, -2.0, -2.0),
    (1.1, 2.0, -2.2, -2.2),
    (1.3, 2.0, -2.4, 0.0),  # has gained enough
    (0.7, 2.0, -1.4, -1.4),  # has lost: no clip holds it back from coming home
    (1.0, -2.0, 2.0, 2.0),
    (0.9, -2.0, 1.8, 1.8),
    (0.7, -2.0, 1.6, 0.0),  # has gained enough
    (1.3, -2.0, 2.6, 2.6),
    (100.0, 0.5, -0.6, 0.0),
    (0.001, -0.5, 0.4, 0.0),
    (1.3, 0.0, 0.0, 0.0),
]


def test_the_clip_by_hand() -> None:
    """Past the clip on the side of gain the gradient is exactly zero, on the other side it is whole."""
    ratio, advantages, losses, slopes = torch.tensor(TABLE, dtype=torch.float64).T
    old = torch.full_like(ratio, -1.5)
    log_prob = (ratio.log() + old).requires_grad_()
    got = clipped_loss(log_prob, old, advantages, 0.2)
    got.sum().backward()
    np.testing.assert_allclose(got.detach(), losses, rtol=1e-12)
    np.testing.assert_allclose(log_prob.grad, slopes, rtol=1e-12)
    assert (log_prob.grad[slopes == 0] == 0).all()  # type: ignore[index]


def test_the_clipped_value_by_hand() -> None:
    """Old value 1, target 3, clip 0.5: the worse of the two errors counts, halved."""
    table = [
        (1.2, 1.62, -1.8),
        (2.0, 1.125, 0.0),
        (3.0, 1.125, 0.0),
        (0.0, 4.5, -3.0),
        (5.5, 3.125, 2.5),
    ]
    values, losses, slopes = torch.tensor(table, dtype=torch.float64).T
    values.requires_grad_()
    old, returns = torch.ones(5, dtype=torch.float64), torch.full((5,), 3.0, dtype=torch.float64)
    got = value_loss(values, old, returns, 0.5)
    got.sum().backward()
    np.testing.assert_allclose(got.detach(), losses)
    np.testing.assert_allclose(values.grad, slopes)
    np.testing.assert_allclose(
        value_loss(values, old, returns, None).detach(), [1.62, 0.5, 0.0, 4.5, 3.125]
    )


def test_a_batch_of_losses_is_a_row_not_a_table() -> None:
    for function, last in ((clipped_loss, 0.2), (value_loss, None)):
        for place in range(3):
            fields = [torch.zeros(3)] * 3
            fields[place] = torch.zeros(3, 1)
            with pytest.raises(AssertionError):
                function(*fields, last)  # type: ignore[operator]


# --- the first step -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, PENDULUM, {"normalize_observations": True}],
                         ids=["numbered", "box", "normalised"])  # fmt: skip
def test_the_first_ratio_of_every_batch_is_exactly_one(options: dict[str, Any]) -> None:
    ratios: list[Tensor] = []

    def loss(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
        ratios.append((log_prob - old).detach().exp())
        return clipped_loss(log_prob, old, gain, clip)

    run = started(**options)
    for _ in range(4):
        ppo.update(run, run.episodes.play(run.act, 7), loss)
    assert all((ratio == 1).all() for ratio in ratios[::3])
    assert all((ratio != 1).any() for ratio in ratios[1::3])


@pytest.mark.parametrize("options", [{}, PENDULUM, {"normalize_observations": True}],
                         ids=["numbered", "box", "normalised"])  # fmt: skip
def test_the_old_probability_is_that_with_which_it_was_acted(options: dict[str, Any]) -> None:
    """Computed while acting: nothing may change the policy between the act and the lesson."""
    heard: list[Tensor] = []
    drawn: list[Tensor] = []

    def loss(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
        heard.append(old)
        return clipped_loss(log_prob, old, gain, clip)

    run = started(**options)

    def act(obs: Any) -> Any:
        raw, action = run.act(obs)
        with torch.no_grad():
            chances = run.network(torch.from_numpy(obs))[0]
            drawn.append(chances.log_prob(torch.from_numpy(raw)))
        return raw, action

    for k in range(4):
        ppo.update(run, run.episodes.play(act, 7), loss)
        np.testing.assert_allclose(heard[-1], torch.cat(drawn[7 * k :]), atol=1e-5)


@pytest.mark.parametrize("options", [{}, PENDULUM], ids=["numbered", "box"])
def test_at_ratio_one_the_gradient_is_a2cs(options: dict[str, Any]) -> None:
    shared = {"gamma": 0.9, "lam": 0.7, "entropy": 0.1, "value_weight": 0.3, **options}
    run = started(**shared, epochs=1, max_grad_norm=1e9)
    segment, twin = run.episodes.play(run.act, 7), deepcopy(run.network)
    ppo.update(run, segment, clipped_loss)
    a2c.segment_loss(twin, segment, a2c.Config(**shared), a2c.actor_critic_loss).backward()
    wanted = torch.cat([p.grad.reshape(-1) for p in twin.parameters()])  # type: ignore[union-attr]
    assert run.weights.grad.norm() > 0.1  # type: ignore[union-attr]
    torch.testing.assert_close(run.weights.grad, wanted, atol=1e-6, rtol=1e-4)


# --- advantages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [3, 5, 6], ids=["cut", "cut and ended", "ended"])
def test_advantages_are_the_double_sum_across_resets(limit: int) -> None:
    """In the corridor the true successor of s is s + 1; see the test of A2C of the same name."""
    told: list[Tensor] = []

    def loss(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
        told.append(gain)
        return clipped_loss(log_prob, old, gain, clip)

    run = started(env_id=CORRIDOR, env_options={"max_episode_steps": limit}, lam=0.6)
    length, at = min(limit, 5), 0
    for _ in range(3):
        with torch.no_grad():
            V = run.network.critic(torch.arange(6)).numpy().astype(float)
        s = [(at + t) % length for t in range(7)]
        delta = [(x == 4) + 0.9 * (x != 4) * V[x + 1] - V[x] for x in s]
        wanted = []
        for t in range(7):
            last = next((k for k in range(t, 7) if s[k] == length - 1), 6)
            wanted.append(sum(0.54 ** (k - t) * delta[k] for k in range(t, last + 1)))
        ppo.update(run, run.episodes.play(run.act, 7), loss)
        np.testing.assert_allclose(told[-1].view(7, 4), np.tile(wanted, (4, 1)).T, atol=1e-5)
        assert all(torch.equal(told[-3], gain) for gain in told[-2:])  # the same in all epochs
        at += 7


def test_advantages_are_normalised_in_each_minibatch() -> None:
    """Against numpy, from the same run without it."""
    told: dict[bool, list[Tensor]] = {False: [], True: []}
    for on in told:

        def loss(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float, on: bool = on) -> Tensor:
            told[on].append(gain)
            return 0 * log_prob

        run = started(batch_size=14, epochs=1, normalize_advantages=on)
        ppo.update(run, run.episodes.play(run.act, 7), loss)
    for plain, normal in zip(told[False], told[True], strict=True):
        x = plain.double().numpy()
        np.testing.assert_allclose(normal, (x - x.mean()) / x.std(ddof=1), rtol=1e-3, atol=1e-5)
    assert len(told[True]) == 2


@pytest.mark.parametrize("batch_size", [2, 8])
def test_advantages_without_variance_give_no_nan(batch_size: int) -> None:
    """One state, one action, one reward: all advantages are alike."""
    config = Config(env_id="rlcourse/Probe-OneStep-v0", num_envs=4, horizon=2, batch_size=batch_size,
                    epochs=2, steps=160, hidden=(8,), learning_rate=1e-2, gamma=0.9)  # fmt: skip
    runs: list[Run] = []
    train(config, on_checkpoint=runs.append)
    assert torch.isfinite(runs[0].weights).all()
    with torch.no_grad():
        value = float(runs[0].network.critic(torch.tensor([0])))
    assert value == pytest.approx(1.0, abs=0.3)


def test_one_advantage_has_no_deviation() -> None:
    with pytest.raises(InvalidArgumentError, match=r"batch_size = 1: .*normalize_advantages"):
        Config(**{**TINY, "batch_size": 1, "normalize_advantages": True})
    train(Config(**{**TINY, "batch_size": 1, "normalize_advantages": False, "epochs": 1}))


@pytest.mark.parametrize(("horizon", "batch_size"), [(7, 27), (7, 29), (7, 56), (8, 24)])
def test_a_batch_that_does_not_divide_is_refused(horizon: int, batch_size: int) -> None:
    message = (
        rf"num_envs \* horizon = {4 * horizon}: must be a multiple of batch_size = {batch_size}"
    )
    with pytest.raises(InvalidArgumentError, match=message):
        Config(num_envs=4, horizon=horizon, batch_size=batch_size)


# --- epochs ---------------------------------------------------------------------------------------


def epochs_of(**options: Any) -> tuple[list[float], int]:
    """The measured divergence of each epoch of one batch, and in how many it could have learned."""
    moved: list[float] = []

    def loss(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
        x = (log_prob - old).detach().double().numpy()
        moved.append(float((np.exp(x) - 1 - x).mean()))
        return clipped_loss(log_prob, old, gain, clip)

    run = started(batch_size=14, epochs=12, learning_rate=0.02, **options)
    ppo.update(run, run.episodes.play(run.act, 7), loss)
    each = np.array(moved).reshape(-1, 2).mean(axis=1)
    assert run.episodes.note["kl"] == pytest.approx(each[-1], abs=1e-6)
    return each.tolist(), run.config.epochs


def test_a_policy_that_has_moved_too_far_leaves_the_batch() -> None:
    """After the first epoch whose mean divergence is too large; without a measure never."""
    free, epochs = epochs_of()
    assert len(free) == epochs == 12
    limit = (free[3] + free[4]) / 2
    first = next(k for k, kl in enumerate(free) if kl > limit)
    held, _ = epochs_of(max_kl=limit)
    assert held == free[: first + 1] and 1 < len(held) < 12


def test_every_epoch_sees_every_step_once_in_an_order_of_its_own() -> None:
    told: list[Tensor] = []

    def loss(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
        told.append(gain)
        return 0 * log_prob

    run = Run(Config(**{**TINY, "batch_size": 7}), 0, "cpu")
    ppo.update(run, run.episodes.play(run.act, 7), loss)
    epochs = [torch.cat(told[4 * k : 4 * k + 4]) for k in range(3)]
    assert len(told) == 12
    for one, other in itertools.combinations(epochs, 2):
        assert not torch.equal(one, other)
        assert torch.equal(one.sort().values, other.sort().values)


def test_value_clipping_is_a_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    clips: list[float | None] = []

    def spy(values: Tensor, old: Tensor, returns: Tensor, clip: float | None) -> Tensor:
        clips.append(clip)
        return value_loss(values, old, returns, clip)

    monkeypatch.setattr(ppo, "value_loss", spy)
    for on in (False, True):
        run = started(value_clip=on, epochs=1, clip=0.3, clip_end=0.1)
        ppo.update(run, run.episodes.play(run.act, 7), clipped_loss)
    assert clips == [None, pytest.approx(0.28)]


def test_rates_follow_the_steps() -> None:
    """Adam's step and the clip fall in straight lines from begin to end of the run."""
    told: list[tuple[float, float, float]] = []
    runs: list[Run] = []

    def loss(log_prob: Tensor, old: Tensor, gain: Tensor, clip: float) -> Tensor:
        if runs:  # what the last batch was learned at
            told.append(
                (runs[0].episodes.steps / 280, clip, runs[0].optimizer.param_groups[0]["lr"])
            )
        return clipped_loss(log_prob, old, gain, clip)

    config = Config(**{**TINY, "epochs": 2}, learning_rate=0.01, learning_rate_end=0.002, clip=0.3,
                    clip_end=0.1, checkpoint_every=1)  # fmt: skip
    train(config, loss=loss, on_checkpoint=runs.append)
    assert len(told) == 18
    for share, clip, rate in told[1::2]:
        assert clip == pytest.approx(0.3 - 0.2 * share)
        assert rate == pytest.approx(0.01 - 0.008 * share)
    assert told[-1][0] == 1.0


# --- normalised observations ----------------------------------------------------------------------


def test_every_observation_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean and deviation of all that the policy was shown, by numpy, and of nothing else."""
    shown: list[Any] = []
    step = Stepper.step

    def spy(self: Stepper, action: Any) -> Any:
        shown.append(self.obs.copy())
        return step(self, action)

    monkeypatch.setattr(Stepper, "step", spy)
    policy = train(Config(**TINY, **PENDULUM, normalize_observations=True)).policy
    rows = np.concatenate(shown).astype(float)
    eye = policy.network[0]  # type: ignore[index]
    assert int(eye.number) == len(rows) == 280
    np.testing.assert_allclose(eye.mean, rows.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(eye.squares / eye.number, rows.var(axis=0), rtol=1e-9)
    before = [x.clone() for x in eye.buffers()]
    policy(np.full((64, 3), 1e3, np.float32))
    assert all(torch.equal(a, b) for a, b in zip(eye.buffers(), before, strict=True))


def test_states_that_are_numbers_have_no_mean() -> None:
    """Less their mean they would be the numbers of other states."""
    with pytest.raises(InvalidArgumentError, match=r"normalize_observations.*Discrete\(6\)"):
        train(Config(**{**TINY, "env_id": CORRIDOR}, normalize_observations=True))


def test_the_first_policy_is_undecided() -> None:
    """Whatever is seen, all actions are nearly alike (Andrychowicz et al. 2021, section 3.2)."""
    run = Run(Config(), 0, "cpu")
    obs = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    chances = run.network(obs)[0].log_p.detach().exp()
    assert float((chances - 0.5).abs().max()) < 0.02
