"""The very lines, and their differences."""

from __future__ import annotations

import inspect
import types
from typing import Any

import pytest

from rlcourse import returns, schedules
from rlcourse.algorithms.tabular import ALGORITHMS, Config, expected_sarsa, q_learning, sarsa
from rlcourse.errors import InvalidArgumentError
from rlcourse.source import show, show_diff


class Documented:
    """Has one."""

    def method(self) -> int:
        """Keeps its own."""
        return 1


class Bare(Documented):
    value = 2


def single() -> int:
    'One line, in other quotes.'  # fmt: skip
    return 3


def async_like(x: int = 1, *, y: str = '"""') -> str:
    """
    Opens on a line of its own and quotes: '''.
    """
    return y * x


def test_source_is_what_stands_in_the_file() -> None:
    assert show(q_learning) == inspect.getsource(q_learning).rstrip()
    assert show(q_learning, sarsa) == f"{show(q_learning)}\n\n{show(sarsa)}"
    assert show(schedules) == inspect.getsource(schedules).rstrip()


@pytest.mark.parametrize(
    "obj", [q_learning, expected_sarsa, Config, returns.gae, single, async_like, Documented, Bare]
)
def test_without_its_docstring_it_is_the_same_code(obj: Any) -> None:
    """Run both: the same names, and the docstring gone."""
    text = show(obj, docstring=False)
    assert (obj.__dict__.get("__doc__") or obj.__doc__ or "") not in text or obj is Bare
    lines = show(obj).splitlines()
    kept = text.splitlines()
    assert kept[0] == lines[0] and kept[-1] == lines[-1]
    assert all(line in lines for line in kept)
    compile(text, "shown", "exec")


def test_methods_keep_their_own_docstrings() -> None:
    text = show(Documented, docstring=False)
    assert "Has one" not in text and "Keeps its own" in text


def test_modules_lose_only_their_own_docstring() -> None:
    text = show(schedules, docstring=False)
    assert "Numbers that change" not in text and "Always ``value``" in text
    exec(compile(text, "shown", "exec"), types.ModuleType("shown").__dict__)


def test_a_difference_rebuilds_both_sides() -> None:
    listing = show_diff(q_learning, sarsa)
    rows = listing.splitlines()
    old = "\n".join(row[1:] for row in rows if row[:1] in " -")
    new = "\n".join(row[1:] for row in rows if row[:1] in " +")
    assert old == show(q_learning, docstring=False)
    assert new == show(sarsa, docstring=False)
    assert any(row.startswith("-") for row in rows) and any(row.startswith("+") for row in rows)


def test_notebooks_render_it_as_code() -> None:
    assert show(sarsa)._repr_markdown_() == f"```python\n{show(sarsa)}\n```"
    assert show_diff(q_learning, sarsa)._repr_markdown_().startswith("```diff\n")


@pytest.mark.parametrize("obj", [3, "text", len, ALGORITHMS["sarsa"], None])
def test_what_has_no_source(obj: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"obj = .*has no source to show"):
        show(obj)
