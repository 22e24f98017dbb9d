"""The synchronous actor-critic: its loss by hand, its targets by the double sum, its step by numpy."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlcourse.algorithms import a2c
from rlcourse.algorithms.a2c import Config, Run, actor_critic_loss, train
from rlcourse.networks import flatten

CORRIDOR = "rlcourse/Probe-Corridor-v0"  # five steps; each leads one state on; the last one pays 1
TINY: dict[str, Any] = {"steps": 280, "num_envs": 4, "horizon": 7, "gamma": 0.9, "hidden": (8,)}


def row(*values: float) -> Tensor:
    return torch.tensor(values, requires_grad=True)


# --- the loss -------------------------------------------------------------------------------------


def test_the_loss_by_hand() -> None:
    """-log p * (G - V) + c_v (G - V)^2 / 2 - c_e H, with numbers for which that is easy."""
    losses = actor_critic_loss(
        row(-0.5, -2.0), row(0.6, 0.1), row(1.0, 4.0), row(3.0, 3.0), 0.5, 0.1
    )
    assert losses.tolist() == pytest.approx([1.0 + 1.0 - 0.06, -2.0 + 0.25 - 0.01])


def test_each_term_moves_what_it_should() -> None:
    """The advantage is a constant to the policy; the target is none of the values' business."""
    log_prob, entropy, values = row(-0.5, -2.0), row(0.6, 0.1), row(1.0, 4.0)
    returns = torch.tensor([3.0, 3.0])
    actor_critic_loss(log_prob, entropy, values, returns, 0.5, 0.1).sum().backward()
    assert log_prob.grad.tolist() == pytest.approx([-2.0, 1.0])  # type: ignore[union-attr]
    assert values.grad.tolist() == pytest.approx([-1.0, 0.5])  # type: ignore[union-attr]
    assert entropy.grad.tolist() == pytest.approx([-0.1, -0.1])  # type: ignore[union-attr]


def test_a_batch_of_losses_is_a_row_not_a_table() -> None:
    one, column = torch.zeros(3), torch.zeros(3, 1)
    for place in range(4):
        fields = [one] * 4
        fields[place] = column
        with pytest.raises(AssertionError):
            actor_critic_loss(*fields, 0.5, 0.0)


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [1.0, 0.6, 0.0])
@pytest.mark.parametrize("limit", [3, 5, 6], ids=["cut", "cut and ended", "ended"])
def test_targets_are_the_double_sum_across_resets(limit: int, lam: float) -> None:
    """The corridor is known by heart: the true successor of s is s + 1, whatever comes next on the screen.

    A time limit of three cuts each episode in state 3, whose value counts; one of five strikes in the moment
    of the end, after which nothing counts.
    """
    told: list[Tensor] = []

    def loss(
        log_prob: Tensor, entropy: Tensor, values: Tensor, returns: Tensor, *w: float
    ) -> Tensor:
        told.append(returns)
        return actor_critic_loss(log_prob, entropy, values, returns, *w)

    config = Config(env_id=CORRIDOR, env_options={"max_episode_steps": limit}, lam=lam, **TINY)
    run = Run(config, 0, "cpu")
    length, at = min(limit, 5), 0
    for _ in range(3):  # stretches of seven: no multiple of an episode
        with torch.no_grad():
            V = run.network.critic(torch.arange(6)).numpy().astype(float)
        s = [(at + t) % length for t in range(7)]
        ended = [x == 4 for x in s]
        cut = [x == length - 1 for x in s]
        delta = [
            (x == 4) + 0.9 * (not end) * V[x + 1] - V[x] for x, end in zip(s, ended, strict=True)
        ]
        wanted = []
        for t in range(7):
            last = next((k for k in range(t, 7) if cut[k]), 6)
            wanted.append(
                V[s[t]] + sum((0.9 * lam) ** (k - t) * delta[k] for k in range(t, last + 1))
            )
        segment = run.episodes.play(run.act, 7)
        assert segment.obs[:, 0].tolist() == s
        a2c.update(run, segment, loss)
        np.testing.assert_allclose(told[-1].view(7, 4), np.tile(wanted, (4, 1)).T, atol=1e-5)
        at += 7
    assert len(told) == 3 and not told[0].requires_grad


@pytest.mark.parametrize("num_envs", [1, 3])
def test_environments_side_by_side_are_not_mixed_up(num_envs: int) -> None:
    """Every log-probability, value and return belongs to the same step: a loss that reads them apart."""
    told: list[list[Tensor]] = []

    def loss(*fields: Any) -> Tensor:
        told.append([x.detach() for x in fields[:4]])
        return actor_critic_loss(*fields)

    run = Run(Config(**{**TINY, "num_envs": num_envs}, lam=0.0), 0, "cpu")
    segment = run.episodes.play(run.act, 7)
    before = deepcopy(run.network)
    a2c.update(run, segment, loss)
    log_prob, entropy, values, returns = (x.view(7, num_envs) for x in told[0])
    for t in range(7):
        for n in range(num_envs):
            with torch.no_grad():
                logits = before.actor.layers(torch.from_numpy(segment.obs[t, n][None]))[0].double()
                v = float(before.critic(torch.from_numpy(segment.obs[t, n][None])))
                ahead = float(before.critic(torch.from_numpy(segment.next_obs[t, n][None])))
            p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum()
            y = segment.reward[t, n] + 0.9 * (not segment.terminated[t, n]) * ahead
            assert float(log_prob[t, n]) == pytest.approx(np.log(p[segment.raw[t, n]]), abs=1e-5)
            assert float(entropy[t, n]) == pytest.approx(-(p * np.log(p)).sum(), abs=1e-5)
            assert float(values[t, n]) == pytest.approx(v, abs=1e-5)
            assert float(returns[t, n]) == pytest.approx(y, abs=1e-5)


# --- a step ---------------------------------------------------------------------------------------


def test_the_gradient_is_that_of_finite_differences() -> None:
    """Of the whole loss with its advantages and targets held still: a semi-gradient."""
    config = Config(**{**TINY, "hidden": (4,)}, value_weight=0.5, entropy=0.1)
    run = Run(config, 0, "cpu")
    segment = run.episodes.play(run.act, 7)
    network = deepcopy(run.network).double()
    weights = flatten(network)

    class Still:
        """The loss with the first call's targets and advantages for ever."""

        fixed: Any = None

        def __call__(self, log_prob: Tensor, entropy: Tensor, values: Tensor, *rest: Any) -> Tensor:
            if self.fixed is None:
                self.fixed = rest[0].double(), (rest[0] - values).detach()
            returns, advantages = self.fixed
            return -log_prob * advantages + 0.5 * (returns - values) ** 2 / 2 - 0.1 * entropy

    for layer in network.modules():  # observations stay in double precision
        if hasattr(layer, "function"):
            layer.function = Tensor.double
    still = Still()
    a2c.segment_loss(network, segment, config, still).backward()
    own = weights.grad.clone()  # type: ignore[union-attr]
    weights.grad.zero_()  # type: ignore[union-attr]
    a2c.segment_loss(network, segment, config, actor_critic_loss).backward()
    torch.testing.assert_close(weights.grad, own, atol=1e-6, rtol=1e-4)
    with torch.no_grad():
        for i in range(0, len(weights), 3):
            ends, old = [], float(weights[i])
            for step in (1e-6, -1e-6):
                weights[i] = old + step
                ends.append(float(a2c.segment_loss(network, segment, config, still)))
            weights[i] = old
            assert float(own[i]) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


def test_two_steps_of_rmsprop_are_their_formula() -> None:
    """g <- 0.9 g + 0.1 d^2 and theta <- theta - rate * d / (sqrt(g) + eps), d at most 0.05 long."""
    config = Config(**TINY, learning_rate=0.1, learning_rate_end=0.02, rms_decay=0.9, rms_epsilon=1e-3,
                    max_grad_norm=0.05)  # fmt: skip
    run = Run(config, 0, "cpu")
    theta, squares = run.weights.detach().double().numpy().copy(), 0.0
    for k in (1, 2):
        segment = run.episodes.play(run.act, 7)
        copy = deepcopy(run.network)
        a2c.segment_loss(copy, segment, config, actor_critic_loss).backward()
        d = torch.cat([p.grad.reshape(-1) for p in copy.parameters()]).double().numpy()  # type: ignore[union-attr]
        assert np.linalg.norm(d) > 0.05
        d *= 0.05 / np.linalg.norm(d)
        squares = 0.9 * squares + 0.1 * d**2
        rate = 0.1 - 0.08 * k * 28 / 280
        theta = theta - rate * d / (np.sqrt(squares) + 1e-3)
        a2c.update(run, segment, actor_critic_loss)
        np.testing.assert_allclose(run.weights.detach(), theta, atol=1e-5)


def test_a_loss_handed_in_trains() -> None:
    """An agent that is told the opposite of every return learns the opposite choice."""

    def upside_down(
        log_prob: Tensor, entropy: Tensor, values: Tensor, returns: Tensor, *w: Any
    ) -> Tensor:
        return log_prob * returns

    config = Config(env_id="rlcourse/Probe-TwoActions-v0", steps=800, learning_rate=2e-2)
    assert train(config).policy(np.array([0]))[0] == 1
    assert train(config, loss=upside_down).policy(np.array([0]))[0] == 0


def test_the_log_tells_every_episode() -> None:
    heard: list[tuple[int, dict[str, float]]] = []
    config = Config(**{**TINY, "env_id": CORRIDOR, "horizon": 5, "steps": 200})
    result = train(config, on_progress=lambda *told: heard.append(told[:2]))
    assert {(row["return"], row["length"]) for row in result.log} == {(1.0, 5)}
    assert [row["step"] for row in result.log] == [e for e in range(20, 201, 20) for _ in range(4)]
    assert [steps for steps, _ in heard] == list(range(20, 201, 20))
