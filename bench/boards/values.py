"""Scores of records for boards, and the keys and labels of rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.board import Values, sorted_json  # TC
from bench.boards.stats.scores import Scores
from bench.core.errors import BenchError
from bench.core.words import setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.core.meta import Meta
    from bench.records.record import Record
    from bench.records.schema import CodeSummary, Tuning


def scores_of(
    runs: Mapping[int, Record], metric: str, readout: str
) -> tuple[Scores, dict[str, float]]:
    """Return the scores of a method by seed and cluster, and the mean over seeds of each cluster.

    Clusters without a value for every seed are excluded.

    Parameters
    ----------
    runs
        Seed -> run that has a value.
    metric
        Name without a readout.
    readout
        As from :func:`bench.boards.readouts.readout_of`.

    Raises
    ------
    BenchError
        If a run has no value.
    """
    tables = {seed: run.scores(metric, readout) for seed, run in sorted(runs.items())}
    shared = set.intersection(*(set(table.values) for table in tables.values()))
    names = sorted(shared)
    additive = bool(names) and all(
        shared <= set(table.parts) and shared <= set(table.weights) for table in tables.values()
    )
    first = tables[min(tables)]
    # Weights come from the true classes of the rows: they are the same for every seed.
    sizes: Mapping[str, float] = first.weights if additive else first.sizes
    columns = [table.parts if additive else table.values for table in tables.values()]
    scores = Scores(
        np.array([[column[name] for name in names] for column in columns]),
        tuple(tables),
        tuple(names),
        np.array([sizes[n] for n in names]) if all(sizes.get(n, 0) > 0 for n in names) else None,
        tuple(_value(runs[seed], metric, readout) for seed in tables),
        additive,
        n_folds=max(run.n_folds for run in runs.values()),
        deterministic=is_deterministic(list(runs.values())),
    )
    points = {
        name: math.fsum(table.values[name] for table in tables.values()) / len(tables)
        for name in names
    }
    return scores, points


def is_deterministic(runs: Sequence[Record]) -> bool:
    """Return whether every seed of a row gives the same predictions, so that one represents all.

    Records say so (``deterministic``); for older ones it is taken from the predictions of at least
    two seeds.
    """
    if runs and all(run.deterministic for run in runs):
        return True
    digests = {run.predictions_sha256 for run in runs}
    return len(runs) > 1 and len(digests) == 1 and "" not in digests


def _value(run: Record, metric: str, readout: str) -> float:
    value = run.value(metric, readout)
    if value is None:
        raise BenchError(f"run {run.run_id} has no {metric} by {readout}")
    return float(value)


def row_key(run: Record) -> str:
    """Return the key of a row: all values but the seed."""
    budget = [budget_of(run.tuning)] if run.tuning else []
    return sorted_json([run.method_id, changed_params(run), run.versions, *budget])


def budget_of(tuning: Tuning) -> tuple[int, float, int]:
    """Return the tuning budget per fold: finished trials, seconds, validation sets."""
    return (
        int(tuning.get("trials", 0)),
        float(tuning.get("seconds_asked", 0.0)),
        int(tuning.get("validations", 1)),
    )


def changed_params(run: Record) -> dict[str, Values]:
    """Return the non-default parameters by stage; stages without any are omitted."""
    return {stage: dict(params) for stage, params in run.params.items() if params}


def methods_with_versions(groups: Mapping[str, Sequence[Record]]) -> set[str]:
    """Return the rows that need a version in the label, because another version has a row too."""
    by_label: dict[str, list[str]] = {}
    for key, runs in groups.items():
        by_label.setdefault(label_of_run(runs[0]), []).append(key)
    return {key for keys in by_label.values() if len(keys) > 1 for key in keys}


def codes_of(runs: Iterable[Record]) -> tuple[CodeSummary, ...]:
    """Return the distinct code versions of some runs; runs without ``code`` count as one."""
    return tuple({run.code["digest"]: run.code for run in runs}.values())


def codes_differ(first: Iterable[CodeSummary], second: Iterable[CodeSummary]) -> bool:
    """Return whether two sets of runs differ in harness code, within folders that both list.

    The files of the methods are not compared. A run without ``code`` differs from every run with
    it.
    """
    return any(_code_differs(a, b) for a in first for b in second)


def _code_differs(a: CodeSummary, b: CodeSummary) -> bool:
    if a["digest"] == b["digest"] or not (a["digest"] and b["digest"]):
        return a["digest"] != b["digest"]
    folders = b["folders"]
    return any(folders.get(name, value) != value for name, value in a["folders"].items())


def label_of_run(run: Record) -> str:
    """Return the label of a run's row."""
    return label_of(run.method_id, changed_params(run))


def label_of(method_id: str, params: Mapping[str, Values]) -> str:
    """Return the label of a row: ``ben(level=week,rows=controls)``, ``erm+tvn(rank=50)``."""
    stages = method_id.split("+")
    labels = []
    for stage in [*stages, *sorted(set(params) - set(stages))]:
        values = params.get(stage) or {}
        inner = ",".join(f"{key}={setting(values[key])}" for key in sorted(values))
        labels.append(f"{stage}({inner})" if inner else stage)
    return "+".join(labels)


def _metric_meta(metric: str) -> Meta | None:
    """Return the META of a packaged metric; None if unknown."""
    from bench.metrics import METRICS

    return METRICS.get(metric)


def metric_higher_is_better(metric: str) -> bool:
    """Return whether higher is better; true for an unknown metric."""
    meta = _metric_meta(metric)
    return meta is None or meta["higher_is_better"]


def in_range(
    metric: str, low: float | None, high: float | None
) -> tuple[float | None, float | None]:
    """Return limits of a score, cut at the range of its metric; the coverage does not change."""
    meta = _metric_meta(metric)
    if low is None or high is None or meta is None:
        return low, high
    smallest, largest = meta["range"]
    return max(low, smallest), min(high, largest)


def best_possible(metric: str) -> float | None:
    """Return the score of a perfect classifier, or None if true labels need not give the best."""
    meta = _metric_meta(metric)
    if meta is None or not meta["oracle_is_best"]:
        return None
    low, high = meta["range"]
    return float(high if meta["higher_is_better"] else low)
