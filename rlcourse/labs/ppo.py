"""Checks of the exercises of the chapter ``policies/ppo``."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from rlcourse.algorithms import ppo
from rlcourse.labs import (
    NotRightError,
    call,
    exercise,
    expect_by_hand,
    expect_call,
    expect_close,
    expect_detector,
    hunt,
)


@exercise("ppo/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: four objectives and four derivatives by the ratio, clip 0.2."""
    up, down = "a good action", "a bad action"
    booked, wrong = "what is clipped, and which product is smaller", "which product is smaller"
    flat = "whether the smaller product depends on the ratio at all"
    expect_by_hand(
        answer,
        (
            (2.4, f"the objective of {up} at ratio 1.5", booked),
            (1.0, f"the objective of {up} at ratio 0.5", wrong),
            (-1.5, f"the objective of {down} at ratio 1.5", wrong),
            (-0.8, f"the objective of {down} at ratio 0.5", booked),
            (0.0, f"the derivative for {up} at ratio 1.5", flat),
            (2.0, f"the derivative for {up} at ratio 0.5", flat),
            (-1.0, f"the derivative for {down} at ratio 1.5", flat),
            (0.0, f"the derivative for {down} at ratio 0.5", flat),
        ),
    )
    return "right: two corners are paid out, two are called back."


@exercise("ppo/loss")
def _loss(answer: Any) -> str:
    """``answer(log_prob, old_log_prob, advantages, clip)``: losses ``[B]``."""
    ratio = torch.tensor([1.5, 0.5, 1.5, 0.5, 1.1, 0.9, 1.0], dtype=torch.float64)
    gain = torch.tensor([2.0, 2.0, -1.0, -1.0, 3.0, -3.0, 0.5], dtype=torch.float64)
    objective = torch.tensor([2.4, 1.0, -1.5, -0.8, 3.3, -2.7, 0.5], dtype=torch.float64)
    pull = torch.tensor([0.0, 1.0, -1.5, 0.0, 3.3, -2.7, 0.5], dtype=torch.float64)
    old = torch.linspace(-2.0, -0.3, 7, dtype=torch.float64)
    log_prob = (old + ratio.log()).requires_grad_()
    if not callable(answer):
        raise NotRightError(f"expected a function, got {type(answer).__name__}.")
    try:
        losses = answer(log_prob, old, gain, 0.2)
    except Exception as error:  # whatever a learner's code raises is news for the learner
        raise NotRightError(f"it raised {type(error).__name__}: {error}") from None
    if not isinstance(losses, torch.Tensor) or losses.shape != (7,):
        shape = tuple(losses.shape) if isinstance(losses, torch.Tensor) else type(losses).__name__
        raise NotRightError(f"for 7 samples: expected a tensor of shape (7,), got {shape}.")
    if not losses.requires_grad:
        raise NotRightError("no gradient flows from your losses to log_prob. Look for a detach.")
    (got,) = torch.autograd.grad(losses.sum(), log_prob)
    for k in range(7):
        where = f"at ratio {ratio[k]:.1f} and advantage {gain[k]:+.1f}, clip 0.2"
        look = "the sign (a loss is minimised), the min, and what is clipped"
        what = f"the loss {where}"
        expect_close(float(losses[k].detach()), -float(objective[k]), what=what, look=look)
        expect_close(float(got[k]), -float(pull[k]), what=f"its gradient {where}", look=look)
    logs = []
    for loss in (ppo.clipped_loss, answer):
        logs.append(ppo.train(ppo.Config(steps=1024, epochs=8), loss=loss).log)
    returns = [[row["return"] for row in log] for log in logs]
    if len(returns[0]) != len(returns[1]):
        raise NotRightError(
            f"trained with it, an agent finishes {len(returns[1])} episodes in 1,024 steps; with the "
            f"package's loss {len(returns[0])}. Look at what it does with a clip other than 0.2."
        )
    return f"right: it trained a real agent, {len(returns[1])} episodes in 1,024 steps."


@exercise("ppo/explained")
def _explained(answer: Any) -> str:
    """``answer(values, returns)``: the explained variance."""
    values, returns = np.array([1.0, 1.0, 3.0, 3.0]), np.array([0.0, 2.0, 2.0, 8.0])
    look = "which of the two stands in the denominator"
    expect_call(answer, (values, returns), 4 / 9, look=look)
    expect_call(answer, (returns, returns), 1.0, look="a perfect prediction")
    expect_call(answer, (np.full(4, 7.0), returns), 0.0, look="a critic that says one number")
    expect_call(answer, (-returns, returns), -3.0, look="a critic worse than a constant")
    expect_call(answer, (values + 100.0, returns), 4 / 9, look="variances, not mean squares")
    got = call(answer, (values, np.full(4, 2.0)))
    if not (isinstance(got, float | np.floating) and math.isnan(got)):
        raise NotRightError(
            f"for returns that are all equal: expected nan, got {got!r}. Look at 0 / 0."
        )
    return "right: one is perfect, zero a constant, and below zero the constant is better."


@exercise("ppo/normalise")
def _normalise(answer: Any) -> str:
    """``answer(advantages)``: mean 0 and deviation 1, without NaN."""
    look = "the mean, and the deviation that divides by B"
    expect_call(answer, (np.array([1.0, 3.0]),), [-1.0, 1.0], look=look)
    wide = np.array([500.0, 100.0, 300.0, 300.0])
    expect_call(answer, (wide,), np.array([1, -1, 0, 0]) * math.sqrt(2), look=look)
    expect_call(answer, (np.array([5.0]),), [0.0], look="a batch of one")
    expect_call(answer, (np.full(3, 5.0),), [0.0, 0.0, 0.0], look="a batch of equals")
    tiny = 1.0 + 1e-6 * np.array([1.0, -1.0, 1.0, -1.0])
    look = "how large the small constant is beside small differences"
    expect_call(answer, (tiny,), [1.0, -1.0, 1.0, -1.0], look=look, tolerance=1e-3)
    return "right: no scale of rewards and no size of batch can hurt it."


@exercise("ppo/kl")
def _kl(answer: Any) -> str:
    """``answer(log_ratio)``: Schulman's third estimate."""
    old, new = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.25, 0.5])
    once = np.log(new / old)
    batch = np.repeat(once, [2, 1, 1])  # each action as often as the old policy takes it
    exact = float((old * np.log(old / new)).sum())
    look = "the sign of the logarithm, and an average over the batch"
    expect_call(answer, (batch,), exact, look=look)
    expect_call(answer, (np.zeros(5),), 0.0, look="a policy that has not moved")
    alone = "a single term, which must not be negative"
    expect_call(answer, (np.array([0.3]),), math.exp(0.3) - 1.3, look=alone)
    expect_call(answer, (np.array([-0.3]),), math.exp(-0.3) - 0.7, look=alone)
    return f"right: exact on average ({exact:.4f} nats here), and no term is negative."


@exercise("ppo/natural")
def _natural(answer: Any) -> str:
    """``answer(g, F, delta)``: the natural gradient step."""
    F, g = np.diag([4.0, 1.0]), np.array([4.0, 1.0])
    step = np.asarray(call(answer, (g, F, 0.1)), dtype=np.float64)
    if step.shape != (2,):
        raise NotRightError(f"expected a step of shape (2,), got {step.shape}.")
    expect_close(
        step @ F @ step / 2, 0.1, what="half of step F step, for delta = 0.1", look="the length"
    )
    look = "the direction, F inverse times g"
    expect_close(step, [0.2, 0.2], what="the step for g = (4, 1), F = diag(4, 1)", look=look)
    p = np.array([0.2, 0.3, 0.5])
    F3, g3 = np.diag(p) - np.outer(p, p), p * np.array([1.0, -2.0, 0.8])
    flat = np.asarray(call(answer, (g3, F3, 0.02)), dtype=np.float64)
    if not np.isfinite(flat).all() or abs(flat).max() > 10:
        raise NotRightError(
            "for the singular F of a softmax the step is not finite or enormous. Look at pinv."
        )
    S = np.diag([1.0, 20.0, 0.1])  # logits = S @ weights
    other = np.asarray(call(answer, (S @ g3, S @ F3 @ S, 0.02)), dtype=np.float64)
    logits = [flat, S @ other]
    pi = [p * np.exp(x) / (p * np.exp(x)).sum() for x in logits]
    look = "whether F and g were used in the same notation"
    expect_close(pi[1], pi[0], what="the same policy in another notation", look=look)
    return f"right: in both notations the step ends at the policy {pi[0].round(3)}."


@exercise("ppo/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: whether the old probabilities of the module move along."""
    expect_detector(
        answer,
        buggy=hunt("ppo-ruler-moves-along"),
        sound=ppo,
        other=SimpleNamespace(Config=ppo.Config, train=_downhill, clipped_loss=ppo.clipped_loss),
        but="that one walks downhill, but its ratios are honest",
    )
    return "right: an agent that learns from a batch moves, and an honest ratio says so."


def _downhill(
    config: ppo.Config, seed: int = 0, *, loss: Any = ppo.clipped_loss, **rest: Any
) -> Any:
    """Training with advantages of the wrong sign."""

    def turned(log_prob: Any, old_log_prob: Any, advantages: Any, clip: float) -> Any:
        return loss(log_prob, old_log_prob, -advantages, clip)

    return ppo.train(config, seed, loss=turned, **rest)
