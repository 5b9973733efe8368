"""Tables and figures of the original paper (Lin & Lu 2022), next to our numbers.

Our number is shown next to a published one only if both are for the same rows of the real data
(``bench.boards.claims``); otherwise the reason is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.output.figures._layouts import Layouts, Panel, draw_layouts
from bench.output.figures._paper import table

if TYPE_CHECKING:
    from pathlib import Path

    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: list[Meta] = [
    {
        "kind": "figure",
        "name": "paper/table-1",
        "title": "RxRx1-WILDS, official test",
        "summary": "Accuracy on new experiments of RxRx1, with and without BEN.",
        "needs": ["records"],
        "paper": "Table 1",
    },
    {
        "kind": "figure",
        "name": "paper/table-2",
        "title": "linear probes on single-cell crops",
        "summary": "Linear probes of supervised and self-supervised encoders, with and without "
        "BEN.",
        "needs": ["records"],
        "paper": "Table 2",
    },
    {
        "kind": "figure",
        "name": "paper/table-3",
        "title": "batch-wise training and batch-wise inference",
        "summary": "MinCLR with each half of BEN alone, two and five views.",
        "needs": ["records"],
        "paper": "Table 3",
    },
    {
        "kind": "figure",
        "name": "paper/table-4",
        "title": "what counts as a batch",
        "summary": "Batching by experiment or plate, statistics of a minibatch or the whole batch.",
        "needs": ["records"],
        "paper": "Table 4",
    },
    {
        "kind": "figure",
        "name": "paper/table-5",
        "title": "transfer to BBBC021",
        "summary": "Mechanism of action on BBBC021 without fine-tuning, next to the literature.",
        "needs": ["records"],
        "paper": "Table 5",
    },
    {
        "kind": "figure",
        "name": "paper/table-6",
        "title": "corrections after transfer",
        "summary": "BEN with whitening and TVN on BBBC021.",
        "needs": ["records"],
        "paper": "Table 6",
    },
    {
        "kind": "figure",
        "name": "paper/fig-1",
        "title": "SimCLR features of four HUVEC experiments",
        "summary": "t-SNE of SimCLR features of four test experiments, without and with BEN.",
        "needs": ["records", "embeddings"],
        "paper": "Figure 1",
    },
    {
        "kind": "figure",
        "name": "paper/fig-2",
        "title": "drug profiles of an ImageNet encoder",
        "summary": "t-SNE of 103 drug profiles of BBBC021 from an ImageNet encoder.",
        "needs": [],
        "paper": "Figure 2",
    },
    {
        "kind": "figure",
        "name": "paper/fig-3",
        "title": "drug profiles of an encoder without BEN",
        "summary": "t-SNE of drug profiles of BBBC021 from an encoder trained on RxRx1 without "
        "BEN.",
        "needs": ["records", "embeddings"],
        "paper": "Figure 3",
    },
    {
        "kind": "figure",
        "name": "paper/fig-4",
        "title": "drug profiles of an encoder with BEN",
        "summary": "t-SNE of drug profiles of BBBC021 from an encoder trained on RxRx1 with BEN.",
        "needs": ["records", "embeddings"],
        "paper": "Figure 4",
    },
    {
        "kind": "figure",
        "name": "paper/fig-b1-1",
        "title": "supervised features of four HUVEC experiments",
        "summary": "t-SNE of supervised features of four test experiments, without and with BEN.",
        "needs": ["records", "embeddings"],
        "paper": "Appendix B.1.1",
    },
    {
        "kind": "figure",
        "name": "paper/fig-b1-2",
        "title": "SimCLR features of four HUVEC experiments",
        "summary": "t-SNE of SimCLR features of four test experiments, without and with BEN.",
        "needs": ["records", "embeddings"],
        "paper": "Appendix B.1.2",
    },
    {
        "kind": "figure",
        "name": "paper/fig-b1-3",
        "title": "MinCLR features of four HUVEC experiments",
        "summary": "t-SNE of MinCLR features of four test experiments, without and with BEN.",
        "needs": ["records", "embeddings"],
        "paper": "Appendix B.1.3",
    },
    {
        "kind": "figure",
        "name": "paper/fig-b1-4",
        "title": "supervised single-cell features",
        "summary": "t-SNE of supervised single-cell features, without and with BEN.",
        "needs": [],
        "paper": "Appendix B.1.4",
    },
    {
        "kind": "figure",
        "name": "paper/fig-b2",
        "title": "four cell lines with BEN",
        "summary": "t-SNE of SimCLR and MinCLR features over four cell lines, with BEN.",
        "needs": ["records", "embeddings"],
        "paper": "Appendix B.2",
    },
    {
        "kind": "figure",
        "name": "paper/fig-c1",
        "title": "segmented cells per image",
        "summary": "Histogram of segmented cells per image of RxRx1.",
        "needs": [],
        "paper": "Appendix C.1",
    },
]

_HUVEC = ("HUVEC-20", "HUVEC-21", "HUVEC-22", "HUVEC-23")
_CELL_LINES = ("HUVEC-20", "HUVEC-21", "HEPG2-10", "HEPG2-11", "RPE-09", "RPE-10", "U2OS-05")


def _with_and_without(method: str, ben: str) -> tuple[Panel, ...]:
    return (
        Panel("without BEN", method, "rxrx1/test", _HUVEC),
        Panel("with BEN", ben, "rxrx1/test", _HUVEC),
    )


LAYOUTS = {
    "paper/fig-1": Layouts(
        "The paper shows two t-SNE plots of SimCLR features of four HUVEC test experiments, "
        "coloured by experiment: without BEN they are separate, with BEN they mix.",
        _with_and_without("simclr", "simclr-ben"),
    ),
    "paper/fig-2": Layouts(
        "The paper shows a t-SNE plot of 103 drug profiles of BBBC021 from an encoder trained on "
        "ImageNet, coloured by 12 mechanisms of action.",
        why="no method here has features of the paper's ResNet50; those of fixed-knn with "
        "features=imagenet are another network's.",
    ),
    "paper/fig-3": Layouts(
        "The paper shows a t-SNE plot of 103 drug profiles of BBBC021 from an encoder trained on "
        "RxRx1 without BEN, coloured by 12 mechanisms of action.",
        (Panel("without BEN", "minclr", "transfer/rxrx1-bbbc021", colour="class"),),
    ),
    "paper/fig-4": Layouts(
        "The paper shows a t-SNE plot of 103 drug profiles of BBBC021 from an encoder trained on "
        "RxRx1 with BEN, coloured by 12 mechanisms of action.",
        (Panel("with BEN", "minclr-ben", "transfer/rxrx1-bbbc021", colour="class"),),
    ),
    "paper/fig-b1-1": Layouts(
        "The paper shows two t-SNE plots of supervised features of HUVEC-20 to HUVEC-23, coloured "
        "by experiment, without and with BEN.",
        _with_and_without("erm", "ben"),
    ),
    "paper/fig-b1-2": Layouts(
        "The paper shows two t-SNE plots of SimCLR features of HUVEC-20 to HUVEC-23, coloured by "
        "experiment, without and with BEN.",
        _with_and_without("simclr", "simclr-ben"),
    ),
    "paper/fig-b1-3": Layouts(
        "The paper shows two t-SNE plots of MinCLR features of HUVEC-20 to HUVEC-23, coloured by "
        "experiment, without and with BEN.",
        _with_and_without("minclr", "minclr-ben"),
    ),
    "paper/fig-b1-4": Layouts(
        "The paper shows two t-SNE plots of features of a supervised single-cell classifier, "
        "HUVEC-20 to HUVEC-23, without and with BEN.",
        why="the paper pools features of single-cell crops of RxRx1, which no data set here reads.",
    ),
    "paper/fig-b2": Layouts(
        "The paper shows t-SNE plots over HUVEC, HEPG2, RPE and U2OS experiments: SimCLR with BEN "
        "merges RPE and HUVEC, MinCLR with BEN separates the cell lines.",
        (
            Panel("SimCLR with BEN", "simclr-ben", "rxrx1/test", _CELL_LINES),
            Panel("MinCLR with BEN", "minclr-ben", "rxrx1/test", _CELL_LINES),
        ),
    ),
    "paper/fig-c1": Layouts(
        "The paper shows a histogram of 0 to 75 segmented cells per image, stacked by cell type, "
        "with its mode near 12.",
        why="no data set here has a segmentation of RxRx1.",
    ),
}


def draw(inputs: FigureInput) -> list[Path]:
    """Draw published numbers or layouts next to ours, or state what is missing."""
    name = inputs.meta["name"]
    if name in LAYOUTS:
        return draw_layouts(inputs, LAYOUTS[name])
    return table(inputs, f"ben-2022-{name.removeprefix('paper/').replace('-', '')}/")
