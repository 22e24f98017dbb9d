"""Trained players that come with the package: a file each, half as precise and a tenth as large as a checkpoint.

They lie beside the evidence, and a contract says of each how it plays.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from types import SimpleNamespace

from rlcourse.atari.agents import AGENTS, load_network
from rlcourse.checkpoint import Checkpoint, load, save
from rlcourse.errors import InvalidArgumentError
from rlcourse.evidence import folder

__all__ = ["names", "player", "ship"]


def names() -> tuple[str, ...]:
    """The players that are here.

    >>> "pong-ppo" in names()
    True
    """
    return tuple(sorted(path.stem for path in (folder() / "players").glob("*.safetensors")))


def player(name: str) -> Checkpoint:
    """A player as a checkpoint without what only its training needed: for ``agents.load_player``.

    >>> player("pong-ppo").config["game"]["name"]
    'pong'

    Raises:
        InvalidArgumentError: there is none of this name.
        CorruptCheckpointError: its file is damaged.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"must be one of {', '.join(names())}"
        raise InvalidArgumentError(f"name = {name!r}: no such player; {hint}")
    return load(folder() / "players" / f"{name}.safetensors")


def ship(kept: Checkpoint, path: Path) -> None:
    """Write a player: a checkpoint's network with 11 bits a number instead of 24, and how it came about.

    That is ``steps``, ``seconds`` and ``log``, the step at which each game of the training ended and its score.

    Raises:
        InvalidArgumentError: the checkpoint is of no Atari run.
        CourseError: the file cannot be written; an older one of this name is untouched.
    """
    network = load_network(kept).half()
    config = AGENTS[kept.algorithm.removeprefix("atari-")][1](**kept.config)
    log = [(row["step"], row["return"]) for row in kept.facts["episodes.log"]]
    facts = {"steps": kept.facts["episodes.steps"], "seconds": kept.facts["seconds"], "log": log}
    about = {"algorithm": kept.algorithm, "config": config, "seed": kept.seed, "network": network}
    save(path, SimpleNamespace(**about, **facts, kept=("network", *facts)))
