"""Costs and remarks of the stages of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.core.types import Facts


@dataclass
class Spent:
    """Cost and reports of the stages of a fold.

    Attributes
    ----------
    fit_s, apply_s
        Durations in seconds.
    steps, images_seen
        Training steps, and rows that passed through the network in training.
    fallbacks
        Number of batches of each side that were too small, so a method's fallback was used.
    curves
        Logged values: ``fold``, ``stage``, ``step``, ``name``, ``value``.
    adaptation
        Message if a method adapted to rows without declaring it.
    """

    fit_s: float = 0.0
    apply_s: float = 0.0
    steps: int = 0
    images_seen: int = 0
    fallbacks: dict[str, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    curves: list[dict[str, str | int | float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    adaptation: str | None = None

    def add_fit(self, fold: str, stage: str, facts: Facts) -> None:
        """Add a training. Each chain is charged its full training cost."""
        self.fit_s += facts["fit_s"]
        self.steps += facts["steps"]
        self.images_seen += facts["images_seen"]
        self.curves += [
            {"fold": fold, "stage": stage, "step": step, "name": name, "value": value}
            for step, name, value in facts["curves"]
        ]

    def add_apply(self, role: str, facts: Facts) -> None:
        """Add a call of ``apply`` for all rows of a side."""
        self.apply_s += facts["apply_s"]
        # Stages of a chain see the same batches, so take the maximum, not the sum.
        self.fallbacks[role] = max(self.fallbacks[role], facts["fallbacks"])
        self.notes += facts["notes"]
        self.adaptation = self.adaptation or facts["adaptation"]

    def add_fold(self, other: Spent) -> None:
        """Add another fold."""
        self.fit_s += other.fit_s
        self.apply_s += other.apply_s
        self.steps += other.steps
        self.images_seen += other.images_seen
        for role, count in other.fallbacks.items():
            self.fallbacks[role] += count
        self.curves += other.curves
        self.notes += other.notes
        self.adaptation = self.adaptation or other.adaptation
