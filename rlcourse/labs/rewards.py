"""Checks of the exercises of the chapter ``playgrounds/rewards``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from rlcourse.algorithms.dynamic_programming import policy_iteration
from rlcourse.envs import shaping
from rlcourse.envs.rewards import bicycle, boat, lock
from rlcourse.labs import (
    NotRightError,
    call,
    exercise,
    expect_by_hand,
    expect_call,
    expect_close,
    expect_detector,
)
from rlcourse.mdp import Bools, Floats, TabularMDP, chain, grid, random_mdp
from rlcourse.mutants import hunt


@exercise("rewards/by-hand")
def _by_hand(answer: Any) -> str:
    """``answer``: the four bonuses of the chapter's little walk."""
    expect_by_hand(
        answer,
        (
            (0.0, "from A to B", "half of the new potential, less the whole of the old"),
            (-3.0, "from B to A", "half of the new potential, less the whole of the old"),
            (
                -4.0,
                "the end",
                "what the potential of a terminal state counts, whatever its row says",
            ),
            (0.0, "the time limit", "whether the world has ended when the clock strikes"),
        ),
    )
    return "right: there and back again costs three, and that is the interest."


@exercise("rewards/bonus")
def _bonus(answer: Any) -> str:
    """``answer(before, after, gamma, terminated, truncated)``: the bonus of a step."""
    for arguments, expected, look in (
        ((1.0, 2.0, 0.5, False, False), 0.0, "the order: discounted after, less before"),
        ((1.0, 2.0, 1.0, False, False), 1.0, "the sign: a gain is paid"),
        ((3.0, 8.0, 0.9, True, False), -3.0, "a true end, whose potential counts zero"),
        ((3.0, 8.0, 0.5, False, True), 1.0, "a time limit: the world goes on"),
        ((3.0, 8.0, 0.5, True, True), -3.0, "an end that comes together with the time limit"),
    ):
        expect_call(answer, arguments, expected, look=look)
    rng = np.random.default_rng(0)
    for terminated in (True, False):
        phi, gamma = rng.normal(size=12), 0.9
        total = sum(
            gamma**t * call(answer, (phi[t], phi[t + 1], gamma, terminated and t == 10, t == 10))
            for t in range(11)
        )
        right = gamma**11 * phi[11] * (1 - terminated) - phi[0]
        expect_close(total, right, what="the discounted sum over an episode", look="the telescope")
    return "right: over an episode it is a charge that nobody can do anything about."


@exercise("rewards/luck")
def _luck(answer: Any) -> str:
    """``answer(mdp)``: the mean time of a random walker from the start to the end."""
    row, anywhere = chain(5), np.full(7, 1 / 7)
    for world, expected, name, look in (
        (lock(1), 2.0, "a lock of one turn: a coin until it shows the right side",
         "what a move counts, and its sign"),
        (lock(6), 126.0, "the lock of six turns: 2 ** 7 - 2",
         "which policy walks: in every state all actions alike"),
        (row, 9.0, "a row of five cells from its middle: three moves to either side, 3 * 3",
         "the ends, both of them, and the start between them"),
        (replace(row, start=anywhere), 5.0, "the first states that `start` gives",
         "the start: an average over all that `start` allows"),
    ):  # fmt: skip
        expect_close(call(answer, (world,)), expected, what=name, look=look)
    for seed in range(3):
        world = replace(random_mdp(6, 3, seed=seed), terminal=np.arange(6) == 5, start=np.zeros(0))
        walk = world.rows.reshape(3, 6, 6).mean(axis=0)[:5, :5]
        mean = float(world.start[:5] @ np.linalg.solve(np.eye(5) - walk, np.ones(5)))
        look = "the rewards of the world itself: they do not belong in a count of moves"
        expect_close(call(answer, (world,)), mean, what="a random world", look=look)
    return "right: what a sparse reward costs before it teaches anything."


@exercise("rewards/honest")
def _honest(answer: Any) -> str:
    """``answer(mdp, gamma)``: the potential behind a bonus, or None."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        world = random_mdp(6, 2, seed=seed, branching=3)
        terminal: Bools = (np.arange(6) == 5) & bool(seed % 2)
        phi = rng.normal(size=6) * ~terminal
        world = replace(world, terminal=terminal, start=np.zeros(0))
        pays = 0.9 * (world.rows @ phi).reshape(2, 6).T - phi[:, None]
        expect_close(
            _found(answer, replace(world, reward=pays), 0.9),
            phi,
            what="a bonus that does come from a potential",
            look="equation eq-rewards-same: the values of any policy, and their sign",
        )
        _expect_none(answer, replace(world, reward=pays + 0.1 * rng.normal(size=(6, 2))), "noise")
    fined = bicycle(goal=0.0, nearer=0.02, further=-0.02)
    _expect_none(answer, fined, "the bicycle's coin and fine: an interest-free loan", 0.99)
    ends = grid("S.G", goal=0.4)
    _expect_none(answer, ends, "a prize for ending", 0.9)
    return "right: one policy proposes a potential, and one comparison decides."


def _found(answer: Callable[..., Any], bonus: TabularMDP, gamma: float) -> Floats:
    phi = call(answer, (bonus, gamma))
    if phi is None:
        raise NotRightError(
            "it found no potential where there is one. Is your tolerance too strict?"
        )
    return np.asarray(phi, dtype=np.float64)


def _expect_none(answer: Any, bonus: TabularMDP, what: str, gamma: float = 0.9) -> None:
    if call(answer, (bonus, gamma)) is not None:
        raise NotRightError(
            f"it found a potential where there is none ({what}). Build the bonus of your potential, and "
            "compare it with the one you were given, action by action."
        )


@exercise("rewards/race")
def _race(answer: Any) -> str:
    """``answer``: the smallest prize that is raced for if a move costs 0.1, gamma 0.95."""
    if isinstance(answer, str) or np.ndim(answer) != 0:
        raise NotRightError("expected one number, the prize.")
    got = float(answer)
    for cost, gamma, complaint in (
        (0.0, 0.95, "the frontier without a clock. Each move costs 0.1 now"),
        (0.1, 0.99, "the frontier for gamma = 0.99. Take 0.95"),
        (-0.1, 0.95, "the frontier for a clock that *pays* 0.1. Look at the sign"),
    ):
        if abs(got - _frontier(cost, gamma)) < 1e-3:
            raise NotRightError(f"{got:.3f} is {complaint}.")
    if abs(got - _frontier(0.1, 0.95)) >= 1e-3:
        raise NotRightError(
            f"{got:.3f} is not it. Look at a prize slightly above and slightly below yours: does the best "
            "policy of `replace(boat(p), reward=boat(p).reward - 0.1)` finish?"
        )
    return "right: a wage for living can spoil a task, and here it mends one."


def _frontier(cost: float, gamma: float) -> float:
    """The prize at which the best policy begins to finish, by bisection."""
    low, high = 0.0, 100.0
    for _ in range(40):
        middle = (low + high) / 2
        race = boat(middle)
        world = replace(race, reward=race.reward - cost)
        *_, best = policy_iteration(world, gamma)
        low, high = (low, middle) if _ends(world, best.policy) else (middle, high)
    return high


def _ends(world: TabularMDP, policy: Any) -> bool:
    state = int(world.start.argmax())
    for _ in range(world.num_states):
        state = int(world.successors(state, policy[state]).argmax())
        if world.terminal[state]:
            return True
    return False


@exercise("rewards/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: True only for the wrapper whose ends keep their potential."""
    expect_detector(
        answer,
        buggy=hunt("shaping-keeps-the-end"),
        sound=shaping,
        other=hunt("shaping-forgets-gamma"),
        but="that one has forgotten the discount, and its ends are right",
    )
    return "right: it accuses the one and nobody else."
