"""Mazes against what is known of spanning trees, of walks and of searches by other roads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components, shortest_path
from scipy.stats import chi2

from rlcourse.envs.grid import GridEnv
from rlcourse.envs.mazes import (
    METHODS,
    MazeWalkers,
    distances,
    follow,
    maps,
    maze,
    mazes,
    moves,
    split_of,
    success,
)
from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.mdp import grid, parse_map


def bare(text: str) -> str:
    """A maze's walls."""
    return text.replace("S", ".").replace("G", ".")


def graph(text: str) -> np.ndarray:
    """Which cells are next to each other, by the model: ``[S, S]``, walls alone."""
    cells = parse_map(text).ravel() != "#"
    world = grid(text, goal=0.0)
    near = world.rows.reshape(4, len(cells), -1).max(axis=0)
    near = np.maximum(near, near.T) * (1 - np.eye(len(cells)))
    return np.asarray(near * cells * cells[:, None])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rooms", [2, 3, 7])
def test_a_perfect_maze_is_a_spanning_tree(method: str, rooms: int) -> None:
    for seed in range(10):
        text = maze(rooms, seed, method=method)
        cells = parse_map(text)
        assert cells.shape == (2 * rooms - 1, 2 * rooms - 1)
        free = cells != "#"
        assert free[::2, ::2].all() and not free[1::2, 1::2].any()
        near = graph(text)[np.ix_(free.ravel(), free.ravel())]
        assert connected_components(near)[0] == 1
        assert near.sum() / 2 == free.sum() - 1  # a tree
        for symbol in "SG":
            (place,) = np.argwhere(cells == symbol)
            assert not (place % 2).any()


def test_wilson_draws_every_spanning_tree_equally_often_and_the_other_does_not() -> None:
    """The 192 of three by three rooms; Pearson's test at one in ten thousand."""
    bound = chi2.ppf(0.9999, df=191)
    spread = {}
    for method in METHODS:
        rng = np.random.default_rng(0)
        count = Counter(bare(maze(3, rng, method=method)) for _ in range(192 * 40))
        assert len(count) <= 192
        seen = np.array([*count.values(), *[0] * (192 - len(count))])
        spread[method] = ((seen - 40) ** 2 / 40).sum()
    assert spread["wilson"] < bound < spread["depth-first"]


def test_walls_fall_by_chance() -> None:
    assert bare(maze(4, 0, loops=1.0)).count("#") == 9  # the pillars between four by four rooms
    fallen = [maze(6, seed).count("#") - maze(6, seed, loops=0.3).count("#") for seed in range(60)]
    closed = 60 - 35  # doors of a square of six less those of a tree
    assert np.mean(fallen) == pytest.approx(0.3 * closed, abs=4 * (0.21 * closed / 60) ** 0.5)


def test_start_and_goal_are_any_two_rooms() -> None:
    pairs = Counter()
    rng = np.random.default_rng(1)
    for _ in range(1200):
        flat = "".join(maze(2, rng).split())
        pairs[flat.index("S"), flat.index("G")] += 1
    assert len(pairs) == 12 and min(pairs.values()) > 60 and max(pairs.values()) < 140


def test_a_maze_depends_on_its_seed_alone() -> None:
    assert maze(5, 3) == maze(5, 3) != maze(5, 4)
    assert mazes(5, 0, split="test") == mazes(5, 0, split="test") != mazes(5, 1, split="test")
    assert mazes(9, 0, split="train")[:5] == mazes(5, 0, split="train")


def test_no_test_maze_has_the_walls_of_a_training_maze() -> None:
    """Of 192 mazes nearly all are drawn, so that a leak would show."""
    train = {bare(text) for seed in range(5) for text in mazes(80, seed, split="train", rooms=3)}
    test = {bare(text) for seed in range(5) for text in mazes(20, seed, split="test", rooms=3)}
    assert len(train) > 100 and len(test) > 20
    assert not train & test
    assert all(len({*map(bare, mazes(25, seed, split="test", rooms=3))}) == 25 for seed in range(3))


def test_the_split_does_not_look_at_start_and_goal() -> None:
    for seed in range(40):
        text = maze(3, seed)
        assert split_of(text) == split_of(text[::1].translate(str.maketrans("SG", "GS")))
    share = np.mean([split_of(maze(5, seed)) == "test" for seed in range(800)])
    assert share == pytest.approx(0.25, abs=4 * (0.1875 / 800) ** 0.5)


def test_distances_are_those_of_another_search() -> None:
    for seed in range(10):
        text = maze(4, seed, loops=0.2 * (seed % 2))
        goal = "".join(text.split()).index("G")
        theirs = shortest_path(graph(text), unweighted=True, indices=goal)
        np.testing.assert_array_equal(distances(text), np.where(np.isinf(theirs), -1, theirs))
    assert distances("SHG").tolist() == [-1, -1, 0]


def test_moves_are_those_of_the_model() -> None:
    for seed in range(5):
        text = maze(3, seed)
        model = grid(text).rows.reshape(4, 25, 25).argmax(axis=2).T
        inside = ~grid(text).terminal
        np.testing.assert_array_equal(moves(text)[inside], model[inside])


def test_following_a_policy_is_playing_it() -> None:
    rng = np.random.default_rng(0)
    for seed in range(8):
        text = maze(3, seed, loops=0.3)
        env, chosen = GridEnv(text), rng.integers(4, size=25)
        taken = follow(text, chosen)
        arrived, cells = 0, np.flatnonzero(distances(text) > 0)
        for cell in cells:
            env.reset(seed=0)
            env.state, steps, terminated = int(cell), 0, False
            while not terminated and steps < 60:
                terminated, steps = env.step(int(chosen[env.state]))[2], steps + 1
            assert taken[cell] == (steps if terminated else -1)
            arrived += terminated
        assert success([text], [chosen]) == pytest.approx(arrived / len(cells))


def test_in_a_perfect_maze_there_are_two_fates() -> None:
    """The shortest way or never, for any policy."""
    rng = np.random.default_rng(3)
    arrived = 0
    for seed in range(60):
        text = maze(3, seed)
        taken, away = follow(text, rng.integers(4, size=25)), distances(text)
        assert ((taken == away) | (taken == -1))[away >= 0].all()
        arrived += (taken > 0).sum()
    assert arrived > 50


def test_the_last_step_of_an_episode_leads_to_the_goal() -> None:
    texts = mazes(3, 0, split="train", rooms=2)
    walkers = MazeWalkers(texts, 16, np.random.default_rng(0))
    obs, ends = walkers.reset(), 0
    rng = np.random.default_rng(1)
    for _ in range(300):
        step = walkers.step(rng.integers(4, size=16))
        np.testing.assert_array_equal(step.obs, obs)
        for (number, cell), action, reward, end, (same, after) in zip(
            step.obs, step.action, step.reward, step.terminated, step.next_obs, strict=True
        ):
            assert same == number and after == moves(texts[number])[cell, action]
            assert end == (distances(texts[number])[after] == 0) and reward == end
        obs = walkers.obs
        begun = obs[step.terminated]
        assert all(distances(texts[number])[cell] > 0 for number, cell in begun)
        np.testing.assert_array_equal(obs[~step.terminated], step.next_obs[~step.terminated])
        assert not step.truncated.any()
        ends += step.terminated.sum()
    assert ends > 50
    assert len({*walkers.reset()[:, 0]}) > 1


def test_a_map_shows_walls_and_goal() -> None:
    (drawn,) = maps(["S#\n.G"])
    assert drawn.tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 1]]] and drawn.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: maze(1, 0), "rooms = 1: must be at least 2"),
        (lambda: maze(3, 0, loops=1.5), r"loops = 1.5: must be .*\[0, 1\]"),
        (lambda: maze(3, 0, method="prim"), "method = 'prim': must be one of wilson, depth-first"),
        (lambda: maze(3, -1), "seed = -1"),
        (lambda: mazes(3, 0, split="dev"), "split = 'dev': must be one of train, test"),
        (
            lambda: mazes(5, 0, split="test", rooms=2),
            "count = 5: 2 rooms a side have hardly . mazes",
        ),
        (lambda: maps(["S.G", "S..G"]), "of one size"),
        (lambda: maps([]), "0 mazes"),
        (lambda: follow("S.G", [0, 1]), r"actions of shape \(2,\): must be \[3\]"),
    ],
)
def test_what_cannot_be(call: object, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        call()  # type: ignore[operator]


def test_walkers_that_have_not_begun() -> None:
    walkers = MazeWalkers(["S.G"], 2, np.random.default_rng(0))
    with pytest.raises(CourseError, match="reset"):
        walkers.step([0, 0])
    walkers.reset()
    with pytest.raises(InvalidArgumentError, match=r"action of shape \(3,\): must be \[2\]"):
        walkers.step([0, 0, 0])
