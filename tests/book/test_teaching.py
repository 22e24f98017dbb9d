"""The guide for instructors: its commands run, its targets exist, its weeks name every lab and chapter."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import notebooks
import pytest

from rlcourse.grading.master import read

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "book/back/teaching.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", GUIDE, re.M | re.S)  # language and text
COMMANDS = [line for language, text in BLOCKS if not language for line in text.splitlines()]
WEEKS = GUIDE.split("## Fourteen weeks")[1].split("\n## ")[0]
LABS = [path.parent.name for path in sorted(ROOT.glob("labs/*/lab.py"))]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, bubblewrap: str) -> Path:
    """A folder in which every command was run as it is printed."""
    folder = tmp_path_factory.mktemp("term")
    shutil.copytree(ROOT / "labs/bandits", folder / "labs/bandits")
    handed_in = folder / "submissions/bandits"
    handed_in.mkdir(parents=True)
    (handed_in / "ada.py").write_text("\n\n".join(read(ROOT / "labs/bandits").solution), "utf-8")
    (handed_in / "ben.ipynb").write_text("hello", "utf-8")
    assert COMMANDS
    for line in COMMANDS:
        program, *words = shlex.split(line)
        assert program == "rlcourse", line
        done = subprocess.run(
            [Path(sys.executable).with_name(program), *words],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    return folder


def test_the_commands_run_as_printed(made: Path) -> None:
    rows = (made / "graded/bandits/scores.csv").read_text("utf-8").splitlines()[1:]
    assert [row.split(",")[2] for row in rows] == ["14", "0"]


def test_every_file_that_it_names_is_made(made: Path) -> None:
    named = re.findall(r"`((?:term|graded)/[\w./-]+)`", GUIDE)
    assert len(named) > 8
    for name in named:
        assert (made / name).exists(), name


def test_answers_and_marks_are_for_their_owner_alone(made: Path) -> None:
    for name in ("term", "graded/bandits"):
        assert (made / name).stat().st_mode & 0o077 == 0, name


def test_the_students_copy_holds_no_lab_and_no_history(tmp_path: Path) -> None:
    clone = tmp_path / "mine"
    subprocess.run(["git", "clone", "-q", "--shared", str(ROOT), str(clone)], check=True)
    [block] = [text for language, text in BLOCKS if language == "bash"]
    publish, commit, *copy = block.splitlines()
    assert publish.startswith("make publish URL=") and commit.startswith("git commit --all")
    subprocess.run(["bash", "-ec", "\n".join(copy)], cwd=clone, check=True)
    students = tmp_path / "students"
    assert not (students / "labs").exists() and not (students / ".git").exists()
    kept = {path.name for path in clone.iterdir()} - {"labs", ".git"}
    assert {path.name for path in students.iterdir()} == kept


def test_every_lab_has_its_line() -> None:
    [lines] = re.findall(r":::\{lab-table\}\n(.*?)\n:::", GUIDE, re.S)
    assert sorted(line.split(": ")[0] for line in lines.splitlines()) == LABS


def test_its_targets_exist() -> None:
    targets = re.findall(r"`make (\w+)`", GUIDE)
    assert {"test", "labs", "slides", "publish"} <= set(targets)
    known = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert not set(targets) - set(known)


def test_every_lab_has_its_week() -> None:
    assert sorted(set(re.findall(r"`([\w-]+)`", WEEKS.split("\n\n{doc}")[0])) & set(LABS)) == LABS


def test_every_chapter_has_its_place() -> None:
    placed = set(re.findall(r"\{doc\}`/(\S+?)`", WEEKS))
    assert placed == set(notebooks.chapters())
