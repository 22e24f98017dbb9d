"""The pair, the one execution and the published address, each on a small tree of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTENSIONS = ROOT / "book/_ext"
HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

"""


def load(name: str, folder: Path) -> ModuleType:
    """A module of ``book/_ext``, from the given tree."""
    spec = importlib.util.spec_from_file_location(
        f"{name}_{abs(hash(folder))}", folder / f"{name}.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


plain = load("plain", EXTENSIONS)
notebooks = load("notebooks", EXTENSIONS)
CHAPTERS: list[str] = notebooks.chapters()


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``notebooks.py`` of a tree, as a person types it."""
    return subprocess.run(
        [sys.executable, "book/_ext/notebooks.py", *arguments],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A book of two chapters and one page, over a package of one line."""
    (tmp_path / "book/evidence").mkdir(parents=True)
    shutil.copytree(EXTENSIONS, tmp_path / "book/_ext")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    (tmp_path / "rlcourse").mkdir()
    (tmp_path / "rlcourse/__init__.py").write_text("ANSWER = 42\n")
    (tmp_path / "requirements.lock").write_text("numpy==1\n")
    (tmp_path / "README.md").write_text("# T\n\n<!-- badges -->\n<!-- /badges -->\n")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/one\nchapters: [file: book/two, file: book/page]\n"
    )
    cell = "```{code-cell} python\nimport rlcourse\n\nprint(rlcourse.ANSWER)\n```\n"
    (tmp_path / "book/one.md").write_text(f"{HEADER}# One\n\n{cell}")
    (tmp_path / "book/two.md").write_text(f"{HEADER}# Two\n\n{cell}")
    (tmp_path / "book/page.md").write_text("# Page\n")
    return tmp_path


# --- the pair -------------------------------------------------------------------------------------


def test_the_book_has_chapters_and_their_pairs_agree() -> None:
    assert CHAPTERS
    done = run(ROOT, "pair", "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("docname", CHAPTERS)
def test_a_colab_edition_has_the_chapters_code_and_nothing_that_changes(docname: str) -> None:
    edition = json.loads((ROOT / f"{docname}.ipynb").read_text("utf-8"))
    code = [cell for cell in edition["cells"] if cell["cell_type"] == "code"]
    # By another road than jupytext: the fences of the text itself.
    text = (ROOT / f"{docname}.md").read_text("utf-8")
    fences = re.findall(
        r"^```\{code-cell\}[^\n]*\n(?:(?::[^\n]*\n)+\n?)?(.*?)^```[ \t]*$", text, re.M | re.S
    )
    written = [re.sub(r"\A---\n.*?\n---\n", "", f, flags=re.S) for f in fences]
    assert ["".join(cell["source"]).strip() for cell in code[1:]] == [w.strip() for w in written]
    assert "remove-cell" in code[0]["metadata"]["tags"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in edition["cells"]}) == len(edition["cells"])
    assert edition == notebooks.colab_edition(docname)  # a second conversion changes nothing


@pytest.mark.parametrize("docname", CHAPTERS)
def test_a_colab_edition_leaves_no_directive_or_role(docname: str) -> None:
    edition = json.loads((ROOT / f"{docname}.ipynb").read_text("utf-8"))
    text = "\n\n".join(
        "".join(cell["source"]) for cell in edition["cells"] if cell["cell_type"] == "markdown"
    )
    text = re.sub(r"^(`{3,}).*?^\1[ \t]*$", "", text, flags=re.M | re.S)
    text = re.sub(r"(?<!\})(`+)(?!`).+?(?<!`)\1(?!`)", "", text)
    assert re.findall(r"^:{3,}.*|\{[\w:-]+\}`.*", text, re.M) == []


def test_pair_check_compares_contents_not_clocks(tree: Path) -> None:
    assert run(tree, "pair").returncode == 0
    os.utime(tree / "book/one.ipynb", (0, 0))
    assert run(tree, "pair", "--check").returncode == 0
    text = tree / "book/one.md"
    text.write_text(text.read_text() + "\nOne more sentence.\n")
    os.utime(text, (0, 0))
    drifted = run(tree, "pair", "--check")
    assert drifted.returncode == 1
    assert "book/one.ipynb is not what book/one.md says" in drifted.stderr
    assert "book/two" not in drifted.stderr
    (tree / "book/two.ipynb").unlink()
    assert "book/two.ipynb is missing" in run(tree, "pair", "--check").stderr


# --- the one execution ----------------------------------------------------------------------------


def test_a_second_execution_executes_nothing_and_the_package_counts(tree: Path) -> None:
    first = run(tree, "execute")
    assert first.returncode == 0, first.stdout + first.stderr
    executed = tree / "_build/executed/book/one/one.ipynb"
    assert '"42\\n"' in executed.read_text()
    record = json.loads(executed.with_suffix(".json").read_text())
    assert record["seconds"] >= 0 and record["versions"]["python"]
    before = executed.stat().st_mtime_ns

    assert "nothing has changed" in run(tree, "execute").stdout
    assert executed.stat().st_mtime_ns == before

    (tree / "rlcourse/__init__.py").write_text("ANSWER = 43\n")
    assert "2 of 2" in run(tree, "execute").stdout
    assert '"43\\n"' in executed.read_text()


@pytest.mark.parametrize("changed", ["requirements.lock", "book/one.md", "book/evidence/new.json"])
def test_what_a_key_depends_on(tree: Path, changed: str) -> None:
    module = load("notebooks", tree / "book/_ext")
    before = module.key_of("book/one")
    cached = tree / "rlcourse/__pycache__/x.pyc"
    cached.parent.mkdir()
    cached.write_bytes(b"x")
    assert module.key_of("book/one") == before  # Python's own leavings do not count
    with (tree / changed).open("a") as file:
        file.write("\n")
    assert module.key_of("book/one") != before


def test_a_failing_notebook_fails_loudly_and_leaves_no_key(tree: Path) -> None:
    text = tree / "book/two.md"
    text.write_text(text.read_text().replace("print(", "print(1 / 0, "))
    done = run(tree, "execute")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout
    assert "failed: book/two" in done.stderr
    assert not (tree / "_build/executed/book/two").exists()
    assert (tree / "_build/executed/book/one/one.json").exists()  # the good one stands


KERNELS_THAT_DIE = """
import pathlib
from jupyter_client.manager import KernelManager

start = KernelManager._async_pre_start_kernel

async def pre_start_kernel(self, **options):
    count = pathlib.Path({count!r})
    count.write_text(count.read_text() + "x" if count.exists() else "x")
    if len(count.read_text()) <= {deaths}:
        return ["false"], options  # a kernel that is over before it says a word
    return await start(self, **options)

KernelManager._async_pre_start_kernel = pre_start_kernel
"""


@pytest.mark.parametrize(("deaths", "lives"), [(1, True), (9, False)])
def test_a_kernel_that_does_not_come_up_gets_one_second_chance(
    tree: Path, deaths: int, lives: bool
) -> None:
    """Its ports may be taken by another program; that is no fault of the notebook."""
    (tree / "_toc.yml").write_text("format: jb-book\nroot: book/one\n")
    patch = KERNELS_THAT_DIE.format(count=str(tree / "count"), deaths=deaths)
    (tree / "sitecustomize.py").write_text(patch)
    done = run(tree, "execute")
    assert "no kernel came up for book/one/one.ipynb; once more" in done.stdout
    assert (done.returncode == 0) is lives, done.stdout + done.stderr
    assert (tree / "_build/executed/book/one/one.json").exists() is lives
    assert len((tree / "count").read_text()) == 2  # not a third


# --- the converter --------------------------------------------------------------------------------


@pytest.fixture
def converter(tmp_path: Path) -> object:
    """What a chapter's names mean, in a book of two equations, one work and one result."""
    (tmp_path / "walk.json").write_text('{"statistic": 0.74213, "seeds": [{"mean": 2}]}')
    names = plain.Names(
        titles={"book/part/other": "The other", "ex-one": "First steps"},
        equations={"eq-a": ("book/part/this", 3), "eq-b": ("book/part/other", 1)},
        works={"w89": ("Watkins", "1989", "Rewards"), "s18": ("Sutton and Barto", "2018", "RL")},
        results=tmp_path,
    )
    return plain.Plain(names, "book/part/this")


@pytest.mark.parametrize(
    ("myst", "markdown"),
    [
        ("{result}`walk/statistic|.3f`", "0.742"),
        ("{result}`walk/seeds.0.mean|.1f`", "2.0"),
        ("{cite:p}`w89,s18`", "(Watkins, 1989; Sutton and Barto, 2018)"),
        ("{cite:t}`s18` says", "Sutton and Barto (2018) says"),
        ("{eq}`eq-a`", "(3)"),
        ("{eq}`eq-b`", "(1) of *The other*"),
        ("[](#eq-a)", "(3)"),
        ("{ref}`ex-one`", "First steps"),
        ("{ref}`begin <ex-one>`", "begin"),
        ("{doc}`other`", "The other"),
        ("{doc}`../part/other`", "The other"),
        ("{term}`policies <policy>`", "policies"),
        ("{func}`~rlcourse.mdp.solve`", "`solve()`"),
        ("{class}`rlcourse.mdp.TabularMDP`", "`rlcourse.mdp.TabularMDP`"),
        ("{math}`x^2`", "$x^2$"),
        ("a code span: `{eq}` or `` {cite}`w89` ``", "a code span: `{eq}` or `` {cite}`w89` ``"),
        ("$$\nx = 1\n$$ (eq-a)", "$$\nx = 1 \\tag{3}\n$$"),
        ("$$ x = 1 $$ (eq-a)", "$$\nx = 1 \\tag{3}\n$$"),
        ("$$\nx = 1\n$$", "$$\nx = 1\n$$"),
        ("```python\n{eq}`eq-a`\n```", "```python\n{eq}`eq-a`\n```"),
        ("(label)=\n# T\n\n% a comment\nText", "# T\n\nText"),
        (":::{note}\nMind.\n:::", "> **Note**\n>\n> Mind."),
        (":::{admonition} Myth: x\n:class: myth\nNo.\n:::", "> **Myth: x**\n>\n> No."),
        (
            "::::{exercise} First\n:label: ex-one\nDo.\n\n:::{dropdown} Hint\nLook.\n:::\n::::",
            "### Exercise: First\n\nDo.\n\n"
            "<details>\n<summary>Hint</summary>\n\nLook.\n\n</details>",
        ),
        (
            ":::{solution} ex-one\n:class: dropdown\n\n```python\ny = 1\n```\n:::",
            "<details>\n<summary>Solution: First steps</summary>\n\n"
            "```python\ny = 1\n```\n\n</details>",
        ),
        (
            ":::{predict} How many?\n- 0 :: No,\n  $x$.\n- 40 :: Yes.\n:::",
            "**Predict first.** How many?\n\n- 0\n- 40\n\n"
            "<details>\n<summary>After your guess</summary>\n\n"
            "- *0*: No, $x$.\n- *40*: Yes.\n\n</details>",
        ),
        (
            ":::{playground} grid\n:slip: 0.2\n\nS.G\n:::\nAfter.",
            "> **Playground.** In the book, the page *book/part/this* has something to play with "
            "here.\n\nAfter.",
        ),
        (
            ":::{quiz} Which?\n- [ ] a :: no\n- [x] {eq}`eq-a` :: yes\n:::",
            "**Quiz.** Which?\n\n- (a) a\n- (b) (3)\n\n"
            "<details>\n<summary>Answers, with reasons</summary>\n\n"
            "- (a) **wrong**: no\n- (b) **right**: yes\n\n</details>",
        ),
    ],
)
def test_converter(converter: object, myst: str, markdown: str) -> None:
    assert converter.markdown(myst) == markdown  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "myst",
    [
        "{result}`gone/statistic|.3f`",
        "{result}`walk/gone|.3f`",
        "{cite}`gone`",
        "{eq}`eq-gone`",
        "{ref}`g`",
    ],
)
def test_converter_refuses_names_that_are_not_there(converter: object, myst: str) -> None:
    with pytest.raises(plain.PlainError):
        converter.markdown(myst)  # type: ignore[attr-defined]


# --- the published address ------------------------------------------------------------------------

URL = "https://github.com/someone/somewhere"


class Links(HTMLParser):
    """The addresses that a page's links lead to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.add(dict(attrs).get("href") or "")

    def live(self) -> set[str]:
        """Those of services that run notebooks."""
        return {link for link in self.found if "colab" in link or "binder" in link}


def build(tree: Path) -> Path:
    """The tree's site, built with this extension alone."""
    config = tree / "_config.yml"
    unneeded = r"^(    rlbook|logo|  favicon): .*\n"
    config.write_text(re.sub(unneeded, "", config.read_text(), flags=re.M))
    (tree / "book/references.bib").write_text("% none\n")
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    done = subprocess.run(
        [jupyter_book, "build", ".", "--all", "-W", "-n", "--keep-going"],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return tree / "_build/html"


def notebook_paths(links: set[str]) -> Iterator[str]:
    """The files, relative to the repository, that links name."""
    for link in links:
        yield re.sub(r".*(/blob/main/|lab/tree/)", "", link)


def test_unset_address_names_no_service_anywhere(tree: Path) -> None:
    run(tree, "pair")
    site = build(tree)
    assert Links(site / "book/one.html").live() == set()
    for file in ("book/one.ipynb", "book/two.ipynb", "README.md"):
        assert not re.search("colab|binder|git\\+", (tree / file).read_text(), re.I)
    assert "make book" in (tree / "book/one.ipynb").read_text()


def test_one_setting_moves_buttons_cells_and_readme_together(tree: Path) -> None:
    done = run(tree, "publish", URL + ".git")
    assert done.returncode == 0, done.stderr
    assert run(tree, "pair", "--check").returncode == 0
    site = build(tree)
    every = set()
    for docname in ("book/one", "book/two"):
        links = Links(site / f"{docname}.html").live()
        assert links == set(load("notebooks", tree / "book/_ext").launch_links(docname).values())
        assert len(links) == 2 and all("someone/somewhere" in link for link in links)
        setup = "".join(json.loads((tree / f"{docname}.ipynb").read_text())["cells"][0]["source"])
        assert f'%pip install --quiet "rlcourse[book] @ git+{URL}@main"' in setup
        every |= links
    assert Links(site / "book/page.html").live() == set()  # nothing to run there
    badges = set(re.findall(r"\]\((https://[^)]*ipynb)\)", (tree / "README.md").read_text()))
    assert len(badges) == 2 and badges <= every
    assert all((tree / path).is_file() for path in notebook_paths(every))

    assert run(tree, "publish", "").returncode == 0  # and back again
    assert "colab" not in (tree / "README.md").read_text()
    assert run(tree, "pair", "--check").returncode == 0


def test_the_address_is_changed_by_publish_alone(tree: Path) -> None:
    """The setting alone, without the pairs: the check sees that they disagree."""
    run(tree, "pair")
    config = tree / "_config.yml"
    config.write_text(config.read_text().replace('url: ""', f'url: "{URL}"'))
    said = run(tree, "pair", "--check").stderr
    assert "book/one.ipynb" in said and "README.md" in said


@pytest.mark.parametrize(
    "url", ["https://example.org/a/b", "github.com/a/b", "https://github.com/a"]
)
def test_publish_refuses_an_address_that_colab_cannot_open(tree: Path, url: str) -> None:
    before = (tree / "_config.yml").read_text()
    done = run(tree, "publish", url)
    assert done.returncode == 1 and repr(url) in done.stderr
    assert "Traceback" not in done.stderr
    assert (tree / "_config.yml").read_text() == before


def test_the_books_readme_has_a_place_for_badges() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert notebooks.BADGES.search(text), "README.md needs <!-- badges --> and <!-- /badges -->"
