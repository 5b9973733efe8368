"""Layouts of our runs, drawn as in the original paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.canonical import digest
from bench.output.canvas import Canvas, canvas
from bench.output.figures._paper import PAPER
from bench.output.figures._scatter import chosen, key, scatter
from bench.output.figures._shared import nothing
from bench.output.style import PAGE, sentence
from bench.records.embeddings import embedding
from bench.records.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bench.output.figures import FigureInput
    from bench.records.record import Record


@dataclass(frozen=True)
class Panel:
    """A panel of a figure of layouts.

    Attributes
    ----------
    split
        Split of the run; real edition only.
    batches
        Prefixes of the displayed batches; all batches if empty.
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
        One sentence: what the paper shows.
    panels
        Our runs that correspond to it.
    why
        Why no run can show it; empty otherwise.
    """

    shows: str
    panels: tuple[Panel, ...] = ()
    why: str = ""


def draw_layouts(inputs: FigureInput, figure: Layouts) -> list[Path]:
    """Draw t-SNE layouts of our runs as in the paper, or state what is missing."""
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
    with canvas(inputs.out, meta["name"], digest(run_ids), PAGE, 3.9) as drawn:
        axes = drawn.figure.subplots(
            1, 2 * len(runs), squeeze=False, width_ratios=[3, 1.3] * len(runs)
        )[0]
        for k, (panel, run) in enumerate(zip(figure.panels, runs, strict=True)):
            _panel(drawn, axes[2 * k], axes[2 * k + 1], panel, run)
        below = "our runs on the real data; the paper's own points are not published"
        drawn.title(f"{meta['paper']} of {PAPER}: {meta['title']}", below)
        remarks = dict.fromkeys(run.remark for run in runs if run is not None and run.remark)
        drawn.notes([f"{figure.shows} Here: t-SNE, {RULE}.", *remarks], 130)
    return drawn.files


def _panel(drawn: Canvas, ax: Axes, legend: Axes, panel: Panel, run: Points | None) -> None:
    """Draw one layout with the legend on the right."""
    from bench.output.layouts import layout

    ax.set_title(panel.title, fontsize=8, parse_math=False)
    if run is None or len(run.X) < 4:
        legend.set_axis_off()
        if run is None:
            sentence(ax, "No such run of the real data keeps its embeddings here.", 34)
            drawn.table.append({"panel": panel.title, "note": "no such run"})
        else:
            sentence(ax, "Fewer than four such rows are in this run.", 34)
        return
    xy = layout(run.X, "tsne")
    scatter(ax, xy, run.names)
    key(legend, run.names.tolist(), panel.colour)
    for row, name, (x, y) in zip(run.ids.tolist(), run.names.tolist(), xy.tolist(), strict=True):
        drawn.table.append(
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
    X
        ``(n, d)`` embedding.
    ids, names
        ``(n,)`` ids, and the batches or classes that determine the colours.
    remark
        A sentence if the embedding was computed by other code than the record, else empty.
    """

    record: Record
    X: NDArray[np.float32]
    ids: NDArray[np.str_]
    names: NDArray[np.str_]
    remark: str = ""


def _points(inputs: FigureInput, panel: Panel) -> Points | None:
    """Return the rows of the first run that matches a panel."""
    wanted = (panel.method_id, panel.split, "real")
    for record in inputs.records:
        if (record.method_id, record.split_id, record.edition) != wanted:
            continue
        if not record.ok or record.recipe == "smoke":
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
    return Points(record, kept.X[rows], kept.ids[rows], names[rows], kept.remark)


def _group(batch: str, wanted: Sequence[str]) -> str:
    """Return the selected experiment of a batch: ``HUVEC-20`` for its plates."""
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
