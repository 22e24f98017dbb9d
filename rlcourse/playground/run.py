"""Play: several policies in several worlds, whole episodes, every policy on the same seeds.

The seeds of the episodes come from the run's seed alone, so neither the other policies nor the other
worlds of a call change an episode, and a longer run begins with the shorter one. Two policies met the same
starts: compare them episode by episode.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import time
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rlcourse.envs.vector import make
from rlcourse.errors import CourseError, InvalidArgumentError, check_positive
from rlcourse.evaluation import Policy
from rlcourse.playground.policies import Env, Maker, from_module, load_policy
from rlcourse.playground.results import (
    Episode,
    Pair,
    Problem,
    Recording,
    Results,
    fault,
    schema,
)
from rlcourse.seeding import generator, streams

__all__ = ["Recorder", "episode_seeds", "open_env", "play_episode", "run"]

RECORDED = 3  # episodes of each pair
FRAMES, CHARACTERS = 200, 20_000  # of a recording, at most
LARGEST = 1e100  # what the file takes for a number
LIMIT = 1000  # steps of a world of one's own, which may know no limit itself

OnEpisode = Callable[[str, str, Episode, float], None]  # world, policy, episode, its seconds


def run(
    environments: Sequence[str],
    policies: Sequence[str],
    *,
    episodes: int = 20,
    seed: int = 0,
    on_episode: OnEpisode | None = None,
) -> Results:
    """Play ``episodes`` whole episodes of every policy in every world.

    What cannot be played (an extra is missing, a policy does not fit a world) becomes a ``Problem`` of the
    results, and the rest is played. An interrupt ends the run: the results hold the finished episodes.

    Args:
        environments: ids of :func:`~rlcourse.envs.vector.make`, or ``module:Class``.
        policies: ``random``, ``heuristic``, ``module:function`` or files of checkpoints.
        episodes: of each pair.
        seed: from which the seeds of the episodes come.
        on_episode: called after each episode with the two names, the episode and the seconds it took.

    >>> results = run(["CartPole-v1"], ["random", "heuristic"], episodes=3)
    >>> [len(pair.episodes) for pair in results.pairs], results.complete
    ([3, 3], True)

    Raises:
        CourseError: an unknown environment, a policy that cannot be loaded, one named twice: nothing is
            played then.
    """
    for name, given in (("environments", environments), ("policies", policies)):
        if not given or len({*given}) < len(given):
            raise InvalidArgumentError(f"{name} = {list(given)}: name at least one, and none twice")
    seeds = episode_seeds(seed, episodes)
    asked: dict[str, Any] = {
        "environments": [*environments],
        "policies": [*policies],
        "episodes": len(seeds),
        "seed": int(seed),
    }
    if found := fault(asked, schema()["properties"]["settings"]):  # what the file could not hold
        raise InvalidArgumentError(": ".join(found))
    makers = {name: load_policy(name) for name in policies}
    problems: list[Problem] = []
    pairs: list[Pair] = []
    complete = True
    with contextlib.ExitStack() as opened:
        worlds: dict[str, Env] = {}
        for env_id in environments:
            try:
                worlds[env_id] = open_env(env_id)
            except InvalidArgumentError:
                raise
            except CourseError as error:  # what brings it is not installed
                problems.append(Problem(env_id, None, _one_line(error)))
            else:
                opened.callback(worlds[env_id].close)
        try:
            for (env_id, env), (name, maker) in itertools.product(worlds.items(), makers.items()):
                played: list[Episode] = []
                recordings: list[Recording] = []
                pair = Pair(env_id, name, played, recordings)
                try:
                    for episode_seed in seeds:
                        start = time.perf_counter()
                        recorder = Recorder(env) if len(played) < RECORDED else None
                        episode = _guarded(env, maker, name, episode_seed, recorder)
                        seconds = time.perf_counter() - start
                        recording = recorder.recording(len(played)) if recorder else None
                        played.append(episode)
                        if len(played) == 1:
                            pairs.append(pair)
                        if recording:  # of an episode that is there, also if Ctrl-C comes just now
                            recordings.append(recording)
                        if on_episode:
                            on_episode(env_id, name, episode, seconds)
                except CourseError as error:
                    problems.append(Problem(env_id, name, _one_line(error)))
        except KeyboardInterrupt:
            complete = False
    made_with = {name: _version(name) for name in ("rlcourse", "gymnasium", "numpy")}
    return Results(**asked, pairs=pairs, problems=problems, complete=complete, made_with=made_with)


def episode_seeds(seed: int, episodes: int) -> list[int]:
    """The seeds of the first so many episodes of a run.

    >>> episode_seeds(0, 5)[:2] == episode_seeds(0, 2)
    True

    Raises:
        InvalidArgumentError: a negative seed, or no episode.
    """
    check_positive("episodes", episodes)
    rng = generator(streams(seed).evaluation)
    return [int(rng.integers(2**31)) for _ in range(episodes)]


def open_env(name: str) -> Env:
    """A world by its id, or of one's own by ``module:Class``; one that can picture itself in text does so.

    One's own is cut off after 1,000 steps, or where it says ``truncated`` itself.

    >>> open_env("FrozenLake-v1").render_mode
    'ansi'

    Raises:
        CourseError: there is none, it cannot be made, or what brings it is not installed.
    """
    if ":" in name:
        kind = from_module(name)
        try:
            env = kind() if callable(kind) else kind
        except Exception as error:
            raise InvalidArgumentError(f"env = {name!r}: {_said(error)}") from error
        if not isinstance(env, gym.Env):
            raise InvalidArgumentError(f"env = {name!r}: must be a class of gymnasium.Env")
        return gym.wrappers.TimeLimit(env, LIMIT)
    env = make(name)
    if "ansi" in env.metadata.get("render_modes", ()):
        env.close()
        env = make(name, render_mode="ansi")
    return env


def play_episode(env: Env, policy: Policy, seed: int, recorder: Recorder | None = None) -> Episode:
    """Play one episode from its seed on.

    >>> env = make("MountainCar-v0")
    >>> play_episode(env, lambda obs: np.zeros(len(obs), int), seed=3)
    Episode(seed=3, return_=-200.0, length=200, terminated=False, truncated=True)

    Raises:
        InvalidArgumentError: the policy's first action is none of the world's.
        CourseError: the rewards do not add up to a finite number.
    """
    obs, _ = env.reset(seed=seed)
    total, length, terminated, truncated = 0.0, 0, False, False
    while not (terminated or truncated):
        action = policy(np.asarray(obs)[None])[0]
        if length == 0 and not _is_action(env.action_space, action):
            raise InvalidArgumentError(
                f"action = {action!r}: the world takes {env.action_space}; does the policy answer "
                "observations [N, ...] with N actions?"
            )
        if recorder:
            recorder.see(length, obs, total, action)
        obs, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        length += 1
    if recorder:
        recorder.see(length, obs, total, None)
    if not abs(total) <= LARGEST:
        raise CourseError(f"return = {total}: the world's rewards must add up to a finite number")
    return Episode(seed, total, length, bool(terminated), bool(truncated))


def _guarded(env: Env, maker: Maker, name: str, seed: int, recorder: Recorder | None) -> Episode:
    """An episode; whatever goes wrong in code of one's own is told in one line."""
    try:
        return play_episode(env, maker(env, seed), seed, recorder)
    except CourseError:
        raise
    except Exception as error:
        raise CourseError(_said(error)) from error


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:4000]
    return text.encode("utf-8", "replace").decode()


def _said(error: Exception) -> str:
    """An error in one line, with the line of code that raised it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"


def _is_action(space: gym.Space[Any], action: Any) -> bool:
    try:
        if isinstance(space, gym.spaces.Box):  # of whatever kind of float
            action = np.asarray(action, space.dtype)
        return bool(space.contains(action))
    except (TypeError, ValueError):
        return False


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that was never installed
        return "unknown"


class Recorder:
    """Keeps the moments of one episode: pictures in text, or observations of few numbers."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.moments: list[tuple[int, Any, float, Any]] = []
        self.fits = True  # a moment into the file

    def see(self, step: int, obs: Any, gained: float, action: Any) -> None:
        """Keep a moment: after ``step`` steps, with what was gained so far and the action chosen next."""
        if not self.fits:
            return
        in_text = self.env.render_mode == "ansi"
        frame: Any = _picture(str(self.env.render())) if in_text else np.asarray(obs)
        if _is_too_large(frame):
            self.fits = False
            self.moments.clear()
            return
        frame = frame if in_text else frame.copy()  # some worlds change theirs in place
        self.moments.append((step, frame, gained, None if action is None else np.array(action)))

    def recording(self, episode: int) -> Recording | None:
        """What was kept, thinned out to a limit of moments and of size; the last moment always stays.

        None if a moment holds what the file could not: too many numbers, or one that is not finite.
        """
        if not self.fits:
            return None
        frame = self.moments[0][1]
        size = len(frame) if isinstance(frame, str) else 8 * frame.size
        every = math.ceil(len(self.moments) / min(FRAMES, max(2, CHARACTERS // max(size, 1))))
        kept = self.moments[:-1:every] + self.moments[-1:]
        steps, frames, gained, actions = zip(*kept, strict=True)
        shown = [frame if isinstance(frame, str) else _numbers(frame.ravel()) for frame in frames]
        chosen = [None if action is None else _numbers(action) for action in actions]
        recording = Recording(episode, [*steps], shown, [round(g, 4) for g in gained], chosen)
        return None if fault(vars(recording), schema()["$defs"]["recording"]) else recording


def _is_too_large(frame: str | NDArray[Any]) -> bool:
    """Whether a moment is more than the file holds of one."""
    numbers, letters = schema()["$defs"]["recording"]["properties"]["frames"]["anyOf"]
    if isinstance(frame, str):
        return len(frame) > int(letters["items"]["maxLength"])
    return frame.size > int(numbers["items"]["maxItems"])


def _picture(text: str) -> str:
    """A world's picture without the line that names the last action: it moves the rest up and down."""
    return re.sub(r"(?m)^ *\(\w+\) *$", "", text).strip("\n")


def _numbers(array: NDArray[Any]) -> Any:
    """An array as JSON holds it, to four decimals; whole numbers stay whole."""
    if array.dtype.kind in "biu":
        return array.astype(int).tolist()
    if array.dtype.kind != "f":
        return None
    return np.round(array.astype(float), 4).tolist()
