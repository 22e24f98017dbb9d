"""Make lecture slides from the built site: a deck a chapter in ``_build/html/slides``.

A slide is not a page. Each section of a chapter becomes its title, its first sentences and its labelled
equations; each figure, film, short printed table and prediction gets a slide of its own, the first of them under
the sentences where there is no equation. What else the section says goes to the speaker's notes. As the site is
the source, whatever it shows is shown here as it is there.
"""

from __future__ import annotations

import difflib
import html
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bs4 import BeautifulSoup, Tag

from rlcourse.errors import CourseError, InvalidArgumentError
from rlcourse.files import replace_file

SITE = Path(__file__).resolve().parents[1] / "_build/html"
WORDS = 40  # of a section's beginning, in whole sentences
LINES = 14  # of a printed table that is legible from the last row
SHORT = 5  # lines that do not make a slide of their own
LEFT_OUT = ".headerlink, .rl-head, .rl-quiz, .rl-playground, .rl-tested, .dropdown, .solution, script, details"


@dataclass
class Slide:
    """What is seen, and what is said."""

    title: str
    body: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    level: int = 2


def slides(page: BeautifulSoup) -> list[Slide]:
    """The slides of a chapter's page.

    Raises:
        CourseError: it is no page of the book.
    """
    article = page.select_one("article section")
    if article is None:
        raise CourseError("the page holds no chapter")
    goals = [item.decode_contents() for item in article.select(".rl-head li")]
    exercises = [
        title.get_text(" ", strip=True) for title in article.select(".exercise > .admonition-title")
    ]
    for tag in article.select(LEFT_OUT):
        tag.extract()
    found = list(_section(article, 1))
    if goals:
        found[0].notes[:0] = found[0].body
        found[0].body = [f"<ul>{''.join(f'<li>{goal}</li>' for goal in goals[:5])}</ul>"]
    if exercises:
        items = "".join(f"<li>{html.escape(title)}</li>" for title in exercises)
        found = [s for s in found if s.title != "Exercises"]
        found.append(Slide("Exercises", [f"<ol class='plain'>{items}</ol>"]))
    return found


def _section(section: Tag, level: int) -> Iterator[Slide]:
    heading = section.find(["h1", "h2", "h3", "h4"], recursive=False)
    title = heading.decode_contents().strip() if isinstance(heading, Tag) else ""
    first, equations, shown = Slide(title, level=level), [], []
    for part in section.find_all(recursive=False):
        if part is heading or part.name == "section" or "exercise" in part.get("class", []):
            continue
        if part.name == "p" and not first.body and not first.notes:
            seen, rest = _beginning(part)
            first.body.append(f"<p>{seen}</p>")
            if rest:
                first.notes.append(f"<p>{rest}</p>")
        elif part.name == "div" and "math" in part.get("class", []) and part.get("id"):
            equations.append(str(part))
        elif pictures := _pictures(part):
            for picture in pictures:
                last = shown[-1].body if shown else [""]
                if _is_short(last[-1]) and len(last) < 3 and not _is_long(picture):
                    last.append(picture)  # a line or two share the slide with what follows
                else:
                    shown.append(Slide(title, [picture], level=level))
        elif part.name == "fieldset":
            shown.append(_question(part, title, level))
        elif part.name in ("p", "ul", "ol", "blockquote") or "admonition" in part.get("class", []):
            (shown[-1] if shown else first).notes.append(str(part))
    first.body += equations[:2]
    shown[:0] = [
        Slide(title, equations[i : i + 2], level=level) for i in range(2, len(equations), 2)
    ]
    if shown and level > 1 and not equations:
        # A sentence on its own is a poor slide: it goes above the first thing that is shown.
        shown[0].body, shown[0].notes = first.body + shown[0].body, first.notes + shown[0].notes
    elif first.body or first.notes or level == 1:
        yield first
    yield from shown
    for inner in section.find_all("section", recursive=False):
        yield from _section(inner, level + 1)


def _is_short(part: str) -> bool:
    return part.startswith("<pre") and part.count("\n") < SHORT


def _is_long(part: str) -> bool:
    return part.startswith("<pre") and part.count("\n") >= LINES - SHORT


def _question(part: Tag, title: str, level: int) -> Slide:
    """What a prediction asks and offers; the reasons are the lecturer's."""
    asked = part.select_one(".rl-legend, legend")
    options, notes = [], []
    for option in part.select(".rl-option"):
        said, reason = option.select_one("label > span:last-child"), option.select_one(".rl-reason")
        if said is not None:
            options.append(f"<li>{said.decode_contents()}</li>")
            if reason is not None:
                notes.append(f"<p><b>{said.decode_contents()}</b></p>{reason.decode_contents()}")
    question = asked.decode_contents() if asked is not None else ""
    return Slide(title, [f"<p>{question}</p><ol type='a'>{''.join(options)}</ol>"], notes, level)


def _beginning(paragraph: Tag) -> tuple[str, str]:
    """A paragraph's first sentences and the rest of it; a line of the source is a sentence."""
    lines = paragraph.decode_contents().strip().split("\n")
    count = words = 0
    for line in lines:
        words += len(BeautifulSoup(line, "html.parser").get_text().split())
        if count and words > WORDS:
            break
        count += 1
    return "\n".join(lines[:count]), "\n".join(lines[count:])


def _pictures(part: Tag) -> list[str]:
    """The figures and short printed tables among a cell's outputs."""
    found = []
    for output in part.select(".cell_output .output, figure, img:not(.cell_output img)"):
        picture = output if output.name == "img" else output.select_one("svg, img, .rl-film")
        if picture is not None:
            found.append(f"<figure>{picture}</figure>")
        elif (printed := output.select_one("pre")) and printed.get_text().count("\n") <= LINES:
            text = printed.get_text().rstrip()
            wide = max(map(len, text.split("\n")))
            found.append(f"<pre style='--wide: {max(wide, 40)}'>{html.escape(text)}</pre>")
    return list(dict.fromkeys(found))


# --- the deck -------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; }
html { scroll-snap-type: y mandatory; scroll-behavior: smooth; }
body { margin: 0; font: 1.7rem/1.45 system-ui, sans-serif; background: Canvas; color: CanvasText; }
.slide { height: 100vh; box-sizing: border-box; padding: 6vh 7vw 5vh; scroll-snap-align: start;
  display: flex; flex-direction: column; overflow: hidden; }
.slide h1 { font-size: 3rem; line-height: 1.15; margin: 0 0 1rem; }
.slide h2 { font-size: 2.1rem; margin: 0 0 2vh; }
.body { flex: 1; min-height: 0; display: flex; flex-direction: column; justify-content: center; gap: 2.5vh; }
.body > * { margin: 0; } .body p { max-width: 46em; margin: 0; } .body li { margin: .35em 0; }
.body .eqno { float: right; } .body .math { font-size: .95em; }
.body figure { flex: 1; min-height: 0; display: flex; justify-content: center; align-items: center; }
.body figure > * { max-width: 100%; max-height: 100%; }
.body figure svg { width: 100% !important; height: 100% !important; max-width: 100% !important; }
.body figure img { object-fit: contain; height: 100%; }
.body pre { font-size: min(1.6rem, calc(84vw / var(--wide) * 1.6)); line-height: 1.35; overflow: hidden; }
.slide ul, .slide ol { padding-left: 1.2em; font-size: min(1.7rem, 4.2vh); }
.slide .plain { font-size: 1.3rem; list-style: none; columns: 2; }
.notes { display: none; font-size: 1rem; border-top: 1px solid; padding-top: .5rem; opacity: .85; flex: 0 0 38vh;
  overflow-y: auto; } body.noted .notes { display: block; }
nav { position: fixed; right: 1rem; bottom: .6rem; font-size: .9rem; opacity: .6; } nav a { color: inherit; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print { .slide { break-after: page; } nav { display: none; } }
"""
SCRIPT = """
const all = [...document.querySelectorAll(".slide")];
const here = () => all.reduce((best, s, i) =>
  Math.abs(s.getBoundingClientRect().top) < Math.abs(all[best].getBoundingClientRect().top) ? i : best, 0);
addEventListener("keydown", e => {
  if (e.target.matches("input") && e.key.startsWith("Arrow")) return;
  const by = {ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1}[e.key];
  if (by) { e.preventDefault(); all[Math.min(all.length - 1, Math.max(0, here() + by))].scrollIntoView(); }
  if (e.key === "n") document.body.classList.toggle("noted");
});
"""


def deck(page: BeautifulSoup, address: str) -> str:
    """A chapter's page as one page of slides that needs the site beside it and nothing else."""
    found = slides(page)
    parts = []
    for slide in found:
        size = "h1" if slide.level == 1 else "h2"
        notes = f'<aside class="notes">{"".join(slide.notes)}</aside>' if slide.notes else ""
        parts.append(
            f'<section class="slide"><{size}>{slide.title}</{size}>'
            f'<div class="body">{"".join(slide.body)}</div>{notes}</section>'
        )
    settings = "".join(str(s) for s in page.select("head script") if "MathJax" in s.get_text())
    name = html.escape(BeautifulSoup(found[0].title, "html.parser").get_text())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="../_static/rlbook.css">'
        f"<style>{STYLE}</style>{settings}"
        '<script defer src="../_static/mathjax/tex-chtml.js"></script></head>'
        f'<body><main>{"".join(parts)}</main><nav><a href="index.html">all decks</a> · '
        f'<a href="../{address}">the chapter</a> · arrows move, n shows the notes</nav>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def main(names: list[str]) -> int:
    """Write the decks of the named chapters, of all without names, and a page that lists them."""
    sys.path.insert(0, str(SITE.parents[1] / "book/_ext"))
    import notebooks

    chapters = {Path(docname).name: docname for docname in notebooks.chapters()}
    for name in names:
        if name not in chapters:
            near = difflib.get_close_matches(name, chapters, n=2) or chapters
            raise InvalidArgumentError(f"chapter = {name!r}: must be one of {', '.join(near)}")
    folder, rows = SITE / "slides", []
    for name in names or chapters:
        address = f"{chapters[name]}.html"
        try:
            text = (SITE / address).read_text("utf-8")
        except OSError:
            raise CourseError(f"{SITE / address}: the site is not built; run  make book") from None
        written = deck(_moved(BeautifulSoup(text, "html.parser"), address), address)
        folder.mkdir(exist_ok=True)
        with replace_file(folder / f"{name}.html") as file:
            file.write(written.encode())
        count = written.count('<section class="slide">')
        rows.append(f'<li><a href="{name}.html">{name}</a>, {count} slides</li>')
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Slides</title><style>'
    with replace_file(folder / "index.html") as file:
        file.write(
            f"{head}{STYLE}</style><main class='slide'><h1>Slides</h1><ul>{''.join(rows)}</ul></main>\n".encode()
        )
    print(f"slides: {len(rows)} decks; file://{folder / 'index.html'}")
    return 0


def _moved(page: BeautifulSoup, address: str) -> BeautifulSoup:
    """The page with the addresses of its pictures and links as they are from the folder of the decks."""
    for attribute in ("src", "href"):
        for tag in page.select(f"article [{attribute}]"):
            target = str(tag[attribute])
            if "://" not in target and not target.startswith(("data:", "/")):
                place = address if target.startswith("#") else os.path.dirname(address)
                joined = (
                    f"{place}{target}" if target.startswith("#") else os.path.join(place, target)
                )
                tag[attribute] = os.path.relpath(joined, "slides")
    return page


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except CourseError as error:
        sys.exit(f"slides: {error}")
