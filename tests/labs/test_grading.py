"""Grading a folder: whose submission it is, going on where it stopped, what everybody is told."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.grading import check as checking
from rlcourse.grading import grade as grading
from rlcourse.grading.grade import collect, grade_all, read_cells
from rlcourse.grading.master import Lab, parse
from rlcourse.grading.report import (
    Mark,
    feedback_html,
    feedback_markdown,
    read_marks,
    write_reports,
)
from rlcourse.grading.sandbox import Limits, Sandbox, SandboxError
from rlcourse.grading.score import sandboxed
from rlcourse.grading.similarity import similar
from rlcourse.grading.testing import FailedTestError, Here, expect, generator, run_test
from rlcourse.grading.worker import Student

TINY = Path(__file__).parent / "tiny"


def notebook(*cells: str) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]})


def test_canvas_and_moodle_tell_who_it_is_from(tmp_path: Path) -> None:
    moodle = tmp_path / "Jane Doe_4711_assignsubmission_file_"
    two = tmp_path / "pair"
    for folder in (moodle, two, tmp_path / "__MACOSX"):
        folder.mkdir()
        (folder / "lab.ipynb").write_text("")
    (moodle / "helper.py").write_text("")  # beside a notebook nothing else counts
    (two / "other.ipynb").write_text("")
    (tmp_path / "roejohn_LATE_12_345_my-lab.ipynb").write_text("")
    (tmp_path / "away.py").symlink_to("/etc/passwd")
    found = {s.name: (s.student, s.canvas_id, s.moodle_id) for s in collect(tmp_path)}
    assert found == {
        "Jane_Doe_4711_assignsubmission_file": ("Jane Doe", "", "4711"),
        "pair-lab": ("pair", "", ""),
        "pair-other": ("pair", "", ""),
        "roejohn_LATE_12_345_my-lab": ("roejohn", "12", ""),
    }
    with pytest.raises(InvalidArgumentError, match="no such folder"):
        collect(tmp_path / "nowhere")


def test_what_is_no_notebook_is_graded_as_zero_and_not_forgotten(
    tiny: Lab, tmp_path: Path, bubblewrap: str
) -> None:
    right = notebook(*tiny.given, *tiny.solution)
    (tmp_path / "shouted.IPYNB").write_text(right)
    (tmp_path / "renamed.ipynb.txt").write_text(right)
    (tmp_path / "packed.zip").write_bytes(b"PK")
    (tmp_path / "None At All_7_assignsubmission_file").mkdir()
    rows = grade_all(tiny, collect(tmp_path), tmp_path.parent / "out", isolation=bubblewrap)
    assert {row.name: (row.points, row.error) for row in rows} == {
        "shouted": (14, ""),
        "renamed.ipynb": (0, "renamed.ipynb.txt is handed in; must be one of .ipynb or .py"),
        "packed": (0, "packed.zip is handed in; must be one of .ipynb or .py"),
        "None_At_All_7_assignsubmission_file": (
            0,
            "no file is handed in; must be one of .ipynb or .py",
        ),
    }


def test_a_folder_without_any_notebook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"holds no .ipynb and no .py$"):
        collect(tmp_path)
    (tmp_path / "submissions.zip").write_bytes(b"PK")
    with pytest.raises(InvalidArgumentError, match=r"submissions\.zip is packed: unpack it there"):
        collect(tmp_path)


def test_cells_of_a_python_file(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(
        "x = 1\n# %%\ny = 2\n# %% [markdown]\n# not # code\n# %% tags=['task']\nz = 3\n"
    )
    assert [cell.strip() for cell in read_cells(file)] == ["x = 1", "y = 2", "z = 3"]


def test_only_definitions_run_and_they_are_found_by_name() -> None:
    student = Student()
    notes = student.load(
        ["SCALE = 2"],
        [
            "%pip install something\n!rm -rf nothing\nimport math\nfrom math import pi as PI",
            "HALF = SCALE / 4\nNAMES = {'a': [1, -2.5]}\nloud = print('no')\nif True: HIDDEN = 1",
            "from __future__ import annotations\ndef f(x: Missing): return HALF * x",
            "g = lambda x: math.floor(x)\ndef f(x: Missing): return PI * x",
            "import no_such_module\ndef h(x): return 1 / x",
            "def broken(:",
        ],
    )  # fmt: skip
    assert {"f", "g", "h", "HALF", "NAMES"} <= set(student.names)
    assert not {"loud", "HIDDEN", "broken"} & set(student.names)
    assert [note.split(":")[0] for note in notes] == ["cell 5, line 1", "cell 6, line 1"]
    here = Here(student)
    assert here.ask({"op": "call", "f": "f", "args": [2], "kw": {"dict": []}}) == 2 * np.pi
    with pytest.raises(FailedTestError, match=r"ZeroDivisionError: .* \(line 2 of cell 5\)"):
        here.ask({"op": "call", "f": "h", "args": [0], "kw": {"dict": []}})


def run(test: str, arguments: str, **names: object) -> None:
    classes = [name for name, value in names.items() if isinstance(value, type)]
    source = f"def test_it({arguments}):\n    {test}\n"
    run_test(
        source, "test_it", [a.strip() for a in arguments.split(",")], classes,
        Here(Student(dict(names))), generator("lab", "test_it", 0),
    )  # fmt: skip


def test_what_a_test_may_say() -> None:
    def fill(table: list[float], value: float = 0.0) -> float:
        table[0] = value
        return sum(table)

    run("expect(after(fill, [1.0, 2.0], value=5.0), (7.0, ([5.0, 2.0],)))", "fill", fill=fill)
    run("expect(sample(fill, 3, [1.0, 2.0]), [2.0, 2.0, 2.0])", "fill", fill=fill)
    run("t = [1.0]; fill(t, 9.0); expect(t, [1.0])", "fill", fill=fill)  # never the test's own list
    with pytest.raises(FailedTestError, match="so wrong"):
        run("fail('so wrong')", "fill", fill=fill)
    with pytest.raises(FailedTestError, match="cannot be used"):
        run("fill([1.0])[3]", "fill", fill=fill)
    with pytest.raises(FailedTestError, match="nothing named other"):
        run("other(1)", "other", fill=fill)


def test_a_class_of_the_student_is_called_by_its_methods() -> None:
    class Deck:
        def __init__(self, n: int, first: int = 0) -> None:
            self.cards = list(range(first, n))

        def sample(self) -> int:
            return self.cards.pop()

        def __len__(self) -> int:
            return len(self.cards)

        def __getitem__(self, i: int) -> int:
            return self.cards[i]

    run("d = Deck(5, first=1); e = Deck(2); expect([d.sample(), len(d), d[0], len(e)], [4, 3, 1, 2])",
        "Deck", Deck=Deck)  # fmt: skip
    run("d = Deck(5); expect(sample(d.sample, 3), [4, 3, 2])", "Deck", Deck=Deck)


def test_gradients_come_from_the_student_s_side() -> None:
    pytest.importorskip("torch")
    run(
        "value, (a, b) = gradient(f, np.array([1.0, 2.0]), np.array([3.0, 4.0]), wrt=(0, 1));"
        "expect(value, [3.0, 8.0]); expect(a, [3.0, 4.0]); expect(b, [1.0, 2.0])",
        "f", f=lambda x, y: x * y,
    )  # fmt: skip
    run("_, (a, b) = gradient(f, np.ones(2), np.ones(2), wrt=(0, 1)); expect(b, [0.0, 0.0])",
        "f", f=lambda x, y: x * y.detach())  # fmt: skip
    with pytest.raises(FailedTestError, match="no gradient"):
        run("gradient(f, np.ones(2))", "f", f=lambda x: x.detach())


@pytest.mark.parametrize(
    ("got", "wanted", "said"),
    [
        (None, 1.0, "nothing came back"),
        ("1.0", 1.0, "expected numbers, got '1.0'"),
        ([1.0, 2.0], 1.0, r"expected shape \(\), got shape \(2,\)"),
        ([1.0], [[1.0]], r"expected shape \(1, 1\)"),
        (np.nan, 1.0, "expected 1, got nan"),
        ((1.0,), (1.0, 2.0), "expected 2 values, got 1"),
        ((1.0, [3.0]), (1.0, [4.0]), r"value 2: expected \[4\.\], got \[3\.\]"),
        ({"a": 1}, {"b": 1}, "expected the keys"),
        ({"a": 1}, {"a": 2}, "a: expected 2, got 1"),
        (1_000_001, 1_000_000, "expected 1000000, got 1000001"),
        (0, "left", "expected 'left', got 0"),
        (0, None, "expected None"),
    ],
)
def test_expect_says_what_is_wrong(got: object, wanted: object, said: str) -> None:
    with pytest.raises(FailedTestError, match=said):
        expect(got, wanted)


@pytest.mark.parametrize(
    ("got", "wanted"),
    [(1, 1.0), (1.0 + 1e-9, 1), ([1, 2], np.array([1.0, 2.0])), (np.inf, np.inf), (True, True),
     ([1.0, (2.0, "x")], (1.0, [2.0, "x"])), (np.nan, np.nan), (-14.0000000001, -14)],
)  # fmt: skip
def test_expect_accepts_what_is_right(got: object, wanted: object) -> None:
    expect(got, wanted)


def test_a_grader_that_fails_its_own_test_grades_nobody(
    tiny: Lab, tmp_path: Path, bubblewrap: str
) -> None:
    (tmp_path / "a.py").write_text("")
    broken = parse(tiny.text.replace("surprise / count", "surprise"))
    with pytest.raises(CourseError, match="does not pass its own test, so nobody is graded"):
        grade_all(broken, collect(tmp_path), tmp_path / "out", isolation=bubblewrap)
    assert not list((tmp_path / "out/results").iterdir())


def test_a_sandbox_that_does_not_work_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgumentError, match="must be one of bubblewrap, user, limits"):
        Sandbox("docker")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxError, match="apt-get install bubblewrap"):
        Sandbox("bubblewrap")


def test_limits_alone_grade_too_and_say_what_they_are(
    rlcourse: Callable[..., tuple[int, str, str]], tiny: Lab, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.ipynb").write_text(notebook(*tiny.given, *tiny.solution))
    code, said, complaint = rlcourse(
        "lab", "grade", str(TINY), str(tmp_path / "in"), "-o", str(tmp_path / "out"),
        "--isolation", "limits",
    )  # fmt: skip
    assert code == 0 and "median 14 of 14" in said
    assert "with limits alone; it can read your files" in complaint
    assert "with limits alone" in (tmp_path / "out/report.html").read_text("utf-8")


def test_a_class_is_graded_told_and_gone_on_with(
    rlcourse: Callable[..., tuple[int, str, str]],
    tiny: Lab,
    tmp_path: Path,
    bubblewrap: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handed_in, out = tmp_path / "in", tmp_path / "out"
    handed_in.mkdir()
    mutant = tiny.mutants[0].source
    renamed = tiny.solution[0].replace("surprise", "delta").replace("mean + ", "mean + 1.0 * ")
    files = {
        "doejane_12_345_tiny": (*tiny.given, *tiny.solution),
        "=2+3_13_346_tiny": (*tiny.given, mutant, tiny.solution[1]),
        "copy_14_347_tiny": (*tiny.given, renamed, tiny.stub[1]),
        "<b>_15_348_tiny": (*tiny.given, renamed.replace("delta", "gap"), tiny.stub[1]),
    }
    for name, cells in files.items():
        (handed_in / f"{name}.ipynb").write_text(notebook(*cells))
    command = [
        "lab",
        "grade",
        str(TINY),
        str(handed_in),
        "-j",
        "2",
        "-o",
        str(out),
        "--secret",
        "5",
    ]
    code, said, _ = rlcourse(*command)
    assert code == 0 and "4 submissions: median 7 of 14 points; 0 could not be graded" in said

    with (out / "canvas.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == [
        "Student",
        "ID",
        "SIS User ID",
        "SIS Login ID",
        "Section",
        "One mean and one box",
    ]
    assert rows[1] == ["Points Possible", "", "", "", "", "14"]
    assert {row[1]: row[5] for row in rows[2:]} == {"12": "14", "13": "7", "14": "7", "15": "7"}
    assert "'=2+3" in {row[0] for row in rows}
    with (out / "moodle.csv").open(newline="") as file:
        assert {row["Full name"]: row["Grade"] for row in csv.DictReader(file)}["doejane"] == "14"
    with (out / "scores.csv").open(newline="") as file:
        scores = {row["student"]: (row["mean"], row["box"]) for row in csv.DictReader(file)}
    assert scores["'=2+3"] == ("0", "7") and scores["doejane"] == ("7", "7")

    page = (out / "report.html").read_text("utf-8")
    assert "b__15_348_tiny and copy_14_347_tiny" in page and "A hint, not a verdict" in page
    for path in (out / "feedback").iterdir():
        text = path.read_text("utf-8")
        assert "<b>" not in text and "rng.normal" not in text and "def test_" not in text
    result = json.loads((out / "gradescope/doejane_12_345_tiny.json").read_text())
    assert sum(test["score"] for test in result["tests"]) == 14
    assert out.stat().st_mode & 0o077 == 0  # nobody else's affair

    # Nothing is graded twice; what has changed is.
    asked: list[str] = []
    one = grading._spread

    def spy(
        lab: Lab, given: grading.Given, left: list[grading.Submission], *rest: object
    ) -> object:
        asked.extend(submission.name for submission in left)
        return one(lab, given, left, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(grading, "_spread", spy)
    assert rlcourse(*command)[0] == 0 and asked == []
    (handed_in / "copy_14_347_tiny.ipynb").write_text(notebook(*tiny.solution))
    (out / "results/doejane_12_345_tiny.json").write_text("{half")
    (handed_in / "<b>_15_348_tiny.ipynb").unlink()
    code, said, _ = rlcourse(*command)
    assert asked == ["copy_14_347_tiny", "doejane_12_345_tiny"] and "median 14" in said
    assert {path.stem for path in (out / "feedback").iterdir()} == {
        "2+3_13_346_tiny",
        "copy_14_347_tiny",
        "doejane_12_345_tiny",
    }


def graded(name: str, student: str, points: int, **more: object) -> grading.Graded:
    fields = {"canvas_id": "", "moodle_id": "", "most": 14, "outcomes": (), "notes": ()}
    fields |= {"unwritten": (), "changed": None, "error": "", "seconds": 1.0, "isolation": "limits"}
    return grading.Graded(name=name, student=student, points=points, key="", **{**fields, **more})  # type: ignore[arg-type]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_points_by_hand_are_kept_and_counted(tiny: Lab, tmp_path: Path) -> None:
    """In the table's own form, and as a spreadsheet of another country writes it."""
    rows = [
        graded("doejane_12_345_tiny", "doejane", 14, canvas_id="12"),
        graded("Roe_9_assignsubmission_file", "Roe", 7, moodle_id="9"),
    ]
    write_reports(tiny, rows, [], tmp_path)
    assert [row["points"] for row in table(tmp_path / "by-hand.csv")] == ["", ""]
    assert table(tmp_path / "canvas.csv")[0]["One mean and one box"] == "14"  # possible
    (tmp_path / "by-hand.csv").write_text(
        "submission;student;points;remark\ndoejane_12_345_tiny;doejane;4,5;no units\n"
        "gone;Gone;6;\nRoe_9_assignsubmission_file;Roe;;\n",
        "utf-8-sig",
    )
    for _ in range(2):  # what was written can be read again
        marks = read_marks(tmp_path)
        write_reports(tiny, rows, [], tmp_path, marks=marks, column="Lab 4 (77)")
    kept = {row["submission"]: row["points"] for row in table(tmp_path / "by-hand.csv")}
    assert kept == {
        "doejane_12_345_tiny": "4.5",
        "Roe_9_assignsubmission_file": "",
        "gone": "6",
    }
    canvas = [(row["ID"], row["Lab 4 (77)"]) for row in table(tmp_path / "canvas.csv")]
    assert canvas == [("", "20"), ("12", "18.5"), ("", "7")]
    moodle = table(tmp_path / "moodle.csv")
    assert [row["Maximum grade"] for row in moodle] == ["20", "20"]
    assert moodle[1]["Identifier"] == "Participant 9" and moodle[1]["Last modified (grade)"] == ""
    assert moodle[0]["Feedback comments"] == "14 of 14 automatic points, 4.5 of 6 by hand"
    page = (tmp_path / "feedback/doejane_12_345_tiny.html").read_text("utf-8")
    assert "4.5 of 6 by hand" in page and "By hand: no units" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("submission,points\n", "has no column student; must have submission, student"),
        ("submission,student,points,remark\na,A,7,\n", "line 2: points = '7'; must be a number"),
        ("submission,student,points,remark\n\na,A,good,\n", "line 3: points = 'good'"),
        ("submission,student,points,remark\na,A,nan,\n", "points = 'nan'"),
        ("submission,student,points,remark\na,A,1,\na,A,2,\n", "line 3: a stands there twice"),
        ("submission,student,points,remark\na\n", ""),
    ],
)
def test_a_table_by_hand_that_cannot_be_read(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "by-hand.csv").write_text(text)
    if not said:  # a line that stops early says nothing yet
        assert read_marks(tmp_path) == {"a": Mark()}
        return
    with pytest.raises(InvalidArgumentError, match=said):
        read_marks(tmp_path)


def test_feedback_is_packed_under_the_names_that_moodle_and_canvas_know(
    tiny: Lab, tmp_path: Path
) -> None:
    rows = [
        graded("doejane_12_345_tiny", "doejane", 14, canvas_id="12"),
        graded("Jane_Roe_9_assignsubmission_file", "Jane Roe", 7, moodle_id="9"),
    ]
    write_reports(tiny, rows, [], tmp_path)
    packed = (tmp_path / "feedback.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "feedback.zip") as archive:
        assert archive.namelist() == [
            "doejane_12_345_tiny.html",
            "Jane Roe_9_assignsubmission_file/Jane_Roe_9_assignsubmission_file.html",
        ]
        page = archive.read("doejane_12_345_tiny.html")
    assert page == (tmp_path / "feedback/doejane_12_345_tiny.html").read_bytes()
    write_reports(tiny, rows, [], tmp_path)
    assert (tmp_path / "feedback.zip").read_bytes() == packed


def test_what_is_borrowed_from_the_package_is_reported(
    rlcourse: Callable[..., tuple[int, str, str]], tiny: Lab, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    lent = "%matplotlib inline\ndef helper():\n    from rlcourse import returns\n"
    for name, cells in {"own": tiny.solution, "lent": (*tiny.solution, lent)}.items():
        (tmp_path / f"in/{name}.ipynb").write_text(notebook(*tiny.given, *cells))
    out = tmp_path / "out"
    command = ("lab", "grade", str(TINY), str(tmp_path / "in"), "-o", str(out))
    assert rlcourse(*command, "--isolation", "limits")[0] == 0
    assert {row["submission"]: row["borrowed"] for row in table(out / "scores.csv")} == {
        "lent": "rlcourse.returns",
        "own": "",
    }
    page = (out / "report.html").read_text("utf-8")
    assert "lent: rlcourse.returns" in page and "own: rlcourse" not in page


def test_ctrl_c_keeps_what_is_graded_and_starts_nothing_more(
    tiny: Lab, tmp_path: Path, bubblewrap: str
) -> None:
    for n in range(8):
        (tmp_path / f"{n}.py").write_text("")

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    given = collect(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        grade_all(tiny, given, tmp_path / "out", isolation=bubblewrap, on_graded=interrupt)
    assert [path.name for path in (tmp_path / "out/results").iterdir()] == ["0.json"]
    told: list[str] = []
    rows = grade_all(
        tiny, given[:2], tmp_path / "out", isolation=bubblewrap,
        on_graded=lambda row: told.append(row.name),
    )  # fmt: skip
    assert [row.name for row in rows] == told == ["0", "1"]


def test_feedback_says_what_is_missing_without_the_hidden_tests(
    tiny: Lab, tmp_path: Path, bubblewrap: str
) -> None:
    file = tmp_path / "a.ipynb"
    file.write_text(notebook(*tiny.given, tiny.stub[0], "class Box(: pass", "<script>"))
    [row] = grade_all(tiny, collect(tmp_path), tmp_path / "out", isolation=bubblewrap)
    for text in (feedback_markdown(tiny, row), feedback_html(tiny, row)):
        assert "Not written yet: running" in text and "cell 3" in text
        assert "there is nothing named Box" in text
        assert "Fifty rewards, one after the other." in text and "np.mean" not in text
        assert "<script>" not in text


def test_a_lost_process_costs_one_submission_and_not_the_batch(
    tiny: Lab, tmp_path: Path, bubblewrap: str
) -> None:
    lost = grading._lost(tiny, collect_one(tmp_path), "bubblewrap", "key")
    assert lost.points == 0 and "look at it by hand" in lost.error and len(lost.outcomes) == 4


def collect_one(folder: Path) -> grading.Submission:
    (folder / "a.py").write_text("")
    return collect(folder)[0]


def test_alike_is_what_shares_the_unusual() -> None:
    usual = "def f(x):\n    return [y * 2 for y in x if y > 0]\n"
    odd = "def f(x):\n    while x and not x[-1] % 7: x = x[:-1] + [x[0] ** 2 | 1]\n    return x\n"
    renamed = odd.replace("x", "values").replace("7", "9") + "# mine\n"
    given = {
        "a": [usual],
        "b": [usual],
        "c": [odd],
        "d": [renamed],
        "e": ["def f(x): return x or -x + 1 - 2"],
    }
    assert similar(given, [])[0][1:] == ("c", "d")
    assert similar({"a": [usual], "b": [usual], "c": [odd]}, [usual]) == []


def test_the_time_of_the_solution_is_told(
    monkeypatch: pytest.MonkeyPatch, tiny: Lab, bubblewrap: str
) -> None:
    monkeypatch.setattr(checking, "SECONDS", 0.0)
    with Sandbox(bubblewrap, Limits()) as sandbox:
        assert "the solution took" in " ".join(checking.prove_through(tiny, sandbox))


TWO = """# ---
# lab: two
# title: Two in one question
# minutes: 5
# version: 1
# ---

# %% tags=["task"] q="both"
def loops(x):
    # BEGIN SOLUTION
    return x
    # END SOLUTION


def doubles(x):
    # BEGIN SOLUTION
    return 2 * x
    # END SOLUTION
""" + "".join(
    f"""
# %% tags=["test"] q="both" points=1
def test_{name}_{n}({name}):
    \"\"\"{name} {n}\"\"\"
    expect({name}({n}), {n * times})
"""
    for name, times, count in (("loops", 1, 3), ("doubles", 2, 1))
    for n in range(count)
)


def test_a_function_that_sleeps_is_waited_for_once(bubblewrap: str) -> None:
    cells = ["import time\ndef loops(x):\n    time.sleep(99)", "def doubles(x):\n    return 2 * x"]
    with Sandbox(bubblewrap, Limits(seconds=0.5)) as sandbox:
        said = [outcome.message for outcome in sandboxed(parse(TWO), cells, sandbox)]
    assert said[0] == "it took more than 3 s" and said[3] == ""
    assert said[1] == said[2] == "not run: loops did not come back before"


def test_a_function_that_loops_costs_no_other_its_points(bubblewrap: str) -> None:
    """After two strikes it is called no more; its neighbour of the same question is."""
    cells = ["def loops(x):\n    while True: pass", "def doubles(x):\n    return 2 * x"]
    with Sandbox(bubblewrap, Limits(seconds=0.5)) as sandbox:
        said = [outcome.message for outcome in sandboxed(parse(TWO), cells, sandbox)]
    assert ["more than 0.5 s" in message for message in said[:2]] == [True, True]
    assert said[2] == "not run: loops did not come back before" and said[3] == ""
