"""The equations of the chapter on Markov decision processes, each against an independent oracle."""

from __future__ import annotations

import itertools
from collections import defaultdict
from fractions import Fraction

import gymnasium as gym
import numpy as np
import pytest

from rlcourse.algorithms.dynamic_programming import evaluate, q_values
from rlcourse.errors import ImproperPolicyError
from rlcourse.mdp import TabularMDP, chain, from_env, grid, random_mdp, solve_chain
from rlcourse.returns import discounted_returns

HALF = Fraction(1, 2)


def trajectories(mdp, policy, state, steps, first_action=None):
    """Every trajectory of the raw tables: (probability, [(s, a, r)], last state). No matrices."""
    if steps == 0 or mdp.terminal[state]:
        yield 1.0, [], state
        return
    for a in range(mdp.num_actions):
        choice = policy[state][a] if first_action is None else float(a == first_action)
        if choice == 0:
            continue
        for s2 in range(mdp.num_states):
            p = mdp.transition[state, a, s2]
            if p == 0:
                continue
            for rest, path, last in trajectories(mdp, policy, s2, steps - 1):
                yield choice * p * rest, [(state, a, mdp.reward[state, a]), *path], last


def discounted(path, gamma):
    return sum(gamma**k * r for k, (_, _, r) in enumerate(path))


def small_world():
    """Three states, the last one terminal, and a policy that mixes."""
    P = np.array(
        [[[0.5, 0.3, 0.2], [0, 0.6, 0.4]], [[0.7, 0, 0.3], [0.2, 0.8, 0]], [[0, 0, 1]] * 2]
    )
    R = np.array([[1.0, -2.0], [0.5, 3.0], [9.0, 9.0]])
    return TabularMDP(P, R, [False, False, True]), np.array([[0.3, 0.7], [0.9, 0.1], [0.5, 0.5]])


def random_walks(mdp, policy, first, gamma, walks, steps, rng):
    """Returns of sampled walks, by inverting cumulative probabilities."""
    cumulative = mdp.transition.cumsum(axis=2)
    actions = policy.cumsum(axis=1)
    s, total = np.full(walks, first), np.zeros(walks)
    for k in range(steps):
        a = (rng.random((walks, 1)) > actions[s]).sum(axis=1).clip(0, mdp.num_actions - 1)
        total += gamma**k * mdp.reward[s, a]
        s = (rng.random((walks, 1)) > cumulative[s, a]).sum(axis=1).clip(0, mdp.num_states - 1)
    return total


def assert_covers(sample, expected):
    """The mean of a sample lies within four standard errors of what it should be."""
    error = sample.std() / len(sample) ** 0.5
    assert error > 0
    assert abs(sample.mean() - expected) < 4 * error, (sample.mean(), expected, error)


@pytest.mark.equation("eq-mdp-model", oracle="frequencies counted in Gymnasium's own step")
@pytest.mark.parametrize(
    ("env_id", "state", "action"), [("FrozenLake-v1", 14, 2), ("FrozenLake-v1", 1, 1)]
)
def test_mdp_model(env_id, state, action):
    env = gym.make(env_id).unwrapped
    env.reset(seed=7)
    mdp = from_env(env)
    steps, arrivals, rewards = 4000, np.zeros(mdp.num_states), []
    for _ in range(steps):
        env.s = state
        next_state, reward, *_ = env.step(action)
        arrivals[next_state] += 1
        rewards.append(reward)
    p = mdp.successors(state, action)
    assert (arrivals[p == 0] == 0).all()
    assert (np.abs(arrivals / steps - p) <= 4 * np.sqrt(p * (1 - p) / steps)).all()
    margin = 4 * np.std(rewards) / steps**0.5
    assert abs(np.mean(rewards) - mdp.reward[state, action]) <= margin
    if state == 14:
        assert margin > 0


@pytest.mark.equation(
    "eq-mdp-markov", oracle="all paths of a puck on a ring, enumerated in fractions"
)
def test_mdp_markov_property():
    keep, cells, length = Fraction(9, 10), 8, 5
    joint = defaultdict(Fraction)  # (cell 0, ..., cell 4) -> probability
    for start, direction in itertools.product(range(cells), (1, -1)):
        for flips in itertools.product((1, -1), repeat=length - 1):
            p, d, path = Fraction(1, 2 * cells), direction, [start]
            for flip in flips:
                d *= flip
                p *= keep if flip == 1 else 1 - keep
                path.append((path[-1] + d) % cells)
            joint[tuple(path)] += p

    def next_cell(length_of_history):
        """history -> distribution of the next cell."""
        table = defaultdict(lambda: defaultdict(Fraction))
        for path, p in joint.items():
            table[path[-1 - length_of_history : -1]][path[-1]] += p
        return {h: {c: p / sum(row.values()) for c, p in row.items()} for h, row in table.items()}

    one, two, four = next_cell(1), next_cell(2), next_cell(4)
    assert all(row == two[history[-2:]] for history, row in four.items())  # the past adds nothing
    assert all(row != one[history[-1:]] for history, row in two.items())  # to one cell it adds
    assert set(one[3,].values()) == {HALF}


@pytest.mark.equation("eq-mdp-return", oracle="a geometric series and hand-computed fractions")
def test_mdp_return():
    rewards, gamma = [3, -1, 0, 8], HALF
    by_hand = [Fraction(7, 2), Fraction(1), Fraction(4), Fraction(8)]
    sums = [sum(gamma**k * r for k, r in enumerate(rewards[t:])) for t in range(4)]
    assert sums == by_hand
    assert all(sums[t] == rewards[t] + gamma * sums[t + 1] for t in range(3))
    computed = discounted_returns([3.0, -1.0, 0.0, 8.0], [0.5, 0.5, 0.5, 0.0])
    np.testing.assert_allclose(computed, [float(x) for x in by_hand])
    # A reward of one for ever: 1 / (1 - gamma).
    ones = discounted_returns(np.ones(400), np.full(400, 0.9))
    assert ones[0] == pytest.approx(1 / (1 - 0.9), abs=1e-12)


@pytest.mark.equation("eq-mdp-chain", oracle="two steps of every trajectory, enumerated")
def test_mdp_chain():
    mdp, policy = small_world()
    P, r = mdp.under(policy)
    for s in (0, 1):
        arrivals, pay = np.zeros(3), 0.0
        for p, path, last in trajectories(mdp, policy, s, 2):
            arrivals[last] += p if len(path) == 2 else 0.0
            pay += p * sum(reward for *_, reward in path)
        np.testing.assert_allclose((P @ P)[s], arrivals, atol=1e-12)
        assert (r + P @ r)[s] == pytest.approx(pay, abs=1e-12)


@pytest.mark.equation("eq-mdp-v", oracle="all trajectories of 9 steps, with a bound on the rest")
def test_mdp_state_value():
    mdp, policy = small_world()
    gamma, steps = 0.4, 9
    rest = gamma**steps * np.abs(mdp.reward).max() / (1 - gamma)
    values = evaluate(mdp, policy, gamma)
    for s in (0, 1):
        mean = sum(
            p * discounted(path, gamma) for p, path, _ in trajectories(mdp, policy, s, steps)
        )
        assert abs(values[s] - mean) <= rest < 0.002
    assert values[2] == 0


@pytest.mark.equation("eq-mdp-q", oracle="all trajectories with the first action given")
def test_mdp_action_value():
    mdp, policy = small_world()
    gamma, steps = 0.4, 9
    rest = gamma**steps * np.abs(mdp.reward).max() / (1 - gamma)
    q = q_values(mdp, evaluate(mdp, policy, gamma), gamma)
    for s, a in itertools.product((0, 1), (0, 1)):
        paths = trajectories(mdp, policy, s, steps, first_action=a)
        assert abs(q[s, a] - sum(p * discounted(path, gamma) for p, path, _ in paths)) <= rest


@pytest.mark.equation(
    "eq-mdp-v-from-q", oracle="walks whose first action is drawn, and a hand-solved state"
)
def test_mdp_value_from_q():
    # One state, one step: actions worth 2 and -4, chosen with 1/4 and 3/4.
    P = np.zeros((2, 2, 2))
    P[:, :, 1] = 1.0
    one = TabularMDP(P, np.array([[2.0, -4.0], [0.0, 0.0]]), [False, True])
    policy = np.array([[0.25, 0.75], [0.5, 0.5]])
    assert evaluate(one, policy, 0.9)[0] == pytest.approx(0.25 * 2 - 0.75 * 4)
    mdp, policy = small_world()
    q = q_values(mdp, evaluate(mdp, policy, 0.8), 0.8)
    walks = random_walks(mdp, policy, 0, 0.8, 20_000, 60, np.random.default_rng(0))
    assert_covers(walks, policy[0] @ q[0])


@pytest.mark.equation(
    "eq-mdp-linear", oracle="the gambler's ruin in closed form, and sampled walks"
)
def test_mdp_linear_system():
    uniform = np.full((7, 2), 0.5)
    np.testing.assert_allclose(
        solve_chain(*chain(5).under(uniform), 1.0),
        [0, *(i / 6 for i in range(1, 6)), 0],
        atol=1e-12,
    )
    for seed in range(5):
        mdp = random_mdp(6, 3, seed=seed)
        policy = np.random.default_rng(seed).dirichlet(np.ones(3), size=6)
        P, r = mdp.under(policy)
        value = np.linalg.solve(np.eye(6) - 0.9 * P, r)
        walks = random_walks(mdp, policy, 0, 0.9, 4000, 150, np.random.default_rng(seed + 50))
        assert_covers(walks, value[0])


def test_mdp_algorithm_evaluate():
    """The steps of alg-mdp-evaluate, done by hand, are what the package does."""
    for seed in range(20):
        mdp = random_mdp(5, 3, seed=seed)
        policy = np.random.default_rng(seed).dirichlet(np.ones(3), size=5)
        P = sum(policy[:, a, None] * mdp.transition[:, a] for a in range(3))
        r = np.array([policy[s] @ mdp.reward[s] for s in range(5)])
        v = np.zeros(5)
        for _ in range(600):  # no solver: the fixed point, by repetition
            v = r + 0.95 * P @ v
        np.testing.assert_allclose(evaluate(mdp, policy, 0.95), v, atol=1e-10)
        with pytest.raises(ImproperPolicyError):
            evaluate(mdp, policy, 1.0)


@pytest.mark.equation("eq-mdp-occupancy", oracle="visits counted in sampled walks")
def test_mdp_occupancy():
    lake, rng, walks, gamma = grid(["S.H", "..G"], slip=0.4), np.random.default_rng(3), 20_000, 0.9
    policy = rng.dirichlet(np.ones(4), size=6)
    P, r = lake.under(policy)
    occupancy = solve_chain(P.T, lake.start, gamma)
    assert occupancy @ r == pytest.approx(lake.start @ evaluate(lake, policy, gamma), abs=1e-12)
    states, alive = np.zeros(walks, dtype=int), np.ones(walks, dtype=bool)
    counted = np.zeros((walks, 6))
    for t in range(200):
        counted[alive, states[alive]] += gamma**t
        a = (rng.random((walks, 1)) > policy.cumsum(1)[states]).sum(1).clip(0, 3)
        alive &= ~lake.terminal[states]
        table = lake.transition.cumsum(2)[states, a]
        states = (rng.random((walks, 1)) > table).sum(1).clip(0, 5)
    for s in range(6):
        if occupancy[s] > 0 and counted[:, s].std() > 0:
            assert_covers(counted[:, s], occupancy[s])
    assert (counted.std(axis=0) > 0).all()


@pytest.mark.equation("eq-mdp-goal", oracle="the gambler's ruin with a biased coin, in closed form")
@pytest.mark.parametrize("up", [0.3, 0.6])
def test_mdp_goal_probability(up):
    states, goal = 9, 8
    P = np.zeros((states, states))
    for s in range(1, goal):
        P[s, s + 1], P[s, s - 1] = up, 1 - up
    # The right-hand side of the equation, applied until nothing moves.
    h = np.zeros(states)
    h[goal] = 1.0
    others = np.arange(states) != goal
    for _ in range(5000):
        h = np.where(others, P[:, goal] + P[:, others] @ h[others], 1.0)
    odds = (1 - up) / up
    np.testing.assert_allclose(h, (1 - odds ** np.arange(states)) / (1 - odds**goal), atol=1e-10)
    np.testing.assert_allclose(solve_chain(P, P[:, goal], 1.0)[1:goal], h[1:goal], atol=1e-10)


@pytest.mark.equation("eq-mdp-survival", oracle="walks ended by a coin, summed without discount")
@pytest.mark.parametrize("gamma", [0.5, 0.8, 0.95])
def test_mdp_survival(gamma):
    mdp = random_mdp(5, 2, seed=11)
    policy = np.full((5, 2), 0.5)
    rng, walks = np.random.default_rng(12), 20_000
    # How many steps each walk gets is drawn first: Pr{T > k} = gamma ** k.
    lifetimes = rng.geometric(1 - gamma, size=walks)
    k = np.arange(5)
    share = (lifetimes[:, None] > k).mean(axis=0)
    assert (
        np.abs(share - gamma**k) <= 4 * np.sqrt(gamma**k * (1 - gamma**k) / walks) + 1e-12
    ).all()
    s, total = np.zeros(walks, dtype=int), np.zeros(walks)
    for step in range(int(lifetimes.max())):
        a = rng.integers(2, size=walks)
        total += np.where(step < lifetimes, mdp.reward[s, a], 0.0)
        s = (rng.random((walks, 1)) > mdp.transition.cumsum(2)[s, a]).sum(1).clip(0, 4)
    assert_covers(total, evaluate(mdp, policy, gamma)[0])


@pytest.mark.equation("eq-mdp-bound", oracle="200 random worlds, and one that reaches the bound")
def test_mdp_bound():
    for seed in range(200):
        mdp = random_mdp(4, 2, seed=seed)
        gamma = [0.3, 0.9, 0.99][seed % 3]
        policy = np.random.default_rng(seed).dirichlet(np.ones(2), size=4)
        bound = np.abs(mdp.reward).max() / (1 - gamma)
        assert np.abs(evaluate(mdp, policy, gamma)).max() <= bound
    forever = TabularMDP(np.ones((1, 1, 1)), np.array([[-2.0]]))
    assert evaluate(forever, [0], 0.75)[0] == pytest.approx(-2 / (1 - 0.75))
