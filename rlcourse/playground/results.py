"""The file of results: versioned JSON, whose published schema (``schema.json`` beside this) is the reader.

The same call writes the same bytes, so there is no clock in it. What is read may come from a stranger:
it is checked, value by value, before anything looks at it.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlcourse.errors import CorruptResultsError, InvalidArgumentError
from rlcourse.files import replace_file
from rlcourse.statistics import bootstrap_interval, iqm

__all__ = [
    "Episode",
    "Pair",
    "Problem",
    "Recording",
    "Results",
    "Summary",
    "fault",
    "read",
    "schema",
    "short",
    "summarise",
    "table",
    "write",
]

FORMAT, VERSION = "rlcourse-playground", 1
LARGEST = 200_000_000  # bytes: more is no file of ours


@dataclass(frozen=True)
class Episode:
    """One whole episode: its seed, its undiscounted return, its steps, and which of the two flags ended it."""

    seed: int
    return_: float
    length: int
    terminated: bool
    truncated: bool


@dataclass(frozen=True)
class Recording:
    """Moments of one episode; the four lists are equally long.

    ``frames`` are observations, or pictures in text; the action after the last moment is ``None``.
    """

    episode: int
    steps: Sequence[int]
    frames: Sequence[Sequence[float]] | Sequence[str]
    gained: Sequence[float]
    actions: Sequence[float | Sequence[float] | None]


@dataclass(frozen=True)
class Pair:
    """A policy in a world."""

    environment: str
    policy: str
    episodes: Sequence[Episode]
    recordings: Sequence[Recording] = ()


@dataclass(frozen=True)
class Problem:
    """What could not be played, and what would mend it; no policy where the world itself is missing."""

    environment: str
    policy: str | None
    message: str


@dataclass(frozen=True)
class Results:
    """What was asked for, what was played and what could not be."""

    environments: Sequence[str]
    policies: Sequence[str]
    episodes: int
    seed: int
    pairs: Sequence[Pair]
    problems: Sequence[Problem]
    complete: bool
    made_with: dict[str, str]


# --- writing -----------------------------------------------------------------------------------------


def write(results: Results, path: Path) -> None:
    """Write the file, whole or not at all.

    Raises:
        InvalidArgumentError: the results hold what no reader would take; nothing is written then.
        CourseError: the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "made_with": results.made_with,
        "settings": {
            "environments": list(results.environments),
            "policies": list(results.policies),
            "episodes": results.episodes,
            "seed": results.seed,
        },
        "complete": results.complete,
        "pairs": [
            vars(pair)
            | {
                "episodes": [
                    {
                        key.rstrip("_"): value for key, value in vars(e).items()
                    }  # `return` is Python's
                    for e in pair.episodes
                ],
                "recordings": [vars(recording) for recording in pair.recordings],
            }
            for pair in results.pairs
        ],
        "problems": [vars(problem) for problem in results.problems],
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    if found := fault(json.loads(text), schema()):
        raise InvalidArgumentError(f"results: {': '.join(filter(None, found))}")
    if inconsistent := _inconsistency(results):
        raise InvalidArgumentError(f"results: {inconsistent}")
    written = text.encode() + b"\n"
    if len(written) > LARGEST:
        raise InvalidArgumentError(f"results: must fit into {LARGEST / 1e6:.0f} MB")
    with replace_file(path) as file:
        file.write(written)


# --- reading -----------------------------------------------------------------------------------------


@cache
def schema() -> dict[str, Any]:
    """The published JSON schema of a file of results.

    >>> schema()["properties"]["version"]
    {'const': 1}
    """
    text = files("rlcourse.playground").joinpath("schema.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def read(path: Path) -> Results:
    """Read a file and check all of it.

    Raises:
        CorruptResultsError: there is none, or of another version, or something in it is wrong; the message
            says what and where.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise CorruptResultsError(
                f"{path}: larger than {LARGEST / 1e6:.0f} MB; no file of results"
            )
        content = json.loads(path.read_bytes().decode("utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise CorruptResultsError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, NaN, too deep
        raise CorruptResultsError(f"{path}: no JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CorruptResultsError(f"{path}: no results of rlcourse playground run")
    if fault(content.get("version"), {"const": VERSION}):
        raise CorruptResultsError(
            f"{path}: of version {content.get('version')!r:.40}; this package reads version {VERSION}: "
            "play it again, or install the rlcourse that wrote it"
        )
    if found := fault(content, schema()):
        raise CorruptResultsError(f"{path}: {': '.join(filter(None, found))}")
    results = Results(
        **content["settings"],
        pairs=[_pair(pair) for pair in content["pairs"]],
        problems=[Problem(**problem) for problem in content["problems"]],
        complete=content["complete"],
        made_with=content["made_with"],
    )
    if inconsistent := _inconsistency(results):
        raise CorruptResultsError(f"{path}: {inconsistent}")
    return results


def _pair(content: dict[str, Any]) -> Pair:
    return Pair(
        content["environment"],
        content["policy"],
        [
            Episode(e["seed"], float(e["return"]), e["length"], e["terminated"], e["truncated"])
            for e in content["episodes"]
        ],
        [Recording(**fields) for fields in content["recordings"]],
    )


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "object": ("an object", lambda value: isinstance(value, dict)),
    "array": ("a list", lambda value: isinstance(value, list)),
    "string": ("text", lambda value: isinstance(value, str) and _is_unicode(value)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "null": ("null", lambda value: value is None),
    "integer": (
        "a whole number",
        lambda value: isinstance(value, int) and not isinstance(value, bool),
    ),
    "number": (
        "a number",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    ),
}


def _is_unicode(text: str) -> bool:
    """JSON can name halves of a character, which no file can hold."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def fault(value: Any, rule: dict[str, Any], where: str = "") -> tuple[str, str] | None:
    """Where a value breaks a rule of the schema first, and how; the keywords are those that ours uses.

    >>> fault({"seed": -1}, {"type": "object", "required": ["seed"], "properties": {
    ...     "seed": {"type": "integer", "minimum": 0}}})
    ('seed', 'must lie in [0, inf], is -1')
    """
    if "$ref" in rule:
        rule = schema()["$defs"][rule["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in rule:
        forms = [fault(value, one, where) for one in rule["anyOf"]]
        found = [form for form in forms if form]
        # of the form that got furthest
        return max(found, key=lambda form: len(form[0])) if len(found) == len(forms) else None
    if "const" in rule:
        same = type(value) is type(rule["const"]) and value == rule["const"]  # true is not 1
        return None if same else (where, f"must be {rule['const']!r}, is {value!r:.60}")
    called, fits = KINDS[rule["type"]]
    if not fits(value):
        return where, f"must be {called}, is {value!r:.60}"
    if isinstance(value, dict):
        for key in rule["required"]:
            if key not in value:
                return where, f"lacks {key!r}"
        for key, inner in value.items():
            if key not in rule["properties"]:
                return where, f"has {key!r:.60}, which no results have"
            if deeper := fault(inner, rule["properties"][key], f"{where}.{key}".lstrip(".")):
                return deeper
    elif isinstance(value, list | str):
        unit = "Items" if isinstance(value, list) else "Length"
        low, high = rule.get(f"min{unit}", 0), rule.get(f"max{unit}", math.inf)
        if not low <= len(value) <= high:
            return where, f"must have {low} to {high} entries, has {len(value)}"
        for number, inner in enumerate(value) if isinstance(value, list) else ():
            if deeper := fault(inner, rule["items"], f"{where}[{number}]"):
                return deeper
    elif isinstance(value, int | float):
        low, high = rule.get("minimum", -math.inf), rule.get("maximum", math.inf)
        if not low <= value <= high:
            return where, f"must lie in [{low}, {high}], is {value!r:.60}"
    return None


def _inconsistency(results: Results) -> str | None:
    """What a schema cannot say: that parts of a file belong together."""
    seen = set()
    for number, pair in enumerate(results.pairs):
        where = f"pairs[{number}]"
        if (pair.environment, pair.policy) in seen:
            return f"{where}: {pair.policy} in {pair.environment} a second time"
        seen.add((pair.environment, pair.policy))
        for i, episode in enumerate(pair.episodes):
            if not (episode.terminated or episode.truncated):
                return f"{where}.episodes[{i}]: neither terminated nor truncated"
        for i, recording in enumerate(pair.recordings):
            lists = (recording.steps, recording.frames, recording.gained, recording.actions)
            if len({len(values) for values in lists}) > 1:
                return (
                    f"{where}.recordings[{i}]: steps, frames, gained and actions differ in length"
                )
            if recording.episode >= len(pair.episodes):
                return f"{where}.recordings[{i}].episode: there is no episode {recording.episode}"
            if any(a >= b for a, b in itertools.pairwise(recording.steps)):
                return f"{where}.recordings[{i}].steps: must increase"
    return None


# --- summing up --------------------------------------------------------------------------------------


class Summary(NamedTuple):
    """The returns of a pair in seven numbers: the mean with its 95 % bootstrap interval, the
    interquartile mean, the best, the worst, and the mean length in steps."""

    mean: float
    low: float
    high: float
    iqm: float
    best: float
    worst: float
    length: float


def summarise(pair: Pair) -> Summary:
    """Sum up the episodes of a pair.

    >>> episodes = [Episode(seed, float(seed), 5, True, False) for seed in range(5)]
    >>> summary = summarise(Pair("world", "policy", episodes))
    >>> summary.mean, summary.iqm, summary.best, summary.worst, summary.length
    (2.0, 2.0, 4.0, 0.0, 5.0)
    """
    returns = np.array([episode.return_ for episode in pair.episodes])
    mean = bootstrap_interval(returns, lambda scores: float(np.mean(scores)))
    length = float(np.mean([episode.length for episode in pair.episodes]))
    return Summary(*mean, iqm(returns), float(returns.max()), float(returns.min()), length)


def short(value: float) -> str:
    """A number to four significant digits, as a page's script writes it: halves are rounded away from zero.

    >>> short(484.25), short(-200.0), short(12345.0), short(1.5e300)
    ('484.3', '-200', '12350', '1.5e+300')
    """
    rounded = Context(prec=4, rounding=ROUND_HALF_UP).create_decimal_from_float(value).normalize()
    plain = value == 0 or 1e-6 <= abs(value) < 1e21
    return f"{abs(rounded) if value == 0 else rounded:{'f' if plain else 'e'}}"


def table(results: Results, speed: dict[tuple[str, str], float] | None = None) -> str:
    """The summaries as aligned text, one row a pair.

    Args:
        results: what was played.
        speed: steps a second by environment and policy, if they are to be shown.

    >>> print(table(Results((), (), 1, 0, [Pair("W", "p", [Episode(0, 2.0, 5, True, False)])], (), True, {})))
    environment  policy  episodes  mean  95 % interval  IQM  best  worst  length
    W            p              1     2         [2, 2]    2     2      2       5
    """
    head = ["environment", "policy", "episodes", "mean", "95 % interval", "IQM", "best", "worst"]
    rows = [[*head, "length", *(["steps/s"] if speed else [])]]
    for pair in results.pairs:
        s = summarise(pair)
        numbers = [short(value) for value in (s.mean, s.iqm, s.best, s.worst, s.length)]
        interval = f"[{short(s.low)}, {short(s.high)}]"
        row = [
            pair.environment,
            pair.policy,
            str(len(pair.episodes)),
            numbers[0],
            interval,
            *numbers[1:],
        ]
        if speed:
            row.append(f"{speed[pair.environment, pair.policy]:,.0f}")
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
