"""The equations of the chapter ``playgrounds/many_agents``, each against a road of its own."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import linprog

from rlcourse.algorithms.matrix_games import (
    CLIMBING,
    ROCK_PAPER_SCISSORS,
    action_values,
    exploitability,
    multiplicative_weights,
    replicator,
)
from rlcourse.algorithms.self_play import after, minimax, outcome
from rlcourse.envs.many import DAMPING, DT, PUSH, Spread, aec_returns
from rlcourse.labs.many_agents import TurnGame

Chances = tuple[Any, Any]


def two(seed: int, actions: int = 3) -> Chances:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(actions)), rng.dirichlet(np.ones(actions))


@pytest.mark.equation("eq-agents-aec", oracle="the plain sum of all rewards, turn by turn")
def test_what_is_told_adds_up_to_what_was_paid() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        agents = ["a", "b", "c"][: int(rng.integers(1, 4))]
        pay = [
            {n: float(rng.integers(-5, 6)) for n in agents} for _ in range(int(rng.integers(1, 15)))
        ]
        told = dict.fromkeys(agents, 0.0)
        for k, name in enumerate(agents):
            turns = [t for t in range(len(pay)) if t % len(agents) == k]
            edges = [0, *turns, len(pay)]  # the printed sums, the last one after the end
            told[name] = sum(
                sum(pay[t][name] for t in range(low, high))
                for low, high in itertools.pairwise(edges)
            )
        plain = {name: sum(row[name] for row in pay) for name in agents}
        found = aec_returns(TurnGame(agents, pay), lambda obs: np.zeros(1), seed=0)
        assert told == pytest.approx(plain) and found == pytest.approx(plain)


@pytest.mark.equation(
    "eq-agents-spread", oracle="loops over pairs, in the original world where it is there"
)
def test_the_reward_is_the_distance_of_marks_and_the_touches() -> None:
    world = Spread(copies=30)
    world.reset(0)
    rng, touched = np.random.default_rng(0), 0
    for _ in range(20):
        step = world.step(rng.integers(5, size=world.num_envs))
        for copy in range(30):
            places, marks = world.place[copy], world.landmark[copy]
            shared = 0.0
            for mark in marks:
                shared += min(((p - mark) ** 2).sum() ** 0.5 for p in places)
            for i in range(3):
                near = 0
                for j in range(3):
                    if j != i and ((places[i] - places[j]) ** 2).sum() ** 0.5 < 0.3:
                        near += 1
                touched += near
                assert step.reward[3 * copy + i] == pytest.approx(-0.5 * shared - 0.5 * near)
    assert touched > 20


@pytest.mark.equation("eq-agents-coast", oracle="the world itself, stepped until everything rests")
def test_where_a_disc_comes_to_rest() -> None:
    world = Spread(copies=1, agents=2, max_cycles=10_000)
    for seed, push in enumerate(([0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0])):
        world.reset(seed)
        world.place[0, 1] = 100.0  # the other one is out of the way
        world.velocity[0, 0] = np.random.default_rng(seed).normal(size=2)
        p, v = world.place[0, 0].copy(), world.velocity[0, 0].copy()
        world.step([seed, 0])  # a push, and nobody touches it any more
        for _ in range(200):
            world.step([0, 0])
        rest = p + DT / DAMPING * v + np.array(push) * PUSH * DT**2 / DAMPING
        np.testing.assert_allclose(world.place[0, 0], rest, atol=1e-9)


@pytest.mark.equation(
    "eq-agents-drift", oracle="the mean over ten thousand games against such a partner"
)
def test_an_action_is_worth_what_the_partner_makes_of_it() -> None:
    for seed in range(3):
        partner, _ = two(seed)
        drawn = np.random.default_rng(seed).choice(3, p=partner, size=10_000)
        for a in range(3):
            paid = CLIMBING[a, drawn]
            error = 5 * paid.std() / 100 + 1e-9
            assert abs(paid.mean() - action_values(CLIMBING, partner)[a]) < error
            assert action_values(CLIMBING, partner)[a] == pytest.approx(
                sum(partner[b] * CLIMBING[a, b] for b in range(3))
            )


@pytest.mark.equation(
    "eq-agents-gradient", oracle="finite differences of the team's expected reward"
)
def test_own_scores_times_the_shared_reward_are_the_teams_gradient() -> None:
    rng = np.random.default_rng(0)

    def chances(logits: Any) -> Any:
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def expected(logits: Any) -> float:
        x, y, z = chances(logits)
        return float(np.einsum("a,b,c,abc->", x, y, z, R))

    for _ in range(5):
        R, logits = rng.normal(size=(3, 3, 3)), rng.normal(size=(3, 3))
        pi = chances(logits)
        score = np.zeros((3, 3))
        for joint in itertools.product(range(3), repeat=3):  # the printed expectation, enumerated
            weight = np.prod([pi[i, a] for i, a in enumerate(joint)]) * R[joint]
            for i, a in enumerate(joint):
                score[i] += weight * (np.eye(3)[a] - pi[i])
        slope = np.zeros((3, 3))
        for i, a in np.ndindex(3, 3):
            step = np.zeros((3, 3))
            step[i, a] = 1e-5
            slope[i, a] = (expected(logits + step) - expected(logits - step)) / 2e-5
        np.testing.assert_allclose(score, slope, atol=1e-8)


@pytest.mark.equation("eq-agents-ippo", oracle="plain Python, agent by agent, case by case")
def test_the_objective_is_the_mean_over_agents() -> None:
    import torch

    from rlcourse.algorithms import ppo

    rng = np.random.default_rng(0)
    agents, samples, clip = 3, 40, 0.2
    now, old = rng.normal(size=(2, agents, samples)) * 0.3 - 1
    gain = rng.normal(size=(agents, samples))
    by_agent = []
    for i in range(agents):
        total = 0.0
        for k in range(samples):
            ratio = float(np.exp(now[i, k] - old[i, k]))
            limit = 1 + clip if gain[i, k] > 0 else 1 - clip
            stopped = ratio > limit if gain[i, k] > 0 else ratio < limit
            total += (limit if stopped else ratio) * gain[i, k]
        by_agent.append(total / samples)
    rows = [
        torch.from_numpy(array.T.ravel()) for array in (now, old, gain)
    ]  # as the batch has them
    assert -float(ppo.clipped_loss(*rows, clip).mean()) == pytest.approx(np.mean(by_agent))


@pytest.mark.equation("eq-agents-replicator", oracle="another solver of differential equations")
def test_the_chase_in_continuous_time() -> None:
    R = np.random.default_rng(1).normal(size=(3, 3))
    for game in (ROCK_PAPER_SCISSORS, R):
        x, y = two(2)

        def field(_: float, at: Any, game: Any = game) -> Any:
            x, y = at[:3], at[3:]
            mean = sum(x[a] * y[b] * game[a, b] for a in range(3) for b in range(3))
            up = [x[a] * (sum(game[a, b] * y[b] for b in range(3)) - mean) for a in range(3)]
            down = [-y[b] * (sum(x[a] * game[a, b] for a in range(3)) - mean) for b in range(3)]
            return [*up, *down]

        *_, (end_x, end_y) = replicator(game, x, y, steps=500)
        other = solve_ivp(field, (0, 5), [*x, *y], method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
        np.testing.assert_allclose([*end_x, *end_y], other, atol=1e-7)


def equilibrium(game: Any) -> Chances:
    """Of a zero-sum game, by linear programs: the largest floor under what x wins, the lowest ceiling for y."""

    def best(table: Any) -> Any:
        n, m = table.shape
        cost = [*np.zeros(n), -1.0]
        upper = np.column_stack([-table.T, np.ones(m)])
        found = linprog(cost, upper, np.zeros(m), [[*np.ones(n), 0.0]], [1.0],
                        bounds=[*[(0, None)] * n, (None, None)])  # fmt: skip
        return found.x[:n]

    return best(game), best(-game.T)


@pytest.mark.equation(
    "eq-agents-invariant", oracle="equilibria by linear programs; the product of probabilities"
)
def test_something_is_conserved() -> None:
    tried = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        game = (
            ROCK_PAPER_SCISSORS if seed == 0 else ROCK_PAPER_SCISSORS * rng.uniform(0.5, 2, (3, 3))
        )
        best_x, best_y = equilibrium(game)
        if min(*best_x, *best_y) < 0.05:
            continue  # not all actions are played there
        tried += 1
        trail = list(replicator(game, *two(seed), steps=1500))
        h = [best_x @ np.log(x) + best_y @ np.log(y) for x, y in trail]
        assert np.ptp(h) < 1e-6 and np.ptp([x[0] for x, _ in trail]) > 0.05
        if seed == 0:
            products = [np.prod(x) * np.prod(y) for x, y in trail]
            np.testing.assert_allclose(np.exp(3 * np.array(h)), products, rtol=1e-9)
    assert tried >= 10


@pytest.mark.equation(
    "eq-agents-average", oracle="regrets, and best answers found by trying all actions"
)
def test_averages_can_hardly_be_exploited() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        m, eta, steps = int(rng.integers(2, 6)), float(rng.uniform(0.02, 0.5)), 400
        game = rng.uniform(-1, 1, (m, m))
        even = np.full(m, 1 / m)  # the bound is for this start
        trail = list(multiplicative_weights(game, even, even, steps=steps, eta=eta))[:steps]
        x, y = (np.mean([pair[k] for pair in trail], axis=0) for k in (0, 1))
        gap = max(game[a] @ y for a in range(m)) - min(x @ game[:, b] for b in range(m))
        assert gap <= 2 * np.log(m) / (eta * steps) + eta
        assert gap == pytest.approx(exploitability(game, x, y))
        paid = [x @ game @ y for x, y in trail]
        regrets = (max(sum(game[a] @ y for _, y in trail) for a in range(m)) - sum(paid),
                   sum(paid) - min(sum(x @ game[:, b] for x, _ in trail) for b in range(m)))  # fmt: skip
        assert gap == pytest.approx(sum(regrets) / steps)


LINES = [0o7, 0o70, 0o700, 0o111, 0o222, 0o444, 0o421, 0o124]


@cache
def solved(mine: int, theirs: int, low: int = -1, high: int = 1) -> int:
    """Alpha-beta on bits."""
    if any(theirs & line == line for line in LINES):
        return -1
    if mine | theirs == 0o777:
        return 0
    for cell in range(9):
        if not (mine | theirs) >> cell & 1:
            low = max(low, -solved(theirs, mine | 1 << cell, -high, -low))
            if low >= high:
                break
    return low


@pytest.mark.equation("eq-agents-minimax", oracle="alpha-beta search on bit boards")
def test_the_value_of_every_board() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        board, known = (0,) * 9, None
        while known is None:
            free = [cell for cell in range(9) if not board[cell]]
            bits = [sum(1 << c for c in range(9) if board[c] == mark) for mark in (1, -1)]
            worth = []
            for a in free:  # the printed cases
                following = after(board, a)
                end = outcome(following)
                worth.append(1.0 if end == -1 else 0.0 if end == 0 else -minimax(following))
            assert max(worth) == minimax(board) == solved(*bits)
            board = after(board, int(rng.choice(free)))
            known = outcome(board)
