"""Bug hunts: a task that hands out code that runs and is wrong, and the lines that a student changed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rlcourse.grading.build import build
from rlcourse.grading.check import leaks, prove, prove_here, run_notebook
from rlcourse.grading.master import Lab, MasterError, parse
from rlcourse.grading.sandbox import Sandbox
from rlcourse.grading.similarity import LONGEST, lines_changed

TEXT = (Path(__file__).parent / "tiny/lab.py").read_text("utf-8")
END = "    return mean + surprise / count\n    # END SOLUTION\n"
BLOCK = """\
    # BEGIN STUDENT
    # if count:
    #     surprise = reward - mean
    #
    # return mean + surprise
    # END STUDENT
"""
HANDED_OUT = '''\
def running_mean(mean, count, reward):
    """The mean of ``count`` rewards, of which ``reward`` is the newest and ``mean`` that of the others."""
    if count:
        surprise = reward - mean

    return mean + surprise'''


def hunt(block: str = BLOCK) -> Lab:
    assert END in TEXT
    return parse(TEXT.replace(END, END + block), "tiny.py")


def test_the_student_finds_the_code_handed_out_and_the_others_the_answer(tiny: Lab) -> None:
    lab = hunt()
    assert lab.stub == (HANDED_OUT, tiny.stub[1]) and lab.hunted == (HANDED_OUT,)
    assert lab.solution == tiny.solution and tiny.hunted == ()
    assert lab.tasks[0].answer == tiny.tasks[0].answer


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("    # BEGIN STUDENT\n", "", "34: # END STUDENT without # BEGIN STUDENT"),
        ("    # END STUDENT\n", "", "23: # BEGIN STUDENT without # END STUDENT"),
        ("    # BEGIN STUDENT\n", "\n    # BEGIN STUDENT\n", "must stand right behind # END SOLUTION"),
        ("    # return mean", "    return mean", "34: between # BEGIN STUDENT and # END STUDENT stand only"),
        ("    # if count", '    # """if count', "stand only comments like  # x = 1"),
        ("    # return", "    # BEGIN SOLUTION\n    # return", "# BEGIN SOLUTION: first # END STUDENT"),
        ("    # if count:", "    # if count", "31: as it is handed out this is not Python"),
        (BLOCK, "    # BEGIN STUDENT\n    # END STUDENT\n", "no code to hand out between"),
    ],
)  # fmt: skip
def test_a_broken_block_says_where(old: str, new: str, complaint: str) -> None:
    assert old in BLOCK
    with pytest.raises(MasterError, match=r"^tiny\.py:\d+: ") as error:
        hunt(BLOCK.replace(old, new, 1))
    assert complaint in str(error.value)


def test_a_sound_hunt_has_no_complaints(bubblewrap: str) -> None:
    with Sandbox(bubblewrap) as sandbox:
        assert list(prove(hunt(), sandbox)) == []


def test_code_handed_out_that_is_right_earns_nothing() -> None:
    said = "\n".join(prove_here(hunt(BLOCK.replace("surprise\n", "surprise / count\n"))))
    assert "test_mean_by_hand gives its points to the untouched notebook" in said


def test_the_untouched_notebook_runs_and_is_told_to_be_wrong(tmp_path: Path) -> None:
    lab = hunt()
    build(lab, tmp_path)
    code, said = run_notebook(tmp_path / "student/tiny.ipynb", tmp_path / "student")
    assert code == 0 and "✗ labs/tiny/mean: The mean of 1, 2 and 6 is 3." in said
    assert "after one reward: 4.0" in said and "… labs/tiny/box: not written yet" in said
    for path in (tmp_path / "student").iterdir():
        assert not list(leaks(lab, path.read_text("utf-8")))
    assert list(leaks(lab, "# BEGIN STUDENT")) and list(
        leaks(lab, "return mean + surprise / count")
    )
    assert not list(leaks(lab, "surprise = reward - mean"))  # stands in what is handed out, too


def unpacked(source: str) -> str:
    """What otter's own rules leave of a cell: no marked solution, no line that ends in a prompt's mark."""
    lines, inside = [], False
    for line in source.split("\n"):
        if line.strip() == "# BEGIN SOLUTION NO PROMPT":
            inside = True
        if not inside and not line.endswith(("# BEGIN PROMPT", "# END PROMPT")):
            lines.append(line)
        if line.strip() == "# END SOLUTION":
            inside = False
    return "\n".join(lines)


def test_other_graders_hand_out_the_same_code(tmp_path: Path) -> None:
    build(hunt(), tmp_path)
    for kind in ("nbgrader", "otter"):
        cells = json.loads((tmp_path / kind / "tiny.ipynb").read_text("utf-8"))["cells"]
        [cell] = [x for x in cells if "".join(x["source"]).startswith("def running_mean")]
        source = "".join(cell["source"])
        if kind == "nbgrader":  # no cell of its own: those it empties, or keeps as they are
            assert source == HANDED_OUT and cell["metadata"] == {}
        else:
            compile(source, "otter", "exec")
            assert unpacked(source) == HANDED_OUT and "surprise / count" in source


def test_changed_lines_are_lines_of_code() -> None:
    handed = [HANDED_OUT, "def g(x):\n    return x\n"]
    assert lines_changed(handed, handed) == 0
    mended = HANDED_OUT.replace("+ surprise", "+ surprise / count")
    assert lines_changed(handed, [mended, handed[1]]) == 1
    noise = '# mine\n\nprint("a plot")\n' + mended.replace('"""The', '"""My').replace(
        "    if count:", "    # a word\n\n    if (count):"
    )
    assert lines_changed(handed, [noise, handed[1], "def plot():\n    pass"]) == 1
    assert lines_changed(handed, [*handed, mended]) == 1  # the later counts
    helper = "def h(x):\n    return 2 * x\n"
    assert lines_changed(handed, [handed[0], helper + handed[1]]) == 2
    assert lines_changed(handed, [handed[0]]) == 2
    for broken in ("def g(x:", "x = " + "(" * 5000, "\0", "g = 1\n" + "#" * LONGEST):
        assert lines_changed(handed, [handed[0], broken]) == 2


def test_the_report_tells_how_many_lines_were_changed(
    rlcourse: Callable[..., tuple[int, str, str]], tmp_path: Path, bubblewrap: str
) -> None:
    lab = hunt()
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/lab.py").write_text(lab.text)
    handed_in, out = tmp_path / "in", tmp_path / "out"
    handed_in.mkdir()
    for name, cell in (("mended", lab.solution[0]), ("untouched", lab.stub[0])):
        cells = [{"cell_type": "code", "source": source} for source in (*lab.given, cell)]
        (handed_in / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))
    (handed_in / "broken.ipynb").write_text("{")
    assert rlcourse("lab", "grade", str(tmp_path / "lab"), str(handed_in), "-o", str(out))[0] == 0
    with (out / "scores.csv").open(newline="") as file:
        rows = {row["submission"]: row for row in csv.DictReader(file)}
    assert {name: row["lines changed"] for name, row in rows.items()} == {
        "mended": "3", "untouched": "0", "broken": "",
    }  # fmt: skip
    assert (rows["mended"]["mean"], rows["untouched"]["mean"]) == ("7", "0")
    said = "Lines of the handed-out code changed: 3."
    for path in ("feedback/mended.md", "feedback/mended.html", "gradescope/mended.json"):
        text = (out / path).read_text("utf-8")
        assert said in text and "def running_mean" not in text
    assert "changed" not in (out / "feedback/broken.md").read_text("utf-8")
