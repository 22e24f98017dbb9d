"""What Gradescope's container runs for one submission: ``python -m rlcourse.grading.gradescope ROOT``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.files import replace_file
from rlcourse.grading.grade import KINDS, collect, grade_one, prove_grader, require_hidden
from rlcourse.grading.master import read
from rlcourse.grading.report import gradescope
from rlcourse.grading.sandbox import Sandbox, SandboxError

__all__ = ["main"]


def main(root: Path) -> None:
    """Grade ``root/submission`` by ``root/source/lab`` into ``root/results/results.json``.

    Of several files the one with the most points counts; who hands in none is told so.

    Raises:
        CourseError: nothing could be graded; what stood in the results still does.
    """
    lab = read(root / "source/lab")
    try:
        submissions = collect(root / "submission")
    except InvalidArgumentError:
        wanted = f"Not graded: hand in your notebook, {lab.name}.ipynb; nothing here ends in {' or '.join(KINDS)}."
        _write(root, {"score": 0, "output": wanted, "output_format": "text"})
        return
    with _sandbox() as sandbox:
        require_hidden(sandbox, root / "source", root / "submission")
        prove_grader(lab, sandbox, lab.secret)
        graded = [grade_one(lab, sandbox, submission, lab.secret) for submission in submissions]
    _write(root, gradescope(max(graded, key=lambda row: row.points)))


def _write(root: Path, results: dict[str, Any]) -> None:
    with replace_file(root / "results/results.json") as file:
        file.write(json.dumps(results, indent=1).encode())


def _sandbox() -> Sandbox:
    """Bubblewrap where the container allows it; else another user, which a container's walls make up for."""
    try:
        return Sandbox("bubblewrap")
    except SandboxError:
        return Sandbox("user")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except CourseError as error:
        sys.exit(f"rlcourse: {error}")
