"""A lab is proven before anybody is graded by it.

The solution earns everything, in this process and through the sandbox; what is not written and what is trivial
earns nothing; every wrong answer on purpose fails the tests that it names, and every test is failed by one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import rlcourse
from rlcourse.grading.build import build
from rlcourse.grading.master import HIDDEN_POINTS, PUBLIC_POINTS, Lab
from rlcourse.grading.sandbox import Sandbox
from rlcourse.grading.score import given, here, judge, sandboxed
from rlcourse.grading.testing import FailedTestError, Here
from rlcourse.grading.worker import Student, unwritten

__all__ = ["REPEATS", "leaks", "prove", "prove_here", "prove_through"]

REPEATS = 20
SECONDS = 60.0  # for the solution


def prove(lab: Lab, sandbox: Sandbox | None) -> Iterator[str]:
    """Every complaint about a lab, in words; none if it can be assigned.

    Args:
        lab: which one.
        sandbox: how student code is run here; None leaves that part out.
    """
    yield from _points(lab)
    complaints = list(prove_here(lab))
    yield from complaints
    if complaints:
        return
    if sandbox is not None:
        yield from prove_through(lab, sandbox)
    yield from _artefacts(lab)


def _points(lab: Lab) -> Iterator[str]:
    given = sum(test.points for test in lab.tests if not test.hidden)
    kept = lab.points - given
    if (given, kept) != (PUBLIC_POINTS, HIDDEN_POINTS):
        yield (
            f"points: {given} public and {kept} hidden; a lab has {PUBLIC_POINTS} and {HIDDEN_POINTS}"
        )
    tested = {test.q for test in lab.tests}
    for q in lab.questions:
        if q not in tested:
            yield f"question {q} has no test"


def prove_here(lab: Lab) -> Iterator[str]:
    """The complaints that this process can find: solution, stub, trivial answers, mutants."""
    try:
        names = given(lab)
        solution = here(names, lab.solution)
    except Exception as error:
        yield f"the plain cells do not run by themselves ({type(error).__name__}: {error})"
        return
    sound = True
    for secret in range(REPEATS):
        for test in lab.tests:
            if message := _said(lab, test, solution, secret):
                sound = False
                yield f"{test.name} fails the solution (secret {secret}): {message}"
        if not sound:
            return
    survivors = {test.name for test in lab.tests}
    for test in lab.tests:
        others = solution.student.names
        mine = [name for name, q in lab.owner.items() if q == test.q]
        for what, trivial in _trivial(lab, names, solution.student):
            backend = Here(Student(others | {name: trivial(name) for name in mine}))
            if not _said(lab, test, backend, 0):
                yield f"{test.name} gives its points to {what}"
    for mutant in lab.mutants:
        backend = here(names, (*lab.solution, mutant.source))
        failed = {test.name for test in lab.tests if _said(lab, test, backend, 0)}
        survivors -= failed
        for name in mutant.kills:
            if name not in failed:
                yield f"{name} lets pass the mutant of line {mutant.line} ({mutant.misconception})"
    for name in sorted(survivors):
        yield f"{name} is failed by no mutant: what would it notice?"


def prove_through(lab: Lab, sandbox: Sandbox, secret: int = 0) -> Iterator[str]:
    """The complaints that only the real way finds: the solution earns all, the stub nothing."""
    start = time.monotonic()
    for outcome in sandboxed(lab, lab.solution, sandbox, secret):
        if not outcome.passed:
            yield f"{outcome.test} fails the solution through the sandbox: {outcome.message}"
    if (took := time.monotonic() - start) > SECONDS:
        yield f"the solution took {took:.0f} s; at most {SECONDS:.0f}"
    for outcome in sandboxed(lab, lab.stub, sandbox, secret):
        if outcome.passed:
            yield f"{outcome.test} gives its points to the untouched notebook"


def _said(lab: Lab, test: Any, backend: Here, secret: int) -> str:
    try:
        return judge(lab, test, backend, secret)
    except FailedTestError as error:
        return str(error)


def _trivial(
    lab: Lab, names: dict[str, Any], solution: Student
) -> Iterator[tuple[str, Callable[[str], Any]]]:
    """Answers that need no thought, as functions from a name to what stands under it."""
    stub = here(names, lab.stub).student

    def of(answer: Callable[..., Any], name: str) -> Any:
        right = solution.names[name]
        if name not in lab.classes:
            return partial(answer, right)
        methods = {
            key: (lambda self, *a, _right=method, **k: answer(partial(_right, self), *a, **k))
            for key, method in vars(right).items()
            if callable(method) and key != "__init__"
        }
        return type(name, (right,), methods)

    yield "the untouched notebook", lambda name: stub.names[name]
    yield "return None", partial(of, lambda right, *args, **kw: None)
    yield "return 0", partial(of, lambda right, *args, **kw: 0)
    yield (
        "returning the first argument",
        partial(of, lambda right, *args, **kw: args[0] if args else None),
    )
    yield (
        "zeros of the right shape",
        partial(of, lambda right, *args, **kw: _zeros(right(*args, **kw))),
    )


def _zeros(value: Any) -> Any:
    """As ``value``, with every number zero."""
    if isinstance(value, dict):
        return {key: _zeros(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_zeros, value))
    if isinstance(value, np.ndarray):
        return np.zeros_like(value)
    if hasattr(value, "detach"):
        return value * 0
    return type(value)() if isinstance(value, bool | int | float | str | np.generic) else None


def _artefacts(lab: Lab) -> Iterator[str]:
    """Notebooks that run, hold no secret, and come out the same each time."""
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "one", Path(folder) / "other"
        build(lab, one)
        build(lab, other)
        files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
        if files != sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file()):
            yield "two builds give different files"
        for file in files:
            if (one / file).read_bytes() != (other / file).read_bytes():
                yield f"{file}: two builds differ"
        for path in sorted((one / "student").iterdir()):
            for leak in leaks(lab, path.read_text("utf-8")):
                yield f"student/{path.name} holds {leak}"
        hunted = {task.q for task in lab.tasks if not unwritten(task.stub)}
        for kind in ("solution", "student", "instructor"):
            code, said = run_notebook(one / kind / f"{lab.name}.ipynb", one / "student")
            if code:
                yield f"the {kind} notebook does not run: {said.strip().splitlines()[-1]}"
            for q in () if code or kind == "instructor" else lab.questions:
                wanted = "✓" if kind == "solution" else "✗" if q in hunted else "not written yet"
                lines = [line for line in said.splitlines() if f"labs/{lab.name}/{q}:" in line]
                if not lines or any(wanted not in line for line in lines):
                    yield f"the {kind} notebook says of {q}: {lines or 'nothing'}, not {wanted!r}"


def leaks(lab: Lab, text: str) -> Iterator[str]:
    """What of a lab's answers and hidden tests a student's file gives away.

    A line counts if it has more than twelve characters and does not stand in the open elsewhere.
    """
    if text.lstrip().startswith(("{", "[")):
        text = "\n".join(_texts(json.loads(text)))
    held = {line.strip() for line in text.splitlines()}
    shown = {line.strip() for cell in lab.cells if cell.kind in ("code", "markdown", "trial")
             for line in cell.source.splitlines()}  # fmt: skip
    shown |= {line.strip() for task in lab.tasks for line in task.stub.splitlines()}
    shown |= {
        line.strip() for test in lab.tests if not test.hidden for line in test.source.splitlines()
    }
    for task in lab.tasks:
        for line in task.answer:
            if len(line.strip()) > 12 and line.strip() in held - shown:
                yield f"a line of the solution of {task.q}: {line.strip()}"
    for test in lab.tests:
        if test.hidden:
            if re.search(rf"\b{test.name}\b", text):
                yield f"the name of a hidden test: {test.name}"
            for line in test.source.splitlines():
                if len(line.strip()) > 12 and line.strip() in held - shown:
                    yield f"a line of {test.name}: {line.strip()}"
    for mark in ("BEGIN SOLUTION", "END SOLUTION", "BEGIN STUDENT", "END STUDENT", "HIDDEN TESTS"):
        if mark in text:
            yield f"a mark of the master: {mark}"


def _texts(thing: Any) -> Iterator[str]:
    """Every text in what JSON has read, lists of lines joined."""
    if isinstance(thing, str):
        yield thing
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield key
            yield from _texts(value)
    elif isinstance(thing, list):
        if all(isinstance(item, str) for item in thing):
            yield "".join(thing)
        else:
            for item in thing:
                yield from _texts(item)


RUN = """
import json, linecache, sys
scope = {"__name__": "__main__", "display": lambda *things, **options: print(*things)}
for number, cell in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        source = "\\n".join(
            line[: len(line) - len(line.lstrip())] + "pass" if line.lstrip()[:1] in ("%", "!") else line
            for line in "".join(cell["source"]).split("\\n")
        )
        name = f"<cell {number}>"
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        exec(compile(source, name, "exec"), scope)
"""


def run_notebook(path: Path, beside: Path, timeout: float = 120) -> tuple[int, str]:
    """Run a notebook's cells in order in a fresh Python, with the lab's public tests beside it.

    Returns:
        The exit code, and what was said.
    """
    environment = os.environ | {
        "PYTHONPATH": str(Path(rlcourse.__file__).parents[1]),
        "MPLBACKEND": "agg",
        "PYTHONIOENCODING": "utf-8",
    }
    with tempfile.TemporaryDirectory() as folder:
        for file in beside.glob("*.json"):
            shutil.copy(file, folder)
        try:
            done = subprocess.run(
                [sys.executable, "-c", RUN, str(path.resolve())],
                cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return 1, f"it took more than {timeout:.0f} s"
    return done.returncode, done.stdout + done.stderr
