"""Unpack archives safely: only into their target folder, and atomically.

Only regular files and folders are unpacked. Links, devices, absolute names, names that lead out of
the folder, and names that are too long or too deep are rejected: archives with links have escaped
from the standard library's ``data`` filter (CVE-2025-4517). Members are written to a hidden folder,
which is then renamed, so an interrupted process never leaves a folder that looks complete.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
)
DEEPEST, LONGEST = 40, 1000
"""Maximum number of folders and of bytes in a member's name."""
MOST_MEMBERS = 2_000_000
"""Maximum number of files and folders of an archive."""
MOST_RATIO, SMALL = 200, 1 << 30
"""Maximum size of the unpacked files relative to the archive, if they are larger than ``SMALL``."""
BLOCK = 1 << 20


def unpack(
    archive: Path,
    target: Path,
    show: Callable[[int, int], None] = lambda done, total: None,
    members: Sequence[str] = (),
) -> int:
    """Unpack a ``.zip`` or ``.tar``, ``.tar.gz``, ``.tgz`` file into a folder.

    Existing files of the same name are replaced; other files are kept.

    Parameters
    ----------
    target
        The folder, created if necessary. A new folder appears complete, in one step.
    show
        ``show(done, total)`` in bytes of the archive (tar) or of its members (zip).
    members
        Patterns of the members to unpack, below the top folder of the archive, which is left out
        of their names. If empty, all members are unpacked.

    Raises
    ------
    BenchError
        If the file is not such an archive or is damaged or truncated, or if a member is a link or
        would be written outside the folder.
    """
    hidden = target.parent / f".unpacking-{archive.name}"
    _remove(hidden)
    hidden.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            count = _zip(archive, hidden, show, members)
        else:
            count = _tar(archive, hidden, show, members)
        if target.exists():
            _merge(hidden, target)
        else:
            hidden.replace(target)
    except DAMAGED as error:
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


def _tar(
    archive: Path, into: Path, show: Callable[[int, int], None], members: Sequence[str]
) -> int:
    total, count, written = archive.stat().st_size, 0, 0
    free = shutil.disk_usage(into).free
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as tar:
        for number, member in enumerate(tar):
            if number >= MOST_MEMBERS:
                raise _outside(archive, f"it has more than {MOST_MEMBERS:,} members")
            place = _place(archive, into, member.name, members)
            if place is None:
                continue
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            if not member.isreg():
                raise _outside(archive, f"'{shortened(member.name)}' is a link or a device")
            written += member.size
            _check_size(archive, into, written, free)
            source = tar.extractfile(member)
            if source is None:
                raise tarfile.ReadError(f"{shortened(member.name)} cannot be read")
            _write(source, place, member.size)
            count += 1
            show(raw.tell(), total)
    return count


def _zip(
    archive: Path, into: Path, show: Callable[[int, int], None], members: Sequence[str]
) -> int:
    count = done = 0
    with zipfile.ZipFile(archive) as file:
        placed = [
            (member, place)
            for member in file.infolist()
            if (place := _place(archive, into, member.filename, members)) is not None
        ]
        for member, _ in placed:
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _outside(archive, f"'{shortened(member.filename)}' is a link or a device")
        total = sum(member.file_size for member, _ in placed)
        if len(file.infolist()) > MOST_MEMBERS:
            raise _outside(archive, f"it has more than {MOST_MEMBERS:,} members")
        _check_size(archive, into, total, shutil.disk_usage(into).free)
        for member, place in placed:
            if member.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            with file.open(member) as source:  # checks the member's CRC
                _write(source, place, member.file_size)
            count += 1
            done += member.file_size
            show(done, total)
    return count


def _place(archive: Path, into: Path, name: str, members: Sequence[str]) -> Path | None:
    """Return the path of a member, or None if no pattern of ``members`` matches it.

    Raises if the name leads out of the folder, also for a member that is not unpacked.
    """
    if not name:
        raise _outside(archive, "a member has no name")
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name:
        raise _outside(archive, f"'{shortened(name)}' would be written outside its folder")
    if len(path.parts) > DEEPEST or len(name.encode(errors="replace")) > LONGEST:
        raise _outside(archive, f"the name '{shortened(name)}' is too long or too deep")
    if not members:
        return into.joinpath(*path.parts)
    below = PurePosixPath(*path.parts[1:])
    wanted = any(fnmatchcase(str(below), pattern) for pattern in members)
    return into.joinpath(*below.parts) if wanted else None


def _write(source: IO[bytes], place: Path, size: int) -> None:
    """Write a member; raises if it is larger than declared."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as target:
        left = size
        while block := source.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise ValueError(f"{place.name} is larger than the archive says")
            target.write(block)
    if left:
        raise EOFError(f"{place.name} is shorter than the archive says")


def _check_size(archive: Path, into: Path, size: int, free: int) -> None:
    """Raise BenchError if so many bytes are not free, or far more than the archive has."""
    if size > free:
        raise BenchError(
            f"{archive} unpacks to at least {size:,} bytes and {free:,} are free in {into.parent}: "
            "free space, or point $BENCH_DATA elsewhere"
        )
    if size > max(SMALL, MOST_RATIO * archive.stat().st_size):
        raise _outside(archive, f"it unpacks to more than {MOST_RATIO} times its size")


def shortened(name: str, length: int = 80) -> str:
    """Return a member's name for a message: printable and shortened to ``length``."""
    text = "".join(letter if letter.isprintable() else "?" for letter in name)
    return text if len(text) <= length else text[: length - 3] + "..."


def _merge(source: Path, target: Path) -> None:
    """Move files one by one; each move is atomic."""
    for path in sorted(source.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
