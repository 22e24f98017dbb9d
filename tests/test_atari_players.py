"""Players that come with the package, and what contracts measure of them and of trainings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ale_py")

from rlcourse.atari import players
from rlcourse.atari.agents import load_player, preset
from rlcourse.atari.train import CHECKPOINT, train
from rlcourse.checkpoint import load
from rlcourse.errors import CorruptCheckpointError, InvalidArgumentError
from rlcourse.evidence import atari, contracts, folder

SMALL: dict[str, Any] = {
    **{"steps": 2048, "num_envs": 2, "horizon": 64, "batch_size": 64, "epochs": 1},
    "game": {
        **{"name": "pong", "height": 42, "width": 42, "max_frames": 200, "noops": 0},
        **{"sticky": 0.0, "lives": False},
    },
}


def test_every_player_is_small_and_plays() -> None:
    assert {contract.config.get("player") for contract in contracts().values()} - {None} == set(
        players.names()
    )
    for name in players.names():
        assert (folder() / "players" / f"{name}.safetensors").stat().st_size < 1_000_000
        policy, game = load_player(players.player(name))
        obs = np.random.default_rng(0).integers(256, size=(20, *game.shape), dtype=np.uint8)
        assert policy(obs).shape == (20,)


def test_a_shipped_player_is_the_trained_one_to_eleven_bits(tmp_path: Path) -> None:
    """Against the checkpoint's own arrays; only the network is in it."""
    train(
        preset("ppo", "pong", **{**SMALL, "game": preset("ppo", "pong").game}),
        folder=tmp_path,
        minutes=0.0,
    )
    whole = load(tmp_path / CHECKPOINT)
    players.ship(whole, tmp_path / "player.safetensors")
    small = load(tmp_path / "player.safetensors")
    assert (small.algorithm, small.config, small.seed) == (
        whole.algorithm,
        whole.config,
        whole.seed,
    )
    log = whole.facts["episodes.log"]
    assert small.facts["log"] == [[row["step"], row["return"]] for row in log]
    assert set(small.arrays) == {name for name in whole.arrays if name.startswith("network.")}
    for name, array in small.arrays.items():
        assert array.dtype == np.float16
        np.testing.assert_allclose(array, whole.arrays[name], rtol=2**-11, atol=2**-25)
    six = (tmp_path / CHECKPOINT).stat().st_size / (tmp_path / "player.safetensors").stat().st_size
    assert six > 5.5  # weights and two moments of four bytes against weights of two


def test_a_player_that_is_not_here_or_damaged_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidArgumentError, match="did you mean pong-ppo"):
        players.player("pong-pop")
    (tmp_path / "players").mkdir()
    (tmp_path / "players" / "half.safetensors").write_bytes(b"half")
    monkeypatch.setenv("RLCOURSE_EVIDENCE", str(tmp_path))
    with pytest.raises(CorruptCheckpointError, match="half"):
        players.player("half")


def test_a_measured_training_is_kept_and_its_curve_is_of_its_own_games(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The curve against a plain loop over the log; a second call trains nothing and says the same."""
    monkeypatch.setenv("RLCOURSE_RUNS", str(tmp_path))
    options: dict[str, Any] = {"algorithm": "ppo", "protocol": "greedy", "games": 10}
    score, extra = atari.learned_score(SMALL, 3, **options)
    file = tmp_path / "ppo-pong-3" / CHECKPOINT
    log, written = load(file).facts["episodes.log"], file.read_bytes()
    assert len(log) > 30 and score == np.mean(extra["games"]) and len(extra["games"]) == 10
    known = log[0]["return"]
    for begin, end, value in zip([0, *extra["x"]], extra["x"], extra["curves"], strict=False):
        inside = [row["return"] for row in log if begin < row["step"] <= end]
        known = np.mean(inside) if inside else known
        assert value == pytest.approx(known)
    again, same = atari.learned_score(SMALL, 3, **options)
    assert (again, same["curves"]) == (score, extra["curves"])
    assert load(file).facts["episodes.steps"] == 2048 and written[:8] == file.read_bytes()[:8]


def test_half_a_training_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C asks a training to stop, and it does; what it has so far is kept, and not judged."""
    monkeypatch.setenv("RLCOURSE_RUNS", str(tmp_path))
    monkeypatch.setattr(atari, "train", partial(train, minutes=0.0))
    with pytest.raises(KeyboardInterrupt):
        atari.learned_score(SMALL, 3, algorithm="ppo", protocol="greedy", games=1)
    assert 0 < load(tmp_path / "ppo-pong-3" / CHECKPOINT).facts["episodes.steps"] < 2048


def test_a_training_that_is_stopped_on_its_way_has_the_whole_ones_curve(tmp_path: Path) -> None:
    """To the last digit, since it is the same training."""
    options: dict[str, Any] = {"algorithm": "ppo", "protocol": "greedy", "games": 1}
    _, whole = atari.learned_score(SMALL, 3, **options)
    steps = int(whole["x"][19])
    score, way = atari.score_on_the_way(SMALL, 3, algorithm="ppo", steps=steps)
    assert way["x"] == whole["x"][:20]
    assert way["curves"] == whole["curves"][:20] and score == whole["curves"][19]


def test_a_players_score_is_that_of_its_games() -> None:
    score, extra = atari.player_score({"player": "pong-ppo-early"}, 0, protocol="greedy", games=1)
    assert extra["games"] == [score] and -21 <= score <= 21
