"""A lab's master: one text file, read into cells, tasks, tests and mutants.

The file is a notebook as text (jupytext's percent format): a header, then cells that begin with ``# %%``. What
a cell is for stands on that line: ``# %% tags=["test"] q="mean" points=2 hidden=true``.

A student finds ``...`` where a task cell has its answer, between ``# BEGIN SOLUTION`` and ``# END SOLUTION``.
In a bug hunt they find code that runs and is wrong: right behind ``# END SOLUTION`` it stands as comments,
between ``# BEGIN STUDENT`` and ``# END STUDENT``.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rlcourse.errors import CourseError, InvalidArgumentError

__all__ = ["Cell", "Lab", "MasterError", "Mutant", "Task", "Test", "parse", "read"]

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
BEGIN_STUDENT, END_STUDENT = "# BEGIN STUDENT", "# END STUDENT"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
HEADER: dict[str, type] = {
    "lab": str,
    "title": str,
    "minutes": int,
    "extras": str,
    "version": int,
    "secret": int,
}
KNOWN: dict[str, dict[str, type]] = {  # which settings a kind of cell has, and of what type
    "task": {"q": str},
    "test": {"q": str, "points": int, "hidden": bool},
    "mutant": {"q": str, "kills": str},
    "trial": {"q": str},
    "instructor": {},
}
PUBLIC_POINTS, HIDDEN_POINTS = 6, 8
HAND_POINTS = 6  # of the marking guide


class MasterError(CourseError):
    """A lab's master breaks a rule; the message names file, line and what would be right."""


@dataclass(frozen=True)
class Cell:
    """One cell: its kind (markdown, code, task, test, mutant, trial, instructor), text, and first line."""

    kind: str
    source: str
    line: int
    q: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    markdown: bool = False


@dataclass(frozen=True)
class Task:
    """One question: the names that a student defines, and the same cell with and without the answer."""

    q: str
    names: tuple[str, ...]
    classes: tuple[str, ...]
    solution: str
    stub: str
    answer: tuple[str, ...]  # the lines between the markers
    hunt: bool  # whether the stub is code that runs and is wrong, and not ``...``


@dataclass(frozen=True)
class Test:
    """One test: a function of the student's names, and perhaps of ``rng``."""

    __test__ = False  # pytest is not meant

    q: str
    name: str
    title: str
    points: int
    hidden: bool
    arguments: tuple[str, ...]
    source: str
    line: int


@dataclass(frozen=True)
class Mutant:
    """A wrong answer on purpose, and the tests that must notice."""

    q: str
    names: tuple[str, ...]
    kills: tuple[str, ...]
    misconception: str
    source: str
    line: int


@dataclass(frozen=True)
class Lab:
    """A master, read."""

    name: str
    title: str
    minutes: int
    extras: str
    version: int
    secret: int
    cells: tuple[Cell, ...]
    tasks: tuple[Task, ...]
    tests: tuple[Test, ...]
    mutants: tuple[Mutant, ...]
    text: str
    rubric: str = ""

    @cached_property
    def questions(self) -> tuple[str, ...]:
        """The questions in their order."""
        return tuple(dict.fromkeys(task.q for task in self.tasks))

    @cached_property
    def owner(self) -> dict[str, str]:
        """The question that each of a student's names belongs to."""
        return {name: task.q for task in self.tasks for name in task.names}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Those of a student's names that are classes."""
        return tuple(name for task in self.tasks for name in task.classes)

    @cached_property
    def given(self) -> tuple[str, ...]:
        """The plain code cells, which everybody has."""
        return tuple(cell.source for cell in self.cells if cell.kind == "code")

    @cached_property
    def solution(self) -> tuple[str, ...]:
        """A submission that is right."""
        return tuple(task.solution for task in self.tasks)

    @cached_property
    def stub(self) -> tuple[str, ...]:
        """A submission in which nothing has been written."""
        return tuple(task.stub for task in self.tasks)

    @cached_property
    def hunted(self) -> tuple[str, ...]:
        """The cells of the stub that hold code to be repaired; none but in a bug hunt."""
        return tuple(task.stub for task in self.tasks if task.hunt)

    @property
    def points(self) -> int:
        """What the tests give together."""
        return sum(test.points for test in self.tests)


def read(path: Path) -> Lab:
    """The lab in a folder (its ``lab.py`` and ``rubric.md``), or in a file.

    Raises:
        MasterError: it breaks a rule of the format.
        InvalidArgumentError: there is none.
    """
    file = path / "lab.py" if path.is_dir() else path
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidArgumentError(
            f"lab = {path}: no lab's master there ({why}); must be a folder with a lab.py, like labs/bandits"
        ) from None
    rubric = file.with_name("rubric.md")
    return parse(text, str(file), rubric.read_text("utf-8") if rubric.exists() else "")


def parse(text: str, file: str = "lab.py", rubric: str = "") -> Lab:
    """The lab that a master's text describes.

    Raises:
        MasterError: it breaks a rule of the format.
    """

    def wrong(line: int, message: str) -> MasterError:
        return MasterError(f"{file}:{line}: {message}")

    text = text.replace("\r\n", "\n")
    header, first = _header(text, wrong)
    cells = tuple(_cells(text, first, wrong))
    tasks = tuple(_task(cell, wrong) for cell in cells if cell.kind == "task")
    owner: dict[str, str] = {}
    for task, cell in zip(tasks, (c for c in cells if c.kind == "task"), strict=True):
        for name in task.names:
            if name in owner:
                raise wrong(cell.line, f"{name} is defined by two task cells; give it one")
            owner[name] = task.q
    tests = tuple(_test(cell, owner, wrong) for cell in cells if cell.kind == "test")
    by_name = {test.name: test for test in tests}
    if len(by_name) < len(tests):
        twice = next(t for t in tests if by_name[t.name] is not t)
        raise wrong(twice.line, f"{twice.name}: two tests have this name; a name names one")
    questions = set(owner.values())
    for cell in cells:
        if cell.q and cell.q not in questions:
            known = ", ".join(sorted(questions)) or "none"
            raise wrong(
                cell.line, f"q={json.dumps(cell.q)}: no task has this q; there are: {known}"
            )
    mutants = tuple(_mutant(cell, owner, by_name, wrong) for cell in cells if cell.kind == "mutant")
    if not tasks:
        raise wrong(1, 'no task cell; a lab has at least one  # %% tags=["task"] q="..."')
    return Lab(
        cells=cells, tasks=tasks, tests=tests, mutants=mutants, text=text, rubric=rubric,
        name=header["lab"], title=header["title"], minutes=header["minutes"],
        extras=header["extras"], version=header["version"], secret=header["secret"],
    )  # fmt: skip


def _header(text: str, wrong: Any) -> tuple[dict[str, Any], int]:
    """The settings at the top, and the number of lines they take."""
    lines = text.split("\n")
    if lines[0] != "# ---" or "# ---" not in lines[1:]:
        raise wrong(1, "must begin with a header between two lines  # ---")
    end = lines.index("# ---", 1)
    found: dict[str, Any] = {"extras": "", "secret": 0}
    for number, line in enumerate(lines[1:end], 2):
        match = re.fullmatch(r"# (\w+):\s*(.*?)\s*(?:\s#.*)?", line)
        if not match or match[1] not in HEADER:
            raise wrong(number, f"{line!r}: the header holds lines  # KEY: VALUE  with KEY one of "
                                f"{', '.join(HEADER)}")  # fmt: skip
        key, value = match[1], match[2].strip("\"'")
        try:
            found[key] = HEADER[key](value)
        except ValueError:
            raise wrong(number, f"{key}: {value!r} must be a whole number") from None
    if missing := [key for key in HEADER if key not in found]:
        raise wrong(1, f"the header lacks {', '.join(missing)}")
    if not NAME.fullmatch(found["lab"]):
        raise wrong(2, f"lab: {found['lab']!r}: small letters, digits and hyphens, like q-learning")
    return found, end + 1


def _cells(text: str, first: int, wrong: Any) -> Iterator[Cell]:
    """The cells of a master in order."""
    lines = text.split("\n")
    starts = [n for n in range(first, len(lines)) if re.match(r"# %%(\s|$)", lines[n])]
    between = lines[first : starts[0]] if starts else []
    if stray := next((n for n, line in enumerate(between, first + 1) if line.strip()), None):
        raise wrong(stray, "this stands before the first cell; a cell begins with  # %%")
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        number = start + 1
        markdown, tag, settings = _settings(lines[start], number, wrong)
        body = lines[start + 1 : end]
        while body and not body[-1].strip():
            body.pop()
        while body and not body[0].strip():
            body.pop(0)
            number += 1
        if markdown:
            if bad := next(
                (n for n, x in enumerate(body, number + 1) if x[:1] not in ("#", "")), 0
            ):
                raise wrong(bad, "a line of a markdown cell must begin with  #")
            body = [re.sub("^# ?", "", line) for line in body]
        source = "\n".join(body)
        kind = tag or ("markdown" if markdown else "code")
        if markdown and tag not in ("", "instructor"):
            raise wrong(start + 1, f"a {tag} cell holds code; take [markdown] out")
        if not markdown:
            try:
                ast.parse(_without_magics(source))
            except SyntaxError as error:
                raise wrong(number + (error.lineno or 1), f"not Python: {error.msg}") from None
        yield Cell(kind, source, start + 1, settings.get("q", ""), settings, markdown)


def _settings(line: str, number: int, wrong: Any) -> tuple[bool, str, dict[str, Any]]:
    """What stands behind ``# %%``: markdown or not, the tag, the settings."""
    rest = line[4:].strip()
    markdown = rest.startswith("[markdown]")
    rest = rest.removeprefix("[markdown]")
    pattern = re.compile(r'\s*(\w+)=(\[[^\]]*\]|"[^"]*"|[\w.-]+)')
    found: dict[str, Any] = {}
    while rest.strip():
        match = pattern.match(rest)
        if not match:
            raise wrong(
                number, f'cannot read {rest.strip()!r}; settings are like  tags=["task"] q="mean"'
            )
        try:
            found[match[1]] = json.loads(match[2])
        except ValueError:
            raise wrong(
                number, f"{match[1]}={match[2]}: must be true, false, a number or in double quotes"
            ) from None
        rest = rest[match.end() :]
    tags = found.pop("tags", [])
    if not isinstance(tags, list) or len(tags) > 1 or not set(tags) <= set(KNOWN):
        raise wrong(number, f"tags={json.dumps(tags)}: at most one of {', '.join(KNOWN)}")
    tag = str(tags[0]) if tags else ""
    known: dict[str, type] = KNOWN[tag] if tag else {}
    for key, value in found.items():
        if key not in known:
            raise wrong(
                number,
                f"{key}: a {tag or 'plain'} cell has only {', '.join(known) or 'no settings'}",
            )
        if type(value) is not known[key]:
            raise wrong(number, f"{key}={json.dumps(value)}: must be of type {known[key].__name__}")
    for key in sorted(set(known) - {"hidden"} - set(found)):
        raise wrong(number, f"a {tag} cell needs {key}=")
    return markdown, tag, found


def _without_magics(source: str) -> str:
    return re.sub(r"(?m)^[%!].*$", "pass", source)


def _definitions(cell: Cell, wrong: Any) -> list[ast.FunctionDef | ast.ClassDef]:
    """The functions or classes of a cell that may hold nothing else."""
    found = []
    for statement in ast.parse(cell.source).body:
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            line = cell.line + statement.lineno
            raise wrong(line, f"a {cell.kind} cell holds functions or one class, and nothing else")
        found.append(statement)
    if not found:
        raise wrong(cell.line, f"a {cell.kind} cell must define something")
    return found


def _task(cell: Cell, wrong: Any) -> Task:
    nodes = _definitions(cell, wrong)
    names = tuple(node.name for node in nodes)
    classes = tuple(node.name for node in nodes if isinstance(node, ast.ClassDef))
    stub: list[tuple[int, str]] = []  # each with the line of the master that it stands in
    answer: list[str] = []
    solution: list[str] = []
    inside = before = ""
    hunt = False
    for number, line in enumerate(cell.source.split("\n"), cell.line + 1):
        mark = line.strip()
        if mark in (BEGIN, BEGIN_STUDENT):
            if inside:
                raise wrong(number, f"{mark}: first {inside.replace('BEGIN', 'END')}")
            if mark == BEGIN:
                stub.append((number, line.replace(BEGIN, "...")))
            elif before != END:
                raise wrong(number, f"{mark} must stand right behind {END}")
            else:
                stub.pop()  # the ... of the answer above
                hunt = True
            inside = mark
        elif mark in (END, END_STUDENT):
            if inside != mark.replace("END", "BEGIN"):
                raise wrong(number, f"{mark} without {mark.replace('END', 'BEGIN')}")
            if before == BEGIN_STUDENT:
                raise wrong(number, f"no code to hand out between {before} and {mark}")
            inside = ""
        elif inside == BEGIN_STUDENT:
            code = uncommented(line)
            if code is None:
                raise wrong(number, f"between {inside} and {END_STUDENT} stand only comments like  "
                                    f'# x = 1  and no """')  # fmt: skip
            stub.append((number, code))
        else:
            solution.append(line)
            if inside:
                answer.append(line)
            else:
                stub.append((number, line))
        before = mark
    if inside == BEGIN_STUDENT:
        raise wrong(cell.line, f"{inside} without {END_STUDENT}")
    if inside or not answer:
        raise wrong(cell.line, f"a task cell has its answer between {BEGIN} and {END}")
    text = "\n".join(line for _, line in stub)
    try:
        ast.parse(text)
    except SyntaxError as error:
        what = "as it is handed out" if hunt else "without its answer"
        number = stub[min(error.lineno or 1, len(stub)) - 1][0]
        raise wrong(number, f"{what} this is not Python") from None
    return Task(cell.q, names, classes, "\n".join(solution), text, tuple(answer), hunt)


def uncommented(line: str) -> str | None:
    """The code in a comment; None if it is none, or cannot stand in a text, as otter's edition needs it.

    >>> uncommented("    # if x:"), uncommented("    #     y = 1"), uncommented("    y = 1")
    ('    if x:', '        y = 1', None)
    """
    match = re.fullmatch(r"(\s*)#(?: (.*))?", line)
    return (match[1] + (match[2] or "")).rstrip() if match and '"""' not in line else None


def _test(cell: Cell, owner: dict[str, str], wrong: Any) -> Test:
    [node, *more] = _definitions(cell, wrong)
    if more or not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
        raise wrong(cell.line, "a test cell holds one function named test_...")
    arguments = tuple(argument.arg for argument in node.args.args)
    for name in arguments:
        if name != "rng" and name not in owner:
            raise wrong(
                cell.line,
                f"{node.name}({name}): no task defines {name}; there are {', '.join(owner)}, and rng",
            )
    if not any(owner.get(name) == cell.q for name in arguments):
        raise wrong(cell.line, f"{node.name} takes nothing that question {cell.q} defines")
    if cell.settings["points"] < 1:
        raise wrong(cell.line, "points= must be at least 1")
    return Test(
        cell.q, node.name, _docstring(node, cell, wrong), cell.settings["points"],
        cell.settings.get("hidden", False), arguments, cell.source, cell.line,
    )  # fmt: skip


def _mutant(cell: Cell, owner: dict[str, str], tests: dict[str, Test], wrong: Any) -> Mutant:
    nodes = _definitions(cell, wrong)
    mine = [node for node in nodes if owner.get(node.name) == cell.q]
    for node in nodes:
        if owner.get(node.name, cell.q) != cell.q:
            raise wrong(cell.line, f"{node.name} belongs to question {owner[node.name]}")
    if not mine:
        raise wrong(cell.line, f"{nodes[0].name}: no task of question {cell.q} defines this")
    kills = tuple(cell.settings["kills"].split())
    for name in kills:
        if name not in tests:
            raise wrong(cell.line, f"kills={name}: there is no such test")
    if not kills:
        raise wrong(cell.line, "kills= names at least one test")
    title = _docstring(mine[0], cell, wrong)
    return Mutant(cell.q, tuple(node.name for node in mine), kills, title, cell.source, cell.line)


def _docstring(node: ast.FunctionDef | ast.ClassDef, cell: Cell, wrong: Any) -> str:
    text = ast.get_docstring(node)
    if not text:
        what = "its name in the feedback" if cell.kind == "test" else "the misconception"
        raise wrong(cell.line, f"{node.name} needs a docstring of one line: {what}")
    return text.split("\n")[0].strip()
