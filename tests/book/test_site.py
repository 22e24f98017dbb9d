"""The site in a reader's hands: network off, light and dark, on a phone, by keyboard.

Everything here looks at `_build/html`, which `make book` builds. Screenshots of every page stay in
`_build/screenshots`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from notebooks import pages

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
SCREENSHOTS = ROOT / "_build" / "screenshots"
PHONE = 390  # CSS pixels


def built_pages() -> list[str]:
    """Every page of the site: those of the table of contents, and whatever else was written."""
    wanted = {f"{docname}.html" for docname in pages()}
    there = {path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html")}
    return sorted(wanted | {p for p in there if not p.startswith(("_static/", "_sources/"))})


@cache
def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


@cache
def anchors(path: Path) -> frozenset[str]:
    return frozenset(
        str(tag.get("id") or tag.get("name")) for tag in soup(path).select("[id], a[name]")
    )


# --- without a browser ----------------------------------------------------------------------------


def broken_links(path: Path, top: Path) -> list[str]:
    """Addresses within the site that lead nowhere, and anything loaded from outside."""
    found = []
    for tag in soup(path).select("[href], [src]"):
        address = str(tag.get("href") or tag.get("src") or "")
        parts = urlparse(address)
        if parts.scheme or parts.netloc:
            if tag.name != "a" and parts.scheme != "data" and tag.get("rel") != ["canonical"]:
                found.append(f"loads {address}")
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.is_relative_to(top.resolve()) or not target.exists():
            found.append(f"no file {address}")
            continue
        fragment = unquote(parts.fragment) if target.suffix == ".html" else ""
        if fragment and fragment not in anchors(target):
            found.append(f"no anchor {address}")
    return found


def without_alternative(path: Path) -> list[str]:
    """Pictures that say nothing to a reader who cannot see them."""

    def is_hidden(tag: Any) -> bool:
        return any(
            t.get("aria-hidden") == "true" or t.get("role") in ("presentation", "none")
            for t in [tag, *tag.parents]
        )

    found = []
    for tag in soup(path).select("img, svg, canvas, video"):
        if is_hidden(tag) or tag.find_parent("svg"):
            continue
        if tag.get("alt") == "" and (link := tag.find_parent("a")) and link.get_text().strip():
            continue  # an ornament beside the words of its link
        label = tag.get("alt") or tag.get("aria-label") or tag.get("aria-labelledby")
        if tag.name == "svg":
            title = tag.find("title", recursive=False)
            label = (tag.get("role") == "img" and label) or (title and title.get_text())
        if not str(label or "").strip():
            found.append(str(tag)[:120])
    return found


@pytest.mark.parametrize("name", built_pages())
def test_links_lead_somewhere(name: str) -> None:
    assert broken_links(HTML / name, HTML) == []


@pytest.mark.parametrize("name", built_pages())
def test_pictures_have_a_text_alternative(name: str) -> None:
    assert without_alternative(HTML / name) == []


@pytest.mark.parametrize("name", built_pages())
def test_ids_are_unique(name: str) -> None:
    ids = [tag["id"] for tag in soup(HTML / name).select("[id]") if not tag.find_parent("svg")]
    assert sorted({i for i in ids if ids.count(i) > 1}) == []


# --- in the browser -------------------------------------------------------------------------------


def violations(page: Any) -> list[str]:
    # "preload" would fetch stylesheets a second time, from addresses that are wrong.
    response = Axe().run(page, options={"preload": False, "resultTypes": ["violations"]}).response
    return [
        f"{rule['id']}: {node['target']} {node['html'][:160]}"
        for rule in response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def use_theme(page: Any, theme: str) -> None:
    page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)


# The reference is a hundred screens long: its top is enough to look at.
TOP = "() => ({x: 0, y: 0, width: innerWidth, height: Math.min(document.body.scrollHeight, 16000)})"


# Axe takes minutes to say of each of ten thousand like things whether its colours are far enough apart. Of what is
# alike, by its tags, classes and styles, by those within it and by those around it, one is left. Pictures, fields
# and empty links are all judged: what is wrong with them is not in their kind.
ONE_OF_A_KIND = """() => {
  const seen = new Set();
  const name = e => e.tagName + '.' + e.getAttribute('class') + '.' + e.getAttribute('style');
  const above = e => e === document.body ? '' : name(e) + '<' + above(e.parentElement);
  document.querySelectorAll('pre span, code span, .sig *, main p, main tr, main li, nav li').forEach(e => {
    if (!e.isConnected || e.querySelector('img, svg, input, button, select, a:empty')) return;
    const kind = above(e) + ' ' + [...new Set([...e.querySelectorAll('*')].map(name))].sort();
    if (seen.has(kind)) e.remove();
    seen.add(kind);
  });
}"""


def look_at(tab: Any, url: str, shots: Path | None) -> dict[str, list[str]]:
    """Load a page once, look at it in light, in dark and on a phone; say what is wrong with it."""
    page = tab.page

    def shoot(kind: str) -> None:
        if shots:
            page.screenshot(path=f"{shots}-{kind}.png", full_page=True, clip=page.evaluate(TOP))

    page.goto(url, wait_until="load")
    tab.wait_for_mathematics()
    found: dict[str, list[str]] = {}
    found["mathematics not drawn"] = page.evaluate(
        "() => [...document.querySelectorAll('.math')]"
        ".filter(e => !e.querySelector('mjx-container')).map(e => e.textContent)"
    )
    found["mathematics wrong"] = page.evaluate(
        "() => [...document.querySelectorAll('mjx-merror, [data-mjx-error]')]"
        ".map(e => e.dataset.mjxError || e.textContent)"
    )
    for theme in ("dark", "light"):
        use_theme(page, theme)
        shoot(theme)
    page.set_viewport_size({"width": PHONE, "height": 844})
    found["wider than a phone"] = page.evaluate(
        "width => document.documentElement.scrollWidth <= width ? [] :"
        " [...document.querySelectorAll('body *')]"
        ".filter(e => e.getBoundingClientRect().right > width + 1)"
        ".map(e => e.outerHTML.slice(0, 120)).slice(0, 5)",
        PHONE,
    )
    shoot("phone")
    page.set_viewport_size({"width": 1280, "height": 900})
    # The strokes of a picture or a formula, and hidden frames, are nothing that axe judges (their
    # text alternatives it does), and there are so many that it takes three times as long.
    page.evaluate(
        "() => document.querySelectorAll('svg > :not(title), mjx-math > *, [hidden] > *')"
        ".forEach(e => e.remove())"
    )
    page.evaluate(ONE_OF_A_KIND)
    for theme in ("light", "dark"):
        use_theme(page, theme)
        found[f"axe, {theme}"] = violations(page)
    return {kind: items for kind, items in (found | tab.troubles()).items() if items}


def pages_to_look_at() -> list[str]:
    """Every page, but of the source's only those with a kind of word that none before has: their frame is one."""
    names, known = [], set[str]()
    for name in built_pages():
        if name.startswith("_modules/"):
            words = set(re.findall(r'<span class="(\w+)">', (HTML / name).read_text("utf-8")))
            if words <= known:
                continue
            known |= words
        if name != "index.html":
            names.append(name)
    return names


@pytest.mark.parametrize("name", pages_to_look_at())
def test_page(name: str, site: str, tab: Any) -> None:
    docname = name.removesuffix(".html")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    shots = SCREENSHOTS / docname.replace("/", "-") if docname in pages() else None
    assert look_at(tab, site + name, shots) == {}


def test_the_looks_find_what_they_look_for(
    tmp_path: Path, serve: Callable[[Path], str], tab: Any
) -> None:
    """Every check above, on a page that has everything wrong."""
    (tmp_path / "bad.html").write_text(
        '<!doctype html><html lang="en"><title>Bad</title><body id="a">'
        '<main><h1 id="a">Bad</h1><img src="there-is-none.png"><svg width="9" height="9"></svg>'
        '<p style="color: #ccc; background: #ddd">faint</p><p style="width: 900px">wide</p>'
        '<span class="math">x</span><mjx-merror>Undefined control sequence</mjx-merror>'
        '<a href="nowhere.html">no file</a> <a href="#nowhere">no anchor</a>'
        '<script src="https://example.org/x.js"></script>'
        '<script>console.error("oh")</script></main>'
    )
    found = look_at(tab, serve(tmp_path) + "bad.html", tmp_path / "bad")
    assert set(found) == {
        "mathematics not drawn",
        "mathematics wrong",
        "axe, light",
        "axe, dark",
        "wider than a phone",
        "asks another host",
        "console",
        "failed request",
    }
    assert any("color-contrast" in line for line in found["axe, light"])
    bad = tmp_path / "bad.html"
    assert len(without_alternative(bad)) == 2
    assert broken_links(bad, tmp_path) == [
        "no file there-is-none.png",
        "no file nowhere.html",
        "no anchor #nowhere",
        "loads https://example.org/x.js",
    ]


def page_with(selector: str) -> str:
    """The first page that has such an element."""
    for name in built_pages():
        if soup(HTML / name).select_one(selector):
            return name
    pytest.fail(f"no page has {selector!r}")


def test_a_page_opens_from_the_disk(tab: Any) -> None:
    tab.page.goto((HTML / page_with(".math")).as_uri())
    tab.wait_for_mathematics()
    assert tab.page.locator("mjx-container").count() > 0
    assert tab.troubles() == {}


@pytest.mark.parametrize("kind", ["quiz", "predict"])
def test_a_question_is_answered_by_keyboard(kind: str, site: str, tab: Any) -> None:
    tab.page.goto(site + page_with(f".rl-{kind}"))
    question = tab.page.locator(f".rl-{kind}").first
    reasons = question.locator(".rl-reason-body")
    number = reasons.count()
    assert number >= 2
    assert not any(reasons.nth(i).is_visible() for i in range(number)), "revealed before a choice"
    question.locator("input").first.focus()
    tab.page.keyboard.press("Space")
    for chosen in range(number):
        shown = [i for i in range(number) if reasons.nth(i).is_visible()]
        assert shown == [chosen]
        assert reasons.nth(chosen).inner_text().strip()
        tab.page.keyboard.press("ArrowDown")
    assert tab.troubles() == {}


def test_a_figure_is_scrubbed_by_keyboard(site: str, tab: Any) -> None:
    tab.page.goto(site + page_with(".rl-scrub input[type=range]"))
    widget = tab.page.locator(".rl-scrub").first
    slider = widget.locator("input[type=range]").first
    slider.scroll_into_view_if_needed()
    slider.focus()
    tab.page.keyboard.press("Home")
    value, picture = widget.locator("output").first.inner_text(), frame(widget)
    tab.page.keyboard.press("ArrowRight")
    assert frame(widget) != picture
    assert widget.locator("output").first.inner_text() != value
    tab.page.keyboard.press("ArrowLeft")
    assert frame(widget) == picture
    assert tab.troubles() == {}


def frame(widget: Any) -> str:
    """The one picture that a scrubbed figure shows."""
    visible = [svg for svg in widget.locator("svg").all() if svg.is_visible()]
    assert len(visible) == 1
    return str(visible[0].evaluate("e => e.outerHTML"))


def test_search_finds_a_page(site: str, tab: Any) -> None:
    """By typing a word of a chapter's title into the search box."""
    name = page_with(".rl-head")
    title = soup(HTML / name).select_one("h1").get_text(" ").strip("# \n")
    word = max(title.split(), key=len).strip(",.:;?!")
    tab.page.goto(site + "search.html")
    box = tab.page.locator("input[type=search]:visible").first
    box.fill(word)
    box.press("Enter")
    tab.page.locator("#search-results li a").first.wait_for(timeout=10_000)
    found = tab.page.locator("#search-results li a").evaluate_all("all => all.map(a => a.href)")
    assert any(name in address for address in found), f"{word!r} finds {found}"
    assert tab.troubles() == {}


def test_the_theme_is_switched(site: str, tab: Any) -> None:
    tab.page.goto(site + "index.html")  # which leads on to the first page
    tab.page.wait_for_url(f"**/{pages()[0]}.html", wait_until="load")
    seen = set()
    for _ in range(3):  # the button goes round: by the system, light, dark
        tab.page.locator(".theme-switch-button:visible").first.click()
        seen.add(
            tab.page.evaluate(
                "() => [document.documentElement.dataset.theme,"
                " getComputedStyle(document.body).backgroundColor].join(' ')"
            )
        )
    assert {line.split()[0] for line in seen} == {"light", "dark"}
    assert len(seen) == 2
