"""Checks of the exercises of the chapter ``policies/sac``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from rlcourse.algorithms import sac
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


@exercise("sac/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: probability, soft value, expected reward, entropy; rewards 2 log 3 and 0, alpha 2."""
    reward = 1.5 * math.log(3)
    value = 2 * math.log(4)
    expect_by_hand(
        answer,
        (
            (0.75, "the probability of the first lever", "the rewards divided by the temperature"),
            (value, "the soft value", "the temperature in front of the logarithm"),
            (reward, "the expected reward", "the probabilities: entropy is no reward"),
            (math.log(4) - 0.75 * math.log(3), "the entropy", "nats, not rewards"),
        ),
        tolerance=1e-3,
    )
    return "right: reward and freedom, at two a nat, add up to the soft value."


@exercise("sac/units")
def _units(answer: Any) -> str:
    """``answer(low, high)``: the usual target entropy, and the largest possible one."""
    boxes = (
        ([-1.0, -1.0, -1.0], [1.0, 1.0, 1.0], "a box in which half widths are one"),
        ([-2.0], [2.0], "Pendulum's torque: half a width, not a width"),
        ([0.0, -0.1], [5.0, 0.1], "a box that does not lie around zero"),
        ([-0.4] * 6, [0.4] * 6, "a sum over the dimensions"),
    )
    for low, high, look in boxes:
        width = [b - a for a, b in zip(low, high, strict=True)]
        usual = sum(math.log(w) - math.log(2) - 1 for w in width)
        most = math.log(math.prod(width))
        expect_call(answer, (np.array(low), np.array(high)), [usual, most], look=look)
    return "right: the usual target is 18 % of each range, the largest all of it."


@exercise("sac/judge")
def _judge(answer: Any) -> str:
    """``answer(P, R, pi, gamma, alpha)``: soft values, ``[S]``."""
    one = np.ones((1, 2, 1))
    even, sure = np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])
    pay = np.array([[1.0, 3.0]])
    look = "the entropy of every step, discounted like the rewards"
    expect_call(answer, (one, pay, even, 0.5, 0.0), [4.0], look="the values without any entropy")
    expect_call(answer, (one, pay, even, 0.5, 2.0), [4.0 + 4 * math.log(2)], look=look)
    expect_call(answer, (one, pay, sure, 0.5, 2.0), [2.0], look="0 log 0, which is 0")
    rng = np.random.default_rng(0)
    P, R = rng.dirichlet(np.ones(4), (4, 3)), rng.normal(size=(4, 3))
    pi = rng.dirichlet(np.ones(3), 4)
    v = np.zeros(4)
    for _ in range(400):  # the backup, until nothing moves
        q = R + 0.8 * P @ v
        v = (pi * (q - 0.7 * np.log(pi))).sum(axis=1)
    expect_call(
        answer, (P, R, pi, 0.8, 0.7), v, look="the chain that the policy makes of the model"
    )
    return "right: a linear system, with freedom among the payments."


@exercise("sac/buttons")
def _buttons(answer: Any) -> str:
    """``answer(reward, discount, q1, q2, log_p, alpha)``: targets ``[B]``."""
    reward, discount = np.array([1.0, 2.0]), np.array([0.9, 0.0])
    q1, q2 = np.array([[4.0, 0.0], [8.0, 8.0]]), np.array([[2.0, 6.0], [9.0, 7.0]])
    p = np.array([[0.25, 0.75], [0.5, 0.5]])
    given = (reward, discount, q1, q2, np.log(p))
    first = 1 + 0.9 * (0.25 * 2 + 0.75 * 0)
    look = "the smaller for each action, then the average, and nothing after an end"
    expect_call(answer, (*given, 0.0), [first, 2.0], look=look)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    look = "the sign of the entropy, and what is left of it after an end"
    expect_call(answer, (*given, 0.5), [first + 0.9 * 0.5 * entropy, 2.0], look=look)
    return "right: an average that nobody has to draw."


@exercise("sac/thermostat")
def _thermostat(answer: Any) -> str:
    """``answer(log_alpha, log_prob, target)``: the loss of log alpha."""
    for log_prob, target, slope, state in (
        ([1.0, 3.0], -1.0, -1.0, "too predictable"),
        ([-4.0, -2.0], 1.0, 2.0, "too random"),
        ([0.5, 1.5], -1.0, 0.0, "right"),
    ):
        log_alpha = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        chances = torch.tensor(log_prob, dtype=torch.float64, requires_grad=True)
        loss = _called(answer, log_alpha, chances, target)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            raise NotRightError(f"expected one number as a tensor, got {type(loss).__name__}.")
        if not loss.requires_grad:
            raise NotRightError("no gradient flows from your loss to log_alpha; is it detached?")
        found = torch.autograd.grad(loss, (log_alpha, chances), allow_unused=True)
        if found[1] is not None and bool((found[1] != 0).any()):
            raise NotRightError("your loss also has a gradient in log_prob. Look at detach().")
        got = 0.0 if found[0] is None else float(found[0])
        look = "in which direction log_alpha moves when one goes down the loss, and an average"
        expect_close(got, slope, what=f"the slope where the policy is {state}", look=look)
        what = "the loss at log_alpha = 0.7"
        expect_close(loss.item(), 0.7 * slope, what=what, look="log alpha in front, not alpha")
    return "right: nats missing heat, nats to spare cool, and the policy hears nothing of it."


def _called(function: Any, *arguments: Any) -> Any:
    """``call`` without copies, which would lose the gradient."""
    if not callable(function):
        raise NotRightError(f"expected a function, got {type(function).__name__}.")
    try:
        return function(*arguments)
    except Exception as error:  # whatever a learner's code raises is news for the learner
        raise NotRightError(f"it raised {type(error).__name__}: {error}") from None


@exercise("sac/price")
def _price(answer: Any) -> str:
    """``answer(r, wanted)``: the temperature whose softmax has so many nats."""
    rng = np.random.default_rng(1)
    cases = [
        (np.array([1.0, 0.0]), 0.5, "two levers"),
        (np.array([0.03, 0.01, 0.0]), 0.9, "cents: how small a temperature is tried"),
        (np.array([2e6, 0.0, -1e6]), 0.4, "millions: how large a temperature is tried"),
        (rng.normal(size=50), 3.6, "fifty levers, nearly even"),
        (rng.normal(size=50) + 1e4, 0.2, "fifty levers, nearly certain, far from zero"),
    ]
    for r, wanted, look in cases:
        alpha = np.asarray(call(answer, (r, wanted)), dtype=np.float64)
        if alpha.shape != () or not np.isfinite(alpha) or alpha <= 0:
            raise NotRightError(f"for {len(r)} levers: {alpha} is no temperature. Look at {look}.")
        what = f"the entropy at your temperature for {len(r)} levers"
        expect_close(_nats(r, float(alpha)), wanted, what=what, look=look, tolerance=1e-7)
    return "right: whatever the money is called, the thermostat finds its number."


def _nats(r: Any, alpha: float) -> float:
    """Entropy of the softmax, as the logarithm of the sum less the mean exponent."""
    x = (r - r.max()) / alpha
    weight = np.exp(x)
    return float(np.log(weight.sum()) - (weight @ np.maximum(x, -1e300)) / weight.sum())


@exercise("sac/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: whether the module pays for freedom after the end."""
    expect_detector(
        answer,
        buggy=hunt("entropy-after-death"),
        sound=sac,
        other=hunt("optimist-of-two-critics"),
        but="that one believes the larger critic, but pays nothing after an end",
    )
    return "right: after an end nothing is chosen, and nothing may depend on its price."
