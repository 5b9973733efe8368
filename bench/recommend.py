"""Which correction to use on somebody's own data, in plain words made of numbers.

A pure function of records and of what :mod:`bench.checkup` found. Every method is compared with
doing without its correction: a correction of profiles with the uncorrected profiles, a way of
training with plain training (``erm``), each on the same held-out batches and seeds. All rows are
read out by the probe, so that like is compared with like.

The best of many looks better than it is. So the test of each method is adjusted for how many were
tried (Holm), and the choice itself is tested: made anew without each held-out batch in turn, what
would it have gained on that batch?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import TRACKS
from bench.errors import BenchError
from bench.statistics import (
    MIN_CLUSTERS,
    Difference,
    Scores,
    holm,
    minimum_detectable_difference,
    paired_difference,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.checkup import Line
    from bench.support import Support

__all__ = ["Advice", "Compared", "advise"]

METRIC = "balanced_accuracy"
READOUT = f"probe.{METRIC}"
ALPHA = 0.05
LOSES = 0.05
"""A class loses if its accuracy falls by more than this."""
UNCORRECTED: tuple[str, ...] = ("identity", "erm")
"""Rows that stand for doing nothing."""
Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Compared:
    """A method against doing without it.

    Attributes
    ----------
    method, track
        The chain and what it had to be told.
    without
        The chain it is compared with.
    mean, sd
        Balanced accuracy by the probe over seeds.
    gain, low, high
        Difference to ``without``, and its interval where there are enough batches.
    p
        Adjusted for all methods that were tried (Holm), None without an interval.
    better_in, n_batches
        Held-out batches in which it scores higher, of how many.
    grade
        ``clear``: the interval is above 0 and the adjusted p below 0.05. ``likely``: higher in at
        least three quarters of the batches, by more than the seeds' SD of the difference, but not
        proven. ``none``: neither. ``harm``: the interval is below 0; with too few batches for one,
        lower in every batch.
    losers
        Classes whose accuracy falls by more than 5 points, and by how much, worst first.
    n_classes
        Classes that were scored.
    """

    method: str
    track: str
    without: str
    mean: float
    sd: float | None
    gain: float
    low: float | None
    high: float | None
    p: float | None
    better_in: int
    n_batches: int
    grade: str
    losers: tuple[tuple[str, float], ...]
    n_classes: int


@dataclass(frozen=True)
class Advice:
    """What to do, and why.

    Attributes
    ----------
    split
        Canonical name of the holdout.
    title
        Split, edition, recipe and seeds.
    use
        The method, or an empty string: do not correct.
    rows
        Every method that was compared, best first.
    baselines
        Uncorrected chains and their means.
    chosen_gain
        Mean gain on a held-out batch of what would have been chosen without it; None with fewer
        than three batches.
    sections
        Heading -> sentences.
    """

    split: str
    title: str
    use: str
    rows: tuple[Compared, ...]
    baselines: Mapping[str, float]
    chosen_gain: float | None
    sections: Mapping[str, tuple[str, ...]]


def advise(records: Records, lines: Sequence[Line], supports: Sequence[Support]) -> Advice:
    """Return the advice that records of one split support.

    Parameters
    ----------
    records
        Complete records of several methods on one split with the same recipe and seeds, with
        ``identity`` or ``erm`` among them.
    lines, supports
        What :func:`bench.checkup.examine` and :func:`bench.support.supported` found.

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
        title=_title(done),
        use=best.method if best is not None else "",
        rows=tuple(rows),
        baselines=baselines,
        chosen_gain=gain,
        sections=_sections(done, rows, best, baselines, gain, lines, supports, found),
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


# --------------------------------------------------------------------------- words


def _title(done: Records) -> str:
    spec = done[0]["spec"]
    seeds = {r["spec"]["seed"] for r in done}
    plural = "s" if len(seeds) > 1 else ""
    return (
        f"{spec['split_id']} · {spec['edition']} data · {spec['recipe']} recipe · "
        f"{len(seeds)} seed{plural} · balanced accuracy by probe"
    )


def _sections(
    done: Records,
    rows: Sequence[Compared],
    best: Compared | None,
    baselines: Mapping[str, float],
    gain: float | None,
    lines: Sequence[Line],
    supports: Sequence[Support],
    found: Sequence[tuple[str, str, Difference]],
) -> dict[str, tuple[str, ...]]:
    use, sure = _use(rows, best, baselines), _sure(rows, best, gain)
    return {
        "What to use": tuple(use),
        "How sure that is": tuple(sure),
        "What it costs in biology": tuple(_cost(rows, best)),
        "When not to correct": tuple(_warnings(rows, lines)),
        "What the data cannot tell": tuple(_limits(done, rows, lines, supports, found)),
    }


def _use(
    rows: Sequence[Compared], best: Compared | None, baselines: Mapping[str, float]
) -> list[str]:
    plain = max(baselines, key=lambda name: baselines[name])
    if best is None:
        top = f" The highest, {rows[0].method}, scores {rows[0].mean:.3f}." if rows else ""
        return [
            f"Do not correct: none of {len(rows)} corrections is shown to beat {plain}, which "
            f"scores {baselines[plain]:.3f}.{top}"
        ]
    told = {
        "inductive": "nothing beyond the training data",
        "test-controls": "the negative controls of each new batch",
        "test-batch": "all rows of each new batch at once",
        "transductive": "all new data while fitting, so it is fitted again for each new batch",
    }
    text = (
        f"Use {best.method}: {best.mean:.3f} against {best.mean - best.gain:.3f} of {best.without}"
    )
    text += f" without it ({_signed(best.gain, best.low, best.high)})."
    made = [text, f"It must be told {told[best.track]}."]
    if best is not rows[0]:
        made.append(
            f"{rows[0].method} scores {rows[0].mean:.3f}, but "
            + (
                "is no better than the seeds' spread and must be told more."
                if rows[0].grade == best.grade
                else "its advantage is less certain."
            )
        )
    return made


def _sure(rows: Sequence[Compared], best: Compared | None, gain: float | None) -> list[str]:
    made = []
    if best is not None and best.grade == "clear":
        made.append(
            f"Clear: the interval over seeds and {best.n_batches} held-out batches lies above 0, "
            f"and p = {best.p:.2g} after adjusting for the {len(rows)} methods that were tried."
        )
    elif best is not None:
        why = (
            f"with {best.n_batches} held-out batches there is no interval"
            if best.low is None
            else "the interval reaches 0, or not enough is left of it after adjusting for "
            f"{len(rows)} methods"
        )
        made.append(
            f"Likely, not proven: it is better in {best.better_in} of {best.n_batches} held-out "
            f"batches, but {why}."
        )
    if gain is not None:
        made.append(
            "Had the method been chosen without each held-out batch in turn, that choice would "
            f"have gained {gain:+.3f} on the batch it had not seen."
        )
    if best is None and rows:
        tried = [row for row in rows if row.grade == "harm"]
        made.append(
            f"{len(tried)} of {len(rows)} do measurable harm; the others cannot be told apart from "
            "doing nothing."
        )
    return made


def _cost(rows: Sequence[Compared], best: Compared | None) -> list[str]:
    row = best if best is not None else (rows[0] if rows else None)
    if row is None or not row.n_classes:
        return ["Nothing was scored class by class."]
    if not row.losers:
        return [f"With {row.method} none of {row.n_classes} classes loses more than 5 points."]
    shown = ", ".join(f"{name} (-{100 * lost:.0f} points)" for name, lost in row.losers[:3])
    more = f" and {len(row.losers) - 3} more" if len(row.losers) > 3 else ""
    return [
        f"With {row.method} {len(row.losers)} of {row.n_classes} classes lose more than 5 points: "
        f"{shown}{more}. If yours is among them, do without."
    ]


def _warnings(rows: Sequence[Compared], lines: Sequence[Line]) -> list[str]:
    made = []
    nested = [line for line in lines if line.topic.startswith("class and") and line.state == "warn"]
    if nested:
        level = nested[0].topic.removeprefix("class and ")
        made.append(
            f"Do not use statistics of a whole {level} (ben, adabn, center over all rows, combat, "
            f"harmony): each {level} holds classes of its own, so they remove biology. Statistics "
            "of the negative controls alone do not have this fault."
        )
    for line in lines:
        if line.topic == "upstream" and line.state != "ok":
            made.append(f"Upstream: {line.text}.")
        if line.topic == "batch effect" and line.state == "ok":
            made.append(f"There may be nothing to correct: {line.text}.")
    harm = [row for row in rows if row.grade == "harm"]
    if harm:
        worst = sorted(harm, key=lambda row: row.gain)
        shown = ", ".join(
            f"{row.method} ({_signed(row.gain, row.low, row.high)})" for row in worst[:5]
        )
        more = f" and {len(worst) - 5} more" if len(worst) > 5 else ""
        made.append(f"Measured harm on these data: {shown}{more}.")
    return made or ["Nothing that was looked at speaks against correcting."]


def _limits(
    done: Records,
    rows: Sequence[Compared],
    lines: Sequence[Line],
    supports: Sequence[Support],
    found: Sequence[tuple[str, str, Difference]],
) -> list[str]:
    made = []
    seeds = {r["spec"]["seed"] for r in done}
    if len(seeds) < 3 or done[0]["spec"]["recipe"] == "smoke":
        made.append(
            "Much: this is a trial with the smoke recipe or fewer than 3 seeds; run it again "
            "without --recipe and --seeds before you rely on it."
        )
    level = done[0]["clusters"]["level"]
    n = max((row.n_batches for row in rows), default=len(done[0]["clusters"]["names"]))
    if n < MIN_CLUSTERS:
        made.append(
            f"{n} held-out values of {level} are too few for an interval (at least "
            f"{MIN_CLUSTERS}): nothing here can be proven, only pointed at."
        )
    spreads = [d.sd_clusters for _, _, d in found if d.sd_clusters is not None]
    if spreads and n >= 2:
        least = minimum_detectable_difference(float(np.median(spreads)), n)
        made.append(
            f"With {n} batches that differ as these do, a gain below {least:.3f} is missed more "
            "often than one time in five."
        )
    excluded = max(r["n_excluded"] for r in done)
    if excluded:
        made.append(
            f"{excluded} rows were left out, since no other batch holds their class: what a "
            "correction does to them is not known."
        )
    made.append(
        f"Whether this holds beyond a new {level}: another laboratory or microscope may differ in "
        "ways that no batch here does."
    )
    without = [s.name for s in supports if s.verdict == "no" and "controls" in s.reason]
    if without:
        made.append(f"What controls would allow: {', '.join(without)} need them in every batch.")
    position = [line for line in lines if line.topic == "column position" and line.state == "warn"]
    if position:
        made.append(
            "How much of the score is the position on the plate, which alone tells the class "
            f"with {max(v for k, v in position[0].facts.items() if k != 'chance'):.2f}."
        )
    return made


def _signed(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{value:+.3f}"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
