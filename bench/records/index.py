"""Index of the records in a results folder."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from bench.records.record import RUN_ID

if TYPE_CHECKING:
    from pathlib import Path

    pass

INDEX_VERSION = "7"


def run_stamps(runs: Path) -> dict[str, str]:
    """Return a stamp of each complete run: it changes when the folder's record is replaced."""
    found: dict[str, str] = {}
    try:
        prefixes = [entry.path for entry in os.scandir(runs) if entry.is_dir()]
    except FileNotFoundError:
        return found
    for prefix in prefixes:
        with contextlib.suppress(FileNotFoundError), os.scandir(prefix) as entries:
            for entry in entries:
                if not RUN_ID.fullmatch(entry.name):
                    continue
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    stat = os.stat(f"{entry.path}/run.json")  # noqa: PTH116 - ten thousand of them
                    found[entry.name] = f"{stat.st_mtime_ns}:{stat.st_size}:{stat.st_ino}"
    return found
