"""Table 5 of the seed paper: transfer to BBBC021."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import table

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/table-5",
    "title": "transfer to BBBC021",
    "summary": "Mechanism of action on BBBC021 without fine-tuning, beside the literature.",
    "needs": ["records"],
    "paper": "Table 5",
}


def draw(given: Given) -> list[Path]:
    """Draw the published numbers and ours."""
    return table(given, META, "ben-2022-table5/")
