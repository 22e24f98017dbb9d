"""The exercises of ``values/rainbow``: the mistakes that readers make do not pass."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rlcourse import distributions
from rlcourse.labs import verdict

# --- mistakes that readers make, each with the words that must be in the reply --------------------


def maximum_of_the_copy(q: Any, old: Any, reward: Any, discount: Any) -> Any:
    return reward + discount * old.max(axis=1)


def roles_swapped(q: Any, old: Any, reward: Any, discount: Any) -> Any:
    return reward + discount * q[np.arange(len(q)), old.argmax(axis=1)]


def smaller_maximum(q: Any, old: Any, reward: Any, discount: Any) -> Any:
    return reward + discount * np.minimum(q.max(axis=1), old.max(axis=1))


def all_columns(q: Any, old: Any, reward: Any, discount: Any) -> Any:
    return reward + discount * old[:, q.argmax(axis=1)]


def bare_root(x: Any) -> Any:
    return np.sqrt(abs(x))


def without_root(x: Any) -> Any:
    return np.sign(x) * abs(x)


def chance_itself(priority: Any, alpha: float, beta: float) -> Any:
    chance = priority**alpha / sum(priority**alpha)
    return chance / chance.max()


def not_normalised(priority: Any, alpha: float, beta: float) -> Any:
    chance = priority**alpha / sum(priority**alpha)
    return (len(chance) * chance) ** -beta


def alpha_forgotten(priority: Any, alpha: float, beta: float) -> Any:
    weight = (priority / sum(priority)) ** -beta
    return weight / weight.max()


def sums_to_one(priority: Any, alpha: float, beta: float) -> Any:
    weight = not_normalised(priority, alpha, beta)
    return weight / sum(weight)


def mass_not_reduced(nodes: Any, mass: float) -> int:
    node = 1
    while node < len(nodes) // 2:
        node = 2 * node + (mass >= nodes[2 * node])
    return int(node - len(nodes) // 2)


def node_not_leaf(nodes: Any, mass: float) -> int:
    node = 1
    while node < len(nodes) // 2:
        left = nodes[2 * node]
        node, mass = (2 * node, mass) if mass < left else (2 * node + 1, mass - left)
    return node


def largest_child(nodes: Any, mass: float) -> int:
    node = 1
    while node < len(nodes) // 2:
        node = 2 * node + (nodes[2 * node + 1] > nodes[2 * node])
    return int(node - len(nodes) // 2)


def leaf_by_leaf(nodes: Any, mass: float) -> int:
    first, total = len(nodes) // 2, 0.0
    for leaf in range(first):
        total += nodes[first + leaf]
        if total > mass:
            return leaf
    return first - 1


def lost_on_a_point(x: float, v_min: float, v_max: float, atoms: int) -> list[float]:
    place = (min(max(x, v_min), v_max) - v_min) / (v_max - v_min) * (atoms - 1)
    below, above = int(np.floor(place)), int(np.ceil(place))
    shares = [0.0] * atoms
    shares[below] += above - place
    shares[above] += place - below
    return shares


def to_the_nearest(x: float, v_min: float, v_max: float, atoms: int) -> list[float]:
    z = np.linspace(v_min, v_max, atoms)
    return [float(i == np.abs(z - x).argmin()) for i in range(atoms)]


def shares_swapped(x: float, v_min: float, v_max: float, atoms: int) -> list[float]:
    place = (min(max(x, v_min), v_max) - v_min) / (v_max - v_min) * (atoms - 1)
    below = min(int(place), atoms - 2)
    shares = [0.0] * atoms
    shares[below], shares[below + 1] = place - below, 1 - place + below
    return shares


def not_clipped(x: float, v_min: float, v_max: float, atoms: int) -> Any:
    z = np.linspace(v_min, v_max, atoms)
    return np.clip(1 - abs(x - z) / (z[1] - z[0]), 0, 1)


def spacing_of_one(x: float, v_min: float, v_max: float, atoms: int) -> Any:
    z = np.linspace(v_min, v_max, atoms)
    return np.clip(1 - abs(np.clip(x, v_min, v_max) - z), 0, 1)


def only_between(module: Any) -> bool:
    z = torch.arange(5.0)
    return bool(abs(module.project(torch.eye(5)[2:3], z[None] + 0.5, z).sum() - 1) > 1e-3)


def asks_for_the_mean(module: Any) -> bool:
    z = torch.arange(5.0)
    got = module.project(torch.eye(5)[2:3], z[None] + 0.3, z) @ z
    lost = abs(module.project(torch.eye(5)[2:3], z[None], z).sum() - 1) > 1e-3
    return bool(lost or abs(got - 2.3) > 1e-3)


WRONG: list[tuple[str, Any, str]] = [
    ("double-target", maximum_of_the_copy, "who chooses"),
    ("double-target", roles_swapped, "who chooses"),
    ("double-target", smaller_maximum, "who chooses"),
    ("double-target", all_columns, "shape"),
    ("double-target", 1.0, "expected a function"),
    ("noise", bare_root, "sign"),
    ("noise", without_root, "root"),
    ("n-step", [1.75, 4.0, 6.5], "the target from S0"),  # gamma ** 3 forgotten: one step too many
    ("n-step", [2.75, 6.5, 6.5], "terminated"),  # the left-over guess counted
    ("n-step", [2.75, 4.0, 4.0], "truncated"),  # the time limit taken for an end
    ("n-step", [2.75, 4.0, 5.25], "truncated"),  # gamma ** 3 although two rewards were summed
    ("n-step", "2.75", "3 numbers"),
    ("weights", chance_itself, "exponents"),
    ("weights", not_normalised, "exponents"),
    ("weights", alpha_forgotten, "alpha"),
    ("weights", sums_to_one, "exponents"),
    ("tree", mass_not_reduced, "what is left of the mass"),
    ("tree", node_not_leaf, "what is left of the mass"),
    ("tree", largest_child, "what is left of the mass"),
    ("tree", leaf_by_leaf, "entries"),
    ("project", lost_on_a_point, "lies on a point"),
    ("project", to_the_nearest, "nearer one"),
    ("project", shares_swapped, "nearer one"),
    ("project", not_clipped, "beyond the last"),
    ("project", spacing_of_one, "spacing"),
    ("hunt", lambda module: True, "accused"),
    ("hunt", lambda module: False, "let the bug pass"),
    ("hunt", only_between, "let the bug pass"),
    ("hunt", asks_for_the_mean, "keeps the mass"),
    ("hunt", lambda module: 1 / 0, "ZeroDivisionError"),
    ("hunt", lambda module: "yes", "True or False"),
    ("hunt", "True", "expected a function"),
]


@pytest.mark.parametrize(
    ("name", "answer", "reply"),
    WRONG,
    ids=[f"{name}-{getattr(answer, '__name__', answer)}" for name, answer, _ in WRONG],
)
def test_known_mistakes_do_not_pass(name: str, answer: Any, reply: str) -> None:
    passed, message = verdict(f"rainbow/{name}", answer)
    assert passed is False
    assert reply in message, message


def test_a_tree_search_that_breaks_on_a_large_tree_is_told_so() -> None:
    def breaks(nodes: Any, mass: float) -> int:
        if type(nodes) is not list:
            raise ZeroDivisionError("on the large tree")
        return node_not_leaf(nodes, mass) - len(nodes) // 2

    passed, message = verdict("rainbow/tree", breaks)
    assert passed is False
    assert "it raised ZeroDivisionError" in message


def test_the_other_fault_of_the_hunt_keeps_mass_and_moves_the_mean() -> None:
    from rlcourse.labs.rainbow import _nearest

    z = torch.arange(5.0)
    p = torch.full((1, 5), 0.2)
    sound, other = distributions.project, SimpleNamespace(project=_nearest).project
    for project in (sound, other):
        assert float(project(p, 0.3 * z[None] + 0.1, z).sum()) == pytest.approx(1.0)
    assert float(sound(p, 0.3 * z[None] + 0.1, z) @ z) == pytest.approx(0.7)
    assert float(other(p, 0.3 * z[None] + 0.1, z) @ z) != pytest.approx(0.7)
