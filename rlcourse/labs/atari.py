"""Checks of the exercises of the chapter ``projects/atari``."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from rlcourse.labs import (
    NotRightError,
    call,
    exercise,
    expect_by_hand,
    expect_call,
    expect_close,
    expect_detector,
)
from rlcourse.mutants import hunt


@exercise("atari/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: bytes of a replay, the side and the parameters of a convolution."""
    expect_by_hand(
        answer,
        (
            (100_000 * 7_075, "the bytes", "how many pictures a transition keeps: one"),
            (20, "the side", "how far the window can move from the left edge: (n - w) / s steps"),
            (1_040, "the parameters", "the bias: one more for each plane that comes out"),
        ),
        tolerance=0.5,
    )
    return "right: seven tenths of a gigabyte, and a thousand numbers that look."


@exercise("atari/eye")
def _eye(answer: Any) -> str:
    """``answer(frames)``: the brighter of the last two frames of each four."""
    rng = np.random.default_rng(0)
    for pictures, look in (
        (1, "which two of the four frames: the last two"),
        (4, "the order: the oldest picture first"),
    ):
        frames = rng.integers(1, 200, size=(4 * pictures, 3, 5)).astype(np.uint8)
        frames[0::4] = frames[1::4] = 255  # bright, and not to be seen
        right = [
            [
                [max(frames[4 * k + 2, i, j], frames[4 * k + 3, i, j]) for j in range(5)]
                for i in range(3)
            ]
            for k in range(pictures)
        ]
        got = call(answer, (frames,))
        expect_close(got, right, what=f"for {pictures} decisions", look=look)
        if np.asarray(got).dtype != np.uint8:
            raise NotRightError(
                f"the pictures came back as {np.asarray(got).dtype}; expected bytes."
            )
    return "right: what flickers is seen, and four frames became one."


@exercise("atari/successor")
def _successor(answer: Any) -> str:
    """``answer(following, final, terminated, over)``: the true next observations."""
    rng = np.random.default_rng(0)
    following, final = rng.integers(256, size=(2, 4, 2, 3, 3)).astype(np.uint8)
    for terminated, over, look in (
        ([0, 0, 0, 0], [0, 0, 0, 0], "where nothing ended: the next observation is what follows"),
        ([0, 1, 0, 0], [0, 1, 0, 0], "where a game ended: its last picture lies in `final`"),
        ([1, 0, 0, 1], [0, 0, 0, 1], "where a life was lost and the game goes on"),
        ([0, 0, 0, 0], [0, 0, 1, 0], "a game that was broken off: over, and not terminated"),
    ):
        flags = np.array(terminated, bool), np.array(over, bool)
        right = np.stack([(final if over[i] else following)[i] for i in range(4)])
        expect_call(answer, (following, final, *flags), right, look=look)
    kept = following.copy()
    answer(following, final, np.ones(4, bool), np.ones(4, bool))
    if (following != kept).any():
        raise NotRightError(
            "it wrote into `following`, which the agent acts on next; copy it first."
        )
    return "right: every row is a transition that happened."


@exercise("atari/list")
def _list(answer: Any) -> str:
    """``answer(buttons, sticky)``: the chance that a list is played to the letter, and the mean delay."""
    for buttons, sticky, look in (
        ([1, 1, 1, 1], 0.25, "a button that does not change: nothing can be seen to stick"),
        ([0, 1, 2, 1, 1], 0.25, "how many changes there are, and not how many buttons"),
        ([2, 0, 2, 0], 0.5, "the mean of a geometric distribution that begins at zero"),
        ([0, 1, 0], 0.0, "a machine without chance"),
    ):
        changes = sum(a != b for a, b in itertools.pairwise(buttons))
        late = sum(k * (1 - sticky) * sticky**k for k in range(200))
        expect_call(answer, (buttons, sticky), [(1 - sticky) ** changes, late], look=look)
    return "right: a third of a frame late on average, and a list has no chance."


@exercise("atari/freeway")
def _freeway(answer: Any) -> str:
    """``answer``: a policy for MinAtar's Freeway that gets across."""
    from rlcourse.evaluation import play

    if not callable(answer):
        raise NotRightError(f"expected a policy, got {type(answer).__name__}.")
    try:
        mean = float(play(answer, "MinAtar/Freeway-v1", episodes=10, num_envs=10, seed=0).mean())
    except Exception as error:  # whatever a learner's policy raises is news for the learner
        raise NotRightError(f"it cannot play Freeway: {type(error).__name__}: {error}") from None
    if mean < 25:  # half of what the authors of MinAtar plot
        raise NotRightError(
            f"it got across {mean:.1f} times an episode; expected 25 or more (always up makes some 19). "
            "If it was trained, look at how long, and at when its exploration ended; if not, at the cars."
        )
    return f"right: across {mean:.1f} times an episode."


@exercise("atari/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: whether a lost life leads to a picture that never was."""
    from rlcourse.atari import environment

    expect_detector(
        answer,
        buggy=hunt("atari-lost-life"),
        sound=environment,
        other=hunt("atari-clipped-judge"),
        but="its rewards are wrong; its pictures are not.",
    )
    return "right: a stack moves on by one picture, whatever is lost."
