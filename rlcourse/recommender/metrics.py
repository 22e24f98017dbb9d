r"""How good a ranking is, over the whole catalogue: precision, recall, NDCG, hits, coverage, novelty.

Each user's metric is computed from the first ``K`` places of the ranking of *all* items, the user's own history
taken out. Ranking against a sample of items instead changes the order of recommenders, even in expectation
(Krichene and Rendle 2020, doi 10.1145/3394486.3403226), so nothing here samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from rlcourse.errors import InvalidArgumentError, check_numbers, check_positive
from rlcourse.recommender.data import Split, blocks

__all__ = [
    "Board",
    "Scores",
    "coverage",
    "hit_rate",
    "judge",
    "mae",
    "ndcg",
    "novelty",
    "precision",
    "recall",
    "rmse",
    "top_k",
]

# Scores of users (their numbers, shape [N]) for every item: shape [N, I].
Scores = Callable[[NDArray[np.int64]], NDArray[np.floating]]


def top_k(scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """The ``k`` items of highest score, best first; where scores tie, the lower number first.

    Args:
        scores: shape ``[N, I]``; an item at minus infinity is not for this user.
        k: how many; at most ``I``.

    Returns:
        Items, shape ``[N, k]``; -1 where fewer than ``k`` items are for the user.

    >>> top_k(np.array([[0.1, 0.9, 0.9, -np.inf]]), 4)
    array([[ 1,  2,  0, -1]])
    """
    check_positive("k", k)
    if scores.ndim != 2 or k > scores.shape[1]:
        raise InvalidArgumentError(
            f"scores have shape {scores.shape}, k = {k}: must be [users, items] with items >= k"
        )
    if np.isnan(scores).any():
        raise InvalidArgumentError("scores: must not be NaN")
    # The k-th score; of the items that tie with it, those of the lowest numbers are in.
    edge = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    above, tied = scores > edge, scores == edge
    tied &= np.cumsum(tied, axis=1) <= k - above.sum(axis=1, keepdims=True)
    items = np.nonzero(above | tied)[1].reshape(len(scores), k)
    order = np.argsort(-np.take_along_axis(scores, items, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(items, order, axis=1)
    return np.where(np.isneginf(np.take_along_axis(scores, best, axis=1)), -1, best)


def _hits(ranked: NDArray[np.int64], relevant: csr_array) -> NDArray[np.float64]:
    """Ones where a recommended item is relevant; shape ``[U, K]``."""
    if ranked.ndim != 2 or ranked.shape[0] != relevant.shape[0]:
        raise InvalidArgumentError(
            f"ranked has shape {ranked.shape}, relevant {relevant.shape}: users must agree"
        )
    items = relevant.shape[1]
    coo = relevant.tocoo()
    asked = np.arange(len(ranked))[:, None] * items + ranked
    found = np.isin(asked, coo.coords[0].astype(np.int64) * items + coo.coords[1])
    return np.where(ranked >= 0, found, False).astype(np.float64)


def _counts(relevant: csr_array) -> NDArray[np.float64]:
    return np.diff(relevant.indptr).astype(np.float64)


def precision(ranked: NDArray[np.int64], relevant: csr_array) -> NDArray[np.float64]:
    """What part of the recommendations is relevant, by user; shape ``[U]``.

    Args:
        ranked: items, best first, shape ``[U, K]``.
        relevant: ones, sparse, shape ``[U, I]``.
    """
    return np.asarray(_hits(ranked, relevant).mean(axis=1))


def recall(ranked: NDArray[np.int64], relevant: csr_array) -> NDArray[np.float64]:
    """What part of the relevant items is recommended, by user; NaN without a relevant item."""
    with np.errstate(invalid="ignore"):
        return np.asarray(_hits(ranked, relevant).sum(axis=1) / _counts(relevant))


def hit_rate(ranked: NDArray[np.int64], relevant: csr_array) -> NDArray[np.float64]:
    """One where at least one recommendation is relevant, by user; shape ``[U]``."""
    return np.asarray(_hits(ranked, relevant).max(axis=1))


def ndcg(ranked: NDArray[np.int64], relevant: csr_array) -> NDArray[np.float64]:
    r"""$\sum_k \mathbb 1\{k \text{ relevant}\} / \log_2(k + 1)$ over what the best ranking gets, by user.

    Järvelin and Kekäläinen 2002, with gains of zero and one; NaN without a relevant item.
    """
    hits, counts = _hits(ranked, relevant), _counts(relevant)
    worth = 1.0 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.concatenate([[0.0], np.cumsum(worth)])[np.minimum(counts, len(worth)).astype(int)]
    with np.errstate(invalid="ignore"):
        return np.asarray(hits @ worth / ideal)


def coverage(ranked: NDArray[np.int64], items: int) -> float:
    """What part of the catalogue is recommended to anybody."""
    return len(np.unique(ranked[ranked >= 0])) / check_positive("items", items)


def novelty(ranked: NDArray[np.int64], popularity: NDArray[np.floating]) -> float:
    """How surprising a recommendation is: mean of ``-log2`` of the item's share of all events, in bits.

    Zhou et al. 2010 (doi 10.1073/pnas.1000488107). An item without an event counts as if it had one.
    """
    counts = np.maximum(check_numbers("popularity", popularity), 1.0)
    return float(-np.log2(counts / counts.sum())[ranked[ranked >= 0]].mean())


def rmse(predicted: ArrayLike, rated: ArrayLike) -> float:
    """The root of the mean square error of predicted ratings, in stars."""
    return float(np.sqrt(np.square(_errors(predicted, rated)).mean()))


def mae(predicted: ArrayLike, rated: ArrayLike) -> float:
    """The mean absolute error of predicted ratings, in stars."""
    return float(np.abs(_errors(predicted, rated)).mean())


def _errors(predicted: ArrayLike, rated: ArrayLike) -> NDArray[np.float64]:
    guess, truth = check_numbers("predicted", predicted), check_numbers("rated", rated)
    if guess.shape != truth.shape or not guess.size:
        raise InvalidArgumentError(
            f"predicted has shape {guess.shape}, rated {truth.shape}: must agree, and not be empty"
        )
    if not (np.isfinite(guess) & np.isfinite(truth)).all():
        raise InvalidArgumentError("predicted and rated: must be finite numbers")
    return guess - truth


@dataclass(frozen=True)
class Board:
    """One row of the scoreboard: metrics by user, over the users with something relevant held out.

    ``by_user`` maps ``ndcg``, ``recall``, ``precision`` and ``hit_rate`` to arrays of shape ``[users]``.
    """

    by_user: dict[str, NDArray[np.float64]]
    coverage: float
    novelty: float

    def mean(self, metric: str) -> float:
        """The mean over users."""
        return float(self.by_user[metric].mean())

    def error(self, metric: str) -> float:
        """The standard error of the mean over users."""
        values = self.by_user[metric]
        return float(values.std(ddof=1) / np.sqrt(len(values)))


def judge(scores: Scores, split: Split, k: int = 10) -> Board:
    """Rank the whole catalogue for every user who liked something of what was held out.

    Args:
        scores: of users for all items; what a user has seen is taken out here.
        split: history and what came later.
        k: places that count.

    Raises:
        InvalidArgumentError: nobody liked anything of what was held out.
    """
    items = len(split.items)
    if check_positive("k", k) > items:
        raise InvalidArgumentError(f"k = {k}: must be at most {items}, the number of items")
    relevant, seen = split.relevant(), split.history.matrix(items)
    users = np.flatnonzero(_counts(relevant))
    if not len(users):
        raise InvalidArgumentError(f"{split.name}: nothing that was held out was liked")
    relevant = relevant[users]
    ranked = np.empty((len(users), k), dtype=np.int64)
    for block in blocks(len(users)):
        values = np.array(scores(users[block]), dtype=np.float32)
        if values.shape != (len(users[block]), items):
            raise InvalidArgumentError(
                f"scores returned shape {values.shape}: must be {(len(users[block]), items)}"
            )
        rows, columns = seen[users[block]].nonzero()
        values[rows, columns] = -np.inf
        ranked[block] = top_k(values, k)
    metrics = (ndcg, recall, precision, hit_rate)
    by_user = {metric.__name__: metric(ranked, relevant) for metric in metrics}
    counts = np.bincount(split.history.item, minlength=items).astype(np.float64)
    return Board(by_user, coverage(ranked, items), novelty(ranked, counts))
