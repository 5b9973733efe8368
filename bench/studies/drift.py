"""How much existing profiles change when a batch arrives and the method is refitted.

Each held-out batch of the split arrives in turn. Before: the method fitted on the other batches,
and their profiles. After: the method fitted on all batches, including the new one with its labels,
and the new profiles of the *old* rows. (A transductive method adapts to the old rows before, and
to the new batch after.) Profiles of two fits agree only up to rotation, scale and origin. Both
are therefore reduced to their leading principal components, and the new ones are aligned to the
old ones by a Procrustes transform, fitted on the negative controls of the old batches or, without
controls, on a random half of the old rows. Drift is the root mean square displacement of the other
old rows, in units of the root mean square distance between replicates before (rows of the same
treatment, else of the same class, in different batches). As a baseline, the study measures the
displacement from a fit with another seed and no new batch: only drift beyond that is due to the
batch. Nothing is scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from bench.core.access import Access
from bench.core.errors import BenchError, NotApplicable
from bench.core.seeds import generator
from bench.core.words import count, plural
from bench.data.views import column_of
from bench.output.style import colour_of, marker_of
from bench.studies._networks import profiles_of
from bench.studies._results import Condition, Finding
from bench.studies._sentences import listed, nothing, noun_of, spread

if TYPE_CHECKING:
    from bench.data.partitions import Fold
    from bench.data.views import Partition
    from bench.output.canvas import Canvas
    from bench.runs.job import Job
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell

META = {
    "kind": "study",
    "name": "drift",
    "version": 1,
    "question": "What happens to old profiles when a batch arrives and the method is refitted?",
    "methods": ["erm", "ben", "zscore", "sphering", "tvn", "combat", "harmony"],
}

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
MOST_COMPONENTS = 32
PER_COMPONENT = 4
"""Minimum rows for alignment per component."""


SHOWN = {
    "method": "method",
    "drift": "drift",
    "drift_sd": "SD",
    "worst": "worst arrival",
    "worst_value": "its drift",
    "reseeded": "reseeded",
    "components": "components",
    "kept": "variance kept",
}


class _Row(TypedDict):
    """Drift of one method at one arrival with one seed."""

    method: str
    arriving: str
    seed: int
    drift: float
    reseeded: float | None
    components: int
    kept: float
    aligned_on: str


class _Summary(TypedDict):
    """Drift of one method over arrivals and seeds."""

    method: str
    drift: float
    drift_sd: float | None
    worst: str
    worst_value: float
    reseeded: float | None
    n_arrivals: int
    n_seeds: int
    components: int
    kept: float
    aligned_on: str


def run(context: StudyContext) -> Finding:
    """Measure the drift of every method at every arrival and with each seed."""
    if not context.task.supervised:
        context.leave_out("all methods", f"{context.task.split.name} has no training set")
        return Finding([], SHOWN, nothing(context))
    table: list[_Row] = []
    for method in context.methods:
        try:
            table += _of_method(context, method)
        except (NotApplicable, BenchError) as error:
            context.leave_out(method, str(error))
    if not table:
        return Finding([], SHOWN, nothing(context))
    summary = [_summary(table, label) for label in dict.fromkeys(row["method"] for row in table)]

    def draw(canvas: Canvas) -> None:
        _draw(canvas, table, summary)

    level = noun_of(context.task.split.hold_out or context.task.opened.level)
    notes = (
        f"Aligned on {table[-1]['aligned_on']}. Drift of 1: old profiles moved as far as the "
        f"distance between replicates of different batches. Drift is the mean over new "
        f"{plural(level)}, then mean and SD over seeds. Reseeded: the same between two seeds, "
        "fitted on the old batches alone.",
    )
    height = 1.4 + 0.28 * len(summary)
    rows = [cast("dict[str, Cell]", row) for row in summary]
    return Finding(rows, SHOWN, _reading(context, table, summary), draw, height, notes)


@dataclass(frozen=True)
class _Profiles:
    """Profiles of old rows, in the order of row numbers."""

    rows: NDArray[np.int64]
    X: Doubles
    partition: Partition

    @classmethod
    def of(cls, partition: Partition, X: NDArray[np.float32], old: NDArray[np.int64]) -> _Profiles:
        kept = np.flatnonzero(np.isin(partition.rows, old))
        kept = kept[np.argsort(partition.rows[kept])]
        taken = partition.take(kept)
        return cls(taken.rows, X[kept].astype(np.float64), taken)


def _of_method(context: StudyContext, method: str) -> list[_Row]:
    rows: list[_Row] = []
    for fold in context.task.folds:
        before: list[_Profiles] = []
        after: list[_Profiles] = []
        for seed in context.seeds:
            job = context.job(Condition(method), seed)
            if job.not_applicable:
                raise NotApplicable(job.not_applicable)
            old, new = _before_after(context, job, fold)
            before.append(old)
            after.append(new)
        gauge = _Gauge.of(context, before[0])
        label = context.job(Condition(method), context.seeds[0]).chain.typed
        for k, seed in enumerate(context.seeds):
            value, components, kept = gauge.drift(before[k], after[k])
            other = before[(k + 1) % len(before)]
            again = gauge.drift(before[k], other)[0] if len(before) > 1 else None
            rows.append(
                {
                    "method": label,
                    "arriving": fold.name,
                    "seed": seed,
                    "drift": value,
                    "reseeded": again,
                    "components": components,
                    "kept": kept,
                    "aligned_on": gauge.text,
                }
            )
    return rows


def _before_after(context: StudyContext, job: Job, fold: Fold) -> tuple[_Profiles, _Profiles]:
    old, new = fold.train, fold.test
    if any(Access.ADAPT in stage.access for stage in job.chain.stages):
        first = profiles_of(context, job, old, old)
        second = profiles_of(context, job, old, new)
    else:
        first = profiles_of(context, job, old, new)
        second = profiles_of(context, job, np.union1d(old, new), new)
    (partition, out), (other, after) = first, second
    return _Profiles.of(partition, out.X, old), _Profiles.of(other, after.X, old)


@dataclass(frozen=True)
class _Gauge:
    """Rows for alignment, rows for measurement, and replicate groups."""

    align: Bools
    measured: Bools
    replicate: NDArray[np.str_]
    batch: NDArray[np.str_]
    text: str

    @classmethod
    def of(cls, context: StudyContext, profiles: _Profiles) -> _Gauge:
        opened, partition = context.task.opened, profiles.partition
        controls = partition.controls
        text = "the negative controls of the old batches"
        align = controls
        if np.count_nonzero(controls) < 2 * PER_COMPONENT:
            n = len(partition)
            align = np.zeros(n, bool)
            align[generator("drift", opened.digest, n).permutation(n)[: n // 2]] = True
            text = "a random half of the old rows (too few negative controls)"
        role = opened.columns.get("treatment")
        name = column_of(opened, role)[partition.rows] if role else partition.y.astype(str)
        return cls(align, ~align & ~controls, name, partition.batch, text)

    def drift(self, before: _Profiles, after: _Profiles) -> tuple[float, int, float]:
        """Return the drift, the number of components, and their explained variance."""
        k = int(np.count_nonzero(self.align) // PER_COMPONENT)
        k = max(1, min(k, MOST_COMPONENTS, before.X.shape[1], after.X.shape[1]))
        old, kept = leading(before.X, k)
        new, _ = leading(after.X, k)
        moved = procrustes(new, old, self.align) - old
        unit = replicate_distance(
            old[self.measured], self.replicate[self.measured], self.batch[self.measured]
        )
        return float(np.sqrt((moved[self.measured] ** 2).sum(1).mean())) / unit, k, kept


def leading(X: Doubles, k: int) -> tuple[Doubles, float]:
    """Return the ``k`` leading principal components of rows, and their explained variance."""
    centred = X - X.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    total = float(values.sum())
    return centred @ vectors[:, ::-1][:, :k], float(values[::-1][:k].sum()) / max(total, 1e-300)


def procrustes(moving: Doubles, fixed: Doubles, on: Bools) -> Doubles:
    """Return ``moving`` rotated, scaled and shifted onto ``fixed``, fitted on the rows ``on``.

    Least squares over orthogonal matrices (including reflections), one scale and one shift. With
    the singular value decomposition ``moving' fixed = U S V'`` (both centred), the rotation is
    ``U V'`` and the scale ``trace S / |moving|^2`` (Schoenemann and Carroll 1970,
    doi:10.1007/BF02291266).
    """
    a, b = moving[on], fixed[on]
    centre_a, centre_b = a.mean(axis=0), b.mean(axis=0)
    a, b = a - centre_a, b - centre_b
    u, s, vt = np.linalg.svd(a.T @ b, full_matrices=False)
    size = float((a**2).sum())
    scale = float(s.sum()) / size if size > 0 else 1.0
    aligned: Doubles = scale * (moving - centre_a) @ (u @ vt) + centre_b
    return aligned


def replicate_distance(X: Doubles, replicate: NDArray[np.str_], batch: NDArray[np.str_]) -> float:
    """Return the root mean square distance of replicates in different batches.

    Raises
    ------
    NotApplicable
        If no group has rows in two batches, or all rows coincide.
    """
    total, pairs = 0.0, 0
    for name in np.unique(replicate):
        rows = np.flatnonzero(replicate == name)
        square = (X[rows] ** 2).sum(axis=1)
        distance = square[:, None] + square[None] - 2 * X[rows] @ X[rows].T
        other = batch[rows][:, None] != batch[rows][None]
        total += float(distance[other].sum())
        pairs += int(other.sum())
    if not pairs or total <= 0:
        raise NotApplicable("no treatment or class has rows in two batches, so there is no unit")
    return float(np.sqrt(total / pairs))


def _summary(table: list[_Row], label: str) -> _Summary:
    rows = [row for row in table if row["method"] == label]
    seeds = sorted({row["seed"] for row in rows})
    means = [float(np.mean([r["drift"] for r in rows if r["seed"] == s])) for s in seeds]
    arrivals = sorted({row["arriving"] for row in rows})
    by_arrival = {
        a: float(np.mean([r["drift"] for r in rows if r["arriving"] == a])) for a in arrivals
    }
    worst = max(arrivals, key=lambda a: by_arrival[a])
    again = [row["reseeded"] for row in rows if row["reseeded"] is not None]
    return {
        "method": label,
        "drift": float(np.mean(means)),
        "drift_sd": float(np.std(means, ddof=1)) if len(means) > 1 else None,
        "worst": worst,
        "worst_value": by_arrival[worst],
        "reseeded": float(np.mean(again)) if again else None,
        "n_arrivals": len(arrivals),
        "n_seeds": len(seeds),
        "components": rows[0]["components"],
        "kept": float(np.mean([row["kept"] for row in rows])),
        "aligned_on": rows[0]["aligned_on"],
    }


def _reading(
    context: StudyContext, table: list[_Row], summary: list[_Summary]
) -> tuple[str, str, str]:
    still = [row["method"] for row in summary if row["drift"] < 1e-3]
    moving = sorted((r for r in summary if r["drift"] >= 1e-3), key=lambda row: -row["drift"])
    drifts = [
        f"{row['method']} {row['drift']:.2f}"
        + (f" ± {row['drift_sd']:.2f}" if row["drift_sd"] else "")
        for row in moving
    ]
    noise = [(r, r["reseeded"]) for r in moving if r["reseeded"] is not None]
    noise = [(row, reseeded) for row, reseeded in noise if reseeded > 1e-3]
    floor = listed([f"{row['method']} {reseeded:.2f}" for row, reseeded in noise], most=6)
    worst = max(summary, key=lambda row: row["worst_value"])
    below = [row["method"] for row, reseeded in noise if row["drift"] <= 1.1 * reseeded]
    clauses = []
    if below:
        clauses.append(
            f"Another seed moves profiles as much or more than a new batch: {listed(below)}."
        )
    arrivals = count(len({row["arriving"] for row in table}), "arrival")
    clauses.append(f"Not shown: a long series of batches. There were {arrivals}, in one order.")
    if table[0]["aligned_on"].startswith("a random half"):
        clauses.append("The alignment removes a shift common to all old rows.")
    if context.options.recipe == "smoke":
        clauses.append("The smoke recipe trains too little to draw conclusions.")
    return (
        "Mean move of old profiles when the method is refitted with a new batch, in distances "
        f"between replicates: {listed(drifts, most=6) or 'none moves'}."
        + (f" No drift: {listed(still)}." if still else ""),
        f"Another seed without a new batch: {floor or 'no drift'}. Largest drift with one new "
        f"batch: {worst['worst_value']:.2f} ({worst['method']}, {worst['worst']}). "
        f"{spread(context)}",
        " ".join(clauses),
    )


def _draw(canvas: Canvas, table: list[_Row], summary: list[_Summary]) -> None:
    ax = canvas.figure.subplots()
    for place, total in enumerate(summary):
        rows = [row for row in table if row["method"] == total["method"]]
        colour = colour_of(total["method"])
        values = [row["drift"] for row in rows]
        ax.scatter(values, [place] * len(rows), s=10, color=colour, alpha=0.5, linewidths=0)
        ax.plot(
            [total["drift"]], [place], marker=marker_of(total["method"]), color=colour, zorder=3
        )
        if total["reseeded"] is not None:
            ax.vlines(total["reseeded"], place - 0.3, place + 0.3, color="#222222", linewidth=1.2)
        canvas.table += [{**row} for row in rows]
    ax.set_yticks(range(len(summary)), [row["method"] for row in summary])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel("drift of old profiles, in distances between replicates")
    text = "Small points: arriving batch and seed. Large: mean. Bar: another seed, no new batch."
    canvas.notes([text], 130)
