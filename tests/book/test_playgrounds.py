"""The playgrounds in a real browser: their numbers against the package's, and every reader's way in.

The stand-alone pages are opened from the disk, as a lecturer would; no built site is needed.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats
from test_site import PHONE, use_theme, violations
from torch.nn.utils import vector_to_parameters

from rlcourse import checkpoint, evidence
from rlcourse.algorithms import dqn, ppo, prediction, tabular
from rlcourse.algorithms.dynamic_programming import (
    evaluate,
    policy_evaluation,
    policy_iteration,
    value_iteration,
)
from rlcourse.envs.model import ModelEnv
from rlcourse.mdp import TabularMDP, grid
from rlcourse.networks import q_network
from rlcourse.plotting import COLOURS

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import playground_policies  # noqa: E402

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


def wait_for_state(page: Any, words: str) -> None:
    """The text state speaks at most once a second."""
    page.wait_for_function(
        "(words) => document.querySelector('.pg-state').textContent.includes(words)", arg=words
    )


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
    assert "best" not in page.locator("[data-s='6']").get_attribute("aria-label"), "no news yet"
    press(page, "Step", 14)
    (*_, sweep) = islice(value_iteration(grid(ISLAND, slip=0.2), 0.97), 14)
    assert_allclose(page.evaluate(f"{MOUNTED}.values"), sweep.values, atol=1e-9)
    wait_for_state(page, "sweep 14")
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
    wait_for_state(page, "optimal")
    *_, best = policy_iteration(grid(ISLAND.replace("S.", "S#", 1), slip=0.2), 0.97)
    assert_allclose(page.evaluate(f"{MOUNTED}.values"), best.values, atol=1e-9)
    assert tab.troubles() == {}


def test_a_finger_draws_and_takes_away(browser: Any) -> None:
    context = browser.new_context(viewport={"width": PHONE, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto((FOLDER / "grid.html").as_uri())
    page.get_by_label("Pit", exact=True).first.check()
    for square in (8, 9, 9, 10, 10):  # twice: free again, whatever was there
        page.tap(f"[data-s='{square}']")
    text = page.evaluate(f"{MOUNTED}.text")
    assert text.splitlines()[1] == "H.....#."
    context.close()


def test_the_grid_is_drawn_with_a_mouse(play: Callable[[str], Any]) -> None:
    page = play("grid")
    cells = [page.locator(f"[data-s='{s}']").bounding_box() for s in (24, 26)]
    middle = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in cells]
    page.mouse.move(*middle[0])
    page.mouse.down()
    page.mouse.move(*middle[1], steps=12)
    page.mouse.up()
    text = page.evaluate(f"{MOUNTED}.text")
    assert text.splitlines()[3] == "###....."


# --- the clip -------------------------------------------------------------------------------------


def test_the_clip_is_the_packages_loss_and_its_gradient(play: Callable[[str], Any]) -> None:
    """On a grid of ratios and advantages, at the kinks too, and on random ones."""
    rng = np.random.default_rng(0)
    grid_of = np.array(
        [
            (ratio, gain, clip)
            for ratio in (0.0, 0.3, 0.8, 0.9, 1.0, 1.1, 1.2, 1.9)
            for gain in (-1.5, -0.2, 0.0, 0.7, 1.5)
            for clip in (0.0, 0.1, 0.2, 0.8)
        ]
    )
    cases = np.concatenate([grid_of, rng.uniform([0, -1.5, 0], [2, 1.5, 0.8], (200, 3))])
    log_prob = torch.tensor(cases[:, 0]).log().requires_grad_()
    expected = [
        -ppo.clipped_loss(log_prob[i : i + 1], torch.zeros(1).double(), torch.tensor([gain]), clip)
        for i, (_, gain, clip) in enumerate(cases)
    ]
    objective = torch.cat(expected)
    (pull,) = torch.autograd.grad(objective.sum(), log_prob)
    # The page is given the ratio that the package computes: at a kink the last bit decides.
    ratio = log_prob.detach().exp().numpy()
    found = play("clip").evaluate(
        "(cases) => cases.map((c) => {"
        "  const { plain, clipped, objective, slope, pull } = rlcourse.clip.surrogate(...c);"
        "  return [plain, clipped, objective, slope, pull];"
        "})",
        [[r, *case[1:]] for r, case in zip(ratio.tolist(), cases.tolist(), strict=True)],
    )
    plain, clipped, smaller, slope, pulled = np.array(found).T
    gains, clips = cases[:, 1], cases[:, 2]
    assert_allclose(plain, ratio * gains, atol=1e-12)
    assert_allclose(clipped, np.clip(ratio, 1 - clips, 1 + clips) * gains, atol=1e-12)
    assert_allclose(smaller, objective.detach().numpy(), atol=1e-12)
    usual = ratio > 0  # the logarithm of zero has no gradient
    assert_allclose(pulled[usual], pull.numpy()[usual], atol=1e-12)
    assert_allclose((slope * ratio)[usual], pull.numpy()[usual], atol=1e-12)
    assert (pulled[usual] == 0).mean() > 0.2


def test_the_clip_is_moved_by_keyboard(play: Callable[[str], Any], tab: Any) -> None:
    page = play("clip")
    press(page, "Good, more likely")
    assert page.evaluate(f"{MOUNTED}.pull") == 0
    page.get_by_label("Clip ε").focus()
    for _ in range(30):  # the edge moves past the ratio of 1.5
        page.keyboard.press("ArrowRight")
    assert page.evaluate(f"{MOUNTED}.clip") == 0.5
    assert page.evaluate(f"{MOUNTED}.pull") == 1.5
    page.get_by_label("Advantage").focus()
    page.keyboard.press("Home")
    assert page.evaluate(f"{MOUNTED}.objective") == -2.25
    wait_for_state(page, "pulls with −2.25")
    assert "−2.250" in page.locator(".pg-facts").inner_text()
    assert tab.troubles() == {}


def test_the_clip_is_dragged(play: Callable[[str], Any]) -> None:
    page = play("clip")
    box = page.locator(".pg-dot").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = page.evaluate(f"{MOUNTED}.ratio")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 120, y, steps=5)
    page.mouse.up()
    assert page.evaluate(f"{MOUNTED}.ratio") < before - 0.2
    assert (
        f"{page.evaluate(f'{MOUNTED}.ratio'):.2f}" in page.locator(".pg-slider").first.inner_text()
    )


# --- cart, pole and car ---------------------------------------------------------------------------

WORLDS = {"cartpole": ("CARTPOLE", "CartPole-v1"), "mountaincar": ("MOUNTAINCAR", "MountainCar-v0")}
PHYSICS = """const world = rlcourse.control[name];
  const usual = Object.fromEntries(Object.entries(world.physics).map(([k, knob]) => [k, knob.value]));"""


def gymnasium_world(name: str, start: Sequence[float], **physics: float) -> Any:
    """A bare environment in a given state, perhaps with other constants."""
    env: Any = gym.make(WORLDS[name][1]).unwrapped
    env.reset(seed=0)
    for constant, value in physics.items():
        setattr(env, "force_mag" if constant == "force" and name == "cartpole" else constant, value)
    if name == "cartpole":
        env.polemass_length = env.masspole * env.length
    env.state = np.array(start, dtype=np.float64)
    return env


CHANGED = {
    "cartpole": {"gravity": 3.7, "length": 1.3, "force": 22.0},
    "mountaincar": {"gravity": 0.0031, "force": 0.0017},
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("changed", [False, True], ids=["usual", "changed"])
@pytest.mark.parametrize("hold", [1, 12])
def test_the_physics_are_gymnasiums(
    name: str, changed: bool, hold: int, play: Callable[[str], Any]
) -> None:
    """500 steps on, from several starts, under random pushes held for a while, past falls and walls."""
    page, rng = play(name), np.random.default_rng(hold)
    starts = rng.uniform(-0.05, 0.05, (4, 4)) if name == "cartpole" else [[-0.5, 0.0], [-0.6, 0.0]]
    physics = CHANGED[name] if changed else {}
    for start in np.array(starts).tolist():
        env = gymnasium_world(name, start, **physics)
        actions = rng.integers(env.action_space.n, size=500 // hold + 1).repeat(hold)[:500].tolist()
        found = page.evaluate(
            f"""([name, state, actions, changed]) => {{
              {PHYSICS}
              return actions.map((action) => {{
                const step = world.step(state, action, {{ ...usual, ...changed }});
                state = step.state;
                return [state, step.reward, step.terminated];
              }});
            }}""",
            [WORLDS[name][0], start, actions, physics],
        )
        ended = False
        for action, (state_, reward, terminated) in zip(actions, found, strict=True):
            _, expected_reward, expected_end, *_ = env.step(action)
            assert_allclose(state_, np.array(env.state, dtype=np.float64), atol=1e-9, rtol=1e-9)
            assert terminated == expected_end
            assert ended or reward == expected_reward  # what follows a fall pays nothing there
            ended |= expected_end


def test_a_pole_that_stands_for_500_steps_stands_on_the_page(play: Callable[[str], Any]) -> None:
    """Held up by a linear controller on both sides, so that nothing but the physics can differ."""
    gains, start = [0.2, 0.6, 6.0, 1.2], [0.03, -0.02, 0.04, 0.01]
    env = gymnasium_world("cartpole", start)
    expected = []
    for _ in range(500):
        _, _, terminated, *_ = env.step(int(np.dot(gains, env.state) > 0))
        assert not terminated
        expected.append(env.state.tolist())
    found = play("cartpole").evaluate(
        f"""([name, state, gains]) => {{
          {PHYSICS}
          const found = [];
          for (let i = 0; i < 500; i++) {{
            const lean = gains.reduce((sum, gain, k) => sum + gain * state[k], 0);
            state = world.step(state, Number(lean > 0), usual).state;
            found.push(state);
          }}
          return found;
        }}""",
        ["CARTPOLE", start, gains],
    )
    assert_allclose(found, expected, atol=1e-9)


def test_the_constants_are_gymnasiums(play: Callable[[str], Any]) -> None:
    page = play("cartpole")
    for name, (world, env_id) in WORLDS.items():
        env = gymnasium_world(name, [0.0] * (4 if name == "cartpole" else 2))
        usual = page.evaluate(f"(name) => {{ {PHYSICS} return [usual, world.limit]; }}", world)
        force = env.force_mag if name == "cartpole" else env.force
        assert usual[0]["force"] == force and usual[0]["gravity"] == env.gravity
        assert usual[0].get("length", 0.5) == getattr(env, "length", 0.5)
        assert usual[1] == gym.spec(env_id).max_episode_steps


def stored(name: str) -> dict[str, Any]:
    """The JSON of a file of weights."""
    text = (FOLDER / "policies" / f"{name}.js").read_text("utf-8")
    about: dict[str, Any] = json.loads(text.removeprefix("rlcourse.policies(").strip().rstrip(");"))
    return about


def outputs(page: Any, policy: dict[str, Any], states: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.array(
        page.evaluate(
            "([policy, states]) => { const q = rlcourse.control.network(policy);"
            " return states.map((state) => [...q(state)]); }",
            [policy, states.tolist()],
        )
    )


def test_a_checkpoints_network_answers_on_the_page_as_in_torch(
    tmp_path: Path, play: Callable[[str], Any]
) -> None:
    """Train, save, load, export with the tool that wrote the book's files, and ask both."""
    kept: list[Path] = []

    def keep(run: dqn.Run) -> None:
        kept.append(tmp_path / f"{len(kept)}.safetensors")
        checkpoint.save(kept[-1], run, replay=False)

    config = dqn.Config(steps=1024, learning_starts=256, hidden=(32, 16, 8))
    result = dqn.train(config, 3, on_checkpoint=keep)
    about = playground_policies.exported(checkpoint.load(kept[-1]))
    assert about["layers"] == [[32, 4], [16, 32], [8, 16], [2, 8]]
    assert about["steps"] == 1024
    states = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    found = outputs(play("cartpole"), about, states)
    assert_allclose(found, result.policy.q_values(states), rtol=1e-5, atol=1e-5)
    assert abs(found).max() > 0.1


@pytest.mark.parametrize("name", WORLDS)
def test_the_books_networks_answer_as_in_torch(name: str, play: Callable[[str], Any]) -> None:
    about, page = stored(name), play(name)
    env = gym.make(about["environment"])
    rng = np.random.default_rng(1)
    scale = [2.4, 2, 0.2, 2] if name == "cartpole" else [0.6, 0.07]
    centre = 0 if name == "cartpole" else np.array([-0.3, 0])
    states = (centre + rng.uniform(-1, 1, (300, len(scale))) * scale).astype(np.float32)
    assert about["environment"] == WORLDS[name][1]
    for policy in about["policies"].values():
        flat = np.frombuffer(base64.b64decode(policy["weights"]), "<f4").copy()
        network = q_network(env.observation_space, env.action_space.n, about["config"]["hidden"])
        vector_to_parameters(torch.from_numpy(flat), network.parameters())
        with torch.no_grad():
            expected = network(torch.from_numpy(states)).numpy()
        found = outputs(page, policy, states)
        assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())
        assert (found.argmax(1) == expected.argmax(1)).mean() > 0.99


def test_the_books_networks_say_what_made_them() -> None:
    for name in WORLDS:
        about = stored(name)
        contract, changes, seed, early = playground_policies.RUNS[name]
        wanted = dqn.Config(**{**evidence.contracts()[contract].config, **changes})
        assert about["config"] == json.loads(json.dumps(dataclasses.asdict(wanted)))
        assert (about["contract"], about["seed"]) == (contract, seed)
        assert about["policies"]["trained"]["steps"] == wanted.steps
        assert early <= about["policies"]["early"]["steps"] < early + 600
        assert set(about["versions"]) == {"torch", "numpy", "gymnasium"}
    # The cart's is a seed of the contract itself, so the evidence knows its score.
    measured = evidence.load("dqn-cartpole")["scores"][stored("cartpole")["seed"]]
    assert stored("cartpole")["policies"]["trained"]["return"]["mean"] == measured


def tally(page: Any) -> list[float]:
    steps: list[float] = page.evaluate(f"{MOUNTED}.tally.map((each) => each.steps)")
    return steps


def test_a_trained_network_drives_and_fails_in_another_world(
    play: Callable[[str], Any], tab: Any
) -> None:
    """Trained, early, chance and a changed world, twenty episodes each, all by keyboard."""
    page = play("cartpole")
    press(page, "Twenty at once")
    for _ in range(2):  # to the left along the radio buttons: the early one, then chance
        page.locator("input[type=radio]:checked").focus()
        page.keyboard.press("ArrowLeft")
        press(page, "Twenty at once")
    trained, early, chance = np.reshape(tally(page), (3, 20))
    assert trained.mean() >= 475  # the contract's threshold
    assert chance.mean() < 40  # random play gets about 22
    assert chance.mean() < early.mean() < trained.mean() / 2
    page.locator("input[type=radio]:checked").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    # What the chapter lets the reader guess: three times the gravity does no harm, a long pole does.
    for label, low, high in (("Gravity", 475, 501), ("Length of the pole", 0, 400)):
        press(page, "As it was trained")
        page.get_by_label(label).focus()
        page.keyboard.press("End")
        press(page, "Twenty at once")
        assert low <= np.mean(tally(page)[-20:]) < high
    rows = page.locator(".pg-tally tbody tr").all_inner_texts()
    assert len(rows) == 5 and "length 4.0 m" in rows[0] and "gravity 30.0" in rows[1]
    wait_for_state(page, "a world that it was not trained in")
    press(page, "As it was trained")
    wait_for_state(page, "drives. A new episode")
    assert tab.troubles() == {}


def test_the_car_gets_up_the_hill(play: Callable[[str], Any]) -> None:
    page = play("mountaincar")
    press(page, "Twenty at once")
    trained = np.array(tally(page))
    assert -trained.mean() >= -120
    assert stored("mountaincar")["policies"]["trained"]["return"]["mean"] >= -110  # the contract's
    page.get_by_label("Gravity").focus()
    page.keyboard.press("End")
    press(page, "Twenty at once")
    assert np.mean(tally(page)[20:]) > trained.mean() + 40  # a steeper world takes longer
    page.get_by_label("Force of the engine").focus()
    page.keyboard.press("Home")
    press(page, "Twenty at once")
    assert set(tally(page)[40:]) == {200}  # no engine, no top


@pytest.mark.parametrize("name", WORLDS)
def test_the_reader_drives_by_keyboard(name: str, play: Callable[[str], Any], tab: Any) -> None:
    page = play(name)
    page.get_by_label("You", exact=True).check()
    page.locator("canvas").focus()
    at = 0
    before = page.evaluate(f"{MOUNTED}.state")
    page.keyboard.down("ArrowLeft")
    page.wait_for_function(
        f"() => {MOUNTED}.tally.length > 0 || Math.abs({MOUNTED}.state[{at}] - {before[at]}) > 0.02"
    )
    page.keyboard.up("ArrowLeft")
    moved = page.evaluate(f"[{MOUNTED}.state[{at}], {MOUNTED}.tally.length]")
    assert moved[1] > 0 or moved[0] < before[at]
    wait_for_state(page, "You drive")
    press(page, "Pause")
    assert page.get_by_role("button", name="Push left").is_visible()
    assert tab.troubles() == {}


# --- the bandit -----------------------------------------------------------------------------------


class Reference:
    """The page's generator and its draws, written anew from the papers that `common.js` names."""

    def __init__(self, seed: int) -> None:
        self.state = []
        for _ in range(4):
            seed = (seed + 0x9E3779B9) % 2**32
            t = ((seed ^ seed >> 16) * 0x21F0AAAD) % 2**32
            t = ((t ^ t >> 15) * 0x735A2D97) % 2**32
            self.state.append(t ^ t >> 15)

    def bits(self) -> int:
        """xoshiro128** of Blackman & Vigna."""
        s = self.state
        turn = lambda x, k: (x << k | x >> 32 - k) % 2**32  # noqa: E731
        result = turn(s[1] * 5 % 2**32, 7) * 9 % 2**32
        t = s[1] << 9 & 0xFFFFFFFF
        s[2], s[3] = s[2] ^ s[0], s[3] ^ s[1]
        s[1], s[0] = s[1] ^ s[2], s[0] ^ s[3]
        s[2], s[3] = s[2] ^ t, turn(s[3], 11)
        return result

    def random(self) -> float:
        high, low = self.bits() >> 5, self.bits() >> 6
        return (high * 2**26 + low) / 2**53

    def normal(self) -> float:
        u, v = self.random(), self.random()
        return math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v)

    def gamma(self, shape: float) -> float:
        """Marsaglia & Tsang 2000, figure 1 without its squeeze."""
        d = shape - 1 / 3
        while True:
            x = self.normal()
            v = (1 + x / math.sqrt(9 * d)) ** 3
            if v > 0 and math.log(1 - self.random()) < x * x / 2 + d - d * v + d * math.log(v):
                return d * v

    def best(self, row: Sequence[float]) -> int:
        ties = [a for a, value in enumerate(row) if value == max(row)]
        return ties[0] if len(ties) == 1 else ties[int(self.random() * len(ties))]


def reference_contest(arms: int, seed: int, steps: int, epsilon: float) -> dict[str, list[int]]:
    """Which arms the three pull."""
    rng = Reference(seed)
    chances = [0.05 + 0.9 * rng.random() for _ in range(arms)]
    luck = []
    for a in range(arms):
        own = Reference(seed * 1000 + a + 1)
        luck.append([own.random() < chances[a] for _ in range(steps)])
    found = {}
    for number, kind in enumerate(("epsilon", "ucb", "thompson")):
        rng, pulls = Reference(seed * 1000 + 501 + number), []
        n, won = np.zeros(arms, dtype=int), np.zeros(arms)
        for t in range(steps):
            if kind == "epsilon":
                greedy = rng.random() >= epsilon
                means = [won[a] / n[a] if n[a] else 1.0 for a in range(arms)]
                arm = rng.best(means) if greedy else int(rng.random() * arms)
            elif kind == "ucb":
                arm = rng.best(
                    [
                        won[a] / n[a] + math.sqrt(2 * math.log(t) / n[a]) if n[a] else math.inf
                        for a in range(arms)
                    ]
                )
            else:
                draws = []
                for a in range(arms):
                    yes, no = rng.gamma(1 + won[a]), rng.gamma(1 + n[a] - won[a])
                    draws.append(yes / (yes + no))
                arm = rng.best(draws)
            pulls.append(arm)
            won[arm] += luck[arm][n[arm]]
            n[arm] += 1
        found[kind] = pulls
    return found


CONTEST = """([arms, seed, steps, epsilon]) => {
  const { world, players } = rlcourse.bandit.contest(arms, seed, steps, epsilon);
  return [world.chances, players.map((each) => [each.kind, each.pulls, each.regret])];
}"""


@pytest.mark.parametrize(("arms", "seed", "epsilon"), [(5, 1, 0.1), (2, 7, 0.3), (8, 42, 0.0)])
def test_a_contest_can_be_repeated_outside_the_page(
    arms: int, seed: int, epsilon: float, play: Callable[[str], Any]
) -> None:
    """The same random numbers in Python pull the same arms, four hundred times, and regret as much."""
    chances, players = play("bandit").evaluate(CONTEST, [arms, seed, 400, epsilon])
    expected = reference_contest(arms, seed, 400, epsilon)
    gaps = max(chances) - np.array(chances)
    for kind, pulls, regret in players:
        assert pulls == expected[kind]
        assert_allclose(regret, [0, *np.cumsum(gaps[pulls])], atol=1e-9)


def test_the_algorithms_stand_in_the_known_order(play: Callable[[str], Any]) -> None:
    """Over 120 machines: chance pays for every pull, epsilon-greedy for its share, Thompson least."""
    page, steps = play("bandit"), 2000
    regrets, costs = [], []
    for seed in range(1, 121):
        chances, players = page.evaluate(CONTEST, [5, seed, steps, 0.1])
        regrets.append({kind: (regret[steps // 2], regret[-1]) for kind, _, regret in players})
        costs.append(max(chances) - np.mean(chances))
    half, whole = (
        {kind: np.mean([r[kind][part] for r in regrets]) for kind in regrets[0]} for part in (0, 1)
    )
    chance = steps * np.mean(costs)  # what pulling at random costs, exactly
    assert whole["thompson"] < 0.5 * whole["ucb"]  # Chapelle & Li 2011
    assert whole["thompson"] < 0.5 * whole["epsilon"]
    assert max(whole.values()) < 0.5 * chance
    # What exploration costs goes on for ever; the others' regret grows like a logarithm.
    assert whole["epsilon"] - half["epsilon"] > 0.09 * chance / 2
    assert whole["thompson"] - half["thompson"] < 0.4 * half["thompson"]
    assert whole["ucb"] - half["ucb"] < 0.6 * half["ucb"]


def test_chance_is_even(play: Callable[[str], Any]) -> None:
    """Moments of the page's uniform, normal and beta draws, within five standard errors."""
    n = 40_000
    uniform, normal, beta = play("bandit").evaluate(
        """(n) => {
          const rng = rlcourse.generator(5), many = (f) => Array.from({ length: n }, f);
          return [many(rng.random), many(rng.normal), many(() => rlcourse.bandit.beta(3, 8, rng))];
        }""",
        n,
    )
    for draws, law in (
        (uniform, stats.uniform()),
        (normal, stats.norm()),
        (beta, stats.beta(3, 8)),
    ):
        assert stats.kstest(draws, law.cdf).pvalue > 1e-4
    assert abs(np.corrcoef(uniform[:-1], uniform[1:])[0, 1]) < 5 / math.sqrt(n)


def test_the_reader_pulls_beside_the_algorithms(play: Callable[[str], Any], tab: Any) -> None:
    page = play("bandit")
    for key in "12345":
        page.locator(".pg-lever").first.focus()
        page.keyboard.press(key)
    press(page, "A hundred pulls")
    players = page.evaluate(f"{MOUNTED}.players")
    chances = np.array(page.evaluate(f"{MOUNTED}.chances"))
    assert players["you"]["pulls"] == [0, 1, 2, 3, 4]
    assert_allclose(players["you"]["regret"][-1], 5 * chances.max() - chances.sum())
    assert {kind: len(each["pulls"]) for kind, each in players.items()} == {
        **{"epsilon": 105, "ucb": 105, "thompson": 105},
        "you": 5,
    }
    wait_for_state(page, "Thompson")
    press(page, "Show the truth")
    assert f"pays {100 * chances[0]:.0f} %" in page.locator(".pg-lever").first.inner_text()
    press(page, "Again")
    press(page, "A hundred pulls")
    again = page.evaluate(f"{MOUNTED}.players")
    assert again["ucb"]["pulls"] == players["ucb"]["pulls"][:100], "the same machine, the same run"
    assert tab.troubles() == {}


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
def test_nothing_moves_before_it_is_asked_to(name: str, play: Callable[[str], Any]) -> None:
    page = play(name)
    frames = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(frames)  # laid out
    first = page.locator(".pg").screenshot()
    for _ in range(5):
        page.evaluate(frames)
    assert page.locator(".pg").screenshot() == first


@pytest.mark.parametrize("name", NAMES)
def test_the_button_changes_the_theme(name: str, play: Callable[[str], Any]) -> None:
    page = play(name)
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    press(page, "Switch to dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    press(page, "Switch to light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == before


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
