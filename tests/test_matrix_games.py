"""Games of one move: learners that miss the best pair, and gradients that circle."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from rlcourse.algorithms.matrix_games import (
    CLIMBING,
    ROCK_PAPER_SCISSORS,
    Config,
    action_values,
    exploitability,
    multiplicative_weights,
    penalty,
    replicator,
    train,
)
from rlcourse.errors import InvalidArgumentError


def test_the_games_are_those_of_the_paper() -> None:
    """Claus & Boutilier 1998: the best pair, the equilibria, what a mistake costs."""
    assert np.unravel_index(CLIMBING.argmax(), (3, 3)) == (0, 0) and CLIMBING.max() == 11
    stable = [(a, b) for a, b in itertools.product(range(3), repeat=2)
              if CLIMBING[a, b] == CLIMBING[:, b].max() == CLIMBING[a].max()]  # fmt: skip
    assert stable == [(0, 0), (1, 1)] and CLIMBING[1, 1] == 7
    game = penalty(-100)
    assert game[0, 2] == game[2, 0] == -100 and game[0, 0] == game[2, 2] == 10 and game[1, 1] == 2
    assert (ROCK_PAPER_SCISSORS == -ROCK_PAPER_SCISSORS.T).all()


def test_one_learner_of_pairs_finds_the_best_and_two_learners_seldom_do() -> None:
    alone = [train(CLIMBING, seed=seed).pair for seed in range(12)]
    joint = [train(CLIMBING, Config(joint=True), seed).pair for seed in range(12)]
    assert set(joint) == {(0, 0)}
    assert alone.count((0, 0)) <= 6 and len(set(alone)) > 1


def test_tables_learn_what_actions_are_worth() -> None:
    """At a constant temperature so high that both draw evenly, and by small steps."""
    run = train(CLIMBING, Config(games=20_000, alpha=0.01, temperature=1e9, cooling=1.0))
    even = np.full(3, 1 / 3)
    np.testing.assert_allclose(run.policies.mean(axis=0), 1 / 3, atol=1e-6)
    np.testing.assert_allclose(run.q[0], action_values(CLIMBING, even), atol=4)
    assert run.q[0].argmax() == run.q[1].argmax() == 2
    assert run.rewards.mean() == pytest.approx(CLIMBING.mean(), abs=0.5)


def test_a_run_is_its_seed() -> None:
    a, b, c = (train(CLIMBING, Config(games=200), seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a.rewards, b.rewards)
    assert not np.array_equal(a.rewards, c.rewards)
    assert a.policies.shape == (200, 2, 3)
    np.testing.assert_allclose(a.policies.sum(axis=2), 1)


def test_joint_policies_are_margins_and_games_need_not_be_square() -> None:
    run = train([[1.0, 0.0, 0.0], [0.0, 5.0, 0.0]], Config(joint=True, games=500))
    assert run.pair == (1, 1) and run.policies.shape == (500, 2, 3)
    np.testing.assert_allclose(run.policies[:, 0, :2].sum(axis=1), 1)


def test_steps_of_multiplicative_weights_by_hand() -> None:
    x, y, eta = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5]), 0.5
    _, (up, down) = multiplicative_weights(ROCK_PAPER_SCISSORS, x, y, steps=1, eta=eta)
    weights = [
        x[a] * np.exp(eta * sum(ROCK_PAPER_SCISSORS[a, b] * y[b] for b in range(3)))
        for a in range(3)
    ]
    np.testing.assert_allclose(up, np.array(weights) / sum(weights))
    weights = [
        y[b] * np.exp(-eta * sum(x[a] * ROCK_PAPER_SCISSORS[a, b] for a in range(3)))
        for b in range(3)
    ]
    np.testing.assert_allclose(down, np.array(weights) / sum(weights))


def test_small_steps_are_the_continuous_chase_and_large_ones_spiral_out() -> None:
    x, y = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]
    *_, smooth = replicator(ROCK_PAPER_SCISSORS, x, y, steps=100)  # one unit of time
    *_, fine = multiplicative_weights(ROCK_PAPER_SCISSORS, x, y, steps=10_000, eta=1e-4)
    np.testing.assert_allclose(smooth, fine, atol=1e-3)
    trail = list(multiplicative_weights(ROCK_PAPER_SCISSORS, x, y, steps=3000))
    products = np.array([np.prod(x) * np.prod(y) for x, y in trail])
    assert (np.diff(products) < 0).all()  # never once inward
    assert exploitability(ROCK_PAPER_SCISSORS, *trail[-1]) > 0.9
    mean = [np.mean([pair[k] for pair in trail], axis=0) for k in (0, 1)]
    assert exploitability(ROCK_PAPER_SCISSORS, *mean) < 0.1


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: train([1.0, 2.0]), "game"),
        (lambda: train([[np.nan]]), "game"),
        (lambda: Config(games=0), "games"),
        (lambda: Config(alpha=2.0), "alpha"),
        (lambda: Config(temperature=0.0), "temperature"),
        (lambda: exploitability(ROCK_PAPER_SCISSORS, [0.5, 0.5, 0.5], [1, 0, 0]), "x"),
        (lambda: list(replicator(ROCK_PAPER_SCISSORS, [1, 0, 0], [2, -1, 0], steps=1)), "y"),
    ],
)
def test_misuse_is_named(call: Any, word: str) -> None:
    with pytest.raises(InvalidArgumentError, match=word):
        call()
