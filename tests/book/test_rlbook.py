"""The book's Sphinx extension, on tiny books of its own; and the labels of the real one."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import notebooks
import pytest
import rlbook_site
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook, new_output
from rlbook_tested import equation_tests
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import docutils_namespace, patch_docutils

from rlcourse.grading.master import read
from rlcourse.grading.skeleton import skeleton

ROOT = Path(__file__).resolve().parents[2]
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
EQUATIONS = ROOT / "tests" / "book"
CONTRACT = """
[[contract]]
id = "lake"
chapter = "one"
claim = "It learns"
environment = "FrozenLake-v1"
measure = "{measure}"
config = {{}}
seeds = 10
statistic = "median"
comparison = ">="
threshold = 0.72
oracle = "the exact optimum"
"""


@dataclass
class Book:
    """A book of one or more pages in a temporary folder."""

    folder: Path
    tests: str = ""
    warnings: str = ""

    def build(self, **files: str) -> BeautifulSoup:
        """Write the pages, build, and return the first page."""
        for name, text in files.items():
            suffix = "" if "." in name else ".md"
            (self.folder / f"{name}{suffix}").write_text(text, "utf-8")
        (self.folder / "test_equations.py").write_text(self.tests, "utf-8")
        out, heard = self.folder / "_build", io.StringIO()
        with patch_docutils(str(self.folder)), docutils_namespace():
            app = Sphinx(
                srcdir=str(self.folder),
                confdir=None,
                outdir=str(out / "html"),
                doctreedir=str(out / "doctrees"),
                buildername="html",
                status=None,
                warning=heard,
                confoverrides={
                    "extensions": ["myst_nb", "sphinx_book_theme", "rlbook"],
                    "html_theme": "sphinx_book_theme",
                    "project": "Tiny",
                    "nitpicky": True,
                    "nb_execution_mode": "off",
                    "myst_enable_extensions": ["colon_fence", "dollarmath", "tasklist"],
                    "rlbook_equation_tests": str(self.folder / "test_equations.py"),
                    "rlbook_labs": str(self.folder / "labs"),
                },
            )
            app.build()
        self.warnings = heard.getvalue()
        return BeautifulSoup((out / "html" / "index.html").read_text("utf-8"), "html.parser")


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    folder = tmp_path / "book"
    (folder / "evidence" / "results").mkdir(parents=True)
    contract = CONTRACT.format(measure="tabular.greedy_return")
    (folder / "evidence" / "contracts.toml").write_text(contract, "utf-8")
    monkeypatch.setenv("RLCOURSE_EVIDENCE", str(folder / "evidence"))
    monkeypatch.setattr(notebooks, "chapters", lambda: [])
    monkeypatch.setattr(rlbook_site, "mathjax_folder", lambda: EQUATIONS.parent)  # 20 MB less
    return Book(folder)


# --- measured numbers -----------------------------------------------------------------------------


def store(book: Book, name: str, **values: Any) -> None:
    path = book.folder / "evidence" / "results" / f"{name}.json"
    path.write_text(json.dumps(values), "utf-8")


def test_a_result_is_printed_as_asked(book: Book) -> None:
    store(book, "walk", statistic=0.74213, rows=[{"mean": -13.0}])
    page = book.build(
        index="# One\n\n{result}`walk/statistic|.3f` and {result}`walk/rows.0.mean|.0f`\n"
    )
    assert [tag.get_text() for tag in page.select(".rl-result")] == ["0.742", "\N{MINUS SIGN}13"]
    assert book.warnings == ""


@pytest.mark.parametrize(
    ("role", "complaint"),
    [
        ("nowhere/statistic", "no stored result 'nowhere'; there are: walk"),
        ("walk/median", "result 'walk' has no 'median'"),
        ("walk/rows.3", "result 'walk' has no 'rows.3'"),
        ("walk/statistic|.3d", "cannot print 'walk/statistic|.3d'"),
    ],
)
def test_a_result_that_is_not_there_is_a_warning(book: Book, role: str, complaint: str) -> None:
    store(book, "walk", statistic=0.5, rows=[1])
    book.build(index=f"# One\n\n{{result}}`{role}`\n")
    assert complaint in book.warnings


def test_a_result_leads_to_its_contract(book: Book) -> None:
    store(book, "walk", statistic=1.0)
    page = book.build(
        index="# One\n\n```{contract-table}\n```\n\n{result}`walk/statistic` {ref}`contract-lake`\n"
    )
    assert "missing" in page.select_one(".rl-live-contracts .rl-state").get_text()
    assert page.select_one("p > a.internal")["href"] == "#contract-lake"
    assert page.select_one("#contract-lake") is not None
    assert book.warnings == ""


# --- tested equations -----------------------------------------------------------------------------

TESTS = """
@equation("eq-one", oracle="a sum by hand")
@equation("eq-one", "eq-two", oracle="finite differences")
def test_something(): ...
"""


def test_equation_tests_are_read_without_running_them(tmp_path: Path) -> None:
    path = tmp_path / "test_equations.py"
    path.write_text(TESTS + "\nraise SystemExit\n")
    found = equation_tests(path)
    assert [(e.label, e.test, e.oracle) for e in found] == [
        ("eq-one", "test_something", "a sum by hand"),
        ("eq-one", "test_something", "finite differences"),
        ("eq-two", "test_something", "finite differences"),
    ]
    assert equation_tests(tmp_path / "none.py") == []


@pytest.mark.parametrize("decorator", ['@equation("eq-one")', "@equation(LABEL, oracle='x')"])
def test_an_equation_test_that_cannot_be_read_raises(tmp_path: Path, decorator: str) -> None:
    path = tmp_path / "test_equations.py"
    path.write_text(f"{decorator}\ndef test_x(): ...\n")
    with pytest.raises(ExtensionError, match="oracle="):
        equation_tests(path)


def test_a_tested_equation_says_so(book: Book) -> None:
    book.tests = TESTS
    page = book.build(index="# One\n\n$$ a = 1 $$ (eq-one)\n\n$$ b = 2 $$ (eq-two)\n\n$$ c $$\n")
    said = [tag.get_text() for tag in page.select(".rl-tested")]
    assert len(said) == 2  # the equation without a label needs no test
    assert "a sum by hand" in said[0] and "finite differences" in said[0]
    assert "test_something" in said[1]
    assert book.warnings == ""


def test_an_untested_equation_and_an_orphan_test_are_warnings(book: Book) -> None:
    book.tests = '@equation("eq-gone", oracle="x")\ndef test_gone(): ...\n'
    book.build(index="# One\n\n$$ a = 1 $$ (eq-new)\n")
    assert "equation 'eq-new' has no test" in book.warnings
    assert "test_gone tests 'eq-gone', a label that no page has" in book.warnings


def test_every_labelled_equation_of_the_book_has_its_test() -> None:
    """The same rule as the build's, read from the pages' text."""
    label = re.compile(r"\$\$\s*\(([\w-]+)\)|```\{math\}\n:label: ([\w-]+)")
    pages = [ROOT / f"{docname}.md" for docname in notebooks.pages()]
    text = "\n".join(page.read_text("utf-8") for page in pages if page.exists())
    labels = {first or second for first, second in label.findall(text)}
    assert labels
    assert labels == {test.label for test in equation_tests(EQUATIONS)}


# --- questions ------------------------------------------------------------------------------------


def test_a_quiz_parses_markdown_and_marks_one_answer(book: Book) -> None:
    page = book.build(
        index="# One\n\n:::{quiz} Which $x$?\n- [ ] $\\gamma$ :: `no`\n"
        "- [x] *that* one :: Because $1$,\n  which goes on.\n\n  And a second paragraph.\n:::\n"
    )
    assert book.warnings == ""
    fieldset = page.select_one("fieldset.rl-quiz")
    assert fieldset.legend.select_one(".math") is not None
    options = fieldset.select(".rl-option")
    assert ["rl-right" in option["class"] for option in options] == [False, True]
    assert options[0].label.select_one(".math") and options[1].label.em
    assert [option.label["for"] for option in options] == [o.input["id"] for o in options]
    assert len({option.input["name"] for option in options}) == 1
    assert options[0].select_one(".rl-reason code").get_text() == "no"
    assert "Right" in options[1].select_one(".rl-verdict").get_text()
    assert "which goes on" in options[1].get_text()
    assert "second paragraph" in options[1].get_text()


def test_a_prediction_has_no_marks(book: Book) -> None:
    page = book.build(
        index="# One\n\n:::{predict} How many?\n- none :: A.\n- all 40 :: B.\n:::\n\n"
        ":::{predict} And now?\n- yes :: C.\n- no :: D.\n:::\n"
    )
    assert book.warnings == ""
    assert len(page.select("fieldset.rl-predict")) == 2
    assert page.select(".rl-verdict, .rl-right") == []
    assert len({i["name"] for i in page.select("input[type=radio]")}) == 2


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (":::{quiz} Q?\n- [ ] a :: A\n- [ ] b :: B\n:::", "this one has 0"),
        (":::{quiz} Q?\n- [x] a :: A\n- [x] b :: B\n:::", "this one has 2"),
        (":::{quiz} Q?\n- [x] a :: A\n- [ ] b\n:::", "every option needs a reply"),
        (":::{quiz} Q?\n- [x] a :: A\n- b :: B\n- [ ] c :: C\n:::", "not an option of a quiz"),
        (":::{predict} Q?\n- a :: A\n:::", "at least two options"),
    ],
)
def test_a_question_that_is_not_one_is_a_warning(book: Book, body: str, complaint: str) -> None:
    book.build(index=f"# One\n\n{body}\n")
    assert complaint in book.warnings


# --- playgrounds ----------------------------------------------------------------------------------


def test_a_playground_brings_its_presets_and_its_scripts(book: Book) -> None:
    page = book.build(
        index="# One\n\n:::{playground} grid\n:slip: 0.2\n:method: sarsa\n\nS..\n.#G\n:::\n\n"
        ":::{playground} cartpole\n:::\n\n```{toctree}\nplain\n```\n",
        plain="# Two\n",
    )
    assert book.warnings == ""
    grid, cart = page.select("[data-playground]")
    assert json.loads(grid["data-options"]) == {
        **{"slip": "0.2", "method": "sarsa"},
        "map": "S..\n.#G",
    }
    assert cart["data-playground"] == "cartpole" and cart["data-options"] == "{}"
    assert "needs JavaScript" in grid.get_text()
    out = book.folder / "_build" / "html"
    scripts = [tag for tag in page.select("script[src]") if "playgrounds/" in tag["src"]]
    names = [tag["src"].partition("playgrounds/")[2].partition("?")[0] for tag in scripts]
    assert names == ["common.js", "grid.js", "control.js", "policies/cartpole.js"]
    assert all(tag.has_attr("defer") for tag in scripts), "they run in this order, after the page"
    for name in (*names, "playground.css", "grid.html", "cartpole.html"):
        assert (out / "_static" / "playgrounds" / name).exists()
    assert "playgrounds/" not in (out / "plain.html").read_text("utf-8"), "on other pages nothing"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (":::{playground} chess\n:::", "no playground 'chess': grid, clip"),
        (":::{playground} clip\n:slip: 0.2\n:::", "clip has no 'slip': ratio, advantage, clip"),
        (":::{playground} grid\n:method: vi\n:::", "no method 'vi': values, policy, evaluation"),
        (":::{playground} clip\n\nS.G\n:::", "clip takes no content"),
        (":::{playground} grid\n\nS..\n:::", "map: no goal"),
    ],
)
def test_a_playground_that_is_not_one_is_a_warning(book: Book, body: str, complaint: str) -> None:
    book.build(index=f"# One\n\n{body}\n")
    assert complaint in book.warnings


# --- executed notebooks ---------------------------------------------------------------------------


@pytest.fixture
def execution(book: Book, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A book whose first page is a notebook; the function stores an execution of it."""
    path = book.folder.parent / "executed" / "index.ipynb"
    path.parent.mkdir()
    monkeypatch.setattr(notebooks, "chapters", lambda: ["index"])
    monkeypatch.setattr(notebooks, "executed_path", lambda docname: path)
    monkeypatch.setattr(notebooks, "key_of", lambda docname: "fresh")
    monkeypatch.setattr(
        notebooks,
        "record_of",
        lambda docname: (
            json.loads(path.with_suffix(".json").read_text()) if path.exists() else None
        ),
    )
    nbformat.write(notebook(None), book.folder / "index.ipynb")

    def store_execution(key: str) -> None:
        nbformat.write(notebook(f"executed with key {key}"), path)
        record = {"key": key, "seconds": 12.4, "versions": {"numpy": "1"}}
        path.with_suffix(".json").write_text(json.dumps(record))

    return store_execution


def notebook(output: str | None) -> Any:
    outputs = [new_output("stream", name="stdout", text=output)] if output else []
    head = (
        "# One\n\n:::{chapter-head}\nYou will be able to\n\n- count.\n\nYou need\n\n- nothing.\n:::"
    )
    cells = [nbformat.v4.new_markdown_cell(head), new_code_cell("print(1)", outputs=outputs)]
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def test_a_chapter_that_was_never_executed_raises(book: Book, execution: Any) -> None:
    with pytest.raises(ExtensionError, match="index has not been executed: run"):
        book.build()


def test_a_stale_execution_raises(book: Book, execution: Any) -> None:
    execution("old")
    with pytest.raises(ExtensionError, match="executed copy of index is stale"):
        book.build()


def test_the_executed_copy_is_what_the_page_shows(book: Book, execution: Any) -> None:
    execution("fresh")
    page = book.build()
    assert book.warnings == ""
    assert "executed with key fresh" in page.get_text()
    head = page.select_one(".rl-head")
    assert "12 s to run" in head.get_text() and "1 min to read" in head.get_text()
    assert len(head.select(".rl-head-part")) == 2
    link = head.select_one("a.rl-button[download]")
    committed = book.folder / "_build" / "html" / link["href"]
    assert committed.exists() and "executed with" not in committed.read_text()


def test_a_newer_execution_makes_the_page_anew(
    book: Book, execution: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution("fresh")
    book.build()
    monkeypatch.setattr(notebooks, "key_of", lambda docname: "fresher")
    execution("fresher")
    assert "executed with key fresher" in book.build().get_text()


# --- the labs -------------------------------------------------------------------------------------


def test_a_row_a_lab_with_what_its_master_says(book: Book) -> None:
    for file, text in skeleton("queues").items():
        (book.folder / "labs/queues").mkdir(parents=True, exist_ok=True)
        (book.folder / "labs/queues" / file).write_text(text, "utf-8")
    page = book.build(index="# One\n\n:::{lab-table}\nqueues: say how long one waits.\n:::\n")
    lab = read(book.folder / "labs/queues")
    row = [cell.get_text(strip=True) for cell in page.select(".rl-live-labs tbody td")]
    assert row == [
        f"{lab.title} (queues)",
        "say how long one waits.",
        str(lab.minutes),
        str(len(lab.mutants)),
    ]


@pytest.mark.parametrize("content", ["ques: a name that no lab has.", "queues"])
def test_a_lab_that_is_not_there_is_an_error(book: Book, content: str) -> None:
    (book.folder / "labs/queues").mkdir(parents=True)
    (book.folder / "labs/queues/lab.py").write_text(skeleton("queues")["lab.py"], "utf-8")
    book.build(index=f"# One\n\n:::{{lab-table}}\n{content}\n:::\n")
    assert "lab-table: unknown:" in book.warnings
    assert ("'ques'" in book.warnings) == (content != "queues")


def test_a_lab_without_a_line_comes_last_and_without_labs_the_lines_stand_alone(book: Book) -> None:
    content = ":::{lab-table}\nqueues: say how long one waits.\n:::\n"
    page = book.build(index=f"# One\n\n{content}")
    row = [cell.get_text(strip=True) for cell in page.select(".rl-live-labs tbody td")]
    assert row == ["queues", "say how long one waits.", "", ""]
    for name in ("alone", "queues"):
        (book.folder / "labs" / name).mkdir(parents=True)
        (book.folder / "labs" / name / "lab.py").write_text(skeleton(name)["lab.py"], "utf-8")
    page = book.build(index=f"# One\n\n{content}")
    names = [code.get_text() for code in page.select(".rl-live-labs tbody code")]
    assert names == ["queues", "alone"]


# --- the rest -------------------------------------------------------------------------------------


def test_mathjax_comes_with_the_installation() -> None:
    folder = rlbook_site.mathjax_folder()
    assert (folder / "tex-chtml.js").exists()
    assert list((folder / "output" / "chtml" / "fonts" / "woff-v2").glob("MathJax_Main-*.woff"))


def test_pages_load_nothing_from_other_hosts(book: Book) -> None:
    page = book.build(index="# One\n\n$x$\n")
    loaded = [tag.get("src") or tag.get("href") for tag in page.select("script[src], link[href]")]
    assert loaded and not [address for address in loaded if "//" in address]
    assert any("mathjax/tex-chtml.js" in address for address in loaded)
