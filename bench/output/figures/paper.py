"""Tables and figures of the seed paper (Lin & Lu 2022), next to our numbers.

Our number is drawn next to a published one only if both are from the real data and the same rows
(``bench.boards.claims``); otherwise the reason is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.canonical import digest
from bench.output.canvas import Canvas, canvas
from bench.output.figures._paper import PAPER, table
from bench.output.figures._scatter import chosen, key, scatter
from bench.output.figures._shared import nothing
from bench.output.style import PAGE, sentence
from bench.records.embeddings import embedding
from bench.records.record import Record
from bench.records.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bench.output.figures import FigureInput

META: list[dict[str, Any]] = [
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
        "summary": "Mechanism of action on BBBC021 without fine-tuning, beside the literature.",
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


@dataclass(frozen=True)
class Panel:
    """A panel of a figure of layouts.

    Attributes
    ----------
    title
        Title of the panel.
    method_id
        Method of the run.
    split
        Its split; real edition only.
    batches
        Prefixes of the batches to show; all batches if empty.
    colour
        ``batch``, or ``class``.
    """

    title: str
    method_id: str
    split: str
    batches: tuple[str, ...] = ()
    colour: str = "batch"


@dataclass(frozen=True)
class Layouts:
    """A figure of layouts.

    Attributes
    ----------
    shows
        What the paper shows, one sentence.
    panels
        Our runs that show the same.
    why
        Reason why none of our runs can show it; empty if they can.
    """

    shows: str
    panels: tuple[Panel, ...] = ()
    why: str = ""


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
        "coloured by experiment: without BEN they lie apart, with BEN they mix.",
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
        "merges RPE and HUVEC, MinCLR with BEN keeps the cell lines apart.",
        (
            Panel("SimCLR with BEN", "simclr-ben", "rxrx1/test", _CELL_LINES),
            Panel("MinCLR with BEN", "minclr-ben", "rxrx1/test", _CELL_LINES),
        ),
    ),
    "paper/fig-c1": Layouts(
        "The paper shows a histogram of 0 to 75 segmented cells per image, stacked by cell type, "
        "with its mode near 12.",
        why="no data set here holds a segmentation of RxRx1.",
    ),
}


def draw(inputs: FigureInput) -> list[Path]:
    """Draw published numbers or layouts next to ours, or say what is missing."""
    name = inputs.meta["name"]
    if name in LAYOUTS:
        return _layouts(inputs, LAYOUTS[name])
    return table(inputs, f"ben-2022-{name.removeprefix('paper/').replace('-', '')}/")


def _layouts(inputs: FigureInput, figure: Layouts) -> list[Path]:
    """Draw t-SNE layouts of our runs as in the paper, or say what is missing."""
    if figure.why:
        return nothing(inputs, f"{figure.shows} Not drawn here: {figure.why}")
    runs = [_points(inputs, panel) for panel in figure.panels]
    if all(run is None for run in runs):
        split = figure.panels[0].split
        methods = ",".join(dict.fromkeys(panel.method_id for panel in figure.panels))
        text = (
            f"{figure.shows} No run of the real {split} with {methods} keeps its embeddings here; "
            f"they are made by: python -m bench run --method {methods} --split {split} "
            "--edition real --recipe paper"
        )
        return nothing(inputs, text)
    from bench.output.layouts import RULE

    run_ids = [None if run is None else run.record.run_id for run in runs]
    meta = inputs.meta
    with canvas(inputs.out, meta["name"], digest(run_ids), PAGE, 3.9) as made:
        axes = made.figure.subplots(
            1, 2 * len(runs), squeeze=False, width_ratios=[3, 1.3] * len(runs)
        )[0]
        for k, (panel, run) in enumerate(zip(figure.panels, runs, strict=True)):
            _panel(made, axes[2 * k], axes[2 * k + 1], panel, run)
        below = "our runs on the real data; the paper's own points are not published"
        made.title(f"{meta['paper']} of {PAPER}: {meta['title']}", below)
        made.notes([f"{figure.shows} Here: t-SNE, {RULE}."], 130)
    return made.files


def _panel(made: Canvas, ax: Axes, legend: Axes, panel: Panel, run: Points | None) -> None:
    """Draw one layout with the legend at its right."""
    from bench.output.layouts import layout

    ax.set_title(panel.title, fontsize=8, parse_math=False)
    if run is None or len(run.X) < 4:
        legend.set_axis_off()
        if run is None:
            sentence(ax, "No such run of the real data keeps its embeddings here.", 34)
            made.table.append({"panel": panel.title, "note": "no such run"})
        else:
            sentence(ax, "Fewer than four such rows are in this run.", 34)
        return
    xy = layout(run.X, "tsne")
    scatter(ax, xy, run.names)
    key(legend, run.names.tolist(), panel.colour)
    for row, name, (x, y) in zip(run.ids.tolist(), run.names.tolist(), xy.tolist(), strict=True):
        made.table.append(
            {
                "panel": panel.title,
                "run_id": run.record.run_id,
                "id": row,
                panel.colour: name,
                "x": round(x, 5),
                "y": round(y, 5),
            }
        )


@dataclass(frozen=True, eq=False)
class Points:
    """Rows of a run.

    Attributes
    ----------
    record
        The run.
    X
        ``(n, d)`` embedding.
    ids, names
        ``(n,)`` ids, and the batches or classes that give the colours.
    """

    record: Record
    X: NDArray[np.float32]
    ids: NDArray[np.str_]
    names: NDArray[np.str_]


def _points(inputs: FigureInput, panel: Panel) -> Points | None:
    """Return the rows of the first run that a panel can show."""
    wanted = (panel.method_id, panel.split, "real", "ok")
    for record in inputs.records:
        if not isinstance(record, Record):
            continue
        run = record.summary
        if (run["method_id"], run["split_id"], run["edition"], run.get("status")) != wanted:
            continue
        if run["recipe"] == "smoke":
            continue
        by_class = panel.colour == "class"
        points = _treatments(record) if by_class else _rows(inputs.results, record, panel)
        if points is not None:
            return points
    return None


def _rows(results: Path | None, record: Record, panel: Panel) -> Points | None:
    """Return the rows of the panel's batches, coloured by batch."""
    from bench.output.layouts import MOST

    kept = None if results is None else embedding(Store(results), record, 0)
    if kept is None:
        return None
    names = np.array([_group(batch, panel.batches) for batch in kept.batch.tolist()], dtype=str)
    shown = np.flatnonzero(names != "")
    rows = shown[chosen(kept.ids[shown], MOST)]
    return Points(record, kept.X[rows], kept.ids[rows], names[rows])


def _group(batch: str, wanted: Sequence[str]) -> str:
    """Return which of the wanted experiments a batch belongs to: ``HUVEC-20`` for its plates."""
    if not wanted:
        return batch
    return next((name for name in wanted if batch == name or _begins(batch, name)), "")


def _begins(batch: str, name: str) -> bool:
    return batch.startswith(name) and not batch[len(name)].isalnum()


def _treatments(record: Record) -> Points | None:
    """Return the mean profile of each treatment and its class, from a retrieval run."""
    table = record.predictions()
    if table is None or not {"profile", "treatment"} <= set(table):
        return None
    X, ids, names = [], [], []
    for treatment, rows in table.groupby("treatment", sort=True):
        X.append(np.stack(rows["profile"].to_list()).mean(axis=0))
        ids.append(str(treatment))
        names.append(str(record.classes[int(rows["y_true"].iloc[0])]))
    return Points(record, np.asarray(X, dtype=np.float32), np.array(ids), np.array(names))
