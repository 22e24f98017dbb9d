r"""People who watch, tire and leave: a simulated audience, fitted on histories alone.

A recommendation is consumed with probability $\sigma(w \cdot x)$, where ``x`` are a taste that does not change, how
popular the movie is, how much the person watches, and what follows what was watched last; it is liked with
probability $\Phi((\hat r - 3.5) / s)$, where $\hat r$ is the rating that biased matrix factorisation predicts. Each
of the last three movies of the same first genre halves the chance; who has missed four times in a row may leave.
What it pays is a statement about this model, not about people: that is why the book keeps two scoreboards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import scipy.optimize
import scipy.sparse
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from rlcourse.envs.vector import Step
from rlcourse.errors import InvalidArgumentError, check_positive
from rlcourse.recommender.baselines import als, drawn, followers, last_items
from rlcourse.recommender.data import LIKED, MovieLens, Split
from rlcourse.recommender.metrics import Scores
from rlcourse.recommender.ratings import Ratings, factorise

__all__ = ["Audience", "SessionEnv", "Sessions", "by_scores", "clairvoyant", "fit", "play"]

LENGTH = 20  # recommendations in a session
PATIENCE, LEAVES = 4, 0.3  # misses in a row, and from then on the chance to leave at each
TIRED, MEMORY = (
    0.5,
    3,
)  # what one more of the same genre leaves of the chance; how far back it counts
DISLIKED = -0.25  # reward of a movie that was consumed and not liked; a liked one pays 1
RECENT = 5  # last movies that say what comes next
WINDOW = 50  # of (item, rating) pairs that an agent sees


@dataclass(frozen=True)
class Audience:
    """The fitted people.

    ``taste`` (``[U, I]``) is the part of the logit of consumption that does not change, ``chain`` (``[I, I]``,
    sparse) and ``pull`` what the last movies add; ``ratings`` predicts stars with a spread of ``noise``; ``genre``
    is the first genre of each item, ``history`` what each person has seen, oldest first.
    """

    taste: NDArray[np.float32]
    chain: scipy.sparse.csr_array
    pull: float
    ratings: Ratings
    noise: float
    genre: NDArray[np.int64]
    split: Split

    def likes(self, users: NDArray[np.int64]) -> NDArray[np.float64]:
        """The probability that a person likes an item, once consumed; shape ``[N, I]``."""
        middle = LIKED - 0.5  # between three stars and four
        return np.asarray(ndtr((self.ratings.predict(users) - middle) / self.noise))


def fit(data: MovieLens, split: Split, *, sample: int = 500, seed: int = 0) -> Audience:
    """Fit the audience on the histories of a split: what is held out is never looked at.

    The weights of consumption come from the histories' own last fifth: over a sample of people and all items
    that they had not seen, by logistic regression, so that the rates are those of real sessions.

    Raises:
        InvalidArgumentError: ``sample`` is not positive.
    """
    inner = split.inner()
    rng = np.random.default_rng(seed)
    users = rng.permutation(len(split.users))[: check_positive("sample", sample)]
    unseen = inner.history.matrix(len(split.items))[users].toarray() == 0
    consumed = inner.held_out.matrix(len(split.items))[users].toarray()[unseen]
    static, chain = _taste(inner, users), _chain(inner)
    parts = (
        static,
        _popularity(inner, users),
        _activity(inner, users),
        _draw(chain, last_items(inner, RECENT)[users]),
    )
    weights = _logistic(np.stack([part[unseen] for part in parts], axis=1), consumed)
    everybody = np.arange(len(split.users))
    taste = _taste(split, everybody), _popularity(split, everybody), _activity(split, everybody)
    logit = sum(weight * part for weight, part in zip(weights[:3], taste, strict=True)) + weights[4]
    known = factorise(inner)
    held = inner.held_out
    errors = held.rating - known.predict_pairs(held.user, held.item)
    names = dict(zip(data.movies["movie"], data.movies["genres"], strict=True))
    first = [str(names[item]).split("|")[0] for item in split.items]
    return Audience(
        taste=np.asarray(logit, dtype=np.float32),
        chain=_chain(split),
        pull=float(weights[3]),
        ratings=factorise(split),
        noise=float(errors.std()),
        genre=np.unique(first, return_inverse=True)[1],
        split=split,
    )


def _taste(split: Split, users: NDArray[np.int64]) -> NDArray[np.float64]:
    """What factors of likes say about each item, as a logarithm; shape ``[N, I]``."""
    return np.asarray(np.log(0.03 + np.maximum(als(split)(users), 0.0)), dtype=np.float64)


def _popularity(split: Split, users: NDArray[np.int64]) -> NDArray[np.float64]:
    counts = np.bincount(split.history.item, minlength=len(split.items))
    return np.broadcast_to(np.log1p(counts), (len(users), len(counts)))


def _activity(split: Split, users: NDArray[np.int64]) -> NDArray[np.float64]:
    """Who has watched much watches much: without it the surest guesses would be far too sure."""
    length = np.log(np.maximum(np.diff(split.history.start)[users], 1))
    return np.broadcast_to(length[:, None], (len(users), len(split.items)))


def _draw(chain: scipy.sparse.csr_array, last: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the last items draw, as a logarithm; shape ``[N, I]``."""
    return np.asarray(np.log(0.05 + drawn(chain, last)), dtype=np.float64)


def _chain(split: Split) -> scipy.sparse.csr_array:
    """How often one item follows another in a history, as the square root of the share."""
    counts = followers(split)
    return scipy.sparse.csr_array((counts / (counts.sum(axis=1) + RECENT)[:, None]).sqrt())


def _logistic(features: NDArray[np.float64], hit: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weights and, last, the intercept that make what happened most likely."""
    spread = features.std(axis=0)
    x = np.column_stack([features / spread, np.ones(len(features))])

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = x @ weights
        value = np.logaddexp(0.0, logit).mean() - (hit * logit).mean()
        return float(value), x.T @ (expit(logit) - hit) / len(x)

    start = np.zeros(x.shape[1])
    start[-1] = np.log(hit.mean() / (1 - hit.mean()))
    found = scipy.optimize.minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-7})
    return np.asarray(found.x / np.append(spread, 1.0))


# --- sessions -------------------------------------------------------------------------------------


class Sessions:
    """A session of each of ``N`` people at once; who has left takes no more part.

    An observation is what each has consumed lately, the latest last: ``WINDOW`` rows of (item + 1, stars), zeros
    where there is nothing. ``consumed`` and ``liked`` (``[N]``) say what became of the last recommendation.
    """

    def __init__(self, audience: Audience, users: NDArray[np.int64], seed: int = 0) -> None:
        count = len(audience.split.users)
        users = np.asarray(users, dtype=np.int64)
        if users.ndim != 1 or not len(users) or users.min() < 0 or users.max() >= count:
            raise InvalidArgumentError(f"users: must be numbers of people, 0 to {count - 1}")
        self.audience, self.users, self.rng = audience, users, np.random.default_rng(seed)
        history, items = audience.split.history, len(audience.split.items)
        self.seen = history.matrix(items)[users].toarray() > 0
        place = history.start[1:][users][:, None] - WINDOW + np.arange(WINDOW)
        there = place >= history.start[:-1][users][:, None]
        lately = [
            np.where(there, part[place] + one, 0)
            for part, one in ((history.item, 1), (history.rating, 0))
        ]
        self.obs = np.stack(lately, axis=2).astype(np.int64)
        self.shown = np.full((len(users), MEMORY), -1)  # genres of what was recommended last
        self.misses = np.zeros(len(users), dtype=np.int64)
        self.left, self.consumed, self.liked = (np.zeros(len(users), dtype=bool) for _ in range(3))
        self.steps = 0
        self.likes = audience.likes(users)

    def consumes(self) -> NDArray[np.float64]:
        """The probability that each person consumes each item now; shape ``[N, I]``; zero if seen."""
        audience = self.audience
        pull = audience.pull * _draw(audience.chain, self.obs[:, : -RECENT - 1 : -1, 0] - 1)
        chance = expit(audience.taste[self.users] + pull)
        same = (audience.genre[None, None] == self.shown[:, :, None]).sum(axis=1)
        return np.asarray(np.where(self.seen, 0.0, chance * TIRED**same))

    def step(self, recommended: NDArray[np.int64]) -> Step:
        """Recommend one item to each person.

        Raises:
            InvalidArgumentError: not one item number for each.
        """
        recommended, count = np.asarray(recommended), len(self.users)
        items = self.seen.shape[1]
        if recommended.shape != (count,) or not ((recommended >= 0) & (recommended < items)).all():
            raise InvalidArgumentError(
                f"recommended has shape {recommended.shape}: must be {(count,)}, items 0 to {items - 1}"
            )
        rows, here, obs = np.arange(count), ~self.left, self.obs.copy()
        draws = self.rng.random((3, count))
        self.consumed = here & (draws[0] < self.consumes()[rows, recommended])
        self.liked = self.consumed & (draws[1] < self.likes[rows, recommended])
        self._remember(recommended)
        self.misses = np.where(self.consumed, 0, self.misses + 1)
        terminated = here & (self.misses >= PATIENCE) & (draws[2] < LEAVES)
        self.left |= terminated
        self.steps += 1
        truncated = here & ~terminated & (self.steps >= LENGTH)
        reward = np.where(self.liked, 1.0, np.where(self.consumed, DISLIKED, 0.0))
        return Step(obs, recommended, reward, terminated, truncated, self.obs.copy())

    def _remember(self, item: NDArray[np.int64]) -> None:
        self.shown = np.column_stack([self.audience.genre[item], self.shown[:, :-1]])
        who = np.flatnonzero(self.consumed)
        self.seen[who, item[who]] = True
        self.obs[who, :-1] = self.obs[who, 1:]
        self.obs[who, -1] = np.column_stack([item + 1, np.where(self.liked, 5, 2)])[who]


# What to recommend to each person: their sessions, and what each has been shown or has seen ``[N, I]``.
Choose = Callable[["Sessions", NDArray[np.bool_]], NDArray[np.int64]]


def play(
    audience: Audience, users: NDArray[np.int64], choose: Choose, seed: int = 0
) -> NDArray[np.float64]:
    """One session of each person: what all its recommendations paid together; shape ``[N]``.

    Nothing is recommended twice, whether or not it was watched: ``choose`` is told what is used up.
    """
    sessions = Sessions(audience, users, seed)
    used, rows = sessions.seen.copy(), np.arange(len(sessions.users))
    paid = np.zeros(len(rows))
    while sessions.steps < LENGTH and not sessions.left.all():
        item = choose(sessions, used)
        paid += sessions.step(item).reward
        used[rows, item] = True
    return paid


def by_scores(scores: Scores, users: NDArray[np.int64]) -> Choose:
    """The ranking of a recommender that does not look at what happens in a session, from the top."""
    values = np.asarray(scores(users))
    return lambda sessions, used: np.asarray(np.where(used, -np.inf, values).argmax(axis=1))


def clairvoyant(sessions: Sessions, used: NDArray[np.bool_]) -> NDArray[np.int64]:
    """What pays most at the next step, by the audience's own word, nothing twice; it does not plan."""
    worth = sessions.consumes() * (sessions.likes + DISLIKED * (1 - sessions.likes))
    return np.asarray(np.where(used, -np.inf, worth).argmax(axis=1))


class SessionEnv(gym.Env[NDArray[np.int64], np.int64]):
    """One session of a person drawn at random: an action is an item, an observation as in :class:`Sessions`.

    When the person leaves the episode terminates; after ``LENGTH`` recommendations it is truncated.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (as Gymnasium declares it)

    def __init__(self, audience: Audience) -> None:
        items = len(audience.split.items)
        self.audience = audience
        self.action_space = Discrete(items)
        high = np.tile(np.array([items, 5], dtype=np.int64), (WINDOW, 1))
        self.observation_space = Box(np.zeros_like(high), high, dtype=np.int64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Meet another person; ``options={"user": number}`` asks for one."""
        super().reset(seed=seed)
        user = (options or {}).get("user", self.np_random.integers(len(self.audience.split.users)))
        drawn = int(self.np_random.integers(2**31))
        self.session = Sessions(self.audience, np.array([user]), drawn)
        return self.session.obs[0].copy(), {"user": int(user)}

    def step(self, action: np.int64) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Recommend one item."""
        step = self.session.step(np.array([action]))
        info = {"consumed": bool(self.session.consumed[0]), "liked": bool(self.session.liked[0])}
        over = bool(step.terminated[0]), bool(step.truncated[0])
        return step.next_obs[0], float(step.reward[0]), *over, info
