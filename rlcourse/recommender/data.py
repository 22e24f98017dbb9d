"""MovieLens 1M: found, checked and read; and the split in time by which every recommender is judged.

The data belong to GroupLens (Harper and Konstan 2015, doi 10.1145/2827872). They may be used for research
and not be passed on, so this package holds none of them: it reads a copy of yours, fetches one from GroupLens
when you accept the licence, or makes up data of the same format, which then say SYNTHETIC wherever they appear.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from rlcourse.errors import CorruptDataError, InvalidArgumentError, check_fraction, require
from rlcourse.recommender import synthetic

__all__ = [
    "Events",
    "MovieLens",
    "Split",
    "cache",
    "cached",
    "everything",
    "leave_last_out",
    "load",
    "read",
    "sessions",
]

# The genuine file, by its first three columns: the times of a copy may have been rebuilt.
GENUINE = "2dad134c8b493373beed8d2a42e18ec2a93606fd957bd76c0bfbdef5c514b985"
GENUINE_BYTES = 24_594_131
LIKED = 4  # stars from which a rating counts as "liked"

# One line of each file, and what it is called when it is not one.
FORMATS = {
    "ratings": (
        rb"[1-9]\d{0,8}::[1-9]\d{0,8}::[1-5]::\d{1,10}\n",
        "user::movie::rating::time, whole numbers, the rating 1 to 5",
    ),
    "movies": (rb"[1-9]\d{0,8}::[^\n:](?:[^\n:]|:(?!:))*::[^\n:]+\n", "movie::title::genre|genre"),
    "users": (
        rb"[1-9]\d{0,8}::[MF]::\d{1,2}::\d{1,2}::[\d-]{1,10}\n",
        "user::M or F::age::occupation::ZIP",
    ),
}
COLUMNS = {
    "ratings": {"user": "int32", "movie": "int32", "rating": "int8", "time": "int64"},
    "movies": {"movie": "int32", "title": "str", "genres": "str"},
    "users": {"user": "int32", "gender": "str", "age": "int8", "occupation": "int8", "zip": "str"},
}


@dataclass(frozen=True)
class MovieLens:
    """Ratings with their movies and users.

    ``ratings`` is a pandas table of ``user``, ``movie``, ``rating`` (1 to 5 stars) and ``time`` (seconds since
    1970), each user's in the order of time; where times tie, in that of the file. ``name`` says what they are,
    ``digest`` is a hash of the three files.
    """

    name: str
    ratings: Any
    movies: Any
    users: Any
    digest: str

    @property
    def synthetic(self) -> bool:
        """Whether the data are made up."""
        return self.name.startswith(synthetic.NAME)


def load(
    folder: str | Path | None = None,
    *,
    size: str = "small",
    seed: int = 0,
) -> MovieLens:
    """The data of ``folder``, else of ``RLCOURSE_DATA``, else of the cache, else made-up ones.

    Args:
        folder: of ``ratings.dat``, ``movies.dat`` and ``users.dat``.
        size: of made-up data: ``tiny``, ``small`` or ``full``.
        seed: of made-up data.

    Raises:
        CorruptDataError: a file cannot be read; the message names file, line and value.
        InvalidArgumentError: the folder does not hold the three files.

    >>> load(size="tiny").name
    'SYNTHETIC tiny'
    """
    given = folder or os.environ.get("RLCOURSE_DATA")
    if given:
        return read(given)
    if cached():
        return read(cache())
    with tempfile.TemporaryDirectory(prefix="rlcourse-") as made:
        synthetic.write(Path(made), size, seed)
        return read(made, name=f"{synthetic.NAME} {size}")


def cache() -> Path:
    """Where a download is kept: under ``XDG_CACHE_HOME``, by default ``~/.cache``."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "rlcourse" / "ml-1m"


def cached() -> bool:
    """Whether the cache holds all three files."""
    return all((cache() / f"{kind}.dat").exists() for kind in FORMATS)


def read(folder: str | Path, *, name: str | None = None) -> MovieLens:
    """Read and check the three files of a folder in MovieLens' format.

    Raises:
        CorruptDataError: a file cannot be read; the message names file, line and value.
        InvalidArgumentError: the folder does not hold the three files.
    """
    folder = Path(folder)
    missing = [f"{kind}.dat" for kind in FORMATS if not (folder / f"{kind}.dat").is_file()]
    if missing:
        raise InvalidArgumentError(
            f"folder = {folder}: has no {' and no '.join(missing)}; it must hold ratings.dat, "
            "movies.dat and users.dat, as ml-1m.zip has them"
        )
    digest = hashlib.sha256()
    tables = {}
    for kind in FORMATS:
        raw = (folder / f"{kind}.dat").read_bytes()
        digest.update(raw)
        tables[kind] = _table(folder / f"{kind}.dat", kind, raw)
    _check_references(folder, tables)
    if name is None:
        name = _name(tables["ratings"], (folder / "ratings.dat").stat().st_size)
    ratings = tables["ratings"].sort_values(["user", "time"], kind="stable", ignore_index=True)
    return MovieLens(name, ratings, tables["movies"], tables["users"], digest.hexdigest())


def _table(path: Path, kind: str, raw: bytes) -> Any:
    """The rows of one file as a pandas table, each line checked."""
    line, wanted = FORMATS[kind]
    if not raw or not re.fullmatch(rb"(?:%s)++" % line, raw):
        raise CorruptDataError(f"{path}, {_first_bad_line(raw, line)}; a line is {wanted}")
    require("recommender", "pandas")
    from pandas import read_csv

    columns = COLUMNS[kind]
    table = read_csv(
        io.BytesIO(raw.replace(b"::", b"\x1f")),
        sep="\x1f",
        names=list(columns),
        dtype=columns,
        encoding="latin-1",  # accents in titles
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
    )
    keys = ["user", "movie"] if kind == "ratings" else [kind.removesuffix("s")]
    twice = table.duplicated(keys)
    if twice.any():
        place = int(twice.to_numpy().argmax())
        said = ", ".join(f"{key} {table[key].iloc[place]}" for key in keys)
        raise CorruptDataError(f"{path}, line {place + 1}: {said} stands there a second time")
    return table


def _first_bad_line(raw: bytes, line: bytes) -> str:
    pattern = re.compile(line)
    for number, text in enumerate(raw.splitlines(keepends=True), 1):
        if not pattern.fullmatch(text):
            shown = text[:80].rstrip(b"\n").decode("latin-1")
            cut = "" if text.endswith(b"\n") else " (and there the file is cut off)"
            return f"line {number}: {shown!r}{cut}"
    return "line 1: the file is empty"


def _check_references(folder: Path, tables: dict[str, Any]) -> None:
    """Each rating is by a user and of a movie that are listed."""
    for key in ("user", "movie"):
        ratings = tables["ratings"][key]
        known = ratings.isin(tables[f"{key}s"][key]).to_numpy()
        if not known.all():
            place = int(known.argmin())
            raise CorruptDataError(
                f"{folder / 'ratings.dat'}, line {place + 1}: {key} {ratings.iloc[place]} is not in "
                f"{key}s.dat"
            )


def _name(ratings: Any, size: int) -> str:
    """What the data are: the genuine ml-1m, its ratings with other times, or something else."""
    columns = ratings[["user", "movie", "rating"]].to_csv(sep=":", header=False, index=False)
    digest = hashlib.sha256(columns.replace(":", "::").encode()).hexdigest()
    if digest != GENUINE:
        return "ratings in MovieLens' format (not ml-1m)"
    return "ml-1m" if size == GENUINE_BYTES else "ml-1m (times rebuilt)"


# --- splits ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Events:
    """Ratings of ``U`` users, each user's in the order of time: user ``u`` owns ``start[u]:start[u + 1]``.

    ``item`` and ``rating`` have one entry an event; ``start`` has ``U + 1``.
    """

    item: NDArray[np.int32]
    rating: NDArray[np.int8]
    start: NDArray[np.int64]

    @property
    def user(self) -> NDArray[np.int32]:
        """Whose each event is; shape ``[events]``."""
        return np.repeat(np.arange(len(self.start) - 1, dtype=np.int32), np.diff(self.start))

    def matrix(self, items: int, *, liked: bool = False) -> csr_array:
        """Ones where a user has rated (or liked) an item; sparse, shape ``[U, items]``."""
        chosen = self.rating >= LIKED if liked else np.ones(len(self.item), dtype=bool)
        place = self.user[chosen], self.item[chosen]
        ones = np.ones(int(chosen.sum()), dtype=np.float32)
        return csr_array((ones, place), shape=(len(self.start) - 1, items))

    def keep(self, chosen: NDArray[np.bool_]) -> Events:
        """The events for which ``chosen`` is true; shape ``[events]``."""
        counts = np.bincount(self.user[chosen], minlength=len(self.start) - 1)
        start = np.concatenate([[0], np.cumsum(counts)])
        return Events(self.item[chosen], self.rating[chosen], start)


@dataclass(frozen=True)
class Split:
    """What a recommender may see of each user, and what it is judged by: that which came later.

    Users and items have numbers ``0 .. U - 1`` and ``0 .. I - 1``; ``users`` and ``items`` are their ids in the
    files. An item is a movie that somebody has rated.
    """

    name: str
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    history: Events
    held_out: Events

    def relevant(self) -> csr_array:
        """What was held out and liked; sparse ones, shape ``[U, I]``."""
        return self.held_out.matrix(len(self.items), liked=True)

    def inner(self, fraction: float = 0.8) -> Split:
        """The same split once more, of the histories alone: where settings are chosen."""
        return _cut(f"{self.name}, of the rest", self.users, self.items, self.history, fraction)


def sessions(data: MovieLens, fraction: float = 0.8) -> Split:
    """Each user's first ``fraction`` of ratings is history, the rest a session that is held out.

    Raises:
        InvalidArgumentError: ``fraction`` is not in (0, 1).

    >>> split = sessions(load(size="tiny"))
    >>> len(split.history.item) > 3 * len(split.held_out.item)
    True
    """
    users, items, events = _events(data)
    return _cut(data.name, users, items, events, fraction)


def leave_last_out(data: MovieLens, *, liked: bool = False) -> Split:
    """Each user's last rating is held out; with ``liked``, the last of at least four stars.

    With ``liked`` what came after the target is in neither part, and a user who liked nothing has no target.
    """
    users, items, events = _events(data)
    place = np.arange(len(events.item))
    candidates = np.where(events.rating >= LIKED, place, -1) if liked else place
    last = np.maximum.reduceat(candidates, events.start[:-1])
    name = f"{data.name}, last {'liked' if liked else 'rating'} held out"
    before = place < np.where(last < 0, events.start[1:], last)[events.user]
    target = np.zeros(len(place), dtype=bool)
    target[last[last >= 0]] = True
    return Split(name, users, items, events.keep(before), events.keep(target))


def everything(data: MovieLens) -> Split:
    """Nothing held out: what is known when somebody asks for a recommendation today."""
    users, items, events = _events(data)
    return Split(
        data.name, users, items, events, events.keep(np.zeros(len(events.item), dtype=bool))
    )


def _events(data: MovieLens) -> tuple[NDArray[np.int32], NDArray[np.int32], Events]:
    table = data.ratings
    users, counts = np.unique(table["user"].to_numpy(), return_counts=True)
    items, item = np.unique(table["movie"].to_numpy(), return_inverse=True)
    start = np.concatenate([[0], np.cumsum(counts)])
    return users, items, Events(item.astype(np.int32), table["rating"].to_numpy(), start)


def _cut(
    name: str,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    events: Events,
    fraction: float,
) -> Split:
    if check_fraction("fraction", fraction, below_one=True) == 0:
        raise InvalidArgumentError("fraction = 0: every user needs a history")
    name = f"{name}, last {1 - fraction:.0%} held out"
    counts = np.diff(events.start)
    rank = np.arange(len(events.item)) - events.start[:-1][events.user]
    # The product of floats may fall a hair below a whole number that it should be.
    early = rank < np.floor(fraction * counts + 1e-9)[events.user]
    return Split(name, users, items, events.keep(early), events.keep(~early))


def blocks(users: int, size: int = 512) -> Iterator[slice]:
    """Users in blocks, so that scores over the whole catalogue fit into memory."""
    for first in range(0, users, size):
        yield slice(first, min(first + size, users))
