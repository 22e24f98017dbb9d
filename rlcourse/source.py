"""Show the very lines: source code and differences, taken from the files that run."""

from __future__ import annotations

import ast
import difflib
import inspect
import textwrap
from typing import Any

from rlcourse.errors import InvalidArgumentError

__all__ = ["Listing", "show", "show_diff"]


class Listing(str):
    """Source text that a notebook renders as highlighted code."""

    language: str = "python"

    def _repr_markdown_(self) -> str:
        return f"```{self.language}\n{self}\n```"


def show(*objects: Any, docstring: bool = True) -> Listing:
    """The source of functions or classes, as it stands in the package.

    >>> from rlcourse.schedules import constant
    >>> print(show(constant, docstring=False))
    def constant(value: float) -> Schedule:
        return lambda count: value
    """
    return Listing("\n\n".join(_source(obj, docstring) for obj in objects))


def show_diff(before: Any, after: Any, *, docstring: bool = False) -> Listing:
    """What changed from one function or class to the other, as a unified diff."""
    old, new = _source(before, docstring).splitlines(), _source(after, docstring).splitlines()
    lines = difflib.unified_diff(old, new, n=len(old) + len(new), lineterm="")
    listing = Listing("\n".join(list(lines)[3:]))
    listing.language = "diff"
    return listing


def _source(obj: Any, docstring: bool) -> str:
    try:
        source = textwrap.dedent(inspect.getsource(obj)).rstrip()
    except (TypeError, OSError) as error:
        raise InvalidArgumentError(f"obj = {obj!r}: has no source to show ({error})") from error
    if docstring or getattr(obj, "__doc__", None) is None:
        return source
    tree = ast.parse(source)
    body = (tree if inspect.ismodule(obj) else tree.body[0]).body  # type: ignore[union-attr]
    lines = source.splitlines()
    return "\n".join(lines[: body[0].lineno - 1] + lines[body[0].end_lineno :])
