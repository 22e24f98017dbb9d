"""Grid worlds drawn as text, as a Gymnasium environment: ``rlcourse/Grid-v0``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlcourse.envs.model import ModelEnv
from rlcourse.errors import InvalidArgumentError
from rlcourse.mdp import grid, parse_map

__all__ = ["GridEnv"]

COLOURS = {"#": (64, 64, 64), "G": (0, 114, 178), "H": (213, 94, 0), "S": (240, 228, 66)}


class GridEnv(ModelEnv):
    """A map to walk on; see :func:`rlcourse.mdp.grid` for the legend and the arguments.

    >>> env = GridEnv("S.G")
    >>> env.reset(seed=0)[0], env.step(2)[0], env.step(2)[1:3]
    (0, 1, (1.0, True))
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012 (as Gymnasium declares it)

    def __init__(
        self,
        text: str | Sequence[str] = ("S...", ".H.H", "...H", "H..G"),
        *,
        slip: float = 0.0,
        goal: float = 1.0,
        hole: float = 0.0,
        step: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise InvalidArgumentError(
                f"render_mode = {render_mode!r}: must be one of {self.metadata['render_modes']}"
            )
        self.cells = parse_map(text)
        super().__init__(grid(text, slip=slip, goal=goal, hole=hole, step=step))
        arrival = {"G": step + goal, "H": step + hole}
        self._arrival = [arrival.get(cell, step) for cell in self.cells.ravel()]
        self.render_mode = render_mode

    def _reward(self, state: int, action: int, next_state: int) -> float:
        return float(self._arrival[next_state])

    def render(self) -> Any:
        """The map with the agent on it: text (``ansi``) or an image ``[H, W, 3]`` (``rgb_array``)."""
        if self.render_mode == "ansi":
            return self._text()
        return self._image() if self.render_mode == "rgb_array" else None

    def _text(self) -> str:
        drawn = self.cells.copy()
        drawn.ravel()[self.state] = "@"
        return "\n".join("".join(row) for row in drawn)

    def _image(self, size: int = 32) -> NDArray[np.uint8]:
        colours = np.full((*self.cells.shape, 3), 235, dtype=np.uint8)
        for cell, colour in COLOURS.items():
            colours[self.cells == cell] = colour
        image = colours.repeat(size, axis=0).repeat(size, axis=1)
        i, j = np.divmod(self.state, self.cells.shape[1])
        image[i * size + 8 : (i + 1) * size - 8, j * size + 8 : (j + 1) * size - 8] = (0, 158, 115)
        return image
