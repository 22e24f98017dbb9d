"""Checks of the exercises of the chapter ``foundations/loop``."""

from __future__ import annotations

from typing import Any

from rlcourse.labs import exercise, expect_call


@exercise("loop/return")
def _return(answer: Any) -> str:
    """``answer(rewards, gamma)``: the discounted return of a list of rewards."""
    look = "which power of gamma each reward gets: the first gets gamma ** 0"
    expect_call(answer, ([1.0, 2.0, 4.0], 0.5), 3.0, look=look)
    expect_call(answer, ([0.0, 0.0, 1.0], 0.9), 0.81, look=look)
    expect_call(answer, ([], 0.9), 0.0, look="what an empty episode is worth")
    return "right: each reward counts gamma for every step that it lies ahead."
