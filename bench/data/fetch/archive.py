"""Archives: unpacked into their folder and nowhere else, whole or not at all.

A tar goes through the standard library's ``data`` filter, which refuses absolute names, names that
climb out, links that lead out, and devices. A zip is looked through before anything is written.
Members go to a hidden folder first; the real one appears by a rename, so that a killed unpacking
leaves nothing that looks finished.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["unpack"]

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError)


def unpack(
    archive: Path, target: Path, show: Callable[[int, int], None] = lambda done, total: None
) -> int:
    """Unpack a ``.zip`` or ``.tar``, ``.tar.gz``, ``.tgz`` file into a folder.

    What is there already under the same name is replaced; other files stay.

    Parameters
    ----------
    archive
        The file.
    target
        The folder; made if need be. If it is not there, it appears complete, in one step.
    show
        ``show(done, total)`` in bytes of the archive (tar) or of its members (zip).

    Returns
    -------
    int
        Number of files.

    Raises
    ------
    BenchError
        If it is no such archive, is damaged or truncated, or a member lies outside the folder.
    """
    hidden = target.parent / f".unpacking-{archive.name}"
    _remove(hidden)
    hidden.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            count = _zip(archive, hidden, show)
        else:
            count = _tar(archive, hidden, show)
        if target.exists():
            _merge(hidden, target)
        else:
            hidden.replace(target)
    except (tarfile.FilterError, *DAMAGED) as error:
        if isinstance(error, tarfile.FilterError):
            raise _outside(archive, str(error)) from None
        said = " ".join(str(error).split()) or type(error).__name__
        raise BenchError(
            f"{archive} cannot be unpacked ({said}): it is damaged or truncated, or the disk is "
            "full; delete it and fetch it again"
        ) from None
    finally:
        _remove(hidden)
    return count


def _outside(archive: Path, why: str) -> BenchError:
    return BenchError(
        f"{archive} is refused, nothing of it was unpacked: {why}; it is not what it should be"
    )


def _tar(archive: Path, into: Path, show: Callable[[int, int], None]) -> int:
    total, count = archive.stat().st_size, 0
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as tar:
        for member in tar:
            tar.extract(member, into, filter="data")
            count += member.isfile()
            show(raw.tell(), total)
    return count


def _zip(archive: Path, into: Path, show: Callable[[int, int], None]) -> int:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for member in members:
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in member.filename:
                raise _outside(archive, f"'{member.filename}' would land outside its folder")
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _outside(archive, f"'{member.filename}' is a link")
        total = sum(member.file_size for member in members)
        free = shutil.disk_usage(into).free
        if total > free:
            raise BenchError(
                f"{archive} unpacks to {total:,} bytes and {free:,} are free in {into.parent}: "
                "free space, or point $BENCH_DATA elsewhere"
            )
        done = 0
        for member in members:
            file.extract(member, into)  # checks the member's CRC
            done += member.file_size
            show(done, total)
    return sum(not member.is_dir() for member in members)


def _merge(source: Path, target: Path) -> None:
    """Move files one by one; each is whole at any time."""
    for path in sorted(source.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
