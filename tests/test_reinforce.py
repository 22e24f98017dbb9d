"""REINFORCE, against the exact policy gradient of a world whose every trajectory can be written down."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from rlcourse.algorithms import reinforce
from rlcourse.algorithms.reinforce import Config, Run, batch_baseline, policy_loss
from rlcourse.errors import InvalidArgumentError
from rlcourse.rollout import Whole, WholeEpisodes

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


# --- what the loss is told ------------------------------------------------------------------------


def lesson(**options: Any) -> tuple[Whole, np.ndarray, Run]:
    """A batch of whole episodes, the advantages that its update hands to the loss, and the critic before it."""
    told: list[torch.Tensor] = []

    def loss(log_prob: torch.Tensor, advantages: torch.Tensor, episodes: int) -> torch.Tensor:
        told.append(advantages)
        assert episodes == 4 and not advantages.requires_grad
        return policy_loss(log_prob, advantages, episodes)

    run = Run(Config(**{"num_envs": 4, "gamma": 0.9, "hidden": (8,), "steps": 400,
                        "normalize": False, "learning_rate": 0.0, **options}), 0, "cpu")  # fmt: skip
    batch = run.episodes.play(run.act)
    reinforce.update(run, batch, loss)
    table = np.full(batch.running.shape, np.nan)
    table[batch.running] = told[0].numpy()
    return batch, table, run


def to_go(batch: Whole, beyond: Any = (0, 0, 0, 0)) -> np.ndarray:
    """The definition: rewards from t on, each discounted by its distance, and what is beyond a time limit."""
    table = np.full(batch.running.shape, np.nan)
    for n, length in enumerate(batch.running.sum(axis=0)):
        for t in range(length):
            rewards = [0.9 ** (k - t) * batch.reward[k, n] for k in range(t, length)]
            table[t, n] = sum(rewards) + 0.9 ** (length - t) * beyond[n]
    return table


PENDULUM = {"env_id": "Pendulum-v1", "env_options": {"max_episode_steps": 7}}


@pytest.mark.parametrize("options", [{}, PENDULUM], ids=["CartPole", "Pendulum"])
def test_an_action_is_weighed_by_what_follows_it(options: dict[str, Any]) -> None:
    """And by nothing that came before; episodes of different lengths side by side."""
    batch, advantages, _ = lesson(baseline="none", **options)
    np.testing.assert_allclose(advantages, to_go(batch), rtol=1e-5)
    assert np.nanstd(advantages) > 0.1


@pytest.mark.parametrize("options", [{}, PENDULUM], ids=["CartPole", "Pendulum"])
def test_the_batch_baseline_is_the_mean_of_the_others(options: dict[str, Any]) -> None:
    batch, advantages, _ = lesson(baseline="batch", **options)
    returns = to_go(batch)
    for t, n in zip(*np.nonzero(batch.running), strict=True):
        others = [returns[t, m] for m in range(4) if m != n and batch.running[t, m]]
        expected = returns[t, n] - (np.mean(others) if others else 0.0)
        assert advantages[t, n] == pytest.approx(expected, abs=1e-4)
    if options == {}:
        assert len(set(batch.running.sum(axis=0))) > 1


@pytest.mark.parametrize("limit", [7, 500])
def test_a_learned_baseline_says_what_lies_beyond_a_time_limit(limit: int) -> None:
    """Nothing beyond a true end. The critic has not moved: its step is zero."""
    batch, advantages, run = lesson(env_options={"max_episode_steps": limit})
    assert batch.terminated.all() == (limit == 500) and batch.terminated.any() == (limit == 500)
    with torch.no_grad():
        values = run.critic(torch.from_numpy(batch.obs).flatten(0, 1)).view(batch.running.shape)
        beyond = run.critic(torch.from_numpy(batch.last_obs)).numpy() * ~batch.terminated
    np.testing.assert_allclose(advantages, to_go(batch, beyond) - values.numpy(), atol=1e-4)
    assert (np.abs(beyond[~batch.terminated]) > 1e-3).all()


def test_advantages_keep_their_sign_and_lose_their_scale() -> None:
    """Divided by their root mean square: a mean taken off would be a baseline that looks at the action."""
    batch, advantages, _ = lesson(baseline="none", normalize=True)
    plain = to_go(batch)
    np.testing.assert_allclose(advantages, plain / np.sqrt(np.nanmean(plain**2)), rtol=1e-3)


@pytest.mark.parametrize("num_envs", [1, 4])
def test_advantages_without_variance_give_no_nan(num_envs: int) -> None:
    """One state, one action, one step, one reward, and with one environment a single number in a batch."""
    config = Config(env_id="rlcourse/Probe-OneStep-v0", num_envs=num_envs, steps=40, hidden=(8,))
    result = reinforce.train(config)
    assert all(torch.isfinite(p).all() for p in result.policy.network.parameters())
    assert len(result.log) == 40


def test_the_learned_baseline_takes_so_many_steps_of_its_own() -> None:
    """Toward the returns, by the errors' mean square; the policy takes one."""
    steps = {}
    for updates in (1, 6):
        run = Run(Config(num_envs=4, hidden=(8,), value_updates=updates, steps=400), 0, "cpu")
        reinforce.update(run, run.episodes.play(run.act), policy_loss)
        states = (run.critic_optimizer, run.optimizer)
        steps[updates] = [int(s.state_dict()["state"][0]["step"]) for s in states]
    assert steps == {1: [1, 1], 6: [6, 1]}
    run = Run(Config(num_envs=4, hidden=(8,), baseline="batch", steps=400), 0, "cpu")
    reinforce.update(run, run.episodes.play(run.act), policy_loss)
    assert not run.critic_optimizer.state_dict()["state"]


def test_bad_baselines() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"baseline = 'mean': must be one of none, batch"
    ):
        Config(baseline="mean")
