"""The ring of pictures against a memory that keeps everything whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcourse.atari import replay as module
from rlcourse.atari.replay import FrameReplay, PrioritizedFrameReplay, free_memory, memory
from rlcourse.checkpoint import load, restore, save
from rlcourse.envs.vector import Step
from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.replay import UniformReplay

HEIGHT, WIDTH = 2, 3


class Every:
    """In place of a generator: every row of the ring, in order."""

    def integers(self, high: int, size: int) -> np.ndarray:
        return np.arange(size) % high

    def random(self, size: int) -> np.ndarray:
        return np.full(size, 0.5)


def space(stack: int = 4, height: int = HEIGHT, width: int = WIDTH) -> Box:
    return Box(0, 255, (stack, height, width), np.uint8)


class World:
    """Games of random pictures in lockstep; observations as the emulators give them, but from lists."""

    def __init__(self, num_envs: int, stack: int, rng: np.random.Generator, colours: int) -> None:
        self.rng, self.stack, self.colours = rng, stack, colours
        self.films = [[self.picture()] for _ in range(num_envs)]

    def picture(self) -> np.ndarray:
        return self.rng.integers(self.colours, size=(HEIGHT, WIDTH), dtype=np.uint8)

    def look(self) -> np.ndarray:
        black = [np.zeros((HEIGHT, WIDTH), np.uint8)] * self.stack
        return np.array([[*black, *film][-self.stack :] for film in self.films])

    def step(self, end: float, life: float, cap: float) -> Step:
        count, obs = len(self.films), self.look()
        for film in self.films:
            film.append(self.picture())
        next_obs = self.look()
        over, lost = self.rng.random(count) < end, self.rng.random(count) < life
        truncated = self.rng.random(count) < cap
        self.begin(np.flatnonzero(over | truncated))
        action, reward = self.rng.integers(9, size=count), self.rng.normal(size=count)
        return Step(obs, action, reward, over | lost, truncated, next_obs)

    def begin(self, which: Any) -> None:
        for i in which:
            self.films[i] = [self.picture()]


class Story(NamedTuple):
    kind: type[FrameReplay]
    num_envs: int
    stack: int
    deep: int
    n: int
    gamma: float
    steps: list[tuple[Step, bool]]


@st.composite
def stories(draw: Callable[..., Any]) -> Story:
    """Rings of all sizes, games of one step and of many, lost lives, caps, restarts, repeating pictures."""
    num_envs, stack, deep = (
        draw(st.integers(1, 4)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 9)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    colours = draw(st.sampled_from([1, 2, 256]))
    chances = [draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])) for _ in range(3)]
    restarts, world = draw(st.sampled_from([0.0, 0.2])), World(num_envs, stack, rng, colours)
    steps = []
    for _ in range(draw(st.integers(1, 4 * deep))):
        step, cut = world.step(*chances), rng.random() < restarts
        if cut:
            world.begin(range(num_envs))
        steps.append((step, cut))
    kind = draw(st.sampled_from([FrameReplay, PrioritizedFrameReplay]))
    n, gamma = draw(st.integers(1, 4)), draw(st.sampled_from([0.5, 0.9]))
    return Story(kind, num_envs, stack, deep, n, gamma, steps)


@given(stories())
@settings(max_examples=120, deadline=None)
def test_every_byte_is_what_was_added(story: Story) -> None:
    """Against the replay that keeps both observations of each row whole, after each addition."""
    common: dict[str, Any] = {"num_envs": story.num_envs, "gamma": story.gamma, "n": story.n}
    capacity = story.num_envs * story.deep
    ours = story.kind(capacity, space(story.stack), rng=Every(), **common)
    naive = UniformReplay(capacity, space(story.stack), rng=Every(), **common)  # type: ignore[arg-type]
    for step, cut in story.steps:
        ours.add(step)
        naive.add(step)
        if cut:
            ours.cut()
            naive.cut()
        rows = np.arange(len(ours))
        batch = ours._batch(rows, np.ones(len(ours), np.float32))
        wanted = naive.sample(len(naive))
        assert len(ours) == len(naive)
        for name, field in batch._asdict().items():
            np.testing.assert_array_equal(field, getattr(wanted, name), err_msg=name)
        assert batch.obs.dtype == batch.next_obs.dtype == np.uint8


def filled(kind: type[FrameReplay], steps: int, capacity: int = 60, end: float = 0.2) -> Any:
    world = World(3, 4, np.random.default_rng(5), 256)
    ring = kind(capacity, space(), num_envs=3, n=2, rng=np.random.default_rng(0))
    for _ in range(steps):
        ring.add(world.step(end, 0.1, 0.05))
    return ring, world


@pytest.mark.parametrize("kind", [FrameReplay, PrioritizedFrameReplay])
def test_a_saved_ring_goes_on_as_if_nothing_had_been(
    kind: type[FrameReplay], tmp_path: Path
) -> None:
    class Run:
        algorithm, config, seed, kept = "test", Story(kind, 3, 4, 20, 2, 0.9, []), 0, ("replay",)

    from dataclasses import make_dataclass

    ours, again = Run(), Run()
    ours.config = again.config = make_dataclass("Config", [])()  # type: ignore[assignment]
    ours.replay, world = filled(kind, 50)  # type: ignore[attr-defined]
    again.replay = filled(kind, 0)[0]  # type: ignore[attr-defined]
    save(tmp_path / "x", ours)
    restore(again, load(tmp_path / "x"))
    for _ in range(30):
        step = world.step(0.2, 0.1, 0.05)
        for run in (ours, again):
            run.replay.add(step)  # type: ignore[attr-defined]
        drawn = [run.replay.sample(16) for run in (ours, again)]  # type: ignore[attr-defined]
        for a, b in zip(*drawn, strict=True):
            np.testing.assert_array_equal(a, b)


def test_priorities_work_on_pictures() -> None:
    ring, _ = filled(PrioritizedFrameReplay, 50)
    ring.prioritize(np.arange(60), np.where(np.arange(60) == 7, 1e6, 0.0))
    batch = ring.sample(20)
    assert (batch.index == 7).mean() > 0.5
    np.testing.assert_array_equal(batch.obs, ring.stacks(batch.index, 0))


def test_memory_is_what_is_stated() -> None:
    """By the arithmetic, and by what Python's allocator saw; a seventh of keeping stacks twice."""
    shape, capacity = (4, 84, 84), 2_000
    tracemalloc.start()
    ring = FrameReplay(
        capacity, Box(0, 255, shape, np.uint8), num_envs=8, rng=np.random.default_rng(0)
    )
    seen = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    stated = memory(capacity, shape, num_envs=8)
    assert ring.nbytes == stated and 0 <= seen - stated < 16_384
    assert memory(1_000_000, shape) == pytest.approx(7.06e9, rel=0.02)  # not 56 GB
    assert stated < capacity * 2 * 4 * 84 * 84 / 6.5


def test_last_pictures_make_room_for_others() -> None:
    """Memory follows the games that end in what is remembered, not all that ever ended."""
    ring, world = filled(FrameReplay, 20, capacity=30, end=1.0)
    before = ring.nbytes
    for _ in range(200):
        ring.add(world.step(1.0, 0.0, 0.0))
    assert ring.ends.size <= 3 * 30 and ring.nbytes == before


def test_what_does_not_fit_is_refused_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_memory", lambda: 10**9)
    tracemalloc.start()
    with pytest.raises(
        CourseError, match=r"needs 7\.08 GB.* 1\.00 are free; try ([\d,]+)"
    ) as caught:
        FrameReplay(10**6, space(4, 84, 84), rng=np.random.default_rng(0))
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
    advised = int(str(caught.value).split("try ")[1].split(" ")[0].replace(",", ""))
    assert 10**8 < memory(advised, (4, 84, 84)) < 10**9


def test_free_memory_is_a_plausible_number() -> None:
    free = free_memory()
    assert free is None or 10**7 < free < 10**13


def test_what_a_container_keeps_of_its_files_is_free(tmp_path: Path) -> None:
    """It is given back when asked for, and a run's own checkpoints fill it."""

    def said(limit: str, stat: str) -> int | None:
        for name, text in (("max", limit), ("current", "8000000"), ("stat", stat)):
            (tmp_path / f"memory.{name}").write_text(text)
        return free_memory(tmp_path)

    machine = pytest.approx(free_memory(tmp_path), rel=0.2)
    assert said("9000000", "anon 9\ninactive_file 1500000\nactive_file 500000\n") == 3_000_000
    assert said("max", "anon 9\ninactive_file 1500000\nactive_file 500000\n") == machine
    assert said("9000000", "anon 9\n") == machine  # what it takes is not known


@pytest.mark.parametrize("wrong", [Box(0, 1, (4, 2, 3)), Box(0, 255, (4,), np.uint8)])
def test_what_is_no_stack_of_pictures_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="must be of bytes"):
        FrameReplay(4, wrong, rng=np.random.default_rng(0))


def test_what_does_not_move_on_by_one_picture_is_refused() -> None:
    """Say from an environment that pads with its first picture: rebuilt stacks would be others."""
    ring, world = filled(FrameReplay, 0)
    step = world.step(0.0, 0.0, 0.0)
    for wrong in (
        step._replace(obs=np.repeat(step.obs[:, -1:], 4, axis=1)),
        step._replace(next_obs=step.obs),
        step._replace(obs=step.obs[:, :3]),
    ):
        with pytest.raises(InvalidArgumentError, match=r"step\.obs"):
            ring.add(wrong)
    assert len(ring) == 0
    ring.add(step)
    skipped = world.step(0.0, 0.0, 0.0)
    with pytest.raises(InvalidArgumentError, match=r"step\.obs"):
        ring.add(world.step(0.0, 0.0, 0.0))
    ring.add(skipped)


def test_emulated_games_come_back_whole() -> None:
    pytest.importorskip("ale_py")
    from rlcourse.atari.environment import Game, Games

    games, rng = Games(Game("breakout", height=20, width=20, max_frames=240), 4), Every()
    ours = FrameReplay(200, games.observation_space, num_envs=4, n=3, rng=rng)  # type: ignore[arg-type]
    naive = UniformReplay(200, games.observation_space, num_envs=4, n=3, rng=rng)  # type: ignore[arg-type]
    games.reset(0)
    for t in range(70):
        step = games.step(np.random.default_rng(t).integers(4, size=4))
        ours.add(step)
        naive.add(step)
    for a, b in zip(ours.sample(200), naive.sample(200), strict=True):
        np.testing.assert_array_equal(a, b)
