"""Machines with arms: what a pull pays, which guest is at the door, and what an oracle would have pulled.

A :class:`Bandit` is nothing but arrays, so that hundreds of runs can be played at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rlcourse.errors import (
    InvalidArgumentError,
    check_not_negative,
    check_numbers,
    check_positive,
)
from rlcourse.mdp import Floats
from rlcourse.seeding import generator

__all__ = ["LIKED", "Bandit", "bernoulli", "gaussian", "sequence", "tastes", "trap"]

# How often the fifty most rated films of MovieLens 1M get four stars or five (Harper & Konstan 2015),
# largest first, to three digits.
LIKED = (
    *(0.919, 0.902, 0.899, 0.899, 0.895, 0.881, 0.880, 0.877, 0.874, 0.853, 0.852, 0.839, 0.838),
    *(0.832, 0.830, 0.825, 0.825, 0.820, 0.815, 0.810, 0.809, 0.806, 0.802, 0.802, 0.797, 0.796),
    *(0.792, 0.785, 0.784, 0.781, 0.772, 0.760, 0.746, 0.742, 0.740, 0.739, 0.738, 0.729, 0.724),
    *(0.710, 0.705, 0.700, 0.663, 0.648, 0.647, 0.625, 0.618, 0.599, 0.556, 0.503),
)


@dataclass(frozen=True)
class Bandit:
    """A machine with ``K`` arms in ``S`` situations; each step one situation is met and one arm pulled.

    Raises:
        InvalidArgumentError: shapes that do not fit, a mean that is not finite or, without ``noise``, no
            probability.
    """

    means: Floats  # [S, K]: what an arm pays on average
    contexts: Floats  # [S, d]: what the player sees of a situation
    noise: float | None = None  # deviation of a normal reward; None: a reward is 0 or 1
    in_turn: bool = False  # step t meets situation t; else a random one
    delay: int = 0  # steps until a reward is seen

    def __post_init__(self) -> None:
        means, contexts = (check_numbers(n, getattr(self, n)) for n in ("means", "contexts"))
        if means.ndim != 2 or means.size == 0 or means.shape[1] < 2 or not np.isfinite(means).all():
            raise InvalidArgumentError(
                f"means of shape {means.shape}: must be finite numbers [situations, arms], two arms or more"
            )
        if contexts.ndim != 2 or len(contexts) != len(means) or not np.isfinite(contexts).all():
            raise InvalidArgumentError(
                f"contexts of shape {contexts.shape}: must be finite numbers [{len(means)}, features]"
            )
        if self.noise is not None:
            check_not_negative("noise", self.noise)
        elif (means < 0).any() or (means > 1).any():
            raise InvalidArgumentError(
                "means: must be probabilities where rewards are 0 or 1; or give a noise"
            )
        if self.delay != 0:
            check_positive("delay", self.delay)
        object.__setattr__(self, "means", means)
        object.__setattr__(self, "contexts", contexts)

    def fixed(self, steps: int) -> int:
        """The arm that pays best over all if one must pull the same for ``steps`` steps.

        >>> sequence([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]).fixed(3)
        1
        """
        met = self.means[:steps] if self.in_turn else self.means
        return int(met.mean(axis=0).argmax())


def _one(means: ArrayLike, noise: float | None, delay: int) -> Bandit:
    return Bandit(np.atleast_2d(check_numbers("means", means)), np.ones((1, 1)), noise, delay=delay)


def bernoulli(means: ArrayLike, *, delay: int = 0) -> Bandit:
    """Arms ``[K]`` that pay one with these chances, else nothing.

    >>> bernoulli([0.2, 0.8]).means
    array([[0.2, 0.8]])
    """
    return _one(means, None, delay)


def gaussian(means: ArrayLike, noise: float = 1.0, *, delay: int = 0) -> Bandit:
    """Arms ``[K]`` that pay a normal reward of these means and one deviation.

    >>> gaussian([0.0, 1.0]).noise
    1.0
    """
    return _one(means, noise, delay)


def sequence(means: ArrayLike, noise: float | None = 0.0) -> Bandit:
    """What each arm pays at each step, ``[steps, K]``, laid down beforehand: nothing need be stationary.

    >>> sequence(np.eye(2)).in_turn
    True
    """
    table = np.atleast_2d(check_numbers("means", means))
    return Bandit(table, np.ones((len(table), 1)), noise, in_turn=True)


def trap(steps: int, width: float = 2**0.5) -> Bandit:
    """Two arms and a sequence in ``{0, 1}`` that makes UCB1 of this ``width`` wrong at every step but two.

    Whatever happens, the rewards are laid down beforehand: UCB1 has no secrets, so one can compute what it
    will pull and pay the other arm. Arm 0 pays one in the first two steps, arm 1 nothing, so that the order
    in which it tries them does not matter.

    >>> trap(5).means.tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
    """
    check_positive("steps", steps)
    rewards = np.zeros((steps, 2))
    rewards[:2, 0] = 1.0
    counts, sums = np.ones(2), np.array([1.0, 0.0])
    for t in range(2, steps):
        pulled = int(np.argmax(sums / counts + width * np.sqrt(np.log(t) / counts)))
        rewards[t, 1 - pulled] = 1.0
        counts[pulled] += 1
    return sequence(rewards)


def tastes(
    seed: int = 0, *, users: int = 1000, arms: int = 20, factors: int = 8, shown: str = "tastes"
) -> Bandit:
    """Guests who like different films: a guest and a film have factors, and their product decides.

    The chance of a like is a logistic function of the film's quality plus the product, so that a linear
    model is wrong, though not by much.

    Args:
        seed: of guests and films.
        users: how many guests there are; each step one of them comes, all alike likely.
        arms: films.
        factors: of taste.
        shown: what the player sees of a guest beside a constant one: ``tastes`` (the factors) or ``noise``
            (as many numbers that have nothing to do with the guest).

    >>> tastes(users=5).contexts.shape
    (5, 9)
    """
    if shown not in ("tastes", "noise"):
        raise InvalidArgumentError(f"shown = {shown!r}: must be one of tastes, noise")
    for name, value in (("users", users), ("arms", arms), ("factors", factors)):
        check_positive(name, value)
    rng = generator(seed)
    guests, films = rng.normal(size=(users, factors)), rng.normal(size=(factors, arms))
    quality = 1.2 + 0.5 * rng.normal(size=arms)
    means = 1.0 / (1.0 + np.exp(-(quality + guests @ films * 0.9 / np.sqrt(factors))))
    seen = guests if shown == "tastes" else rng.normal(size=guests.shape)
    return Bandit(means, np.column_stack([np.ones(users), seen]))
