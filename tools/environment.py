"""The one environment that builds and tests the book: made from the lock, and the lock made anew.

    python tools/environment.py create .venv requirements.lock [--package]
    python tools/environment.py lock
    python tools/environment.py conda        write environment.yml from the lock

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
CONDA = ROOT / "environment.yml"
LOCK_HEAD = """\
# Exact versions of all that builds and tests the book. Made by `make lock` from the ranges in
# pyproject.toml (extras deep, book, test); edit those, not this. environment.yml is made from it.
"""
CONDA_HEAD = """\
# For conda, Binder and repo2docker. Made from requirements.lock by `make lock`; a test compares.
name: rlcourse
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
      - -e .
"""


def pins(text: str) -> list[str]:
    """The requirement lines of a lock."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def conda_text(lock: str) -> str:
    """The environment.yml that says what a lock says."""
    return CONDA_HEAD + "".join(f"      - {pin}\n" for pin in pins(lock))


def create(folder: Path, requirements: Path, package: bool) -> None:
    """Make a virtual environment and install into it, unless that has been done already."""
    if _is_new(folder / "installed-from", requirements):
        _new_venv(folder)
        names = pins(requirements.read_text(encoding="utf-8"))
        print(
            f"{folder.name}: installing {len(names)} packages (a minute or two, once)", flush=True
        )
        _install(folder, len(names), "-r", str(requirements))
        _stamp(folder / "installed-from", requirements)
    if package and _is_new(folder / "package-from", ROOT / "pyproject.toml"):
        # --no-build-isolation: the lock holds the build tool, so nothing is fetched twice.
        _install(folder, 0, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
        _stamp(folder / "package-from", ROOT / "pyproject.toml")


def _digest(source: Path) -> str:
    return hashlib.sha256(source.read_bytes() + sys.version.encode()).hexdigest()


def _is_new(stamp: Path, source: Path) -> bool:
    return not stamp.exists() or stamp.read_text() != _digest(source)


def _stamp(stamp: Path, source: Path) -> None:
    stamp.write_text(_digest(source))


def lock() -> None:
    """Resolve the ranges of pyproject.toml in a fresh environment and write down what came out."""
    with tempfile.TemporaryDirectory(prefix="rlcourse-lock-") as folder:
        _new_venv(Path(folder))
        print("lock: resolving (a few minutes)", flush=True)
        _install(Path(folder), len(pins(LOCK.read_text())), f"{ROOT}[deep,book,test]")
        frozen = subprocess.run(
            [Path(folder) / "bin/python", "-m", "pip", "freeze", "--exclude", "rlcourse"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    # A build's own mark ("+cpu") is known to one index only: the plain version fits every one.
    found = [re.sub(r"\+.*", "", line) for line in frozen.splitlines() if "==" in line]
    LOCK.write_text(LOCK_HEAD + "\n".join(found) + "\n", encoding="utf-8")
    print(f"lock: {len(found)} packages in {LOCK.name}", flush=True)


def _new_venv(folder: Path) -> None:
    print(f"{folder.name}: new virtual environment, Python {sys.version.split()[0]}", flush=True)
    try:
        venv.create(folder, with_pip=True, clear=True)
    except (subprocess.CalledProcessError, ImportError):
        release = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(
            f"{sys.executable} cannot make virtual environments (no ensurepip).\n"
            f"On Debian or Ubuntu: apt-get install python{release}-venv (or python3-venv)."
        )


def _install(folder: Path, expected: int, *what: str) -> None:
    """Run pip, telling how far it is; its own words are shown when it fails."""
    python = str(folder / "bin/python")
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off"]
    said = []
    with subprocess.Popen(
        [*command, *what], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        collected = 0
        for line in pip.stdout:
            said.append(line)
            collected += line.startswith("Collecting ")
            if line.startswith("Collecting ") and collected % 20 == 0:
                print(f"  {collected} of {max(expected, collected)} packages found", flush=True)
            elif expected and line.startswith("Installing collected packages"):
                print("  unpacking", flush=True)
    if pip.returncode:
        sys.exit("".join(said[-30:]) + "pip could not install; its last words are above.")


def main() -> None:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("create")
    making.add_argument("folder", type=Path)
    making.add_argument("requirements", type=Path)
    making.add_argument("--package", action="store_true", help="install the course's package too")
    commands.add_parser("lock")
    commands.add_parser("conda")
    given = parser.parse_args()
    if given.command == "create":
        create(given.folder, given.requirements, given.package)
    else:
        if given.command == "lock":
            lock()
        CONDA.write_text(conda_text(LOCK.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
