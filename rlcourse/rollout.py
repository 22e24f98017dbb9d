"""Environments, stepped and counted: the part of a loop that teaches nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Discrete

from rlcourse.envs.many import Joint, make_world
from rlcourse.envs.vector import Step, Stepper, make, make_vector
from rlcourse.errors import InvalidArgumentError, check_multiple, check_positive
from rlcourse.mdp import Bools, Floats

__all__ = [
    "Act",
    "Crowd",
    "Episodes",
    "Progress",
    "Segment",
    "Segments",
    "VectorEpisodes",
    "Whole",
    "WholeEpisodes",
]

# Called after episodes have ended: (environment steps, the newest log row, what has been learned so far).
Progress = Callable[[int, dict[str, float], Any], None]


class Episodes:
    """Steps one environment with numbered states and actions and keeps one log row an episode.

    >>> episodes = Episodes("FrozenLake-v1", {"is_slippery": False}, seed=0)
    >>> episodes.obs, episodes.step(2)
    (0, (0.0, False, False, 1))

    Raises:
        InvalidArgumentError: the environment's spaces are not ``Discrete``.
    """

    def __init__(
        self,
        env_id: str,
        options: Mapping[str, Any],
        seed: int,
        on_progress: Progress | None = None,
    ) -> None:
        self.env = make(env_id, **options)
        observations, actions = self.env.observation_space, self.env.action_space
        sizes = []
        for space in (observations, actions):
            if not isinstance(space, Discrete) or space.start != 0:
                raise InvalidArgumentError(
                    f"env_id = {env_id!r} has {space}: a table needs Discrete spaces from 0 on"
                )
            sizes.append(int(space.n))
        self.num_states, self.num_actions = sizes
        self.on_progress = on_progress
        self.log: list[dict[str, float]] = []
        self.steps = self.length = 0
        self.total = 0.0
        self.obs = int(self.env.reset(seed=seed)[0])

    def step(self, action: int) -> tuple[float, bool, bool, int]:
        """Act: ``(reward, terminated, truncated, next_obs)``."""
        next_obs, reward, terminated, truncated, _ = self.env.step(action)
        self.steps += 1
        self.length += 1
        self.total += float(reward)
        return float(reward), terminated, truncated, int(next_obs)

    def reset(self, table: Any = None) -> int:
        """Log the finished episode, report it with the table learned so far, start the next one."""
        row = {"step": self.steps, "return": self.total, "length": self.length}
        self.log.append(row)
        if self.on_progress:
            self.on_progress(self.steps, row, table)
        self.total, self.length = 0.0, 0
        return int(self.env.reset()[0])


class VectorEpisodes:
    """Steps several environments side by side and keeps one log row an episode.

    ``kept`` is what a checkpoint holds. ``note`` is what a learner has to say about itself; every row takes a copy.

    Raises:
        InvalidArgumentError: the actions are not numbered from zero on.

    >>> episodes = VectorEpisodes("CartPole-v1", {}, num_envs=2, seed=0)
    >>> episodes.step(np.array([0, 1])).reward, episodes.steps
    (array([1., 1.]), 2)
    """

    kept = ("steps", "log", "note")

    def __init__(self, env_id: str, options: Mapping[str, Any], num_envs: int, seed: int) -> None:
        self.env_id, self.options, self.num_envs, self.seed = env_id, options, num_envs, seed
        self.steps = 0
        self.log: list[dict[str, float]] = []
        self.note: dict[str, float] = {}
        self.envs = self._begin()
        self.observation_space = self.envs.envs.single_observation_space
        actions = self.envs.envs.single_action_space
        if not isinstance(actions, Discrete) or actions.start != 0:
            raise InvalidArgumentError(
                f"env_id = {env_id!r} has {actions}: its actions must be Discrete from 0 on"
            )
        self.num_actions = int(actions.n)

    def restart(self) -> None:
        """Begin anew in new environments, from a seed that seed and step count fix.

        No environment can be asked for all its state; one that has not begun needs none. So a run that
        restarts now and then can be resumed from there, exactly.
        """
        self.envs.close()
        self.envs = self._begin()

    def _begin(self) -> Stepper:
        envs = make_vector(self.env_id, self.num_envs, **self.options)
        words = np.random.SeedSequence([self.seed, self.steps]).generate_state(1)
        envs.reset(int(words[0]) & 0x7FFFFFFF)
        self.total = np.zeros(self.num_envs)
        self.length = np.zeros(self.num_envs, dtype=np.int64)
        return envs

    @property
    def obs(self) -> Any:
        """What the policy must look at next, ``[N, ...]``."""
        return self.envs.obs

    def step(self, action: Any) -> Step:
        """Act once in every environment."""
        step = self.envs.step(action)
        self.steps += self.num_envs
        self.total += step.reward
        self.length += 1
        for i in np.flatnonzero(step.boundary):
            row = {
                "step": self.steps,
                "return": float(self.total[i]),
                "length": int(self.length[i]),
            }
            self.log.append({**row, **self.note})
            self.total[i] = self.length[i] = 0
        return step

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()


Act = Callable[[Any], tuple[Any, Any]]  # observations [N, ...] -> raw actions and actions


class Segment(NamedTuple):
    """``T`` steps of ``N`` environments, time first; every field is an array ``[T, N, ...]``."""

    obs: Any
    raw: Any  # actions as the policy drew them, before they were made fit for the environment
    reward: Floats
    terminated: Bools
    boundary: Bools  # an end or a time limit
    next_obs: Any  # the true successor


class Segments(VectorEpisodes):
    """Steps environments with actions of any kind, and hands out stretches of their experience.

    >>> segments = Segments("CartPole-v1", {}, num_envs=2, seed=0)
    >>> segments.play(lambda obs: (np.ones(2, int), np.ones(2, int)), steps=3).reward.shape
    (3, 2)
    """

    def __init__(self, env_id: str, options: Mapping[str, Any], num_envs: int, seed: int) -> None:
        self.env_id, self.options, self.num_envs, self.seed = env_id, options, num_envs, seed
        self.steps = 0
        self.log: list[dict[str, float]] = []
        self.note: dict[str, float] = {}
        self.envs = self._begin()
        self.observation_space = self.envs.envs.single_observation_space
        self.action_space = self.envs.envs.single_action_space

    def play(self, act: Act, steps: int) -> Segment:
        """So many steps in each environment; the next stretch begins where this one stops."""
        rows = []
        for _ in range(steps):
            raw, action = act(self.obs)
            step = self.step(action)
            rows.append((step.obs, raw, step.reward, step.terminated, step.boundary, step.next_obs))
        return Segment(*(np.stack(column) for column in zip(*rows, strict=True)))


class Crowd(Segments):
    """The same of the agents of worlds that they share: a row an agent, a log row an agent's episode.

    ``steps`` counts agent steps. With ``joint`` a row holds what all agents of its world see, the own view first.

    >>> crowd = Crowd("rlcourse/Spread", {}, num_envs=6, seed=0)
    >>> crowd.play(lambda obs: (np.ones(6, int), np.ones(6, int)), steps=2).obs.shape, crowd.steps
    ((2, 6, 18), 12)

    Raises:
        InvalidArgumentError: rows that do not fill whole worlds.
    """

    def __init__(
        self,
        env_id: str,
        options: Mapping[str, Any],
        num_envs: int,
        seed: int,
        *,
        joint: bool = False,
    ) -> None:
        one = make_world(env_id, 1, **options)
        self.agents, self.own_space, self.joint = one.agents, one.single_observation_space, joint
        one.close()
        check_multiple("num_envs", num_envs, "agents", self.agents)
        self.env_id, self.options, self.num_envs, self.seed = env_id, options, num_envs, seed
        self.steps = 0
        self.log: list[dict[str, float]] = []
        self.note: dict[str, float] = {}
        worlds = self.envs = self._begin()
        self.observation_space = worlds.single_observation_space
        self.action_space = worlds.single_action_space
        self.num_actions = int(worlds.single_action_space.n)

    def _begin(self) -> Any:
        worlds = make_world(self.env_id, self.num_envs // self.agents, **self.options)
        rows = Joint(worlds) if self.joint else worlds
        words = np.random.SeedSequence([self.seed, self.steps]).generate_state(1)
        rows.reset(int(words[0]) & 0x7FFFFFFF)
        self.total = np.zeros(self.num_envs)
        self.length = np.zeros(self.num_envs, dtype=np.int64)
        return rows


class Whole(NamedTuple):
    """``N`` whole episodes, time first, the short ones padded to the length ``T`` of the longest."""

    obs: Any  # [T, N, ...]
    raw: Any  # actions as the policy drew them, [T, N, ...]
    reward: Floats  # [T, N], zero after an end
    running: Bools  # [T, N], false after an end
    terminated: Bools  # [N], false where the time limit struck
    last_obs: Any  # [N, ...], the state in which each episode stopped


class WholeEpisodes:
    """Plays whole episodes in several environments, all of them from a new start to the end.

    Learners that weigh an action by all that follows need the end. Whoever stopped at the first
    finished episodes would prefer short ones, so each environment plays exactly one. How a batch
    begins follows from the seed and the steps before it, so that a run can be resumed.

    >>> episodes = WholeEpisodes("CartPole-v1", {}, num_envs=3, seed=0)
    >>> batch = episodes.play(lambda obs: (np.ones(len(obs), int), np.ones(len(obs), int)))
    >>> batch.reward.shape[1], batch.terminated.all(), bool(batch.running.sum() == episodes.steps)
    (3, np.True_, True)
    """

    kept = ("steps", "log", "note")

    def __init__(self, env_id: str, options: Mapping[str, Any], num_envs: int, seed: int) -> None:
        self.envs = [make(env_id, **options) for _ in range(check_positive("num_envs", num_envs))]
        self.observation_space = self.envs[0].observation_space
        self.action_space = self.envs[0].action_space
        self.seed, self.steps = seed, 0
        self.log: list[dict[str, float]] = []
        self.note: dict[str, float] = {}

    def play(self, act: Act) -> Whole:
        """One episode in every environment."""
        words = np.random.SeedSequence([self.seed, self.steps]).generate_state(len(self.envs))
        starts = zip(self.envs, words, strict=True)
        now = np.stack([env.reset(seed=int(word) & 0x7FFFFFFF)[0] for env, word in starts])
        alive, terminated = np.ones(len(now), bool), np.zeros(len(now), bool)
        rows: list[tuple[Any, Any, Floats, Bools]] = []
        while alive.any():
            raw, action = act(now)
            reward, before, running = np.zeros(len(now)), now.copy(), alive.copy()
            for i in np.flatnonzero(running):
                now[i], reward[i], terminated[i], truncated, _ = self.envs[i].step(action[i])
                alive[i] = not (terminated[i] or truncated)
            rows.append((before, raw, reward, running))
        obs, raws, rewards, runnings = (np.stack(column) for column in zip(*rows, strict=True))
        self.steps += int(runnings.sum())
        for total, length in zip(rewards.sum(axis=0), runnings.sum(axis=0), strict=True):
            row = {"step": self.steps, "return": float(total), "length": int(length)}
            self.log.append({**row, **self.note})
        return Whole(obs, raws, rewards, runnings, terminated, now)

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()
