r"""Control from experience, one table of action values: SARSA, Expected SARSA, Q-learning and kin.

Papers: Watkins 1989 and Watkins & Dayan 1992 (Q-learning); Rummery & Niranjan 1994 (SARSA); van Seijen et al.
2009 (Expected SARSA); van Hasselt 2010 (Double Q-learning); n-step SARSA and Monte Carlo control after Sutton &
Barto 2018, chapters 5 and 7. All move one entry towards a target and differ in the target behind the error
:math:`\delta` alone: :math:`Q(s, a) \leftarrow Q(s, a) + \alpha\,\delta`.

Deviations: ties in an argmax are broken at random (the papers leave them open, and the first of equals never
finds the goal of FrozenLake); the next action is drawn *before* the update in every algorithm, as SARSA needs it
(Q-learning may draw it after: it matters only where a state follows itself); at a time limit the value of the
last state is kept, only a true end drops it.

The table is a list of lists: for four numbers Python's own ``max`` is ten times as fast as numpy's.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from rlcourse.errors import check_finite, check_fraction, check_positive
from rlcourse.mdp import Floats, Ints
from rlcourse.rollout import Episodes, Progress
from rlcourse.schedules import linear
from rlcourse.seeding import streams

__all__ = [
    "ALGORITHMS",
    "Config",
    "Result",
    "argmax_random_ties",
    "double_q_learning",
    "epsilon_greedy",
    "expected_sarsa",
    "n_step_sarsa",
    "q_learning",
    "sarsa",
    "train",
]


@dataclass(frozen=True)
class Config:
    """What a run is made of; every algorithm of this file takes the same."""

    env_id: str = "FrozenLake-v1"
    env_options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 50_000  # environment steps
    gamma: float = 0.99  # discount a step
    alpha: float = 0.1  # step size; with alpha_power the first one
    alpha_power: float = 0.0  # alpha / (visits of the pair + 1) ** power; 0 keeps it constant
    epsilon: float = 1.0  # chance of a random action in the first step
    epsilon_end: float = 0.05  # the same in the end
    epsilon_steps: int = 25_000  # steps from the one to the other
    initial: float = 0.0  # first value of every entry
    n: int = 1  # steps in a return; 0 means until the episode ends (Monte Carlo)

    def __post_init__(self) -> None:
        for name in ("gamma", "alpha", "alpha_power", "epsilon", "epsilon_end"):
            check_fraction(name, getattr(self, name))
        check_finite("initial", self.initial)
        check_positive("steps", self.steps)
        check_positive("epsilon_steps", self.epsilon_steps)
        if self.n != 0:
            check_positive("n", self.n)


@dataclass(frozen=True)
class Result:
    """A trained agent: its greedy policy ``[S]``, its table ``[S, A]`` and one log row an episode."""

    policy: Ints
    q: Floats
    log: list[dict[str, float]]
    config: Config
    seed: int


# --- the targets: what an algorithm is -------------------------------------------------------------

Table = list[list[float]]
Target = Callable[[Table, float, float, int, int, float], float]


def q_learning(
    q: Table, reward: float, discount: float, next_obs: int, next_action: int, epsilon: float
) -> float:
    r"""$R + \gamma \max_{a'} Q(S', a')$: as if the best action came next."""
    return reward + discount * max(q[next_obs])


def sarsa(
    q: Table, reward: float, discount: float, next_obs: int, next_action: int, epsilon: float
) -> float:
    r"""$R + \gamma\, Q(S', A')$: with the action that really comes next."""
    return reward + discount * q[next_obs][next_action]


def expected_sarsa(
    q: Table, reward: float, discount: float, next_obs: int, next_action: int, epsilon: float
) -> float:
    r"""$R + \gamma \sum_{a'} \pi(a' \mid S')\, Q(S', a')$ with the epsilon-greedy policy as $\pi$."""
    row = q[next_obs]
    return reward + discount * ((1 - epsilon) * max(row) + epsilon * sum(row) / len(row))


# --- the behaviour ---------------------------------------------------------------------------------


def argmax_random_ties(row: list[float], rng: random.Random) -> int:
    """The best action of one row of the table, drawn at random among equals.

    >>> sorted({argmax_random_ties([0.0, 1.0, 1.0], random.Random(i)) for i in range(20)})
    [1, 2]
    """
    best = max(row)
    if row.count(best) == 1:
        return row.index(best)
    return rng.choice([action for action, value in enumerate(row) if value == best])


def epsilon_greedy(row: list[float], epsilon: float, rng: random.Random) -> int:
    """A random action with probability ``epsilon``, else the best one."""
    if rng.random() < epsilon:
        return int(rng.random() * len(row))
    return argmax_random_ties(row, rng)


# --- the loops -------------------------------------------------------------------------------------


def train(
    config: Config,
    seed: int = 0,
    *,
    target: Target = q_learning,
    on_progress: Progress | None = None,
) -> Result:
    """Learn with a one-step target; hand in your own and it trains a real agent.

    >>> result = train(Config(env_options={"is_slippery": False}, steps=5000, epsilon_steps=2500))
    >>> result.q.shape
    (16, 4)
    """
    run = _Run(config, seed, on_progress)
    q = run.table(config.initial)
    obs, action = run.obs, run.behave(q[run.obs])
    for _ in range(config.steps):
        reward, terminated, truncated, next_obs = run.step(action)
        next_action, epsilon = run.behave(q[next_obs]), run.epsilon_at(run.steps)
        discount = config.gamma * (1 - terminated)
        aim = target(q, reward, discount, next_obs, next_action, epsilon)
        q[obs][action] += run.step_size(obs, action) * (aim - q[obs][action])
        if terminated or truncated:
            next_obs = run.reset(q)
            next_action = run.behave(q[next_obs])
        obs, action = next_obs, next_action
    return run.result(q)


def double_q_learning(
    config: Config, seed: int = 0, *, on_progress: Progress | None = None
) -> Result:
    """Two tables: one chooses the best next action, the other says what it is worth."""
    run = _Run(config, seed, on_progress)
    q, other = run.table(config.initial), run.table(config.initial)
    idle_visits, obs = run.table(0), run.obs
    for _ in range(config.steps):
        action = run.behave([x + y for x, y in zip(q[obs], other[obs], strict=True)])
        reward, terminated, truncated, next_obs = run.step(action)
        if run.rng.random() < 0.5:
            q, other = other, q
            run.visits, idle_visits = idle_visits, run.visits
        best = argmax_random_ties(q[next_obs], run.rng)
        discount = config.gamma * (1 - terminated)
        error = reward + discount * other[next_obs][best] - q[obs][action]
        q[obs][action] += run.step_size(obs, action) * error
        obs = run.reset([q, other]) if terminated or truncated else next_obs
    return run.result((np.add(q, other) / 2).tolist())


def n_step_sarsa(config: Config, seed: int = 0, *, on_progress: Progress | None = None) -> Result:
    """SARSA with ``config.n`` rewards in the target; ``n = 0`` waits for the end: Monte Carlo."""
    run = _Run(config, seed, on_progress)
    q = run.table(config.initial)
    window: deque[tuple[int, int, float]] = deque()
    obs, action = run.obs, run.behave(q[run.obs])
    for _ in range(config.steps):
        reward, terminated, truncated, next_obs = run.step(action)
        next_action = run.behave(q[next_obs])
        window.append((obs, action, reward))
        future = (1 - terminated) * q[next_obs][next_action]
        over = terminated or truncated
        if over or len(window) == config.n:
            targets = []
            for s, a, reward in reversed(window):
                future = reward + config.gamma * future
                targets.append((s, a, future))
            for s, a, target in targets if over else targets[-1:]:
                q[s][a] += run.step_size(s, a) * (target - q[s][a])
            window.popleft()
        if over:
            window.clear()
            next_obs = run.reset(q)
            next_action = run.behave(q[next_obs])
        obs, action = next_obs, next_action
    return run.result(q)


class _Run(Episodes):
    """What the loops share: exploration, step sizes and the random numbers."""

    def __init__(self, config: Config, seed: int, on_progress: Progress | None) -> None:
        random_streams = streams(seed)
        super().__init__(config.env_id, config.env_options, random_streams.env, on_progress)
        self.config, self.seed = config, seed
        # Python's generator draws one number several times as fast as numpy's.
        self.rng = random.Random(int(random_streams.exploration.integers(2**63)))
        self.epsilon_at = linear(config.epsilon, config.epsilon_end, config.epsilon_steps)
        self.visits = self.table(0)

    def table(self, first: float) -> Table:
        return [[first] * self.num_actions for _ in range(self.num_states)]

    def behave(self, row: list[float]) -> int:
        return epsilon_greedy(row, self.epsilon_at(self.steps), self.rng)

    def step_size(self, obs: int, action: int) -> float:
        self.visits[obs][action] += 1
        return float(self.config.alpha * self.visits[obs][action] ** -self.config.alpha_power)

    def result(self, q: Table) -> Result:
        self.env.close()
        policy = np.array([argmax_random_ties(row, self.rng) for row in q])
        return Result(policy, np.array(q), self.log, self.config, self.seed)


ALGORITHMS: dict[str, Callable[..., Result]] = {
    "q_learning": partial(train, target=q_learning),
    "sarsa": partial(train, target=sarsa),
    "expected_sarsa": partial(train, target=expected_sarsa),
    "double_q_learning": double_q_learning,
    "n_step_sarsa": n_step_sarsa,
}
