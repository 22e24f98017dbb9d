"""Small worlds in which a reward can go wrong, all of them known exactly.

``bicycle`` is paid for coming nearer, ``boat`` for passing gates, ``lock`` pays once, at the far end.
``rlcourse/Boat-v0`` and ``rlcourse/Lock-v0`` are the latter two to learn in; ``rlcourse/Shaped-v0`` is a
map with a potential on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike

from rlcourse.envs.grid import GridEnv
from rlcourse.envs.model import ModelEnv
from rlcourse.envs.shaping import PotentialShaping
from rlcourse.errors import InvalidArgumentError, check_finite, check_positive
from rlcourse.mdp import MOVES, TabularMDP, grid, parse_map

__all__ = [
    "GATES",
    "POCKET",
    "RIVER",
    "LockEnv",
    "bicycle",
    "boat",
    "boat_env",
    "lock",
    "shaped_grid",
]

FIELD, HOME, FIRST = 7, (3, 5), (5, 0)  # the bicycle's square field, its goal and where it starts
# The boat's river runs through the first row, to the right; still water leads back around the island.
RIVER = ("S.....G", "#.#.###", "#...###")
GATES = ((1, 2), (2, 3), (4, 5))  # from which cell of the river to which
# A map whose goal lies behind the wall of a pocket that opens towards the start.
POCKET = (
    ".........",
    ".######..",
    "......#..",
    "S.....#.G",
    "......#..",
    ".######..",
    ".........",
)


def bicycle(*, goal: float = 1.0, nearer: float = 0.0, further: float = 0.0) -> TabularMDP:
    """A bicycle on a field of 7 x 7 cells. It cannot stand still and it cannot turn round on the spot.

    State ``4 * cell + heading``, the cells row by row, the headings left, down, right, up; the actions
    turn left, go straight on, turn right. Each rolls one cell on, in the new heading; at the fence it only
    turns. It starts in ``(5, 0)``, heading right; the goal is the cell ``(3, 5)``.

    Args:
        goal: what arriving pays.
        nearer: what a move that shortens the way to the goal (in moves of a grid) pays besides.
        further: the same for one that lengthens it.

    >>> bicycle(nearer=0.1).reward[bicycle().start.argmax()].tolist()  # left is up here, right is down
    [0.1, 0.1, 0.0]
    """
    states = 4 * FIELD**2
    transition, reward = np.zeros((states, 3, states)), np.zeros((states, 3))
    terminal = np.zeros(states, dtype=bool)
    for state in range(states):
        cell, heading = divmod(state, 4)
        i, j = divmod(cell, FIELD)
        terminal[state] = (i, j) == HOME
        for action in range(3):
            turned = (heading + 1 - action) % 4  # in this order a turn to the left is one on
            to_i, to_j = np.clip((i, j) + MOVES[turned], 0, FIELD - 1)
            transition[state, action, 4 * (to_i * FIELD + to_j) + turned] = 1.0
            gained = _way_home(i, j) - _way_home(to_i, to_j)
            reward[state, action] = (
                goal * ((to_i, to_j) == HOME) + nearer * (gained > 0) + further * (gained < 0)
            )
    start = np.eye(states)[4 * (FIRST[0] * FIELD + FIRST[1]) + 2]
    return TabularMDP(transition, reward, terminal, start)


def _way_home(i: int, j: int) -> int:
    return abs(i - HOME[0]) + abs(j - HOME[1])


def boat(prize: float = 10.0, gate: float = 1.0) -> TabularMDP:
    """A race down a river: three gates to pass on the way, and the finish.

    Cells and moves are those of :func:`rlcourse.mdp.grid` on :data:`RIVER`, but in the river (the first
    row) nobody rows to the left, against the current. A gate pays whenever it is passed.

    Args:
        prize: what the finish pays.
        gate: what a gate pays.

    >>> boat().reward[1, 2], boat().reward[5, 2]
    (np.float64(1.0), np.float64(10.0))
    """
    calm = grid(RIVER, goal=check_finite("prize", prize))
    transition = np.array(calm.transition)
    columns = len(RIVER[0])
    transition[:columns, 0] = np.eye(calm.num_states)[:columns]
    reward = calm.reward.copy()
    for before, _ in GATES:
        reward[before, 2] += check_finite("gate", gate)
    return TabularMDP(transition, reward, calm.terminal, calm.start)


def boat_env(prize: float = 10.0, gate: float = 1.0) -> ModelEnv:
    """The race as an environment: ``rlcourse/Boat-v0``."""
    return ModelEnv(boat(prize, gate))


def lock(length: int = 10) -> TabularMDP:
    """A lock with a dial: right, left, right, left... ``length`` times; one wrong turn, and all over again.

    State ``k`` has ``k`` right turns behind it; the actions are left and right. Opening pays one and
    ends. A random walker needs ``2 ** (length + 1) - 2`` turns on average.

    >>> lock(3).transition[1].argmax(axis=1).tolist()
    [2, 0]
    """
    check_positive("length", length)
    states = length + 1
    transition, reward = np.zeros((states, 2, states)), np.zeros((states, 2))
    for k in range(length):
        wanted = (k + 1) % 2
        transition[k, wanted, k + 1] = transition[k, 1 - wanted, 0] = 1.0
    transition[length, :, length] = 1.0
    reward[length - 1, length % 2] = 1.0
    return TabularMDP(transition, reward, np.arange(states) == length, np.eye(states)[0])


class LockEnv(ModelEnv):
    """The lock, with a say in where an episode begins: ``rlcourse/Lock-v0``.

    Args:
        length: how many turns open it.
        starts: ``first`` (untouched), ``anywhere`` (any number of right turns made, evenly), or
            ``backward``: one turn before it opens, and one earlier after each episode that opened it, be it
            by way of a wrong turn and all the right ones, until it is untouched (Florensa et al. 2017, in
            its smallest form).

    >>> env = LockEnv(3, starts="backward")
    >>> env.reset()[0], env.step(1)[2], env.reset()[0]
    (2, True, 1)
    """

    def __init__(self, length: int = 10, starts: str = "first") -> None:
        if starts not in ("first", "anywhere", "backward"):
            raise InvalidArgumentError(
                f"starts = {starts!r}: must be one of first, anywhere, backward"
            )
        super().__init__(lock(length))
        self.length, self.starts = length, starts
        self.place = length - 1  # where the next episode of `backward` begins

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Begin where ``starts`` says."""
        opened = self.state == self.length
        super().reset(seed=seed, options=options)
        if self.starts == "anywhere":
            self.state = int(self.np_random.integers(self.length))
        elif self.starts == "backward":
            self.place = max(self.place - opened, 0)
            self.state = self.place
        return self.state, {}


def shaped_grid(
    text: str | Sequence[str], potential: ArrayLike, gamma: float, **options: Any
) -> PotentialShaping:
    """A map with a potential ``[S]`` on it: ``rlcourse/Shaped-v0``; ``options`` are those of the map.

    >>> env = shaped_grid("S.G", [0.0, 0.5, 1.0], gamma=1.0)
    >>> env.reset()[0], env.step(2)[:2], env.step(2)[:2]
    (0, (1, 0.5), (2, 0.5))
    """
    phi = np.asarray(potential, dtype=np.float64)
    if phi.shape != (parse_map(text).size,):
        raise InvalidArgumentError(
            f"potential of shape {phi.shape}: must be [{parse_map(text).size}], one a cell"
        )
    return PotentialShaping(GridEnv(text, **options), phi.tolist().__getitem__, gamma)


gym.register("rlcourse/Boat-v0", "rlcourse.envs.rewards:boat_env", max_episode_steps=100)
gym.register("rlcourse/Lock-v0", "rlcourse.envs.rewards:LockEnv", max_episode_steps=40)
gym.register("rlcourse/Shaped-v0", "rlcourse.envs.rewards:shaped_grid", max_episode_steps=200)
