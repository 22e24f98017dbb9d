"""The exercises of ``foundations/bellman``: solutions pass, stubs and known mistakes do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
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

CHAPTER = Path(__file__).resolve().parents[2] / "book/foundations/bellman.md"
TEXT = CHAPTER.read_text(encoding="utf-8")
CELLS = re.findall(
    r"^```\{code-cell\} python\n(?:(?::[^\n]*\n)+\n?)?(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL
)
SOLUTIONS = re.findall(
    r"^:::\{solution\} (\S+)\n.*?^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL
)


def chapter_names() -> dict[str, Any]:
    """What a reader has at hand: the chapter's imports and its own functions."""
    names: dict[str, Any] = {}
    exec(CELLS[0], names)
    program = next(cell for cell in CELLS if "def by_linear_programming" in cell)
    exec(program.split("*_, howard")[0], names)
    return names


def test_every_exercise_has_a_solution() -> None:
    exercises = re.findall(r"^:::\{exercise\}.*\n:label: (\S+)", TEXT, re.MULTILINE)
    assert sorted(exercises) == sorted(label for label, _ in SOLUTIONS)
    assert len(exercises) == 6


@pytest.mark.parametrize(("label", "code"), SOLUTIONS, ids=[label for label, _ in SOLUTIONS])
def test_solution_passes(label: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(code, chapter_names())
    printed = capsys.readouterr().out
    assert printed.startswith("✓ bellman/"), printed


def test_stubs_do_not_pass() -> None:
    stubs = [cell for cell in CELLS if re.search(r"^check\(", cell, re.MULTILINE)]
    assert len(stubs) == 6
    for cell in stubs:
        names = chapter_names()
        lines = [line for line in cell.splitlines() if not line.startswith("check(")]
        exec("\n".join(lines), names)
        name, answer = re.search(r'^check\("(.+?)", (\w+)\)', cell, re.MULTILINE).groups()  # type: ignore[union-attr]
        assert not verdict(name, names[answer]).passed


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
