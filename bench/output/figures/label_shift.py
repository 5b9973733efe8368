"""The figure of the study ``label-shift``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._studies import from_study

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "label-shift",
    "title": "Test batches whose classes are not those of training",
    "summary": "Accuracy against the composition of the test batch, from the study label-shift.",
    "needs": ["studies"],
    "paper": "",
}


def draw(given: Given) -> list[Path]:
    """Show what the study drew."""
    return from_study(given, META)
