"""Checks of the exercises of the chapter ``policies/policy_gradients``."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.integrate import quad
from scipy.special import log_softmax, softmax

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
from rlcourse.mdp import Floats


@exercise("policy_gradients/score")
def _score(answer: Any) -> str:
    """``answer(numbers, action)``: the score of an action of a softmax."""
    look = "what you did, less what you would have done on average"
    expect_call(answer, (np.zeros(2), 1), [-0.5, 0.5], look=look)
    expect_call(answer, (np.log([1.0, 2.0, 1.0]), 0), [0.75, -0.5, -0.25], look=look)
    rng = np.random.default_rng(0)
    for actions in (2, 5):
        numbers = rng.normal(size=actions)
        for action in range(actions):
            expected = _differences(lambda x, a=action: float(log_softmax(x)[a]), numbers)
            expect_call(answer, (numbers, action), expected, look=look, tolerance=1e-5)
    with np.errstate(over="ignore", invalid="ignore"):
        large = "numbers in the hundreds: what may be subtracted from all of them?"
        expect_call(answer, (np.array([800.0, 800.0]), 0), [0.5, -0.5], look=large)
        expect_call(answer, (np.array([-900.0, -900.0]), 1), [-0.5, 0.5], look=large)
    return "right: it is the slope of the log-probability, also where exp overflows."


@exercise("policy_gradients/weights")
def _weights(answer: Any) -> str:
    """``answer``: five weights of one score."""
    expect_by_hand(
        answer,
        (
            (3.0, "the whole return", "all three rewards, and the gammas before them"),
            (2.0, "the reward-to-go", "what was paid from this action on, and its gammas"),
            (0.5, "less the value", "the value of the state in which this action was taken"),
            (1.0, "the exact discounted gradient", "the factor that everybody drops"),
            (0.5, "less the mean of the others", "whether the episode sits in its own baseline"),
        ),
    )
    return "right: one action, one episode, five honest weights."


@exercise("policy_gradients/neighbours")
def _neighbours(answer: Any) -> str:
    """``answer(returns)``: the weight of each episode, with the others as baseline."""
    look = "what the mean of the others is, for the first of them"
    expect_call(answer, (np.array([1.0, 2.0, 6.0]),), [-3.0, -1.5, 4.5], look=look)
    expect_call(answer, (np.array([4.0, 1.0]),), [3.0, -3.0], look="a batch of two")
    pi, pay = np.array([0.2, 0.5, 0.3]), np.array([3.0, -1.0, 10.0])
    score, mean = np.eye(3) - pi, np.zeros(3)
    for batch in product(range(3), repeat=3):
        weights = np.asarray(call(answer, (pay[list(batch)],)))
        mean += pi[list(batch)].prod() * weights @ score[list(batch)] / 3
    exact = pi * (pay - pi @ pay)
    expect_close(mean, exact, what="the mean over all 27 batches of three levers", look=look)
    return f"right: over all 27 batches the mean is the exact gradient, {exact.round(3)}."


@exercise("policy_gradients/best")
def _best(answer: Any) -> str:
    """``answer(pi, r)``: the constant baseline with the smallest variance, in a bandit."""
    look = "which probabilities weigh the rewards: those of rare actions have long scores"
    expect_call(answer, (np.array([0.9, 0.1]), np.array([1.0, 0.0])), 0.1, look=look)
    expect_call(answer, (np.array([0.5, 0.5]), np.array([3.0, -7.0])), -2.0, look=look)
    rng = np.random.default_rng(0)
    for actions in (2, 3, 6):
        pi, r = rng.dirichlet(np.ones(actions)), rng.normal(size=actions) + 5
        got = call(answer, (pi, r))
        expect_close(np.shape(got), (), what="the shape of your answer", look="one number")
        noise = _noise(pi, r, float(got))
        for step in (-0.01, 0.01):
            other = _noise(pi, r, float(got) + step)
            if other < noise:
                raise NotRightError(
                    f"for {actions} levers, pi = {pi.round(3)}: with {float(got):.4f} the variance is "
                    f"{noise:.6f}, with {float(got) + step:.4f} it is {other:.6f}. Look at {look}."
                )
    return "right: a hundredth to either side, and the variance is larger."


@exercise("policy_gradients/density")
def _density(answer: Any) -> str:
    """``answer(a, mu, sigma, low, high)``: the log-density of a squashed normal number."""

    def mass(mu: float, sigma: float, low: float, high: float) -> float:
        def density(a: float) -> float:
            with np.errstate(over="ignore"):
                return float(np.exp(call(answer, (a, mu, sigma, low, high))))

        return float(quad(density, low, high, limit=200)[0])

    for case in ((0.0, 1.0, -1.0, 1.0), (0.6, 0.7, -2.0, 2.0), (-0.5, 0.5, 1.0, 4.0)):
        got, box = mass(*case), f"mu {case[0]}, sigma {case[1]}, from {case[2]:g} to {case[3]:g}"
        if not abs(got - 1) < 1e-4:
            raise NotRightError(
                f"{box}: your density adds up to {got:.4f}; expected 1. Look at da/du: how wide the "
                "box is, and how flat the tanh."
            )
    # By a road without a density: the distribution function of a monotone map, differenced.
    from scipy.stats import norm

    for a, mu, sigma, low, high in ((1.5, 0.6, 0.7, -2.0, 2.0), (1.2, -0.5, 0.5, 1.0, 4.0)):
        ends = np.array([a - 1e-4, a + 1e-4])
        below = norm.cdf(np.arctanh((ends - (low + high) / 2) / ((high - low) / 2)), mu, sigma)
        expected = np.log((below[1] - below[0]) / 2e-4)
        look = "where mu and sigma belong: to the number before it is squashed"
        expect_call(answer, (a, mu, sigma, low, high), expected, look=look, tolerance=1e-4)
    return "right: it adds up to one in three boxes."


@exercise("policy_gradients/theorem")
def _theorem(answer: Any) -> str:
    """``answer(P, R, mu, theta, gamma)``: the exact gradient of a softmax policy."""
    rng = np.random.default_rng(0)
    for states, actions, gamma in ((1, 2, 0.5), (3, 2, 0.9), (4, 3, 0.7)):
        P = rng.dirichlet(np.ones(states), (states, actions))
        R, theta = rng.normal(size=(2, states, actions))
        mu = rng.dirichlet(np.ones(states))
        expected = _differences(lambda x, m=(P, R, mu, gamma): _objective(x, *m), theta)
        got = call(answer, (P, R, mu, theta, gamma))
        what = f"a model of {states} states and {actions} actions, gamma = {gamma}"
        look = "each factor: visits (which way does P go, and where do they start?), pi, advantage"
        expect_close(got, expected, what=what, look=look, tolerance=1e-5)
    return "right: two linear systems, and no logarithm."


@exercise("policy_gradients/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: whether the module's loss gives every action the same weight."""
    from rlcourse.algorithms import reinforce

    expect_detector(
        answer,
        buggy=hunt("one-weight-for-all"),
        sound=reinforce,
        other=SimpleNamespace(policy_loss=_mean_over_steps),
        but="that one divides by another number, but each action keeps its own weight",
    )
    return "right: your test asks whose advantage an action is judged by."


def _mean_over_steps(log_prob: Any, advantages: Any, episodes: int) -> Any:
    """A step of another length, in the same direction."""
    return -(log_prob * advantages.detach()).mean()


def _differences(function: Any, x: Floats, h: float = 1e-5) -> Floats:
    """The gradient of ``function`` at ``x``, by central differences."""
    slope = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        slope[index] = (function(x + step) - function(x - step)) / (2 * h)
    return slope


def _objective(theta: Floats, P: Floats, R: Floats, mu: Floats, gamma: float) -> float:
    """The expected discounted return, by summing rewards over time: no linear system."""
    pi: Floats = softmax(theta, axis=1)
    chain, pay = np.einsum("sa,sax->sx", pi, P), (pi * R).sum(axis=1)
    total, where, weight = 0.0, mu, 1.0
    while weight > 1e-12:
        total += weight * float(where @ pay)
        where, weight = where @ chain, weight * gamma
    return total


def _noise(pi: Floats, r: Floats, b: float) -> float:
    """The exact variance of a bandit's estimate with a constant baseline, over all its numbers."""
    estimates = (np.eye(len(pi)) - pi) * (r - b)[:, None]
    return float(pi @ ((estimates - pi @ estimates) ** 2).sum(axis=1))
