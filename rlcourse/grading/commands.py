"""``rlcourse lab build | check | grade | new``."""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from rlcourse.errors import CourseError
from rlcourse.files import replace_file
from rlcourse.grading import build as building
from rlcourse.grading.check import prove
from rlcourse.grading.master import read
from rlcourse.grading.sandbox import ISOLATIONS, WEAKNESS, Sandbox, SandboxError

__all__ = ["app"]


def build(
    labs: tyro.conf.Positional[tuple[Path, ...]],
    out: Path = Path("_build/labs"),
    secret: int | None = None,
) -> None:
    """Write notebooks, grader and public tests of labs.

    Args:
        labs: folders with a master, like labs/bandits.
        out: a folder for what is built, one folder a lab.
        secret: a number that deals other hidden cases; by default the master's own.
    """
    for path in labs:
        lab = read(path)
        files = building.build(lab, out / lab.name, secret)
        where = building.public_file(path, lab)
        if where is not None:
            where.parent.mkdir(exist_ok=True)
            with replace_file(where) as file:
                file.write(building.public(lab))
            files.append(where)
        size = sum(file.stat().st_size for file in files)
        print(f"{lab.name}: {len(files)} files, {size / 1e3:,.0f} kB in {out / lab.name}")


def check(labs: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Prove labs: what must hold before anybody is graded by them. The exit code is 1 unless all hold.

    Args:
        labs: folders with a master, like labs/bandits.
    """
    sandbox = _strongest()
    if sandbox is None:
        print("no sandbox works here: the way through it is not checked", file=sys.stderr)
    elif WEAKNESS[sandbox.isolation]:
        print(WEAKNESS[sandbox.isolation], file=sys.stderr)
    bad = 0
    try:
        for path in labs:
            lab, complaints = None, []
            try:
                lab = read(path)
                complaints = list(prove(lab, sandbox))
            except CourseError as error:
                complaints = [str(error)]
            for complaint in complaints:
                print(f"{lab.name if lab else path}: {complaint}")
            bad += bool(complaints)
            if lab and not complaints:
                print(
                    f"{lab.name}: sound; {len(lab.tests)} tests, {lab.points} points, "
                    f"{len(lab.mutants)} mutants"
                )
    finally:
        if sandbox is not None:
            sandbox.close()
    if bad:
        sys.exit(1)


def _strongest() -> Sandbox | None:
    for isolation in ISOLATIONS:
        try:
            return Sandbox(isolation)
        except SandboxError:
            continue
    return None


def app() -> tyro.extras.SubcommandApp:
    """The commands of this room."""
    commands = tyro.extras.SubcommandApp()
    commands.command(build)
    commands.command(check)
    return commands
