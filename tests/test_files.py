"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcourse.errors import CourseError
from rlcourse.files import replace_file


def test_a_file_takes_the_place_of_another_at_once(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"old")
    with replace_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_after_an_error_the_old_file_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"old")
    for failure in (ValueError, KeyboardInterrupt):
        with pytest.raises(failure), replace_file(path) as file:
            file.write(b"half")
            raise failure
        assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "no" / "such", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with (
            pytest.raises(CourseError, match="cannot be written") as caught,
            replace_file(path) as file,
        ):
            file.write(b"new")
        assert str(path) in str(caught.value)
