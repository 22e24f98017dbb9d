"""The exercises of ``playgrounds/rewards``: the mistakes that readers make do not pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import rlcourse.labs.rewards  # noqa: F401  (registers the checks)
from rlcourse.algorithms.dynamic_programming import evaluate
from rlcourse.envs.vector import make
from rlcourse.labs import verdict
from rlcourse.mdp import TabularMDP, shaped

# --- mistakes that readers make ---------------------------------------------------------------------


def forgets_gamma(before: Any, after: Any, gamma: Any, terminated: Any, truncated: Any) -> Any:
    return (1 - terminated) * after - before


def discounts_both(before: Any, after: Any, gamma: Any, terminated: Any, truncated: Any) -> Any:
    return gamma * ((1 - terminated) * after - before)


def keeps_the_end(before: Any, after: Any, gamma: Any, terminated: Any, truncated: Any) -> Any:
    return gamma * after - before


def cut_is_an_end(before: Any, after: Any, gamma: Any, terminated: Any, truncated: Any) -> Any:
    return gamma * (1 - (terminated or truncated)) * after - before


def pays_nothing_at_an_end(
    before: Any, after: Any, gamma: Any, terminated: Any, truncated: Any
) -> Any:
    return 0.0 if terminated else gamma * after - before


def turned_round(before: Any, after: Any, gamma: Any, terminated: Any, truncated: Any) -> Any:
    return before - gamma * (1 - terminated) * after


def uniform(mdp: TabularMDP) -> Any:
    return np.full(mdp.reward.shape, 1 / mdp.num_actions)


def counts_rewards(mdp: TabularMDP) -> Any:
    return float(mdp.start @ evaluate(mdp, uniform(mdp), 1.0))


def from_the_first_state(mdp: TabularMDP) -> Any:
    counting = replace(mdp, reward=np.ones_like(mdp.reward))
    return float(evaluate(counting, uniform(mdp), 1.0)[0])


def from_the_likeliest_state(mdp: TabularMDP) -> Any:
    counting = replace(mdp, reward=np.ones_like(mdp.reward))
    return float(evaluate(counting, uniform(mdp), 1.0)[mdp.start.argmax()])


def the_formula_of_the_corridor(mdp: TabularMDP) -> Any:
    return float((mdp.num_states - 1) * mdp.num_states)


def negative(mdp: TabularMDP) -> Any:
    counting = replace(mdp, reward=-np.ones_like(mdp.reward))
    return float(mdp.start @ evaluate(counting, uniform(mdp), 1.0))


def the_formula_of_the_lock(mdp: TabularMDP) -> Any:
    return 2.0**mdp.num_states - 2


def proposes(bonus: TabularMDP, gamma: float) -> Any:
    return -evaluate(bonus, np.zeros(bonus.num_states, dtype=int), gamma)


def rebuilds(bonus: TabularMDP, phi: Any, gamma: float, tolerance: float) -> bool:
    built = shaped(replace(bonus, reward=np.zeros_like(bonus.reward)), phi, gamma)
    return np.allclose(built.reward, bonus.reward, atol=tolerance)


def believes_everybody(bonus: TabularMDP, gamma: float) -> Any:
    return proposes(bonus, gamma)


def believes_nobody(bonus: TabularMDP, gamma: float) -> Any:
    phi = proposes(bonus, gamma)
    return phi if np.isnan(phi).any() else None


def wrong_sign(bonus: TabularMDP, gamma: float) -> Any:
    phi = proposes(bonus, gamma)
    return -phi if rebuilds(bonus, phi, gamma, 1e-8) else None


def too_generous(bonus: TabularMDP, gamma: float) -> Any:
    phi = proposes(bonus, gamma)
    return phi if rebuilds(bonus, phi, gamma, 0.1) else None


def compares_two_policies_only(bonus: TabularMDP, gamma: float) -> Any:
    first, last = (np.full(bonus.num_states, a) for a in (0, bonus.num_actions - 1))
    one, two = (evaluate(bonus, policy, gamma) for policy in (first, last))
    return -one if abs(one - two).max() < 1 else None


def accuses_all(module: Any) -> bool:
    return True


def accuses_nobody(module: Any) -> bool:
    return False


def telescopes(module: Any) -> bool:
    """Right about sound and guilty, and it accuses the module that forgot gamma as well."""
    env = module.PotentialShaping(make("FrozenLake-v1", is_slippery=False), lambda s: 3.0 + s, 0.5)
    env.reset(seed=0)
    first, second = env.step(2)[1], env.step(1)[1]
    return bool(abs(first + 0.5 * second + 3.0) > 1e-9)


def looks_at_a_step_inside(module: Any) -> bool:
    env = module.PotentialShaping(make("FrozenLake-v1", is_slippery=False), float, 0.5)
    env.reset(seed=0)
    return bool(env.step(2)[1] != 0.5)


@pytest.mark.parametrize(
    ("name", "mistake", "words"),
    [
        ("by-hand", [0.0, -3.0, 0.0, 0.0], "the end"),  # keeps 8
        ("by-hand", [0.0, -3.0, -4.0, -2.0], "the time limit"),
        ("by-hand", [2.0, -2.0, -4.0, 2.0], "from A to B"),  # gamma forgotten
        ("by-hand", [0.0, -3.0, -4.0], "4 numbers"),
        ("by-hand", "half", "4 numbers"),
        ("bonus", forgets_gamma, "the order"),
        ("bonus", discounts_both, "the order"),
        ("bonus", keeps_the_end, "a true end"),
        ("bonus", cut_is_an_end, "a time limit"),
        ("bonus", pays_nothing_at_an_end, "a true end"),
        ("bonus", turned_round, "the sign"),
        ("bonus", 3.0, "expected a function"),
        ("luck", counts_rewards, "a lock of one turn"),
        ("luck", negative, "what a move counts, and its sign"),
        ("luck", the_formula_of_the_corridor, "which policy walks"),
        ("luck", the_formula_of_the_lock, "the ends, both of them"),
        ("luck", from_the_first_state, "the start between them"),
        ("luck", from_the_likeliest_state, "an average over all that `start` allows"),
        ("honest", believes_everybody, "where there is none (noise)"),
        ("honest", believes_nobody, "found no potential where there is one"),
        ("honest", wrong_sign, "their sign"),
        ("honest", too_generous, "there is none"),
        ("honest", compares_two_policies_only, "there is none"),
        ("race", 3.666, "without a clock"),
        ("race", 20, "is not it"),
        ("race", "4", "expected one number"),
        ("race", [1.0, 2.0], "expected one number"),
        ("hunt", accuses_all, "accused a sound one"),
        ("hunt", accuses_nobody, "let the bug pass"),
        ("hunt", telescopes, "forgotten the discount"),
        ("hunt", looks_at_a_step_inside, "let the bug pass"),
        ("hunt", 1, "expected a function"),
    ],
)
def test_wrong_answers_do_not_pass(name: str, mistake: Any, words: str) -> None:
    found = verdict(f"rewards/{name}", mistake)
    assert found.passed is False
    assert words in found.message


def test_the_race_with_a_clock_by_hand() -> None:
    """The frontier of the check, by bisection, is the one that laps and bills add up to."""
    g, cost = 0.95, 0.1
    circle = sum(g ** (8 * k + 6) + g ** (8 * k + 7) for k in range(2000)) - cost / (1 - g)
    smallest = (circle - g + cost * (1 + g + g**2)) / g**2
    assert verdict("rewards/race", smallest).passed
    assert verdict("rewards/race", smallest + 2e-3).passed is False
