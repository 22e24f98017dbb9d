"""The slides that are made from the built site: on a small page, and on the real chapters."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from rlcourse.errors import CourseError, InvalidArgumentError

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build/html"
PAGE = """<html><head><script>window.MathJax = {{}}</script></head><article><section id="one">
<h1>Dice<a class="headerlink" href="#one">#</a></h1>
<div class="rl-head"><p>You will be able to</p><ul><li>throw</li></ul></div>
<p>A first sentence.
A second one.</p>
<section id="two"><h2>Means</h2>
<p>{long}
The end of it.</p>
<div class="math" id="equation-eq-mean">\\[m\\]</div><p class="rl-tested">tested</p>
<p>Said, not shown.</p>
<div class="cell"><div class="cell_input">x = 1</div><div class="cell_output">
<div class="output text_html"><svg aria-label="A curve that rises"></svg></div>
<div class="output stream"><pre>a &lt; b</pre></div>
<div class="output stream"><pre>{table}</pre></div></div></div>
<fieldset class="rl-question rl-predict"><legend>Which?</legend></fieldset>
<p>Why the answer is so.</p>
<fieldset class="rl-question rl-quiz"><legend>Quiz?</legend></fieldset>
<figure><img alt="A photograph" src="../_images/a.png"></figure>
<section class="rl-playground">a game</section>
<section id="three"><h3>Empty</h3></section></section>
<section id="four"><h2>Exercises</h2><div class="exercise admonition"><p class="admonition-title">Exercise 1
(Throw)</p><p>Do.</p></div><div class="solution">No.</div></section>
</section></article></html>""".format(long=" ".join(["word"] * 38) + ".", table="row\n" * 30)


@pytest.fixture(scope="module")
def slides() -> Any:
    spec = importlib.util.spec_from_file_location("slides", ROOT / "tools/slides.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["slides"] = module
    spec.loader.exec_module(module)
    return module


def texts(slide: Any) -> tuple[str, str, str]:
    def plain(parts: list[str]) -> str:
        return " ".join(BeautifulSoup(" ".join(parts), "html.parser").get_text(" ").split())

    return plain([slide.title]), plain(slide.body), plain(slide.notes)


def test_a_page_becomes_slides(slides: Any) -> None:
    found = slides.slides(BeautifulSoup(PAGE, "html.parser"))
    told = [texts(slide) for slide in found]
    long = " ".join(["word"] * 38) + "."
    assert told == [
        ("Dice", "throw", "A first sentence. A second one."),
        ("Means", f"{long} \\[m\\]", "The end of it. Said, not shown."),
        ("Means", "", ""),  # the curve
        ("Means", "a < b", ""),
        ("Means", "Which?", "Why the answer is so."),
        ("Means", "", ""),  # the photograph
        ("Exercises", "Exercise 1 (Throw)", ""),
    ]
    assert 'aria-label="A curve that rises"' in found[2].body[0]


def test_a_prediction_keeps_its_reasons_for_the_lecturer(slides: Any) -> None:
    option = (
        "<div class='rl-option'><label><span class='rl-letter'>a</span><span>Six</span></label>"
        "<div class='rl-reason'><p>Too many.</p></div></div>"
    )
    question = (
        f"<fieldset><legend><span class='rl-legend'>How many?</span></legend>{option}</fieldset>"
    )
    page = "<article><section><h1>Dice</h1><section><h2>Sum</h2>{}</section></section></article>"
    found = slides.slides(BeautifulSoup(page.format(question), "html.parser"))
    assert texts(found[1]) == ("Sum", "How many? Six", "Six Too many.")


def test_a_printed_line_shares_the_slide_with_what_follows(slides: Any) -> None:
    cell = "<div class='cell_output'><div class='output'><pre>{}</pre></div></div>"
    line, rows = cell.format("one"), cell.format("row\n" * 9)
    curve = (
        "<div class='cell_output'><div class='output'><svg aria-label='rises'></svg></div></div>"
    )
    page = "<article><section><h1>Dice</h1><section><h2>Sum</h2>{}</section></section></article>"
    for parts, counts in (([line, curve], [2]), ([rows, curve], [1, 1]), ([line] * 4, [3, 1])):
        html = page.format("".join(f"<div class='cell'>{part}</div>" for part in parts))
        found = slides.slides(BeautifulSoup(html, "html.parser"))
        assert [len(slide.body) for slide in found[1:]] == counts


def test_a_deck_finds_what_it_shows_from_its_own_folder(slides: Any) -> None:
    page = slides._moved(BeautifulSoup(PAGE, "html.parser"), "book/dice.html")
    text = slides.deck(page, "book/dice.html")
    assert 'src="../_images/a.png"' in text and 'href="../book/dice.html"' in text
    assert "window.MathJax" in text and "//" not in text.replace("//www.w3.org", "")


def test_a_wrong_name_is_answered_with_the_right_one(slides: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"chapter = 'bandit'.*bandits"):
        slides.main(["bandit"])


def test_no_site_no_slides(slides: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slides, "SITE", tmp_path)
    with pytest.raises(CourseError, match="run  make book"):
        slides.main(["bandits"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(CourseError, match="holds no chapter"):
        slides.slides(BeautifulSoup("<p>other</p>", "html.parser"))


def test_every_chapter_has_a_deck_that_can_be_read(
    slides: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import notebooks

    if not SITE.exists():
        pytest.fail("the site is not built: make book")
    for docname in notebooks.chapters():
        page = BeautifulSoup((SITE / f"{docname}.html").read_text("utf-8"), "html.parser")
        found = slides.slides(page)
        assert len(found) >= 8, docname
        for slide in found:
            title, body, _ = texts(slide)
            assert title, docname
            assert len(body.split()) < 260, (docname, title)
            assert "{" + "doc}" not in body and ":::" not in body
        assert any("<svg" in part or "<img" in part for s in found for part in s.body), docname
