"""Figures that a reader moves: live in a notebook, scrubbed without a kernel on a static page.

``scrub(draw, gamma=[0.5, 0.9, 0.99])`` calls ``draw(gamma=...)`` for a :class:`~rlcourse.plotting.Picture`.
With a kernel the sliders are ipywidgets. When the book is built (``RLCOURSE_STATIC=1``), or where
ipywidgets is missing, every combination is drawn once and plain range inputs choose among them.
"""

from __future__ import annotations

import html
import itertools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from rlcourse.errors import InvalidArgumentError
from rlcourse.plotting import Picture

__all__ = ["scrub"]

MOST_FRAMES = 60

# Finds the frame of the current slider positions. No state but the page itself.
SCRIPT = (
    "const box=this.closest('.rl-scrub');"
    "const key=[...box.querySelectorAll('input')].map(i=>{"
    "const text=JSON.parse(i.dataset.values)[i.value];"
    "i.nextElementSibling.value=text;i.setAttribute('aria-valuetext',text);return i.value}).join('-');"
    "for(const f of box.querySelectorAll('[data-frame]'))f.hidden=f.dataset.frame!==key;"
)


def scrub(draw: Callable[..., Picture], **controls: Sequence[Any]) -> Any:
    """Show ``draw(**choice)`` with one slider for each control.

    Args:
        draw: draws the figure for one value of each control.
        controls: for each argument of ``draw`` the values that its slider offers.

    Raises:
        InvalidArgumentError: no control, a control without values, or more than 60 combinations.
    """
    sizes = [len(values) for values in controls.values()]
    frames = 1
    for size in sizes:
        frames *= size
    if not controls or not 0 < frames <= MOST_FRAMES:
        raise InvalidArgumentError(
            f"controls with {sizes} values: must be 1 to {MOST_FRAMES} combinations in all"
        )
    if not os.environ.get("RLCOURSE_STATIC"):
        try:
            return _live(draw, controls)
        except ImportError:
            pass
    return StaticScrub(draw, controls)


def _live(draw: Callable[..., Picture], controls: dict[str, Sequence[Any]]) -> Any:
    import ipywidgets

    sliders = {
        name: ipywidgets.SelectionSlider(options=list(values), description=name)
        for name, values in controls.items()
    }
    picture = ipywidgets.HTML()

    def redraw(*_: Any) -> None:
        chosen = {name: slider.value for name, slider in sliders.items()}
        picture.value = draw(**chosen).svg

    for slider in sliders.values():
        slider.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([*sliders.values(), picture])


class StaticScrub:
    """All frames in one piece of HTML."""

    def __init__(self, draw: Callable[..., Picture], controls: dict[str, Sequence[Any]]) -> None:
        self.controls = controls
        positions = itertools.product(*(range(len(values)) for values in controls.values()))
        self.frames = {
            position: draw(
                **{
                    name: values[i]
                    for (name, values), i in zip(controls.items(), position, strict=True)
                }
            )
            for position in positions
        }

    def __repr__(self) -> str:
        return f"[{len(self.frames)} figures; the first: {next(iter(self.frames.values())).alt}]"

    def _repr_html_(self) -> str:
        sliders, frames = [], []
        for name, values in self.controls.items():
            texts = json.dumps([str(value) for value in values])
            sliders.append(
                f"<label>{html.escape(name)} "
                f'<input type="range" min="0" max="{len(values) - 1}" value="0" step="1" '
                f'aria-valuetext="{html.escape(str(values[0]))}" '
                f'data-values="{html.escape(texts)}" oninput="{html.escape(SCRIPT)}">'
                f"<output>{html.escape(str(values[0]))}</output></label>"
            )
        for number, (position, picture) in enumerate(self.frames.items()):
            key, hidden = "-".join(map(str, position)), " hidden" if number else ""
            frames.append(f'<div data-frame="{key}"{hidden}>{picture.svg}</div>')
        controls = "".join(sliders)
        return f'<div class="rl-scrub"><div class="rl-controls">{controls}</div>{"".join(frames)}</div>'
