"""The readout that a board ranks by: one rule for boards, findings and studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records.record import Record


READOUT_RULE = (
    "The readout is the shared probe for all rows, so a value does not depend on the other rows. A "
    "classifier (fixed-forest, fixed-knn, fixed-logistic) keeps its own head. The "
    "calibration_error is that of the head."
)
"""The rule of :func:`readout_of` and :func:`row_readout`, stated below tables."""


def readout_of(runs: Sequence[Record], metric: str, requested: str = "auto") -> str:
    """Return the readout used to compare runs.

    Parameters
    ----------
    metric
        Name without a readout.
    requested
        ``head``, ``probe``, ``knn1``, or ``auto``: the readout that META of the metric names, else
        the probe, unless a run with the metric has a value by its head only.

    Returns
    -------
    str
        A readout, or ``embedding`` for a metric of the profiles. A classifier decides nothing: it
        keeps its head on every board.
    """
    from bench.metrics import METRICS

    meta = METRICS.get(metric)
    if not any(f"{head}.{metric}" in run.metrics for run in runs for head in ("head", "probe")):
        # Records use prefixed values for all predictions of a readout, so a metric without prefix
        # is one of the profiles, unless its META states that it needs predictions.
        needs = None if meta is None else meta["needs"]
        own = {run.readout for run in runs if metric in run.metrics}
        if needs == "embedding" or (needs is None and len(own) > 1):
            return "embedding"
        if requested != "auto":
            return requested
        return own.pop() if len(own) == 1 else "probe"
    if requested != "auto":
        return requested
    if (
        meta
        and "readout" in meta
        and any(f"{meta['readout']}.{metric}" in run.metrics for run in runs)
    ):
        return meta["readout"]
    # A run without the metric, such as one that knows which rows are controls, decides nothing.
    head, probe = f"head.{metric}", f"probe.{metric}"
    only_head = any(
        head in run.metrics and probe not in run.metrics and not run.classifier for run in runs
    )
    return "head" if only_head or not any(probe in run.metrics for run in runs) else "probe"


def row_readout(run: Record, readout: str) -> str:
    """Return the readout of one row of a board.

    On a board by probe, a classifier keeps its own head: the probe on the features that it uses
    would not measure the classifier.

    Parameters
    ----------
    readout
        Readout of the board, from :func:`readout_of`.
    """
    return "head" if readout == "probe" and run.classifier else readout
