"""The figure of the study ``mechanism``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._studies import from_study

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "mechanism",
    "title": "What the batch statistics of each layer hold",
    "summary": "What explains the BatchNorm statistics of batches, from the study mechanism.",
    "needs": ["studies"],
    "paper": "",
}


def draw(given: Given) -> list[Path]:
    """Show what the study drew."""
    return from_study(given, META)
