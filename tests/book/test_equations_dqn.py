"""The equations of the chapter ``values/dqn``, each against a road of its own.

The right-hand sides are written out as they are printed, on plain arrays. The oracles enumerate every row of a
memory, differentiate numerically, simulate with a stated interval, or minimise by brute force; where the
package has the equation as code, the code is held to the same oracle.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn

from rlcourse.algorithms import dqn
from rlcourse.envs.vector import Step
from rlcourse.evidence import folder
from rlcourse.networks import q_network, seeded, tensors
from rlcourse.replay import Batch, UniformReplay

Floats = NDArray[np.float64]
STATES, ACTIONS, ROWS, GAMMA = 4, 3, 40, 0.9


def memory(seed: int) -> UniformReplay:
    """A ring full of random transitions, a quarter of them ends."""
    rng = np.random.default_rng(seed)
    ring = UniformReplay(ROWS, Discrete(STATES), gamma=GAMMA, rng=rng)
    for _ in range(ROWS):
        ring.add(
            Step(
                rng.integers(STATES, size=1),
                rng.integers(ACTIONS, size=1),
                rng.normal(scale=2, size=1),
                rng.random(1) < 0.25,
                rng.random(1) < 0.25,
                rng.integers(STATES, size=1),
            )
        )
    return ring


def tables(seed: int) -> tuple[nn.Module, nn.Module, Floats, Floats]:
    """Two networks without hidden layers, and the tables ``Q[s, a]`` that they are."""
    with seeded(seed):
        pair = [q_network(Discrete(STATES), ACTIONS, ()) for _ in range(2)]
    numbers = [net(torch.arange(STATES)).detach().numpy().astype(float) for net in pair]
    return pair[0], pair[1], numbers[0], numbers[1]


def huber(delta: Any) -> Any:
    size = np.abs(delta)
    return np.where(size <= 1, size**2 / 2, size - 0.5)


def printed_loss(ring: UniformReplay, Q: Floats, Q_target: Floats) -> Floats:
    """The loss of every row as the chapter prints it, ``[ROWS]``."""
    Y = ring.reward + GAMMA * (1 - ring.terminated) * Q_target[ring.next_obs].max(axis=1)
    return np.asarray(huber(Y - Q[ring.obs, ring.action]))


def whole(ring: UniformReplay) -> Batch:
    """Every row of the ring once, as a batch of tensors."""
    discount = np.float32(GAMMA) * ~ring.terminated
    ones, index = np.ones(ROWS, np.float32), np.arange(ROWS)
    batch = Batch(ring.obs, ring.action, ring.reward, discount, ring.next_obs, ones, index)
    return tensors(batch, "cpu")


# --- the loss and its gradient ---------------------------------------------------------------------


@pytest.mark.equation(
    "eq-dqn-loss", oracle="every row of a memory, counted; 200 drawn batches, within 4 sd"
)
@pytest.mark.parametrize("seed", range(5))
def test_loss_is_an_expectation_over_the_memory(seed: int) -> None:
    ring, (network, target, Q, Q_target) = memory(seed), tables(seed)
    rows = []
    for i in range(ROWS):  # one row after another, nothing vectorised
        y = float(ring.reward[i])
        if not ring.terminated[i]:
            y += GAMMA * max(Q_target[ring.next_obs[i]].tolist())
        error = abs(y - Q[ring.obs[i], ring.action[i]])
        rows.append(error**2 / 2 if error <= 1 else error - 0.5)
    assert printed_loss(ring, Q, Q_target) == pytest.approx(rows, abs=1e-5)
    drawn = [
        dqn.dqn_loss(network, target, tensors(ring.sample(50), "cpu"))[0].detach().numpy()
        for _ in range(200)
    ]
    losses = np.concatenate(drawn)
    assert abs(losses.mean() - np.mean(rows)) < 4 * np.std(rows) / np.sqrt(losses.size)


@pytest.mark.equation(
    "eq-dqn-gradient", oracle="central differences of the loss with its targets held fixed"
)
@pytest.mark.parametrize("seed", range(5))
def test_gradient_is_half_of_a_derivative(seed: int) -> None:
    ring, (network, _, Q, _) = memory(seed), tables(seed)
    # The printed right-hand side. One network in both roles: only then does the missing half show.
    Y = ring.reward + GAMMA * (1 - ring.terminated) * Q[ring.next_obs].max(axis=1)
    printed = np.zeros((STATES, ACTIONS))
    slope = np.clip(Y - Q[ring.obs, ring.action], -1, 1)
    np.add.at(printed, (ring.obs, ring.action), -slope / ROWS)

    def difference(moving_target: bool) -> Floats:
        numeric = np.zeros((STATES, ACTIONS))
        for entry in np.ndindex(STATES, ACTIONS):
            step = np.zeros_like(Q)
            step[entry] = 1e-5
            ends = [
                printed_loss(ring, Q + sign * step, Q + sign * step * moving_target).mean()
                for sign in (1, -1)
            ]
            numeric[entry] = (ends[0] - ends[1]) / 2e-5
        return numeric

    assert printed == pytest.approx(difference(False), abs=1e-6)
    assert abs(printed - difference(True)).max() > 1e-2  # it is not the full derivative
    dqn.dqn_loss(network, network, whole(ring))[0].mean().backward()  # type: ignore[no-untyped-call]
    weight = next(p for p in network.parameters() if p.ndim == 2)  # [actions, states]
    assert weight.grad is not None
    assert pytest.approx(printed, abs=1e-5) == weight.grad.numpy().T


@pytest.mark.equation("eq-dqn-huber", oracle="central differences; torch's own smooth L1 loss")
def test_huber() -> None:
    delta = np.linspace(-4, 4, 81) + 0.003  # off the corners
    loss = np.where(np.abs(delta) <= 1, delta**2 / 2, np.abs(delta) - 0.5)
    theirs = nn.functional.smooth_l1_loss(
        torch.zeros(81), torch.from_numpy(delta).float(), reduction="none"
    )
    assert loss == pytest.approx(theirs.numpy(), abs=1e-5)
    slope = np.maximum(-1, np.minimum(1, delta))
    assert slope == pytest.approx((huber(delta + 1e-6) - huber(delta - 1e-6)) / 2e-6, abs=1e-5)


# --- the memory ------------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-dqn-effective",
    oracle="the variance of a mean as a double sum; 20,000 simulated batches, within 5 %",
)
@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, -0.4])
@pytest.mark.parametrize("B", [2, 10, 64])
def test_effective_batch(phi: float, B: int) -> None:
    rho = phi ** np.arange(B)  # of a first-order autoregression
    k = np.arange(1, B)
    effective = B / (1 + 2 * ((1 - k / B) * rho[1:]).sum())
    covariance = phi ** np.abs(np.subtract.outer(np.arange(B), np.arange(B)))
    assert effective == pytest.approx(B**2 / covariance.sum())  # var(mean) = 1' C 1 / B ** 2
    rng = np.random.default_rng(B)
    x = rng.normal(size=20_000)
    total = x.copy()
    for _ in range(B - 1):
        x = phi * x + np.sqrt(1 - phi**2) * rng.normal(size=x.size)
        total += x
    assert (total / B).var() == pytest.approx(1 / effective, rel=0.05)


@pytest.mark.equation(
    "eq-dqn-draws", oracle="the lives of 3,000 rows in the package's own ring, within 4 sd"
)
def test_draws_of_a_row() -> None:
    N, B, u, m, steps = 200, 5, 2, 4, 3200
    ring = UniformReplay(N, Discrete(5), rng=np.random.default_rng(0))
    cut, zero = np.zeros(1, bool), np.zeros(1)
    draws = np.zeros(steps, dtype=int)  # of every row, over its life
    for t in range(steps):
        ring.add(Step(zero, zero, zero, cut, cut, zero))
        if t % m == 0:
            for _ in range(u):
                index = ring.sample(B).index
                born = t - (t - index) % N  # the step at which each drawn row was written
                np.add.at(draws, born, 1)
    lives = draws[N : steps - N]  # whole lives, in a full ring
    expected = B * u / m
    assert abs(lives.mean() - expected) < 4 * np.sqrt(expected / lives.size)
    never = (1 - 1 / N) ** (N * B * u / m)
    assert abs((lives == 0).mean() - never) < 4 * np.sqrt(never * (1 - never) / lives.size)
    assert never == pytest.approx(np.exp(-expected), rel=0.02)


# --- the copy --------------------------------------------------------------------------------------

TABLE: dict[str, Any] = {
    **{"env_id": "rlcourse/Probe-Forever-v0", "num_envs": 1, "hidden": (), "gamma": GAMMA},
    **{"learning_rate": 0.05, "learning_rate_end": 0.02, "batch_size": 64, "learning_starts": 10},
    **{"train_every": 10, "updates": 80, "target_every": 80, "steps": 300},
}


def value_of_forever(policy: Any) -> float:
    return float(policy.q_values(np.array([0])).max())


@pytest.mark.equation(
    "eq-dqn-copies", oracle="K exact backups of random worlds, entry by entry, and of one for ever"
)
@pytest.mark.parametrize("seed", range(20))
def test_depth_of_copies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(4), size=(4, 2))
    R = rng.uniform(-1, 1, size=(4, 2))
    ends = rng.random(4) < 0.3
    Q = rng.uniform(0, 3, size=(4, 2))
    first = Q.max()
    for K in range(1, 40):
        new = np.zeros_like(Q)
        for s, a, following in itertools.product(range(4), range(2), range(4)):
            future = 0.0 if ends[following] else Q[following].max()
            new[s, a] += P[s, a, following] * (R[s, a] + GAMMA * future)
        Q = new
        assert Q.max() <= (1 - GAMMA**K) / (1 - GAMMA) + GAMMA**K * first + 1e-12
    forever = first
    for K in range(1, 40):  # one point a step: equality
        forever = 1 + GAMMA * forever
        assert forever == pytest.approx((1 - GAMMA**K) / (1 - GAMMA) + GAMMA**K * first)


def test_depth_of_copies_in_training() -> None:
    born = value_of_forever(dqn.train(dqn.Config(**TABLE | {"steps": 1})).policy)
    learned: list[float] = []
    config = dqn.Config(**TABLE)
    dqn.train(
        config, on_progress=lambda steps, row, run: learned.append(value_of_forever(run.policy()))
    )
    K = np.arange(1, len(learned) + 1)
    assert len(learned) == 30
    bound = (1 - GAMMA**K) / (1 - GAMMA) + GAMMA**K * born
    assert learned == pytest.approx(bound, abs=0.1)
    never = dqn.train(dqn.Config(**TABLE | {"target_every": 10_000, "steps": 100})).policy
    assert value_of_forever(never) == pytest.approx(1 + GAMMA * born, abs=0.1)


# --- failures and tables ---------------------------------------------------------------------------


def settled(loss: Any, T: int, gamma: float, false_ends: bool = True) -> float:
    """Where repeated exact minimisation of the mean loss over the memory's rows comes to rest."""
    V, share = 0.0, 1 / T if false_ends else 0.0
    for _ in range(int(12 / (1 - gamma))):
        sound = 1 + gamma * V

        def mean(v: float, sound: float = sound) -> float:
            return float((1 - share) * loss(sound - v) + share * loss(1 - v))

        limits = (0.0, 1.5 / (1 - gamma))
        found = minimize_scalar(mean, bounds=limits, method="bounded", options={"xatol": 1e-9})
        V = float(found.x)
    return V


@pytest.mark.equation(
    "eq-dqn-deadly-limit", oracle="numerical minimisation of both losses, repeated until it rests"
)
@pytest.mark.parametrize(("T", "gamma"), [(10, 0.9), (20, 0.9), (10, 0.95), (500, 0.97)])
def test_value_with_a_deadly_time_limit(T: int, gamma: float) -> None:
    square = 1 / (1 - gamma * (1 - 1 / T))
    robust = (1 - 1 / (T - 1)) / (1 - gamma)
    assert settled(lambda x: x**2 / 2, T, gamma) == pytest.approx(square, rel=1e-3)
    assert settled(huber, T, gamma) == pytest.approx(robust, rel=1e-3)
    exact = 1 / (1 - gamma)
    assert settled(huber, T, gamma, false_ends=False) == pytest.approx(exact, rel=1e-3)
    if (T, gamma) == (10, 0.9):  # and the package does not have the bug
        learned = value_of_forever(dqn.train(dqn.Config(**TABLE | {"steps": 500})).policy)
        assert learned == pytest.approx(exact, abs=0.2)
        assert abs(learned - robust) > 0.8


@pytest.mark.equation(
    "eq-dqn-normalised", oracle="49 percentages as the paper prints them, up to its rounding"
)
def test_normalised_score() -> None:
    text = (folder() / "nature_2015_table2.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    assert len(rows) == 49
    for _, *fields in rows:
        random, human, agent, printed = map(float, fields)
        # every score may be off by half a unit of its last digit
        slack = [0.05 if "." in field else 0.5 for field in fields[:3]]
        corners = []
        for signs in itertools.product((-1, 1), repeat=3):
            r, h, a = (
                x + sign * d
                for x, sign, d in zip((random, human, agent), signs, slack, strict=True)
            )
            corners.append(100 * (a - r) / (h - r))
        assert min(corners) - 0.06 <= printed <= max(corners) + 0.06
        value = 100 * (agent - random) / (human - random)
        assert min(corners) <= value <= max(corners)
