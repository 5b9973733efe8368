"""Environment of a run: recorded with the results, never part of a run's identity."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.checkout import ROOT
from bench.core.code_digest import portable_name
from bench.core.version import __version__
from bench.core.words import without_user

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.records.schema import Provenance


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
"""Distributions whose version may change results."""


def environment(device: str, threads: int, precision: str) -> Provenance:
    """Return machine, versions and command, without importing the packages.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda``.
    precision
        ``float32`` or ``bfloat16``.

    Returns
    -------
    dict
        ``labshift`` (version), ``commit`` (of a git checkout; with ``modified`` if tracked files
        have uncommitted changes), ``python``, ``platform``, ``cpu``, ``device``, ``threads``,
        ``precision``, ``packages`` (name to version of installed packages), ``command``,
        ``created`` (UTC, ISO 8601, to the second).
    """
    return {
        "labshift": __version__,
        **_commit(),
        "python": platform.python_version(),
        "platform": _platform(),
        "cpu": _cpu(),
        "device": _device(device),
        "threads": threads,
        "precision": precision,
        "packages": dict(_versions()),
        "command": command_line(),
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def _platform() -> str:
    """Return system, architecture and C library; the kernel of a machine changes no number."""
    parts = (platform.system(), platform.machine(), "".join(platform.libc_ver()))
    return "-".join(part for part in parts if part)


def command_line(argv: list[str] | None = None) -> str:
    """Return the command line as ``python -m bench …``, quoted for a shell.

    Parameters
    ----------
    argv
        Arguments after the program name. Default: those of this process. Absolute paths below
        the working folder become relative, so that the command works elsewhere.
    """
    here = str(Path.cwd()) + os.sep
    arguments = sys.argv[1:] if argv is None else argv
    relative = (argument.removeprefix(here) for argument in arguments)
    return without_user(shlex.join(["python", "-m", "bench", *relative]))


def source_digests(paths: Iterable[Path | str]) -> dict[str, str]:
    """Return the SHA-256 of source files by a machine-independent name.

    Returns
    -------
    dict
        ``methods/ben.py``, ``datasets/coos7.py``, ``bench/metrics/nsc.py`` for files of this
        project, the path inside ``site-packages`` for installed plugins, ``plugin/NAME.py`` for
        files specified by the user.
    """
    digests: dict[str, str] = {}
    for path in sorted({Path(path).resolve() for path in paths}):
        name, content = portable_name(path), hashlib.sha256(path.read_bytes()).hexdigest()
        if digests.get(name, content) != content:  # plugins with one name in different folders
            name = f"{name}#{content[:8]}"
        digests[name] = content
    return dict(sorted(digests.items()))


@functools.cache
def _commit() -> Provenance:
    """Return the git commit of the checkout, if git and a checkout are available."""
    if not (ROOT / ".git").exists():
        return {}
    git = ["git", "-C", str(ROOT)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit.stdout.strip(), **({"modified": True} if changes.stdout else {})}


@functools.cache
def _versions() -> dict[str, str]:
    """Return the versions of the installed packages.

    They are read once: parsing their metadata takes longer than the scores of a small table.
    """
    from importlib import metadata

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name == "labshift":  # a checkout that is not installed
                versions[name] = __version__
    return versions


def _cpu() -> str:
    """Return the processor's model name, or its architecture if the name is unavailable."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _device(device: str) -> str:
    """Return ``cpu``, or ``cuda`` with the card's name if torch is already imported."""
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return device


def reset_peak() -> bool:
    """Reset :func:`peak_bytes`; return whether the system supports it (Linux only)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """Return the peak resident memory of this process in bytes, since :func:`reset_peak`.

    On systems other than Linux, it is the peak since the process started. The peak of a run is the
    difference of two calls; where the peak cannot be reset this is a lower bound.
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
