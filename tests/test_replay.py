"""The ring against plain Python lists, the tree against running sums, the draws against frequencies."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from rlcourse.envs.vector import Step
from rlcourse.errors import InvalidArgumentError
from rlcourse.replay import PrioritizedReplay, SumTree, UniformReplay, VectorActionReplay
from rlcourse.rollout import VectorEpisodes

STATES = Discrete(10**6)


class Every:
    """In place of a generator: every row of the ring, in order, as often as asked for."""

    def integers(self, high: int, size: int) -> np.ndarray:
        return np.arange(size) % high

    def random(self, size: int) -> np.ndarray:
        return np.full(size, 0.5)


def ring(capacity: int, kind: type[UniformReplay] = UniformReplay, **options: Any) -> Any:
    """A replay of numbered states; drawn from in order unless told otherwise."""
    return kind(capacity, STATES, **{"rng": Every(), **options})


def step_of(obs: Any, reward: Any, terminated: Any = 0, truncated: Any = 0) -> Step:
    """One transition an environment; every state leads to the number 500,000 higher."""
    obs = np.atleast_1d(obs)
    flags = [
        np.broadcast_to(np.asarray(f, bool), obs.shape).copy() for f in (terminated, truncated)
    ]
    rewards = np.broadcast_to(np.asarray(reward, float), obs.shape).copy()
    return Step(obs, obs % 7, rewards, flags[0], flags[1], obs + 500_000)


# --- the ring -------------------------------------------------------------------------------------


class Row(NamedTuple):
    obs: int
    reward: float
    terminated: bool
    boundary: bool


class Story(NamedTuple):
    """What was added, as lists: ``rows[env][t]``."""

    replay: UniformReplay
    rows: list[list[Row]]
    gamma: float
    n: int


@st.composite
def stories(draw: Callable[..., Any]) -> Story:
    """Random lengths, ends, time limits (sometimes both at once) and restarts, in rings of all sizes."""
    num_envs, deep = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    n, gamma = draw(st.integers(1, 5)), draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    ends, limits, cuts = (draw(st.sampled_from([0.0, 0.2, 0.6])) for _ in range(3))
    replay = ring(num_envs * deep, num_envs=num_envs, gamma=gamma, n=n)
    rows: list[list[Row]] = [[] for _ in range(num_envs)]
    for t in range(draw(st.integers(1, 3 * deep))):
        terminated, truncated = rng.random(num_envs) < ends, rng.random(num_envs) < limits
        obs, reward = 1000 * np.arange(num_envs) + t, rng.normal(size=num_envs)
        replay.add(step_of(obs, reward, terminated, truncated))
        for env in range(num_envs):
            over = bool(terminated[env] | truncated[env])
            rows[env].append(Row(int(obs[env]), reward[env], bool(terminated[env]), over))
        if rng.random() < cuts:
            replay.cut()
            for own in rows:
                own[-1] = own[-1]._replace(boundary=True)
    return Story(replay, rows, gamma, n)


@given(stories())
@settings(max_examples=150, deadline=None)
def test_n_step_windows_equal_brute_force(story: Story) -> None:
    """Reward, discount and successor of every row in the ring: sums of powers over the lists."""
    replay, rows, gamma, n = story
    depth = replay.capacity // replay.num_envs
    alive = sorted(row.obs for own in rows for row in own[-depth:])
    batch = replay.sample(len(replay))
    assert sorted(batch.obs.tolist()) == alive and len(replay) == len(alive)
    for i, obs in enumerate(batch.obs.tolist()):
        env, t = divmod(obs, 1000)
        own = rows[env]
        window = [own[t]]
        while len(window) < n and not window[-1].boundary and t + len(window) < len(own):
            window.append(own[t + len(window)])
        last = window[-1]
        total = sum(gamma**k * row.reward for k, row in enumerate(window))
        assert batch.reward[i] == pytest.approx(total, abs=1e-5)
        assert batch.discount[i] == pytest.approx(gamma ** len(window) * (not last.terminated))
        assert batch.next_obs[i] == last.obs + 500_000
        assert batch.action[i] == obs % 7
        assert batch.weight[i] == 1.0


def test_n_step_never_reads_past_the_newest_row_into_the_oldest() -> None:
    """Behind the newest row of a full ring lies the oldest: another time, with a loud reward."""
    replay = ring(6, num_envs=2, n=3, gamma=1.0)
    for t in range(4):
        replay.add(step_of([t, 100 + t], 1000.0 if t == 1 else 1.0))
    batch = replay.sample(6)
    newest = np.flatnonzero(batch.obs % 100 == 3)
    assert batch.reward[newest].tolist() == [1.0, 1.0]
    assert batch.next_obs[newest].tolist() == [500_003, 500_103]
    before = np.flatnonzero(batch.obs % 100 == 2)
    assert batch.reward[before].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("terminated", "truncated", "discount"),
    [(0, 0, 0.25), (1, 0, 0.0), (0, 1, 0.5), (1, 1, 0.0)],
    ids=["goes on", "ends", "time limit", "ends at the limit"],
)
def test_only_a_true_end_takes_the_future_away(
    terminated: int, truncated: int, discount: float
) -> None:
    replay = ring(4, gamma=0.5, n=2)
    replay.add(step_of(0, 1.0, terminated, truncated))
    replay.add(step_of(1, 8.0))
    first = replay.sample(2)
    assert first.discount[0] == discount
    assert first.reward[0] == (1.0 if terminated or truncated else 5.0)


def test_discount_of_a_window_is_a_power() -> None:
    replay = ring(4, gamma=0.5, n=3)
    for t in range(4):
        replay.add(step_of(t, 1.0))
    assert replay.sample(4).discount.tolist() == [0.125, 0.125, 0.25, 0.5]


def test_a_restart_ends_every_window() -> None:
    """The rows before and after it are of different episodes, although no flag says so."""
    replay = ring(8, num_envs=2, gamma=1.0, n=3)
    replay.add(step_of([0, 100], 1.0))
    replay.cut()
    replay.add(step_of([1, 101], 50.0))
    batch = replay.sample(4)
    assert batch.reward[:2].tolist() == [1.0, 1.0] and batch.discount[:2].tolist() == [1.0, 1.0]
    assert batch.next_obs[:2].tolist() == [500_000, 500_100]


def test_what_is_added_is_copied() -> None:
    """Environments reuse their arrays: a ring of references holds one moment many times over."""
    replay = ring(4, num_envs=2)
    step = step_of([1, 2], [3.0, 4.0], [0, 1], [0, 0])
    for _ in range(2):
        replay.add(step)
        for field in step:
            field[...] = 0
    first = replay.sample(2)
    assert first.obs.tolist() == [1, 2] and first.next_obs.tolist() == [500_001, 500_002]
    assert first.reward.tolist() == [3.0, 4.0] and first.discount[1] == 0.0
    assert first.action.tolist() == [1, 2]


@pytest.mark.parametrize("kind", [UniformReplay, PrioritizedReplay])
@pytest.mark.parametrize("n", [1, 3])
def test_a_batch_may_be_overwritten(kind: type[UniformReplay], n: int) -> None:
    replay = ring(4, kind, n=n)
    for t in range(4):
        replay.add(step_of(t, 1.0))
    first = replay.sample(4)
    kept = [np.array(field) for field in first]
    for field in first:
        field[...] = 3
    again = replay.sample(4)
    for field, before in zip(again, kept, strict=True):
        np.testing.assert_array_equal(field, before)


@pytest.mark.parametrize(
    ("space", "row"),
    [
        (STATES, 8),
        (Box(-1, 1, (4,), np.float32), 16),
        (Box(0, 255, (10, 10, 4), np.uint8), 400),
        (Box(0, 1, (10, 10, 4), bool), 400),
    ],
    ids=["number", "vector", "bytes", "bits"],
)
def test_memory_is_what_is_stated(space: Any, row: int) -> None:
    """By the formula of the docstring, and by what Python's allocator saw."""
    tracemalloc.start()
    replay = UniformReplay(1200, space, num_envs=3, rng=np.random.default_rng(0))
    seen = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert replay.nbytes == 1200 * (2 * row + 8 + 4 + 2)
    assert 0 <= seen - replay.nbytes < 4096
    prior = PrioritizedReplay(1200, space, num_envs=3, rng=np.random.default_rng(0))
    assert prior.nbytes == replay.nbytes + 2 * 2048 * 8  # the power of two above 1200, twice


def test_memory_does_not_grow() -> None:
    replay = ring(8, PrioritizedReplay, num_envs=2)
    before = replay.nbytes
    for t in range(20):
        replay.add(step_of([t, t], 0.0))
    assert replay.nbytes == before and len(replay) == 8 and replay.added == 40


def test_every_row_is_as_likely_as_any_other() -> None:
    replay = ring(50, num_envs=5, rng=np.random.default_rng(3))
    for t in range(13):
        replay.add(step_of(100 * np.arange(5) + t, 0.0))
    counts = np.unique(replay.sample(50_000).obs, return_counts=True)[1]
    assert len(counts) == 50 and chisquare(counts).pvalue > 1e-3


def test_a_ring_that_is_not_full_gives_only_what_was_added() -> None:
    replay = ring(50, num_envs=5, rng=np.random.default_rng(3))
    replay.add(step_of([7, 8, 9, 10, 11], 0.0))
    assert set(replay.sample(1000).obs.tolist()) == {7, 8, 9, 10, 11}


def test_rows_are_real_transitions() -> None:
    """From real environments: in the corridor a step leads one state on, also at its end."""
    episodes = VectorEpisodes("rlcourse/Probe-Corridor-v0", {"max_episode_steps": 4}, 3, seed=0)
    replay = ring(30, num_envs=3)
    for _ in range(25):
        replay.add(episodes.step(np.zeros(3, np.int64)))
    batch = replay.sample(30)
    assert (batch.next_obs == batch.obs + 1).all() and set(batch.obs.tolist()) == {0, 1, 2, 3}
    assert (batch.discount > 0).all()  # a limit of four steps is not the end of a corridor of five


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capacity": 10, "num_envs": 4}, r"capacity = 10: must be a multiple of num_envs = 4"),
        ({"capacity": 0}, r"capacity = 0: must be a whole number"),
        ({"capacity": -8}, r"capacity = -8"),
        ({"capacity": 2.5}, r"capacity = 2\.5"),
        ({"capacity": "many"}, r"capacity = 'many'"),
        ({"num_envs": 0}, r"num_envs = 0"),
        ({"n": 0}, r"n = 0: must be a whole number"),
        ({"gamma": 1.5}, r"gamma = 1\.5: must be a number in \[0, 1\]"),
        ({"gamma": float("nan")}, r"gamma = nan"),
        ({"alpha": -0.1}, r"alpha = -0\.1"),
        ({"alpha": 2.0}, r"alpha = 2\.0"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    kind = PrioritizedReplay if "alpha" in options else UniformReplay
    capacity = options.pop("capacity", 8)
    with pytest.raises(InvalidArgumentError, match=message):
        ring(capacity, kind, **options)


@pytest.mark.parametrize("kind", [UniformReplay, PrioritizedReplay])
def test_bad_calls(kind: type[UniformReplay]) -> None:
    replay = ring(8, kind, num_envs=2)
    with pytest.raises(InvalidArgumentError, match=r"empty replay: add a transition first"):
        replay.sample(4)
    with pytest.raises(InvalidArgumentError, match=r"step\.obs of shape \(3,\): must be \(2,\)"):
        replay.add(step_of([1, 2, 3], 0.0))
    assert len(replay) == 0
    replay.add(step_of([1, 2], 0.0))
    for size in (0, -1, 1.5):
        with pytest.raises(InvalidArgumentError, match=r"batch_size = "):
            replay.sample(size)  # type: ignore[arg-type]


def test_bad_beta() -> None:
    replay = ring(8, PrioritizedReplay)
    replay.add(step_of(1, 0.0))
    for beta in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidArgumentError, match=r"beta = "):
            replay.sample(4, beta)


# --- the tree -------------------------------------------------------------------------------------

whole_priorities = st.lists(st.integers(0, 9), min_size=1, max_size=40)


@given(whole_priorities, st.data())
def test_tree_finds_what_the_running_sum_finds(priorities: list[int], data: Any) -> None:
    """Whole numbers have no rounding: every mass, also one that falls exactly between two leaves."""
    tree, sums = SumTree(len(priorities)), np.cumsum(priorities)
    tree.set(np.arange(len(priorities)), priorities)
    assert tree.total == sums[-1]
    np.testing.assert_array_equal(tree.get(np.arange(len(priorities))), priorities)
    if sums[-1]:
        mass = np.arange(0, sums[-1], 0.5)
        found = tree.find(mass)
        np.testing.assert_array_equal(found, np.searchsorted(sums, mass, side="right"))
        assert (np.array(priorities)[found] > 0).all()


@given(whole_priorities)
def test_rounding_beyond_the_end_finds_the_last_leaf_with_a_priority(priorities: list[int]) -> None:
    if sum(priorities):
        tree = SumTree(len(priorities))
        tree.set(np.arange(len(priorities)), priorities)
        beyond = np.array([tree.total, tree.total * (1 + 1e-12)])
        assert tree.find(beyond).tolist() == [max(np.flatnonzero(priorities))] * 2


@pytest.mark.parametrize("capacity", [1, 2, 3, 5, 8, 100, 1023])
def test_the_sum_stays_the_sum(capacity: int) -> None:
    """After thousands of changes over sixteen orders of magnitude, with rows named twice."""
    rng, tree, model = np.random.default_rng(capacity), SumTree(capacity), np.zeros(capacity)
    for _ in range(300):
        index = rng.integers(capacity, size=17)
        values = (10.0 ** rng.uniform(-8, 8, capacity))[index]  # equal rows, equal values
        tree.set(index, values)
        model[index] = values
    np.testing.assert_array_equal(tree.get(np.arange(capacity)), model)
    assert tree.total == pytest.approx(model.sum(), rel=1e-12)
    tree.set(np.arange(capacity), 0.25)
    assert tree.total == 0.25 * capacity


def test_finding_does_not_change_what_is_looked_for() -> None:
    tree, mass = SumTree(4), np.array([2.5, 0.5])
    tree.set(np.arange(4), np.ones(4))
    assert tree.find(mass).tolist() == [2, 0] and mass.tolist() == [2.5, 0.5]


# --- priorities -----------------------------------------------------------------------------------

ERRORS = np.array([0.0, 0.1, 0.5, 1.0, 2.0, -4.0])


def filled(alpha: float, seed: int = 0, **options: Any) -> Any:
    """Six rows with the errors above."""
    rng = np.random.default_rng(seed)
    replay = ring(6, PrioritizedReplay, alpha=alpha, rng=rng, **options)
    for t in range(6):
        replay.add(step_of(t, 0.0))
    replay.prioritize(np.arange(6), ERRORS)
    return replay


def chances(alpha: float) -> np.ndarray:
    powers = [(abs(error) + 1e-6) ** alpha for error in ERRORS]
    return np.array(powers) / sum(powers)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_rows_are_drawn_in_proportion_to_their_priorities(alpha: float) -> None:
    """One from each of B equal shares: a row of chance P comes B P times, give or take less than two."""
    batch = filled(alpha).sample(10_000)
    counts = np.bincount(batch.obs, minlength=6)
    assert (np.abs(counts - 10_000 * chances(alpha)) < 2).all()


def test_draws_within_a_share_are_random() -> None:
    """A batch of one is a single draw from all: frequencies of many, by chi-square."""
    replay, p = filled(0.6, seed=5), chances(0.6)
    counts = np.bincount([replay.sample(1).obs[0] for _ in range(4000)], minlength=6)
    rare = p * 4000 < 5
    assert counts[rare].sum() <= 5
    assert chisquare(counts[~rare], p[~rare] / p[~rare].sum() * counts[~rare].sum()).pvalue > 1e-3


def test_without_alpha_priorities_do_not_count() -> None:
    batch = filled(0.0).sample(600)
    assert np.bincount(batch.obs).tolist() == [100] * 6
    np.testing.assert_allclose(batch.weight, 1.0)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_weights_are_the_papers(beta: float) -> None:
    batch = filled(0.6).sample(64, beta)
    expected = (6 * chances(0.6)[batch.obs]) ** -beta
    np.testing.assert_allclose(batch.weight, expected / expected.max(), rtol=1e-5)
    assert batch.weight.max() == 1.0 and batch.weight.dtype == np.float32
    if beta == 0.0:
        assert (batch.weight == 1.0).all()


@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_new_rows_get_the_largest_priority_in_the_ring(num_envs: int, deep: int, seed: int) -> None:
    """Against a list: the largest now, which is not the largest of all time."""
    rng = np.random.default_rng(seed)
    replay = ring(num_envs * deep, PrioritizedReplay, num_envs=num_envs, alpha=0.5, rng=rng)
    model: dict[int, float] = {}
    for t in range(3 * deep):
        newest = max(model.values(), default=1.0)
        replay.add(step_of(np.arange(num_envs), 0.0))
        for env in range(num_envs):
            model[(t * num_envs + env) % replay.capacity] = newest
        if rng.random() < 0.7:
            index = rng.choice(len(replay), size=rng.integers(1, len(replay) + 1), replace=False)
            errors = rng.exponential(size=len(index)) * 10.0 ** rng.integers(-2, 3)
            replay.prioritize(index, errors)
            model.update(zip(index.tolist(), np.sqrt(errors + 1e-6).tolist(), strict=True))
        rows = np.array(sorted(model))
        np.testing.assert_allclose(replay.tree.get(rows), [model[r] for r in rows], rtol=1e-12)


def test_one_great_surprise_is_forgotten() -> None:
    replay = ring(3, PrioritizedReplay, alpha=1.0, floor=0.0)
    for t in range(3):
        replay.add(step_of(t, 0.0))
    replay.prioritize(np.arange(3), [900.0, 2.0, 3.0])
    replay.prioritize(np.array([0]), [1.0])
    replay.add(step_of(3, 0.0))
    assert replay.tree.get(np.arange(3)).tolist() == [3.0, 2.0, 3.0]


def test_what_is_not_there_is_never_drawn() -> None:
    """Of five rows in a ring of eight (and a tree of eight) only five have a priority."""
    replay = ring(8, PrioritizedReplay, rng=np.random.default_rng(0))
    for t in range(5):
        replay.add(step_of(t, 0.0))
    assert np.bincount(replay.sample(500).index, minlength=8).tolist() == [100] * 5 + [0] * 3


def test_prioritized_windows_are_the_uniform_ones() -> None:
    """The same rows, drawn by another road, hold the same sums."""
    kinds = (UniformReplay, PrioritizedReplay)
    rings = [ring(12, kind, num_envs=2, n=3, gamma=0.5) for kind in kinds]
    rng = np.random.default_rng(0)
    for t in range(9):
        step = step_of([t, 100 + t], rng.normal(size=2), rng.random(2) < 0.3, rng.random(2) < 0.3)
        for replay in rings:
            replay.add(step)
    one, other = (replay.sample(12) for replay in rings)
    for name, field in one._asdict().items():
        np.testing.assert_array_equal(field, getattr(other, name), err_msg=name)


@pytest.mark.parametrize("errors", [[np.nan], [np.inf], [-np.inf]])
def test_errors_that_are_no_numbers_are_refused(errors: list[float]) -> None:
    """They would make every sum above them useless, without a word."""
    replay = ring(4, PrioritizedReplay)
    replay.add(step_of(1, 0.0))
    with pytest.raises(InvalidArgumentError, match=r"errors.*must be finite"):
        replay.prioritize(np.array([0]), errors)


@pytest.mark.parametrize("floor", [-1.0, float("nan")])
def test_a_floor_below_zero_is_refused(floor: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"floor = "):
        ring(4, PrioritizedReplay, floor=floor)


def test_observations_of_another_shape_are_refused() -> None:
    """One number would be copied into all three places."""
    replay = UniformReplay(4, Box(-1, 1, (3,)), rng=np.random.default_rng(0))
    flag = np.array([False])
    for shape in ((1, 1), (1, 2), (1, 3, 1)):
        obs = np.zeros(shape, np.float32)
        with pytest.raises(InvalidArgumentError, match=r"obs of shape"):
            replay.add(Step(obs, np.zeros(1, int), np.ones(1), flag, flag, obs))
    assert len(replay) == 0


# --- actions that are vectors ---------------------------------------------------------------------


@pytest.mark.parametrize("num_envs", [1, 2])
def test_actions_are_vectors_and_stay_with_their_rows(num_envs: int) -> None:
    """Against a list of the newest eight, twice round the ring; the source is overwritten each time."""
    space = Box(-9, 999, (3,))
    replay = VectorActionReplay(8, STATES, space, num_envs=num_envs, gamma=0.5, rng=Every())
    assert replay.action.shape == (8, 3) and replay.action.dtype == np.float32
    kept: list[tuple[int, list[float]]] = []
    action = np.zeros((num_envs, 3), np.float32)
    for k in range(20 // num_envs):
        numbers = k * num_envs + np.arange(num_envs)
        action[:] = numbers[:, None] + [0.0, 0.25, 0.5]
        flag = np.full(num_envs, k % 3 == 0)
        step = Step(numbers, action, numbers / 4, flag, ~flag, numbers + 1)
        replay.add(step)
        kept += [(int(n), [n, n + 0.25, n + 0.5]) for n in numbers]
        action[:] = -7
    batch = replay.sample(8)
    found = dict(zip(batch.obs.tolist(), batch.action.tolist(), strict=True))
    assert found == dict(kept[-8:])
    np.testing.assert_allclose(batch.reward, batch.obs / 4)
    ended = batch.obs // num_envs % 3 == 0
    np.testing.assert_array_equal(batch.discount, np.where(ended, 0.0, 0.5))  # a limit is no end
    assert replay.nbytes == 8 * (8 + 8 + 12 + 4 + 1 + 1)


def test_numbered_actions_keep_their_type() -> None:
    replay = VectorActionReplay(4, STATES, Discrete(5), rng=Every())
    replay.add(step_of(1, 0.0))
    assert replay.sample(1).action.dtype == np.int64 and replay.action.shape == (4,)
