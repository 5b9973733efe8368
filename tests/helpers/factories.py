"""Synthetic records, without training or data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.boards.release import Release
from bench.core.canonical import canonical_json, digest, pretty_json
from bench.core.seeds import generator
from bench.records.checking import check, migrated
from bench.records.digests import DIGESTS, with_digests
from bench.records.record import Record, as_record

if TYPE_CHECKING:
    from pathlib import Path

TRACKS = {
    "erm": "inductive",
    "erm-plate": "inductive",
    "ben": "test-batch",
    "adabn": "test-batch",
    "ben-controls": "test-controls",
    "zscore": "test-batch",
    "robust": "test-batch",
    "identity": "reference",
    "shuffle": "reference",
    "label-oracle": "reference",
}

STEPS = {"steps": 300, "images_seen": 19200}


def make_record(
    method: str = "erm",
    seed: int = 0,
    value: float = 0.5,
    *,
    split: str = "coos7/test4",
    clusters: Sequence[float] | Mapping[str, Sequence[float]] = (),
    level: str = "plate",
    params: Mapping[str, Mapping[str, Any]] | None = None,
    track: str | None = None,
    readout: str = "probe",
    metric: str = "balanced_accuracy",
    subsets: Mapping[str, float] | None = None,
    edition: str = "simulated",
    status: str = "ok",
    reason: str = "",
    **changes: Any,
) -> dict[str, Any]:
    """Return the contents of ``run.json``; ``changes`` replaces keys of spec or record."""
    changed = {stage: dict(values) for stage, values in (params or {}).items()}
    spec: dict[str, Any] = {
        "method_id": method,
        "split_id": split,
        "split_digest": "0" * 32,
        "dataset": split.split("/", maxsplit=1)[0],
        "dataset_settings": {},
        "edition": edition,
        "data_digest": "d" * 32,
        "recipe": "default",
        "recipe_overrides": {},
        "recipe_digest": "e" * 24,
        "standardise": "image",
        "seed": seed,
        "selection": "last",
        "score_unit": "row",
        "folds": [
            {
                "fold": "all",
                "stages": [
                    {
                        "method": stage,
                        "version": 1,
                        "params": changed.get(stage, {}),
                        "level": level,
                        "fit_id": digest(["fit", stage, seed]),
                        "apply_id": digest(["apply", stage, seed]),
                    }
                    for stage in method.split("+")
                ],
            }
        ],
        "metric_versions": {metric: 1},
    }
    optional = ("grouping", "cluster", "aggregate", "source")
    spec.update({key: changes.pop(key) for key in list(changes) if key in (*spec, *optional)})
    by_name = dict(clusters) if isinstance(clusters, Mapping) else {metric: list(clusters)}
    n = max((len(values) for values in by_name.values()), default=0)
    record: dict[str, Any] = {
        "schema": 1,
        "run_id": digest(spec),
        "spec": spec,
        "method": method,
        "method_id": method,
        "split": split,
        "params": changed,
        "level": level,
        "track": track or TRACKS.get(method, "inductive"),
        "access": [],
        "badges": [],
        "readout": readout,
        "status": status,
        "reason": reason,
        "ranked": status == "ok",
        "unranked_because": [],
        "metrics": {},
        "metrics_rest_on": {},
        "lower_is_better": [],
        "primary": metric,
        "clusters": {
            "level": level,
            "names": [f"{level} {i:02d}" for i in range(n)],
            "n": [100] * n,
            "values": by_name,
            "parts": {},
            "weights": {},
        },
        "n_eval": 100 * n,
        "n_excluded": 0,
        "excluded_classes": [],
        "n_classes": 7,
        "classes": [f"class {i}" for i in range(7)],
        "chance": 1 / 7,
        "undeclared_adaptation": None,
        "batches": {
            "n_test": 4,
            "rows_min": 50,
            "rows_median": 100.0,
            "rows_max": 150,
            "fallbacks": 0,
        },
        "probe_C": [0.01],
        "notes": [],
        "cautions": [],
        "upstream": [],
        "exposed": [],
        "shift": "another laboratory and another microscope",
        "deterministic": False,
        "held_out": "",
        "units": {},
        "cost": {"fit_s": 20.0 + seed, "apply_s": 1.5, "peak_bytes": 2**30, **STEPS},
        "predictions_sha256": f"{seed:064x}",
        "sources": {},
        "code": {"digest": "c" * 24, "files": {}},
        "provenance": {
            "labshift": "0.1.0",
            "python": "3.11.7",
            "platform": "Linux",
            "cpu": "test",
            "device": "cpu",
            "threads": 2,
            "precision": "float32",
            "packages": {"torch": "2.14.0"},
            "command": "",
            "created": "",
            "recipe": {},
        },
    }
    if status == "ok":
        values = {"all": value, **(subsets or {})}
        record["metrics"] = {metric: values, f"{readout}.{metric}": values}
        if readout == "head":
            record["metrics"][f"probe.{metric}"] = {"all": value - 0.01}
    record.update(changes)
    check(migrated(record))
    return record


def as_records(entries: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Return records that are on no disk."""
    return [as_record(entry) for entry in entries]


def plausible(
    splits: Sequence[str] = ("coos7/test1", "coos7/test2", "coos7/test3", "coos7/test4"),
    methods: Sequence[str] = ("erm", "ben", "ben-controls", "adabn", "erm-plate"),
    seeds: int = 3,
    n_clusters: int = 4,
) -> list[dict[str, Any]]:
    """Return records that look like an experiment: a drop with shift, and methods that differ."""
    levels = {"erm": 0.86, "ben": 0.84, "ben-controls": 0.8, "adabn": 0.82, "erm-plate": 0.85}
    falls = {"erm": 0.12, "ben": 0.03, "ben-controls": 0.05, "adabn": 0.035, "erm-plate": 0.14}
    records = []
    for k, split in enumerate(splits):
        for method in methods:
            for seed in range(seeds):
                rng = generator("plausible", split, method, seed)
                shared = generator("plausible", split).normal(0, 0.04, n_clusters)
                centre = levels.get(method, 0.6) - falls.get(method, 0.08) * k
                values = centre + shared + rng.normal(0, 0.015, n_clusters)
                values = np.clip(values, 0.02, 0.99)
                value = float(values.mean())
                subsets = {f"batch=plate {i:02d}": float(v) for i, v in enumerate(values)}
                records.append(
                    make_record(
                        method,
                        seed,
                        value,
                        split=split,
                        clusters={
                            name: [float(v) for v in values]
                            for name in ("balanced_accuracy", "head.balanced_accuracy")
                        }
                        | {"probe.balanced_accuracy": [float(v) - 0.01 for v in values]},
                        readout="head",
                        subsets=subsets,
                        cost={
                            "fit_s": 12.0 + 9 * len(method) + seed,
                            "apply_s": 1.5,
                            "peak_bytes": 2**30,
                            **STEPS,
                        },
                    )
                )
    return records


def edit_signed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a ``run.json`` or ``meta.json`` and compute its digest again, as a forger would."""
    data = json.loads(path.read_text(encoding="utf-8"))
    sums = data.pop(DIGESTS)
    change(data)
    files = {name: value for name, value in sums.items() if name != path.name}
    path.write_bytes(pretty_json(with_digests(data, files, path.name)))


def release_with(records: Sequence[Record], name: str = "2030.1") -> Release:
    """Return a benchmark release that these records belong to."""
    splits = {
        (r.split_id, r.edition, canonical_json(r.dataset_settings)): (r.split_digest, r.data_digest)
        for r in records
    }
    return Release(
        name=name,
        title="for a test",
        doi="",
        suite="default",
        numerics=records[0].numerics,
        metrics={metric: v for r in records for metric, v in r.metric_versions.items()},
        recipes={"default": tuple({r.recipe_digest for r in records})},
        splits=splits,
    )
