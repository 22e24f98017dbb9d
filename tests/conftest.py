"""What tests of several rooms share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

from rlcourse.cli import main

os.environ.pop("RLCOURSE_DATA", None)  # tests are about data that they make themselves


@pytest.fixture
def rlcourse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Type a command: ``(exit code, what it said, what it complained of)``."""

    def type_in(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["rlcourse", *words])
        code = 0
        try:
            main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return type_in


@pytest.fixture(scope="session")
def bubblewrap() -> str:
    """The strongest isolation; required in continuous integration, elsewhere skipped if it is missing."""
    if shutil.which("bwrap") is None:
        if os.environ.get("CI"):
            pytest.fail("bubblewrap is required here; .ci/run installs it")
        pytest.skip("no bubblewrap; Debian: apt-get install bubblewrap")
    return "bubblewrap"
