"""The file of results: what is written is read, the schema and the reader agree, and a wrong file says where."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcourse.errors import CorruptResultsError, InvalidArgumentError
from rlcourse.playground import results as module
from rlcourse.playground.results import (
    Episode,
    Pair,
    Recording,
    Results,
    fault,
    read,
    schema,
    short,
    summarise,
    table,
    write,
)
from rlcourse.playground.run import run

VALIDATOR = jsonschema.Draft202012Validator(schema())


@pytest.fixture(scope="module")
def played() -> Results:
    """Numbers, texts, a problem."""
    return run(["CartPole-v1", "FrozenLake-v1"], ["random", "heuristic"], episodes=3)


@pytest.fixture(scope="module")
def content(played: Results, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("results") / "r.json"
    write(played, path)
    return json.loads(path.read_text("utf-8"))


def test_what_is_written_is_read_again(played: Results, tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    write(played, first)
    again = read(first)
    assert [pair.episodes for pair in again.pairs] == [pair.episodes for pair in played.pairs]
    assert again.problems == played.problems and again.made_with == played.made_with
    write(again, second)
    assert first.read_bytes() == second.read_bytes()


def test_the_schema_is_one_and_the_file_follows_it(content: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    VALIDATOR.validate(content)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value; of a long list the first two."""
    inner = dict(enumerate(value[:2])) if isinstance(value, list) else value
    if not isinstance(inner, dict):
        return [path]
    return [path, *(place for key, item in inner.items() for place in places(item, (*path, key)))]


ANYTHING: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**53, -(10**101), 10**101]),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer()),
    st.text(max_size=3),
    st.just([]),
    st.just([1.5]),
    st.just([[]]),
    st.just(["x"]),
    st.just({}),
    st.just({"seed": 1}),
)


@pytest.fixture(scope="module")
def small(content: Any) -> Any:
    """Of each list the first two: the validator is slow."""
    new = deepcopy(content)
    for pair in new["pairs"]:
        del pair["episodes"][2:], pair["recordings"][1:]
        for recording in pair["recordings"]:
            for name in ("steps", "frames", "gained", "actions"):
                del recording[name][2:]
    return new


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_the_reader_refuses_what_the_schema_refuses(small: Any, data: st.DataObject) -> None:
    """Some value anywhere, replaced, removed or added: judged by another implementation of JSON schema."""
    broken = deepcopy(small)
    place = data.draw(st.sampled_from(places(small)[1:]))
    parent = broken
    for key in place[:-1]:
        parent = parent[key]
    change = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if change == "replace":
        parent[place[-1]] = data.draw(ANYTHING)
    elif change == "remove":
        del parent[place[-1]]
    elif isinstance(parent, dict):
        parent["extra"] = data.draw(ANYTHING)
    else:
        parent.append(data.draw(ANYTHING))
    found = fault(broken, schema())
    assert (found is None) == VALIDATOR.is_valid(broken), (place, change, found)


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "r.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def changed(content: Any, *place: Any, to: Any) -> Any:
    new = deepcopy(content)
    parent = new
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = to
    return new


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("pairs", 0, "episodes", 1, "return"), "12", r"pairs\[0\]\.episodes\[1\]\.return: must be a number"),
        (("pairs", 0, "episodes", 1, "return"), True, "must be a number, is True"),
        (("pairs", 0, "episodes", 1, "length"), 0, r"length: must lie in \[1, "),
        (("pairs", 0, "episodes", 1, "length"), 3.5, "must be a whole number, is 3.5"),
        (("pairs", 0, "episodes", 0, "terminated"), 1, "must be true or false, is 1"),
        (("pairs", 0, "episodes", 0), {"seed": 1}, "lacks 'return'"),
        (("pairs", 0, "episodes"), [], "must have 1 to inf entries, has 0"),
        (("pairs", 0, "policy"), "x" * 301, "must have 1 to 300 entries, has 301"),
        (("pairs", 0, "policy"), "\ud800", "must be text"),
        (("pairs", 0, "policy"), "heuristic", "heuristic in CartPole-v1 a second time"),
        (("pairs", 0, "recordings", 0, "episode"), 3, "there is no episode 3"),
        (("pairs", 0, "recordings", 0, "steps", 1), 0, "steps: must increase"),
        (("pairs", 0, "recordings", 0, "gained"), [], "differ in length"),
        (("pairs", 0, "recordings", 0, "frames", 0), [1, "x"], r"frames\[0\]\[1\]: must be a number"),
        (("settings", "seed"), -1, r"settings\.seed: must lie in \[0"),
        (("made_with",), None, "made_with: must be an object, is None"),
        (("surprise",), 1, "has 'surprise', which no results have"),
        (("problems", 0, "policy"), 3, r"problems\[0\]\.policy: must be"),
        (("version",), 0, r"of version 0; this package reads version 1"),
        (("version",), "1", r"of version '1'; this package reads version 1"),
        (("version",), True, "of version True"),
        (("format",), "something else", "no results of rlcourse playground run"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_place(
    content: Any, tmp_path: Path, place: tuple[Any, ...], value: Any, message: str
) -> None:
    path = written(tmp_path, changed(content, *place, to=value))
    with pytest.raises(CorruptResultsError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_episode_that_never_ended_is_refused(content: Any, tmp_path: Path) -> None:
    new = changed(content, "pairs", 1, "episodes", 2, "terminated", to=False)
    new["pairs"][1]["episodes"][2]["truncated"] = False
    with pytest.raises(CorruptResultsError, match=r"pairs\[1\]\.episodes\[2\]: neither"):
        read(written(tmp_path, new))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": -Infinity}', "-Infinity is no number of JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"a": ' + "9" * 10_000 + "}", "no JSON"),
        ("[]", "no results of rlcourse playground run"),
        ("null", "no results of rlcourse playground run"),
        ("<html>", "no JSON"),
    ],
)
def test_what_is_no_json_says_so(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CorruptResultsError, match=message):
        read(written(tmp_path, text))


def test_a_number_too_large_for_a_float_is_refused(content: Any, tmp_path: Path) -> None:
    text = json.dumps(changed(content, "pairs", 0, "episodes", 0, "return", to=12345.678))
    with pytest.raises(CorruptResultsError, match=r"return: must lie in \[-1e\+100, 1e\+100\]"):
        read(written(tmp_path, text.replace("12345.678", "1e999")))


def test_no_file_a_folder_and_no_unicode(tmp_path: Path) -> None:
    with pytest.raises(CorruptResultsError, match="cannot be read"):
        read(tmp_path / "nothing.json")
    with pytest.raises(CorruptResultsError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"format": "\xe9"}')
    with pytest.raises(CorruptResultsError, match="no JSON"):
        read(tmp_path / "latin.json")


def test_an_endless_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 10)
    with pytest.raises(CorruptResultsError, match="larger than"):
        read(written(tmp_path, "[" * 11))


def a_pair(returns: Any, policy: str = "p") -> Pair:
    return Pair(
        "W", policy, [Episode(i, float(x), 2 + i, True, False) for i, x in enumerate(returns)]
    )


def test_a_summary_is_what_the_textbook_says() -> None:
    """The interval of a mean of many: 1.96 standard errors to either side."""
    returns = np.random.default_rng(0).normal(3.0, 2.0, 900)
    summary = summarise(a_pair(returns))
    error = 1.96 * returns.std(ddof=1) / 30
    np.testing.assert_allclose(
        [summary.mean, summary.low, summary.high],
        [returns.mean(), returns.mean() - error, returns.mean() + error],
        atol=0.02,
    )
    middle = np.sort(returns)[225:675]
    assert summary.iqm == pytest.approx(middle.mean())
    assert (summary.best, summary.worst) == (returns.max(), returns.min())
    assert summary.length == pytest.approx(2 + 899 / 2)


def test_the_table_is_aligned() -> None:
    pairs = [a_pair([1, 2, 3]), a_pair([-1e4, 2e5], "a long policy")]
    results = Results([], [], 3, 0, pairs, [], True, {})
    lines = table(results, {("W", "p"): 1234.5, ("W", "a long policy"): 1}).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].endswith("steps/s") and lines[1].endswith("  1,234")
    names = zip(lines, ("policy", "p", "a long"), strict=True)
    assert [line.index(name) for line, name in names] == [13] * 3


@given(st.floats(-1e100, 1e100))
def test_a_short_number_is_right_to_four_digits(x: float) -> None:
    assert float(short(x)) == pytest.approx(x, rel=5.01e-4, abs=0)
    assert len(short(x).lstrip("-").replace(".", "").split("e")[0].strip("0")) <= 4


@pytest.mark.parametrize(
    ("episode", "message"),
    [
        (
            Episode(0, float("nan"), 1, True, False),
            r"pairs\[0\]\.episodes\[0\]\.return: must lie in",
        ),
        (Episode(-1, 0.0, 1, True, False), r"episodes\[0\]\.seed: must lie in"),
    ],
)
def test_what_no_reader_would_take_is_not_written(
    tmp_path: Path, episode: Episode, message: str
) -> None:
    versions = dict.fromkeys(("rlcourse", "gymnasium", "numpy"), "1")
    wrong = Results(["W"], ["p"], 1, 0, [Pair("W", "p", [episode])], [], True, versions)
    with pytest.raises(InvalidArgumentError, match=message):
        write(wrong, tmp_path / "r.json")
    assert not list(tmp_path.iterdir())


def test_a_recordings_text_survives_the_file(tmp_path: Path) -> None:
    text = "é\x1b[41mS\x1b[0m\u2028</script>"
    recording = Recording(0, [0, 1], [text, text], [0.0, 1.0], [1, None])
    pair = Pair("W", "p", [Episode(0, 1.0, 1, True, False)], [recording])
    versions = dict.fromkeys(("rlcourse", "gymnasium", "numpy"), "1")
    write(Results(["W"], ["p"], 1, 0, [pair], [], True, versions), tmp_path / "r.json")
    assert read(tmp_path / "r.json").pairs[0].recordings[0].frames == [text, text]


def test_what_does_not_belong_together_is_not_written(
    played: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = played.pairs[0]
    [first, *_] = pair.recordings
    path = tmp_path / "r.json"
    for pairs, message in (
        ([pair, pair], "a second time"),
        ([replace(pair, recordings=[replace(first, episode=3)])], "there is no episode 3"),
        ([replace(pair, recordings=[replace(first, steps=[0])])], "differ in length"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            write(replace(played, pairs=pairs), path)
    monkeypatch.setattr(module, "LARGEST", 1000)
    with pytest.raises(InvalidArgumentError, match="must fit into"):
        write(played, path)
    assert [*tmp_path.iterdir()] == []
