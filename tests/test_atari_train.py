"""Training on Atari: the package's own learners, and what an hour can do to a process."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("ale_py")

from rlcourse import files
from rlcourse.atari.agents import AGENTS, PPO, PPOConfig, load_player, preset
from rlcourse.atari.environment import Game
from rlcourse.atari.networks import Agent
from rlcourse.atari.rollout import Ahead, GameSegments
from rlcourse.atari.train import CHECKPOINT, begun, kept_in, report, train
from rlcourse.checkpoint import load, save
from rlcourse.errors import CorruptCheckpointError, CourseError, InvalidArgumentError
from rlcourse.networks import DrawingPolicy

SMALL = {
    "ppo": {"steps": 64, "num_envs": 2, "horizon": 8, "batch_size": 16, "epochs": 1},
    "dqn": {
        **{"steps": 64, "num_envs": 2, "train_every": 8, "batch_size": 8, "learning_starts": 16},
        **{"replay_size": 32, "checkpoint_every": 2},
    },
}


def small(algorithm: str = "ppo", **changes: Any) -> Any:
    return preset(algorithm, "pong", **{**SMALL[algorithm], **changes})


def weights(run: Any) -> np.ndarray:
    return np.asarray(run.weights.detach())


def test_the_settings_of_pong_are_those_that_were_measured() -> None:
    config = preset("ppo", "pong")
    assert isinstance(config, PPOConfig)
    assert config.game.shape == (4, 32, 42) and config.game.actions == ("NOOP", "RIGHT", "LEFT")
    assert (config.num_envs, config.horizon, config.epochs, config.batch_size) == (16, 128, 3, 256)
    assert (config.learning_rate, config.learning_rate_end, config.clip) == (1e-3, 0.0, 0.2)
    other = preset("ppo", "ALE/Breakout-v5")
    assert other.game == Game("breakout", height=42, width=42) and other.env_id == "breakout"


@pytest.mark.parametrize("algorithm", AGENTS)
def test_a_run_learns_stops_and_goes_on(algorithm: str, tmp_path: Path) -> None:
    """From its minutes' end to its steps' end, in one folder, with what it had learned."""
    config, seen = small(algorithm, prioritized=True) if algorithm == "dqn" else small(), []
    first = train(config, 3, folder=tmp_path / "run", minutes=0.0, on_progress=seen.append)
    assert first.episodes.steps == (16 if algorithm == "ppo" else 8)
    assert seen == [first]
    kept_config, kept = begun(tmp_path / "run")
    assert kept_config == config and kept.seed == 3
    start = AGENTS[algorithm][0](config, 3)
    again = train(config, 3, folder=tmp_path / "run", resume=True)
    assert again.episodes.steps == 64 and again.updates > first.updates
    assert (weights(again) != weights(start)).any() and again.seconds > first.seconds
    start.episodes.close()
    assert np.isfinite(weights(again)).all()


def test_a_resumed_run_has_the_weights_and_the_moments_of_the_stopped_one(tmp_path: Path) -> None:
    first = train(small(), 3, folder=tmp_path, minutes=0.0)
    again = train(small(), 3, folder=tmp_path, resume=True, minutes=0.0, on_progress=None)
    assert again.episodes.steps == 2 * first.episodes.steps and again.updates == 2 * first.updates
    number = next(iter(again.optimizer.state.values()))["step"]
    assert int(number) == again.updates  # one minibatch a batch: Adam's clock went on


@pytest.mark.parametrize("algorithm", AGENTS)
def test_the_same_seed_learns_the_same(algorithm: str, tmp_path: Path) -> None:
    """In whatever number of emulators' threads, though they play on while the network learns."""
    runs = [train(small(algorithm), 5, folder=tmp_path / str(n), threads=n).network for n in (1, 2)]
    for a, b in zip(*(run.state_dict().values() for run in runs), strict=True):
        assert bool((a == b).all())


def test_the_log_is_of_whole_games_in_the_machines_own_points() -> None:
    """A lost life is no game; against a plain sum over the steps."""
    game = Game("space_invaders", height=20, width=20, max_frames=240, sticky=0.0)
    segments, rng = GameSegments(game, 2, 0, 1), np.random.default_rng(0)
    total, wanted = np.zeros(2), []
    for _ in range(130):
        segments.step(rng.integers(6, size=2))
        total += segments.envs.score
        for i in np.flatnonzero(segments.envs.over):
            wanted.append(total[i])
            total[i] = 0
    assert [row["return"] for row in segments.log] == wanted and len(wanted) == 4
    assert [row["length"] for row in segments.log] == [60] * 4
    assert max(wanted) > 3  # not clipped


WORLD = Game("space_invaders", height=20, width=20, max_frames=80)


def ahead_and_actor() -> tuple[Ahead, DrawingPolicy]:
    ahead = Ahead(GameSegments(WORLD, 2, 5, 1))
    agent = Agent(ahead.observation_space, ahead.action_space, "small")
    actor = nn.Sequential(agent.eye, agent.actor)
    return ahead, DrawingPolicy(actor, torch.Generator().manual_seed(0))


def test_what_is_played_ahead_is_played_by_the_policy_before_the_newest_update(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against the same games in turn, where every policy waits one stretch; the log, too, game by game."""
    ahead, act = ahead_and_actor()
    step = ahead.segments.step

    def slowly(action: Any) -> Any:
        time.sleep(0.005)  # so that the thread is still playing when the policy changes
        return step(action)

    monkeypatch.setattr(ahead.segments, "step", slowly)
    plain, dice = GameSegments(WORLD, 2, 5, 1), torch.Generator().manual_seed(0)
    before = deepcopy(act.network)
    for number in range(5):
        wanted = plain.play(DrawingPolicy(before, dice), 12)
        got = ahead.play(act, 12)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
        assert ahead.steps == plain.steps == 24 * (number + 1)
        noted = [{key: row[key] for key in ("step", "return", "length")} for row in ahead.log]
        assert noted == plain.log
        assert [row.get("update") for row in ahead.log] == [
            max(0, (row["step"] - 1) // 24 - 1) or None for row in ahead.log
        ]
        before = deepcopy(act.network)
        with torch.no_grad():  # an "update", felt by the stretch after the next
            act.network[1].logits.bias[number] += 8.0
        ahead.note = {"update": number + 1}
    assert len(plain.log) >= 4
    ahead.close()
    plain.close()


def test_after_a_restart_the_games_are_new_and_behind_what_was_handed_out() -> None:
    ahead, act = ahead_and_actor()
    ahead.play(act, 12)
    ahead.restart()
    new = GameSegments(WORLD, 2, 5, 1)
    new.steps = 24
    new.restart()
    np.testing.assert_array_equal(ahead.play(act, 3).obs[0], new.obs)
    assert ahead.steps == 30
    ahead.close()
    new.close()


def test_what_goes_wrong_in_the_thread_is_said_and_the_thread_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ahead, act = ahead_and_actor()
    threads = threading.active_count()

    def broken(act: Any, steps: int) -> Any:
        raise CourseError("the machine is on fire")

    ahead.play(act, 2)
    ahead.coming.result()  # type: ignore[union-attr]
    monkeypatch.setattr(ahead.segments, "play", broken)
    ahead.play(act, 2)
    with pytest.raises(CourseError, match="on fire"):
        ahead.play(act, 2)
    ahead.close()
    assert threading.active_count() == threads


def test_a_player_is_read_from_a_checkpoint(tmp_path: Path) -> None:
    run = train(small(), 0, folder=tmp_path, minutes=0.0)
    policy, game = load_player(load(tmp_path / CHECKPOINT))
    assert game == run.config.game
    obs = np.random.default_rng(0).integers(256, size=(40, *game.shape), dtype=np.uint8)
    np.testing.assert_array_equal(policy(obs), run.player(True, 0)(obs))
    drawn = [
        load_player(load(tmp_path / CHECKPOINT), greedy=False, seed=s)[0](obs) for s in (0, 0, 1)
    ]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()
    assert set(drawn[0].tolist()) == {0, 1, 2}


def test_a_training_from_before_there_was_a_thread_goes_on_in_turn(tmp_path: Path) -> None:
    train(small(ahead=False), 0, folder=tmp_path, minutes=0.0)
    kept = load(tmp_path / CHECKPOINT)
    arrays = {name: array.copy() for name, array in kept.arrays.items()}
    old = dataclasses.make_dataclass("Old", [name for name in kept.config if name != "ahead"])
    config = old(**{name: value for name, value in kept.config.items() if name != "ahead"})
    about = {"algorithm": kept.algorithm, "config": config, "seed": kept.seed}
    whole = {**arrays, **kept.facts}
    save(tmp_path / CHECKPOINT, SimpleNamespace(**about, kept=tuple(whole), **whole))
    assert "ahead" not in load(tmp_path / CHECKPOINT).config
    config, kept = begun(tmp_path)
    assert config == small(ahead=False)
    load_player(kept_in(tmp_path))
    again = train(config, 0, folder=tmp_path, resume=True, minutes=0.0)
    assert again.episodes.steps == 32


def test_a_checkpoint_for_another_network_or_game_is_refused(tmp_path: Path) -> None:
    train(small(), 0, folder=tmp_path, minutes=0.0)
    for changes, message in (
        ({"network": "mnih2013", "game": Game("pong")}, "the checkpoint has"),
        ({"game": Game("breakout", height=42, width=42)}, "game|env_id"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            train(small(**changes), 0, folder=tmp_path, resume=True)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    train(small(), 0, folder=tmp_path, minutes=0.0)
    file = tmp_path / CHECKPOINT
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CorruptCheckpointError):
        begun(tmp_path)


# --- the folder ------------------------------------------------------------------------------------


def test_folders_that_will_not_do_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InvalidArgumentError, match="holds other things"):
        train(small(), folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InvalidArgumentError, match="no training is here"):
        train(small(), folder=tmp_path / "new", resume=True)
    assert not (tmp_path / "new").exists()
    train(small(), folder=tmp_path / "new", minutes=0.0)
    with pytest.raises(InvalidArgumentError, match="go on with it"):
        train(small(), folder=tmp_path / "new")


def test_a_full_disk_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training goes on through it; the first checkpoint after it has all of it."""
    train(small(), 0, folder=tmp_path, minutes=0.0)
    good, told, fsync = (tmp_path / CHECKPOINT).read_bytes(), [], os.fsync

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    def after(run: Any) -> None:
        if told and files.os.fsync is full:
            assert (tmp_path / CHECKPOINT).read_bytes() == good
            monkeypatch.setattr(files.os, "fsync", fsync)

    monkeypatch.setattr(files.os, "fsync", full)
    options: dict[str, Any] = {"folder": tmp_path, "resume": True, "checkpoint_minutes": 0.0}
    run = train(small(), 0, **options, on_progress=after, on_trouble=told.append)
    assert "No space left" in told[0] and len(told) == 1
    assert run.episodes.steps == begun(tmp_path)[1].facts["episodes.steps"] == 64
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, "lock"}


def test_a_disk_that_stays_full_is_said_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(CourseError, match="No space left"):
        train(small(), 0, folder=tmp_path, minutes=0.0)


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    train(small(), 0, folder=tmp_path, minutes=0.0)
    (tmp_path / ".ab3_x9zq").write_bytes(b"half")
    train(small(), 0, folder=tmp_path, resume=True, minutes=0.0)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, "lock"}


CHILD = """
import sys
from pathlib import Path
from rlcourse.atari.agents import preset
from rlcourse.atari.train import train
config = preset("ppo", "pong", num_envs=2, horizon=8, batch_size=16, epochs=1, steps=10**6)
train(config, folder=Path(sys.argv[1]), resume=len(sys.argv) > 2, checkpoint_minutes=0.0,
      on_progress=lambda run: print(run.episodes.steps, flush=True))
"""


def child(*words: str) -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_stopped_killed_and_resumed_a_run_loses_one_batch_at_most(tmp_path: Path) -> None:
    """SIGTERM leaves with code 0; kill -9 in the middle of whatever it does leaves a whole checkpoint."""
    with child(str(tmp_path)) as process:
        process.stdout.readline()
        process.stdout.readline()  # the first batch's checkpoint is written
        with pytest.raises(CourseError, match="another training runs"):
            train(small(), folder=tmp_path, resume=True)
        process.send_signal(signal.SIGTERM)
        said, complaint = process.communicate(timeout=60)
        assert process.returncode == 0 and "terminate" not in complaint, complaint
    config, kept = begun(tmp_path)
    stopped = kept.facts["episodes.steps"]
    assert stopped == int((said or "32").split()[-1])
    with child(str(tmp_path), "resume") as process:
        lines = [int(process.stdout.readline()) for _ in range(3)]
        process.kill()
        rest, _ = process.communicate(timeout=60)
        last = [*lines, *map(int, rest.split())][-1]
    assert lines[0] == stopped + 16
    _, kept = begun(tmp_path)
    assert last - 16 <= kept.facts["episodes.steps"] <= last
    again = train(config, kept.seed, folder=tmp_path, resume=True, minutes=0.0)
    assert again.episodes.steps == kept.facts["episodes.steps"] + 16


def test_a_report_says_where_a_run_stands(tmp_path: Path) -> None:
    config = small(game=dataclasses.replace(small().game, max_frames=40))
    train(config, 3, folder=tmp_path)
    text = report(tmp_path)
    assert text.startswith("ppo on pong, seed 3: 64 of 64 agent steps, 256 frames, 6 games")
    assert "random play -20.7, the human tester 9.3, DQN 18.9" in text
    with pytest.raises(InvalidArgumentError, match="no Atari training"):
        report(tmp_path / "nothing")


def test_a_lost_life_is_an_end_to_the_learner_and_none_to_the_log() -> None:
    run = PPO(
        preset("ppo", "breakout", num_envs=2, horizon=64, batch_size=128, epochs=1, steps=128), 0
    )
    segment = run.episodes.play(run.act, 64)
    assert segment.terminated.any() and not run.episodes.log
    assert abs(segment.reward).max() <= 1
    run.episodes.close()


def test_the_schedules_of_dqn_end_with_its_last_burst() -> None:
    """After it a share of the training above one would turn the step size's sign."""
    with pytest.raises(InvalidArgumentError, match="steps = 40: must be a multiple of train_every"):
        preset("dqn", "pong", num_envs=8, train_every=32, steps=40)
