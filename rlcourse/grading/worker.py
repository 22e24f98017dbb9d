"""The student's side: holds what a submission defines and answers calls with values.

Runs in a process of its own when it grades, and inside the notebook when a student checks at once; the
answers are the same. Nothing here is trusted by the other side: it judges the values that come back.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from rlcourse.grading.values import NotAValueError, decode, encode

__all__ = ["Student", "main", "unwritten"]

future = import_module("__future__")
LONGEST = 300  # characters of a student's own error message


class Student:
    """What a submission defines, and the objects that it has made.

    >>> student = Student()
    >>> student.load([], ["def double(x):\\n    return 2 * x\\nprint('never run')"])
    []
    >>> student.answer({"op": "call", "f": "double", "args": [1.5], "kw": {"dict": []}})
    {'value': 3.0}
    """

    def __init__(self, names: dict[str, Any] | None = None) -> None:
        self.names: dict[str, Any] = {"__name__": "submission"} | (names or {})
        self.objects: list[Any] = []

    def load(self, given: Iterable[str], cells: Iterable[str]) -> list[str]:
        """Run the lab's own cells, then the definitions of the student's; return what could not be run."""
        self.give(given)
        return self.define(cells)

    def give(self, given: Iterable[str]) -> None:
        """Run the lab's own cells, whole."""
        for number, source in enumerate(given, 1):
            exec(compile(source, f"<given {number}>", "exec", dont_inherit=True), self.names)

    def define(self, cells: Iterable[str]) -> list[str]:
        """Run the imports, definitions and plain values of the student's; return what could not be run."""
        notes: list[str] = []
        flags = 0
        for number, source in enumerate(cells, 1):
            try:
                statements = _parse(source)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                line = getattr(error, "lineno", None)
                where = f"cell {number}" + (f", line {line}" if line else "")
                notes.append(
                    f"{where}: not Python, so nothing in this cell counts ({_first(error)})"
                )
                continue
            for statement in statements:
                if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
                    for alias in statement.names:
                        flags |= getattr(getattr(future, alias.name, None), "compiler_flag", 0)
                if not _kept(statement):
                    continue
                try:
                    code = compile(
                        ast.Module([statement], []), f"<cell {number}>", "exec", flags, True
                    )
                    exec(code, self.names)
                except Exception as error:  # the next definition may be sound
                    notes.append(f"cell {number}, line {statement.lineno}: {_first(error)}")
        return notes

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """``{"value": ...}`` or ``{"error": why}`` for one request."""
        try:
            perform = getattr(self, f"_{request['op']}")
            return {"value": perform(request)}
        except NotAValueError as error:
            return {"error": f"it returned {error}"}
        except KeyError as error:
            if error.args[:1] == (_Missing,):
                return {"error": f"there is nothing named {error.args[1]}"}
            return {"error": _raised(error)}
        except MemoryError:
            return {"error": "it asked for more memory than it may have"}
        except Exception as error:  # whatever a student's code raises is news for the student
            return {"error": _raised(error)}
        except BaseException as error:  # SystemExit, KeyboardInterrupt
            return {"error": f"it raised {type(error).__name__} instead of returning"}

    def _target(self, request: dict[str, Any]) -> Callable[..., Any]:
        if "o" in request:
            return getattr(self.objects[request["o"]], request["m"])  # type: ignore[no-any-return]
        if request["f"] not in self.names:
            raise KeyError(_Missing, request["f"])
        return self.names[request["f"]]  # type: ignore[no-any-return]

    def _call(self, request: dict[str, Any]) -> Any:
        target = self._target(request)
        args, kw = _arguments(request)
        return encode(target(*args, **kw))

    def _new(self, request: dict[str, Any]) -> int:
        target = self._target(request)
        args, kw = _arguments(request)
        self.objects.append(target(*args, **kw))
        return len(self.objects) - 1

    def _sample(self, request: dict[str, Any]) -> Any:
        target = self._target(request)
        results = []
        for _ in range(request["n"]):
            args, kw = _arguments(request)
            results.append(encode(target(*args, **kw)))
        return results

    def _after(self, request: dict[str, Any]) -> Any:
        target = self._target(request)
        args, kw = _arguments(request)
        result = encode(target(*args, **kw))
        return {"tuple": [result, encode(tuple(args))]}

    def _gradient(self, request: dict[str, Any]) -> Any:
        import torch

        target = self._target(request)
        args, kw = _arguments(request)
        leaves = []
        for place in request["wrt"]:
            leaf = torch.as_tensor(args[place]).detach().clone().requires_grad_(True)
            args[place] = leaf
            leaves.append(leaf)
        result = target(*args, **kw)
        if not isinstance(result, torch.Tensor) or not result.requires_grad:
            return _refuse("its result has no gradient with respect to these arguments")
        found = torch.autograd.grad(result.sum(), leaves, allow_unused=True)
        grads = [
            torch.zeros_like(leaf) if grad is None else grad
            for leaf, grad in zip(leaves, found, strict=True)
        ]
        return {"tuple": [encode(result), encode(grads)]}


class _Missing:
    """Marks the error of a name that the submission does not define."""


def _refuse(message: str) -> Any:
    raise TypeError(message)


def _arguments(request: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Fresh copies each time: a call never changes what the test holds."""
    return decode(request["args"], _tensor), decode(request["kw"], _tensor)


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array)


def _parse(source: str) -> list[ast.stmt]:
    """The statements of a cell; lines for the notebook itself (``%pip``, ``!ls``) are left out."""
    try:
        return ast.parse(source).body
    except SyntaxError:
        lines = source.splitlines()
        plain = ["pass" if line.startswith(("%", "!", "?")) else line for line in lines]
        if lines and lines[0].startswith("%%"):
            plain = []
        return ast.parse("\n".join(plain)).body


def _kept(statement: ast.stmt) -> bool:
    """Whether a statement runs: imports, definitions, and assignments of plain values."""
    match statement:
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return True
        case ast.Assign(value=value) | ast.AnnAssign(value=value) if value is not None:
            return _plain(value)
    return False


def _plain(node: ast.expr) -> bool:
    if isinstance(node, ast.Lambda):
        return True  # a definition by another spelling
    if isinstance(node, ast.Attribute):
        return _plain(node.value)
    if isinstance(node, ast.Dict):
        return all(key is not None and _plain(key) for key in node.keys) and all(
            map(_plain, node.values)
        )
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return all(map(_plain, node.elts))
    if isinstance(node, ast.BinOp):
        return _plain(node.left) and _plain(node.right)
    if isinstance(node, ast.UnaryOp):
        return _plain(node.operand)
    return isinstance(node, ast.Constant | ast.Name)


def unwritten(source: str) -> set[str]:
    """The functions and classes in a cell that still hold a ``...`` where code should stand.

    >>> unwritten("def f(x):\\n    y = x + 1\\n    ...\\n    return y\\ndef g(x): return x")
    {'f'}
    """
    found: dict[str, bool] = {}
    try:
        statements = _parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[statement.name] = any(
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and node.value.value is ...
                for node in ast.walk(statement)
            )
    return {name for name, is_stub in found.items() if is_stub}


def _first(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."


def _raised(error: BaseException) -> str:
    """The error, and the line of the submission that it came from."""
    try:
        said = _first(error)
    except Exception:  # an error of the student's own whose text raises again
        said = type(error).__name__
    where, trace = "", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith("<cell "):
            where = f" (line {trace.tb_lineno} of {name[1:-1]})"
        trace = trace.tb_next
    return f"it raised {said}{where}"


def main() -> None:
    """Answer requests, one JSON object a line, until the other side hangs up."""
    settings = json.loads(sys.argv[1])
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what a student prints is neither read nor kept
        os.dup2(nothing, stream)
    _limit(settings)
    student = Student()
    for line in requests:
        request = json.loads(line)
        if request["op"] == "load":
            cells = request["cells"]
            try:
                notes = student.load(request["given"], cells)
            except Exception as error:
                reply: dict[str, Any] = {"error": f"the lab's own cells: {_first(error)}"}
            else:
                stubs = set().union(*map(unwritten, cells))
                reply = {"value": {"notes": notes, "unwritten": sorted(stubs)}}
        else:
            reply = student.answer(request)
        replies.write(json.dumps({"id": request["id"], **reply}).encode() + b"\n")
        replies.flush()


def _limit(settings: dict[str, Any]) -> None:
    """Become an ordinary user if told to, and accept limits that no process can raise again."""
    import resource

    if settings["uid"] is not None:
        os.setgroups([])
        os.setresgid(*[settings["uid"]] * 3)
        os.setresuid(*[settings["uid"]] * 3)
    for name, value in settings["limits"].items():
        kind = getattr(resource, name, None)
        if kind is not None:
            resource.setrlimit(kind, (value, value))
