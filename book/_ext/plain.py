"""MyST to plain Markdown: what makes a chapter readable in Jupyter and Colab.

Neither knows MyST's directives and roles, so the Colab edition of a chapter has them written out:
a quiz becomes a list with its answers folded away, a citation its authors and year, a stored result
its number. Equations keep their number through a tag. Code cells never pass through here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_OPEN = re.compile(r"^ {0,3}(:{3,}|`{3,}|~{3,})(?:\{([\w:-]+)\}[ \t]*(.*)|[^{`]*)$")
_OPTION = re.compile(r"^:([\w-]+):[ \t]*(.*)$")
_EQUATION_END = re.compile(r"\$\$[ \t]*\(([\w:-]+)\)[ \t]*$")
_TARGET = re.compile(r"^\(([\w:-]+)\)=[ \t]*$")
# A code span, with a role's name before it or not: an unnamed one is left alone, whatever it holds.
_SPAN = re.compile(r"(?:\{([\w:.+-]+)\})?(?<!`)(`+)(?!`)((?:(?!\n\n).)+?)(?<!`)\2(?!`)", re.DOTALL)
_NAMED_TARGET = re.compile(r"^(.*?)\s*<([^<>]+)>$", re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:)#?([^)\s]+)\)")


class PlainError(ValueError):
    """A chapter names something that the book does not have."""


@dataclass
class Names:
    """What roles may point at: titles by label or docname, equations by label, works, results."""

    titles: dict[str, str] = field(default_factory=dict)
    equations: dict[str, tuple[str, int]] = field(default_factory=dict)
    works: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    results: Path = Path()

    @classmethod
    def of_book(cls, root: Path, docnames: list[str]) -> Names:
        """Read the names that the pages of a book define."""
        names = cls(results=root / "book/evidence/results")
        for docname in docnames:
            page = root / f"{docname}.md"
            if page.exists():
                names._read_page(docname, page.read_text(encoding="utf-8"))
        bibliography = root / "book/references.bib"
        if bibliography.exists():
            names.works = _works(bibliography)
        return names

    def _read_page(self, docname: str, text: str) -> None:
        text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
        # Headings count outside code only: a comment in a code cell looks like one.
        bare = re.sub(r"^(`{3,}|~{3,})[\s\S]*?^\1[ \t]*$", "", text, flags=re.MULTILINE)
        if title := re.search(r"^# (.+)$", bare, re.MULTILINE):
            self.titles[docname] = title[1].strip()
        for target in re.finditer(r"^\(([\w:-]+)\)=\s*\n+#+ (.+)$", bare, re.MULTILINE):
            self.titles[target[1]] = target[2].strip()
        labelled = r"^[:`]{3,}\{[\w:-]+\}[ \t]*(.*)\n(?::[\w-]+:.*\n)*?:(?:label|name):[ \t]*(\S+)"
        for directive in re.finditer(labelled, text, re.MULTILINE):
            self.titles[directive[2]] = directive[1].strip()
        for number, label in enumerate(re.findall(_EQUATION_END.pattern, text, re.MULTILINE), 1):
            self.equations[label] = (docname, number)


def _works(bibliography: Path) -> dict[str, tuple[str, str, str]]:
    from pybtex.database import parse_file  # type: ignore[import-untyped]

    works = {}
    for key, entry in parse_file(str(bibliography), "bibtex").entries.items():
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        family = [" ".join([*p.prelast_names, *p.last_names]).strip("{}") for p in people]
        who = " and ".join(family) if len(family) < 3 else f"{family[0]} et al."
        fields = {
            name: value.replace("{", "").replace("}", "") for name, value in entry.fields.items()
        }
        works[key] = (who or key, fields.get("year", "n.d."), fields.get("title", ""))
    return works


def result(names: Names, text: str) -> str:
    """The stored number behind a result role's ``contract-id/key.path|format``."""
    where, _, form = text.partition("|")
    contract, _, keys = where.strip().partition("/")
    try:
        value = json.loads((names.results / f"{contract}.json").read_text(encoding="utf-8"))
        for key in keys.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (OSError, KeyError, IndexError, TypeError, ValueError) as err:
        raise PlainError(f"result role: no stored number for {text!r} ({err})") from err
    return format(value, form.strip())


class Plain:
    """The plain Markdown of one chapter's cells, given what the book's names mean."""

    def __init__(self, names: Names, docname: str) -> None:
        self.names = names
        self.docname = docname
        self.cited: list[str] = []

    def markdown(self, text: str) -> str:
        """One Markdown cell, or the body of a directive, written out."""
        return re.sub(r"\n{3,}", "\n\n", "\n".join(self._blocks(text.split("\n")))).strip("\n")

    def _blocks(self, lines: list[str]) -> Iterator[str]:
        prose: list[str] = []
        at = 0
        while at < len(lines):
            line = lines[at]
            opening = _OPEN.match(line)
            if not (opening or line.lstrip().startswith("$$")):
                at += 1
                if not (_TARGET.match(line) or line.startswith("% ") or line.startswith("+++")):
                    prose.append(line)
                continue
            yield self._inline("\n".join(prose))
            prose.clear()
            end = _closing(lines, at, opening[1]) if opening else _math_end(lines, at)
            if opening is None:
                yield self._equation(lines[at : end + 1])
            elif opening[2] is None:
                yield "\n".join(lines[at : end + 1])  # code for the eye: left as it is
            else:
                yield f"\n{self._directive(opening[2], opening[3].strip(), lines[at + 1 : end])}\n"
            at = end + 1
        yield self._inline("\n".join(prose))

    def _equation(self, lines: list[str]) -> str:
        label = _EQUATION_END.search(lines[-1])
        if label is None:
            return "\n".join(lines)
        _, number = self.names.equations.get(label[1], (self.docname, 0))
        body = _EQUATION_END.sub("", "\n".join(lines)).strip().removeprefix("$$").strip()
        return f"$$\n{body} \\tag{{{number}}}\n$$"

    def _directive(self, name: str, argument: str, lines: list[str]) -> str:
        options, body = _options(lines)
        title = self._inline(argument)
        if name == "math":
            label = f" ({options['label']})" if "label" in options else ""
            return self._equation(["$$", body, f"$${label}"])
        if name in ("figure", "image"):
            return f"![{options.get('alt', '')}]({argument})\n\n{self.markdown(body)}".rstrip()
        if name == "bibliography":
            return self._cited_works()
        writer = getattr(self, "_write_" + re.sub(r"\W", "_", name), None)
        if writer is not None:
            written: str = writer(title, body)
            return written
        if name in ("dropdown", "toggle") or "dropdown" in options.get("class", ""):
            return _folded(title or name.capitalize(), self.markdown(body))
        if name in _BOXES or name.startswith("prf:"):
            kind = name.removeprefix("prf:").capitalize()
            head = title if name == "admonition" else f"{kind}: {title}" if title else kind
            return _quoted(f"**{head}**\n\n{self.markdown(body)}")
        if name == "div":  # its argument is a style class, not words
            title = ""
        return (f"**{title}**\n\n" if title else "") + self.markdown(body)

    def _write_chapter_head(self, title: str, body: str) -> str:
        return _quoted(self.markdown(body))

    def _write_predict(self, title: str, body: str) -> str:
        options = [(self._inline(text), self._inline(reason)) for text, reason in _choices(body)]
        guesses = "\n".join(f"- {text}" for text, _ in options)
        replies = "\n".join(f"- *{text}*: {reason}" for text, reason in options)
        return f"**Predict first.** {title}\n\n{guesses}\n\n" + _folded("After your guess", replies)

    def _write_quiz(self, title: str, body: str) -> str:
        letters = "abcdefghijklmnop"
        asked, answered = [], []
        for letter, (option, reason) in zip(letters, _choices(body), strict=False):
            right = option.startswith("[x]")
            asked.append(f"- ({letter}) {self._inline(option[3:].strip())}")
            verdict = "right" if right else "wrong"
            answered.append(f"- ({letter}) **{verdict}**: {self._inline(reason)}")
        answers = _folded("Answers, with reasons", "\n".join(answered))
        return f"**Quiz.** {title}\n\n" + "\n".join(asked) + f"\n\n{answers}"

    def _write_playground(self, title: str, body: str) -> str:
        page = self.names.titles.get(self.docname, self.docname)
        return _quoted(
            f"**Playground.** In the book, the page *{page}* has something to play with here."
        )

    def _write_exercise(self, title: str, body: str) -> str:
        return f"### Exercise: {title}\n\n{self.markdown(body)}"

    def _write_solution(self, label: str, body: str) -> str:
        return _folded(f"Solution: {self.names.titles.get(label, label)}", self.markdown(body))

    def _cited_works(self) -> str:
        works = sorted(self.names.works[key] for key in set(self.cited))
        return "\n".join(f"- {who} ({year}). *{title}*." for who, year, title in works)

    def _inline(self, text: str) -> str:
        text = _SPAN.sub(lambda m: self._role(m[1], m[3]) if m[1] else m[0], text)
        return _LINK.sub(self._link, text)

    def _role(self, role: str, text: str) -> str:
        role = role.lower()
        named = _NAMED_TARGET.match(text)
        shown, target = (named[1], named[2]) if named else ("", text.strip())
        if role == "result":
            return result(self.names, text)
        if role.startswith("cite"):
            return self._citation(role, text)
        if role == "math":
            return f"${text}$"
        if role == "eq" or target in self.names.equations:
            return self._equation_name(target)
        if role in ("ref", "numref", "doc", "prf:ref"):
            return shown or self._title(target)
        if role in ("term", "abbr", "sub", "sup"):
            return shown or text
        code = shown or (target.rsplit(".", 1)[-1] if target.startswith("~") else target)
        return f"`{code}()`" if role in ("func", "meth", "py:func", "py:meth") else f"`{code}`"

    def _link(self, link: re.Match[str]) -> str:
        shown, target = link[1], link[2]
        if target in self.names.equations:
            return shown or self._equation_name(target)
        if target in self.names.titles:
            return shown or self.names.titles[target]
        return link[0]

    def _equation_name(self, label: str) -> str:
        if label not in self.names.equations:
            raise PlainError(f"eq role: no equation is labelled {label!r}")
        docname, number = self.names.equations[label]
        elsewhere = "" if docname == self.docname else f" of *{self.names.titles.get(docname)}*"
        return f"({number}){elsewhere}"

    def _title(self, target: str) -> str:
        here = Path(self.docname).parent / target
        docname = re.sub(r"[^/]+/\.\./", "", here.as_posix())
        for name in (target, target.strip("/"), docname):
            if name in self.names.titles:
                return self.names.titles[name]
        raise PlainError(f"{self.docname}: nothing in the book is called {target!r}")

    def _citation(self, role: str, text: str) -> str:
        keys = [key.strip() for key in text.split(",")]
        unknown = [key for key in keys if key not in self.names.works]
        if unknown:
            raise PlainError(f"cite role: references.bib has no {unknown[0]!r}")
        self.cited += keys
        works = [self.names.works[key] for key in keys]
        if role.startswith("cite:t"):
            return ", ".join(f"{who} ({year})" for who, year, _ in works)
        return "(" + "; ".join(f"{who}, {year}" for who, year, _ in works) + ")"


_BOXES = {
    *("admonition", "attention", "caution", "danger", "error", "hint", "important", "note"),
    *("seealso", "tip", "warning", "card", "epigraph", "margin", "sidebar"),
}


def _closing(lines: list[str], at: int, fence: str) -> int:
    """The line that closes the fence opened at ``at``; a forgotten one runs to the end."""
    close = re.compile(rf"^ {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$")
    return next((n for n in range(at + 1, len(lines)) if close.match(lines[n])), len(lines) - 1)


def _math_end(lines: list[str], at: int) -> int:
    if "$$" in lines[at].lstrip()[2:]:
        return at
    return next((n for n in range(at + 1, len(lines)) if "$$" in lines[n]), len(lines) - 1)


def _options(lines: list[str]) -> tuple[dict[str, str], str]:
    options = {}
    rest = list(lines)
    while rest and (option := _OPTION.match(rest[0])):
        options[option[1]] = option[2].strip()
        rest.pop(0)
    return options, "\n".join(rest).strip("\n")


def _choices(body: str) -> Iterator[tuple[str, str]]:
    """The ``- option :: reason`` items of a list; a lead-in without a dash is no item."""
    for item in re.split(r"^[-*] ", body, flags=re.MULTILINE)[1:]:
        option, _, reason = " ".join(item.split()).partition(" :: ")
        yield option.strip(), reason.strip()


def _folded(summary: str, body: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))
