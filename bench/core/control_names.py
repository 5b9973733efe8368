"""Literals of the control rows, which ``list`` shows without importing code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.meta import with_defaults

if TYPE_CHECKING:
    from bench.core.meta import Meta


CONTROL = "reference"
"""Track and kind of method of a control row, as in records and in ``list``."""
_SUMMARIES = {
    "identity": "No correction: the table itself; on images fixed untrained features.",
    "pca": "No correction, in 50 principal components as in harmony.",
    "pca-100": "No correction, in 100 principal components as in scanorama.",
    "shuffle": "The features of a random other row: chance level of every metric.",
    "batch-mean": "The mean of the row's batch: the batch effect without the rows.",
    "label-oracle": "The true class, one-hot with noise: ceiling of metrics with oracle_is_best.",
    "position-only": "Position on the plate only: how well the layout predicts the class.",
    "cell-count-only": "Number of cells only: how well it predicts the class.",
    "batch-only": "Names of the row's batches only: how well the batch predicts the class.",
}
NAMES = tuple(_SUMMARIES)
_SEEDED = ("shuffle", "label-oracle")
"""Control rows that draw random numbers; the others are deterministic."""


def _meta(name: str, summary: str) -> Meta:
    meta: Meta = {
        "kind": "method",
        "name": name,
        "summary": summary,
        "level": CONTROL,
        "deterministic": name not in _SEEDED,
        "reference": "the row is defined by its construction",
    }
    return with_defaults("method", meta)


METAS = tuple(_meta(name, summary) for name, summary in _SUMMARIES.items())


def is_control_row(label: object) -> bool:
    """Whether the track of a record, or the kind of a method, is that of a control row.

    Control rows (``identity``, ``shuffle``, ...) are shown for comparison and are unranked.
    """
    return label == CONTROL
