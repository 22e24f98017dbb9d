"""Every known bug is caught by the test that claims to catch it, and by nothing but the bug.

Each mutant is planted in a copy of the package; its ``killed_by`` test runs there, in a process of its
own, and must fail while it runs (not while it is collected). The same tests pass on a clean copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import rlcourse
from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.mutants import Mutant, hunt, mutants

ROOT = Path(__file__).resolve().parents[1]

# Loaded by pytest in the other process: says what happened, and insists on the copy.
WITNESS = """
import pathlib
import rlcourse

assert pathlib.Path(rlcourse.__file__).parent == pathlib.Path(__file__).parent / "rlcourse"


def pytest_runtest_logreport(report):
    print("WITNESS", report.nodeid.split("/")[-1], report.when, report.outcome)
"""


def copy_of_the_package(folder: Path) -> Path:
    package = Path(rlcourse.__file__).parent
    skip = shutil.ignore_patterns("__pycache__", "_data")
    shutil.copytree(package, folder / "rlcourse", ignore=skip)
    (folder / "witness.py").write_text(WITNESS)
    return folder


def run_there(folder: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-s",
        "-p",
        "witness",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [*command, "-p", "no:xdist", *(str(ROOT / test) for test in tests)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("mutant", mutants().values(), ids=mutants())
def test_mutant_is_killed(mutant: Mutant, tmp_path: Path) -> None:
    folder = copy_of_the_package(tmp_path)
    (folder / "rlcourse" / mutant.file).write_text(mutant.source(), encoding="utf-8")
    done = run_there(folder, [mutant.killed_by])
    name = mutant.killed_by.rsplit("/", 1)[-1]
    told = [line for line in done.stdout.splitlines() if "WITNESS" in line]
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(name in line and line.endswith("call failed") for line in told), done.stdout
    assert not any("setup failed" in line for line in told)


def test_the_same_tests_pass_without_a_bug(tmp_path: Path) -> None:
    tests = sorted({mutant.killed_by for mutant in mutants().values()})
    done = run_there(copy_of_the_package(tmp_path), tests)
    assert done.returncode == 0, done.stdout + done.stderr
    for test in tests:
        assert f"WITNESS {test.rsplit('/', 1)[-1]}" in done.stdout


def test_every_mutant_says_what_a_reader_needs() -> None:
    for mutant in mutants().values():
        assert mutant.title and mutant.symptom and mutant.hint
        assert mutant.before != mutant.after
        compile(mutant.source(), mutant.file, "exec")


def test_hunting_leaves_the_package_whole() -> None:
    from rlcourse import schedules

    hunted = hunt("stuck-epsilon")
    assert hunted.linear(1.0, 0.0, 10)(10) == 1.0
    assert schedules.linear(1.0, 0.0, 10)(10) == 0.0


def test_a_bug_that_nobody_knows() -> None:
    with pytest.raises(InvalidArgumentError, match=r"name = 'heisenbug': must be one of .*ties"):
        hunt("heisenbug")


def test_a_mutant_that_no_longer_fits_its_file() -> None:
    fields = {**vars(mutants()["stuck-epsilon"]), "before": "no such line"}
    with pytest.raises(CourseError, match=r"mutant stuck-epsilon: .*occurs 0 times in schedules"):
        Mutant(**fields).source()
