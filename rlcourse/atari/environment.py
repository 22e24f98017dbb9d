"""Atari games behind the stepping convention of this package, every choice in sight.

One emulated machine stands behind two dozen published protocols, and most of what looks like a better
learner between two papers is another protocol. So there are no silent defaults here: :class:`Game` holds
every choice, it is written into checkpoints and results, and :func:`judged` says what an evaluation changes.

The emulators are those of ALE (the extra ``atari``), stepped side by side in threads of their own.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from rlcourse.envs.vector import Step, Stepper
from rlcourse.errors import (
    CourseError,
    InvalidArgumentError,
    UnknownEnvironmentError,
    check_fraction,
    check_positive,
)
from rlcourse.mdp import Bools, Floats, Ints

__all__ = ["Game", "Games", "judged", "names", "rom"]


@dataclass(frozen=True)
class Game:
    """A game and everything that is chosen around it. Frames are the emulator's, 60 a second.

    >>> Game(name="ALE/Pong-v5").name
    'pong'

    Raises:
        UnknownEnvironmentError: there is no such game; the message has the nearest names.
        InvalidArgumentError: a value that cannot be right.
        CourseError: the extra ``atari`` is not installed.
    """

    name: str = "pong"  # as ALE's files are called; ALE/Pong-v5 and Pong are understood
    sticky: float = 0.25  # chance a frame of the action before, again (Machado et al. 2018)
    frame_skip: int = 4  # frames that an action lasts
    max_pool: bool = True  # of the last two of them each pixel's brighter value: sprites flicker
    stack: int = 4  # pictures in an observation; before a game's first they are black
    height: int = 84  # pixels of the shrunken picture
    width: int = 84
    cut_top: int = 0  # of those, rows cut away: a score that nobody needs to see
    cut_bottom: int = 0
    actions: tuple[str, ...] = ()  # to choose from; none named: all that the game knows
    noops: int = 30  # a game begins with up to so many frames of doing nothing
    fire: bool = True  # press FIRE once at a game's beginning, where the game knows it
    lives: bool = True  # a lost life ends the learner's episode; the game goes on
    clip: bool = True  # rewards to -1, 0, 1
    max_frames: int = 108_000  # half an hour after the noops, then the game is broken off

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", rom(self.name))
        object.__setattr__(self, "actions", tuple(self.actions))
        check_fraction("sticky", self.sticky)
        for name in ("frame_skip", "stack", "height", "width", "max_frames"):
            check_positive(name, getattr(self, name))
        for name in ("cut_top", "cut_bottom", "noops"):
            check_positive(f"{name} + 1", getattr(self, name) + 1)
        if (cut := self.cut_top + self.cut_bottom) >= self.height:
            raise InvalidArgumentError(
                f"cut_top + cut_bottom = {cut}: must leave some of height = {self.height}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """An observation's: pictures, rows, columns."""
        return self.stack, self.height - self.cut_top - self.cut_bottom, self.width


def judged(game: Game, **changes: Any) -> Game:
    """The same game as a judge wants it: the score as the machine counts it, whole games.

    >>> judged(Game("breakout"), sticky=0.0).clip
    False
    """
    return dataclasses.replace(game, lives=False, clip=False, **changes)


@cache
def names() -> tuple[str, ...]:
    """Every game for one player.

    >>> len(names()), "pong" in names()
    (104, True)

    Raises:
        CourseError: the extra ``atari`` is not installed.
    """
    _ale()
    found = (spec.kwargs["game"] for name, spec in gym.registry.items() if name.startswith("ALE/"))
    return tuple(sorted(set(found)))


def rom(name: str) -> str:
    """ALE's own name of a game, from any of the usual spellings.

    >>> rom("MsPacman"), rom("ALE/Breakout-v5"), rom("Up and Down")
    ('ms_pacman', 'breakout', 'up_n_down')

    Raises:
        UnknownEnvironmentError: there is no such game.
    """
    known = {_letters(game): game for game in names()}
    wanted = _letters(str(name).removeprefix("ALE/").split("-v")[0])
    wanted = {"upanddown": "upndown", "montezuma": "montezumarevenge"}.get(wanted, wanted)
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=3)
        hint = f"did you mean {', '.join(known[n] for n in near)}?" if near else _some(names())
        raise UnknownEnvironmentError(f"game = {name!r}: no such game; {hint}")
    return known[wanted]


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _some(known: tuple[str, ...]) -> str:
    return f"there are {len(known)}, among them {', '.join(known[:: len(known) // 6])}"


def _ale() -> Any:
    try:
        import ale_py
    except ImportError as error:
        raise CourseError(
            'Atari needs what is not installed; install it with pip install "rlcourse[atari]"'
        ) from error
    gym.register_envs(ale_py)
    return ale_py


class Games(Stepper):
    """``num_envs`` copies of a game, stepped side by side.

    A step's ``terminated`` is what the learner is told; where a game was really over stands in ``over``, and
    what the machine counted, not clipped, in ``score``.

    Args:
        game: which one, and how.
        num_envs: copies of it.
        threads: that step them; 0 takes one a processor. They change the speed and nothing else.

    >>> games = Games(Game("pong", actions=("NOOP", "RIGHT", "LEFT")), num_envs=2)
    >>> games.reset(seed=0).shape, games.step([0, 2]).next_obs.dtype
    ((2, 4, 84, 84), dtype('uint8'))

    Raises:
        InvalidArgumentError: an action that the game does not know.
    """

    def __init__(self, game: Game, num_envs: int, *, threads: int = 0) -> None:
        _ale()
        from ale_py.vector_env import AtariVectorEnv

        check_positive("num_envs", num_envs)
        envs: Any = AtariVectorEnv(  # its defaults are not ours: all of them are said here
            game.name,
            num_envs,
            num_threads=min(threads, num_envs),
            max_num_frames_per_episode=game.max_frames,
            repeat_action_probability=game.sticky,
            autoreset_mode=AutoresetMode.SAME_STEP,
            img_height=game.height,
            img_width=game.width,
            stack_num=game.stack,
            frameskip=game.frame_skip,
            maxpool=game.max_pool,
            noop_max=game.noops,
            episodic_life=False,  # it would throw the game away with the first life
            life_loss_info=game.lives,
            reward_clipping=False,  # done here: the score is wanted too
            use_fire_reset=game.fire,
        )
        super().__init__(envs)
        self.game, self.rows = game, slice(game.cut_top, game.height - game.cut_bottom)
        known = [action.name for action in envs.ale.get_action_set()]
        self.actions = game.actions or tuple(known)
        for name in self.actions:
            if name not in known:
                raise InvalidArgumentError(
                    f"actions = {self.actions}: {game.name} knows {', '.join(known)}"
                )
        self.buttons: Ints = np.array([known.index(name) for name in self.actions])
        self.observation_space = Box(0, 255, game.shape, np.uint8)
        self.action_space = Discrete(len(self.actions))
        self.score: Floats = np.zeros(num_envs)  # what the newest step brought, not clipped
        self.over: Bools = np.zeros(num_envs, bool)  # games that the newest step ended
        self.lives_left: Ints = np.zeros(num_envs, np.int64)
        self.sent: Ints | None = None  # buttons pressed whose consequences have not been looked at

    def reset(self, seed: int | None = None) -> NDArray[Any]:
        """Begin a game in every copy; from a seed they begin alike each time."""
        if self.sent is not None:  # its step would be taken for the first of the new games
            self.receive()
        seeds = None
        if seed is not None:  # the emulator would count up: neighbouring seeds would share games
            words = np.random.SeedSequence(seed).generate_state(self.num_envs)
            seeds = (words & 0x7FFFFFFF).astype(np.int64)
        obs, infos = self.envs.reset(seed=seeds)  # type: ignore[arg-type]
        self._look(infos)
        self.obs = obs[:, :, self.rows].copy()
        return self.obs

    def step(self, action: Iterable[Any]) -> Step:
        """Act once in every copy.

        Raises:
            InvalidArgumentError: an action that is none of the game's; the emulator would wait for ever.
        """
        self.send(action)
        return self.receive()

    def send(self, action: Iterable[Any]) -> None:
        """Press the buttons, and do not wait: the emulators' own threads play on while you do something else.

        Raises:
            InvalidArgumentError: as :meth:`step`.
            CourseError: a game has not begun, or the step before has not been received.
        """
        if self.obs.size == 0:
            raise CourseError("step before reset: call reset(seed=...) first")
        if self.sent is not None:
            raise CourseError("send after send: call receive() first")
        chosen = np.asarray(action)
        if chosen.shape != (self.num_envs,) or chosen.dtype.kind not in "iu":
            raise InvalidArgumentError(
                f"action of shape {chosen.shape} and type {chosen.dtype}: must be whole numbers "
                f"[{self.num_envs}]"
            )
        if chosen.min() < 0 or chosen.max() >= len(self.buttons):
            raise InvalidArgumentError(
                f"action = {chosen}: must lie in 0 .. {len(self.buttons) - 1} ({self.actions})"
            )
        self.envs.send(self.buttons[chosen])  # type: ignore[attr-defined]
        self.sent = chosen

    def receive(self) -> Step:
        """Where the buttons that were sent have led.

        Raises:
            CourseError: nothing was sent; the emulator would wait for ever.
        """
        if self.sent is None:
            raise CourseError("receive before send: call send(action) first")
        began, current, chosen, self.sent = self.began, self.obs, self.sent, None
        following, reward, terminated, truncated, infos = self.envs.recv()  # type: ignore[attr-defined]
        self._look(infos)
        # A game's first frame, counted from the machine's start, changes when a new game begins; neither
        # `terminated` (a lost life sets it too) nor `lives` (some games have none) can say so.
        self.over = (terminated | truncated) & (self.began != began)
        self.score = np.asarray(reward, np.float64)
        self.obs = following[:, :, self.rows].copy()
        next_obs = self.obs.copy()
        if self.over.any():
            # Only there: where a life was lost but the game goes on, `final_obs` holds old pictures.
            next_obs[self.over] = infos["final_obs"][self.over][:, :, self.rows]
        learned = np.clip(self.score, -1, 1) if self.game.clip else self.score.copy()
        flags = np.array(terminated), np.array(truncated)
        return Step(current, chosen, learned, *flags, next_obs)

    def close(self) -> None:
        """Wait for what was sent. The emulators' threads sleep, and end with this object."""
        if self.sent is not None:
            self.receive()
        super().close()

    def _look(self, infos: dict[str, Any]) -> None:
        self.lives_left = infos["lives"].astype(np.int64)
        self.began = infos["frame_number"] - infos["episode_frame_number"]
