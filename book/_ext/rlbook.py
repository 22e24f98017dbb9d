"""What this book adds to Sphinx: executed notebooks, questions, playgrounds, tested equations, measured numbers.

Three modules, read in this order: `rlbook` (what authors write in a chapter), `rlbook_tested` (what
binds equations to tests, and the live tables of "How this book is tested") and `rlbook_site` (what
makes the built pages work without network and for every reader).
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase
from typing import Any, ClassVar

import notebooks
import rlbook_site
import rlbook_tested
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from rlbook_tested import warn
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole

from rlcourse import evidence
from rlcourse.errors import CourseError
from rlcourse.mdp import parse_map

WORDS_A_MINUTE = 180  # prose with mathematics in it is read slower than a novel


# --- executed notebooks ---------------------------------------------------------------------------


def hand_over_executed(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give Sphinx the executed copy of a chapter in place of the notebook without outputs."""
    if docname not in notebooks.chapters():
        return
    executed = Path(notebooks.executed_path(docname))
    cure = "run `python book/_ext/notebooks.py execute` (or `make book`, which does it for you)"
    record = notebooks.record_of(docname)
    if record is None:
        raise ExtensionError(f"{docname} has not been executed: {cure}")
    if record.get("key") != notebooks.key_of(docname):
        raise ExtensionError(
            f"the executed copy of {docname} is stale: its text, the package, the evidence or the"
            f" lock has changed since; {cure}"
        )
    app.env.note_dependency(str(executed))  # a newer execution makes the page anew
    source[0] = executed.read_text("utf-8")


# --- questions: predict and quiz ------------------------------------------------------------------


class QuestionNode(nodes.General, nodes.Element):
    """A fieldset of radio buttons; children: a legend, then options."""


class LegendNode(nodes.General, nodes.TextElement):
    pass


class OptionNode(nodes.General, nodes.Element):
    """Children: a label and a reason."""


class LabelNode(nodes.General, nodes.TextElement):
    pass


class ReasonNode(nodes.General, nodes.Element):
    pass


class Question(SphinxDirective):
    """`- option :: what to say to a reader who chose it`, one option an item."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    kind = "predict"
    item = re.compile(r"^[-*] (?P<mark>)(?P<text>.*)$")

    def run(self) -> list[nodes.Node]:
        serial = self.env.new_serialno("rlbook-question")
        where = self.state_machine.get_source_and_line(self.lineno)
        location = (self.env.docname, where[1])
        root = QuestionNode(kind=self.kind, name=f"{self.kind}-{serial}", classes=["rl-question"])
        legend = LegendNode()
        legend += self.inline(self.arguments[0], self.lineno)
        root += legend
        options = list(self.options_of_content(location))
        for number, (mark, text, reason, line) in enumerate(options):
            option = OptionNode(mark=mark, key=f"{self.kind}-{serial}-{number}")
            option["name"], option["letter"] = root["name"], ascii_lowercase[number]
            label = LabelNode()
            label += self.inline(text, line)
            body = ReasonNode(mark=mark, kind=self.kind)
            self.state.nested_parse(
                StringList(reason.splitlines(), self.env.docname), line - self.lineno, body
            )
            option += [label, body]
            root += option
        if len(options) < 2:
            warn(self.kind, f"a {self.kind} needs at least two options", location)
        self.check([mark for mark, *_ in options], location)
        self.set_source_info(root)
        return [root]

    def check(self, marks: list[str], location: Any) -> None:
        """What is required of the marks (a prediction has none)."""

    def inline(self, text: str, line: int) -> list[nodes.Node]:
        children, messages = self.state.inline_text(text, line)
        return [*children, *messages]

    def options_of_content(self, location: Any) -> Iterator[tuple[str, str, str, int]]:
        """Mark, option, reason and line of each item; an item may run over several lines."""
        items: list[tuple[str, list[str], int]] = []
        for number, line in enumerate(self.content):
            start = self.item.match(line)
            if start:
                items.append((start["mark"], [start["text"]], self.content_offset + number))
            elif items and (not line.strip() or line.startswith("  ")):
                items[-1][1].append(line.strip())
            elif line.strip():
                warn(self.kind, f"not an option of a {self.kind}: {line!r}", location)
        for mark, lines, number in items:
            text, separator, reason = "\n".join(lines).partition(" :: ")
            if not separator or not text.strip() or not reason.strip():
                warn(
                    self.kind,
                    f"every option needs a reply, `option :: reply`; this one has none: {text!r}",
                    location,
                )
            yield mark, " ".join(text.split()), reason.strip(), number


class Quiz(Question):
    """`- [ ] wrong :: reason` and exactly one `- [x] right :: reason`."""

    kind = "quiz"
    item = re.compile(r"^[-*] \[(?P<mark>[ xX])\] (?P<text>.*)$")

    def check(self, marks: list[str], location: Any) -> None:
        right = sum(mark in "xX" for mark in marks)
        if right != 1:
            warn("quiz", f"a quiz has exactly one right answer [x], this one has {right}", location)


def visit_question(self: Any, node: QuestionNode) -> None:
    self.body.append(f'<fieldset class="rl-question rl-{node["kind"]}">')


def depart_question(self: Any, node: QuestionNode) -> None:
    self.body.append("</fieldset>\n")


def visit_legend(self: Any, node: LegendNode) -> None:
    self.body.append('<legend><span class="rl-legend">')


def depart_legend(self: Any, node: LegendNode) -> None:
    self.body.append("</span></legend>\n")


def visit_option(self: Any, node: OptionNode) -> None:
    right = " rl-right" if node["mark"] in ("x", "X") else ""
    self.body.append(
        f'<div class="rl-option{right}">'
        f'<input type="radio" id="{node["key"]}" name="{node["name"]}" autocomplete="off">'
        # The letter names an option that is a formula only, for whom the formula is not read out.
        f'<label for="{node["key"]}"><span class="rl-letter">{node["letter"]}</span><span>'
    )


def depart_option(self: Any, node: OptionNode) -> None:
    self.body.append("</div>\n")


def visit_label(self: Any, node: LabelNode) -> None:
    pass


def depart_label(self: Any, node: LabelNode) -> None:
    self.body.append("</span></label>\n")


def visit_reason(self: Any, node: ReasonNode) -> None:
    # The live region stands there empty from the start (CSS hides its content until the option is
    # chosen), so a screen reader announces the reason when it appears. No script is needed.
    verdict = ""
    if node["kind"] == "quiz":
        right = node["mark"] in ("x", "X")
        verdict = f'<p class="rl-verdict">{"Right." if right else "Not this one."}</p>'
    self.body.append(
        f'<div class="rl-reason" aria-live="polite"><div class="rl-reason-body">{verdict}'
    )


def depart_reason(self: Any, node: ReasonNode) -> None:
    self.body.append("</div></div>\n")


# --- playgrounds ----------------------------------------------------------------------------------

# Of each: what a reader is told it is, its scripts beside `common.js`, and the presets that a chapter may choose.
PLAYGROUNDS: dict[str, tuple[str, list[str], str]] = {
    "grid": (
        "the grid",
        ["grid.js"],
        "method slip gamma goal hole step alpha epsilon seed",  # and the map, as the content
    ),
    "clip": ("the clip", ["clip.js"], "ratio advantage clip"),
    "cartpole": (
        "the cart and the pole",
        ["control.js", "policies/cartpole.js"],
        "driver gravity length force seed",
    ),
    "mountaincar": (
        "the car in the valley",
        ["control.js", "policies/mountaincar.js"],
        "driver gravity force seed",
    ),
    "bandit": ("the bandit", ["bandit.js"], "arms epsilon seed"),
}


GRID_METHODS = ["values", "policy", "evaluation", "td", "sarsa", "qlearning"]  # those of grid.js


class PlaygroundNode(nodes.General, nodes.Element):
    """A place on the page that a script of `_static/playgrounds` fills."""


class Playground(SphinxDirective):
    """One of :data:`PLAYGROUNDS`, with its presets as options; a grid's content is its map."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {
        name: directives.unchanged_required
        for _, _, presets in PLAYGROUNDS.values()
        for name in presets.split()
    }

    def run(self) -> list[nodes.Node]:
        name, presets = self.arguments[0], dict(self.options)
        location = self.get_location()
        if name not in PLAYGROUNDS:
            warn("playground", f"no playground {name!r}: {', '.join(PLAYGROUNDS)}", location)
            return []
        known = PLAYGROUNDS[name][2].split()
        for option in presets.keys() - set(known):
            warn("playground", f"{name} has no {option!r}: {', '.join(known)}", location)
        method = presets.get("method", GRID_METHODS[0])
        if name == "grid" and method not in GRID_METHODS:
            warn("playground", f"no method {method!r}: {', '.join(GRID_METHODS)}", location)
        if self.content and name == "grid":
            presets["map"] = "\n".join(self.content)
            try:
                parse_map(presets["map"])
            except CourseError as error:
                warn("playground", str(error), location)
        elif self.content:
            warn("playground", f"{name} takes no content", location)
        return [PlaygroundNode(name=name, presets=presets)]


def visit_playground(self: Any, node: PlaygroundNode) -> None:
    title = PLAYGROUNDS[node["name"]][0]
    presets = html.escape(json.dumps(node["presets"]))
    self.body.append(
        f'<section class="rl-playground" data-playground="{node["name"]}"'
        f' data-options="{presets}" aria-label="Playground: {title}">'
        f"<p>Here stands a playground, {title}. It needs JavaScript.</p>"
    )


def depart_playground(self: Any, node: PlaygroundNode) -> None:
    self.body.append("</section>\n")


def load_playgrounds(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Scripts and style, on the pages that have a playground."""
    names = [node["name"] for node in doctree.findall(PlaygroundNode)] if doctree else []
    if not names:
        return
    app.add_css_file("playgrounds/playground.css")
    scripts = ["common.js", *(script for name in names for script in PLAYGROUNDS[name][1])]
    for script in dict.fromkeys(scripts):
        app.add_js_file(f"playgrounds/{script}", loading_method="defer")


# --- the head of a chapter ------------------------------------------------------------------------


class HeadNode(nodes.General, nodes.Element):
    """The card on top of a chapter; filled in when the page is written."""


class ChapterHead(SphinxDirective):
    """What you will be able to do and what you need; minutes, seconds and buttons are added."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        head = HeadNode(docname=self.env.docname)
        body = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, body)
        for child in body.children:
            if isinstance(child, nodes.paragraph):  # "You will be able to", "You need"
                head += nodes.container(classes=["rl-head-part"])
            (head[-1] if len(head) else head).append(child)
        return [head]


def fill_chapter_heads(app: Sphinx, doctree: nodes.document) -> None:
    """Minutes to read are counted in the text of the page itself, without code and its output."""
    for head in doctree.findall(HeadNode):
        prose = (
            node.astext()
            for node in doctree.findall(nodes.TextElement)
            if isinstance(node, nodes.paragraph | nodes.title | nodes.math_block)
        )
        words = sum(len(text.split()) for text in prose)
        head["minutes"] = max(1, round(words / WORDS_A_MINUTE))
        record = (
            notebooks.record_of(head["docname"])
            if head["docname"] in notebooks.chapters()
            else None
        )
        head["seconds"] = None if record is None else max(1, round(float(record["seconds"])))


def visit_head(self: Any, node: HeadNode) -> None:
    self.body.append('<div class="rl-head">')


def depart_head(self: Any, node: HeadNode) -> None:
    facts = [f"<span>{node['minutes']} min to read</span>"]
    buttons = ""
    if node["seconds"] is not None:
        facts.append(f"<span>{node['seconds']} s to run</span>")
        buttons = f'<p class="rl-buttons">{rlbook_site.notebook_buttons(node["docname"])}</p>'
    self.body.append(
        f'<div class="rl-foot"><p class="rl-facts">{"".join(facts)}</p>{buttons}</div></div>\n'
    )


# --- measured numbers -----------------------------------------------------------------------------


class Result(SphinxRole):
    """``{result}`contract-id/key.path|format` ``: a number out of a stored measurement."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        address, _, spec = self.text.partition("|")
        name, _, keys = address.strip().partition("/")
        path = evidence.folder() / "results" / f"{name}.json"
        self.env.note_dependency(str(path))
        location = self.get_location()
        if not path.exists():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none"
            warn("result", f"no stored result {name!r}; there are: {known}", location)
            return [nodes.inline("?", "?", classes=["rl-result"])], []
        value: Any = json.loads(path.read_text("utf-8"))
        for key in filter(None, keys.split(".")):
            try:
                value = value[int(key) if isinstance(value, list) else key]
            except (KeyError, IndexError, ValueError, TypeError):
                has = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)[:80]
                warn(
                    "result", f"result {name!r} has no {keys!r}: at {key!r} it has {has}", location
                )
                return [nodes.inline("?", "?", classes=["rl-result"])], []
        try:
            text = format(value, spec.strip()).replace("-", "\N{MINUS SIGN}", 1)
        except (ValueError, TypeError) as error:
            warn("result", f"cannot print {self.text!r}: {error}", location)
            text = "?"
        # Where the contract table has a row for it, the number leads there.
        link = pending_xref(
            "",
            nodes.inline(text, text, classes=["rl-result"]),
            refdomain="std",
            reftype="ref",
            refexplicit=True,
            reftarget=f"contract-{name}",
            refdoc=self.env.docname,
        )
        return [link], []


def leave_number(app: Sphinx, env: BuildEnvironment, node: nodes.Element, text: Any) -> Any:
    """A measured number that no contract table has a row for stays a number."""
    return text if str(node.get("reftarget", "")).startswith("contract-") else None


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("predict", Question)
    app.add_directive("quiz", Quiz)
    app.add_directive("playground", Playground)
    app.add_directive("chapter-head", ChapterHead)
    app.add_role("result", Result())
    for node, visit, depart in [
        (QuestionNode, visit_question, depart_question),
        (LegendNode, visit_legend, depart_legend),
        (OptionNode, visit_option, depart_option),
        (LabelNode, visit_label, depart_label),
        (ReasonNode, visit_reason, depart_reason),
        (PlaygroundNode, visit_playground, depart_playground),
        (HeadNode, visit_head, depart_head),
    ]:
        app.add_node(node, html=(visit, depart))
    app.connect("source-read", hand_over_executed, priority=100)
    app.connect("doctree-read", fill_chapter_heads)
    app.connect("missing-reference", leave_number)
    app.connect("html-page-context", load_playgrounds)
    rlbook_tested.setup(app)
    rlbook_site.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
