r"""A3C: actor-critics in several processes that share their weights and never wait for each other.

Paper: Mnih et al. 2016 (algorithm S3). Every worker copies the shared weights :math:`\theta`, acts a few steps,
computes the gradient of A2C's loss for them, and applies it to whatever :math:`\theta` has become in the meantime,
by RMSProp whose running mean of squares is shared, too:

.. math:: g \leftarrow \alpha g + (1 - \alpha)\, \Delta\theta^2, \qquad
          \theta \leftarrow \theta - \eta\, \frac{\Delta\theta}{\sqrt g + \epsilon}

(their section 4; no lock, after Recht et al. 2011). With several workers chance decides which gradient comes first.

Deviations from Mnih et al. 2016: processes, not threads, since Python's threads share one interpreter;
:math:`\epsilon` stands outside the root, as in A2C's; no layers are shared; the loss is a mean, not a sum.
"""

from __future__ import annotations

import signal
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlcourse.algorithms import a2c
from rlcourse.checkpoint import Checkpoint, read_config, restore
from rlcourse.envs.vector import make
from rlcourse.errors import CourseError, DivergenceError, InvalidArgumentError, check_positive
from rlcourse.networks import ActorCritic, DrawingPolicy, ModePolicy, flatten, seeded
from rlcourse.rollout import Progress, Segment, Segments
from rlcourse.seeding import streams

__all__ = ["Config", "Result", "Run", "load_policy", "train"]


@dataclass(frozen=True)
class Config(a2c.Config):
    """A2C's, with workers; each has one environment, and so makes longer stretches."""

    steps: int = 150_000  # environment steps, of all workers together
    num_envs: int = 1  # environments of one worker
    horizon: int = 20  # steps of each of them before an update
    workers: int = 2  # processes

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "workers", check_positive("workers", self.workers))


@dataclass(frozen=True)
class Result(a2c.Result):
    """As A2C's; ``crashes`` tells of workers that stopped before the end, and why."""

    crashes: list[str]


class Shared(nn.Module):
    """What all workers read and write: plain memory, and no lock that a killed worker could keep."""

    def __init__(self, weights: Tensor, workers: int) -> None:
        super().__init__()
        self.weights = weights.share_memory_()  # type: ignore[no-untyped-call]
        self.register_buffer("squares", torch.zeros_like(weights))
        self.register_buffer("steps", torch.zeros(workers, dtype=torch.int64))  # a place for each
        self.squares: Tensor
        self.steps: Tensor
        self.stop = torch.zeros(1, dtype=torch.bool).share_memory_()  # type: ignore[no-untyped-call]
        self.share_memory()

    def descend(self, gradient: Tensor, config: Config) -> None:
        """One step of RMSProp on the shared weights, at most ``max_grad_norm`` long."""
        norm = float(gradient.norm())
        if not np.isfinite(norm):
            raise DivergenceError(f"gradient norm = {norm}: must be finite; nothing was applied")
        gradient = gradient * min(1.0, config.max_grad_norm / (norm + 1e-12))
        share = min(1.0, int(self.steps.sum()) / config.steps)
        rate = config.learning_rate + share * (config.learning_rate_end - config.learning_rate)
        self.squares.mul_(config.rms_decay).addcmul_(gradient, gradient, value=1 - config.rms_decay)
        self.weights.addcdiv_(gradient, self.squares.sqrt().add_(config.rms_epsilon), value=-rate)


@dataclass
class Log:
    """Episodes of all workers, in the order in which they were told."""

    steps: int = 0
    log: list[dict[str, float]] = field(default_factory=list)
    kept = ("steps", "log")


class Run:
    """What the workers have made so far; ``kept`` is what a checkpoint holds."""

    algorithm = "a3c"
    kept = ("network", "shared", "episodes")

    def __init__(self, config: Config, seed: int) -> None:
        self.config, self.seed, self.episodes = config, seed, Log()
        env = make(config.env_id, **config.env_options)
        with seeded(streams(seed).network):
            self.network = ActorCritic(env.observation_space, env.action_space, config.hidden)
        env.close()
        self.shared = Shared(flatten(self.network).data, config.workers)

    def note(self, rows: list[dict[str, float]], on_progress: Progress | None) -> None:
        """Log episodes that a worker told of, at the steps of all workers together."""
        self.episodes.steps = int(self.shared.steps.sum())
        self.episodes.log += rows
        if on_progress:
            on_progress(self.episodes.steps, self.episodes.log[-1], self)

    def policy(self) -> ModePolicy:
        """The policy as it stands, frozen and without chance."""
        return self.network.policy()


class Worker:
    """One actor-critic with a network of its own, whose weights are fetched before every stretch."""

    def __init__(self, config: Config, seed: int, index: int, shared: Shared) -> None:
        self.config, self.index, self.shared = config, index, shared
        words = np.random.SeedSequence([seed, index, int(shared.steps.sum())]).generate_state(2)
        self.episodes = Segments(config.env_id, config.env_options, config.num_envs, int(words[0]))
        spaces = self.episodes.observation_space, self.episodes.action_space
        self.network = ActorCritic(*spaces, config.hidden)
        self.weights = flatten(self.network)
        self.dice = torch.Generator()
        self.dice.manual_seed(int(words[1]))
        self.act = DrawingPolicy(self.network.actor, self.dice)

    def stretch(self, loss: a2c.Loss) -> None:
        """Fetch the weights, act, and give the gradient back."""
        self.weights.data.copy_(self.shared.weights)
        segment = self.episodes.play(self.act, self.config.horizon)
        self.shared.descend(self.gradient(segment, loss), self.config)
        self.shared.steps[self.index] += segment.reward.size

    def gradient(self, segment: Segment, loss: a2c.Loss) -> Tensor:
        """A2C's, anew for every stretch: what the last one left must not be added."""
        assert self.weights.grad is not None
        self.weights.grad.zero_()
        a2c.segment_loss(self.network, segment, self.config, loss).backward()  # type: ignore[no-untyped-call]
        return self.weights.grad


def work(
    config: Config, seed: int, index: int, shared: Shared, loss: a2c.Loss, pipe: Connection
) -> None:
    """A worker's life: stretches until all workers together have made the steps."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started us
    torch.set_num_threads(1)
    told = 0
    try:
        worker = Worker(config, seed, index, shared)
        while int(shared.steps.sum()) < config.steps and not shared.stop:
            worker.stretch(loss)
            if len(worker.episodes.log) > told:
                now = {"step": int(shared.steps.sum())}
                pipe.send([row | now for row in worker.episodes.log[told:]])
                told = len(worker.episodes.log)
        worker.episodes.close()
    except Exception:  # whatever it is, the others go on, and the user is told
        pipe.send(traceback.format_exc(limit=-3))


# --- the loop --------------------------------------------------------------------------------------


def train(
    config: Config,
    seed: int = 0,
    *,
    loss: a2c.Loss = a2c.actor_critic_loss,
    device: str = "cpu",
    on_progress: Progress | None = None,
    on_checkpoint: Callable[[Run], None] | None = None,
    resume: Checkpoint | None = None,
) -> Result:
    """Learn in ``workers`` processes. Ask from under ``if __name__ == "__main__"`` in a script of your own.

    A worker that crashes is reported by a warning and in ``Result.crashes``; the others make its steps.

    Raises:
        CourseError: no worker is left.
        InvalidArgumentError: another device than the processor, on which alone processes share weights.
    """
    if device != "cpu":
        raise InvalidArgumentError(f"device = {device!r}: workers share weights on the cpu alone")
    run = Run(config, seed)
    if resume is not None:
        restore(run, resume)
    context = torch.multiprocessing.get_context("spawn")
    pipes, due = dict[Any, tuple[int, Any]](), run.episodes.steps
    crashes: list[str] = []
    try:
        for index in range(config.workers):
            ours, theirs = context.Pipe(duplex=False)
            arguments = (config, seed, index, run.shared, loss, theirs)
            process = context.Process(target=work, args=arguments, daemon=True)
            pipes[ours] = index, process
            process.start()
            theirs.close()  # so that the end of the worker is the end of the pipe
        while pipes:
            for pipe in wait(list(pipes), timeout=1.0):
                heard = _hear(pipe)  # type: ignore[arg-type]
                if isinstance(heard, list):
                    run.note(heard, on_progress)
                    continue
                index, process = pipes.pop(pipe)
                process.join()
                if heard or process.exitcode or int(run.shared.steps.sum()) < config.steps:
                    crashes.append(f"worker {index}: {heard or f'exit code {process.exitcode}'}")
                    warnings.warn(f"{crashes[-1]}; {len(pipes)} go on", stacklevel=2)
            if on_checkpoint and run.episodes.steps >= due:
                due += config.checkpoint_every * config.horizon
                on_checkpoint(run)
    finally:
        run.shared.stop.fill_(True)
        for _, process in pipes.values():
            if process.pid is not None:
                process.join(timeout=5)
                process.kill()
                process.join()
    if int(run.shared.steps.sum()) < config.steps:
        raise CourseError("every worker has crashed; the first was " + crashes[0])
    if on_checkpoint:
        on_checkpoint(run)
    return Result(run.policy(), run.episodes.log, config, seed, crashes)


def _hear(pipe: Connection) -> list[dict[str, float]] | str:
    """Log rows; or why a worker has crashed; or nothing, from one that has ended."""
    try:
        return pipe.recv()  # type: ignore[no-any-return]
    except (EOFError, OSError):  # it has ended, or was killed in the midst of a message
        return ""


def load_policy(kept: Checkpoint) -> ModePolicy:
    """The frozen policy of a checkpoint."""
    run = Run(read_config(Config, kept, "a3c"), kept.seed)
    restore(run, kept, only=("network",))
    return run.policy()
