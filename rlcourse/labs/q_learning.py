"""Checks of the exercises of the chapter ``foundations/q_learning``."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlcourse.algorithms import tabular
from rlcourse.algorithms.tabular import Config
from rlcourse.envs.vector import make
from rlcourse.evaluation import exact_return
from rlcourse.labs import (
    NotRightError,
    exercise,
    expect_by_hand,
    expect_call,
    expect_close,
    expect_detector,
    hunt,
)
from rlcourse.mdp import from_env

# A table whose rows tell a maximum, a sum, an action and a column apart.
TABLE = [[0.0, 3.0, 1.0], [5.0, 2.0, 4.0], [-1.0, -1.0, -4.0]]


@exercise("q_learning/td-errors")
def _td_errors(answer: Any) -> str:
    """``answer``: the TD errors of three steps."""
    expect_by_hand(
        answer,
        (
            (0.22, "step 1", "the value of the state it led to, discounted"),
            (0.2, "step 2, terminated", "what may count after an end: not even a left-over guess"),
            (-0.35, "step 3, truncated", "which of the two flags stands in the equation"),
        ),
    )
    return "right: an end drops the future, a time limit does not."


@exercise("q_learning/returns")
def _returns(answer: Any) -> str:
    """``answer(rewards, gamma)``: the return from every step on."""
    look = "which rewards lie ahead of a step, and how far"
    expect_call(answer, ([0.0, 0.0, 1.0], 0.5), [0.25, 0.5, 1.0], look=look)
    expect_call(answer, ([1.0, 2.0, 4.0], 0.0), [1.0, 2.0, 4.0], look="gamma = 0")
    expect_call(answer, ([3.0], 0.9), [3.0], look="the last step")
    expect_call(answer, ([], 0.9), [], look="what to return for an episode without steps")
    rewards = np.random.default_rng(0).normal(size=6).round(1).tolist()
    # by the definition, a double sum
    expected = [sum(0.9 ** (k - t) * rewards[k] for k in range(t, 6)) for t in range(6)]
    expect_call(answer, (rewards, 0.9), expected, look=look)
    return "right: one pass backward, as the equation of the return is written."


@exercise("q_learning/target")
def _target(answer: Any) -> str:
    """``answer(q, reward, discount, next_obs, next_action, epsilon)``: Q-learning's target."""
    look = "whether it asks for the best next action, whatever is really done next"
    expect_call(answer, (TABLE, 1.0, 0.5, 1, 1, 0.3), 3.5, look=look)
    expect_call(answer, (TABLE, -2.0, 0.9, 0, 2, 0.3), 0.7, look=look)
    expect_call(answer, (TABLE, 1.0, 0.0, 1, 1, 0.3), 1.0, look="what a discount of zero means")
    expect_call(answer, (TABLE, 0.0, 1.0, 2, 2, 0.0), -1.0, look="a row of negative values")
    lake = {"is_slippery": False}
    config = Config(
        env_options=lake,
        steps=5000,
        epsilon=0.1,
        epsilon_end=0.1,
        initial=3.0,
        gamma=0.9,
        alpha=0.5,
    )
    model = from_env(make(config.env_id, **lake))
    for seed in range(3):
        policy = _train(answer, config, seed).policy
        success = exact_return(model, policy, horizon=100)
        expect_close(success, 1.0, what=f"greedy success of the agent trained with seed {seed}")
    return "right: three agents trained with it, and every one reaches the goal."


@exercise("q_learning/expected")
def _expected(answer: Any) -> str:
    """``answer(q, reward, discount, next_obs, next_action, epsilon)``: Expected SARSA's target."""
    cases = ((1.0, 0.5, 0, 0.3), (0.0, 0.9, 1, 0.0), (-1.0, 1.0, 2, 0.6), (2.0, 0.0, 1, 0.5))
    for reward, discount, state, epsilon in cases:
        row = np.array(TABLE[state])
        best = row == row.max()  # the policy, action by action; ties share the greedy part
        policy = (1 - epsilon) * best / best.sum() + epsilon / row.size
        for action in range(row.size):
            arguments = (TABLE, reward, discount, state, action, epsilon)
            look = "the probability of each action; the target must not depend on the one drawn"
            expect_call(answer, arguments, reward + discount * policy @ row, look=look)
    env_id = "CliffWalking-v1"
    config = Config(env_id, steps=10_000, epsilon=0.1, epsilon_end=0.1, alpha=0.5, gamma=1.0)
    model = from_env(make(env_id))
    policy = _train(answer, config, 0).policy
    hand = 0.9 * np.eye(model.num_actions)[policy] + 0.1 / model.num_actions
    earned, greedy = exact_return(model, hand), exact_return(model, policy, horizon=1000)
    return (
        f"right: with it an agent takes a road of {-greedy:.0f} steps over the cliff's top and earns "
        f"{earned:.1f} an episode while exploring, by the model."
    )


@exercise("q_learning/double")
def _double(answer: Any) -> str:
    """``answer(q, other, reward, discount, next_obs)``: the target when ``q`` is updated."""
    q, other = [[1.0, 7.0, 2.0], [4.0, 0.0, 3.0]], [[9.0, 3.0, 8.0], [2.0, 6.0, 5.0]]
    look = "who chooses (the table being updated) and who is asked what the choice is worth"
    expect_call(answer, (q, other, 1.0, 0.5, 0), 2.5, look=look)
    expect_call(answer, (q, other, 0.0, 0.9, 1), 1.8, look=look)
    expect_call(answer, (q, other, 3.0, 0.0, 1), 3.0, look="what a discount of zero means")
    draws = np.random.default_rng(0).normal(size=(20_000, 2, 1, 10)).tolist()
    mean = np.mean([answer(a, b, 0.0, 1.0, 0) for a, b in draws])
    expect_close(mean, 0.0, what="the mean over 20,000 pairs of zero-mean tables", tolerance=0.03)
    return (
        f"right: ten bets of value zero are judged at {mean:+.3f} on average, not at their maximum."
    )


@exercise("q_learning/hunt-window")
def _hunt_window(answer: Any) -> str:
    """``answer(module)``: whether the module's n-step windows run into the next episode."""
    expect_detector(
        answer,
        buggy=hunt("window-crosses-episodes"),
        sound=tabular,
        other=hunt("sarsa-is-greedy"),
        but="the n-step windows of that one are sound",
    )
    return "right: your test catches the bug and accuses nobody else. That is what a test is for."


def _train(target: Any, config: Config, seed: int) -> tabular.Result:
    try:
        return tabular.train(config, seed, target=target)
    except Exception as error:  # whatever a learner's code raises is news for the learner
        raise NotRightError(
            f"while training an agent it raised {type(error).__name__}: {error}"
        ) from None
