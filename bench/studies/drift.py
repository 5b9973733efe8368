"""What happens to profiles already analysed when a batch arrives and the method is refitted.

Each held-out batch of the split arrives in turn. Before: the method fitted on the other batches,
and their profiles. After: the method fitted on all of them, the new one with its labels, and the
profiles of the *old* rows again. (A transductive method adapts before to the old rows and after to
the new batch.) Profiles of two fits are equal up to a rotation, a scale and an origin that mean
nothing, so both are reduced to their leading principal components and the new ones are laid on the
old ones by a Procrustes alignment on the old batches' negative controls; where there are none, on a
random half of the old rows. Drift is the root mean square distance that the other old rows have
moved, in units of the root mean square distance between replicates (rows of one treatment, else of
one class, in different batches) before. Beside it stands what a fit with another seed moves, with
no new batch at all: what exceeds it is due to the batch. Nothing is scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.core.access import Access
from bench.core.errors import BenchError, NotApplicable
from bench.core.seeds import generator
from bench.data.views import column_of
from bench.output.style import colour_of, marker_of
from bench.studies._cells import Arm, Finding
from bench.studies._networks import profiles_of
from bench.studies._words import count, listed, nothing, spread, words_of

if TYPE_CHECKING:
    from bench.data.sides import Fold
    from bench.data.views import Side
    from bench.output.canvas import Canvas
    from bench.runs.job import Job
    from bench.studies._lab import Lab

META = {
    "kind": "study",
    "name": "drift",
    "version": 1,
    "question": "What happens to old profiles when a batch arrives and the method is refitted?",
    "methods": ["erm", "ben", "zscore", "sphering", "tvn", "combat", "harmony"],
    "point": "",
    "points": [],
}

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
MOST_COMPONENTS = 32
PER_COMPONENT = 4
"""Rows that align, at least, for each component."""


def run(lab: Lab) -> Finding:
    """Measure the drift of every method at every arrival and with each seed."""
    if not lab.target.supervised:
        lab.leave_out("all methods", f"{lab.target.split.name} has no training set")
        return Finding([], _SHOWN, nothing(lab))
    table: list[dict[str, Any]] = []
    aligned = ""
    for method in lab.methods:
        try:
            rows = _of_method(lab, method)
        except (NotApplicable, BenchError) as error:
            lab.leave_out(method, str(error))
            continue
        table += rows
        aligned = rows[0]["aligned_on"]
    if not table:
        return Finding([], _SHOWN, nothing(lab))
    summary = [_summary(table, label) for label in dict.fromkeys(row["method"] for row in table)]

    def draw(made: Canvas) -> None:
        _draw(made, table, summary)

    level = words_of(lab.target.split.hold_out or lab.target.opened.level)
    notes = (
        f"Aligned on {aligned}. Drift of 1: old profiles moved as far as replicates of different "
        f"batches lie apart. Mean and SD over seeds of the mean over arriving {level}s; reseeded "
        "is the same between fits of two seeds on the old batches alone.",
    )
    height = 1.4 + 0.28 * len(summary)
    return Finding(summary, _SHOWN, _reading(lab, table, summary), draw, height, notes)


_SHOWN = {
    "method": "method",
    "drift": "drift",
    "drift_sd": "SD",
    "worst": "worst arrival",
    "worst_value": "its drift",
    "reseeded": "reseeded",
    "components": "components",
    "kept": "variance kept",
}


@dataclass(frozen=True)
class _Profiles:
    """Profiles of old rows, in the order of the rows' numbers."""

    rows: NDArray[np.int64]
    X: Doubles
    side: Side

    @classmethod
    def of(cls, side: Side, X: NDArray[np.float32], old: NDArray[np.int64]) -> _Profiles:
        kept = np.flatnonzero(np.isin(side.rows, old))
        kept = kept[np.argsort(side.rows[kept])]
        taken = side.take(kept)
        return cls(taken.rows, X[kept].astype(np.float64), taken)


def _of_method(lab: Lab, method: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for fold in lab.target.folds:
        before: list[_Profiles] = []
        found = []
        for seed in lab.seeds:
            job = lab.job(Arm(method), seed)
            if job.not_applicable:
                raise NotApplicable(job.not_applicable)
            one, two = _before_after(lab, job, fold)
            before.append(one)
            found.append(two)
        gauge = _Gauge.of(lab, before[0])
        label = lab.job(Arm(method), lab.seeds[0]).chain.typed
        for k, seed in enumerate(lab.seeds):
            value, components, kept = gauge.drift(before[k], found[k])
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
                    "aligned_on": gauge.words,
                }
            )
    return rows


def _before_after(lab: Lab, job: Job, fold: Fold) -> tuple[_Profiles, _Profiles]:
    old, new = fold.train, fold.test
    if any(Access.ADAPT in stage.access for stage in job.chain.stages):
        first = profiles_of(lab, job, old, old)
        second = profiles_of(lab, job, old, new)
    else:
        first = profiles_of(lab, job, old, new)
        second = profiles_of(lab, job, np.union1d(old, new), new)
    (side, out), (other, after) = first, second
    return _Profiles.of(side, out.X, old), _Profiles.of(other, after.X, old)


@dataclass(frozen=True)
class _Gauge:
    """Which rows align two sets of profiles, which are measured, and which are replicates."""

    align: Bools
    measured: Bools
    replicate: NDArray[np.str_]
    batch: NDArray[np.str_]
    words: str

    @classmethod
    def of(cls, lab: Lab, profiles: _Profiles) -> _Gauge:
        opened, side = lab.target.opened, profiles.side
        controls = side.controls
        words = "the negative controls of the old batches"
        align = controls
        if np.count_nonzero(controls) < 2 * PER_COMPONENT:
            n = len(side)
            align = np.zeros(n, bool)
            align[generator("drift", opened.digest, n).permutation(n)[: n // 2]] = True
            words = "a random half of the old rows, since there are too few negative controls"
        role = opened.columns.get("treatment")
        name = column_of(opened, role)[side.rows] if role else side.y.astype(str)
        return cls(align, ~align & ~controls, name, side.batch, words)

    def drift(self, before: _Profiles, after: _Profiles) -> tuple[float, int, float]:
        """Return the drift, the components that it was measured in, and their variance."""
        k = int(np.count_nonzero(self.align) // PER_COMPONENT)
        k = max(1, min(k, MOST_COMPONENTS, before.X.shape[1], after.X.shape[1]))
        one, kept = leading(before.X, k)
        two, _ = leading(after.X, k)
        moved = procrustes(two, one, self.align) - one
        unit = replicate_distance(
            one[self.measured], self.replicate[self.measured], self.batch[self.measured]
        )
        return float(np.sqrt((moved[self.measured] ** 2).sum(1).mean())) / unit, k, kept


def leading(X: Doubles, k: int) -> tuple[Doubles, float]:
    """Return the ``k`` leading principal components of rows, and their share of the variance."""
    centred = X - X.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    total = float(values.sum())
    return centred @ vectors[:, ::-1][:, :k], float(values[::-1][:k].sum()) / max(total, 1e-300)


def procrustes(moving: Doubles, fixed: Doubles, on: Bools) -> Doubles:
    """Return ``moving`` turned, scaled and shifted onto ``fixed``, fitted on the rows ``on``.

    Least squares over orthogonal matrices, reflections included, one scale and one shift: with the
    singular values of ``moving' fixed = U S V'`` (both centred) the turn is ``U V'`` and the scale
    ``trace S / |moving|^2`` (Schoenemann and Carroll 1970, doi:10.1007/BF02291266).
    """
    a, b = moving[on], fixed[on]
    centre_a, centre_b = a.mean(axis=0), b.mean(axis=0)
    a, b = a - centre_a, b - centre_b
    u, s, vt = np.linalg.svd(a.T @ b, full_matrices=False)
    size = float((a**2).sum())
    scale = float(s.sum()) / size if size > 0 else 1.0
    result: Doubles = scale * (moving - centre_a) @ (u @ vt) + centre_b
    return result


def replicate_distance(X: Doubles, replicate: NDArray[np.str_], batch: NDArray[np.str_]) -> float:
    """Return the root mean square distance of rows of one replicate group in different batches.

    Raises
    ------
    NotApplicable
        If no group has rows in two batches, or all of them coincide.
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


def _summary(table: list[dict[str, Any]], label: str) -> dict[str, Any]:
    rows = [row for row in table if row["method"] == label]
    seeds = sorted({row["seed"] for row in rows})
    means = [np.mean([row["drift"] for row in rows if row["seed"] == s]) for s in seeds]
    arrivals = sorted({row["arriving"] for row in rows})
    by_arrival = {a: np.mean([r["drift"] for r in rows if r["arriving"] == a]) for a in arrivals}
    worst = max(arrivals, key=lambda a: by_arrival[a])
    again = [row["reseeded"] for row in rows if row["reseeded"] is not None]
    return {
        "method": label,
        "drift": float(np.mean(means)),
        "drift_sd": float(np.std(means, ddof=1)) if len(means) > 1 else None,
        "worst": worst,
        "worst_value": float(by_arrival[worst]),
        "reseeded": float(np.mean(again)) if again else None,
        "n_arrivals": len(arrivals),
        "n_seeds": len(seeds),
        "components": rows[0]["components"],
        "kept": float(np.mean([row["kept"] for row in rows])),
        "aligned_on": rows[0]["aligned_on"],
    }


def _reading(
    lab: Lab, table: list[dict[str, Any]], summary: list[dict[str, Any]]
) -> tuple[str, str, str]:
    still = [row["method"] for row in summary if row["drift"] < 1e-3]
    moving = [row for row in summary if row["drift"] >= 1e-3]
    told = listed(
        [
            f"{row['drift']:.2f}"
            + (f" ± {row['drift_sd']:.2f}" if row["drift_sd"] else "")
            + f" ({row['method']})"
            for row in sorted(moving, key=lambda row: -row["drift"])
        ],
        most=6,
    )
    first = (
        f"When a batch arrives and the method is refitted, old profiles move by {told or 'nothing'}"
        " of the distance between replicates"
        + (f"; those of {listed(still)} do not move at all." if still else ".")
    )
    noise = [row for row in moving if row["reseeded"] is not None and row["reseeded"] > 1e-3]
    floor = listed([f"{row['reseeded']:.2f} ({row['method']})" for row in noise], most=6)
    worst = max(summary, key=lambda row: row["worst_value"])
    second = (
        f"Another seed without a new batch moves {floor or 'none of them'}, and the largest drift "
        f"at one arrival is {worst['worst_value']:.2f} ({worst['method']}, {worst['worst']}; "
        f"{spread(lab)})."
    )
    below = [row["method"] for row in noise if row["drift"] <= 1.1 * row["reseeded"]]
    words = []
    if below:
        words.append(
            f"for {listed(below)} how much of it is due to the batch, since another seed moves as "
            "much or more"
        )
    words.append(
        f"{count(len({row['arriving'] for row in table}), 'arrival')} in an order that nobody "
        "chose say little about a long series of them"
    )
    if table[0]["aligned_on"].startswith("a random half"):
        words.append("without controls, a shift common to all old rows is aligned away")
    if lab.options.recipe == "smoke":
        words.append("a smoke recipe trains too little for any of this to count")
    return first, second, f"What cannot be told: {'; '.join(words)}."


def _draw(made: Canvas, table: list[dict[str, Any]], summary: list[dict[str, Any]]) -> None:
    ax = made.figure.subplots()
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
        made.table += rows
    ax.set_yticks(range(len(summary)), [row["method"] for row in summary])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel("drift of old profiles, in distances between replicates")
    words = "Small points: arriving batch and seed. Large: mean. Bar: another seed, no new batch."
    made.notes([words], 130)
