"""Checks of the exercises of the chapter ``playgrounds/playground``."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from rlcourse.envs.vector import make
from rlcourse.labs import (
    NotRightError,
    call,
    call_uncopied,
    exercise,
    expect_by_hand,
    expect_call,
    expect_close,
    expect_detector,
    hunt,
)
from rlcourse.playground import policies


@exercise("playground/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: mean of Y - X, its error with the pairs, its error without."""
    expect_by_hand(
        answer,
        (
            (3.0, "the mean of Y - X", "the sign, and all four starts"),
            (1.0, "the error with the pairs", "the root of the number of starts"),
            ((1132 / 12) ** 0.5, "the error without them", "that variances add, not deviations"),
        ),
        tolerance=0.01,
    )
    return "right: the same eight numbers, and nearly ten times the error."


@exercise("playground/paired")
def _paired(answer: Any) -> str:
    """``answer(ours, theirs)``: mean difference and standard error over the shared seeds."""
    # By hand: differences 1, 3, 5; deviation 2, over the root of 3.
    ours, theirs = {7: 11.0, 3: 23.0, 9: 35.0}, {9: 30.0, 7: 10.0, 3: 20.0}
    expected = [3.0, 2.0 / 3**0.5]
    expect_call(answer, (ours, theirs), expected, look="which return belongs to which seed")
    expect_call(
        answer,
        ({**ours, 1: 1000.0}, {2: -1000.0, **theirs}),
        expected,
        look="seeds that only one of the two has played",
    )
    return "right: pairs are made by their seeds, whatever the order."


@exercise("playground/trend")
def _trend(answer: Any) -> str:
    """``answer(s, slope)``: the smallest number of episodes."""
    for s, slope, look in (
        (12.0, 0.05, "the equation, and the factor of two"),
        (12.0, -0.05, "a slope below zero"),
        (1.0, 5.0, "the smallest number of episodes, 3"),
        (3.0, 0.4, "whether one episode less would do"),
    ):
        n = next(
            n
            for n in range(3, 10_000)
            if 2 * s / np.sum((np.arange(n) - np.arange(n).mean()) ** 2) ** 0.5 <= abs(slope)
        )
        expect_call(answer, (s, slope), n, look=look)
    return "right: the error of a slope falls with the power 3/2 of the episodes."


@exercise("playground/honest")
def _honest(answer: Any) -> str:
    """``answer(env)``: the learner is paid 0.1 r - 1, the report is plain."""
    env = call(answer, (make("CartPole-v1"),))
    if not isinstance(env, gym.Env):
        raise NotRightError(f"expected a wrapped world, got {type(env).__name__}.")
    env.reset(seed=0)
    info: dict[str, Any] = {}
    paid, over = [], False
    while not over:
        _, reward, terminated, truncated, info = env.step(1)
        paid.append(float(reward))
        over = terminated or truncated
    expect_close(
        paid,
        [0.1 - 1.0] * len(paid),
        what="what the learner is paid",
        look="both parts of the change",
    )
    if "episode" not in info:
        raise NotRightError(
            'at the end info has no "episode". Look at what `RecordEpisodeStatistics` adds.'
        )
    expect_close(
        info["episode"]["r"],
        float(len(paid)),
        what='info["episode"]["r"]',
        look="which wrapper stands inside and has counted before the other changes anything",
        tolerance=1e-3,
    )
    return "right: the count is inside, and the learner's world outside."


@exercise("playground/world")
def _world(answer: Any) -> str:
    """``answer()``: a turn of Pig."""
    env = call(answer, ())
    if not isinstance(env, gym.Env):
        raise NotRightError(f"expected a world, got {type(env).__name__}. Look at `gym.Env`.")
    if env.observation_space != gym.spaces.Discrete(26) or env.action_space != gym.spaces.Discrete(
        2
    ):
        raise NotRightError(
            f"its spaces are {env.observation_space} and {env.action_space}; expected Discrete(26) and "
            "Discrete(2)."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_env(env, skip_render_check=True)
    except Exception as error:  # whatever the checker or a learner's code raises
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise NotRightError(f"the checker says: {said[0]}") from None
    dice = []
    for seed in range(200):
        points, again = _turn(env, seed), _turn(env, seed)
        if points != again:
            raise NotRightError(
                f"seed {seed} was played twice, and gave two turns. Look at `self.np_random`."
            )
        dice += [b - a for (a, _), (b, _) in itertools.pairwise(points) if b]
    if {*dice} != {2, 3, 4, 5, 6}:
        raise NotRightError(
            f"rolls add {sorted({*dice})}; expected 2 to 6. Look at the die's ends."
        )
    counts = np.bincount(dice, minlength=7)[2:]
    if counts.min() < 0.7 * counts.mean():
        raise NotRightError(
            f"2 to 6 were rolled {counts.tolist()} times. Look at a die: it is fair."
        )
    for rolls in (0, 1):
        seed = next(seed for seed in range(200) if _turn(env, seed)[rolls][0] > 0 or not rolls)
        held = _reset(env, seed)
        if rolls:
            held = _step(env, 1)[0]
        obs, reward, terminated, truncated = _step(env, 0)
        _expect_end(reward, terminated, truncated, held, f"after holding at {held}")
        if obs != held:
            raise NotRightError(f"after holding at {held} it shows {obs}; expected {held}.")
    return "right: shapes by the checker, and the rest by arithmetic."


def _turn(env: Any, seed: int) -> list[tuple[int, float]]:
    """Roll until it is over: the points after each roll and what it paid; wrong endings are told."""
    obs = _reset(env, seed)
    if obs != 0:
        raise NotRightError(f"after reset it shows {obs}; expected 0.")
    seen = [(0, 0.0)]
    for _ in range(100):
        points, reward, terminated, truncated = _step(env, 1)
        seen.append((points, reward))
        if points == 0 or points >= 20:
            _expect_end(reward, terminated, truncated, points, f"after a roll to {points}")
            return seen
        if terminated or truncated:
            raise NotRightError(
                f"the turn is over at {points}. Look at when it ends: at 20, or at a 1."
            )
        if reward != 0:
            raise NotRightError(
                f"a roll to {points} paid {reward:g}; expected 0. Look at when points are paid: at the end."
            )
    raise NotRightError("a hundred rolls, and the turn is not over. Look at what a roll adds.")


def _reset(env: Any, seed: int) -> int:
    obs: int = call_uncopied(lambda: int(env.reset(seed=seed)[0]))
    return obs


def _step(env: Any, action: int) -> tuple[int, float, bool, bool]:
    def step() -> tuple[int, float, bool, bool]:
        obs, reward, terminated, truncated, _ = env.step(action)
        return int(obs), float(reward), bool(terminated), bool(truncated)

    answer: tuple[int, float, bool, bool] = call_uncopied(step)
    return answer


def _expect_end(reward: float, terminated: bool, truncated: bool, points: int, when: str) -> None:
    if not terminated or truncated:
        raise NotRightError(
            f"{when}: terminated {terminated}, truncated {truncated}. Look at who ends a turn: the game, "
            "not a clock."
        )
    if reward != points:
        raise NotRightError(
            f"{when} it paid {reward:g}; expected {points}. Look at what an end pays."
        )


@exercise("playground/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: whether the random player's dice obey no seed."""
    expect_detector(
        answer,
        buggy=hunt("unseeded-hand"),
        sound=policies,
        other=hunt("hand-knows-the-weather"),
        but="its hand obeys the seed; that it throws the world's own dice is another bug",
    )
    return "right: whoever throws dice must be seeded, or the seed is a decoration."
