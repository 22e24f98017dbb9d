"""Control from experience: targets by enumeration, probes by closed form, behaviour by exact values."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcourse.algorithms import tabular
from rlcourse.algorithms.tabular import ALGORITHMS, Config, argmax_random_ties, epsilon_greedy
from rlcourse.envs.model import ModelEnv
from rlcourse.envs.probes import PROBES, Probe, probe
from rlcourse.errors import CourseError
from rlcourse.evaluation import exact_return
from rlcourse.mdp import TabularMDP, from_env

ROW = [1.0, 3.0, 3.0, -2.0]


class CountingEnv(gym.Env[Any, Any]):
    """Pays one a step, ends after three, and counts what is done to it."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)
    steps = resets = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        CountingEnv.resets += 1
        self.left = 3
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        CountingEnv.steps += 1
        self.left -= 1
        return 1, 1.0, self.left == 0, False, {}


def fork() -> ModelEnv:
    """Left pays 0.6 at once; right leads to a room where one bet pays 1 and the other -1."""
    transition = np.zeros((3, 2, 3))
    transition[0, 0, 2] = transition[0, 1, 1] = transition[1, :, 2] = transition[2, :, 2] = 1
    reward = np.array([[0.6, 0.0], [1.0, -1.0], [0.0, 0.0]])
    return ModelEnv(TabularMDP(transition, reward, np.arange(3) == 2, np.eye(3)[0]))


gym.register("tests/Counting-v0", CountingEnv)
gym.register("tests/Fork-v0", lambda: fork())


def constant(env_id: str, **settings: Any) -> Config:
    """Settings with an epsilon that stays."""
    epsilon = settings.pop("epsilon", 0.2)
    return Config(env_id=env_id, epsilon=epsilon, epsilon_end=epsilon, **settings)


# --- targets --------------------------------------------------------------------------------------

tables = st.lists(st.floats(-5, 5), min_size=2, max_size=5)


@given(tables, st.floats(-3, 3), st.sampled_from([0.0, 0.9, 1.0]), st.floats(0, 1))
def test_expected_sarsa_is_the_expectation_of_sarsa(
    row: list[float], reward: float, discount: float, epsilon: float
) -> None:
    """Sum over the next action, with the probabilities that epsilon-greedy gives it."""
    best = [action for action, value in enumerate(row) if value == max(row)]
    chance = [
        epsilon / len(row) + (1 - epsilon) * (action in best) / len(best)
        for action in range(len(row))
    ]
    mean = sum(
        p * tabular.sarsa([row], reward, discount, 0, action, epsilon)
        for action, p in enumerate(chance)
    )
    got = tabular.expected_sarsa([row], reward, discount, 0, 0, epsilon)
    assert got == pytest.approx(mean, abs=1e-9)


@given(tables, st.floats(-3, 3), st.sampled_from([0.0, 0.9]), st.data())
def test_targets_order(row: list[float], reward: float, discount: float, data: Any) -> None:
    """Q-learning is the best that SARSA can draw, and Expected SARSA without exploration."""
    action = data.draw(st.integers(0, len(row) - 1))
    best = tabular.q_learning([row], reward, discount, 0, action, 0.3)
    sampled = [tabular.sarsa([row], reward, discount, 0, a, 0.3) for a in range(len(row))]
    assert best == max(sampled)
    assert tabular.expected_sarsa([row], reward, discount, 0, action, 0.0) == pytest.approx(best)


# --- behaviour ------------------------------------------------------------------------------------


def test_ties_are_broken_at_random() -> None:
    rng = random.Random(0)
    counts = Counter(argmax_random_ties([0.0] * 4, rng) for _ in range(8000))
    assert set(counts) == {0, 1, 2, 3}
    spread = 5 * np.sqrt(8000 * 0.25 * 0.75)  # five standard deviations
    assert all(abs(count - 2000) < spread for count in counts.values())
    assert Counter(argmax_random_ties(ROW, rng) for _ in range(400)).keys() == {1, 2}


def test_epsilon_greedy_frequencies() -> None:
    rng, epsilon, draws = random.Random(1), 0.4, 20_000
    counts = Counter(epsilon_greedy(ROW, epsilon, rng) for _ in range(draws))
    for action in range(4):
        p = epsilon / 4 + (1 - epsilon) * (action in (1, 2)) / 2
        assert abs(counts[action] - draws * p) < 5 * np.sqrt(draws * p * (1 - p))


def test_epsilon_falls_during_a_run() -> None:
    """Exploration falls: early episodes wander over the lake, late ones walk straight to the goal."""
    config = Config(
        env_options={"is_slippery": False}, steps=20_000, epsilon_end=0.0, epsilon_steps=10_000
    )
    log = ALGORITHMS["q_learning"](config, 0).log
    returns = [row["return"] for row in log]
    assert np.mean(returns[:100]) < 0.2 and np.mean(returns[-100:]) == 1.0
    assert {row["length"] for row in log[-100:]} == {6}


# --- ends and time limits -------------------------------------------------------------------------

LEARNERS = [("q_learning", 1), ("sarsa", 1), ("expected_sarsa", 1), ("double_q_learning", 1)] + [
    ("n_step_sarsa", n) for n in (1, 2, 0)
]
learners = pytest.mark.parametrize(("name", "n"), LEARNERS)


def test_an_end_is_an_end() -> None:
    """Nobody updates the value of the state after the last: an optimistic one must not be used."""
    config = constant("rlcourse/Probe-OneStep-v0", steps=300, alpha=0.5, gamma=0.9, initial=10.0)
    for name in ("q_learning", "sarsa", "expected_sarsa"):
        assert ALGORITHMS[name](config).q[0, 0] == pytest.approx(1.0)


def test_a_time_limit_is_not_an_end() -> None:
    """A reward of one for ever is worth 1 / (1 - gamma), whatever the time limit."""
    config = constant("rlcourse/Probe-Forever-v0", steps=3000, alpha=0.5, gamma=0.9)
    for name in ("q_learning", "sarsa", "expected_sarsa"):
        assert ALGORITHMS[name](config).q[0, 0] == pytest.approx(10.0)
        shorter = replace(config, env_options={"max_episode_steps": 4})
        assert ALGORITHMS[name](shorter).q[0, 0] == pytest.approx(10.0)


@learners
@pytest.mark.parametrize("world", PROBES, ids=lambda world: world.env_id.split("-")[1])
@pytest.mark.parametrize("initial", [0.0, 3.0])
def test_every_learner_solves_every_probe(name: str, n: int, world: Probe, initial: float) -> None:
    """Exploration dies out, so that every learner's own policy becomes the optimal one."""
    config = Config(
        env_id=world.env_id, steps=4000, alpha=0.3, gamma=0.9, n=n, initial=initial,
        epsilon_end=0.0, epsilon_steps=1000,
    )  # fmt: skip
    best = ALGORITHMS[name](config, seed=1).q.max(axis=1)
    end = world.model().terminal
    np.testing.assert_allclose(best[~end], np.array(world.values(0.9))[~end], atol=1e-5)


def test_n_step_windows_never_cross_an_episode() -> None:
    """A corridor with one reward at its end: gamma to the distance, and nothing on top."""
    world = probe("Corridor")
    for n in (2, 3, 4, 0):
        config = constant(world.env_id, steps=500, alpha=1.0, gamma=0.9, n=n)
        q = ALGORITHMS["n_step_sarsa"](config).q[:, 0]
        np.testing.assert_allclose(q, world.values(0.9), atol=1e-9)


# --- what each one learns -------------------------------------------------------------------------


def fork_values(epsilon: float, gamma: float) -> np.ndarray:
    """The action values of epsilon-greedy behaviour on the fork, by hand."""
    room = (1 - epsilon / 2) * 1.0 + epsilon / 2 * -1.0
    return np.array([[0.6, gamma * room], [1.0, -1.0]])


@pytest.mark.parametrize("epsilon", [0.2, 0.8])
def test_sarsa_learns_the_value_of_its_own_behaviour(epsilon: float) -> None:
    """At epsilon 0.8 its own bets make the room worth 0.2: it stays out, as it should."""
    config = constant("tests/Fork-v0", epsilon=epsilon, steps=15_000, gamma=0.9, alpha=1.0,
                      alpha_power=0.8)  # fmt: skip
    expected = fork_values(epsilon, 0.9)
    for name in ("sarsa", "n_step_sarsa"):
        result = ALGORITHMS[name](config, seed=2)
        np.testing.assert_allclose(result.q[:2], expected, atol=0.07)
        assert result.policy[0] == expected[0].argmax()


@pytest.mark.parametrize("epsilon", [0.2, 0.8])
def test_expected_sarsa_learns_it_without_the_noise(epsilon: float) -> None:
    config = constant("tests/Fork-v0", epsilon=epsilon, steps=10_000, gamma=0.9, alpha=0.5)
    result = ALGORITHMS["expected_sarsa"](config)
    np.testing.assert_allclose(result.q[:2], fork_values(epsilon, 0.9), atol=1e-9)


@pytest.mark.parametrize("name", ["q_learning", "double_q_learning"])
def test_off_policy_learners_learn_the_best_policy_instead(name: str) -> None:
    config = constant("tests/Fork-v0", epsilon=0.8, steps=10_000, gamma=0.9, alpha=0.5)
    result = ALGORITHMS[name](config)
    np.testing.assert_allclose(result.q[:2], fork_values(0.0, 0.9), atol=1e-9)
    assert result.policy[0] == 1


def test_monte_carlo_control_averages_whole_returns() -> None:
    """With a falling step size of one over n an entry is the mean of the returns that followed."""
    config = constant("tests/Fork-v0", epsilon=1.0, steps=20_000, gamma=0.9, alpha=1.0,
                      alpha_power=1.0, n=0)  # fmt: skip
    q = ALGORITHMS["n_step_sarsa"](config).q
    np.testing.assert_allclose(q[:2], fork_values(1.0, 0.9), atol=0.04)


def test_double_q_asks_the_other_table() -> None:
    """Watch both tables from outside. With alpha = 1 an updated entry *is* its target."""
    config = constant("rlcourse/MaximisationBias-v0", steps=3000, alpha=1.0, gamma=1.0, epsilon=1.0)
    before: dict[int, np.ndarray] = {}
    checked = 0

    def watch(steps: int, row: dict[str, float], pair: Any) -> None:
        nonlocal checked
        after = {id(table): np.array(table) for table in pair}
        if before and row["length"] == 2:
            for name, other in (tuple(after), tuple(reversed(after))):
                moved = np.flatnonzero(after[name][0, :5] != before[name][0, :5])
                for action in moved:
                    room, foreign = before[name][1], before[other][1]
                    choices = np.flatnonzero(room == room.max())
                    assert np.isclose(foreign[choices], after[name][0, action], atol=1e-12).any()
                    checked += 1
        before.update(after)

    ALGORITHMS["double_q_learning"](config, on_progress=watch)
    assert checked > 500


def test_double_q_counts_the_visits_of_each_table_apart() -> None:
    """With a step size of one over the visits each table forgets its first guess at once."""
    config = constant(
        "rlcourse/Probe-OneStep-v0", steps=50, alpha=1.0, alpha_power=1.0, initial=9.0
    )
    assert ALGORITHMS["double_q_learning"](config).q[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_learner_crosses_the_dry_lake(name: str) -> None:
    config = Config(env_options={"is_slippery": False}, steps=20_000, epsilon_steps=10_000, n=3)
    mdp = from_env(gym.make("FrozenLake-v1", is_slippery=False))
    assert exact_return(mdp, ALGORITHMS[name](config, seed=3).policy, horizon=100) == 1.0


def test_a_target_handed_in_trains() -> None:
    """An agent that is told the opposite of every reward learns the opposite choice."""

    def upside_down(q: Any, reward: float, discount: float, s: int, a: int, e: float) -> float:
        return -reward + discount * max(q[s])

    config = constant("rlcourse/Probe-TwoActions-v0", steps=500)
    assert tabular.train(config).policy[0] == 1
    assert tabular.train(config, target=upside_down).policy[0] == 0


# --- the run itself -------------------------------------------------------------------------------


@learners
def test_a_run_is_its_seed(name: str, n: int) -> None:
    config = constant("FrozenLake-v1", steps=1500, n=n)
    runs = [ALGORITHMS[name](config, seed) for seed in (4, 4, 5)]
    assert runs[0].log == runs[1].log != runs[2].log
    np.testing.assert_array_equal(runs[0].q, runs[1].q)
    np.testing.assert_array_equal(runs[0].policy, runs[1].policy)


@learners
def test_a_run_takes_exactly_its_steps_and_logs_its_episodes(name: str, n: int) -> None:
    CountingEnv.steps = CountingEnv.resets = 0
    reports: list[tuple[int, dict[str, float]]] = []
    config = constant("tests/Counting-v0", steps=100, n=n)
    result = ALGORITHMS[name](config, on_progress=lambda *args: reports.append(args[:2]))
    assert CountingEnv.steps == 100
    assert CountingEnv.resets == 34
    assert [row["step"] for row in result.log] == list(range(3, 100, 3))
    assert {(row["return"], row["length"]) for row in result.log} == {(3.0, 3)}
    assert reports == [(row["step"], row) for row in result.log]


@learners
def test_the_policy_is_greedy_in_the_table(name: str, n: int) -> None:
    result = ALGORITHMS[name](constant("FrozenLake-v1", steps=3000, n=n))
    assert result.policy.shape == (16,) and result.q.shape == (16, 4)
    assert (result.q[np.arange(16), result.policy] == result.q.max(1)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.2}, r"gamma = 1\.2: must be a number in \[0, 1\]"),
        ({"gamma": float("nan")}, r"gamma = nan"),
        ({"alpha": -0.1}, r"alpha = -0\.1"),
        ({"alpha_power": 2.0}, r"alpha_power = 2\.0"),
        ({"epsilon": 5}, r"epsilon = 5"),
        ({"epsilon_end": "low"}, r"epsilon_end = 'low'"),
        ({"steps": 0}, r"steps = 0: must be a whole number"),
        ({"epsilon_steps": -1}, r"epsilon_steps = -1"),
        ({"n": -3}, r"n = -3: must be a whole number"),
        ({"initial": float("inf")}, r"initial = inf: must be finite"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(CourseError, match=message):
        Config(**settings)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_table_needs_numbered_states(name: str) -> None:
    with pytest.raises(CourseError, match=r"CartPole-v1.*Box.*Discrete"):
        ALGORITHMS[name](Config(env_id="CartPole-v1"))
