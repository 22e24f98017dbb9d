"""A folder of submissions, graded: each in a worker of its own, several at a time, and again where it stopped."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from rlcourse.cluster import spread
from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.files import replace_file
from rlcourse.grading.check import prove_through
from rlcourse.grading.master import Lab, parse
from rlcourse.grading.sandbox import Limits, Sandbox, Session
from rlcourse.grading.score import Outcome, earned, score
from rlcourse.grading.similarity import lines_changed

__all__ = [
    "Graded",
    "Submission",
    "collect",
    "grade_all",
    "grade_one",
    "prove_grader",
    "read_cells",
    "require_hidden",
]

LARGEST = 20  # MB of a submission's file
KINDS = (".ipynb", ".py")
PACKED = (".zip", ".gz", ".tar", ".tgz", ".7z", ".rar")


@dataclass(frozen=True)
class Submission:
    """One file that was handed in: ``name`` is unique; who it is from is told by where it lay."""

    name: str
    path: Path
    student: str
    canvas_id: str = ""
    moodle_id: str = ""


@dataclass(frozen=True)
class Graded:
    """What came out for one submission. ``error`` says why it could not be graded at all."""

    name: str
    student: str
    canvas_id: str
    moodle_id: str
    points: int
    most: int
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...]
    unwritten: tuple[str, ...]
    changed: int | None  # lines of the code handed out, if there was any
    error: str
    seconds: float
    isolation: str
    key: str


def collect(folder: Path) -> list[Submission]:
    """What a folder holds, in order: its files, and of each of its folders the notebook, if there is one.

    What is no notebook and no Python file is there too, so that nobody is forgotten: grading says why not.

    Names as Canvas (``doejane_12_345_lab.ipynb``) and Moodle (``Jane Doe_12_assignsubmission_file_/``) give
    them tell who it is from; else the name of the file or of its folder does.

    Raises:
        InvalidArgumentError: there is no notebook and no Python file in it.
    """
    if not folder.is_dir():
        raise InvalidArgumentError(f"submissions = {folder}: no such folder; must be a folder")
    entries = [path for path in sorted(folder.iterdir()) if _counts(path)]
    handed_in = [(entry, _chosen(entry)) for entry in entries]
    if not any(path.suffix.lower() in KINDS for _, paths in handed_in for path in paths):
        packed = next((path.name for path in entries if path.suffix.lower() in PACKED), "")
        hint = f"; {packed} is packed: unpack it there" if packed else ""
        raise InvalidArgumentError(
            f"submissions = {folder}: holds no {' and no '.join(KINDS)}{hint}"
        )
    names: set[str] = set()
    submissions = []
    for entry, path, alone in ((e, path, len(ps) == 1) for e, ps in handed_in for path in ps):
        label = entry.name if entry.is_dir() else entry.stem
        inside = path.relative_to(folder)
        name = label if alone else "-".join(inside.with_suffix("").parts)
        name = unique = re.sub(r"[^\w.@+-]+", "_", name).strip("._") or "submission"
        number = 1
        while unique.lower() in names:
            number += 1
            unique = f"{name}-{number}"
        names.add(unique.lower())
        moodle = re.fullmatch(r"(.+?)_(\d+)_assignsubmission_.*", label)
        canvas = re.fullmatch(r"([^_]+)(?:_LATE)?_(\d+)_(\d+)_.*", label)
        submissions.append(
            Submission(
                unique,
                path,
                moodle[1] if moodle else canvas[1] if canvas else label,
                canvas[2] if canvas and not moodle else "",
                moodle[2] if moodle else "",
            )
        )
    return submissions


def _counts(path: Path) -> bool:
    """Whether somebody has handed this in, and not their computer."""
    return not (path.name.startswith((".", "__")) or path.is_symlink())


def _chosen(entry: Path) -> list[Path]:
    """What counts of a file or of a student's folder: its notebooks, else its Python files, else anything."""
    if not entry.is_dir():
        return [entry]
    files = [
        path
        for path in sorted(entry.rglob("*"))
        if path.is_file()
        and all(map(_counts, (path, *(p for p in path.parents if entry in p.parents))))
    ]
    for kind in KINDS:
        if found := [path for path in files if path.suffix.lower() == kind]:
            return found
    return files[:1] or [entry]


def read_cells(path: Path) -> list[str]:
    """The code cells of a submission.

    Raises:
        CourseError: it is no notebook and no Python, or too large.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        what = f"{path.name} is handed in" if path.is_file() else "no file is handed in"
        raise CourseError(f"{what}; must be one of {' or '.join(KINDS)}")
    try:
        if path.stat().st_size > LARGEST << 20:
            raise CourseError(f"the file has more than {LARGEST} MB")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CourseError(f"the file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise CourseError("the file is not text in UTF-8") from None
    if kind == ".py":
        cells = re.split(r"(?m)^# %%(?!.*\[markdown\]).*$", text)
        return [re.split(r"(?m)^# %%.*\[markdown\].*$", cell)[0] for cell in cells]
    if not text.strip():
        raise CourseError("the file is empty")
    try:
        notebook = json.loads(text)
        cells = notebook["cells"]
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        return ["".join(source) if isinstance(source, list) else str(source) for source in code]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CourseError("the file is no notebook (not JSON, or without cells)") from None


def require_hidden(sandbox: Sandbox, *paths: Path) -> None:
    """Do nothing if student code cannot read these, or was let to by asking for limits alone.

    Raises:
        CourseError: it could read the tests or the work of others.
    """
    for path in paths:
        if sandbox.isolation == "user" and sandbox.can_read(path):
            raise CourseError(
                f"{path}: without bubblewrap student code could read this; first  chmod 700 {path}"
            )


def prove_grader(lab: Lab, sandbox: Sandbox, secret: int) -> None:
    """Do nothing if the solution earns all and the untouched notebook nothing, through this very sandbox.

    Raises:
        CourseError: the grader cannot be trusted here; nobody is graded.
    """
    if complaints := list(prove_through(lab, sandbox, secret)):
        raise CourseError(
            "the grader does not pass its own test, so nobody is graded: "
            + "; ".join(complaints[:3])
        )


def grade_one(
    lab: Lab, sandbox: Sandbox, submission: Submission, secret: int, key: str = ""
) -> Graded:
    """Grade one submission; whatever it is, there is a result."""
    start = time.monotonic()
    outcomes: tuple[Outcome, ...] = ()
    notes: list[str] = []
    stubs: list[str] = []
    changed: int | None = None
    error = ""
    try:
        cells = read_cells(submission.path)
        if lab.hunted:
            changed = lines_changed(lab.hunted, cells)
        with Session(sandbox, lab.given, cells) as session:
            outcomes = tuple(score(lab, session, secret))
            notes, stubs = session.notes, session.unwritten
    except CourseError as problem:
        error = str(problem)
    if error:
        outcomes = tuple(
            Outcome(test.name, test.q, test.title, test.points, test.hidden, error)
            for test in lab.tests
        )
    return Graded(
        submission.name, submission.student, submission.canvas_id, submission.moodle_id,
        earned(outcomes), lab.points, outcomes, tuple(notes),
        tuple(name for name in stubs if name in lab.owner), changed, error,
        round(time.monotonic() - start, 2), sandbox.isolation, key,
    )  # fmt: skip


def grade_all(
    lab: Lab,
    submissions: Sequence[Submission],
    out: Path,
    *,
    secret: int = 0,
    isolation: str = "bubblewrap",
    limits: Limits = Limits(),  # noqa: B008
    jobs: int = 1,
    cluster: str | None = None,
    hide: Sequence[Path] = (),
    on_graded: Callable[[Graded], None] | None = None,
) -> list[Graded]:
    """Grade submissions that have no result yet in ``out/results``; return the results of all, in order.

    Nothing in ``hide`` may be readable for student code. A result counts
    as long as file, lab, secret, limits and isolation are those that it was made with.
    With the address of a Ray cluster (or ``local``) its cores grade; each first proves its own sandbox.

    Raises:
        CourseError: the grader does not pass its own test; nobody is graded.
    """
    folder = out / "results"
    if not out.exists():
        out.mkdir(parents=True, mode=0o700)  # marks are nobody else's affair
    folder.mkdir(exist_ok=True)
    settings = f"{lab.text}|{secret}|{isolation}|{asdict(limits)}"
    keys = {s.name: _key(s, settings) for s in submissions}
    results: dict[str, Graded] = {}
    for submission in submissions:
        kept = _stored(folder / f"{submission.name}.json", keys[submission.name])
        if kept is not None:
            results[submission.name] = kept
    left = [s for s in submissions if s.name not in results]
    if on_graded is not None:
        for kept in results.values():
            on_graded(kept)
    if left:
        with Sandbox(isolation, limits) as sandbox:
            require_hidden(sandbox, *hide)
            prove_grader(lab, sandbox, secret)
        given = (lab.text, secret, isolation, limits)
        if cluster is None:
            rows = _spread(lab, given, left, keys, jobs)
        else:
            rows = _on_cluster(lab, given, left, keys, cluster)
        with closing(rows) as stream:
            for graded in stream:
                with replace_file(folder / f"{graded.name}.json") as file:
                    file.write(json.dumps(asdict(graded), indent=1).encode())
                results[graded.name] = graded
                if on_graded is not None:
                    on_graded(graded)
    return [results[submission.name] for submission in submissions]


def _key(submission: Submission, settings: str) -> str:
    try:
        with submission.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        content = ""
    return hashlib.sha256(f"{settings}|{content}".encode()).hexdigest()


def _stored(path: Path, key: str) -> Graded | None:
    """A result of an earlier run, if it is of the same thing."""
    try:
        row = json.loads(path.read_text("utf-8"))
        if row.pop("key") != key:
            return None
        row["outcomes"] = tuple(Outcome(**outcome) for outcome in row["outcomes"])
        row["notes"], row["unwritten"] = tuple(row["notes"]), tuple(row["unwritten"])
        return Graded(key=key, **row)
    except (OSError, ValueError, KeyError, TypeError):
        return None


Given = tuple[str, int, str, Limits]  # a lab's text, a secret, an isolation, limits

_here: tuple[Lab, Sandbox, int] | None = None  # of one process of the pool


def _begin(text: str, secret: int, isolation: str, limits: Limits) -> None:
    global _here
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    _here = parse(text), Sandbox(isolation, limits), secret


def _grade(submission: Submission, key: str) -> Graded:
    assert _here is not None
    lab, sandbox, secret = _here
    return grade_one(lab, sandbox, submission, secret, key)


def _on_cluster(
    lab: Lab, given: Given, left: Sequence[Submission], keys: dict[str, str], address: str
) -> Generator[Graded, None, None]:
    """Over other machines, which have the package and bubblewrap, and are sent the files."""
    tasks = []
    for submission in left:
        try:
            with submission.path.open("rb") as file:
                content = file.read((LARGEST << 20) + 1)  # enough to be too much
        except OSError:
            content = b""
        tasks.append((given, submission, content, keys[submission.name]))

    def lost(given: Given, submission: Submission, content: bytes, key: str) -> Graded:
        return _lost(lab, submission, given[2], key)

    yield from spread(_grade_there, tasks, address, lost=lost)


_there: tuple[Given, tuple[Lab, Sandbox, int]] | None = None  # of one process of a cluster


def _grade_there(given: Given, submission: Submission, content: bytes, key: str) -> Graded:
    """One submission on a machine of a cluster, whose sandbox is proven before its first."""
    global _there
    if _there is None or _there[0] != given:
        text, secret, isolation, limits = given
        lab, sandbox = parse(text), Sandbox(isolation, limits)
        prove_grader(lab, sandbox, secret)
        _there = given, (lab, sandbox, secret)
    lab, sandbox, secret = _there[1]
    with tempfile.TemporaryDirectory() as folder:  # only its owner may enter
        path = Path(folder) / submission.path.name
        path.write_bytes(content)
        return grade_one(lab, sandbox, replace(submission, path=path), secret, key)


def _spread(
    lab: Lab, given: Given, left: Sequence[Submission], keys: dict[str, str], jobs: int
) -> Generator[Graded, None, None]:
    """Over processes of our own. Should one of them be killed, its submission is tried again alone."""
    waiting = list(left)
    broken: list[Submission] = []
    while waiting or broken:
        batch, alone = (waiting, False) if waiting else (broken[:1], True)
        waiting, broken = [], broken if not alone else broken[1:]
        with ProcessPoolExecutor(
            1 if alone else jobs, get_context("spawn"), initializer=_begin, initargs=given
        ) as pool:
            tasks: dict[Future[Graded], Submission] = {
                pool.submit(_grade, submission, keys[submission.name]): submission
                for submission in batch
            }
            open_tasks = set(tasks)
            try:
                while open_tasks:
                    ready, open_tasks = wait(open_tasks, return_when=FIRST_COMPLETED)
                    for task in ready:
                        submission = tasks[task]
                        try:
                            yield task.result()
                        except BrokenProcessPool:
                            if alone:
                                yield _lost(lab, submission, given[2], keys[submission.name])
                            else:
                                broken.append(submission)
            finally:  # after Ctrl-C only those under way are waited for
                pool.shutdown(wait=True, cancel_futures=True)


def _lost(lab: Lab, submission: Submission, isolation: str, key: str) -> Graded:
    error = "the grader's own process ended while it graded this; look at it by hand"
    outcomes = tuple(
        Outcome(test.name, test.q, test.title, test.points, test.hidden, error)
        for test in lab.tests
    )
    return Graded(
        submission.name, submission.student, submission.canvas_id, submission.moodle_id,
        0, lab.points, outcomes, (), (), None, error, 0.0, isolation, key,
    )  # fmt: skip
