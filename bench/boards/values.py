"""Read values of a record for a board."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench.boards.board import (
    PREFIXES,
    Table,
    Values,  # TC
    sorted_json,
)

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


def score_table(runs: Mapping[int, Mapping[str, Any]], metric: str, readout: str) -> Table:
    """Collect the clusters that every seed has a value for."""
    made: dict[str, dict[int, dict[str, float]]] = {"values": {}, "parts": {}, "weights": {}}
    sizes: dict[str, float] = {}
    for seed, run in runs.items():
        clusters = run.get("clusters") or {}
        names = [str(name) for name in clusters.get("names", ())]
        sizes.update(zip(names, clusters.get("n", ()), strict=False))
        for kind, found in made.items():
            columns = clusters.get(kind) or {}
            column = None
            if readout != "embedding":
                column = columns.get(f"{readout}.{metric}")
            if column is None and readout in ("embedding", run.get("readout")):
                column = columns.get(metric)
            pairs = zip(names, json.loads(column) if column else (), strict=False)
            found[seed] = {name: float(value) for name, value in pairs if value is not None}
    values, parts = made["values"], made["parts"]
    shared = set.intersection(*map(set, values.values())) if values else set()
    whole = bool(shared) and all(
        shared <= set(made[kind][seed]) for kind in ("parts", "weights") for seed in values
    )
    if whole:  # the weights come from the true classes of the rows: the same for every seed
        sizes = dict(next(iter(made["weights"].values())))
    return Table(
        tuple(sorted(values)), tuple(sorted(shared)), values, parts if whole else None, sizes
    )


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
