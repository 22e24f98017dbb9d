r"""Bandits: ten rules, each of them an *index*. The arm with the largest index is pulled, ties at random.

With :math:`n_a` pulls of arm :math:`a`, mean reward :math:`\hat\mu_a` and :math:`t = \sum_a n_a`:

.. math:: \hat\mu_a + c \sqrt{\ln t / n_a}, \qquad \theta_a \sim \mathrm{Beta}(1 + n_a \hat\mu_a,\;
    1 + n_a (1 - \hat\mu_a)), \qquad x^\top \hat w_a + c \sqrt{x^\top A_a^{-1} x}

are UCB1 (Auer, Cesa-Bianchi & Fischer 2002, :math:`c = \sqrt 2`), Thompson sampling (Thompson 1933) and
LinUCB (Li, Chu, Langford & Schapire 2010). A rule that draws from probabilities :math:`p` is an index, too:
:math:`\ln p_a` plus Gumbel noise is largest at :math:`a` with probability :math:`p_a`.

Deviations: all runs are played at once, arrays ``[runs, arms]``. UCB1 has its ``c`` as a setting. A delayed
reward is weighed with the chances of the step that sees it. A reward of 0.3 is 0.3 of a success to Thompson.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlcourse.envs.bandit import Bandit
from rlcourse.errors import (
    InvalidArgumentError,
    check_finite,
    check_fraction,
    check_not_negative,
    check_positive,
)
from rlcourse.mdp import Floats
from rlcourse.seeding import generator, streams

__all__ = ["RULES", "Config", "Index", "Memory", "Result", "argmax_random_ties", "learn", "play"]

Ints = NDArray[np.int64]
Rng = np.random.Generator


@dataclass(frozen=True)
class Config:
    """Which rule plays, and with what."""

    rule: str = "thompson"  # one of RULES
    steps: int = 1000  # pulls a run
    runs: int = 100  # played side by side
    epsilon: float = 0.1  # chance of a random arm
    decay: float = 0.0  # epsilon is min(1, decay / t); 0: constant
    width: float = 2**0.5  # c of the upper confidence bounds
    initial: float = 1.0  # what an arm that was never pulled is hoped to pay
    explore: int = 10  # pulls of each arm before `commit` decides
    step_size: float = 0.1  # of the gradient bandit
    mixing: float = 0.1  # EXP3's share of uniform choice
    noise: float = 1.0  # deviation of a reward, as `thompson_gaussian` believes
    spread: float = 1.0  # deviation of its prior for a mean (around zero)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise InvalidArgumentError(f"rule = {self.rule!r}: must be one of {', '.join(RULES)}")
        for name in ("steps", "runs", "explore"):
            object.__setattr__(self, name, check_positive(name, getattr(self, name)))
        check_fraction("epsilon", self.epsilon)
        check_fraction("mixing", self.mixing)
        check_finite("initial", self.initial)
        for name in ("decay", "width", "step_size", "noise", "spread"):
            check_not_negative(name, getattr(self, name))
        if self.noise == 0 or self.spread == 0:
            raise InvalidArgumentError("noise, spread: must be larger than zero")


class Memory:
    """What every run has seen: ``counts``, ``sums``, ``squares`` ``[runs, arms]``, ``total`` ``[runs]``.

    ``preferences`` ``[runs, arms]`` belong to the gradient bandit and EXP3; ``inverse`` ``[runs, arms, d, d]``,
    ``responses`` and ``weights`` ``[runs, arms, d]`` to LinUCB.
    """

    def __init__(self, runs: int, arms: int, features: int) -> None:
        self.counts, self.sums, self.squares, self.preferences = np.zeros((4, runs, arms))
        self.total = np.zeros(runs)
        self.responses, self.weights = np.zeros((2, runs, arms, features))
        self.inverse = np.tile(np.eye(features), (runs, arms, 1, 1))

    def means(self, unseen: float) -> Floats:
        """Mean rewards ``[runs, arms]``, and ``unseen`` where there are none."""
        return np.where(self.counts > 0, self.sums / np.maximum(self.counts, 1.0), unseen)


# --- the rules: (memory, config, rng, contexts [runs, d]) -> indices [runs, arms] ---------------------
Index = Callable[[Memory, Config, Rng, Floats], Floats]


def _epsilon_greedy(m: Memory, c: Config, rng: Rng, x: Floats) -> Floats:
    epsilon = np.minimum(1.0, c.decay / (m.total + 1)) if c.decay else c.epsilon
    explores = rng.random(len(m.total)) < epsilon
    return np.where(explores[:, None], 0.0, m.means(c.initial))  # all tied: any arm


def _commit(m: Memory, c: Config, rng: Rng, x: Floats) -> Floats:
    exploring = (m.total < c.explore * m.counts.shape[1])[:, None]
    return np.where(exploring, -m.counts, m.means(0.0) + 1e9 * m.preferences)  # decided is decided


def _ucb1(m: Memory, c: Config, rng: Rng, x: Floats) -> Floats:
    ratio = np.log(np.maximum(m.total, 1.0))[:, None] / np.maximum(m.counts, 1.0)
    return np.where(m.counts > 0, m.means(0.0) + c.width * np.sqrt(ratio), np.inf)


def _ucb1_tuned(m: Memory, c: Config, rng: Rng, x: Floats) -> Floats:
    ratio = np.log(np.maximum(m.total, 1.0))[:, None] / np.maximum(m.counts, 1.0)
    variance = m.squares / np.maximum(m.counts, 1.0) - m.means(0.0) ** 2 + np.sqrt(2 * ratio)
    bonus = np.sqrt(ratio * np.minimum(0.25, variance))
    return np.where(m.counts > 0, m.means(0.0) + bonus, np.inf)


def _thompson_gaussian(m: Memory, c: Config, rng: Rng, x: Floats) -> Floats:
    precision = c.spread**-2 + m.counts / c.noise**2
    return m.sums / c.noise**2 / precision + rng.normal(size=m.sums.shape) / np.sqrt(precision)


def _softmax(preferences: Floats, mixing: float = 0.0) -> Floats:
    """Chances of the arms, ``[runs, arms]``, with a share of uniform choice mixed in."""
    weights = np.exp(preferences - preferences.max(axis=1, keepdims=True))
    weights = weights / weights.sum(axis=1, keepdims=True)
    chances: Floats = (1 - mixing) * weights + mixing / preferences.shape[1]
    return chances


def _lin_ucb(m: Memory, c: Config, rng: Rng, x: Floats) -> Floats:
    doubt = ((m.inverse @ x[:, None, :, None])[..., 0] @ x[:, :, None])[..., 0]  # x' A^-1 x
    index: Floats = (m.weights @ x[:, :, None])[..., 0] + c.width * np.sqrt(np.maximum(doubt, 0))
    return index


RULES: dict[str, Index] = {
    "random": lambda m, c, rng, x: np.zeros(m.counts.shape),
    "epsilon_greedy": _epsilon_greedy,
    "commit": _commit,
    "ucb1": _ucb1,
    "ucb1_tuned": _ucb1_tuned,
    "thompson": lambda m, c, rng, x: rng.beta(1.0 + m.sums, 1.0 + m.counts - m.sums),
    "thompson_gaussian": _thompson_gaussian,
    "gradient": lambda m, c, rng, x: m.preferences + rng.gumbel(size=m.preferences.shape),
    "exp3": lambda m, c, rng, x: (
        np.log(_softmax(m.preferences, c.mixing)) + rng.gumbel(size=m.preferences.shape)
    ),
    "lin_ucb": _lin_ucb,
}


def argmax_random_ties(scores: Floats, rng: Rng) -> Ints:
    """The best column of every row ``[runs, arms]``, ties broken at random.

    >>> argmax_random_ties(np.array([[0.0, 2.0, 1.0]]), generator(0)).tolist()
    [1]
    """
    best = scores == scores.max(axis=1, keepdims=True)
    chosen: Ints = (best * (1.0 - rng.random(scores.shape))).argmax(axis=1)
    return chosen


def learn(m: Memory, c: Config, rows: Ints, arms: Ints, rewards: Floats, x: Floats) -> None:
    """Take in a reward of each of these runs (``rows``), all arrays of one length; ``x`` is ``[n, d]``."""
    if c.rule == "commit":
        m.preferences[rows, arms] += m.total[rows] >= c.explore * m.counts.shape[1]
    elif c.rule == "gradient":
        baseline = m.sums[rows].sum(axis=1) / np.maximum(m.total[rows], 1.0)
        score = np.eye(m.counts.shape[1])[arms] - _softmax(m.preferences[rows])
        m.preferences[rows] += c.step_size * (rewards - baseline)[:, None] * score
    elif c.rule == "exp3":
        chances = _softmax(m.preferences, c.mixing)[rows, arms]
        m.preferences[rows, arms] += c.mixing * rewards / chances / m.counts.shape[1]
    elif c.rule == "lin_ucb":
        inverse = m.inverse[rows, arms]
        ax = (inverse @ x[:, :, None])[..., 0]
        inverse -= ax[:, :, None] * ax[:, None, :] / (1.0 + (ax * x).sum(axis=1))[:, None, None]
        m.responses[rows, arms] += rewards[:, None] * x
        m.inverse[rows, arms] = inverse
        m.weights[rows, arms] = (inverse @ m.responses[rows, arms][..., None])[..., 0]
    m.counts[rows, arms] += 1.0
    m.sums[rows, arms] += rewards
    m.squares[rows, arms] += rewards**2
    m.total[rows] += 1.0


# --- the loop -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """Regret when ``x`` ``[points]`` pulls were made, in mean rewards: ``[points, runs]``.

    ``regret`` is against the best arm of each situation, ``fixed`` against the best single arm. ``reward``
    ``[runs]`` is what was paid.
    """

    x: Ints
    regret: Floats
    fixed: Floats
    pulls: Floats  # [runs, arms]
    reward: Floats


def play(
    bandit: Bandit, config: Config, seed: int = 0, *, index: Index | None = None, points: int = 100
) -> Result:
    """Play all runs of a rule at once; ``index`` puts a rule of your own in its place.

    >>> from rlcourse.envs.bandit import bernoulli
    >>> play(bernoulli([0.1, 0.9]), Config(steps=50, runs=3)).regret.shape
    (50, 3)

    Raises:
        InvalidArgumentError: rewards outside [0, 1] for a rule that needs them there; too short a sequence.
    """
    situations, arms = bandit.means.shape
    within = (bandit.means >= 0).all() and (bandit.means <= 1).all() and not bandit.noise
    if config.rule in ("thompson", "exp3") and not within:
        raise InvalidArgumentError(f"rule = {config.rule!r}: needs rewards in [0, 1]")
    if bandit.in_turn and config.steps > situations:
        raise InvalidArgumentError(f"steps = {config.steps}: must be at most {situations}")
    random_streams = streams(seed)
    world, rng = generator(random_streams.env), random_streams.exploration
    memory = Memory(config.runs, arms, bandit.contexts.shape[1])
    rule, rows = index or RULES[config.rule], np.arange(config.runs)
    best, single = bandit.means.max(axis=1), bandit.means[:, bandit.fixed(config.steps)]
    (lost, behind, reward), pulls = np.zeros((3, config.runs)), np.zeros((config.runs, arms))
    x = np.unique(np.linspace(0, config.steps, min(points, config.steps) + 1)[1:].astype(np.int64))
    kept: list[tuple[Floats, Floats]] = []
    waiting: list[tuple[Any, ...]] = []
    for t in range(config.steps):
        met = 0 * rows + t if bandit.in_turn else world.integers(situations, size=config.runs)
        context = bandit.contexts[met]
        chosen = argmax_random_ties(rule(memory, config, rng, context), rng)
        mean = bandit.means[met, chosen]
        paid = 1.0 * (world.random(config.runs) < mean)
        if bandit.noise is not None:
            paid = mean + bandit.noise * world.normal(size=config.runs)
        lost, behind = lost + best[met] - mean, behind + single[met] - mean
        pulls[rows, chosen] += 1
        reward += paid
        waiting.append((chosen, paid, context))
        if len(waiting) > bandit.delay:
            learn(memory, config, rows, *waiting.pop(0))
        if t + 1 == x[len(kept)]:
            kept.append((lost, behind))
    return Result(x, np.array(kept)[:, 0], np.array(kept)[:, 1], pulls, reward)
