"""Checks of the environment, with fixes.

A check changes nothing and yields :class:`Finding` objects. ``fail`` means that runs cannot work,
``warn`` that they are slower or less reliable than they could be.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.finding import (
    FAIL,
    GOOD,
    WARN,
    Finding,
    check_dask,
    check_extras,
    check_gpu,
    check_r,
)
from bench.core.checkout import ROOT
from bench.core.errors import BenchError
from bench.core.meta import KINDS
from bench.core.words import file_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.core.registry import Registry
    from bench.core.types import JsonObject

__all__ = ["CHECKS", "Finding", "examine"]

LITTLE_DISK = 2e9
"""Free bytes below which a comparison on images may not fit: five simulated files take 0.2 GB, and
embeddings and weights about as much per method and seed."""
LITTLE_MEMORY = 2e9
"""Available bytes below which the default recipe on images (1.6 GB) may fail."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def examine(registry: Registry, results: Path) -> list[Finding]:
    """Run all checks; a check that raises is a finding."""
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            findings += check(registry, results)
        except Exception as error:  # noqa: BLE001 - a failed check is a finding
            reason = f"{type(error).__name__}: {error}"
            findings.append(
                Finding(name, FAIL, f"the check failed ({reason})", "report it with this line")
            )
    return findings


def _versions(registry: Registry, results: Path) -> Iterator[Finding]:
    """Python, labshift and the versions of its dependencies."""
    import platform

    from bench.core.version import __version__

    python = platform.python_version()
    new = sys.version_info >= (3, 11)
    cure = "" if new else "create an environment with Python 3.11 or newer"
    yield Finding("python", GOOD if new else FAIL, f"{python}, {sys.executable}", cure)
    yield Finding("labshift", GOOD, f"{__version__}, {ROOT / 'bench'}")
    yield from _clashes()


def required() -> list[str]:
    """Return the requirements in labshift's metadata, without extras."""
    return [line for line in all_requirements() if "extra ==" not in line]


def all_requirements() -> list[str]:
    """Return the requirements in labshift's metadata; those of extras have a marker."""
    from importlib import metadata

    try:
        return metadata.requires("labshift") or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        import tomllib

        file = ROOT / "pyproject.toml"
        if not file.is_file():
            return []
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        lines = list(project["dependencies"])
        for extra, needs in project["optional-dependencies"].items():
            for need in needs:
                marker = " and" if ";" in need else ";"
                lines.append(f"{need}{marker} extra == '{extra}'")
        return lines


def _clashes() -> Iterator[Finding]:
    """Find requirements, direct and indirect, that are missing or of another version."""
    from importlib import metadata

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pending: list[tuple[str, str]] = [("labshift", line) for line in required()]
    seen: set[str] = set()
    wrong: dict[str, list[str]] = {}
    while pending:
        owner, line = pending.pop()
        need = Requirement(line)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(need.name)
        try:
            have = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.setdefault(str(need), []).append(f"required by {owner}, not installed")
            continue
        if not need.specifier.contains(have, prereleases=True):
            wrong.setdefault(str(need), []).append(
                f"required by {owner}, {name} {have} is installed"
            )
        if name not in seen:
            seen.add(name)
            pending += [(name, text) for text in metadata.requires(name) or []]
    for text, reasons in sorted(wrong.items()):
        direct = any(reason.startswith("required by labshift,") for reason in reasons)
        yield Finding(
            "packages",
            FAIL if direct else WARN,
            f"{text}: {reasons[0]}",
            f"python -m pip install {_quoted(text)}",
        )
    if not wrong:
        yield Finding("packages", GOOD, f"{len(seen)} dependencies installed and compatible")


def _quoted(requirement: str) -> str:
    import shlex

    return shlex.quote(requirement.split(";", maxsplit=1)[0].strip())


def _plugins(registry: Registry, results: Path) -> Iterator[Finding]:
    entries = [e for kind in KINDS for e in registry.entries(kind)]
    others = [entry for entry in entries if entry.provider != "labshift"]
    for entry in others:
        try:
            registry.entry(entry.kind, entry.name).load()
        except BenchError as error:
            yield Finding("plugins", WARN, str(error), "fix the plugin or remove it")
    for entry in registry.broken:
        text = f"{entry.kind} '{entry.name}' of {entry.origin} {entry.problem}"
        yield Finding("plugins", WARN, text, "fix the file or remove the plugin")
    if not registry.broken:
        yield Finding("plugins", GOOD, f"{len(others)} loaded")


def _cores(registry: Registry, results: Path) -> Iterator[Finding]:
    """Cores of the machine and of this process, and the number of threads."""
    machine = os.cpu_count() or 1
    usable = _usable(machine)
    text = f"{machine}" if usable == machine else f"{machine}, {usable} available to this process"
    yield Finding("cores", GOOD, text)
    from bench.runs.device import THREADS as OWN
    from bench.runs.device import threads

    try:
        chosen = threads()
    except BenchError as error:
        yield Finding("threads", FAIL, str(error), f"unset {OWN}, or set it to an integer")
        return
    if chosen > usable:
        yield Finding(
            "threads",
            WARN,
            f"{chosen} threads per fit on {usable} cores slow each other down",
            f"export {OWN}={usable}",
        )
    else:
        yield Finding("threads", GOOD, f"{chosen} per fit (set by ${OWN})")
    fixed = {name: os.environ[name] for name in THREADS if os.environ.get(name)}
    different = {name: value for name, value in fixed.items() if value != str(chosen)}
    if different:
        pools = ", ".join(f"{name}={value}" for name, value in different.items())
        yield Finding(
            "thread pools",
            WARN,
            f"{pools}, but a fit uses {chosen} threads: results are identical only if all pools "
            "have the same size",
            f"export {' '.join(f'{name}={chosen}' for name in different)}",
        )


def _isolation(registry: Registry, results: Path) -> Iterator[Finding]:
    """How methods of plugin files are isolated."""
    from bench.core.isolated import sandbox

    if sandbox.mode() == "bubblewrap":
        yield Finding("isolation", GOOD, "bubblewrap")
    else:
        yield Finding(
            "isolation",
            WARN,
            "no bubblewrap with user namespaces: methods of plugin files run in processes that can "
            "read files",
            "install bubblewrap, such as apt-get install bubblewrap",
        )


def _usable(machine: int) -> int:
    """Return the cores that this process may use: affinity and container quota."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    quota = _quota(Path("/sys/fs/cgroup/cpu.max"))
    return max(1, min(usable, machine if quota is None else quota))


def _quota(file: Path) -> int | None:
    """Return a container's quota in cores, rounded down (cgroup v2); None without one."""
    try:
        allowed, period = file.read_text(encoding="ascii").split()
        return None if allowed == "max" else max(1, int(int(allowed) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _runtimes(registry: Registry, results: Path) -> Iterator[Finding]:
    """Torch, its devices, and OpenMP runtimes loaded twice."""
    import torch
    from threadpoolctl import threadpool_info

    try:
        import torchvision

        versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
        yield Finding("torch", GOOD, versions)
    except Exception as error:  # noqa: BLE001 - a failed check is a finding
        yield Finding(
            "torch",
            FAIL,
            f"torch {torch.__version__}, but torchvision fails to import ({error})",
            "install matching versions: python -m pip install -U torch torchvision",
        )
    if torch.cuda.is_available():
        for k in range(torch.cuda.device_count()):
            yield check_gpu(k)
    elif torch.version.cuda is not None:
        yield Finding(
            "device",
            GOOD,
            f"cpu; torch was built for CUDA {torch.version.cuda} but finds no device",
            "if there is a GPU, check its driver with nvidia-smi",
        )
    else:
        yield Finding("device", GOOD, "cpu; this torch is a CPU build")
    yield from fighting(threadpool_info())


def fighting(pools: list[JsonObject]) -> Iterator[Finding]:
    """Find OpenMP runtimes of different vendors in one process, which can deadlock."""
    vendors = {str(p.get("prefix")) for p in pools if p.get("user_api") == "openmp"}
    if {"libomp", "libiomp"} <= vendors:
        yield Finding(
            "OpenMP",
            WARN,
            "libomp and Intel's libiomp are both loaded and can hang or crash on Linux",
            "install NumPy and torch from the same source: pip or conda",
        )
    else:
        yield Finding("OpenMP", GOOD, ", ".join(sorted(vendors)) or "none loaded")


def _memory(registry: Registry, results: Path) -> Iterator[Finding]:
    sizes = memory(Path("/proc/meminfo"))
    if sizes is None:
        yield Finding("memory", GOOD, "not reported by this system")
        return
    available, total = sizes
    low = available < LITTLE_MEMORY
    yield Finding(
        "memory",
        WARN if low else GOOD,
        f"{file_size(available)} of {file_size(total)} available",
        "close other programs or use --recipe smoke: a small ResNet on images takes 1.6 GB"
        if low
        else "",
    )


def memory(file: Path) -> tuple[int, int] | None:
    """Return available and total memory in bytes; None if the file of Linux is missing."""
    try:
        text = file.read_text(encoding="ascii")
    except OSError:
        return None
    sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
    if not {"MemAvailable", "MemTotal"} <= set(sizes):
        return None
    return int(sizes["MemAvailable"]) * 1024, int(sizes["MemTotal"]) * 1024


def _disk(registry: Registry, results: Path) -> Iterator[Finding]:
    import shutil

    from bench.core.folders import cache_folder, data_folder

    folders = {
        "results": results.absolute(),
        "cache": cache_folder("").absolute(),
        "data": data_folder("").absolute(),
    }
    cures = {"results": "--results DIR", "cache": "$BENCH_CACHE", "data": "$BENCH_DATA"}
    for name, folder in folders.items():
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        problem = _unwritable(existing)
        if problem and name != "data":
            cure = f"change its permissions or choose another with {cures[name]}"
            yield Finding(name, FAIL, f"{folder} is not writable ({problem})", cure)
            continue
        free = shutil.disk_usage(existing).free
        low = free < LITTLE_DISK and name != "data"
        yield Finding(
            name,
            WARN if low else GOOD,
            f"{folder}, {file_size(free)} free",
            f"free some space or choose another disk with {cures[name]}" if low else "",
        )


def _unwritable(folder: Path) -> str:
    """Return why a folder is not writable, or an empty string."""
    if not folder.is_dir():
        return "it is a file"
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _data(registry: Registry, results: Path) -> Iterator[Finding]:
    """Available editions of each data set."""
    for entry in registry.entries("dataset"):
        try:
            cls = registry.entry("dataset", entry.name).load()
            editions = cls(cls.Settings()).editions()
        except BenchError as error:
            yield Finding(f"data: {entry.name}", WARN, str(error), "")
            continue
        if "real" in editions:
            yield Finding(f"data: {entry.name}", GOOD, "real edition available")
        else:
            available = " and ".join(editions) or "no"
            cure = f"for the real files see: python -m bench show dataset {entry.name}"
            yield Finding(f"data: {entry.name}", GOOD, f"{available} edition available", cure)


CHECKS: Mapping[str, Callable[[Registry, Path], Iterator[Finding]]] = {
    "versions": _versions,
    "plugins": _plugins,
    "isolation": _isolation,
    "cores": _cores,
    "torch": _runtimes,
    "extras": lambda registry, results: check_extras(all_requirements()),
    "dask": lambda registry, results: check_dask(),
    "R": lambda registry, results: check_r(),
    "memory": _memory,
    "disk": _disk,
    "data": _data,
}
"""Name -> check."""
