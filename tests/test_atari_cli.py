"""``rlcourse atari``, as a reader types it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ale_py")

from rlcourse import checkpoint
from rlcourse.atari import agents, commands, film
from rlcourse.atari.agents import preset
from rlcourse.atari.environment import Game
from rlcourse.atari.players import names
from rlcourse.evidence import folder

SHIPPED = folder() / "players/pong-ppo.safetensors"


@pytest.fixture
def type_in(tmp_path: Path, monkeypatch: Any, rlcourse: Any) -> Any:
    """``rlcourse atari ...``, typed in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return partial(rlcourse, "atari")


@pytest.fixture
def tiny(monkeypatch: Any) -> None:
    """Batches of sixteen steps, games of ten."""
    full = agents.preset

    def preset(algorithm: str, game: str, **changes: Any) -> Any:
        config = full(algorithm, game, num_envs=2, batch_size=16, **changes)
        world = dataclasses.replace(config.game, max_frames=40)
        more = {"horizon": 8} if algorithm == "ppo" else {"replay_size": 32, "train_every": 16}
        return dataclasses.replace(config, game=world, **more)

    monkeypatch.setattr(agents, "preset", preset)


def test_a_training_is_stopped_and_resumed(type_in: Any, tiny: None) -> None:
    """What was under way when it stopped is lost: games of ten steps, stopped after eight."""
    code, said, _ = type_in("train", "--minutes", "0", "--steps", "48")
    assert code == 0 and "go on with: rlcourse atari train --resume ppo-pong-0" in said
    assert "16 of 48 agent steps, 64 frames" in said
    code, said, _ = type_in("train", "--resume", "ppo-pong-0")
    assert code == 0 and "48 of 48 agent steps" in said and "go on with" not in said
    code, said, _ = type_in("report", "ppo-pong-0")
    assert code == 0 and "2 games" in said and "random play -20.7" in said


def test_tensorboard_finds_each_game_once_after_a_crash_too(
    type_in: Any, tiny: None, tmp_path: Path, monkeypatch: Any
) -> None:
    """The second training goes on from a checkpoint before games that the first had drawn."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = ("--tensorboard", "curves")
    type_in("train", "--minutes", "0", "--steps", "64", *told)
    kept = (tmp_path / "ppo-pong-0/checkpoint.safetensors").read_bytes()
    type_in("train", "--resume", "ppo-pong-0", *told)
    (tmp_path / "ppo-pong-0/checkpoint.safetensors").write_bytes(kept)  # what a crash leaves
    code, _, _ = type_in("train", "--resume", "ppo-pong-0", *told)
    assert code == 0
    log = checkpoint.load(tmp_path / "ppo-pong-0/checkpoint.safetensors").facts["episodes.log"]
    curves = EventAccumulator(str(tmp_path / "curves")).Reload()
    for tag, key in (("game/score", "return"), ("game/length", "length")):
        drawn = [(event.step, event.value) for event in curves.Scalars(tag)]
        assert drawn == [(row["step"], row[key]) for row in log] and drawn
    (tmp_path / "full").write_text("")
    code, _, complaint = type_in("train", "--out", "other", "--tensorboard", "full")
    assert code == 2 and "tensorboard = full: must be a folder" in complaint
    code, _, complaint = type_in("train", "--resume", "nowhere", "--tensorboard", "curves-2")
    assert code == 2 and not {"other", "curves-2"} & {path.name for path in tmp_path.iterdir()}


def test_a_disk_that_is_full_ends_the_curves_and_not_the_training(
    type_in: Any, tiny: None, monkeypatch: Any
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    code, said, complaint = type_in("train", "--steps", "64", "--tensorboard", "curves")
    assert code == 0 and "64 of 64 agent steps" in said
    assert complaint.count("no more curves: curves cannot be written (No space left") == 1


def test_a_large_network_looks_at_large_pictures() -> None:
    for game, shape in (("pong", (4, 84, 84)), ("breakout", (4, 84, 84))):
        config = commands._settings("ppo", game, "nature", 0.1, None)
        assert (config.game.shape, config.network, config.game.sticky) == (shape, "nature", 0.1)
    assert commands._settings("dqn", "pong", "small", None, 800).game == preset("dqn", "pong").game


def test_a_player_is_judged_and_filmed(
    type_in: Any, tiny: None, tmp_path: Path, monkeypatch: Any
) -> None:
    type_in("train", "--game", "breakout", "--algorithm", "dqn", "--minutes", "0", "--steps", "32")
    from rlcourse.atari.evaluation import PROTOCOLS

    short = dataclasses.replace(PROTOCOLS["nature"], max_frames=80)
    monkeypatch.setitem(PROTOCOLS, "nature", short)
    code, said, _ = type_in(
        *("evaluate", "dqn-breakout-0", "--protocol", "nature", "--games", "2", "--out", "x.json")
    )
    assert code == 0 and "over 2 whole games" in said and "2 broken off" in said
    assert "of the way from random play (1.7) to the human tester (31.8)" in said
    kept = json.loads((tmp_path / "x.json").read_text())
    assert kept["protocol"]["epsilon"] == 0.05 and len(kept["scores"]) == 2
    real = film.moves
    monkeypatch.setattr(film, "moves", lambda *a, **k: real(*a, **{**k, "max_frames": 200}))
    code, said, _ = type_in("watch", "dqn-breakout-0", "--out", "x.gif", "--seconds", "2")
    assert code == 0 and "x.gif" in said and "in 50 steps" in said
    code, said, _ = type_in("watch", "dqn-breakout-0", "--out", "x.mp4", "--seconds", "2")
    assert code == 0 and "x.mp4" in said
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if sys.platform == "linux":
        code, _, complaint = type_in("watch", "dqn-breakout-0")
        assert code == 2 and "there is no screen here" in complaint


def test_a_judgement_that_is_killed_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("those of yesterday")
    code = "from rlcourse.cli import main; main()"
    words = ["atari", "evaluate", "pong-ppo", "--out", "scores.json"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=tmp_path, stderr=subprocess.PIPE
    ) as judging:
        assert judging.stderr is not None
        while b"/30" not in judging.stderr.read(20):
            assert judging.poll() is None
        judging.kill()
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]
    assert (tmp_path / "scores.json").read_text() == "those of yesterday"


def test_the_machine_on_the_screen_plays_the_players_game() -> None:
    """What the player saw, made of what the film shows: grey, brighter of two, shrunk."""
    seen: list[Any] = []
    rng = np.random.default_rng(0)

    def play(obs: Any) -> Any:
        seen.append(obs[0, -1].astype(float))
        return rng.integers(3, size=1)

    game = Game("pong", height=42, width=42, actions=("NOOP", "RIGHT", "LEFT"))
    screens = [screen for screen, _ in film.moves(play, game, max_frames=400)]
    assert len(screens) == 100
    for picture, screen in zip(seen[41::10], screens[41::10], strict=False):
        gray = np.array(Image.fromarray(screen).convert("L").resize((42, 42), Image.Resampling.BOX))
        assert abs(gray - picture).mean() < 3  # the pool of two frames moves an edge or two


def test_a_film_is_small_and_has_the_screens_shape(tmp_path: Path, monkeypatch: Any) -> None:
    real = film.moves
    monkeypatch.setattr(film, "moves", lambda *a, **k: real(*a, **{**k, "max_frames": 400}))
    rng, path = np.random.default_rng(0), tmp_path / "x.gif"
    score, steps = film.record(
        lambda obs: rng.integers(6, size=len(obs)), Game("pong"), path, seconds=4, skip=1
    )
    assert steps == 100 and score <= 0 and path.stat().st_size < 40_000
    with Image.open(path) as picture:
        assert picture.size == (160, 210) and picture.n_frames <= 60


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--game", "pogn"], "did you mean pong"),
        (["train", "--algorithm", "dpq"], "must be one of ppo, dqn"),
        (["train", "--network", "small", "--device", "tpu"], "device = 'tpu'"),
        (["train", "--network", "big"], "network = 'big'"),
        (["train", "--sticky", "2"], "sticky = 2.0"),
        (["train", "--steps", "0"], "steps"),
        (["train", "--resume", "nowhere"], "no Atari training is here"),
        (["train", "--resume", "nowhere", "--steps", "8"], "steps = 8: a resumed run keeps"),
        (["train", "--resume", "nowhere", "--seed", "0"], "seed = 0: a resumed run keeps"),
        (
            ["train", "--algorithm", "dqn", "--steps", "9"],
            "steps = 9: must be a multiple of",
        ),
        (["report", str(SHIPPED)], "a player; its training is not here"),
        (["train", "--resume", str(SHIPPED)], "a player; its training is not here"),
        (
            ["watch", "pong-ppo", "--out", "a.gif", "--skip", "-5"],
            "skip = -5: must not be negative",
        ),
        (["watch", "pong-ppo", "--out", "a.gif", "--seed", "-1"], "seed = -1"),
        (["report", "nowhere"], "no Atari training is here"),
        (["evaluate", "nowhere"], f"file or player; must be one of {', '.join(names())}"),
        (["watch", "pong-pop", "--out", "a.gif"], "did you mean pong-ppo?"),
        (["evaluate", "nowhere", "--protocol", "natur"], "must be one of nature"),
    ],
)
def test_what_can_be_mended_is_one_line_and_leaves_nothing(
    type_in: Any, tmp_path: Path, words: list[str], message: str
) -> None:
    code, _, complaint = type_in(*words)
    assert code == 2 and message in complaint and "Traceback" not in complaint
    assert len(complaint.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_something_else_is_refused(type_in: Any, tmp_path: Path) -> None:
    from rlcourse.algorithms import dqn

    run = dqn.Run(dqn.Config(replay_size=8), 0, "cpu")
    checkpoint.save(tmp_path / "other.safetensors", run)
    code, _, complaint = type_in("evaluate", "other.safetensors")
    assert code == 2 and "must be of an Atari run" in complaint


def test_without_the_emulator_the_message_says_what_to_install(
    type_in: Any, monkeypatch: Any
) -> None:
    from rlcourse.atari import environment

    environment.names.cache_clear()
    monkeypatch.setitem(sys.modules, "ale_py", None)
    code, _, complaint = type_in("train")
    assert code == 2 and 'pip install "rlcourse[atari]"' in complaint
