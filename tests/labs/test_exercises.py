"""The exercises of every chapter: the folded solution passes, the stub is not written yet.

The mistakes that readers make have a file a chapter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlcourse.labs import CHAPTERS, verdict

BOOK = Path(__file__).resolve().parents[2] / "book"
[*PAGES] = ((name, next(BOOK.rglob(f"{name}.md"))) for name in CHAPTERS)
TEXT = {name: page.read_text(encoding="utf-8") for name, page in PAGES}
CELLS = {
    name: re.findall(
        r"^```\{code-cell\} python\n(?:(?::[^\n]*\n)+\n?)?(.*?)^```$", text, re.M | re.S
    )
    for name, text in TEXT.items()
}
SOLUTIONS = [
    (name, label, code)
    for name, text in TEXT.items()
    for label, code in re.findall(
        r"^:::\{solution\} (\S+)\n.*?^```python\n(.*?)^```$", text, re.M | re.S
    )
]
STUBS = [
    (name, check, cell)
    for name, cells in CELLS.items()
    for cell in cells
    for check in re.findall(r'^check\("(.+?)", ', cell, re.M)
]
# What an exercise of a chapter stands on, besides the imports.
AT_HAND: dict[str, Callable[[list[str]], list[str]]] = {
    "mdp": lambda cells: [
        cells[1],
        "drunk = np.full((16, 4), 1 / 4)",
        next(cell for cell in cells if "hunt(" in cell),
    ],
    "bellman": lambda cells: [
        next(cell for cell in cells if "def by_linear_programming" in cell).split("*_, howard")[0]
    ],
    "approximation": lambda cells: [next(cell for cell in cells if "fork = Problem(" in cell)],
    "dqn": lambda cells: [
        next(cell for cell in cells if cell.startswith("table = {")).split("born = ")[0]
    ],
}


def reader(name: str) -> dict[str, Any]:
    """The names that a reader has when the exercises of a chapter begin."""
    names: dict[str, Any] = {}
    for code in (CELLS[name][0], *AT_HAND.get(name, lambda cells: [])(CELLS[name])):
        exec(code, names)
    return names


@pytest.mark.parametrize(
    ("name", "label", "code"), SOLUTIONS, ids=[label for _, label, _ in SOLUTIONS]
)
def test_the_printed_solution_passes(
    name: str, label: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = reader(name)
    capsys.readouterr()
    exec(compile(code, label, "exec"), names)
    printed = capsys.readouterr().out
    assert re.search(f"^✓ {name}/", printed, re.M), printed


@pytest.mark.parametrize(("name", "check", "cell"), STUBS, ids=[check for _, check, _ in STUBS])
def test_the_stub_is_not_written_yet(
    name: str, check: str, cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = reader(name)
    capsys.readouterr()
    exec(cell, names)
    assert f"… {check}: not written yet" in capsys.readouterr().out
    assert verdict(check).passed is None


def test_every_chapter_has_solutions_and_stubs() -> None:
    assert {name for name, *_ in SOLUTIONS} == {name for name, *_ in STUBS} == set(CHAPTERS)
    assert len(SOLUTIONS) == len(STUBS)
