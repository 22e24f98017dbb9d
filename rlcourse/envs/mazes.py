r"""Mazes by the thousand, split into those that a learner may see and those that it is judged by.

A maze of ``rooms x rooms`` rooms is drawn on ``2 * rooms - 1`` cells a side: rooms stand on even rows and
columns, and what lies between two neighbours is a door or a wall. A *perfect* maze is a spanning tree of
the rooms: one way, and one only, between any two of them.

The split is a property of the walls and not of the draw (:func:`split_of`), so that no seed, no number of
mazes and no shuffling can bring a maze into both sets. :class:`MazeWalkers` is a set of them to walk in.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlcourse.envs.vector import Step
from rlcourse.errors import CourseError, InvalidArgumentError, check_fraction, check_positive
from rlcourse.mdp import MOVES, Ints, parse_map
from rlcourse.seeding import generator

__all__ = [
    "METHODS",
    "MazeWalkers",
    "distances",
    "follow",
    "maps",
    "maze",
    "mazes",
    "moves",
    "split_of",
    "success",
]

METHODS = ("wilson", "depth-first")
SPLITS = ("train", "test")


def maze(
    rooms: int, seed: int | np.random.Generator, *, loops: float = 0.0, method: str = "wilson"
) -> str:
    """A maze as a map for :func:`rlcourse.mdp.grid`, with start and goal in two rooms drawn at random.

    Args:
        rooms: rooms a side, at least two.
        seed: a number, or a generator to go on drawing from.
        loops: the chance of each wall between two rooms to fall in the end; zero leaves a perfect maze.
        method: ``wilson`` draws all perfect mazes with equal chance (Wilson 1996, walks whose loops are
            erased); ``depth-first`` digs on until it is stuck and then steps back, which makes long corridors.

    >>> print(maze(3, seed=1))
    ..S#.
    .###.
    ..G#.
    ##.#.
    .....
    """
    if check_positive("rooms", rooms) < 2:
        raise InvalidArgumentError("rooms = 1: must be at least 2, one to start in and one to find")
    check_fraction("loops", loops)
    if method not in METHODS:
        raise InvalidArgumentError(f"method = {method!r}: must be one of {', '.join(METHODS)}")
    rng = seed if isinstance(seed, np.random.Generator) else generator(seed)
    doors = (_wilson if method == "wilson" else _depth_first)(rooms, rng)
    cells = np.full((2 * rooms - 1, 2 * rooms - 1), "#")
    cells[::2, ::2] = "."
    for a, b in doors:
        cells[a // rooms + b // rooms, a % rooms + b % rooms] = "."
    if loops:
        between = np.add.outer(np.arange(2 * rooms - 1), np.arange(2 * rooms - 1)) % 2 == 1
        cells[between & (rng.random(cells.shape) < loops)] = "."
    for symbol, room in zip("SG", rng.choice(rooms**2, size=2, replace=False), strict=True):
        cells[2 * (room // rooms), 2 * (room % rooms)] = symbol
    return "\n".join("".join(row) for row in cells)


def _neighbours(room: int, rooms: int) -> list[int]:
    i, j = divmod(room, rooms)
    near = ((i + di, j + dj) for di, dj in MOVES.tolist())
    return [a * rooms + b for a, b in near if 0 <= a < rooms and 0 <= b < rooms]


def _wilson(rooms: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Walk at random until the maze is met, forget the loops, and dig what is left; from every room."""
    dug, doors = {int(rng.integers(rooms**2))}, []
    for first in range(rooms**2):
        left_to: dict[
            int, int
        ] = {}  # the last way out of each room: an older one was part of a loop
        room = first
        while room not in dug:
            near = _neighbours(room, rooms)
            left_to[room] = near[int(rng.random() * len(near))]
            room = left_to[room]
        room = first
        while room not in dug:
            dug.add(room)
            doors.append((room, left_to[room]))
            room = left_to[room]
    return doors


def _depth_first(rooms: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Dig on into a room that is new; where there is none, step back."""
    way, doors = [int(rng.integers(rooms**2))], []
    dug = set(way)
    while way:
        fresh = [room for room in _neighbours(way[-1], rooms) if room not in dug]
        if not fresh:
            way.pop()
            continue
        room = fresh[int(rng.random() * len(fresh))]
        doors.append((way[-1], room))
        dug.add(room)
        way.append(room)
    return doors


# --- two sets that have no maze in common -----------------------------------------------------------


def split_of(text: str) -> str:
    """The set that a maze belongs to: ``test`` for a quarter of all walls, ``train`` for the rest.

    Start and goal do not count: whoever has learned the walls has seen the maze.

    >>> split_of("S.G"), split_of("S.G") == split_of("G.S") == split_of("SG.")
    ('train', True)
    """
    walls = "\n".join("".join("#" if c == "#" else "." for c in row) for row in parse_map(text))
    return SPLITS[zlib.crc32(walls.encode()) % 4 == 0]


def mazes(
    count: int,
    seed: int,
    *,
    split: str,
    rooms: int = 4,
    loops: float = 0.0,
    method: str = "wilson",
) -> list[str]:
    """So many mazes of one set, no two with the same walls; the arguments are those of :func:`maze`.

    >>> [split_of(text) for text in mazes(3, seed=0, split="test")]
    ['test', 'test', 'test']

    Raises:
        InvalidArgumentError: no such set, or it has not so many mazes.
    """
    check_positive("count", count)
    if split not in SPLITS:
        raise InvalidArgumentError(f"split = {split!r}: must be one of {', '.join(SPLITS)}")
    rng, seen, found = generator(seed), set(), []
    for _ in range(1000 + 100 * count):
        text = maze(rooms, rng, loops=loops, method=method)
        walls = text.replace("S", ".").replace("G", ".")
        if split_of(text) == split and walls not in seen:
            seen.add(walls)
            found.append(text)
        if len(found) == count:
            return found
    raise InvalidArgumentError(
        f"count = {count}: {rooms} rooms a side have hardly {len(found)} mazes for {split}; "
        "ask for fewer or for more rooms"
    )


# --- to look at, to walk in, to judge by ------------------------------------------------------------


def maps(texts: Sequence[str]) -> NDArray[np.float32]:
    """What there is to see of ``M`` mazes of one size: ``[M, 2, rows, columns]``, walls and goals.

    >>> maps(["S#G"]).tolist()
    [[[[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]]]
    """
    cells = [parse_map(text) for text in texts]
    if len({each.shape for each in cells}) != 1:
        raise InvalidArgumentError(f"texts: {len(cells)} mazes: must be one or more, of one size")
    drawn = np.stack(cells)
    return np.stack([drawn == "#", drawn == "G"], axis=1).astype(np.float32)


def moves(text: str) -> Ints:
    """Where each action leads from each cell, ``[S, 4]``: left, down, right, up; walls and border hold.

    >>> moves("S.G")[1].tolist()
    [0, 1, 2, 1]
    """
    cells = parse_map(text)
    i, j = np.indices(cells.shape).reshape(2, -1, 1)
    a = np.clip(i + MOVES[:, 0], 0, cells.shape[0] - 1)
    b = np.clip(j + MOVES[:, 1], 0, cells.shape[1] - 1)
    here: Ints = np.arange(cells.size)[:, None]
    return np.where(cells[a, b] == "#", here, a * cells.shape[1] + b)


def distances(text: str) -> Ints:
    """Moves from every cell to the nearest goal by breadth-first search, ``[S]``; -1 where there is no way.

    >>> distances("S.G#.").tolist()
    [2, 1, 0, -1, -1]
    """
    cells = parse_map(text)
    rows, columns = cells.shape
    away: Ints = np.where(cells == "G", 0, -1)
    queue = deque((int(i), int(j)) for i, j in np.argwhere(cells == "G"))
    while queue:
        i, j = queue.popleft()
        for di, dj in MOVES.tolist():
            a, b = i + di, j + dj
            if 0 <= a < rows and 0 <= b < columns and away[a, b] < 0 and cells[a, b] not in "#H":
                away[a, b] = away[i, j] + 1
                queue.append((a, b))
    return away.ravel()


def follow(text: str, actions: ArrayLike) -> Ints:
    """Moves that a policy ``[S]`` takes from every cell to the goal, ``[S]``; -1 where it never arrives.

    Without chance and without memory, whoever comes to a cell twice goes round for ever: so many moves as
    there are cells decide it.

    >>> follow("S.G", [2, 2, 0]).tolist(), follow("S.G", [2, 0, 0]).tolist()
    ([2, 1, 0], [-1, -1, 0])
    """
    goal, chosen = parse_map(text).ravel() == "G", np.asarray(actions)
    if chosen.shape != goal.shape:
        raise InvalidArgumentError(f"actions of shape {chosen.shape}: must be [{goal.size}]")
    onward = moves(text)[np.arange(goal.size), chosen]
    place, taken = np.arange(goal.size), np.where(goal, 0, -1)
    for move in range(1, goal.size):
        place = onward[place]
        taken[(taken < 0) & goal[place]] = move
    return taken


def success(texts: Sequence[str], actions: ArrayLike) -> float:
    """The share of cells, of all mazes, from which a policy ``[M, S]`` arrives; exact, nothing is played.

    >>> success(["S.G"], [[2, 0, 0]])
    0.0
    """
    arrived, cells = 0, 0
    for text, chosen in zip(texts, np.asarray(actions), strict=True):
        away = distances(text)
        arrived += int((follow(text, chosen)[away > 0] > 0).sum())
        cells += int((away > 0).sum())
    return arrived / cells


class MazeWalkers:
    """Walkers in mazes, each in one of its own; the stepping convention of :mod:`rlcourse.envs.vector`.

    An observation is the number of the maze and that of the cell, ``[N, 2]``. Arriving at the goal pays one
    and ends the episode; the next one begins in any other cell of the same maze, until :meth:`reset` hands
    out new mazes. There is no time limit.

    >>> walkers = MazeWalkers(["S.G"], num_envs=2, rng=np.random.default_rng(0))
    >>> walkers.reset().tolist()
    [[0, 1], [0, 1]]
    >>> step = walkers.step([2, 0])
    >>> step.next_obs.tolist(), step.reward.tolist()
    ([[0, 2], [0, 0]], [1.0, 0.0])
    """

    def __init__(self, texts: Sequence[str], num_envs: int, rng: np.random.Generator) -> None:
        self.maps = maps(texts)
        self.moves = np.stack([moves(text) for text in texts])
        self.goal = self.maps[:, 1].reshape(len(texts), -1) > 0
        self.free = [np.flatnonzero(distances(text) > 0) for text in texts]
        self.num_envs, self.rng = check_positive("num_envs", num_envs), rng
        self.obs: Ints = np.zeros((0, 2), dtype=np.int64)

    def reset(self) -> Ints:
        """A maze and a cell for every walker."""
        chosen = self.rng.integers(len(self.free), size=self.num_envs)
        self.obs = np.stack([chosen, [self._anywhere(maze) for maze in chosen]], axis=1)
        return self.obs

    def step(self, action: ArrayLike) -> Step:
        """Move every walker once."""
        if not len(self.obs):
            raise CourseError("step before reset: call reset() first")
        current, chosen = self.obs, np.asarray(action)
        if chosen.shape != (self.num_envs,):
            raise InvalidArgumentError(f"action of shape {chosen.shape}: must be [{self.num_envs}]")
        maze = current[:, 0]
        next_obs = np.stack([maze, self.moves[maze, current[:, 1], chosen]], axis=1)
        terminated = self.goal[maze, next_obs[:, 1]]
        self.obs = next_obs.copy()
        for i in np.flatnonzero(terminated):
            self.obs[i, 1] = self._anywhere(maze[i])
        never = np.zeros(self.num_envs, dtype=bool)
        return Step(current, chosen, terminated.astype(np.float64), terminated, never, next_obs)

    def _anywhere(self, maze: int) -> int:
        return int(self.rng.choice(self.free[maze]))
