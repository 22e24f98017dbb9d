r"""Recommenders without reinforcement learning: what everything else has to beat.

Each function fits on the histories of a split and returns ``scores``: users in, a score for every item out.
Popularity knows no person; item-kNN and EASE know what was liked together; the Markov chain knows what was
watched after what. Not one of them has seen what is held out; the settings of EASE, ALS and BPR are those that did
best on the last fifth of MovieLens 1M's histories, without it (contracts ``recommender-*-chosen``).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse import csr_array

from rlcourse.errors import InvalidArgumentError, check_not_negative, check_positive, require
from rlcourse.recommender.data import Split
from rlcourse.recommender.metrics import Scores

__all__ = [
    "als",
    "blend",
    "bpr",
    "drawn",
    "ease",
    "followers",
    "item_knn",
    "last_items",
    "markov",
    "popularity",
    "random",
]


def random(split: Split, seed: int = 0) -> Scores:
    """A random order for everybody, another for each user: what no knowledge at all is worth."""
    rng = np.random.default_rng(seed)
    drawn = rng.random((len(split.users), len(split.items)), dtype=np.float32)
    return lambda users: drawn[users]


def popularity(split: Split) -> Scores:
    """How many have liked an item, the same for every user."""
    counts = split.history.matrix(len(split.items), liked=True).sum(axis=0)
    return lambda users: np.broadcast_to(counts, (len(users), len(counts)))


def item_knn(split: Split, neighbours: int = 100) -> Scores:
    r"""The cosine of items, each seen as the list of users who liked it, summed over what the user liked.

    A user who likes much says less by one like: users are weighted by inverse frequency, as words are in texts
    (TF-IDF), and of each item only its nearest ``neighbours`` are kept, itself among them (Sarwar et al. 2001).
    """
    check_positive("neighbours", neighbours)
    liked = split.history.matrix(len(split.items), liked=True)
    by_user = liked.sum(axis=1)
    rarity = (np.log(len(split.items)) - np.log1p(by_user)).astype(np.float32)
    weighted = liked.multiply(rarity[:, None]).tocsc()
    length = np.sqrt(weighted.power(2).sum(axis=0))
    unit = weighted.multiply(1.0 / np.where(length > 0, length, 1.0)).tocsr()
    cosine = csr_array(unit.T @ unit)
    for first, end in pairwise(cosine.indptr):
        row = cosine.data[first:end]  # a view
        if len(row) > neighbours:
            row[row < np.partition(row, -neighbours)[-neighbours]] = 0.0
    cosine.eliminate_zeros()
    return lambda users: np.asarray(csr_array(liked[users] @ cosine).toarray())


def ease(split: Split, ridge: float = 1000.0) -> Scores:
    r"""The linear map from what a user likes to itself that may not use the item itself: EASE.

    $B = I - P\,\mathrm{diag}(P)^{-1}$ with $P = (X^\top X + \lambda I)^{-1}$ minimises
    $\lVert X - X B\rVert^2 + \lambda \lVert B\rVert^2$ under $\mathrm{diag}(B) = 0$ (Steck 2019,
    doi 10.1145/3308558.3313710, equation 8).
    """
    if check_not_negative("ridge", ridge) == 0:
        raise InvalidArgumentError(
            "ridge = 0: must be more, or a movie that nobody liked has no answer"
        )
    liked = split.history.matrix(len(split.items), liked=True)
    gram = csr_array(liked.T @ liked).toarray()  # whole numbers, exact in single precision
    gram[np.diag_indices_from(gram)] += ridge
    inverse = scipy.linalg.inv(gram, assume_a="pos", overwrite_a=True, check_finite=False)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return lambda users: np.asarray(liked[users] @ weights)


def als(
    split: Split, factors: int = 128, ridge: float = 30.0, alpha: float = 2.0, seed: int = 0
) -> Scores:
    """Matrix factorisation by alternating least squares (Hu, Koren and Volinsky 2008), from ``implicit``.

    A like counts ``alpha`` times what the absence of one counts.
    """
    require("recommender", "implicit", "threadpoolctl")
    from implicit.als import AlternatingLeastSquares

    check_not_negative("alpha", alpha)
    return _factors(split, AlternatingLeastSquares, factors, ridge, seed, alpha=alpha)


def bpr(
    split: Split,
    factors: int = 64,
    ridge: float = 0.001,
    learning_rate: float = 0.003,
    seed: int = 0,
) -> Scores:
    """Matrix factorisation that ranks what was liked above what was not (Rendle et al. 2009), from ``implicit``."""
    require("recommender", "implicit", "threadpoolctl")
    from implicit.bpr import BayesianPersonalizedRanking

    check_not_negative("learning_rate", learning_rate)
    model = BayesianPersonalizedRanking
    return _factors(split, model, factors, ridge, seed, learning_rate=learning_rate)


def _factors(
    split: Split,
    model_of: Callable[..., Any],
    factors: int,
    ridge: float,
    seed: int,
    **settings: float,
) -> Scores:
    from threadpoolctl import threadpool_limits

    check_positive("factors", factors)
    check_not_negative("ridge", ridge)
    liked = scipy.sparse.csr_matrix(split.history.matrix(len(split.items), liked=True))
    with threadpool_limits(1, "blas"):  # many small products: threads inside each would only wait
        model = model_of(
            factors,
            regularization=ridge,
            random_state=seed,
            num_threads=1,
            use_gpu=False,
            **settings,
        )
        model.fit(liked, False)
    return lambda users: np.asarray(model.user_factors[users] @ model.item_factors.T)


def markov(split: Split, last: int = 5, smoothing: float = 5.0) -> Scores:
    """What others watched next, after what this user watched last: a first-order chain.

    Counts of neighbours in time over all histories, each row divided by its sum plus ``smoothing``; the user's
    ``last`` items count with weights 1, 1/2, 1/3 ... back in time.
    """
    check_positive("last", last)
    check_not_negative("smoothing", smoothing)
    counts = followers(split)
    chain = csr_array(counts / (counts.sum(axis=1) + smoothing)[:, None])
    recent = last_items(split, last)
    return lambda users: drawn(chain, recent[users])


def followers(split: Split) -> csr_array:
    """How often an item follows another in a history; sparse, shape ``[I, I]``."""
    events, items = split.history, len(split.items)
    same = events.user[1:] == events.user[:-1]
    place = (events.item[:-1][same], events.item[1:][same])
    return csr_array((np.ones(int(same.sum()), np.float32), place), shape=(items, items))


def last_items(split: Split, count: int) -> NDArray[np.int64]:
    """The last items of each history, the latest first, -1 where there are fewer; shape ``[U, count]``."""
    events = split.history
    place = events.start[1:, None] - 1 - np.arange(count)
    return np.where(place >= events.start[:-1, None], events.item[place], -1).astype(np.int64)


def drawn(chain: csr_array, last: NDArray[np.int64]) -> NDArray[np.float32]:
    """Rows of a chain for the last items ``[N, L]``, weighted 1, 1/2, 1/3 ... back in time; ``[N, I]``."""
    rows, back = np.nonzero(last >= 0)
    weights = csr_array(
        ((1.0 / (back + 1)).astype(np.float32), (rows, last[rows, back])),
        shape=(len(last), chain.shape[0]),
    )
    return np.asarray(csr_array(weights @ chain).toarray())


def blend(first: Scores, second: Scores, weight: float = 0.5) -> Scores:
    """Two opinions in one: each in units of its own spread over a user's items, the second times ``weight``."""

    def standard(values: NDArray[np.floating]) -> NDArray[np.floating]:
        spread = values.std(axis=1, keepdims=True)
        centred = values - values.mean(axis=1, keepdims=True)
        return np.asarray(centred / np.where(spread > 0, spread, 1.0))

    check_not_negative("weight", weight)
    return lambda users: standard(first(users)) + weight * standard(second(users))
