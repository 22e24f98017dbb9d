"""How alike two submissions are, as a hint for a person: never a verdict.

Names, numbers, comments and layout do not count. What the lab itself has handed out does not count either, and
what half of the class has written counts for little.
"""

from __future__ import annotations

import io
import keyword
import math
import tokenize
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

__all__ = ["similar", "tokens"]

LENGTH = 6  # tokens in a row


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
