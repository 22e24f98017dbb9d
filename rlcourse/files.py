"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rlcourse.errors import CourseError

__all__ = ["replace_file"]


@contextmanager
def replace_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into that takes the place of ``path`` at the end, at once.

    Whoever looks sees the old file or the new one, never half of either; after an error the old one
    stands and nothing else is left.

    >>> with replace_file(Path(tempfile.gettempdir()) / "rlcourse-example") as file:
    ...     file.write(b"whole")
    5

    Raises:
        CourseError: it cannot be written.
    """
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise CourseError(
            f"{path}: cannot be written ({error.strerror}); what stood there is untouched"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
