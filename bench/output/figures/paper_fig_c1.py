"""Appendix C.1 of the seed paper: segmented cells per image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import pair

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/fig-c1",
    "title": "segmented cells per image",
    "summary": "Histogram of segmented cells per image of RxRx1.",
    "needs": [],
    "paper": "Appendix C.1",
}
SHOWS = (
    "The paper shows a histogram of 0 to 75 segmented cells per image, stacked by cell type, "
    "with its mode near 12."
)
WHY = "no data set here holds a segmentation of RxRx1."


def draw(given: Given) -> list[Path]:
    """Say what the paper shows and why there is none of ours."""
    return pair(given, META, [], SHOWS, WHY)
