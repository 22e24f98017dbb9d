"""The playgrounds in a real browser: their numbers against the package's, and every reader's way in.

The stand-alone pages are opened from the disk, as a lecturer would; no built site is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from test_site import PHONE, use_theme, violations

from rlcourse.algorithms import prediction, tabular
from rlcourse.algorithms.dynamic_programming import (
    evaluate,
    policy_evaluation,
    policy_iteration,
    value_iteration,
)
from rlcourse.envs.model import ModelEnv
from rlcourse.mdp import TabularMDP, grid
from rlcourse.plotting import COLOURS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "book" / "_static" / "playgrounds"
NAMES = sorted(page.stem for page in FOLDER.glob("*.html"))
SCREENSHOTS = ROOT / "_build" / "screenshots"
MOUNTED = "document.querySelector('.pg').playground"


@pytest.fixture
def play(tab: Any) -> Callable[[str], Any]:
    """Opens a stand-alone page from the disk and gives its tab's page."""

    def open_page(name: str) -> Any:
        tab.page.goto((FOLDER / f"{name}.html").as_uri())
        tab.page.wait_for_selector(".pg")
        return tab.page

    return open_page


def press(page: Any, label: str, times: int = 1) -> None:
    """A button, by keyboard."""
    found = page.get_by_role("button", name=label, exact=True).first
    for _ in range(times):
        found.focus()
        page.keyboard.press("Enter")


def state(page: Any) -> str:
    return str(page.locator(".pg-state").first.inner_text())


# --- the grid -------------------------------------------------------------------------------------

ISLAND = "S...H..G\n.##...#.\n.##.#...\n........"


def drawn_at_random(seed: int) -> tuple[str, dict[str, float], NDArray[np.float64]]:
    """A map, its settings, and rewards that lie on its squares."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(2, 7, size=2)
    cells = rng.choice(list("....#GH"), size=rows * columns)
    cells[:2] = "S", "G"
    text = "\n".join("".join(row) for row in cells.reshape(rows, columns))
    names = ("slip", "goal", "hole", "step")
    settings = dict(zip(names, rng.uniform([0, -1, -1, -1], 1).round(3).tolist(), strict=True))
    return text, settings, rng.normal(size=cells.size) * (rng.random(cells.size) < 0.3)


def with_rewards(mdp: TabularMDP, extra: NDArray[np.float64]) -> TabularMDP:
    """The same world, where arriving on a free square pays what lies there."""
    transition = np.stack(
        [[mdp.successors(s, a) for a in range(mdp.num_actions)] for s in range(mdp.num_states)]
    )
    transition[mdp.terminal] = np.eye(mdp.num_states)[mdp.terminal][:, None]
    paid = mdp.reward + mdp.expected_next(np.where(mdp.terminal, 0.0, extra))
    return TabularMDP(transition, paid, mdp.terminal, mdp.start)


STREAMS = """([text, settings, extra, gamma, count]) => {
  const { parse, model, valueIteration, policyEvaluation, policyIteration, A } = rlcourse.grid;
  const m = model(parse(text), { ...settings, extra });
  const take = (stream, n) => {
    const found = [];
    for (const item of stream) if (found.push(item) === n) break;
    return found;
  };
  const sweeps = (stream) => take(stream, count).map((x) => [[...x.values], x.error]);
  const P = m.next.map((row) => {
    const dense = new Array(m.S).fill(0);
    for (const [to, chance] of row) dense[to] += chance;
    return dense;
  });
  return {
    P, R: [...m.reward], start: m.start,
    values: sweeps(valueIteration(m, gamma)),
    evaluation: sweeps(policyEvaluation(m, gamma)),
    policy: take(policyIteration(m, gamma), 100).map((x) => [x.policy, [...x.values]]),
  };
}"""


@pytest.mark.parametrize("seed", range(12))
def test_the_grid_is_the_packages(seed: int, play: Callable[[str], Any]) -> None:
    """Model, every sweep with its proven error, and the optimum, on random maps."""
    text, settings, extra = drawn_at_random(seed)
    gamma = round(0.5 + 0.04 * seed, 2)  # up to 0.94
    found = play("grid").evaluate(STREAMS, [text, settings, extra.tolist(), gamma, 60])
    mdp = with_rewards(grid(text, **settings), extra)
    alive = ~mdp.terminal
    P = np.reshape(found["P"], (mdp.num_states, 4, mdp.num_states))
    R = np.reshape(found["R"], (mdp.num_states, 4))
    for s, a in np.ndindex(R.shape):
        assert_allclose(P[s, a], mdp.successors(s, a), atol=1e-15)
    assert_allclose(R[alive], mdp.reward[alive], atol=1e-12)
    assert found["start"] == np.flatnonzero(mdp.start).tolist()
    uniform = np.full((mdp.num_states, 4), 0.25)
    for name, stream in (
        ("values", value_iteration(mdp, gamma)),
        ("evaluation", policy_evaluation(mdp, uniform, gamma)),
    ):
        for (values, error), sweep in zip(found[name], islice(stream, 60), strict=True):
            assert_allclose(values, sweep.values, atol=1e-9)
            assert_allclose(error, sweep.error, atol=1e-9)
    *_, best = policy_iteration(mdp, gamma)
    policy, values = found["policy"][-1]
    assert_allclose(values, best.values, atol=1e-9)
    assert_allclose(evaluate(mdp, np.array(policy), gamma), best.values, atol=1e-9)


def test_a_discount_of_one_needs_a_way_out(play: Callable[[str], Any]) -> None:
    page = play("grid")
    found = page.evaluate(STREAMS, [ISLAND, {"slip": 0.2}, [0] * 32, 1, 5])["policy"]
    *_, best = policy_iteration(grid(ISLAND, slip=0.2), 1.0)
    assert_allclose(found[-1][1], best.values, atol=1e-9)
    # The start is walled in: no policy ends, the package raises, the page yields nothing.
    assert page.evaluate(STREAMS, ["S#G", {}, [0] * 3, 1, 5])["policy"] == []


FEED = """([kind, size, initial, transitions, alpha, gamma]) => {
  const table = new Float64Array(size).fill(initial);
  for (const [obs, action, reward, terminated, nextObs, nextAction] of transitions)
    rlcourse.grid.UPDATES[kind](
      table, { obs, action, reward, terminated, nextObs, nextAction }, alpha, gamma);
  return [...table];
}"""


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """Every step of a model environment, as [obs, action, reward, terminated, next_obs]."""
    steps: list[list[Any]] = []
    step = ModelEnv.step

    def listen(self: ModelEnv, action: int) -> Any:
        obs = self.state
        result = step(self, action)
        steps.append([obs, int(action), result[1], result[2], result[0]])
        return result

    monkeypatch.setattr(ModelEnv, "step", listen)
    return steps


WORLD = {"text": ISLAND, "slip": 0.3, "hole": -1.0, "step": -0.01}


@pytest.mark.parametrize("kind", ["sarsa", "qlearning"])
def test_control_learns_the_packages_table(
    kind: str, heard: list[list[Any]], play: Callable[[str], Any]
) -> None:
    """A real training run of the package, its transitions fed to the page, table against table."""
    target = tabular.sarsa if kind == "sarsa" else tabular.q_learning
    config = tabular.Config("rlcourse/Grid-v0", WORLD, steps=3000, alpha=0.3, epsilon_steps=2000)
    result = tabular.train(config, 1, target=target)
    # The action that comes next is the one of the step that follows; after an end none counts.
    follow = [step[1] for step in heard[1:]] + [0]
    steps = [[*step, after] for step, after in zip(heard, follow, strict=True)]
    cut = [i for i, step in enumerate(steps[:-1]) if not step[3] and steps[i + 1][0] != step[4]]
    assert not cut or kind == "qlearning", (
        "an episode hit its time limit: the action after it was not heard"
    )
    assert sum(step[3] for step in steps) > 50
    last = steps.pop()  # nor was the one after the last step
    found = play("grid").evaluate(FEED, [kind, 128, 0.0, steps, 0.3, config.gamma])
    expected = result.q.ravel().copy()
    entry = last[0] * 4 + last[1]
    assert_allclose(np.delete(found, entry), np.delete(expected, entry), atol=1e-9)
    assert abs(expected).max() > 0.3


def test_prediction_learns_the_packages_values(
    heard: list[list[Any]], play: Callable[[str], Any]
) -> None:
    config = prediction.Config("rlcourse/Grid-v0", WORLD, episodes=60, gamma=0.9, initial=0.0)
    result = prediction.train(config, 2)
    transitions = [[*step, 0] for step in heard]
    found = play("grid").evaluate(FEED, ["td", 32, 0.0, transitions, 0.1, 0.9])
    assert_allclose(found, result.values[-1], atol=1e-9)
    assert abs(result.values[-1]).max() > 0.3


def test_the_pages_walk_follows_the_model(play: Callable[[str], Any]) -> None:
    """How often each square follows another in the page's own experience: a chi-square of the counts."""
    counts = play("grid").evaluate(
        """(text) => {
          const { parse, model, walk, A } = rlcourse.grid;
          const m = model(parse(text), { slip: 0.3 });
          const table = new Float64Array(m.S * A);
          const settings = { alpha: 0, gamma: 1, epsilon: 1 };
          const counts = Array.from({ length: m.S * A }, () => new Array(m.S).fill(0));
          let n = 0;
          for (const t of walk(m, "sarsa", table, settings, rlcourse.generator(3))) {
            counts[t.obs * A + t.action][t.nextObs] += 1;
            if (++n === 60000) break;
          }
          return counts;
        }""",
        ISLAND,
    )
    mdp, statistic, freedom = grid(ISLAND, slip=0.3), 0.0, 0
    for k, row in enumerate(np.array(counts)):
        expected = row.sum() * mdp.successors(*divmod(k, 4))
        assert row[expected == 0].sum() == 0
        often = expected > 5
        statistic += (((row - expected) ** 2)[often] / expected[often]).sum()
        freedom += max(0, often.sum() - 1)
    assert freedom > 100
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


def test_the_grid_is_drawn_and_run_by_keyboard(play: Callable[[str], Any], tab: Any) -> None:
    page = play("grid")
    press(page, "Step", 14)
    (*_, sweep) = islice(value_iteration(grid(ISLAND, slip=0.2), 0.97), 14)
    assert_allclose(page.evaluate(f"{MOUNTED}.values"), sweep.values, atol=1e-9)
    page.wait_for_function(
        "() => document.querySelector('.pg-state').textContent.includes('sweep 14')"
    )
    assert f"{sweep.values[0]:.3f}" in state(page)
    cell = page.locator("[role=gridcell]").first
    assert f"worth {sweep.values[0]:.2f}, best: right" in cell.get_attribute("aria-label")
    # Wall off the short road: one square right, W; then a pit below the start; then take it back.
    cell.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("w")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("p")
    assert page.evaluate(f"{MOUNTED}.text").splitlines()[:2] == ["S#..H..G", "H##...#."]
    page.keyboard.press("Delete")
    page.get_by_label("Method").select_option("policy")
    press(page, "Run")
    page.wait_for_function(
        "() => document.querySelector('.pg-state').textContent.includes('optimal')"
    )
    *_, best = policy_iteration(grid(ISLAND.replace("S.", "S#", 1), slip=0.2), 0.97)
    assert_allclose(page.evaluate(f"{MOUNTED}.values"), best.values, atol=1e-9)
    assert tab.troubles() == {}


def test_the_grid_is_drawn_with_mouse_and_finger(play: Callable[[str], Any]) -> None:
    page = play("grid")
    cells = [page.locator(f"[data-s='{s}']").bounding_box() for s in (24, 26)]
    middle = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in cells]
    page.mouse.move(*middle[0])
    page.mouse.down()
    page.mouse.move(*middle[1], steps=12)
    page.mouse.up()
    text = page.evaluate(f"{MOUNTED}.text")
    assert text.splitlines()[3] == "###....."


# --- for every playground -------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_for_everybody(name: str, play: Callable[[str], Any], tab: Any) -> None:
    """Light, dark, phone; names on all controls; nothing asked of another host; no complaint."""
    page = play(name)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    found = {}
    for theme in ("light", "dark"):
        use_theme(page, theme)
        found[theme] = violations(page)
        page.screenshot(path=SCREENSHOTS / f"playground-{name}-{theme}.png", full_page=True)
    page.set_viewport_size({"width": PHONE, "height": 844})
    page.screenshot(path=SCREENSHOTS / f"playground-{name}-phone.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    small = page.evaluate(
        "() => [...document.querySelectorAll('button, select, .pg-option, input[type=range]')]"
        ".filter(e => e.offsetParent && e.getBoundingClientRect().height < 36)"
        ".map(e => e.outerHTML.slice(0, 90))"
    )
    assert small == [], "smaller than a fingertip"
    assert page.locator(".pg-state[aria-live=polite]").count() == 1
    assert state(page).strip()
    assert {theme: lines for theme, lines in found.items() if lines} == {}
    assert tab.troubles() == {}


@pytest.mark.parametrize("name", NAMES)
def test_the_button_changes_the_theme(name: str, play: Callable[[str], Any]) -> None:
    page = play(name)
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    press(page, "Switch to dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_a_module_is_small(path: Path) -> None:
    assert path.stat().st_size < 60_000


def test_the_colours_are_those_of_the_figures(play: Callable[[str], Any]) -> None:
    page = play(NAMES[0])
    read: Sequence[str] = page.evaluate(
        "() => [0, 1, 2, 3, 4, 5].map(i => getComputedStyle(document.querySelector('.pg'))"
        ".getPropertyValue(`--pg-${i}`).trim().toUpperCase())"
    )
    assert tuple(read) == COLOURS
