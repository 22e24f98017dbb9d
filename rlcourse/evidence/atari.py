"""What contracts measure on Atari's games: ``measure(config, seed, **options) -> (score, extra)``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rlcourse.atari.agents import AGENTS, load_player
from rlcourse.atari.environment import Game
from rlcourse.atari.evaluation import PROTOCOLS, Protocol, Result, judge
from rlcourse.atari.players import player
from rlcourse.atari.train import CHECKPOINT, train
from rlcourse.checkpoint import load
from rlcourse.evaluation import Policy
from rlcourse.mdp import Floats

__all__ = ["learned_score", "player_score", "score_at", "score_on_the_way"]

Measured = tuple[float, dict[str, Any]]
POINTS = 40  # points of a stored learning curve


def learned_score(
    config: Mapping[str, Any], seed: int, *, algorithm: str, protocol: str, games: int = 30
) -> Measured:
    """The mean score of whole games under a protocol, played by what a whole training ended with.

    Beside it the scores and lengths of these games, how long it took, and a curve: the mean score of the games
    that ended in each fortieth of the training, as they were trained (the short ones end first and count more
    often: in Pong a beginner's defeats, and later a champion's clear wins).

    With ``RLCOURSE_RUNS`` set to a folder, a training of hours is kept there and gone on with. Its settings are
    compared with these, the code that it ran is not: name another folder when that has changed.
    """
    settings = AGENTS[algorithm][1](**config)
    rules = replace(PROTOCOLS[protocol], games=games)
    with tempfile.TemporaryDirectory() as passing:
        home = Path(os.environ.get("RLCOURSE_RUNS", passing))
        folder = home / f"{algorithm}-{settings.game.name}-{seed}"
        run = train(settings, seed, folder=folder, resume=(folder / CHECKPOINT).exists())
        if run.episodes.steps < settings.steps:  # Ctrl-C: half a training is no result
            raise KeyboardInterrupt
        policy, game = load_player(load(folder / CHECKPOINT), greedy=rules.greedy, seed=seed)
    result = _judge(policy, game, seed, rules)
    ends = _ends(settings.steps)
    return result.mean, {
        "x": ends.tolist(),
        "curves": _curve(run.episodes.log, ends),
        "games": result.scores.tolist(),
        "lengths": result.lengths.tolist(),
        "capped": int(result.capped.sum()),
        "minutes": run.seconds / 60,
    }


def score_on_the_way(
    config: Mapping[str, Any], seed: int, *, algorithm: str, steps: int
) -> Measured:
    """The mean score of the games that ended last in the first ``steps`` of a training, which is stopped there.

    Its step size falls as in the whole one, and its curve has the points of the whole one's.
    """
    settings = AGENTS[algorithm][1](**config)
    run = AGENTS[algorithm][0](settings, seed)
    while run.episodes.steps < steps:
        run.advance()
    run.episodes.close()
    ends = _ends(settings.steps)
    ends = ends[ends <= steps]
    curve = _curve(run.episodes.log, ends)
    return curve[-1], {"x": ends.tolist(), "curves": curve}


def score_at(config: Mapping[str, Any], seed: int, *, of: str, steps: int) -> Measured:
    """The same, read from another contract's curve of a whole training."""
    from rlcourse.evidence import load

    kept = load(of)
    return float(kept["curves"][seed][int(np.searchsorted(kept["x"], steps))]), {}


def player_score(
    config: Mapping[str, Any],
    seed: int,
    *,
    protocol: str,
    games: int = 30,
    greedy: bool | None = None,
) -> Measured:
    """The mean score of whole games, played by a player that comes with the package.

    With ``greedy`` it takes the best action, or draws one, whatever the protocol says.
    """
    kept, rules = player(config["player"]), PROTOCOLS[protocol]
    rules = replace(rules, games=games, greedy=rules.greedy if greedy is None else greedy)
    policy, game = load_player(kept, greedy=rules.greedy, seed=seed)
    result = _judge(policy, game, seed, rules)
    return result.mean, {
        "games": result.scores.tolist(),
        "lengths": result.lengths.tolist(),
        "capped": int(result.capped.sum()),
    }


def _judge(policy: Policy, game: Game, seed: int, rules: Protocol) -> Result:
    return judge(policy, game, rules, seed=seed, num_envs=min(rules.games, 10))


def _ends(steps: int) -> Floats:
    return np.linspace(0, steps, POINTS + 1)[1:]


def _curve(log: list[dict[str, float]], ends: Floats) -> list[float]:
    """The mean score of the games that ended before each of these steps and after the one before it.

    Where none did, that of the interval before; before all, of the first game that ended.
    """
    step = np.array([row["step"] for row in log])
    score = np.array([row["return"] for row in log])
    curve, known, begin = [], float(score[0]), 0.0
    for end in ends:
        inside = (step > begin) & (step <= end)
        known = float(score[inside].mean()) if inside.any() else known
        curve.append(known)
        begin = end
    return curve
