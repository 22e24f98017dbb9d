"""The checks of a lab find what they are there to find; a new lab passes them all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlcourse.grading.check import leaks, prove_here, prove_through
from rlcourse.grading.master import Lab, parse
from rlcourse.grading.sandbox import Sandbox
from rlcourse.grading.score import earned, sandboxed

TEXT = (Path(__file__).parent / "tiny/lab.py").read_text("utf-8")


def complaints(*swaps: tuple[str, str]) -> str:
    text = TEXT
    for old, new in swaps:
        assert old in text
        text = text.replace(old, new, 1)
    return "\n".join(prove_here(parse(text)))


def test_a_sound_lab_has_no_complaints() -> None:
    assert complaints() == ""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("surprise / count", "surprise / (count + 1)", "test_mean_by_hand fails the solution"),
        ("np.mean(rewards), look", "np.mean(rewards) + (rng.random() < 0.2), look",
         "test_mean_of_many fails the solution (secret"),
        ("mean + 0.1 * (reward - mean)", "mean + (reward - mean) / count",
         "test_mean_by_hand lets pass the mutant"),
        ("expect(running_mean(1.5, 3, 6.0), 3.0", "expect(running_mean(0.0, 3, 0.0), 0.0",
         "test_mean_by_hand gives its points to return 0"),
        ("    expect(lengths, [1, 2, 3, 3, 3]", "    return\n    expect(lengths, [1, 2, 3, 3, 3]",
         "test_box_lengths gives its points to the untouched notebook"),
        ('kills="test_box_keeps_the_newest"', 'kills="test_box_lengths"',
         "test_box_lengths lets pass the mutant"),
        ("START = 0.0", "START = running_mean(0, 1, 0)", "the plain cells do not run by themselves"),
    ],
)  # fmt: skip
def test_each_kind_of_unsoundness_is_found(old: str, new: str, complaint: str) -> None:
    assert complaint in complaints((old, new))


def test_a_test_that_no_mutant_fails_is_found() -> None:
    start = TEXT.index('# %% tags=["mutant"] q="mean"')
    end = TEXT.index('# %% tags=["trial"]')
    text = TEXT[:start] + TEXT[end:]
    said = "\n".join(prove_here(parse(text)))
    assert "test_mean_by_hand is failed by no mutant" in said


def test_through_the_sandbox_the_solution_earns_all_and_the_stub_nothing(
    tiny: Lab, bubblewrap: str
) -> None:
    with Sandbox(bubblewrap) as sandbox:
        assert list(prove_through(tiny, sandbox)) == []
        assert earned(sandboxed(tiny, tiny.solution, sandbox)) == 14
        broken = parse(TEXT.replace("surprise / count", "surprise"))
        assert "fails the solution through the sandbox" in " ".join(prove_through(broken, sandbox))


def test_leaks_are_found(tiny: Lab) -> None:
    assert list(leaks(tiny, "import numpy\n" + tiny.stub[0])) == []
    for text in ("    surprise = reward - mean", "x = test_mean_of_many", "# END SOLUTION",
                 '{"source": ["def f():\\n", "    surprise = reward - mean"]}',
                 "rewards = rng.normal(5.0, 2.0, size=50)"):  # fmt: skip
        assert list(leaks(tiny, text)), text


def test_a_new_lab_passes_every_check(
    rlcourse: Callable[..., tuple[int, str, str]], tmp_path: Path, bubblewrap: str
) -> None:
    assert rlcourse("lab", "new", "first-steps", "--folder", str(tmp_path / "labs"))[0] == 0
    code, said, _ = rlcourse("lab", "check", str(tmp_path / "labs/first-steps"))
    assert code == 0 and "first-steps: sound; 2 tests, 14 points, 2 mutants" in said
    code, _, complaint = rlcourse("lab", "new", "first-steps", "--folder", str(tmp_path / "labs"))
    assert code == 2 and "exists" in complaint
    code, _, complaint = rlcourse("lab", "new", "Bad Name", "--folder", str(tmp_path / "labs"))
    assert code == 2 and "small letters" in complaint


def test_an_unsound_lab_is_told_and_the_exit_code_is_one(
    rlcourse: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "lab.py").write_text(
        TEXT.replace("points=3\n", "points=2\n", 1).replace("kills=", "kils=", 1)
    )
    code, said, _ = rlcourse("lab", "check", str(tmp_path))
    assert code == 1 and "kils" in said
    (tmp_path / "lab.py").write_text(TEXT.replace("surprise / count", "surprise"))
    code, said, _ = rlcourse("lab", "check", str(tmp_path))
    assert code == 1 and "fails the solution" in said


@pytest.mark.parametrize("command", ["build", "check"])
def test_no_lab_is_no_silence(rlcourse: Callable[..., tuple[int, str, str]], command: str) -> None:
    code, _, complaint = rlcourse("lab", command)
    assert code == 2 and "none named" in complaint


def test_a_lab_that_is_not_there_is_said_in_words(
    rlcourse: Callable[..., tuple[int, str, str]],
) -> None:
    code, said, _ = rlcourse("lab", "check", "nowhere")
    assert code == 1 and "must be a folder with a lab.py" in said and "Errno" not in said
