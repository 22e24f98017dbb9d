"""Exercises that check at once, and bugs to hunt.

``check("loop/return", my_function)`` says whether an answer is right and, if not, for which input it
is not, what was expected and what to look at. ``hunt("terminal-mask")`` hands out a copy of one of the
package's own modules with one bug in it. ``progress()`` tells what is solved, by chapter.
"""

from __future__ import annotations

import difflib
import importlib
import json
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.files import replace_file
from rlcourse.grading.public import judge_public, questions, written
from rlcourse.mutants import hunt

__all__ = [
    "NotRightError",
    "Verdict",
    "call",
    "call_uncopied",
    "check",
    "exercise",
    "expect_by_hand",
    "expect_call",
    "expect_close",
    "expect_detector",
    "hunt",
    "progress",
    "verdict",
    "written",
]

CHAPTERS = (
    *("intro", "loop", "mdp", "bellman", "q_learning"),
    *("approximation", "dqn", "rainbow"),
    *("policy_gradients", "actor_critic", "ppo", "sac", "choosing"),
    *("playground", "rewards", "mazes", "many_agents"),
    *("bandits", "atari", "recommender"),
)
_exercises: dict[str, Callable[[Any], str]] = {}
_solved: list[str] = []  # in this session, and what the learner's file held
_kept: Path | None = None


class NotRightError(CourseError):
    """An answer that is not right, with the reason a learner needs."""


class Verdict(NamedTuple):
    """What :func:`check` found: ``passed`` is None while nothing has been written."""

    passed: bool | None
    message: str


def exercise(name: str) -> Callable[[Callable[[Any], str]], Callable[[Any], str]]:
    """Register the check of one exercise: it returns praise or raises :class:`NotRightError`."""

    def register(function: Callable[[Any], str]) -> Callable[[Any], str]:
        _exercises[name] = function
        return function

    return register


def verdict(name: str, *answers: Any) -> Verdict:
    """Judge an answer without printing; see :func:`check`."""
    if name.startswith("labs/"):
        return Verdict(*judge_public(name.removeprefix("labs/"), answers))
    [answer] = answers or (...,)
    _load(name.split("/")[0])
    if name not in _exercises:
        near = difflib.get_close_matches(name, _exercises, n=3, cutoff=0.3)
        raise InvalidArgumentError(
            f"name = {name!r}: no such exercise; did you mean {', '.join(near) or 'another one'}?"
        )
    if answer is ... or answer is None or _is_stub(answer):
        return Verdict(None, "not written yet")
    try:
        return Verdict(True, _exercises[name](answer))
    except NotRightError as error:
        return Verdict(False, str(error))


def _load(chapter: str) -> None:
    """Register the exercises of a chapter; of every one if its exercises go by another name."""
    for module in [chapter] if chapter in CHAPTERS else CHAPTERS:
        try:
            importlib.import_module(f"rlcourse.labs.{module}")
        except ImportError as error:  # an extra that only this chapter needs
            if module == chapter:
                raise CourseError(
                    f'{error}; install it with pip install "rlcourse[deep]"'
                ) from error


def _is_stub(answer: Any) -> bool:
    """Whether a function's body is still ``...`` or ``return ...``, with or without a docstring."""

    def stub() -> None: ...

    code = getattr(answer, "__code__", None)
    if code is None or code.co_code[::2] != stub.__code__.co_code[::2]:  # opcodes, not arguments
        return False
    return set(code.co_consts) <= {None, ..., getattr(answer, "__doc__", None)}


def check(name: str, *answers: Any) -> None:
    """Print whether an answer is right, at once, offline, and what to look at if it is not.

    Args:
        name: an exercise of a chapter, like "loop/return", or a task of a lab, like "labs/bandits/mean".
        answers: what was asked for; a lab's task may ask for several functions.

    >>> check("loop/return")
    … loop/return: not written yet
    """
    passed, message = verdict(name, *answers)
    said = f"{ {True: '✓', False: '✗', None: '…'}[passed] } {name}: {message}"
    for line in said.splitlines():  # a notebook breaks long lines anywhere
        print(textwrap.fill(line, 88, subsequent_indent="  ", break_on_hyphens=False))
    if passed and name not in _solved:
        _solved.append(name)
        _write()


def progress(keep: str | Path | None = None) -> None:
    """Print how many exercises of each chapter and lab are solved, and keep that in a file if one is named.

    Args:
        keep: a JSON file on your own machine. What it holds counts as solved, and from now on whatever
            :func:`check` finds right is added to it. Nothing is kept or sent anywhere otherwise.

    Raises:
        CourseError: the file holds something else, or cannot be written.
    """
    global _kept
    if keep is not None:
        path = Path(keep)
        before = _read(path) if path.exists() else []
        _solved[:] = list(dict.fromkeys([*before, *_solved]))
        _kept = path
        _write()
    groups = Counter(name.rsplit("/", 1)[0] for name in _solved)
    for group, solved in groups.items():
        with suppress(CourseError):  # a chapter whose extra is not installed here
            _load(group)
        known = [name for name in _exercises if name.rsplit("/", 1)[0] == group]
        if group.startswith("labs/"):
            known = questions(group.removeprefix("labs/"))
        print(f"{group}: {solved}" + (f" of {len(known)}" if known else "") + " solved")
    if not groups:
        print("nothing solved yet")


def _read(path: Path) -> list[str]:
    try:
        names = json.loads(path.read_text("utf-8"))
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    except (OSError, ValueError):
        pass
    raise CourseError(f"keep = {path}: must be a new file, or one that progress has written")


def _write() -> None:
    if _kept is not None:
        with replace_file(_kept) as file:
            file.write(json.dumps(_solved, indent=1).encode())


def expect_close(
    got: Any, expected: ArrayLike, *, what: str, look: str = "", tolerance: float = 1e-6
) -> None:
    """Raise :class:`NotRightError` unless ``got`` equals ``expected`` in shape and value."""
    wanted = np.asarray(expected, dtype=np.float64)
    tail = f" Look at {look}{'' if look.endswith('?') else '.'}" if look else ""
    if got is ... or got is None:
        raise NotRightError(f"{what}: nothing came back; does your function end in `return`?")
    try:
        value = np.asarray(got, dtype=np.float64)
    except (TypeError, ValueError):
        raise NotRightError(f"{what}: expected numbers, got {type(got).__name__}.") from None
    if value.shape != wanted.shape:
        raise NotRightError(f"{what}: expected shape {wanted.shape}, got {value.shape}.{tail}")
    if not np.allclose(value, wanted, rtol=0, atol=tolerance, equal_nan=False):
        raise NotRightError(f"{what}: expected {_short(expected)}, got {_short(got)}.{tail}")


def expect_by_hand(
    answer: Any, steps: Sequence[tuple[float, str, str]], *, tolerance: float = 1e-6
) -> None:
    """Raise :class:`NotRightError` unless the numbers of a learner are those of ``steps``.

    A step is ``(number, what it is, what to look at)``. The numbers themselves are the exercise: a message
    says which of them went wrong, not what it is.
    """
    try:
        got = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):
        got = np.zeros(0)
    if got.shape != (len(steps),):
        names = ", ".join(what for _, what, _ in steps)
        raise NotRightError(f"expected {len(steps)} numbers in a list: {names}.")
    for number, (expected, what, look) in zip(got, steps, strict=True):
        if not abs(number - expected) < tolerance:
            raise NotRightError(f"{what}: {number:.4g} is not it. Look at {look}.")


def expect_call(
    function: Any, arguments: Sequence[Any], expected: ArrayLike, *, look: str = "", **options: Any
) -> None:
    """Call a learner's function on copies of ``arguments`` and compare what it returns."""
    got = call(function, arguments)
    given = ", ".join(_short(argument) for argument in arguments)
    expect_close(got, expected, what=f"for ({given})", look=look, **options)


def expect_detector(answer: Any, *, buggy: Any, sound: Any, other: Any, but: str) -> None:
    """Raise :class:`NotRightError` unless a learner's ``answer(module)`` is true of ``buggy`` alone.

    Args:
        answer: says of a module whether it has the bug of the exercise.
        buggy: the colleague's module.
        sound: the package's own.
        other: one with another bug; ``but`` says why it is no case of this one.
    """
    if not callable(answer):
        raise NotRightError(f"expected a function, got {type(answer).__name__}.")
    for module, guilty, name, complaint in (
        (buggy, True, "the colleague's module", "it let the bug pass"),
        (sound, False, "the package's own module", "it accused a sound one"),
        (other, False, "another bug", but),
    ):
        try:
            got = answer(module)
        except Exception as error:  # whatever a learner's code raises is news for the learner
            raise NotRightError(f"on {name} it raised {type(error).__name__}: {error}") from None
        if not isinstance(got, bool | np.bool_):
            raise NotRightError(f"on {name} it returned {got!r}; expected True or False.")
        if got != guilty:
            raise NotRightError(f"on {name} it returned {bool(got)}: {complaint}.")


def call(function: Any, arguments: Sequence[Any]) -> Any:
    """What a learner's function returns for copies of ``arguments``; what it raises, in one line."""
    if not callable(function):
        raise NotRightError(f"expected a function, got {type(function).__name__}.")
    try:
        return function(*deepcopy(list(arguments)))
    except Exception as error:  # whatever a learner's code raises is news for the learner
        given = ", ".join(_short(argument) for argument in arguments)
        raise NotRightError(f"for ({given}) it raised {type(error).__name__}: {error}") from None


def call_uncopied(function: Any, *arguments: Any) -> Any:
    """As :func:`call`, on the arguments themselves: a copy of a tensor would lose its gradient."""
    if not callable(function):
        raise NotRightError(f"expected a function, got {type(function).__name__}.")
    try:
        return function(*arguments)
    except Exception as error:  # whatever a learner's code raises is news for the learner
        raise NotRightError(f"it raised {type(error).__name__}: {error}") from None


def _short(value: Any) -> str:
    if callable(value):
        return getattr(value, "__name__", "a function")
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | float | np.number):
        return f"{value:.6g}"
    if isinstance(value, np.ndarray | list | tuple):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            return np.array2string(array, precision=5, threshold=12, separator=", ")
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__}(...)"
