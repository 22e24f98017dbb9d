"""The equations of the chapter ``playgrounds/mazes``, each against a road of its own.

Trees are enumerated, walks are powers of a matrix, policies are played in the environment, and value iteration
is the package's, which knows nothing of convolutions.
"""

from __future__ import annotations

import itertools
from itertools import islice

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rlcourse.algorithms.dynamic_programming import q_values, value_iteration  # noqa: E402
from rlcourse.algorithms.planner import Planner  # noqa: E402
from rlcourse.envs.grid import GridEnv  # noqa: E402
from rlcourse.envs.mazes import distances, maps, maze, mazes, success  # noqa: E402
from rlcourse.mdp import grid, parse_map  # noqa: E402


def doors_of(rooms: int) -> list[tuple[int, int]]:
    """Pairs of neighbouring rooms."""
    beside = [(r, r + 1) for r in range(rooms**2) if (r + 1) % rooms]
    return beside + [(r, r + rooms) for r in range(rooms**2 - rooms)]


def spanning_trees(rooms: int) -> list[tuple[tuple[int, int], ...]]:
    """All of them, by trying every choice of doors."""
    found = []
    for chosen in itertools.combinations(doors_of(rooms), rooms**2 - 1):
        part = list(range(rooms**2))
        for a, b in chosen:
            old, new = part[a], part[b]
            part = [new if p == old else p for p in part]
        if len(set(part)) == 1:
            found.append(chosen)
    return found


def count_trees(nodes: list[int], edges: list[tuple[int, int]]) -> float:
    """Kirchhoff's determinant."""
    inside = [(nodes.index(a), nodes.index(b)) for a, b in edges if a in nodes and b in nodes]
    laplacian = np.zeros((len(nodes), len(nodes)))
    for a, b in inside:
        laplacian[[a, b], [a, b]] += 1
        laplacian[[a, b], [b, a]] -= 1
    return float(np.linalg.det(laplacian[1:, 1:]))


@pytest.mark.equation(
    "eq-mazes-leaf",
    oracle="all spanning trees enumerated, and dead ends of 4,000 drawn mazes counted",
)
def test_leaf() -> None:
    for rooms in (2, 3):
        trees, edges, nodes = spanning_trees(rooms), doors_of(rooms), list(range(rooms**2))
        assert count_trees(nodes, edges) == pytest.approx(len(trees))
        for v in nodes:
            degree = sum(v in edge for edge in edges)
            printed = degree * count_trees([n for n in nodes if n != v], edges) / len(trees)
            dead = sum(sum(v in edge for edge in tree) == 1 for tree in trees)
            assert printed == pytest.approx(dead / len(trees))
    rng, dead = np.random.default_rng(0), np.zeros(9)
    for _ in range(4000):
        free = np.pad(parse_map(maze(3, rng)) != "#", 1)
        near = sum(np.roll(free, shift, axis).astype(int) for shift in (1, -1) for axis in (0, 1))
        dead += (near[1:-1:2, 1:-1:2] == 1).ravel()
    exact = [sum(sum(v in e for e in tree) == 1 for tree in trees) / 192 for v in range(9)]
    np.testing.assert_allclose(dead / 4000, exact, atol=4 * (0.25 / 4000) ** 0.5)


@pytest.mark.equation("eq-mazes-distance", oracle="value iteration on the model, to convergence")
def test_distance() -> None:
    for seed, gamma in itertools.product(range(6), (0.5, 0.95)):
        text = maze(4, seed, loops=0.3 * (seed % 2))
        *_, last = islice(value_iteration(grid(text), gamma), 60)
        d = distances(text)
        np.testing.assert_allclose(last.values[d > 0], gamma ** (d[d > 0] - 1.0), atol=1e-12)


@pytest.mark.equation("eq-mazes-sweeps", oracle="sweeps of value iteration on the model")
def test_sweeps() -> None:
    for seed, gamma in itertools.product(range(6), (0.5, 0.95)):
        text = maze(4, seed, loops=0.3 * (seed % 2))
        d = distances(text)
        for k, sweep in zip(range(1, 26), value_iteration(grid(text), gamma), strict=False):
            printed = np.where((d > 0) & (d <= k), gamma ** (d - 1.0), 0.0)
            np.testing.assert_allclose(sweep.values, printed, atol=1e-12)


@pytest.mark.equation(
    "eq-mazes-commute",
    oracle="the time still on the way, summed forward from the matrix of the walk",
)
def test_commute() -> None:
    def hitting(text: str) -> float:
        """Mean time from start to goal: the sum of the chances not to have arrived yet."""
        world = grid(text)
        walk = world.rows.reshape(4, world.num_states, -1).mean(axis=0)
        inside = ~world.terminal
        onward = walk[np.ix_(inside, inside)]
        still, total = world.start[inside], 0.0
        while still.sum() > 1e-12:
            total, still = total + still.sum(), still @ onward
        return float(total)

    for seed in range(6):
        text = maze(3, seed)
        back = text.translate(str.maketrans("SG", "GS"))
        d, n = distances(text)["".join(text.split()).index("S")], sum(c in ".SG" for c in text)
        assert hitting(text) + hitting(back) == pytest.approx(4 * n * d, rel=1e-6)


@pytest.mark.equation(
    "eq-mazes-gap",
    oracle="every cell of every maze played in the environment, by a rule and by heart",
)
def test_gap() -> None:
    def played(text: str, chosen: np.ndarray) -> float:
        """The share of cells from which an episode ends at the goal."""
        env, arrived, cells = GridEnv(text), 0, np.flatnonzero(distances(text) > 0)
        for cell in cells:
            env.reset(seed=0)
            env.state = int(cell)
            arrived += any(env.step(int(chosen[env.state]))[2] for _ in range(30) if not
                           env.mdp.terminal[env.state])  # fmt: skip
        return arrived / len(cells)

    train, test = (mazes(8, 0, split=split, rooms=3) for split in ("train", "test"))
    best = {
        text: q_values(grid(text), np.where(distances(text) > 0, 0.9 ** distances(text), 0.0), 0.9)
        for text in train + test
    }
    by_rule = {text: best[text].argmax(axis=1) for text in best}
    rng = np.random.default_rng(0)
    by_heart = {t: by_rule[t] if t in train else rng.integers(4, size=25) for t in best}
    for policy, least in ((by_rule, 0.0), (by_heart, 0.5)):
        own, new = (np.array([policy[text] for text in texts]) for texts in (train, test))
        gap = success(train, own) - success(test, new)
        s = {text: played(text, policy[text]) for text in best}
        printed = sum(s[m] for m in train) / len(train) - sum(s[m] for m in test) / len(test)
        assert gap == pytest.approx(printed, abs=1e-12)
        assert gap >= least if least else gap == 0.0


@pytest.mark.equation(
    "eq-mazes-planner", oracle="value iteration on the model, sweep by sweep, and its action values"
)
def test_planner() -> None:
    """With the rules put in by hand: kernels that are moves, walls that are closed, a goal that ends."""
    sure = 30.0
    for seed, gamma in itertools.product(range(4), (0.5, 0.95)):
        text = maze(3, seed, loops=0.3 * (seed % 2))
        world, seen = grid(text), torch.from_numpy(maps([text])).double()
        alive = ~world.terminal
        before = np.zeros(25)
        for k, sweep in zip(range(1, 16), value_iteration(world, gamma), strict=False):
            network = Planner(k).double()
            with torch.no_grad():
                r, p, o = [0.0, 1.0], [-sure, -sure], [-2 * sure, 0.0]
                network.look.weight.copy_(torch.tensor([r, p, o])[..., None, None])
                network.look.bias.copy_(torch.tensor([0.0, np.log(gamma / (1 - gamma)) / 4, sure]))
                network.kernel.fill_(-sure)
                network.kernel[range(4), [3, 7, 5, 1]] = sure
                q = network(seen)[0].flatten(1).T.numpy()
            np.testing.assert_allclose(q[alive], q_values(world, before, gamma)[alive], atol=1e-6)
            np.testing.assert_allclose(q.max(axis=1)[alive], sweep.values[alive], atol=1e-6)
            before = sweep.values
    # and, letter by letter, for numbers without meaning
    torch.manual_seed(0)
    network = Planner(3).double()
    drawn = torch.rand(1, 2, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        r, p, o = (x[0, 0].numpy() for x in network.model(drawn))
        w, got = network.transitions()[:, 0].numpy(), network(drawn)[0].numpy()
    V = np.zeros((4, 5))
    for _ in range(3):
        U, Q = r + p * V, np.zeros((4, 4, 5))
        for a, i, j, di, dj in itertools.product(range(4), range(4), range(5), *[(-1, 0, 1)] * 2):
            inside = 0 <= i + di < 4 and 0 <= j + dj < 5
            enters, worth = (o[i + di, j + dj], U[i + di, j + dj]) if inside else (0.0, 0.0)
            Q[a, i, j] += w[a, 1 + di, 1 + dj] * (enters * worth + (1 - enters) * U[i, j])
        V = Q.max(axis=0)
    np.testing.assert_allclose(got, Q, atol=1e-12)
