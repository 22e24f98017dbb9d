"""The exercises of ``foundations/loop``: the mistakes that readers make do not pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlcourse.envs.vector import make
from rlcourse.labs import verdict
from rlcourse.mdp import from_env

NAMES = ("return", "endings", "bootstrap", "cartpole", "goal-probability", "teleport")


# --- named mistakes: (exercise, mistake) -> a wrong answer -----------------------------------------


def one_power_too_many(rewards: Any, gamma: Any) -> Any:
    return sum(gamma ** (k + 1) * r for k, r in enumerate(rewards))


def undiscounted(rewards: Any, gamma: Any) -> Any:
    return sum(rewards)


def forward_recursion(rewards: Any, gamma: Any) -> Any:
    total = 0.0
    for r in rewards:
        total = r + gamma * total
    return total


def empty_crashes(rewards: Any, gamma: Any) -> Any:
    first, *rest = rewards
    return first + (gamma * empty_crashes(rest, gamma) if rest else 0.0)


def clock_kills(terminated: Any, truncated: Any) -> Any:
    return terminated or truncated, not (terminated or truncated)


def hangs(terminated: Any, truncated: Any) -> Any:
    return terminated, not terminated


def clock_revives(terminated: Any, truncated: Any) -> Any:
    return terminated or truncated, truncated or not terminated


def across(
    *,
    clock_kills: bool = False,
    leaks: bool = False,
    afterlife: bool = False,
    forgets: bool = False,
) -> Callable[..., Any]:
    def answer(rewards: Any, next_values: Any, terminated: Any, truncated: Any, gamma: Any) -> Any:
        future, returns = 0.0 if forgets else next_values[-1], []
        for t in reversed(range(len(rewards))):
            if truncated[t] and not leaks:
                future = next_values[t]
            if (terminated[t] and not afterlife) or (truncated[t] and clock_kills):
                future = 0.0
            future = rewards[t] + gamma * future
            returns.append(future)
        return returns[::-1]

    return answer


def forgets_its_share(first: int, epsilon: float) -> Any:
    """Lets the random step never pick the greedy action."""
    policy = np.full((16, 4), epsilon / 3)
    policy[:, first] = 1 - epsilon
    lake = from_env(make("FrozenLake-v1", is_slippery=False))
    P, r = lake.under(policy)
    return np.linalg.solve(np.eye(16) - P, r)[0]


def always_left(first: int, epsilon: float) -> Any:
    policy = np.full((16, 4), epsilon / 4)
    policy[:, 0] += 1 - epsilon
    P, r = from_env(make("FrozenLake-v1", is_slippery=False)).under(policy)
    return np.linalg.solve(np.eye(16) - P, r)[0]


def one_hundred_steps(first: int, epsilon: float) -> Any:
    policy = np.full((16, 4), epsilon / 4)
    policy[:, first] += 1 - epsilon
    P, r = from_env(make("FrozenLake-v1", is_slippery=False)).under(policy)
    h = np.zeros(16)
    for _ in range(100):
        h = r + P @ h
    return h[0]


def detector(
    false: Callable[[Any, Any], bool],
) -> Callable[..., Any]:
    def answer(make_vector: Any, steps: int) -> int:
        stepper = make_vector("rlcourse/Probe-Corridor-v0", num_envs=1)
        stepper.reset(seed=0)
        rows = [stepper.step([0]) for _ in range(steps)]
        return sum(false(row, row.next_obs[0] - row.obs[0]) for row in rows)

    return answer


WRONG: dict[str, dict[str, Any]] = {
    "return": {
        "one power too many": one_power_too_many,
        "undiscounted": undiscounted,
        "recursion run forward": forward_recursion,
        "no empty episode": empty_crashes,
    },
    "endings": {"clock kills": clock_kills, "hangs": hangs, "clock revives": clock_revives},
    "bootstrap": {
        "clock kills": across(clock_kills=True),
        "leaks into the episode before": across(leaks=True),
        "life after the end": across(afterlife=True),
        "forgets the unfinished episode": across(forgets=True),
    },
    "cartpole": {
        "lean": lambda obs: int(obs[2] > 0),
        "swing the wrong way": lambda obs: int(obs[2] + obs[3] < 0),
        "always right": lambda obs: 1,
        "a force, not a button": lambda obs: obs[2] + obs[3],
        "not a function": 1,
    },
    "goal-probability": {
        "forgets the greedy action's share": forgets_its_share,
        "ignores its argument": always_left,
        "keeps the time limit": one_hundred_steps,
    },
    "teleport": {
        "counts every end": detector(lambda row, move: bool(row.boundary[0])),
        "asks only inside": detector(lambda row, move: bool(not row.boundary[0] and move != 1)),
        "asks only at ends": detector(lambda row, move: bool(row.boundary[0] and move != 1)),
        "sees nothing": detector(lambda row, move: False),
    },
}
CASES = [(name, mistake) for name, answers in WRONG.items() for mistake in answers]


@pytest.mark.parametrize(("name", "mistake"), CASES)
def test_a_named_mistake_does_not_pass(name: str, mistake: str) -> None:
    passed, message = verdict(f"loop/{name}", WRONG[name][mistake])
    assert passed is False
    assert "expected" in message or "raised" in message


def test_every_exercise_refuses_two_mistakes() -> None:
    assert set(WRONG) == set(NAMES)
    assert min(map(len, WRONG.values())) >= 2


def test_an_answer_that_raises_is_reported_not_raised() -> None:
    passed, message = verdict("loop/cartpole", lambda obs: 1 / 0)
    assert passed is False and "ZeroDivisionError" in message
