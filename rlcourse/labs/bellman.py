"""Checks of the exercises of the chapter ``foundations/bellman``."""

from __future__ import annotations

import inspect
import sys
import types
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np

from rlcourse.algorithms import dynamic_programming as dp
from rlcourse.labs import NotRightError, call, exercise, expect_by_hand, expect_call
from rlcourse.mdp import TabularMDP, from_env, grid, random_mdp
from rlcourse.mutants import hunt


@exercise("bellman/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: [V_1(14), V_2(14), V_2(13)] on the slippery lake with gamma 0.9."""
    lake = from_env(gym.make("FrozenLake-v1"))
    stream = dp.value_iteration(lake, 0.9)
    one, two = next(stream).values, next(stream).values
    expect_by_hand(
        answer,
        (
            (one[14], "V_1(14)", "what a move can pay at once: all values are still zero"),
            (two[14], "V_2(14)", "where the other two landings lead, and what V_1 says about them"),
            (two[13], "V_2(13)", "which of the landings of 13 has a value after the first sweep"),
        ),
        tolerance=5e-4,
    )
    return "right: that is what a sweep does, sixteen times over."


@exercise("bellman/backup")
def _backup(answer: Any) -> str:
    """``answer(mdp, values, gamma)``: one application of the optimality operator."""
    corridor = grid("S.G", step=-1.0)
    expect_call(
        answer,
        (corridor, np.array([0.0, 1.0, 0.0]), 0.5),
        [-0.5, 0.0, 0.0],
        look="the corridor S.G where every move costs 1 and the goal pays 1: from S, right pays -1 and "
        "lands where `values` says 1, half of which counts",
    )
    for seed in range(3):
        mdp = random_mdp(5, 3, seed=seed)
        values = np.random.default_rng(seed).normal(size=5)
        backed_up = (mdp.reward + 0.9 * mdp.expected_next(values)).max(axis=1)
        look = "the order: expectation over s', then the largest of the actions (axis 1)"
        expect_call(answer, (mdp, values, 0.9), backed_up, look=look)
    return "right: first the world's average, then your choice."


@exercise("bellman/bounds")
def _bounds(answer: Any) -> str:
    """``answer(values, backed_up, gamma)``: MacQueen's ``[low, high]``."""
    look = "the factor: gamma + gamma**2 + ... = gamma / (1 - gamma)"
    expect_call(answer, (np.zeros(2), np.array([1.0, 2.0]), 0.5), [1.0, 2.0], look=look)
    look = "a map that sinks: both fences lie below, and the deeper one is `low`"
    expect_call(
        answer, (np.array([3.0, 3.0, 3.0]), np.array([1.0, 2.0, 2.5]), 0.5), [-2, -0.5], look=look
    )
    for seed, gamma in enumerate((0.3, 0.9, 0.99)):
        mdp = random_mdp(6, 3, seed=seed)
        values = np.random.default_rng(seed).normal(size=6)
        sweep = next(dp.value_iteration(mdp, gamma, values))
        look = "the largest and the smallest change, each with its sign"
        expect_call(answer, (values, sweep.values, gamma), [sweep.low, sweep.high], look=look)
    return "right: the truth stands between them, and you can prove it."


@exercise("bellman/improve")
def _improve(answer: Any) -> str:
    """``answer(mdp, policy, gamma)``: one round of Howard's improvement."""
    for seed in range(3):
        mdp = random_mdp(6, 3, seed=seed)
        old = np.random.default_rng(seed).integers(3, size=6)
        _follow(answer, mdp, old, 0.9, "Q of the old policy's own values, from `evaluate`")
    # Ten rounds of ties: from everywhere every way home is worth one.
    lake = from_env(gym.make("FrozenLake-v1", is_slippery=False))
    policy = next(iter(dp.policy_iteration(lake, 1.0))).policy
    for _ in range(10):
        look = (
            "squares where no action is better: they keep the old one, or the agent never arrives"
        )
        policy = _follow(answer, lake, policy, 1.0, look)
    return "right: every round is better somewhere and worse nowhere, and the agent arrives."


def _follow(answer: Any, mdp: TabularMDP, old: Any, gamma: float, look: str) -> Any:
    """The learner's next policy, if each square does what one round of improvement may do."""
    new = call(answer, (mdp, old, gamma))
    if np.shape(new) != (mdp.num_states,) or not np.issubdtype(np.asarray(new).dtype, np.integer):
        raise NotRightError(f"expected {mdp.num_states} actions, got shape {np.shape(new)}.")
    q = dp.q_values(mdp, dp.evaluate(mdp, old, gamma), gamma)
    for s, (before, after) in enumerate(zip(old, new, strict=True)):
        kept, best = q[s, before], q[s].max()
        if mdp.terminal[s]:
            continue
        wrong = after != before if best <= kept + 1e-9 else q[s, after] < best - 1e-9
        if wrong:
            raise NotRightError(
                f"square {s}: the old action {before} is worth {kept:.4f}, the best one {best:.4f}; "
                f"you chose {after}, worth {q[s, after]:.4f}. Look at {look}."
            )
    return new


@exercise("bellman/taxi")
def _taxi(answer: Any) -> str:
    """``answer``: the largest mean return over the taxi's first states, without discount."""
    taxi = from_env(gym.make("Taxi-v4"))
    *_, best = dp.policy_iteration(taxi, 1.0)
    if np.ndim(answer) != 0 or isinstance(answer, str):
        raise NotRightError("expected one number: the mean over the first states.")
    got = float(answer)
    everywhere = float(best.values[~taxi.terminal].mean())
    if abs(got - everywhere) < 5e-3:
        raise NotRightError(
            f"{got:.3f} is the mean over all states. The taxi starts only in some: see `mdp.start`."
        )
    if abs(got - best.values.max()) < 5e-3:
        raise NotRightError(f"{got:.3f} is the best single state. Average over `mdp.start`.")
    for gamma in (0.9, 0.95, 0.99, 0.999):
        discounted = dp.converged(dp.value_iteration(taxi, gamma), 1e-6)
        if abs(got - float(taxi.start @ discounted)) < 5e-3:
            raise NotRightError(f"{got:.3f} is discounted with gamma = {gamma}. Do not discount.")
    if abs(got - taxi.start @ best.values) >= 5e-3:
        raise NotRightError(
            f"{got:.3f} is not it. Look at `policy_iteration` at gamma = 1, averaged over `mdp.start`."
        )
    return "right, and it lies below the registered threshold of 8, which no agent can reach."


@exercise("bellman/alarm")
def _alarm(answer: Any) -> str:
    """``answer(module)``: True for a broken copy of dynamic_programming, False for a sound one."""
    if not callable(answer):
        raise NotRightError(f"expected a function, got {type(answer).__name__}.")
    cases = (
        (_sound_copy(), False, "rings for a sound module. Is your tolerance looser than what you ask of it?"),
        (hunt("max-before-mean"), True, "stays silent for the copy of this exercise. Which of its values "
         "are impossible?"),
        (hunt("stops-too-early"), True, "stays silent for a copy that says too early that it has converged. "
         "Ask for a tolerance with gamma near one, and test the promise."),
    )  # fmt: skip
    for module, broken, message in cases:
        try:
            got = answer(module)
        except Exception as error:
            raise NotRightError(f"it raised {type(error).__name__}: {error}") from None
        if got is None or got is ...:
            raise NotRightError("nothing came back; does your function end in `return`?")
        if bool(got) != broken:
            raise NotRightError(f"the alarm {message}")
    return "right: it rings for both broken copies and for nothing else. That is what a test is."


@cache
def _sound_copy() -> types.ModuleType:
    """The real module under a copy's name, so that an alarm cannot go by the name."""
    module = types.ModuleType("hunted_dynamic_programming")
    module.__file__ = hunt("max-before-mean").__file__
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(inspect.getsource(dp), str(module.__file__), "exec"), module.__dict__)
    return module
