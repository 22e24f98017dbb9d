"""What a lab's test may say, and how it is run: here, while the student's functions may be elsewhere.

A test receives stand-ins for the student's functions and classes. To call one sends its arguments away as
values and waits for the value that comes back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from rlcourse.errors import CourseError
from rlcourse.grading.values import decode, encode
from rlcourse.grading.worker import Student

__all__ = [
    "Backend",
    "FailedTestError",
    "Here",
    "StruckError",
    "after",
    "attempt",
    "expect",
    "fail",
    "generator",
    "gradient",
    "run_test",
    "sample",
]


class FailedTestError(CourseError):
    """A test has found something; the message is for the student."""


class StruckError(FailedTestError):
    """A call did not come back: out of time, or the process ended.

    ``asleep`` says that it has waited and not worked: for that, nobody waits twice.
    """

    def __init__(self, message: str, asleep: bool = False) -> None:
        super().__init__(message)
        self.asleep = asleep


class Backend(Protocol):
    """Where a student's functions are."""

    def ask(self, request: dict[str, Any]) -> Any:
        """The value of one request; raises :class:`FailedTestError` with the student's error."""


class Here:
    """A student's functions in this process, called as if they were far away.

    >>> Here(Student({"double": lambda x: 2 * x})).ask(request("call", {"f": "double"}, (4,)))
    8
    """

    def __init__(self, student: Student) -> None:
        self.student = student

    def ask(self, request: dict[str, Any]) -> Any:
        """The value of one request."""
        reply = self.student.answer(json.loads(json.dumps(request)))
        return value_of(json.loads(json.dumps(reply)))


def value_of(reply: Any) -> Any:
    """The value in a reply, or its error raised."""
    if not isinstance(reply, dict) or not {"value", "error"} & set(reply):
        raise FailedTestError("what came back is no value")
    if "error" in reply:
        raise FailedTestError(str(reply["error"])[:500])
    try:
        return decode(reply["value"])
    except (CourseError, RecursionError) as error:
        raise FailedTestError(f"what came back is no value ({error})") from None


def request(
    op: str, target: dict[str, Any], args: Sequence[Any] = (), **more: Any
) -> dict[str, Any]:
    """A request as JSON can write it; ``kw`` holds the named arguments."""
    kw = encode(more.pop("kw", {}))
    return {"op": op, **target, "args": [encode(arg) for arg in args], "kw": kw, **more}


class _Function:
    """Stands for a function or a method of the student's."""

    def __init__(self, backend: Backend, target: dict[str, Any]) -> None:
        self._backend, self._target = backend, target

    def __call__(self, *args: Any, **kw: Any) -> Any:
        return self._backend.ask(request("call", self._target, args, kw=kw))


class _Class:
    """Stands for a class of the student's."""

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend, self._name = backend, name

    def __call__(self, *args: Any, **kw: Any) -> Any:
        handle = self._backend.ask(request("new", {"f": self._name}, args, kw=kw))
        return _Object(self._backend, handle)


class _Object:
    """Stands for an object of a student's class: every public name is a method of theirs."""

    def __init__(self, backend: Backend, handle: int) -> None:
        self._backend, self._handle = backend, handle

    def __getattr__(self, name: str) -> _Function:
        if name.startswith("_"):
            raise AttributeError(name)
        return _method(self, name)

    def __len__(self) -> int:
        size = _method(self, "__len__")()
        if not isinstance(size, int) or size < 0:
            raise FailedTestError(f"len(...) is {short(size)}, which is no length")
        return size

    def __getitem__(self, key: Any) -> Any:
        return _method(self, "__getitem__")(key)


def _method(thing: _Object, name: str) -> _Function:
    return _Function(thing._backend, {"o": thing._handle, "m": name})


def after(function: Any, *args: Any, **kw: Any) -> tuple[Any, tuple[Any, ...]]:
    """What a call returned, and its arguments as they were when it ended."""
    return function._backend.ask(  # type: ignore[no-any-return]
        request("after", function._target, args, kw=kw)
    )


def sample(function: Any, n: int, *args: Any, **kw: Any) -> list[Any]:
    """``n`` results of the same call, in one round trip."""
    return function._backend.ask(  # type: ignore[no-any-return]
        request("sample", function._target, args, kw=kw, n=n)
    )


def gradient(
    function: Any, *args: Any, wrt: Sequence[int] = (0,), **kw: Any
) -> tuple[Any, list[Any]]:
    """What a call returned, and the derivative of its sum by each of the arguments at ``wrt``."""
    return function._backend.ask(  # type: ignore[no-any-return]
        request("gradient", function._target, args, kw=kw, wrt=list(wrt))
    )


def fail(message: str) -> None:
    """Say what is wrong, and end the test."""
    raise FailedTestError(message)


def expect(got: Any, wanted: Any, look: str = "", tolerance: float = 1e-6, what: str = "") -> None:
    """Compare shapes and values; raise what the student should know if they differ.

    Args:
        got: what came back.
        wanted: what is right: a number, an array, or a list, tuple or dictionary of such.
        look: what to look at.
        tolerance: relative to the numbers, and absolute where they are small; between
            whole numbers it is zero.
        what: the name of the thing, where the test compares several.

    >>> expect(2.0, 3.0, look="what the reward is compared with")
    Traceback (most recent call last):
    rlcourse.grading.testing.FailedTestError: expected 3, got 2; look at what the reward is compared with
    """
    problem = _difference(got, wanted, tolerance)
    if problem:
        head = f"{what}: " if what else ""
        tail = (f" Look at {look}" if problem[-1] == "?" else f"; look at {look}") if look else ""
        raise FailedTestError(f"{head}{problem}{tail}")


def _difference(got: Any, wanted: Any, tolerance: float) -> str:
    if wanted is not None and (got is None or got is ...):
        return "nothing came back; does the function end in return?"
    if isinstance(wanted, tuple | dict) or (isinstance(wanted, list) and _numbers(wanted) is None):
        return _differences(got, wanted, tolerance)
    if wanted is None or isinstance(wanted, str):
        return "" if got == wanted else f"expected {short(wanted)}, got {short(got)}"
    right = _numbers(wanted)
    if right is None:
        raise TypeError(f"expect: cannot compare with a {type(wanted).__name__}")
    found = _numbers(got)
    if found is None:
        return f"expected numbers, got {short(got)}"
    if found.shape != right.shape:
        return f"expected shape {right.shape}, got shape {found.shape}"
    if right.dtype.kind in "biu" and found.dtype.kind in "biu":
        same = bool(np.array_equal(found, right))
    else:
        same = np.allclose(found, right, rtol=tolerance, atol=tolerance, equal_nan=True)
    return "" if same else f"expected {short(wanted)}, got {short(got)}"


def _differences(got: Any, wanted: Any, tolerance: float) -> str:
    """Item by item."""
    kind = dict if isinstance(wanted, dict) else tuple | list
    if not isinstance(got, kind):
        return f"expected a {type(wanted).__name__} of {len(wanted)}, got {short(got)}"
    if isinstance(wanted, dict):
        if set(got) != set(wanted):
            return f"expected the keys {sorted(wanted)}, got {short(sorted(got))}"
        pairs = [(key, got[key], wanted[key]) for key in wanted]
    elif len(got) != len(wanted):
        return f"expected {len(wanted)} values, got {len(got)}"
    else:
        pairs = [(f"value {n}", g, w) for n, (g, w) in enumerate(zip(got, wanted, strict=True), 1)]
    for name, one, other in pairs:
        if problem := _difference(one, other, tolerance):
            return f"{name}: {problem}"
    return ""


def _numbers(value: Any) -> Any:
    """``value`` as an array of numbers, or None if it is something else."""
    if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    return array if array.dtype.kind in "biufc" else None


def short(value: Any) -> str:
    """A value in a message: no longer than a line."""
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    array = _numbers(value) if isinstance(value, np.ndarray | list | tuple) else None
    if array is not None:
        text = np.array2string(array, precision=5, threshold=12, separator=", ")
        text = " ".join(text.split())
    else:
        text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]} ..."


def generator(lab: str, test: str, secret: int) -> np.random.Generator:
    """The generator of one test; another secret deals other cases.

    >>> generator("bandits", "test_mean", 0).integers(100) == generator("bandits", "test_mean", 0).integers(100)
    np.True_
    """
    digest = hashlib.sha256(f"{lab}/{test}/{secret}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def run_test(
    source: str,
    name: str,
    arguments: Sequence[str],
    classes: Sequence[str],
    backend: Backend,
    rng: np.random.Generator,
) -> None:
    """Run one test on the functions behind ``backend``.

    Raises:
        FailedTestError: they are not right; the message is for the student.
    """
    scope: dict[str, Any] = {
        "np": np,
        "expect": expect,
        "fail": fail,
        "after": after,
        "sample": sample,
        "gradient": gradient,
    }
    exec(compile(source, f"<{name}>", "exec", dont_inherit=True), scope)
    given = [
        rng
        if argument == "rng"
        else _Class(backend, argument)
        if argument in classes
        else _Function(backend, {"f": argument})
        for argument in arguments
    ]
    try:
        scope[name](*given)
    except FailedTestError:
        raise
    except (
        Exception
    ) as error:  # a test meets values of any kind; the reference solution raises nothing
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        raise FailedTestError(f"what came back cannot be used ({text[:200]})") from error


def attempt(function: Any, names: dict[str, Any], lab: str, secret: int) -> None:
    """Run a test where the student's names are: for graders that keep both in one notebook.

    Raises:
        FailedTestError: they are not right.
    """
    backend = Here(Student({name: names[name] for name in _arguments(function) if name in names}))
    given = [
        generator(lab, function.__name__, secret)
        if name == "rng"
        else _Class(backend, name)
        if isinstance(names.get(name), type)
        else _Function(backend, {"f": name})
        for name in _arguments(function)
    ]
    function(*given)


def _arguments(function: Any) -> tuple[str, ...]:
    return tuple(function.__code__.co_varnames[: function.__code__.co_argcount])
