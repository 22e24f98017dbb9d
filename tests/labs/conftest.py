"""What the tests of the labs' engine share: one tiny lab, and the way student code is run here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rlcourse.grading.master import Lab, read

TINY = Path(__file__).parent / "tiny"
collect_ignore = ["tiny"]


@pytest.fixture(scope="session")
def tiny() -> Lab:
    """The lab of these tests."""
    return read(TINY)


@pytest.fixture(scope="session")
def bubblewrap() -> str:
    """The strongest isolation; required in continuous integration, elsewhere skipped if it is missing."""
    if shutil.which("bwrap") is None:
        if os.environ.get("CI"):
            pytest.fail("bubblewrap is required here; .ci/run installs it")
        pytest.skip("no bubblewrap; Debian: apt-get install bubblewrap")
    return "bubblewrap"
