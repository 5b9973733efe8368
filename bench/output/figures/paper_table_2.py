"""Table 2 of the seed paper: linear probes on single-cell crops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import table

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/table-2",
    "title": "linear probes on single-cell crops",
    "summary": "Linear probes of supervised and self-supervised encoders, with and without BEN.",
    "needs": ["records"],
    "paper": "Table 2",
}


def draw(given: Given) -> list[Path]:
    """Draw the published numbers and ours."""
    return table(given, META, "ben-2022-table2/")
