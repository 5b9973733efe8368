"""What a study works with: runs asked for by arm, scores with their spread, paired differences."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.boards.stats.intervals import interval
from bench.boards.stats.scores import Scores
from bench.boards.stats.tests import paired_difference
from bench.boards.values import label_of
from bench.core.canonical import digest
from bench.core.errors import BenchError
from bench.data.grouping import Grouping
from bench.runs.plan import plan
from bench.studies._cells import (
    Arm,
    Cell,
    Gap,
    Values,  # TC
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.boards.stats.intervals import Interval
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
        unscored = [record for record in good if self.metric not in record["metrics"]]
        first = records[0]
        label = label_of(first["method_id"], {k: v for k, v in first["params"].items() if v})
        label = label.removeprefix("identity+")
        if not good:
            return Cell(arm, label, reason=str(first["reason"]))
        if unscored:  # where controls are classes, a method that is told them has another metric
            return Cell(arm, label, reason=f"it is not scored by {self.metric_words} here")
        return self._scored(arm, label, good)

    def _scored(self, arm: Arm, label: str, good: list[dict[str, Any]]) -> Cell:
        values = [self._value(record) for record in good]
        scores = self._clusters(good)
        found: Interval | None = None if scores is None else interval(scores)
        low = high = None
        if found is not None and len(good) > 1 and found.low is not None:
            assert found.high is not None
            # Moved to the pooled metric, as boards do.
            shift = float(np.mean(values)) - found.mean
            low, high = found.low + shift, found.high + shift
        batches = [record["batches"] for record in good]
        return Cell(
            arm,
            label,
            seeds=tuple(int(record["spec"]["seed"]) for record in good),
            values=tuple(values),
            scores=scores,
            level=str(good[0]["clusters"]["level"]),
            low=low,
            high=high,
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

    def _value(self, record: Mapping[str, Any]) -> float:
        metrics = record["metrics"]
        found = metrics.get(f"{self.readout}.{self.metric}") or metrics[self.metric]
        return float(found["all"])

    def _clusters(self, records: Sequence[Mapping[str, Any]]) -> Scores | None:
        name = f"{self.readout}.{self.metric}"
        tables = []
        for record in records:
            clusters = record["clusters"]
            parts = clusters.get("parts") or clusters["values"]
            column = parts.get(name) or parts.get(self.metric)
            if column is None:
                return None
            tables.append(dict(zip(clusters["names"], column, strict=True)))
        first = records[0]["clusters"]
        weights = first.get("weights", {})
        weights = weights.get(name) or weights.get(self.metric) or first["n"]
        shared = [n for n in first["names"] if all(t.get(n) is not None for t in tables)]
        if not shared:
            return None
        size = dict(zip(first["names"], weights, strict=True))
        return Scores(
            np.array([[t[n] for n in shared] for t in tables], dtype=np.float64),
            tuple(int(record["spec"]["seed"]) for record in records),
            tuple(shared),
            np.array([size[n] for n in shared], dtype=np.float64),
        )

    def gap(self, a: Cell, b: Cell) -> Gap:
        """Return the paired difference ``a - b``.

        Raises
        ------
        BenchError
            If the two have no seed in common.
        """
        mine = dict(zip(a.seeds, a.values, strict=True))
        theirs = dict(zip(b.seeds, b.values, strict=True))
        shared = [seed for seed in mine if seed in theirs]
        if not shared:
            raise BenchError(f"{a.label} and {b.label} have no seed in common: run both with one")
        differences = [mine[seed] - theirs[seed] for seed in shared]
        mean = float(np.mean(differences))
        sd = float(np.std(differences, ddof=1)) if len(shared) > 1 else None
        if a.scores is None or b.scores is None:
            return Gap(mean, sd, None, None, 0, a.level)
        try:
            found = paired_difference(a.scores, b.scores).interval
        except BenchError:  # other clusters, or of other sizes: the seeds are all there is
            return Gap(mean, sd, None, None, 0, a.level)
        low = high = None
        if len(shared) > 1 and found.low is not None and found.high is not None:
            shift = mean - found.mean
            low, high = found.low + shift, found.high + shift
        return Gap(mean, sd, low, high, found.n_clusters, a.level)
