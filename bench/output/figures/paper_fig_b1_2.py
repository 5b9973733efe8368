"""Appendix B.1.2 of the seed paper: SimCLR features of four HUVEC experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import Side, pair

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/fig-b1-2",
    "title": "SimCLR features of four HUVEC experiments",
    "summary": "t-SNE of SimCLR features of four test experiments, without and with BEN.",
    "needs": ["records", "embeddings"],
    "paper": "Appendix B.1.2",
}
EXPERIMENTS = ("HUVEC-20", "HUVEC-21", "HUVEC-22", "HUVEC-23")
SIDES = [
    Side("without BEN", "simclr", "rxrx1/test", EXPERIMENTS),
    Side("with BEN", "simclr-ben", "rxrx1/test", EXPERIMENTS),
]
SHOWS = (
    "The paper shows two t-SNE plots of SimCLR features of HUVEC-20 to HUVEC-23, coloured by "
    "experiment, without and with BEN."
)


def draw(given: Given) -> list[Path]:
    """Draw the layouts of our own runs on the real data, or say what is missing."""
    return pair(given, META, SIDES, SHOWS)
