"""Worlds of several agents: rows that are transitions, the original beside our copy, turns beside parallel."""

from __future__ import annotations

import itertools
import math
import sys
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from rlcourse.envs import many
from rlcourse.envs.many import (
    Joint,
    Parallel,
    Spread,
    aec_returns,
    assigned,
    joint,
    make_world,
    nearest,
    parallel_env,
    random_policy,
    team_returns,
)
from rlcourse.errors import CourseError, InvalidArgumentError, UnknownEnvironmentError
from rlcourse.labs.many_agents import TurnGame

ORIGINAL = "mpe2/simple_spread_v3"


# --- beside the original --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_our_world_is_the_original_step_by_step(seed: int) -> None:
    """Eight episodes from one seed: observations, rewards, flags, true successors, next starts."""
    pytest.importorskip("mpe2")
    ours, theirs = make_world("rlcourse/Spread", 1), make_world(ORIGINAL, 1)
    np.testing.assert_array_equal(ours.reset(seed), theirs.reset(seed))
    rng = np.random.default_rng(seed)
    for t in range(200):
        action = assigned(ours.obs) if t % 3 else rng.integers(5, size=3)
        mine, real = ours.step(action), theirs.step(action)
        np.testing.assert_allclose(mine.next_obs, real.next_obs, atol=1e-6)
        np.testing.assert_allclose(mine.reward, real.reward, atol=1e-9)
        np.testing.assert_array_equal(mine.truncated, real.truncated)
        np.testing.assert_array_equal(mine.terminated, real.terminated)
        np.testing.assert_allclose(ours.obs, theirs.obs, atol=1e-6)
    theirs.close()


@pytest.mark.parametrize("options", [{"local_ratio": 0.0}, {"local_ratio": 1.0}, {"max_cycles": 7}])
def test_options_mean_what_they_mean_in_the_original(options: dict[str, Any]) -> None:
    pytest.importorskip("mpe2")
    returns = [
        team_returns(nearest, make_world(name, 1, **options), episodes=3, seed=4)
        for name in ("rlcourse/Spread", ORIGINAL)
    ]
    np.testing.assert_allclose(returns[0][0], returns[1][0], atol=1e-6)
    np.testing.assert_array_equal(returns[0][1], returns[1][1])


def test_turns_pay_what_the_parallel_world_pays() -> None:
    """In turns, in parallel, and by hand: a return is the sum of what each step paid, once."""
    game = TurnGame(["a", "b"], [{"a": 1.0, "b": 2.0}, {"a": 4.0, "b": 8.0}, {"a": 16.0, "b": 0.0}])
    assert aec_returns(game, lambda obs: np.zeros(1), seed=0) == {"a": 21.0, "b": 10.0}


def test_turns_of_the_original_pay_what_its_parallel_face_pays() -> None:
    pytest.importorskip("mpe2")
    turns = aec_returns(parallel_env(ORIGINAL, aec=True), assigned, seed=3)
    whole, _ = team_returns(assigned, make_world(ORIGINAL, 1), episodes=1, seed=3)
    np.testing.assert_allclose(list(turns.values()), whole[0], rtol=1e-12)


# --- rows ------------------------------------------------------------------------------------------


class Clockwork:
    """A parallel world of two agents in which nothing is left to chance: ends after ``life`` steps."""

    possible_agents = ("x", "y")

    def __init__(
        self, life: int, leaves_early: bool = False, kinds: tuple[int, int] = (2, 2)
    ) -> None:
        self.life, self.early, self.kinds, self.births = life, leaves_early, kinds, 0

    def observation_space(self, agent: str) -> Box:
        return Box(-1e9, 1e9, (2,))

    def action_space(self, agent: str) -> Discrete:
        return Discrete(self.kinds[agent == "y"])

    def _look(self) -> dict[str, Any]:
        return {name: np.array([self.births, 10 * k + self.age], np.float32)
                for k, name in enumerate(self.possible_agents)}  # fmt: skip

    def reset(self, seed: int | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.births, self.age, self.agents = self.births + 1, 0, list(self.possible_agents)
        return self._look(), {}

    def step(self, actions: dict[str, int]) -> Any:
        self.age += 1
        over = self.age >= self.life
        obs = self._look()
        names = self.possible_agents
        if over:
            self.agents = ["y"] if self.early else []
        flags = dict.fromkeys(names, over)
        return obs, {n: float(actions[n] + 5 * k) for k, n in enumerate(names)}, flags, \
            dict.fromkeys(names, False), {}  # fmt: skip

    def close(self) -> None:
        pass


def test_a_row_is_one_agents_transition_also_where_an_episode_ends() -> None:
    world = Parallel(lambda: Clockwork(life=2), copies=2)
    first = world.reset(0)
    assert first.tolist() == [[1, 0], [1, 10], [1, 0], [1, 10]]
    step = world.step([0, 1, 1, 0])
    assert step.reward.tolist() == [0, 6, 1, 5]
    assert step.obs.tolist() == first.tolist() and not step.boundary.any()
    step = world.step([0, 0, 0, 0])
    assert step.next_obs.tolist() == [[1, 2], [1, 12], [1, 2], [1, 12]]  # where the action led
    assert step.terminated.all() and not step.truncated.any()
    assert world.obs.tolist() == [[2, 0], [2, 10], [2, 0], [2, 10]]  # where the next episode begins


def test_agents_that_leave_early_or_are_of_two_kinds_are_refused() -> None:
    world = Parallel(lambda: Clockwork(life=1, leaves_early=True), copies=1)
    world.reset(0)
    with pytest.raises(CourseError, match="left before the others"):
        world.step([0, 0])
    with pytest.raises(InvalidArgumentError, match="2 kinds"):
        Parallel(lambda: Clockwork(life=1, kinds=(2, 3)), copies=1)


def test_the_clock_cuts_and_nothing_ends() -> None:
    world = Spread(copies=2, max_cycles=3)
    world.reset(0)
    for t in range(1, 10):
        step = world.step(np.zeros(6, int))
        assert not step.terminated.any()
        assert step.truncated.all() == (t % 3 == 0)
        fresh = np.abs(world.obs - step.next_obs).max() > 1e-6
        assert fresh == (t % 3 == 0)


def test_every_team_has_the_same_length() -> None:
    """What tutorials print as progress cannot move."""
    for team in (random_policy(0), nearest, assigned):
        assert set(team_returns(team, Spread(copies=5), episodes=10)[1].ravel()) == {25}


def test_copies_are_independent_worlds_of_one_seed() -> None:
    a, b = Spread(copies=4), Spread(copies=4)
    np.testing.assert_array_equal(a.reset(1), b.reset(1))
    assert len(np.unique(a.obs[::3], axis=0)) == 4
    rng = np.random.default_rng(0)
    for _ in range(30):
        action = rng.integers(5, size=12)
        before = a.obs.copy()
        np.testing.assert_array_equal(a.step(action).reward, b.step(action).reward)
        np.testing.assert_array_equal(before, before)  # a row handed out is not written again
    other = Spread(copies=4)
    assert not np.array_equal(other.reset(2), Spread(copies=4).reset(1))


def test_a_step_leaves_what_it_has_handed_out_alone() -> None:
    world = Spread(copies=1)
    first = world.reset(0)
    kept = first.copy()
    step = world.step([1, 2, 3])
    held = step.next_obs.copy()
    world.step([4, 4, 4])
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(step.next_obs, held)


def test_joint_rows_hold_everybody_the_own_view_first() -> None:
    plain, wide = Spread(copies=2), Joint(Spread(copies=2))
    plain.reset(3)
    wide.reset(3)
    assert wide.single_observation_space.shape == (54,)
    step, all_ = plain.step([0] * 6), wide.step([0] * 6)
    for row in range(6):
        copy, agent = divmod(row, 3)
        views = [step.next_obs[3 * copy + (agent + k) % 3] for k in range(3)]
        np.testing.assert_array_equal(all_.next_obs[row], np.concatenate(views))
    np.testing.assert_array_equal(wide.obs, joint(plain.obs, 3))


def test_returns_are_sums_by_agent_and_every_copy_plays_as_many() -> None:
    world = Parallel(lambda: Clockwork(life=3), copies=2)
    returns, lengths = team_returns(lambda obs: np.ones(len(obs), int), world, episodes=4)
    assert returns.tolist() == [[3.0, 18.0]] * 4 and lengths.tolist() == [[3, 3]] * 4
    with pytest.raises(InvalidArgumentError, match="multiple of copies"):
        team_returns(nearest, Spread(copies=2), episodes=3)


# --- scripts ----------------------------------------------------------------------------------------


def row(place: Any, marks: Any, others: Any, velocity: Any = (0, 0)) -> Any:
    """One agent's observation, from absolute places."""
    p = np.array(place, float)
    rest = [np.subtract(x, p) for x in (*marks, *others)]
    return np.concatenate([velocity, p, *rest, np.zeros(4)]).astype(np.float32)


def test_scripts_choose_their_targets() -> None:
    """Two agents nearest to one mark: without a plan both go there, with one the further one gives way."""
    marks = [(0.0, 0.0), (1.0, 0.0), (-1.0, 1.0)]
    places = [(0.05, 0.0), (0.3, 0.0), (-1.0, 0.9)]
    obs = np.stack([
        row(places[a], marks, [places[b] for b in range(3) if b != a]) for a in range(3)
    ])  # fmt: skip
    assert nearest(obs).tolist()[:2] == [0, 1]  # at rest within a push of it; and left, towards it
    assert assigned(obs).tolist()[1] == 2  # right, to the free one


def test_the_plan_is_the_shortest_of_all_and_all_agents_find_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        world = Spread(copies=1)
        world.reset(int(rng.integers(1000)))
        ways = np.linalg.norm(world.place[0][:, None] - world.landmark[0], axis=2)
        best = min(
            itertools.permutations(range(3)), key=lambda p: sum(ways[a, p[a]] for a in range(3))
        )
        alone = [many._towards(world.obs[[a]], world.obs[[a], 4 + 2 * best[a] : 6 + 2 * best[a]])[0]
                 for a in range(3)]  # fmt: skip
        assert assigned(world.obs).tolist() == alone


def test_a_plan_is_worth_more_than_chance_and_than_no_plan() -> None:
    means = [team_returns(team, Spread(copies=50), episodes=200, seed=9)[0].mean()
             for team in (random_policy(0), nearest, assigned)]  # fmt: skip
    assert means[0] < means[1] - 5 < means[2] - 10


def test_random_play_draws_all_moves_evenly() -> None:
    moves = random_policy(0)(np.zeros((10_000, 18)))
    counts = np.bincount(moves, minlength=5)
    assert len(counts) == 5 and abs(counts - 2000).max() < 5 * math.sqrt(10_000 * 0.16)


# --- what is refused --------------------------------------------------------------------------------


def test_worlds_that_do_not_exist() -> None:
    for name in ("simple_spread_v3", "os/path", "mpe2/../x", 3):
        with pytest.raises(UnknownEnvironmentError, match=r"must be 'rlcourse/Spread'"):
            make_world(name, 1)  # type: ignore[arg-type]
    pytest.importorskip("mpe2")
    with pytest.raises(UnknownEnvironmentError, match="mpe2 has no simple_spread_v9"):
        make_world("mpe2/simple_spread_v9", 1)


def test_without_the_extra_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpe2", None)
    with pytest.raises(CourseError, match=r'pip install "rlcourse\[agents\]"'):
        make_world(ORIGINAL, 1)
    assert make_world("rlcourse/Spread", 1).reset(0).shape == (3, 18)


def test_misuse_is_named() -> None:
    with pytest.raises(CourseError, match="step before reset"):
        Spread(copies=1).step([0, 0, 0])
    world = Spread(copies=1)
    world.reset(0)
    with pytest.raises(InvalidArgumentError, match=r"must be \[3\]"):
        world.step([0, 0])
    with pytest.raises(InvalidArgumentError, match="copies"):
        Spread(copies=0)
