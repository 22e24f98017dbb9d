"""The projection of a distribution onto fixed atoms, against a triple loop and what it must conserve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import distributions

from rlcourse.distributions import Categorical, SquashedNormal, project

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


# --- policies --------------------------------------------------------------------------------------


def test_the_density_of_squashed_actions_integrates_to_one_over_the_box() -> None:
    low, high = torch.tensor([-2.0], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    for mean, log_std in ((0.0, 0.0), (1.3, -1.0), (-0.4, 0.4)):
        policy = SquashedNormal(
            torch.full((1, 1), mean, dtype=torch.float64),
            torch.full((1,), log_std, dtype=torch.float64),
            low,
            high,
        )

        def density(action: float, policy: SquashedNormal = policy) -> float:
            raw = torch.atanh(torch.tensor([[action / 2]], dtype=torch.float64))
            return float(policy.log_prob(raw).exp())

        mass, _ = quad(density, -2, 2, limit=200)
        assert mass == pytest.approx(1.0, abs=1e-6)


def test_squashed_log_prob_equals_torchs_own_transformed_distribution() -> None:
    rng = torch.Generator().manual_seed(0)
    mean = torch.randn(5, 3, generator=rng, dtype=torch.float64)
    log_std = torch.randn(3, generator=rng, dtype=torch.float64) * 0.3
    low, high = torch.tensor([-2.0, 0.0, 1.0]).double(), torch.tensor([2.0, 1.0, 4.0]).double()
    ours = SquashedNormal(mean, log_std, low, high)
    raw = mean + log_std.exp() * torch.randn(5, 3, generator=rng, dtype=torch.float64)
    theirs = distributions.TransformedDistribution(
        distributions.Normal(mean, log_std.exp()),
        [
            distributions.TanhTransform(),
            distributions.AffineTransform((low + high) / 2, (high - low) / 2),
        ],
    )
    torch.testing.assert_close(ours.log_prob(raw), theirs.log_prob(ours.act(raw)).sum(-1))


def test_squashed_log_prob_is_finite_where_the_tanh_is_flat() -> None:
    policy = SquashedNormal(
        torch.zeros(1, 1), torch.zeros(1), torch.tensor([-1.0]), torch.tensor([1.0])
    )
    raw = torch.tensor([[30.0], [-30.0]])
    assert torch.isfinite(policy.log_prob(raw)).all()
    assert (policy.act(raw).abs() <= 1).all()


def test_categorical_equals_torchs_own() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    ours, theirs = Categorical(logits), distributions.Categorical(logits=logits)
    action = torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert (ours.mode() == logits.argmax(dim=1)).all()


def test_samples_follow_the_probabilities() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0]]).expand(20_000, 3)
    drawn = Categorical(logits).sample(torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=3) / len(drawn)
    torch.testing.assert_close(share, logits[0].softmax(0), atol=0.015, rtol=0)  # four deviations
    normal = SquashedNormal(
        torch.full((20_000, 1), 0.5), torch.zeros(1), torch.tensor([-1.0]), torch.tensor([1.0])
    )
    raw = normal.sample(torch.Generator().manual_seed(0))
    assert float(raw.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(raw.std()) == pytest.approx(1.0, abs=0.03)
