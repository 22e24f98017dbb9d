"""The projection of a distribution onto fixed atoms, against a triple loop and what it must conserve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcourse.distributions import project

Case = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def slowly(probabilities: Any, atoms: Any, support: Any) -> np.ndarray:
    """Each atom gives each point of the support a share that falls with their distance to zero."""
    step = (support[-1] - support[0]) / (len(support) - 1)
    out = np.zeros((len(probabilities), len(support)))
    for b, row in enumerate(probabilities):
        for j, p in enumerate(row):
            place = min(max(float(atoms[b][j]), float(support[0])), float(support[-1]))
            for i, z in enumerate(support):
                out[b, i] += float(p) * max(0.0, 1.0 - abs(place - float(z)) / float(step))
    return out


@st.composite
def cases(draw: Callable[..., Any], inside: bool = False) -> Case:
    """Distributions in double precision; atoms anywhere, also exactly on the support and at its ends."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    points, count = draw(st.integers(2, 12)), draw(st.integers(1, 12))
    low, step = draw(st.integers(-20, 20)), draw(st.sampled_from([0.1, 0.5, 1.0, 2.0]))
    support = torch.linspace(low, low + step * (points - 1), points, dtype=torch.float64)
    spread = 0.0 if inside else 0.5
    width = float(support[-1] - support[0])
    atoms = low + width * rng.uniform(-spread, 1 + spread, (3, count))
    hits = rng.random((3, count)) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    atoms = np.where(hits, support.numpy()[rng.integers(points, size=(3, count))], atoms)
    probabilities = rng.dirichlet(np.full(count, 0.5), 3)
    return torch.tensor(probabilities), torch.tensor(atoms), support


@given(cases())
def test_equals_a_slow_triple_loop(case: Case) -> None:
    np.testing.assert_allclose(project(*case), slowly(*case), atol=1e-9)


@given(cases())
def test_no_probability_is_lost_or_made(case: Case) -> None:
    projected = project(*case)
    assert (projected >= 0).all()
    np.testing.assert_allclose(projected.sum(1), 1.0, atol=1e-9)


@given(cases(inside=True))
def test_the_mean_stays_where_it_was(case: Case) -> None:
    probabilities, atoms, support = case
    mean = (probabilities * atoms).sum(1)
    np.testing.assert_allclose(project(*case) @ support, mean, atol=1e-8)


def test_by_hand() -> None:
    """A reward of 1 and a discount of one half on atoms 0, 2, 4: they move to 1, 2, 3."""
    support = torch.tensor([0.0, 2.0, 4.0])
    p = torch.tensor([[0.25, 0.5, 0.25]])
    moved = 1.0 + 0.5 * support[None]
    assert project(p, moved, support).tolist() == [[0.125, 0.75, 0.125]]


def test_atoms_on_the_support_keep_all_they_have() -> None:
    """A whole place has the same floor and ceiling: sharing it out in two parts can lose both."""
    support = torch.linspace(-10.0, 10.0, 51)
    p = torch.softmax(torch.randn(4, 51, generator=torch.Generator().manual_seed(0)), 1)
    projected = project(p, support.expand(4, 51), support)
    np.testing.assert_allclose(projected, p, atol=1e-6)
    np.testing.assert_allclose(projected.sum(1), 1.0, atol=1e-6)


def test_what_lies_beyond_goes_to_the_ends() -> None:
    support = torch.tensor([0.0, 1.0, 2.0])
    p = torch.tensor([[0.25, 0.75]])
    for far in (2.0, 2.5, 1e9, float("inf")):
        assert project(p, torch.tensor([[-far, far]]), support).tolist() == [[0.25, 0.0, 0.75]]


def test_a_true_end_leaves_only_the_reward() -> None:
    """A discount of zero moves all atoms onto the reward, between two points of the support."""
    support = torch.tensor([0.0, 1.0, 2.0])
    p = torch.tensor([[0.5, 0.25, 0.25]])
    assert project(p, torch.full((1, 3), 1.25), support).tolist() == [[0.0, 0.75, 0.25]]


@given(cases())
@settings(max_examples=20)
def test_rows_do_not_touch_and_nothing_is_changed(case: Case) -> None:
    before = [tensor.clone() for tensor in case]
    probabilities, atoms, support = case
    together = project(*case)
    for b in range(len(probabilities)):
        alone = project(probabilities[b : b + 1], atoms[b : b + 1], support)
        np.testing.assert_allclose(alone[0], together[b], atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(case, before, strict=True))


def test_shapes_that_do_not_match_are_refused() -> None:
    """One row of atoms for many rows of probabilities must be said, not guessed."""
    support = torch.tensor([0.0, 1.0])
    for shape in ((1, 2), (2,), (3, 1)):
        with pytest.raises(AssertionError):
            project(torch.full((3, 2), 0.5), torch.zeros(shape), support)
