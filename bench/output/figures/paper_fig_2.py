"""Figure 2 of the seed paper: drug profiles of an ImageNet encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.output.figures._paper import pair

if TYPE_CHECKING:
    from pathlib import Path

    from bench.output.figures import Given

META: dict[str, Any] = {
    "kind": "figure",
    "name": "paper/fig-2",
    "title": "drug profiles of an ImageNet encoder",
    "summary": "t-SNE of 103 drug profiles of BBBC021 from an ImageNet encoder.",
    "needs": [],
    "paper": "Figure 2",
}
SHOWS = (
    "The paper shows a t-SNE plot of 103 drug profiles of BBBC021 from an encoder trained on "
    "ImageNet, coloured by 12 mechanisms of action."
)
WHY = (
    "no method here has features of the paper's ResNet50; those of fixed-knn with "
    "features=imagenet are another network's."
)


def draw(given: Given) -> list[Path]:
    """Say what the paper shows and why there is none of ours."""
    return pair(given, META, [], SHOWS, WHY)
