"""How good is a frozen policy? Exactly, where there is a model; by playing, where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from rlcourse.algorithms.dynamic_programming import evaluate
from rlcourse.envs.vector import make_vector
from rlcourse.errors import InvalidArgumentError, check_fraction, check_positive
from rlcourse.mdp import Floats, TabularMDP
from rlcourse.seeding import streams

__all__ = ["exact_return", "play", "tabular_policy"]

Policy = Callable[[NDArray[Any]], NDArray[Any]]  # observations [N, ...] -> actions [N]


def exact_return(
    mdp: TabularMDP, policy: ArrayLike, *, horizon: int | None = None, gamma: float = 1.0
) -> float:
    """The expected return of a policy from the first state on, computed from the model.

    Args:
        mdp: the model.
        policy: actions ``[S]`` or probabilities ``[S, A]``. A policy learned on an environment may lack
            the model's extra final state; it is added.
        horizon: a time limit in steps; none by default (then ``gamma = 1`` needs a proper policy).
        gamma: the discount.

    >>> from rlcourse.mdp import grid
    >>> exact_return(grid("S.G"), [2, 2, 0])
    1.0
    """
    check_fraction("gamma", gamma)
    chosen = np.asarray(policy)
    if chosen.ndim and len(chosen) == mdp.num_states - 1 and mdp.terminal[-1]:
        chosen = np.concatenate([chosen, chosen[-1:]])
    if horizon is None:
        return float(mdp.start @ evaluate(mdp, chosen, gamma))
    check_positive("horizon", horizon)
    transition, reward = mdp.under(chosen)
    values: Floats = np.zeros(mdp.num_states)
    for _ in range(horizon):
        values = reward + gamma * (transition @ values)
    return float(mdp.start @ values)


def tabular_policy(actions: ArrayLike) -> Policy:
    """A table of actions ``[S]`` as a policy for :func:`play`."""
    table = np.asarray(actions)
    return lambda observations: table[observations]


def play(
    policy: Policy,
    env_id: str,
    *,
    episodes: int = 100,
    seed: int = 0,
    num_envs: int = 1,
    progress: bool = False,
    **options: Any,
) -> Floats:
    """Raw returns of whole episodes, shape ``[episodes]``: no discount, no clipping, no learning.

    With several environments each contributes the same number of episodes: to stop at the first
    finished would prefer short ones.

    >>> play(lambda obs: np.zeros(len(obs), dtype=int), "CartPole-v1", episodes=2).shape
    (2,)
    """
    check_positive("episodes", episodes)
    check_positive("num_envs", num_envs)
    if episodes % num_envs:
        raise InvalidArgumentError(
            f"episodes = {episodes}: must be a multiple of num_envs = {num_envs}"
        )
    stepper = make_vector(env_id, num_envs, **options)
    obs = stepper.reset(streams(seed).evaluation)
    totals = np.zeros(num_envs)
    returns: list[list[float]] = [[] for _ in range(num_envs)]
    with tqdm(total=episodes, disable=not progress, unit="episode") as bar:
        while min(map(len, returns)) < episodes // num_envs:
            step = stepper.step(policy(obs))
            totals += step.reward
            for i in np.flatnonzero(step.boundary):
                if len(returns[i]) < episodes // num_envs:
                    returns[i].append(float(totals[i]))
                    bar.update()
                totals[i] = 0.0
            obs = stepper.obs
    stepper.close()
    return np.array(returns).T.ravel()
