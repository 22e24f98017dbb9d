"""Fetch MovieLens 1M from GroupLens: only when its licence is accepted, resumed where it broke off, checked."""

from __future__ import annotations

import hashlib
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from rlcourse.errors import CorruptDataError, CourseError, InvalidArgumentError
from rlcourse.recommender.data import FORMATS, cache, read

__all__ = ["LICENCE", "download"]

ADDRESS = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
MD5 = "c4d9eecfca2ab87c1945afe126590906"  # as GroupLens publishes it beside the file
LARGEST = 64 * 2**20  # bytes of one unpacked file; the real ones have 24.6 MB at most
LICENCE = """\
MovieLens 1M belongs to GroupLens, University of Minnesota. Its licence allows use for research, and asks:
no redistribution without separate permission, no commercial use without permission, no claim that the
university or GroupLens endorses what you do, and this reference in publications: F. M. Harper and
J. A. Konstan (2015), The MovieLens Datasets: History and Context, ACM TiiS 5(4):19, doi 10.1145/2827872.
The README that comes with the data has the full text."""


def download(
    *,
    accept_licence: bool,
    folder: Path | None = None,
    address: str = ADDRESS,
    md5: str = MD5,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Fetch the archive into the cache, check it, and unpack its three files and README, whole or not at all.

    Args:
        accept_licence: that you accept :data:`LICENCE`.
        folder: where to; by default the cache, where :func:`rlcourse.recommender.data.load` looks.
        address: of ``ml-1m.zip``.
        md5: its checksum.
        on_progress: called with bytes so far and bytes in all (0 where the server does not say).

    Returns:
        The folder.

    Raises:
        CourseError: the licence is not accepted, or the server cannot be reached; what has arrived is kept.
        CorruptDataError: the archive is not the one that was asked for; it is removed.
        InvalidArgumentError: the folder holds other things.
    """
    if not accept_licence:
        raise CourseError(
            f"{LICENCE}\nAccept it to download: accept_licence=True, --accept-licence"
        )
    folder = cache() if folder is None else folder
    own = {*(f"{kind}.dat" for kind in FORMATS), "README"}
    if folder.exists() and not (folder.is_dir() and {p.name for p in folder.iterdir()} <= own):
        raise InvalidArgumentError(f"folder = {folder}: holds other things; name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.parent / f"{folder.name}.zip.part"
    _fetch(address, part, on_progress)
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        part.unlink()
        raise CorruptDataError(f"{address}: its checksum is {found}, not {md5}; it was removed")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".ml-") as unpacked:
        _unpack(part, Path(unpacked))
        read(unpacked)  # what cannot be read never gets its name
        folder.mkdir(exist_ok=True)
        for name in own:  # each whole at once; and whatever the moment, all are of some ml-1m.zip
            (Path(unpacked) / name).replace(folder / name)
    part.unlink()
    return folder


def _fetch(address: str, part: Path, on_progress: Callable[[int, int], None] | None) -> None:
    """Add to ``part`` what it lacks; a server that cannot resume begins again."""
    have = part.stat().st_size if part.exists() else 0
    asked = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            if answer.status != 206:
                have = 0
            total = have + int(answer.headers.get("Content-Length") or 0)
            with part.open("ab" if have else "wb") as file:
                while chunk := answer.read(1 << 16):
                    file.write(chunk)
                    have += len(chunk)
                    if on_progress is not None:
                        on_progress(have, total)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to fetch
            return
        raise CourseError(f"{address}: the server says {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise CourseError(
            f"{address}: cannot be fetched ({reason}); {have:,} bytes are kept in {part}, and the next "
            "call goes on there"
        ) from error
    if have < total:
        raise CourseError(
            f"{address}: broke off after {have:,} of {total:,} bytes; they are kept in {part}, and the "
            "next call goes on there"
        )


def _unpack(archive: Path, folder: Path) -> None:
    """The four files by name: no path of the archive's own making is ever followed."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in [*(f"{kind}.dat" for kind in FORMATS), "README"]:
                member = opened.getinfo(f"ml-1m/{name}")
                with opened.open(member) as source, (folder / name).open("wb") as target:
                    content = source.read(LARGEST + 1)
                    if len(content) > LARGEST:
                        raise CorruptDataError(
                            f"{archive}: {name} unpacks to more than {LARGEST:,} bytes"
                        )
                    target.write(content)
    except (KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise CorruptDataError(f"{archive}: is not ml-1m.zip ({error})") from error
