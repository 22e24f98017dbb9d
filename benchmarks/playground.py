"""The runner of the playground beside a bare Gymnasium loop with the same policy: steps a second.

PYTHONPATH=. python benchmarks/playground.py
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np

from rlcourse.playground.policies import heuristic, random_policy
from rlcourse.playground.run import episode_seeds, run

SHARE = 0.8  # of the bare loop's speed: at least
TRIALS = 7


def bare(env_id: str, name: str, episodes: int) -> tuple[int, float]:
    """Steps and seconds of the loop that everybody writes."""
    env: Any = gym.make(env_id)
    steps, start = 0, time.perf_counter()
    for seed in episode_seeds(0, episodes):
        policy = heuristic(env) if name == "heuristic" else random_policy(env, seed)
        obs, _ = env.reset(seed=seed)
        over = False
        while not over:
            obs, _, terminated, truncated, _ = env.step(policy(np.asarray(obs)[None])[0])
            over = terminated or truncated
            steps += 1
    return steps, time.perf_counter() - start


def runner(env_id: str, name: str, episodes: int) -> tuple[int, float]:
    """Steps and seconds of the runner, its checks, its recordings and its set-up among them."""
    start = time.perf_counter()
    results = run([env_id], [name], episodes=episodes)
    seconds = time.perf_counter() - start
    return sum(episode.length for episode in results.pairs[0].episodes), seconds


def side_by_side(env_id: str, name: str, episodes: int) -> float:
    """The share of the bare loop's speed that the runner reaches: the median of turns taken by both."""
    shares = []
    for _ in range(TRIALS):
        (steps, ours), (same, theirs) = (f(env_id, name, episodes) for f in (runner, bare))
        if steps != same:
            sys.exit(f"{env_id} {name}: {steps} steps and {same}: not the same episodes")
        shares.append(theirs / ours)
    share = statistics.median(shares)
    print(
        f"{env_id:16} {name:10} {steps / theirs:10,.0f} steps/s bare, the runner at {100 * share:.0f} % "
        f"({100 * min(shares):.0f}-{100 * max(shares):.0f} % in {TRIALS} turns)",
        flush=True,
    )
    return share


def main() -> None:
    """Run everything."""
    worlds = {"CartPole-v1": 100, "MountainCar-v0": 200, "LunarLander-v3": 60}
    shares = [
        side_by_side(env_id, name, episodes)
        for env_id, episodes in worlds.items()
        for name in ("heuristic", "random")
    ]
    if min(shares) < SHARE:
        sys.exit(f"slower than {100 * SHARE:.0f} % of the bare loop")


if __name__ == "__main__":
    main()
