"""The built site in a real browser that can reach nothing but this machine."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
sys.path.insert(0, str(ROOT / "book" / "_ext"))

NO_CHROMIUM = (
    "no Chromium found: install it (Debian and Ubuntu: `sudo apt-get install chromium`; macOS:"
    " `brew install --cask chromium`) or let CHROMIUM name its program"
)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server:
    """Serves a folder on 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(QuietHandler, directory=str(folder))
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@dataclass
class Tab:
    """One browser tab, and what went wrong in it."""

    page: Any
    outside: list[str] = field(default_factory=list)  # requests to another host; all are refused
    errors: list[str] = field(default_factory=list)  # console errors and uncaught exceptions
    failed: list[str] = field(default_factory=list)  # requests that failed, 404 included

    def troubles(self) -> dict[str, list[str]]:
        found = {
            "asks another host": self.outside,
            "console": self.errors,
            "failed request": self.failed,
        }
        return {name: list(items) for name, items in found.items() if items}

    def wait_for_mathematics(self) -> None:
        self.page.evaluate("() => window.MathJax?.startup?.promise")


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves a folder and gives its address."""
    servers = []

    def start(folder: Path) -> str:
        servers.append(Server(folder))
        return servers[-1].url

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the built book."""
    if not (HTML / "index.html").exists():
        pytest.fail("there is no built site: run `make book`")
    server = Server(HTML)
    yield server.url
    server.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    program = next((path for name in names if name and (path := shutil.which(name))), None)
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail(NO_CHROMIUM)
        pytest.skip(NO_CHROMIUM)
    from playwright.sync_api import sync_playwright

    as_root = (
        hasattr(os, "geteuid") and os.geteuid() == 0
    )  # where Chromium's sandbox refuses to run
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"] if as_root else []
        )
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Tab]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, reduced_motion="reduce", color_scheme="light"
    )
    context.set_default_timeout(120_000)  # ms: a machine with all its cores busy is no wrong page
    tab = Tab(context.new_page())

    def gate(route: Any) -> None:
        url = route.request.url
        if url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:")):
            route.continue_()
        else:
            tab.outside.append(url)
            route.abort()

    def hear(message: Any) -> None:
        if message.type == "error":
            tab.errors.append(message.text)

    def see(response: Any) -> None:
        if response.status >= 400:
            tab.failed.append(f"{response.status} {response.url}")

    context.route("**/*", gate)
    tab.page.on("console", hear)
    tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.page.on("response", see)
    tab.page.on("requestfailed", lambda request: tab.failed.append(request.url))
    yield tab
    context.close()
