"""The nasty set: submissions that attack the grader are graded as they deserve, and harm nobody else's."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rlcourse
from rlcourse.grading.grade import Graded, collect, grade_all
from rlcourse.grading.master import Lab
from rlcourse.grading.sandbox import Limits, Sandbox, SandboxError

LIMITS = Limits(seconds=1, load_seconds=10, memory=600, processes=19, file_size=1, reply=4)
HEAD = "import numpy as np, os, sys, signal, time, threading\n"
RIGHT_MEAN = "def running_mean(mean, count, reward):\n    return mean + (reward - mean) / count\n"
RIGHT_BOX = """
class Box:
    def __init__(self, size):
        self.size, self.items = size, []
    def add(self, x):
        self.items = [*self.items, x][-self.size:]
    def newest(self):
        return np.array(self.items)
    def __len__(self):
        return len(self.items)
"""
LIAR = """
class Liar(float):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __sub__(self, other): return 0.0
    def __array__(self, *a, **k): raise SystemExit
    def __reduce__(self): return os.system, ("touch /tmp/unpickled",)
class Object:
    def __eq__(self, other): return True
def running_mean(mean, count, reward): return Object() if count == 3 else Liar(0.0)
"""
READER = """
def running_mean(mean, count, reward):
    import socket
    found = []
    for place in PLACES:
        try:
            found += os.listdir(place) if os.path.isdir(place) else [open(place).read()]
        except OSError:
            pass
        try:
            open(os.path.join(place, "swapped.json"), "w").write("{}")
            found.append(place)
        except OSError:
            pass
    try:
        socket.create_connection(("127.0.0.1", PORT), 0.5)
        found.append("network")
    except OSError:
        pass
    others = [p for p in os.listdir("/proc") if p.isdigit() and int(p) > 8]
    return 3.0 if found or others else -1.0
"""
NOISY = """
def running_mean(mean, count, reward):
    if count == 3:
        for _ in range(500):
            os.write(1, b"x" * 1_000_000)
    return mean + (reward - mean) / count
"""
# What replaces the right `running_mean` (7 points); the right `Box` (7 points) stands beside each.
MEANS = {
    "loop": "def running_mean(*a):\n    while True: pass\n",
    "sleep": "def running_mean(*a):\n    time.sleep(1e6)\n",
    "hog": "def running_mean(*a):\n    x = []\n    while True: x.append(np.empty(12_500_000))\n",
    "fork-bomb": "def running_mean(*a):\n    while True:\n        try: os.fork()\n        except OSError: pass\n",
    "os-exit": "def running_mean(*a):\n    os._exit(0)\n",
    "sys-exit": "def running_mean(*a):\n    sys.exit(0)\n",
    "signals": (
        "def running_mean(*a):\n    os.kill(os.getppid(), 9)\n    os.kill(-1, 9)\n"
        "    os.kill(os.getpid(), 9)\n"
    ),
    "forger": (
        "def running_mean(*a):\n"
        "    for fd in range(3, 20):\n"
        "        try: os.write(fd, b'{\"value\": 3.0, \"score\": 14}\\n')\n"
        "        except OSError: pass\n    return 0\n"
    ),
    "patcher": (
        "import rlcourse.grading.testing as t, rlcourse.grading.score as s, json, builtins\n"
        "def running_mean(*a):\n"
        "    np.allclose = np.array_equal = np.mean = lambda *a, **k: True\n"
        "    t.expect = t._difference = lambda *a, **k: ''\n"
        "    s.score = s.judge = lambda *a, **k: ''\n    return 0.0\n"
    ),
    "liar": LIAR,
    "deep": "def running_mean(*a):\n    x = []\n    for _ in range(100_000): x = [x]\n    return x\n",
    "flood": "def running_mean(*a):\n    return 'x' * 20_000_000\n",
    "big-number": "def running_mean(*a):\n    return 10 ** 5000\n",
    "syntax-error": "def running_mean(mean, count, reward)\n    return mean\n",
}  # fmt: skip
WHOLE = {  # other submissions, and their points
    "right": (RIGHT_MEAN + RIGHT_BOX, 14),
    "noisy": (NOISY + RIGHT_BOX, 14),
    "top-level-loop": (RIGHT_MEAN + RIGHT_BOX + "\nwhile True: pass\ntrained = input()\nsys.exit()\n", 14),
    "loop-in-a-class": (RIGHT_MEAN + RIGHT_BOX + "\nclass Forever:\n    while True: pass\n", 0),
    "fake-score": ("score = 14\nprint('14/14')\npoints = {'mean': 7}\nsys.exit(0)\n", 0),
}  # fmt: skip


def notebook(*cells: str) -> str:
    made = [{"cell_type": "code", "source": cell, "metadata": {}} for cell in cells]
    return json.dumps({"cells": made, "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


def write_nasty(folder: Path, places: list[Path], port: int) -> dict[str, int]:
    """The nasty set as files, and the points that each deserves."""
    wanted = {name: points for name, (_, points) in WHOLE.items()}
    for name, (source, _) in WHOLE.items():
        (folder / f"{name}.ipynb").write_text(notebook(HEAD, source))
    reader = f"PLACES = {[str(place) for place in places]}\nPORT = {port}\n{READER}"
    for name, source in {**MEANS, "reader": reader}.items():
        (folder / f"{name}.ipynb").write_text(notebook(HEAD, source, RIGHT_BOX))
        wanted[name] = 7
    for name, content in {
        "not-json": b"{not json",
        "not-text": b"\xff\xfe\x00",
        "empty": b"",
        "no-cells": b"[1, 2]",
        "nested": b"[" * 100_000,
    }.items():
        (folder / f"{name}.ipynb").write_bytes(content)
        wanted[name] = 0
    return wanted


@pytest.fixture(scope="module")
def batch(
    tiny: Lab, bubblewrap: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, int], dict[str, Graded], Path]]:
    """The nasty set, graded two at a time."""
    import socket

    folder = tmp_path_factory.mktemp("nasty")
    handed_in, out = folder / "submissions", folder / "out"
    handed_in.mkdir()
    out.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        places = [Path(__file__).parent / "tiny/lab.py", handed_in, out / "results", folder]
        wanted = write_nasty(handed_in, places, server.getsockname()[1])
        graded = grade_all(
            tiny, collect(handed_in), out, isolation=bubblewrap, limits=LIMITS, jobs=2
        )
    yield wanted, {row.name: row for row in graded}, out


def test_each_gets_what_it_deserves(batch: tuple[dict[str, int], dict[str, Graded], Path]) -> None:
    wanted, graded, _ = batch
    assert {name: row.points for name, row in graded.items()} == wanted


def test_what_did_not_come_back_says_why(
    batch: tuple[dict[str, int], dict[str, Graded], Path],
) -> None:
    _, graded, _ = batch

    def said(name: str) -> str:
        row = graded[name]
        return " ".join([row.error, *row.notes, *(o.message for o in row.outcomes)])

    for name, words in {
        "loop": "more than 1 s of processor time",
        "sleep": "took more than 6 s",
        "hog": "more memory than it may have",
        "os-exit": "ended the whole process",
        "sys-exit": "SystemExit",
        "liar": "a Object, which is no value",
        "flood": "more than 4 MB",
        "syntax-error": "line 1: not Python",
        "not-json": "no notebook",
        "empty": "empty",
    }.items():
        assert words in said(name), said(name)


def command_lines() -> Iterator[tuple[int, str]]:
    """The workers that run anywhere on this machine, and what each was started with."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(b"rlcourse.grading.worker" in word for word in words):
            yield int(name), words[-2].decode()


def test_nothing_was_swapped_and_nothing_is_left(
    batch: tuple[dict[str, int], dict[str, Graded], Path],
) -> None:
    wanted, _, out = batch
    assert {path.stem for path in (out / "results").iterdir()} == set(wanted)
    assert not Path("/tmp/unpickled").exists()
    mark = f'"RLIMIT_NPROC": {LIMITS.processes}}}'  # no other grader here has this limit
    assert not [pid for pid, words in command_lines() if mark in words]


def opened_interpreter() -> list[str]:
    """A command before a command: where root's own folder holds this Python, one that others may enter."""
    base = Path(sys.base_prefix)
    closed = [
        folder for folder in (*base.parents, base) if not folder.stat().st_mode & stat.S_IXOTH
    ]
    if not closed:
        return []
    if shutil.which("bwrap") is None:
        pytest.skip(f"only its owner may enter {closed[-1]}, where this Python is")
    outer = min(closed, key=lambda folder: len(folder.parts))
    words = ["bwrap", "--dev-bind", "/", "/", "--perms", "0755", "--tmpfs", str(outer)]
    inside = str(outer / base.relative_to(outer).parts[0])
    return [*words, "--ro-bind", inside, inside]


def test_another_user_is_a_weaker_wall_that_holds_the_loop_and_the_bomb(tmp_path: Path) -> None:
    if os.getuid() != 0:
        with pytest.raises(SandboxError, match="only root"):
            Sandbox("user")
        return
    wanted = {"right": 14, "loop": 7, "fork-bomb": 7, "signals": 7}
    handed_in, master, out = (tmp_path / name for name in ("in", "lab", "out"))
    handed_in.mkdir()
    shutil.copytree(Path(__file__).parent / "tiny", master)
    for name in wanted:
        source = WHOLE[name][0] if name in WHOLE else MEANS[name] + RIGHT_BOX
        (handed_in / f"{name}.py").write_text(HEAD + source)
    code = "from rlcourse.cli import main; main()"
    command = [*opened_interpreter(), sys.executable, "-c", code, "lab", "grade", master, handed_in]
    command += ["-o", out, "-j", "2", "--isolation", "user", "--seconds", "1", "--memory", "600"]
    master.chmod(0o700)
    handed_in.chmod(0o700)
    package = str(Path(rlcourse.__file__).parents[1])
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": package}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "the network is open" in done.stderr
    rows = [json.loads(path.read_text("utf-8")) for path in (out / "results").iterdir()]
    assert {row["name"]: row["points"] for row in rows} == wanted
