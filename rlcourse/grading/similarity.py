"""How alike two submissions are, as a hint for a person: never a verdict.

Names, numbers, comments and layout do not count. What the lab itself has handed out does not count either, and
what half of the class has written counts for little. Where the lab has handed out code to be repaired, the
lines that a submission changes are counted, so that a person can tell a repair from a rewrite.
"""

from __future__ import annotations

import ast
import io
import keyword
import math
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import combinations

__all__ = ["borrowed", "lines_changed", "similar", "tokens"]

LENGTH = 6  # tokens in a row
LONGEST = 100_000  # characters of a cell that is read as code


def tokens(source: str) -> list[str]:
    """The code's skeleton.

    >>> tokens("total = count + 1  # one more")
    ['n', '=', 'n', '+', '0']
    """
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME:
                found.append(token.string if keyword.iskeyword(token.string) else "n")
            elif token.type == tokenize.NUMBER:
                found.append("0")
            elif token.type == tokenize.OP:
                found.append(token.string)
    except (tokenize.TokenError, SyntaxError, ValueError):  # what was read before it counts
        pass
    return found


def _shingles(cells: Iterable[str]) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for cell in cells:
        row = tokens(cell)
        found |= {tuple(row[i : i + LENGTH]) for i in range(len(row) - LENGTH + 1)}
    return found


def similar(
    submissions: Mapping[str, Sequence[str]], handed_out: Iterable[str], at_least: float = 0.8
) -> list[tuple[float, str, str]]:
    """Pairs of submissions that share most of what is unusual in either, the most alike first.

    Args:
        submissions: the code cells of each.
        handed_out: the cells that all of them began with.
        at_least: the share, from 0 to 1.
    """
    common = _shingles(handed_out)
    sets = {name: _shingles(cells) - common for name, cells in submissions.items()}
    count = Counter(shingle for found in sets.values() for shingle in found)
    weight = {shingle: math.log(len(sets) / n) for shingle, n in count.items()}
    pairs = []
    for one, other in combinations(sets, 2):
        together = sum(weight[s] for s in sets[one] | sets[other])
        shared = sum(weight[s] for s in sets[one] & sets[other])
        if together > 0 and shared / together >= at_least:
            pairs.append((shared / together, one, other))
    return sorted(pairs, reverse=True)


def borrowed(handed_out: Iterable[str], cells: Iterable[str]) -> list[str]:
    """The modules of this package that a submission imports and the cells that were handed out do not.

    >>> borrowed(["from rlcourse.mdp import grid"], ["import rlcourse.mdp, numpy", "from rlcourse import returns"])
    ['rlcourse.returns']
    """
    return sorted(_imported(cells) - _imported(handed_out))


def _imported(cells: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for cell in cells:
        try:
            nodes = list(ast.walk(ast.parse(_code(cell))))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in nodes:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module == "rlcourse":
                found |= {f"rlcourse.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    return {name for name in found if name.startswith("rlcourse.")}


def lines_changed(handed_out: Iterable[str], cells: Iterable[str]) -> int:
    """How many lines of code differ from the functions and classes that a student was to repair.

    Comments, docstrings, blank lines and layout do not count. Of two functions with one name the later counts,
    and what else is defined in the same cells counts as added.

    >>> lines_changed(["def f(x):\\n    return -x"], ["def f(x):\\n    # mended\\n    return x"])
    1
    """
    before = _definitions(handed_out)
    now: dict[str, list[str]] = {}
    for cell in cells:
        found = _definitions([cell])
        if before.keys() & found.keys():
            now |= found
    count = 0
    for name in before | now:
        one, other = before.get(name, []), now.get(name, [])
        for kind, a, b, c, d in SequenceMatcher(None, one, other, False).get_opcodes():
            count += max(b - a, d - c) if kind != "equal" else 0
    return count


def _code(cell: str) -> str:
    """A cell that can be read as Python, without a notebook's own commands; nothing of one that is too long."""
    return re.sub(r"(?m)^[%!].*$", "pass", cell) if len(cell) <= LONGEST else ""


def _definitions(cells: Iterable[str]) -> dict[str, list[str]]:
    """The lines of each function and class, as one writes them who writes no comments."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        try:
            statements = ast.parse(_code(cell)).body
            for statement in statements:
                if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                    for node in ast.walk(statement):
                        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(
                            node
                        ):
                            node.body = node.body[1:]
                    found[statement.name] = ast.unparse(statement).splitlines()
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # counts as not there
            continue
    return found
