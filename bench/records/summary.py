"""The part of a record that boards use, and the names of its splits and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from bench.core.code_digest import by_folder
from bench.records.averages import POOLED
from bench.records.schema import READOUTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.records.schema import Aggregation, Clusters, RunRecord


DERIVED = "~"
"""Separator in the names of splits that were derived from another split's rows."""
_CLASSIFIERS = ("fixed-forest", "fixed-knn", "fixed-logistic")
"""Classifiers of the versions without the key ``classifier`` in their records."""
T = TypeVar("T")


def parse_metric(name: str) -> tuple[str, str]:
    """Return the readout head and the metric of ``head.NAME``; the head is empty without one."""
    prefix, _, metric = name.partition(".")
    return (prefix, metric) if metric and prefix in READOUTS else ("", name)


def is_derived(split_id: str) -> bool:
    """Return whether a split was derived from another split for validation or a study."""
    return DERIVED in split_id


def saw_test_batches(upstream: Iterable[str]) -> bool:
    """Return whether a published preprocessing step was also fitted on the test batches."""
    return any("all plates" in step or "all batches" in step for step in upstream)


def _without_duplicates(columns: Mapping[str, T], readout: str) -> dict[str, T]:
    """Drop the names without a prefix that repeat a value of the record's own readout."""
    return {name: v for name, v in columns.items() if f"{readout}.{name}" not in columns}


def _aggregation(record: RunRecord) -> Aggregation:
    """Return how the primary score of a record combines the folds of its split."""
    values = record["metrics"].get(record["primary"], {})
    if POOLED in values:
        return "mean"
    # Metrics of profiles are computed per fold, because each fold has its own model.
    several = len(record["spec"]["folds"]) > 1 and "all" in values
    return "pooled" if several and not any(key.startswith("fold=") for key in values) else ""


def summarise(record: RunRecord) -> dict[str, object]:
    """Return the part of a record that boards use; :class:`Record` has the types.

    ``metrics`` contains values over all scored units, for several folds the mean over folds, and
    ``pooled`` those of the predictions of all folds together. A value stored both as ``NAME`` and
    as ``READOUT.NAME`` is returned under the second name.
    """
    spec, provenance, code = record["spec"], record["provenance"], record.get("code")
    overall = {name: values["all"] for name, values in record["metrics"].items() if "all" in values}
    pooled = {
        name: values[POOLED] for name, values in record["metrics"].items() if POOLED in values
    }
    return {
        "run_id": record["run_id"],
        "method": record["method"],
        "method_id": spec["method_id"],
        "split": record["split"],
        "split_id": spec["split_id"],
        "split_digest": spec["split_digest"],
        "dataset": spec["dataset"],
        "dataset_settings": spec["dataset_settings"],
        "edition": spec["edition"],
        "data_digest": spec["data_digest"],
        "recipe": spec["recipe"],
        "recipe_overrides": spec["recipe_overrides"],
        "recipe_digest": spec["recipe_digest"],
        "standardise": spec["standardise"],
        "seed": spec["seed"],
        "selection": spec["selection"],
        "score_unit": spec["score_unit"],
        "metric_versions": spec["metric_versions"],
        "numerics": spec.get("numerics", 1),
        "grouping": spec.get("grouping"),
        "shift": record["shift"],
        "deterministic": record.get("deterministic", False),
        "n_folds": len(spec["folds"]),
        "held_out": record.get("held_out", ""),
        "units": record.get("units", {}),
        "params": record["params"],
        "track": record["track"],
        "access": record["access"],
        "level": record["level"],
        "badges": record["badges"],
        "readout": record["readout"],
        "classifier": record.get("classifier", record["method_id"] in _CLASSIFIERS),
        "status": record["status"],
        "reason": record["reason"],
        "ranked": record["ranked"],
        "unranked_because": record["unranked_because"],
        "primary": record["primary"],
        "lower_is_better": record["lower_is_better"],
        "n_eval": record["n_eval"],
        "n_excluded": record["n_excluded"],
        "n_classes": record["n_classes"],
        "chance": record["chance"],
        "undeclared_adaptation": record["undeclared_adaptation"],
        "cautions": record["cautions"],
        "upstream": record["upstream"],
        "cost": record["cost"],
        "predictions_sha256": record["predictions_sha256"],
        "tuning": record.get("tuning"),
        "metrics": _without_duplicates(overall, record["readout"]),
        "pooled": _without_duplicates(pooled, record["readout"]),
        "aggregation": _aggregation(record),
        "versions": {
            stage["method"]: stage["version"] for fold in spec["folds"] for stage in fold["stages"]
        },
        "machine": {
            "device": provenance.get("device"),
            "precision": provenance.get("precision"),
            "threads": provenance.get("threads"),
            "platform": provenance.get("platform"),
            "torch": provenance.get("packages", {}).get("torch"),
        },
        "code": {
            "digest": code["digest"] if code else "",
            "folders": by_folder(code["files"] if code else {}),
        },
        "created": provenance.get("created", ""),
        "command": provenance.get("command", ""),
    }


@dataclass(frozen=True, eq=False, slots=True)
class ClusterScores:
    """A metric of one run within each cluster of the test rows.

    Attributes
    ----------
    level
        Level of the clusters, such as ``plate``.
    names
        Names of all clusters, including those without a value.
    sizes
        Cluster -> number of scored units.
    values
        Cluster -> the metric within the cluster, if it is defined.
    parts, weights
        Cluster -> contribution to the metric over all scored units, and its weight. The metric is
        the weighted mean of the parts. Empty if the record has no such decomposition.
    """

    level: str
    names: tuple[str, ...]
    sizes: Mapping[str, int]
    values: Mapping[str, float]
    parts: Mapping[str, float]
    weights: Mapping[str, float]


def clusters_of(record: RunRecord) -> Clusters:
    """Return the clusters of a record with each value once, as in :func:`summarise`."""
    clusters, readout = record["clusters"], record["readout"]
    return {
        "level": clusters["level"],
        "names": clusters["names"],
        "n": clusters["n"],
        "values": _without_duplicates(clusters["values"], readout),
        "parts": _without_duplicates(clusters["parts"], readout),
        "weights": _without_duplicates(clusters["weights"], readout),
    }
