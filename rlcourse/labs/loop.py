"""Checks of the exercises of the chapter ``foundations/loop``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from rlcourse.envs.vector import make, make_vector
from rlcourse.evaluation import play
from rlcourse.labs import NotRightError, exercise, expect_call
from rlcourse.mdp import Floats, from_env
from rlcourse.mutants import hunt

CARTPOLE = "CartPole-v1"


@exercise("loop/return")
def _return(answer: Any) -> str:
    """``answer(rewards, gamma)``: the discounted return of a list of rewards."""
    look = "which power of gamma each reward gets: the first gets gamma ** 0"
    expect_call(answer, ([1.0, 2.0, 4.0], 0.5), 3.0, look=look)
    expect_call(answer, ([0.0, 0.0, 1.0], 0.9), 0.81, look=look)
    expect_call(answer, ([], 0.9), 0.0, look="what an empty episode is worth")
    return "right: each reward counts gamma for every step that it lies ahead."


@exercise("loop/endings")
def _endings(answer: Any) -> str:
    """``answer(terminated, truncated)``: is the episode over, does the future still count?"""
    cases = (
        (False, False, "a step in mid-episode"),
        (True, False, "an end that the world made"),
        (False, True, "an end that a clock made: who stopped, the world or we?"),
        (True, True, "both flags at once: after this step there is no future, clock or not"),
    )
    for terminated, truncated, look in cases:
        expected = (terminated or truncated, not terminated)
        expect_call(answer, (terminated, truncated), expected, look=look)
    return "right: either flag ends the loop, one flag alone ends the future."


@exercise("loop/bootstrap")
def _bootstrap(answer: Any) -> str:
    """``answer(rewards, next_values, terminated, truncated, gamma)``: one return a step."""
    no, yes = False, True
    cases: list[tuple[list[float], list[float], list[bool], list[bool], str]] = [
        ([1, 1], [9, 10], [no, yes], [no, no], "an episode that ended: nothing is added after it"),
        ([1, 1], [9, 10], [no, no], [no, yes], "an episode that a time limit cut"),
        ([1, 1], [9, 10], [no, yes], [no, yes], "both flags on the last step"),
        ([1, 1], [9, 10], [no, no], [no, no], "data that stop in mid-episode"),
        (
            [1, 2, 4, 8],
            [50, 20, 60, 30],
            [no, no, no, yes],
            [no, yes, no, no],
            "the second step: a time limit cut the first episode there; step three is another one",
        ),
    ]
    for rewards, next_values, terminated, truncated, look in cases:
        expected = [
            _one_return(t, rewards, next_values, terminated, truncated, 0.5)
            for t in range(len(rewards))
        ]
        given = (rewards, next_values, terminated, truncated, 0.5)
        expect_call(answer, given, expected, look=look)
    return "right: a cut ends the sum, and only a true end ends the future."


def _one_return(
    t: int,
    rewards: list[float],
    next_values: list[float],
    terminated: list[bool],
    truncated: list[bool],
    gamma: float,
) -> float:
    """Forward, by the definition: no recursion that an answer could share a mistake with."""
    last = t
    while last < len(rewards) - 1 and not (terminated[last] or truncated[last]):
        last += 1
    total = sum(gamma ** (k - t) * rewards[k] for k in range(t, last + 1))
    future = 0.0 if terminated[last] else next_values[last]
    return total + gamma ** (last + 1 - t) * future


@cache
def _random_cartpole() -> Floats:
    rng = np.random.default_rng(0)
    return play(
        lambda obs: rng.integers(2, size=len(obs)), CARTPOLE, episodes=500, num_envs=20, seed=1
    )


@exercise("loop/cartpole")
def _cartpole(answer: Any) -> str:
    """``answer(obs)``: 0 or 1 for four numbers; must beat the luckiest of 500 random episodes."""
    if not callable(answer):
        raise NotRightError(f"expected a function, got {type(answer).__name__}.")

    def act(batch: Any) -> Any:
        actions = []
        for obs in batch:
            try:
                action = answer(obs.copy())
            except Exception as error:  # whatever a learner's code raises is news for the learner
                raise NotRightError(
                    f"for {obs.round(3)} it raised {type(error).__name__}: {error}"
                ) from None
            if np.shape(action) != () or action not in (0, 1):
                raise NotRightError(
                    f"for {obs.round(3)} it returned {action!r}: expected the number 0 (push left) "
                    "or 1 (push right)."
                )
            actions.append(1 if action == 1 else 0)
        return np.array(actions)

    bar = float(_random_cartpole().max())
    returns = play(act, CARTPOLE, episodes=40, num_envs=20, seed=2)
    mean, half = returns.mean(), 1.96 * returns.std(ddof=1) / np.sqrt(len(returns))
    found = f"{mean:.1f} ± {half:.1f} steps over {len(returns)} episodes"
    if mean - half <= bar:
        raise NotRightError(
            f"{found}: expected the whole interval above {bar:.0f}, the best of "
            f"{len(_random_cartpole())} random episodes. Look at which of the four numbers your rule "
            "never reads: a pole that leans right may already be on its way back."
        )
    return f"right: {found}, against {bar:.0f} for the luckiest random episode."


@exercise("loop/goal-probability")
def _goal_probability(answer: Any) -> str:
    """``answer(first, epsilon)``: the chance that an episode of the naive walker ends at the goal."""
    look = "the row of the greedy action: a random step may pick it too"
    for first, epsilon in ((0, 0.1), (1, 0.1), (2, 0.3), (3, 1.0)):
        expected = _walked(first, epsilon)
        expect_call(answer, (first, epsilon), expected, look=look, tolerance=1e-6 * expected)
    return "right: one linear system knows what no number of runs would show."


def _walked(first: int, epsilon: float) -> float:
    """The same by walking: push the distribution forward until nothing is left on the ice."""
    lake = from_env(make("FrozenLake-v1", is_slippery=False))
    policy = np.full((16, 4), epsilon / 4)
    policy[:, first] += 1 - epsilon
    transition, reward = lake.under(policy)
    here, goal = lake.start.copy(), 0.0
    while here.sum() > 1e-16:
        goal += float(here @ reward)
        here = here @ transition
        here[lake.terminal] = 0.0
    return goal


@exercise("loop/teleport")
def _teleport(answer: Any) -> str:
    """``answer(make_vector, steps)``: how many of the corridor's transitions are false."""
    healthy = (make_vector, 20)
    expect_call(answer, healthy, 0, look="what a true step of the corridor does, also the last one")
    for bug, look in (
        ("reset-as-successor", "the steps on which an episode ends"),
        ("aliased-observation", "the first step of each new episode: what does it say of `obs`?"),
    ):
        broken: Callable[..., Any] = hunt(bug).make_vector
        stepper = broken("rlcourse/Probe-Corridor-v0", 1)
        stepper.reset(seed=0)
        steps = [stepper.step([0]) for _ in range(20)]
        false = sum(int(s.next_obs[0]) - int(s.obs[0]) != 1 for s in steps)
        try:
            expect_call(answer, (broken, 20), false, look=look)
        except NotRightError as error:
            raise NotRightError(f"with the bug {bug!r}: {error}") from None
    return "right: your detector finds both bugs and leaves the healthy module in peace."
