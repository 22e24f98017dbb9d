"""What a lab is built into: the same bytes each time, nothing secret in what students get, all of it works."""

from __future__ import annotations

import html
import io
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rlcourse
from rlcourse.errors import InvalidArgumentError
from rlcourse.grading import build as building
from rlcourse.grading import public as shipped
from rlcourse.grading.build import build, bundle, nbgrader_source, otter_source, public
from rlcourse.grading.check import leaks, run_notebook
from rlcourse.grading.grade import Submission, grade_one
from rlcourse.grading.master import Lab, parse, read
from rlcourse.grading.sandbox import Sandbox
from rlcourse.labs import verdict

ROOT = Path(__file__).resolve().parents[2]
MASTERS = sorted(ROOT.glob("labs/*/lab.py"))
PACKAGE = Path(rlcourse.__file__).parent
name_of = lambda path: path.parent.name  # noqa: E731


@pytest.fixture(scope="module")
def built(tiny: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build(tiny, folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_every_edition_is_there_and_a_rebuild_is_identical(
    tiny: Lab, built: Path, tmp_path: Path
) -> None:
    build(tiny, tmp_path)
    assert contents(tmp_path) == contents(built)
    assert set(contents(built)) == {
        "student/tiny.ipynb", "student/tiny.json", "solution/tiny.ipynb", "instructor/tiny.ipynb",
        "instructor/rubric.md", "grader/lab.py", "grader/rubric.md", "gradescope/tiny.zip",
        "nbgrader/tiny.ipynb", "otter/tiny.ipynb",
    }  # fmt: skip


def test_notebooks_are_notebooks(built: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    for path in built.rglob("*.ipynb"):
        notebook = nbformat.read(path, 4)
        nbformat.validate(notebook)
        ids = [cell.id for cell in notebook.cells]
        assert len(set(ids)) == len(ids)


def test_the_untouched_notebook_runs_and_the_solved_one_is_right(built: Path) -> None:
    code, said = run_notebook(built / "student/tiny.ipynb", built / "student")
    assert code == 0, said
    assert said.splitlines() == [
        "… labs/tiny/mean: not written yet",
        "… labs/tiny/box: not written yet",
    ]
    code, said = run_notebook(built / "solution/tiny.ipynb", built / "student")
    assert code == 0, said
    assert said.splitlines() == [
        "✓ labs/tiny/mean: 1 of 1 tests passed; 1 more when it is graded",
        "after one reward: 4.0",
        "✓ labs/tiny/box: 1 of 1 tests passed; 1 more when it is graded",
    ]


def test_check_in_a_notebook(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built / "student")

    def running_mean(mean: float, count: int, reward: float) -> float:
        return mean + reward

    passed, message = verdict("labs/tiny/mean", running_mean)
    assert passed is False
    assert message == (
        "The mean of 1, 2 and 6 is 3. expected 3, got 7.5; look at what the new reward is compared with"
    )
    assert verdict("labs/tiny/mean", lambda mean, count, reward: mean + (reward - mean) / count)[0]
    assert verdict("labs/tiny/mean", lambda mean: 0)[1].count("TypeError") == 1
    assert verdict("labs/tiny/mean")[0] is None
    with pytest.raises(InvalidArgumentError, match="lab tiny has mean, box"):
        verdict("labs/tiny/men", running_mean)
    with pytest.raises(InvalidArgumentError, match="no public tests"):
        verdict("labs/../tiny/mean", running_mean)


def test_a_secret_deals_other_hidden_cases_and_the_same_public_ones(tiny: Lab) -> None:
    again = parse(bundle(tiny, 7).decode())
    assert again.secret == 7 and again.tests[0].source == tiny.tests[0].source
    assert bundle(again, 7) == bundle(tiny, 7) != bundle(tiny, 8)
    assert public(again) == public(tiny)


def test_the_instructor_sees_notes_tests_and_misconceptions(built: Path) -> None:
    text = (built / "instructor/tiny.ipynb").read_text("utf-8")
    for words in ("Most students lose their way", "test_mean_of_many", "Never forgets", "By hand"):
        assert words in text


def cells_of(notebook: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(notebook)["cells"]
    return found


@pytest.mark.parametrize("master", MASTERS, ids=name_of)
def test_nbgrader_tells_no_hidden_test_and_leaves_the_marked_part_open(master: Path) -> None:
    """What nbgrader keeps of its source in the release: everything but two kinds of passages."""
    lab = read(master)
    cells = cells_of(nbgrader_source(lab, 3))
    for cell in cells:
        text = "".join(cell["source"])
        for what in ("SOLUTION", "HIDDEN TESTS"):
            text = re.sub(rf"(?s)### BEGIN {what}.*?### END {what}", "", text)
        cell["source"] = text
    released = json.dumps(cells)
    assert not list(leaks_in_text(lab, released)) and not list(leaks(lab, released))

    open_ = [cell for cell in cells if "nbgrader" not in cell["metadata"]]
    handed_out = [task.stub for task in lab.tasks if task.stub in lab.hunted]  # a bug hunt's
    assert [cell["source"] for cell in open_] == handed_out
    marked = [(c["cell_type"], c["metadata"]["nbgrader"]) for c in cells if c not in open_]
    assert len({meta["grade_id"] for _, meta in marked}) == len(marked)
    assert all(re.fullmatch(r"[\w-]+", meta["grade_id"]) for _, meta in marked)
    for meta in (meta for _, meta in marked):
        assert meta["locked"] != meta["solution"]  # only an answer may be changed
    points = {True: 0, False: 0}
    for _, meta in marked:
        points[meta["solution"]] += meta.get("points", 0)
    assert points == {False: 14, True: 6}  # by tests, and by hand
    open_cells = [
        (kind, meta["points"]) for kind, meta in marked if meta["solution"] and meta["grade"]
    ]
    figure = [("code", 2), ("markdown", 4)]
    assert sorted(open_cells) == ([("markdown", 6)] if lab.hunted else figure)


def test_sources_for_other_graders_hold_their_marks(built: Path) -> None:
    def cells(kind: str) -> list[dict[str, Any]]:
        return cells_of((built / kind / "tiny.ipynb").read_bytes())

    marked = [cell["metadata"]["nbgrader"] for cell in cells("nbgrader")]
    assert sum(cell.get("points", 0) for cell in marked) == 14
    assert len({cell["grade_id"] for cell in marked}) == len(marked)
    text = "\n".join("".join(cell["source"]) for cell in cells("nbgrader"))
    assert text.count("### BEGIN SOLUTION") == text.count("### END SOLUTION") == 3
    assert text.count("### BEGIN HIDDEN TESTS") == 2
    raw = [
        "".join(cell["source"]).split("\n")[0]
        for cell in cells("otter")
        if cell["cell_type"] == "raw"
    ]
    question = [
        "BEGIN QUESTION",
        "BEGIN SOLUTION",
        "END SOLUTION",
        "BEGIN TESTS",
        "END TESTS",
        "END QUESTION",
    ]
    assert [line.removeprefix("# ") for line in raw] == ["ASSIGNMENT CONFIG", *question, *question]
    for kind in ("nbgrader", "otter"):  # with their solutions in, they run and complain of nothing
        code, said = run_notebook(built / kind / "tiny.ipynb", built / "student")
        assert code == 0, said


@pytest.mark.parametrize("address", [None, ("https://example.org/course", "main")])
def test_otter_is_told_what_its_image_needs(
    tiny: Lab, monkeypatch: pytest.MonkeyPatch, address: tuple[str, str] | None
) -> None:
    """Without the package every test of otter's image would fail, for everybody."""
    monkeypatch.setattr(building, "_address", lambda: address)
    config = "".join(cells_of(otter_source(tiny, 3))[0]["source"])
    assert config.startswith("# ASSIGNMENT CONFIG\nname: tiny\n")
    wanted = "\nrequirements:\n  - rlcourse @ git+https://example.org/course@main"
    assert config.endswith(wanted if address else "\n# requirements: ...")


# --- Gradescope -----------------------------------------------------------------------------------


@pytest.fixture
def container(built: Path, tmp_path: Path) -> Path:
    """The folders of Gradescope's container, with the zip unpacked."""
    root = tmp_path / "autograder"
    for name in ("source", "submission", "results"):
        (root / name).mkdir(parents=True)
    with zipfile.ZipFile(built / "gradescope/tiny.zip") as archive:
        archive.extractall(root / "source")
        runs = {i.filename for i in archive.infolist() if i.external_attr >> 16 & stat.S_IXUSR}
    assert runs == {"setup.sh", "run_autograder"}
    return root


def run_autograder(root: Path, python: str = sys.executable) -> dict[str, Any]:
    environment = os.environ | {"AUTOGRADER": str(root), "RLCOURSE_PYTHON": python}
    done = subprocess.run(
        ["bash", root / "source/run_autograder"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads((root / "results/results.json").read_text("utf-8"))
    return results


def test_gradescope_grades_a_submission(built: Path, container: Path, bubblewrap: str) -> None:
    (container / "submission/mine.ipynb").write_bytes((built / "solution/tiny.ipynb").read_bytes())
    results = run_autograder(container)
    assert sum(test["score"] for test in results["tests"]) == 14
    assert {test["visibility"] for test in results["tests"]} == {"visible", "after_published"}
    assert not list(leaks_in_text(read(container / "source/lab"), json.dumps(results)))


def test_gradescope_says_grader_error_when_the_grader_fails(container: Path) -> None:
    (container / "submission/mine.py").write_text("")
    assert "Grader error" in run_autograder(container, python="/no/such/python")["output"]
    master = container / "source/lab/lab.py"
    master.write_text(master.read_text("utf-8").replace("surprise / count", "surprise"), "utf-8")
    results = run_autograder(container)
    assert "Grader error" in results["output"] and results["score"] == 0


def test_gradescope_tells_who_hands_in_nothing(container: Path) -> None:
    (container / "submission/report.pdf").write_text("")
    results = run_autograder(container)
    assert results["score"] == 0
    assert results["output"] == (
        "Not graded: hand in your notebook, tiny.ipynb; nothing here ends in .ipynb or .py."
    )


def test_gradescope_says_when_time_was_up(container: Path) -> None:
    (container / "submission/mine.py").write_text("")
    script = container / "source/run_autograder"
    script.write_text(script.read_text().replace("timeout -k 5 300", "timeout -k 5 0.01"))
    results = run_autograder(container)
    assert results["score"] == 0 and "this took more than 300 s" in results["output"]


def test_gradescope_is_set_up_by_pins_without_an_index(container: Path) -> None:
    text = (container / "source/setup.sh").read_text()
    installs = [line.split()[4:] for line in text.splitlines() if "/pip install" in line]
    assert installs and all("==" in word for line in installs for word in line)
    assert not re.search(r"https?:|index|conda|chrom", text)
    assert subprocess.run(["bash", "-n", container / "source/setup.sh"]).returncode == 0


# --- nothing leaks --------------------------------------------------------------------------------


def squeezed(text: str) -> str:
    """Without markup, marks of JSON and spaces: the same words, however they are wrapped."""
    text = html.unescape(re.sub(r"<[^>]*>", "", text))
    return re.sub(r'\\[nt"]|[\s"\\,]', "", text)


def secrets(lab: Lab) -> Iterator[tuple[str, str]]:
    """Long passages that only the master may hold: whole hidden tests, whole answers."""
    for test in lab.tests:
        if test.hidden:
            yield test.name, squeezed(test.source.split('"""', 2)[-1])
    for answer in re.findall(r"# BEGIN SOLUTION\n(.*?)# END SOLUTION", lab.text, re.DOTALL):
        if answer.count("\n") > 1 and len(squeezed(answer)) > 40:
            yield answer.strip(), squeezed(answer)


def leaks_in_text(lab: Lab, text: str) -> Iterator[str]:
    held = squeezed(text)
    for what, passage in secrets(lab):
        if passage in held:
            yield what


def public_texts() -> Iterator[tuple[str, str]]:
    """Every text that leaves the house: the package, the evidence, and the site if it is built."""
    for folder in (PACKAGE, ROOT / "book", ROOT / "_build/html"):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            wanted = path.suffix in (".py", ".json", ".html", ".ipynb", ".md", ".txt", ".toml")
            if wanted and path.is_file() and path.stat().st_size < 8e6:
                yield str(path), path.read_text("utf-8", "replace")


def test_the_leak_test_finds_leaks(tiny: Lab, built: Path) -> None:
    for name, content in contents(built).items():
        secret = not name.startswith("student/")
        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                content = archive.read("lab/lab.py")
        if not name.endswith("rubric.md"):
            assert bool(list(leaks_in_text(tiny, content.decode()))) == secret, name
            assert bool(list(leaks(tiny, content.decode()))) == secret, name


def test_nothing_public_holds_a_hidden_test_or_an_answer() -> None:
    labs = [read(path) for path in MASTERS]
    marks = [(lab, test.name) for lab in labs for test in lab.tests if test.hidden]
    for path, text in public_texts() if labs else ():
        for lab, name in marks:
            assert not re.search(rf"\b{name}\b", text), f"{path} names {name} of {lab.name}"
        held = squeezed(text)
        for lab in labs:
            found = [what for what, passage in secrets(lab) if passage in held]
            assert not found, f"{path} holds {found} of {lab.name}"


@pytest.mark.parametrize("master", MASTERS, ids=name_of)
def test_a_lab_is_named_after_its_folder_and_its_public_tests_travel(master: Path) -> None:
    lab = read(master)
    assert lab.name == master.parent.name
    stored = shipped.FOLDER / f"{lab.name}.json"
    assert stored.exists(), f"run  rlcourse lab build {master.parent}"
    assert stored.read_bytes() == public(lab), f"run  rlcourse lab build {master.parent}"
    assert not list(leaks(lab, stored.read_text("utf-8")))


def test_no_public_tests_without_a_lab() -> None:
    """But in a copy for students, which has the tests and no labs."""
    assert not MASTERS or set(shipped.labs()) == {master.parent.name for master in MASTERS}


def test_a_submission_in_the_notebook_of_the_student_is_graded(
    tiny: Lab, built: Path, bubblewrap: str
) -> None:
    with Sandbox(bubblewrap) as sandbox:
        for kind, points in (("student", 0), ("solution", 14)):
            path = built / kind / "tiny.ipynb"
            assert grade_one(tiny, sandbox, Submission(kind, path, kind), 3).points == points


def test_all_labs_that_are_named_are_built_or_none(
    rlcourse: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    tiny = str(Path(__file__).parent / "tiny")
    code, _, complaint = rlcourse(
        *("lab", "build", tiny, str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"))
    )
    assert code == 2 and "no lab's master there" in complaint
    assert not (tmp_path / "out").exists()
