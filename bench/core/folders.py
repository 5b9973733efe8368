"""Folders of data sets and derived data, and checksums of files."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def expanded(path: Path | str) -> Path:
    """Return a path with ``~`` and environment variables such as ``$HOME`` replaced.

    Shells do not do this in ``--results=~/x``, in ``.env`` files and in batch systems. Variables
    that are not set are left as they are.
    """
    return Path(os.path.expandvars(path)).expanduser()


def data_folder(name: str) -> Path:
    """Return the folder of a downloaded data set, whether or not it exists.

    ``$BENCH_DATA/<name>`` if the variable is set, otherwise the user's data folder of the platform
    (``~/.local/share/labshift/<name>`` on Linux). If ``$BENCH_DATA`` is a URL, its objects in
    ``<name>`` are copied to the cache, once in each process.
    """
    url = os.environ.get("BENCH_DATA", "")
    if "://" in url:
        return _copied(url, name) / name
    return _root("BENCH_DATA", "user_data_path") / name


@functools.lru_cache(maxsize=64)
def _copied(url: str, name: str) -> Path:
    """Return the local copy of a data set of an object store; nothing is copied without a name."""
    from bench.core.objects import local_copy, path_of_url

    path = path_of_url(url)
    if path is not None:
        return path
    return local_copy(url, name) if name else cache_folder("objects")


def cache_folder(name: str) -> Path:
    """Return the folder of derived data, whether or not it exists.

    ``$BENCH_CACHE/<name>`` if the variable is set, otherwise the user's cache folder of the
    platform (``~/.cache/labshift/<name>`` on Linux).
    """
    return _root("BENCH_CACHE", "user_cache_path") / name


def file_sums(path: Path, show: Callable[[int, int], None] | None = None) -> tuple[str, str]:
    """Return SHA-256 and MD5 of a file, reading it once."""
    import hashlib

    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            md5.update(block)
            done += len(block)
            if show is not None:
                show(done, total)
    return sha256.hexdigest(), md5.hexdigest()


def _root(variable: str, function: str) -> Path:
    if os.environ.get(variable):
        return expanded(os.environ[variable]).absolute()
    import platformdirs

    path: Path = getattr(platformdirs, function)("labshift", appauthor=False)
    return path
