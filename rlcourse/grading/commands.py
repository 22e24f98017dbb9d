"""``rlcourse lab build | check | grade | new``."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Annotated

import tyro
from tqdm.auto import tqdm

from rlcourse.errors import (
    CourseError,
    InvalidArgumentError,
    check_not_negative,
    check_positive,
)
from rlcourse.files import replace_file
from rlcourse.grading import build as building
from rlcourse.grading.check import prove
from rlcourse.grading.grade import Graded, Submission, collect, grade_all, read_cells
from rlcourse.grading.master import NAME, read
from rlcourse.grading.report import BY_HAND, read_marks, write_reports
from rlcourse.grading.sandbox import ISOLATIONS, WEAKNESS, Limits, Sandbox, SandboxError
from rlcourse.grading.similarity import borrowed, similar
from rlcourse.grading.skeleton import skeleton

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
    _require(labs)
    masters = [(path, read(path)) for path in labs]  # all of them, or none
    if not out.exists():
        out.mkdir(parents=True, mode=0o700)  # answers and secrets are nobody else's affair
    for path, lab in masters:
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
    _require(labs)
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
                stored = building.public_file(path, lab)
                if stored and stored.exists() and stored.read_bytes() != building.public(lab):
                    complaints.append(f"{stored} is old: run  rlcourse lab build {path}")
            except CourseError as error:
                complaints = [str(error)]
            for complaint in complaints:
                print(f"{lab.name if lab else path}: {complaint}")
            bad += bool(complaints)
            if lab and not complaints:
                print(
                    f"{lab.name}: sound; {len(lab.tests)} tests, {lab.points} points, "
                    f"{len(lab.mutants)} mutants",
                    flush=True,
                )
    finally:
        if sandbox is not None:
            sandbox.close()
    if bad:
        sys.exit(1)


def grade(
    lab: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="LAB")]],
    submissions: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="SUBMISSIONS")]],
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("graded"),
    jobs: Annotated[int, tyro.conf.arg(aliases=["-j"])] = 1,
    cluster: str | None = None,
    secret: int | None = None,
    column: str | None = None,
    isolation: str = "bubblewrap",
    seconds: float = 10.0,
    memory: int = 2048,
) -> None:
    """Grade a folder of notebooks or Python files; the same call goes on where it stopped.

    Args:
        lab: the master's folder, or the grader's that was built from it.
        submissions: what the students have handed in, as Canvas or Moodle pack it, or any files.
        out: a folder for results, tables, feedback and the class report.
        jobs: submissions at a time.
        cluster: a Ray cluster's address to grade on instead, or local for one on this machine.
        secret: a number that deals other hidden cases; by default the master's own.
        column: the assignment's name and number in Canvas, as an export of its gradebook has them, like
            "Lab 4 (12345)"; by default the lab's title, which would be a new assignment.
        isolation: bubblewrap; or weaker, where there is none: user (as root, another user) or limits.
        seconds: of processor time for one test.
        memory: MB for one process of student code.
    """
    read_lab = read(lab)
    check_positive("jobs", jobs)
    given, marks = collect(submissions), read_marks(out)
    check_not_negative("seconds", seconds)
    limits = Limits(seconds=seconds, memory=check_positive("memory", memory))
    if weakness := WEAKNESS.get(isolation):
        print(f"rlcourse: {weakness}", file=sys.stderr)
    with tqdm(total=len(given), unit="submission", desc=read_lab.name) as bar:

        def on_graded(row: Graded) -> None:
            bar.set_postfix({"last": f"{row.points}/{row.most}"}, refresh=False)
            bar.update()

        graded = grade_all(
            read_lab,
            given,
            out,
            secret=read_lab.secret if secret is None else secret,
            isolation=isolation,
            limits=limits,
            jobs=jobs,
            cluster=cluster,
            hide=(lab, submissions),
            on_graded=on_graded,
        )
    handed_out = (*read_lab.given, *read_lab.stub)
    written = {s.name: cells for s in given if (cells := _cells(s))}
    others = {n: found for n, cells in written.items() if (found := borrowed(handed_out, cells))}
    alike = similar(written, handed_out)
    write_reports(read_lab, graded, alike, out, marks=marks, borrowed=others, column=column)
    points = [row.points for row in graded]
    lost = sum(bool(row.error) for row in graded)
    print(
        f"{len(graded)} submissions: median {statistics.median(points):g} of {read_lab.points} points; "
        f"{lost} could not be graded\nkept in {out}; look at {out / 'report.html'}"
        + (f"; the points by hand go into {out / BY_HAND}" if read_lab.rubric else "")
    )


def _cells(submission: Submission) -> list[str]:
    try:
        return read_cells(submission.path)
    except CourseError:
        return []


def new(name: tyro.conf.Positional[str], folder: Path = Path("labs")) -> None:
    """Begin a lab: a master that passes every check, to be changed.

    Args:
        name: small letters, digits and hyphens, like my-lab.
        folder: where its folder is made.
    """
    if not NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"name = {name!r}: must be small letters, digits and hyphens, like my-lab"
        )
    place = folder / name
    if place.exists():
        raise InvalidArgumentError(f"name = {name!r}: {place} exists; choose another name")
    for file, text in skeleton(name).items():
        place.mkdir(parents=True, exist_ok=True)
        with replace_file(place / file) as opened:
            opened.write(text.encode())
    print(f"{place}: a lab that is sound; change it, then  rlcourse lab check {place}")


def _strongest() -> Sandbox | None:
    for isolation in ISOLATIONS:
        try:
            return Sandbox(isolation)
        except SandboxError:
            continue
    return None


def _require(labs: tuple[Path, ...]) -> None:
    if not labs:
        raise InvalidArgumentError("labs: none named; name one or more, like labs/bandits")


def app() -> tyro.extras.SubcommandApp:
    """The commands of this room."""
    commands = tyro.extras.SubcommandApp()
    commands.command(build)
    commands.command(check)
    commands.command(grade)
    commands.command(new)
    return commands
