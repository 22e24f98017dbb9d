"""The page as a file: what goes in, that nothing in it can run, and that a wrong file leaves nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bs4 import BeautifulSoup

from rlcourse.cli import main
from rlcourse.errors import CorruptResultsError, CourseError, InvalidArgumentError
from rlcourse.playground import dashboard
from rlcourse.playground.dashboard import difference, page, write_dashboard
from rlcourse.playground.results import Episode, Pair, Problem, Results, write

VERSIONS = dict.fromkeys(("rlcourse", "gymnasium", "numpy"), "1")
NASTY = "</script><script>alert(1)</script><!--\u2028{{vega}}"


@pytest.fixture(autouse=True)
def without_vega(monkeypatch: pytest.MonkeyPatch) -> None:
    """The charts are looked at in the browser; here something short stands for them."""
    monkeypatch.setattr(dashboard, "_vega", lambda: "window.vegaEmbed = 0;")


def results(returns: Any, policy: str = "p", seed: int = 0, first: int = 0) -> Results:
    episodes = [Episode(first + i, float(x), 3, True, False) for i, x in enumerate(returns)]
    problems = [Problem(policy, None, policy)]
    pair = Pair(policy, policy, episodes)
    return Results(["W"], [policy], 3, seed, [pair], problems, True, VERSIONS)


def parsed(text: str) -> Any:
    return BeautifulSoup(text, "html.parser")


def test_text_of_a_file_stays_data() -> None:
    soup = parsed(page({NASTY: results([1, 2, 3], NASTY)}))
    scripts = soup.find_all("script")
    assert [script.get("type") for script in scripts] == ["application/json", None, None]
    data = json.loads(scripts[0].string)
    assert data["pairs"][0]["policy"] == data["runs"][0]["name"] == NASTY
    assert not set("<>&\u2028") & set(scripts[0].string)
    assert NASTY in soup.find("noscript").get_text()
    assert not soup.find("noscript").find("script")


def test_the_page_may_run_its_own_two_scripts_and_load_nothing() -> None:
    soup = parsed(page({"r": results([1, 2, 3])}))
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    own = [
        "'sha256-" + base64.b64encode(hashlib.sha256(s.string.encode()).digest()).decode() + "'"
        for s in soup.find_all("script")[1:]
    ]
    assert rules["script-src"].split() == own and rules["default-src"] == "'none'"
    assert "connect-src" not in rules and "unsafe-eval" not in policy
    assert not soup.select("[src], link, iframe, object, [onclick], [onload], [onerror]")


def test_the_script_puts_no_text_into_markup() -> None:
    script = Path(dashboard.__file__).with_name("dashboard.js").read_text("utf-8")
    forbidden = "innerHTML|outerHTML|insertAdjacent|document.write|eval|Function|setTimeout\\(['\"]"
    assert not re.findall(forbidden, script)


def test_the_numbers_of_the_page_are_the_files() -> None:
    runs = {"a": results([1, 2, 6]), "b": results([4.25, 5], seed=1, first=50)}
    data = json.loads(parsed(page(runs)).find(id="data").string)
    first, second = data["pairs"]
    assert first["episodes"] == [[0, 1.0, 3, 1, 0], [1, 2.0, 3, 1, 0], [2, 6.0, 3, 1, 0]]
    assert first["summary"]["mean"] == 3.0 and second["summary"]["mean"] == 4.625
    [[i, j, value, low, high, shared]] = data["differences"]
    assert (i, j, value, shared) == (0, 1, 3.0 - 4.625, 0) and low < value < high
    assert [run["seed"] for run in data["runs"]] == [0, 1]


def test_differences_have_the_intervals_of_the_textbook() -> None:
    """Normal returns: 1.96 standard errors, of the differences where the seeds are shared."""
    rng = np.random.default_rng(1)
    start, noise = rng.normal(0, 10, 400), rng.normal(1, 1, 400)
    [easy], [hard] = results(start + noise).pairs, results(start).pairs
    [other] = results(start, first=1000).pairs
    paired, shared = difference(easy, hard)
    mean, error = noise.mean(), 1.96 * noise.std(ddof=1) / 20
    assert shared == 400
    np.testing.assert_allclose(paired, [mean, mean - error, mean + error], atol=0.02)
    apart, shared = difference(easy, other)
    error = 1.96 * ((start + noise).var(ddof=1) / 400 + start.var(ddof=1) / 400) ** 0.5
    assert shared == 0
    np.testing.assert_allclose(apart, [mean, mean - error, mean + error], atol=0.1)


def test_an_interrupted_run_is_compared_on_what_it_finished() -> None:
    [whole], [cut] = results([1, 2, 3, 4]).pairs, results([0, 1]).pairs
    interval, shared = difference(whole, cut)
    assert tuple(interval) == (1.0, 1.0, 1.0) and shared == 2


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "r.json" for folder in "abc"]
    for path in paths:
        path.parent.mkdir()
        write(results([1, 2]), path)
    out = tmp_path / "page.html"
    write_dashboard(paths, out)
    first = out.read_bytes()
    data = json.loads(parsed(first.decode()).find(id="data").string)
    assert [run["name"] for run in data["runs"]] == ["r", "r 2", "r 3"]
    write_dashboard(paths, out)
    assert out.read_bytes() == first


def test_a_file_of_a_run_without_episodes_makes_a_page() -> None:
    nothing = Results(["W"], ["p"], 3, 0, [], [Problem("W", None, "missing")], False, VERSIONS)
    data = json.loads(parsed(page({"r": nothing})).find(id="data").string)
    assert data["pairs"] == [] and data["runs"][0]["problems"][0]["message"] == "missing"


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ("page.html", CorruptResultsError, "broken.json: no JSON"),
        ("page.txt", InvalidArgumentError, "must end in .html"),
        ("no/page.html", InvalidArgumentError, "lie in a folder that exists"),
    ],
)
def test_a_wrong_file_leaves_nothing(
    tmp_path: Path, out: str, error: type[Exception], message: str
) -> None:
    write(results([1]), tmp_path / "good.json")
    (tmp_path / "broken.json").write_text("{")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        write_dashboard([tmp_path / "good.json", tmp_path / "broken.json"], tmp_path / out)
    with pytest.raises(InvalidArgumentError, match="name at least one"):
        write_dashboard([], tmp_path / "page.html")
    assert sorted(tmp_path.iterdir()) == before


def test_without_vega_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    dashboard._vega.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    write(results([1]), tmp_path / "r.json")
    with pytest.raises(CourseError, match=r'pip install "rlcourse\[playground\]"'):
        write_dashboard([tmp_path / "r.json"], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_typed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(results([1, 2]), Path("a.json"))
    Path("old.json").write_text('{"format": "rlcourse-playground", "version": 0}')
    monkeypatch.setattr("sys.argv", ["rlcourse", "playground", "dashboard", "a.json"])
    main()
    assert "dashboard.html: " in capsys.readouterr().out and Path("dashboard.html").exists()
    words = ["rlcourse", "playground", "dashboard", "a.json", "old.json", "--out", "b.html"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as leaving:
        main()
    complaint = capsys.readouterr().err
    assert leaving.value.code == 2 and not Path("b.html").exists()
    assert complaint.count("\n") == 1 and "old.json: of version 0; this package reads" in complaint
