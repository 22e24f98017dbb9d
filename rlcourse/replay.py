r"""Replay: a ring of transitions, drawn from uniformly or by priority, with n-step returns.

Papers: Lin 1992 (experience replay); Schaul et al. 2016 (prioritised replay, the proportional variant).
The ring is a handful of arrays made once; rows of several environments lie side by side, so that the
next row of the same environment is ``num_envs`` further on. A row holds the *true* successor, which
costs a second copy of every observation and saves every special case.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Space
from numpy.typing import ArrayLike, NDArray

from rlcourse.envs.vector import Step
from rlcourse.errors import (
    InvalidArgumentError,
    check_fraction,
    check_multiple,
    check_not_negative,
    check_positive,
)
from rlcourse.mdp import Floats, Ints

__all__ = ["Batch", "PrioritizedReplay", "SumTree", "UniformReplay", "VectorActionReplay"]


class Batch(NamedTuple):
    """``B`` transitions, ready for a loss: every field is an array (or a tensor) ``[B, ...]``."""

    obs: Any
    action: Any  # whole numbers
    reward: Any  # the discounted sum of up to n rewards
    discount: Any  # gamma ** (rewards summed), or zero at a true end
    next_obs: Any  # where the last of those rewards led
    weight: Any  # importance-sampling weights, at most one
    index: Any  # the rows in the ring, for their priorities


class UniformReplay:
    """The last ``capacity`` transitions, every one as likely as any other.

    Args:
        capacity: transitions kept; a multiple of ``num_envs``.
        space: one observation's; its type says how it is stored: a byte a pixel, four a float.
        num_envs: environments that write side by side.
        gamma: the discount of one step.
        n: rewards summed in one target. A window shrinks at an episode's end and at the newest row.
        rng: what the rows are drawn with.

    >>> from gymnasium.spaces import Discrete
    >>> replay = UniformReplay(4, Discrete(9), gamma=0.5, rng=np.random.default_rng(0))
    >>> cut, end = np.array([False]), np.array([True])
    >>> for s in range(3):
    ...     replay.add(Step(np.array([s]), np.array([0]), np.ones(1), cut, cut, np.array([s + 1])))
    >>> len(replay), replay.nbytes  # two observations, an action, a reward and two flags a row
    (3, 120)
    >>> sorted(set(replay.sample(100).obs.tolist()))
    [0, 1, 2]
    """

    kept: tuple[str, ...] = (
        *("obs", "next_obs", "action", "reward", "terminated", "boundary"),
        *("added", "rng"),
    )

    def __init__(
        self,
        capacity: int,
        space: Space[Any],
        *,
        num_envs: int = 1,
        gamma: float = 0.99,
        n: int = 1,
        rng: np.random.Generator,
    ) -> None:
        capacity = self.capacity = check_multiple("capacity", capacity, "num_envs", num_envs)
        self.num_envs, self.n = check_positive("num_envs", num_envs), check_positive("n", n)
        self.gamma, self.rng = check_fraction("gamma", gamma), rng
        if space.shape is None or space.dtype is None:
            raise InvalidArgumentError(f"space = {space}: must be of arrays of one shape and type")
        self.obs = np.zeros((capacity, *space.shape), space.dtype)
        self.next_obs = np.zeros_like(self.obs)
        self.action = np.zeros(capacity, np.int64)
        self.reward = np.zeros(capacity, np.float32)
        self.terminated = np.zeros(capacity, bool)
        self.boundary = np.zeros(capacity, bool)
        self.added = 0  # rows ever written

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @property
    def nbytes(self) -> int:
        """Bytes of memory taken, all of it from the start."""
        return sum(array.nbytes for array in vars(self).values() if isinstance(array, np.ndarray))

    def add(self, step: Step) -> None:
        """Copy one transition of each environment into the ring, over the oldest."""
        wanted = (self.num_envs, *self.obs.shape[1:])
        if np.shape(step.obs) != wanted or np.shape(step.next_obs) != wanted:
            raise InvalidArgumentError(f"step.obs of shape {np.shape(step.obs)}: must be {wanted}")
        rows = slice(self.added % self.capacity, self.added % self.capacity + self.num_envs)
        self.obs[rows] = step.obs
        self.next_obs[rows] = step.next_obs
        self.action[rows] = step.action
        self.reward[rows] = step.reward
        self.terminated[rows] = step.terminated
        self.boundary[rows] = step.boundary
        self.added += self.num_envs

    def cut(self) -> None:
        """Say that the newest rows have no continuation: the environments start afresh."""
        self.boundary[np.arange(self.added - self.num_envs, self.added) % self.capacity] = True

    def sample(self, batch_size: int) -> Batch:
        """Draw transitions uniformly, with replacement.

        Raises:
            InvalidArgumentError: nothing has been added yet.
        """
        self._require_rows(batch_size)
        index = self.rng.integers(len(self), size=batch_size)
        return self._batch(index, np.ones(batch_size, np.float32))

    def _batch(self, index: Ints, weight: NDArray[np.float32]) -> Batch:
        """Sum rewards forward from each row until n are summed, the episode ends or time does."""
        reward, discount = self.reward[index], np.full(len(index), self.gamma, np.float32)
        last = index
        for _ in range(self.n - 1):
            # ``added`` rows ago the ring was empty: the newest row of each environment has no next.
            newest = (self.added - 1 - last) % self.capacity < self.num_envs
            going = ~(self.boundary[last] | newest)
            last = np.where(going, (last + self.num_envs) % self.capacity, last)
            reward += going * discount * self.reward[last]
            discount *= np.where(going, np.float32(self.gamma), np.float32(1))
        discount *= ~self.terminated[last]
        return Batch(
            self.obs[index],
            self.action[index],
            reward,
            discount,
            self.next_obs[last],
            weight,
            index,
        )

    def _require_rows(self, batch_size: int) -> None:
        check_positive("batch_size", batch_size)
        if not self.added:
            raise InvalidArgumentError("sample from an empty replay: add a transition first")


class VectorActionReplay(UniformReplay):
    """The same for actions that are vectors.

    Args:
        capacity: transitions kept; a multiple of ``num_envs``.
        space: one observation's.
        actions: one action's.
        options: as for :class:`UniformReplay`.
    """

    def __init__(
        self, capacity: int, space: Space[Any], actions: Space[Any], **options: Any
    ) -> None:
        super().__init__(capacity, space, **options)
        self.action = np.zeros((self.capacity, *(actions.shape or ())), actions.dtype)


class SumTree:
    """Priorities as the leaves of a binary tree whose every node is the sum of its children.

    Drawing a leaf in proportion to its priority, and changing one, take ``log2(capacity)`` steps
    (Schaul et al. 2016, appendix B.2.1). All methods take many leaves at once.

    >>> tree = SumTree(4)
    >>> tree.set(np.array([0, 2]), np.array([1.0, 3.0]))
    >>> tree.total, tree.find(np.array([0.5, 1.5, 3.9])).tolist()
    (4.0, [0, 2, 2])
    """

    kept = ("nodes",)

    def __init__(self, capacity: int) -> None:
        self.first_leaf = 1 << (check_positive("capacity", capacity) - 1).bit_length()
        self.nodes = np.zeros(2 * self.first_leaf)

    @property
    def total(self) -> float:
        """The sum of all priorities."""
        return float(self.nodes[1])

    def get(self, index: Ints) -> Floats:
        """The priorities of some leaves."""
        leaves: Floats = self.nodes[self.first_leaf + index]
        return leaves

    def set(self, index: Ints, priority: ArrayLike) -> None:
        """Change priorities; the sums above are computed anew, so rounding never piles up."""
        node = self.first_leaf + index
        self.nodes[node] = priority
        for _ in range(self.first_leaf.bit_length() - 1):
            node = node >> 1
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1]

    def find(self, mass: Floats) -> Ints:
        """The leaves at which the running sum of priorities passes each ``mass``."""
        node, mass = np.ones(len(mass), np.int64), mass.copy()
        for _ in range(self.first_leaf.bit_length() - 1):
            node = 2 * node
            left = self.nodes[node]
            # Rounding may leave a mass beyond the last leaf: never step into an empty branch.
            right = (mass >= left) & (self.nodes[node + 1] > 0)
            mass = np.where(right, mass - left, mass)
            node = node + right
        return node - self.first_leaf


class PrioritizedReplay(UniformReplay):
    r"""Draws row :math:`i` with probability :math:`P(i) = p_i^\alpha / \sum_k p_k^\alpha`.

    A new row gets the largest priority in the ring, so that every transition is seen soon; after an
    update its priority is the size of its TD error. ``weight`` undoes the bias of the drawing:
    :math:`w_i = (N P(i))^{-\beta} / \max_j w_j`, the largest of the batch (the paper's equation 1 and
    section 3.4).

    Args:
        alpha: 0 draws uniformly, 1 in proportion to the error.
        floor: what is added to an error, so that no row is lost for ever.
        options: as for :class:`UniformReplay`.
    """

    kept = (*UniformReplay.kept, "tree", "largest")

    def __init__(self, *args: Any, alpha: float = 0.6, floor: float = 1e-6, **options: Any) -> None:
        super().__init__(*args, **options)
        self.alpha, self.floor = check_fraction("alpha", alpha), check_not_negative("floor", floor)
        self.tree = SumTree(self.capacity)
        self.largest = 1.0  # p ** alpha of a new row

    @property
    def nbytes(self) -> int:
        """Bytes of memory taken, the tree included."""
        return super().nbytes + self.tree.nodes.nbytes

    def add(self, step: Step) -> None:
        """Copy one transition of each environment into the ring, at the largest priority there."""
        rows = np.arange(self.added, self.added + self.num_envs) % self.capacity
        super().add(step)
        self.tree.set(rows, self.largest)

    def sample(self, batch_size: int, beta: float = 1.0) -> Batch:
        """Draw in proportion to the priorities, one row from each of ``batch_size`` equal shares."""
        self._require_rows(batch_size)
        shares = (np.arange(batch_size) + self.rng.random(batch_size)) / batch_size
        index = self.tree.find(shares * self.tree.total)
        probability = self.tree.get(index) / self.tree.total
        weight = (len(self) * probability) ** -check_fraction("beta", beta)
        return self._batch(index, (weight / weight.max()).astype(np.float32))

    def prioritize(self, index: Ints, errors: ArrayLike) -> None:
        """Give the rows of a batch the size of their errors as priorities."""
        priority = (np.abs(errors) + self.floor) ** self.alpha
        if not np.isfinite(priority).all():
            raise InvalidArgumentError(f"errors = {errors!r}: must be finite")
        self.tree.set(index, priority)
        first = self.tree.first_leaf
        self.largest = float(self.tree.nodes[first : first + len(self)].max())
