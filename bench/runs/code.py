"""Source files that can change the results of a run, and their digests."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from bench.core.checkout import ROOT
from bench.core.code_digest import by_name, combined, path_digests
from bench.runs.identity import fit_name

if TYPE_CHECKING:
    from pathlib import Path

    from bench.core.dataset import Opened
    from bench.core.entry import Entry
    from bench.records.schema import Code
    from bench.runs.job import Job

    _EntryKey = tuple[str, str, Path | None]


STAGES = (
    "core/access.py",
    "core/arrays.py",
    "core/fixed_features.py",
    "core/params.py",
    "core/resampling.py",
    "core/samples.py",
    "core/seeds.py",
    "data/duplicates.py",
    "data/decode.py",
    "data/folds.py",
    "data/inference_batches.py",
    "data/own/*.py",
    "data/pixel*.py",
    "data/partitions.py",
    "data/rescale.py",
    "data/transfer.py",
    "data/views.py",
    "runs/apply.py",
    "runs/fold.py",
    "scoring/controls.py",
    "scoring/labels.py",
)
"""Files of ``bench`` that fits and corrected profiles depend on."""
TRAINING = ("training/*.py",)
"""Files that networks depend on in addition."""
AVERAGED = ("training/parallel/*.py",)
"""Files that networks with several batches per step depend on in addition."""
ENCODERS = ("training/architectures.py", "training/encoders.py")
"""Files that classifiers and pretrained encoders depend on in addition."""
SCORING = ("metrics/_*.py", "scoring/*.py")
"""Files that scores depend on, in addition to those of the selected metrics."""
NO_NUMBERS = ("training/recipes.py",)
"""Files whose effect is part of a run's identity: the resolved recipe."""


class Codes:
    """Digests of the code of stages and runs. Each file is read once."""

    def __init__(self) -> None:
        self._codes: dict[tuple[tuple[_EntryKey, ...], bool], Code] = {}
        self._sources: dict[_EntryKey, list[Path]] = {}
        self._digests: dict[Path, str] = {}

    def of_fit(self, job: Job, number: int) -> Code:
        """Return the code that the fit of a stage depends on.

        Methods that share a fit have the same fit code.
        """
        source_domain = job.task.source_domain
        # A network transferred to another data set is that of a run on its own data set.
        data = [job.task.opened] if source_domain is None or number else [source_domain.opened]
        return self._code(job, _entries(job, number)[:-1], data)

    def of_stage(self, job: Job, number: int) -> Code:
        """Return the code that the profiles of a stage depend on."""
        return self._code(job, _entries(job, number), _data(job))

    def of_run(self, job: Job) -> Code:
        """Return the code that the record of a job depends on."""
        entries = _entries(job, len(job.chain.stages) - 1)
        return self._code(job, entries, _data(job), tuple(job.metric_versions))

    def _code(
        self, job: Job, methods: list[Entry], data: list[Opened], metrics: tuple[str, ...] = ()
    ) -> Code:
        registered = job.registry.names("dataset")
        entries = [job.registry.entry("dataset", d.name) for d in data if d.name in registered]
        entries += methods
        entries += [job.registry.entry("metric", name) for name in metrics]
        entry_keys = tuple((entry.kind, entry.name, entry.path) for entry in entries)
        averaged = job.recipe.get("batches_per_step", 1) > 1
        key = entry_keys, averaged
        if key not in self._codes:
            files: list[Path] = []
            patterns = [*STAGES]
            for entry, entry_key in zip(entries, entry_keys, strict=True):
                if entry_key not in self._sources:
                    self._sources[entry_key] = entry.sources
                files += self._sources[entry_key]
            # Plugins of any kind may use the training loop.
            if any(e.meta["level"] == "network" or e.provider != "labshift" for e in methods):
                patterns += TRAINING + AVERAGED * averaged
            elif any(e.meta["level"] == "classifier" for e in methods):
                patterns += ENCODERS
            if metrics:
                patterns += SCORING
            paths = {path.resolve() for path in files} | set(_package(tuple(patterns)))
            if new := paths - self._digests.keys():
                self._digests |= path_digests(new)
            digests = by_name({path: self._digests[path] for path in paths})
            self._codes[key] = {"digest": combined(digests), "files": digests}
        return self._codes[key]


def _entries(job: Job, number: int) -> list[Entry]:
    """Return the entries that fit and apply each stage up to ``number``, in this order."""
    entries: list[Entry] = []
    for stage in job.chain.stages[: number + 1]:
        entries.append(job.registry.entry("method", fit_name(stage, job.registry)[0]))
        entries.append(stage.entry)
    return entries


def _data(job: Job) -> list[Opened]:
    """Return the data sets that a job reads."""
    source_domain = job.task.source_domain
    return [job.task.opened, *([] if source_domain is None else [source_domain.opened])]


@functools.cache
def _package(patterns: tuple[str, ...]) -> list[Path]:
    """Return the resolved paths of the files of ``bench``, which do not change in a process."""
    package = ROOT / "bench"
    left_out = {package / name for name in NO_NUMBERS}
    return [
        path.resolve()
        for pattern in patterns
        for path in sorted(package.glob(pattern))
        if path not in left_out and path.name != "__init__.py"
    ]
