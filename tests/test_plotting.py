"""Figures that read aloud, in the light and in the dark."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest

from rlcourse.errors import InvalidArgumentError
from rlcourse.mdp import grid
from rlcourse.plotting import COLOURS, INK, draw_grid, learning_curves, new_figure, show_figure
from rlcourse.statistics import bootstrap_interval

ALT = 'Return against steps: "all" runs rise <fast> & far.'


def curves(runs: int = 5, points: int = 6) -> Any:
    figure, axes = new_figure()
    ys = np.random.default_rng(0).normal(size=(runs, points)).cumsum(axis=1)
    learning_curves(axes, np.arange(points), ys, label="Q", references={"optimal": 1.0})
    return figure, axes, ys


def test_a_figure_says_what_it_shows() -> None:
    picture = show_figure(curves()[0], ALT)
    root = ElementTree.fromstring(picture._repr_html_())  # well formed, so quotes are escaped
    assert root.attrib["role"] == "img" and root.attrib["aria-label"] == ALT
    assert repr(picture) == f"[figure: {ALT}]"
    assert "width" not in root.attrib and "viewBox" in root.attrib


def test_its_ink_is_the_pages_own() -> None:
    svg = show_figure(curves()[0], ALT).svg
    assert "currentColor" in svg
    assert INK not in svg.lower()
    assert not any(colour in svg.lower() for colour in ("#000000", "fill: #ffffff", "black"))
    assert "<text" in svg  # text stays text


def test_the_same_figure_is_the_same_file() -> None:
    assert show_figure(curves()[0], ALT).svg == show_figure(curves()[0], ALT).svg


@pytest.mark.parametrize("alt", ["", "a plot", "one two three"])
def test_a_picture_without_words_is_refused(alt: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"alt = .*must say what the figure shows"):
        show_figure(new_figure()[0], alt)


def test_every_run_is_drawn_and_summarised() -> None:
    _, axes, ys = curves(runs=5)
    thin = [line for line in axes.lines if line.get_alpha() is not None]
    assert len(thin) == 5
    [thick] = [line for line in axes.lines if line.get_label() == "Q (IQM of 5 runs)"]
    expected = [bootstrap_interval(ys[:, i], resamples=300).value for i in range(ys.shape[1])]
    np.testing.assert_allclose(thick.get_ydata(), expected)
    [band] = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() <= min(expected) and heights.max() >= max(expected)


def test_every_reference_gets_a_line() -> None:
    _, axes = new_figure()
    references = {name: float(i) for i, name in enumerate("abcde")}
    learning_curves(axes, [0, 1], [[0, 1]], label="x", references=references)
    assert [text.get_text() for text in axes.texts] == list("abcde")


def test_colours_are_told_apart_in_grey_and_by_hue() -> None:
    assert len(set(COLOURS)) == len(COLOURS)


@pytest.mark.parametrize("runs", [[1.0, 2.0], [[1.0]], [[1.0, 2.0, 3.0]]])
def test_runs_of_a_wrong_shape(runs: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"runs of shape .*must be \[runs, 2\]"):
        learning_curves(new_figure()[1], [0, 1], runs, label="x")


def test_grid_shows_every_value_and_every_best_action() -> None:
    mdp = grid("S.G")
    _, axes = new_figure()
    draw_grid(axes, mdp, [0.25, 0.5, 0.0], (1, 3), q=[[0, 0, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]],
              marks=list("S.G"))  # fmt: skip
    words = [text.get_text() for text in axes.texts if text.get_text()]
    assert words == ["0.25", "S", "0.50", "0.00", "G"]
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    assert len(arrows) == 3  # one, then two equals, and none in the goal
    shades = [patch.get_alpha() for patch in axes.patches]
    assert shades[1] > shades[0] > shades[2]


def test_a_constant_grid_does_not_divide_by_zero() -> None:
    _, axes = new_figure()
    draw_grid(axes, grid("S.G"), np.zeros(3), (1, 3))
    assert len(axes.patches) == 3


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0, 2.0, 3.0]], 1.0])
def test_values_that_do_not_fill_the_grid(values: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"values of shape .*must be \[3\]"):
        draw_grid(new_figure()[1], grid("S.G"), values, (1, 3))
