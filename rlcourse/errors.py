"""The errors that the course raises: each names the argument, the value and what would be right."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CorruptCheckpointError",
    "CorruptDataError",
    "CorruptEvidenceError",
    "CorruptResultsError",
    "CourseError",
    "DivergenceError",
    "ImproperPolicyError",
    "InvalidArgumentError",
    "NoModelError",
    "UnknownEnvironmentError",
]


class CourseError(Exception):
    """Anything that a caller of this package can mend; the command line prints it without a trace."""


class InvalidArgumentError(CourseError, ValueError):
    """An argument has a value that cannot be right."""


class UnknownEnvironmentError(InvalidArgumentError):
    """No environment is registered under this id."""


class NoModelError(CourseError, TypeError):
    """The environment does not expose its transition probabilities."""


class ImproperPolicyError(InvalidArgumentError):
    """Without discounting a value exists only if the episode ends with probability one."""


class DivergenceError(CourseError, ArithmeticError):
    """Learning has left the finite numbers; the message says where and in what state."""


class CorruptCheckpointError(CourseError):
    """A checkpoint cannot be read, or was made by something else."""


class CorruptDataError(CourseError):
    """A file of ratings, movies or users cannot be read; the message names file, line and value."""


class CorruptEvidenceError(CourseError):
    """A stored result or contract cannot be read."""


class CorruptResultsError(CourseError):
    """A playground's file of results cannot be read, or is of another version."""


def require(extra: str, *modules: str) -> None:
    """Do nothing if the modules of an extra are installed, else raise what names the command.

    >>> require("deep", "math", "no_such_module")
    Traceback (most recent call last):
    rlcourse.errors.CourseError: this needs no_such_module; install it with pip install "rlcourse[deep]"
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise CourseError(
            f'this needs {" and ".join(missing)}; install it with pip install "rlcourse[{extra}]"'
        )


def check_fraction(name: str, value: float, *, below_one: bool = False) -> float:
    """Return ``value`` if it lies in [0, 1] (or [0, 1) with ``below_one``), else raise.

    >>> check_fraction("gamma", 0.9)
    0.9
    """
    upper = "1)" if below_one else "1]"
    try:
        ok = bool(0.0 <= value < 1.0 if below_one else 0.0 <= value <= 1.0)
    except (TypeError, ValueError):  # text, None, an array
        ok = False
    if not ok:
        raise InvalidArgumentError(f"{name} = {value!r}: must be a number in [0, {upper}")
    return float(value)


def check_positive(name: str, value: int) -> int:
    """Return ``value`` if it is a whole number of at least one, else raise.

    >>> check_positive("steps", 5)
    5
    """
    try:
        whole = int(value)
        ok = bool(whole == value) and whole >= 1
    except (TypeError, ValueError, OverflowError):
        ok = False
    if not ok:
        raise InvalidArgumentError(f"{name} = {value!r}: must be a whole number of at least 1")
    return whole


def check_multiple(name: str, value: int, unit_name: str, unit: int) -> int:
    """Return ``value`` if it is a positive multiple of ``unit``, else raise.

    >>> check_multiple("train_every", 16, "num_envs", 8)
    16
    """
    check_positive(unit_name, unit)
    if check_positive(name, value) % unit:
        raise InvalidArgumentError(
            f"{name} = {value!r}: must be a multiple of {unit_name} = {unit}"
        )
    return int(value)


def check_not_negative(name: str, value: float) -> float:
    """Return ``value`` if it is a finite number of at least zero, else raise.

    >>> check_not_negative("learning_rate", 1e-3)
    0.001
    """
    if check_finite(name, value) < 0:
        raise InvalidArgumentError(f"{name} = {value!r}: must not be negative")
    return float(value)


def check_settings(config: Any, fractions: str, not_negative: str, positive: str) -> None:
    """Check the fields of a frozen dataclass, named in one text each, and put whole numbers into place.

    ``hidden``, the sizes of layers, becomes a tuple of whole numbers: a file may hold a list or 8.0.
    """
    for name in fractions.split():
        check_fraction(name, getattr(config, name))
    for name in not_negative.split():
        check_not_negative(name, getattr(config, name))
    for name in positive.split():
        object.__setattr__(config, name, check_positive(name, getattr(config, name)))
    sizes = config.hidden if isinstance(config.hidden, list | tuple) else (config.hidden,)
    whole = tuple(check_positive("hidden", size) for size in sizes)
    object.__setattr__(config, "hidden", whole)


def check_finite(name: str, value: float) -> float:
    """Return ``value`` if it is a finite number, else raise.

    >>> check_finite("initial", 0.5)
    0.5
    """
    try:
        ok = bool(np.isfinite(value))
    except (TypeError, ValueError):
        ok = False
    if not ok:
        raise InvalidArgumentError(f"{name} = {value!r}: must be finite")
    return float(value)


def check_numbers(name: str, values: Any) -> NDArray[np.float64]:
    """Return a copy of ``values`` as an array of floats, of whatever shape, else raise.

    >>> check_numbers("rewards", [1, 2])
    array([1., 2.])
    """
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{name}: must be an array of numbers ({error})") from error
