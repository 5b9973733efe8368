"""Calibration: accuracy of predictions by confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.output.canvas import canvas
from bench.output.figures._panels import panels, shape
from bench.output.figures._runs import group_stems, grouped, with_predictions
from bench.output.figures._shared import nothing
from bench.output.style import PAGE, colour_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from bench.core.meta import Meta
    from bench.output.figures import FigureInput

META: Meta = {
    "kind": "figure",
    "name": "reliability",
    "title": "Reliability diagrams",
    "summary": "Reliability diagrams from predicted scores, with the expected calibration error.",
    "needs": ["predictions"],
}
BINS = 15
"""Bins of equal width, closed on the right, as in the metric ``calibration_error``."""


def draw(inputs: FigureInput) -> list[Path]:
    """Draw accuracy over confidence, one panel per method; bin size shows the fraction of rows."""
    pairs = [
        (group, tables)
        for group, tables in with_predictions(grouped(inputs.records))
        if all("scores" in table for stored in tables.values() for table in stored)
    ]
    if not pairs:
        text = (
            "No record here keeps its predicted scores (published ones do not). "
            "A run of your own does: python -m bench run --method erm,ben --split ottawa"
        )
        return nothing(inputs, text)
    files: list[Path] = []
    for stem, (group, tables) in zip(
        group_stems(META["name"], [group for group, _ in pairs]), pairs, strict=True
    ):
        labels = group.in_order(tables)
        readouts = {
            name: {record.readout for record in records}
            for name, records in group.by_label().items()
        }
        lines, _, side = shape(len(labels))
        with canvas(
            inputs.out, stem, group.runs_digest, PAGE, lines * (side + 0.2) + 1.05
        ) as drawn:
            for label, ax in panels(drawn.figure, labels):
                bins = reliability(tables[label])
                error = float(np.abs(bins["right"] - bins["confidence"]) @ bins["share"])
                colour = colour_of(label)
                ax.plot([0, 1], [0, 1], color="#888888", linewidth=0.8, linestyle=(0, (4, 3)))
                filled = bins["share"] > 0
                x, y = bins["confidence"][filled], bins["right"][filled]
                ax.plot(x, y, color=colour, linewidth=1.0, zorder=3)
                sizes = 4 + 90 * bins["share"][filled]
                ax.scatter(
                    x, y, s=sizes, color=colour, alpha=0.75, linewidths=0, zorder=4, clip_on=False
                )
                readout = "/".join(sorted(readouts[label]))
                ax.set_xlabel(f"ECE {error:.3f} ({readout})", fontsize=7)
                ax.set_xlim(0, 1.02)
                ax.set_ylim(-0.02, 1.02)
                ax.set_aspect("equal")
                for k in np.flatnonzero(filled).tolist():
                    row = {name: float(values[k]) for name, values in bins.items()}
                    drawn.table.append(
                        {**group.facts, "method": label, "readout": readout, "bin": k, **row}
                    )
            drawn.figure.supylabel("share that is right", fontsize=8)
            drawn.title(f"{META['title']}: {group.split}", group.subtitle)
            drawn.notes(
                [
                    "Across: confidence, the score of the predicted class. Below the dashed line a "
                    "method is too sure. Areas: share of rows. ECE: expected calibration error, "
                    f"{BINS} bins, seeds pooled."
                ],
                130,
            )
        files += drawn.files
    return files


def reliability(tables: Sequence[pd.DataFrame]) -> dict[str, NDArray[np.float64]]:
    """Return mean confidence, accuracy and fraction of rows per bin, ``(15,)``; 0 if empty."""
    parts = []
    for table in tables:
        truth = table["y_true"].to_numpy(np.int64)
        known = truth >= 0
        scores = np.stack(table["scores"].to_list()).astype(np.float64)[known]
        parts.append((scores.max(axis=1).clip(0, 1), scores.argmax(axis=1) == truth[known]))
    confidence = np.concatenate([part for part, _ in parts])
    right = np.concatenate([part for _, part in parts]).astype(np.float64)
    which = np.ceil(confidence * BINS).astype(np.int64).clip(1, BINS) - 1
    n = np.bincount(which, minlength=BINS)
    drawn = {
        name: np.bincount(which, weights=values, minlength=BINS) / np.maximum(n, 1)
        for name, values in (("confidence", confidence), ("right", right))
    }
    return {**drawn, "share": n / max(len(confidence), 1)}
