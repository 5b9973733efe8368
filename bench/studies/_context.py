"""Context of a study: runs of conditions, their scores, and paired differences."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from bench.boards.pairing import pair, span_of_mean
from bench.boards.readouts import readout_of, row_readout
from bench.boards.values import label_of_run, scores_of
from bench.core.canonical import digest
from bench.core.control_names import is_control_row
from bench.core.errors import BenchError
from bench.data.inference_batches import InferenceBatches
from bench.runs.plan import plan
from bench.studies._results import Condition, ConditionResult, Difference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.core.registry import Registry
    from bench.data.task import Task
    from bench.records.record import Record
    from bench.runs.job import Job, Options
    from bench.runs.runner import Runner


class StudyContext:
    """Runs the conditions of a study, or reads their records.

    Attributes
    ----------
    methods
        As typed, or the default of the study.
    points
        Values of the varied setting, in ascending order.
    left_out
        Method or condition -> why it is skipped.
    """

    def __init__(
        self,
        task: Task,
        methods: Sequence[str],
        seeds: Sequence[int],
        points: Sequence[float],
        registry: Registry,
        runner: Runner,
        options: Options,
        reopen: Callable[[str, Mapping[str, object]], Task],
        done: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self.task, self.methods, self.seeds = task, list(methods), list(seeds)
        self.points, self.registry, self.runner = list(points), registry, runner
        self.options, self.reopen, self._done = options, reopen, done
        self.left_out: dict[str, str] = {}
        self.failed: list[Record] = []
        self._records: dict[str, Record] = {}
        self._others: set[str] = set()

    def describe(self, metric: str, readout: str) -> None:
        """State what is measured with the first seed, if it is not the split's primary metric."""
        self._metric, self.readout, self.seeds = metric, readout, self.seeds[:1]

    @property
    def metric(self) -> str:
        """What is measured; default: the split's primary metric."""
        return self._metric or self.task.split.metric

    @property
    def metric_text(self) -> str:
        """The metric as text: ``balanced accuracy``."""
        return self.metric.replace("_", " ")

    @property
    def chance(self) -> float:
        """Accuracy of random guessing."""
        return 1.0 / len(self.task.classes)

    @property
    def runs_digest(self) -> str:
        """Digest of all runs and predictions used."""
        runs = sorted(
            [run_id, record.predictions_sha256, record.status]
            for run_id, record in self._records.items()
        )
        return digest([*runs, *sorted(self._others)])

    @property
    def run_ids(self) -> list[str]:
        """Ids of all runs used."""
        return sorted(self._records)

    _metric = ""
    readout = "probe"
    """Readout of all conditions, as on boards; a classifier keeps its own head."""

    def depend_on(self, identity: str) -> None:
        """Add an input that is not a run, such as profiles, to the digest of the finding."""
        self._others.add(identity)

    def leave_out(self, name: str, reason: str) -> None:
        """State why a method or a condition is skipped."""
        self.left_out.setdefault(name, reason)

    def job(self, condition: Condition, seed: int) -> Job:
        """Return the validated job of one seed of a condition."""
        tasks = [condition.task or self.task]
        options = self._options(condition)
        [job] = plan([condition.method], tasks, [seed], options, self.registry)
        return job

    def _options(self, condition: Condition) -> Options:
        stages = {name.strip() for name in condition.method.split("+")}
        values = {n: dict(v) for n, v in self.options.values.items() if n in stages}
        for name, changed in condition.values.items():
            values.setdefault(name, {}).update(changed)
        grouping = None if condition.grouping is None else InferenceBatches.read(condition.grouping)
        recipe = {**self.options.overrides, **condition.recipe}
        return dataclasses.replace(self.options, overrides=recipe, values=values, grouping=grouping)

    def takes(self, method: str, parameter: str) -> bool:
        """Return whether the last stage of a method has a parameter of this name."""
        entry = self.registry.entry("method", method.rsplit("+", maxsplit=1)[-1].strip())
        if is_control_row(entry.meta["level"]):
            return False
        return parameter in {f.name for f in dataclasses.fields(entry.load().Params)}

    def per_batch(self, condition: Condition) -> bool:
        """Return whether any stage processes each test batch in a separate call."""
        chain = self.job(condition, self.seeds[0]).chain
        return any(stage.per_batch for stage in chain.stages)

    def result(self, condition: Condition) -> ConditionResult:
        """Return the scores of a condition; existing runs are not repeated."""
        records = []
        for seed in self.seeds:
            record = self.runner.run(self.job(condition, seed))
            self._done(record)
            if record.status == "failed":
                self.failed.append(record)
            else:
                self._records[record.run_id] = record
            records.append(record)
        first = records[0]
        label = label_of_run(first).removeprefix("identity+")
        scored = [record for record in records if record.ok]
        if not scored:
            return ConditionResult(condition, label, reason=first.reason)
        runs = {record.seed: record for record in scored}
        readout = row_readout(scored[0], readout_of(scored, self.metric, self.readout))
        if not all(record.has(self.metric, readout) for record in scored):
            # If controls are classes, a method that uses them is scored with another metric.
            return ConditionResult(condition, label, reason=f"it has no {self.metric_text} here")
        scores, _ = scores_of(runs, self.metric, readout)
        span = span_of_mean(scores)
        batches = [record.data["batches"] for record in scored]
        return ConditionResult(
            condition,
            label,
            scores=scores,
            level=scored[0].clusters["level"],
            low=span.low,
            high=span.high,
            rows=float(np.median([b["rows_median"] for b in batches])),
            largest=max(int(b["rows_max"]) for b in batches),
            batches=float(np.mean([b["n_test"] for b in batches])),
            fallbacks=float(np.mean([b["fallbacks"] for b in batches])),
            records=tuple(scored),
        )

    def difference(
        self, a: ConditionResult, b: ConditionResult, *, by_cluster: bool = True
    ) -> Difference:
        """Return the paired difference ``a - b``.

        Parameters
        ----------
        by_cluster
            False for results on different rows, whose difference has no interval.
        """
        paired = pair(a.scores, b.scores) if a.scores is not None and b.scores is not None else None
        if paired is None:
            raise BenchError(f"{a.label} and {b.label} have no seed in common: run both with one")
        return Difference.of(paired, a.level, by_cluster=by_cluster)
