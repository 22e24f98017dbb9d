"""A training that takes an hour and survives what happens in one.

It lives in a folder of its own. A checkpoint is written every few minutes, whole or not at all; so a crash, or
``kill -9``, loses the minutes since the last one. Ctrl-C and SIGTERM end the batch, write one and leave.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlcourse.atari.agents import AGENTS, PPO
from rlcourse.checkpoint import Checkpoint, load, read_config, restore, save
from rlcourse.errors import CourseError, InvalidArgumentError, check_not_negative

__all__ = ["CHECKPOINT", "Stop", "begun", "kept_in", "report", "stopping", "train"]

CHECKPOINT = "checkpoint.safetensors"
LOCK = "lock"
RECENT = 20  # games whose mean score is told


class Stop:
    """Whether somebody has asked for the end."""

    asked = False


def train(
    config: Any,
    seed: int = 0,
    *,
    folder: Path,
    resume: bool = False,
    minutes: float | None = None,
    checkpoint_minutes: float = 2.0,
    memory: bool = True,
    device: str = "cpu",
    threads: int = 0,
    on_progress: Callable[[Any], None] | None = None,
    on_trouble: Callable[[str], None] | None = None,
) -> Any:
    """Train until the settings' steps, the minutes, or somebody's patience are at an end; returns the run.

    Args:
        config: a ``PPOConfig`` or a ``DQNConfig``.
        seed: the run's seed.
        folder: where its checkpoint is; made if it is not there.
        resume: go on from that checkpoint, with these settings and this seed.
        minutes: how long at most, this time.
        checkpoint_minutes: between two checkpoints.
        memory: keep DQN's replay in them: large, and it need not be filled anew.
        device: cpu or cuda.
        threads: that step the games; 0 takes one a processor.
        on_progress: called after each batch with the run.
        on_trouble: called with what went wrong when a checkpoint could not be written; training goes on.

    Raises:
        InvalidArgumentError: there is a training in the folder and ``resume`` is not set, or none and it is.
        CourseError: another training runs in the folder; the last checkpoint cannot be written.
        DivergenceError: a loss or its gradient is no longer finite; the last checkpoint stands.
    """
    path = folder / CHECKPOINT
    until = None if minutes is None else 60 * check_not_negative("minutes", minutes)
    check_not_negative("checkpoint_minutes", checkpoint_minutes)
    _check(folder, resume)
    kind = next(kind for kind, settings in AGENTS.values() if isinstance(config, settings))
    run = kind(config, seed, device, threads)  # before the folder: it may not fit into memory
    try:
        with _locked(folder), stopping() as stop:
            if resume:
                restore(run, kept_in(folder))
                if getattr(run, "replay", None):
                    run.replay.cut()  # the games before and after are not the same
            before, start = run.seconds, time.monotonic()
            saved = start
            while run.episodes.steps < config.steps and not stop.asked:
                run.advance()
                now = time.monotonic()
                run.seconds = before + now - start
                if on_progress:
                    on_progress(run)
                if until is not None and now - start >= until:
                    break
                if now - saved >= 60 * checkpoint_minutes:
                    saved = now
                    try:
                        save(path, run, replay=memory)
                    except CourseError as error:
                        if on_trouble is None:
                            raise
                        on_trouble(str(error))
            save(path, run, replay=memory)
    finally:
        run.episodes.close()  # waits for the emulators' threads, on every way out
    return run


def kept_in(folder: Path) -> Checkpoint:
    """The checkpoint of a training's folder, or that of a file.

    Raises:
        InvalidArgumentError: there is none.
        CorruptCheckpointError: it is damaged.
    """
    path = folder / CHECKPOINT if folder.is_dir() else folder
    if not path.is_file():
        raise InvalidArgumentError(f"{folder}: no Atari training is here ({CHECKPOINT} is missing)")
    kept = load(path)
    if kept.algorithm == PPO.algorithm:
        kept.config.setdefault("ahead", False)  # before there was a choice it was played in turn
    return kept


def begun(folder: Path) -> tuple[Any, Checkpoint]:
    """The settings and the checkpoint of a training.

    Raises:
        InvalidArgumentError: there is none in the folder, or it is of no Atari run, or of a player alone.
        CorruptCheckpointError: it is damaged.
    """
    kept = kept_in(folder)
    for kind, settings in AGENTS.values():
        if kind.algorithm == kept.algorithm:
            if "episodes.steps" not in kept.facts:
                raise InvalidArgumentError(f"{folder}: a player; its training is not here")
            return read_config(settings, kept, kept.algorithm), kept
    raise InvalidArgumentError(f"{folder}: a run of {kept.algorithm!r}; must be of an Atari run")


def report(folder: Path) -> str:
    """How a training went, in a few lines.

    Raises:
        InvalidArgumentError: there is none in the folder.
    """
    from rlcourse.atari.evaluation import reference

    config, kept = begun(folder)
    facts = kept.facts
    steps, seconds, log = facts["episodes.steps"], facts["seconds"], facts["episodes.log"]
    lines = [
        f"{kept.algorithm.removeprefix('atari-')} on {config.game.name}, seed {kept.seed}: {steps:,} of "
        f"{config.steps:,} agent steps, {steps * config.game.frame_skip:,} frames, {len(log):,} games",
        f"{seconds / 60:.1f} minutes, {steps / max(seconds, 1e-9):,.0f} agent steps a second",
    ]
    if log:
        # By whole windows: the first games to finish after a start are the short ones.
        lines.append(
            f"mean score of the last {RECENT} games (or as many as there were), as trained:"
        )
        for share in (0.1, 0.25, 0.5, 0.75, 1.0):
            end = max(1, round(share * len(log)))
            window = [row["return"] for row in log[max(0, end - RECENT) : end]]
            row = log[end - 1]
            lines.append(f"  {row['step']:>12,} steps  {sum(window) / len(window):10,.1f}")
    if known := reference(config.game.name):
        names = ("random play", "the human tester", "DQN")
        told = (f"{name} {score:,g}" for name, score in zip(names, known, strict=True))
        lines.append(f"Mnih et al. 2015: {', '.join(told)} (another protocol)")
    return "\n".join(lines)


def _check(folder: Path, resume: bool) -> None:
    """Check the folder before anything is made."""
    exists = (folder / CHECKPOINT).exists()
    if resume and not exists:
        raise InvalidArgumentError(
            f"resume = {folder}: no training is here ({CHECKPOINT} is missing)"
        )
    if exists and not resume:
        raise InvalidArgumentError(
            f"out = {folder}: there is a training; go on with it (--resume {folder}) or name another folder"
        )
    if folder.exists() and not folder.is_dir():
        raise InvalidArgumentError(f"out = {folder}: must be a folder")
    ours = exists or (folder / LOCK).exists() or not folder.exists() or not any(folder.iterdir())
    if not ours:
        raise InvalidArgumentError(f"out = {folder}: holds other things; name a new folder")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder alone. The system lets go of it when the process ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a+b")  # noqa: SIM115
    except OSError as error:
        raise CourseError(f"{folder}: cannot be written ({error.strerror})") from error
    with file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CourseError(
                f"{folder}: another training runs in this folder; name another (--out), or stop it"
            ) from error
        for half in folder.glob(
            ".*"
        ):  # what a process that was killed in the middle of writing left
            if re.fullmatch(r"\.[a-z0-9_]{8}", half.name) and half.is_file():
                half.unlink(missing_ok=True)
        yield


@contextmanager
def stopping() -> Iterator[Stop]:
    """Turn the first SIGTERM or Ctrl-C into a wish; the second does what it always does.

    >>> with stopping() as stop:
    ...     signal.raise_signal(signal.SIGTERM)
    >>> stop.asked
    True
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Any] = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: object) -> None:
        stop.asked = True
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
