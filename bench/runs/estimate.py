"""Estimated time, memory and disk use of runs, from the records of earlier runs.

If no record is similar enough, the estimate is None and ``basis`` gives the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.records.record import Record
    from bench.records.store import Store
    from bench.runs.job import Job


@dataclass(frozen=True)
class Estimate:
    """Expected cost of one run.

    Attributes
    ----------
    fit_s, apply_s
        Seconds of training and of applying; None if unknown.
    peak_bytes
        Peak memory above the start of the run.
    disk_bytes
        Size of the record and its artifacts.
    """

    fit_s: float | None = None
    apply_s: float | None = None
    peak_bytes: int | None = None
    disk_bytes: int | None = None
    basis: str = "no similar record"


@dataclass(frozen=True)
class Total:
    """Expected cost of several runs together; a shared training is counted once.

    Attributes
    ----------
    seconds, disk_bytes
        Sums over the runs with an estimate.
    n_unknown
        Number of runs without an estimate. They are excluded from all totals.
    """

    seconds: float
    peak_bytes: int
    disk_bytes: int
    n_unknown: int


IMAGES_PER_SECOND = {"float32": 1689.0, "bfloat16": 2488.0}
"""Training of ``erm``, ResNet-50 on 256 x 256 pixels, on one NVIDIA H100: medians of
``docs/benchmarks/gpu-h100.json``."""
APPLIED_PER_SECOND = 5000 / 3.08
"""Images of the same size per second of inference with the statistics of a plate; same file."""
MEASURED_PIXELS = 256 * 256
GPU_BASIS = "one H100, docs/benchmarks/gpu-h100.json, ResNet-50, scaled by the number of pixels"


def estimate(job: Job, store: Store, records: Sequence[Record], device: str = "auto") -> Estimate:
    """Estimate the cost of a run.

    Only the most similar complete records are used, in this order: the same chain, split and
    recipe (medians); the same chain, kind of data and recipe, scaled by the number of rows that
    pass through the network and the number of scored rows; for a chain with a network, any other
    network with the same recipe, scaled in the same way. Networks on CUDA are estimated from
    records of CUDA devices, otherwise from the published speed of one card.

    Parameters
    ----------
    records
        Earlier records.
    """
    spec = job.spec()
    kind = "images" if job.task.opened.is_images else "profiles"
    networks = [stage for stage in job.chain.stages if stage.kind == "network"]
    on_gpu = device == "cuda" and bool(networks)
    done = [
        r
        for r in records
        if r.status == "ok"
        and r.recipe_digest == spec["recipe_digest"]
        and (not on_gpu or str(r.machine["device"]).startswith("cuda"))
    ]
    chain = [r for r in done if r.method_id == spec["method_id"]]
    same = [
        r
        for r in chain
        if r.split_id == spec["split_id"]
        and r.data_digest == spec["data_digest"]
        and r.dataset_settings == spec["dataset_settings"]
    ]
    if same:
        return Estimate(
            fit_s=median(r.cost["fit_s"] for r in same),
            apply_s=median(r.cost["apply_s"] for r in same),
            peak_bytes=max(int(r.cost["peak_bytes"]) for r in same),
            disk_bytes=_median_int(map(_disk_of(store), same)),
            basis=f"{_records(len(same))} of this method on this split",
        )
    if chain:
        return _scaled(job, store, chain, f"{_records(len(chain))} of this method elsewhere", kind)
    trained = [r for r in done if r.cost["images_seen"]]
    if networks and trained:
        return _scaled(job, store, trained, f"{_records(len(trained))} of other networks", kind)
    return _measured_on_gpu(job) if on_gpu else Estimate()


def _measured_on_gpu(job: Job) -> Estimate:
    """Estimate a ResNet-50 on images from the published speed of one card."""
    opened, network = job.task.opened, str(job.recipe["network"])
    if not opened.is_images or network != "resnet50":
        return Estimate(basis=f"no figures for {network} on a GPU")
    size = opened.source.shape[1] * opened.source.shape[2] / MEASURED_PIXELS
    fitted_on = [job.task.stage_rows(0, fold).rows for fold in job.task.folds]
    n_trained = sum(_rows_trained(job, len(rows)) for rows in fitted_on)
    n_applied = sum(len(fold.train) + len(fold.test) for fold in job.task.folds)
    rate = IMAGES_PER_SECOND[str(job.recipe["precision"])]
    return Estimate(
        fit_s=n_trained * size / rate,
        apply_s=n_applied * size / APPLIED_PER_SECOND,
        basis=GPU_BASIS,
    )


def total(
    jobs: Sequence[Job],
    estimates: Sequence[Estimate],
    store: Store,
    counted: set[str] | None = None,
) -> Total:
    """Sum the cost of runs. Shared trainings count once, stored trainings not at all.

    Parameters
    ----------
    jobs, estimates
        The runs and the expected cost of each.
    store
        The results folder.
    counted
        Fit ids that earlier calls counted; those of these runs are added.
    """
    counted = set() if counted is None else counted
    seconds, disk, peak, unknown = 0.0, 0, 0, 0
    for job, cost in zip(jobs, estimates, strict=True):
        if cost.fit_s is None or cost.apply_s is None:
            unknown += 1
            continue
        fits = [s["fit_id"] for fold in job.spec()["folds"] for s in fold["stages"]]
        fresh = [f for f in fits if f not in counted and not store.has_artifact(f)]
        counted.update(fits)
        seconds += cost.apply_s + cost.fit_s * (len(fresh) / len(fits) if fits else 0.0)
        disk += cost.disk_bytes or 0
        peak = max(peak, cost.peak_bytes or 0)
    return Total(seconds, peak, disk, unknown)


def _scaled(job: Job, store: Store, records: Sequence[Record], basis: str, kind: str) -> Estimate:
    rows = sum(int(fold.scored.sum()) for fold in job.task.folds)
    fitted_on = [job.task.stage_rows(0, fold).rows for fold in job.task.folds]
    n_trained = sum(_rows_trained(job, len(rows)) for rows in fitted_on)
    per_row = [r.cost["apply_s"] / max(r.n_eval, 1) for r in records]
    if all(r.cost["images_seen"] for r in records):
        fit_s = median(r.cost["fit_s"] / r.cost["images_seen"] for r in records) * n_trained
    else:
        fit_s = median(r.cost["fit_s"] / max(r.n_eval, 1) for r in records) * rows
    sizes = [(size, r.n_eval) for r in records if (size := _disk_of(store)(r)) is not None]
    disk = int(median(size / max(n, 1) for size, n in sizes) * rows) if sizes else None
    return Estimate(
        fit_s=fit_s,
        apply_s=median(per_row) * rows,
        peak_bytes=max(int(r.cost["peak_bytes"]) for r in records),
        disk_bytes=disk,
        basis=f"{basis}, scaled to the {kind} of this run: rough",
    )


def _rows_trained(job: Job, n: int) -> int:
    """Return the number of rows that pass through the network in one training on ``n`` rows."""
    recipe = job.recipe
    size = int(recipe["batch_size"])
    steps = int(recipe["steps"]) or int(recipe["epochs"]) * max(n // size, 1)
    return steps * size


def _disk_of(store: Store) -> Callable[[Record], int | None]:
    """Return a function that measures a record and its artifacts in bytes; None if missing."""

    def size(record: Record) -> int | None:
        stored = store.find(record.run_id)
        if stored is None or stored.path is None:
            return None
        folders = [stored.path]
        for fold in stored.folds:
            for stage in fold["stages"]:
                folders += [store.artifact_path(stage[key]) for key in ("fit_id", "apply_id")]
        files = (file for folder in dict.fromkeys(folders) for file in folder.glob("*"))
        return sum(file.stat().st_size for file in files if file.is_file())

    return size


def _median_int(values: Iterable[int | None]) -> int | None:
    sizes = [value for value in values if value is not None]
    return int(median(sizes)) if sizes else None


def _records(n: int) -> str:
    return f"{n} record" if n == 1 else f"{n} records"
