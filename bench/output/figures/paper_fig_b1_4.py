"""Appendix B.1.4 of the seed paper: supervised single-cell features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import pair

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/fig-b1-4",
    "title": "supervised single-cell features",
    "summary": "t-SNE of supervised single-cell features, without and with BEN.",
    "needs": [],
    "paper": "Appendix B.1.4",
}
SHOWS = (
    "The paper shows two t-SNE plots of features of a supervised single-cell classifier, "
    "HUVEC-20 to HUVEC-23, without and with BEN."
)
WHY = "the paper pools features of single-cell crops of RxRx1, which no data set here reads."


def draw(given: Given) -> list[Path]:
    """Say what the paper shows and why there is none of ours."""
    return pair(given, META, [], SHOWS, WHY)
