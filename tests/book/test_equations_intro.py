"""The equation of the Welcome chapter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rlcourse.evaluation import exact_return
from rlcourse.mdp import TabularMDP, chain


def aim(mdp: TabularMDP, policy: np.ndarray, gamma: float, horizon: int) -> float:
    """The printed right-hand side: every trajectory, its probability, its sum of gamma^t R_{t+1}."""
    moves = list(itertools.product(range(mdp.num_actions), range(mdp.num_states)))
    chances = {
        (s, a, after): policy[s, a] * mdp.successors(s, a)[after]
        for s in range(mdp.num_states)
        for a, after in moves
    }
    total = 0.0
    open_ends = [(mdp.start[s], int(s), 0, 0.0) for s in np.flatnonzero(mdp.start)]
    while open_ends:
        probability, state, t, discounted = open_ends.pop()
        if mdp.terminal[state] or t == horizon:
            total += probability * discounted
            continue
        worth = [discounted + gamma**t * reward for reward in mdp.reward[state]]
        for action, after in moves:
            chance = chances[state, action, after]
            if chance > 0:
                open_ends.append((probability * chance, after, t + 1, worth[action]))
    return total


def coin() -> TabularMDP:
    """One cell: each of two moves pays its own reward and ends the round every other time."""
    transition = np.zeros((2, 2, 2))
    transition[0] = 0.5
    transition[1, :, 1] = 1.0
    return TabularMDP(transition, np.array([[0.5, -0.25], [0, 0]]), np.array([False, True]))


@pytest.mark.equation("eq-intro-aim", oracle="the linear system of the model")
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("mdp", [chain(3), coin()], ids=["walk", "coin"])
def test_aim_over_all_trajectories(mdp: TabularMDP, gamma: float) -> None:
    """Up to fourteen steps; from any state on, longer trajectories can add no more than 1."""
    horizon = 14
    policy = np.tile([0.25, 0.75], (mdp.num_states, 1))
    transition, _ = mdp.under(policy)
    walking = (mdp.start @ np.linalg.matrix_power(np.asarray(transition), horizon)).sum()
    exact = exact_return(mdp, policy, gamma=gamma)
    slack = gamma**horizon * walking + 1e-12
    assert aim(mdp, policy, gamma, horizon) == pytest.approx(exact, abs=slack)
    assert slack < 0.01


@pytest.mark.equation("eq-intro-aim", oracle="a random walk of three states, solved by hand")
@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_aim_of_the_random_walk(gamma: float) -> None:
    """v1 = gamma v2 / 2, v2 = gamma (v1 + v3) / 2 and v3 = 1/2 + gamma v2 / 2, solved for v2."""
    by_hand = (gamma / 4) / (1 - gamma**2 / 2)
    value = aim(chain(3), np.full((5, 2), 0.5), gamma, horizon=18)
    assert value == pytest.approx(by_hand, abs=2e-3)
    assert value != pytest.approx(gamma * by_hand, abs=2e-3)  # the first reward counts gamma ** 0
