"""Outcomes of an attack that lasts hours, kept in a file."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Counts:
    """Counts of outcomes; an attack with the same file continues where it ended.

    Parameters
    ----------
    path
        JSON file, read if it exists and written after each step; None keeps nothing.
    seed
        Seed of the attack; that of the file has precedence.

    Attributes
    ----------
    done
        Number of completed steps: cases, or blocks of cases.
    seconds
        Time that they took.
    """

    def __init__(self, path: Path | None = None, seed: int = 0) -> None:
        self.path, self.seed, self.done, self.seconds = path, seed, 0, 0.0
        self.outcomes: Counter[str] = Counter()
        if path is not None and path.exists():
            kept = json.loads(path.read_text())
            self.seed, self.done, self.seconds = kept["seed"], kept["done"], kept["seconds"]
            self.outcomes.update(kept["outcomes"])
        self._began = time.monotonic()

    def add(self, outcomes: Iterable[str] | Counter[str]) -> None:
        """Count the outcomes of one step, and write the file."""
        self.outcomes.update(outcomes)
        self.done += 1
        now = time.monotonic()
        self.seconds += now - self._began
        self._began = now
        if self.path is not None:
            part = self.path.with_name(f"{self.path.name}.part")
            part.write_text(json.dumps(self.shown(), indent=1))
            part.replace(self.path)

    def shown(self) -> dict[str, object]:
        """Return what the file has."""
        return {
            "seed": self.seed,
            "done": self.done,
            "seconds": round(self.seconds, 1),
            "cases": self.outcomes.total(),
            "outcomes": dict(sorted(self.outcomes.items())),
        }

    def __str__(self) -> str:
        """Return the totals, one outcome per line."""
        lines = [f"seed {self.seed}, {self.outcomes.total()} cases, {self.seconds:.0f} s"]
        lines += [f"{n:6d}  {name}" for name, n in sorted(self.outcomes.items())]
        return "\n".join(lines) + "\n"
