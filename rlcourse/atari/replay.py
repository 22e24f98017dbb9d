r"""Replay of pictures: each is kept once, and the stacks are put together again when they are drawn.

Two neighbouring observations share three pictures of four, and an observation is the next one's past. Kept as
they come, a transition of 84 x 84 pixels takes 56 kB; with each picture once it takes 7, and a million fit
where 125,000 did. A row holds the newest picture of what was seen; the picture that a game ended with is
nobody's past and has a place of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray

from rlcourse.envs.vector import Step
from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.mdp import Ints
from rlcourse.replay import PrioritizedReplay, UniformReplay

__all__ = ["FrameReplay", "PrioritizedFrameReplay", "free_memory", "memory"]

Bytes = NDArray[np.uint8]


def memory(capacity: int, shape: tuple[int, ...], num_envs: int = 1) -> int:
    """Bytes that a replay takes: a picture and 19 bytes a transition, and a little for each environment.

    Last pictures come on top, one for each game that ends in what is remembered.

    >>> memory(1_000_000, (4, 84, 84)) / 1e9
    7.075...
    """
    stack, height, width = shape
    return capacity * (height * width + 19) + num_envs * (2 * stack - 1) * height * width


def free_memory(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that this process may still take, or ``None`` where the system does not say.

    Args:
        group: where Linux keeps a container's own limit.
    """
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
        limit = int((group / "memory.max").read_text())
        taken = int((group / "memory.current").read_text())
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        files = int(facts["inactive_file"]) + int(facts["active_file"])  # given back when asked for
        found.append(limit - taken + files)
    except (OSError, ValueError, KeyError):
        pass  # no such file, or no limit ("max")
    if not found and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", ()):
        found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)


class Planes:
    """Pictures that come and go; there is always room for one more."""

    kept = ("size", "pixels")

    def __init__(self, height: int, width: int) -> None:
        self.pixels: Bytes = np.zeros((0, height, width), np.uint8)

    @property
    def size(self) -> int:
        """How many there is room for."""
        return len(self.pixels)

    @size.setter
    def size(self, size: int) -> None:
        before = self.pixels
        self.pixels = np.zeros((size, *before.shape[1:]), np.uint8)
        self.pixels[: len(before)] = before[:size]


class Stacks:
    """Observations that are put together when asked for: ``stacks[index [B]] -> [B, stack, h, w]``."""

    def __init__(self, replay: FrameReplay, ahead: int) -> None:
        self.replay, self.ahead = replay, ahead

    def __getitem__(self, index: Ints) -> Bytes:
        return self.replay.stacks(index, self.ahead)


class FrameReplay(UniformReplay):
    """The last ``capacity`` transitions of a stack of pictures, every one as likely as any other.

    What it gives is, byte by byte, what was added: across games' ends, lost lives and the ring's seam.

    Args:
        capacity: transitions kept; a multiple of ``num_envs``.
        space: one observation's, ``[stack, height, width]`` of bytes.
        options: as for :class:`rlcourse.replay.UniformReplay`.

    Raises:
        CourseError: it would not fit into memory; the message says what would.
    """

    kept: tuple[str, ...] = (
        *("frames", "age", "end_of", "ends", "newest", "action", "reward", "terminated"),
        *("boundary", "added", "rng"),
    )

    def __init__(self, capacity: int, space: Space[Any], **options: Any) -> None:
        shape = space.shape or ()
        if len(shape) != 3 or space.dtype != np.uint8:
            raise InvalidArgumentError(
                f"space = {space}: must be of bytes [stack, height, width]; for others there is "
                "rlcourse.replay"
            )
        num_envs = options.get("num_envs", 1)
        _require_memory(capacity, shape, num_envs)
        stack, height, width = shape
        flat = Box(0, 1, (0,), np.uint8)
        super().__init__(capacity, flat, **options)  # the rows without their observations
        self.shape = shape
        # The oldest row's past lies a stack further back than the row itself.
        rows = self.capacity + (stack - 1) * self.num_envs
        self.frames: Bytes = np.zeros((rows, height, width), np.uint8)
        self.age = np.zeros(self.capacity, np.uint8)  # pictures of its past that are its game's own
        self.end_of = np.full(self.capacity, -1, np.int32)  # where its game's last picture is
        self.ends = Planes(height, width)
        self.newest: Bytes = np.zeros((self.num_envs, *shape), np.uint8)  # where the last step led
        self.obs: Any = Stacks(self, 0)
        self.next_obs: Any = Stacks(self, 1)

    @property
    def nbytes(self) -> int:
        """Bytes of memory taken."""
        return super().nbytes + self.ends.pixels.nbytes

    def add(self, step: Step) -> None:
        """Copy one transition of each environment into the ring, over the oldest.

        Raises:
            InvalidArgumentError: observations that are no stacks, moved on by one picture a step.
        """
        wanted = (self.num_envs, *self.shape)
        if np.shape(step.obs) != wanted or np.shape(step.next_obs) != wanted:
            raise InvalidArgumentError(f"step.obs of shape {np.shape(step.obs)}: must be {wanted}")
        going = (step.obs == self.newest).all(axis=(1, 2, 3)) & (self.added > 0)
        if (step.next_obs[:, :-1] != step.obs[:, 1:]).any() or step.obs[~going, :-1].any():
            raise InvalidArgumentError(
                "step.obs: must be the step before it moved on by one picture, or a game's first: black "
                "but for the newest"
            )
        first = self.added % self.capacity
        rows = np.arange(first, first + self.num_envs)
        before = (rows - self.num_envs) % self.capacity
        for i in np.flatnonzero(~going) if self.added else ():
            self.end_of[before[i]] = self._keep(self.newest[i, -1])
        self.end_of[rows] = -1  # last: in a ring of one row each they are the ones before
        past = np.minimum(self.age[before] + 1, self.shape[0] - 1)
        self.age[rows] = np.where(going, past, 0)
        self.frames[np.arange(self.added, self.added + self.num_envs) % len(self.frames)] = (
            step.obs[:, -1]
        )
        self.newest[:] = step.next_obs
        for name in ("action", "reward", "terminated", "boundary"):
            getattr(self, name)[rows] = getattr(step, name)
        self.added += self.num_envs

    def stacks(self, index: Ints, ahead: int) -> Bytes:
        """The observations of rows (``ahead = 0``), or where they led (1); ``[B, stack, h, w]``."""
        stack, height, width = self.shape
        time = self.added - 1 - (self.added - 1 - index) % self.capacity  # of all rows ever
        back = np.arange(stack - 1, -1, -1) - ahead  # pictures before the row's own
        places = (time[:, None] - back * self.num_envs) % len(self.frames)
        flat = self.frames.reshape(len(self.frames), -1)
        found = flat.take(places, axis=0).reshape(len(index), stack, height, width)
        found[back > self.age[index][:, None]] = 0
        if ahead:
            last = time >= self.added - self.num_envs
            found[last, -1] = self.newest[index[last] % self.num_envs, -1]
            ended = self.end_of[index] >= 0
            found[ended, -1] = self.ends.pixels[self.end_of[index[ended]]]
        return found

    def _keep(self, pixels: Bytes) -> int:
        """Keep a game's last picture, and say where."""
        used = np.zeros(self.ends.size, bool)
        used[self.end_of[self.end_of >= 0]] = True
        if used.all():
            self.ends.size = 2 * self.ends.size + self.num_envs
        place = len(used) if used.all() else int(np.argmin(used))
        self.ends.pixels[place] = pixels
        return place


class PrioritizedFrameReplay(PrioritizedReplay, FrameReplay):
    """The same, drawn from by priority: see :class:`rlcourse.replay.PrioritizedReplay`."""

    kept = (*FrameReplay.kept, "tree", "largest")


def _require_memory(capacity: int, shape: tuple[int, ...], num_envs: int) -> None:
    needed, free = memory(capacity, shape, num_envs), free_memory()
    if free is not None and needed > free:
        most = max(0, capacity * free // needed // 2)
        raise CourseError(
            f"replay_size = {capacity:,}: needs {needed / 1e9:.2f} GB of memory and {free / 1e9:.2f} are "
            f"free; try {most:,} transitions, or smaller pictures"
        )
