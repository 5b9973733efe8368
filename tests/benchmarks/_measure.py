"""Measure two calls in turns, and write the figures for the page of benchmarks."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
PACKAGES = ("torch", "numpy", "scikit-learn", "scanpy", "harmonypy", "pycytominer", "copairs")


class Figures:
    """Results of one benchmark.

    Parameters
    ----------
    name
        Name of the benchmark and of its file in ``docs/benchmarks``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[dict[str, Any]] = []
        self.other: dict[str, Any] = {}

    def ratio(
        self,
        group: str,
        what: str,
        ours: Callable[[], object],
        theirs: Callable[[], object],
        *,
        repeats: int = 5,
        goal: float | None = None,
        invert: bool = False,
        note: str = "",
        clock: Callable[[], float] = time.process_time,
    ) -> float:
        """Measure two calls in turns; add the ratio of their times, and return its median.

        Parameters
        ----------
        ours, theirs
            A call that returns a float has measured its own seconds.
        goal
            Largest wanted ratio, or with ``invert`` the smallest.
        invert
            Whether to give theirs by ours, so that larger is better.
        clock
            Default: processor time of the process, which other work on the machine changes least.
        """
        pairs = [(_seconds(ours, clock), _seconds(theirs, clock)) for _ in range(repeats)]
        ratios = sorted(b / a if invert else a / b for a, b in pairs)
        row = {
            "group": group,
            "what": what,
            "ratio": round(statistics.median(ratios), 3),
            "low": round(ratios[0], 3),
            "high": round(ratios[-1], 3),
            "repeats": repeats,
            "ours_s": round(statistics.median(a for a, _ in pairs), 4),
            "theirs_s": round(statistics.median(b for _, b in pairs), 4),
            "higher_is_better": invert,
            "goal": goal,
            "clock": "processor" if clock is time.process_time else "wall",
            "note": note,
        }
        self.rows.append(row)
        missed = goal is not None and (row["ratio"] < goal if invert else row["ratio"] > goal)
        wanted = "" if goal is None else f" ({'at least' if invert else 'at most'} {goal:g})"
        print(
            f"{group}: {what}: {row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]{wanted}"
            f"{' MISSED' if missed else ''}; {row['ours_s']:.3f} s and {row['theirs_s']:.3f} s",
            flush=True,
        )
        return float(row["ratio"])

    def write(self) -> Path:
        """Write JSON; rows that were not measured this time are kept."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{self.name}.json"
        new = {(row["group"], row["what"]) for row in self.rows}
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        old = before.get("rows", [])
        here = machine()
        for row in old:  # the document names the machine of the last benchmark only
            row.setdefault("cpu", before["machine"]["cpu"])
        for row in self.rows:
            row["cpu"] = here["cpu"]
        kept = [row for row in old if (row["group"], row["what"]) not in new]
        document = {
            **before,
            **self.other,
            "machine": here,
            "rows": sorted([*kept, *self.rows], key=lambda row: str(row["group"])),
        }
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        return path


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    model = "unknown"
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.is_file() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _installed(PACKAGES)},
    }


def _installed(names: Iterable[str]) -> list[str]:
    result = []
    for name in names:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        result.append(name)
    return result


def _seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    measured = call()
    return measured if isinstance(measured, float) else clock() - started
