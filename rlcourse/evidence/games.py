"""What contracts measure on games: ``measure(config, seed, **options) -> (score, extra)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlcourse.algorithms import matrix_games, self_play

__all__ = ["climbed", "tree_losses"]

Measured = tuple[float, dict[str, Any]]


def tree_losses(config: Mapping[str, Any], seed: int, *, every: int = 2_000) -> Measured:
    """Lost endings that the greedy player can be led to, on either side, by whatever replies.

    Beside it: the same every so many games, the games after which no look found one any more, and the share of
    draws among the last thousand games against itself.
    """
    settings = self_play.Config(**config)
    x: list[int] = []
    curve: list[int] = []

    def watch(game: int, result: self_play.Result) -> None:
        if game % every == 0:
            x.append(game)
            curve.append(self_play.judge(result.best).losses)

    result = self_play.train(settings, seed, on_game=watch)
    final = self_play.judge(result.best)
    bad = [game for game, losses in zip(x, curve, strict=True) if losses]
    last = [row["outcome"] == 0 for row in result.log[-1000:]]
    return float(final.losses), {
        "x": x,
        "curves": curve,
        "games": float((bad[-1] if bad else 0) + every),
        "decisions": final.decisions,
        "wins": final.wins,
        "draws": final.draws,
        "drawn_at_home": sum(last) / len(last),
    }


def climbed(config: Mapping[str, Any], seed: int) -> Measured:
    """What the pair of actions pays on which two learners of the climbing game settle."""
    result = matrix_games.train(matrix_games.CLIMBING, matrix_games.Config(**config), seed)
    reward = float(matrix_games.CLIMBING[result.pair])
    return reward, {"pair": list(result.pair), "paid": float(result.rewards[-200:].mean())}
