"""Test whether biology cancels out in batch statistics, as batch-wise normalisation assumes.

Lin and Lu 2022 (PMLR 200:74-93) argue that the BatchNorm statistics of a plate contain its batch
effect and not its biology, since every plate is a mixture. This study decomposes the statistics.
The fitted network processes groups of n rows, all of one class and one batch, one group at a time.
The mean and variance of every channel over the group are recorded before each BatchNorm layer. A
crossed two-way decomposition over batches x classes x replicate groups (``_variance.crossed``)
gives the shares of the variance between groups that are due to batch, class, their interaction,
and the sampling of rows. The same is done with groups of n rows drawn at random from a batch. This
gives the remaining variance between batches (``_variance.nested``) and, since the sampling effect
decreases with the number of rows, the share of the batch in the variance of the statistics of
*full* batches. Variances are analysed as logarithms. ``total`` is the decomposed variance: that of
the group means in units of the mean variance within a group, or that of the logarithms.

The input of a layer depends on the previous layers, so ``erm`` normalises them by running averages
and ``ben`` by the group. Rows of all batches are used, held out or not. Classes are read by
``bench.scoring.labels`` and are not passed to any method. If classes and batches are not crossed,
as when each compound is in one week, batch and biology cannot be separated and the study does not
apply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError, RunFailed
from bench.core.seeds import generator
from bench.core.words import count, plural
from bench.data.views import column_of, make_partition
from bench.scoring.labels import truth
from bench.studies._networks import batch_statistics, fitted_network
from bench.studies._results import Condition, Finding
from bench.studies._sentences import limits, listed, nothing, noun_of, spread
from bench.studies._variance import complete_block, crossed, nested

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from numpy.typing import NDArray

    from bench.core.types import Strings
    from bench.output.canvas import Canvas
    from bench.studies._context import StudyContext
    from bench.studies._results import Cell

    Ints = NDArray[np.int64]

META = {
    "kind": "study",
    "name": "mechanism",
    "version": 1,
    "question": "Does biology cancel out in the statistics of a batch?",
    "methods": ["erm", "ben"],
}

SIZES = (16, 8, 4, 2)
"""Rows per group: the largest number for which half of batches x classes have two groups."""
REPLICATES = 2
MOST_CLASSES = 12
"""Maximum number of classes; those with most rows are used."""
PARTS = {"batch": "#D55E00", "class": "#0072B2", "both": "#CC79A7", "rows": "#C4C4C4"}
NAMES = {"batch": "batch", "class": "class", "both": "batch x class", "rows": "which rows"}


SHOWN = {
    "method": "method",
    "layer": "layer",
    "statistic": "statistic",
    "batch": "batch",
    "class": "class",
    "both": "batch x class",
    "rows": "rows",
    "class_sd": "SD of class",
    "total": "total",
    "mixed": "mixed: batch",
    "whole": "whole: batch",
}
Shares = dict[str, float]
Key = tuple[str, str, str]
"""Method, layer and statistic."""


def run(context: StudyContext) -> Finding:
    """Decompose the batch statistics of every network, on each fold and with each seed."""
    if not context.task.supervised:
        context.leave_out("all methods", f"{context.task.split.name} has no training set")
        return Finding([], SHOWN, nothing(context))
    shares: dict[Key, dict[int, list[Shares]]] = {}
    layout: _Layout | None = None
    for method in context.methods:
        job = context.job(Condition(method), context.seeds[0])
        stage = job.chain.stages[0]
        if len(job.chain.stages) > 1 or stage.kind != "network":
            context.leave_out(method, "it is not a single network")
            continue
        try:
            layout = _layout(context, stage.level)
            result = context.result(Condition(method))
            measured = _measured(context, method, layout) if result.ok else []
        except (RunFailed, BenchError) as error:
            context.leave_out(method, str(error))
            continue
        if not result.ok:
            context.leave_out(method, result.reason)
        for (layer, statistic), seed, parts in measured:
            shares.setdefault((result.label, layer, statistic), {}).setdefault(seed, []).append(
                parts
            )
    if not shares or layout is None:
        return Finding([], SHOWN, nothing(context))
    table = [_row(key, list(by_seed.values()), layout) for key, by_seed in shares.items()]

    def draw(canvas: Canvas) -> None:
        _draw(canvas, table)

    notes = (
        f"Groups of {layout.size} rows, {REPLICATES} for each of {len(layout.batches)} batches x "
        f"{len(layout.classes)} classes of {context.task.opened.name}. Shares are means over "
        "channels and folds, SD over seeds.",
        "total: the variance that is decomposed, in units of the variance within a group. "
        "Variances are compared as logarithms.",
        "mixed: groups of as many rows drawn from a full batch.",
        "whole: the batch's share in the statistics of full batches, at the size of the median "
        "batch.",
    )
    reading, height = _reading(context, table, layout), 1.5 + 0.2 * (len(table) // 2)
    return Finding([row.cells() for row in table], SHOWN, reading, draw, height, notes)


@dataclass(frozen=True)
class _Row:
    """Variance shares of one statistic before one layer: mean over folds and seeds, seed SD."""

    method: str
    layer: str
    statistic: str
    means: Shares
    sds: dict[str, float | None]
    layout: _Layout
    n_seeds: int

    def cells(self) -> dict[str, Cell]:
        """Return the row of the table."""
        cells: dict[str, Cell] = {
            "method": self.method,
            "layer": self.layer,
            "statistic": self.statistic,
        }
        for part, mean in self.means.items():
            cells |= {part: mean, f"{part}_sd": self.sds[part]}
        return cells | {
            "rows_in_group": self.layout.size,
            "n_batches": len(self.layout.batches),
            "n_classes": len(self.layout.classes),
            "n_seeds": self.n_seeds,
        }

    def percent(self, part: str) -> str:
        """Return ``12 ± 3 %``."""
        text, sd = f"{100 * self.means[part]:.0f}", self.sds[part]
        return f"{text} %" if sd is None else f"{text} ± {100 * sd:.0f} %"


def _row(key: Key, by_seed: list[list[Shares]], layout: _Layout) -> _Row:
    parts = by_seed[0][0]
    columns = {
        part: [float(np.nanmean([shares[part] for shares in folds])) for folds in by_seed]
        for part in parts
    }
    return _Row(
        *key,
        {part: float(np.mean(column)) for part, column in columns.items()},
        {
            part: float(np.std(column, ddof=1)) if len(column) > 1 else None
            for part, column in columns.items()
        },
        layout,
        len(by_seed),
    )


@dataclass(frozen=True)
class _Layout:
    """The groups of rows that the networks process.

    ``batch`` and ``y`` are the batch and the class of every row of the data set.
    """

    size: int
    batches: list[str]
    classes: list[int]
    batch: Strings
    y: Ints

    def groups(self, rng: np.random.Generator) -> tuple[list[Ints], list[Ints], int]:
        """Return single-class groups, mixed groups, and the mixed groups of each batch."""
        single: list[Ints] = []
        mixed: list[Ints] = []
        inside = [np.flatnonzero(self.batch == name) for name in self.batches]
        each = min(len(rows) for rows in inside) // self.size
        each = min(each, REPLICATES * len(self.classes))
        for rows in inside:
            for k in self.classes:
                drawn = rng.permutation(rows[self.y[rows] == k])[: REPLICATES * self.size]
                single += np.split(drawn, REPLICATES)
            mixed += np.split(rng.permutation(rows)[: each * self.size], each)
        return single, mixed, each


def _layout(context: StudyContext, level: str) -> _Layout:
    """Select the groups.

    Raises
    ------
    BenchError
        If classes and batches are not crossed.
    """
    opened, classes = context.task.opened, context.task.classes
    rows = np.arange(len(opened.index), dtype=np.int64)
    partition = make_partition(
        opened, rows, classes, level, "mechanism", opened.digest, labels=False
    )
    y = truth(partition, classes)
    batch = column_of(opened, level)[partition.rows]
    names = np.unique(batch)
    counts = np.array(
        [np.bincount(y[(batch == b) & (y >= 0)], minlength=len(classes)) for b in names]
    )
    for size in SIZES:
        block, columns = complete_block(counts, REPLICATES * size)
        filled = len(block) * len(columns)
        enough = len(block) > 1 and len(columns) > 1
        if enough and (2 * filled >= (counts > 0).sum() or size == SIZES[-1]):
            order = np.argsort(-counts[np.ix_(block, columns)].sum(axis=0), kind="stable")
            kept = sorted(columns[order][:MOST_CLASSES].tolist())
            return _Layout(size, names[block].tolist(), kept, batch, y)
    nouns = plural(noun_of(level))
    raise BenchError(
        f"classes and {nouns} of {opened.name} are not crossed: no two classes have "
        f"{REPLICATES * SIZES[-1]} rows each in the same two {nouns}"
    )


def _measured(
    context: StudyContext, method: str, layout: _Layout
) -> list[tuple[tuple[str, str], int, Shares]]:
    """Return ``((layer, statistic), seed, shares)`` of every fold and seed."""
    opened, classes = context.task.opened, context.task.classes
    rows = np.arange(len(opened.index), dtype=np.int64)
    measured = []
    for seed in context.seeds:
        job = context.job(Condition(method), seed)
        stage = job.chain.stages[0]
        partition = make_partition(
            opened, rows, classes, stage.level, "mechanism", opened.digest, labels=False
        )
        view = partition.view(stage.access, batches=True)
        single, mixed, each = layout.groups(generator("mechanism", opened.digest, seed))
        if each < 2:
            raise BenchError(f"a batch has fewer than {2 * layout.size} rows")
        for fold in context.task.folds:
            if not fold.scored.any():
                continue
            network = fitted_network(context, job, fold)
            for layer, mean, variance in batch_statistics(network, view, [*single, *mixed]):
                usable = (variance > 0).all(axis=0)
                unit = variance.mean(axis=0)
                logs = np.log(variance[:, usable])
                measured.append(((layer, "mean"), seed, _decompose(mean, unit, layout, each)))
                if logs.shape[1]:
                    ones = np.ones(logs.shape[1])
                    shares = _decompose(logs, ones, layout, each)
                    measured.append(((layer, "variance"), seed, shares))
    return measured


def _decompose(
    y: NDArray[np.float64], unit: NDArray[np.float64], layout: _Layout, each: int
) -> Shares:
    """Return the shares of variance of a statistic.

    Parameters
    ----------
    y
        ``(groups, channels)``: the single-class groups, then the mixed ones.
    unit
        ``(channels,)`` divisor of the total variance.
    """
    B, C = len(layout.batches), len(layout.classes)
    n = B * C * REPLICATES
    median = float(np.median([np.sum(layout.batch == name) for name in layout.batches]))
    between, within = nested(y[n:].reshape(B, each, -1))
    components = crossed(y[:n].reshape(B, C, REPLICATES, -1))
    positive = unit > 0
    return {
        **components.shares(),
        "total": float((components.total[positive] / unit[positive]).mean()),
        "mixed": _share(between, within),
        "whole": _share(between, within * layout.size / median),
    }


def _share(part: NDArray[np.float64], rest: NDArray[np.float64]) -> float:
    total = part + rest
    varies = total > 0
    return float((part[varies] / total[varies]).mean()) if varies.any() else float("nan")


def _reading(context: StudyContext, table: list[_Row], layout: _Layout) -> tuple[str, str, str]:
    means = [row for row in table if row.statistic == "mean"]
    ends = []
    for label in dict.fromkeys(row.method for row in means):
        layers = [row for row in means if row.method == label]
        ends.append((label, layers[0], layers[-1]))
    classes = [
        f"{label} {first.percent('class')} and {last.percent('class')} (batch: "
        f"{first.percent('batch')} and {last.percent('batch')})"
        for label, first, last in ends
    ]
    batches = [
        f"{label} {first.percent('whole')} and {last.percent('whole')}"
        for label, first, last in ends
    ]
    biology = max(row.means["class"] for row in means) >= 0.1
    larger = min(first.means["whole"] for _, first, _ in ends) >= 0.5
    return (
        f"The statistics contain {'' if biology else 'little '}biology. Groups of {layout.size} "
        "rows of one class were compared. Share of class in the variance of their means, first "
        f"and last layer: {listed(classes, sep='; ')}.",
        f"In full, mixed batches the effect of the batch is {'larger' if larger else 'smaller'} "
        "than that of which rows were drawn. Share of batch in the variance of their means, first "
        f"and last layer: {listed(batches, sep='; ')}. {spread(context)}",
        limits(
            context,
            [],
            f"shares beyond {count(len(layout.batches), 'batch')} and {len(layout.classes)} "
            "classes. An unequal mixture of classes may be part of the effect of full batches (see "
            "the studies composition and label-shift)",
        ),
    )


def _draw(canvas: Canvas, table: list[_Row]) -> None:
    axes = canvas.figure.subplots(1, 2, sharey=True)
    for ax, statistic in zip(axes, ("mean", "variance"), strict=True):
        rows = [row for row in table if row.statistic == statistic]
        layers = list(dict.fromkeys(row.layer for row in rows))
        rows.sort(key=lambda row: layers.index(row.layer))
        for place, row in enumerate(rows):
            left = 0.0
            for part, colour in PARTS.items():
                ax.barh(place, row.means[part], left=left, color=colour, height=0.72)
                left += row.means[part]
            whole = [row.means["whole"]]
            ax.plot(whole, [place], marker="D", color="#000000", markersize=4, zorder=4)
            canvas.table.append(row.cells())
        ax.set_yticks(range(len(rows)), [f"layer {row.layer}, {row.method}" for row in rows])
        ax.set_xlim(0, 1)
        ax.set_title(f"{statistic} of a channel over a group", fontsize=8)
        ax.set_xlabel("share of the variance between groups")
        ax.grid(visible=False)
    axes[0].invert_yaxis()
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Artist] = [Patch(color=c, label=NAMES[part]) for part, c in PARTS.items()]
    handles.append(
        Line2D(
            [],
            [],
            label="batch, in full batches",
            linestyle="none",
            marker="D",
            color="#000000",
            markersize=4,
        )
    )
    canvas.figure.legend(handles=handles, loc="outside lower left", ncols=5)
