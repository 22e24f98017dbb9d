r"""What bandits are judged by: two bounds, the exact value of any rule on two arms, and a log of the past.

Lai & Robbins 1985 (no consistent rule has less regret, in the long run, than a constant times
:math:`\ln T`); Auer, Cesa-Bianchi & Fischer 2002, theorem 1 (UCB1 never has more); dynamic programming over
the counts of two Bernoulli arms (Bellman 1956); Li, Chu, Langford & Wang 2011 (replay). The two bounds are

.. math:: \liminf_{T \to \infty} \frac{\mathbb{E} R_T}{\ln T} \ge \sum_{a: \Delta_a > 0}
    \frac{\Delta_a}{\mathrm{kl}(\mu_a, \mu_*)}, \qquad
    \mathbb{E} R_T \le 8 \sum_{a: \Delta_a > 0} \frac{\ln T}{\Delta_a}
    + \Bigl(1 + \frac{\pi^2}{3}\Bigr) \sum_a \Delta_a

Deviation: replay shuffles the log anew for every run; the paper reads it once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln

from rlcourse.algorithms import bandits
from rlcourse.algorithms.bandits import (
    RULES,
    Index,
    Memory,
    argmax_random_ties,
    learn,
)
from rlcourse.errors import InvalidArgumentError, check_fraction, check_numbers, check_positive
from rlcourse.mdp import Floats
from rlcourse.seeding import generator

__all__ = ["CHANCES", "Exact", "Replayed", "exact_play", "lai_robbins", "replay", "ucb1_bound"]


def _gaps(means: ArrayLike) -> tuple[Floats, float]:
    given = check_numbers("means", means)
    if given.ndim != 1 or given.size < 2 or not ((given >= 0) & (given <= 1)).all():
        raise InvalidArgumentError(
            f"means of shape {given.shape}: must be probabilities [arms], two or more"
        )
    best = float(given.max())
    return given[given < best], best


def lai_robbins(means: ArrayLike) -> float:
    """The constant of Lai & Robbins for Bernoulli arms: regret per unit of ``ln T``.

    >>> round(lai_robbins([0.5, 0.75]), 4)
    1.738
    """
    worse, best = _gaps(means)
    if best == 1.0:
        return 0.0  # one failure unmasks an arm
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(worse > 0, worse * np.log(worse / best), 0.0)
    kl = kl + (1 - worse) * np.log((1 - worse) / (1 - best))
    return float(((best - worse) / kl).sum())


def ucb1_bound(means: ArrayLike, steps: ArrayLike) -> Floats:
    """The regret that UCB1 (``c`` the root of two, rewards in [0, 1]) cannot exceed on average.

    >>> ucb1_bound([0.5, 0.9], 1000).round(1)
    np.float64(139.9)
    """
    worse, best = _gaps(means)
    gaps = best - worse
    bound: Floats = 8 * np.log(steps) * (1 / gaps).sum() + (1 + np.pi**2 / 3) * gaps.sum()
    return bound


# --- two arms, exactly --------------------------------------------------------------------------------

Chance = Callable[[Floats, Floats, Floats, Floats], Floats]


def _coin(first: Floats, second: Floats) -> Floats:
    """One where the first is larger, a half where they are equal."""
    chance: Floats = np.where(np.isclose(first, second, atol=1e-12), 0.5, first > second)
    return chance


def _mean(s: Floats, f: Floats, initial: float = 1.0) -> Floats:
    mean: Floats = np.where(s + f > 0, s / np.maximum(s + f, 1), initial)
    return mean


def _greedy_chance(s1: Floats, f1: Floats, s2: Floats, f2: Floats) -> Floats:
    return _coin(_mean(s1, f1), _mean(s2, f2))


def _epsilon_chance(s1: Floats, f1: Floats, s2: Floats, f2: Floats) -> Floats:
    return 0.9 * _greedy_chance(s1, f1, s2, f2) + 0.05


def _ucb1_chance(s1: Floats, f1: Floats, s2: Floats, f2: Floats) -> Floats:
    log_t = np.log(np.maximum(s1 + f1 + s2 + f2, 1))
    return _coin(
        *(
            np.where(s + f > 0, _mean(s, f) + np.sqrt(2 * log_t / np.maximum(s + f, 1)), 9e9)
            for s, f in ((s1, f1), (s2, f2))
        )
    )


def _thompson_chance(s1: Floats, f1: Floats, s2: Floats, f2: Floats) -> Floats:
    """P(first draw > second draw) of two beta posteriors with whole numbers: a finite sum."""
    total = np.zeros(np.shape(s1))
    for i in range(int(np.max(s1)) + 1):
        term = betaln(1 + s2 + i, 2 + f1 + f2) - np.log(1 + f1 + i)
        term -= betaln(1 + i, 1 + f1) + betaln(1 + s2, 1 + f2)
        total += np.where(i <= s1, np.exp(term), 0.0)
    return total


# The chance that a rule pulls the first of two arms, given successes and failures of both.
CHANCES: Mapping[str, Chance] = {
    "random": lambda s1, f1, s2, f2: np.full(np.shape(s1), 0.5),
    "greedy": _greedy_chance,
    "epsilon_greedy": _epsilon_chance,
    "ucb1": _ucb1_chance,
    "thompson": _thompson_chance,
}


class Exact(NamedTuple):
    """The reward that is still to come and what the first arm is ahead of the second.

    Both ``[s1, f1, s2, f2]``: successes and failures of the two arms; zero where no step is left.
    """

    values: Floats
    ahead: Floats


def exact_play(
    steps: int, chance: Chance | None = None, truth: tuple[float, float] | None = None
) -> Exact:
    """The expected reward of a rule, or of the best of all, on two Bernoulli arms; nothing is sampled.

    Args:
        steps: pulls in all.
        chance: the rule, as those in :data:`CHANCES`; ``None``: the player who makes the most of it.
        truth: what the arms pay; ``None``: unknown, all chances alike likely (the Bayesian game).

    >>> round(float(exact_play(2).values[0, 0, 0, 0]), 4)  # 1/2, then 2/3 after a success
    1.0833

    Raises:
        InvalidArgumentError: no whole number of steps, more than 50, or a truth that is no probability.
    """
    if check_positive("steps", steps) > 50:
        raise InvalidArgumentError(
            f"steps = {steps}: at most 50, the table has steps ** 4 / 24 rows"
        )
    for value in truth or ():
        check_fraction("truth", value)
    values = np.zeros((steps + 2,) * 4)
    ahead = np.zeros_like(values)
    grid = np.indices((steps,) * 4, dtype=np.int16).reshape(4, -1)
    grid = grid[:, grid.sum(axis=0) < steps].astype(np.int64)  # what so many pulls can lead to
    total = grid.sum(axis=0)
    for n in reversed(range(steps)):
        s1, f1, s2, f2 = grid[:, total == n]
        p1, p2 = truth or ((s1 + 1) / (s1 + f1 + 2), (s2 + 1) / (s2 + f2 + 2))
        q1 = p1 * (1 + values[s1 + 1, f1, s2, f2]) + (1 - p1) * values[s1, f1 + 1, s2, f2]
        q2 = p2 * (1 + values[s1, f1, s2 + 1, f2]) + (1 - p2) * values[s1, f1, s2, f2 + 1]
        if chance is None:
            values[s1, f1, s2, f2] = np.maximum(q1, q2)
        else:
            first = chance(s1, f1, s2, f2)
            values[s1, f1, s2, f2] = first * q1 + (1 - first) * q2
        ahead[s1, f1, s2, f2] = q1 - q2
    return Exact(values, ahead)


# --- a log of the past --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replayed:
    """What a rule got from a log: ``rewards`` and ``matched`` events, both ``[runs]``."""

    rewards: Floats
    matched: Floats

    @property
    def mean(self) -> Floats:
        """Reward per matched event, ``[runs]``; nothing matched is no number."""
        mean: Floats = self.rewards / np.where(self.matched > 0, self.matched, np.nan)
        return mean


def replay(
    actions: ArrayLike,
    rewards: ArrayLike,
    config: bandits.Config,
    *,
    arms: int,
    contexts: ArrayLike | None = None,
    seed: int = 0,
    index: Index | None = None,
) -> Replayed:
    """Play a rule on logged events ``[N]``: it sees a reward where it would have acted as was acted.

    After ``config.steps`` matched events a run stops. If the log's actions were drawn uniformly, whatever
    the contexts, what a run of that length sees has the law of real play, so its mean is unbiased; short
    runs and other logs bias it.

    >>> import numpy as np
    >>> log = np.arange(1000) % 2
    >>> replay(log, log, bandits.Config(rule="random", steps=9, runs=2), arms=2).matched
    array([9., 9.])

    Raises:
        InvalidArgumentError: shapes that do not fit, or an action that is no arm.
    """
    check_positive("arms", arms)
    given, paid = check_numbers("actions", actions), check_numbers("rewards", rewards)
    seen = np.ones((given.size, 1)) if contexts is None else check_numbers("contexts", contexts)
    if given.ndim != 1 or paid.shape != given.shape or seen.ndim != 2 or len(seen) != given.size:
        raise InvalidArgumentError(
            f"actions {given.shape}, rewards {paid.shape}, contexts {seen.shape}: must be [N], [N], [N, d]"
        )
    if not np.isin(given, np.arange(arms)).all():
        raise InvalidArgumentError(f"actions: must be whole numbers from 0 to {arms - 1}")
    rng = generator(seed)
    logged = given.astype(np.int64)
    memory = Memory(config.runs, arms, seen.shape[1])
    rule: Any = index or RULES[config.rule]
    order = rng.permuted(np.tile(np.arange(given.size), (config.runs, 1)), axis=1)
    total, matched = np.zeros((2, config.runs))
    for event in order.T:  # one of each run's own
        context = seen[event]
        chosen = argmax_random_ties(rule(memory, config, rng, context), rng)
        rows = np.flatnonzero((chosen == logged[event]) & (matched < config.steps))
        learn(memory, config, rows, chosen[rows], paid[event[rows]], context[rows])
        total[rows] += paid[event[rows]]
        matched[rows] += 1
    return Replayed(total, matched)
