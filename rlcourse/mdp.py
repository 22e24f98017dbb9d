r"""Markov decision processes that fit in memory, with every probability known.

A finite MDP is four things: states $0..S-1$, actions $0..A-1$, transition probabilities
$P(s' \mid s, a)$ and expected rewards $R(s, a)$. Here it also says which states are *terminal*: nothing
happens after them, so their value is zero, whatever the algorithm and whatever the discount.

The model comes from anywhere: an environment that exposes it (:func:`from_env`), a map drawn as text
(:func:`grid`), a random walk (:func:`chain`), a board game against a fixed opponent
(:func:`tic_tac_toe`), or chance (:func:`random_mdp`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import breadth_first_order
from scipy.sparse.linalg import spsolve

from rlcourse.errors import (
    ImproperPolicyError,
    InvalidArgumentError,
    NoModelError,
    check_fraction,
    check_numbers,
    check_positive,
)
from rlcourse.seeding import generator

__all__ = [
    "Floats",
    "TabularMDP",
    "board_winner",
    "chain",
    "from_env",
    "grid",
    "parse_map",
    "random_mdp",
    "shaped",
    "solve_chain",
    "tic_tac_toe",
    "tic_tac_toe_boards",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TOLERANCE = 1e-8  # how far from one a row of probabilities may sum


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """A finite Markov decision process.

    Args:
        transition: ``P[s, a, s']``, a dense array ``[S, A, S]``, or a sequence of ``A`` scipy.sparse
            matrices ``[S, S]``, one an action. Every row sums to one.
        reward: ``R[s, a]``, the expected reward, shape ``[S, A]``.
        terminal: which states end an episode, shape ``[S]``; none by default. What ``transition`` and
            ``reward`` say about a terminal state is ignored.
        start: the distribution of the first state, shape ``[S]``; by default uniform over the states
            that are not terminal.

    Raises:
        InvalidArgumentError: shapes that do not fit, negative probabilities, rows that do not sum to
            one, rewards that are not finite.

    >>> mdp = TabularMDP(np.ones((1, 2, 1)), reward=np.array([[0.0, 1.0]]))
    >>> mdp.num_states, mdp.num_actions
    (1, 2)
    """

    transition: NDArray[np.float64] | Sequence[Any]
    reward: Floats
    terminal: Bools = field(default_factory=lambda: np.zeros(0, dtype=bool))
    start: Floats = field(default_factory=lambda: np.zeros(0))

    # Where algorithms work: P stacked action by action into one matrix [A * S, S] in which the rows of
    # terminal states are zero. One product with it backs up every state and action at once, and the
    # zero rows are `discount = gamma * (1 - terminated)` in matrix form.
    rows: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        reward = check_numbers("reward", self.reward)
        if reward.ndim != 2 or reward.size == 0:
            raise InvalidArgumentError(f"reward of shape {reward.shape}: must be [states, actions]")
        states, actions = reward.shape
        rows = _stacked(self.transition, states, actions)
        _check_rows(rows, states)
        terminal = np.array(self.terminal, dtype=bool)
        terminal = terminal if terminal.size else np.zeros(states, dtype=bool)
        if terminal.shape != (states,):
            raise InvalidArgumentError(f"terminal of shape {terminal.shape}: must be [{states}]")
        reward[terminal] = 0.0
        if not np.isfinite(reward).all():
            s, a = np.argwhere(~np.isfinite(reward))[0]
            raise InvalidArgumentError(f"reward[{s}, {a}] = {reward[s, a]}: must be finite")
        keep = np.tile(~terminal, actions).astype(np.float64)
        rows = _narrow(sp.diags_array(keep) @ rows) if _sparse(rows) else keep[:, None] * rows
        object.__setattr__(self, "rows", rows)
        # Column by column, like the products of `rows`: sums of the two then run through memory once.
        object.__setattr__(self, "reward", np.asfortranarray(reward))
        object.__setattr__(self, "terminal", terminal)
        object.__setattr__(self, "start", _distribution(self.start, terminal))

    @property
    def num_states(self) -> int:
        """How many states there are, terminal ones included."""
        return int(self.reward.shape[0])

    @property
    def num_actions(self) -> int:
        """How many actions there are, the same in every state."""
        return int(self.reward.shape[1])

    @property
    def is_sparse(self) -> bool:
        """Whether the transition probabilities are stored as a sparse matrix."""
        return _sparse(self.rows)

    def successors(self, state: int, action: int) -> Floats:
        """``P[state, action, :]``, shape ``[S]``; all zero when ``state`` is terminal."""
        row = self.rows[[action * self.num_states + state]]
        found: Floats = np.asarray(row.toarray() if _sparse(row) else row, dtype=np.float64)
        return found.ravel()

    def expected_next(self, values: ArrayLike) -> Floats:
        """The expected value of the next state after every state and action: ``[S] -> [S, A]``.

        A terminal next state counts with the value that ``values`` gives it: keep that at zero.
        """
        product = self.rows @ np.asarray(values, dtype=np.float64)
        return np.asarray(product).reshape(self.num_actions, self.num_states).T

    def policy_probabilities(self, policy: ArrayLike) -> Floats:
        """A policy as probabilities ``[S, A]``, from those or from one action a state ``[S]``."""
        given = np.asarray(policy)
        states, actions = self.reward.shape
        if self._names_actions(given):
            chosen: Floats = np.eye(actions)[given]
            return chosen
        probabilities = check_numbers("policy", policy)
        if probabilities.shape != (states, actions):
            raise InvalidArgumentError(
                f"policy of shape {given.shape}: must be integers [{states}] or "
                f"probabilities [{states}, {actions}]"
            )
        fine = (probabilities >= 0).all(1) & (np.abs(probabilities.sum(1) - 1) <= TOLERANCE)
        if not fine.all():  # nan is not fine either
            s = int(np.flatnonzero(~fine)[0])
            raise InvalidArgumentError(
                f"policy[{s}] = {probabilities[s]}: must be non-negative and sum to one"
            )
        return probabilities

    def _names_actions(self, policy: NDArray[Any]) -> bool:
        """Whether a policy is one action a state ``[S]``; an action that does not exist raises."""
        if policy.shape != (self.num_states,) or not np.issubdtype(policy.dtype, np.integer):
            return False
        if policy.min() < 0 or policy.max() >= self.num_actions:
            s = int(np.flatnonzero((policy < 0) | (policy >= self.num_actions))[0])
            raise InvalidArgumentError(
                f"policy[{s}] = {policy[s]}: actions must be in 0..{self.num_actions - 1}"
            )
        return True

    def under(self, policy: ArrayLike) -> tuple[Any, Floats]:
        """The Markov chain that a policy makes of this MDP: ``P_pi [S, S]`` and ``r_pi [S]``."""
        states, actions = self.reward.shape
        given = np.asarray(policy)
        if self._names_actions(given):  # one row a state: pick it, far cheaper than mixing
            chosen = given * states + np.arange(states)
            return self.rows[chosen], self.reward.ravel(order="K")[chosen]
        weights = self.policy_probabilities(given)
        if not self.is_sparse:
            dense = self.rows.reshape(actions, states, states)
            return np.einsum("sa,ast->st", weights, dense), (weights * self.reward).sum(1)
        mixed = sum(
            sp.diags_array(weights[:, a]) @ self.rows[a * states : (a + 1) * states]
            for a in range(actions)
        )
        return sp.csr_array(mixed), (weights * self.reward).sum(1)

    def can_terminate(self, policy: ArrayLike | None = None) -> Bools:
        """From which states a terminal one can be reached, shape ``[S]``.

        By any actions, or by those of ``policy``. A policy under which every state can terminate is
        *proper*: it ends with probability one, and undiscounted values exist.
        """
        matrix = self.rows if policy is None else self.under(policy)[0]
        graph: Any = sp.csr_array(matrix)
        graph.data = (graph.data > 0).astype(np.float64)
        graph.eliminate_zeros()
        states = self.num_states
        if policy is None:
            blocks: list[Any] = [
                graph[a * states : (a + 1) * states] for a in range(self.num_actions)
            ]
            graph = sp.csr_array(sum(blocks[1:], start=blocks[0]))
        # One extra node behind all terminal states, edges reversed: what it reaches can terminate.
        ends = sp.csr_array(self.terminal[None, :].astype(np.float64))
        corner: Any = sp.csr_array((1, 1))
        reversed_graph: Any = sp.block_array([[graph.T, None], [ends, corner]], format="csr")
        reached = breadth_first_order(reversed_graph, states, return_predecessors=False)
        found = np.zeros(states + 1, dtype=bool)
        found[reached] = True
        return found[:states]

    def require_proper(self, policy: ArrayLike | None = None) -> None:
        """Raise :class:`ImproperPolicyError` unless every state can terminate (under ``policy``)."""
        stuck = np.flatnonzero(~self.can_terminate(policy))
        if stuck.size:
            whose = "any policy" if policy is None else "this policy"
            raise ImproperPolicyError(
                f"gamma = 1: state {stuck[0]} never reaches a terminal state under {whose}; "
                "use gamma < 1, a finite horizon, or a policy that ends"
            )


def solve_chain(transition: Any, reward: Floats, gamma: float) -> Floats:
    """The solution ``v [S]`` of ``v = reward + gamma * transition @ v``, dense or sparse."""
    if _sparse(transition):
        system = sp.eye_array(reward.size, format="csc") - gamma * transition.tocsc()
        return np.asarray(spsolve(sp.csc_matrix(system), reward))
    return np.asarray(np.linalg.solve(np.eye(reward.size) - gamma * transition, reward))


def _sparse(matrix: Any) -> bool:
    return bool(sp.issparse(matrix))


def _narrow(matrix: Any) -> Any:
    """A csr matrix with 32-bit indices where they fit: products are bound by what they must read."""
    rows = sp.csr_array(matrix)
    rows.sum_duplicates()
    if max(rows.nnz, *rows.shape) < 2**31:
        rows.indices, rows.indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    return rows


def _stacked(transition: Any, states: int, actions: int) -> Any:
    listed = isinstance(transition, list | tuple)
    if not (listed and any(_sparse(matrix) for matrix in transition)):
        if _sparse(transition):
            raise InvalidArgumentError(
                f"transition: one sparse matrix {transition.shape}: must be a list of {actions} "
                f"matrices [{states}, {states}], one an action"
            )
        dense = check_numbers("transition", transition)
        if dense.shape != (states, actions, states):
            raise InvalidArgumentError(
                f"transition of shape {dense.shape}: must be [{states}, {actions}, {states}] "
                "to fit the rewards"
            )
        return np.ascontiguousarray(dense.transpose(1, 0, 2)).reshape(actions * states, states)
    shapes = [getattr(matrix, "shape", None) for matrix in transition]
    if shapes != [(states, states)] * actions:
        raise InvalidArgumentError(
            f"transition: {len(shapes)} matrices of shapes {shapes[:4]}: must be {actions} sparse "
            f"matrices [{states}, {states}], one an action"
        )
    return sp.csr_array(sp.vstack([sp.csr_array(matrix) for matrix in transition], format="csr"))


def _check_rows(rows: Any, states: int) -> None:
    data = rows.data if _sparse(rows) else rows
    if data.size and not (np.isfinite(data).all() and data.min() >= 0):
        entries = sp.coo_array(rows)
        k = int(np.flatnonzero(~(np.isfinite(entries.data) & (entries.data >= 0)))[0])
        row, next_state = (int(index[k]) for index in entries.coords)
        raise InvalidArgumentError(
            f"transition[{row % states}, {row // states}, {next_state}] = {entries.data[k]}: "
            "probabilities must be finite and not negative"
        )
    sums = np.asarray(rows.sum(axis=1)).ravel()
    wrong = np.flatnonzero(np.abs(sums - 1) > TOLERANCE)
    if wrong.size:
        action, state = divmod(int(wrong[0]), states)
        raise InvalidArgumentError(
            f"transition[{state}, {action}] sums to {sums[wrong[0]]:.6g}: must sum to one"
        )


def _distribution(start: ArrayLike, terminal: Bools) -> Floats:
    given = check_numbers("start", start)
    if given.size == 0:
        alive = (~terminal if not terminal.all() else np.ones_like(terminal)).astype(np.float64)
        uniform: Floats = alive / alive.sum()
        return uniform
    if given.shape != terminal.shape:
        raise InvalidArgumentError(f"start of shape {given.shape}: must be [{terminal.size}]")
    if not ((given >= 0).all() and abs(given.sum() - 1) <= TOLERANCE):
        raise InvalidArgumentError(
            f"start sums to {given.sum():.6g}, least {given.min():.6g}: must be non-negative and "
            "sum to one"
        )
    return given


# --- models from elsewhere -----------------------------------------------------------------------


def from_env(env: gym.Env[Any, Any]) -> TabularMDP:
    """The model of an environment that exposes one: ours, and Gymnasium's toy-text family by its ``P``.

    Gymnasium marks *transitions* as terminated, a model marks *states*. Where the two agree the states
    keep their numbers and nothing is added. Where a state is entered both ways (Taxi-v4: driving
    onto the passenger's goal, and setting the passenger down there) terminating transitions lead to
    one extra absorbing state, the last.

    >>> from_env(gym.make("FrozenLake-v1")).num_states
    16

    Raises:
        NoModelError: the environment has no table ``P``.
    """
    own = getattr(env.unwrapped, "mdp", None)
    if isinstance(own, TabularMDP):
        return own
    model = getattr(env.unwrapped, "P", None)
    if not isinstance(model, Mapping):
        name = env.spec.id if env.spec else type(env.unwrapped).__name__
        raise NoModelError(
            f"env = {name}: exposes no transition table `P`; use an environment with a model "
            "(FrozenLake-v1, Taxi-v4, CliffWalking-v1, rlcourse/Grid-v0) or learn from samples"
        )
    states, actions = len(model), len(model[0])
    flat = [
        (int(s), int(a), float(p), int(next_s), float(r), bool(end))
        for s in model
        for a in model[s]
        for p, next_s, r, end in model[s][a]
    ]
    s, a, p, next_s, r, end = (np.array(column) for column in zip(*flat, strict=True))
    terminal = np.zeros(states, dtype=bool)
    terminal[next_s[end]] = True
    if (terminal[next_s] & ~end & ~terminal[s]).any():
        terminal = np.arange(states + 1) == states
        next_s = np.where(end, states, next_s)
    total = terminal.size
    reward = np.zeros((total, actions))
    np.add.at(reward, (s, a), p * r)
    transition = np.zeros((total, actions, total))
    np.add.at(transition, (s, a, next_s), p)
    transition[terminal] = np.eye(total)[terminal][:, None, :]
    start = np.zeros(total)
    given = getattr(env.unwrapped, "initial_state_distrib", None)
    start[:states] = np.full(states, 1 / states) if given is None else given
    return TabularMDP(transition, reward, terminal, start)


MAP_LEGEND = "S start, G goal, H hole, # wall, . free"
# The moves of Gymnasium's FrozenLake, in its order: left, down, right, up.
MOVES = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])


def parse_map(text: str | Sequence[str]) -> NDArray[np.str_]:
    """A map drawn as text -> single characters ``[rows, columns]``. ``F`` also means free.

    >>> parse_map("S.G").tolist()
    [['S', '.', 'G']]

    Raises:
        InvalidArgumentError: rows of different length, an unknown character, no start or no goal.
    """
    lines = text.strip().splitlines() if isinstance(text, str) else list(text)
    lines = [line.strip().replace("F", ".") for line in lines]
    lengths = [len(line) for line in lines]
    if len(set(lengths)) != 1 or not lengths[0]:
        raise InvalidArgumentError(
            f"map: rows of lengths {lengths}: must be of one length, not empty"
        )
    cells = np.array([list(line) for line in lines])
    unknown = sorted(set(cells.ravel().tolist()) - set("SGH#."))
    if unknown:
        raise InvalidArgumentError(f"map: unknown {unknown}; the legend is {MAP_LEGEND}")
    for symbol, name in (("S", "start"), ("G", "goal")):
        if symbol not in cells:
            raise InvalidArgumentError(f"map: no {name}; draw at least one {symbol} ({MAP_LEGEND})")
    return cells


def grid(
    text: str | Sequence[str],
    *,
    slip: float = 0.0,
    goal: float = 1.0,
    hole: float = 0.0,
    step: float = 0.0,
) -> TabularMDP:
    r"""A grid world from a map: cell ``(i, j)`` is state ``i * columns + j``.

    The actions are left, down, right, up. With probability ``slip`` the move goes sideways, half of
    the time to either side (``slip = 2/3`` is FrozenLake's ice). Walls and the border leave the agent
    where it is. Arriving on a goal or in a hole ends the episode and pays ``goal`` or ``hole``
    besides the ``step`` that every move pays. Large maps become sparse models.

    >>> grid("S.G").reward[1].tolist()
    [0.0, 0.0, 1.0, 0.0]

    Raises:
        InvalidArgumentError: a map that :func:`parse_map` refuses, or ``slip`` outside [0, 1].
    """
    cells = parse_map(text)
    check_fraction("slip", slip)
    rows, columns = cells.shape
    states, actions = cells.size, len(MOVES)
    flat = cells.ravel()
    i, j = np.divmod(np.arange(states), columns)
    targets = np.empty((actions, states), dtype=np.int64)
    for move, (di, dj) in enumerate(MOVES):
        target = np.clip(i + di, 0, rows - 1) * columns + np.clip(j + dj, 0, columns - 1)
        targets[move] = np.where(flat[target] == "#", np.arange(states), target)
    arrival = step + np.where(flat == "G", goal, 0.0) + np.where(flat == "H", hole, 0.0)
    terminal = np.isin(flat, ["G", "H", "#"])
    matrices, reward = [], np.empty((states, actions))
    for action in range(actions):
        # The moves at a right angle are the neighbours in the order left, down, right, up.
        chances = {action: 1.0 - slip, (action + 1) % 4: slip / 2, (action + 3) % 4: slip / 2}
        moves = [move for move, chance in chances.items() if chance > 0]
        matrix = sp.coo_array(
            (
                np.repeat([chances[move] for move in moves], states),
                (np.tile(np.arange(states), len(moves)), targets[moves].ravel()),
            ),
            shape=(states, states),
        ).tocsr()
        matrices.append(matrix)
        reward[:, action] = matrix @ arrival
    start = (flat == "S") / (flat == "S").sum()
    dense = states <= 1000
    transition = np.stack([matrix.toarray() for matrix in matrices], axis=1) if dense else matrices
    return TabularMDP(transition, reward, terminal, start)


def chain(length: int = 5) -> TabularMDP:
    """The random walk of textbooks: ``length`` states in a row between two ends, right pays one.

    States ``1..length`` are the row, ``0`` and ``length + 1`` are the terminal ends. Actions are left
    and right; the walk starts in the middle. Under the uniform policy the value of state ``i`` is
    ``i / (length + 1)``.

    >>> chain(5).start.argmax()
    np.int64(3)
    """
    check_positive("length", length)
    states = length + 2
    transition = np.zeros((states, 2, states))
    reward = np.zeros((states, 2))
    for s in range(1, length + 1):
        transition[s, 0, s - 1] = transition[s, 1, s + 1] = 1.0
    transition[0, :, 0] = transition[-1, :, -1] = 1.0
    reward[length, 1] = 1.0
    terminal = np.isin(np.arange(states), [0, states - 1])
    start = np.eye(states)[(length + 1) // 2]
    return TabularMDP(transition, reward, terminal, start)


def random_mdp(
    states: int, actions: int, *, seed: int, branching: int | None = None, sparse: bool = False
) -> TabularMDP:
    """An MDP drawn at random: Dirichlet rows over ``branching`` successors, normal rewards.

    Source: Garnet problems (Archibald et al. 1995), with Dirichlet instead of broken-stick weights.

    >>> random_mdp(3, 2, seed=0).num_states
    3
    """
    check_positive("states", states)
    check_positive("actions", actions)
    branching = states if branching is None else check_positive("branching", branching)
    if branching > states:
        raise InvalidArgumentError(f"branching = {branching}: must be at most states = {states}")
    rng = generator(seed)
    weights = rng.dirichlet(np.ones(branching), size=(states, actions))
    successors = np.argsort(rng.random((states, actions, states)), axis=2)[:, :, :branching]
    dense = np.zeros((states, actions, states))
    np.put_along_axis(dense, successors, weights, axis=2)
    transition = [sp.csr_array(dense[:, a]) for a in range(actions)] if sparse else dense
    return TabularMDP(transition, rng.normal(size=(states, actions)))


def shaped(mdp: TabularMDP, potential: ArrayLike, gamma: float) -> TabularMDP:
    r"""The same world, paid $\gamma\,\Phi(S') - \Phi(S)$ more for every step: its optimum stays (Ng et al. 1999).

    Args:
        mdp: the world.
        potential: $\Phi$, shape ``[S]``. At a terminal state it counts as zero, whatever stands there: a
            potential that an end could keep would be a prize for ending.
        gamma: the discount under which the world is solved; another one makes a bonus of its own.

    Raises:
        InvalidArgumentError: a potential that is not finite ``[S]``, or ``gamma`` outside [0, 1].

    >>> shaped(grid("S.G"), [0.0, 0.5, 7.0], gamma=0.9).reward[:, 2].round(2).tolist()
    [0.45, 0.5, 0.0]
    """
    check_fraction("gamma", gamma)
    given = check_numbers("potential", potential)
    if given.shape != (mdp.num_states,) or not np.isfinite(given).all():
        raise InvalidArgumentError(
            f"potential of shape {given.shape}: must be finite [{mdp.num_states}]"
        )
    phi = np.where(mdp.terminal, 0.0, given)
    bonus = mdp.expected_next(gamma * phi) - phi[:, None]
    return replace(mdp, reward=mdp.reward + bonus)


# --- tic-tac-toe against a fixed opponent ---------------------------------------------------------

# Nine cells, row by row: 1 the agent (X, first to move), -1 the opponent, 0 free.
Board = tuple[int, ...]
LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


def board_winner(board: Board) -> int:
    """1 or -1 when that side has three in a line, else 0.

    >>> board_winner((1, 1, 1, -1, -1, 0, 0, 0, 0))
    1
    """
    for a, b, c in LINES:
        if board[a] != 0 and board[a] == board[b] == board[c]:
            return board[a]
    return 0


def _uniform_opponent(board: Board) -> Mapping[int, float]:
    free = [cell for cell in range(9) if board[cell] == 0]
    return {cell: 1 / len(free) for cell in free}


def _place(board: Board, cell: int, mark: int) -> Board:
    return (*board[:cell], mark, *board[cell + 1 :])


@cache
def tic_tac_toe_boards() -> tuple[Board, ...]:
    """Every position in which the agent is to move; the position's index is its state.

    >>> len(tic_tac_toe_boards())
    2423
    """
    found: dict[Board, None] = {}
    stack: list[Board] = [(0,) * 9]
    while stack:
        board = stack.pop()
        if board in found:
            continue
        found[board] = None
        for cell in range(9):
            after = _place(board, cell, 1) if board[cell] == 0 else None
            if after and not board_winner(after) and 0 in after:
                replies = (_place(after, reply, -1) for reply in range(9) if after[reply] == 0)
                stack.extend(reply for reply in replies if not board_winner(reply))
    return tuple(sorted(found))


def tic_tac_toe(
    opponent: Callable[[Board], Mapping[int, float]] = _uniform_opponent,
) -> TabularMDP:
    """Tic-tac-toe as an MDP. Against a *fixed* opponent only: two learners are a game, not an MDP.

    The agent plays X and moves first. An action is a cell, 0..8; taking an occupied cell forfeits.
    The reward is 1 for a win, -1 for a loss or a forfeit, 0 otherwise. The last state is the end.

    Args:
        opponent: the opponent's policy: a board -> probabilities of cells; by default uniform.

    >>> tic_tac_toe().num_states
    2424
    """
    boards = tic_tac_toe_boards()
    index = {board: state for state, board in enumerate(boards)}
    end = len(boards)
    reward = np.zeros((end + 1, 9))
    entries: list[list[tuple[int, int, float]]] = [[(end, end, 1.0)] for _ in range(9)]
    for state, board in enumerate(boards):
        for cell in range(9):
            if board[cell] != 0:
                reward[state, cell] = -1.0
                entries[cell].append((state, end, 1.0))
                continue
            after = _place(board, cell, 1)
            if board_winner(after) or 0 not in after:
                reward[state, cell] = float(board_winner(after))
                entries[cell].append((state, end, 1.0))
                continue
            for reply, probability in opponent(after).items():
                if reply not in range(9) or after[reply] != 0:
                    raise InvalidArgumentError(
                        f"opponent: played cell {reply} on {after}: must be a free one of 0..8"
                    )
                answer = _place(after, reply, -1)
                lost = board_winner(answer) == -1
                reward[state, cell] -= probability * lost
                entries[cell].append((state, end if lost else index[answer], probability))
    matrices = []
    for rows in entries:
        s, next_s, p = (np.array(column) for column in zip(*rows, strict=True))
        matrices.append(sp.coo_array((p, (s, next_s)), shape=(end + 1, end + 1)).tocsr())
    terminal = np.arange(end + 1) == end
    start = np.arange(end + 1) == index[(0,) * 9]
    return TabularMDP(matrices, reward, terminal, start.astype(np.float64))
