"""The page that shows files of results: one file, interactive, with no need of a network.

Its charts are drawn by Vega, which the package vl-convert-python carries and which goes into the page with
the data. A results file may come from a stranger: its texts are data on the page and never markup or
script, and the page's own policy forbids it to run, load or send anything else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.files import replace_file
from rlcourse.playground.results import Pair, Results, read, summarise, table
from rlcourse.plotting import COLOURS
from rlcourse.seeding import generator
from rlcourse.statistics import Interval, bootstrap_interval

__all__ = ["difference", "page", "write_dashboard"]

RESAMPLES = 2000


def write_dashboard(paths: Sequence[Path], out: Path) -> None:
    """Write the page of one file of results or of several.

    Raises:
        CorruptResultsError: a file cannot be read; nothing is written then.
        CourseError: the extra ``playground`` is missing, or ``out`` cannot be written.
    """
    if not paths:
        raise InvalidArgumentError("files: name at least one")
    if out.suffix.lower() != ".html" or not out.parent.is_dir():
        raise InvalidArgumentError(
            f"out = {out}: must end in .html and lie in a folder that exists"
        )
    content = page({name: read(path) for name, path in _names(paths).items()})
    with replace_file(out) as file:
        file.write(content.encode())


def page(runs: dict[str, Results]) -> str:
    """The page as text, of results by name.

    Raises:
        CourseError: the extra ``playground`` is missing.
    """
    scripts = (_vega(), _template("dashboard.js"))
    hashes = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    parts = {
        "policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; script-src " + " ".join(f"'sha256-{h}'" for h in hashes),
        "style": _template("dashboard.css"),
        "data": _as_data(_content(runs)),
        "table": html.escape("\n\n".join(f"{name}\n{table(run)}" for name, run in runs.items())),
        "vega": scripts[0],
        "script": scripts[1],
    }
    # In one pass: what stands in a part is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _template("dashboard.html"))


def difference(a: Pair, b: Pair) -> tuple[Interval, int]:
    """How much higher the mean return of ``a`` is, with its 95 % bootstrap interval, over how many starts.

    Episodes with the same seed are compared one by one: what their start made easy for both falls out. Where
    no seed is shared, the two means are compared, and the number is 0.

    >>> from rlcourse.playground.results import Episode
    >>> one = [Episode(seed, 10.0 * seed, 5, True, False) for seed in range(9)]
    >>> other = [Episode(seed, 10.0 * seed - 1, 5, True, False) for seed in range(9)]
    >>> difference(Pair("W", "one", one), Pair("W", "other", other))
    (Interval(value=1.0, low=1.0, high=1.0), 9)
    """
    ours = {episode.seed: episode.return_ for episode in a.episodes}
    theirs = {episode.seed: episode.return_ for episode in b.episodes}
    if shared := [seed for seed in ours if seed in theirs]:
        gaps = [ours[seed] - theirs[seed] for seed in shared]
        return bootstrap_interval(gaps, lambda scores: float(np.mean(scores))), len(shared)
    rng = generator(0)
    x, y = np.array([*ours.values()]), np.array([*theirs.values()])
    drawn = [rng.choice(x, len(x)).mean() - rng.choice(y, len(y)).mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(float(x.mean() - y.mean()), float(low), float(high)), 0


def _names(paths: Sequence[Path]) -> dict[str, Path]:
    """A short name for each file: its own, with a number where two are called the same."""
    names: dict[str, Path] = {}
    for path in paths:
        name = next(
            n
            for n in itertools.chain([path.stem], (f"{path.stem} {i}" for i in itertools.count(2)))
            if n not in names
        )
        names[name] = path
    return names


def _content(runs: dict[str, Results]) -> dict[str, Any]:
    """What the page shows, computed: its script adds nothing up."""
    pairs = [(number, pair) for number, run in enumerate(runs.values()) for pair in run.pairs]
    same_world = (
        (i, j)
        for i, j in itertools.combinations(range(len(pairs)), 2)
        if pairs[i][1].environment == pairs[j][1].environment
    )
    return {
        "colours": COLOURS,
        "runs": [
            {
                "name": name,
                "seed": run.seed,
                "asked": run.episodes,
                "complete": run.complete,
                "versions": run.made_with,
                "problems": [vars(problem) for problem in run.problems],
            }
            for name, run in runs.items()
        ],
        "pairs": [
            {
                "run": number,
                "environment": pair.environment,
                "policy": pair.policy,
                "summary": summarise(pair)._asdict(),
                "episodes": [
                    (e.seed, e.return_, e.length, int(e.terminated), int(e.truncated))
                    for e in pair.episodes
                ],
                "recordings": [vars(recording) for recording in pair.recordings],
            }
            for number, pair in pairs
        ],
        "differences": [
            (i, j, *interval, starts)
            for i, j in same_world
            for interval, starts in [difference(pairs[i][1], pairs[j][1])]
        ],
    }


def _as_data(content: Any) -> str:
    """JSON that no parser of HTML or JavaScript can mistake for anything else."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.translate({ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"})


def _template(name: str) -> str:
    return files("rlcourse.playground").joinpath(name).read_text("utf-8")


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script; some seconds, once."""
    try:
        import vl_convert
    except ImportError as error:
        raise CourseError(
            'the dashboard needs Vega; install it with pip install "rlcourse[playground]"'
        ) from error
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
