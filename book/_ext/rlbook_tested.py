"""What is tested: each equation bound to its tests, and the live tables of "How this book is tested"."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import notebooks
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from rlcourse import evidence
from rlcourse.grading.master import read
from rlcourse.mutants import mutants

logger = logging.getLogger(__name__)

Cell = str | nodes.Node | Sequence[nodes.Node]


def warn(kind: str, message: str, location: Any = None) -> None:
    """A warning that `-W` turns into an error; `kind` names the rule that was broken."""
    logger.warning(f"{message} [rlbook.{kind}]", location=location, type="rlbook", subtype=kind)


# --- tested equations -----------------------------------------------------------------------------


@dataclass(frozen=True)
class EquationTest:
    """A test that says `@equation(label, oracle=...)`."""

    label: str
    test: str
    oracle: str
    line: int
    file: str = ""


def equation_tests(path: Path) -> list[EquationTest]:
    """Find, without importing them, which tests evaluate which labelled equations.

    ``path`` is a file, or a folder: then each ``test_equations_<chapter>.py`` whose chapter is in the book.
    """
    if path.is_dir():
        names = {docname.rsplit("/", 1)[-1] for docname in notebooks.chapters()}
        files = [f for f in sorted(path.glob("test_equations_*.py")) if f.stem[15:] in names]
        return sorted(
            (e for f in files for e in equation_tests(f)), key=lambda e: (e.label, e.line)
        )
    if not path.exists():
        return []
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if not isinstance(decorator, ast.Call):
                continue
            if getattr(decorator.func, "id", getattr(decorator.func, "attr", "")) != "equation":
                continue
            oracle = next((k.value for k in decorator.keywords if k.arg == "oracle"), None)
            texts = [a.value for a in [*decorator.args, oracle] if isinstance(a, ast.Constant)]
            if oracle is None or len(texts) < 2 or not all(isinstance(t, str) for t in texts):
                raise ExtensionError(
                    f"{path.name}:{node.lineno}: write @equation('eq-label', oracle='compared with')"
                    " with texts, so that the book can read it"
                )
            found += [
                EquationTest(t, node.name, texts[-1], node.lineno, path.name) for t in texts[:-1]
            ]
    return sorted(found, key=lambda e: (e.label, e.line))


def say_tested(app: Sphinx, doctree: nodes.document) -> None:
    """Under each labelled equation, the tests that evaluate it; a warning where there is none."""
    tests = equation_tests(Path(app.config.rlbook_equation_tests))
    for block in list(doctree.findall(nodes.math_block)):
        label = block.get("label")
        if not label or "amsmath" in block["classes"]:  # those get a random label from myst
            continue
        app.env.note_dependency(app.config.rlbook_equation_tests)
        mine = [test for test in tests if test.label == label]
        if not mine:
            warn(
                "equation",
                f"equation {label!r} has no test: write one with @equation({label!r}, oracle=...)",
                block,
            )
            continue
        line = nodes.paragraph(classes=["rl-tested"])
        line += nodes.strong("", "Tested")
        for number, test in enumerate(mine):
            line += nodes.Text("; " if number else " ")
            line += nodes.literal(test.test, test.test)
            line += nodes.Text(f" against {test.oracle}")
        parent = block.parent
        parent.insert(parent.index(block) + 1, line)


def find_orphan_tests(app: Sphinx, env: BuildEnvironment) -> None:
    """A test whose label no page has: the equation was renamed or removed."""
    labels = set(env.get_domain("math").equations)  # type: ignore[attr-defined]
    for test in equation_tests(Path(app.config.rlbook_equation_tests)):
        if test.label not in labels:
            warn(
                "equation",
                f"{test.test} tests {test.label!r}, a label that no page has",
                f"{test.file}:{test.line}",
            )


# --- live tables ----------------------------------------------------------------------------------


def table(titles: Sequence[str], rows: Sequence[Sequence[Cell]], kind: str) -> nodes.table:
    """A docutils table; a cell is a text or nodes."""
    root = nodes.table(classes=["rl-live", f"rl-live-{kind}"])
    group = nodes.tgroup(cols=len(titles))
    root += group
    for _ in titles:
        group += nodes.colspec(colwidth=1)

    def line(cells: Sequence[Cell]) -> nodes.row:
        row = nodes.row()
        for cell in cells:
            entry = nodes.entry()
            if isinstance(cell, nodes.paragraph):
                entry += cell
            else:
                entry += nodes.paragraph(
                    "",
                    "",
                    *(
                        [nodes.Text(cell)]
                        if isinstance(cell, str)
                        else [cell]
                        if isinstance(cell, nodes.Node)
                        else cell
                    ),
                )
            row += entry
        return row

    group += nodes.thead("", line(titles))
    group += nodes.tbody("", *map(line, rows))
    return root


def code(text: str) -> nodes.literal:
    return nodes.literal(text, text)


class LiveTable(SphinxDirective):
    """Rows are read from the project each time the book is built."""

    def run(self) -> list[nodes.Node]:
        self.env.metadata[self.env.docname]["rlbook-live"] = "yes"
        return self.rows()

    def rows(self) -> list[nodes.Node]:
        raise NotImplementedError

    def empty(self, what: str) -> list[nodes.Node]:
        return [nodes.paragraph("", f"No {what} yet.")]


class EquationTable(LiveTable):
    def rows(self) -> list[nodes.Node]:
        tests = equation_tests(Path(self.config.rlbook_equation_tests))
        rows = [
            (
                self.equation(test.label),
                test.oracle,
                [code(test.file), nodes.Text(" "), code(test.test)],
            )
            for test in tests
        ]
        if not rows:
            return self.empty("equations")
        return [table(("Equation", "Compared with", "Test"), rows, "equations")]

    def equation(self, label: str) -> nodes.Node:
        """A link to the equation that carries its number."""
        return pending_xref(
            "",
            nodes.literal(label, label),
            refdomain="math",
            reftype="eq",
            reftarget=label,
            refdoc=self.env.docname,
        )


class MutantTable(LiveTable):
    def rows(self) -> list[nodes.Node]:
        rows = [
            (
                mutant.title,
                code(mutant.file),
                mutant.symptom,
                code(mutant.killed_by.rpartition("::")[2]),
            )
            for mutant in mutants().values()
        ]
        return [table(("Bug", "Planted in", "Symptom", "Killed by"), rows, "mutants")]


class NotebookTable(LiveTable):
    def rows(self) -> list[nodes.Node]:
        rows: list[Sequence[Cell]] = []
        total = 0.0
        for docname in notebooks.chapters():
            record = notebooks.record_of(docname)
            if record is None:
                continue
            total += float(record["seconds"])
            link = pending_xref(
                "",
                nodes.Text(docname),
                refdomain="std",
                reftype="doc",
                reftarget=f"/{docname}",
                refdoc=self.env.docname,
                refexplicit=False,
                refwarn=True,
            )
            rows.append((link, f"{float(record['seconds']):.1f}"))
        if not rows:
            return self.empty("executed notebooks")
        rows.append((nodes.strong("", "All"), f"{total:.1f}"))
        return [table(("Chapter", "Seconds to execute"), rows, "notebooks")]


class VersionTable(LiveTable):
    def rows(self) -> list[nodes.Node]:
        seen: dict[str, set[str]] = {}
        for docname in notebooks.chapters():
            for package, version in (
                (notebooks.record_of(docname) or {}).get("versions") or {}
            ).items():
                seen.setdefault(package, set()).add(str(version))
        if not seen:
            return self.empty("versions")
        rows = [(code(package), ", ".join(sorted(seen[package]))) for package in sorted(seen)]
        return [table(("Package", "Version"), rows, "versions")]


class LabTable(LiveTable):
    """One row a lab of ``labs/``, in the order of the content: ``NAME: what a student can do afterwards``.

    Labs that the content does not name come last. In a copy without ``labs/`` there is what the content says.
    """

    has_content = True
    titles = ("Lab", "Afterwards a student can", "Minutes", "Noticed")

    def rows(self) -> list[nodes.Node]:
        folder = Path(self.config.rlbook_labs)
        goals = dict(line.split(": ", 1) for line in self.content if ": " in line)
        there = {path.parent.name for path in folder.glob("*/lab.py")}
        if len(goals) < len(self.content) or (there and goals.keys() - there):
            raise self.error(
                f"lab-table: unknown: {sorted(goals.keys() - there)}; a line is  "
                f"NAME: what a student can do afterwards  with a NAME of {folder.name}/, each once"
            )
        rows = []
        for name, goal in (goals | dict.fromkeys(sorted(there - goals.keys()), "")).items():
            if not there:
                rows.append((code(name), goal, "", ""))
                continue
            lab = read(folder / name)
            title = [nodes.Text(f"{lab.title} ("), code(name), nodes.Text(")")]
            rows.append((title, goal, str(lab.minutes), str(len(lab.mutants))))
        return [table(self.titles, rows, "labs")]


class ContractTable(LiveTable):
    """Each row can be pointed at: `contract-ID` is a label, and measured numbers lead there."""

    titles = (
        "Claim",
        "State",
        "Measured [95 % interval]",
        "Threshold",
        "Seeds",
        "Environment",
        "Published figure",
        "Measured on",
    )

    def rows(self) -> list[nodes.Node]:
        if not (evidence.folder() / "contracts.toml").exists():
            return self.empty("contracts")
        return [table(self.titles, [self.row(*row) for row in evidence.check()], "contracts")]

    def row(
        self, contract: evidence.Contract, state: str, result: dict[str, Any] | None
    ) -> list[Cell]:
        label = f"contract-{contract.id}"
        anchor = nodes.target("", "", ids=[nodes.make_id(label)])
        standard = self.env.get_domain("std")
        place = (self.env.docname, anchor["ids"][0])
        standard.anonlabels[label] = place  # type: ignore[attr-defined]
        standard.labels[label] = (*place, contract.claim)  # type: ignore[attr-defined]
        measured, day = "not yet", ""
        if result is not None:
            low, high = result["interval"]
            measured = f"{number(result['statistic'])} [{number(low)}, {number(high)}]"
            day = str(result.get("measured", ""))
        return [
            [anchor, nodes.Text(contract.claim)],
            nodes.inline(state, state, classes=["rl-state", f"rl-state-{state}"]),
            measured,
            f"{contract.statistic} {SIGNS[contract.comparison]} {bar(contract)}",
            str(contract.seeds),
            contract.environment,
            contract.published or contract.oracle,
            day,
        ]


SIGNS = {">=": "\N{GREATER-THAN OR EQUAL TO}", "<=": "\N{LESS-THAN OR EQUAL TO}", "==": "="}


def bar(contract: evidence.Contract) -> str:
    """What a statistic must pass: a number, or the end of another contract's interval."""
    threshold = contract.threshold
    return threshold if isinstance(threshold, str) else number(threshold)


def number(value: float) -> str:
    """Four digits that count, and a true minus."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def live_pages(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Pages with a live table are read anew at each build."""
    return [
        docname
        for docname, meta in env.metadata.items()
        if "rlbook-live" in meta and docname in env.found_docs
    ]


def setup(app: Sphinx) -> None:
    tests = Path(__file__).resolve().parents[2] / "tests" / "book"
    app.add_config_value("rlbook_equation_tests", str(tests), "env")
    app.add_config_value("rlbook_labs", str(tests.parents[1] / "labs"), "env")
    app.connect("doctree-read", say_tested)
    app.connect("env-check-consistency", find_orphan_tests)
    for name, directive in {
        "equation-table": EquationTable,
        "contract-table": ContractTable,
        "mutant-table": MutantTable,
        "notebook-table": NotebookTable,
        "version-table": VersionTable,
        "lab-table": LabTable,
    }.items():
        app.add_directive(name, directive)
    app.connect("env-get-outdated", live_pages)
