"""Recommend a correction for a data set, with the evidence as text.

The recommendation is a pure function of records and of the results of :mod:`bench.advice.checkup`.
Every method is compared with its baseline (:mod:`bench.boards.baselines`) on the same held-out
batches and seeds: a correction of profiles with the uncorrected profiles, a training method with
plain training (``erm``). All rows use the probe, so that scores are comparable.

The best of many methods is overestimated. The p value of each method is therefore adjusted for the
number of methods (Holm). The selection is also validated: it is repeated without each held-out
batch in turn, and the gain of the selected method is measured on that batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.advice.advice import (
    ALPHA,
    LOSES,
    METRIC,
    UNCORRECTED,
    Advice,
    Compared,
    Records,  # TC
)
from bench.advice.words import advice_sections, advice_title
from bench.boards.baselines import baseline_of
from bench.boards.pairing import Paired, pair
from bench.boards.readouts import readout_of, row_readout
from bench.boards.stats.tests import holm
from bench.boards.values import scores_of
from bench.core.access import TRACKS
from bench.core.control_names import is_control_row
from bench.core.errors import BenchError
from bench.records.record import as_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from bench.advice.checkup import Check
    from bench.advice.support import MethodSupport
    from bench.boards.stats.scores import Scores
    from bench.records.record import Record
    from bench.runs.job import Job


def advise_splits(
    jobs: Sequence[Job],
    records: Sequence[Record],
    lines: Sequence[Check],
    supports: Sequence[MethodSupport],
) -> list[Advice]:
    """Return the advice for each split of an experiment; arguments as of :func:`advise`.

    Parameters
    ----------
    jobs, records
        The executed jobs and their records, in the same order.
    """
    by_split: dict[str, list[Record]] = {}
    for job, record in zip(jobs, records, strict=True):
        by_split.setdefault(job.task.split.name, []).append(record)
    return [advise(runs, lines, supports) for runs in by_split.values()]


def advise(
    records: Iterable[Record | Mapping[str, object]],
    lines: Sequence[Check],
    supports: Sequence[MethodSupport],
) -> Advice:
    """Return the advice that records of one split support.

    Parameters
    ----------
    records
        Complete records of several methods on one split with the same recipe and seeds, with
        ``identity`` or ``erm`` among them.
    lines, supports
        Results of :func:`bench.advice.checkup.examine` and :func:`bench.advice.support.supported`.

    Raises
    ------
    BenchError
        If the records contain no uncorrected row, or belong to several splits.
    """
    done = [record for record in map(as_record, records) if record.ok]
    splits = {record.split_id for record in done}
    if len(splits) != 1:
        raise BenchError("the records belong to several splits: select one with --split")
    by_method: dict[str, list[Record]] = {}
    for record in done:
        # On a table, a correction alone is the same as the correction of uncorrected profiles.
        name = record.method_id.removeprefix("identity+")
        by_method.setdefault(name, []).append(record)
    rated = {name: _Rated.of(runs) for name, runs in by_method.items()}
    plain = [name for name in UNCORRECTED if name in rated]
    if not plain:
        raise BenchError("no uncorrected baseline: run erm too, and identity on a table")
    chains = {records[0].method_id: name for name, records in by_method.items()}
    gaps: dict[str, tuple[str, Paired]] = {}
    for name, runs in by_method.items():
        if name in plain or is_control_row(runs[0].track):
            continue
        without = chains.get(baseline_of(runs[0].method_id, chains), "")
        if not without:
            raise BenchError(f"{name} has no baseline: run erm too, and identity on a table")
        gap = pair(rated[name].scores, rated[without].scores)
        if gap is None:
            raise BenchError(f"{name} and {without} have no seed in common: run both with the same")
        gaps[name] = without, gap
    adjusted = holm([gap.p for _, gap in gaps.values()])
    rows = [
        _compared(name, without, gap, p, rated)
        for (name, (without, gap)), p in zip(gaps.items(), adjusted, strict=True)
    ]
    rows.sort(key=lambda row: (-row.mean, row.method))
    baselines = {name: rated[name].mean for name in plain}
    best = _best(rows, max(baselines.values()))
    gain = _chosen_gain(
        [rated[row.method].points for row in rows],
        rated[max(baselines, key=lambda name: baselines[name])].points,
    )
    spreads = [gap for _, gap in gaps.values()]
    return Advice(
        split=next(iter(splits)),
        title=advice_title(done),
        use=best.method if best is not None else "",
        rows=tuple(rows),
        baselines=baselines,
        chosen_gain=gain,
        sections=advice_sections(done, rows, best, baselines, gain, lines, supports, spreads),
    )


@dataclass(frozen=True)
class _Rated:
    """Records of one method, with their scores and the mean over seeds per held-out batch."""

    records: Records
    scores: Scores
    points: Mapping[str, float]

    @classmethod
    def of(cls, records: Records) -> _Rated:
        runs = {record.seed: record for record in records}
        readout = row_readout(records[0], readout_of(records, METRIC, "probe"))
        return cls(records, *scores_of(runs, METRIC, readout))

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores.pooled))


def _compared(
    name: str, without: str, gap: Paired, p: float | None, rated: Mapping[str, _Rated]
) -> Compared:
    mine, other = rated[name], rated[without]
    batches = [batch for batch in mine.points if batch in other.points]
    better = sum(mine.points[batch] > other.points[batch] for batch in batches)
    worse = sum(mine.points[batch] < other.points[batch] for batch in batches)
    gain, low, high = gap.difference, gap.low, gap.high
    noise = gap.sd if gap.sd is not None else 0.0 if gap.deterministic else np.inf
    if low is not None and high is not None:
        grade = "clear" if low > 0 and p is not None and p < ALPHA else "none"
        grade = "harm" if high < 0 else grade
    else:
        grade = "harm" if worse == len(batches) and -gain > noise else "none"
    if grade == "none" and gain > noise and better >= 0.75 * len(batches):
        grade = "likely"
    classes, others = _by_class(mine.records), _by_class(other.records)
    lost = {c: others[c] - classes[c] for c in classes if c in others}
    losers = sorted(((c, d) for c, d in lost.items() if d > LOSES), key=lambda cd: -cd[1])
    values = mine.scores.pooled
    return Compared(
        method=name,
        track=mine.records[0].track,
        without=without,
        mean=mine.mean,
        sd=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        gain=gain,
        low=low,
        high=high,
        p=p,
        better_in=better,
        n_batches=len(batches),
        grade=grade,
        losers=tuple(losers),
        n_classes=len(classes),
    )


def _by_class(runs: Records) -> dict[str, float]:
    """Return the mean over seeds of each class's accuracy with the readout of the record."""
    values: dict[str, list[float]] = {}
    for record in runs:
        for subset, value in record.subsets("accuracy", "probe").items():
            if subset.startswith("class="):
                values.setdefault(subset.removeprefix("class="), []).append(float(value))
    return {name: float(np.mean(group)) for name, group in values.items()}


def _best(rows: Sequence[Compared], uncorrected: float) -> Compared | None:
    """Return the row to recommend, or None.

    Candidates have evidence (``clear`` before ``likely``) and score above every uncorrected row.
    The best candidate is returned, or one that uses less information if it is within the best one's
    SD.
    """
    for grade in ("clear", "likely"):
        able = [row for row in rows if row.grade == grade and row.mean > uncorrected]
        if not able:
            continue
        near = [row for row in able if row.mean >= able[0].mean - (able[0].sd or 0.0)]
        return min(near, key=lambda row: (TRACKS.index(row.track), -row.mean))
    return None


def _chosen_gain(
    methods: Sequence[Mapping[str, float]], without: Mapping[str, float]
) -> float | None:
    """Return the mean gain, over batches, of the method selected on the other batches.

    The uncorrected row is a candidate with gain 0.

    Parameters
    ----------
    methods, without
        Score by batch of each method, and of the uncorrected row.
    """
    names = sorted(set(without).intersection(*methods)) if methods else []
    if len(names) < 3:
        return None
    table: NDArray[np.float64] = np.array(
        [[0.0] * len(names)] + [[points[n] - without[n] for n in names] for points in methods]
    )
    gains = []
    for k in range(len(names)):
        others = np.delete(table, k, axis=1).mean(axis=1)
        gains.append(table[int(np.argmax(others)), k])
    return float(np.mean(gains))
