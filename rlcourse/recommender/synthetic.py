"""Made-up ratings in MovieLens' format: for tests, and for a reader without the data.

They keep what breaks a reader of files (latin-1 titles, colons in titles, gaps between ids, movies that nobody
rated, rows out of time, times that tie) and what tells recommenders apart: some movies are popular, people and
movies have tastes in common, and a mood drifts, so that what was watched last says what comes next. Nothing that
is measured on them is a statement about people.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlcourse.errors import InvalidArgumentError
from rlcourse.files import replace_file

__all__ = ["NAME", "SIZES", "write"]

NAME = "SYNTHETIC"
SIZES = {"tiny": (60, 80), "small": (600, 500), "full": (6040, 3883)}  # users, movies
GENRES = ("Action", "Children's", "Comedy", "Crime", "Drama", "Film-Noir", "Romance", "Sci-Fi")
AGES, AGE_SHARES = (1, 18, 25, 35, 45, 50, 56), (0.04, 0.18, 0.35, 0.2, 0.09, 0.08, 0.06)
SHARES = (0.056, 0.107, 0.261, 0.349, 0.227)  # of one to five stars, as in ml-1m
TASTES = 6  # dimensions
POPULARITY, TASTE = 2.3, 0.6  # how much each counts
SHELF, PULL, FADE = 3, 7.0, 0.75  # movies that catch the eye, how much, what outlives a movie
NOUNS = ("Café", "Señor", "Harbour", "Night", "Winter", "Piano", "Ghost", "Étude", "Voyage")
KINDS = ("Last", "Blue", "Quiet", "Second", "Lost", "Little", "Golden", "Iron", "Secret")


def write(folder: Path, size: str = "small", seed: int = 0) -> None:
    """Write ``ratings.dat``, ``movies.dat`` and ``users.dat``; the same size and seed, the same bytes.

    Raises:
        InvalidArgumentError: an unknown size.
    """
    if size not in SIZES:
        raise InvalidArgumentError(f"size = {size!r}: must be one of {', '.join(SIZES)}")
    users, movies = SIZES[size]
    rng = np.random.default_rng(np.random.SeedSequence([seed, users]))
    genres = rng.dirichlet(np.full(len(GENRES), 0.3), size=movies)
    loading = rng.normal(size=(len(GENRES), TASTES))
    taste_of_movie = genres @ loading + 0.6 * rng.normal(size=(movies, TASTES))
    texts = {
        "movies": _movies(rng, genres),
        "users": _users(rng, users),
        "ratings": _ratings(rng, users, taste_of_movie),
    }
    for kind, text in texts.items():
        with replace_file(folder / f"{kind}.dat") as file:
            file.write(text.encode("latin-1"))


def _ids(movies: int) -> NDArray[np.int64]:
    """Ids with gaps: every fiftieth is left out."""
    numbers = np.arange(movies)
    return 1 + numbers + numbers // 49


def _movies(rng: np.random.Generator, genres: NDArray[np.float64]) -> str:
    lines = []
    for place, (number, shares) in enumerate(zip(_ids(len(genres)), genres, strict=True)):
        kind, noun = KINDS[place % len(KINDS)], NOUNS[rng.integers(len(NOUNS))]
        title = f"{noun}, The {kind}" if place % 3 else f"{noun}: Part {place + 1}"
        chosen = np.flatnonzero(shares > 0.2)
        named = "|".join(GENRES[g] for g in (chosen if len(chosen) else [shares.argmax()]))
        lines.append(f"{number}::{title} ({rng.integers(1930, 2001)})::{named}\n")
    return "".join(lines)


def _users(rng: np.random.Generator, users: int) -> str:
    lines = []
    for number in range(1, users + 1):
        gender = "F" if rng.random() < 0.28 else "M"
        code = f"{rng.integers(501, 99951):05d}" + ("-1234" if number % 83 == 0 else "")
        age = rng.choice(AGES, p=AGE_SHARES)
        lines.append(f"{number}::{gender}::{age}::{rng.integers(21)}::{code}\n")
    return "".join(lines)


def _ratings(rng: np.random.Generator, users: int, taste_of_movie: NDArray[np.float64]) -> str:
    movies = len(taste_of_movie)
    popularity = POPULARITY * rng.gumbel(size=movies)
    popularity[rng.random(movies) < 0.045] = -np.inf  # listed, and never rated
    quality = 0.5 * rng.normal(size=movies) + 0.15 * np.clip(popularity, -2, 4)
    counts = np.clip(rng.lognormal(4.2, 0.7, size=users), 20, 0.6 * np.isfinite(popularity).sum())
    watched, pleasure = [], []
    for count in counts.astype(int):
        taste = rng.normal(size=TASTES)
        # Gumbel noise makes taking the best a draw from a softmax (Yellott 1977); drawn once for a
        # person, it is what this one likes for no reason that we know.
        left = popularity + TASTE * taste_of_movie @ taste + rng.gumbel(size=movies)
        order, glance = np.empty(count, dtype=np.int64), np.zeros(movies)
        for place in range(count):
            best = int((left + glance).argmax())
            order[place] = best
            left[best] = -np.inf
            # What stands next on the shelf catches the eye, for a while: so the order of what was watched
            # says something that the set of it does not.
            glance *= FADE
            glance[best + 1 : best + 1 + SHELF] = PULL
        own = 0.35 * taste_of_movie[order] @ taste + 0.4 * rng.normal()
        watched.append(order)
        pleasure.append(quality[order] + own + rng.normal(scale=0.8, size=count))
    # Stars by rank: their shares are those of ml-1m whatever the pleasure's scale.
    rank = np.concatenate(pleasure).argsort(kind="stable").argsort(kind="stable")
    stars = 1 + np.searchsorted(np.cumsum(SHARES)[:-1], rank / len(rank), side="right")
    user = np.repeat(np.arange(users), [len(order) for order in watched])
    movie = np.concatenate(watched)
    # User 1 is the newest; about half of neighbouring ratings share their second.
    time = 978_300_000 - 4_000 * user + np.cumsum(rng.random(len(user)) < 0.46)
    shuffled = np.lexsort((_scattered(rng, user, time), user))
    ids = _ids(movies)[movie]
    return "".join(f"{user[i] + 1}::{ids[i]}::{stars[i]}::{time[i]}\n" for i in shuffled)


def _scattered(
    rng: np.random.Generator, user: NDArray[np.int64], time: NDArray[np.int64]
) -> NDArray[np.float64]:
    """A place in the file for each row: not in the order of time, but in it where times tie."""
    first = np.concatenate([[True], (np.diff(time) != 0) | (np.diff(user) != 0)])
    place = rng.random(int(first.sum()))[np.cumsum(first) - 1]
    return np.asarray(place + 1e-9 * np.arange(len(user)))
