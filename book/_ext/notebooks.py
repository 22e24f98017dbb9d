"""Chapters and their notebooks: the pair, the one execution, the published address.

A chapter is a MyST file ``NAME.md`` with a jupytext header, named in ``_toc.yml``. Beside it stands
``NAME.ipynb``, the Colab edition: generated, without outputs, for a reader who runs the chapter.
The site and the tests share one execution of the chapter, in ``_build/executed``.

    python book/_ext/notebooks.py pair          write every Colab edition and the README's badges
    python book/_ext/notebooks.py pair --check  fail when one of them is not what it should be
    python book/_ext/notebooks.py execute       execute the chapters whose text or code has changed
    python book/_ext/notebooks.py publish URL   set the published address (empty: unset) and pair
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))
from plain import Names, Plain, PlainError

ROOT = Path(__file__).resolve().parents[2]
EXECUTED = ROOT / "_build/executed"
CELL_TIMEOUT = 300  # seconds; a chapter as a whole may take 120
KERNEL_FAILED = "NBMAKE INTERNAL ERROR"  # what nbmake writes where it is not a cell that failed
BADGES = re.compile(r"(<!-- badges -->\n)(.*?)(<!-- /badges -->)", re.DOTALL)


class NotebookError(Exception):
    """What a person has to mend, in words; shown without a traceback."""


# --- which chapters there are ---------------------------------------------------------------------


def pages() -> list[str]:
    """The docnames of ``_toc.yml``, in reading order."""

    def walk(entry: Any) -> list[str]:
        if isinstance(entry, list):
            return [name for item in entry for name in walk(item)]
        if not isinstance(entry, dict):
            return []
        own = [str(entry[key]) for key in ("root", "file") if key in entry]
        return own + [name for value in entry.values() for name in walk(value)]

    return walk(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))


def chapters() -> list[str]:
    """The docnames that are notebooks: their ``.md`` has a jupytext header."""

    def has_header(docname: str) -> bool:
        page = ROOT / f"{docname}.md"
        if not page.exists():
            return False
        text = page.read_text(encoding="utf-8")
        return text.startswith("---\n") and "jupytext:" in text[: text.find("\n---", 4)]

    return [docname for docname in pages() if has_header(docname)]


def source_notebook(docname: str) -> Any:
    """The chapter as jupytext reads it: directives intact, no outputs, ids that never change."""
    import jupytext

    notebook = jupytext.read(ROOT / f"{docname}.md", fmt="md:myst")
    notebook.metadata.pop("jupytext", None)
    return _with_ids(notebook)


def _with_ids(notebook: Any) -> Any:
    """Name each cell after its place and content, where jupytext draws names at random."""
    for place, cell in enumerate(notebook.cells):
        text = f"{place}\n{cell.cell_type}\n{cell.source}"
        cell["id"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return notebook


# --- the published address ------------------------------------------------------------------------


def address() -> tuple[str, str] | None:
    """The published repository (URL, branch) from ``_config.yml``, or None while it is unset."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    repository = config.get("repository") or {}
    url = str(repository.get("url") or "").rstrip("/").removesuffix(".git")
    return (url, str(repository.get("branch") or "main")) if url else None


def launch_links(docname: str) -> dict[str, str]:
    """Where a chapter opens live, by service; empty while the address is unset."""
    published = address()
    if published is None:
        return {}
    url, branch = published
    slug = "/".join(url.split("/")[-2:])
    return {
        "Colab": f"https://colab.research.google.com/github/{slug}/blob/{branch}/{docname}.ipynb",
        "Binder": f"https://mybinder.org/v2/gh/{slug}/{branch}?urlpath=lab/tree/{docname}.ipynb",
    }


def setup_cell() -> str:
    """The first cell of a Colab edition: how the package gets there."""
    published = address()
    if published is None:
        return (
            "# This notebook needs the course's package. In a checkout of the course, `make book`\n"
            "# installs it into .venv; into another environment, from the checkout's folder:\n"
            '#     pip install -e ".[book]"\n'
            "import rlcourse"
        )
    url, branch = published
    return (
        "# On Colab this installs the course's package; where it is installed, it does nothing.\n"
        "import importlib.util\n\n"
        'if importlib.util.find_spec("rlcourse") is None:\n'
        f'    %pip install --quiet "rlcourse[book] @ git+{url}@{branch}"'
    )


def badges() -> str:
    """The README's badges: one for each service that opens the first page live."""
    images = {
        "Colab": "https://colab.research.google.com/assets/colab-badge.svg",
        "Binder": "https://mybinder.org/badge_logo.svg",
    }
    links = launch_links((chapters() or pages())[0])
    return "".join(f"[![Open in {name}]({images[name]})]({link})\n" for name, link in links.items())


def publish(url: str) -> None:
    """Set the published address, and bring everything that names it into step."""
    url = url.strip().rstrip("/").removesuffix(".git")
    if url and not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url):
        raise NotebookError(
            f"URL is {url!r}; Colab opens notebooks from GitHub only: "
            "give https://github.com/OWNER/REPOSITORY, or nothing to unset it"
        )
    config = ROOT / "_config.yml"
    text, changed = re.subn(
        r'(?m)^(repository:\n  url: )"[^"]*"',
        lambda found: f'{found[1]}"{url}"',
        config.read_text(encoding="utf-8"),
    )
    if changed != 1:
        raise NotebookError('_config.yml: "repository:" must be followed by its line  url: "..."')
    config.write_text(text, encoding="utf-8")
    pair()


# --- the pair -------------------------------------------------------------------------------------


def colab_edition(docname: str) -> dict[str, Any]:
    """The notebook that stands beside a chapter: set-up cell, plain Markdown, the same code."""
    import nbformat

    notebook = source_notebook(docname)
    plain = Plain(_names(), docname)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = plain.markdown(cell.source)
    first = nbformat.v4.new_code_cell(setup_cell(), metadata={"tags": ["remove-cell"]})
    notebook.cells = [first, *(cell for cell in notebook.cells if cell.source)]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    edition: dict[str, Any] = json.loads(nbformat.writes(_with_ids(notebook), version=4))
    return edition


@cache
def _names() -> Names:
    return Names.of_book(ROOT, pages())


def _readme() -> tuple[str, str]:
    """The README as it is, and as it should be."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if address() and not BADGES.search(text):
        raise NotebookError("README.md needs the lines <!-- badges --> and <!-- /badges -->")
    return text, BADGES.sub(lambda found: found[1] + badges() + found[3], text)


def pair() -> None:
    """Write every Colab edition and the README's badges; touch only what has changed."""
    for docname in chapters():
        edition, path = colab_edition(docname), ROOT / f"{docname}.ipynb"
        if not path.exists() or json.loads(path.read_text(encoding="utf-8")) != edition:
            text = json.dumps(edition, indent=1, ensure_ascii=False, sort_keys=True)
            path.write_text(text + "\n", encoding="utf-8")
            print(f"pair: wrote {docname}.ipynb", flush=True)
    now, wanted = _readme()
    if now != wanted:
        (ROOT / "README.md").write_text(wanted, encoding="utf-8")
        print("pair: wrote README.md's badges", flush=True)


def check_pairs() -> None:
    """Compare contents, not clocks: a fresh clone has no order of times to go by."""
    drifted = []
    for docname in chapters():
        path = ROOT / f"{docname}.ipynb"
        if not path.exists():
            drifted.append(f"{docname}.ipynb is missing")
        elif json.loads(path.read_text(encoding="utf-8")) != colab_edition(docname):
            drifted.append(f"{docname}.ipynb is not what {docname}.md says")
    now, wanted = _readme()
    if now != wanted:
        drifted.append("README.md's badges do not follow the address in _config.yml")
    if drifted:
        raise NotebookError("; ".join(drifted) + ": run  python book/_ext/notebooks.py pair")
    print(f"pair: {len(chapters())} chapters and their notebooks agree", flush=True)


# --- the one execution ----------------------------------------------------------------------------


def executed_path(docname: str) -> Path:
    """Where the executed copy of a chapter lies; its record is beside it, as ``.json``."""
    name = docname.rsplit("/", 1)[-1]
    return EXECUTED / docname / f"{name}.ipynb"


def key_of(docname: str) -> str:
    """A hash of what an execution may depend on: text, package, evidence, lock."""
    files = [ROOT / f"{docname}.md", ROOT / "requirements.lock"]
    files += [p for p in (ROOT / "rlcourse").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    files += [p for p in (ROOT / "book/evidence").rglob("*") if p.suffix in (".json", ".toml")]
    digest = hashlib.sha256(".".join(platform.python_version_tuple()[:2]).encode())
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def record_of(docname: str) -> dict[str, Any] | None:
    """The record of the last execution: key, seconds, versions. Stale when keys differ."""
    path = executed_path(docname)
    try:
        record: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if path.exists() else None


class Progress:
    """Tells which notebook runs, and keeps the seconds of those that pass."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.unstarted: list[str] = []

    def _docname(self, nodeid: str) -> str:
        return nodeid.split("::")[0].rsplit("/", 1)[0]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        print(f"  {self._docname(nodeid)} ...", flush=True)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call":
            docname = self._docname(report.nodeid)
            if report.passed:
                self.seconds[docname] = report.duration
            elif KERNEL_FAILED in report.longreprtext:
                self.unstarted.append(docname)
            print(f"  {docname} {report.outcome} in {report.duration:.1f} s", flush=True)

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str]:
        return report.outcome if report.when == "call" or report.failed else "", "", ""


def execute() -> None:
    """Execute, two at a time, the chapters whose key has changed; fail if one fails."""
    import nbformat
    import pytest

    every = chapters()
    keys = {docname: key_of(docname) for docname in every}
    stale = [d for d in every if (record_of(d) or {}).get("key") != keys[d]]
    if not stale:
        print(f"execute: nothing has changed; {len(every)} executed notebooks stand", flush=True)
        return
    print(f"execute: {len(stale)} of {len(every)} notebooks, two at a time", flush=True)
    # BLAS threads of two kernels on two cores would fight; figures need no display.
    os.environ |= {"RLCOURSE_STATIC": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    progress, start = Progress(), time.monotonic()
    # Not in _build itself: nbmake refuses to collect below a folder of that name. And a chapter
    # that runs in an empty folder of its own is a chapter that needs nothing of the checkout.
    with tempfile.TemporaryDirectory(prefix="rlcourse-") as folder:
        (Path(folder) / "pytest.ini").write_text("[pytest]\n")  # the project's own is for its tests
        for docname in stale:
            target = Path(folder) / docname / executed_path(docname).name
            target.parent.mkdir(parents=True)
            nbformat.write(source_notebook(docname), target)
        options = ["--nbmake", "--overwrite", f"--nbmake-timeout={CELL_TIMEOUT}", "-q"]
        options.append(f"-n{min(2, len(stale))}")
        outside = Path.cwd()
        os.chdir(folder)
        try:
            code = pytest.main([*options, "-p", "no:cacheprovider", "."], plugins=[progress])
            # jupyter_client picks a kernel's ports, frees them, and hopes that nobody takes them
            # before the kernel does. On a busy machine somebody may: then the kernel dies or never
            # answers, and the notebook, of which no cell has run, gets its second chance.
            if again := [f"{d}/{executed_path(d).name}" for d in progress.unstarted]:
                print(f"execute: no kernel came up for {', '.join(again)}; once more", flush=True)
                code = pytest.main([*options, "-p", "no:cacheprovider", *again], plugins=[progress])
        finally:
            os.chdir(outside)
        for docname, seconds in progress.seconds.items():
            path = executed_path(docname)
            shutil.rmtree(path.parent, ignore_errors=True)
            path.parent.mkdir(parents=True)
            shutil.copyfile(Path(folder) / docname / path.name, path)
            record = {"key": keys[docname], "seconds": round(seconds, 1), "versions": _versions()}
            path.with_suffix(".json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    failed = [docname for docname in stale if docname not in progress.seconds]
    if code or failed:
        raise NotebookError(f"failed: {', '.join(failed) or code}")
    print(f"execute: done in {time.monotonic() - start:.0f} s", flush=True)


def _versions() -> dict[str, str]:
    names = ("rlcourse", "numpy", "scipy", "gymnasium", "matplotlib")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


# --- Sphinx ---------------------------------------------------------------------------------------


def setup(app: Any) -> dict[str, bool]:
    """Let a docname mean the notebook, and show launch buttons only where they lead somewhere."""

    def configure(_app: Any, config: Any) -> None:
        config.exclude_patterns += [f"{docname}.md" for docname in chapters()]
        if address() is None:
            config.html_theme_options.pop("launch_buttons", None)

    app.connect("config-inited", configure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main(argv: list[str] | None = None) -> int:
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pair").add_argument("--check", action="store_true")
    commands.add_parser("execute")
    commands.add_parser("publish").add_argument("url")
    given = parser.parse_args(argv)
    try:
        if given.command == "execute":
            execute()
        elif given.command == "publish":
            publish(given.url)
        elif given.check:
            check_pairs()
        else:
            pair()
    except (NotebookError, PlainError) as error:
        print(f"notebooks: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
