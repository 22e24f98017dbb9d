"""From a master to what each person gets: student, instructor, grader, and three other graders.

The same master gives the same bytes, whenever and wherever it is built.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import rlcourse
from rlcourse.errors import CourseError
from rlcourse.files import replace_file
from rlcourse.grading.master import (
    BEGIN,
    BEGIN_STUDENT,
    END,
    END_STUDENT,
    Lab,
    Test,
    uncommented,
)

__all__ = ["autograder", "build", "bundle", "public", "public_file", "student_notebook"]

BY_HAND = {
    "markdown": 4,
    "code": 2,
}  # points of the written answer and of the figure, in every rubric
Parts = list[tuple[str, str, dict[str, Any]]]  # kind of cell, source, metadata


def build(lab: Lab, out: Path, secret: int | None = None) -> list[Path]:
    """Write everything that a lab is handed out as into a folder; return the files.

    Args:
        lab: the lab.
        out: the folder; made if it is not there.
        secret: deals other hidden cases than the master's own.
    """
    secret = lab.secret if secret is None else secret
    master = bundle(lab, secret)
    files: dict[str, bytes] = {
        f"student/{lab.name}.ipynb": student_notebook(lab),
        f"student/{lab.name}.json": public(lab),
        f"solution/{lab.name}.ipynb": solution_notebook(lab),
        f"instructor/{lab.name}.ipynb": instructor_notebook(lab),
        "grader/lab.py": master,
        f"gradescope/{lab.name}.zip": autograder(lab, secret),
        f"nbgrader/{lab.name}.ipynb": nbgrader_source(lab, secret),
        f"otter/{lab.name}.ipynb": otter_source(lab, secret),
    }
    if lab.rubric:
        files["instructor/rubric.md"] = files["grader/rubric.md"] = lab.rubric.encode()
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as file:
            file.write(content)
    return [out / name for name in files]


def bundle(lab: Lab, secret: int) -> bytes:
    """The master for a grader: as it is, with its secret in the header."""
    lines = [line for line in lab.text.split("\n") if not line.startswith("# secret:")]
    lines.insert(lines.index("# ---", 1), f"# secret: {secret}")
    return "\n".join(lines).encode()


def public_file(master: Path, lab: Lab) -> Path | None:
    """Where a checkout keeps the public tests of ``labs/NAME``, which travel with the package."""
    folder = (master if master.is_dir() else master.parent).resolve()
    checkout = folder.parents[1]
    known = folder.parent.name == "labs" and (checkout / "rlcourse/labs").is_dir()
    return checkout / f"rlcourse/labs/public/{lab.name}.json" if known else None


def public(lab: Lab) -> bytes:
    """What the package may know of a lab: its public tests, as data."""
    questions = {}
    for q in lab.questions:
        tests = [test for test in lab.tests if test.q == q]
        questions[q] = {
            "names": _names(lab, q),
            "classes": list(lab.classes),
            "hidden": sum(test.hidden for test in tests),
            "tests": [
                {
                    "name": test.name,
                    "title": test.title,
                    "points": test.points,
                    "arguments": list(test.arguments),
                    "source": test.source,
                }
                for test in tests
                if not test.hidden
            ],
        }
    known = {"lab": lab.name, "title": lab.title, "version": lab.version, "questions": questions}
    return _json(known)


def _names(lab: Lab, q: str) -> list[str]:
    """The names that the check of a question needs: its own, and what its public tests also call."""
    own = [name for name, owner in lab.owner.items() if owner == q]
    used = [a for test in lab.tests if test.q == q and not test.hidden for a in test.arguments]
    return list(dict.fromkeys([*own, *(name for name in used if name != "rng")]))


# --- notebooks ------------------------------------------------------------------------------------


def _setup(lab: Lab) -> str:
    """The first code cell: how the package gets there, and what the notebook uses of it."""
    package = _package_address(lab)
    if package is None:
        install = f'-e ".[{lab.extras}]"' if lab.extras else "-e ."
        get = (
            "# This notebook needs the course's package; from a checkout of the course, install it with\n"
            f"#     pip install {install}\n"
        )
    else:
        get = (
            "# On Colab this installs the course's package; where it is installed, it does nothing.\n"
            "import importlib.util\n\n"
            'if importlib.util.find_spec("rlcourse") is None:\n'
            f'    %pip install --quiet "{package}"\n\n'
        )
    return f"{get}from rlcourse.labs import check, written"


def _package_address(lab: Lab) -> str | None:
    """What pip installs for a lab, if the course is published."""
    found = _address()
    wanted = f"[{lab.extras}]" if lab.extras else ""
    return f"rlcourse{wanted} @ git+{found[0]}@{found[1]}" if found else None


def _address() -> tuple[str, str] | None:
    """The published repository and its branch, from the checkout's ``_config.yml``."""
    config = Path(rlcourse.__file__).parents[1] / "_config.yml"
    if not config.is_file():
        return None
    text = config.read_text("utf-8")
    url = re.search(r'(?m)^repository:\n  url: "([^"]+)"', text)
    branch = re.search(r'(?m)^repository:\n  url: .*\n  branch: "?([\w./-]+)"?', text)
    if not url:
        return None
    return url[1].rstrip("/").removesuffix(".git"), branch[1] if branch else "main"


def student_notebook(lab: Lab) -> bytes:
    """What a student gets: the answers left out, a check after each task."""
    return _notebook(lab, _walk(lab, lambda task: task.stub))


def solution_notebook(lab: Lab) -> bytes:
    """The same with the answers in."""
    return _notebook(lab, _walk(lab, lambda task: task.solution))


def instructor_notebook(lab: Lab) -> bytes:
    """The solution with the notes, the rubric, every test and every misconception."""
    public_points = sum(test.points for test in lab.tests if not test.hidden)
    head = (
        f"*For the instructor.* About {lab.minutes} minutes; {lab.points} automatic points, "
        f"{public_points} of them public. Version {lab.version}."
    )
    parts: Parts = [("markdown", head, {})]
    parts += _walk(lab, lambda task: task.solution, notes=True)
    rows = [
        f"| {m.q} | {m.misconception} | {', '.join(f'`{name}`' for name in m.kills)} |"
        for m in lab.mutants
    ]
    table = [
        "## Misconceptions that the tests notice",
        "",
        "| question | misconception | noticed by |",
    ]
    parts.append(("markdown", "\n".join([*table, "|---|---|---|", *rows]), {}))
    if lab.rubric:
        parts.append(("markdown", lab.rubric.rstrip(), {}))
    return _notebook(lab, parts)


def _walk(lab: Lab, answer: Any, notes: bool = False) -> Parts:
    """The cells of a notebook in order: with ``notes``, the tests and the instructor's notes too."""
    tasks = iter(lab.tasks)
    last = {cell.q: number for number, cell in enumerate(lab.cells) if cell.kind == "task"}
    parts: Parts = []
    for number, cell in enumerate(lab.cells):
        if cell.kind == "task":
            parts.append(("code", answer(next(tasks)), {"tags": ["task", cell.q]}))
            if last[cell.q] == number and any(t.q == cell.q and not t.hidden for t in lab.tests):
                call = ", ".join([f'"labs/{lab.name}/{cell.q}"', *_names(lab, cell.q)])
                parts.append(("code", f"check({call})", {"tags": ["check"]}))
        elif cell.kind in ("markdown", "code", "trial"):
            parts.append(("markdown" if cell.kind == "markdown" else "code", cell.source, {}))
        elif notes and cell.kind == "instructor":
            note = f"> **Note.** {cell.source}".replace("\n", "\n> ")
            parts.append(
                ("markdown", note, {})
                if cell.markdown
                else ("code", cell.source, {"tags": ["note"]})
            )
        elif notes and cell.kind == "test":
            parts.append(("code", cell.source, {"tags": ["test"]}))
    place = 1 if parts and parts[0][0] == "markdown" else 0
    parts.insert(place, ("code", _setup(lab), {"tags": ["setup"]}))
    return parts


def _notebook(lab: Lab, parts: Iterable[tuple[str, str, dict[str, Any]]]) -> bytes:
    """Notebook format 4.5, without outputs; each cell is named after its place and content."""
    cells = []
    for place, (kind, source, meta) in enumerate(parts):
        name = hashlib.sha256(f"{place}\n{kind}\n{source}".encode()).hexdigest()[:12]
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": name,
            "metadata": meta,
            "source": source.splitlines(keepends=True),
        }
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    meta = {
        "kernelspec": kernel,
        "language_info": {"name": "python"},
        "rlcourse": {"lab": lab.name, "version": lab.version},
    }
    return _json({"cells": cells, "metadata": meta, "nbformat": 4, "nbformat_minor": 5})


def _json(thing: Any) -> bytes:
    return (json.dumps(thing, indent=1, ensure_ascii=False) + "\n").encode()


# --- other graders --------------------------------------------------------------------------------


def _in_kernel(lab: Lab, test: Test, secret: int) -> str:
    """A test that runs where the student's functions are, as those graders do it."""
    return (
        "from rlcourse.grading.testing import after, attempt, expect, fail, gradient, sample\n\n"
        f"{test.source}\n\n"
        f'attempt({test.name}, globals(), "{lab.name}", {secret if test.hidden else 0})'
    )


def nbgrader_source(lab: Lab, secret: int) -> bytes:
    """A source notebook for nbgrader, which makes the student's version of it.

    Students see the name of every cell, so a hidden test goes by the number that it has in its question. The
    cells of the part that is marked by hand are open; a locked one would be put back when it is graded.
    """

    def meta(name: str, **flags: Any) -> dict[str, Any]:
        plain = {"grade": False, "locked": False, "solution": False, "task": False}
        return {"nbgrader": {"grade_id": name, "schema_version": 3, **plain, **flags}}

    parts: Parts = [("code", _setup(lab), meta("setup", locked=True))]
    tasks = iter(lab.tasks)
    tests = iter(lab.tests)
    by_hand = _by_hand(lab)
    hidden: Counter[str] = Counter()
    for number, cell in enumerate(lab.cells):
        name = f"cell-{number}"
        if cell.kind == "task":
            task = next(tasks)
            if task.hunt:  # an ordinary cell: nbgrader would empty a solution's that has no marks
                parts.append(("code", task.stub, {}))
            else:
                source = cell.source.replace(BEGIN, f"##{BEGIN}").replace(END, f"##{END}")
                parts.append(("code", source, meta(task.names[0], solution=True)))
        elif cell.kind == "test":
            test = next(tests)
            source = "import numpy as np\n" + _in_kernel(lab, test, secret)
            name = test.name
            if test.hidden:
                source = f"### BEGIN HIDDEN TESTS\n{source}\n### END HIDDEN TESTS"
                hidden[test.q] += 1
                name = f"{test.q}-hidden-{hidden[test.q]}"
            parts.append(("code", source, meta(name, grade=True, locked=True, points=test.points)))
        elif number in by_hand:
            # Without these marks nbgrader would put its own words in place of the whole cell.
            source = f"{cell.source}\n\n### BEGIN SOLUTION\n### END SOLUTION"
            flags = meta(f"by-hand-{cell.kind}", grade=True, solution=True, points=by_hand[number])
            parts.append((cell.kind, source, flags))
        elif cell.kind in ("markdown", "code", "trial"):
            kind = "markdown" if cell.kind == "markdown" else "code"
            parts.append((kind, cell.source, meta(name, locked=True)))
    return _notebook(lab, parts)


def _by_hand(lab: Lab) -> dict[int, int]:
    """The cells that a person marks, and their points: after the last test, one of text and one of code.

    In a bug hunt there is no figure, and the points of the repair are given beside the written answer's.
    """
    if not lab.rubric:
        return {}
    last = max(n for n, cell in enumerate(lab.cells) if cell.kind in ("test", "mutant", "trial"))
    places = {cell.kind: n for n, cell in enumerate(lab.cells) if n > last}
    marked = {kind: points for kind, points in BY_HAND.items() if kind in places}
    if len(marked) == 1:
        marked = dict.fromkeys(marked, sum(BY_HAND.values()))
    return {places[kind]: points for kind, points in marked.items()}


OTTER = """# ASSIGNMENT CONFIG
name: {name}
export_cell: false
# Otter runs the tests in the student's own kernel, and leaves the part marked by hand to you.
# The tests need the course's package, also where otter builds an image of its own:
{requirements}"""


def otter_source(lab: Lab, secret: int) -> bytes:
    """A source notebook for ``otter assign``."""
    package = _package_address(lab)
    wanted = f"requirements:\n  - {package}" if package else "# requirements: ..."
    parts: Parts = [("raw", OTTER.format(name=lab.name, requirements=wanted), {})]
    parts.append(("code", _setup(lab), {}))
    last = {cell.q: number for number, cell in enumerate(lab.cells) if cell.kind == "task"}
    for number, cell in enumerate(lab.cells):
        if cell.kind == "task":
            first = last[cell.q] == number
            if first:
                parts.append(("raw", f"# BEGIN QUESTION\nname: {cell.q}", {}))
                parts.append(("raw", "# BEGIN SOLUTION", {}))
            parts.append(("code", _prompted(cell.source), {}))
            if first:
                parts.append(("raw", "# END SOLUTION", {}))
                parts.append(("raw", "# BEGIN TESTS", {}))
                for test in lab.tests:
                    if test.q == cell.q:
                        flags = f"points: {test.points}\nhidden: {str(test.hidden).lower()}"
                        head = f'""" # BEGIN TEST CONFIG\n{flags}\n""" # END TEST CONFIG\n'
                        parts.append(("code", head + _in_kernel(lab, test, secret), {}))
                parts.append(("raw", "# END TESTS", {}))
                parts.append(("raw", "# END QUESTION", {}))
        elif cell.kind in ("markdown", "code", "trial"):
            kind = "markdown" if cell.kind == "markdown" else "code"
            parts.append((kind, cell.source, {}))
    return _notebook(lab, parts)


def _prompted(source: str) -> str:
    """A task as otter marks it: code to be repaired stands in a text, which the student's edition unpacks."""
    lines: list[str] = []
    inside = False
    for line in source.split("\n"):
        if line.strip() == BEGIN:
            begin = len(lines)
        if line.strip() == BEGIN_STUDENT:
            inside = True
            lines[begin] += " NO PROMPT"
            line = line.replace(BEGIN_STUDENT, '""" # BEGIN PROMPT')
        elif line.strip() == END_STUDENT:
            inside = False
            line = line.replace(END_STUDENT, '"""; # END PROMPT')
        elif inside:
            line = uncommented(line) or ""
        lines.append(line)
    return "\n".join(lines)


# --- Gradescope -----------------------------------------------------------------------------------

SETUP = """#!/usr/bin/env bash
# Gradescope runs this once, when it builds the image.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends bubblewrap python3 python3-venv >/dev/null
PYTHON=python3
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  apt-get install -y -qq --no-install-recommends python3.11 python3.11-venv >/dev/null
  PYTHON=python3.11
fi
# Where another user can read it, and away from the tests.
"$PYTHON" -m venv /opt/rlcourse
/opt/rlcourse/bin/pip install --quiet --no-cache-dir {pip}
/opt/rlcourse/bin/pip install --quiet --no-cache-dir {pins}
"""

RUN = """#!/usr/bin/env bash
# Gradescope runs this for each submission. If anything below fails, what is written first stands.
set -u
ROOT="${AUTOGRADER:-/autograder}"
PYTHON="${RLCOURSE_PYTHON:-/opt/rlcourse/bin/python}"
mkdir -p "$ROOT/results"
printf '%s' '{"score": 0, "output": "Grader error: nothing is wrong with your work; tell your instructor."}' \\
  >"$ROOT/results/results.json"
chmod 700 "$ROOT/source" "$ROOT/submission" "$ROOT/results"
cd "$ROOT/source" || exit 0
PYTHONPATH="$ROOT/source" OMP_NUM_THREADS=1 timeout -k 5 {seconds} \\
  "$PYTHON" -m rlcourse.grading.gradescope "$ROOT"
if [ $? -eq 124 ]; then
  printf '%s' '{"score": 0, "output": "Not graded: this took more than {seconds} s. Does it loop or wait?"}' \\
    >"$ROOT/results/results.json"
fi
exit 0
""".replace("{seconds}", "300")

NEEDED = ("numpy", "scipy", "gymnasium", "matplotlib", "joblib", "pillow", "tqdm", "tyro")


def autograder(lab: Lab, secret: int) -> bytes:
    """Gradescope's zip: how its image is made, how it grades, the package, the lab."""
    needed = [*NEEDED, *(["torch", "safetensors"] if "deep" in lab.extras.split(",") else [])]
    pins = " ".join(f"{name}=={_version(name)}" for name in needed)
    setup = SETUP.replace("{pip}", f"pip=={_version('pip')}").replace("{pins}", pins)
    files = {
        "setup.sh": setup.encode(),
        "run_autograder": RUN.encode(),
        "lab/lab.py": bundle(lab, secret),
        **dict(_package()),
    }
    if lab.rubric:
        files["lab/rubric.md"] = lab.rubric.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            runs = name in ("setup.sh", "run_autograder")
            info.create_system, info.compress_type = 3, zipfile.ZIP_DEFLATED
            info.external_attr = (0o100755 if runs else 0o100644) << 16
            archive.writestr(info, files[name])
    return buffer.getvalue()


def _version(name: str) -> str:
    """The version that the lab is proven with, without the mark of a particular build of it."""
    try:
        return metadata.version(name).split("+")[0]
    except metadata.PackageNotFoundError:
        raise CourseError(
            f"{name} is not installed here, so Gradescope's zip cannot pin it"
        ) from None


def _package() -> Iterator[tuple[str, bytes]]:
    """The package's own files, without measured results."""
    folder = Path(rlcourse.__file__).parent
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not {"__pycache__", "_data"} & set(inside.parts):
            yield f"rlcourse/{inside.as_posix()}", path.read_bytes()
