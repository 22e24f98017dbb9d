r"""Prediction from experience: what is a given policy worth? Monte Carlo, TD(0) and n-step TD.

Paper: Sutton 1988. Every state's value moves towards an estimate of the return that followed it,

.. math:: V(S_t) \leftarrow V(S_t) + \alpha\,[G_{t:t+n} - V(S_t)], \qquad
    G_{t:t+n} = R_{t+1} + \dots + \gamma^{n-1} R_{t+n} + \gamma^n V(S_{t+n})

with ``n = 1`` TD(0), with ``n = 0`` (no limit) Monte Carlo.

Deviations: at a time limit the estimate of the last state stands for the future that was cut off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rlcourse.errors import (
    InvalidArgumentError,
    check_finite,
    check_fraction,
    check_numbers,
    check_positive,
)
from rlcourse.mdp import Floats
from rlcourse.rollout import Episodes, Progress
from rlcourse.seeding import streams

__all__ = ["Config", "Result", "train"]


@dataclass(frozen=True)
class Config:
    """A prediction run."""

    env_id: str = "rlcourse/RandomWalk-v0"
    env_options: Mapping[str, Any] = field(default_factory=dict)
    episodes: int = 100
    gamma: float = 1.0  # discount a step
    alpha: float = 0.1  # step size
    initial: float = 0.5  # first estimate of every state's value
    n: int = 1  # rewards in the target; 0 waits for the end of the episode

    def __post_init__(self) -> None:
        check_fraction("gamma", self.gamma)
        check_fraction("alpha", self.alpha)
        check_finite("initial", self.initial)
        check_positive("episodes", self.episodes)
        if self.n != 0:
            check_positive("n", self.n)


@dataclass(frozen=True)
class Result:
    """Estimates after every episode, shape ``[episodes + 1, S]`` (row 0 is the first guess)."""

    values: Floats
    log: list[dict[str, float]]
    config: Config
    seed: int


def train(
    config: Config,
    seed: int = 0,
    policy: ArrayLike | None = None,
    *,
    on_progress: Progress | None = None,
) -> Result:
    """Estimate the values of ``policy`` (probabilities ``[S, A]``; uniform by default).

    >>> train(Config(episodes=3)).values.shape
    (4, 7)
    """
    random_streams = streams(seed)
    run = Episodes(config.env_id, config.env_options, random_streams.env, on_progress)
    cumulative = _cumulative(policy, run.num_states, run.num_actions)
    values = [config.initial] * run.num_states
    history = [values.copy()]
    window: deque[tuple[int, float]] = deque()
    obs = run.obs
    while len(history) <= config.episodes:
        action = int(cumulative[obs].searchsorted(random_streams.exploration.random(), "right"))
        reward, terminated, truncated, next_obs = run.step(action)
        window.append((obs, reward))
        over = terminated or truncated
        if over or len(window) == config.n:
            target = (1 - terminated) * values[next_obs]
            targets = []
            for state, reward in reversed(window):
                target = reward + config.gamma * target
                targets.append((state, target))
            for state, target in targets if over else targets[-1:]:
                values[state] += config.alpha * (target - values[state])
            window.popleft()
        if over:
            window.clear()
            history.append(values.copy())
            next_obs = run.reset(values)
        obs = next_obs
    return Result(np.array(history), run.log, config, seed)


def _cumulative(policy: ArrayLike | None, states: int, actions: int) -> Floats:
    shape = (states, actions)
    given = np.full(shape, 1 / actions) if policy is None else check_numbers("policy", policy)
    fine = given.shape == shape and (given >= 0).all() and (abs(given.sum(1) - 1) <= 1e-8).all()
    if not fine:
        raise InvalidArgumentError(
            f"policy of shape {given.shape}: must be probabilities {list(shape)}, each row summing to one"
        )
    cumulative = given.cumsum(axis=1)
    cumulative[:, -1] = 1.0
    return cumulative
