"""Table 6 of the seed paper: corrections after transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import table

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/table-6",
    "title": "corrections after transfer",
    "summary": "BEN with whitening and TVN on BBBC021.",
    "needs": ["records"],
    "paper": "Table 6",
}


def draw(given: Given) -> list[Path]:
    """Draw the published numbers and ours."""
    return table(given, META, "ben-2022-table6/")
