"""Read values of a record for a board."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.boards.board import (
    PREFIXES,
    Values,  # TC
    sorted_json,
)
from bench.boards.stats.scores import Scores
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.core.meta import Meta

__all__ = ["label_of"]


def bare_metric(name: str) -> str:
    prefix, _, rest = name.partition(".")
    return rest if f"{prefix}." in PREFIXES else name


def readout_of(runs: Sequence[Mapping[str, Any]], metric: str, asked: str) -> str:
    """Return ``head``, ``probe``, or ``embedding`` for a metric that needs no read-out."""
    split = [
        run
        for run in runs
        if f"head.{metric}" in run["metrics"] or f"probe.{metric}" in run["metrics"]
    ]
    if not split:
        # Records write prefixed values for all that a read-out predicts, so a bare metric is one
        # of the profiles themselves, unless its own file says that it needs predictions.
        needs = _metric_meta(metric).get("needs")
        own = {str(run.get("readout")) for run in runs if metric in run["metrics"]}
        if needs == "embedding" or (needs is None and len(own) > 1):
            return "embedding"
        if asked != "auto":
            return asked
        return own.pop() if len(own) == 1 else "probe"
    if asked != "auto":
        return asked
    return "head" if all(f"head.{metric}" in run["metrics"] for run in runs) else "probe"


def record_value(run: Mapping[str, Any], metric: str, readout: str) -> float | None:
    metrics = run["metrics"]
    if readout == "embedding":
        return metrics.get(metric)  # type: ignore[no-any-return]
    value = metrics.get(f"{readout}.{metric}")
    if value is None and run.get("readout") == readout:
        value = metrics.get(metric)
    return value  # type: ignore[no-any-return]


def scores_of(
    runs: Mapping[int, Mapping[str, Any]], metric: str, readout: str
) -> tuple[Scores, dict[str, float]]:
    """Return the scores of a method by seed and cluster, and the mean over seeds of each cluster.

    Clusters that have no value for one of the seeds are left out.

    Parameters
    ----------
    runs
        Seed -> summary of a run that has a value (:func:`record_value`).
    metric
        Name without a read-out.
    readout
        As from :func:`readout_of`.

    Raises
    ------
    BenchError
        If a run has no value.
    """
    tables = {seed: _columns(run, metric, readout) for seed, run in sorted(runs.items())}
    shared = set.intersection(*(set(table["values"]) for table in tables.values()))
    names = sorted(shared)
    additive = bool(names) and all(
        shared <= set(table["parts"]) and shared <= set(table["weights"])
        for table in tables.values()
    )
    first = tables[min(tables)]
    # Weights come from the true classes of the rows: they are the same for every seed.
    sizes = [first["weights" if additive else "n"].get(name, 0.0) for name in names]
    kind = "parts" if additive else "values"
    scores = Scores(
        np.array([[table[kind][name] for name in names] for table in tables.values()]),
        tuple(tables),
        tuple(names),
        np.array(sizes) if all(size > 0 for size in sizes) else None,
        tuple(_value(runs[seed], metric, readout) for seed in tables),
        additive,
    )
    points = {
        name: math.fsum(table["values"][name] for table in tables.values()) / len(tables)
        for name in names
    }
    return scores, points


def _value(run: Mapping[str, Any], metric: str, readout: str) -> float:
    value = record_value(run, metric, readout)
    if value is None:
        raise BenchError(f"run {run['run_id']} has no {metric} by {readout}")
    return float(value)


def _columns(run: Mapping[str, Any], metric: str, readout: str) -> dict[str, dict[str, float]]:
    """Return values, parts, weights and sizes of a run by cluster; a cluster may lack each."""
    clusters = run.get("clusters") or {}
    names = [str(name) for name in clusters.get("names", ())]
    found = {"n": dict(zip(names, map(float, clusters.get("n", ())), strict=False))}
    for kind in ("values", "parts", "weights"):
        columns = clusters.get(kind) or {}
        column = None
        if readout != "embedding":
            column = columns.get(f"{readout}.{metric}")
        if column is None and readout in ("embedding", run.get("readout")):
            column = columns.get(metric)
        cells = zip(names, column or (), strict=False)
        found[kind] = {name: float(value) for name, value in cells if value is not None}
    return found


def row_key(run: Mapping[str, Any]) -> str:
    budget = [budget_of(run)] if run.get("tuning") else []
    return sorted_json([run["method_id"], changed_params(run), run.get("versions", {}), *budget])


def budget_of(run: Mapping[str, Any]) -> tuple[int, float, int]:
    """Return what could be spent on tuning a fold: trials finished, seconds, validation sets."""
    said = run["tuning"]
    return (
        int(said.get("trials", 0)),
        float(said.get("seconds_asked", 0.0)),
        int(said.get("validations", 1)),
    )


def changed_params(run: Mapping[str, Any]) -> dict[str, Any]:
    return {stage: dict(params) for stage, params in (run.get("params") or {}).items() if params}


def methods_with_versions(groups: Mapping[str, list[dict[str, Any]]]) -> set[str]:
    """Return the rows that need their version in the label, since another version is there."""
    by_label: dict[str, list[str]] = {}
    for key, runs in groups.items():
        by_label.setdefault(label_of(runs[0]["method_id"], changed_params(runs[0])), []).append(key)
    return {key for keys in by_label.values() if len(keys) > 1 for key in keys}


def label_of(method_id: str, params: Mapping[str, Values]) -> str:
    """Return ``ben(level=week,rows=controls)``, ``erm+tvn(rank=50)``: what a row is called.

    Parameters
    ----------
    method_id
        The chain, stages joined by ``+``.
    params
        Parameters that differ from their defaults, by stage.
    """
    stages = method_id.split("+")
    words = []
    for stage in [*stages, *sorted(set(params) - set(stages))]:
        values = params.get(stage) or {}
        inner = ",".join(f"{key}={word(values[key])}" for key in sorted(values))
        words.append(f"{stage}({inner})" if inner else stage)
    return "+".join(words)


def word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _metric_meta(metric: str) -> Meta:
    """Return the literal of a packaged metric; empty if unknown."""
    from bench.metrics import METRICS

    return METRICS.get(metric, {})


def metric_higher_is_better(metric: str) -> bool:
    return bool(_metric_meta(metric).get("higher_is_better", True))
