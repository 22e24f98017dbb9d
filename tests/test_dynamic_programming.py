"""Dynamic programming against linear programming, direct solves, enumeration and known optima."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import gymnasium as gym
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array

from rlcourse.algorithms.dynamic_programming import (
    Sweep,
    converged,
    evaluate,
    finite_horizon,
    greedy,
    modified_policy_iteration,
    policy_evaluation,
    policy_iteration,
    q_values,
    value_iteration,
)
from rlcourse.evaluation import exact_return
from rlcourse.mdp import TabularMDP, chain, from_env, grid, random_mdp, tic_tac_toe

GAMMAS = (0.0, 0.3, 0.9, 0.99, 0.999)


def model(seed: int) -> tuple[TabularMDP, np.ndarray, np.ndarray, float]:
    """A random MDP, its ``P[s, a, s']`` and ``R[s, a]``, and a discount.

    Every other one is sparse, every third narrow, every fourth has an end.
    """
    rng = np.random.default_rng(seed)
    states, actions = int(rng.integers(2, 9)), int(rng.integers(1, 4))
    drawn = random_mdp(
        states, actions, seed=seed, sparse=seed % 2 == 0, branching=1 if seed % 3 == 0 else None
    )
    table = np.array(
        [[drawn.successors(s, a) for a in range(actions)] for s in range(states)], dtype=float
    )
    reward = drawn.reward.copy()
    if seed % 4 == 0:
        terminal = np.arange(states) == 0
        rows = [csr_array(table[:, a]) for a in range(actions)] if drawn.is_sparse else table
        drawn = TabularMDP(rows, reward, terminal)
        table[0], reward[0] = 0.0, 0.0
    return drawn, table, reward, GAMMAS[seed % len(GAMMAS)]


def linear_program(table: np.ndarray, reward: np.ndarray, gamma: float) -> np.ndarray:
    """The least ``v`` with ``v(s) >= R(s, a) + gamma sum P v`` for every state and action."""
    states, actions = reward.shape
    rows, bounds = [], []
    for s, a in itertools.product(range(states), range(actions)):
        rows.append(gamma * table[s, a] - np.eye(states)[s])
        bounds.append(-reward[s, a])
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    solved = linprog(
        np.ones(states), A_ub=rows, b_ub=bounds, bounds=(None, None), method="highs", options=tight
    )
    assert solved.status == 0
    return np.asarray(solved.x)


@pytest.mark.parametrize("block", range(8))
def test_value_iteration_equals_linear_programming(block: int) -> None:
    for seed in range(25 * block, 25 * (block + 1)):
        mdp, table, reward, gamma = model(seed)
        values = converged(value_iteration(mdp, gamma), 1e-9)
        expected = linear_program(table, reward, gamma)
        np.testing.assert_allclose(values, expected, atol=1e-8, rtol=0, err_msg=f"seed {seed}")


@pytest.mark.parametrize("block", range(4))
def test_every_algorithm_equals_a_direct_solve(block: int) -> None:
    """The best of all deterministic policies, each solved as a dense linear system."""
    for seed in range(25 * block, 25 * (block + 1)):
        mdp, table, reward, gamma = model(seed)
        states, actions = reward.shape
        if actions**states > 64:
            continue
        each = np.arange(states)
        best = np.full(states, -np.inf)
        for policy in itertools.product(range(actions), repeat=states):
            chosen = np.array(policy)
            system = np.eye(states) - gamma * table[each, chosen]
            solved = np.linalg.solve(system, reward[each, chosen])
            best = np.maximum(best, solved)
        for values in (
            [*policy_iteration(mdp, gamma)][-1].values,
            converged(value_iteration(mdp, gamma), 1e-9),
            converged(modified_policy_iteration(mdp, gamma, sweeps=5), 1e-9),
            converged(modified_policy_iteration(mdp, gamma, sweeps=0), 1e-9),
        ):
            np.testing.assert_allclose(values, best, atol=1e-8, err_msg=f"seed {seed}")


@pytest.mark.parametrize("block", range(4))
def test_policy_evaluation_equals_a_direct_solve(block: int) -> None:
    for seed in range(50 * block, 50 * (block + 1)):
        mdp, table, reward, gamma = model(seed)
        states, actions = reward.shape
        rng = np.random.default_rng(seed)
        for policy in (rng.dirichlet(np.ones(actions), states), rng.integers(actions, size=states)):
            weights = policy if policy.ndim == 2 else np.eye(actions)[policy]
            system = np.eye(states) - gamma * np.einsum("sa,sat->st", weights, table)
            expected = np.linalg.solve(system, (weights * reward).sum(1))
            for values in (
                evaluate(mdp, policy, gamma),
                converged(policy_evaluation(mdp, policy, gamma), 1e-9),
            ):
                np.testing.assert_allclose(values, expected, atol=1e-8, err_msg=f"seed {seed}")


# --- stopping -------------------------------------------------------------------------------------


def islands() -> TabularMDP:
    """Two states that never meet, one pays one for ever: as slow as a model can be."""
    return TabularMDP(np.eye(2)[:, None, :], np.array([[0.0], [1.0]]))


STREAMS: dict[str, Callable[[TabularMDP, float], Iterator[Sweep]]] = {
    "value iteration": value_iteration,
    "modified policy iteration": lambda mdp, gamma: modified_policy_iteration(mdp, gamma, sweeps=3),
    "policy evaluation": lambda mdp, gamma: policy_evaluation(
        mdp, np.zeros(mdp.num_states, dtype=int), gamma
    ),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("tolerance", [1.0, 1e-2, 1e-6])
def test_converged_keeps_its_promise(name: str, tolerance: float) -> None:
    for gamma in (0.5, 0.99):
        slow = converged(STREAMS[name](islands(), gamma), tolerance)
        assert np.abs(slow - [0.0, 1 / (1 - gamma)]).max() <= tolerance
    for seed in range(30):
        mdp, table, reward, gamma = model(seed)
        if name == "policy evaluation":
            exact = np.linalg.solve(np.eye(len(table)) - gamma * table[:, 0], reward[:, 0])
        else:
            exact = linear_program(table, reward, gamma)
        got = converged(STREAMS[name](mdp, gamma), tolerance)
        assert np.abs(got - exact).max() <= tolerance + 1e-9


@pytest.mark.parametrize("name", STREAMS)
def test_every_sweep_bounds_the_fixed_point(name: str) -> None:
    for seed in range(40):
        mdp, table, reward, gamma = model(seed)
        if name == "policy evaluation":
            exact = np.linalg.solve(np.eye(len(table)) - gamma * table[:, 0], reward[:, 0])
        else:
            exact = linear_program(table, reward, gamma)
        for sweep in itertools.islice(STREAMS[name](mdp, gamma), 30):
            assert (sweep.values + sweep.low <= exact + 1e-8).all()
            assert (exact <= sweep.values + sweep.high + 1e-8).all()
            assert np.abs(sweep.values - exact).max() <= sweep.error + 1e-8


def test_undiscounted_evaluation_bounds_its_fixed_point_too() -> None:
    for mdp, policy in (
        (chain(7), np.full((9, 2), 0.5)),
        (grid("S..H\n.#..\n...G", slip=0.3, step=-1.0), np.full((12, 4), 0.25)),
    ):
        exact = evaluate(mdp, policy, 1.0)
        for sweep in itertools.islice(policy_evaluation(mdp, policy, 1.0), 60):
            assert (sweep.values + sweep.low <= exact + 1e-9).all()
            assert (exact <= sweep.values + sweep.high + 1e-9).all()
        got = converged(policy_evaluation(mdp, policy, 1.0), 1e-6)
        np.testing.assert_allclose(got, exact, atol=1e-6)


def test_undiscounted_optimality_is_never_called_proven() -> None:
    """Staying is free, leaving pays one. A guess of five repeats itself for ever, and is wrong."""
    transition = np.zeros((2, 2, 2))
    transition[0, 0, 0] = transition[0, 1, 1] = transition[1, :, 1] = 1
    mdp = TabularMDP(transition, np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([False, True]))
    assert [*policy_iteration(mdp, 1.0)][-1].values.tolist() == [1.0, 0.0]
    sweep = next(value_iteration(mdp, 1.0, initial=[5.0, 0.0]))
    assert sweep.values.tolist() == [5.0, 0.0] and sweep.error == np.inf


def test_value_iteration_contracts_by_gamma() -> None:
    mdp, _, _, _ = model(1)
    exact = converged(value_iteration(mdp, 0.9), 1e-10)
    errors = [
        np.abs(sweep.values - exact).max()
        for sweep in itertools.islice(value_iteration(mdp, 0.9), 40)
    ]
    assert all(b <= 0.9 * a + 1e-9 for a, b in itertools.pairwise(errors))


def test_policy_iteration_never_gets_worse_and_ends() -> None:
    for seed in range(60):
        mdp, _, _, gamma = model(seed)
        steps = [*policy_iteration(mdp, gamma)]
        for before, after in itertools.pairwise(steps):
            assert (after.values >= before.values - 1e-9).all()
            assert (after.values > before.values).any()


def test_streams_forget_the_first_guess() -> None:
    mdp, _, _, _ = model(5)
    far = np.full(mdp.num_states, 1e4)
    np.testing.assert_allclose(
        converged(value_iteration(mdp, 0.9, far), 1e-8), converged(value_iteration(mdp, 0.9), 1e-8)
    )


@pytest.mark.parametrize("seed", range(6))
def test_finite_horizon_equals_expectimax(seed: int) -> None:
    """Written as the recursion that backward induction saves."""
    _, table, reward, _ = model(seed)
    mdp = model(seed)[0]
    gamma, states = 0.9, len(reward)

    def best(s: int, left: int) -> float:
        if left == 0:
            return 0.0
        return max(
            reward[s, a] + gamma * sum(p * best(t, left - 1) for t, p in enumerate(row) if p > 0)
            for a, row in enumerate(table[s])
        )

    steps = [*finite_horizon(mdp, 3, gamma)]
    assert len(steps) == 3
    for left, step in enumerate(steps, start=1):
        np.testing.assert_allclose(step.values, [best(s, left) for s in range(states)], atol=1e-10)


# --- known optima ---------------------------------------------------------------------------------


def lake(size: str = "4x4", slippery: bool = True) -> TabularMDP:
    return from_env(gym.make("FrozenLake-v1", map_name=size, is_slippery=slippery))


def first(mdp: TabularMDP, gamma: float) -> float:
    return float(mdp.start @ [*policy_iteration(mdp, gamma)][-1].values)


def within(mdp: TabularMDP, horizon: int) -> float:
    return float(mdp.start @ [*finite_horizon(mdp, horizon)][-1].values)


@pytest.mark.parametrize(
    ("gamma", "value", "digits"),
    [
        (1.0, 14 / 17, 10),
        (0.999, 0.7855, 4),
        (0.99, 0.542026, 6),
        (0.95, 0.180472, 6),
        (0.9, 0.068891, 6),
    ],
)
def test_slippery_lake(gamma: float, value: float, digits: int) -> None:
    assert first(lake(), gamma) == pytest.approx(value, abs=0.5001 * 10**-digits)


def test_slippery_lake_by_value_iteration() -> None:
    assert converged(value_iteration(lake(), 0.99))[0] == pytest.approx(0.542026, abs=5e-7)


def test_slippery_lake_within_a_hundred_steps() -> None:
    assert within(lake(), 100) == pytest.approx(0.744190, abs=5e-7)


@pytest.mark.parametrize(
    ("gamma", "value"), [(0.99, 0.740165), (0.999, 0.740165), (0.95, 0.729766), (0.9, 0.729766)]
)
def test_slippery_lake_greedy_within_a_hundred_steps(gamma: float, value: float) -> None:
    policy = [*policy_iteration(lake(), gamma)][-1].policy
    assert exact_return(lake(), policy, horizon=100) == pytest.approx(value, abs=5e-7)


def test_discounting_changes_the_best_policy_of_the_lake() -> None:
    policy = [*policy_iteration(lake(), 0.95)][-1].policy
    assert exact_return(lake(), policy) == pytest.approx(0.7805, abs=5e-5)


def test_dry_lake() -> None:
    assert first(lake(slippery=False), 0.99) == pytest.approx(0.99**5)
    assert within(lake(slippery=False), 6) == 1.0
    assert within(lake(slippery=False), 5) == 0.0


def test_large_slippery_lake() -> None:
    assert within(lake("8x8"), 200) == pytest.approx(0.913220, abs=5e-7)
    assert first(lake("8x8"), 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize(("size", "slippery"), [("4x4", False), ("8x8", True)])
def test_without_discounting_the_first_of_equals_never_arrives(size: str, slippery: bool) -> None:
    """Every state is worth the same, and the first of equally good actions may lead nowhere."""
    mdp = lake(size, slippery)
    values = [*policy_iteration(mdp, 1.0)][-1].values
    ties = greedy(q_values(mdp, values, 1.0).round(9))
    assert exact_return(mdp, ties, horizon=1000) == 0.0


@pytest.mark.parametrize(
    ("size", "slippery", "horizon", "value"),
    [
        ("4x4", True, 100, 0.013940),
        ("4x4", False, 100, 0.013940),
        ("8x8", True, 200, 0.001901),
    ],
)
def test_uniform_policy_on_the_lake(size: str, slippery: bool, horizon: int, value: float) -> None:
    mdp = lake(size, slippery)
    uniform = np.full((mdp.num_states, 4), 0.25)
    assert exact_return(mdp, uniform, horizon=horizon) == pytest.approx(value, abs=5e-7)


def test_taxi() -> None:
    mdp = from_env(gym.make("Taxi-v4"))
    values = [*finite_horizon(mdp, 200)][-1].values
    starts = values[mdp.start > 0]
    assert mdp.start @ values == pytest.approx(7.93)
    assert starts.min() == 3 and starts.max() == 15
    assert starts.std() == pytest.approx(2.59, abs=5e-3)
    uniform = np.full((mdp.num_states, 6), 1 / 6)
    assert exact_return(mdp, uniform, horizon=200) == pytest.approx(-771.1, abs=0.05)


def test_taxi_in_the_rain() -> None:
    mdp = from_env(gym.make("Taxi-v4", is_rainy=True))
    assert within(mdp, 200) == pytest.approx(3.955, abs=5e-4)


def test_cliff() -> None:
    assert first(from_env(gym.make("CliffWalking-v1")), 1.0) == pytest.approx(-13)
    slippery = from_env(gym.make("CliffWalking-v1", is_slippery=True))
    assert first(slippery, 1.0) == pytest.approx(-64.71, abs=5e-3)


def softened(mdp: TabularMDP, epsilon: float) -> TabularMDP:
    """The same world under a hand that trembles: with epsilon any action happens instead."""
    table = np.array([[mdp.successors(s, a) for a in range(4)] for s in range(mdp.num_states)])
    table[mdp.terminal] = np.eye(mdp.num_states)[mdp.terminal][:, None, :]
    blurred = (1 - epsilon) * table + epsilon * table.mean(1, keepdims=True)
    reward = (1 - epsilon) * mdp.reward + epsilon * mdp.reward.mean(1, keepdims=True)
    return TabularMDP(blurred, reward, mdp.terminal, mdp.start)


@pytest.mark.parametrize(
    ("epsilon", "edge", "safe"),
    [(0.1, -45.80, -20.71), (0.05, -28.81, -17.52), (0.01, -16.07, -15.44), (0.2, -83.48, -28.63)],
)
def test_cliff_while_exploring(epsilon: float, edge: float, safe: float) -> None:
    """The optimal path walked by a trembling hand, and the best that a trembling hand can do."""
    mdp = from_env(gym.make("CliffWalking-v1"))
    trembling = softened(mdp, epsilon)
    sharp = greedy(q_values(mdp, [*policy_iteration(mdp, 1.0)][-1].values, 1.0).round(9))
    assert exact_return(mdp, sharp) == pytest.approx(-13)
    assert exact_return(trembling, sharp) == pytest.approx(edge, abs=5e-3)
    assert first(trembling, 1.0) == pytest.approx(safe, abs=5e-3)


@pytest.mark.parametrize(("epsilon", "path"), [(0.1, -15), (0.2, -17)])
def test_the_safe_path_keeps_away_from_the_edge(epsilon: float, path: float) -> None:
    mdp = from_env(gym.make("CliffWalking-v1"))
    policy = [*policy_iteration(softened(mdp, epsilon), 1.0)][-1].policy
    assert exact_return(mdp, policy) == pytest.approx(path)


def test_tic_tac_toe_needs_no_more_than_five_moves() -> None:
    """Policy iteration and five steps of backward induction agree (test_mdp has the recursion)."""
    mdp = tic_tac_toe()
    assert first(mdp, 1.0) == pytest.approx(within(mdp, 5), abs=1e-10)
    assert within(mdp, 3) < within(mdp, 5)
