"""Tic-tac-toe against a fixed opponent, as a Gymnasium environment: ``rlcourse/TicTacToe-v0``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rlcourse.envs.model import ModelEnv
from rlcourse.errors import InvalidArgumentError
from rlcourse.mdp import Board, tic_tac_toe, tic_tac_toe_boards

__all__ = ["TicTacToeEnv"]


class TicTacToeEnv(ModelEnv):
    """The agent plays X and moves first; an action is a cell, 0..8, and an occupied one forfeits.

    An observation is the number of a board in :func:`rlcourse.mdp.tic_tac_toe_boards`; the last number
    is the end of the game. By default the opponent plays at random.

    >>> env = TicTacToeEnv(render_mode="ansi")
    >>> _ = env.reset(seed=0)
    >>> print(env.render())
    . . .
    . . .
    . . .
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 (as Gymnasium declares it)

    def __init__(
        self,
        opponent: Callable[[Board], Mapping[int, float]] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise InvalidArgumentError(f"render_mode = {render_mode!r}: must be 'ansi' or None")
        super().__init__(tic_tac_toe() if opponent is None else tic_tac_toe(opponent))
        self.render_mode = render_mode

    def _reward(self, state: int, action: int, next_state: int) -> float:
        # A step that ends the game pays its outcome; the model's reward is its expectation.
        if next_state != len(tic_tac_toe_boards()):
            return 0.0
        return float(np.sign(self.mdp.reward[state, action]))

    def render(self) -> Any:
        """The board as three lines of text; an empty string when the game is over."""
        if self.render_mode is None:
            return None
        boards = tic_tac_toe_boards()
        if self.state >= len(boards):
            return ""
        marks = [{1: "X", -1: "O", 0: "."}[mark] for mark in boards[self.state]]
        return "\n".join(" ".join(marks[row : row + 3]) for row in (0, 3, 6))
