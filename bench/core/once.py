"""Values computed from large files, remembered while the file is unchanged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING

from bench.core.disk import new_file
from bench.core.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def file_stamp(path: Path | str) -> str:
    """Return a text that changes when a file is changed or replaced.

    It contains the time of the last change of the inode, which cannot be set back as the time of
    modification can. It differs after copying, so it never identifies data.
    """
    stat = os.stat(path)  # noqa: PTH116 - Path.stat is slower for thousands of runs
    return f"{stat.st_mtime_ns}:{stat.st_ctime_ns}:{stat.st_size}:{stat.st_ino}"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def once(path: Path, compute: Callable[[], str], *, small: int = 1 << 20) -> str:
    """Return ``compute()``, computed once while the size, times and inode of a file do not change.

    Parameters
    ----------
    path
        The file that the value depends on.
    compute
        Returns the value, such as a digest.
    small
        Files of at most this many bytes are not remembered, because reading them takes as long.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    stamp = file_stamp(path)
    if path.stat().st_size <= small:
        return compute()
    name = hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogatepass")).hexdigest()[:24]
    memory = cache_folder("digests") / f"{name}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(memory.read_text(encoding="utf-8"))
        if stored["stamp"] == stamp:
            return str(stored["value"])
    value = compute()
    # The cache is optional, and a file that changed meanwhile is read again.
    with contextlib.suppress(OSError):
        if file_stamp(path) == stamp:
            with new_file(memory) as file:
                file.write_text(json.dumps({"stamp": stamp, "value": value}), encoding="utf-8")
    return value
