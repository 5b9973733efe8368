"""Confusion matrices, from predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.output.canvas import Canvas, canvas
from bench.output.figures._panels import panels, shape
from bench.output.figures._runs import group_stems, grouped, with_predictions
from bench.output.figures._shared import nothing
from bench.output.style import PAGE, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "confusion",
    "title": "Confusion matrices",
    "summary": "Confusion matrices; each row is a true class and sums to 1.",
    "needs": ["predictions"],
}
NAMED = 16
"""With more classes, names are not legible and the numbers are only in the CSV."""
WIDEST = 16
"""Maximum characters of a class name."""


def draw(inputs: FigureInput) -> list[Path]:
    """Draw one matrix per method, with the rows of all seeds pooled."""
    pairs = with_predictions(grouped(inputs.records))
    if not pairs:
        text = (
            "No record here keeps its predictions (published ones do not). "
            "A run of your own does: python -m bench run --method erm,ben --split ottawa"
        )
        return nothing(inputs, text)
    files: list[Path] = []
    for stem, (group, tables) in zip(
        group_stems(META["name"], [group for group, _ in pairs]), pairs, strict=True
    ):
        classes = group.records[0].classes
        labels = group.in_order(tables)
        lines, _, side = shape(len(labels))
        named = len(classes) <= NAMED
        height = lines * (side + 0.1) + 0.9
        with canvas(inputs.out, stem, group.runs_digest, PAGE, height) as drawn:
            image: AxesImage | None = None
            for label, ax in panels(drawn.figure, labels):
                counts = confusion(tables[label], len(classes))
                image = _panel(ax, counts, classes, named=named)
                _rows(drawn, group.facts, label, counts, classes)
            if image is not None:
                axes = [ax for ax in drawn.figure.axes if ax.axison]
                bar = drawn.figure.colorbar(image, ax=axes, shrink=min(1.0, 1.6 / height), pad=0.01)
                bar.set_label("share of the true class", fontsize=7)
                bar.outline.set_visible(False)
            drawn.title(f"{META['title']}: {group.split}", group.subtitle)
            seeds = max(len(stored) for stored in tables.values())
            text = "True classes down, predicted ones across in the same order; "
            text += "one seed." if seeds == 1 else f"up to {seeds} seeds pooled."
            drawn.notes([text if named else f"{text} {len(classes)} classes: see the CSV."], 130)
        files += drawn.files
    return files


def confusion(tables: Sequence[pd.DataFrame], n_classes: int) -> NDArray[np.int64]:
    """Return ``(K, K)`` counts over all tables, true classes in rows."""
    counts = np.zeros((n_classes, n_classes), np.int64)
    for table in tables:
        truth = table["y_true"].to_numpy(np.int64)
        known = truth >= 0
        np.add.at(counts, (truth[known], table["y_pred"].to_numpy(np.int64)[known]), 1)
    return counts


def _panel(
    ax: Axes, counts: NDArray[np.int64], classes: Sequence[str], *, named: bool
) -> AxesImage:
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    image = ax.imshow(shares, vmin=0, vmax=1, cmap="Blues", interpolation="nearest")
    ax.grid(visible=False)
    ticks = range(len(classes)) if named else []
    names = [shortened(name, WIDEST) for name in classes] if named else []
    ax.set_xticks([])
    ax.set_yticks(ticks, names, fontsize=6)
    for tick in ax.get_yticklabels():
        tick.set_parse_math(False)
    return image


def _rows(
    drawn: Canvas,
    facts: dict[str, object],
    label: str,
    counts: NDArray[np.int64],
    classes: Sequence[str],
) -> None:
    for i, j in np.argwhere(counts > 0).tolist():
        pair = {"true": classes[i], "predicted": classes[j], "n": int(counts[i, j])}
        share = float(counts[i, j] / counts[i].sum())
        drawn.table.append({**facts, "method": label, **pair, "share": share})
