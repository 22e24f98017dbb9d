"""Contracts and results: kept, resumed, stale, corrupted, not to be written."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlcourse
from rlcourse import evidence
from rlcourse.errors import CorruptEvidenceError, CourseError, InvalidArgumentError
from rlcourse.evidence import (
    Contract,
    check,
    contracts,
    library_table,
    load,
    run,
    state,
    summary,
    tabular,
)

CONTRACT = """
[[contract]]
id = "walk"
chapter = "test"
claim = "A claim"
environment = "rlcourse/RandomWalk-v0"
measure = "tabular.random_walk_error"
config = { episodes = 20, alpha = 0.1 }
seeds = 6
statistic = "mean"
comparison = "<="
threshold = 1.0
oracle = "a generous bound"
"""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of evidence with one contract in it."""
    (tmp_path / "contracts.toml").write_text(CONTRACT)
    monkeypatch.setenv("RLCOURSE_EVIDENCE", str(tmp_path))
    return tmp_path


def measure_once(shelf: Path) -> dict[str, Any]:
    assert run("walk", progress=False).state == "met"
    return dict(json.loads((shelf / "results/walk.json").read_text()))


# --- a run ----------------------------------------------------------------------------------------


def test_a_result_tells_where_it_comes_from(shelf: Path) -> None:
    result = measure_once(shelf)
    assert result["statistic"] == pytest.approx(np.mean(result["scores"]), rel=1e-5)
    low, high = result["interval"]
    assert low < result["statistic"] < high
    assert len(result["scores"]) == 6 and len(set(result["scores"])) == 6
    assert {"hash", "seconds", "measured", "machine", "versions"} <= result.keys()
    assert np.shape(result["curves"]) == (6, len(result["x"]))
    assert [path.name for path in (shelf / "results").iterdir()] == ["walk.json"]
    assert str(shelf) not in json.dumps(result) and str(Path.home()) not in json.dumps(result)


def test_measuring_again_gives_the_same_scores(shelf: Path) -> None:
    first = measure_once(shelf)["scores"]
    assert first == measure_once(shelf)["scores"]


def test_seeds_side_by_side_give_what_they_give_alone(shelf: Path) -> None:
    alone = measure_once(shelf)["scores"]
    run("walk", jobs=2, progress=False)
    assert load("walk")["scores"] == alone


def test_an_interrupted_run_keeps_its_seeds_and_goes_on(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure_once(shelf)
    (shelf / "results/walk.json").unlink()
    real, measured = tabular.random_walk_error, []

    def tired(config: Any, seed: int, **options: Any) -> Any:
        if seed == 3 and 3 not in measured:
            measured.append(3)
            raise KeyboardInterrupt
        measured.append(seed)
        return real(config, seed, **options)

    monkeypatch.setattr(tabular, "random_walk_error", tired)
    with pytest.raises(KeyboardInterrupt):
        run("walk", progress=False)
    assert state(contracts()["walk"]).state == "missing"  # nothing half-done
    [kept] = (shelf / "results").iterdir()
    assert [json.loads(line)["seed"] for line in kept.read_text().splitlines()] == [0, 1, 2]
    # The machine went down in the middle of a line as well.
    kept.write_text(kept.read_text() + '{"seed": 3, "score": 0.')
    assert run("walk", progress=False).state == "met"
    assert measured == [0, 1, 2, 3, 3, 4, 5]
    assert load("walk")["scores"] == whole["scores"]
    assert [path.name for path in (shelf / "results").iterdir()] == ["walk.json"]


def test_seeds_kept_under_other_settings_are_not_used(shelf: Path) -> None:
    before = measure_once(shelf)
    stale = shelf / "results" / f".walk.{'0' * 16}.jsonl"
    stale.write_text(json.dumps({"seed": 0, "score": 99.0, "extra": {}, "seconds": 0.0}) + "\n")
    assert measure_once(shelf)["scores"] == before["scores"]


@pytest.mark.parametrize("junk", ["7\n", "[]\n", '{"seed": 0}\n', "\x00\xff\n", "null\n\n"])
def test_junk_among_the_kept_seeds_is_measured_again(shelf: Path, junk: str) -> None:
    (shelf / "results").mkdir()
    digest = contracts()["walk"].hash()
    (shelf / f"results/.walk.{digest}.jsonl").write_bytes(junk.encode("latin-1"))
    assert run("walk", progress=False).state == "met"


def test_a_folder_that_cannot_be_written(shelf: Path) -> None:
    (shelf / "results").write_text("a file where a folder must be")
    with pytest.raises(CourseError, match=r"results: cannot be written"):
        run("walk", progress=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(shelf: Path) -> None:
    (shelf / "results").mkdir(mode=0o500)
    with pytest.raises(CourseError, match=r"results: cannot be written \(Permission denied\)"):
        run("walk", progress=False)


def test_a_contract_that_does_not_exist(shelf: Path) -> None:
    for call in (load, run):
        with pytest.raises(InvalidArgumentError, match=r"name = 'wlak': must be one of walk"):
            call("wlak")
    with pytest.raises(InvalidArgumentError, match=r"name = 'walk': not measured yet; run"):
        load("walk")


# --- states ---------------------------------------------------------------------------------------


def test_missing_met_failed_stale(shelf: Path) -> None:
    def now() -> list[str]:
        return [row.state for row in check()]

    assert now() == ["missing"]
    measure_once(shelf)
    assert now() == ["met"]
    toml = shelf / "contracts.toml"
    toml.write_text(CONTRACT.replace('"A claim"', '"Said better"'))
    assert now() == ["met"]
    for old, new in (("episodes = 20", "episodes = 21"), ("threshold = 1.0", "threshold = 0.9"),
                     ("seeds = 6", "seeds = 7"), ('"mean"', '"max"')):  # fmt: skip
        toml.write_text(CONTRACT.replace(old, new))
        assert now() == ["stale"], new
    toml.write_text(CONTRACT.replace("threshold = 1.0", "threshold = 0.0"))
    assert run("walk", progress=False).state == "failed" and now() == ["failed"]


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [("mean", 3.0), ("median", 2.5), ("min", 1.0), ("max", 6.0), ("iqm", 2.5)],
)
def test_statistics(shelf: Path, statistic: str, expected: float) -> None:
    fields = {**vars(contracts()["walk"]), "statistic": statistic}
    assert summary(Contract(**fields), [1.0, 2.0, 3.0, 6.0])[0] == expected


def test_an_end_of_the_interval_can_be_the_statistic(shelf: Path) -> None:
    fields = vars(contracts()["walk"])
    scores = np.random.default_rng(0).normal(size=20)
    ends = {
        name: summary(Contract(**{**fields, "statistic": name}), scores) for name in ("low", "high")
    }
    assert ends["low"][1] == ends["high"][1] == (ends["low"][0], ends["high"][0])
    assert ends["low"][0] < ends["high"][0]


# --- what a result depends on ---------------------------------------------------------------------


def test_every_module_that_a_measurement_loads_is_in_its_hash() -> None:
    """Measure every kind of contract in a fresh process and look at what was imported."""
    code = (
        "import json, sys\n"
        "import importlib\n"
        "from rlcourse.evidence import contracts\n"
        "for c in contracts().values():\n"
        "    small = {k: v for k, v in c.config.items() if k not in ('steps', 'episodes')}\n"
        "    size = 'episodes' if 'episodes' in c.config else 'steps'\n"
        "    module, name = c.measure.split('.')\n"
        "    if module != 'tabular': continue\n"
        "    measure = getattr(importlib.import_module('rlcourse.evidence.' + module), name)\n"
        "    measure({**small, size: 60}, 0, **c.options)\n"
        "print(json.dumps([m for m in sys.modules if m.startswith('rlcourse.')]))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(said.stdout.splitlines()[-1]))
    assert {"rlcourse.envs.bias", "rlcourse.envs.model", "rlcourse.algorithms.tabular"} <= loaded
    hashed: set[str] = set()
    for contract in contracts().values():
        reached: dict[str, str] = {}
        module, name = contract.measure.split(".")
        evidence._reach(f"rlcourse.evidence.{module}", name, reached)
        hashed.update(key.split(":")[0] for key in reached)
    # The caller of the measures, and what it summarises scores with, are not what is measured.
    assert loaded - hashed <= {
        "rlcourse.evidence",
        "rlcourse.cluster",
        "rlcourse.statistics",
        "rlcourse.files",
        "rlcourse.algorithms",  # an empty file
    }


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The hash of a measure ``f`` in a module with the given text."""
    package = tmp_path / "rlcourse"
    (package / "evidence").mkdir(parents=True)
    (package / "algorithms").mkdir()
    (package / "algorithms" / "__init__.py").write_text("")
    (package / "algorithms" / "far.py").write_text("def used():\n    return 1\n")
    monkeypatch.setattr(rlcourse, "__file__", str(package / "__init__.py"))

    def code(text: str) -> str:
        (package / "evidence" / "twin.py").write_text(text)
        return evidence._code_of("twin.f")

    return code


def test_comments_and_docstrings_do_not_count_but_code_does(twin: Callable[[str], str]) -> None:
    base = twin("def f(x):\n    return x + 1\n")
    assert twin('"""New."""\n\n\ndef f(x):  # why\n    """Doc."""\n\n    return (x + 1)\n') == base
    assert twin("def f(x):\n    return x + 2\n") != base
    assert twin("def f(x, y=0):\n    return x + 1\n") != base
    assert twin("def f(x):\n    return x - 1\n") != base


def test_only_what_is_reached_counts(twin: Callable[[str], str], tmp_path: Path) -> None:
    """Through names, attributes of imported modules, imports inside functions and entry points."""
    far = tmp_path / "rlcourse" / "algorithms" / "far.py"
    ways = {
        "from import": "from rlcourse.algorithms.far import used as u\n\n\ndef f():\n    return u()\n",
        "attribute": "from rlcourse.algorithms import far\n\n\ndef f():\n    return far.used()\n",
        "whole": "from rlcourse.algorithms import far\n\n\ndef f():\n    return far\n",
        "inside": "def f():\n    from rlcourse.algorithms.far import used\n\n    return used()\n",
        "import inside": "def f():\n    import rlcourse.algorithms.far\n",
        "entry point": "def f():\n    return 'rlcourse.algorithms.far:used'\n",
        "table": "from rlcourse.algorithms.far import used\n\nT = {1: used}\n\n\ndef f():\n    return T\n",
    }
    for way, text in ways.items():
        far.write_text("def used():\n    return 1\n")
        before = twin(text)
        far.write_text('def used():\n    """Doc."""\n    return 1\n')
        assert twin(text) == before, way
        far.write_text("def used():\n    return 2\n")
        assert twin(text) != before, way
        changed = twin(text)
        far.write_text("def used():\n    return 2\n\n\ndef other():\n    return 3\n")
        if way not in ("whole", "import inside"):  # then every definition may be used
            assert twin(text) == changed, way


def test_the_normal_form_is_the_same_in_every_python(twin: Callable[[str], str]) -> None:
    """Newer ones add empty fields to the syntax tree: nothing empty may be in it."""
    form = twin("class C:\n    pass\n\n\ndef f():\n    return C, 1\n")
    assert "type_params" not in form and "[]" not in form and "None" not in form


# --- corrupted ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: "",
        lambda r: "{",
        lambda r: "[]",
        lambda r: "3",
        lambda r: "\x00\xff",
        lambda r: json.dumps({**r, "id": "other"}),
        lambda r: json.dumps({**r, "scores": ["a"]}),
        lambda r: json.dumps({**r, "scores": [float("nan")]}),
        lambda r: json.dumps({**r, "statistic": "high"}),
        lambda r: json.dumps({**r, "statistic": None}),
        lambda r: json.dumps({**r, "interval": [1.0]}),
        lambda r: json.dumps({k: v for k, v in r.items() if k != "hash"}),
        lambda r: json.dumps({k: v for k, v in r.items() if k != "scores"}),
    ],
)
def test_a_damaged_result_says_how_to_mend_it(shelf: Path, damage: Callable[[Any], str]) -> None:
    path = shelf / "results/walk.json"
    path.parent.mkdir()
    result = {"id": "walk", "hash": "x", "statistic": 0.1, "interval": [0.0, 0.2], "scores": [0.1]}
    path.write_text(json.dumps(result))
    assert load("walk") == result
    path.write_bytes(damage(result).encode("latin-1"))
    for call in (lambda: load("walk"), check):
        with pytest.raises(CorruptEvidenceError, match=r"walk\.json: .*evidence run walk"):
            call()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[contract", r"contracts\.toml: no list of contracts"),
        ("", r"contracts\.toml: .*'contract'"),
        ("contract = 3", r"contracts\.toml"),
        ('contract = ["a"]', r"contracts\.toml"),
        ("\x00\xff", r"contracts\.toml"),
        (CONTRACT + CONTRACT, r"contracts\.toml: two contracts have one id"),
        (CONTRACT.replace("seeds = 6\n", ""), r"contracts\.toml: .*seeds"),
        (CONTRACT + 'colour = "red"', r"contracts\.toml: .*colour"),
        (CONTRACT.replace("seeds = 6", "seeds = 0"), r"contract walk: seeds = 0: must be a whole"),
        (CONTRACT.replace("= 1.0", '= "high"'), r"contract walk: threshold = 'high'"),
        (CONTRACT.replace('"mean"', '"mode"'), r"statistic = 'mode': must be one of iqm"),
        (CONTRACT.replace('"<="', '"<"'), r"comparison = '<': must be one of >="),
        (
            CONTRACT.replace("random_walk_error", "luck"),
            r"measure = 'tabular.luck': must be one of",
        ),
        (CONTRACT + 'options = { bug = "x" }', r"bug = 'x': must be one of"),
    ],
)
def test_a_damaged_list_of_contracts(shelf: Path, text: str, message: str) -> None:
    (shelf / "contracts.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptEvidenceError, match=message):
        contracts()


def test_no_list_of_contracts_at_all(shelf: Path) -> None:
    (shelf / "contracts.toml").unlink()
    with pytest.raises(CorruptEvidenceError, match=r"contracts\.toml: .*No such file"):
        check()


# --- the book's own -------------------------------------------------------------------------------


def test_the_books_contracts_can_be_measured() -> None:
    """Settings that a config does not know would fail only after an hour."""
    from rlcourse.algorithms import (
        bandits,
        dqn,
        ippo,
        iql,
        linear,
        matrix_games,
        planner,
        prediction,
        rainbow,
        self_play,
        tabular,
    )
    from rlcourse.recommender import actor_critic

    agents = pytest.importorskip("rlcourse.atari.agents")
    for contract in contracts().values():
        measured, name = contract.measure.split(".")
        if name in ("random_return", "rule_return"):
            assert contract.config.keys() <= {"env_id", "env_options"}
            continue
        if name == "random_success":
            assert contract.config.keys() == {"moves"}
            continue
        if measured == "games":
            learner = matrix_games if name == "climbed" else self_play
            learner.Config(**contract.config)
            continue
        if measured == "atari":
            if name != "player_score":
                agents.AGENTS[contract.options["algorithm"]][1](**contract.config)
            else:
                assert contract.config.keys() == {"player"}
            continue
        if measured == "recommender":
            if name == "learned":
                actor_critic.Config(**contract.config)
            continue
        if measured == "agents":
            if name == "learned_return":
                teams = {"ippo": ippo, "iql": iql}
                teams[contract.options["algorithm"]].Config(**contract.config)
            continue
        if measured in ("policies", "choosing"):
            learner = importlib.import_module(f"rlcourse.algorithms.{name.split('_')[0]}")
            learner.Config(**contract.config)
            continue
        kind: Any = {
            "tabular": prediction if "episodes" in contract.config else tabular,
            "linear": linear,
            "bandits": bandits,
            "rewards": tabular,
            "mazes": tabular if name == "table_steps" else planner,
            "deep": rainbow if contract.options.get("algorithm") == "rainbow" else dqn,
        }.get(measured)
        if kind is None:
            assert measured == "stored" and contract.options["of"] in contracts()
        else:
            kind.Config(**contract.config)
        assert contract.claim and contract.oracle  # and seeds: tests/book/test_contracts.py


def test_stored_statistics_follow_from_stored_scores() -> None:
    """A number on a page is the statistic of the scores beside it, and of nothing else."""
    for contract in contracts().values():
        if not (evidence.folder() / "results" / f"{contract.id}.json").exists():
            continue
        result = load(contract.id)
        value, ends = summary(contract, result["scores"])
        assert result["statistic"] == pytest.approx(value, rel=1e-4, abs=1e-9), contract.id
        assert result["interval"] == pytest.approx(list(ends), rel=1e-4, abs=1e-9), contract.id


def test_a_table_beside_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as fast is 2.00, whatever the seconds; a task that nobody has measured is named."""
    monkeypatch.setenv("RLCOURSE_EVIDENCE", str(tmp_path))
    with pytest.raises(InvalidArgumentError, match=r"task = 'Walk': must be .*make bench"):
        library_table("Walk")
    measured = {
        "steps": 1000,
        "machine": "a machine",
        "limits": {"stepping only": 5000.0},
        "seconds": {"Stable-Baselines3": [4.0, 10.0, 8.0], "rlcourse": [2.0, 5.0, 4.0]},
        "finals": {"Stable-Baselines3": [1.0, 1.0, 1.0], "rlcourse": [7.0, 7.0, 7.0]},
        "reached": {"Stable-Baselines3": [None, None, None], "rlcourse": [1.0, None, 3.0]},
    }
    (tmp_path / "libraries.json").write_text(json.dumps({"Walk": measured}))
    theirs, ours, limits = library_table("Walk").splitlines()[2:]
    assert theirs.split() == [
        "Stable-Baselines3",
        "125",
        "1.00",
        "0/3",
        "never",
        "1",
        "[1,",
        "1],",
        "1",
    ]
    assert ours.split() == ["rlcourse", "250", "2.00", "2/3", "2", "s", "7", "[7,", "7],", "7"]
    assert limits == "limits of ours: 5,000 steps/s with stepping only"
    with pytest.raises(InvalidArgumentError, match="must be one of Walk"):
        library_table("Run")
