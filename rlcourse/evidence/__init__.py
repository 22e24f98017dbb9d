"""Contracts and their results: what the book claims, and whether it was measured.

A *contract* (``contracts.toml``) is one learning claim: what to run, over how many seeds, which statistic
must pass which threshold. :func:`run` measures it, one process a core, keeping every finished seed, and
writes one small result file with its provenance. :func:`check` says which claims are met, failed, missing
or *stale*: measured by code or settings that have changed since.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import time
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

import rlcourse
from rlcourse.cluster import spread
from rlcourse.errors import (
    CorruptEvidenceError,
    CourseError,
    InvalidArgumentError,
    check_positive,
)
from rlcourse.files import replace_file
from rlcourse.mdp import Floats
from rlcourse.mutants import mutants
from rlcourse.statistics import bootstrap_interval, iqm

__all__ = [
    "Contract",
    "Row",
    "check",
    "contracts",
    "folder",
    "library_table",
    "load",
    "run",
    "state",
    "summary",
]

LIBRARIES = ("numpy", "gymnasium", "torch", "Box2D", "MinAtar", "mujoco", "ale-py")
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
    measure: str  # "module.function" of rlcourse.evidence
    config: Mapping[str, Any]
    seeds: int
    statistic: str
    comparison: str
    threshold: float | str  # a number, or "other-id/low" or "other-id/high": an end of its interval
    oracle: str  # where the threshold comes from
    published: str = ""  # a published figure that it answers to, and its protocol
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_positive(f"contract {self.id}: seeds", self.seeds)
        if not isinstance(self.threshold, int | float) and not (
            isinstance(self.threshold, str) and self.threshold.endswith(("/low", "/high"))
        ):
            raise InvalidArgumentError(
                f"contract {self.id}: threshold = {self.threshold!r}: must be a number, or the end of "
                'another contract\'s interval such as "other-id/high"'
            )
        if "bug" in self.options and self.options["bug"] not in mutants():
            raise InvalidArgumentError(
                f"contract {self.id}: bug = {self.options['bug']!r}: must be one of "
                f"{', '.join(mutants())}"
            )
        for name, allowed in (
            ("measure", _measures()),
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
        digest.update(_code_of(self.measure).encode())
        if "bug" in self.options:
            digest.update(mutants()[self.options["bug"]].after.encode())
        if "of" in self.options:  # it reads another contract's result
            digest.update(load(self.options["of"])["hash"].encode())
        return digest.hexdigest()[:16]

    def sources(self) -> list[str]:
        """The contracts whose results this one reads."""
        named = self.threshold.rsplit("/", 1)[:1] if isinstance(self.threshold, str) else []
        return [*named, *([self.options["of"]] if "of" in self.options else [])]

    def bar(self) -> float:
        """The threshold as a number; for one that is another contract's result, as it stands."""
        if not isinstance(self.threshold, str):
            return self.threshold
        other, end = self.threshold.rsplit("/", 1)
        return float(load(other)["interval"][end == "high"])

    def holds(self, value: float) -> bool:
        """Whether a statistic passes the threshold."""
        return COMPARISONS[self.comparison](value, self.bar())


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
        return dict(_listed(path.read_text(encoding="utf-8")))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CorruptEvidenceError(f"{path.name}: no list of contracts ({error})") from error


@lru_cache(maxsize=4)  # a page asks for some hundred results, each by way of its contract
def _listed(text: str) -> dict[str, Contract]:
    found = [Contract(**entry) for entry in tomllib.loads(text)["contract"]]
    by_id = {contract.id: contract for contract in found}
    if len(by_id) < len(found):
        raise CorruptEvidenceError("contracts.toml: two contracts have one id; give each its own")
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


def library_table(task: str) -> str:
    """What ``make bench`` measured of a task, side by side with another library, as a table to print.

    A row for each: environment steps a second, how many times as fast as the other library (the median over
    seeds), in how many seeds an evaluation reached the target and after how long, and the final returns.

    Raises:
        InvalidArgumentError: no such task has been measured.
    """
    path = folder() / "libraries.json"
    tasks = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if task not in tasks:
        raise InvalidArgumentError(
            f"task = {task!r}: must be one of {', '.join(tasks) or 'none: run make bench first'}"
        )
    found = tasks[task]
    base = np.array(found["seconds"]["Stable-Baselines3"])
    seeds, steps = len(base), found["steps"]
    lines = [
        f"{task}: {steps:,} steps, seeds: {seeds}, one thread ({found['machine']})",
        f"{'':25s}steps/s ratio reached  after  final [interval], worst",
    ]
    for who, spent in found["seconds"].items():
        final = np.array(found["finals"][who])
        value, low, high = bootstrap_interval(final)
        there = [seconds for seconds in found["reached"][who] if seconds is not None]
        after = f"{np.median(there):.0f} s" if there else "never"
        ratio = np.median(base / np.array(spent))
        spread = f" [{low:.0f}, {high:.0f}], {final.min():.0f}" if seeds > 1 else ""
        lines.append(
            f"{who:25s}{steps / np.median(spent):7,.0f}{ratio:6.2f}{len(there):5d}/{seeds:<2d}"
            f"{after:>7s}  {value:.0f}{spread}"
        )
    limits = ", ".join(f"{speed:,.0f} steps/s with {how}" for how, speed in found["limits"].items())
    return "\n".join([*lines, f"limits of ours: {limits}"])


def state(contract: Contract) -> Row:
    """Whether one contract is met."""
    needed = [contract.id, *contract.sources()]
    if not all((folder() / "results" / f"{name}.json").exists() for name in needed):
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


def run(name: str, *, jobs: int = 1, cluster: str | None = None, progress: bool = True) -> Row:
    """Measure one contract and store the result.

    Finished seeds are kept beside the result until all are done: after Ctrl-C the same call goes on.

    Args:
        name: the contract's id.
        jobs: seeds measured side by side on this machine.
        cluster: the address of a Ray cluster to spread the seeds over instead, or ``local`` for one of its
            own on this machine. A seed whose machine is lost is measured again.
        progress: show a bar.

    Raises:
        InvalidArgumentError: no such contract.
        CourseError: the results folder cannot be written, or the cluster cannot be reached.
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
    if cluster is None:
        workers = Parallel(n_jobs=jobs, return_as="generator_unordered")
        rows = workers(delayed(_measure)(contract, seed) for seed in todo)
    else:
        seeds = [(contract, seed) for seed in todo]
        rows = spread(_measure, seeds, cluster, variables=("RLCOURSE_EVIDENCE",))
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
            **{
                lib: importlib.metadata.version(lib)
                for lib in LIBRARIES
                if find_spec(lib) or find_spec(lib.lower().replace("-", "_"))
            },
        },
    }
    for key, first in ordered[0]["extra"].items():
        same = all(row["extra"][key] == first for row in ordered)
        result[key] = first if same else [row["extra"][key] for row in ordered]
    with replace_file(folder() / "results" / f"{name}.json") as file:
        file.write((json.dumps(_rounded(result), indent=1) + "\n").encode())
    partial.unlink()
    return state(contract)


def _measure(contract: Contract, seed: int) -> dict[str, Any]:
    start = time.perf_counter()
    module, function = contract.measure.split(".")
    measure = getattr(importlib.import_module(f"rlcourse.evidence.{module}"), function)
    score, extra = measure(contract.config, seed, **contract.options)
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


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value


@cache
def _measures() -> dict[str, None]:
    """What can be measured, by reading: importing it all would need all the extras."""
    found: dict[str, None] = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        file = _parsed(path.read_text(encoding="utf-8"))
        public = (name for name in file.definitions if name.islower() and name[0] != "_")
        found.update({f"{path.stem}.{name}": None for name in public if name})
    return found


def _code_of(measure: str) -> str:
    """The code of a measure and of all that it reaches in this package, in a normal form."""
    module, function = measure.split(".")
    reached: dict[str, str] = {}
    _reach(f"rlcourse.evidence.{module}", function, reached)
    return "".join(reached[key] for key in sorted(reached))


def _reach(module: str, name: str | None, reached: dict[str, str]) -> None:
    """Collect a definition (or with None a whole module) and, from there, every name it uses."""
    key = f"{module}:{name}"
    if key in reached or not _is_module(module):
        return
    base = Path(rlcourse.__file__).parent.joinpath(*module.split(".")[1:])
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    file = _parsed(path.read_text(encoding="utf-8"))
    if name is None:
        reached[key] = ""
        for part in (*file.definitions, ""):
            _reach(module, part, reached)
        return
    if name in file.imports:  # passed on from where it is defined
        reached[key] = ""
        _reach_import(*file.imports[name], reached)
        return
    # A builtin, an argument or a local name has no code here, and is not looked for again.
    code, uses = file.definitions.get(name, ("", ()))
    reached[key] = code
    for used in uses:
        owner, _, attribute = used.partition(".")
        if ":" in used:  # an entry point: gym.register(..., "module:Class")
            entry, _, attribute = used.partition(":")
            _reach(entry, attribute, reached)
        elif owner in file.imports:
            source, original = file.imports[owner]
            whole = original is None or _is_module(f"{source}.{original}")
            if whole and attribute:
                source = source if original is None else f"{source}.{original}"
                _reach(source, attribute, reached)
            else:
                _reach_import(source, original, reached)
        else:
            _reach(module, owner, reached)


def _reach_import(source: str, original: str | None, reached: dict[str, str]) -> None:
    if original is not None and _is_module(f"{source}.{original}"):
        source, original = f"{source}.{original}", None
    _reach(source, original, reached)


class _File(NamedTuple):
    """What is defined at the top of a file, with its code and the names it uses, and what is imported.

    Loose statements (a registration, a setting) stand under the empty name.
    """

    definitions: dict[str, tuple[str, tuple[str, ...]]]
    imports: dict[str, tuple[str, str | None]]


@cache  # by the text: many contracts reach the same files
def _parsed(text: str) -> _File:
    tree = ast.parse(text)
    imports: dict[str, tuple[str, str | None]] = {}
    parts: dict[str, list[ast.stmt]] = {}
    for node in ast.walk(tree):  # a function may import for itself
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imports[alias.asname or alias.name] = (str(node.module), alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                imports[alias.asname or alias.name.split(".")[0]] = (alias.name, None)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.Import | ast.ImportFrom) or _is_text(node):
            continue
        else:
            names = [""]
        for name in names:
            if name != "__all__":
                parts.setdefault(name, []).append(node)
    definitions = {}
    for name, nodes in parts.items():
        uses = tuple(sorted({use for node in nodes for use in _uses(node)}))
        definitions[name] = (name + repr([_normal(_bare(node)) for node in nodes]), uses)
    return _File(definitions, imports)


def _uses(tree: ast.AST) -> set[str]:
    """The names a piece of code mentions: ``name``, ``module.attribute`` and ``package.module:Class``."""
    found, inside = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
            inside.add(id(node.value))
        elif isinstance(node, ast.Name) and id(node) not in inside:
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value.startswith("rlcourse.") and node.value.count(":") == 1:
                found.add(node.value)
        elif isinstance(node, ast.Import):
            found.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
    return found


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _bare(tree: ast.AST) -> ast.AST:
    """The same code without its docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _normal(node: Any) -> Any:
    """A syntax tree as plain tuples; what is empty is left out, since that differs between Pythons."""
    if isinstance(node, ast.AST):
        fields = ((name, _normal(value)) for name, value in ast.iter_fields(node))
        return (type(node).__name__, *(pair for pair in fields if pair[1] not in (None, [])))
    return [_normal(item) for item in node] if isinstance(node, list) else node


def _is_module(name: str) -> bool:
    if name != "rlcourse" and not name.startswith("rlcourse."):
        return False
    base = Path(rlcourse.__file__).parent.joinpath(*name.split(".")[1:])
    return base.with_suffix(".py").exists() or (base / "__init__.py").exists()
