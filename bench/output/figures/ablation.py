"""The figure of the study ``ablation``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._studies import from_study

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "ablation",
    "title": "How batches are drawn and which statistics are used",
    "summary": "Sampling crossed with BatchNorm statistics, from the study ablation.",
    "needs": ["studies"],
    "paper": "",
}


def draw(given: Given) -> list[Path]:
    """Show what the study drew."""
    return from_study(given, META)
