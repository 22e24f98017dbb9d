"""Deep Q-networks side by side with Stable-Baselines3: the same task, hyperparameters and thread, in one run.

Only the ratios mean anything: seconds depend on the machine. Seed by seed both train in turn, so that a busy
moment hits both. The hyperparameters are the ones that Stable-Baselines3's own collection of tuned settings
(the "zoo") names for the task; both step one environment, as that collection does, and once more with eight
environments side by side, as this package's documentation recommends.

A run's time to 475 counts training alone: evaluations stop its clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.callbacks import BaseCallback

from rlcourse.algorithms import dqn
from rlcourse.envs.vector import make_vector
from rlcourse.evaluation import play
from rlcourse.files import replace_file
from rlcourse.statistics import bootstrap_interval, iqm

torch.set_num_threads(1)


@dataclass(frozen=True)
class Task:
    """A task with its hyperparameters in our names; one environment, a constant step size."""

    config: dqn.Config
    target: float  # an evaluation to reach


TASKS = {
    "CartPole-v1, zoo": Task(
        dqn.Config(
            "CartPole-v1",
            steps=50_000,
            num_envs=1,
            learning_rate=2.3e-3,
            learning_rate_end=2.3e-3,
            batch_size=64,
            replay_size=100_000,
            learning_starts=1_000,
            train_every=256,
            updates=128,
            target_every=128,  # a copy before every burst, as a copy every 10 steps between them amounts to
            epsilon_end=0.04,
            epsilon_steps=8_000,
            hidden=(256, 256),
        ),
        475.0,
    ),
    "Acrobot-v1, zoo": Task(
        dqn.Config(
            "Acrobot-v1",
            steps=100_000,
            num_envs=1,
            learning_rate=6.3e-4,
            learning_rate_end=6.3e-4,
            batch_size=128,
            replay_size=50_000,
            learning_starts=128,
            train_every=4,
            updates=4,
            target_every=250,
            epsilon_end=0.1,
            epsilon_steps=12_000,
            hidden=(256, 256),
        ),
        -100.0,
    ),
}
EPISODES = 20  # of an evaluation


class Clock:
    """Seconds of training, without those of evaluations, and when an evaluation reached the target."""

    def __init__(self, task: Task, seed: int) -> None:
        self.task, self.seed = task, seed
        self.paused = 0.0
        self.start = time.perf_counter()
        self.reached: float | None = None
        self.due = task.config.steps / 25

    def look(self, steps: int, policy: Callable[[], Callable[[Any], Any]]) -> None:
        """Evaluate the policy as it then stands, every so often, until the target is reached."""
        if self.reached is None and steps >= self.due:
            self.due += self.task.config.steps / 25
            pause = time.perf_counter()
            if judged(policy(), self.task, self.seed).mean() >= self.task.target:
                self.reached = pause - self.start - self.paused
            self.paused += time.perf_counter() - pause

    def stop(self) -> float:
        """Seconds of training in all."""
        return time.perf_counter() - self.start - self.paused


def judged(policy: Callable[[Any], Any], task: Task, seed: int, episodes: int = EPISODES) -> Any:
    """Returns of whole greedy episodes, played by the same code for both libraries."""
    return play(policy, task.config.env_id, episodes=episodes, num_envs=EPISODES, seed=seed)


def ours(task: Task, seed: int) -> tuple[Clock, float, Any]:
    """Train with this package."""
    clock = Clock(task, seed)
    result = dqn.train(
        task.config, seed, on_progress=lambda steps, row, run: clock.look(steps, run.policy)
    )
    seconds = clock.stop()
    return clock, seconds, judged(result.policy, task, seed, 100)


def theirs(task: Task, seed: int) -> tuple[Clock, float, Any]:
    """Train with Stable-Baselines3, written as its documentation shows."""
    c = task.config
    model = sb3.DQN(
        "MlpPolicy",
        gym.make(c.env_id),
        learning_rate=c.learning_rate,
        batch_size=c.batch_size,
        buffer_size=c.replay_size,
        learning_starts=c.learning_starts,
        gamma=c.gamma,
        # It counts steps between copies, and in a burst of updates takes none.
        target_update_interval=min(10, c.train_every) if c.train_every > 10 else c.target_every,
        train_freq=c.train_every,
        gradient_steps=c.updates,
        exploration_fraction=c.epsilon_steps / c.steps,
        exploration_final_eps=c.epsilon_end,
        max_grad_norm=c.max_grad_norm,
        policy_kwargs={"net_arch": list(c.hidden)},
        seed=seed,
        device="cpu",
    )

    def policy(observations: Any) -> Any:
        return model.predict(observations, deterministic=True)[0]

    clock = Clock(task, seed)

    class Look(BaseCallback):
        def _on_step(self) -> bool:
            if self.locals["dones"].any():  # as often as ours asks
                clock.look(self.num_timesteps, lambda: policy)
            return True

    model.learn(c.steps, callback=Look())
    seconds = clock.stop()
    return clock, seconds, judged(policy, task, seed, 100)


def limits(task: Task) -> dict[str, float]:
    """Steps a second with learning off, and with stepping only: what no faster update could beat."""
    steps = 20_000
    idle = replace(task.config, steps=steps, learning_starts=steps + 1)
    start = time.perf_counter()
    dqn.train(idle)
    acting = steps / (time.perf_counter() - start)
    envs = make_vector(task.config.env_id, task.config.num_envs)
    envs.reset(0)
    actions = np.random.default_rng(0).integers(2, size=(steps, task.config.num_envs))
    start = time.perf_counter()
    for action in actions[: steps // task.config.num_envs]:
        envs.step(action)
    stepping = steps / (time.perf_counter() - start)
    print(f"  limits: {acting:,.0f} steps/s with learning off, {stepping:,.0f} with stepping only")
    return {"learning off": acting, "stepping only": stepping}


def compare(name: str, task: Task, seeds: int) -> dict[str, Any]:
    """Both libraries on every seed, in turn; print and return speeds, times to the target, final returns."""
    print(f"{name}: {task.config.steps:,} steps, seeds: {seeds}, one thread", flush=True)
    every = max(8, task.config.train_every // 8 * 8)
    eight = replace(
        task.config,
        num_envs=8,
        train_every=every,
        updates=task.config.updates * every // task.config.train_every,
        learning_starts=task.config.learning_starts // 8 * 8,
    )
    contenders: dict[str, Callable[[int], tuple[Clock, float, Any]]] = {
        "Stable-Baselines3": lambda seed: theirs(task, seed),
        "rlcourse": lambda seed: ours(task, seed),
        "rlcourse, 8 environments": lambda seed: ours(replace(task, config=eight), seed),
    }
    seconds: dict[str, list[float]] = {who: [] for who in contenders}
    reached: dict[str, list[float | None]] = {who: [] for who in contenders}
    finals: dict[str, list[float]] = {who: [] for who in contenders}
    for seed in range(seeds):
        for who, train in contenders.items():
            clock, spent, returns = train(seed)
            seconds[who].append(spent)
            reached[who].append(clock.reached)
            finals[who].append(float(returns.mean()))
        print(
            f"  seed {seed}: " + ", ".join(f"{who} {finals[who][-1]:.0f}" for who in finals),
            flush=True,
        )
    base = np.array(seconds["Stable-Baselines3"])
    for who in contenders:
        speed = task.config.steps / np.median(seconds[who])
        ratio = np.median(base / np.array(seconds[who]))
        interval = bootstrap_interval(np.array(finals[who]), iqm)
        times = [t for t in reached[who] if t is not None]
        print(
            f"  {who:26} {speed:7,.0f} steps/s  ratio {ratio:5.2f}  {task.target:g} reached by "
            f"{len(times)} of {seeds} in {np.median(times) if times else float('nan'):5.1f} s (median)  "
            f"final IQM {interval.value:7.1f} [{interval.low:.1f}, {interval.high:.1f}], "
            f"worst seed {min(finals[who]):.1f}",
            flush=True,
        )
    return {
        "steps": task.config.steps,
        "target": task.target,
        "seconds": seconds,
        "reached": reached,
        "finals": finals,
        "limits": limits(task),
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {lib.__name__: lib.__version__ for lib in (sb3, torch, gym, np)},
    }


def already(out: Path) -> dict[str, Any]:
    """What a file holds of earlier measurements; leaves with one line where it cannot be added to."""
    if not out.parent.is_dir():
        sys.exit(f"--out {out}: its folder does not exist")
    try:
        return dict(json.loads(out.read_text())) if out.exists() else {}
    except (OSError, ValueError, TypeError) as error:
        sys.exit(f"--out {out}: holds no measurements ({error}); name another file or delete it")


def main() -> None:
    """Compare on every task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--task", choices=[*TASKS, "all"], default="all")
    parser.add_argument("--out", type=Path, help="a JSON file to keep the measurements in")
    given = parser.parse_args()
    if given.seeds < 1:
        sys.exit(f"--seeds {given.seeds}: must be at least 1")
    kept = already(given.out) if given.out else {}  # before an hour of measuring
    for name, task in TASKS.items():
        if given.task in (name, "all"):
            kept[name] = compare(name, task, given.seeds)
            if given.out:
                with replace_file(given.out) as file:
                    file.write((json.dumps(kept, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
