"""Student code in a process that the system locks in, and calls to it that always come back.

Three ways, named for what they give; nothing falls back from one to the next by itself:

``bubblewrap``
    no network, a private /tmp, a read-only system without the course's checkout, own process numbers, an
    ordinary user, limits of memory, processes and file size.
``user``
    as root without bubblewrap: another user for each worker, and the limits. The network is open, /tmp is
    shared, and files that everybody may read can be read.
``limits``
    the limits alone: only for code that one trusts not to be hostile.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import rlcourse
from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.grading.testing import FailedTestError, StruckError, value_of

__all__ = ["ISOLATIONS", "WEAKNESS", "Limits", "Sandbox", "SandboxError", "Session"]

ISOLATIONS = ("bubblewrap", "user", "limits")
WEAKNESS = {
    "bubblewrap": "",
    "user": "no bubblewrap: student code runs as another user, but the network is open and /tmp is shared",
    "limits": "no bubblewrap: student code runs as you, with limits alone; it can read your files and the tests",
}
START = (
    "import sys; sys.path.insert(0, {course!r}); from rlcourse.grading.worker import main; main()"
)
TICK = 0.1  # seconds between two looks at the clocks


class SandboxError(CourseError):
    """Student code cannot be run the way that was asked for."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use."""

    seconds: float = 10.0  # of processor time in one test; and six times this by the clock
    load_seconds: float = 60.0  # the same, for its imports and definitions
    memory: int = 2048  # MB of address space a process
    processes: int = 32
    file_size: int = 16  # MB
    reply: int = 64  # MB in one answer


class Sandbox:
    """The way student code is run; starts :class:`Session` objects.

    Raises:
        SandboxError: this machine cannot do it; the message says why, and what would.
    """

    def __init__(self, isolation: str = "bubblewrap", limits: Limits = Limits()) -> None:
        if isolation not in ISOLATIONS:
            raise InvalidArgumentError(
                f"isolation = {isolation!r}: must be one of {', '.join(ISOLATIONS)}"
            )
        if sys.platform == "win32":
            raise SandboxError("student code is run on Linux or macOS; on Windows use WSL2")
        self.isolation, self.limits = isolation, limits
        self.root = os.getuid() == 0
        self.uid = (
            61000 + os.getpid() % 4000
        )  # workers side by side do not share a count of processes
        self.course = "/course"
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if isolation == "user" and not self.root:
            raise SandboxError("isolation user: only root can start a process as another user")
        if isolation != "bubblewrap":
            self._copy_course()
        problem = self._problem()
        if problem:
            self.close()
            raise SandboxError(f"isolation {isolation} does not work here: {problem}")

    def _copy_course(self) -> None:
        """The package where another user can read it, away from the checkout and its tests."""
        self._folder = tempfile.TemporaryDirectory(prefix="rlcourse-")
        self.course = self._folder.name
        os.chmod(self.course, 0o755)
        package = Path(rlcourse.__file__).parent
        ignore = shutil.ignore_patterns("__pycache__", "_data")
        shutil.copytree(package, Path(self.course) / "rlcourse", ignore=ignore)

    def close(self) -> None:
        """Remove what it has copied."""
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _problem(self) -> str:
        """Why a worker cannot be used, or nothing: one is started and asked."""
        if self.isolation == "bubblewrap" and shutil.which("bwrap") is None:
            return (
                "bwrap is not installed (Debian: apt-get install bubblewrap); "
                f"weaker: --isolation {' or '.join(ISOLATIONS[1:])}"
            )
        # A module that nothing here has loaded: another user may not be let to this interpreter's folder.
        cell = "def double(x):\n    import wave\n    return 2 * x"
        with Session(self, (), (cell,)) as session:
            try:
                request = {"op": "call", "f": "double", "args": [21], "kw": {"dict": []}}
                if session.ask(request) == 42:
                    return ""
                return "a worker gives wrong answers"
            except FailedTestError as error:
                hint = ""
                if "ModuleNotFoundError" in str(error) or "Permission" in session.complaint():
                    hint = f" (can an ordinary user read {sys.base_prefix} and {sys.prefix}?)"
                return f"{error}{hint}. {session.complaint()}".strip()

    def can_read(self, path: Path) -> bool:
        """Whether student code could read a file or folder."""
        if self.isolation == "bubblewrap":
            return False
        if self.isolation == "limits":
            return os.access(path, os.R_OK)
        code = "import os, sys; p = sys.argv[1]; sys.exit(not (os.access(p, 4) or os.access(p, 1)))"
        command = [sys.executable, "-I", "-c", code, str(path.resolve())]
        return (
            subprocess.run(command, user=self.uid, group=self.uid, extra_groups=[]).returncode == 0
        )

    def command(self) -> list[str]:
        """The command that starts a worker."""
        limits = self.limits
        allowed = {
            "RLIMIT_AS": limits.memory << 20,
            "RLIMIT_FSIZE": limits.file_size << 20,
            "RLIMIT_NOFILE": 128,
            "RLIMIT_CORE": 0,
        }
        if self.isolation != "limits":  # there it would count everything else that you run
            allowed["RLIMIT_NPROC"] = limits.processes
        other = self.root and self.isolation != "limits"
        settings = {"uid": self.uid if other else None, "limits": allowed}
        code = START.format(course=self.course)
        python = [sys.executable, "-I", "-B", "-c", code, json.dumps(settings)]
        return [*self._bubblewrap(), *python] if self.isolation == "bubblewrap" else python

    def _bubblewrap(self) -> list[str]:
        package = str(Path(rlcourse.__file__).parent)
        words = ["bwrap", "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-net"]
        words += ["--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
        if self.root:
            # Root's own processes are not counted: the worker becomes somebody else, for which it needs
            # two rights. It loses them with that.
            words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            words += ["--unshare-user"]
        for folder in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
            if os.path.islink(folder):
                words += ["--symlink", os.readlink(folder), folder]
            else:
                words += ["--ro-bind-try", folder, folder]
        words += ["--ro-bind", "/usr", "/usr"]
        for path in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"):
            words += ["--ro-bind-try", path, path]
        made: set[Path] = set()
        for folder, place in [*((f, f) for f in _interpreter()), (package, "/course/rlcourse")]:
            for parent in reversed(Path(place).parents[:-1]):
                if parent not in made:  # bubblewrap would give it the rights that it has outside
                    words += ["--perms", "0755", "--dir", str(parent)]
                    made.add(parent)
            words += ["--ro-bind", folder, place]
        words += ["--proc", "/proc", "--dev", "/dev", "--size", str(64 << 20), "--perms", "1777"]
        return [*words, "--tmpfs", "/tmp", "--chdir", "/tmp"]


def _interpreter() -> list[str]:
    """The folders that this Python and its packages lie in, outside /usr."""
    paths = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    paths |= {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    for name in ("numpy", "scipy", "gymnasium", "torch"):  # some may be the user's own
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            paths.add(str(Path(spec.origin).parents[1]))
    kept: list[str] = []
    for path in sorted(paths):
        if os.path.isdir(path) and not any(Path(path).is_relative_to(k) for k in ["/usr", *kept]):
            kept.append(path)
    return kept


class Session:
    """One submission in a worker, which is started when it is needed and again after it has died.

    Args:
        sandbox: how it is run.
        given: the lab's own cells.
        cells: the submission's.
    """

    def __init__(self, sandbox: Sandbox, given: Sequence[str], cells: Sequence[str]) -> None:
        self.sandbox, self.given, self.cells = sandbox, given, cells
        self.notes: list[str] = []
        self.unwritten: list[str] = []
        self._hopeless = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._error = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the session)
        self._number = 0
        self._buffer = b""
        self._used, self._since = 0.0, time.monotonic()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._error.close()

    def begin(self) -> None:
        """Start to count the time of a test."""
        self._used, self._since = self._processor_time(), time.monotonic()

    def ask(self, request: dict[str, Any]) -> Any:
        """The value of one request.

        Raises:
            StruckError: no answer came within the limits.
            FailedTestError: the answer is an error.
        """
        if self._process is None:
            self._start()
        return value_of(self._exchange(request, self.sandbox.limits.seconds))

    def complaint(self) -> str:
        """What the last worker wrote before it could begin."""
        self._error.seek(0)
        return self._error.read(2000).decode("utf-8", "replace").strip()[-500:]

    def _start(self) -> None:
        if self._hopeless:
            raise StruckError(self._hopeless)
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": "/tmp", "USER": "student", "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg", "MPLCONFIGDIR": "/tmp",
        }  # fmt: skip
        self._error.seek(0)
        self._error.truncate()
        self._process = subprocess.Popen(
            self.sandbox.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._error,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
        self._buffer = b""
        self._used, self._since = 0.0, time.monotonic()
        request = {"op": "load", "given": list(self.given), "cells": list(self.cells)}
        try:
            reply = self._exchange(
                request, self.sandbox.limits.load_seconds, "running its definitions"
            )
            loaded = reply.get("value")
            if not isinstance(loaded, dict):
                raise self._struck(str(reply.get("error", "the submission cannot be loaded"))[:500])
        except StruckError as error:
            self._hopeless = str(error)  # it would be so for every test
            raise
        self.notes = [str(note)[:500] for note in loaded.get("notes", [])][:50]
        self.unwritten = [str(name)[:100] for name in loaded.get("unwritten", [])][:100]
        self.begin()

    def _exchange(self, request: dict[str, Any], seconds: float, what: str = "it") -> Any:
        """One line there, one line back."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        self._number += 1
        data = memoryview(json.dumps({"id": self._number, **request}).encode() + b"\n")
        there, back = process.stdin.fileno(), process.stdout.fileno()
        looked = time.monotonic()
        parts = [self._buffer]
        size = len(self._buffer)
        while b"\n" not in parts[-1]:
            readable, writable, _ = select.select([back], [there] if data else [], [], TICK)
            try:
                if writable:
                    data = data[os.write(there, data[: 1 << 16]) :]
                if readable:
                    chunk = os.read(back, 1 << 20)
                    if not chunk:
                        raise self._struck(self._ending(what))
                    parts.append(chunk)
                    size += len(chunk)
            except BrokenPipeError:
                raise self._struck(self._ending(what)) from None
            if size > self.sandbox.limits.reply << 20:
                raise self._struck(f"{what} gave back more than {self.sandbox.limits.reply} MB")
            if time.monotonic() - looked > TICK:
                looked = time.monotonic()
                if self._processor_time() - self._used > seconds:
                    raise self._struck(f"{what} took more than {seconds:g} s of processor time")
                if looked - self._since > 6 * seconds:
                    raise self._struck(f"{what} took more than {6 * seconds:g} s", asleep=True)
        line, _, self._buffer = b"".join(parts).partition(b"\n")
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict) or reply.get("id") != self._number:
            raise self._struck("what came back is no answer")
        return reply

    def _ending(self, what: str) -> str:
        """How the worker has died, in words."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return f"{what} hung up"
        if code in (137, -9):
            return f"{what} was killed: too much memory, or by itself"
        return f"{what} ended the whole process (code {code})"

    def _struck(self, message: str, asleep: bool = False) -> StruckError:
        self.stop()
        return StruckError(message, asleep)

    def stop(self) -> None:
        """End the worker and all that it has started."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        if self.sandbox.isolation == "user":
            _kill_all_of(self.sandbox.uid)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _processor_time(self) -> float:
        """Seconds of processor time of the worker and its descendants."""
        if self._process is None:
            return 0.0
        tick = os.sysconf("SC_CLK_TCK")
        rows = dict(_processes())
        if not rows:  # no /proc: the clock on the wall
            return time.monotonic() - self._since + self._used
        family = {self._process.pid}
        while more := {pid for pid, (parent, _) in rows.items() if parent in family} - family:
            family |= more
        return sum(rows[pid][1] for pid in family if pid in rows) / tick


def _processes() -> Iterator[tuple[int, tuple[int, int]]]:
    """Every process: its number, its parent's, and its ticks of processor time, waited-for children included."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            yield int(name), (int(fields[1]), sum(int(x) for x in fields[11:15]))


def _kill_all_of(uid: int) -> None:
    """Until none is left: one that is about to fork may have a child by the time it dies."""
    for _ in range(100):
        mine = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.stat(f"/proc/{name}").st_uid == uid:
                    mine.append(int(name))
            except OSError:
                continue
        if not mine:
            return
        for pid in mine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
