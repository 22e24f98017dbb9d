"""Deep agents side by side with Stable-Baselines3: the same task, hyperparameters and thread, in one run.

Only the ratios mean anything: seconds depend on the machine. Seed by seed both train in turn, so that a busy
moment hits both. The hyperparameters are the ones that Stable-Baselines3's own collection of tuned settings
(the "zoo") names for the task. Where that collection steps one environment, as for DQN and SAC, this package is
measured once so, and once more with several side by side, as its documentation recommends.

A run's time to its target counts training alone: evaluations stop its clock.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from rlcourse.algorithms import a2c, dqn, ppo, sac
from rlcourse.envs.vector import make_vector
from rlcourse.evaluation import play
from rlcourse.files import replace_file
from rlcourse.statistics import bootstrap_interval, iqm

torch.set_num_threads(1)


# --- their learners, written as their documentation shows ------------------------------------------


def their_dqn(c: dqn.Config, seed: int) -> Any:
    """DQN with our settings in their names."""
    return sb3.DQN(
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


def falling(start: float, end: float) -> Callable[[float], float]:
    """A straight line, of what is left of the run."""
    return lambda left: end + left * (start - end)


def on_policy(learner: Callable[..., Any], c: Any, seed: int, **more: Any) -> Any:
    """PPO or A2C with our settings in their names."""
    return learner(
        "MlpPolicy",
        make_vec_env(c.env_id, c.num_envs, seed=seed),
        learning_rate=falling(c.learning_rate, c.learning_rate_end),
        n_steps=c.horizon,
        gamma=c.gamma,
        gae_lambda=c.lam,
        ent_coef=c.entropy,
        vf_coef=c.value_weight / 2,  # theirs weighs the squared error, ours half of it
        max_grad_norm=c.max_grad_norm,
        policy_kwargs={"net_arch": list(c.hidden)},
        seed=seed,
        device="cpu",
        **more,
    )


def their_ppo(c: ppo.Config, seed: int) -> Any:
    """PPO, and what it alone has."""
    clip = falling(c.clip, c.clip_end)
    return on_policy(sb3.PPO, c, seed, batch_size=c.batch_size, n_epochs=c.epochs, clip_range=clip)


def their_a2c(c: a2c.Config, seed: int) -> Any:
    """A2C, and what it alone has."""
    return on_policy(sb3.A2C, c, seed, rms_prop_eps=c.rms_epsilon)


def their_sac(c: sac.Config, seed: int) -> Any:
    """SAC with our settings in their names."""
    return sb3.SAC(
        "MlpPolicy",
        gym.make(c.env_id),
        learning_rate=c.learning_rate,
        batch_size=c.batch_size,
        buffer_size=c.replay_size,
        learning_starts=c.learning_starts,
        gamma=c.gamma,
        tau=c.tau,
        train_freq=c.train_every,
        gradient_steps=c.updates,
        policy_kwargs={"net_arch": list(c.hidden)},
        seed=seed,
        device="cpu",
    )


# --- the tasks --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A learner on a task, an evaluation to reach, their learner of the same settings."""

    config: Any
    target: float
    theirs: Callable[[Any, int], Any]
    more: dict[str, Any] = field(default_factory=dict)  # settings of ours, as we recommend them


def side_by_side(config: Any, num_envs: int) -> dict[str, Any]:
    """The same number of updates a step, in bursts behind several environments."""
    every = max(num_envs, config.train_every // num_envs * num_envs)
    settings = replace(
        config,
        num_envs=num_envs,
        train_every=every,
        updates=config.updates * every // config.train_every,
        learning_starts=config.learning_starts // num_envs * num_envs,
    )
    return {f"rlcourse, {num_envs} environments": settings}


CARTPOLE_DQN = dqn.Config(
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
)
ACROBOT_DQN = dqn.Config(
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
)
PENDULUM_SAC = sac.Config(
    steps=6_000,
    num_envs=1,
    batch_size=256,
    replay_size=100_000,
    learning_starts=100,
    train_every=1,
    updates=1,
    hidden=(256, 256),
)
TASKS = {
    "CartPole-v1, zoo": Task(CARTPOLE_DQN, 475.0, their_dqn, side_by_side(CARTPOLE_DQN, 8)),
    "Acrobot-v1, zoo": Task(ACROBOT_DQN, -100.0, their_dqn, side_by_side(ACROBOT_DQN, 8)),
    "PPO, CartPole-v1, zoo": Task(ppo.Config(value_weight=1.0), 475.0, their_ppo),
    "A2C, CartPole-v1, zoo": Task(
        a2c.Config(learning_rate=7e-4, learning_rate_end=7e-4, value_weight=1.0),
        475.0,
        their_a2c,
    ),
    "SAC, Pendulum-v1, zoo": Task(PENDULUM_SAC, -200.0, their_sac, side_by_side(PENDULUM_SAC, 4)),
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


def ours(task: Task, config: Any, seed: int) -> tuple[Clock, float, Any]:
    """Train with this package."""
    module = importlib.import_module(type(config).__module__)
    clock = Clock(task, seed)
    result = module.train(
        config, seed, on_progress=lambda steps, row, run: clock.look(steps, run.policy)
    )
    seconds = clock.stop()
    return clock, seconds, judged(result.policy, task, seed, 100)


def theirs(task: Task, seed: int) -> tuple[Clock, float, Any]:
    """Train with Stable-Baselines3."""
    model = task.theirs(task.config, seed)

    def policy(observations: Any) -> Any:
        return model.predict(observations, deterministic=True)[0]

    clock = Clock(task, seed)

    class Look(BaseCallback):
        def _on_step(self) -> bool:
            if self.locals["dones"].any():  # as often as ours asks
                clock.look(self.num_timesteps, lambda: policy)
            return True

    model.learn(task.config.steps, callback=Look())
    seconds = clock.stop()
    return clock, seconds, judged(policy, task, seed, 100)


def limits(task: Task) -> dict[str, float]:
    """Steps a second with stepping only, and with learning off where it can be: no faster update beats them."""
    steps, found = 20_000, {}
    if hasattr(task.config, "learning_starts"):
        idle = replace(task.config, steps=steps, learning_starts=steps + 1)
        start = time.perf_counter()
        importlib.import_module(type(idle).__module__).train(idle)
        found["learning off"] = steps / (time.perf_counter() - start)
    envs = make_vector(task.config.env_id, task.config.num_envs)
    envs.reset(0)
    space = envs.envs.action_space
    space.seed(0)
    actions = [space.sample() for _ in range(steps // task.config.num_envs)]
    start = time.perf_counter()
    for action in actions:
        envs.step(action)
    found["stepping only"] = steps / (time.perf_counter() - start)
    said = ", ".join(f"{speed:,.0f} steps/s with {what}" for what, speed in found.items())
    print(f"  limits: {said}")
    return found


def compare(name: str, task: Task, seeds: int) -> dict[str, Any]:
    """Both libraries on every seed, in turn; print and return speeds, times to the target, final returns."""
    print(f"{name}: {task.config.steps:,} steps, seeds: {seeds}, one thread", flush=True)
    contenders: dict[str, Callable[[int], tuple[Clock, float, Any]]] = {
        "Stable-Baselines3": lambda seed: theirs(task, seed),
    }
    for who, config in {"rlcourse": task.config, **task.more}.items():
        contenders[who] = lambda seed, config=config: ours(task, config, seed)  # type: ignore[misc]
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
