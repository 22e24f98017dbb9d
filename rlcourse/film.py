"""Watch a policy act: in a window, or as an animated picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlcourse.envs.vector import make
from rlcourse.errors import CourseError, InvalidArgumentError, check_positive
from rlcourse.evaluation import Policy
from rlcourse.files import replace_file
from rlcourse.seeding import streams

__all__ = ["play_in_window", "record"]

WIDTH = 300  # pixels of a recorded picture, about
FRAMES = 600  # at most: some twenty seconds


def record(
    policy: Policy, env_id: str, path: Path, *, episodes: int = 1, seed: int = 0, **options: Any
) -> list[float]:
    """Play whole episodes into an animated GIF and return their returns.

    An episode that is longer than the film is played to its end all the same.

    Raises:
        InvalidArgumentError: ``path`` does not end in .gif, or lies in no folder.
        CourseError: the environment cannot draw itself here.
    """
    if path.suffix.lower() != ".gif":
        raise InvalidArgumentError(f"path = {path}: must end in .gif")
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"path = {path}: its folder does not exist")
    env = _drawable(env_id, "rgb_array", options)
    frames: list[Image.Image] = []

    def look() -> None:
        if len(frames) < FRAMES:
            frames.append(_picture(env.render()))

    returns = _play(policy, env, episodes, seed, look)
    fps = min(float(env.metadata.get("render_fps", 10)), 50.0)  # a GIF's shortest delay
    with replace_file(path) as file:
        frames[0].save(
            file, "GIF", save_all=True, append_images=frames[1:], duration=1000 / fps, loop=0
        )
    return returns


def play_in_window(
    policy: Policy, env_id: str, *, episodes: int = 1, seed: int = 0, **options: Any
) -> list[float]:
    """Play whole episodes in a window and return their returns.

    Raises:
        CourseError: there is no screen, or the environment cannot draw itself.
    """
    return _play(policy, _drawable(env_id, "human", options), episodes, seed, lambda: None)


def _drawable(env_id: str, mode: str, options: dict[str, Any]) -> gym.Env[Any, Any]:
    if mode == "rgb_array":  # no screen is needed, and none is looked for
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    modes = make(env_id, **options).metadata.get("render_modes", [])
    if mode not in modes:
        raise CourseError(f"env_id = {env_id!r}: it cannot draw itself ({mode})")
    return make(env_id, render_mode=mode, disable_env_checker=True, **options)


def _play(
    policy: Policy, env: gym.Env[Any, Any], episodes: int, seed: int, look: Any
) -> list[float]:
    returns = []
    obs, _ = env.reset(seed=streams(seed).evaluation)
    for _ in range(check_positive("episodes", episodes)):
        total, over = 0.0, False
        look()
        while not over:
            action = policy(np.asarray(obs)[None])[0]
            obs, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
            look()
        returns.append(total)
        obs, _ = env.reset()
    env.close()
    return returns


def _picture(frame: Any) -> Image.Image:
    """One frame about ``WIDTH`` pixels wide: small worlds grow in whole steps, large ones shrink."""
    pixels: NDArray[Any] = np.asarray(frame)
    if pixels.dtype.kind == "f":  # colours from 0 to 1
        pixels = (255 * pixels).astype(np.uint8)
    picture = Image.fromarray(pixels)
    if picture.width < WIDTH:
        factor = max(1, WIDTH // picture.width)
        size = (picture.width * factor, picture.height * factor)
        return picture.resize(size, Image.Resampling.NEAREST)
    return picture.resize((WIDTH, WIDTH * picture.height // picture.width))
