"""Repeat runs from their records and compare the results."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.control_names import is_control_row
from bench.core.errors import BenchError
from bench.core.words import listed
from bench.records.schema import NOT_RUN_HERE
from bench.runs import identity
from bench.runs.experiment import prepare
from bench.runs.verify import Verification, compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bench.core.types import JsonObject
    from bench.records.record import Record
    from bench.runs.experiment import Experiment
    from bench.runs.job import Job
    from bench.runs.progress import Progress


@dataclass(frozen=True)
class Repetition:
    """A repeated run, or why it could not be repeated.

    Attributes
    ----------
    result
        Comparison with the record; None if the run was not repeated.
    reason
        Why it was not repeated; empty otherwise.
    """

    result: Verification | None = None
    reason: str = ""

    @property
    def confirmed(self) -> bool:
        """Whether the repetition gave the same result."""
        return self.result is not None and self.result.answer != "different"


def why_not_repeatable(record: Record) -> str:
    """Return why a record alone does not determine a run; empty if it does."""
    if not record.ok:
        return f"it is {record.status}"
    if NOT_RUN_HERE in record.badges:
        return "its outputs were computed elsewhere"
    if record.selection != "last":
        return "its parameters were tuned: repeat the search with its command"
    return "it is a run of a study" if record.grouping else ""


def sample(records: Sequence[Record], n: int | None, seed: int) -> list[Record]:
    """Return ``n`` repeatable records at random, of as many methods and splits as possible.

    Control rows come last: they say little about a submission.

    Parameters
    ----------
    n
        Number of records; None for all.
    seed
        Seed of the choice.
    """
    candidates = [record for record in records if not why_not_repeatable(record)]
    if n is None:
        return candidates
    random.Random(seed).shuffle(candidates)
    seen: dict[tuple[str, str], int] = {}
    turns: list[tuple[bool, int]] = []
    for record in candidates:
        row = (record.method_id, record.split_id)
        turns.append((is_control_row(record.track), seen.setdefault(row, 0)))
        seen[row] += 1
    order = sorted(range(len(candidates)), key=turns.__getitem__)
    return [candidates[k] for k in order[:n]]


def repeat(
    record: Record,
    folder: Path,
    *,
    plugins: Iterable[Path | str] = (),
    device: str = "auto",
    progress: Progress | None = None,
) -> Repetition:
    """Run what a record describes and compare the results.

    Parameters
    ----------
    record
        A record with predictions.
    folder
        Empty results folder for the repetition.
    plugins, device, progress
        As for :func:`bench.run`.

    Returns
    -------
    Repetition
        Without a result if data or a method are missing here, or if they differ from those of the
        record: another version of a method, other data or other rows.
    """
    if reason := why_not_repeatable(record):
        return Repetition(reason=reason)
    own = ".toml" in record.split
    metrics: list[str] = []

    def prepared() -> Experiment:
        return prepare(
            record.method,
            record.split if own else record.split_id,
            seeds=[record.seed],
            recipe=record.recipe,
            edition="auto" if own else record.edition,
            settings=settings_of(record),
            metrics=metrics,
            device=device,
            results=folder,
            plugins=plugins,
            say=None if progress is None else progress.say,
        )

    try:
        experiment = prepared()
        [job] = experiment.jobs()
        if metrics := sorted(record.metric_versions.keys() - job.metric_versions.keys()):
            experiment = prepared()
            [job] = experiment.jobs()
    except BenchError as error:
        return Repetition(reason=str(error))
    if identity.run_id(job.spec()) != record.run_id:
        return Repetition(reason=f"another run here: {_different(record, job)}")
    [fresh] = experiment.run([job], progress)
    if fresh.status == "failed":
        return Repetition(Verification("different", differences=[f"it failed: {fresh.reason}"]))
    return Repetition(compare(record.data, fresh.data))


def settings_of(record: Record) -> JsonObject:
    """Return the settings of a run, with the keys of ``--set``."""
    owners = {"recipe": record.recipe_overrides, "data": record.dataset_settings, **record.params}
    if "source" in record.spec:
        owners["data.source"] = record.spec["source"]["dataset_settings"]
    return {f"{owner}.{key}": v for owner, values in owners.items() for key, v in values.items()}


def _different(record: Record, job: Job) -> str:
    """Return which parts of the specification differ."""
    then: JsonObject = {**record.spec}
    now: JsonObject = {**job.spec()}
    keys = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    return f"{listed(keys, 5)} differ" if keys else "its id is not that of its specification"
