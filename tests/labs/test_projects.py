"""The two projects: every command that a student or a marker is told to type works, at a small size."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = ("atari", "recommender")
TypeIn = Callable[..., tuple[int, str, str]]
# What makes a command small.
SMALL = {
    "playground run": {"--episodes": "2"},
    "atari evaluate": {"--games": "2"},
    "train dqn": {"--steps": "96", "--learning-starts": "64"},
    "recommender train": {"--epochs": "1", "--epochs-rewarded": "1"},
}


def page(project: str, name: str) -> str:
    return (ROOT / "labs" / f"project-{project}" / f"{name}.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def commands(project: str, name: str) -> list[list[str]]:
    """Each command of the page outside of ``run.sh``."""
    found = [block for block in blocks(page(project, name), "bash") if "# run.sh" not in block]
    return [shlex.split(line) for block in found for line in block.splitlines()]


def script(project: str, *given: str) -> list[list[str]]:
    """The brief's ``run.sh``, with what it was given."""
    (text,) = (b for b in blocks(page(project, "brief"), "bash") if b.startswith("# run.sh"))
    for number, value in enumerate(given, 1):
        text = text.replace(f"${number}", value)
    assert "$" not in text
    return [shlex.split(line) for line in text.splitlines()[1:]]


def small(words: list[str]) -> list[str]:
    """The words behind ``rlcourse``, with the small values in the place of the printed ones."""
    words = words[1:]
    for option, value in SMALL.get(" ".join(words[:2]), {}).items():
        if option in words:
            words[words.index(option) + 1] = value
        else:
            words += [option, value]
    return words


def follow(project: str, name: str, type_in: TypeIn) -> dict[str, str]:
    """Type what a page says, and return what each command said."""
    told: dict[str, str] = {}
    for words in commands(project, name):
        assert words[0] in ("rlcourse", "bash", "mkdir"), words
        if words[0] == "mkdir":
            Path(words[1]).mkdir()
            continue
        lines = script(project, *words[2:]) if words[0] == "bash" else [words]
        for line in lines:
            code, said, complaint = type_in(*small(line))
            assert code == 0, (line, complaint)
            told[" ".join(line)] = said
    return told


def run_python(project: str, name: str) -> None:
    """The page's blocks of Python, one after the other, on a tiny world."""
    namespace: dict[str, Any] = {}
    for block in blocks(page(project, name), "python"):
        exec(block.replace('"small"', '"tiny"'), namespace)


def write_curves(mine: list[float], control: list[float]) -> None:
    rows = [
        f"{arm},{seed},{step},{score * step / 10}"
        for arm, scores in (("mine", mine), ("control", control))
        for seed, score in enumerate(scores)
        for step in (10, 5)
    ]
    Path("submission/curves.csv").write_text("\n".join(["arm,seed,step,score", *rows]) + "\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "submission").mkdir()
    return tmp_path


@pytest.mark.parametrize("project", PROJECTS)
def test_the_points_sum_to_a_hundred(project: str) -> None:
    text = page(project, "marking")
    guide, example = text.split("## A worked example")
    rows = re.findall(r"^\| ([AB]\d) [^|]*\| (\d+) \|", guide, flags=re.M)
    assert sum(int(points) for _, points in rows) == 100
    for letter, part in (("A", "what the machine says"), ("B", "what the report holds")):
        said = re.search(rf"{part} \((\d+) points\)", guide)
        assert said and int(said[1]) == sum(int(n) for row, n in rows if row[0] == letter)
    assert "Made up" in example
    given = re.findall(r"^\| ([AB]\d) \|.*\| (\d+) \|$", example, flags=re.M)
    total = re.search(r"^\| Sum \| \| (\d+) \|$", example, flags=re.M)
    assert [row for row, _ in given] == [row for row, _ in rows]
    assert total and int(total[1]) == sum(int(points) for _, points in given)
    for (_, points), (_, most) in zip(given, rows, strict=True):
        assert int(points) in (0, int(most) // 2, int(most))


@pytest.mark.parametrize("project", PROJECTS)
def test_rows_named_by_a_trap_exist_and_there_are_five_questions(project: str) -> None:
    text = page(project, "marking")
    traps = text.split("## Traps")[1].split("## Ten minutes")[0]
    named = set(re.findall(r"\b[AB]\d\b", traps))
    assert named and all(f"\n| {row} " in text for row in named)
    assert len(re.findall(r"^\d\. \*", text, flags=re.M)) == 5


@pytest.mark.parametrize("project", PROJECTS)
@pytest.mark.parametrize("name", ["brief", "marking"])
def test_the_command_line_knows_every_option(project: str, name: str, rlcourse: TypeIn) -> None:
    """Of code blocks and of running text: the subcommand's help has each option."""
    lines = commands(project, name) + (script(project, *"123") if name == "brief" else [])
    lines += [shlex.split(c) for c in re.findall(r"`(rlcourse [^`\n]+)`", page(project, name))]
    helps: dict[str, str] = {}
    for words in (line for line in lines if line[0] == "rlcourse"):
        called = words[1:3]
        known = helps.setdefault(" ".join(called), rlcourse(*called, "--help")[1])
        for option in (word for word in words if word.startswith("--")):
            said = "--env-id" if called[0] == "train" and option == "--env" else option
            assert re.search(rf"{said}\b", known), (called, option)


def hand_in(source: Path) -> None:
    """The made-up player under each name that the pages give one."""
    for name in ("submission/checkpoint", "again/checkpoint", "again/control"):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy(source, f"{name}.safetensors")


def test_a_small_game_is_trained_and_marked(folder: Path, rlcourse: TypeIn, capsys: Any) -> None:
    """MinAtar's commands, and the guide's table on what its example made up."""
    pytest.importorskip("minatar")
    for line in [*script("atari", "0", "submission"), *commands("atari", "brief")]:
        if line[1] in ("train", "playground", "evidence"):
            code, said, complaint = rlcourse(*small(line))
            assert code == 0, (line, complaint)
        if line[1] == "playground":
            assert re.search(r"MinAtar/Asterix-v1 +random", said) and "95 % interval" in said
    hand_in(Path("submission/control.safetensors"))
    on_minatar = [line for line in commands("atari", "marking") if line[1] == "playground"]
    assert len(on_minatar) == 3
    for line in on_minatar:
        code, said, complaint = rlcourse(*small(line))
        assert code == 0 and "checkpoint.safetensors" in said, complaint
    assert "control.safetensors" in said

    write_curves([10, 13, 9, 12, 11], [12, 14, 13, 15, 11])
    run_python("atari", "marking")
    table = capsys.readouterr().out
    example = page("atari", "marking").split("## A worked example")[1]
    assert "5 seeds in both arms" in table and "minus control: -2" in table
    ranges = re.findall(r"should lie in (\[.*\])", table)
    assert ranges == ["[5, 17]", "[7, 19]"] and all(found in example for found in ranges)


def test_a_player_of_the_machine_is_marked(
    folder: Path, rlcourse: TypeIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ale_py")
    from rlcourse.atari import agents, evaluation

    short = dataclasses.replace(evaluation.PROTOCOLS["sticky"], max_frames=80)
    monkeypatch.setitem(evaluation.PROTOCOLS, "sticky", short)
    full = agents.preset
    monkeypatch.setattr(
        agents, "preset", lambda *a, **k: full(*a, num_envs=2, horizon=8, batch_size=16, **k)
    )
    (train,) = (line for line in commands("atari", "brief") if line[1:3] == ["atari", "train"])
    assert rlcourse(*train[1:], "--steps", "16")[0] == 0
    hand_in(Path("run-0/checkpoint.safetensors"))
    for line in [*commands("atari", "brief"), *commands("atari", "marking")]:
        if line[1] == "atari" and line != train:
            code, said, complaint = rlcourse(*small(line))
            assert code == 0, (line, complaint)
            if line[2] == "evaluate":
                assert "sticky: mean score" in said and "from random play (1.7)" in said
                kept = json.loads(Path(line[-1]).read_text())
                assert kept["game"]["clip"] is False and kept["lengths"]


def test_the_recommender(folder: Path, rlcourse: TypeIn, capsys: Any) -> None:
    """Both pages, from the first line to the last; the honest model is not taken for a leaking one."""
    pytest.importorskip("implicit")
    given, truth = blocks(page("recommender", "brief"), "python")
    namespace: dict[str, Any] = {}
    exec(given.replace('"small"', '"tiny"'), namespace)
    for line in script("recommender", "ratings", "0", "submission"):
        assert rlcourse(*small(line))[0] == 0
    told = follow("recommender", "brief", rlcourse)
    board = next(
        s for words, s in told.items() if words.endswith("submission/checkpoint.safetensors")
    )
    for row in ("random", "popularity", "EASE", "actor-critic"):
        assert re.search(rf"^{row} +0\.\d+ ±", board, flags=re.M)
    exec(truth, namespace)
    said = capsys.readouterr().out
    assert "truth" in said and all(name in said for name in ("ips", "snips", "dr"))

    write_curves([0.176, 0.181, 0.175, 0.180, 0.179], [0.180, 0.182, 0.178, 0.184, 0.181])
    run_python("recommender", "marking")
    table = capsys.readouterr().out
    example = page("recommender", "marking").split("## A worked example")[1]
    assert "[-0.0070, 0.0020]" in table and "[-0.007, 0.002]" in example
    told = follow("recommender", "marking", rlcourse)
    printed = {
        re.findall(r"^actor-critic.*$", said, flags=re.M)[0]
        for words, said in told.items()
        if "evaluate" in words and re.search("(same|leak)/checkpoint", words)
    }
    assert len(printed) == 1


def test_the_turned_stars_are_the_held_out_ones(folder: Path) -> None:
    """Otherwise the guide's check for a leak would check nothing, or accuse the honest."""
    pytest.importorskip("scipy")
    from rlcourse.recommender.data import load, sessions

    write_curves([1.0] * 5, [0.0] * 5)
    run_python("recommender", "marking")
    plain, turned = (sessions(load(Path(name))) for name in ("ratings", "tampered"))
    assert np.array_equal(plain.history.item, turned.history.item)
    assert np.array_equal(plain.history.rating, turned.history.rating)
    assert np.array_equal(plain.held_out.item, turned.held_out.item)
    assert np.array_equal(6 - plain.held_out.rating, turned.held_out.rating)
    fresh = sessions(load(Path("fresh")))
    assert not np.array_equal(plain.history.item[:50], fresh.history.item[:50])
