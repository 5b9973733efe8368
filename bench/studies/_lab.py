"""What a study works with: runs asked for by arm, scores with their spread, paired differences."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.boards.pairing import pair, span_of_mean
from bench.boards.values import changed_params, label_of, readout_of, record_value, scores_of
from bench.core.canonical import digest
from bench.core.errors import BenchError
from bench.data.grouping import Grouping
from bench.records.record import flat
from bench.runs.plan import plan
from bench.studies._cells import (
    Arm,
    Cell,
    Gap,
    Values,  # TC
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.boards.stats.scores import Scores
    from bench.core.registry import Registry
    from bench.data.target import Target
    from bench.runs.job import Job, Options
    from bench.runs.runner import Runner

__all__ = ["Lab"]


class Lab:
    """Makes the runs of a study, or finds them on record.

    Attributes
    ----------
    target
        The split, opened.
    methods
        As typed, or the study's own.
    seeds
        Seeds of every arm.
    points
        Values of what the study varies, in rising order.
    registry, runner, options
        Of the harness.
    left_out
        Method or arm -> why it is not in the study.
    failed
        Records of runs that failed.
    """

    def __init__(
        self,
        target: Target,
        methods: Sequence[str],
        seeds: Sequence[int],
        points: Sequence[float],
        registry: Registry,
        runner: Runner,
        options: Options,
        reopen: Callable[[str, Mapping[str, Any]], Target],
        done: Callable[[dict[str, Any]], None] = lambda record: None,
    ) -> None:
        self.target, self.methods, self.seeds = target, list(methods), list(seeds)
        self.points, self.registry, self.runner = list(points), registry, runner
        self.options, self.reopen, self._done = options, reopen, done
        self.left_out: dict[str, str] = {}
        self.failed: list[dict[str, Any]] = []
        self._records: dict[str, Mapping[str, Any]] = {}
        self._others: set[str] = set()

    # ------------------------------------------------------------------ what is asked about

    @property
    def metric(self) -> str:
        """The split's primary metric."""
        return self.target.split.metric

    @property
    def metric_words(self) -> str:
        """The metric in words."""
        return self.metric.replace("_", " ")

    @property
    def runs_digest(self) -> str:
        """Identity of all runs and predictions that were used."""
        runs = sorted(
            [r["run_id"], r["predictions_sha256"], r["status"]] for r in self._records.values()
        )
        return digest([*runs, *sorted(self._others)])

    @property
    def run_ids(self) -> list[str]:
        """Ids of all runs that were used."""
        return sorted(self._records)

    def rest_on(self, what: str) -> None:
        """Add what the finding rests on beside runs, such as the id of profiles, to its digest."""
        self._others.add(what)

    def leave_out(self, what: str, reason: str) -> None:
        """Say why a method or an arm is not in the study."""
        self.left_out.setdefault(what, reason)

    def job(self, arm: Arm, seed: int) -> Job:
        """Return the checked job of one seed of an arm.

        Raises
        ------
        BenchError
            For an unknown method or a wrong parameter.
        """
        [job] = plan(
            [arm.method],
            [arm.target or self.target],
            [seed],
            self._options(arm),
            self.registry,
        )
        return job

    def _options(self, arm: Arm) -> Options:
        stages = {name.strip() for name in arm.method.split("+")}
        values: Values = {n: dict(v) for n, v in self.options.values.items() if n in stages}
        for name, given in arm.values.items():
            values.setdefault(name, {}).update(given)
        grouping = None if arm.grouping is None else Grouping.read(arm.grouping)
        return dataclasses.replace(self.options, values=values, grouping=grouping)

    def takes(self, method: str, parameter: str) -> bool:
        """Whether the last stage of a method has a parameter of this name."""
        entry = self.registry.entry("method", method.split("+")[-1].strip())
        if entry.meta["level"] == "reference":
            return False
        return parameter in {f.name for f in dataclasses.fields(entry.load().Params)}

    def per_batch(self, arm: Arm) -> bool:
        """Whether any stage gets each test batch in a call of its own."""
        chain = self.job(arm, self.seeds[0]).chain
        return any(stage.per_batch for stage in chain.stages)

    # ------------------------------------------------------------------ runs

    def cell(self, arm: Arm) -> Cell:
        """Return the scores of an arm, making the runs that are not on record."""
        records = []
        for seed in self.seeds:
            job = self.job(arm, seed)
            record = self.runner.run(job)
            self._done(record)
            if record["status"] == "failed":
                self.failed.append(record)
            else:
                self._records[record["run_id"]] = record
            records.append(record)
        good = [record for record in records if record["status"] == "ok"]
        first = flat(records[0])
        label = label_of(str(first["method_id"]), changed_params(first))
        label = label.removeprefix("identity+")
        if not good:
            return Cell(arm, label, reason=str(first["reason"]))
        runs = {int(record["spec"]["seed"]): flat(record) for record in good}
        readout = readout_of(list(runs.values()), self.metric, self.readout)
        if any(record_value(run, self.metric, readout) is None for run in runs.values()):
            # where controls are classes, a method that is told them has another metric
            return Cell(arm, label, reason=f"it is not scored by {self.metric_words} here")
        return self._scored(arm, label, good, scores_of(runs, self.metric, readout)[0])

    def _scored(self, arm: Arm, label: str, good: list[dict[str, Any]], scores: Scores) -> Cell:
        span = span_of_mean(scores)
        batches = [record["batches"] for record in good]
        return Cell(
            arm,
            label,
            seeds=scores.seeds,
            values=scores.pooled,
            scores=scores,
            level=str(good[0]["clusters"]["level"]),
            low=span.low,
            high=span.high,
            rows=float(np.median([b["rows_median"] for b in batches])),
            batches=float(np.mean([b["n_test"] for b in batches])),
            fallbacks=float(np.mean([b["fallbacks"] for b in batches])),
            records=tuple(good),
        )

    @functools.cached_property
    def readout(self) -> str:
        """``head`` if every method studied has one, else ``probe``: like is compared with like."""
        chains = [self.job(Arm(method), self.seeds[0]).chain for method in self.methods]
        headed = [
            c.readout == "head" and getattr(c.stages[0].cls, "has_head", True) for c in chains
        ]
        return "head" if all(headed) else "probe"

    def gap(self, a: Cell, b: Cell) -> Gap:
        """Return the paired difference ``a - b``.

        Raises
        ------
        BenchError
            If the two have no seed in common.
        """
        found = None
        if a.scores is not None and b.scores is not None:
            found = pair(a.scores, b.scores)
        if found is None:
            raise BenchError(f"{a.label} and {b.label} have no seed in common: run both with one")
        return Gap(
            found.difference, found.sd, found.low, found.high, found.n_clusters, a.level, found.p
        )
