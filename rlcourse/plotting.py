"""One plotting style for the whole book, and figures that read aloud and in the dark.

A figure becomes inline SVG: its ink is the page's own text colour, so it follows the light and the
dark theme; its text stays text; its alternative text is an argument that cannot be left out.
"""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rlcourse.errors import InvalidArgumentError
from rlcourse.mdp import MOVES, Floats, TabularMDP
from rlcourse.statistics import bootstrap_interval, iqm

__all__ = ["COLOURS", "Picture", "draw_grid", "learning_curves", "new_figure", "show_figure"]

# Okabe & Ito 2008: told apart with every common colour vision, on white and on black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
WALL = "#808080"  # grey on either theme
INK = "#010203"  # a colour that nothing else uses: replaced by the page's text colour
STYLE: Any = {  # its keys are literals in the types of some versions of matplotlib
    "svg.fonttype": "none",
    "svg.hashsalt": "rlcourse",
    "font.family": "sans-serif",
    "font.size": 12,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),  # type: ignore[attr-defined]
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titleweight": "bold",
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.labelcolor": INK,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
}
# At import, not around each call: text and legends are styled when they are added to a figure.
mpl.rcParams.update(STYLE)


class Picture:
    """A drawn figure: inline SVG in a notebook, its alternative text anywhere else."""

    def __init__(self, svg: str, alt: str) -> None:
        self.svg, self.alt = svg, alt

    def __repr__(self) -> str:
        return f"[figure: {self.alt}]"

    def _repr_html_(self) -> str:
        return self.svg


def new_figure(
    columns: int = 1, rows: int = 1, *, width: float = 6.4, height: float = 3.2, **options: Any
) -> Any:
    """A figure and its axes in the book's style: ``matplotlib.pyplot.subplots`` without pyplot.

    >>> figure, axes = new_figure(columns=2)
    >>> axes.shape
    (2,)
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def show_figure(figure: Figure, alt: str) -> Picture:
    """Turn a figure into inline SVG with an alternative text.

    Raises:
        InvalidArgumentError: an alternative text too short to say anything.

    >>> figure, axes = new_figure()
    >>> show_figure(figure, alt="Axes with nothing in them yet.")
    [figure: Axes with nothing in them yet.]
    """
    if len(alt.split()) < 4:
        raise InvalidArgumentError(f"alt = {alt!r}: must say what the figure shows")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace("#000000", "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.S)
    # Its own width as an upper bound; narrower pages scale it.
    width = re.search(r'width="([\d.]+)pt"', svg)
    label = html.escape(alt, quote=True)
    style = f"width:100%;height:auto;max-width:{float(width[1]) * 4 / 3:.0f}px" if width else ""
    style += ";fill:currentColor"  # matplotlib leaves the fill of black text out
    svg = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", svg, count=2)
    head = f'<svg role="img" aria-label="{label}" class="rl-figure" style="{style}"'
    return Picture(svg.replace("<svg", head, 1), alt)


def learning_curves(
    axes: Axes,
    x: ArrayLike,
    runs: ArrayLike,
    *,
    label: str,
    colour: str = COLOURS[0],
    references: dict[str, float] | None = None,
) -> None:
    """Draw every run thin, their interquartile mean thick, its 95 % bootstrap interval as a band.

    Args:
        axes: where to draw.
        x: ``[points]``.
        runs: ``[runs, points]``.
        label: the name in the legend; the number of runs is added.
        colour: one of :data:`COLOURS`.
        references: horizontal lines, such as ``{"optimal": 0.74, "random": 0.01}``.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(runs, dtype=np.float64)
    if ys.ndim != 2 or ys.shape[1] != xs.size:
        raise InvalidArgumentError(f"runs of shape {ys.shape}: must be [runs, {xs.size}]")
    for run in ys:
        axes.plot(xs, run, color=colour, alpha=0.18, linewidth=0.7)
    summary = [bootstrap_interval(ys[:, i], iqm, resamples=300) for i in range(xs.size)]
    middle, low, high = np.array(summary).T
    axes.fill_between(xs, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(xs, middle, color=colour, label=f"{label} (IQM of {len(ys)} runs)")
    dashing = itertools.cycle(("--", ":", "-."))
    for (name, value), dashes in zip((references or {}).items(), dashing, strict=False):
        axes.axhline(value, linestyle=dashes, linewidth=1.2, color=INK)
        axes.annotate(
            name,
            (1.01, value),
            xycoords=("axes fraction", "data"),
            ha="left",
            va="center",
            fontsize=10,
            color=INK,
            annotation_clip=False,
        )


def draw_grid(
    axes: Axes,
    mdp: TabularMDP,
    values: ArrayLike,
    shape: tuple[int, int],
    *,
    q: ArrayLike | None = None,
    limits: tuple[float, float] | None = None,
    marks: Sequence[str] | None = None,
    digits: int = 2,
) -> None:
    """Draw a value function on a grid: shade and number in each cell, an arrow for each best action.

    Args:
        axes: where to draw.
        mdp: the grid's model; terminal cells are drawn without an arrow.
        values: ``[S]`` with ``S = rows * columns`` (a further absorbing state is left out).
        shape: ``(rows, columns)``.
        q: action values ``[S, 4]`` in the order left, down, right, up; equals get an arrow each.
        limits: the values of the palest and the darkest shade.
        marks: one character a cell, drawn in its corner (the map); ``#`` is drawn as a wall.
        digits: decimals of the numbers.
    """
    rows, columns = shape
    given: Floats = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or given.size < rows * columns:
        raise InvalidArgumentError(f"values of shape {given.shape}: must be [{rows * columns}]")
    cells = given[: rows * columns].reshape(rows, columns)
    low, high = limits or (float(cells.min()), float(cells.max()))
    share = np.clip((cells - low) / ((high - low) or 1.0), 0, 1)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xticks=[], yticks=[])
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set_visible(False)
    width, height = axes.get_figure(root=True).get_size_inches() * 72  # type: ignore[union-attr]
    letters = min(12.0, 0.22 * min(width / columns, height / rows))  # points, to fit a cell
    for i, j in np.ndindex(rows, columns):
        state = i * columns + j
        mark = "." if marks is None else marks[state]
        wall = mark == "#"
        axes.add_patch(
            mpl.patches.Rectangle(
                (j - 0.48, i - 0.48),
                0.96,
                0.96,
                facecolor=WALL if wall else COLOURS[0],
                edgecolor=INK,
                linewidth=0.6,
                alpha=0.8 if wall else 0.08 + 0.6 * share[i, j],
            )
        )
        if wall:
            continue
        number = f"{cells[i, j]:.{digits}f}"
        axes.text(j, i + 0.32, number, ha="center", va="center", fontsize=letters)
        if mark != ".":
            axes.text(j - 0.42, i - 0.28, mark, fontsize=0.9 * letters, weight="bold")
        if q is None or mdp.terminal[state]:
            continue
        row = np.asarray(q, dtype=np.float64)[state]
        best = np.flatnonzero(row >= row.max() - 1e-12)
        tail = -0.2 if len(best) == 1 else 0.0  # one arrow in the middle, or several from it
        for action in best:
            di, dj = MOVES[action]
            head = 0.2 if len(best) == 1 else 0.28
            axes.annotate(
                "",
                (j + head * dj, i - 0.14 + 0.9 * head * di),
                (j + tail * dj, i - 0.14 + 0.9 * tail * di),
                arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0},
            )
