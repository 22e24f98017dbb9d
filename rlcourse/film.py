"""Watch a policy act: in a window, or as an animated picture."""

from __future__ import annotations

import base64
import html
import io
import math
import os
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlcourse.envs.vector import make
from rlcourse.errors import CourseError, InvalidArgumentError, check_positive, require
from rlcourse.evaluation import Policy
from rlcourse.files import replace_file
from rlcourse.seeding import streams

__all__ = [
    "Film",
    "as_gif",
    "drawable",
    "moments",
    "play_in_window",
    "record",
    "require_screen",
    "writer_of",
]

WIDTH = 300  # pixels of a recorded picture, about
FRAMES = 600  # at most: some twenty seconds

Writer = Callable[[IO[bytes], list[Image.Image], float], None]  # of pictures, and how many a second


def record(
    policy: Policy, env_id: str, path: Path, *, episodes: int = 1, seed: int = 0, **options: Any
) -> list[float]:
    """Play whole episodes into a film, .gif or .mp4, and return their returns.

    An episode that is longer than the film is played to its end all the same.

    Raises:
        InvalidArgumentError, CourseError: as :func:`writer_of`.
        CourseError: the environment cannot draw itself here.
    """
    write = writer_of(path)
    env = drawable(env_id, "rgb_array", options)
    frames: list[Image.Image] = []

    def look() -> None:
        if len(frames) < FRAMES:
            frames.append(_picture(env.render()))

    returns = _play(policy, env, episodes, seed, look)
    with replace_file(path) as file:
        write(file, frames, float(env.metadata.get("render_fps", 10)))
    return returns


def writer_of(path: Path) -> Writer:
    """What writes a film of a file's kind; asked before the first picture is drawn.

    >>> writer_of(Path("film.gif")).__name__
    'as_gif'

    Raises:
        InvalidArgumentError: it ends neither in .gif nor in .mp4, or lies in no folder.
        CourseError: it ends in .mp4, and the extra ``video`` is not installed.
    """
    writers: dict[str, Writer] = {".gif": as_gif, ".mp4": as_mp4}
    if path.suffix.lower() not in writers:
        raise InvalidArgumentError(f"path = {path}: must end in .gif or .mp4")
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"path = {path}: its folder does not exist")
    if path.suffix.lower() == ".mp4":
        require("video", "av")
    return writers[path.suffix.lower()]


def as_gif(file: IO[bytes], frames: list[Image.Image], fps: float) -> None:
    """Write pictures as an animated GIF, at most fifty a second: it knows no shorter delay."""
    delay = 1000 / min(fps, 50.0)
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=delay, loop=0)


def as_mp4(file: IO[bytes], frames: list[Image.Image], fps: float) -> None:
    """Write pictures as an MP4 that every browser plays: twice as large, for four of its pixels share a colour."""
    import av

    width, height = (2 * side for side in frames[0].size)
    with av.open(file, "w", format="mp4") as film:
        stream = film.add_stream("libx264", Fraction(fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            large = frame.convert("RGB").resize((width, height), Image.Resampling.NEAREST)
            picture = av.VideoFrame.from_ndarray(np.asarray(large), format="rgb24")
            film.mux(stream.encode(picture))
        film.mux(stream.encode())


class Film:
    """Pictures that move in a page; where the reader wants no motion, the last of them stands still.

    Args:
        frames: pictures of one size.
        fps: of them a second.
        alt: what they show, in words.

    >>> Film([Image.new("P", (4, 4))] * 2, 15, alt="Nothing, twice.")
    Nothing, twice.
    """

    def __init__(self, frames: Sequence[Image.Image], fps: float, alt: str) -> None:
        moving, still = io.BytesIO(), io.BytesIO()
        as_gif(moving, list(frames), fps)
        frames[-1].save(still, "PNG", optimize=True)
        self.gif, self.png, self.alt = moving.getvalue(), still.getvalue(), alt
        self.width, self.height = frames[-1].size

    def _repr_html_(self) -> str:
        gif, png = (base64.b64encode(data).decode() for data in (self.gif, self.png))
        return (
            '<picture><source media="(prefers-reduced-motion: reduce)" '
            f'srcset="data:image/png;base64,{png}"><img src="data:image/gif;base64,{gif}" '
            f'alt="{html.escape(self.alt)}" width="{2 * self.width}" height="{2 * self.height}" '
            'style="image-rendering: pixelated; max-width: 100%; height: auto"></picture>'
        )

    def __repr__(self) -> str:
        return self.alt


def moments(
    policy: Policy, env: gym.Env[Any, Any], *, seed: int = 0, frames: int = 40
) -> tuple[list[Image.Image], list[Any], float]:
    """One whole episode in few pictures: ``(pictures, observations, return)``.

    The episode is played twice, for only after the first time is it known which of its steps to draw. A world
    that was not made with ``rgb_array`` gives no pictures.

    >>> pictures, seen, total = moments(lambda obs: np.ones(1, int), drawable("CartPole-v1", "rgb_array", {}))
    >>> len(pictures) == len(seen) == total + 1
    True
    """
    obs, _ = env.reset(seed=seed)
    seen, actions, total, over = [obs], [], 0.0, False
    while not over:
        actions.append(policy(np.asarray(obs)[None])[0])
        obs, reward, terminated, truncated, _ = env.step(actions[-1])
        seen.append(obs)
        total, over = total + float(reward), terminated or truncated
    if env.render_mode != "rgb_array":
        return [], seen, total
    every = math.ceil(len(seen) / frames)
    env.reset(seed=seed)
    pictures = [_picture(env.render())]
    for step, action in enumerate(actions, 1):
        env.step(action)
        if step % every == 0 or step == len(actions):
            pictures.append(_picture(env.render()))
    return pictures, seen, total


def play_in_window(
    policy: Policy, env_id: str, *, episodes: int = 1, seed: int = 0, **options: Any
) -> list[float]:
    """Play whole episodes in a window and return their returns.

    Raises:
        CourseError: there is no screen, or the environment cannot draw itself.
    """
    return _play(policy, drawable(env_id, "human", options), episodes, seed, lambda: None)


def require_screen() -> None:
    """Do nothing if a window can be opened, else raise what says how to look all the same."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        raise CourseError("there is no screen here; record a film with --out film.gif")


def drawable(env_id: str, mode: str, options: dict[str, Any]) -> gym.Env[Any, Any]:
    """A world that draws itself, into arrays (``rgb_array``) or into a window (``human``).

    Raises:
        CourseError: it cannot.
    """
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
