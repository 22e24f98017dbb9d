"""Bandits side by side with MABWiser: the same indices from the same past, and the time of a step.

Only the ratios mean anything. MABWiser plays one run, ours plays a hundred side by side; the time is that
of one step of one run: choose an arm, see its reward, take it in. Above one, this package is faster.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from mabwiser.mab import MAB, LearningPolicy

from rlcourse.algorithms.bandits import RULES, Config, Memory, learn, play
from rlcourse.envs.bandit import LIKED, Bandit, bernoulli, tastes
from rlcourse.mdp import Floats
from rlcourse.seeding import generator

RUNS, OUR_STEPS, THEIR_STEPS, REPEATS = 100, 500, 100, 3
AIM = 50.0  # times as fast, a step and run
PEERS: dict[str, Callable[[], Any]] = {
    "epsilon_greedy": lambda: LearningPolicy.EpsilonGreedy(epsilon=0.1),
    "ucb1": lambda: LearningPolicy.UCB1(alpha=1.0),  # its bonus is alpha * sqrt(2 ln t / n)
    "thompson": lambda: LearningPolicy.ThompsonSampling(),
    "lin_ucb": lambda: LearningPolicy.LinUCB(alpha=2**0.5, l2_lambda=1.0),
}


def agree(rule: str, bandit: Bandit) -> float:
    """The largest difference of the two libraries' indices after the same two hundred events."""
    rng = generator(1)
    arms = bandit.means.shape[1]
    actions = np.r_[np.arange(arms), rng.integers(arms, size=200 - arms)]
    guests = rng.integers(len(bandit.means), size=201)
    rewards = (rng.random(200) < bandit.means[guests[:-1], actions]).astype(float)
    x = bandit.contexts[guests]
    memory = Memory(1, arms, x.shape[1])
    config = Config(rule=rule, epsilon=0.0)
    for t in range(200):
        learn(
            memory, config, np.zeros(1, int), actions[t : t + 1], rewards[t : t + 1], x[t : t + 1]
        )
    policy = (
        LearningPolicy.EpsilonGreedy(epsilon=0.0) if rule == "epsilon_greedy" else PEERS[rule]()
    )
    mab = MAB(list(range(arms)), policy)
    seen = {"contexts": x[:-1]} if rule == "lin_ucb" else {}
    mab.fit(actions.tolist(), rewards.tolist(), **seen)
    told = mab.predict_expectations(*([x[-1:]] if rule == "lin_ucb" else []))
    told = told[0] if isinstance(told, list) else told
    theirs: Floats = np.array([told[a] for a in range(arms)])
    return float(np.abs(RULES[rule](memory, config, rng, x[-1:])[0] - theirs).max())


def theirs(rule: str, bandit: Bandit) -> float:
    """Seconds of one step of one run of MABWiser."""
    arms = bandit.means.shape[1]
    rng = generator(0)
    mab = MAB(list(range(arms)), PEERS[rule]())
    linear = rule == "lin_ucb"
    mab.fit(list(range(arms)), [0.0] * arms, *([bandit.contexts[:arms]] if linear else []))
    start = time.perf_counter()
    for _ in range(THEIR_STEPS):
        guest = int(rng.integers(len(bandit.means)))
        x = [bandit.contexts[guest : guest + 1]] if linear else []
        arm = mab.predict(*x)
        reward = float(rng.random() < bandit.means[guest, arm])
        mab.partial_fit([arm], [reward], *x)
    return (time.perf_counter() - start) / THEIR_STEPS


def ours(rule: str, bandit: Bandit) -> float:
    """Seconds of one step of one run of this package."""
    start = time.perf_counter()
    play(bandit, Config(rule=rule, steps=OUR_STEPS, runs=RUNS), points=1)
    return (time.perf_counter() - start) / OUR_STEPS / RUNS


def main() -> None:
    """Compare, print, and stop with an error where the two disagree or the aim is missed."""
    warnings.simplefilter("ignore")
    missed = []
    for rule in PEERS:
        bandit = tastes(users=200) if rule == "lin_ucb" else bernoulli(LIKED)
        gap = agree(rule, bandit) if rule != "thompson" else 0.0  # that one draws
        if gap > 1e-8:
            sys.exit(f"{rule}: the two libraries' indices differ by {gap:.1e}")
        pairs = [(ours(rule, bandit), theirs(rule, bandit)) for _ in range(REPEATS)]
        a, b = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(
            f"{rule:15} {bandit.means.shape[1]} arms, {RUNS} runs   ours {1e6 * a:7.2f} us a step and run   "
            f"MABWiser {1e6 * b:8.1f} us   {b / a:6.0f} times as fast   (indices differ by {gap:.0e})",
            flush=True,
        )
        if b / a < AIM:
            missed.append(rule)
    if missed:
        sys.exit(f"below {AIM:.0f} times as fast: {', '.join(missed)}")


if __name__ == "__main__":
    main()
