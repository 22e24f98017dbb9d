"""A master is read, and one that breaks a rule says where and which."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcourse.errors import InvalidArgumentError
from rlcourse.grading.master import Lab, MasterError, parse, read

TEXT = (Path(__file__).parent / "tiny/lab.py").read_text("utf-8")


def test_a_master_is_read(tiny: Lab) -> None:
    assert (tiny.name, tiny.minutes, tiny.points) == ("tiny", 10, 14)
    assert tiny.questions == ("mean", "box")
    assert tiny.owner == {"running_mean": "mean", "Box": "box"}
    assert tiny.classes == ("Box",)
    assert [test.hidden for test in tiny.tests] == [False, True, False, True]
    assert [mutant.kills for mutant in tiny.mutants] == [
        ("test_mean_by_hand", "test_mean_of_many"),
        ("test_box_lengths",),
        ("test_box_keeps_the_newest",),
    ]
    assert [cell.kind for cell in tiny.cells][-1] == "instructor"


def test_the_answer_is_left_out_of_the_stub(tiny: Lab) -> None:
    mean, box = tiny.stub
    assert mean.splitlines()[-1] == "    ..." and "surprise" not in mean
    assert box.count("        ...\n") == 2 and "self.items = []" in box
    assert "surprise" in tiny.solution[0] and "SOLUTION" not in "".join(tiny.solution)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("# ---\n# lab", "# lab", "1: must begin with a header"),
        ("# lab: tiny", "# lab: Tiny Lab", "small letters"),
        ("# minutes: 10", "# minutes: ten", "4: minutes: 'ten' must be a whole number"),
        ("# minutes: 10\n", "", "the header lacks minutes"),
        ("# minutes: 10", "# hours: 10", "4: '# hours: 10': the header holds"),
        ('tags=["task"] q="mean"', 'tags=["tsak"] q="mean"', "at most one of task, test"),
        ('["test"] q="mean" points=3', '["test"] q="mean"', "a test cell needs points="),
        ("points=3\n", 'points="3"\n', "must be of type int"),
        ("hidden=true", "hiden=true", "hiden: a test cell has only q, points, hidden"),
        ("points=3\n", "points=3 oops\n", "cannot read 'oops'"),
        ('["test"] q="mean" points=3', '["test"] q="maen" points=3', "maen"),
        ("    # END SOLUTION\n", "", "between # BEGIN SOLUTION and # END SOLUTION"),
        ("def test_mean_by_hand(running_mean)", "def test_mean_by_hand(mean)", "no task defines mean"),
        ("def test_mean_by_hand(", "def check_by_hand(", "one function named test_"),
        ("def test_box_lengths(", "def test_mean_by_hand(", "two tests have this name"),
        ('    """The mean of 1, 2 and 6 is 3."""\n', "", "its name in the feedback"),
        ('    """Never forgets."""\n', "", "the misconception"),
        ('kills="test_box_lengths"', 'kills="test_nothing"', "there is no such test"),
        ("START = 0.0", "START = = 0", "not Python"),
        ("# A mean that", "A mean that", "must begin with  #"),
        ("    return mean + surprise / count", "    return mean +", "not Python"),
    ],
)  # fmt: skip
def test_a_broken_rule_says_where(old: str, new: str, complaint: str) -> None:
    assert old in TEXT
    with pytest.raises(MasterError, match=r"^tiny\.py:\d+: ") as error:
        parse(TEXT.replace(old, new, 1), "tiny.py")
    assert complaint in str(error.value)


def test_a_folder_without_a_master_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no lab's master there"):
        read(tmp_path)
