"""Asynchronous actor-critics: a step against numpy, processes that are killed, and none left behind."""

from __future__ import annotations

import importlib
import os
import signal
import warnings
from multiprocessing import Pipe, active_children
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from rlcourse import checkpoint
from rlcourse.algorithms import a3c
from rlcourse.algorithms.a2c import actor_critic_loss
from rlcourse.algorithms.a3c import Config, Run, Worker, train
from rlcourse.checkpoint import load, save
from rlcourse.envs.probes import PROBES, Probe, probe
from rlcourse.errors import CourseError, DivergenceError, InvalidArgumentError
from rlcourse.rollout import Segment

TINY: dict[str, Any] = {"steps": 200, "horizon": 5, "gamma": 0.9, "hidden": (4,), "workers": 1}
QUICK: dict[str, Any] = {
    **TINY, "steps": 3000, "hidden": (32,), "learning_rate": 1e-2, "max_grad_norm": 1e9,
    "value_weight": 1.0,
}  # fmt: skip


def started(workers: int = 1, **options: Any) -> tuple[Run, list[Worker]]:
    """Workers that share weights, in this process: what they do one after the other is what they do."""
    run = Run(Config(**{**TINY, **options, "workers": workers}), 0)
    return run, [Worker(run.config, 0, index, run.shared) for index in range(workers)]


# --- the gradient and the step --------------------------------------------------------------------


def slowly(theta: np.ndarray, segment: Segment, config: Config) -> Any:
    """The loss of a stretch as a function of the weights in numpy, its targets made from ``theta``."""
    sizes = [(4, 4), (4,), (2, 4), (2,), (4, 4), (4,), (1, 4), (1,)]

    def network(weights: np.ndarray, obs: Any) -> tuple[np.ndarray, np.ndarray]:
        parts, first = [], 0
        for size in sizes:
            parts.append(weights[first : first + int(np.prod(size))].reshape(size))
            first += parts[-1].size
        assert first == len(weights)
        outs = [np.tanh(obs @ w.T + b) @ v.T + c for w, b, v, c in (parts[:4], parts[4:])]
        logits = outs[0] - np.log(np.exp(outs[0]).sum(axis=1, keepdims=True))
        return logits, outs[1][:, 0]

    obs, next_obs = segment.obs[:, 0].astype(float), segment.next_obs[:, 0].astype(float)
    action, reward = segment.raw[:, 0], segment.reward[:, 0]
    values, ahead = network(theta, obs)[1], network(theta, next_obs)[1]
    target, future = np.zeros(len(obs)), 0.0
    for t in reversed(range(len(obs))):
        if segment.boundary[t, 0] or t == len(obs) - 1:
            future = 0.0 if segment.terminated[t, 0] else ahead[t]
        future = target[t] = reward[t] + config.gamma * future

    def loss(weights: np.ndarray) -> float:
        log_p, v = network(weights, obs)
        policy = -(log_p[np.arange(len(obs)), action] * (target - values)).mean()
        entropy = -(np.exp(log_p) * log_p).sum(axis=1).mean()
        value = ((target - v) ** 2).mean() / 2
        return float(policy + config.value_weight * value - config.entropy * entropy)

    return loss


def gradient_of(function: Any, at: np.ndarray) -> np.ndarray:
    steps = 1e-5 * np.eye(len(at))
    return np.array([function(at + h) - function(at - h) for h in steps]) / 2e-5


def test_two_workers_steps_are_those_of_a_serial_reference() -> None:
    """Fetched before the other's step, applied after it: numpy's gradients, one shared mean of squares."""
    run, workers = started(2, entropy=0.05, learning_rate=0.05, learning_rate_end=0.01,
                           rms_decay=0.9, rms_epsilon=1e-3, max_grad_norm=0.3)  # fmt: skip
    config, shared = run.config, run.shared
    theta, squares, lengths = shared.weights.double().numpy().copy(), 0.0, []
    for k in range(6):
        fetched, gradients = theta.copy(), []
        for worker in workers:  # both fetch, then both play
            worker.weights.data.copy_(shared.weights)
            segment = worker.episodes.play(worker.act, 30)
            wanted = gradient_of(slowly(fetched, segment, config), fetched)
            own = worker.gradient(segment, actor_critic_loss)
            np.testing.assert_allclose(own, wanted, atol=1e-4)
            gradients.append((own.clone(), wanted))
        for own, d in gradients:
            lengths.append(np.linalg.norm(d))
            d = d * min(1.0, 0.3 / lengths[-1])
            squares = 0.9 * squares + 0.1 * d**2
            theta = theta - (0.05 - 0.04 * 20 * k / 200) * d / (np.sqrt(squares) + 1e-3)
            shared.descend(own, config)
        shared.steps += 10  # of both
        np.testing.assert_allclose(shared.weights, theta, atol=2e-3)
        theta, squares = shared.weights.double().numpy().copy(), shared.squares.double().numpy()
    assert any(worker.episodes.log for worker in workers) and max(lengths) > 0.3


def test_equal_data_gives_equal_gradients() -> None:
    """What the last stretch left must not be added (in torch since 2.0 it would: zero_grad forgets the views)."""
    _, (worker,) = started()
    segment = worker.episodes.play(worker.act, 5)
    first = worker.gradient(segment, actor_critic_loss).clone()
    for _ in range(3):
        assert torch.equal(worker.gradient(segment, actor_critic_loss), first)
    assert float(first.norm()) > 0.01


def test_weights_are_fetched_before_every_stretch() -> None:
    run, workers = started(2, learning_rate=0.1)
    for worker in (*workers, *workers):
        before = run.shared.weights.clone()
        worker.stretch(actor_critic_loss)
        assert torch.equal(worker.weights.detach(), before)
        assert not torch.equal(run.shared.weights, before)
        network = torch.cat([p.detach().reshape(-1) for p in run.network.parameters()])
        assert torch.equal(network, run.shared.weights)  # the run's own network sees them
    assert run.shared.steps.tolist() == [10, 10]


def test_a_gradient_that_is_no_number_is_not_applied() -> None:
    run, _ = started()
    parts = (run.shared.weights, run.shared.squares, run.shared.steps)
    before = [x.clone() for x in parts]
    for bad in (np.nan, np.inf):
        gradient = torch.ones_like(run.shared.weights)
        gradient[3] = bad
        with pytest.raises(DivergenceError, match=rf"gradient norm = {bad}: must be finite"):
            run.shared.descend(gradient, run.config)
    assert all(torch.equal(a, b) for a, b in zip(parts, before, strict=True))
    run.shared.descend(torch.zeros_like(run.shared.weights), run.config)  # nothing to divide by
    assert torch.equal(run.shared.weights, before[0])


def test_workers_see_worlds_of_their_own() -> None:
    """Neither the same start nor the same dice; after a resumption not the old ones either."""
    run, workers = started(3)
    run.shared.steps[0] = 50
    workers += [Worker(run.config, 0, index, run.shared) for index in range(3)]
    starts = [tuple(worker.episodes.obs[0]) for worker in workers]
    assert len(set(starts)) == 6
    rolls = [tuple(torch.rand(3, generator=worker.dice).tolist()) for worker in workers]
    assert len(set(rolls)) == 6


@pytest.mark.parametrize("world", PROBES, ids=lambda world: world.env_id.split("-")[1])
def test_one_worker_solves_every_probe(world: Probe) -> None:
    """The closed-form value of every state, and the right action wherever there is a choice."""
    run, (worker,) = started(**{**QUICK, "env_id": world.env_id})
    while int(run.shared.steps.sum()) < run.config.steps:
        worker.stretch(actor_critic_loss)
    states = np.flatnonzero(~world.model().terminal)
    with torch.no_grad():
        values = run.network.critic(torch.from_numpy(states)).numpy()
    np.testing.assert_allclose(values, np.array(world.values(0.9))[states], atol=0.1)
    if world.model().num_actions > 1:
        np.testing.assert_array_equal(run.policy()(states), world.model().reward[states].argmax(1))


# --- processes ------------------------------------------------------------------------------------


@pytest.fixture
def troubled(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The world in which workers come to grief, by a name under which they can import it, too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("troubled")


def in_trouble(folder: Path, **options: Any) -> Config:
    workers = options.pop("workers", 2)
    world = {"folder": str(folder), "workers": workers, **options}
    return Config(**{**TINY, "env_id": "tests/Troubled-v0", "env_options": world, "steps": 2000,
                     "workers": workers})  # fmt: skip


class Witness:
    """Hears of progress and remembers every process that was at work."""

    def __init__(self, *doing: Any) -> None:
        self.pids: set[int] = set()
        self.others = {child.pid for child in active_children()}  # of tests that ran before
        self.doing = [*doing]  # once, after two hundred steps

    def __call__(self, steps: int, row: dict[str, float], run: Run) -> None:
        found = {child.pid for child in active_children() if child.pid}
        self.pids |= found - self.others
        if steps >= 200 and self.doing:
            self.doing.pop()()

    def left(self) -> list[int]:
        return [pid for pid in self.pids if Path(f"/proc/{pid}").exists()]


def test_one_process_is_a_serial_run(tmp_path: Path) -> None:
    """Twice the same, and the same as a worker in this process; another seed is another run.

    A checkpoint of it goes on to the end, and its policy is the run's.
    """
    config = Config(**{**TINY, "checkpoint_every": 20})
    paths: list[Path] = []

    def keep(run: Run) -> None:
        paths.append(tmp_path / str(len(paths)))
        save(paths[-1], run)

    first, again = train(config, 3, on_checkpoint=keep), train(config, 3)
    run = Run(config, 3)
    worker = Worker(config, 3, 0, run.shared)
    while int(run.shared.steps.sum()) < 200:
        worker.stretch(actor_critic_loss)
    obs = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    states = [r.policy.network.state_dict().values() for r in (first, again)]
    for one, other, serial in zip(*states, run.policy().network.state_dict().values(), strict=True):
        assert torch.equal(one, other) and torch.equal(one, serial)
    lengths = [row["length"] for row in worker.episodes.log]
    assert [row["length"] for row in first.log] == lengths and len(lengths) > 3
    assert not first.crashes
    np.testing.assert_array_equal(a3c.load_policy(load(paths[-1]))(obs), first.policy(obs))
    assert np.array_equal(load(paths[-1]).arrays["shared.squares"], run.shared.squares.numpy())


def test_an_episode_is_logged_when_it_was_over_not_when_it_was_heard_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A parent that listens late: the steps are those of the episodes' own lengths, to a stretch."""
    told: list[Any] = []
    pipe = type("Pipe", (), {"send": lambda self, rows: told.append(rows)})()
    monkeypatch.setattr(a3c.signal, "signal", lambda *handler: None)
    run, _ = started()
    a3c.work(run.config, 3, 0, run.shared, actor_critic_loss, pipe)
    for rows in told:
        run.note(rows, None)
    ends = np.cumsum([row["length"] for row in run.episodes.log])
    steps = np.array([row["step"] for row in run.episodes.log])
    assert len(ends) > 3 and run.episodes.steps == 200
    assert ((steps >= ends) & (steps < ends + run.config.horizon)).all()


def test_going_on_from_a_checkpoint(tmp_path: Path) -> None:
    run, (worker,) = started()
    for _ in range(20):
        worker.stretch(actor_critic_loss)
    run.note(worker.episodes.log, None)
    save(tmp_path / "run", run)
    rows, weights = run.episodes.log, run.shared.weights.clone()
    last: list[Run] = []
    result = train(run.config, 0, resume=load(tmp_path / "run"), on_checkpoint=last.append)
    assert result.log[: len(rows)] == rows and len(result.log) > len(rows) > 0
    assert last[-1].shared.steps.tolist() == [200]
    assert not torch.equal(last[-1].shared.weights, weights)


def test_a_checkpoint_is_whole_although_workers_go_on_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the sum that guards the file and the bytes that are written another step is taken."""
    run, (worker,) = started()
    worker.stretch(actor_critic_loss)
    real = checkpoint.to_bytes

    def meanwhile(*arguments: Any) -> bytes:
        worker.stretch(actor_critic_loss)
        return real(*arguments)

    monkeypatch.setattr(checkpoint, "to_bytes", meanwhile)
    save(tmp_path / "run", run)
    assert load(tmp_path / "run").arrays["shared.steps"].tolist() in ([5], [10])


def test_two_processes_learn() -> None:
    """They meet in shared memory: the delayed reward, whose value only many updates can find."""
    world, runs = probe("Delay"), []
    config = Config(**{**QUICK, "workers": 2, "env_id": world.env_id, "steps": 6000})
    result = train(config, on_checkpoint=runs.append)
    with torch.no_grad():
        values = runs[-1].network.critic(torch.tensor([0, 1])).numpy()
    np.testing.assert_allclose(values, world.values(0.9)[:2], atol=0.15)
    assert (runs[-1].shared.steps > 0).all() and not result.crashes
    assert sum(row["length"] for row in result.log) == pytest.approx(6000, abs=20)


def test_a_worker_that_is_killed_is_told_of_and_survived(
    troubled: ModuleType, tmp_path: Path
) -> None:
    """Killed from within, on a step of its own: from outside it might be over before it is hit."""
    witness, config = Witness(), in_trouble(tmp_path, trouble="kill")
    with pytest.warns(UserWarning, match=r"worker \d: exit code -9; 1 go on"):
        result = train(config, loss=troubled.loss, on_progress=witness)
    assert len(result.crashes) == 1 and result.crashes[0].endswith("exit code -9")
    assert result.log[-1]["step"] >= 1990
    assert len(witness.pids) >= 1 and not witness.left()


def test_an_exception_in_a_world_is_told_of_and_survived(
    troubled: ModuleType, tmp_path: Path
) -> None:
    witness = Witness()
    with pytest.warns(UserWarning, match=r"OSError: the cable is out"):
        result = train(
            in_trouble(tmp_path, trouble="raise"), loss=troubled.loss, on_progress=witness
        )
    (crash,) = result.crashes
    assert crash.startswith("worker ") and "Traceback" in crash and "troubled.py" in crash
    assert result.log[-1]["step"] >= 1990
    assert len(witness.pids) == 2 and not witness.left()


@pytest.mark.parametrize(
    ("trouble", "said"), [("raise", "OSError: the cable is out"), ("leave", "exit code 0")]
)
def test_when_every_worker_is_gone_the_run_is_over(
    trouble: str, said: str, troubled: ModuleType, tmp_path: Path
) -> None:
    witness, config = Witness(), in_trouble(tmp_path, trouble=trouble, victims=2)
    with warnings.catch_warnings(), pytest.raises(CourseError, match="every worker") as caught:
        warnings.simplefilter("ignore")
        train(config, loss=troubled.loss, on_progress=witness)
    assert said in str(caught.value)
    assert len(witness.pids) >= 1 and not witness.left()


def test_an_interrupted_run_leaves_no_process(troubled: ModuleType, tmp_path: Path) -> None:
    """One worker hangs. A signal that reaches the workers, as Ctrl-C does, is not theirs to obey."""
    witness = Witness(
        lambda: signal.raise_signal(signal.SIGINT),
        lambda: [os.kill(child.pid, signal.SIGINT) for child in active_children()],  # type: ignore[arg-type]
    )
    with pytest.raises(KeyboardInterrupt):
        train(in_trouble(tmp_path, trouble="hang"), loss=troubled.loss, on_progress=witness)
    assert not witness.doing  # a worker went on after the first signal
    assert len(witness.pids) == 2 and not witness.left()


def test_an_interruption_between_two_starts_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pids: list[Any] = []
    start = SpawnProcess.start

    def interrupted(self: SpawnProcess) -> None:
        if pids:
            raise KeyboardInterrupt
        start(self)
        pids.append(self.pid)

    monkeypatch.setattr(SpawnProcess, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(Config(**{**TINY, "workers": 2, "steps": 10**7}))
    left = [child for child in active_children() if child.pid in pids]
    for child in left:  # not ours to leave, either
        child.kill()
        child.join()
    assert pids and not left


def test_a_worker_that_dies_in_the_midst_of_a_sentence() -> None:
    ours, theirs = Pipe(duplex=False)
    theirs.send([{"step": 1.0}])
    os.write(theirs.fileno(), (100).to_bytes(4, "big") + b"half")
    theirs.close()
    assert a3c._hear(ours) == [{"step": 1.0}]
    assert a3c._hear(ours) == ""


# --- what cannot go well --------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cuda", "bogus"])
def test_only_the_processor_shares_weights(device: str) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"device = '{device}': .*on the cpu"):
        train(Config(**TINY), device=device)


@pytest.mark.parametrize("workers", [0, -1, 1.5, "many", None])
def test_bad_numbers_of_workers(workers: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"workers = {workers!r}: must be a whole"):
        Config(workers=workers)


@pytest.mark.parametrize("seed", [-1, 1.5, None])
def test_bad_seeds(seed: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"seed = "):
        train(Config(**TINY), seed)


def test_another_algorithms_checkpoint(tmp_path: Path) -> None:
    run, _ = started()
    run.algorithm = "a2c"
    save(tmp_path / "run", run)
    with pytest.raises(InvalidArgumentError, match=r"algorithm = 'a2c' made the checkpoint"):
        a3c.load_policy(load(tmp_path / "run"))
