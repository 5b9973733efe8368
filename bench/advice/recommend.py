"""Which correction to use on somebody's own data, in plain words made of numbers.

A pure function of records and of what :mod:`bench.advice.checkup` found. Every method is compared
with doing without its correction: a correction of profiles with the uncorrected profiles, a way of
training with plain training (``erm``), each on the same held-out batches and seeds. All rows are
read out by the probe, so that like is compared with like.

The best of many looks better than it is. So the test of each method is adjusted for how many were
tried (Holm), and the choice itself is tested: made anew without each held-out batch in turn, what
would it have gained on that batch?
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.advice.advice import (
    ALPHA,
    LOSES,
    METRIC,
    READOUT,
    UNCORRECTED,
    Advice,
    Compared,
    Records,  # TC
)
from bench.advice.words import advice_sections, advice_title
from bench.boards.stats.scores import Scores
from bench.boards.stats.tests import (
    Difference,
    holm,
    paired_difference,
)
from bench.core.access import TRACKS
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bench.advice.checkup import Line
    from bench.advice.support import Support

__all__ = ["advise"]


def advise(records: Records, lines: Sequence[Line], supports: Sequence[Support]) -> Advice:
    """Return the advice that records of one split support.

    Parameters
    ----------
    records
        Complete records of several methods on one split with the same recipe and seeds, with
        ``identity`` or ``erm`` among them.
    lines, supports
        What :func:`bench.advice.checkup.examine` and :func:`bench.advice.support.supported` found.

    Raises
    ------
    BenchError
        If no uncorrected row is among the records, or they are of several splits.
    """
    done = [r for r in records if r["status"] == "ok"]
    splits = {r["spec"]["split_id"] for r in done}
    if len(splits) != 1:
        raise BenchError("advice is about one split at a time: run the methods on one")
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for record in done:
        # On a table a correction alone stands for the same on uncorrected profiles.
        name = record["method_id"].removeprefix("identity+")
        by_method.setdefault(name, []).append(record)
    plain: dict[str, Scores] = {
        name: _scores(by_method[name]) for name in UNCORRECTED if name in by_method
    }
    if not plain:
        raise BenchError("nothing to compare with: run erm too, and identity on a table")
    found: list[tuple[str, str, Difference]] = []
    for name, runs in by_method.items():
        if name in plain or runs[0]["track"] == "reference":
            continue
        without = _without(runs[0]["method_id"], plain)
        found.append((name, without, paired_difference(_scores(runs), plain[without])))
    adjusted = holm([d.interval.p for _, _, d in found])
    rows = [
        _compared(name, without, d, p, by_method)
        for (name, without, d), p in zip(found, adjusted, strict=True)
    ]
    rows.sort(key=lambda row: (-row.mean, row.method))
    baselines = {name: _mean(by_method[name]) for name in plain}
    best = _best(rows, max(baselines.values()))
    gain = _chosen_gain(
        {row.method: by_method[row.method] for row in rows},
        by_method[max(baselines, key=lambda name: baselines[name])],
    )
    return Advice(
        split=next(iter(splits)),
        title=advice_title(done),
        use=best.method if best is not None else "",
        rows=tuple(rows),
        baselines=baselines,
        chosen_gain=gain,
        sections=advice_sections(done, rows, best, baselines, gain, lines, supports, found),
    )


# --------------------------------------------------------------------------- numbers


def _value(record: Mapping[str, Any]) -> float:
    metrics = record["metrics"]
    return float(metrics[READOUT if READOUT in metrics else METRIC]["all"])


def _mean(runs: Records) -> float:
    return float(np.mean([_value(r) for r in runs]))


def _scores(runs: Records) -> Scores:
    """Return the parts of the pooled score by seed and batch (their weighted mean is the score)."""
    clusters = [r["clusters"] for r in runs]
    key = READOUT if READOUT in clusters[0]["values"] else METRIC
    parts, weights = clusters[0].get("parts") or {}, clusters[0].get("weights") or {}
    kind, sizes = "values", clusters[0]["n"]
    if key in parts and key in weights:
        kind, sizes = "parts", weights[key]
    values = [[np.nan if v is None else v for v in c[kind][key]] for c in clusters]
    seeds = tuple(r["spec"]["seed"] for r in runs)
    return Scores(np.array(values), seeds, tuple(clusters[0]["names"]), np.array(sizes, float))


def _without(method: str, plain: Mapping[str, Any]) -> str:
    """Return the chain to compare with: a correction's own first stage, else plain training."""
    first = method.split("+")[0]
    if first in plain:
        return first
    return "erm" if "erm" in plain else "identity"


def _compared(
    name: str,
    without: str,
    difference: Difference,
    p: float | None,
    by_method: Mapping[str, Records],
) -> Compared:
    runs, base = by_method[name], by_method[without]
    values = [_value(r) for r in runs]
    theirs = {r["spec"]["seed"]: _value(r) for r in base}
    gaps = [v - theirs[r["spec"]["seed"]] for v, r in zip(values, runs, strict=True)]
    mine, other = _points(runs), _points(base)
    better = sum(mine[b] > other[b] for b in mine)
    worse = sum(mine[b] < other[b] for b in mine)
    gain, low, high = float(np.mean(gaps)), difference.interval.low, difference.interval.high
    noise = float(np.std(gaps, ddof=1)) if len(gaps) > 1 else np.inf
    if low is not None and high is not None:
        grade = "clear" if low > 0 and p is not None and p < ALPHA else "none"
        grade = "harm" if high < 0 else grade
    else:
        grade = "harm" if worse == len(mine) and -gain > noise else "none"
    if grade == "none" and gain > noise and better >= 0.75 * len(mine):
        grade = "likely"
    classes, others = _by_class(runs), _by_class(base)
    lost = {c: others[c] - classes[c] for c in classes if c in others}
    losers = sorted(((c, d) for c, d in lost.items() if d > LOSES), key=lambda cd: -cd[1])
    return Compared(
        method=name,
        track=str(runs[0]["track"]),
        without=without,
        mean=float(np.mean(values)),
        sd=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        gain=gain,
        low=low,
        high=high,
        p=p,
        better_in=better,
        n_batches=len(mine),
        grade=grade,
        losers=tuple(losers),
        n_classes=len(classes),
    )


def _points(runs: Records) -> dict[str, float]:
    """Return the mean over seeds of the score within each held-out batch."""
    key = READOUT if READOUT in runs[0]["clusters"]["values"] else METRIC
    names = runs[0]["clusters"]["names"]
    columns = np.array(
        [[np.nan if v is None else v for v in r["clusters"]["values"][key]] for r in runs]
    )
    means = columns.mean(axis=0)
    return {n: float(v) for n, v in zip(names, means.tolist(), strict=True) if np.isfinite(v)}


def _by_class(runs: Records) -> dict[str, float]:
    """Return the mean over seeds of each class's accuracy under the record's own read-out."""
    found: dict[str, list[float]] = {}
    for record in runs:
        for subset, value in record["metrics"].get("probe.accuracy", {}).items():
            if subset.startswith("class="):
                found.setdefault(subset.removeprefix("class="), []).append(float(value))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _best(rows: Sequence[Compared], uncorrected: float) -> Compared | None:
    """Return the row to recommend, None for none.

    Of those with evidence (``clear`` before ``likely``) that score above every uncorrected row,
    the best; but one that needs to be told less is preferred if it lies within the best one's SD.
    """
    for grade in ("clear", "likely"):
        able = [row for row in rows if row.grade == grade and row.mean > uncorrected]
        if not able:
            continue
        near = [row for row in able if row.mean >= able[0].mean - (able[0].sd or 0.0)]
        return min(near, key=lambda row: (TRACKS.index(row.track), -row.mean))
    return None


def _chosen_gain(by_method: Mapping[str, Records], base: Records) -> float | None:
    """Return the mean gain on a batch of the method that the other batches would have chosen.

    The uncorrected row is among the choices, so choosing nothing gains 0.
    """
    points = {name: _points(runs) for name, runs in by_method.items()}
    without = _points(base)
    names = sorted(set.intersection(set(without), *map(set, points.values()))) if points else []
    if len(names) < 3:
        return None
    table: NDArray[np.float64] = np.array(
        [[0.0 for _ in names]]
        + [[found[n] - without[n] for n in names] for found in points.values()]
    )
    gains = []
    for k in range(len(names)):
        others = np.delete(table, k, axis=1).mean(axis=1)
        gains.append(table[int(np.argmax(others)), k])
    return float(np.mean(gains))
