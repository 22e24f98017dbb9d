"""Agents that learn Pong from pixels, side by side with Stable-Baselines3: agent steps a second, on these cores.

The same pictures, network and hyperparameters (those of Stable-Baselines3's own collection, the "zoo", without
its schedules), in one run and in turn, so that a busy moment hits both; with the pictures and the network of
Mnih et al. 2015 and with the small ones of the course. Torch has as many threads here as there. Each steps its
games as its own documentation recommends: theirs behind its wrappers, one after the other; ours in ALE's vector
of games, whose threads use the other cores, too. One thing more is not the same: a thread of ours plays PPO's next
batch while this one is learned, with the policy of one update before. What is timed is training, late in it: both
look at nearly every step. Only the ratios mean anything. Beside them: stepping alone, what a transition takes of
memory, and what part of an update goes into drawing its batch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecFrameStack
from torch import Tensor, nn

from rlcourse.algorithms import dqn
from rlcourse.atari.agents import DQN, PPO, DQNConfig, PPOConfig
from rlcourse.atari.environment import Game, Games
from rlcourse.atari.networks import parameters
from rlcourse.atari.replay import memory
from rlcourse.files import replace_file

gym.register_envs(ale_py)
Race = Callable[[str], tuple[float, int]]
GAME, THEIR_GAME = Game("pong", sticky=0.0), "PongNoFrameskip-v4"
LOOK = {"game": GAME, "network": "nature", "centre": 0.0, "scale": 255.0}
SIDES = {"nature": 84, "small": 42}  # of each network's pictures
REPEATS, WARM_UP = 3, 1_024  # steps before the clock starts
STEPS = {"nature": 2_048, "small": 4_096}  # on it
RACES = list(itertools.product(("nature", "small"), (1, os.cpu_count() or 1)))  # torch's threads
AIM = 1.5  # times as fast
OURS_PPO = PPOConfig(
    num_envs=8,
    horizon=128,
    epochs=4,
    batch_size=256,
    learning_rate=2.5e-4,
    learning_rate_end=2.5e-4,
    clip=0.1,
    clip_end=0.1,
    value_weight=1.0,  # of half the squared error; theirs 0.5 of all of it
    entropy=0.01,
    **LOOK,
)
# The zoo waits 100,000 steps before it learns, and remembers as many: here both learn at once.
OURS_DQN = DQNConfig(
    num_envs=1,
    batch_size=32,
    train_every=4,
    updates=1,
    learning_rate=1e-4,
    learning_rate_end=1e-4,
    replay_size=10_000,
    learning_starts=WARM_UP // 2,
    target_every=250,
    epsilon=0.01,
    epsilon_end=0.01,
    double=False,
    n=1,
    **LOOK,
)


class Small(BaseFeaturesExtractor):
    """Our small network as theirs wants it."""

    def __init__(self, space: gym.spaces.Box) -> None:
        super().__init__(space, features_dim=128)
        first, second = nn.Conv2d(4, 16, 4, 2), nn.Conv2d(16, 32, 4, 2)
        body = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten())
        width = body(torch.zeros(1, *space.shape)).shape[1]
        self.body = nn.Sequential(body, nn.Linear(width, 128), nn.ReLU())

    def forward(self, pictures: Tensor) -> Tensor:
        """``[B, 4, 42, 42]`` to ``[B, 128]``."""
        return self.body(pictures)


def ours(kind: Any, config: Any, network: str) -> tuple[float, int]:
    """Steps a second of a learner of this package, and how many numbers it learns."""
    game = replace(GAME, height=SIDES[network], width=SIDES[network])
    run = kind(replace(config, network=network, game=game), 0)
    try:
        while run.episodes.steps < WARM_UP:
            run.advance()
        begin, start = run.episodes.steps, time.perf_counter()
        while run.episodes.steps < begin + STEPS[network]:
            run.advance()
        speed = (run.episodes.steps - begin) / (time.perf_counter() - start)
        return float(speed), parameters(run.network)
    finally:
        run.episodes.close()


class Watch(sb3.common.callbacks.BaseCallback):
    """A clock that starts after the warm-up."""

    begin = start = 0.0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if not self.start and self.num_timesteps >= WARM_UP:
            self.begin, self.start = self.num_timesteps, time.perf_counter()


def theirs(network: str, learner: Any, num_envs: int, **settings: Any) -> tuple[float, int]:
    """The same of a learner of Stable-Baselines3."""
    games = make_atari_env(
        THEIR_GAME, n_envs=num_envs, seed=0, wrapper_kwargs={"screen_size": SIDES[network]}
    )
    games = VecFrameStack(games, n_stack=4)
    # Without net_arch a network of one's own gets two layers more.
    eyes = {"features_extractor_class": Small, "net_arch": []} if network == "small" else {}
    settings |= {"policy_kwargs": eyes, "device": "cpu", "seed": 0}
    model = learner("CnnPolicy", games, **settings)
    watch = Watch()
    model.learn(WARM_UP + STEPS[network], callback=watch)
    speed = (model.num_timesteps - watch.begin) / (time.perf_counter() - watch.start)
    games.close()
    return float(speed), parameters(getattr(model.policy, "q_net", model.policy))


def theirs_ppo(network: str) -> tuple[float, int]:
    """The zoo's PPO."""
    return theirs(
        network, sb3.PPO, 8, n_steps=128, n_epochs=4, batch_size=256, learning_rate=2.5e-4,
        clip_range=0.1, vf_coef=0.5, ent_coef=0.01,
    )  # fmt: skip


def theirs_dqn(network: str) -> tuple[float, int]:
    """The zoo's DQN, learning at once."""
    return theirs(
        network, sb3.DQN, 1, buffer_size=10_000, learning_starts=WARM_UP // 2, batch_size=32,
        learning_rate=1e-4, train_freq=4, gradient_steps=1, target_update_interval=1_000,
        exploration_initial_eps=0.01, exploration_final_eps=0.01, optimize_memory_usage=False,
    )  # fmt: skip


def stepping(num_envs: int) -> float:
    """Steps a second of our games with buttons pressed by lot: no learner beats it."""
    games, rng = Games(GAME, num_envs), np.random.default_rng(0)
    try:
        games.reset(0)
        start, rounds = time.perf_counter(), STEPS["small"] // num_envs
        for _ in range(rounds):
            games.send(rng.integers(games.action_space.n, size=num_envs))
            games.receive()
        return num_envs * rounds / (time.perf_counter() - start)
    finally:
        games.close()


def seconds_of(call: Callable[[], Any], times: int = 50) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def drawing() -> float:
    """What part of an update of DQN goes into drawing its batch."""
    run = DQN(OURS_DQN, 0)
    try:
        while run.episodes.steps < WARM_UP:
            run.advance()
        update = seconds_of(lambda: dqn.update(run, dqn.dqn_loss))
        return seconds_of(lambda: run.replay.sample(OURS_DQN.batch_size)) / update
    finally:
        run.episodes.close()


def main() -> None:
    """Compare, print, and stop with an error where an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="a JSON file to keep the measurements in")
    out = parser.parse_args().out
    if out and not out.parent.is_dir():
        sys.exit(f"--out {out}: its folder does not exist")
    pairs: dict[str, tuple[Race, Race]] = {
        "PPO": (partial(ours, PPO, OURS_PPO), theirs_ppo),
        "DQN": (partial(ours, DQN, OURS_DQN), theirs_dqn),
    }
    found, missed = {}, []
    for (learner, (mine, other)), (network, threads) in itertools.product(pairs.items(), RACES):
        torch.set_num_threads(threads)
        name, speeds = f"{learner}, {network}, threads: {threads}", []
        for _ in range(REPEATS):
            (a, size), (b, their_size) = mine(network), other(network)
            if size != their_size:
                sys.exit(f"{name}: {size:,} numbers to learn here, {their_size:,} there")
            speeds.append((a, b))
        found[name] = speeds
        ratio = statistics.median(a / b for a, b in speeds)
        a, b = (statistics.median(column) for column in zip(*speeds, strict=True))
        print(
            f"{name:23} ours {a:7,.0f} steps/s   Stable-Baselines3 {b:7,.0f}   {ratio:5.2f} times as fast",
            flush=True,
        )
        if ratio < AIM:
            missed.append(name)
    alone = {"8 games": stepping(8), "1 game": stepping(1)}
    print(
        f"stepping only           ours {alone['8 games']:7,.0f} steps/s, 8 games; {alone['1 game']:,.0f}, one"
    )
    size, share = memory(100_000, GAME.shape, 8) / 100_000, drawing()
    print(f"a transition            {size:,.0f} bytes; a picture has {84 * 84:,}")
    print(f"drawing                 {share:.1%} of an update")
    if out:
        about = {
            "measured": time.strftime("%Y-%m-%d", time.gmtime()),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "versions": {lib.__name__: lib.__version__ for lib in (sb3, torch, gym, np)},
        }
        kept = {"pairs": found, "stepping": alone, "drawing": share, **about}
        with replace_file(out) as file:
            file.write((json.dumps(kept, indent=1) + "\n").encode())
    if missed:
        sys.exit(f"below {AIM} times as fast: {', '.join(missed)}")


if __name__ == "__main__":
    main()
