"""Whether the methods of a run were isolated, as recorded with runs and artifacts.

The code of a method of others could read the labels of test rows in the process of the benchmark.
Runs and artifacts therefore record how such a method was isolated, and those of weaker isolation
than the present call asks for are computed again.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.isolated import sandbox
from bench.records.index import run_stamps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.data.partitions import Fold
    from bench.records.schema import Isolated
    from bench.records.store import Store
    from bench.runs.chain import Chain, Stage
    from bench.runs.job import Job

ISOLATED = "isolated"
"""Key of records and artifacts."""
_ORDER: tuple[Isolated, ...] = ("no", "process", "bubblewrap")
_NOUNS = {"dataset": "data set", "metric": "metric"}
BADGES: dict[Isolated, str] = {
    "no": "not isolated",
    "process": "own process",
    "bubblewrap": "isolated",
}
"""Marks on boards."""


def of_stages(stages: Iterable[Stage]) -> Isolated | None:
    """Return the weakest isolation of stages; None if all are packaged and run in this process."""
    modes: set[Isolated] = {
        sandbox.mode() if stage.entry.isolated else "no"
        for stage in stages
        if stage.entry.isolated or stage.entry.provider != "labshift"
    }
    return min(modes, key=_ORDER.index) if modes else None


@contextmanager
def watched_records(store: Store, isolated: Isolated | None) -> Iterator[list[str]]:
    """List the records that a method of others changed in a block, if it is not isolated.

    Other processes replace folders of records as a whole and do not change their files.

    Yields
    ------
    list of str
        Filled with run ids at the end of the block.
    """
    changed: list[str] = []
    if isolated != "no":
        yield changed
        return
    before, folders = run_stamps(store.runs), _folders(store)
    yield changed
    after, now = run_stamps(store.runs), _folders(store)
    changed += sorted(
        run_id
        for run_id, stamp in before.items()
        if after.get(run_id, stamp) != stamp and folders.get(run_id) == now.get(run_id)
    )


def _folders(store: Store) -> dict[str, int]:
    """Return the inode of each record's folder by run id."""
    return {path.name: path.stat().st_ino for path in store.runs.glob("*/*/")}


def trusted(job: Job) -> list[str]:
    """Return one caution for each extension of others that ran in this process with labels."""
    registry = job.registry
    opened = [job.task.opened]
    if job.task.source_domain is not None:
        opened.append(job.task.source_domain.opened)
    registered = registry.names("dataset")
    entries = [registry.entry("dataset", o.name) for o in opened if o.name in registered]
    entries += [registry.entry("metric", name) for name in job.metric_versions]
    nouns = [
        f"{_NOUNS[entry.kind]} '{entry.name}' of {entry.origin}"
        for entry in entries
        if entry.provider != "labshift" and not entry.isolated
    ]
    file, colon, _ = str(job.recipe.get("network", "")).rpartition(":")
    stages = [stage for stage in job.chain.stages if stage.kind == "network"]
    if colon and not all(stage.entry.isolated for stage in stages):
        nouns.append(f"the network of {Path(file).name}")
    return [f"{noun} ran in the process of the benchmark, not isolated" for noun in nouns]


def of_chain(chain: Chain) -> Isolated | None:
    """Return the isolation of a chain, see :func:`of_stages`."""
    return of_stages(chain.stages)


def of_artifacts(job: Job, fold: Fold) -> dict[str, Isolated | None]:
    """Return the isolation with which each artifact of a fold is computed, by its id."""
    stages = job.of_fold(fold).chain.stages
    result: dict[str, Isolated | None] = {}
    for k, (stage, ids) in enumerate(zip(stages, job.ids(fold), strict=True)):
        up_to_here = of_stages(stages[: k + 1])
        fitted = of_stages(stages[:k]) if stage.entry.fitted_by is not None else up_to_here
        result |= {ids.fit: fitted, ids.apply_train: up_to_here, ids.apply_test: up_to_here}
    return result


def serves(recorded: object, required: Isolated | None) -> bool:
    """Return whether a record or artifact is at least as isolated as required.

    Parameters
    ----------
    recorded
        Value of :data:`ISOLATED`; None if it is not recorded.
    required
        As of :func:`of_stages`. None accepts everything but outputs of methods of others, which
        can share the id of a fit of a packaged method.
    """
    if required == "no":
        return True
    if required is None:
        return recorded != "no"
    return recorded in _ORDER and _ORDER.index(recorded) >= _ORDER.index(required)
