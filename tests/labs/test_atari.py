"""The exercises of ``projects/atari``: the mistakes that readers make do not pass."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ale_py")

import rlcourse.labs.atari  # noqa: F401  (registers the checks)
from rlcourse.labs import verdict


def observe(frames: Any) -> Any:
    four = frames.reshape(-1, 4, *frames.shape[1:])
    return np.maximum(four[:, 2], four[:, 3])


def every_fourth(frames: Any) -> Any:
    return frames[3::4]


def of_all_four(frames: Any) -> Any:
    return frames.reshape(-1, 4, *frames.shape[1:]).max(axis=1)


def newest_first(frames: Any) -> Any:
    return observe(frames)[::-1]


def as_numbers(frames: Any) -> Any:
    return observe(frames).astype(float)


def successor(following: Any, final: Any, terminated: Any, over: Any) -> Any:
    new = following.copy()
    new[over] = final[over]
    return new


def at_lost_lives(following: Any, final: Any, terminated: Any, over: Any) -> Any:
    new = following.copy()
    new[terminated] = final[terminated]
    return new


def whatever_follows(following: Any, final: Any, terminated: Any, over: Any) -> Any:
    return following


def in_place(following: Any, final: Any, terminated: Any, over: Any) -> Any:
    following[over] = final[over]
    return following


def survives(buttons: Any, sticky: Any) -> Any:
    changes = sum(a != b for a, b in itertools.pairwise(buttons))
    return (1 - sticky) ** changes, sticky / (1 - sticky)


def every_button(buttons: Any, sticky: Any) -> Any:
    return (1 - sticky) ** len(buttons), sticky / (1 - sticky)


def every_frame(buttons: Any, sticky: Any) -> Any:
    return survives(buttons, sticky)[0] ** 4, sticky / (1 - sticky)


def late_by_one_more(buttons: Any, sticky: Any) -> Any:
    return survives(buttons, sticky)[0], 1 / (1 - sticky)


def careful(obs: Any) -> Any:
    """Up, unless there is a car in the next cell."""
    cars = [
        picture[max(row - 1, 0), column, 1]
        for picture in obs
        for row, column in np.argwhere(picture[..., 0])
    ]
    return 1 - np.array(cars, dtype=int)


def torn(module: Any) -> bool:
    games = module.Games(module.Game("breakout", height=42, width=42), 4)
    games.reset(0)
    found = False
    for t in range(150):
        step = games.step(np.full(4, t % 4))
        found |= bool((step.next_obs[:, :-1] != step.obs[:, 1:]).any())
    games.close()
    return found


@pytest.mark.parametrize(
    ("name", "answer", "passed", "says"),
    [
        ("by-hand", [707_500_000, 20, 1040], True, ""),
        ("by-hand", [5_645_800_000, 20, 1040], False, "how many pictures"),
        ("by-hand", [707_500_000, 19, 1040], False, "the window can move"),
        ("by-hand", [707_500_000, 20, 1024], False, "the bias"),
        ("eye", observe, True, ""),
        ("eye", every_fourth, False, "last two"),
        ("eye", of_all_four, False, "last two"),
        ("eye", newest_first, False, "oldest picture first"),
        ("eye", as_numbers, False, "expected bytes"),
        ("successor", successor, True, ""),
        ("successor", at_lost_lives, False, "a life was lost"),
        ("successor", whatever_follows, False, "its last picture"),
        ("successor", in_place, False, "copy it first"),
        ("list", survives, True, ""),
        ("list", every_button, False, "does not change"),
        ("list", every_frame, False, "how many changes"),
        ("list", late_by_one_more, False, "does not change"),
        ("freeway", lambda obs: np.zeros(len(obs), int), False, "exploration ended"),
        ("freeway", lambda obs: np.ones(len(obs), int), False, "always up"),
        ("freeway", careful, True, ""),
        ("freeway", lambda obs: obs.no_such_thing, False, "cannot play"),
        ("freeway", 3, False, "expected a policy"),
        ("hunt", torn, True, ""),
        ("hunt", lambda module: True, False, "accused a sound one"),
        ("hunt", lambda module: False, False, "let the bug pass"),
    ],
)
def test_answers(name: str, answer: Any, passed: bool, says: str) -> None:
    found = verdict(f"atari/{name}", answer)
    assert found.passed is passed, found.message
    assert says in found.message
