"""Figure 4 of the seed paper: drug profiles of an encoder with BEN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import Side, pair

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/fig-4",
    "title": "drug profiles of an encoder with BEN",
    "summary": "t-SNE of drug profiles of BBBC021 from an encoder trained on RxRx1 with BEN.",
    "needs": ["records", "embeddings"],
    "paper": "Figure 4",
}
SIDES = [
    Side("with BEN", "minclr-ben", "transfer/rxrx1-bbbc021", colour="class"),
]
SHOWS = (
    "The paper shows a t-SNE plot of 103 drug profiles of BBBC021 from an encoder trained on "
    "RxRx1 with BEN, coloured by 12 mechanisms of action."
)


def draw(given: Given) -> list[Path]:
    """Draw the layouts of our own runs on the real data, or say what is missing."""
    return pair(given, META, SIDES, SHOWS)
