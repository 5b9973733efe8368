"""Atomic writes, and disk errors as one-line messages."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["write_files"]


# --------------------------------------------------------------------------- disk


@contextlib.contextmanager
def disk_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn what the operating system says into one line with the cure."""
    try:
        yield
    except OSError as exc:
        place = str(exc.filename2 or exc.filename or path)
        elsewhere = "choose another folder with --results DIR"
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            cure = f"the disk is full; free some space or {elsewhere}"
        elif exc.errno in (errno.EACCES, errno.EPERM):
            cure = f"no permission at {place}; change it or {elsewhere}"
        elif exc.errno == errno.EROFS:
            cure = f"{place} is on a read-only disk; {elsewhere}"
        elif exc.errno in (errno.ENOTDIR, errno.EEXIST):
            cure = (
                f"a file stands where a folder is needed ({place}); move it away or choose "
                "another folder with --results DIR"
            )
        elif exc.errno == errno.ENAMETOOLONG:
            cure = "the path is too long; choose a shorter folder with --results DIR"
        else:
            cure = f"{exc.strerror or exc}; check the disk or choose another folder with --results"
        raise BenchError(f"cannot {doing} {path}: {cure}") from exc


def write_synced(path: Path, data: bytes | NDArray[Any]) -> None:
    with path.open("wb") as file:
        if isinstance(data, bytes):
            file.write(data)
        else:  # straight from memory: a large array is not copied to be written
            import numpy as np

            np.save(file, data, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable, where the system can (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_files(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write derived files, each in one step, and return their paths.

    Raises
    ------
    BenchError
        If the disk refuses; a file is then the old one or absent, never half of the new one.
    """
    made = []
    with disk_errors("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            temporary = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
            try:
                write_synced(temporary, data)
                temporary.replace(folder / name)
            finally:
                temporary.unlink(missing_ok=True)
            made.append(folder / name)
    return made
