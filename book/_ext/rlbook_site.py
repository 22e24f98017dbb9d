"""What makes the built pages work without a network, and for a reader of any kind.

MathJax comes from the installed package and everything that would ask another host is taken off
the pages. What the theme leaves inaccessible is mended in the finished HTML.
"""

from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import notebooks
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

STATIC = Path(__file__).resolve().parents[1] / "_static"
MATHJAX = "mathjax/tex-chtml.js"
# Bundles of the same program that no page of ours loads.
UNUSED = ("latest.js", "node-main.js", "mml-*.js", "tex-mml-*.js", "tex-svg*.js", "*-full*.js")
# Scripts that Jupyter Book adds to every page and that would ask another host.
ONLINE = ("thebe", "unpkg.com", "cdnjs.", "jsdelivr", "hypothes.is", "utteranc.es")


def mathjax_folder() -> Path:
    """Where pip put MathJax."""
    for file in metadata.files("sphinx-mathjax-offline") or []:
        if file.match(MATHJAX):
            return Path(str(file.locate())).parent
    raise ExtensionError("the installed sphinx-mathjax-offline has no MathJax in it")


def set_defaults(app: Sphinx, config: Config) -> None:
    if str(STATIC) not in config.html_static_path:
        config.html_static_path.append(str(STATIC))
    config.html_logo = config.html_logo or str(STATIC / "logo.svg")
    config.html_favicon = config.html_favicon or str(STATIC / "favicon.svg")
    config.mathjax_path = MATHJAX
    config.nb_ipywidgets_js = {}  # widgets are drawn before the page is built
    # The name that the source uses, not the half page that stands behind it.
    config.autodoc_type_aliases = {name: name for name in ("ArrayLike", "Floats", "Ints", "Bools")}
    config.python_use_unqualified_type_names = True
    if "autodoc-process-docstring" in app.events.events:
        app.connect("autodoc-process-docstring", mathematics_of_docstrings)
    config.html_context.setdefault("default_mode", "auto")  # else the theme's script complains
    # The theme draws the name of the book beside the picture.
    config.html_theme_options.setdefault("logo", {}).setdefault("text", config.html_title)


def mathematics_of_docstrings(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings write `$x$` as the chapters do; reStructuredText has a role for it."""
    text = re.sub(r"\$([^$]+)\$", r":math:`\1`", "\n".join(lines))
    lines[:] = text.split("\n")


def keep_offline(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    for kind in ("script_files", "css_files"):
        context[kind] = [
            asset
            for asset in context.get(kind, [])
            if not any(
                word in f"{getattr(asset, 'filename', asset)}{getattr(asset, 'attributes', '')}"
                for word in ONLINE
            )
        ]


def notebook_buttons(docname: str) -> str:
    """The chapter as a notebook: to keep, and to open live once the book has an address."""
    name = docname.rsplit("/", 1)[-1]
    source = f"{'../' * docname.count('/')}_sources/{docname}.ipynb"
    buttons = [
        f'<a class="rl-button" href="{source}" download="{name}.ipynb">Download notebook</a>'
    ]
    for service, link in notebooks.launch_links(docname).items():
        buttons.append(f'<a class="rl-button" href="{link}">Open in {service}</a>')
    return "".join(buttons)


def finish(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "mathjax"
    if not target.exists():
        shutil.copytree(mathjax_folder(), target, ignore=shutil.ignore_patterns(*UNUSED))
    for page in Path(app.outdir).rglob("*.html"):
        if "_static" not in page.relative_to(app.outdir).parts:
            text = page.read_text("utf-8")
            mended = mend(text)
            if mended != text:
                page.write_text(mended, "utf-8")


MENDING = [
    # An id stands on a page once only: sphinx-exercise and sphinx-proof repeat theirs, the search page
    # has the theme's search box twice.
    (r'<section id="((?:exercise|solution|proof)-content)">', r'<section class="\1">'),
    (r'<section class="([\w-]+)" id="(proof-content)">', r'<section class="\1 \2">'),
    (r'(id="search-input".*)id="search-input"', r'\1id="search-input-page"'),
    # The members of a list are its items; the older role that docutils writes is none.
    (r'role="doc-biblioentry"', r'role="listitem"'),
    # What scrolls sideways must be reached by the keyboard.
    (
        r'<div class="pst-scrollable-table-container">',
        r'<div class="pst-scrollable-table-container" tabindex="0" role="group" aria-label="Table">',
    ),
    # Preloading a font fails where the page is opened from the disk; it is loaded when needed.
    (r'<link rel="preload" as="font"[^>]*>\s*', ""),
]


def mend(html: str) -> str:
    """Repair what the theme and the extensions around us write."""
    for pattern, replacement in MENDING:
        html = re.sub(pattern, replacement, html, flags=re.DOTALL)
    return html


def setup(app: Sphinx) -> None:
    app.connect("config-inited", set_defaults, priority=900)
    app.connect("html-page-context", keep_offline, priority=900)
    app.connect("build-finished", finish, priority=900)
    app.add_css_file("rlcourse.css", priority=900)
