"""The rules of the house that a reader relies on, enforced."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rlcourse

PACKAGE = Path(rlcourse.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
# From the ground up: a module imports only from its own floor or from below. `mutants` reads the other
# files as text and imports nothing but `errors`.
FLOORS = (
    ("errors", "files", "mutants", "cluster"),
    ("seeding", "schedules", "statistics"),
    ("mdp",),
    ("envs",),
    ("returns", "rollout", "replay"),
    ("distributions", "networks"),
    ("checkpoint",),
    ("algorithms",),
    ("evaluation",),
    ("evidence", "film"),
    ("plotting", "source"),
    ("widgets",),
    ("playground", "recommender", "atari"),
    ("measures",),
    ("grading",),
    ("labs",),
    ("cli",),
)
# `evidence` runs and checks contracts, and finds what they measure by its name; a measure stands on what it
# measures, and nobody imports it.
MEASURES = {path.stem for path in (PACKAGE / "evidence").glob("[a-z]*.py")}
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = (
    "torch",
    "safetensors",
    "ipywidgets",
    "IPython",
    "vl_convert",
    "pandas",
    "implicit",
    "ale_py",
)
# The rooms that need torch (the extra `deep`); nothing else may load them but when asked to.
DEEP = {
    "rlcourse.networks",
    "rlcourse.distributions",
    "rlcourse.checkpoint",
    "rlcourse.algorithms.dqn",
    "rlcourse.algorithms.rainbow",
    "rlcourse.algorithms.reinforce",
    "rlcourse.algorithms.a2c",
    "rlcourse.algorithms.a3c",
    "rlcourse.algorithms.ippo",
    "rlcourse.algorithms.iql",
    "rlcourse.algorithms.planner",
    "rlcourse.algorithms.ppo",
    "rlcourse.algorithms.sac",
    "rlcourse.atari.networks",
    "rlcourse.atari.rollout",
    "rlcourse.atari.agents",
    "rlcourse.atari.players",
    "rlcourse.atari.train",
    "rlcourse.evidence.agents",
    "rlcourse.evidence.atari",
    "rlcourse.evidence.choosing",
    "rlcourse.evidence.deep",
    "rlcourse.evidence.mazes",
    "rlcourse.evidence.policies",
    "rlcourse.evidence.recommender",
    "rlcourse.labs.dqn",
    "rlcourse.labs.ppo",
    "rlcourse.labs.sac",
    "rlcourse.recommender.actor_critic",
    "rlcourse.recommender.on_policy",
}
id_of = lambda path: str(path.relative_to(PACKAGE))  # noqa: E731


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [module_name(path) for path in FILES]
LIGHT = [name for name in MODULES if name not in DEEP]


def imported(tree: ast.AST) -> set[str]:
    """The full names of what a file imports, wherever in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def at_module_level(tree: ast.Module) -> set[str]:
    """What importing the file imports: all but what stands inside functions."""
    kept = ast.Module(
        [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)], []
    )
    return imported(kept)


@pytest.mark.parametrize("path", FILES, ids=id_of)
def test_imports_run_only_downward(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "evidence" and path.stem in MEASURES:
        room = "measures"
    if room == "__init__":
        assert not [n for n in imported(ast.parse(path.read_text())) if n.startswith("rlcourse")]
        return
    assert room in FLOOR, f"{room}: give it a floor in DESIGN and here"
    for name in imported(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] == "rlcourse" and len(parts) > 1:
            below = (
                "measures"
                if name.startswith("rlcourse.evidence.") and parts[2] in MEASURES
                else parts[1]
            )
            assert FLOOR[below] <= FLOOR[room], f"{room} imports {name}, which lies above it"


def test_no_import_goes_round_in_circles() -> None:
    """At module level, between the modules themselves."""
    graph: dict[str, set[str]] = {}
    for path, module in zip(FILES, MODULES, strict=True):
        names = at_module_level(ast.parse(path.read_text()))
        hits = {m for m in MODULES for n in names if m in (n, n.rsplit(".", 1)[0])}
        graph[module] = hits - {module, "rlcourse"}
    order = []
    while graph:
        free = [m for m, needs in graph.items() if not needs & graph.keys()]
        assert free, f"a circle among {sorted(graph)}"
        order += free
        for m in free:
            del graph[m]
    assert len(order) == len(FILES)


@pytest.mark.parametrize("path", FILES, ids=id_of)
def test_nothing_here_needs_torch_or_a_notebook_to_be_imported(path: Path) -> None:
    if module_name(path) not in DEEP:
        roots = {name.split(".")[0] for name in at_module_level(ast.parse(path.read_text()))}
        assert not roots & set(HEAVY)


def test_importing_everything_else_loads_nothing_heavy() -> None:
    code = (
        f"import sys, importlib; [importlib.import_module(m) for m in {LIGHT!r}];"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


ALGORITHMS = sorted((PACKAGE / "algorithms").glob("*.py"))


@pytest.mark.parametrize("path", ALGORITHMS, ids=id_of)
def test_an_algorithm_fits_on_five_pages(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 250


@pytest.mark.parametrize("path", ALGORITHMS, ids=id_of)
def test_the_word_done_does_not_occur(path: Path) -> None:
    """Two flags were made one under this name for ten years; the bug is still being repaired."""
    names = re.findall(r"\w+", path.read_text())
    assert not [name for name in names if "done" in name.lower().split("_")]


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__ or name.startswith("rlcourse.labs.")
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public), f"{name}.__all__ names {public}, which is not there"
    for key, value in vars(module).items():
        own = getattr(value, "__module__", None) == name
        if (
            key.startswith("_")
            or not own
            or not (inspect.isclass(value) or inspect.isfunction(value))
        ):
            continue
        # A dataclass or a named tuple writes a docstring of its own: that does not count.
        doc = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
        assert doc and not doc.startswith(f"{key}("), f"{name}.{key} has no docstring"
        for attribute, member in vars(value).items() if inspect.isclass(value) else ():
            function = member.fget if isinstance(member, property) else member
            if inspect.isfunction(function) and not attribute.startswith("_"):
                if function.__module__ != name:
                    continue  # written by dataclass or NamedTuple
                assert function.__doc__, f"{name}.{key}.{attribute} has no docstring"


def test_every_package_is_typed_and_has_no_stray_files() -> None:
    assert (PACKAGE / "py.typed").exists()
    kinds = {path.suffix for path in PACKAGE.rglob("*") if path.is_file()
             and "__pycache__" not in path.parts and "_data" not in path.parts}  # fmt: skip
    page = {".json", ".html", ".css", ".js"}  # the playground's schema and dashboard
    assert kinds <= {".py", ".toml", ".typed", "", *page}


def test_every_submodule_is_found() -> None:
    """Nothing hides from the tests above for want of an ``__init__``."""
    walked = {info.name for info in pkgutil.walk_packages(rlcourse.__path__, "rlcourse.")}
    assert walked | {"rlcourse"} == set(MODULES)
