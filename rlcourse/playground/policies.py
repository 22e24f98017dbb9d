"""Who plays: chance, the rules that everybody knows, a trained checkpoint, or a function of one's own.

A policy answers a batch of observations ``[N, ...]`` with as many actions. Which one it is may depend on
the world (its spaces) and on the episode (a seed), so what :func:`load_policy` gives is a maker of policies.
"""

from __future__ import annotations

import copy
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rlcourse.envs.heating import thermostat
from rlcourse.envs.vector import make
from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.evaluation import Policy
from rlcourse.seeding import streams

__all__ = [
    "HEURISTICS",
    "from_checkpoint",
    "from_module",
    "heuristic",
    "load_policy",
    "random_policy",
    "require_same_spaces",
]

Env = gym.Env[Any, Any]
DEEP = ("dqn", "rainbow", "reinforce", "a2c", "a3c", "ppo", "sac")  # algorithms that need torch
Maker = Callable[[Env, int], Policy]  # a world, an episode's seed -> who plays it


def load_policy(name: str) -> Maker:
    """The maker of a policy: ``random``, ``heuristic``, ``module:function`` or the file of a checkpoint.

    The maker raises a ``CourseError`` if its policy does not fit the world.

    >>> policy = load_policy("heuristic")(make("CartPole-v1"), 0)
    >>> policy(np.array([[0.0, 0.0, 0.1, 0.0], [0.0, 0.0, 0.1, -0.3]]))
    array([1, 0])

    Raises:
        CourseError: no such file or function, or no checkpoint of this package.
    """
    if name == "random":
        return random_policy
    if name == "heuristic":
        return lambda env, seed: heuristic(env)
    if ":" in name and not Path(name).exists():
        function: Policy = from_module(name)
        if not callable(function):
            raise InvalidArgumentError(f"policy = {name!r}: must be a function")
        return lambda env, seed: function
    if not Path(name).exists():
        raise InvalidArgumentError(
            f"policy = {name!r}: must be random, heuristic, module:function or the file of a checkpoint"
        )
    policy, env_id, options = from_checkpoint(Path(name))
    home = make(env_id, **options)
    home.close()  # its spaces stay

    def fitting(env: Env, seed: int) -> Policy:
        require_same_spaces(env, home, f"the policy of {name}")
        return policy

    return fitting


def random_policy(env: Env, seed: int) -> Policy:
    """Actions drawn evenly from the whole space, from a stream of their own.

    Not from the world's generator: seeded alike, the two would draw the same numbers, and the policy would
    know the weather.

    >>> env = make("CartPole-v1")
    >>> draws = [random_policy(env, 3)(np.zeros((9, 4))).tolist() for _ in range(2)]
    >>> draws[0] == draws[1]
    True
    """
    space = copy.deepcopy(env.action_space)
    space.seed(int(streams(seed).exploration.integers(2**31)))
    return lambda observations: np.array([space.sample() for _ in observations])


# --- the rules that everybody knows ------------------------------------------------------------------


def _cart_pole(observations: NDArray[Any]) -> NDArray[Any]:
    """Push to the side to which the pole is about to fall."""
    angle, velocity = observations[:, 2], observations[:, 3]
    return np.where(angle + velocity > 0, 1, 0)


def _mountain_car(observations: NDArray[Any]) -> NDArray[Any]:
    """Push the way the car rolls: every swing ends higher than the last."""
    return np.where(observations[:, 1] >= 0, 2, 0)


def _mountain_car_continuous(observations: NDArray[Any]) -> NDArray[Any]:
    return np.where(observations[:, 1:] >= 0, np.float32(1), np.float32(-1))


def _acrobot(observations: NDArray[Any]) -> NDArray[Any]:
    """Swing the lower arm against the upper one's motion, as on a playground's swing."""
    return np.where(observations[:, 4] > 0, 0, 2)


def _pendulum(observations: NDArray[Any]) -> NDArray[Any]:
    """Pump in energy until it suffices to stand; near the top, hold (Astrom & Furuta 2000)."""
    cosine, sine, velocity = observations.T
    missing = 5.0 * (1.0 - cosine) - velocity**2 / 6.0  # joules: m g l / 2 = 5, m l^2 / 6 = 1/6
    pump = np.where(velocity == 0, 1.0, missing * velocity)
    hold = -10.0 * np.arctan2(sine, cosine) - 2.0 * velocity
    torque = np.where(cosine > 0.8, hold, pump)
    return np.clip(torque, -2.0, 2.0).astype(np.float32)[:, None]


HEURISTICS: dict[str, Policy] = {
    "CartPole-v0": _cart_pole,
    "CartPole-v1": _cart_pole,
    "MountainCar-v0": _mountain_car,
    "MountainCarContinuous-v0": _mountain_car_continuous,
    "Acrobot-v1": _acrobot,
    "Pendulum-v1": _pendulum,
    "rlcourse/Heating-v0": thermostat,
}
LANDERS = ("LunarLander-v3", "LunarLanderContinuous-v3")


def heuristic(env: Env) -> Policy:
    """The well-known rule of a world: no learning, and often hard to beat.

    LunarLander's is Gymnasium's own.

    Raises:
        CourseError: none is known here.
    """
    env_id = env.spec.id if env.spec else type(env.unwrapped).__name__
    if env_id in HEURISTICS:
        return HEURISTICS[env_id]
    if env_id in LANDERS:
        from gymnasium.envs.box2d import lunar_lander

        land: Any = lunar_lander.heuristic
        return lambda observations: np.array([land(env, state) for state in observations])
    known = ", ".join((*HEURISTICS, *LANDERS))
    raise CourseError(
        f"policy = 'heuristic': no rule is known for {env_id}; there is one for {known}"
    )


# --- one's own, and trained ones ---------------------------------------------------------------------


def from_module(name: str) -> Any:
    """What ``module:name`` names; modules in the current folder are found.

    A file in that folder, or in one of its folders, is read anew each time: it may have been edited.

    >>> from_module("math:pi")
    3.141592653589793

    Raises:
        InvalidArgumentError: no such module, one that raises an error, or nothing of that name in it.
    """
    module, _, attribute = name.partition(":")
    folder = os.getcwd()
    if not {"", folder} & {*sys.path}:  # the installed command does not look into it by itself
        sys.path.insert(0, folder)
    if _is_ones_own(module, Path(folder)):
        del sys.modules[module]
    importlib.invalidate_caches()  # a file may be younger than the last look into its folder
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever code of one's own raises
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InvalidArgumentError(f"{name!r}: cannot import {module!r} ({said})") from error
    if not hasattr(found, attribute):
        raise InvalidArgumentError(f"{name!r}: {module} has no {attribute!r}")
    return getattr(found, attribute)


def _is_ones_own(module: str, folder: Path) -> bool:
    """Whether a loaded module is a file in a folder or in one of its folders, and part of no package."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if spec is None or spec.name != module or spec.parent or not spec.has_location:
        return False
    return folder.resolve() in Path(spec.origin).resolve().parents[:2]


def from_checkpoint(file: Path) -> tuple[Policy, str, dict[str, Any]]:
    """A checkpoint's frozen policy, the world that it was trained in and that one's options.

    Raises:
        CourseError: torch is missing.
        CorruptCheckpointError: the file is none.
        InvalidArgumentError: there is no file, or it holds no policy that can be played.
    """
    try:
        from rlcourse import checkpoint
    except ImportError as error:
        raise CourseError(
            'this needs torch; install it with pip install "rlcourse[deep]"'
        ) from error
    kept = checkpoint.load(file)
    if kept.algorithm not in DEEP:
        raise InvalidArgumentError(
            f"file = {file}: of {kept.algorithm!r}; must be of one of {', '.join(DEEP)}"
        )
    policy = importlib.import_module(f"rlcourse.algorithms.{kept.algorithm}").load_policy(kept)
    return policy, kept.config["env_id"], dict(kept.config["env_options"])


def require_same_spaces(env: Env, home: Env, whose: str) -> None:
    """Check that a world shows and takes the same as the one that a policy was trained in.

    Raises:
        InvalidArgumentError: it does not.
    """
    env_id = env.spec.id if env.spec else type(env.unwrapped).__name__
    for space in ("observation_space", "action_space"):
        ours, theirs = getattr(home, space), getattr(env, space)
        if (type(ours), ours.shape, getattr(ours, "n", 0)) != (
            type(theirs),
            theirs.shape,
            getattr(theirs, "n", 0),
        ):
            raise InvalidArgumentError(
                f"env = {env_id!r}: its {space} is {theirs}; {whose} needs {ours}"
            )
