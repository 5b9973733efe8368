"""Table 4 of the seed paper: what counts as a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import table

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/table-4",
    "title": "what counts as a batch",
    "summary": "Batching by experiment or plate, statistics of a minibatch or the whole batch.",
    "needs": ["records"],
    "paper": "Table 4",
}


def draw(given: Given) -> list[Path]:
    """Draw the published numbers and ours."""
    return table(given, META, "ben-2022-table4/")
