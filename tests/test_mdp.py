"""Models: built here once more by hand, from dictionaries and recursion."""

from __future__ import annotations

from collections import Counter
from functools import cache

import gymnasium as gym
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcourse.algorithms.dynamic_programming import evaluate, policy_iteration
from rlcourse.envs.vector import make
from rlcourse.mdp import (
    TabularMDP,
    board_winner,
    chain,
    from_env,
    grid,
    random_mdp,
    tic_tac_toe,
    tic_tac_toe_boards,
)

# --- the tabular model ----------------------------------------------------------------------------


def arrays(mdp: TabularMDP) -> np.ndarray:
    """``P[s, a, s']`` read off a model one row at a time."""
    return np.array(
        [[mdp.successors(s, a) for a in range(mdp.num_actions)] for s in range(mdp.num_states)]
    )


def test_terminal_states_are_worth_nothing() -> None:
    """Whatever is written about them: here the end loops, pays, and leads back."""
    transition = np.zeros((3, 1, 3))
    transition[:, 0] = [[0, 1, 0], [0, 0, 1], [0.5, 0, 0.5]]
    for rows in (transition, [sp.csr_array(transition[:, 0])]):
        mdp = TabularMDP(rows, np.array([[1.0], [2.0], [50.0]]), np.array([False, False, True]))
        np.testing.assert_allclose(evaluate(mdp, [0, 0, 0], 1.0), [3.0, 2.0, 0.0], atol=1e-12)
        np.testing.assert_allclose(evaluate(mdp, [0, 0, 0], 0.5), [2.0, 2.0, 0.0], atol=1e-12)
        assert not mdp.successors(2, 0).any() and mdp.reward[2, 0] == 0


@pytest.mark.parametrize("seed", range(5))
def test_dense_and_sparse_models_say_the_same(seed: int) -> None:
    dense = random_mdp(9, 3, seed=seed, branching=4)
    sparse = random_mdp(9, 3, seed=seed, branching=4, sparse=True)
    assert sparse.is_sparse and not dense.is_sparse
    rng = np.random.default_rng(seed)
    values, soft, sharp = rng.normal(size=9), rng.dirichlet(np.ones(3), 9), rng.integers(3, size=9)
    np.testing.assert_allclose(arrays(dense), arrays(sparse))
    np.testing.assert_allclose(dense.expected_next(values), sparse.expected_next(values))
    np.testing.assert_allclose(arrays(dense) @ values, dense.expected_next(values))
    for policy in (soft, sharp):
        weights = policy if policy.ndim == 2 else np.eye(3)[policy]
        expected = np.einsum("sa,sat->st", weights, arrays(dense))
        for mdp in (dense, sparse):
            matrix, reward = mdp.under(policy)
            np.testing.assert_allclose(matrix.toarray() if mdp.is_sparse else matrix, expected)
            np.testing.assert_allclose(reward, (weights * mdp.reward).sum(1))


def test_random_models_are_distributions_of_the_asked_width() -> None:
    mdp = random_mdp(12, 3, seed=1, branching=5)
    table = arrays(mdp)
    np.testing.assert_allclose(table.sum(2), 1)
    assert (np.count_nonzero(table, axis=2) == 5).all()
    assert np.count_nonzero(table.sum((0, 1))) == 12  # every state is reached from somewhere
    assert (arrays(random_mdp(12, 3, seed=2, branching=5)) != table).any()


def test_a_model_keeps_no_window_to_the_callers_arrays() -> None:
    transition, reward = np.ones((1, 1, 1)), np.ones((1, 1))
    mdp = TabularMDP(transition, reward)
    transition[:], reward[:] = 7.0, 7.0
    assert evaluate(mdp, [0], 0.5).tolist() == [2.0]


def test_who_can_terminate() -> None:
    """State 3 loops for ever; state 1 ends only if it wants to."""
    transition = np.zeros((4, 2, 4))
    transition[0, :, 1] = 1
    transition[1, 0, 0] = transition[1, 1, 2] = 1
    transition[2, :, 2] = transition[3, :, 3] = 1
    for rows in (transition, [sp.csr_array(transition[:, a]) for a in range(2)]):
        mdp = TabularMDP(rows, np.zeros((4, 2)), np.arange(4) == 2)
        assert mdp.can_terminate().tolist() == [True, True, True, False]
        assert mdp.can_terminate([0, 0, 0, 0]).tolist() == [False, False, True, False]
        assert mdp.can_terminate([0, 1, 0, 0]).tolist() == [True, True, True, False]
        assert mdp.can_terminate(np.full((4, 2), 0.5)).tolist() == [True, True, True, False]


# --- from environments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "states"), [("FrozenLake-v1", 16), ("Taxi-v4", 501), ("CliffWalking-v1", 48)]
)
def test_models_of_gymnasium_predict_what_its_environments_do(env_id: str, states: int) -> None:
    """Drive the real environment at random: each transition must have the model's probability."""
    env = make(env_id)
    mdp = from_env(env)
    assert mdp.num_states == states
    seen: Counter[tuple[int, int]] = Counter()
    rewards: Counter[tuple[int, int]] = Counter()
    led: Counter[tuple[int, int, int]] = Counter()
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    for _ in range(20_000):
        action = env.action_space.sample()
        following, reward, terminated, truncated, _ = env.step(action)
        end = states - 1 if terminated and env_id == "Taxi-v4" else following
        assert mdp.terminal[end] == terminated
        assert mdp.successors(obs, action)[end] > 0
        seen[obs, action] += 1
        rewards[obs, action] += reward
        led[obs, action, end] += 1
        obs = env.reset()[0] if terminated or truncated else following
    for (s, a, t), count in led.items():
        p, n = mdp.successors(s, a)[t], seen[s, a]
        assert abs(count / n - p) <= 5 * np.sqrt(p * (1 - p) / n) + 1e-12
    for (s, a), total in rewards.items():
        assert abs(total / seen[s, a] - mdp.reward[s, a]) <= 5 * np.sqrt(0.25 / seen[s, a])


def test_taxis_start_is_uniform_over_its_300_first_states() -> None:
    mdp = from_env(gym.make("Taxi-v4"))
    assert np.count_nonzero(mdp.start) == 300
    np.testing.assert_allclose(mdp.start[mdp.start > 0], 1 / 300)


def test_our_own_environments_hand_over_their_model() -> None:
    mdp = from_env(make("rlcourse/Grid-v0", text="S.G", slip=0.2))
    np.testing.assert_allclose(arrays(mdp), arrays(grid("S.G", slip=0.2)))


# --- grids ----------------------------------------------------------------------------------------


def brute_force(rows: list[str], slip: float, goal: float, hole: float, step: float) -> dict:
    """(cell, action) -> ({cell: probability}, expected reward), one move at a time."""
    heading = {0: (0, -1), 1: (1, 0), 2: (0, 1), 3: (-1, 0)}  # left, down, right, up
    model = {}
    for i, line in enumerate(rows):
        for j, cell in enumerate(line):
            if cell in "GH#":
                continue
            for action, (di, dj) in heading.items():
                # a slip turns the heading by a right angle, to either side
                ways = [(1 - slip, (di, dj)), (slip / 2, (dj, di)), (slip / 2, (-dj, -di))]
                odds: dict[tuple[int, int], float] = {}
                pay = 0.0
                for probability, (vi, vj) in ways:
                    to = (i + vi, j + vj)
                    inside = 0 <= to[0] < len(rows) and 0 <= to[1] < len(line)
                    if not inside or rows[to[0]][to[1]] == "#":
                        to = (i, j)
                    odds[to] = odds.get(to, 0.0) + probability
                    bonus = {"G": goal, "H": hole}.get(rows[to[0]][to[1]], 0.0)
                    pay += probability * (step + bonus)
                model[(i, j), action] = (odds, pay)
    return model


@st.composite
def maps(draw: st.DrawFn) -> list[str]:
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(2, 5))
    size = rows * columns
    cells = draw(st.lists(st.sampled_from(".H#.SG"), min_size=size, max_size=size))
    start = draw(st.integers(0, size - 1))
    goal = (start + draw(st.integers(1, size - 1))) % size
    cells[start], cells[goal] = "S", "G"
    return ["".join(cells[i * columns : (i + 1) * columns]) for i in range(rows)]


@given(maps(), st.sampled_from([0.0, 0.2, 2 / 3, 1.0]))
@settings(max_examples=60, deadline=None)
def test_grid_equals_brute_force(rows: list[str], slip: float) -> None:
    mdp = grid(rows, slip=slip, goal=2.0, hole=-3.0, step=-0.5)
    columns = len(rows[0])
    model = brute_force(rows, slip, 2.0, -3.0, -0.5)
    table = np.zeros((mdp.num_states, 4, mdp.num_states))
    reward = np.zeros((mdp.num_states, 4))
    for ((i, j), action), (odds, pay) in model.items():
        reward[i * columns + j, action] = pay
        for (k, m), probability in odds.items():
            table[i * columns + j, action, k * columns + m] = probability
    np.testing.assert_allclose(arrays(mdp), table, atol=1e-12)
    np.testing.assert_allclose(mdp.reward, reward, atol=1e-12)
    flat = "".join(rows)
    assert mdp.terminal.tolist() == [cell in "GH#" for cell in flat]
    np.testing.assert_allclose(mdp.start, [(c == "S") / flat.count("S") for c in flat])


def test_gymnasiums_ice_is_our_grid_with_slip_two_thirds() -> None:
    """Two builders that never met: the same optimal values from every cell."""
    theirs = from_env(gym.make("FrozenLake-v1"))
    ours = grid(["SFFF", "FHFH", "FFFH", "HFFG"], slip=2 / 3)
    a, b = ([*policy_iteration(mdp, 0.99)][-1].values for mdp in (theirs, ours))
    np.testing.assert_allclose(a, b, atol=1e-10)


def test_large_maps_become_sparse_and_stay_right() -> None:
    rows = ["S" + "." * 39, *["." * 40] * 28, "." * 39 + "G"]
    mdp = grid(rows, slip=0.1)
    assert mdp.is_sparse and mdp.num_states == 1200
    model = brute_force(rows, 0.1, 1.0, 0.0, 0.0)
    for i, j in [(0, 0), (0, 39), (15, 20), (28, 39), (29, 38)]:
        for action in range(4):
            odds, pay = model[(i, j), action]
            row = mdp.successors(i * 40 + j, action)
            assert {divmod(s, 40): row[s] for s in np.flatnonzero(row)} == pytest.approx(odds)
            assert mdp.reward[i * 40 + j, action] == pytest.approx(pay)


# --- the random walk ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 5, 19])
@pytest.mark.parametrize("right", [0.5, 0.4, 0.7])
def test_random_walk_is_the_gamblers_ruin(length: int, right: float) -> None:
    """The chance to reach the right end first: i/n if fair, else (1 - r^i) / (1 - r^n)."""
    policy = np.tile([1 - right, right], (length + 2, 1))
    i, n = np.arange(1, length + 1), length + 1
    ratio = (1 - right) / right
    expected = i / n if right == 0.5 else (1 - ratio**i) / (1 - ratio**n)
    values = evaluate(chain(length), policy, 1.0)
    np.testing.assert_allclose(values[1:-1], expected, atol=1e-12)
    assert values[0] == values[-1] == 0


# --- tic-tac-toe ----------------------------------------------------------------------------------

WINS = ["012", "345", "678", "036", "147", "258", "048", "246"]  # cells, as digits


def won(board: str, mark: str) -> bool:
    return any(all(board[int(cell)] == mark for cell in line) for line in WINS)


def put(board: str, cell: int, mark: str) -> str:
    return board[:cell] + mark + board[cell + 1 :]


def free(board: str) -> list[int]:
    return [cell for cell in range(9) if board[cell] == "."]


@cache
def best_against_chance(board: str) -> float:
    """Expectimax: X picks the best cell, O any free one."""
    results = []
    for cell in free(board):
        after = put(board, cell, "X")
        if won(after, "X"):
            results.append(1.0)
        elif not free(after):
            results.append(0.0)
        else:
            replies = [put(after, reply, "O") for reply in free(after)]
            chances = [-1.0 if won(reply, "O") else best_against_chance(reply) for reply in replies]
            results.append(sum(chances) / len(chances))
    return max(results)


def as_text(board: tuple[int, ...]) -> str:
    return "".join({1: "X", -1: "O", 0: "."}[mark] for mark in board)


def test_tic_tac_toe_equals_expectimax_on_every_board() -> None:
    values = [*policy_iteration(tic_tac_toe(), 1.0)][-1].values
    boards = tic_tac_toe_boards()
    expected = [best_against_chance(as_text(board)) for board in boards]
    np.testing.assert_allclose(values[:-1], expected, atol=1e-10)
    assert values[-1] == 0


def test_tic_tac_toe_boards_are_those_of_a_game_in_progress() -> None:
    reached: set[str] = set()
    stack = ["." * 9]
    while stack:
        board = stack.pop()
        if board in reached:
            continue
        reached.add(board)
        for cell in free(board):
            after = put(board, cell, "X")
            if not won(after, "X"):
                replies = (put(after, reply, "O") for reply in free(after))
                stack.extend(reply for reply in replies if not won(reply, "O"))
    assert {as_text(board) for board in tic_tac_toe_boards()} == reached


def test_a_perfect_opponent_holds_the_draw() -> None:
    """The game is a draw: against a minimax player the best that X can get is zero."""

    @cache
    def worth(board: str, mover: str) -> int:
        other = "O" if mover == "X" else "X"
        if won(board, other):
            return -1
        return max((-worth(put(board, cell, mover), other) for cell in free(board)), default=0)

    def perfect(board: tuple[int, ...]) -> dict[int, float]:
        text = as_text(board)
        return {max(free(text), key=lambda cell: -worth(put(text, cell, "O"), "X")): 1.0}

    mdp = tic_tac_toe(perfect)
    assert mdp.start @ [*policy_iteration(mdp, 1.0)][-1].values == pytest.approx(0.0)


def test_winner_of_every_line() -> None:
    for line in WINS:
        for mark, sign in (("X", 1), ("O", -1)):
            board = tuple(sign if str(cell) in line else 0 for cell in range(9))
            assert board_winner(board) == sign and won(as_text(board), mark)
    assert board_winner((0,) * 9) == 0
