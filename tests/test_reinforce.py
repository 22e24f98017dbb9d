"""REINFORCE, against the exact policy gradient of a world whose every trajectory can be written down."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from rlcourse.algorithms import reinforce
from rlcourse.algorithms.reinforce import batch_baseline, policy_loss
from rlcourse.rollout import WholeEpisodes

# Three states, two actions, at most three steps. NEXT[s][a] is a list of (probability, successor);
# successor 3 is the end. REWARD[s][a].
NEXT = [
    [[(0.7, 1), (0.3, 2)], [(1.0, 2)]],
    [[(0.5, 3), (0.5, 0)], [(1.0, 3)]],
    [[(1.0, 3)], [(0.6, 1), (0.4, 3)]],
]
REWARD = [[1.0, 0.0], [-1.0, 2.0], [0.5, -0.5]]
STEPS = 3
THETA = np.array([[0.3, -0.2], [0.1, 0.4], [-0.5, 0.2]])


def trajectories(theta: np.ndarray) -> list[tuple[float, list[tuple[int, int, float]]]]:
    """Every trajectory from state 0: its probability under softmax(theta), and its (s, a, r)."""
    pi = np.exp(theta) / np.exp(theta).sum(axis=1, keepdims=True)
    found = []
    open_: list[tuple[float, int, list[tuple[int, int, float]]]] = [(1.0, 0, [])]
    while open_:
        p, s, path = open_.pop()
        if s == 3 or len(path) == STEPS:
            found.append((p, path))
            continue
        for a in (0, 1):
            for chance, following in NEXT[s][a]:
                row = (s, a, REWARD[s][a])
                open_.append((p * pi[s, a] * chance, following, [*path, row]))
    return found


def objective(theta: np.ndarray) -> float:
    return sum(p * sum(r for _, _, r in path) for p, path in trajectories(theta))


def exact_gradient() -> np.ndarray:
    """By central differences of the enumerated objective: no log-probability anywhere."""
    gradient = np.zeros_like(THETA)
    for i, j in itertools.product(range(3), range(2)):
        h = np.zeros_like(THETA)
        h[i, j] = 1e-6
        gradient[i, j] = (objective(THETA + h) - objective(THETA - h)) / 2e-6
    return gradient


def estimate(path: list[tuple[int, int, float]], baseline: np.ndarray) -> np.ndarray:
    """What the package's loss makes of one episode."""
    theta = torch.tensor(THETA, requires_grad=True)
    s, a, r = (torch.tensor(column) for column in zip(*path, strict=True))
    log_prob = theta.log_softmax(dim=1)[s, a]
    togo = r.double().flip(0).cumsum(0).flip(0)
    advantages = togo - torch.tensor(baseline)[s]
    loss = policy_loss(log_prob, advantages, episodes=1)
    loss.backward()
    return -theta.grad.numpy()


@pytest.mark.parametrize("baseline", [np.zeros(3), np.array([1.3, -0.4, 0.2]), np.full(3, 100.0)])
def test_the_estimate_is_the_exact_gradient_on_average_whatever_the_baseline(
    baseline: np.ndarray,
) -> None:
    mean = sum(p * estimate(path, baseline) for p, path in trajectories(THETA))
    np.testing.assert_allclose(mean, exact_gradient(), atol=1e-7)


def test_not_every_baseline_lowers_the_variance() -> None:
    def variance(baseline: np.ndarray) -> float:
        found = [(p, estimate(path, baseline)) for p, path in trajectories(THETA)]
        mean = sum(p * g for p, g in found)
        return float(sum(p * ((g - mean) ** 2).sum() for p, g in found))

    values = np.array([1.0, 0.6, 0.3])  # near what follows from each state
    assert variance(values) < variance(np.zeros(3)) < variance(np.full(3, 100.0))


def test_an_episode_is_not_in_its_own_baseline() -> None:
    rng = np.random.default_rng(0)
    returns, running = rng.normal(size=(5, 4)), rng.random((5, 4)) < 0.7
    baseline = batch_baseline(returns, running)
    for t, n in itertools.product(range(5), range(4)):
        others = [returns[t, m] for m in range(4) if m != n and running[t, m]]
        assert baseline[t, n] == pytest.approx(np.mean(others) if others else 0.0)


def test_whole_episodes_are_whole() -> None:
    episodes = WholeEpisodes("CartPole-v1", {}, num_envs=4, seed=0)
    batch = episodes.play(lambda obs: (np.zeros(len(obs), int), np.zeros(len(obs), int)))
    lengths = batch.running.sum(axis=0)
    assert (batch.running == (np.arange(len(batch.running))[:, None] < lengths)).all()
    assert (batch.reward.sum(axis=0) == lengths).all() and batch.terminated.all()
    assert (np.abs(batch.last_obs[:, 2]) > 0.2094).all() or (
        np.abs(batch.last_obs[:, 0]) > 2.4
    ).any()
    assert episodes.steps == lengths.sum()
    again = WholeEpisodes("CartPole-v1", {}, num_envs=4, seed=0)
    same = again.play(lambda obs: (np.zeros(len(obs), int), np.zeros(len(obs), int)))
    np.testing.assert_array_equal(batch.obs, same.obs)


def test_same_seed_same_log() -> None:
    config = reinforce.Config(steps=600, num_envs=4)
    first, second, other = (reinforce.train(config, seed).log for seed in (0, 0, 1))
    assert first == second != other
