"""Watch a player: on the machine's own screen, in colour, in a window or as an animated picture.

The emulators that players learn on show no colours. So a second machine presses the same buttons; with nothing
left to chance, both play the same game to the last point.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlcourse.atari.environment import Game, Games, judged
from rlcourse.errors import InvalidArgumentError, check_not_negative, check_positive
from rlcourse.evaluation import Policy
from rlcourse.files import replace_file
from rlcourse.film import Film, writer_of

__all__ = ["clip", "moves", "play_in_window", "record"]

COLOURS = 16  # in a film: a screen of Pong has five
SECOND = 60  # frames


def moves(
    policy: Policy, game: Game, *, max_frames: int = 18_000, window: bool = False
) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """One game, step by step, of five minutes at most: the screen ``[210, 160, 3]``, and the score so far.

    Without sticky actions and idle beginnings, whatever the player was trained with: a greedy player's game is
    always the same one.

    >>> screen, score = next(moves(lambda obs: np.zeros(len(obs), int), Game("pong")))
    >>> screen.shape, score
    ((210, 160, 3), 0.0)
    """
    from ale_py import ALEInterface, LoggerMode, roms

    plain: dict[str, Any] = {"sticky": 0.0, "noops": 0, "fire": False, "actions": ()}
    games = Games(judged(game, max_frames=max_frames, **plain), 1, threads=1)
    ALEInterface.setLoggerMode(LoggerMode.Error)
    machine = ALEInterface()
    machine.setFloat("repeat_action_probability", 0.0)
    machine.setBool("display_screen", window)
    rom_path: Any = roms.get_rom_path(game.name)
    machine.loadROM(rom_path)
    machine.reset_game()
    obs, buttons = games.reset(0), machine.getMinimalActionSet()
    own = [games.actions.index(name) for name in game.actions or games.actions]
    start = games.actions.index("FIRE") if game.fire and "FIRE" in games.actions else None
    score, over = 0.0, False
    while not over:
        action = own[int(policy(obs)[0])] if start is None else start
        start = None
        games.step([action])
        for _ in range(game.frame_skip):
            machine.act(buttons[action])
        obs, over = games.obs, bool(games.over[0])
        score += float(games.score[0])
        yield machine.getScreenRGB(), score
    games.close()


def record(
    policy: Policy, game: Game, path: Path, *, seconds: int = 20, skip: int = 0
) -> tuple[float, int]:
    """Play a game, of five minutes at most, into a .gif or .mp4; returns its score and its length in steps.

    Args:
        policy: observations ``[N, ...]`` to actions ``[N]``.
        game: as the player was trained on it.
        path: the file, which ends in .gif or .mp4.
        seconds: of the game that are filmed; it is played to its end all the same.
        skip: seconds of the game before that.

    Raises:
        InvalidArgumentError, CourseError: as :func:`rlcourse.film.writer_of`.
        InvalidArgumentError: the game was over before ``skip``.
    """
    write = writer_of(path)
    fps = SECOND / game.frame_skip
    first = int(check_not_negative("skip", skip) * fps)
    frames = int(check_positive("seconds", seconds) * fps)
    screens, score, steps = [], 0.0, 0
    for screen, score in moves(policy, game):  # noqa: B007
        if first <= steps < first + frames:
            screens.append(screen.copy())
        steps += 1
    if not screens:
        raise InvalidArgumentError(f"skip = {skip}: the game was over after {steps / fps:.0f} s")
    with replace_file(path) as file:
        write(file, _pictures(screens), fps)
    return score, steps


def clip(policy: Policy, game: Game, alt: str, *, seconds: float = 10, skip: float = 0) -> Film:
    """Some seconds of a game, for a page; the rest of it is not played. ``alt`` says what there is to see.

    >>> clip(lambda obs: np.zeros(len(obs), int), Game("pong"), "Nobody plays.", seconds=0.2)
    Nobody plays.

    Raises:
        InvalidArgumentError: the game was over before.
    """
    fps = SECOND / game.frame_skip
    first, last = int(skip * fps), int((skip + seconds) * fps)
    screens = [screen for screen, _ in itertools.islice(moves(policy, game), last)][first:]
    if not screens:
        raise InvalidArgumentError(f"skip = {skip}: the game was over before")
    return Film(_pictures(screens), fps, alt)


def _pictures(screens: list[NDArray[np.uint8]]) -> list[Image.Image]:
    """With one palette for all: with one each, a film is three times as large and flickers."""
    palette = Image.fromarray(np.concatenate(screens[:: len(screens) // 8 + 1])).quantize(COLOURS)
    none = Image.Dither.NONE
    return [Image.fromarray(screen).quantize(palette=palette, dither=none) for screen in screens]


def play_in_window(policy: Policy, game: Game) -> tuple[float, int]:
    """Play a game, as :func:`record` does, in a window, at the machine's own speed."""
    score, steps, next_move = 0.0, 0, time.monotonic()
    for _, score in moves(policy, game, window=True):  # noqa: B007
        steps += 1
        next_move += game.frame_skip / SECOND
        time.sleep(max(0.0, next_move - time.monotonic()))
    return score, steps
