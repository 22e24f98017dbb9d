"""The exercises of ``foundations/bellman``: the mistakes that readers make do not pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlcourse.algorithms.dynamic_programming import (
    converged,
    evaluate,
    greedy,
    policy_iteration,
    value_iteration,
)
from rlcourse.algorithms.dynamic_programming import q_values as package_q_values
from rlcourse.labs import verdict
from rlcourse.mdp import from_env, random_mdp

# --- known mistakes ------------------------------------------------------------------------------


def forgot_the_discount() -> Any:
    return [1 / 3, 1 / 3 + 1 / 9, 1 / 9]


def read_the_new_values_in_place() -> Any:
    return [1 / 3, 1 / 3 + 0.9 * 0.4333 / 3, 0.9 * 0.4333 / 3]


def max_before_mean(mdp: Any, values: Any, gamma: float) -> Any:
    return mdp.reward.max(axis=1) + gamma * mdp.expected_next(values).max(axis=1)


def mean_over_actions(mdp: Any, values: Any, gamma: float) -> Any:
    return (mdp.reward + gamma * mdp.expected_next(values)).mean(axis=1)


def max_over_states(mdp: Any, values: Any, gamma: float) -> Any:
    return (mdp.reward + gamma * mdp.expected_next(values)).max(axis=0)


def sums_from_one(values: Any, backed_up: Any, gamma: float) -> Any:
    d = backed_up - values
    return [d.min() / (1 - gamma), d.max() / (1 - gamma)]


def forgets_the_sign(values: Any, backed_up: Any, gamma: float) -> Any:
    largest = gamma / (1 - gamma) * np.abs(backed_up - values).max()
    return [-largest, largest]


def argmax_always(mdp: Any, policy: Any, gamma: float) -> Any:
    return greedy(package_q_values(mdp, evaluate(mdp, policy, gamma), gamma))


def greedy_in_rewards(mdp: Any, policy: Any, gamma: float) -> Any:
    return greedy(mdp.reward)


def changes_nothing(mdp: Any, policy: Any, gamma: float) -> Any:
    return policy


def the_threshold() -> Any:
    return 8


def discounted() -> Any:
    taxi = from_env(gym.make("Taxi-v4"))
    return taxi.start @ converged(value_iteration(taxi, 0.99))


def mean_of_all_states() -> Any:
    taxi = from_env(gym.make("Taxi-v4"))
    *_, best = policy_iteration(taxi, 1.0)
    return best.values[:-1].mean()


def rings_always(dp: Any) -> bool:
    return True


def never_rings(dp: Any) -> bool:
    return False


def goes_by_the_name(dp: Any) -> bool:
    return "hunted" in dp.__name__


def looks_for_impossible_values(dp: Any) -> bool:
    lake = from_env(gym.make("FrozenLake-v1"))
    return bool(dp.converged(dp.value_iteration(lake, 0.9), 1e-6).max() > 1)


def asks_for_more_than_was_promised(dp: Any) -> bool:
    mdp = random_mdp(20, 3, branching=3, seed=1)
    loose = dp.converged(dp.value_iteration(mdp, 0.99), 1e-2)
    *_, exact = policy_iteration(mdp, 0.99)
    return bool(np.abs(loose - exact.values).max() > 1e-9)


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("by-hand", forgot_the_discount),
        ("by-hand", read_the_new_values_in_place),
        ("taxi", the_threshold),
        ("taxi", discounted),
        ("taxi", mean_of_all_states),
    ],
)
def test_wrong_answers_do_not_pass(name: str, mistake: Callable[[], Any]) -> None:
    assert verdict(f"bellman/{name}", mistake()).passed is False


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("backup", max_before_mean),
        ("backup", mean_over_actions),
        ("backup", max_over_states),
        ("bounds", sums_from_one),
        ("bounds", forgets_the_sign),
        ("improve", argmax_always),
        ("improve", greedy_in_rewards),
        ("improve", changes_nothing),
        ("alarm", rings_always),
        ("alarm", never_rings),
        ("alarm", goes_by_the_name),
        ("alarm", looks_for_impossible_values),
        ("alarm", asks_for_more_than_was_promised),
    ],
)
def test_wrong_functions_do_not_pass(name: str, mistake: Callable[..., Any]) -> None:
    assert verdict(f"bellman/{name}", mistake).passed is False


def test_answers_of_the_wrong_kind_are_refused_in_words() -> None:
    for name, answer in [
        ("by-hand", "a third"),
        ("backup", 3.0),
        ("bounds", "wide"),
        ("improve", [1, 2]),
        ("taxi", "7.9"),
        ("taxi", [7.9, 8.0]),
        ("alarm", 1),
    ]:
        found = verdict(f"bellman/{name}", answer)
        assert found.passed is False
        assert "expected" in found.message
