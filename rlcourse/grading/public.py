"""A lab's public tests, where a student is: in the notebook, at once, offline.

They travel with the package as data, ``rlcourse/labs/public/NAME.json``; for a lab that the package does not
know, the file may lie beside the notebook.
"""

from __future__ import annotations

import difflib
import inspect
import json
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import rlcourse
from rlcourse.errors import InvalidArgumentError
from rlcourse.grading.testing import FailedTestError, Here, generator, run_test
from rlcourse.grading.worker import Student, unwritten

__all__ = ["FOLDER", "judge_public", "labs", "questions", "written"]

FOLDER = Path(rlcourse.__file__).parent / "labs/public"


def labs() -> tuple[str, ...]:
    """The labs whose public tests are at hand."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def questions(lab: str) -> list[str]:
    """The questions of a lab that have public tests here; none of a lab that is not known here."""
    try:
        return [q for q, question in _questions(lab).items() if question["tests"]]
    except InvalidArgumentError:
        return []


@cache
def _load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))  # type: ignore[no-any-return]


def _questions(lab: str) -> dict[str, Any]:
    near = difflib.get_close_matches(lab, labs(), n=2) or labs()
    for path in (FOLDER / f"{lab}.json", Path(f"{lab}.json")):
        if lab and Path(lab).name == lab and path.is_file():
            return _load(path)["questions"]  # type: ignore[no-any-return]
    raise InvalidArgumentError(
        f"lab = {lab!r}: no public tests of it here; there are {', '.join(near) or 'none'}"
    )


def judge_public(name: str, answers: Sequence[Any]) -> tuple[bool | None, str]:
    """Run the public tests of ``lab/question`` on functions or classes, which are known by their names.

    Returns:
        Whether they pass (None while nothing is written), and what to say.
    """
    lab, _, q = name.partition("/")
    known = _questions(lab)
    if q not in known:
        raise InvalidArgumentError(f"question = {q!r}: lab {lab} has {', '.join(known)}")
    if not answers:
        return None, "not written yet"
    question = known[q]
    given = {getattr(answer, "__name__", ""): answer for answer in answers}
    names = question["names"]
    if len(answers) == len(names) == 1 and callable(answers[0]):
        given = {names[0]: answers[0]}  # under whatever name
    if missing := [each for each in names if each not in given]:
        raise InvalidArgumentError(
            f"answers: the check of {q} needs {', '.join(names)}; {', '.join(missing)} is missing"
        )
    if not written(*(given[each] for each in names)):
        return None, "not written yet"
    tests = question["tests"]
    for test in tests:
        backend = Here(Student(given))
        rng = generator(lab, test["name"], 0)
        try:
            run_test(
                test["source"], test["name"], test["arguments"], question["classes"], backend, rng
            )
        except FailedTestError as error:
            return False, f"{test['title']} {error}"
    hidden = question["hidden"]
    more = f"; {hidden} more when it is graded" if hidden else ""
    return True, f"{len(tests)} of {len(tests)} tests passed{more}"


def written(*answers: Any) -> bool:
    """Whether each of these functions and classes has code where the lab left ``...``.

    >>> def later(x): ...
    >>> written(later), written(len)
    (False, True)
    """
    return not any(_unwritten(answer) for answer in answers)


def _unwritten(answer: Any) -> bool:
    if answer is None or answer is ...:
        return True
    parts = (
        [v for v in vars(answer).values() if inspect.isfunction(v)]
        if inspect.isclass(answer)
        else [answer]
    )
    return any(_is_stub(part) for part in parts)


def _is_stub(function: Any) -> bool:
    try:
        return bool(unwritten(textwrap.dedent(inspect.getsource(function))))
    except (OSError, TypeError, IndentationError):
        pass  # typed into a prompt, or not Python: its code may tell
    code = getattr(function, "__code__", None)

    def stub() -> None: ...

    return (
        code is not None
        and code.co_code == stub.__code__.co_code
        and set(code.co_consts) <= {None, ..., function.__doc__}
    )
