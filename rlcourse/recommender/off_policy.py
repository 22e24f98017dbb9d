r"""What a policy would have earned, from the log of another: three estimators, with the logging policy known.

The log has, of each round, the action that was taken, the probability with which it was taken, and its reward.
The policy that is judged gives every action a probability. MovieLens has no such log (nobody knows what its users
were shown), so here the estimators are used where they can be checked: in a simulator.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlcourse.errors import InvalidArgumentError, check_numbers
from rlcourse.recommender.metrics import Scores, top_k
from rlcourse.recommender.simulator import DISLIKED, Audience, Sessions

__all__ = [
    "Estimate",
    "Shelf",
    "doubly_robust",
    "estimates",
    "importance_sampling",
    "self_normalised",
    "shelf",
]


class Estimate(NamedTuple):
    """A mean reward a round, its standard error, and the effective number of rounds that it rests on."""

    value: float
    error: float
    rounds: float


def importance_sampling(reward: ArrayLike, target: ArrayLike, logging: ArrayLike) -> Estimate:
    r"""$\frac 1 n \sum_i w_i r_i$ with $w_i = \pi(a_i) / \beta(a_i)$: unbiased, and as noisy as its weights.

    Horvitz and Thompson 1952; Precup, Sutton and Singh 2000.

    Args:
        reward: of each round, shape ``[n]``.
        target: the probability that the judged policy gives the action that was taken; shape ``[n]``.
        logging: the probability with which it was taken; shape ``[n]``, positive.

    >>> importance_sampling([1.0, 0.0], target=[1.0, 0.0], logging=[0.5, 0.5]).value
    1.0
    """
    rewards, weights = _weighted(reward, target, logging)
    return _mean(weights * rewards, weights)


def self_normalised(reward: ArrayLike, target: ArrayLike, logging: ArrayLike) -> Estimate:
    r"""$\sum_i w_i r_i / \sum_i w_i$: a little bias, and never outside the rewards that were seen.

    The standard error is the delta method's (Owen 2013, section 9.2).
    """
    rewards, weights = _weighted(reward, target, logging)
    if not weights.sum() > 0:
        raise InvalidArgumentError("target: must be positive in at least one round")
    value = float(weights @ rewards / weights.sum())
    share = weights / weights.sum()
    error = float(np.sqrt(np.sum(share**2 * (rewards - value) ** 2)))
    return Estimate(value, error, _effective(weights))


def doubly_robust(
    reward: ArrayLike,
    target: ArrayLike,
    logging: ArrayLike,
    predicted: ArrayLike,
    predicted_value: ArrayLike,
) -> Estimate:
    r"""$\frac 1 n \sum_i \hat v_i + w_i (r_i - \hat q_i)$: a model's word, corrected by what really happened.

    Unbiased if the logging probabilities or the model are right, and with less noise the better the model is
    (Dudík, Langford and Li 2011).

    Args:
        reward: of each round, shape ``[n]``.
        target: the probability that the judged policy gives the action that was taken; shape ``[n]``.
        logging: the probability with which it was taken; shape ``[n]``, positive.
        predicted: the model's reward of the action that was taken; shape ``[n]``.
        predicted_value: the model's mean reward under the judged policy; shape ``[n]``.
    """
    rewards, weights = _weighted(reward, target, logging)
    model, value = (
        check_numbers("predicted", predicted),
        check_numbers("predicted_value", predicted_value),
    )
    if model.shape != rewards.shape or value.shape != rewards.shape:
        raise InvalidArgumentError(
            f"predicted and predicted_value have shapes {model.shape} and {value.shape}: must be "
            f"{rewards.shape}, as reward"
        )
    if not (np.isfinite(model) & np.isfinite(value)).all():
        raise InvalidArgumentError("predicted and predicted_value: must be finite numbers")
    return _mean(value + weights * (rewards - model), weights)


def _weighted(
    reward: ArrayLike, target: ArrayLike, logging: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rewards = check_numbers("reward", reward)
    chosen, logged = check_numbers("target", target), check_numbers("logging", logging)
    if rewards.ndim != 1 or len(rewards) < 2 or not rewards.shape == chosen.shape == logged.shape:
        raise InvalidArgumentError(
            f"reward, target and logging have shapes {rewards.shape}, {chosen.shape} and "
            f"{logged.shape}: must be [n], the same n of at least 2"
        )
    if not (np.isfinite(rewards) & np.isfinite(chosen) & np.isfinite(logged)).all():
        raise InvalidArgumentError("reward, target and logging: must be finite numbers")
    if (logged <= 0).any() or (logged > 1).any() or (chosen < 0).any() or (chosen > 1).any():
        raise InvalidArgumentError(
            "target must lie in [0, 1] and logging in (0, 1]: an action of probability zero cannot "
            "have been taken"
        )
    return rewards, chosen / logged


def _mean(terms: NDArray[np.float64], weights: NDArray[np.float64]) -> Estimate:
    error = terms.std(ddof=1) / np.sqrt(len(terms))
    return Estimate(float(terms.mean()), float(error), _effective(weights))


def _effective(weights: NDArray[np.float64]) -> float:
    """Kish's number: how many rounds of equal weight would be as noisy."""
    total = float(np.sum(weights**2))
    return float(weights.sum() ** 2 / total) if total > 0 else 0.0


# --- where they can be checked ---------------------------------------------------------------------


class Shelf(NamedTuple):
    """The first recommendation of a session: what each person would do with each of ``K`` items.

    ``consume`` and ``like`` are probabilities, shape ``[N, K]``; ``items`` are the first places of a ranking.
    """

    items: NDArray[np.int64]
    consume: NDArray[np.float64]
    like: NDArray[np.float64]

    def pays(self) -> NDArray[np.float64]:
        """The expected reward of each item; shape ``[N, K]``."""
        return self.consume * (self.like + DISLIKED * (1.0 - self.like))

    def log(
        self, logging: NDArray[np.floating], rounds: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """People drawn at random, the place that was shown to each with the chances of ``logging``, its reward."""
        person = rng.integers(len(self.items), size=rounds)
        ahead = np.cumsum(logging[person], axis=1) < rng.random(rounds)[:, None]
        place = np.minimum(ahead.sum(axis=1), self.items.shape[1] - 1)
        consumed = rng.random(rounds) < self.consume[person, place]
        liked = rng.random(rounds) < self.like[person, place]
        return person, place, np.where(consumed, np.where(liked, 1.0, DISLIKED), 0.0)


def shelf(audience: Audience, scores: Scores, users: NDArray[np.int64], places: int) -> Shelf:
    """The first ``places`` of a ranking for some people, at the beginning of a session."""
    sessions = Sessions(audience, users)
    values = np.where(sessions.seen, -np.inf, scores(users))
    items = top_k(values, places)
    rows = np.arange(len(users))[:, None]
    return Shelf(items, sessions.consumes()[rows, items], sessions.likes[rows, items])


def estimates(
    person: NDArray[np.int64],
    place: NDArray[np.int64],
    reward: NDArray[np.float64],
    logging: NDArray[np.floating],
    target: NDArray[np.floating],
) -> dict[str, Estimate]:
    """All three of a log: ``ips``, ``snips`` and ``dr``.

    The model of the last knows no person: it is the mean reward of a place, of the other half of the log.

    Args:
        person: of each round, shape ``[n]``, ``n`` at least 4.
        place: what was shown, shape ``[n]``.
        reward: what it paid, shape ``[n]``.
        logging: the chances of the places for each person, shape ``[N, K]``.
        target: those of the policy that is judged, shape ``[N, K]``.
    """
    own, other = target[person, place], logging[person, place]
    half, places = np.arange(len(place)) % 2, logging.shape[1]
    model = np.empty((2, places))
    for k in range(2):
        theirs = half != k
        counts = np.bincount(place[theirs], minlength=places)
        sums = np.bincount(place[theirs], reward[theirs], minlength=places)
        # A place that was never shown gets the mean of all, as if that had been seen once there.
        model[k] = (sums + reward[theirs].mean()) / (counts + 1)
    value = np.einsum("nk,nk->n", target[person], model[half])
    return {
        "ips": importance_sampling(reward, own, other),
        "snips": self_normalised(reward, own, other),
        "dr": doubly_robust(reward, own, other, model[half, place], value),
    }
