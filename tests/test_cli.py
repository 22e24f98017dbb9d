"""The command line, as a reader types it: one process, one line for whatever can be mended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlcourse.algorithms.tabular import Config, train
from rlcourse.cli import main

CONTRACT = """
[[contract]]
id = "walk"
chapter = "test"
claim = "A claim"
environment = "rlcourse/RandomWalk-v0"
measure = "random_walk_error"
config = { episodes = 20, alpha = 0.1 }
seeds = 3
statistic = "mean"
comparison = "<="
threshold = 1.0
oracle = "a generous bound"
"""


@pytest.fixture
def type_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Type a command: ``(exit code, what it said, what it complained of)``."""
    (tmp_path / "contracts.toml").write_text(CONTRACT)
    monkeypatch.setenv("RLCOURSE_EVIDENCE", str(tmp_path))

    def type_in(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["rlcourse", *words])
        code = 0
        try:
            main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return type_in


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
    code, said, complaint = type_in("train", "alchemy")
    assert code == 2 and "q_learning" in said + complaint
