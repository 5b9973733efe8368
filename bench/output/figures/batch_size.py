"""The figure of the study ``batch-size``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._studies import from_study

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "batch-size",
    "title": "Rows that an inference batch must hold",
    "summary": "Accuracy against the rows of an inference batch, from the study batch-size.",
    "needs": ["studies"],
    "paper": "",
}


def draw(given: Given) -> list[Path]:
    """Show what the study drew."""
    return from_study(given, META)
