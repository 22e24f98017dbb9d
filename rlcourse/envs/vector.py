"""The one stepping convention of this package, over Gymnasium's vector environments.

A transition is ``obs, action, reward, terminated, truncated, next_obs``, in this order, with the batch
of environments first in every array. ``next_obs`` is *always* the state that the action led to, also
at the end of an episode. Gymnasium offers three ways of starting the next episode; only the same-step
mode makes every row a real transition, and in that mode the environment's own return value is already
the next episode's first observation: the true successor hides in ``infos["final_obs"]``. It is taken
from there here and nowhere else (https://farama.org/Vector-Autoreset-Mode).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from rlcourse.errors import (
    CourseError,
    InvalidArgumentError,
    UnknownEnvironmentError,
    check_positive,
)

__all__ = ["Step", "Stepper", "make", "make_vector"]

# Ids that older texts print, and what became of them.
RETIRED = {
    "Taxi-v3": "Taxi-v4",
    "CliffWalking-v0": "CliffWalking-v1",
    "LunarLander-v2": "LunarLander-v3",
}

# What Gymnasium does not bring itself: the package's extra that does.
EXTRAS = {
    "MinAtar/": "minatar",
    "LunarLander": "box2d",
    "BipedalWalker": "box2d",
    "CarRacing": "box2d",
}
# Registered without a time limit, where a bad policy (or a good one) would play for ever.
TIME_LIMITS = {"CliffWalking-v1": 1000, "MinAtar/": 5000}


class Step(NamedTuple):
    """One transition of each of ``N`` environments. Every field has ``N`` as its first axis."""

    obs: NDArray[Any]
    action: NDArray[Any]
    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    next_obs: NDArray[Any]

    def discount(self, gamma: float) -> NDArray[np.float64]:
        """What the future counts after this step: ``gamma``, or zero at a true end; shape ``[N]``."""
        discount: NDArray[np.float64] = gamma * (1.0 - self.terminated.astype(np.float64))
        return discount

    @property
    def boundary(self) -> NDArray[np.bool_]:
        """Where an episode was cut, by its end or by a time limit; shape ``[N]``."""
        return self.terminated | self.truncated


def make(env_id: str, **options: Any) -> gym.Env[Any, Any]:
    """``gymnasium.make``, with errors that name the nearest environment or the missing extra.

    CliffWalking-v1 is registered without a time limit; here it gets one of 1,000 steps, since a bad
    policy would walk there for ever. The games of MinAtar (an extra) get one of 5,000.

    >>> make("FrozenLake-v1", is_slippery=False).unwrapped.spec.id
    'FrozenLake-v1'

    Raises:
        UnknownEnvironmentError: no such id.
        InvalidArgumentError: options that the environment does not take.
        CourseError: the extra that brings the environment is not installed.
    """
    import rlcourse.envs  # noqa: F401  (registers rlcourse/...)

    if isinstance(env_id, str) and env_id.startswith("MinAtar/"):
        _register_minatar(env_id)

    if not isinstance(env_id, str):
        raise InvalidArgumentError(f"env_id = {env_id!r}: must be the name of an environment")
    if env_id in RETIRED:
        raise UnknownEnvironmentError(f"env_id = {env_id!r}: retired; use {RETIRED[env_id]!r}")
    if env_id not in gym.registry:
        near = difflib.get_close_matches(env_id, list(gym.registry), n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else "see gymnasium.pprint_registry()"
        raise UnknownEnvironmentError(f"env_id = {env_id!r}: no such environment; {hint}")
    for name, limit in TIME_LIMITS.items():
        if env_id.startswith(name):
            options.setdefault("max_episode_steps", limit)
    try:
        return gym.make(env_id, **options)
    except TypeError as error:
        raise InvalidArgumentError(f"options = {options!r}: {env_id} says: {error}") from error
    except gym.error.DependencyNotInstalled as error:
        raise _missing(env_id, error) from error


def _register_minatar(env_id: str) -> None:
    """MinAtar registers its games only when asked to."""
    try:
        from minatar.gym import register_envs
    except ImportError as error:
        raise _missing(env_id, error) from error
    if "MinAtar/Breakout-v1" not in gym.registry:
        register_envs()


def _missing(env_id: str, error: Exception) -> CourseError:
    extra = next((extra for name, extra in EXTRAS.items() if env_id.startswith(name)), None)
    cure = f'install it with pip install "rlcourse[{extra}]"' if extra else str(error)
    return CourseError(f"env_id = {env_id!r}: needs what is not installed; {cure}")


def make_vector(env_id: str, num_envs: int, **options: Any) -> Stepper:
    """``num_envs`` copies of one environment behind the stepping convention of this module."""
    check_positive("num_envs", num_envs)
    envs = SyncVectorEnv(
        [lambda: make(env_id, **options) for _ in range(num_envs)],
        autoreset_mode=AutoresetMode.SAME_STEP,
        copy=False,  # the stepper copies
    )
    return Stepper(envs)


class Stepper:
    """Steps a vector environment and always tells the true successor.

    ``obs`` is what the policy must look at next: after the end of an episode the first observation of
    the new one.

    >>> stepper = make_vector("CartPole-v1", num_envs=2)
    >>> stepper.reset(seed=0).shape
    (2, 4)
    >>> stepper.step([0, 1]).reward
    array([1., 1.])
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise InvalidArgumentError(
                f"envs: autoreset mode {mode}: must be SAME_STEP, or rows of no transition slip in"
            )
        self.envs = envs
        self.num_envs = envs.num_envs
        self.obs: NDArray[Any] = np.zeros(0)

    def reset(self, seed: int | None = None) -> NDArray[Any]:
        """Start an episode in every environment; the seed is spread over them by Gymnasium."""
        self.obs = np.array(self.envs.reset(seed=seed)[0])
        return self.obs

    def step(self, action: Iterable[Any]) -> Step:
        """Act once in every environment."""
        if self.obs.size == 0:
            raise CourseError("step before reset: call reset(seed=...) first")
        chosen = np.asarray(action)
        if chosen.ndim == 0 or len(chosen) != self.num_envs:
            raise InvalidArgumentError(f"action of shape {chosen.shape}: must be [{self.num_envs}]")
        current = self.obs
        following, reward, terminated, truncated, infos = self.envs.step(chosen)
        next_obs = np.array(following)
        self.obs = next_obs.copy()  # environments may reuse their buffer
        for i in np.flatnonzero(terminated | truncated):
            next_obs[i] = infos["final_obs"][i]
        return Step(current, chosen, np.array(reward), terminated, truncated, next_obs)

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()
