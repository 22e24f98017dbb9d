"""What a learner has solved, told by chapter and kept only where they ask for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlcourse import labs
from rlcourse.errors import CourseError
from rlcourse.labs import check, progress

GOOD = "loop/return"


def discounted(rewards: list[float], gamma: float) -> float:
    return float(sum(r * gamma**t for t, r in enumerate(rewards)))


@pytest.fixture(autouse=True)
def nothing_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labs, "_solved", [])
    monkeypatch.setattr(labs, "_kept", None)


def test_progress_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress()
    assert capsys.readouterr().out == "nothing solved yet\n"
    check(GOOD, lambda *a: 0.0)
    check(GOOD)
    progress()
    assert "nothing solved yet" in capsys.readouterr().out
    check(GOOD, discounted)
    check(GOOD, discounted)
    capsys.readouterr()
    file = tmp_path / "mine.json"
    file.write_text('["bellman/other", "labs/no-such-lab/q"]')
    progress(keep=file)
    told = capsys.readouterr().out.splitlines()
    total = sum(name.startswith("loop/") for name in labs._exercises)
    assert told[-1] == f"loop: 1 of {total} solved" and told[1] == "labs/no-such-lab: 1 solved"
    assert json.loads(file.read_text()) == ["bellman/other", "labs/no-such-lab/q", GOOD]


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text('{"a": 1}')
    with pytest.raises(CourseError, match="must be a new file"):
        progress(keep=file)
    assert file.read_text() == '{"a": 1}'
