"""The exercises of ``foundations/q_learning``: the mistakes that readers make do not pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlcourse.envs.probes import probe
from rlcourse.labs import verdict

# --- mistakes that readers make, each with the words that must be in the reply --------------------


def forward_returns(rewards: list[float], gamma: float) -> list[float]:
    return [sum(gamma**k * r for k, r in enumerate(rewards[: t + 1])) for t in range(len(rewards))]


def undiscounted_returns(rewards: list[float], gamma: float) -> list[float]:
    return [sum(rewards[t:]) for t in range(len(rewards))]


def returns_backward_order(rewards: list[float], gamma: float) -> list[float]:
    future, collected = 0.0, []
    for reward in reversed(rewards):
        future = reward + gamma * future
        collected.append(future)
    return collected


def sarsa(q: Any, reward: float, discount: float, obs: int, action: int, epsilon: float) -> Any:
    return reward + discount * q[obs][action]


def own_gamma(q: Any, reward: float, discount: float, obs: int, action: int, epsilon: float) -> Any:
    return reward + 0.5 * max(q[obs])


def largest_size(
    q: Any, reward: float, discount: float, obs: int, action: int, epsilon: float
) -> Any:
    return reward + discount * max(map(abs, q[obs]))


def plain_q_learning(
    q: Any, reward: float, discount: float, obs: int, action: int, epsilon: float
) -> Any:
    return reward + discount * max(q[obs])


def exploring_excludes_best(
    q: Any, reward: float, discount: float, obs: int, action: int, epsilon: float
) -> Any:
    row = q[obs]
    others = (sum(row) - max(row)) / (len(row) - 1)
    return reward + discount * ((1 - epsilon) * max(row) + epsilon * others)


def uniform_policy(
    q: Any, reward: float, discount: float, obs: int, action: int, epsilon: float
) -> Any:
    return reward + discount * sum(q[obs]) / len(q[obs])


def one_table(q: Any, other: Any, reward: float, discount: float, obs: int) -> Any:
    return reward + discount * max(q[obs])


def judge_chooses(q: Any, other: Any, reward: float, discount: float, obs: int) -> Any:
    return reward + discount * max(other[obs])


def smaller_maximum(q: Any, other: Any, reward: float, discount: float, obs: int) -> Any:
    return reward + discount * min(max(q[obs]), max(other[obs]))


def roles_swapped(q: Any, other: Any, reward: float, discount: float, obs: int) -> Any:
    return reward + discount * q[obs][int(np.argmax(other[obs]))]


def one_step_only(module: Any) -> bool:
    world = probe("Corridor")
    config = module.Config(env_id=world.env_id, steps=3000, gamma=0.9, alpha=0.1, n=1)
    learned = module.n_step_sarsa(config).q[:5, 0]
    return bool(abs(learned - world.values(0.9)[:5]).max() > 0.05)


def impatient(module: Any) -> bool:
    world = probe("Corridor")
    config = module.Config(env_id=world.env_id, steps=30, gamma=0.9, alpha=0.1, n=3)
    learned = module.n_step_sarsa(config).q[:5, 0]
    return bool(abs(learned - world.values(0.9)[:5]).max() > 0.05)


WRONG: list[tuple[str, Any, str]] = [
    ("td-errors", [0.22, 0.47, -0.35], "step 2"),  # the guess of the final state counted
    ("td-errors", [0.22, 0.2, -0.8], "step 3"),  # the time limit taken for an end
    ("td-errors", [0.3, 0.2, -0.3], "step 1"),  # no discount
    ("td-errors", 0.22, "3 numbers"),
    ("td-errors", "0.22", "3 numbers"),
    ("returns", forward_returns, "lie ahead"),
    ("returns", undiscounted_returns, "lie ahead"),
    ("returns", returns_backward_order, "lie ahead"),
    ("returns", 0.25, "expected a function"),
    ("target", sarsa, "best next action"),
    ("target", own_gamma, "best next action"),
    ("target", largest_size, "negative"),
    ("expected", plain_q_learning, "probability of each action"),
    ("expected", sarsa, "probability of each action"),
    ("expected", exploring_excludes_best, "probability of each action"),
    ("expected", uniform_policy, "probability of each action"),
    ("double", one_table, "who chooses"),
    ("double", judge_chooses, "who chooses"),
    ("double", smaller_maximum, "who chooses"),
    ("double", roles_swapped, "who chooses"),
    ("hunt-window", lambda module: True, "accused"),
    ("hunt-window", lambda module: False, "let the bug pass"),
    ("hunt-window", one_step_only, "let the bug pass"),
    ("hunt-window", impatient, "accused"),
    ("hunt-window", lambda module: 1 / 0, "ZeroDivisionError"),
    ("hunt-window", "True", "expected a function"),
]


@pytest.mark.parametrize(
    ("name", "answer", "reply"),
    WRONG,
    ids=[f"{name}-{getattr(answer, '__name__', answer)}" for name, answer, _ in WRONG],
)
def test_known_mistakes_do_not_pass(
    name: str, answer: Callable[..., Any] | list[float], reply: str
) -> None:
    passed, message = verdict(f"q_learning/{name}", answer)
    assert passed is False
    assert reply in message, message


def test_a_target_that_breaks_in_training_is_told_so() -> None:
    calls = iter(range(100))

    def breaks(q: Any, reward: float, discount: float, obs: int, action: int, eps: float) -> float:
        if next(calls) > 20:
            raise ZeroDivisionError("far into training")
        return float(reward + discount * max(q[obs]))

    passed, message = verdict("q_learning/target", breaks)
    assert passed is False
    assert "while training an agent it raised ZeroDivisionError" in message
