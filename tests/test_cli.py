"""The command line, as a reader types it: one process, one line for whatever can be mended."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rlcourse import checkpoint
from rlcourse.algorithms import dqn
from rlcourse.algorithms.tabular import Config, train
from rlcourse.cli import _settings

CONTRACT = """
[[contract]]
id = "walk"
chapter = "test"
claim = "A claim"
environment = "rlcourse/RandomWalk-v0"
measure = "tabular.random_walk_error"
config = { episodes = 20, alpha = 0.1 }
seeds = 3
statistic = "mean"
comparison = "<="
threshold = 1.0
oracle = "a generous bound"
"""


@pytest.fixture
def type_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rlcourse: Any) -> Any:
    """``rlcourse ...``, over one contract."""
    (tmp_path / "contracts.toml").write_text(CONTRACT)
    monkeypatch.setenv("RLCOURSE_EVIDENCE", str(tmp_path))
    return rlcourse


def test_train_says_how_good_the_policy_is_and_keeps_it(type_in: Any, tmp_path: Path) -> None:
    out = tmp_path / "agent.json"
    code, said, _ = type_in(
        "train", "q_learning", "--env-id", "rlcourse/Probe-TwoActions-v0", "--steps", "200",
        "--epsilon-steps", "100", "--seed", "3", "--out", str(out),
    )  # fmt: skip
    assert code == 0 and "expected return 1.0000" in said
    kept = json.loads(out.read_text())
    config = Config(env_id="rlcourse/Probe-TwoActions-v0", steps=200, epsilon_steps=100)
    np.testing.assert_allclose(kept["q"], train(config, 3).q)
    assert kept["config"]["steps"] == 200 and kept["seed"] == 3


def test_evidence_from_nothing_to_met(type_in: Any) -> None:
    code, said, _ = type_in("evidence", "check")
    assert code == 1 and "missing" in said and "0 of 1 contracts met" in said
    code, said, _ = type_in("evidence", "run", "walk")
    assert code == 0 and said.startswith("met")
    code, said, _ = type_in("evidence", "check")
    assert code == 0 and "1 of 1 contracts met" in said
    code, said, _ = type_in("evidence", "show", "walk")
    assert code == 0 and "A claim" in said and "scores" in said


def test_all_measures_what_is_not_met(type_in: Any) -> None:
    assert type_in("evidence", "run", "--all")[0] == 0
    code, said, _ = type_in("evidence", "run", "--all")
    assert code == 0 and said == ""  # nothing left to do


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evidence", "run", "wlak"], "ids = 'wlak': must be among walk"),
        (["evidence", "run"], "ids: name at least one contract"),
        (["evidence", "show", "walk"], "name = 'walk': not measured yet"),
        (["train", "q_learning", "--env-id", "Taxi-v3"], "retired; use 'Taxi-v4'"),
        (["train", "q_learning", "--env-id", "CartPole-v1"], "a table needs Discrete"),
        (["train", "q_learning", "--gamma", "1.5"], "gamma = 1.5: must be a number in [0, 1]"),
        (["train", "sarsa", "--seed", "-1"], "seed = -1: must be a non-negative integer"),
        (["train", "sarsa", "--out", "/no/such/folder/x.json"], "its folder does not exist"),
    ],
)
def test_what_can_be_mended_is_one_line(type_in: Any, words: list[str], message: str) -> None:
    code, _, complaint = type_in(*words)
    assert code == 2 and message in " ".join(complaint.split())
    assert "Traceback" not in complaint


def test_a_corrupted_result_is_one_line_too(type_in: Any, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/walk.json").write_text("{")
    code, _, complaint = type_in("evidence", "check")
    assert code == 2 and complaint.startswith("rlcourse: results/walk.json: not a valid result")


def test_an_interruption_leaves_with_130(type_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def tired(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rlcourse.cli.run", tired)
    code, _, complaint = type_in("evidence", "run", "walk")
    assert code == 130 and "what was finished is kept" in complaint


def test_an_algorithm_that_does_not_exist(type_in: Any) -> None:
    code, _, complaint = type_in("train", "dnq")
    assert code == 2 and "q_learning" in complaint and "did you mean dqn?" in complaint


# --- networks -------------------------------------------------------------------------------------

SMALL = ("--env", "CartPole-v1", "--steps", "1024", "--learning-starts", "256", "--hidden", "16")
SMALL += ("--checkpoint-every", "512", "--replay-size", "1024")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the reader types."""
    folder = tmp_path / "reader"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("algorithm", ["dqn", "rainbow"])
def test_from_training_to_a_film(type_in: Any, here: Path, algorithm: str) -> None:
    code, said, complaint = type_in("train", algorithm, *SMALL)
    file = f"{algorithm}-CartPole-v1-0.safetensors"
    assert code == 0, complaint
    assert "1,024 steps in" in said and f"kept in {file}" in said
    summary = next(line for line in said.splitlines() if line.startswith("greedy policy"))
    assert "over 100 episodes, 95 % interval [" in summary
    code, again, _ = type_in("evaluate", file)
    assert code == 0 and again.splitlines()[-1] == summary  # the same episodes, the same policy
    code, said, _ = type_in("evaluate", file, "--episodes", "3", "--seed", "1")
    assert code == 0 and "over 3 episodes" in said
    code, said, _ = type_in("watch", file, "--out", "film.gif", "--episodes", "2")
    assert code == 0 and "film.gif" in said and said.count(",") == 1
    with Image.open("film.gif") as film:
        assert film.format == "GIF" and film.n_frames > 10  # type: ignore[attr-defined]
    assert {path.name for path in here.iterdir()} == {file, "film.gif"}


def test_an_interrupted_training_goes_on_where_it_stopped(
    type_in: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type_in("train", "dqn", *SMALL, "--out", "whole.safetensors")[0] == 0
    whole = checkpoint.load(Path("whole.safetensors"))
    real = dqn.Run.policy
    save = checkpoint.save

    def tired(path: Path, run: Any, **options: Any) -> None:
        save(path, run, **options)
        if run.episodes.steps == 512:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", tired)
    code, said, complaint = type_in("train", "dqn", *SMALL, "--out", "half.safetensors")
    assert code == 130 and "go on with: rlcourse train dqn --resume half.safetensors" in said
    monkeypatch.setattr(checkpoint, "save", save)
    assert dqn.Run.policy is real
    code, said, complaint = type_in("train", "dqn", "--resume", "half.safetensors")
    assert code == 0, complaint
    resumed = checkpoint.load(Path("half.safetensors"))
    assert resumed.facts == whole.facts
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(resumed.arrays[name], array, err_msg=name)


def test_settings_begin_as_those_of_the_contract(
    type_in: Any, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = CONTRACT.replace("tabular.random_walk_error", "deep.played_return").replace(
        "episodes = 20, alpha = 0.1",
        'env_id = "CartPole-v1", steps = 256, hidden = [8], learning_starts = 64, updates = 1',
    )
    (tmp_path / "contracts.toml").write_text(contract)
    assert type_in("train", "dqn", "--env=CartPole-v1", "--gamma", "0.9")[0] == 0
    config = checkpoint.load(Path("dqn-CartPole-v1-0.safetensors")).config
    assert (config["steps"], config["hidden"], config["gamma"]) == (256, [8], 0.9)
    assert type_in("train", "dqn", "--env", "Acrobot-v1", "--steps", "8")[0] == 0
    other = checkpoint.load(Path("dqn-Acrobot-v1-0.safetensors")).config
    assert other["hidden"] == list(dqn.Config().hidden)


def test_divergence_leaves_the_weights_before_it(
    type_in: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = dqn.dqn_loss

    def poisoned(network: Any, target: Any, batch: Any) -> Any:
        losses, errors = real(network, target, batch)
        poisoned.calls += 1  # type: ignore[attr-defined]
        return (losses * float("nan") if poisoned.calls > 200 else losses), errors  # type: ignore[attr-defined]

    poisoned.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(dqn, "dqn_loss", poisoned)
    code, _, complaint = type_in("train", "dqn", *SMALL)
    said = " ".join(complaint.split())
    assert code == 2 and "loss = nan" in said and "step" in said and "reward in [" in said
    assert "The weights before it are in dqn-CartPole-v1-0.diverged.safetensors" in said
    kept = checkpoint.load(Path("dqn-CartPole-v1-0.diverged.safetensors"))
    assert all(
        np.isfinite(a).all() for name, a in kept.arrays.items() if name.startswith("network")
    )
    assert type_in("evaluate", "dqn-CartPole-v1-0.diverged.safetensors", "--episodes", "1")[0] == 0


def test_what_can_be_mended_about_networks_is_one_line(
    type_in: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type_in("train", "dqn", *SMALL)[0] == 0
    file = "dqn-CartPole-v1-0.safetensors"
    Path("broken.safetensors").write_bytes(Path(file).read_bytes()[:1000])
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for words, message in (
        (["train", "dqn", *SMALL], f"out = {file}: exists"),
        (["train", "dqn", "--out", "no/such/x.safetensors"], "its folder does not exist"),
        (["train", "dqn", "--env", "LunarLander-v9"], "did you mean LunarLander-v3"),
        (["train", "dqn", "--env", "Pendulum-v1"], "its actions must be Discrete"),
        (["train", "dqn", "--device", "abacus"], "device = 'abacus': must be cpu"),
        (["train", "dqn", "--resume", "nothing"], "path = nothing: no such file"),
        (["train", "dqn", "--resume", "broken.safetensors"], "no whole checkpoint"),
        (["train", "rainbow", "--resume", file], "say rlcourse train dqn"),
        (["train", "dqn", "--resume", file, "--gamma", "0.5"], "gamma = 0.5: the checkpoint has"),
        (["evaluate", "broken.safetensors"], "no whole checkpoint"),
        (["evaluate", file, "--env", "Acrobot-v1"], "env = 'Acrobot-v1': its observation_space"),
        (["evaluate", file, "--episodes", "0"], "episodes = 0: must be"),
        (["watch", file, "--out", "film.avi"], "must end in .gif or .mp4"),
        (["watch", file, "--out", "no/film.gif"], "its folder does not exist"),
        (["watch", file], "there is no screen here" if sys.platform == "linux" else ""),
    ):
        code, _, complaint = type_in(*words)
        said = " ".join(complaint.split())
        assert code == 2 and message in said and "Traceback" not in said, (words, said)


def test_without_torch_the_command_says_what_to_install(
    type_in: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlcourse.errors.find_spec", lambda name: None)
    for words in (["train", "dqn"], ["evaluate", "x"], ["watch", "x"]):
        code, _, complaint = type_in(*words)
        assert code == 2 and 'pip install "rlcourse[deep]"' in complaint
    code, said, _ = type_in("train", "q_learning", "--steps", "100")
    assert code == 0 and "greedy policy" in said


@pytest.mark.parametrize("algorithm", ["q_learning", "dqn"])
def test_a_wrong_environment_is_one_line_and_no_progress_bar(
    type_in: Any, here: Path, algorithm: str
) -> None:
    code, said, complaint = type_in("train", algorithm, "--env-id", "MountainCar")
    assert code == 2 and said == "" and list(here.iterdir()) == []
    assert complaint.startswith("rlcourse: env_id = 'MountainCar'") and complaint.count("\n") == 1


def test_rainbow_begins_with_all_six_repairs_where_the_book_measures_each_alone() -> None:
    for world in ("Breakout", "SpaceInvaders"):
        config = _settings("rainbow", ["--env-id", f"MinAtar/{world}-v1"])
        switches = (config.double, config.dueling, config.prioritized, config.noisy)
        assert all(switches) and config.distributional and config.n > 1
