"""Figure 3 of the seed paper: drug profiles of an encoder without BEN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import Side, pair

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/fig-3",
    "title": "drug profiles of an encoder without BEN",
    "summary": "t-SNE of drug profiles of BBBC021 from an encoder trained on RxRx1 without BEN.",
    "needs": ["records", "embeddings"],
    "paper": "Figure 3",
}
SIDES = [
    Side("without BEN", "minclr", "transfer/rxrx1-bbbc021", colour="class"),
]
SHOWS = (
    "The paper shows a t-SNE plot of 103 drug profiles of BBBC021 from an encoder trained on "
    "RxRx1 without BEN, coloured by 12 mechanisms of action."
)


def draw(given: Given) -> list[Path]:
    """Draw the layouts of our own runs on the real data, or say what is missing."""
    return pair(given, META, SIDES, SHOWS)
