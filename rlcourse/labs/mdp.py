"""Checks of the exercises of the chapter ``foundations/mdp``."""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np

from rlcourse.algorithms.dynamic_programming import policy_iteration, q_values
from rlcourse.errors import CourseError
from rlcourse.labs import NotRightError, exercise, expect_close
from rlcourse.mdp import MOVES, Floats, TabularMDP, from_env, grid, parse_map

DRY_MAPS = (
    ("S..G",),
    ("S...", ".H.H", "...H", "H..G"),
    ("SH..", ".H.H", ".H.H", "...G"),
    (
        "G#......",
        ".#.####.",
        ".#.#..#.",
        ".#.##.#.",
        ".#....#.",
        ".######.",
        "........",
        "HHHHHHHS",
    ),
)


def _call(function: Any, given: str, *arguments: Any) -> Any:
    """What a learner's function returns for copies of ``arguments``."""
    if not callable(function):
        raise NotRightError(f"expected a function, got {type(function).__name__}.")
    try:
        got = function(*deepcopy(arguments))
    except Exception as error:  # whatever a learner's code raises is news for the learner
        raise NotRightError(f"{given} it raised {type(error).__name__}: {error}") from None
    if got is ... or got is None:
        raise NotRightError("nothing came back; does your function end in `return`?")
    return got


@exercise("mdp/machine")
def _machine(answer: Any) -> str:
    """``(P, R)`` of the machine that wears out."""
    try:
        transition, reward = (np.asarray(part, dtype=np.float64) for part in answer)
    except (TypeError, ValueError):
        raise NotRightError("expected the pair (P, R) of arrays.") from None
    expect_close(list(transition.shape), (3, 2, 3), what="the shape of P", look="P[s, a, s']")
    expect_close(reward.shape, (3, 2), what="the shape of R", look="R[s, a]")
    try:
        TabularMDP(transition, reward)
    except CourseError as error:
        raise NotRightError(f"this is no MDP yet: {error}.") from None
    # Action by action, so that the message names what to read again.
    wears, breaks = 0.3, 0.4
    running = np.array([[1 - wears, wears, 0], [0, 1 - breaks, breaks], [0, 0, 1]])
    for state, name in enumerate(("new", "worn", "broken")):
        look = f"the sentence about running a {name} machine"
        expect_close(transition[state, 0], running[state], what=f"P[{state}, run]", look=look)
        look = "where a repair leads"
        expect_close(transition[state, 1], [1, 0, 0], what=f"P[{state}, repair]", look=look)
    expect_close(reward[:, 0], [10, 6, 0], what="R[:, run]", look="what a day of running earns")
    expect_close(reward[:, 1], [-5, -5, -5], what="R[:, repair]", look="the sign of a cost")
    return "right: six rows of physics, six numbers of purpose."


def _ruin(states: int, up: float) -> Floats:
    """The gambler's chain on ``0..states - 1``; its two ends are terminal, with rows of zeros."""
    chain = np.zeros((states, states))
    for state in range(1, states - 1):
        chain[state, state + 1], chain[state, state - 1] = up, 1 - up
    return chain


@exercise("mdp/goal-probability")
def _goal_probability(answer: Any) -> str:
    """``answer(P, goal)``: the chance of ending at ``goal`` from each state."""
    odds = 0.4 / 0.6
    powers: Floats = odds ** np.arange(7, dtype=np.float64)
    ruin: Floats = np.asarray((1 - powers) / (1 - powers[-1]), dtype=np.float64)
    fair: Floats = np.arange(5) / 4
    other: Floats = 1 - ruin
    cases: tuple[tuple[Floats, int, Floats, str], ...] = (
        (_ruin(5, 0.5), 4, fair, "a fair game: chances grow evenly, up to one at the goal itself"),
        (_ruin(7, 0.6), 6, ruin, "walks of every length: arriving may take any number of steps"),
        (_ruin(7, 0.6), 0, other, "which state is the goal: here it is the other end"),
    )
    for chain, goal, expected, look in cases:
        what = f"for a random walk over {len(chain)} states with goal {goal}"
        expect_close(_call(answer, what, chain, goal), expected, what=what, look=look)
    return "right: a probability is a value with a reward of one for arriving."


@exercise("mdp/reward")
def _reward(answer: Any) -> str:
    """Rewards under which every optimal policy takes a shortest way, never into a hole."""
    if not isinstance(answer, dict) or not set(answer) <= {"step", "goal", "hole"}:
        raise NotRightError("expected dict(step=..., goal=..., hole=...).")
    for text in DRY_MAPS:
        world = grid(text, **answer)
        try:
            values = list(policy_iteration(world, 1.0))[-1].values
        except CourseError:
            raise NotRightError(
                f"on {text} the best plan never ends: walking about pays. Look at the sign of `step`."
            ) from None
        q = q_values(world, values, 1.0)
        distance = _distances(text)
        for state in np.flatnonzero((distance > 0) & np.isfinite(distance)):
            best = np.flatnonzero(q[state] >= q[state].max() - 1e-9)
            for action in best:
                arrival = int(world.successors(int(state), int(action)).argmax())
                if distance[arrival] >= distance[state]:
                    raise NotRightError(_complaint(text, int(state), arrival, world, distance))
    return "right: now it does what you meant, and only because you said it."


def _complaint(
    text: tuple[str, ...], state: int, arrival: int, world: TabularMDP, distance: Floats
) -> str:
    where = f"on {text}, {int(distance[state])} steps from the goal,"
    if world.terminal[arrival] and distance[arrival] > 0:
        return f"{where} jumping into a hole is optimal. Look at what a long way home costs."
    return f"{where} a detour is as good as the shortest way. Look at what a detour costs."


def _distances(text: tuple[str, ...]) -> Floats:
    """Steps to the nearest goal around walls and holes, by breadth-first search; infinite in a hole."""
    cells = parse_map(text)
    distance = np.where(cells == "G", 0.0, np.inf)
    queue = deque(map(tuple, np.argwhere(cells == "G")))
    while queue:
        i, j = queue.popleft()
        for di, dj in MOVES:
            a, b = i + di, j + dj
            inside = 0 <= a < cells.shape[0] and 0 <= b < cells.shape[1]
            if inside and cells[a, b] in "S." and not np.isfinite(distance[a, b]):
                distance[a, b] = distance[i, j] + 1
                queue.append((a, b))
    return distance.ravel()


@exercise("mdp/mortal")
def _mortal(answer: Any) -> str:
    """``answer(P, r, gamma)``: an undiscounted chain with one more state and the same values."""
    loop = np.array([[0.0, 1.0], [1.0, 0.0]])
    for matrix, reward, gamma in (
        (np.ones((1, 1)), np.array([1.0]), 0.9),
        (loop, np.array([1.0, 0.0]), 0.5),
        (np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([3.0, -1.0]), 0.75),
    ):
        given = f"for P = {matrix.tolist()}, r = {reward.tolist()}, gamma = {gamma}"
        got = _call(answer, given, matrix, reward, gamma)
        try:
            world, pay = (np.asarray(part, dtype=np.float64) for part in got)
        except (TypeError, ValueError):
            raise NotRightError(f"{given} expected a pair (matrix, rewards).") from None
        states = len(reward)
        what = f"{given}, the shape of the matrix"
        expect_close(world.shape, (states + 1, states + 1), what=what, look="the one new state")
        expect_close(pay.shape, (states + 1,), what=f"{given}, the shape of the rewards")
        what = f"{given}, the sums of the rows"
        look = "where the walk goes when the coin says stop, and what the new state's row is"
        expect_close(world.sum(axis=1), [1.0] * states + [0.0], what=what, look=look)
        # Added up step by step, discounted here and undiscounted there: no solver can be singular.
        discounted, mortal = np.zeros(states), np.zeros(states + 1)
        for _ in range(400):
            discounted = reward + gamma * matrix @ discounted
            mortal = pay + world @ mortal
        look = (
            "whether the first reward is paid before the first coin, and whether stopping is final"
        )
        expect_close(mortal[:states], discounted, what=f"{given}, the values", look=look)
    return "right: a discount is a world that may end after every step."


@exercise("mdp/last-turn")
def _last_turn(answer: Any) -> str:
    """The discount at which the plan on the lake turns in cell 2, to four decimals."""
    try:
        gamma = float(answer)
    except (TypeError, ValueError):
        raise NotRightError(f"expected a number, got {type(answer).__name__}.") from None
    if not 0.95 < gamma < 0.98:
        raise NotRightError(f"{gamma:.5f} does not lie between 0.95 and 0.98.")
    lake = from_env(gym.make("FrozenLake-v1"))

    def prefers_up(discount: float) -> bool:
        q = q_values(lake, list(policy_iteration(lake, discount))[-1].values, discount)
        return bool(q[2, 3] > q[2, 0])

    if prefers_up(gamma - 1e-4):
        raise NotRightError(
            f"at {gamma - 1e-4:.5f} the plan has turned already: look further down."
        )
    if not prefers_up(gamma + 1e-4):
        raise NotRightError(f"at {gamma + 1e-4:.5f} the plan has not turned yet: look further up.")
    return "right: from here on no patience changes the plan."


@exercise("mdp/hunt-terminal")
def _hunt_terminal(answer: Any) -> str:
    """``answer(P, terminal)``: the broken chain with its terminal states repaired."""
    for states, up, end in ((5, 0.5, 0.0), (6, 0.7, 0.5)):
        terminal = np.zeros(states, dtype=bool)
        terminal[[0, -1]] = True
        broken = _ruin(states, up)
        broken[0, 0] = broken[-1, -1] = 1.0 - end
        broken[0, -1] = broken[-1, 0] = end  # what stands after an end may be anything
        given = f"for a walk over {states} states with ends 0 and {states - 1}"
        mended = np.asarray(_call(answer, given, broken, terminal), dtype=np.float64)
        expect_close(mended.shape, broken.shape, what=f"{given}, the shape")
        visits = np.zeros((states, states))
        for _ in range(3000):  # the sum of the powers: it grows for ever where nothing ends
            visits = np.eye(states) + mended @ visits
        alive = ~terminal
        inner = np.linalg.inv(np.eye(states - 2) - broken[np.ix_(alive, alive)])
        look = "what may come after an end, and the steps before it, which were right"
        expect_close(
            visits[np.ix_(alive, alive)],
            inner,
            what=f"{given}, the visits to the inner states",
            look=look,
        )
        expect_close(
            visits[np.ix_(alive, terminal)],
            inner @ broken[np.ix_(alive, terminal)],
            what=f"{given}, the arrivals at the two ends",
            look="rows and columns: the way *into* an end must stay, the way out must go",
        )
        expect_close(
            visits[terminal].sum(axis=1),
            [1.0, 1.0],
            what=f"{given}, the ticks of a clock that starts at an end",
            look="what comes after an end",
        )
    return "caught: a row of zeros is gamma * (1 - terminated) in matrix form."
