r"""Games of one move: what becomes of learners who are each other's world.

Papers: Claus & Boutilier 1998 (independent and joint-action learners, the climbing and the penalty game),
Taylor & Jonker 1978 (replicator dynamics), Freund & Schapire 1999 (multiplicative weights). A game is a table
:math:`R[a, b]`: what the first player is paid if it does :math:`a` and the other one :math:`b`. Against a
partner who plays :math:`y` an action is worth

.. math:: q(a) = \sum_b y(b)\, R(a, b)

which changes whenever :math:`y` does: to an independent learner the world is not stationary.

Deviation from Claus & Boutilier 1998: their joint-action learners keep beliefs about each other; ours is one table
over pairs of actions, from which both take the best pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rlcourse.errors import InvalidArgumentError, check_fraction, check_numbers, check_positive
from rlcourse.mdp import Floats
from rlcourse.seeding import streams

__all__ = [
    "CLIMBING",
    "ROCK_PAPER_SCISSORS",
    "Config",
    "Result",
    "action_values",
    "exploitability",
    "multiplicative_weights",
    "penalty",
    "replicator",
    "train",
]

# Both are paid the same: the best pair is (0, 0), and whoever stands there alone pays for it.
CLIMBING: Floats = np.array([[11.0, -30.0, 0.0], [-30.0, 7.0, 6.0], [0.0, 0.0, 5.0]])
# What the first player wins the second one loses.
ROCK_PAPER_SCISSORS: Floats = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])


def penalty(k: float) -> Floats:
    """The penalty game: two best pairs, and ``k`` (not positive) for those who choose one each."""
    return np.array([[10.0, 0.0, k], [0.0, 2.0, 0.0], [k, 0.0, 10.0]])


def action_values(game: ArrayLike, partner: ArrayLike) -> Floats:
    """What each of the first player's actions is worth against a partner's probabilities; ``[A]``.

    >>> action_values(CLIMBING, [1 / 3, 1 / 3, 1 / 3]).round(2).tolist()
    [-6.33, -5.67, 1.67]
    """
    return _table(game) @ check_numbers("partner", partner)


# --- learners with a value an action ---------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """What a run is made of."""

    games: int = 2_000
    alpha: float = 0.1  # step size
    temperature: float = 20.0  # of a softmax over the values, in points, in the first game
    cooling: float = 0.995  # factor a game, down to a hundredth of a point
    joint: bool = False  # one table over pairs of actions, instead of a table each

    def __post_init__(self) -> None:
        check_positive("games", self.games)
        check_fraction("alpha", self.alpha)
        check_fraction("cooling", self.cooling)
        if not 0 < self.temperature < np.inf:
            raise InvalidArgumentError(f"temperature = {self.temperature!r}: must be above 0")


@dataclass(frozen=True)
class Result:
    """The pair of actions that two learners settle on, their tables, and what they were paid."""

    pair: tuple[int, int]
    q: tuple[Floats, ...]
    rewards: Floats  # [games]
    policies: Floats  # [games, 2, A]: with what probability each did what
    config: Config
    seed: int


def train(game: ArrayLike, config: Config | None = None, seed: int = 0) -> Result:
    """Two learners play a game in which both are paid the same.

    >>> train(CLIMBING, Config(joint=True)).pair
    (0, 0)
    """
    config, R = config or Config(), _table(game)
    rng, rows, columns = streams(seed).exploration, *R.shape
    q = [np.zeros(rows * columns)] if config.joint else [np.zeros(rows), np.zeros(columns)]
    rewards, policies = np.zeros(config.games), np.zeros((config.games, 2, max(R.shape)))
    heat = config.temperature
    for t in range(config.games):
        chances = [_softmax(values / heat) for values in q]
        drawn = [int(rng.choice(len(p), p=p)) for p in chances]
        a, b = divmod(drawn[0], columns) if config.joint else drawn
        rewards[t] = R[a, b]
        for values, own in zip(q, drawn, strict=True):
            values[own] += config.alpha * (rewards[t] - values[own])
        pair = chances[0].reshape(rows, columns) if config.joint else np.outer(*chances)
        policies[t, 0, :rows], policies[t, 1, :columns] = pair.sum(axis=1), pair.sum(axis=0)
        heat = max(0.01, heat * config.cooling)
    best = [int(values.argmax()) for values in q]
    a, b = divmod(best[0], columns) if config.joint else best
    return Result((a, b), tuple(q), rewards, policies, config, seed)


# --- learners with a gradient ----------------------------------------------------------------------


def replicator(
    game: ArrayLike, x: ArrayLike, y: ArrayLike, *, steps: int, dt: float = 0.01
) -> Iterator[tuple[Floats, Floats]]:
    r"""Policies of a zero-sum game in continuous time: :math:`\dot x_a = x_a (q(a) - \bar q)`, likewise the other.

    What natural policy gradients of softmax policies become as their steps shrink; solved by Runge-Kutta's method.
    """
    R, state = _table(game), np.concatenate([_chances("x", x), _chances("y", y)])
    split = R.shape[0]

    def slope(at: Floats) -> Floats:
        x, y = at[:split], at[split:]
        gains = R @ y, -(x @ R)
        return np.concatenate([p * (g - p @ g) for p, g in zip((x, y), gains, strict=True)])

    for _ in range(steps):
        yield state[:split].copy(), state[split:].copy()
        k1 = slope(state)
        k2 = slope(state + dt / 2 * k1)
        k3 = slope(state + dt / 2 * k2)
        state = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + slope(state + dt * k3))
    yield state[:split].copy(), state[split:].copy()


def multiplicative_weights(
    game: ArrayLike, x: ArrayLike, y: ArrayLike, *, steps: int, eta: float = 0.1
) -> Iterator[tuple[Floats, Floats]]:
    r"""The same in steps: :math:`x_a \leftarrow x_a e^{\eta q(a)}`, normalised; both at once.

    >>> *_, (x, y) = multiplicative_weights([[1.0], [0.0]], [0.5, 0.5], [1.0], steps=100)
    >>> x.round(3).tolist()
    [1.0, 0.0]
    """
    R, x, y = _table(game), _chances("x", x), _chances("y", y)
    for _ in range(steps):
        yield x, y
        up, down = np.exp(eta * (R @ y)), np.exp(-eta * (x @ R))
        x, y = x * up / (x @ up), y * down / (y @ down)
    yield x, y


def exploitability(game: ArrayLike, x: ArrayLike, y: ArrayLike) -> float:
    """What the best answers to a pair of policies win of them together; zero exactly at an equilibrium.

    >>> exploitability(ROCK_PAPER_SCISSORS, [1, 0, 0], [1 / 3, 1 / 3, 1 / 3])
    1.0
    """
    R, p, q = _table(game), _chances("x", x), _chances("y", y)
    return float((R @ q).max() - (p @ R).min())


def _table(game: ArrayLike) -> Floats:
    table = check_numbers("game", game)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise InvalidArgumentError(
            f"game of shape {table.shape}: must be finite [actions, actions]"
        )
    return table


def _chances(name: str, values: ArrayLike) -> Floats:
    given = check_numbers(name, values)
    if given.ndim != 1 or not (given >= 0).all() or abs(given.sum() - 1) > 1e-8:
        raise InvalidArgumentError(f"{name} = {given}: must be non-negative and sum to one")
    return given


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max())
    chances: Floats = weights / weights.sum()
    return chances
