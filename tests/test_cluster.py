"""Evidence and grading over a Ray cluster: a real one on this machine, of whose two workers one is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlcourse.cluster import spread
from rlcourse.errors import CourseError
from rlcourse.evidence import run
from rlcourse.grading import grade
from rlcourse.grading.grade import collect, grade_all
from rlcourse.grading.master import read

ray = pytest.importorskip("ray")

CONTRACT = """
[[contract]]
id = "walk"
chapter = "test"
claim = "A claim"
environment = "rlcourse/RandomWalk-v0"
measure = "tabular.random_walk_error"
config = { episodes = 2000, alpha = 0.1 }
seeds = 8
statistic = "mean"
comparison = "<="
threshold = 1.0
oracle = "a generous bound"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of evidence, and a cluster that can measure two seeds at a time."""
    (tmp_path / "contracts.toml").write_text(CONTRACT)
    monkeypatch.setenv("RLCOURSE_EVIDENCE", str(tmp_path))
    here = {"env_vars": {"RLCOURSE_EVIDENCE": str(tmp_path)}}
    ray.init("local", num_cpus=2, include_dashboard=False, runtime_env=here, log_to_driver=False)
    yield tmp_path
    ray.shutdown()


def measured(folder: Path) -> dict[str, Any]:
    result = json.loads((folder / "results/walk.json").read_text())
    return {key: result[key] for key in ("scores", "statistic", "interval", "curves")}


def measuring() -> list[int]:
    """The processes that measure a seed right now."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::_measure" in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def test_a_killed_worker_costs_time_and_no_result(cluster: Path) -> None:
    run("walk", progress=False)
    serial = measured(cluster)
    (cluster / "results/walk.json").unlink()
    killed: list[int] = []

    def kill_one() -> None:
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            for process in measuring()[:1]:
                os.kill(process, signal.SIGKILL)
                killed.append(process)
            time.sleep(0.01)

    thread = threading.Thread(target=kill_one)
    thread.start()
    row = run("walk", cluster="local", progress=False)
    thread.join()
    assert killed
    assert row.state == "met" and row.result is not None
    assert len(row.result["scores"]) == 8
    assert measured(cluster) == serial


def test_a_cluster_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "contracts.toml").write_text(CONTRACT)
    monkeypatch.setenv("RLCOURSE_EVIDENCE", str(tmp_path))
    with pytest.raises(CourseError, match=r"cluster = '127.0.0.1:1'"):
        run("walk", cluster="127.0.0.1:1", progress=False)
    assert not (tmp_path / "results/walk.json").exists()


TINY = Path(__file__).parent / "labs/tiny"


def test_submissions_graded_there_are_graded_as_here(
    cluster: Path, tmp_path: Path, bubblewrap: str
) -> None:
    lab, handed_in = read(TINY), tmp_path / "handed-in"
    handed_in.mkdir()
    for name, cells in {"ada": lab.solution, "ben": lab.stub, "cleo": ("def (:",)}.items():
        (handed_in / f"{name}.py").write_text("\n\n".join(cells), "utf-8")
    (handed_in / "dan.ipynb").write_bytes(b"x" * (grade.LARGEST + 1 << 20))
    given = collect(handed_in)
    there = grade_all(lab, given, tmp_path / "there", isolation=bubblewrap, cluster="local")
    here = grade_all(lab, given, tmp_path / "here", isolation=bubblewrap)
    assert [row.points for row in there] == [lab.points, 0, 0, 0]
    assert "more than" in there[3].error
    assert [replace(row, seconds=0) for row in there] == [replace(row, seconds=0) for row in here]


def test_a_machine_that_cannot_lock_code_in_grades_nobody(cluster: Path, tmp_path: Path) -> None:
    lab = read(TINY)
    (tmp_path / "ada.py").write_text("\n\n".join(lab.solution), "utf-8")
    given, elsewhere = collect(tmp_path), "nowhere"
    task = ((lab.text, 0, elsewhere, grade.Limits()), given[0], b"", "")
    with pytest.raises(CourseError, match="isolation = 'nowhere'"):
        list(spread(grade._grade_there, [task], "local"))
