"""Contracts and their results: what the book claims, and whether it was measured.

A *contract* (``contracts.toml``) is one learning claim: what to run, over how many seeds, which statistic
must pass which threshold. :func:`run` measures it, one process a core, keeping every finished seed, and
writes one small result file with its provenance. :func:`check` says which claims are met, failed, missing
or *stale*: measured by code or settings that have changed since.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

import rlcourse
from rlcourse.errors import (
    CorruptEvidenceError,
    CourseError,
    InvalidArgumentError,
    check_positive,
)
from rlcourse.evidence.measures import MEASURES
from rlcourse.mdp import Floats
from rlcourse.mutants import mutants
from rlcourse.statistics import bootstrap_interval, iqm

__all__ = [
    "Contract",
    "Row",
    "check",
    "contracts",
    "folder",
    "load",
    "run",
    "state",
    "summary",
    "write_atomically",
]

STATISTICS: dict[str, Callable[[Floats], float]] = {
    "iqm": iqm,
    "median": lambda scores: float(np.median(scores)),
    "mean": lambda scores: float(np.mean(scores)),
    "min": lambda scores: float(np.min(scores)),
    "max": lambda scores: float(np.max(scores)),
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, threshold: value >= threshold,
    "<=": lambda value, threshold: value <= threshold,
    "==": lambda value, threshold: abs(value - threshold) <= 1e-9,
}


@dataclass(frozen=True)
class Contract:
    """One learning claim.

    ``statistic`` is one of ``iqm``, ``median``, ``mean``, ``min``, ``max``, or ``low``/``high``: an end of
    the 95 % bootstrap interval of the interquartile mean.
    """

    id: str
    chapter: str
    claim: str
    environment: str
    measure: str  # a function of rlcourse.evidence.measures
    config: Mapping[str, Any]
    seeds: int
    statistic: str
    comparison: str
    threshold: float
    oracle: str  # where the threshold comes from
    published: str = ""  # a published figure that it answers to, and its protocol
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_positive(f"contract {self.id}: seeds", self.seeds)
        if not isinstance(self.threshold, int | float):
            raise InvalidArgumentError(
                f"contract {self.id}: threshold = {self.threshold!r}: must be a number"
            )
        if "bug" in self.options and self.options["bug"] not in mutants():
            raise InvalidArgumentError(
                f"contract {self.id}: bug = {self.options['bug']!r}: must be one of "
                f"{', '.join(mutants())}"
            )
        for name, allowed in (
            ("measure", MEASURES),
            ("statistic", {**STATISTICS, "low": None, "high": None}),
            ("comparison", COMPARISONS),
        ):
            if getattr(self, name) not in allowed:
                raise InvalidArgumentError(
                    f"contract {self.id}: {name} = {getattr(self, name)!r}: must be one of "
                    f"{', '.join(allowed)}"
                )

    def hash(self) -> str:
        """What the result depends on: these settings and the code they reach, without its comments."""
        settings = {**asdict(self), "claim": "", "oracle": "", "published": "", "chapter": ""}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        digest.update(_code_of(MEASURES[self.measure].__module__).encode())
        if "bug" in self.options:
            digest.update(mutants()[self.options["bug"]].after.encode())
        return digest.hexdigest()[:16]

    def holds(self, value: float) -> bool:
        """Whether a statistic passes the threshold."""
        return COMPARISONS[self.comparison](value, self.threshold)


class Row(NamedTuple):
    """The state of one contract: ``met``, ``failed``, ``missing`` or ``stale``."""

    contract: Contract
    state: str
    result: dict[str, Any] | None


def folder() -> Path:
    """Where contracts and results lie: in a checkout ``book/evidence``, else inside the package."""
    package = Path(rlcourse.__file__).parent
    checkout = package.parent / "book" / "evidence"
    found = checkout if checkout.is_dir() else package / "evidence" / "_data"
    return Path(os.environ.get("RLCOURSE_EVIDENCE", found))


def contracts() -> dict[str, Contract]:
    """All contracts by id.

    Raises:
        CorruptEvidenceError: the file is missing or no valid list of contracts.
    """
    path = folder() / "contracts.toml"
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["contract"]
        found = [Contract(**entry) for entry in entries]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CorruptEvidenceError(f"{path.name}: no list of contracts ({error})") from error
    by_id = {contract.id: contract for contract in found}
    if len(by_id) < len(found):
        raise CorruptEvidenceError(f"{path.name}: two contracts have one id; give each its own")
    return by_id


def load(name: str) -> dict[str, Any]:
    """The stored result of a contract: ``scores``, ``statistic``, ``interval``, ``x``, ``curves``, ...

    Raises:
        InvalidArgumentError: no such contract, or it has not been measured.
        CorruptEvidenceError: the file is no valid result.
    """
    if name not in contracts():
        raise InvalidArgumentError(f"name = {name!r}: must be one of {', '.join(contracts())}")
    path = folder() / "results" / f"{name}.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        low, high = result["interval"]
        numbers = [result["statistic"], low, high, *result["scores"]]
        if result["id"] != name or not np.isfinite(numbers).all():
            raise ValueError("it belongs to another contract or holds no numbers")
        _ = result["hash"]
    except FileNotFoundError:
        raise InvalidArgumentError(
            f"name = {name!r}: not measured yet; run `rlcourse evidence run {name}`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptEvidenceError(
            f"results/{name}.json: not a valid result ({error}); "
            f"measure it again with `rlcourse evidence run {name}`"
        ) from error
    return dict(result)


def state(contract: Contract) -> Row:
    """Whether one contract is met."""
    if not (folder() / "results" / f"{contract.id}.json").exists():
        return Row(contract, "missing", None)
    result = load(contract.id)
    if result["hash"] != contract.hash():
        return Row(contract, "stale", result)
    met = contract.holds(result["statistic"]) and len(result["scores"]) == contract.seeds
    return Row(contract, "met" if met else "failed", result)


def check() -> list[Row]:
    """The state of every contract."""
    return [state(contract) for contract in contracts().values()]


def summary(contract: Contract, scores: ArrayLike) -> tuple[float, tuple[float, float]]:
    """A contract's statistic of some scores, and its bootstrap interval."""
    array = np.asarray(scores, dtype=np.float64)
    statistic = STATISTICS.get(contract.statistic, iqm)
    interval = bootstrap_interval(array, statistic)
    ends = (interval.low, interval.high)
    value = {"low": ends[0], "high": ends[1]}.get(contract.statistic, interval.value)
    return value, ends


def run(name: str, *, jobs: int = 1, progress: bool = True) -> Row:
    """Measure one contract and store the result.

    Finished seeds are kept beside the result until all are done: after Ctrl-C the same call goes on.

    Raises:
        InvalidArgumentError: no such contract.
        CourseError: the results folder cannot be written.
    """
    if name not in contracts():
        raise InvalidArgumentError(f"name = {name!r}: must be one of {', '.join(contracts())}")
    contract = contracts()[name]
    digest = contract.hash()  # now: the code may be edited while its older self is being measured
    partial = folder() / "results" / f".{name}.{digest}.jsonl"
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        finished = _finished(partial)
    except OSError as error:
        raise CourseError(f"{partial.parent}: cannot be written ({error.strerror})") from error
    start = time.perf_counter()
    todo = [seed for seed in range(contract.seeds) if seed not in finished]
    workers = Parallel(n_jobs=jobs, return_as="generator_unordered")
    rows = workers(delayed(_measure)(contract, seed) for seed in todo)
    with (
        tqdm(total=contract.seeds, initial=len(finished), desc=name, disable=not progress) as bar,
        partial.open("a", encoding="utf-8") as lines,
    ):
        for row in rows:
            finished[row["seed"]] = row
            lines.write(json.dumps(row) + "\n")
            lines.flush()
            bar.update()
    ordered = [finished[seed] for seed in range(contract.seeds)]
    scores = [row["score"] for row in ordered]
    value, ends = summary(contract, scores)
    result: dict[str, Any] = {
        "id": name,
        "hash": digest,
        "statistic": value,
        "interval": list(ends),
        "scores": scores,
        "seconds": round(sum(row["seconds"] for row in ordered), 1),
        "wall_clock": round(time.perf_counter() - start, 1),
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {
            "python": platform.python_version(),
            **{lib: importlib.metadata.version(lib) for lib in ("numpy", "gymnasium")},
        },
    }
    for key, first in ordered[0]["extra"].items():
        same = all(row["extra"][key] == first for row in ordered)
        result[key] = first if same else [row["extra"][key] for row in ordered]
    write_atomically(folder() / "results" / f"{name}.json", json.dumps(_rounded(result), indent=1))
    partial.unlink()
    return state(contract)


def _measure(contract: Contract, seed: int) -> dict[str, Any]:
    start = time.perf_counter()
    score, extra = MEASURES[contract.measure](contract.config, seed, **contract.options)
    seconds = time.perf_counter() - start
    return {"seed": seed, "score": score, "extra": extra, "seconds": seconds}


def _finished(path: Path) -> dict[int, dict[str, Any]]:
    """The rows kept in a file, by seed; a line that an interruption cut short leaves the file."""
    rows = {}
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for line in text.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            rows[int(row["seed"])] = {k: row[k] for k in ("seed", "score", "extra", "seconds")}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), encoding="utf-8")
    return rows


def write_atomically(path: Path, text: str) -> None:
    """All or nothing: into a file beside it, then renamed."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text + "\n")
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value


def _code_of(module: str, seen: set[str] | None = None) -> str:
    """The code of a module of this package and of all it reaches in it, in a normal form."""
    seen = set() if seen is None else seen
    seen.add(module)
    base = Path(rlcourse.__file__).parent.joinpath(*module.split(".")[1:])
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    code, names = _parsed(path.read_text(encoding="utf-8"))
    reached = (
        _code_of(name, seen)
        for name in names
        if name.startswith("rlcourse.") and name not in seen and _is_module(name)
    )
    return code + "".join(reached)


@cache  # by the text: many contracts reach the same files
def _parsed(text: str) -> tuple[str, list[str]]:
    """A file's code in a normal form, and every name in it that may be a module of this package."""
    tree = ast.parse(text)
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.append(
                node.value.split(":")[0]
            )  # an entry point: gym.register(..., "module:Class")
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return repr(_normal(tree)), names


def _normal(node: Any) -> Any:
    """A syntax tree as plain tuples; what is empty is left out, since that differs between Pythons."""
    if isinstance(node, ast.AST):
        fields = ((name, _normal(value)) for name, value in ast.iter_fields(node))
        return (type(node).__name__, *(pair for pair in fields if pair[1] not in (None, [])))
    return [_normal(item) for item in node] if isinstance(node, list) else node


def _is_module(name: str) -> bool:
    base = Path(rlcourse.__file__).parent.joinpath(*name.split(".")[1:])
    return base.with_suffix(".py").exists() or (base / "__init__.py").exists()
