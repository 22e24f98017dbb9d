"""The playground's page in a real browser: read back, sorted, chosen, replayed, and attacked.

What the page says is compared with the file of results, not with the code that made the page.
Screenshots stay in `_build/screenshots`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from scipy.stats import trim_mean

from rlcourse.playground.dashboard import write_dashboard
from rlcourse.playground.results import Episode, Pair, Problem, Recording, Results, write
from rlcourse.playground.run import run

pytest.importorskip("vl_convert", reason='needs pip install "rlcourse[playground]"')

SCREENSHOTS = Path(__file__).resolve().parents[2] / "_build" / "screenshots"
WORLDS = ("CartPole-v1", "MountainCar-v0", "FrozenLake-v1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of other seeds, and their page."""
    folder = tmp_path_factory.mktemp("dashboard")
    write(run(WORLDS, ["random", "heuristic"], episodes=20), folder / "one.json")
    write(run(WORLDS[:2], ["heuristic"], episodes=8, seed=1), folder / "two.json")
    write_dashboard([folder / "one.json"], folder / "one.html")
    write_dashboard([folder / "one.json", folder / "two.json"], folder / "both.html")
    return folder


@pytest.fixture(scope="module")
def content(folder: Path) -> Any:
    return json.loads((folder / "one.json").read_text("utf-8"))


def show(tab: Any, path: Path) -> Any:
    tab.page.goto(path.as_uri())
    tab.page.locator("#order canvas, #order svg").wait_for()
    return tab.page


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def rows(page: Any, table: str) -> list[list[str]]:
    found: list[list[str]] = page.eval_on_selector_all(
        f"#{table} tbody tr", "rows => rows.map(r => [...r.cells].map(c => c.textContent))"
    )
    return found


def facts(page: Any, where: str) -> dict[str, str]:
    pairs = page.eval_on_selector_all(
        f"#{where} div",
        "all => all.map(d => [d.children[0].textContent, d.children[1].textContent])",
    )
    return dict(pairs)


def pair_of(content: Any, environment: str, policy: str) -> Any:
    return next(
        p for p in content["pairs"] if (p["environment"], p["policy"]) == (environment, policy)
    )


def test_the_table_says_what_the_file_says(folder: Path, content: Any, tab: Any) -> None:
    page = show(tab, folder / "one.html")
    found = rows(page, "numbers")
    assert len(found) == len(content["pairs"]) == 5
    for environment, policy, mean, interval, iqm, best, worst, length, episodes in found:
        played = pair_of(content, environment, policy)["episodes"]
        returns = [episode["return"] for episode in played]
        expected = [fmean(returns), trim_mean(returns, 0.25), max(returns), min(returns)]
        expected.append(fmean(episode["length"] for episode in played))
        shown = [number(text) for text in (mean, iqm, best, worst, length)]
        np.testing.assert_allclose(shown, expected, rtol=5.01e-4)
        low, high = map(number, interval.strip("[]").split(", "))
        error = 1.96 * np.std(returns, ddof=1) / len(returns) ** 0.5
        assert low <= shown[0] <= high and high - low <= 2.6 * error + 1e-9
        assert number(episodes) == 20
    chips = facts(page, "chips")
    steps = sum(e["length"] for pair in content["pairs"] for e in pair["episodes"])
    assert chips == {
        "environments": "3",
        "policies": "2",
        "episodes": "100",
        "steps": f"{steps:,}",
    }
    problem = page.locator("#problems").inner_text()
    assert "1 was not played" in problem and content["problems"][0]["message"] in problem
    assert tab.troubles() == {}


def test_the_table_is_sorted_by_click_and_by_key(folder: Path, tab: Any) -> None:
    page = show(tab, folder / "one.html")

    def column(index: int) -> list[str]:
        return [row[index] for row in rows(page, "numbers")]

    head = page.locator("#numbers th[data-key=mean]")
    head.locator("button").click()
    means = [number(text) for text in column(2)]
    assert means == sorted(means, reverse=True) and len({*means}) > 3
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")  # the button still has the focus
    assert [number(text) for text in column(2)] == means[::-1]
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert column(1) == sorted(column(1))
    assert page.locator("#numbers th[aria-sort]").count() == 1
    assert tab.troubles() == {}


def test_an_episode_is_chosen_in_four_ways(folder: Path, content: Any, tab: Any) -> None:
    page = show(tab, folder / "one.html")

    def check(environment: str, policy: str, place: int) -> None:
        played = pair_of(content, environment, policy)["episodes"]
        episode = played[place]
        assert page.locator("#one-head").inner_text() == f"One episode in {environment}"
        told = facts(page, "facts")
        assert number(told["return"]) == pytest.approx(episode["return"], rel=5.01e-4)
        assert number(told["steps"]) == episode["length"] and told["seed"] == str(episode["seed"])
        assert told["ended by"] == ("the world" if episode["terminated"] else "the time limit")
        better = sum(other["return"] > episode["return"] for other in played)
        assert told["rank"] == f"{better + 1} of 20"
        siblings = {row[0]: number(row[1]) for row in rows(page, "siblings")}
        assert siblings[policy] == pytest.approx(episode["return"], rel=5.01e-4)
        for other in content["pairs"]:
            if other["environment"] == environment:
                same = other["episodes"][place]
                assert same["seed"] == episode["seed"]
                assert siblings[other["policy"]] == pytest.approx(same["return"], rel=5.01e-4)

    check("CartPole-v1", "random", 0)
    page.locator("#worlds .card", has_text="MountainCar-v0").click()  # its card
    check("MountainCar-v0", "random", 0)
    line = page.locator("#numbers tr", has_text="CartPole-v1").filter(has_text="heuristic")
    line.get_by_role("button").press("Enter")  # its row
    check("CartPole-v1", "heuristic", 0)
    assert "chosen" in str(line.get_attribute("class"))
    page.locator("#number").fill("13")  # its number
    page.locator("#number").press("Enter")
    check("CartPole-v1", "heuristic", 12)
    page.locator("#before").click()
    check("CartPole-v1", "heuristic", 11)
    page.locator("#number").fill("999")
    page.locator("#number").press("Enter")
    check("CartPole-v1", "heuristic", 19)
    assert page.locator("#after").is_disabled()
    assert tab.troubles() == {}


def test_a_point_of_a_chart_is_clicked(folder: Path, content: Any, tab: Any) -> None:
    page = show(tab, folder / "one.html")
    returns = [e["return"] for e in pair_of(content, "CartPole-v1", "heuristic")["episodes"]]
    lowest = int(np.argmin(returns))  # far from all other points
    points = page.locator("#order .mark-symbol path")
    assert points.count() == 40
    points.nth(20 + lowest).hover(force=True)
    tip = page.locator("#tip").inner_text()
    assert (
        tip.startswith("heuristic") and f"episode {lowest + 1}: return {returns[lowest]:g}" in tip
    )
    points.nth(20 + lowest).click(force=True)
    assert page.locator("#number").input_value() == str(lowest + 1)
    assert page.locator("#pair option:checked").inner_text() == "heuristic"
    assert number(facts(page, "facts")["return"]) == returns[lowest]
    assert tab.troubles() == {}


def test_a_recording_is_replayed(folder: Path, content: Any, tab: Any) -> None:
    page = show(tab, folder / "one.html")
    page.locator("#numbers tr", has_text="MountainCar-v0").filter(has_text="heuristic").click()
    recording = pair_of(content, "MountainCar-v0", "heuristic")["recordings"][0]
    pushes = ["push left", "coast", "push right"]

    def check(moment: int) -> None:
        state = facts(page, "state")
        assert number(state["step"]) == recording["steps"][moment]
        assert number(state["return so far"]) == recording["gained"][moment]
        action = recording["actions"][moment]
        assert state["next"] == ("the end" if action is None else pushes[action])
        shown = [number(state["position"]), number(state["velocity"])]
        np.testing.assert_allclose(shown, recording["frames"][moment], atol=5.1e-4)

    def picture() -> str:
        return str(page.evaluate("() => document.getElementById('stage').toDataURL()"))

    check(0)
    first = picture()
    page.locator("#forth").click()
    check(1)
    page.locator("#moment").focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    check(31)
    assert picture() != first
    page.keyboard.press("End")
    check(len(recording["steps"]) - 1)
    assert page.locator("#forth").is_disabled()
    page.locator("#play").click()  # from the beginning again; calmly, since motion is to be reduced
    page.wait_for_function("() => Number(document.getElementById('moment').value) === 1")
    assert page.locator("#play").inner_text() == "Pause"
    page.locator("#play").click()
    assert page.locator("#play").inner_text() == "Play"
    check(int(page.locator("#moment").input_value()))
    page.locator("#number").fill("9")
    page.locator("#number").press("Enter")
    assert not page.locator("#replay").is_visible()
    assert "there is one of episode 1, 2, 3" in page.locator("#unrecorded").inner_text()
    assert tab.troubles() == {}


def test_a_world_of_text_is_replayed_in_text(folder: Path, content: Any, tab: Any) -> None:
    page = show(tab, folder / "one.html")
    page.locator("#worlds .card", has_text="FrozenLake-v1").click()
    frames = pair_of(content, "FrozenLake-v1", "random")["recordings"][0]["frames"]
    for frame in frames[:3]:
        plain = re.sub("\x1b\\[\\d+m", "", frame)
        assert page.locator("#letters").inner_text() == plain
        marked = re.search("\x1b\\[41m(.)", frame)
        assert marked and page.locator("#letters .on").inner_text() == marked[1]
        page.locator("#forth").click()
    assert not page.locator("#stage").is_visible()
    assert tab.troubles() == {}


def test_runs_are_compared(folder: Path, content: Any, tab: Any) -> None:
    page = show(tab, folder / "both.html")
    assert facts(page, "chips")["runs"] == "2"
    other = json.loads((folder / "two.json").read_text("utf-8"))
    mean = {
        f"{policy} · {name}": fmean(
            episode["return"] for episode in pair_of(run, "CartPole-v1", policy)["episodes"]
        )
        for name, run, policy in (
            ("one", content, "random"),
            ("one", content, "heuristic"),
            ("two", other, "heuristic"),
        )
    }
    for reference in mean:
        page.locator("#reference").select_option(label=reference)
        found = {row[0]: row[1:] for row in rows(page, "differences")}
        assert found.keys() == mean.keys() - {reference}
        for label, (gap, interval, starts, verdict) in found.items():
            expected = mean[label] - mean[reference]
            assert number(gap.lstrip("+")) == pytest.approx(expected, rel=5.01e-4)
            low, high = map(number, interval.strip("[]").split(", "))
            assert low - 1e-3 <= expected <= high + 1e-3
            assert starts == (
                "20" if label.split(" · ")[1] == reference.split(" · ")[1] else "none"
            )
            assert verdict == ("higher" if low > 0 else "lower" if high < 0 else "cannot tell")
    page.locator("#gaps[aria-label^='Differences to heuristic · two: random · one −']").wait_for()
    assert tab.troubles() == {}


def violations(page: Any) -> list[str]:
    response = Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response
    return [
        f"{rule['id']}: {node['target']} {node['html'][:160]}"
        for rule in response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def test_light_dark_and_on_a_phone(folder: Path, tab: Any) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = show(tab, folder / "both.html")
    for theme in ("light", "dark"):
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        assert violations(page) == []
        page.screenshot(path=SCREENSHOTS / f"dashboard-{theme}.png", full_page=True)
        page.locator("#theme").click()
    for theme in ("dark", "light"):  # the system changes its mind
        page.emulate_media(color_scheme=theme)
        page.locator(f"html[data-theme={theme}]").wait_for()
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("() => document.querySelector('#order svg')?.clientWidth < 390")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page) == []
    page.screenshot(path=SCREENSHOTS / "dashboard-phone.png", full_page=True)
    for chart in ("spread", "order", "gaps"):
        assert len(page.locator(f"#{chart}").get_attribute("aria-label").split()) > 8
    assert tab.troubles() == {}


HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    '<img src=x onerror="window.hacked = 1">',
    "<!--<script>window.hacked = 1//",
    "{{data}} \u2028 window.hacked = 1",
    "__proto__",
    "javascript:window.hacked = 1",
    'x"];window.hacked = 1;//',
    "datum.gain'+alert(1)+'",
)


def test_text_from_a_stranger_does_nothing_but_be_read(tmp_path: Path, tab: Any) -> None:
    episodes = [Episode(i, float(i), 3, True, False) for i in range(4)]
    frames = [f"{text}\x1b[41m<b>x</b>\x1b[0m" for text in HOSTILE]
    moments = list(range(len(frames)))
    recording = Recording(0, moments, frames, moments, [*moments[1:], None])
    pairs = [Pair(text, policy, episodes, [recording]) for text in HOSTILE for policy in HOSTILE]
    problems = [Problem(text, text, text) for text in HOSTILE]
    versions = dict.fromkeys(("rlcourse", "gymnasium", "numpy"), HOSTILE[0])
    path = tmp_path / "<img src=x onerror=hacked=1>.json"
    write(Results(HOSTILE, HOSTILE, 4, 0, pairs, problems, True, versions), path)
    write_dashboard([path], tmp_path / "page.html")
    page = show(tab, tmp_path / "page.html")
    for text in HOSTILE:
        page.locator("#worlds .card").nth(HOSTILE.index(text)).click()
        assert page.locator("#world-head").text_content() == text
        page.locator("#order .mark-symbol path").first.hover(force=True)
        assert page.locator("#tip").text_content().startswith(HOSTILE)
        assert page.locator("#letters").text_content() == HOSTILE[0] + "<b>x</b>"
    assert [row[1] for row in rows(page, "numbers")][: len(HOSTILE)] == list(HOSTILE)
    assert page.locator("img, #letters b").count() == 0
    assert page.evaluate("window.hacked") is None
    assert tab.troubles() == {}


def test_a_stranger_under_a_known_name_breaks_nothing(tmp_path: Path, tab: Any) -> None:
    """Recordings that are not of the world whose name they bear."""
    versions = dict.fromkeys(("rlcourse", "gymnasium", "numpy"), "1")
    strange: tuple[Any, ...] = ([[1.0]] * 2, [[1e99, -1e99, 3, 4], [5]], [[0.0] * 64] * 2, ["", ""])
    pairs = [
        Pair(world, str(i), [Episode(0, 1.0, 1, True, False)], [Recording(0, [0, 9], frames, [0, 1], [[], -7.5])])
        for world in ("CartPole-v1", "Pendulum-v1", "LunarLander-v3", "FrozenLake-v1")
        for i, frames in enumerate(strange)
    ]  # fmt: skip
    write(Results(["W"], ["p"], 1, 0, pairs, [], True, versions), tmp_path / "r.json")
    write_dashboard([tmp_path / "r.json"], tmp_path / "page.html")
    page = show(tab, tmp_path / "page.html")
    for line in page.locator("#numbers tbody tr").all():
        line.click()
        page.locator("#forth").click()
        assert facts(page, "state")["step"] == "9"
    assert tab.troubles() == {}


def test_a_thousand_episodes(tmp_path: Path, tab: Any) -> None:
    rng = np.random.default_rng(0)
    pairs = [
        Pair(world, policy, [Episode(i, float(x), 200, True, False) for i, x in enumerate(returns)])
        for world in ("A", "B")
        for policy, returns in zip(("p", "q"), rng.normal(0, 9, (2, 1000)), strict=True)
    ]
    versions = dict.fromkeys(("rlcourse", "gymnasium", "numpy"), "1")
    write(Results("AB", "pq", 1000, 0, pairs, [], True, versions), tmp_path / "r.json")
    write_dashboard([tmp_path / "r.json"], tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 2e6
    page = show(tab, tmp_path / "page.html")
    page.locator("#number").fill("1000")
    page.locator("#number").press("Enter")
    assert number(facts(page, "facts")["return"]) == pytest.approx(
        pairs[0].episodes[-1].return_, rel=5.01e-4
    )
    assert page.locator("#of").inner_text() == "of 1,000" and page.locator("#after").is_disabled()
    assert number(rows(page, "numbers")[0][2]) == pytest.approx(
        fmean(e.return_ for e in pairs[0].episodes), rel=5.01e-4
    )
    assert tab.troubles() == {}


def test_a_run_without_episodes_is_no_blank_page(tmp_path: Path, tab: Any) -> None:
    versions = dict.fromkeys(("rlcourse", "gymnasium", "numpy"), "1")
    problem = Problem("LunarLander-v3", None, "needs what is not installed")
    path = tmp_path / "r.json"
    write(Results(["LunarLander-v3"], ["random"], 5, 0, [], [problem], False, versions), path)
    write_dashboard([path], tmp_path / "page.html")
    tab.page.goto((tmp_path / "page.html").as_uri())
    said = tab.page.locator("body").inner_text()
    assert "1 was not played" in said and "needs what is not installed" in said
    assert "stopped early" in said and "Compared" not in said
    assert tab.troubles() == {}
