"""Appendix B.2 of the seed paper: four cell lines with BEN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import Side, pair

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/fig-b2",
    "title": "four cell lines with BEN",
    "summary": "t-SNE of SimCLR and MinCLR features over four cell lines, with BEN.",
    "needs": ["records", "embeddings"],
    "paper": "Appendix B.2",
}
EXPERIMENTS = (
    "HUVEC-20",
    "HUVEC-21",
    "HEPG2-10",
    "HEPG2-11",
    "RPE-09",
    "RPE-10",
    "U2OS-05",
)
SIDES = [
    Side("SimCLR with BEN", "simclr-ben", "rxrx1/test", EXPERIMENTS),
    Side("MinCLR with BEN", "minclr-ben", "rxrx1/test", EXPERIMENTS),
]
SHOWS = (
    "The paper shows t-SNE plots over HUVEC, HEPG2, RPE and U2OS experiments: SimCLR with BEN "
    "merges RPE and HUVEC, MinCLR with BEN keeps the cell lines apart."
)


def draw(given: Given) -> list[Path]:
    """Draw the layouts of our own runs on the real data, or say what is missing."""
    return pair(given, META, SIDES, SHOWS)
