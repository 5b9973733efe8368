"""Tuned runs that are on disk, found without opening their studies.

A study is read with optuna, which takes a second to import. The ids of the tuned runs are therefore
stored next to the journals, under a key of everything that the selection depends on. The job of a
run is rebuilt from its record, and its id must be that of the record.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING

from bench.core.disk import new_file
from bench.core.errors import BenchError
from bench.runs import identity
from bench.runs.job import Tuned
from bench.runs.tuning.space import SEED, trial_job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.records.record import Record
    from bench.records.store import Store
    from bench.runs.job import Job
    from bench.runs.runner import Runner
    from bench.runs.tuning.space import Tuning


def remember(store: Store, key: str, records: Sequence[Record]) -> None:
    """Store the ids of tuned runs; errors are ignored, because they can be found again."""
    if not all(record.ok and record.tuning is not None for record in records):
        return
    with contextlib.suppress(OSError), new_file(_path(store, key)) as file:
        file.write_text(json.dumps([record.run_id for record in records]), encoding="utf-8")


def known(tuning: Tuning, runner: Runner, key: str, seeds: Sequence[int]) -> list[Record] | None:
    """Return the records of a tuning, one per seed; None if it must be run.

    Parameters
    ----------
    runner
        Decides whether records made by other code can be used.
    key
        Digest of everything that the selection depends on.
    """
    expected = list(seeds[:1] if tuning.base.chain.deterministic else seeds)
    try:
        ids = json.loads(_path(tuning.store, key).read_text(encoding="utf-8"))
        found = [tuning.store.find(str(run_id)) for run_id in ids]
    except (OSError, ValueError, TypeError, BenchError):
        return None
    records = [record for record in found if record is not None]
    if [record.seed for record in records] != expected:
        return None
    result = []
    for record in records:
        try:
            job = _job_of(tuning, record)
        except (BenchError, KeyError):
            return None
        if identity.run_id(job.spec()) != record.run_id:
            return None
        stored = runner.stored(job)
        if stored is None:
            return None
        result.append(stored.renamed(job.chain.typed, job.task.typed))
    return result


def _job_of(tuning: Tuning, record: Record) -> Job:
    """Return the job of a tuned run with the parameters in its record."""
    tuned: dict[str, Tuned] = {}
    for fold in record.folds:
        params = {stage["method"]: dict(stage["params"]) for stage in fold["stages"]}
        recipe = dict(fold.get("recipe", {}))
        job = trial_job(tuning, tuning.task, params, recipe, SEED)
        tuned[fold["fold"]] = Tuned(job.chain, job.recipe, recipe)
    return dataclasses.replace(
        tuning.base,
        selection=tuning.rule,
        seed=record.seed,
        tuned=tuned,
        tuning=record.spec["tuning"],
        tuning_facts=record.tuning,
    )


def _path(store: Store, key: str) -> Path:
    return store.root / "tuning" / f"{key[:32]}.json"
