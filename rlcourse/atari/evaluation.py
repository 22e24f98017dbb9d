"""How good is a player? By whole games, the machine's own score, under a protocol that is named.

Two numbers from different protocols are no comparison: sticky actions alone take a DQN's Breakout from some
370 to 100 or 190 points. So a result carries its protocol.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from rlcourse.atari.environment import Game, Games, judged, rom
from rlcourse.errors import (
    CorruptEvidenceError,
    check_fraction,
    check_multiple,
    check_positive,
)
from rlcourse.evaluation import Policy
from rlcourse.evidence import folder
from rlcourse.mdp import Bools, Floats, Ints
from rlcourse.seeding import streams

__all__ = ["PROTOCOLS", "Protocol", "Result", "human_normalized", "judge", "reference"]


@dataclass(frozen=True)
class Protocol:
    """What a judge fixes; the picture is the player's own affair."""

    sticky: float  # chance a frame that the machine repeats the action before
    noops: int  # a game begins with up to so many frames of doing nothing
    epsilon: float  # chance a step of any action at all
    max_frames: int  # then a game is broken off; its score so far counts
    games: int = 30
    greedy: bool = True  # the best action, or one drawn from the player's probabilities

    def __post_init__(self) -> None:
        check_fraction("sticky", self.sticky)
        check_fraction("epsilon", self.epsilon)
        check_positive("games", self.games)
        check_positive("max_frames", self.max_frames)

    def game(self, game: Game) -> Game:
        """The player's game under this protocol."""
        changes = {name: getattr(self, name) for name in ("sticky", "noops", "max_frames")}
        return judged(game, **changes)


PROTOCOLS = {
    # Mnih et al. 2015: five minutes, a beginning drawn by lot, and the player's hand is jogged.
    "nature": Protocol(sticky=0.0, noops=30, epsilon=0.05, max_frames=18_000),
    # After Machado et al. 2018, with the cap of ALE's v5 environments: the machine is what is uncertain.
    "sticky": Protocol(sticky=0.25, noops=0, epsilon=0.0, max_frames=108_000, greedy=False),
    # The best action always. Nothing breaks an endless rally but the cap, and two games with one beginning are
    # one game.
    "greedy": Protocol(sticky=0.0, noops=30, epsilon=0.0, max_frames=18_000),
}
# Games against somebody: a score above zero is a game won.
VERSUS = ("boxing", "double_dunk", "fishing_derby", "ice_hockey", "pong", "tennis")


@dataclass(frozen=True)
class Result:
    """``G`` whole games."""

    game: Game  # as it was played
    protocol: Protocol
    seed: int
    scores: Floats  # [G], as the machine counts
    lengths: Ints  # [G], agent steps
    capped: Bools  # [G], broken off

    @property
    def mean(self) -> float:
        """The mean score."""
        return float(self.scores.mean())

    @property
    def won(self) -> int | None:
        """Games won, or ``None`` where there is nobody to win against."""
        return int((self.scores > 0).sum()) if self.game.name in VERSUS else None

    @property
    def lost(self) -> int | None:
        """Games lost."""
        return int((self.scores < 0).sum()) if self.game.name in VERSUS else None

    @property
    def normalized(self) -> float | None:
        """Per cent of the way from random play to the human tester, or ``None`` for a game not in the table."""
        return human_normalized(self.game.name, self.mean)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, for a file."""
        return {
            "game": dataclasses.asdict(self.game),
            "protocol": dataclasses.asdict(self.protocol),
            "seed": self.seed,
            "scores": self.scores.tolist(),
            "lengths": self.lengths.tolist(),
            "capped": self.capped.tolist(),
            "mean": self.mean,
            "won": self.won,
            "lost": self.lost,
            "human_normalized": self.normalized,
        }


def judge(
    policy: Policy,
    game: Game,
    protocol: Protocol,
    *,
    seed: int = 0,
    num_envs: int = 10,
    threads: int = 0,
    on_game: Callable[[float], None] | None = None,
) -> Result:
    """Play whole games with a frozen policy.

    Every copy of the game plays the same number of them: whoever took the first that finish would prefer
    short ones, and in Pong the short ones are the lost ones.

    Args:
        policy: observations ``[N, stack, height, width]`` to actions ``[N]``.
        game: as the player was trained on it; the protocol overrules it.
        protocol: the judge's.
        seed: of the games and of the jogged hand.
        num_envs: copies side by side; divides ``protocol.games``.
        threads: that step them; 0 takes one a processor.
        on_game: called with the score of each game that counts.

    >>> short = dataclasses.replace(PROTOCOLS["nature"], games=2, max_frames=40)
    >>> judge(lambda obs: np.zeros(len(obs), int), Game("pong"), short, num_envs=2).lengths
    array([10, 10])
    """
    each = check_multiple("games", protocol.games, "num_envs", num_envs) // num_envs
    random = streams(seed)
    games = Games(protocol.game(game), num_envs, threads=threads)
    obs = games.reset(random.evaluation)
    total, length = np.zeros(num_envs), np.zeros(num_envs, np.int64)
    rows: list[list[tuple[float, int, bool]]] = [[] for _ in range(num_envs)]
    while min(map(len, rows)) < each:
        action = np.asarray(policy(obs))
        if protocol.epsilon:
            jogged = random.exploration.random(num_envs) < protocol.epsilon
            anything = random.exploration.integers(len(games.actions), size=num_envs)
            action = np.where(jogged, anything, action)
        step = games.step(action)
        total += games.score
        length += 1
        for i in np.flatnonzero(games.over):
            if len(rows[i]) < each:
                rows[i].append((float(total[i]), int(length[i]), bool(step.truncated[i])))
                if on_game:
                    on_game(float(total[i]))
            total[i] = length[i] = 0
        obs = games.obs
    games.close()
    scores, lengths, capped = zip(*(row for own in rows for row in own), strict=True)
    return Result(
        games.game, protocol, seed, np.array(scores), np.array(lengths), np.array(capped, bool)
    )


@cache
def _table(path: str) -> dict[str, tuple[float, float, float]]:
    try:
        with open(path, encoding="utf-8") as file:
            rows = [line.rstrip("\n").split("\t") for line in file if not line.startswith("#")]
        return {rom(row[0]): (float(row[1]), float(row[2]), float(row[3])) for row in rows}
    except (OSError, ValueError, IndexError) as error:
        raise CorruptEvidenceError(f"{path}: no table of scores ({error})") from error


def reference(game: str) -> tuple[float, float, float] | None:
    """Random play, the human tester and DQN in Mnih et al. 2015, Extended Data Table 2.

    ``None`` for a game that is not among its 49.

    >>> reference("Pong")
    (-20.7, 9.3, 18.9)
    """
    return _table(str(folder() / "nature_2015_table2.tsv")).get(rom(game))


def human_normalized(game: str, score: float) -> float | None:
    """A score in per cent of the way from random play to the human tester.

    >>> human_normalized("pong", 9.3)
    100.0
    """
    if (found := reference(game)) is None:
        return None
    random, human, _ = found
    return 100 * (score - random) / (human - random)
