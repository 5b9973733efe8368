"""Atomic writes of files and folders, and disk errors as one-line messages."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from typing import TYPE_CHECKING

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.core.types import Array


STALE_SECONDS = 24 * 3600
"""Age at which a temporary folder of an interrupted writer is deleted."""


@contextlib.contextmanager
def disk_errors(doing: str, path: Path, otherwise: str = "--results DIR") -> Iterator[None]:
    """Convert an ``OSError`` to a one-line message that suggests a fix.

    Parameters
    ----------
    doing
        The verb after "cannot", such as ``write``.
    otherwise
        How to choose another folder: an option or an environment variable.

    Raises
    ------
    BenchError
        If the operating system reports an error.
    """
    try:
        yield
    except OSError as exc:
        place = str(exc.filename2 or exc.filename or path)
        elsewhere = f"choose another folder with {otherwise}"
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            cure = f"the disk is full; free some space or {elsewhere}"
        elif exc.errno in (errno.EACCES, errno.EPERM):
            cure = f"no permission at {place}; change it or {elsewhere}"
        elif exc.errno == errno.EROFS:
            cure = f"{place} is on a read-only disk; {elsewhere}"
        elif exc.errno in (errno.ENOTDIR, errno.EEXIST):
            cure = f"a file is in the place of a folder ({place}); move it away or {elsewhere}"
        elif exc.errno == errno.ENAMETOOLONG:
            cure = f"the path is too long; {elsewhere}"
        else:
            cure = f"{exc.strerror or exc}; check the disk or {elsewhere}"
        raise BenchError(f"cannot {doing} {path}: {cure}") from exc


def write_synced(path: Path, data: bytes | Array) -> None:
    """Write a file and flush it to the disk; an array is written as ``.npy``."""
    with path.open("wb") as file:
        if isinstance(data, bytes):
            file.write(data)
        else:  # avoid a copy in memory
            import numpy as np

            np.save(file, data, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush the entries of a folder to disk, if supported (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _temporary(path: Path, inside: Path | None = None) -> Path:
    """Return an unused hidden name next to a path, with its suffix."""
    mark = f"{os.getpid()}-{secrets.token_hex(4)}"
    return (inside or path.parent) / f".{path.stem}.{mark}{path.suffix}"


def _delete_stale(path: Path, inside: Path | None) -> None:
    """Delete old temporary folders of interrupted writers of a folder."""
    limit = time.time() - STALE_SECONDS
    pattern = re.compile(rf"\.{re.escape(path.stem)}\.\d+-[0-9a-f]{{8}}{re.escape(path.suffix)}")
    with contextlib.suppress(OSError):
        for entry in (inside or path.parent).iterdir():
            if pattern.fullmatch(entry.name) and entry.stat().st_mtime < limit:
                shutil.rmtree(entry, ignore_errors=True)


@contextlib.contextmanager
def new_file(path: Path, *, parents: bool = True, inside: Path | None = None) -> Iterator[Path]:
    """Write a file atomically.

    Yields a temporary path with the same suffix. On success the file written there replaces
    ``path``. After an exception it is deleted and ``path`` is unchanged. The content is not
    flushed to disk; use :func:`write_synced` if it must survive a power failure.

    Parameters
    ----------
    inside
        Folder for the temporary file, on the same disk. Default: next to ``path``.
    """
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    if inside is not None:
        inside.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path, inside)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path, *, replace: bool = False, inside: Path | None = None) -> Iterator[Path]:
    """Write a folder atomically.

    Yields an empty temporary folder. On success it is renamed to ``path``. After an exception it is
    deleted and ``path`` is unchanged. If another process creates ``path`` meanwhile, that folder is
    kept and this one is dropped; both are assumed to have the same content.

    Parameters
    ----------
    path
        The folder; its parent is created.
    inside
        Folder for the temporary folder, on the same disk. Default: next to ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if inside is not None:
        inside.mkdir(parents=True, exist_ok=True)
    _delete_stale(path, inside)
    temporary = _temporary(path, inside)
    temporary.mkdir()
    try:
        yield temporary
        sync_folder(temporary)
        if replace and path.is_dir():
            aside = _temporary(path, inside)
            with contextlib.suppress(FileNotFoundError):
                path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        try:
            temporary.rename(path)
        except OSError as exc:
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not path.is_dir():
                raise
        else:
            sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_file(path: Path, data: bytes | str) -> None:
    """Write a file atomically and flush it to disk; text is encoded as UTF-8."""
    with new_file(path) as temporary:
        write_synced(temporary, data.encode() if isinstance(data, str) else data)


def write_files(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write derived files, each atomically, and return their paths.

    Raises
    ------
    BenchError
        If the operating system reports an error. A file is then unchanged or missing.
    """
    paths = [folder / name for name in files]
    with disk_errors("write", folder):
        for path, data in zip(paths, files.values(), strict=True):
            write_file(path, data)
    return paths
