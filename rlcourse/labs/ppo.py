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
    call_uncopied,
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
    look = "the sign (a loss is minimised), the min, and what is clipped"
    for clip, ratio, gain, objective, pull in (
        (0.2, 1.5, 2.0, 2.4, 0.0),
        (0.2, 0.5, 2.0, 1.0, 1.0),
        (0.2, 1.5, -1.0, -1.5, -1.5),
        (0.2, 0.5, -1.0, -0.8, 0.0),
        (0.2, 1.1, 3.0, 3.3, 3.3),
        (0.2, 0.9, -3.0, -2.7, -2.7),
        (0.5, 1.4, 1.0, 1.4, 1.4),
        (0.1, 0.85, -2.0, -1.8, 0.0),
    ):
        old = torch.tensor([-0.5, -2.0], dtype=torch.float64)  # two samples, alike but for this
        log_prob = (old + math.log(ratio)).requires_grad_()
        losses = call_uncopied(answer, log_prob, old, torch.full_like(old, gain), clip)
        if not isinstance(losses, torch.Tensor) or losses.shape != (2,):
            shape = getattr(losses, "shape", None)
            got = type(losses).__name__ if shape is None else f"one of shape {tuple(shape)}"
            raise NotRightError(f"for 2 samples: expected a tensor of shape (2,), got {got}.")
        if not losses.requires_grad:
            raise NotRightError("no gradient flows from your losses to log_prob; is it detached?")
        (slope,) = torch.autograd.grad(losses.sum(), log_prob)
        where = f"at ratio {ratio} and advantage {gain:+}, clip {clip}"
        expect_close(losses.tolist(), [-objective] * 2, what=f"the losses {where}", look=look)
        expect_close(slope.tolist(), [-pull] * 2, what=f"their gradient {where}", look=look)
    trained = call_uncopied(lambda: ppo.train(ppo.Config(steps=2048), loss=answer))
    last = np.mean([row["return"] for row in trained.log[-10:]])
    return f"right, and it has trained an agent: 2,048 steps, last ten episodes {last:.0f}."


@exercise("ppo/explained")
def _explained(answer: Any) -> str:
    """``answer(values, returns)``: the explained variance."""
    values, returns = np.array([0.0, 2.0, 4.0, 6.0]), np.array([0.0, 2.0, 2.0, 8.0])
    look = "which of the two stands in the denominator"
    expect_call(answer, (values, returns), 7 / 9, look=look)
    expect_call(answer, (returns, returns), 1.0, look="a perfect prediction")
    expect_call(answer, (values + 100.0, returns), 7 / 9, look="variances, not mean squares")
    expect_call(answer, (np.full(4, 7.0), returns), 0.0, look="a critic that says one number")
    expect_call(answer, (-returns, returns), -3.0, look="a critic worse than a constant")
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
    expect_call(answer, (np.array([1.0, 3.0]),), [-1.0, 1.0], look=look, tolerance=1e-3)
    wide = np.array([500.0, 100.0, 300.0, 300.0])
    expect_call(answer, (wide,), np.array([1, -1, 0, 0]) * math.sqrt(2), look=look, tolerance=1e-3)
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
