"""What the tests of the labs' engine share: one tiny lab, and the way student code is run here."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcourse.grading.master import Lab, read

TINY = Path(__file__).parent / "tiny"
collect_ignore = ["tiny"]


@pytest.fixture(scope="session")
def tiny() -> Lab:
    """The lab of these tests."""
    return read(TINY)
