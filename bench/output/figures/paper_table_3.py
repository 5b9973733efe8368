"""Table 3 of the seed paper: batch-wise training and batch-wise inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import table

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/table-3",
    "title": "batch-wise training and batch-wise inference",
    "summary": "MinCLR with each half of BEN alone, two and five views.",
    "needs": ["records"],
    "paper": "Table 3",
}


def draw(given: Given) -> list[Path]:
    """Draw the published numbers and ours."""
    return table(given, META, "ben-2022-table3/")
