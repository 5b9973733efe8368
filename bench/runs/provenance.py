"""What a run was made with: recorded beside the numbers, never part of a run's identity."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import platform
import shlex
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["command_line", "environment", "peak_bytes", "reset_peak", "source_digests"]

PACKAGES = (
    "labshift",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scanpy",
    "anndata",
    "harmonypy",
    "wilds",
    "h5py",
    "optuna",
    "safetensors",
)
"""Distributions whose versions may move a number."""


def environment(device: str, threads: int, precision: str) -> dict[str, Any]:
    """Return the machine, the versions and the command, without importing any of the packages.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda``.
    threads
        Threads that the computation was given.
    precision
        ``float32`` or ``bfloat16``.

    Returns
    -------
    dict
        ``python``, ``platform``, ``cpu``, ``device``, ``threads``, ``precision``, ``packages``
        (name to version; those that are not installed are left out), ``command``, ``created``
        (UTC, ISO 8601, to the second).
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "device": _device(device),
        "threads": threads,
        "precision": precision,
        "packages": _versions(),
        "command": command_line(),
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def command_line(argv: list[str] | None = None) -> str:
    """Return what was typed as ``python -m bench …``, ready to be pasted into a shell.

    Parameters
    ----------
    argv
        The arguments after the program's name; those of this process by default. Absolute paths
        below the working folder are made relative, so that the line works elsewhere.
    """
    here = str(Path.cwd()) + os.sep
    words = sys.argv[1:] if argv is None else argv
    return shlex.join(["python", "-m", "bench", *(word.removeprefix(here) for word in words)])


def source_digests(paths: Iterable[Path | str]) -> dict[str, str]:
    """Return the SHA-256 of source files by a name that is the same on every machine.

    Parameters
    ----------
    paths
        Files of methods, data sets and metrics.

    Returns
    -------
    dict
        ``methods/ben.py``, ``datasets/coos7.py``, ``bench/metrics/nsc.py`` for files of this
        project, the path inside ``site-packages`` for an installed plugin, ``plugin/NAME.py`` for
        a file that the user named.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    found: dict[str, str] = {}
    for path in sorted({Path(path).resolve() for path in paths}):
        name, content = _portable_name(path), hashlib.sha256(path.read_bytes()).hexdigest()
        if found.get(name, content) != content:  # two plugins of one name in different folders
            name = f"{name}#{content[:8]}"
        found[name] = content
    return dict(sorted(found.items()))


def _portable_name(path: Path) -> str:
    package = ROOT / "bench"
    for folder in ("methods", "datasets"):
        for root in (package / folder, package.parent / folder):
            if path.is_relative_to(root):
                return f"{folder}/{path.relative_to(root).as_posix()}"
    if path.is_relative_to(package):
        return f"bench/{path.relative_to(package).as_posix()}"
    for scheme in ("purelib", "platlib"):
        root = Path(sysconfig.get_path(scheme)).resolve()
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return f"plugin/{path.name}"


def _versions() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name == "labshift":  # a checkout that is not installed
                from bench.core.version import __version__

                found[name] = __version__
    return found


def _cpu() -> str:
    """Return the processor's model name, or its architecture where no name is to be had."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _device(device: str) -> str:
    """Return ``cpu``, or ``cuda`` with the card's name if torch is in use anyway."""
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return device


def reset_peak() -> bool:
    """Start a new measurement of :func:`peak_bytes`; return whether the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """Return the largest resident memory of this process in bytes, since :func:`reset_peak`.

    Where the mark cannot be reset (all but Linux), it is that of the whole process.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
