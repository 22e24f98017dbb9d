r"""Dynamic programming: values from a known model.

Papers: Bellman 1957 (value iteration), Howard 1960 (policy iteration), Puterman & Shin 1978 (modified policy
iteration). With $T_\pi$ and $T$ the Bellman operators of a policy and of optimality,

.. math::
    (T_\pi v)(s) &= \sum_a \pi(a \mid s) \Bigl[ R(s,a) + \gamma \sum_{s'} P(s' \mid s,a)\, v(s') \Bigr] \\
    (T v)(s) &= \max_a \Bigl[ R(s,a) + \gamma \sum_{s'} P(s' \mid s,a)\, v(s') \Bigr]

Every algorithm is a *stream* of improving value functions; when to stop is a separate word, :func:`converged`.
Each :class:`Sweep` carries proven bounds: if $d = T v - v$ then, state by state,

.. math:: T v + \tfrac{\gamma}{1-\gamma} \min_s d(s) \;\le\; v_* \;\le\; T v + \tfrac{\gamma}{1-\gamma} \max_s d(s)

(MacQueen 1966; with terminal states, whose $d$ is zero, it holds unchanged).

Deviations: Howard's improvement keeps the old action unless another is better by more than rounding error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rlcourse.errors import InvalidArgumentError, check_fraction, check_numbers, check_positive
from rlcourse.mdp import Bools, Floats, Ints, TabularMDP, solve_chain

__all__ = [
    "PolicyStep",
    "Sweep",
    "converged",
    "evaluate",
    "finite_horizon",
    "greedy",
    "modified_policy_iteration",
    "policy_evaluation",
    "policy_iteration",
    "q_values",
    "value_iteration",
]


@dataclass(frozen=True, eq=False)
class Sweep:
    """One value function ``[S]`` of a stream: ``values + low <= fixed point <= values + high`` in every state."""

    values: Floats
    low: float
    high: float
    terminal: Bools

    @property
    def error(self) -> float:
        """How far ``values`` can be from the fixed point in any state."""
        return max(-self.low, self.high)


class PolicyStep(NamedTuple):
    """A policy ``[S]`` and its own exact values ``[S]``."""

    policy: Ints
    values: Floats


# --- the equations --------------------------------------------------------------------------------


def q_values(mdp: TabularMDP, values: ArrayLike, gamma: float) -> Floats:
    r"""$Q(s,a) = R(s,a) + \gamma \sum_{s'} P(s' \mid s,a)\, v(s')$, shape ``[S, A]``.

    >>> from rlcourse.mdp import chain
    >>> q_values(chain(1), [0.0, 0.0, 0.0], gamma=1.0)[1]
    array([0., 1.])
    """
    q = mdp.expected_next(gamma * np.asarray(values))  # a vector is cheaper to scale than a table
    q += mdp.reward
    return q


def greedy(q: ArrayLike) -> Ints:
    """The first of the best actions in each state: ``[S, A] -> [S]``."""
    best: Ints = np.asarray(q).argmax(axis=1)
    return best


# --- the streams ----------------------------------------------------------------------------------


def value_iteration(
    mdp: TabularMDP, gamma: float, initial: ArrayLike | None = None
) -> Iterator[Sweep]:
    """Apply the optimality operator again and again; the error shrinks by ``gamma`` each time.

    >>> from rlcourse.mdp import grid
    >>> converged(value_iteration(grid("S.G"), gamma=0.5), 1e-9).round(3)
    array([0.5, 1. , 0. ])
    """
    check_fraction("gamma", gamma)
    values = _initial(mdp, initial)
    while True:
        backed_up = q_values(mdp, values, gamma).max(axis=1)
        yield _sweep(mdp, values, backed_up, _tail(gamma))
        values = backed_up


def policy_evaluation(
    mdp: TabularMDP, policy: ArrayLike, gamma: float, initial: ArrayLike | None = None
) -> Iterator[Sweep]:
    """Apply the operator of one policy again and again; with ``gamma = 1`` the policy must be proper."""
    check_fraction("gamma", gamma)
    transition, reward = mdp.under(policy)
    values = _initial(mdp, initial)
    tail = _tail(gamma)
    if gamma == 1:  # bounds by the longest expected time to the end
        mdp.require_proper(policy)
        tail = solve_chain(transition, np.ones(mdp.num_states), 1.0).max() - 1
    while True:
        backed_up = reward + gamma * (transition @ values)
        yield _sweep(mdp, values, backed_up, tail)
        values = backed_up


def modified_policy_iteration(
    mdp: TabularMDP, gamma: float, sweeps: int = 20, initial: ArrayLike | None = None
) -> Iterator[Sweep]:
    """Value iteration that follows each greedy policy for ``sweeps`` cheap evaluation steps.

    ``sweeps = 0`` is value iteration; ``sweeps -> infinity`` is policy iteration.
    """
    check_fraction("gamma", gamma)
    if sweeps != 0:
        check_positive("sweeps", sweeps)
    values = _initial(mdp, initial)
    while True:
        q = q_values(mdp, values, gamma)
        policy = greedy(q)
        backed_up = q.max(axis=1)
        yield _sweep(mdp, values, backed_up, _tail(gamma))
        values = backed_up
        transition, reward = mdp.under(policy)
        for _ in range(sweeps):
            values = reward + gamma * (transition @ values)


def policy_iteration(mdp: TabularMDP, gamma: float) -> Iterator[PolicyStep]:
    """Evaluate a policy exactly, improve it, until no action is better; the stream then ends.

    ``gamma = 1`` is allowed wherever every state can terminate: it starts from a policy that does.

    >>> from rlcourse.mdp import grid
    >>> [step.values.tolist() for step in policy_iteration(grid("S.G"), gamma=1.0)][-1]
    [1.0, 1.0, 0.0]
    """
    check_fraction("gamma", gamma)
    policy = _towards_the_end(mdp) if gamma == 1 else greedy(mdp.reward)
    states = np.arange(mdp.num_states)
    while True:
        values = evaluate(mdp, policy, gamma)
        yield PolicyStep(policy, values)
        q = q_values(mdp, values, gamma)
        rounding = 1e-10 * max(1.0, float(np.abs(q).max()))
        better = q.max(axis=1) > q[states, policy] + rounding
        if not better.any():
            return
        policy = np.where(better, greedy(q), policy)


def finite_horizon(mdp: TabularMDP, horizon: int, gamma: float = 1.0) -> Iterator[PolicyStep]:
    """Backward induction: the best action, and its value, with 1, 2, ..., ``horizon`` steps to go."""
    check_fraction("gamma", gamma)
    check_positive("horizon", horizon)
    values = np.zeros(mdp.num_states)
    for _ in range(horizon):
        q = q_values(mdp, values, gamma)
        values = q.max(axis=1)
        yield PolicyStep(greedy(q), values)


# --- the ends -------------------------------------------------------------------------------------


def converged(stream: Iterator[Sweep], tolerance: float = 1e-8) -> Floats:
    """The first value function of a stream that is proven to lie within ``tolerance`` everywhere.

    It is the middle of its bounds, which is often far closer than either end.

    Raises:
        InvalidArgumentError: a tolerance that is not positive, or a stream that proves no bounds (``gamma = 1``).
    """
    if not tolerance > 0:
        raise InvalidArgumentError(f"tolerance = {tolerance!r}: must be positive")
    for sweep in stream:
        if not np.isfinite(sweep.high - sweep.low):
            raise InvalidArgumentError(
                "gamma = 1: optimal values have no proven stopping rule; use policy_iteration, "
                "finite_horizon, or gamma < 1"
            )
        if sweep.high - sweep.low <= 2 * tolerance:
            middle = sweep.values + (sweep.low + sweep.high) / 2
            return np.where(sweep.terminal, 0.0, middle)
    raise InvalidArgumentError("stream: ended before it converged")


def evaluate(mdp: TabularMDP, policy: ArrayLike, gamma: float) -> Floats:
    r"""The exact values of a policy, from one linear system: $(I - \gamma P_\pi)\, v = r_\pi$.

    Raises:
        ImproperPolicyError: ``gamma = 1`` and under the policy some state never terminates.
    """
    check_fraction("gamma", gamma)
    if gamma == 1:
        mdp.require_proper(policy)
    transition, reward = mdp.under(policy)
    return solve_chain(transition, reward, gamma)


def _towards_the_end(mdp: TabularMDP) -> Ints:
    """A proper policy: in each state the action most likely to go where the end is nearer."""
    mdp.require_proper()
    policy, near = np.zeros(mdp.num_states, dtype=np.int64), mdp.terminal.copy()
    while not near.all():
        chance = mdp.expected_next(near)
        found = ~near & (chance.max(axis=1) > 0)
        policy[found] = greedy(chance[found])
        near |= found
    return policy


def _initial(mdp: TabularMDP, initial: ArrayLike | None) -> Floats:
    values = np.zeros(mdp.num_states) if initial is None else check_numbers("initial", initial)
    if values.shape != (mdp.num_states,) or not np.isfinite(values).all():
        raise InvalidArgumentError(
            f"initial of shape {values.shape}: must be finite [{mdp.num_states}]"
        )
    return np.where(mdp.terminal, 0.0, values)


def _tail(gamma: float) -> float:
    return gamma / (1 - gamma) if gamma < 1 else np.inf


def _sweep(mdp: TabularMDP, values: Floats, backed_up: Floats, tail: float) -> Sweep:
    change = backed_up - values
    if np.isinf(tail):  # undiscounted: T has other fixed points, so no change proves anything
        return Sweep(backed_up, -np.inf, np.inf, mdp.terminal)
    return Sweep(backed_up, tail * float(change.min()), tail * float(change.max()), mdp.terminal)
