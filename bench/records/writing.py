"""Writing and deleting folders of a results folder, each in one step."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from typing import TYPE_CHECKING

from bench.core.disk import STALE_SECONDS, disk_errors, new_folder, write_synced

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def temporary(root: Path) -> Path:
    """Return the folder of unfinished files; :func:`check_writable` deletes old ones."""
    return root / "tmp"


def place(
    root: Path,
    files: Mapping[str, bytes | NDArray[np.generic]],
    target: Path,
    witness: str,
    *,
    replace: bool = False,
) -> None:
    """Write a folder with its files atomically.

    If another process has already written the folder, it is kept and this one is dropped.

    Parameters
    ----------
    files
        File name -> content; an array is written as ``.npy``.
    witness
        File without which an existing folder is incomplete and is replaced.

    Raises
    ------
    BenchError
        If a write fails. No files are left in this case.
    """
    replace = replace or not (target / witness).is_file()
    with (
        disk_errors("write", target),
        new_folder(target, replace=replace, inside=temporary(root)) as folder,
    ):
        for name, data in files.items():
            write_synced(folder / name, data)


def discard(root: Path, target: Path) -> None:
    """Delete a folder atomically. A missing folder is ignored."""
    with disk_errors("delete", target):
        aside = temporary(root) / f"{target.name}-{secrets.token_hex(6)}"
        with contextlib.suppress(FileNotFoundError):
            aside.parent.mkdir(parents=True, exist_ok=True)
            target.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def check_writable(root: Path) -> None:
    """Create the results folder, write a file in it, and delete old unfinished files."""
    with disk_errors("write results to", root):
        probe = temporary(root) / f"probe-{secrets.token_hex(6)}"
        probe.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_synced(probe, b"x")
        finally:
            probe.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for entry in temporary(root).iterdir():
            with contextlib.suppress(OSError):
                # Use wall-clock time, because it is compared with file times.
                if time.time() - entry.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(entry, ignore_errors=True)
