"""Where data sets lie on this machine, and where derived data may be kept."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder(name: str) -> Path:
    """Return the folder of a downloaded data set; it need not exist.

    ``$BENCH_DATA/<name>`` if the variable is set, else the user's data folder of the platform
    (``~/.local/share/labshift/<name>`` on Linux).
    """
    return _root("BENCH_DATA", "user_data_path") / name


def cache_folder(name: str) -> Path:
    """Return the folder of derived data that can be made again; it need not exist.

    ``$BENCH_CACHE/<name>`` if the variable is set, else the user's cache folder of the platform
    (``~/.cache/labshift/<name>`` on Linux).
    """
    return _root("BENCH_CACHE", "user_cache_path") / name


def _root(variable: str, function: str) -> Path:
    if os.environ.get(variable):
        return Path(os.environ[variable]).expanduser().absolute()
    import platformdirs

    path: Path = getattr(platformdirs, function)("labshift", appauthor=False)
    return path
