r"""Stars, predicted: biased matrix factorisation, $\hat r_{ui} = \mu + b_u + b_i + p_u \cdot q_i$.

Koren, Bell and Volinsky 2009, equation 4; fitted by alternating least squares, each user's and each item's part in
closed form, with the ridge of each multiplied by its number of ratings (Zhou et al. 2008).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlcourse.errors import check_not_negative, check_positive
from rlcourse.recommender.data import Split

__all__ = ["Ratings", "factorise"]


class Ratings(NamedTuple):
    """``mean`` is of all ratings; ``user`` (``[U, f + 1]``) and ``item`` (``[I, f + 1]``) begin with the bias."""

    mean: float
    user: NDArray[np.float64]
    item: NDArray[np.float64]

    def predict(self, users: NDArray[np.int64]) -> NDArray[np.float64]:
        """The stars of every item, for some users; shape ``[N, I]``."""
        own = self.user[users]
        return np.asarray(
            self.mean + own[:, :1] + self.item[:, 0] + own[:, 1:] @ self.item[:, 1:].T
        )

    def predict_pairs(
        self, users: NDArray[np.integer], items: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """The stars of pairs; shape ``[N]``."""
        own, its = self.user[users], self.item[items]
        inner = np.einsum("nf,nf->n", own[:, 1:], its[:, 1:])
        return np.asarray(self.mean + own[:, 0] + its[:, 0] + inner)


def factorise(
    split: Split, factors: int = 16, ridge: float = 0.08, rounds: int = 8, seed: int = 0
) -> Ratings:
    """Fit on the histories of a split.

    Args:
        split: whose ``history`` is used, and nothing else.
        factors: of each user and item.
        ridge: of the squares, times the number of ratings.
        rounds: over users and items.
        seed: of the first guess.
    """
    check_positive("factors", factors)
    check_positive("rounds", rounds)
    check_not_negative("ridge", ridge)
    events = split.history
    stars, mean = events.rating.astype(np.float64), float(events.rating.mean())
    rng = np.random.default_rng(seed)
    user = np.zeros((len(split.users), factors + 1))
    item = np.zeros((len(split.items), factors + 1))
    item[:, 1:] = 0.1 * rng.normal(size=(len(split.items), factors))
    by_item = np.argsort(events.item, kind="stable")
    item_start = np.searchsorted(events.item[by_item], np.arange(len(split.items) + 1))
    for _ in range(rounds):
        _solve(user, item, events.start, events.item, stars - mean, ridge)
        _solve(item, user, item_start, events.user[by_item], stars[by_item] - mean, ridge)
    return Ratings(mean, user, item)


def _solve(
    own: NDArray[np.float64],
    other: NDArray[np.float64],
    start: NDArray[np.int64],
    partner: NDArray[np.int32],
    stars: NDArray[np.float64],
    ridge: float,
) -> None:
    """The bias and factors of each row of ``own``, in place, with the other side held still."""
    eye = np.eye(own.shape[1])
    for row in range(len(own)):
        rated = slice(start[row], start[row + 1])
        count = rated.stop - rated.start
        if not count:
            own[row] = 0.0
            continue
        partners = other[partner[rated]]
        x = np.concatenate([np.ones((count, 1)), partners[:, 1:]], axis=1)
        gram = x.T @ x + (ridge * count) * eye
        own[row] = np.linalg.solve(gram, x.T @ (stars[rated] - partners[:, 0]))
