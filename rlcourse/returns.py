r"""Data in time: what a stretch of experience was worth.

Every function takes arrays of shape ``[T]`` or ``[T, ...]`` (time first, then environments) and the
one convention of this package: ``discounts = gamma * (1 - terminated)`` says what the *future* counts
after each step, and ``boundaries = terminated | truncated`` says where an episode was cut. A value is
dropped only at a true end; a trace is cut at either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rlcourse.errors import InvalidArgumentError, check_fraction, check_numbers, check_positive
from rlcourse.mdp import Bools, Floats

__all__ = ["discounted_returns", "gae", "lambda_returns", "n_step_returns"]


def discounted_returns(
    rewards: ArrayLike,
    discounts: ArrayLike,
    next_values: ArrayLike | None = None,
    boundaries: ArrayLike | None = None,
) -> Floats:
    r"""$G_t = R_{t+1} + \gamma_{t+1} G_{t+1}$, computed backward; shape ``[T, ...]``.

    At a boundary, and after the last step, the future is ``next_values`` (zero by default): a time
    limit takes the future away from the *agent*, not from the *value*.

    >>> discounted_returns([1.0, 0.0, 2.0], [0.5, 0.5, 0.0])
    array([1.5, 1. , 2. ])
    """
    reward, discount, next_value, boundary = _aligned(rewards, discounts, next_values, boundaries)
    returns = np.empty_like(reward)
    future = next_value[-1]
    for t in reversed(range(len(reward))):
        future = np.where(boundary[t], next_value[t], future)
        future = returns[t] = reward[t] + discount[t] * future
    return returns


def n_step_returns(
    rewards: ArrayLike,
    discounts: ArrayLike,
    next_values: ArrayLike,
    n: int,
    boundaries: ArrayLike | None = None,
) -> Floats:
    r"""$G_{t:t+n} = R_{t+1} + \dots + \gamma^{n-1} R_{t+n} + \gamma^n V(S_{t+n})$; shape ``[T, ...]``.

    The window shrinks at a boundary and at the end of the data: it never crosses an episode.

    >>> n_step_returns([1.0, 1.0, 1.0], [0.5, 0.5, 0.5], [8.0, 8.0, 8.0], n=2)
    array([3.5, 3.5, 5. ])
    """
    check_positive("n", n)
    reward, discount, next_value, boundary = _aligned(rewards, discounts, next_values, boundaries)
    steps = len(reward)
    returns = np.empty_like(reward)
    for t in range(steps):
        total, weight = np.zeros_like(reward[0]), np.ones_like(reward[0])
        alive = np.ones(reward[0].shape, dtype=bool)
        for k in range(t, min(t + n, steps)):
            last = boundary[k] | (k == min(t + n, steps) - 1)
            total = total + alive * weight * reward[k]
            weight = np.where(alive, weight * discount[k], weight)
            total = total + (alive & last) * weight * next_value[k]
            alive = alive & ~last
        returns[t] = total
    return returns


def lambda_returns(
    rewards: ArrayLike,
    discounts: ArrayLike,
    next_values: ArrayLike,
    lam: float,
    boundaries: ArrayLike | None = None,
) -> Floats:
    r"""$G^\lambda_t = R_{t+1} + \gamma_{t+1}[(1-\lambda) V(S_{t+1}) + \lambda G^\lambda_{t+1}]$; ``[T, ...]``.

    ``lam = 0`` is the one-step target, ``lam = 1`` the discounted return.

    >>> lambda_returns([0.0, 1.0], [0.5, 0.0], [4.0, 9.0], lam=0.5)
    array([1.25, 1.  ])
    """
    check_fraction("lam", lam)
    reward, discount, next_value, boundary = _aligned(rewards, discounts, next_values, boundaries)
    returns = np.empty_like(reward)
    future = next_value[-1]
    for t in reversed(range(len(reward))):
        future = np.where(boundary[t], next_value[t], future)
        mixed = (1 - lam) * next_value[t] + lam * future
        future = returns[t] = reward[t] + discount[t] * mixed
    return returns


def gae(
    rewards: ArrayLike,
    discounts: ArrayLike,
    values: ArrayLike,
    next_values: ArrayLike,
    lam: float,
    boundaries: ArrayLike | None = None,
) -> Floats:
    r"""Generalised advantage estimates (Schulman et al. 2016, eq. 16); shape ``[T, ...]``.

    $\hat A_t = \delta_t + \gamma\lambda\,\hat A_{t+1}$ with
    $\delta_t = R_{t+1} + \gamma_{t+1} V(S_{t+1}) - V(S_t)$; the sum stops at a boundary.

    >>> gae([0.0, 1.0], [0.5, 0.0], [1.0, 1.0], [1.0, 7.0], lam=1.0)
    array([-0.5,  0. ])
    """
    check_fraction("lam", lam)
    reward, discount, next_value, boundary = _aligned(rewards, discounts, next_values, boundaries)
    value = _aligned(rewards, discounts, values, boundaries, "values")[2]
    delta = reward + discount * next_value - value
    advantages = np.empty_like(reward)
    ahead = np.zeros_like(reward[0])
    for t in reversed(range(len(reward))):
        ahead = advantages[t] = delta[t] + discount[t] * lam * np.where(boundary[t], 0.0, ahead)
    return advantages


def _aligned(
    rewards: ArrayLike,
    discounts: ArrayLike,
    values: ArrayLike | None,
    boundaries: ArrayLike | None,
    name: str = "next_values",
) -> tuple[Floats, Floats, Floats, Bools]:
    reward = check_numbers("rewards", rewards)
    discount = check_numbers("discounts", discounts)
    value = np.zeros_like(reward) if values is None else check_numbers(name, values)
    boundary = discount == 0 if boundaries is None else np.asarray(boundaries, dtype=bool)
    if reward.ndim == 0 or len(reward) == 0:
        raise InvalidArgumentError(f"rewards of shape {reward.shape}: must be [T, ...] with T >= 1")
    named = {"discounts": discount, name: value, "boundaries": boundary}
    for label, array in named.items():
        if array.shape != reward.shape:
            raise InvalidArgumentError(
                f"{label} of shape {array.shape}: must be {reward.shape}, like rewards"
            )
    return reward, discount, value, boundary
