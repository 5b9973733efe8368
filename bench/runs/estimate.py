"""Estimated time, memory and disk use of runs, from the records of earlier runs.

If no record is similar enough, the estimate is None and ``basis`` gives the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.records.schema import Summary
    from bench.records.store import Store
    from bench.runs.job import Job

__all__ = ["Estimate", "Total", "estimate", "total"]


@dataclass(frozen=True)
class Estimate:
    """Expected cost of one run.

    Attributes
    ----------
    fit_s, apply_s
        Seconds of training and of applying; None if unknown.
    peak_bytes
        Peak memory of the process.
    disk_bytes
        Size of the record and its artifacts.
    basis
        Description of the records used.
    """

    fit_s: float | None = None
    apply_s: float | None = None
    peak_bytes: int | None = None
    disk_bytes: int | None = None
    basis: str = "no earlier record is near enough"


@dataclass(frozen=True)
class Total:
    """Expected cost of several runs together; a shared training is counted once.

    Attributes
    ----------
    seconds, disk_bytes
        Sums over the runs with an estimate.
    peak_bytes
        Maximum over the runs.
    n_unknown
        Number of runs without an estimate. They are excluded from all totals.
    """

    seconds: float
    peak_bytes: int
    disk_bytes: int
    n_unknown: int


def estimate(job: Job, store: Store, records: Sequence[Summary]) -> Estimate:
    """Estimate the cost of a run.

    Only the most similar complete records are used, in this order: the same chain, split and
    recipe (medians); the same chain, kind of data and recipe, scaled by the number of rows that
    pass through the network and the number of scored rows; for a chain with a network, any other
    network with the same recipe, scaled in the same way.

    Parameters
    ----------
    job
        The run.
    store
        Results folder, used to measure disk usage.
    records
        Summaries (:func:`bench.records.record.summarise`) of earlier records.
    """
    spec = job.spec()
    kind = "images" if job.task.opened.is_images else "profiles"
    done = [
        r
        for r in records
        if r.get("status") == "ok" and r.get("recipe_digest") == spec["recipe_digest"]
    ]
    chain = [r for r in done if r["method_id"] == spec["method_id"]]
    same = [
        r
        for r in chain
        if r["split_id"] == spec["split_id"]
        and r["data_digest"] == spec["data_digest"]
        and r.get("dataset_settings", {}) == spec["dataset_settings"]
    ]
    if same:
        return Estimate(
            fit_s=median(r["cost"]["fit_s"] for r in same),
            apply_s=median(r["cost"]["apply_s"] for r in same),
            peak_bytes=max(int(r["cost"]["peak_bytes"]) for r in same),
            disk_bytes=_median_int(map(_disk_of(store), same)),
            basis=f"{_records(len(same))} of this method on this split",
        )
    networks = [stage for stage in job.chain.stages if stage.kind == "network"]
    if chain:
        return _scaled(job, store, chain, f"{_records(len(chain))} of this method elsewhere", kind)
    trained = [r for r in done if r["cost"].get("images_seen")]
    if networks and trained:
        return _scaled(job, store, trained, f"{_records(len(trained))} of other networks", kind)
    return Estimate()


def total(jobs: Sequence[Job], made: Sequence[Estimate], store: Store) -> Total:
    """Sum the cost of runs. Shared trainings count once, stored trainings not at all."""
    counted: set[str] = set()
    seconds, disk, peak, unknown = 0.0, 0, 0, 0
    for job, one in zip(jobs, made, strict=True):
        if one.fit_s is None or one.apply_s is None:
            unknown += 1
            continue
        fits = [s["fit_id"] for fold in job.spec()["folds"] for s in fold["stages"]]
        fresh = [f for f in fits if f not in counted and not store.has_artifact(f)]
        counted.update(fits)
        seconds += one.apply_s + one.fit_s * (len(fresh) / len(fits) if fits else 0.0)
        disk += one.disk_bytes or 0
        peak = max(peak, one.peak_bytes or 0)
    return Total(seconds, peak, disk, unknown)


def _scaled(job: Job, store: Store, records: list[Summary], basis: str, kind: str) -> Estimate:
    rows = sum(int(fold.scored.sum()) for fold in job.task.folds)
    learnt = [job.task.stage_rows(0, fold).rows for fold in job.task.folds]
    through = sum(_rows_trained(job, len(rows)) for rows in learnt)
    per_row = [r["cost"]["apply_s"] / max(r["n_eval"], 1) for r in records]
    if all(r["cost"].get("images_seen") for r in records):
        fit_s = median(r["cost"]["fit_s"] / r["cost"]["images_seen"] for r in records) * through
    else:
        fit_s = median(r["cost"]["fit_s"] / max(r["n_eval"], 1) for r in records) * rows
    sizes = [(size, r["n_eval"]) for r in records if (size := _disk_of(store)(r)) is not None]
    disk = int(median(size / max(n, 1) for size, n in sizes) * rows) if sizes else None
    return Estimate(
        fit_s=fit_s,
        apply_s=median(per_row) * rows,
        peak_bytes=max(int(r["cost"]["peak_bytes"]) for r in records),
        disk_bytes=disk,
        basis=f"{basis}, scaled to the {kind} of this one: rough",
    )


def _rows_trained(job: Job, n: int) -> int:
    """Return the number of rows that pass through the network in one training on ``n`` rows."""
    recipe = job.recipe
    size = int(recipe["batch_size"])
    steps = int(recipe["steps"]) or int(recipe["epochs"]) * max(n // size, 1)
    return steps * size


def _disk_of(store: Store) -> Callable[[Summary], int | None]:
    """Return a function that measures a record and its artifacts in bytes; None if missing."""

    def size(summary: Summary) -> int | None:
        found = store.find(summary["run_id"])
        if found is None or found.path is None:
            return None
        folders = [found.path]
        for fold in found.folds:
            for stage in fold["stages"]:
                folders += [store.artifact_path(stage[key]) for key in ("fit_id", "apply_id")]
        files = (file for folder in dict.fromkeys(folders) for file in folder.glob("*"))
        return sum(file.stat().st_size for file in files if file.is_file())

    return size


def _median_int(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return int(median(known)) if known else None


def _records(n: int) -> str:
    return f"{n} record" if n == 1 else f"{n} records"
