"""Table 1 of the seed paper: RxRx1-WILDS, official test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import table

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/table-1",
    "title": "RxRx1-WILDS, official test",
    "summary": "Accuracy on new experiments of RxRx1, with and without BEN.",
    "needs": ["records"],
    "paper": "Table 1",
}


def draw(given: Given) -> list[Path]:
    """Draw the published numbers and ours."""
    return table(given, META, "ben-2022-table1/")
