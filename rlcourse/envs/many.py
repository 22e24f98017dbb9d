r"""Worlds with several agents, as rows of one batch.

``C`` copies of a world with ``A`` agents give ``C * A`` rows, an agent's row beside those of its own world: row
``c * A + a``. So one step of all of them is one :class:`~rlcourse.envs.vector.Step`, and a learner that knows
nothing of other agents sees a batch of environments. Two worlds speak it: any parallel environment of PettingZoo
(:class:`Parallel`; the extra ``agents``), and :class:`Spread`, the world ``mpe2/simple_spread_v3`` written for many
copies at once, which needs numpy alone.

Agents of one world begin and stop together; ``next_obs`` is the true successor, also where an episode was cut.
"""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rlcourse.envs.vector import Step
from rlcourse.errors import (
    CourseError,
    InvalidArgumentError,
    UnknownEnvironmentError,
    check_positive,
)
from rlcourse.mdp import Floats, Ints
from rlcourse.seeding import generator

__all__ = [
    "Joint",
    "Parallel",
    "Spread",
    "World",
    "aec_returns",
    "assigned",
    "joint",
    "make_world",
    "nearest",
    "parallel_env",
    "random_policy",
    "team_returns",
]

Policy = Callable[[NDArray[Any]], NDArray[Any]]  # observations [N, d] -> actions [N]
# The physics of mpe2 1.1: what pushes, brakes and keeps apart.
DT, DAMPING, PUSH, RADIUS, CONTACT, MARGIN = 0.1, 0.25, 5.0, 0.15, 100.0, 1e-3
HEADINGS = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)], dtype=np.float64)


class World(Protocol):
    """Copies of a world, stepped as rows; ``obs`` is what the policies must look at next, ``[C * A, d]``."""

    agents: int
    num_envs: int  # rows: copies times agents
    single_observation_space: Any
    single_action_space: Any
    obs: NDArray[Any]

    def reset(self, seed: int) -> NDArray[Any]:
        """Start an episode in every copy."""
        ...

    def step(self, action: Iterable[Any]) -> Step:
        """Act once with every agent."""
        ...

    def close(self) -> None:
        """Close the copies."""
        ...


def make_world(env_id: str, copies: int, **options: Any) -> World:
    """Copies of a world by name: ``rlcourse/Spread``, or one of PettingZoo's such as ``mpe2/simple_spread_v3``.

    >>> make_world("rlcourse/Spread", copies=2).reset(seed=0).shape
    (6, 18)

    Raises:
        UnknownEnvironmentError: no such world.
        CourseError: the extra that brings it is not installed.
    """
    if env_id == "rlcourse/Spread":
        return Spread(copies, **options)
    return Parallel(lambda: parallel_env(env_id, **options), copies)


def parallel_env(env_id: str, *, aec: bool = False, **options: Any) -> Any:
    """An environment of mpe2 (or, with ``aec``, the same world in which agents take turns).

    Raises:
        UnknownEnvironmentError: no such world.
        CourseError: the extra is not installed.
    """
    package, _, name = str(env_id).partition("/")
    if package != "mpe2" or not name.isidentifier():
        raise UnknownEnvironmentError(
            f"env_id = {env_id!r}: must be 'rlcourse/Spread' or a world of mpe2 such as "
            "'mpe2/simple_spread_v3'"
        )
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no screen is needed
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        mpe2 = importlib.import_module("mpe2")
    except ImportError as error:
        raise CourseError(
            f"env_id = {env_id!r}: needs PettingZoo and mpe2; install them with "
            'pip install "rlcourse[agents]"'
        ) from error
    try:
        module = importlib.import_module(f"{mpe2.__name__}.{name}")
    except ImportError as error:
        raise UnknownEnvironmentError(
            f"env_id = {env_id!r}: mpe2 has no {name} ({error})"
        ) from error
    return (module.env if aec else module.parallel_env)(**options)


class Parallel:
    """Copies of a parallel environment of PettingZoo, behind the stepping convention of this package.

    Raises:
        InvalidArgumentError: agents whose observations or actions differ in kind: one batch cannot hold them.
    """

    def __init__(self, make: Callable[[], Any], copies: int) -> None:
        self.envs = [make() for _ in range(check_positive("copies", copies))]
        self.names = list(self.envs[0].possible_agents)
        self.agents, self.num_envs = len(self.names), copies * len(self.names)
        kinds = {
            (str(self.envs[0].observation_space(name)), str(self.envs[0].action_space(name)))
            for name in self.names
        }
        if len(kinds) > 1:
            raise InvalidArgumentError(f"agents of {len(kinds)} kinds: rows must be of one kind")
        self.single_observation_space = self.envs[0].observation_space(self.names[0])
        self.single_action_space = self.envs[0].action_space(self.names[0])
        self.obs: NDArray[Any] = np.zeros(0)

    def reset(self, seed: int) -> NDArray[Any]:
        """Start an episode in every copy, each from a seed of its own; one copy gets the seed itself."""
        words = np.random.SeedSequence(seed).generate_state(len(self.envs)) & 0x7FFFFFFF
        seeds = [seed] if len(self.envs) == 1 else [int(word) for word in words]
        starts = [env.reset(seed=own)[0] for env, own in zip(self.envs, seeds, strict=True)]
        self.obs = np.stack([start[name] for start in starts for name in self.names])
        return self.obs

    def step(self, action: Iterable[Any]) -> Step:
        """Act once with every agent; a world that is over starts its next episode."""
        chosen = _as_rows(action, self.num_envs)
        current, rows, following = self.obs, [], []
        for copy, env in enumerate(self.envs):
            own = chosen[copy * self.agents : (copy + 1) * self.agents]
            obs, reward, terminated, truncated, _ = env.step(
                dict(zip(self.names, own.tolist(), strict=True))
            )
            rows += [(obs[n], reward[n], terminated[n], truncated[n]) for n in self.names]
            if env.agents and len(env.agents) < self.agents:
                raise CourseError(
                    "an agent has left before the others: rows need agents that stop together"
                )
            start = obs if env.agents else env.reset()[0]
            following += [start[name] for name in self.names]
        obs, reward, terminated, truncated = zip(*rows, strict=True)
        self.obs = np.stack(following)
        return Step(current, chosen, np.array(reward, dtype=np.float64), np.array(terminated, dtype=bool),
                    np.array(truncated, dtype=bool), np.stack(obs))  # fmt: skip

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()


class Spread:
    """``mpe2/simple_spread_v3`` for many copies at once: as many landmarks as agents, two or more.

    Each step pays every agent half of minus the sum, over landmarks, of the distance to the nearest agent, and
    costs it half a point for every agent that it touches. An observation holds the own velocity and place,
    then, as seen from there, the landmarks and the other agents, and two silent channels for each other.

    >>> world = Spread(copies=1)
    >>> world.reset(seed=0).shape, world.step([0, 1, 2]).reward.shape
    ((3, 18), (3,))
    """

    def __init__(
        self, copies: int, *, agents: int = 3, max_cycles: int = 25, local_ratio: float = 0.5
    ) -> None:
        self.copies, self.agents = (
            check_positive("copies", copies),
            check_positive("agents", agents),
        )
        self.max_cycles = check_positive("max_cycles", max_cycles)
        self.local_ratio, self.num_envs = local_ratio, copies * agents
        self.single_observation_space = Box(-np.inf, np.inf, (4 + 2 * agents + 4 * (agents - 1),))
        self.single_action_space = Discrete(5)
        self.others = np.array([[b for b in range(agents) if b != a] for a in range(agents)])
        self.obs: NDArray[Any] = np.zeros(0)

    def reset(self, seed: int) -> NDArray[Any]:
        """Start an episode in every copy; one copy alone starts as mpe2's does from the same seed."""
        self.rng = generator(seed)
        self._begin()
        self.obs = self._look()
        return self.obs

    def _begin(self) -> None:
        places = self.rng.uniform(-1, 1, (self.copies, 2 * self.agents, 2))
        self.place, self.landmark = places[:, : self.agents].copy(), places[:, self.agents :].copy()
        self.velocity = np.zeros_like(self.place)
        self.cycles = 0

    def _look(self) -> NDArray[np.float32]:
        here = self.place[:, :, None]
        seen = [
            np.concatenate([self.velocity, self.place], axis=2),
            (self.landmark[:, None] - here).reshape(self.copies, self.agents, -1),
            (self.place[:, self.others] - here).reshape(self.copies, self.agents, -1),
            np.zeros((self.copies, self.agents, 2 * (self.agents - 1))),
        ]
        rows = np.concatenate(seen, axis=2).astype(np.float32)
        return rows.reshape(self.num_envs, -1)

    def step(self, action: Iterable[Any]) -> Step:
        """Act once with every agent; after ``max_cycles`` the clock cuts all episodes, and new ones begin."""
        if self.obs.size == 0:
            raise CourseError("step before reset: call reset(seed=...) first")
        chosen = _as_rows(action, self.num_envs)
        force = PUSH * HEADINGS[chosen.reshape(self.copies, self.agents)]
        gap = (
            self.place[:, :, None] - self.place[:, None]
        )  # [C, A, A, 2], from the second to the first
        distance = np.sqrt((gap**2).sum(axis=3)) + np.eye(self.agents)
        overlap = np.logaddexp(0, -(distance - 2 * RADIUS) / MARGIN) * MARGIN
        force += ((CONTACT * overlap / distance)[..., None] * gap).sum(axis=2)
        self.place = self.place + self.velocity * DT
        self.velocity = self.velocity * (1 - DAMPING) + force * DT
        self.cycles += 1
        next_obs, current = self._look(), self.obs
        cut = np.full(self.num_envs, self.cycles >= self.max_cycles)
        reward = self._reward().ravel()
        if cut[0]:
            self._begin()
        self.obs = self._look()
        return Step(current, chosen, reward, np.zeros_like(cut), cut, next_obs)

    def _reward(self) -> Floats:
        away = np.linalg.norm(self.place[:, :, None] - self.landmark[:, None], axis=3)
        shared = -away.min(axis=1).sum(axis=1, keepdims=True)  # [C, 1]
        apart = np.linalg.norm(self.place[:, :, None] - self.place[:, None], axis=3)
        touched = (apart < 2 * RADIUS).sum(axis=2) - 1  # [C, A], not oneself
        own: Floats = shared * (1 - self.local_ratio) - touched * self.local_ratio
        return own

    def close(self) -> None:
        """Nothing to close."""


def _as_rows(action: Iterable[Any], rows: int) -> Ints:
    chosen = np.asarray(action)
    if chosen.shape != (rows,):
        raise InvalidArgumentError(f"action of shape {chosen.shape}: must be [{rows}]")
    return chosen


# --- what one agent may know -----------------------------------------------------------------------


def joint(obs: NDArray[Any], agents: int) -> NDArray[Any]:
    """Each agent's observation with those of all others behind it: ``[C * A, d] -> [C * A, A * d]``.

    >>> joint(np.array([[1], [2], [3]]), agents=3).tolist()
    [[1, 2, 3], [2, 3, 1], [3, 1, 2]]
    """
    rows = obs.reshape(-1, agents, obs.shape[1])
    turned = [np.roll(rows, -k, axis=1) for k in range(agents)]
    return np.concatenate(turned, axis=2).reshape(len(obs), -1)


class Joint:
    """A world whose rows see everything: for a critic that may look where no actor may."""

    def __init__(self, world: World) -> None:
        self.world, self.agents, self.num_envs = world, world.agents, world.num_envs
        own = world.single_observation_space
        self.single_observation_space = Box(-np.inf, np.inf, (own.shape[0] * world.agents,))
        self.single_action_space = world.single_action_space

    @property
    def obs(self) -> NDArray[Any]:
        """What all agents see, the own view first."""
        return joint(self.world.obs, self.agents)

    def reset(self, seed: int) -> NDArray[Any]:
        """Start an episode in every copy."""
        self.world.reset(seed)
        return self.obs

    def step(self, action: Iterable[Any]) -> Step:
        """Act once with every agent."""
        step = self.world.step(action)
        both = (joint(seen, self.agents) for seen in (step.obs, step.next_obs))
        return step._replace(**dict(zip(("obs", "next_obs"), both, strict=True)))

    def close(self) -> None:
        """Close the copies."""
        self.world.close()


# --- policies that learn nothing -------------------------------------------------------------------


def random_policy(seed: int) -> Policy:
    """Any of the five moves, evenly."""
    rng = generator(seed)
    return lambda obs: rng.integers(5, size=len(obs))


def nearest(obs: NDArray[Any]) -> Ints:
    """Every agent goes to the landmark that is nearest to itself; ``[N, 18] -> [N]``."""
    landmarks, _ = _seen(obs)
    target = np.linalg.norm(landmarks, axis=2).argmin(axis=1)
    return _towards(obs, landmarks[np.arange(len(obs)), target])


def assigned(obs: NDArray[Any]) -> Ints:
    """Every agent works out who should go where, so that all ways together are shortest, and does its part.

    Nobody speaks: all see the same places, so all find the same plan.
    """
    landmarks, others = _seen(obs)
    agents = landmarks.shape[1]
    team = np.concatenate([np.zeros((len(obs), 1, 2)), others], axis=1)  # oneself first
    ways = np.linalg.norm(team[:, :, None] - landmarks[:, None], axis=3)  # [N, agent, landmark]
    plans = np.array(list(itertools.permutations(range(agents))))
    total = sum(ways[:, a][:, plans[:, a]] for a in range(agents))
    best = plans[np.asarray(total).argmin(axis=1), 0]
    return _towards(obs, landmarks[np.arange(len(obs)), best])


def _seen(obs: NDArray[Any]) -> tuple[Floats, Floats]:
    """The landmarks ``[N, A, 2]`` and the other agents ``[N, A - 1, 2]``, as seen from oneself."""
    agents = obs.shape[1] // 6
    seen = obs.astype(np.float64)
    landmarks = seen[:, 4 : 4 + 2 * agents].reshape(len(obs), agents, 2)
    return landmarks, seen[:, 4 + 2 * agents : 2 + 4 * agents].reshape(len(obs), agents - 1, 2)


def _towards(obs: NDArray[Any], target: Floats) -> Ints:
    """The push after which one would coast to rest nearest to a place, ``[N, 2]`` as seen from oneself."""
    coast = obs[:, None, :2].astype(np.float64) * DT / DAMPING  # without a further push
    reach = coast + HEADINGS * PUSH * DT * DT / DAMPING  # [N, 5, 2]
    best: Ints = np.linalg.norm(reach - target[:, None], axis=2).argmin(axis=1)
    return best


# --- judging ---------------------------------------------------------------------------------------


def team_returns(
    policy: Policy, world: World, *, episodes: int, seed: int = 0
) -> tuple[Floats, Ints]:
    """Returns and lengths of whole episodes, ``[episodes, agents]`` each; all copies play the same number."""
    copies = world.num_envs // world.agents
    if check_positive("episodes", episodes) % copies:
        raise InvalidArgumentError(
            f"episodes = {episodes}: must be a multiple of copies = {copies}"
        )
    world.reset(seed)
    total, length = np.zeros(world.num_envs), np.zeros(world.num_envs, dtype=np.int64)
    returns: list[Floats] = []
    lengths: list[Ints] = []
    counts = np.zeros(copies, dtype=np.int64)
    while counts.min() < episodes // copies:
        step = world.step(policy(world.obs))
        total += step.reward
        length += 1
        over = step.boundary.reshape(copies, -1).all(axis=1)
        for copy in np.flatnonzero(over):
            own = slice(copy * world.agents, (copy + 1) * world.agents)
            if counts[copy] < episodes // copies:
                returns.append(total[own].copy())
                lengths.append(length[own].copy())
            counts[copy] += 1
            total[own] = length[own] = 0
    return np.array(returns), np.array(lengths)


def aec_returns(env: Any, policy: Policy, seed: int) -> dict[str, float]:
    """The return of every agent in one episode in which agents take turns (PettingZoo's AEC interface).

    ``env.last()`` tells the agent whose turn it is all that it has been paid since its last turn: to be added
    once. An agent whose episode is over takes one more turn, in which it is told its last reward and may do
    nothing.
    """
    env.reset(seed=seed)
    total = dict.fromkeys(env.possible_agents, 0.0)
    for agent in env.agent_iter():
        obs, reward, terminated, truncated, _ = env.last()
        total[agent] += reward
        over = terminated or truncated
        env.step(None if over else int(policy(obs[None])[0]))
    return total
