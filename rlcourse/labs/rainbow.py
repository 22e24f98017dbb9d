"""Checks of the exercises of the chapter ``values/rainbow``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from rlcourse.labs import (
    NotRightError,
    call,
    exercise,
    expect_by_hand,
    expect_call,
    expect_close,
    expect_detector,
    hunt,
)


@exercise("rainbow/double-target")
def _double_target(answer: Any) -> str:
    """``answer(q, old, reward, discount)``: Double DQN's targets of a batch."""
    q = np.array([[1.0, 7.0, 2.0], [4.0, 0.0, 3.0], [-3.0, -1.0, -2.0]])
    old = np.array([[9.0, 3.0, 8.0], [2.0, 6.0, 5.0], [-4.0, -6.0, -5.0]])
    reward, discount = np.array([1.0, 0.0, 2.0]), np.array([0.5, 0.9, 0.0])
    look = "who chooses (the network) and who says what the choice is worth (its copy)"
    expect_call(answer, (q, old, reward, discount), [2.5, 1.8, 2.0], look=look)
    expect_call(answer, (q[:1], old[:1], reward[:1], discount[:1]), [2.5], look="a batch of one")
    rng = np.random.default_rng(0)
    nothing, one = np.zeros(20_000), np.ones(20_000)
    mean = np.mean(call(answer, (*rng.normal(size=(2, 20_000, 10)), nothing, one)))
    what = "the mean over 20,000 pairs of independent opinions about ten worthless actions"
    expect_close(mean, 0.0, what=what, tolerance=0.03)
    return f"right: independent opinions about ten worthless actions average {mean:+.3f}."


@exercise("rainbow/noise")
def _noise(answer: Any) -> str:
    """``answer(x)``: the function of the factorised noise."""
    x = np.array([[4.0, -9.0], [0.0, 0.25]])
    expect_call(answer, (x,), [[2.0, -3.0], [0.0, 0.5]], look="the sign, and the root of the size")
    expect_call(answer, (np.array([-2.25]),), [-1.5], look="a negative number")
    first, second = np.random.default_rng(0).normal(size=(2, 200_000))
    product = call(answer, (first,)) * call(answer, (second,))
    return f"right: the product has the variance {product.var():.3f}, and 2/pi is {2 / np.pi:.3f}."


@exercise("rainbow/n-step")
def _n_step(answer: Any) -> str:
    """``answer``: three targets of three steps."""
    expect_by_hand(
        answer,
        (
            (2.75, "the target from S0", "how many rewards it sums and what the guess then counts"),
            (4.0, "the target from S2, terminated", "what may count after a true end"),
            (6.5, "the target from S2, truncated", "how many rewards came before the guess"),
        ),
    )
    return "right: the guess counts one gamma for each reward summed, and nothing after an end."


@exercise("rainbow/weights")
def _weights(answer: Any) -> str:
    """``answer(priority, alpha, beta)``: the weight of every row."""
    priority = np.array([4.0, 1.0, 0.25])
    look = "the order of the two exponents, and which row gets the weight one"
    expect_call(answer, (priority, 1.0, 1.0), [0.0625, 0.25, 1.0], look=look)
    expect_call(answer, (priority, 0.5, 1.0), [0.25, 0.5, 1.0], look="alpha")
    expect_call(answer, (priority, 1.0, 0.5), [0.25, 0.5, 1.0], look="beta")
    expect_call(answer, (priority, 0.5, 0.0), [1.0, 1.0, 1.0], look="beta = 0: no correction")
    rng = np.random.default_rng(0)
    errors = rng.normal(size=40) * rng.exponential(size=40)
    chance = abs(errors) ** 0.6 / (abs(errors) ** 0.6).sum()
    weight = np.asarray(call(answer, (abs(errors), 0.6, 1.0)))
    if weight.shape != errors.shape:
        raise NotRightError(f"expected {errors.size} weights for as many rows, got {weight.shape}.")
    mean = (chance * weight * errors).sum() / (chance * weight).sum()
    what = "the weighted average error of 40 rows"
    expect_close(mean, errors.mean(), what=what, look=look)
    return (
        f"right: drawn by surprise and weighted, 40 errors average {mean:+.4f}, as they do plain."
    )


class _Counted(list[float]):
    """A list that counts how often an entry is read."""

    reads = 0

    def __getitem__(self, key: Any) -> Any:
        self.reads += 1
        return super().__getitem__(key)

    def __iter__(self) -> Any:
        self.reads += len(self)
        return super().__iter__()


@exercise("rainbow/tree")
def _tree(answer: Any) -> str:
    """``answer(nodes, mass)``: the leaf at which the running sum passes ``mass``."""
    small = _summed([3.0, 1.0, 0.0, 2.0])
    look = "what is left of the mass after a step to the right"
    for mass, leaf in ((0.0, 0), (2.9, 0), (3.0, 1), (3.5, 1), (4.0, 3), (5.9, 3)):
        expect_call(answer, (small, mass), leaf, look=look)
    leaves = np.random.default_rng(0).exponential(size=1024).round(2).tolist()
    running, nodes = np.cumsum(leaves), _summed(leaves)
    for mass in np.linspace(0.01, running[-1] - 0.01, 97).tolist():
        # by a linear search, on sums in another order: masses stay away from the steps
        leaf = int(np.searchsorted(running, mass, side="right"))
        if min(abs(running - mass)) > 1e-6:
            expect_call(answer, (nodes, mass), leaf, look=look)
    counted = _Counted(nodes)
    try:
        answer(counted, running[-1] / 2)
    except Exception as error:  # whatever a learner's code raises is news for the learner
        raise NotRightError(f"it raised {type(error).__name__}: {error}") from None
    if counted.reads > 40:
        raise NotRightError(
            f"for 1,024 leaves you read {counted.reads} entries; a tree of ten floors needs one or two "
            "a floor. Look at where you could stop adding up."
        )
    return f"right: {counted.reads} of 2,048 entries read to find one leaf of 1,024."


def _summed(leaves: list[float]) -> list[float]:
    nodes = [0.0] * len(leaves) + leaves
    for k in range(len(leaves) - 1, 0, -1):
        nodes[k] = nodes[2 * k] + nodes[2 * k + 1]
    return nodes


@exercise("rainbow/project")
def _project(answer: Any) -> str:
    """``answer(x, v_min, v_max, atoms)``: one atom, shared among the points of the support."""
    between = "how far x lies from each of its two neighbours; the nearer one gets more"
    cases = (
        ((1.25, 0.0, 3.0, 4), [0.0, 0.75, 0.25, 0.0], between),
        ((2.0, 0.0, 3.0, 4), [0.0, 0.0, 1.0, 0.0], "an x that lies on a point: who gets it?"),
        ((7.0, 0.0, 3.0, 4), [0.0, 0.0, 0.0, 1.0], "an x beyond the last point"),
        ((-7.0, 0.0, 3.0, 4), [1.0, 0.0, 0.0, 0.0], "an x below the first point"),
        ((-0.5, -2.0, 2.0, 3), [0.25, 0.75, 0.0], "a spacing that is not one, from v_min on"),
        ((3.0, 0.0, 3.0, 4), [0.0, 0.0, 0.0, 1.0], "an x on the last point"),
    )
    for arguments, expected, look in cases:
        expect_call(answer, arguments, expected, look=look)
    support, rng = np.linspace(-3.0, 5.0, 17), np.random.default_rng(0)
    for x in rng.uniform(-3.0, 5.0, 50).tolist():
        got = np.asarray(call(answer, (x, -3.0, 5.0, 17)), dtype=np.float64)
        expect_close(got.sum(), 1.0, what=f"the mass, for x = {x:.3f}", look=between)
        expect_close(got @ support, x, what=f"the mean, for x = {x:.3f}", look=between)
    return "right: mass and mean survive wherever the atom lands on the support."


@exercise("rainbow/hunt")
def _hunt(answer: Any) -> str:
    """``answer(module)``: whether the module's projection loses probability."""
    from rlcourse import distributions

    expect_detector(
        answer,
        buggy=hunt("projection-loses-mass"),
        sound=distributions,
        other=SimpleNamespace(project=_nearest),
        but="that one moves the mean, but it keeps the mass",
    )
    return "right: your test asks the question that random inputs never asked."


def _nearest(probabilities: Any, atoms: Any, support: Any) -> Any:
    """All of an atom to the nearest point: no mass is lost, the mean is."""
    place = (atoms[:, :, None] - support).abs().argmin(dim=2)
    return probabilities.new_zeros(len(probabilities), len(support)).scatter_add_(
        1, place, probabilities
    )
