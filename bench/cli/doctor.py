"""What may stand in the way on this machine, each finding with its cure.

Every check looks, changes nothing that stays, and returns :class:`Finding` objects. ``fail`` means
that runs cannot work, ``warn`` that they work worse than they could.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.checkout import ROOT
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.core.registry import Registry

__all__ = ["CHECKS", "Finding", "examine"]

GOOD, WARN, FAIL = "ok", "warn", "fail"
LITTLE_DISK = 2e9
"""Bytes free below which a comparison on images may not fit: five simulated files take 0.2 GB,
their embeddings and weights about as much again for each method and seed."""
LITTLE_MEMORY = 2e9
"""Bytes available below which the default recipe on images (1.6 GB) is at risk."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name
        What was looked at.
    state
        ``ok``, ``warn`` or ``fail``.
    found
        What there is, in words.
    cure
        What to do about it; empty where all is well.
    """

    name: str
    state: str
    found: str
    cure: str = ""


def examine(registry: Registry, results: Path) -> list[Finding]:
    """Return the findings of all checks; a check that breaks is a finding itself.

    Parameters
    ----------
    registry
        Whose data sets are looked for and whose broken plugins are told.
    results
        Folder of the records.
    """
    made: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            made += check(registry, results)
        except Exception as error:  # noqa: BLE001 - a doctor must not fall ill of what it finds
            why = f"{type(error).__name__}: {error}"
            made.append(
                Finding(name, FAIL, f"this check broke ({why})", "report it with this line")
            )
    return made


# --------------------------------------------------------------------------- software


def _versions(registry: Registry, results: Path) -> Iterator[Finding]:
    """Python, and every package that labshift itself asks for, against what it asks for."""
    import platform

    from bench.core.version import __version__

    python = platform.python_version()
    good = sys.version_info >= (3, 11)
    cure = "" if good else "make an environment with Python 3.11 or newer"
    yield Finding("python", GOOD if good else FAIL, f"{python}, {sys.executable}", cure)
    yield Finding("labshift", GOOD, f"{__version__}, {ROOT / 'bench'}")
    yield from _clashes()


def required() -> list[str]:
    """Return the requirements of labshift without its extras, as written in its metadata."""
    from importlib import metadata

    try:
        lines = metadata.requires("labshift") or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        import tomllib

        file = ROOT / "pyproject.toml"
        if not file.is_file():
            return []
        lines = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [line for line in lines if "extra ==" not in line]


def _clashes() -> Iterator[Finding]:
    """Tell of requirements that are missing or of another version, and of theirs in turn."""
    from importlib import metadata

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    waiting: list[tuple[str, str]] = [("labshift", line) for line in required()]
    seen: set[str] = set()
    wrong: dict[str, list[str]] = {}
    while waiting:
        owner, line = waiting.pop()
        need = Requirement(line)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(need.name)
        try:
            have = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.setdefault(str(need), []).append(f"{owner} needs it, and it is missing")
            continue
        if not need.specifier.contains(have, prereleases=True):
            wrong.setdefault(str(need), []).append(f"{owner} needs it, and {name} is {have}")
        if name not in seen:
            seen.add(name)
            waiting += [(name, text) for text in metadata.requires(name) or []]
    for text, reasons in sorted(wrong.items()):
        mine = any(reason.startswith("labshift ") for reason in reasons)
        yield Finding(
            "packages",
            FAIL if mine else WARN,
            f"{text}: {reasons[0]}",
            f"python -m pip install {_quoted(text)}",
        )
    if not wrong:
        yield Finding("packages", GOOD, f"{len(seen)} that labshift rests on are there and agree")


def _quoted(requirement: str) -> str:
    import shlex

    return shlex.quote(requirement.split(";")[0].strip())


def _plugins(registry: Registry, results: Path) -> Iterator[Finding]:
    entries = [e for kind in ("method", "dataset", "metric") for e in registry.entries(kind)]
    others = [entry for entry in entries if entry.provider != "labshift"]
    bad = list(registry.broken)
    for entry in others:
        try:
            registry.entry(entry.kind, entry.name).load()
        except BenchError as error:
            yield Finding("plugins", WARN, str(error), "mend it, or leave the plugin out")
    for entry in bad:
        text = f"{entry.kind} '{entry.name}' of {entry.origin} {entry.problem}"
        yield Finding("plugins", WARN, text, "mend the file, or leave the plugin out")
    if not bad:
        yield Finding("plugins", GOOD, f"{len(others)} from elsewhere")


# --------------------------------------------------------------------------- machine


def _cores(registry: Registry, results: Path) -> Iterator[Finding]:
    """Cores of the machine, those that this process may use, and threads that would fight."""
    machine = os.cpu_count() or 1
    usable = _usable(machine)
    text = f"{machine}" if usable == machine else f"{machine}, of which {usable} may be used here"
    yield Finding("cores", GOOD, text)
    from bench.runs.device import THREADS as OWN
    from bench.runs.device import threads

    try:
        chosen = threads()
    except BenchError as error:
        yield Finding("threads", FAIL, str(error), f"unset {OWN}, or set it to a whole number")
        return
    if chosen > usable:
        yield Finding(
            "threads",
            WARN,
            f"{chosen} threads a fit on {usable} usable cores: they take turns and wait",
            f"export {OWN}={usable}",
        )
    else:
        yield Finding("threads", GOOD, f"{chosen} a fit (${OWN} changes that)")
    fixed = {name: os.environ[name] for name in THREADS if os.environ.get(name)}
    odd = {name: value for name, value in fixed.items() if value != str(chosen)}
    if odd:
        words = ", ".join(f"{name}={value}" for name, value in odd.items())
        yield Finding(
            "thread pools",
            WARN,
            f"{words}, while a fit takes {chosen} threads: NumPy and torch then use pools of "
            "different size, and equal seeds give equal bits only at equal sizes",
            f"export {' '.join(f'{name}={chosen}' for name in odd)}",
        )


def _usable(machine: int) -> int:
    """Return the cores that the scheduler and a container's quota leave to this process."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    quota = _quota(Path("/sys/fs/cgroup/cpu.max"))
    return max(1, min(usable, machine if quota is None else quota))


def _quota(file: Path) -> int | None:
    """Return the whole cores of a container's quota (cgroup v2), None without one."""
    try:
        allowed, period = file.read_text(encoding="ascii").split()
        return None if allowed == "max" else max(1, int(int(allowed) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _runtimes(registry: Registry, results: Path) -> Iterator[Finding]:
    """Torch, its devices, and OpenMP libraries that are loaded twice."""
    import torch
    from threadpoolctl import threadpool_info

    try:
        # The names are what torchvision needs to be of the same build as torch.
        import torchvision

        together = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
        yield Finding("torch", GOOD, together)
    except Exception as error:  # noqa: BLE001 - a mismatch raises whatever it meets first
        yield Finding(
            "torch",
            FAIL,
            f"torch {torch.__version__}, but torchvision fails to import ({error})",
            "install a torchvision of torch's release: python -m pip install -U torch torchvision",
        )
    if torch.cuda.is_available():
        for k in range(torch.cuda.device_count()):
            free, whole = torch.cuda.mem_get_info(k)
            name = torch.cuda.get_device_name(k)
            yield Finding("device", GOOD, f"cuda:{k} {name}, {_gb(free)} of {_gb(whole)} free")
    elif torch.version.cuda is not None:
        yield Finding(
            "device",
            GOOD,
            f"cpu; torch was built for CUDA {torch.version.cuda}, but sees no device",
            "if there is a GPU, look at nvidia-smi: the driver may be missing or too old",
        )
    else:
        yield Finding("device", GOOD, "cpu; this torch is a CPU build")
    yield from fighting(threadpool_info())


def fighting(pools: list[dict[str, Any]]) -> Iterator[Finding]:
    """Tell of OpenMP runtimes of different make in one process, which wait for each other.

    Parameters
    ----------
    pools
        What ``threadpoolctl.threadpool_info()`` returns.
    """
    makes = {str(p.get("prefix")) for p in pools if p.get("user_api") == "openmp"}
    if {"libomp", "libiomp"} <= makes:
        yield Finding(
            "OpenMP",
            WARN,
            "libomp and Intel's libiomp are both loaded, which can hang or crash on Linux",
            "install NumPy and torch from one source: both by pip, or both by conda",
        )
    else:
        yield Finding("OpenMP", GOOD, ", ".join(sorted(makes)) or "none loaded")


def _memory(registry: Registry, results: Path) -> Iterator[Finding]:
    found = memory(Path("/proc/meminfo"))
    if found is None:
        yield Finding("memory", GOOD, "this system does not say how much is free")
        return
    available, whole = found
    low = available < LITTLE_MEMORY
    yield Finding(
        "memory",
        WARN if low else GOOD,
        f"{_gb(available)} of {_gb(whole)} available",
        "close other programs, or use --recipe smoke: a small ResNet on images takes 1.6 GB"
        if low
        else "",
    )


def memory(file: Path) -> tuple[int, int] | None:
    """Return available and whole memory in bytes, None where Linux's file is missing."""
    try:
        text = file.read_text(encoding="ascii")
    except OSError:
        return None
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
    if not {"MemAvailable", "MemTotal"} <= set(found):
        return None
    return int(found["MemAvailable"]) * 1024, int(found["MemTotal"]) * 1024


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
        there = next(path for path in (folder, *folder.parents) if path.exists())
        why_not = _unwritable(there)
        if why_not and name != "data":
            cure = f"mend its permissions, or choose another with {cures[name]}"
            yield Finding(name, FAIL, f"{folder} cannot be written ({why_not})", cure)
            continue
        free = shutil.disk_usage(there).free
        low = free < LITTLE_DISK and name != "data"
        yield Finding(
            name,
            WARN if low else GOOD,
            f"{folder}, {_gb(free)} free",
            f"free some, or choose another disk with {cures[name]}" if low else "",
        )


def _unwritable(folder: Path) -> str:
    """Return why a folder cannot be written, or an empty string; leaves nothing behind."""
    if not folder.is_dir():
        return "it is a file"
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


# --------------------------------------------------------------------------- data


def _data(registry: Registry, results: Path) -> Iterator[Finding]:
    """Which edition of each data set is here."""
    for entry in registry.entries("dataset"):
        try:
            cls = registry.entry("dataset", entry.name).load()
            there = cls(cls.Settings()).editions()
        except BenchError as error:
            yield Finding(f"data: {entry.name}", WARN, str(error), "")
            continue
        if "real" in there:
            yield Finding(f"data: {entry.name}", GOOD, "the real edition is here")
        else:
            other = " or ".join(there) or "no edition"
            cure = f"python -m bench show dataset {entry.name}   says where the real files go"
            yield Finding(f"data: {entry.name}", GOOD, f"real files are not here; {other} is", cure)


def _gb(n: float) -> str:
    return f"{n / 1e9:.1f} GB"


CHECKS: Mapping[str, Callable[[Registry, Path], Iterator[Finding]]] = {
    "versions": _versions,
    "plugins": _plugins,
    "cores": _cores,
    "torch": _runtimes,
    "memory": _memory,
    "disk": _disk,
    "data": _data,
}
"""Name -> check."""
