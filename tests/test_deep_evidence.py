"""What contracts measure on networks, against policies whose values are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rlcourse.algorithms import dqn, rainbow
from rlcourse.envs.probes import probe
from rlcourse.envs.vector import make_vector
from rlcourse.evaluation import play
from rlcourse.evidence import contracts, deep, run, state, stored
from rlcourse.evidence.deep import judged, played_return, seconds_to
from rlcourse.seeding import streams

TINY: dict[str, Any] = {
    "env_id": "rlcourse/Probe-LastMoment-v0", "steps": 160, "num_envs": 8, "gamma": 0.9,
    "hidden": (8,), "batch_size": 8, "replay_size": 160, "learning_starts": 64, "train_every": 16,
    "updates": 2, "target_every": 3, "checkpoint_every": 160,
}  # fmt: skip


class Believer:
    """Says that every state is worth what it is told; takes action 0, or the one it is told."""

    def __init__(self, values: Any, actions: int = 1, action: int = 0) -> None:
        self.values, self.actions, self.action = np.asarray(values, float), actions, action

    def q_values(self, observations: Any) -> Any:
        q = np.tile(self.values[observations][:, None], self.actions) - 100.0
        q[:, self.action] += 100.0
        return q


def settings(env_id: str, gamma: float = 0.9, **options: Any) -> Any:
    return SimpleNamespace(env_id=env_id, env_options=options, gamma=gamma)


# --- values against what followed -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["OneStep", "Delay", "LastMoment", "Corridor"])
@pytest.mark.parametrize("excess", [0.0, 0.5, -2.0])
def test_overestimation_is_what_it_was_made(name: str, excess: float) -> None:
    """True values plus a constant: the mean over visited states is that constant."""
    world = probe(name)
    policy = Believer(np.array(world.values(0.9)) + excess)
    returns, over = judged(policy, settings(world.env_id), 0, 3)  # type: ignore[arg-type]
    assert over == pytest.approx(excess, abs=1e-9)
    assert returns == sum([1.0] * 3 if name == "LastMoment" else [1.0])  # undiscounted


def test_values_are_judged_by_what_the_policy_does_not_by_the_best() -> None:
    """It believes in 3 for both states and takes action 0, which pays 1 in one and -1 in the other."""
    world = probe("Observation")
    policy = Believer([3.0, 3.0, 0.0], actions=2)
    returns, over = judged(policy, settings(world.env_id), 0, 400)  # type: ignore[arg-type]
    assert abs(returns) < 5 / np.sqrt(400) and over == pytest.approx(3.0 - returns)


def test_states_before_a_time_limit_do_not_count() -> None:
    """A reward of one for ever, cut after 100 steps: 0.9 to the steps that are left must be below 0.01."""
    world = probe("Forever")
    policy = Believer([12.0, 0.0])
    judge = settings(world.env_id, max_episode_steps=100)
    returns, over = judged(policy, judge, 0, 2)  # type: ignore[arg-type]
    seen = [t for t in range(100) if 0.9 ** (99 - t) < 0.01]
    followed = [sum(0.9**k for k in range(100 - t)) for t in seen]
    assert returns == 100.0 and 50 < len(seen) < 60
    assert over == pytest.approx(np.mean([12.0 - f for f in followed]))


def test_where_a_time_limit_hides_all_there_is_no_answer() -> None:
    policy = Believer([12.0, 0.0])
    returns, over = judged(policy, settings("rlcourse/Probe-Forever-v0"), 0, 2)  # type: ignore[arg-type]
    assert (returns, over) == (10.0, None)


def test_an_end_at_the_time_limit_hides_nothing() -> None:
    """Terminated and truncated on the same step: what followed is known."""
    world = probe("LastMoment")
    over = judged(Believer(world.values(0.9)), settings(world.env_id), 0, 2)[1]  # type: ignore[arg-type]
    assert over == pytest.approx(0.0)


class Leaning:
    """Pushes the cart to the side to which its pole leans, and has an opinion on what that is worth."""

    def q_values(self, observations: Any) -> Any:
        lean = observations[:, 2]
        return np.stack([5.0 - lean, 5.0 + lean], axis=1)


def test_only_first_episodes_count() -> None:
    """Episodes of unlike length side by side, against lists of what each environment did first."""
    gamma, episodes = 0.9, 15
    stepper = make_vector("CartPole-v1", episodes)
    obs = stepper.reset(streams(4).evaluation)
    beliefs: list[list[float]] = [[] for _ in range(episodes)]
    over = [False] * episodes
    while not all(over):
        q = Leaning().q_values(obs)
        step = stepper.step(q.argmax(1))
        for i in range(episodes):
            if not over[i]:
                beliefs[i].append(float(q[i].max()))
                over[i] = bool(step.boundary[i])
        obs = stepper.obs
    lengths = [len(own) for own in beliefs]
    differences = [
        belief - sum(gamma**k for k in range(len(own) - t))  # a reward of one a step
        for own in beliefs
        for t, belief in enumerate(own)
    ]
    assert len(set(lengths)) > 3 and max(lengths) < 500
    got = judged(Leaning(), settings("CartPole-v1", gamma), 4, episodes)  # type: ignore[arg-type]
    assert got[0] == pytest.approx(np.mean(lengths))
    assert got[1] == pytest.approx(np.mean(differences))


# --- what is measured -----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["dqn", "rainbow"])
def test_a_trained_agent_is_played(algorithm: str) -> None:
    module = {"dqn": dqn, "rainbow": rainbow}[algorithm]
    config = {**TINY, "env_id": "CartPole-v1", "env_options": {"max_episode_steps": 30}}
    score, extra = played_return(config, 5, algorithm=algorithm, episodes=6, curve_episodes=2)
    result = module.train(module.Config(**config), 5)
    returns = play(
        result.policy, "CartPole-v1", episodes=6, num_envs=6, seed=5, max_episode_steps=30
    )
    assert score == returns.mean()
    assert extra["x"] == np.linspace(8.0, 160.0, 20).tolist()
    assert len(extra["curves"]) == len(extra["overestimation"]) == 20
    assert all(8 <= point <= 30 for point in extra["curves"])
    json.dumps((score, extra))


def test_the_curve_shows_what_the_run_was_then() -> None:
    """Played from the same weights at the same moments: the excess of values that are still wrong."""
    often = {**TINY, "train_every": 8, "learning_starts": 8}
    excess = played_return(often, 5, episodes=2, curve_episodes=2)[1]["overestimation"]
    assert len(set(excess)) > 5 and None not in excess
    config, moments = dqn.Config(**often), np.linspace(8.0, 160.0, 20)
    states, found = np.array([0, 1, 2]), {}

    def watch(steps: int, row: Mapping[str, float], run: Any) -> None:
        for moment in moments[len(found) :]:
            if steps >= moment:
                found[moment] = run.policy().q_values(states)[:, 0]

    result = dqn.train(config, 5, on_progress=watch)
    for moment in moments[len(found) :]:
        found[moment] = result.policy.q_values(states)[:, 0]
    truth = np.array(probe("LastMoment").values(0.9))[:3]
    assert excess == pytest.approx([float((q - truth).mean()) for q in found.values()], abs=1e-5)


def test_seconds_until_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that ticks once a look: every episode pays three."""
    ticks = iter(range(1000))
    monkeypatch.setattr(deep.time, "perf_counter", lambda: float(next(ticks)))
    assert seconds_to(TINY, 0, target=3.0, every=80, episodes=2) == (1.0, {"steps": 96.0})
    # One that never comes counts as ten times the whole run.
    assert seconds_to(TINY, 0, target=3.5, every=80, episodes=2) == (10.0, {"steps": 160.0})


# --- what is read from other contracts ------------------------------------------------------------

CONTRACTS = """
[[contract]]
id = "runs"
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

[[contract]]
id = "lower"
chapter = "test"
claim = "A claim about the same runs"
environment = "rlcourse/RandomWalk-v0"
measure = "stored.part"
config = {}
options = { of = "runs", key = "curves", last = 3 }
seeds = 6
statistic = "mean"
comparison = "<="
threshold = "runs/high"
oracle = "the same runs"
"""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of evidence with two contracts, the second about the first."""
    (tmp_path / "contracts.toml").write_text(CONTRACTS)
    monkeypatch.setenv("RLCOURSE_EVIDENCE", str(tmp_path))
    return tmp_path


def put(shelf: Path, **changes: Any) -> None:
    """A stored result of the first contract, with other numbers in it."""
    if not (shelf / "results/runs.json").exists():
        run("runs", progress=False)
    path = shelf / "results/runs.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_part_of_a_stored_result(shelf: Path) -> None:
    put(
        shelf,
        curves=[[0.0, 1.0, 2.0, 6.0]] * 5 + [[9.0, 9.0, 9.0, 12.0]],
        spread=[1, 2, 3, 4, 5, 6],
    )
    assert stored.part({}, 0, of="runs", key="curves") == (6.0, {})
    assert stored.part({}, 0, of="runs", key="curves", last=3) == (3.0, {})
    assert stored.part({}, 5, of="runs", key="curves", last=3) == (10.0, {})
    assert stored.part({}, 3, of="runs", key="spread") == (4.0, {})


def test_a_claim_about_other_runs_waits_for_them(shelf: Path) -> None:
    lower = contracts()["lower"]
    assert lower.sources() == ["runs", "runs"]
    assert state(lower).state == "missing"
    put(shelf)
    assert state(lower).state == "missing"  # not measured itself
    assert run("lower", progress=False).state in ("met", "failed")
    (shelf / "results/runs.json").unlink()
    assert state(lower).state == "missing"


def test_a_threshold_is_the_end_of_another_interval_as_it_stands(shelf: Path) -> None:
    """Its number is read when it is asked for; nothing is written down twice."""
    put(shelf, curves=[[3.0]] * 6)
    assert run("lower", progress=False).result["statistic"] == 3.0  # type: ignore[index]
    lower = contracts()["lower"]
    for interval, at_most, at_least in (([1.0, 2.0], False, True), ([2.0, 4.0], True, False),
                                        ([1.0, 3.0], True, True)):  # fmt: skip
        put(shelf, interval=interval)
        assert lower.bar() == interval[1]
        assert state(lower).state == ("met" if at_most else "failed")
        text = CONTRACTS.replace('"<="\nthreshold = "runs/high"', '">="\nthreshold = "runs/high"')
        (shelf / "contracts.toml").write_text(text)
        assert contracts()["lower"].holds(3.0) == at_least
        (shelf / "contracts.toml").write_text(CONTRACTS.replace("runs/high", "runs/low"))
        assert contracts()["lower"].bar() == interval[0]
        (shelf / "contracts.toml").write_text(CONTRACTS)


def test_new_runs_make_what_was_read_from_them_stale(shelf: Path) -> None:
    put(shelf, curves=[[0.0]] * 6)
    assert run("lower", progress=False).state == "met"
    put(shelf, hash="another")
    assert state(contracts()["lower"]).state == "stale"
