"""Checks of the exercises of the chapter ``policies/actor_critic``."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

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
from rlcourse.mdp import Floats


@exercise("actor_critic/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: two errors, two n-step advantages, three generalised ones."""
    error, sums = (
        "reward, discounted next value, own value",
        "which errors are added, and their weights",
    )
    expect_by_hand(
        answer,
        (
            (1.0, "the error of the first step", error),
            (-3.5, "the error of the second step", error),
            (-0.75, "the two-step advantage", sums),
            (0.5, "the three-step advantage", sums),
            (
                0.4375,
                "the generalised advantage",
                "the factor between two errors, gamma times lambda",
            ),
            (0.1875, "the same with an end", "what the third error is without a future"),
            (0.125, "the same with a time limit", "which of the errors belong to this episode"),
        ),
    )
    return "right: an end takes away a value, a limit cuts the sum."


@exercise("actor_critic/loss")
def _loss(answer: Any) -> str:
    """``answer(log_prob, entropy, values, returns, value_weight, entropy_weight)``: losses ``[B]``."""
    import torch

    from rlcourse.algorithms import a2c

    names = ("log-probabilities", "entropies", "values")
    for value_weight, entropy_weight in ((0.5, 0.1), (2.0, 0.0), (0.25, 1.0)):
        given = [
            torch.tensor(row, dtype=torch.float64, requires_grad=True)
            for row in ([-0.5, -2.0], [0.6, 0.1], [1.0, 4.0])
        ]
        returns = torch.tensor([3.0, 3.0], dtype=torch.float64)
        losses = call_uncopied(answer, *given, returns, value_weight, entropy_weight)
        if not isinstance(losses, torch.Tensor) or losses.shape != (2,):
            shape = getattr(losses, "shape", None)
            got = type(losses).__name__ if shape is None else f"one of shape {tuple(shape)}"
            raise NotRightError(f"for 2 samples: expected a tensor of shape (2,), got {got}.")
        if not losses.requires_grad:
            raise NotRightError("no gradient flows from your losses; is everything detached?")
        slopes = torch.autograd.grad(losses.sum(), given, allow_unused=True)
        where = f"for c_v = {value_weight}, c_e = {entropy_weight}"
        wanted = (
            [-2.0, 1.0],
            [-entropy_weight] * 2,
            [-2.0 * value_weight, 1.0 * value_weight],
        )
        look = (
            "the sign of the policy term",
            "the sign of the entropy: a loss is minimised",
            "who may move the critic: the value term, all of it, and nothing else",
        )
        for name, slope, right, hint in zip(names, slopes, wanted, look, strict=True):
            pulls = [0.0, 0.0] if slope is None else slope.tolist()
            expect_close(pulls, right, what=f"the gradient by the {name} {where}", look=hint)
        total = [
            0.5 * 2 + value_weight * 2.0 - entropy_weight * 0.6,
            2.0 * -1 + value_weight * 0.5 - entropy_weight * 0.1,
        ]
        look_at = "the factor one half of the value term"
        expect_close(losses.tolist(), total, what=f"the losses {where}", look=look_at)
    trained = call_uncopied(lambda: a2c.train(a2c.Config(steps=4000), loss=answer))
    last = np.mean([row["return"] for row in trained.log[-10:]])
    return f"right, and it has trained an agent: 4,000 steps, last ten episodes {last:.0f}."


@exercise("actor_critic/gae")
def _gae(answer: Any) -> str:
    """``answer(reward, value, next_value, terminated, truncated, gamma, lam)``: advantages ``[T]``."""
    reward, value = np.array([1.0, 0.0, 2.0]), np.array([2.0, 4.0, 1.0])
    ahead = np.array([4.0, 1.0, 8.0])
    no, third, second = np.zeros(3, bool), np.arange(3) == 2, np.arange(3) == 1

    def expect(right: list[float], look: str, *flags: Any, lam: float = 0.5) -> None:
        expect_call(answer, (reward, value, ahead, *flags, 0.5, lam), right, look=look)

    expect([0.4375, -2.25, 5.0], "the recursion, with nothing ending", no, no)
    expect([1.0, -3.5, 5.0], "lambda = 0: the errors alone", no, no, lam=0.0)
    expect([0.5, -1.0, 5.0], "lambda = 1", no, no, lam=1.0)
    expect([0.1875, -3.25, 1.0], "a true end: no value behind it", third, no)
    expect([0.125, -3.5, 5.0], "a time limit: the value counts, the sum is cut", no, second)
    # The middle state is worth 4, and nothing comes after it: its error is -4.
    expect([0.0, -4.0, 5.0], "an end in the midst: neither value nor sum", second, no)
    expect([0.0, -4.0, 5.0], "an end and a limit in the same step: the end is true", second, second)
    return "right: one mask for values, one for sums."


@exercise("actor_critic/judge")
def _judge(answer: Any) -> str:
    """``answer(estimator)``: whether values of later states enter the advantages."""
    if not callable(answer):
        raise NotRightError(f"expected a function, got {type(answer).__name__}.")
    for name, estimator, right in ESTIMATORS:
        try:
            got = answer(estimator)
        except Exception as error:  # whatever a learner's code raises is news for the learner
            raise NotRightError(f"on {name} it raised {type(error).__name__}: {error}") from None
        if not isinstance(got, bool | np.bool_):
            raise NotRightError(f"on {name} it returned {got!r}; expected True or False.")
        if got != right:
            role = "is" if right else "is not"
            raise NotRightError(
                f"on {name} it returned {bool(got)}: there the critic {role} asked about a later state."
            )
    return "right: by their fruits, not by their names."


def _window(n: int, lam: float = 1.0) -> Callable[[Any, Any], Floats]:
    """Advantages of at most ``n`` errors, or GAE, in an episode with a true end; discount 0.9."""

    def estimator(reward: Any, value: Any) -> Floats:
        r, v = np.asarray(reward, dtype=np.float64), np.asarray(value, dtype=np.float64)
        delta = r + 0.9 * np.append(v[1:], 0.0) - v
        weights = (0.9 * lam) ** np.arange(min(n, len(r)))
        return np.array([weights[: len(r) - t] @ delta[t : t + n] for t in range(len(r))])

    return estimator


def _returns(reward: Any) -> Floats:
    r = np.asarray(reward, dtype=np.float64)
    return np.array([0.9 ** np.arange(len(r) - t) @ r[t:] for t in range(len(r))])


ESTIMATORS: tuple[tuple[str, Callable[[Any, Any], Floats], bool], ...] = (
    ("the return less the value", lambda reward, value: _returns(reward) - value, False),
    ("the one-step advantage", _window(1), True),
    ("the five-step advantage", _window(5), True),
    ("GAE with lambda = 0.9", _window(10**6, 0.9), True),
    ("the bare return", lambda reward, value: _returns(reward), False),
    ("GAE with lambda = 1, a sum of errors", _window(10**6), False),
    # Twice the yardstick is a silly baseline, and a baseline.
    ("the return less twice the value", lambda reward, value: _returns(reward) - 2 * value, False),
    (
        "the return less the value, but one step in the first moment",
        lambda reward, value: np.append(
            _window(1)(reward, value)[:1], (_returns(reward) - value)[1:]
        ),
        True,
    ),
)


@exercise("actor_critic/waiting")
def _waiting(answer: Any) -> str:
    """``answer(times [rounds, workers])``: speed-up with a barrier, speed-up without."""
    round_look, column = "the slowest of each round", "the sum of each worker's own times"
    expect_call(answer, (np.array([[1.0, 3.0], [3.0, 1.0]]),), [8 / 6, 2.0], look=round_look)
    expect_call(answer, (np.ones((5, 4)),), [4.0, 4.0], look="workers that are all alike")
    slow = np.array([[1.0, 1.0, 4.0], [1.0, 1.0, 4.0]])
    expect_call(answer, (slow,), [1.5, 1.5], look=column)
    expect_call(answer, (np.array([[2.0], [5.0]]),), [1.0, 1.0], look="a single worker")
    mixed = np.array([[1.0, 2.0, 6.0], [5.0, 1.0, 1.0], [2.0, 4.0, 2.0]])
    expect_call(answer, (mixed,), [24 / 15, 24 / 9], look=f"{round_look}, and {column}")
    return (
        "right: whoever is always slow is slow either way; who is slow by chance costs a barrier."
    )


@exercise("actor_critic/variance")
def _variance(answer: Any) -> str:
    """``answer(P, R, pi, V, gamma, n)``: variance ``[S]`` of the n-step target."""
    rng = np.random.default_rng(0)
    P, R = rng.dirichlet(np.ones(3), size=(3, 2)), rng.normal(size=(3, 2))
    pi, V = rng.dirichlet(np.ones(2), size=3), rng.normal(size=3)
    for n, gamma, look in (
        (1, 1.0, "the crank, turned once: the actions make noise as well as the world"),
        (2, 1.0, "the second turn"),
        (3, 0.7, "the discount, which is squared in a square"),
    ):
        got = call(answer, (P, R, pi, V, gamma, n))
        right = [_enumerated(P, R, pi, V, gamma, n, s) for s in range(3)]
        expect_close(got, right, what=f"for a random world, n = {n}, gamma = {gamma}", look=look)
    sure = np.eye(2)[[0, 1, 0]]
    ring = np.zeros((3, 2, 3))
    ring[np.arange(3), :, (np.arange(3) + 1) % 3] = 1.0
    got = call(answer, (ring, R, sure, V, 0.9, 4))
    expect_close(got, np.zeros(3), what="where nothing is left to chance", look="mean squared")
    return "right: a variance, and nothing was thrown."


def _enumerated(
    P: Floats, R: Floats, pi: Floats, V: Floats, gamma: float, n: int, start: int
) -> float:
    """The variance of the target by writing down all that can happen."""
    chances, targets = [], []
    for actions in itertools.product(range(2), repeat=n):
        for rooms in itertools.product(range(3), repeat=n):
            s, chance, target = start, 1.0, 0.0
            for k, (a, following) in enumerate(zip(actions, rooms, strict=True)):
                chance *= pi[s, a] * P[s, a, following]
                target += gamma**k * R[s, a]
                s = following
            chances.append(chance)
            targets.append(target + gamma**n * V[s])
    p, y = np.array(chances), np.array(targets)
    return float(p @ (y - p @ y) ** 2)


@exercise("actor_critic/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: whether a worker of the module goes on with weights of its own."""
    from rlcourse.algorithms import a3c

    expect_detector(
        answer,
        buggy=hunt("a3c-never-fetches"),
        sound=a3c,
        other=hunt("a3c-gradients-pile-up"),
        but="that one adds up its gradients, but it fetches the weights",
    )
    return "right: who shares must also listen."
