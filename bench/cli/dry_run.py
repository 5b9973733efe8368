"""``run --dry-run``: what would run, with cost estimates from earlier records."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypedDict

from bench.cli.output import print_json, print_line
from bench.core.words import duration, file_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records.record import Record
    from bench.records.store import Store
    from bench.runs.estimate import Estimate, Total
    from bench.runs.job import Job


class _Row(TypedDict):
    method_id: str
    split_id: str
    seed: int
    track: str
    fits: int
    state: str
    run_id: str


def print_plan(jobs: Sequence[Job], store: Store, as_json: bool, *, device: str = "auto") -> None:
    """Print what would run and what it is expected to cost.

    Parameters
    ----------
    store
        Where their records would be, and where earlier ones are.
    """
    from bench.runs.estimate import total

    rows = [_row(job, store) for job in jobs]
    pending = [job for job, row in zip(jobs, rows, strict=True) if row["state"] == "to run"]
    costs = Estimator(store, device).estimates(pending)
    by_run = dict(zip((r["run_id"] for r in rows if r["state"] == "to run"), costs, strict=True))
    cost = total(pending, costs, store)
    gpu_hours = _gpu_hours(pending, costs, store) if device == "cuda" else None
    if as_json:
        runs = [
            {**row, "estimate": dataclasses.asdict(by_run[row["run_id"]])}
            if row["run_id"] in by_run
            else dict(row)
            for row in rows
        ]
        sums: dict[str, object] = dataclasses.asdict(cost)
        sums["gpu_hours"] = gpu_hours
        print_json({"runs": runs, "total": sums})
        return
    for row in rows:
        estimate = by_run.get(row["run_id"])
        expected = "" if estimate is None else f" ({_expected(estimate)})"
        print_line(
            f"{row['method_id']} on {row['split_id']}, seed {row['seed']} ({row['track']}, "
            f"{row['fits']} fits): {row['state']}{expected}"
        )
    if pending:
        print_line(_total(cost, len(pending), gpu_hours))


def _row(job: Job, store: Store) -> _Row:
    from bench.runs.identity import run_id as run_id_of

    spec = job.spec()
    run_id = run_id_of(spec)
    return {
        "method_id": job.chain.method_id,
        "split_id": job.task.split.name,
        "seed": job.seed,
        "track": job.chain.track,
        "fits": len({stage["fit_id"] for fold in spec["folds"] for stage in fold["stages"]}),
        "state": "on record" if store.find(run_id) else job.not_applicable or "to run",
        "run_id": run_id,
    }


class Estimator:
    """Estimates from the user's own records, else from published ones of another machine.

    Parameters
    ----------
    store
        The results folder.
    device
        ``--device`` of the command.
    """

    def __init__(self, store: Store, device: str) -> None:
        self._store, self._device = store, device
        self._own: list[Record] | None = None
        self._published: list[Record] | None = None

    def estimates(self, jobs: Sequence[Job]) -> list[Estimate]:
        """Return the expected cost of each job. Records are read once."""
        from bench.runs.estimate import GPU_BASIS, estimate

        store, device = self._store, self._device
        if self._own is None:
            self._own = store.load_all() if jobs else []
        own = self._own
        costs = [estimate(job, store, own, device) for job in jobs]
        if all(cost.fit_s is not None for cost in costs):
            return costs
        if self._published is None:
            self._published = store.load_reference()
        published = self._published
        for k, job in enumerate(jobs):
            if costs[k].fit_s is None:
                costs[k] = estimate(job, store, published, device)
                if costs[k].fit_s is not None and costs[k].basis != GPU_BASIS:
                    basis = f"published {costs[k].basis}, on another machine"
                    costs[k] = dataclasses.replace(costs[k], basis=basis)
        return costs


def _expected(cost: Estimate) -> str:
    if cost.fit_s is None:
        return cost.basis
    texts = [f"about {duration(cost.fit_s + (cost.apply_s or 0.0))} alone"]
    texts += [f"{file_size(cost.peak_bytes)} memory"] if cost.peak_bytes else []
    texts += [f"{file_size(cost.disk_bytes)} disk"] if cost.disk_bytes else []
    return f"{', '.join(texts)}; {cost.basis}"


def _gpu_hours(jobs: Sequence[Job], costs: Sequence[Estimate], store: Store) -> float | None:
    """Return the time of the runs with a network; None without an estimate for one of them."""
    from bench.runs.estimate import total

    networks = [
        (job, cost)
        for job, cost in zip(jobs, costs, strict=True)
        if any(stage.kind == "network" for stage in job.chain.stages)
    ]
    sums = total([job for job, _ in networks], [cost for _, cost in networks], store)
    return None if sums.n_unknown else sums.seconds / 3600


def _total(cost: Total, n: int, gpu_hours: float | None) -> str:
    if cost.n_unknown == n:
        return f"{n} to run; no records to estimate the time from: try one seed first"
    text = f"{n} to run: about {duration(cost.seconds)}, shared trainings counted once"
    text += f"; {file_size(cost.peak_bytes)} memory" if cost.peak_bytes else ""
    text += f"; {file_size(cost.disk_bytes)} disk" if cost.disk_bytes else ""
    text += f"; {gpu_hours:.2g} GPU-hours" if gpu_hours else ""
    if cost.n_unknown:
        text += f"; {cost.n_unknown} without an estimate not counted"
    return text
