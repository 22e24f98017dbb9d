"""What leaves the checkout: the lock, the wheel, and a chapter that runs with the wheel alone."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = [path for path in sorted((ROOT / "book").rglob("*.ipynb")) if "_build" not in path.parts]
# One of each part runs with the wheel alone; all of them run from the checkout, before the site is built.
WHOLE = [
    path
    for path in CHAPTERS
    if path.stem in ("bellman", "approximation", "policy_gradients", "mazes", "atari")
]
EVIDENCE = [path for path in (ROOT / "book/evidence").rglob("*") if path.is_file()]


def load(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


environment = load(ROOT / "tools/environment.py")


# --- one list of versions -------------------------------------------------------------------------


def locked() -> dict[str, str]:
    """Versions by package, as the lock says."""
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_conda_environment_says_what_the_lock_says() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    assert {"pip"} <= {entry for entry in conda["dependencies"] if isinstance(entry, str)}
    package, *listed = conda["dependencies"][-1]["pip"]
    assert package == "-e ."  # what makes the course itself importable on Binder
    assert {canonicalize_name(p.split("==")[0]): p.split("==")[1] for p in listed} == locked()
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert (ROOT / "environment.yml").read_text("utf-8") == environment.conda_text(lock)


def test_lock_meets_every_range_of_the_package_and_its_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = {
        "deep",
        "box2d",
        "minatar",
        "cluster",
        "mujoco",
        "playground",
        "agents",
        "atari",
        "recommender",
        "tensorboard",
        "video",
        "book",
        "test",
    }
    assert set(extras) == named
    asked = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    versions = locked()
    for requirement in map(Requirement, asked):
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None and requirement.specifier.contains(version), str(requirement)


def test_lock_holds_plain_versions_only() -> None:
    """Nothing that one index alone understands, and no index."""
    assert all(re.fullmatch(r"[\w.]+", version) for version in locked().values())
    for name in ("requirements.lock", "environment.yml", "tools/environment.py", "pyproject.toml"):
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(r"index-url|find-links|https?://", text), name


def test_package_declares_ranges_not_pins() -> None:
    """A pin in the wheel would make Colab ask for a restart."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["book"]
    assert not [line for line in wanted if "==" in line or "<" in line]


# --- a bare machine -------------------------------------------------------------------------------


@pytest.mark.parametrize("python", ["too-old", "missing"])
def test_make_says_which_python_it_needs(tmp_path: Path, python: str) -> None:
    interpreter = tmp_path / python
    if python == "too-old":
        interpreter.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\nexit 1\n')
        interpreter.chmod(0o755)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={interpreter}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stdout and "make PYTHON=" in done.stdout
    assert python != "too-old" or "3.8.1" in done.stdout


def test_a_python_without_ensurepip_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(venv, "create", refuse)
    with pytest.raises(SystemExit, match=r"apt-get install python3\.\d+-venv"):
        environment.create(tmp_path / "env", ROOT / "requirements.lock", package=True)


# --- sdist and wheel ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    """The two archives, and an environment with the wheel in it and no checkout near it."""

    sdist: Path
    wheel: Path
    python: Path
    empty: Path

    def run(self, code: str, timeout: float = 60) -> str:
        """The output of code in that environment, started in an empty folder."""
        outside = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        done = subprocess.run(
            [self.python, "-c", code],
            cwd=self.empty,
            env=outside | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build the sdist, the wheel from the sdist, and install the wheel."""
    folder = tmp_path_factory.mktemp("packaging")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [sdist], [wheel] = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, "-qq", wheel], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # The dependencies come from this environment. A folder named in a .pth file has its own .pth
    # files ignored, among them the one that would lead back to the checkout.
    [packages] = (folder / "env/lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "empty").mkdir()
    return Built(sdist, wheel, python, folder / "empty")


def test_the_checkout_is_out_of_reach(built: Built) -> None:
    code = "import json, sys, rlcourse; print(json.dumps([rlcourse.__file__, sys.path]))"
    file, path = json.loads(built.run(code))
    assert Path(file).is_relative_to(built.python.parents[1])
    assert not [entry for entry in path if Path(entry) in (ROOT, ROOT / "rlcourse")]


def test_archives_hold_the_licences_the_types_and_the_evidence(built: Built) -> None:
    licences = {path.name for path in ROOT.glob("LICENSE*")}
    assert licences and all((ROOT / name).stat().st_size for name in licences)
    with zipfile.ZipFile(built.wheel) as wheel:
        names = wheel.namelist()
        assert {Path(name).name for name in names if ".dist-info/licenses/" in name} == licences
        assert "rlcourse/py.typed" in names
        for path in (ROOT / "rlcourse/playground").glob("*.[!p]*"):
            assert wheel.read(f"rlcourse/playground/{path.name}") == path.read_bytes()
        for path in EVIDENCE:
            inside = f"rlcourse/evidence/_data/{path.relative_to(ROOT / 'book/evidence')}"
            assert wheel.read(inside) == path.read_bytes()
        assert not [name for name in names if name.startswith(("tests", "book", "tools", "labs"))]
        assert not [name for name in names if name.endswith("/lab.py")]
    with tarfile.open(built.sdist) as sdist:
        inside_sdist = {member.name.split("/", 1)[-1] for member in sdist.getmembers()}
    assert licences | {"pyproject.toml", "README.md"} <= inside_sdist
    assert {str(path.relative_to(ROOT)) for path in EVIDENCE} <= inside_sdist


def test_import_is_quick_and_leaves_torch_alone(built: Built) -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import rlcourse;"
        "print(time.perf_counter() - t, 'torch' in sys.modules)"
    )
    said = [built.run(code).split() for _ in range(5)]
    assert {torch for _, torch in said} == {"False"}
    assert statistics.median(float(seconds) for seconds, _ in said) < 0.5


def test_there_are_chapters_to_run() -> None:
    assert len(WHOLE) == 5 and len(CHAPTERS) >= 20


# What a chapter imports, and each thing that it asks the package for by name, without the time it computes.
ASK = """
import ast, json, sys, warnings
import nbformat

asked = set()
warnings.simplefilter("ignore")
for chapter in json.loads(sys.argv[1]):
    cells = [cell.source for cell in nbformat.read(chapter, 4).cells if cell.cell_type == "code"]
    trees = [ast.parse(source) for source in cells if not source.startswith(("%", "!"))]
    space = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                exec(compile(ast.Module([node], []), chapter, "exec"), space)
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.Call(ast.Name(name), [ast.Constant(str(what)), *rest]) if name in space:
                    call = space[name]
                    where = getattr(call, "__module__", "")
                    if (where, name) in (("rlcourse.evidence", "load"), ("rlcourse.mutants", "hunt"),
                                         ("rlcourse.atari.players", "player")):
                        call(what)
                    elif where.startswith("rlcourse.labs") and name == "check":
                        call(what, None)
                    else:
                        continue
                    asked.add(f"{name} {what}")
print("asked", len(asked))
"""


def test_chapters_find_all_they_ask_for_in_the_wheel(built: Built) -> None:
    """Modules, results, players, hunts and checks: by importing and asking, not by running."""
    names = json.dumps([str(path) for path in CHAPTERS])
    said = built.run(f"import sys; sys.argv.append({names!r})\n{ASK}", timeout=600)
    assert int(said.split()[-1]) > 150


@pytest.mark.parametrize("chapter", WHOLE, ids=lambda path: path.stem)
def test_a_chapter_runs_with_the_wheel_alone(built: Built, chapter: Path) -> None:
    """The Colab edition, its set-up cell included, as a reader runs it."""
    # Over sockets of its own in an empty folder: of ports, another program may take one between
    # the choice and the kernel's start.
    code = (
        "import nbformat, rlcourse, tempfile; from nbclient import NotebookClient;"
        "from jupyter_client import AsyncKernelManager;"
        f"notebook = nbformat.read({str(chapter)!r}, 4);"
        "own = tempfile.TemporaryDirectory(prefix='k');"
        "km = AsyncKernelManager(kernel_name='python3', transport='ipc', ip=own.name + '/k');"
        "NotebookClient(notebook, timeout=600, km=km).execute(cwd='.');"
        "print(sum(cell.cell_type == 'code' for cell in notebook.cells))"
    )
    assert int(built.run(code, timeout=900)) >= 2
