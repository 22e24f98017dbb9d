"""Bad input, door by door: a typed error that names the argument, the value and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import scipy.sparse as sp

from rlcourse import errors
from rlcourse.algorithms.dynamic_programming import (
    converged,
    evaluate,
    finite_horizon,
    modified_policy_iteration,
    policy_evaluation,
    policy_iteration,
    value_iteration,
)
from rlcourse.errors import (
    CourseError,
    ImproperPolicyError,
    InvalidArgumentError,
    NoModelError,
    UnknownEnvironmentError,
)
from rlcourse.labs import check
from rlcourse.mdp import TabularMDP, chain, from_env, grid, parse_map, random_mdp, tic_tac_toe

EVEN = np.full((2, 1, 2), 0.5)
ZERO = np.zeros((2, 1))
LOOP = TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)))
# Two states; from the first no road leads to the end.
STUCK = TabularMDP(np.eye(2)[:, None], ZERO, np.array([False, True]))


def with_entry(index: tuple[int, ...], value: float) -> np.ndarray:
    table = EVEN.copy()
    table[index] = value
    return table


def sparse(table: np.ndarray) -> list[Any]:
    return [sp.csr_array(table[:, a]) for a in range(table.shape[1])]


HALF_ROW = with_entry((1, 0, 0), 0.4)
NEGATIVE = with_entry((1, 0), np.array([-0.5, 1.5]))
MODELS = [
    (lambda: TabularMDP(HALF_ROW, ZERO), r"transition\[1, 0\] sums to 0\.9: must sum to one"),
    (lambda: TabularMDP(sparse(HALF_ROW), ZERO), r"transition\[1, 0\] sums to 0\.9"),
    (lambda: TabularMDP(NEGATIVE, ZERO), r"transition\[1, 0, 0\] = -0\.5: .*not negative"),
    (lambda: TabularMDP(sparse(NEGATIVE), ZERO), r"transition\[1, 0, 0\] = -0\.5"),
    (lambda: TabularMDP(with_entry((0, 0, 1), np.nan), ZERO), r"transition\[0, 0, 1\] = nan"),
    (
        lambda: TabularMDP(EVEN[:, :, :1], ZERO),
        r"transition of shape \(2, 1, 1\): must be \[2, 1, 2\]",
    ),
    (lambda: TabularMDP([[0.5], [0.5, 1]], ZERO), r"transition: must be an array of numbers"),
    (lambda: TabularMDP(None, ZERO), r"transition of shape \(\): must be \[2, 1, 2\]"),
    (lambda: TabularMDP(sparse(EVEN) * 2, ZERO), r"transition: 2 matrices .*must be 1 sparse"),
    (lambda: TabularMDP(sp.csr_array(EVEN[:, 0]), ZERO), r"transition: one sparse matrix \(2, 2\)"),
    (lambda: TabularMDP(EVEN, [0.0, 0.0]), r"reward of shape \(2,\): must be \[states, actions\]"),
    (lambda: TabularMDP(EVEN, [[0.0], [np.inf]]), r"reward\[1, 0\] = inf: must be finite"),
    (lambda: TabularMDP(EVEN, [["a"], ["b"]]), r"reward: must be an array of numbers"),
    (lambda: TabularMDP(EVEN, ZERO, [True]), r"terminal of shape \(1,\): must be \[2\]"),
    (lambda: TabularMDP(EVEN, ZERO, start=[0.5, 0.4]), r"start sums to 0\.9.*sum to one"),
    (lambda: TabularMDP(EVEN, ZERO, start=[1.5, -0.5]), r"start .*least -0\.5.*non-negative"),
    (lambda: TabularMDP(EVEN, ZERO, start=[np.nan, 1.0]), r"start sums to nan"),
    (lambda: TabularMDP(EVEN, ZERO, start=[1.0]), r"start of shape \(1,\): must be \[2\]"),
    (lambda: random_mdp(0, 2, seed=0), r"states = 0: must be a whole number"),
    (lambda: random_mdp(2, 1.5, seed=0), r"actions = 1\.5"),
    (lambda: random_mdp(2, 2, seed=0, branching=3), r"branching = 3: must be at most states = 2"),
    (lambda: random_mdp(2, 2, seed=-1), r"seed = -1: must be a non-negative integer"),
    (lambda: chain(0), r"length = 0"),
    (lambda: tic_tac_toe(lambda board: {0: 0.5}), r"(opponent: played cell 0|sums to 0\.5)"),
    (
        lambda: tic_tac_toe(lambda board: {9: 1.0}),
        r"opponent: played cell 9 on .*free one of 0\.\.8",
    ),
    (lambda: tic_tac_toe(lambda board: {-1: 1.0}), r"opponent: played cell -1"),
]
MAPS = [
    (lambda: grid("S..\n..."), r"map: no goal; draw at least one G"),
    (lambda: grid("..G"), r"map: no start; draw at least one S"),
    (lambda: grid("S..\n..\n..G"), r"map: rows of lengths \[3, 2, 3\]: must be of one length"),
    (lambda: grid(""), r"map: rows of lengths \[\]"),
    (lambda: grid(["", ""]), r"map: rows of lengths \[0, 0\].*not empty"),
    (lambda: parse_map("S?G!"), r"map: unknown \[.*'!'.*'\?'.*\]; the legend is S start"),
    (lambda: grid("S.G", slip=1.2), r"slip = 1\.2: must be a number in \[0, 1\]"),
    (lambda: grid("S.G", step=np.nan), r"reward\[0, 0\] = nan: must be finite"),
    (lambda: grid("S.G", goal=np.inf), r"reward\[1, 2\] = inf: must be finite"),
]
SOLVERS = [
    (lambda: next(value_iteration(LOOP, 1.01)), r"gamma = 1\.01: must be a number in \[0, 1\]"),
    (lambda: next(value_iteration(LOOP, -0.1)), r"gamma = -0\.1"),
    (lambda: next(value_iteration(LOOP, np.nan)), r"gamma = nan"),
    (lambda: next(value_iteration(LOOP, "0.9")), r"gamma = '0\.9'"),
    (lambda: next(value_iteration(LOOP, np.array([0.1, 0.2]))), r"gamma = array"),
    (lambda: next(policy_evaluation(LOOP, [0], 2)), r"gamma = 2"),
    (lambda: next(policy_iteration(LOOP, 2)), r"gamma = 2"),
    (lambda: next(finite_horizon(LOOP, 3, 2)), r"gamma = 2"),
    (lambda: next(finite_horizon(LOOP, 0)), r"horizon = 0: must be a whole number"),
    (lambda: next(modified_policy_iteration(LOOP, 0.9, sweeps=-1)), r"sweeps = -1"),
    (lambda: next(modified_policy_iteration(LOOP, 7)), r"gamma = 7"),
    (lambda: evaluate(LOOP, [0], None), r"gamma = None"),
    (lambda: evaluate(LOOP, [0.5], 0.9), r"policy of shape \(1,\): must be integers \[1\]"),
    (lambda: evaluate(LOOP, [[np.nan]], 0.9), r"policy\[0\] = \[nan\]: .*sum to one"),
    (lambda: evaluate(LOOP, [[0.9]], 0.9), r"policy\[0\] = \[0\.9\]"),
    (lambda: evaluate(LOOP, [1], 0.9), r"policy\[0\] = 1: actions must be in 0\.\.0"),
    (lambda: evaluate(LOOP, [-1], 0.9), r"policy\[0\] = -1"),
    (lambda: evaluate(LOOP, "left", 0.9), r"policy: must be an array of numbers"),
    (
        lambda: next(value_iteration(LOOP, 0.9, [1.0, 2.0])),
        r"initial of shape \(2,\): must be finite",
    ),
    (
        lambda: next(value_iteration(LOOP, 0.9, [np.nan])),
        r"initial of shape \(1,\): must be finite",
    ),
    (lambda: converged(value_iteration(LOOP, 0.9), 0.0), r"tolerance = 0\.0: must be positive"),
    (lambda: converged(value_iteration(LOOP, 0.9), np.nan), r"tolerance = nan"),
    (lambda: converged(value_iteration(LOOP, 1.0)), r"gamma = 1: .*no proven stopping rule"),
    (lambda: converged(iter([])), r"stream: ended before it converged"),
]
IMPROPER = [
    (lambda: evaluate(LOOP, [0], 1.0), r"gamma = 1: state 0 never reaches .*this policy; use gamma"),
    (lambda: evaluate(grid("S.G"), [0, 2, 0], 1.0), r"gamma = 1: state 0 .*under this policy"),
    (lambda: next(policy_evaluation(grid("S.G"), [0, 2, 0], 1.0)), r"gamma = 1: state 0"),
    (lambda: next(policy_iteration(STUCK, 1.0)), r"gamma = 1: state 0 .*under any policy"),
    (lambda: next(policy_iteration(grid("S#G"), 1.0)), r"state 0 never reaches .*any policy"),
    (lambda: [*policy_iteration(TabularMDP(
        np.stack([np.eye(2), [[0, 1], [0, 1]]], axis=1), [[1.0, 0.0], [0.0, 0.0]],
        [False, True]), 1.0)], r"gamma = 1: state 0 .*this policy"),
]  # fmt: skip


def cases(table: list[tuple[Callable[[], Any], str]]) -> Any:
    return pytest.mark.parametrize(("call", "message"), table, ids=[row[1] for row in table])


@cases(MODELS + MAPS + SOLVERS)
def test_bad_arguments_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        call()
    assert not isinstance(caught.value, ImproperPolicyError)


@cases(IMPROPER)
def test_without_discounting_a_policy_must_end(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ImproperPolicyError, match=message):
        call()


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Blackjack-v1"])
def test_environments_without_a_model_say_which_have_one(env_id: str) -> None:
    with pytest.raises(NoModelError, match=rf"env = {env_id}: .*Taxi-v4.*rlcourse/Grid-v0"):
        from_env(gym.make(env_id))


def test_every_environment_that_the_message_recommends_has_a_model() -> None:
    from rlcourse.envs.vector import make

    for env_id in ("FrozenLake-v1", "Taxi-v4", "CliffWalking-v1", "rlcourse/Grid-v0"):
        assert from_env(make(env_id)).num_states > 1


def test_an_exercise_that_does_not_exist() -> None:
    with pytest.raises(InvalidArgumentError, match=r"name = 'loop/retrun': .*loop/return"):
        check("loop/retrun")


def test_errors_are_of_one_family_and_of_pythons() -> None:
    """A reader catches them all by one name, and old habits work: ValueError, TypeError."""
    family = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    assert all(issubclass(error, CourseError) for error in family)
    assert issubclass(InvalidArgumentError, ValueError) and issubclass(NoModelError, TypeError)
    assert issubclass(UnknownEnvironmentError, InvalidArgumentError)
