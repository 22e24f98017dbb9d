"""What graded submissions are told as: tables for Canvas and Moodle, feedback for each, a page for the class.

The points by hand come back from a table that people fill in, ``by-hand.csv``; a row that is there is never lost.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
import statistics
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlcourse.errors import InvalidArgumentError
from rlcourse.files import replace_file
from rlcourse.grading.grade import Graded
from rlcourse.grading.master import HAND_POINTS, Lab
from rlcourse.grading.sandbox import WEAKNESS
from rlcourse.grading.score import Outcome

__all__ = [
    "Mark",
    "feedback_html",
    "feedback_markdown",
    "gradescope",
    "read_marks",
    "write_reports",
]

BY_HAND = "by-hand.csv"
COLUMNS = ("submission", "student", "points", "remark")  # of that table

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #b35900; --bar: #3b6fb6; }
@media (prefers-color-scheme: dark) { :root { --good: #57ab5a; --bad: #e0a258; --bar: #6f9fe0; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.score { font-size: 1.25rem; } .quiet { opacity: .75; }
ul { list-style: none; padding: 0; } li { padding: .4rem 0; border-bottom: 1px solid var(--line); }
.mark { font-weight: 700; margin-right: .5rem; } .yes { color: var(--good); } .no { color: var(--bad); }
.points { float: right; } .why { margin: .2rem 0 0 1.6rem; overflow-wrap: anywhere; }
.table { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .25rem .5rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { text-align: right; white-space: nowrap; }
.bar { background: var(--bar); height: .8rem; } td.wide { width: 35%; }
"""


@dataclass(frozen=True)
class Mark:
    """What a person gave for the written part: ``points`` is None until somebody has."""

    student: str = ""
    points: float | None = None
    remark: str = ""


Marks = Mapping[str, Mark]  # by the name of the submission
NO_MARK = Mark()


def read_marks(out: Path) -> dict[str, Mark]:
    """The points by hand in a folder of results; none if nobody has begun.

    Raises:
        InvalidArgumentError: a line cannot be read; nothing has been graded or written.
    """
    path = out / BY_HAND
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise InvalidArgumentError(f"{path}: cannot be read ({why})") from None
    first = text.partition("\n")[0]
    table = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in first else ",")
    if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
        raise InvalidArgumentError(
            f"{path}: has no column {missing[0]}; must have {', '.join(COLUMNS)}"
        )
    marks: dict[str, Mark] = {}
    for row in table:
        name, student, points, remark = ((row[column] or "").strip() for column in COLUMNS)
        name = name.removeprefix("'")  # as _csv has written it
        if not name:
            continue
        if name in marks:
            raise InvalidArgumentError(f"{path}, line {table.line_num}: {name} stands there twice")
        marks[name] = Mark(student, _points(points, f"{path}, line {table.line_num}"), remark)
    return marks


def _points(text: str, where: str) -> float | None:
    try:
        points = float(text.replace(",", ".")) if text else None
    except ValueError:
        points = math.nan
    if points is not None and not 0 <= points <= HAND_POINTS:
        raise InvalidArgumentError(
            f"{where}: points = {text!r}; must be a number from 0 to {HAND_POINTS}, or nothing"
        )
    return points


def write_reports(
    lab: Lab,
    graded: Sequence[Graded],
    alike: Iterable[tuple[float, str, str]],
    out: Path,
    *,
    marks: Marks | None = None,
    borrowed: Mapping[str, Sequence[str]] | None = None,
    column: str | None = None,
) -> None:
    """Write every table and page into a folder; pages of submissions that are gone are taken away.

    Args:
        lab: the lab.
        graded: a result for each submission.
        alike: pairs of submissions and how alike they are.
        out: the folder.
        marks: the points by hand, as :func:`read_marks` has found them there.
        borrowed: what submissions import of this package that the lab's own cells do not.
        column: the assignment's column in Canvas; by default the lab's title.
    """
    marks, borrowed = marks or {}, borrowed or {}
    files: dict[str, str | bytes] = {
        "scores.csv": _csv(_scores(lab, graded, marks, borrowed)),
        "canvas.csv": _csv(_canvas(lab, graded, marks, column or lab.title)),
        "moodle.csv": _csv(_moodle(lab, graded, marks)),
        "report.html": class_report(lab, graded, alike, borrowed),
    }
    if lab.rubric:
        files[BY_HAND] = _csv(_by_hand(graded, marks))
    pages: dict[str, str] = {}
    for row in graded:
        mark = marks.get(row.name, NO_MARK)
        pages[row.name] = feedback_html(lab, row, mark)
        files[f"feedback/{row.name}.md"] = feedback_markdown(lab, row, mark)
        files[f"feedback/{row.name}.html"] = pages[row.name]
        files[f"gradescope/{row.name}.json"] = json.dumps(gradescope(row), indent=1)
    files["feedback.zip"] = _pack(graded, pages)
    for folder in ("feedback", "gradescope"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with replace_file(out / name) as file:
            file.write(
                content if isinstance(content, bytes) else content.encode("utf-8", "replace")
            )
    for folder in ("feedback", "gradescope"):
        for path in (out / folder).iterdir():
            if f"{folder}/{path.name}" not in files and path.suffix in (".md", ".html", ".json"):
                path.unlink()


# --- tables ---------------------------------------------------------------------------------------


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        # A spreadsheet takes what begins so for a formula, and a name is what its owner typed.
        writer.writerow(
            f"'{x}" if isinstance(x, str) and x[:1] in ("=", "+", "-", "@", "\t", "\r") else x
            for x in row
        )
    return buffer.getvalue()


def _by_hand(graded: Sequence[Graded], marks: Marks) -> Iterator[Sequence[Any]]:
    """The table that people fill in: those that are there, whatever has become of them, and those that are new."""
    yield COLUMNS
    names = {row.name: row.student for row in graded}
    for name in (*names, *(name for name in marks if name not in names)):
        mark = marks.get(name, NO_MARK)
        yield [name, names.get(name, mark.student.removeprefix("'")), _hand(mark), mark.remark]


def _total(row: Graded, marks: Marks) -> float:
    return row.points + (marks.get(row.name, NO_MARK).points or 0)


def _most(lab: Lab, marks: Marks) -> int:
    """What can be had: the points by hand count as soon as one is given."""
    begun = any(mark.points is not None for mark in marks.values())
    return lab.points + (HAND_POINTS if begun else 0)


def _scores(
    lab: Lab, graded: Sequence[Graded], marks: Marks, borrowed: Mapping[str, Sequence[str]]
) -> Iterator[Sequence[Any]]:
    yield [
        "submission",
        "student",
        "points",
        "of",
        *lab.questions,
        *(["by hand"] if lab.rubric else []),
        *(["lines changed"] if lab.hunted else []),
        "borrowed",
        "could not be graded",
        "seconds",
    ]
    for row in graded:
        by_question = [
            sum(o.points for o in row.outcomes if o.q == q and o.passed) for q in lab.questions
        ]
        hand = [_hand(marks.get(row.name, NO_MARK))] if lab.rubric else []
        changed = [row.changed] if lab.hunted else []
        yield [row.name, row.student, row.points, row.most, *by_question, *hand, *changed,
               " ".join(borrowed.get(row.name, ())), row.error, row.seconds]  # fmt: skip


def _hand(mark: Mark) -> str:
    return "" if mark.points is None else f"{mark.points:g}"


def _best(graded: Sequence[Graded], marks: Marks, key: str) -> list[Graded]:
    """Of each student the submission with the most points."""
    best: dict[str, Graded] = {}
    for row in graded:
        who = getattr(row, key) or row.student
        if who not in best or _total(row, marks) > _total(best[who], marks):
            best[who] = row
    return list(best.values())


def _canvas(
    lab: Lab, graded: Sequence[Graded], marks: Marks, column: str
) -> Iterator[Sequence[Any]]:
    """As Canvas imports grades: it knows a student by the number in the file's name."""
    yield ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", column]
    yield ["Points Possible", "", "", "", "", _most(lab, marks)]
    for row in _best(graded, marks, "canvas_id"):
        login = "" if row.canvas_id else row.student
        yield [row.student, row.canvas_id, "", login, "", f"{_total(row, marks):g}"]


def _moodle(lab: Lab, graded: Sequence[Graded], marks: Marks) -> Iterator[Sequence[Any]]:
    """As Moodle's grading worksheet: it knows a student by the number in the folder's name.

    Without the column of the last change, which is left empty, Moodle reads nothing
    (mod/assign/feedback/offline/importgradeslib.php).
    """
    last = "Last modified (grade)"
    yield ["Identifier", "Full name", "Maximum grade", "Grade", last, "Feedback comments"]
    for row in _best(graded, marks, "moodle_id"):
        who = f"Participant {row.moodle_id}" if row.moodle_id else row.student
        mark = marks.get(row.name, NO_MARK)
        comment = row.error or f"{row.points} of {row.most} automatic points"
        if mark.points is not None:
            comment += f", {mark.points:g} of {HAND_POINTS} by hand"
        total = f"{_total(row, marks):g}"
        yield [who, row.student, _most(lab, marks), total, "", comment]


def _pack(graded: Sequence[Graded], pages: Mapping[str, str]) -> bytes:
    """The pages under the names by which Moodle and Canvas find their students, the same bytes each time.

    Moodle looks for a folder NAME_NUMBER_assignsubmission_file (mod/assign/feedback/file/importziplib.php), Canvas
    for the two numbers in the name of the file that was handed in (``infer_comment_context_from_filename``).
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for row in graded:
            name = f"{row.name}.html"
            if row.moodle_id:
                name = f"{row.student}_{row.moodle_id}_assignsubmission_file/{name}"
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(info, pages[row.name].encode("utf-8", "replace"))
    return buffer.getvalue()


def gradescope(row: Graded) -> dict[str, Any]:
    """What Gradescope reads; hidden tests show when grades are published."""
    tests = [
        {
            "name": f"{outcome.q}: {outcome.title}",
            "score": outcome.points if outcome.passed else 0,
            "max_score": outcome.points,
            "status": "passed" if outcome.passed else "failed",
            "output": outcome.message or "right",
            "visibility": "after_published" if outcome.hidden else "visible",
        }
        for outcome in row.outcomes
    ]
    said = "\n".join([*([row.error] if row.error else []), *_changed(row), *row.notes])
    return {"output": said, "output_format": "text", "tests": tests}


# --- feedback -------------------------------------------------------------------------------------


def _head(lab: Lab, row: Graded, mark: Mark) -> str:
    more = "; the written part is marked by hand" if lab.rubric else ""
    if mark.points is not None:
        more = f", {mark.points:g} of {HAND_POINTS} by hand"
    return f"{row.points} of {row.most} automatic points{more}."


def _remarks(row: Graded, mark: Mark) -> list[str]:
    found = [f"By hand: {mark.remark}"] if mark.remark else []
    found += [f"Could not be graded: {row.error}."] if row.error else []
    if row.unwritten:
        found.append(f"Not written yet: {', '.join(row.unwritten)}.")
    return [*found, *_changed(row), *row.notes]


def _changed(row: Graded) -> list[str]:
    return [] if row.changed is None else [f"Lines of the handed-out code changed: {row.changed}."]


def _why(outcome: Outcome, row: Graded) -> str:
    return "" if row.error else outcome.message


def feedback_markdown(lab: Lab, row: Graded, mark: Mark = NO_MARK) -> str:
    """What a student gets back, as text; no test's code, no solution."""
    lines = [f"# {lab.title}", "", f"{_plain(row.student)}: **{_head(lab, row, mark)}**", ""]
    lines += [f"- {_plain(remark)}" for remark in _remarks(row, mark)]
    for q in lab.questions:
        lines += ["", f"## {q}", ""]
        for outcome in (o for o in row.outcomes if o.q == q):
            sign = "✓" if outcome.passed else "✗"
            got = outcome.points if outcome.passed else 0
            kind = ", hidden" if outcome.hidden else ""
            lines.append(f"- {sign} {_plain(outcome.title)} ({got} of {outcome.points}{kind})")
            if why := _why(outcome, row):
                lines.append(f"  {_plain(why)}")
    return "\n".join(lines).rstrip() + "\n"


def _plain(text: str) -> str:
    """One line that Markdown shows as it is."""
    line = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|!" else c for c in line)


def feedback_html(lab: Lab, row: Graded, mark: Mark = NO_MARK) -> str:
    """The same as a page."""
    parts = [f"<h1>{_e(lab.title)}</h1>", f"<p>{_e(row.student)}</p>"]
    parts.append(f'<p class="score">{_e(_head(lab, row, mark))}</p>')
    if remarks := _remarks(row, mark):
        parts.append(f"<ul>{''.join(f'<li>{_e(remark)}</li>' for remark in remarks)}</ul>")
    for q in lab.questions:
        parts.append(f"<h2>{_e(q)}</h2><ul>")
        for outcome in (o for o in row.outcomes if o.q == q):
            sign, word = ("✓", "yes") if outcome.passed else ("✗", "no")
            said = "passed" if outcome.passed else "failed"
            got = outcome.points if outcome.passed else 0
            kind = ' <span class="quiet">hidden</span>' if outcome.hidden else ""
            why = _why(outcome, row)
            parts.append(
                f'<li><span class="points">{got} of {outcome.points}</span>'
                f'<span class="mark {word}" role="img" aria-label="{said}">{sign}</span>'
                f"{_e(outcome.title)}{kind}"
                + (f'<div class="why">{_e(why)}</div>' if why else "")
                + "</li>"
            )
        parts.append("</ul>")
    return _page(f"{lab.title}: {row.student}", parts)


def class_report(
    lab: Lab,
    graded: Sequence[Graded],
    alike: Iterable[tuple[float, str, str]],
    borrowed: Mapping[str, Sequence[str]],
) -> str:
    """A page for the instructor: scores, tests, what could not be graded, pairs to look at."""
    scores = [row.points for row in graded]
    parts = [f"<h1>{_e(lab.title)}</h1>"]
    parts.append(
        f'<p class="score">{len(graded)} submissions; median {statistics.median(scores):g} of '
        f"{lab.points} automatic points, mean {statistics.fmean(scores):.1f}.</p>"
    )
    for weakness in sorted({WEAKNESS[row.isolation] for row in graded} - {""}):
        parts.append(f"<p><strong>{_e(weakness)}.</strong></p>")
    counts = Counter(scores)
    most = max(counts.values())
    rows = [(str(n), counts[n], counts[n] / most) for n in range(lab.points + 1)]
    parts.append("<h2>Scores</h2>" + _bars(("points", "submissions"), rows))
    tests = []
    for test in lab.tests:
        passed = sum(o.passed for row in graded for o in row.outcomes if o.test == test.name)
        kind = " (hidden)" if test.hidden else ""
        tests.append((f"{test.q}: {test.title}{kind}", passed, passed / len(graded)))
    parts.append("<h2>Tests</h2>" + _bars(("test", "passed"), tests))
    if lost := [row for row in graded if row.error or row.notes]:
        items = "".join(
            f"<li>{_e(row.name)}: {_e('; '.join([*([row.error] if row.error else []), *row.notes]))}</li>"
            for row in lost
        )
        parts.append(f"<h2>Not run, or not whole</h2><ul>{items}</ul>")
    if borrowed:
        items = "".join(
            f"<li>{_e(name)}: {_e(', '.join(modules))}</li>" for name, modules in borrowed.items()
        )
        parts.append(
            "<h2>Borrowed</h2><p>Imported from this package, which can compute some of what is asked, where the "
            f"lab's own cells do not. A hint: whoever hides it is not found.</p><ul>{items}</ul>"
        )
    pairs = list(alike)
    if pairs:
        items = "".join(f"<li>{share:.0%}: {_e(a)} and {_e(b)}</li>" for share, a, b in pairs[:100])
        parts.append(
            "<h2>Alike</h2><p>A hint, not a verdict: short answers are alike when they are right. "
            f"Look before you ask.</p><ul>{items}</ul>"
        )
    return _page(f"{lab.title}: the class", parts)


def _bars(head: tuple[str, str], rows: Iterable[tuple[str, int, float]]) -> str:
    body = "".join(
        f'<tr><td>{_e(label)}</td><td class="number">{count}</td>'
        f'<td class="wide"><div class="bar" style="width:{100 * share:.1f}%"></div></td></tr>'
        for label, count, share in rows
    )
    return (
        f'<div class="table"><table><tr><th scope="col">{head[0]}</th><th scope="col">{head[1]}</th>'
        f"<td></td></tr>{body}</table></div>"
    )


def _e(text: str) -> str:
    return html.escape(text)


def _page(title: str, parts: Iterable[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_e(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )
