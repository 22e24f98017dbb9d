"""Sliders with a kernel, and the same figures without one."""

from __future__ import annotations

import html
import json
import re
import sys
from typing import Any

import pytest

from rlcourse.errors import InvalidArgumentError
from rlcourse.plotting import Picture
from rlcourse.widgets import scrub


def draw(gamma: Any = 0, alpha: Any = 0) -> Picture:
    return Picture(f"<svg><text>{gamma}|{alpha}</text></svg>", f"gamma {gamma} and alpha {alpha}")


@pytest.fixture
def static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLCOURSE_STATIC", "1")


def test_every_combination_is_on_the_static_page(static: None) -> None:
    page = scrub(draw, gamma=[0.5, 0.9, 0.99], alpha=[1, 2])._repr_html_()
    frames = dict(re.findall(r'data-frame="([\d-]+)"(?: hidden)?><svg><text>(.*?)</text>', page))
    assert frames == {
        f"{i}-{j}": f"{g}|{a}" for i, g in enumerate([0.5, 0.9, 0.99]) for j, a in enumerate([1, 2])
    }
    shown = re.findall(r'data-frame="([\d-]+)">', page)
    assert shown == ["0-0"]


def test_sliders_name_their_values(static: None) -> None:
    page = scrub(draw, gamma=[0.5, 0.9])._repr_html_()
    [values] = re.findall(r'data-values="(.*?)"', page)
    assert json.loads(html.unescape(values)) == ["0.5", "0.9"]
    assert 'type="range" min="0" max="1" value="0"' in page
    assert 'aria-valuetext="0.5"' in page and "<label>gamma " in page


def test_text_values_are_escaped(static: None) -> None:
    awkward = ['say "hi"', "a < b", "back\\slash"]
    page = scrub(lambda gamma: draw(0), gamma=awkward)._repr_html_()
    [values] = re.findall(r'data-values="(.*?)"', page)
    assert json.loads(html.unescape(values)) == awkward
    assert "<output>say &quot;hi&quot;</output>" in page


def test_a_static_figure_reads_aloud(static: None) -> None:
    assert repr(scrub(draw, gamma=[1, 2])) == "[2 figures; the first: gamma 1 and alpha 0]"


def test_with_a_kernel_a_slider_redraws(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    monkeypatch.delenv("RLCOURSE_STATIC", raising=False)
    box = scrub(draw, gamma=[0.5, 0.9], alpha=[1, 2])
    *sliders, picture = box.children
    assert [slider.description for slider in sliders] == ["gamma", "alpha"]
    assert "0.5|1" in picture.value
    sliders[0].value = 0.9
    sliders[1].value = 2
    assert "0.9|2" in picture.value


def test_without_ipywidgets_the_figure_is_static(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLCOURSE_STATIC", raising=False)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert "data-frame" in scrub(draw, gamma=[1, 2])._repr_html_()


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ({}, r"controls with \[\] values"),
        ({"gamma": []}, r"controls with \[0\] values"),
        ({"gamma": range(8), "alpha": range(8)}, r"controls with \[8, 8\] values: must be 1 to 60"),
    ],
)
def test_too_few_and_too_many_frames(static: None, controls: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        scrub(draw, **controls)
