"""Whether biology cancels out in the statistics of a batch, as batch-wise normalisation assumes.

Lin and Lu 2022 (PMLR 200:74-93) argue that the BatchNorm statistics of a plate hold its batch
effect and not its biology, since every plate holds a mixture. Here the statistics are taken apart.
Groups of n rows, all of one class and one batch, go through the fitted network one by one, and in
front of each BatchNorm layer the mean and the variance of every channel over the group are noted.
Over batches x classes x replicate groups a crossed two-way decomposition (``_variance.crossed``)
gives the share of the variance between groups that is due to batch, to class, to both together, and
to which rows were drawn. The same is then done with groups of n rows drawn from a whole batch, as
it is mixed: what is left between batches there (``_variance.nested``), and, since what depends on
the draw shrinks with the number of rows, what share of the variance of the *whole* batches'
statistics is batch. Variances are taken by their logarithm. ``total`` is how much there is to
share: the variance of the groups' means in units of the mean variance within a group, or that of
the logarithms.

A layer sees what the layers before it made, so ``erm`` normalises by running averages on the way
and ``ben`` by the group itself. Rows of all batches are used, held out or not; classes are read by
``bench.scoring.labels`` and reach no method. Where classes and batches are not crossed, as where
each compound lies in one week, batch and biology cannot be told apart, and the study does not
apply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.errors import BenchError, RunFailed
from bench.core.seeds import generator
from bench.data.views import column_of, make_side
from bench.scoring.labels import truth
from bench.studies._cells import Arm, Finding
from bench.studies._networks import batch_statistics, fitted_network
from bench.studies._variance import complete_block, crossed, nested
from bench.studies._words import cannot_tell, count, listed, nothing, spread, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.output.canvas import Canvas
    from bench.studies._lab import Lab

META = {
    "kind": "study",
    "name": "mechanism",
    "version": 1,
    "question": "Does biology cancel out in the statistics of a batch?",
    "methods": ["erm", "ben"],
    "point": "",
    "points": [],
}

SIZES = (16, 8, 4, 2)
"""Rows in a group: the largest number for which half of batches x classes have two groups."""
REPLICATES = 2
MOST_CLASSES = 12
"""Classes of the block; of more, those with most rows."""
PARTS = {"batch": "#D55E00", "class": "#0072B2", "both": "#CC79A7", "rows": "#C4C4C4"}
NAMES = {"batch": "batch", "class": "class", "both": "batch x class", "rows": "which rows"}


def run(lab: Lab) -> Finding:
    """Take the batch statistics of every network apart, on each fold and with each seed."""
    opened = lab.target.opened
    if not lab.target.supervised:
        lab.leave_out("all methods", f"{lab.target.split.name} has no training set of its own")
        return Finding([], _SHOWN, nothing(lab))
    values: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    by_seed: dict[tuple[str, str, str], dict[int, list[dict[str, float]]]] = {}
    layout: _Layout | None = None
    for method in lab.methods:
        job = lab.job(Arm(method), lab.seeds[0])
        stage = job.chain.stages[0]
        if len(job.chain.stages) > 1 or stage.kind != "network":
            lab.leave_out(method, "it is no single network")
            continue
        made = _layout(lab, stage.level)
        if isinstance(made, str):
            lab.leave_out(method, made)
            continue
        layout = made
        whole = lab.cell(Arm(method))
        if not whole.ok:
            lab.leave_out(method, whole.reason)
            continue
        try:
            found = _measured(lab, method, layout)
        except (RunFailed, BenchError) as error:
            lab.leave_out(method, str(error))
            continue
        for key, seed, shares in found:
            by_seed.setdefault((whole.label, *key), {}).setdefault(seed, []).append(shares)
    if not by_seed or layout is None:
        return Finding([], _SHOWN, nothing(lab))
    table = []
    for (label, layer, statistic), seeds in by_seed.items():
        means = [
            {k: float(np.nanmean([s[k] for s in shares])) for k in shares[0]}
            for shares in seeds.values()
        ]
        values[label, layer, statistic] = means
        row: dict[str, Any] = {"method": label, "layer": layer, "statistic": statistic}
        for part in means[0]:
            column = [m[part] for m in means]
            row[part] = float(np.mean(column))
            row[f"{part}_sd"] = float(np.std(column, ddof=1)) if len(column) > 1 else None
        row |= {"rows_in_group": layout.size, "n_batches": len(layout.batches)}
        row |= {"n_classes": len(layout.classes), "n_seeds": len(means)}
        table.append(row)

    def draw(canvas: Canvas) -> None:
        _draw(canvas, table)

    bars = len(table) // 2
    notes = (
        f"Groups of {layout.size} rows, {REPLICATES} for each of {len(layout.batches)} batches x "
        f"{len(layout.classes)} classes of {opened.name}; shares are means over channels and "
        "folds, SD over seeds. total: the variance that is shared out, in units of the variance "
        "within a group (of logarithms where variances are compared). mixed: groups of as many "
        "rows drawn from a whole batch; whole: the batch's share in the statistics of whole "
        "batches, by the size of the median batch.",
    )
    reading = _reading(lab, table, layout)
    return Finding(table, _SHOWN, reading, draw, height=1.5 + 0.2 * bars, notes=notes)


_SHOWN = {
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


class _Layout:
    """Which groups of rows are sent through the networks."""

    def __init__(
        self, size: int, batches: list[str], classes: list[int], batch: Any, y: Any
    ) -> None:
        self.size, self.batches, self.classes = size, batches, classes
        self.batch, self.y = batch, y

    def groups(self, rng: np.random.Generator) -> tuple[list[Any], list[Any], int]:
        """Return single-class groups, mixed groups, and the mixed groups of each batch."""
        single, mixed, n = [], [], self.size
        inside = [np.flatnonzero(self.batch == name) for name in self.batches]
        each = min(min(len(rows) for rows in inside) // n, REPLICATES * len(self.classes))
        for rows in inside:
            for k in self.classes:
                drawn = rng.permutation(rows[self.y[rows] == k])[: REPLICATES * n]
                single += np.split(drawn, REPLICATES)
            mixed += np.split(rng.permutation(rows)[: each * n], each)
        return single, mixed, each


def _layout(lab: Lab, level: str) -> _Layout | str:
    """Choose the groups, or say why there are none."""
    opened = lab.target.opened
    rows = np.arange(len(opened.index), dtype=np.int64)
    side = make_side(
        opened, rows, lab.target.classes, level, "mechanism", opened.digest, labels=False
    )
    y = truth(side, lab.target.classes)
    batch = column_of(opened, level)[side.rows]
    names = np.unique(batch)
    counts = np.array(
        [np.bincount(y[(batch == b) & (y >= 0)], minlength=len(lab.target.classes)) for b in names]
    )
    for size in SIZES:
        chosen, classes = complete_block(counts, REPLICATES * size)
        filled = len(chosen) * len(classes)
        enough = len(chosen) > 1 and len(classes) > 1
        if enough and (2 * filled >= (counts > 0).sum() or size == SIZES[-1]):
            most = classes[np.argsort(-counts[np.ix_(chosen, classes)].sum(axis=0), kind="stable")]
            kept = sorted(most[:MOST_CLASSES].tolist())
            return _Layout(size, names[chosen].tolist(), kept, batch, y)
    noun = words_of(level)
    return (
        f"classes and {noun}s of {opened.name} are not crossed: no two classes have "
        f"{REPLICATES * SIZES[-1]} rows each in the same two {noun}s"
    )


def _measured(
    lab: Lab, method: str, layout: _Layout
) -> list[tuple[tuple[str, str], int, dict[str, float]]]:
    """Return ``((layer, statistic), seed, shares)`` of every fold and seed."""
    opened, made = lab.target.opened, []
    rows = np.arange(len(opened.index), dtype=np.int64)
    B, C = len(layout.batches), len(layout.classes)
    median = float(np.median([np.sum(layout.batch == name) for name in layout.batches]))
    for seed in lab.seeds:
        job = lab.job(Arm(method), seed)
        stage = job.chain.stages[0]
        side = make_side(
            opened, rows, lab.target.classes, stage.level, "mechanism", opened.digest, labels=False
        )
        view = side.view(stage.access, batches=True)
        rng = generator("mechanism", opened.digest, seed)
        single, mixed, each = layout.groups(rng)
        if each < 2:
            raise BenchError(f"a batch holds fewer than {2 * layout.size} rows")
        for fold in lab.target.folds:
            if not fold.scored.any():
                continue
            network = fitted_network(lab, job, fold)
            found = batch_statistics(network, view, [*single, *mixed])
            for layer, mean, variance in found:
                usable = (variance > 0).all(axis=0)
                for name, y in (("mean", mean), ("variance", np.log(variance[:, usable]))):
                    if not y.shape[1]:
                        continue
                    head = y[: len(single)].reshape(B, C, REPLICATES, -1)
                    between, within = nested(y[len(single) :].reshape(B, each, -1))
                    parts = crossed(head)
                    shares = parts.shares()
                    unit = variance.mean(axis=0) if name == "mean" else np.ones(y.shape[1])
                    alive = unit > 0
                    shares["total"] = float((parts.total[alive] / unit[alive]).mean())
                    shares["mixed"] = _share(between, within)
                    shares["whole"] = _share(between, within * layout.size / median)
                    made.append(((layer, name), seed, shares))
    return made


def _share(part: NDArray[np.float64], rest: NDArray[np.float64]) -> float:
    total = part + rest
    varies = total > 0
    return float((part[varies] / total[varies]).mean()) if varies.any() else float("nan")


def _reading(lab: Lab, table: list[dict[str, Any]], layout: _Layout) -> tuple[str, str, str]:
    means = [row for row in table if row["statistic"] == "mean"]
    ends = []
    for label in dict.fromkeys(row["method"] for row in means):
        mine = [row for row in means if row["method"] == label]
        ends.append((label, mine[0], mine[-1]))
    told = listed(
        [
            f"{_percent(first, 'class')} in the first layer of {label} and "
            f"{_percent(last, 'class')} in its last (batch: {_percent(first, 'batch')} and "
            f"{_percent(last, 'batch')})"
            for label, first, last in ends
        ]
    )
    carried = max(row["class"] for row in means) >= 0.1
    first = (
        f"{'Biology is in the statistics' if carried else 'Little biology is in the statistics'}: "
        f"between groups of {layout.size} rows of one class, class makes of the variance of the "
        f"means {told}."
    )
    cancels = min(first["whole"] for _, first, _ in ends) >= 0.5
    mixed = listed(
        [
            f"{_percent(first, 'whole')} in the first layer of {label} and "
            f"{_percent(last, 'whole')} in its last"
            for label, first, last in ends
        ]
    )
    second = (
        f"Mixed as whole batches are, batch {'outweighs' if cancels else 'does not outweigh'} "
        f"which rows were drawn: of the variance between whole batches' means it makes {mixed} "
        f"({spread(lab)})."
    )
    more = (
        f"shares of batch rest on {count(len(layout.batches), 'batch')} and those of class on "
        f"{len(layout.classes)} classes; how much of what is batch in whole batches is an unequal "
        "mixture of classes, whose effect composition and label-shift measure"
    )
    return first, second, cannot_tell(lab, [], more)


def _percent(row: dict[str, Any], part: str) -> str:
    text = f"{100 * row[part]:.0f} %"
    sd = row.get(f"{part}_sd")
    return text if sd is None else f"{text[:-2]} ± {100 * sd:.0f} %"


def _draw(canvas: Canvas, table: list[dict[str, Any]]) -> None:
    axes = canvas.figure.subplots(1, 2, sharey=True)
    for ax, statistic in zip(axes, ("mean", "variance"), strict=True):
        rows = [row for row in table if row["statistic"] == statistic]
        layers = list(dict.fromkeys(row["layer"] for row in rows))
        rows.sort(key=lambda row: layers.index(row["layer"]))
        for place, row in enumerate(rows):
            left = 0.0
            for part, colour in PARTS.items():
                ax.barh(place, row[part], left=left, color=colour, height=0.72)
                left += row[part]
            ax.plot([row["whole"]], [place], marker="D", color="#000000", markersize=4, zorder=4)
            canvas.table.append(dict(row))
        ax.set_yticks(range(len(rows)), [f"layer {row['layer']}, {row['method']}" for row in rows])
        ax.set_xlim(0, 1)
        ax.set_title(f"{statistic} of a channel over a group", fontsize=8)
        ax.set_xlabel("share of the variance between groups")
        ax.grid(visible=False)
    axes[0].invert_yaxis()
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=c, label=NAMES[part]) for part, c in PARTS.items()]
    diamond: dict[str, Any] = {
        "linestyle": "none",
        "marker": "D",
        "color": "#000000",
        "markersize": 4,
    }
    handles.append(Line2D([], [], label="batch, in whole batches", **diamond))
    canvas.figure.legend(handles=handles, loc="outside lower left", ncols=5)
