"""One plate in each training batch, or several, each normalised by itself.

With k plates a training batch of K rows holds K / k rows of each: one gradient step averages over
plates, at the price of statistics from fewer rows. Lin and Lu 2022 (PMLR 200:74-93) name it as an
open question of BEN. A line is a method that has the parameter ``per_batch``; ``ben`` with several
plates is ``ben-multi``, which is the same training under a name of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.studies._cells import Arm, Finding
from bench.studies._curves import Curve, curve_table, draw_curves, several, steady
from bench.studies._words import cannot_tell, listed, nothing, spread

if TYPE_CHECKING:
    from bench.output.canvas import Canvas
    from bench.studies._cells import Cell
    from bench.studies._lab import Lab

META = {
    "kind": "study",
    "name": "multi-plate",
    "version": 1,
    "question": "Should a training batch hold one plate or several?",
    "methods": ["erm", "adabn", "ben", "arm-bn"],
    "point": "plates in a training batch",
    "points": [1, 2, 4, 8],
}


def run(lab: Lab) -> Finding:
    """Train every method that can with each number of plates."""
    curves: list[Curve] = []
    for method in dict.fromkeys("ben" if m == "ben-multi" else m for m in lab.methods):
        if not lab.takes(method, "per_batch"):
            cell = lab.cell(Arm(method))
            if cell.ok:
                curves.append(Curve(cell.label, cell, flat=True))
            else:
                lab.leave_out(method, cell.reason)
            continue
        cells: dict[float, Cell] = {}
        for k in lab.points:
            try:
                cell = lab.cell(_arm(method, int(k)))
            except BenchError as error:
                lab.leave_out(f"{method} with {k:g}", str(error))
                continue
            if cell.ok:
                cells[k] = cell
            else:
                lab.leave_out(f"{method} with {k:g}", cell.reason)
        if cells:
            curves.append(Curve(method, cells[min(cells)], cells))
    studied = [curve for curve in curves if not curve.flat]
    if not studied:
        return Finding([], _SHOWN, nothing(lab))
    points = sorted({point for curve in studied for point in curve.cells})
    places = {point: float(k) for k, point in enumerate(points)}

    def draw(made: Canvas) -> None:
        ticks = {point: f"{point:g}" for point in points}
        draw_curves(made, lab, curves, places, ticks, "plates in a training batch")

    table = curve_table(lab, curves, "plates", lambda k: f"{k:g}", "any")
    return Finding(table, _SHOWN, _reading(lab, curves), draw, notes=_NOTES)


_SHOWN = {
    "method": "method",
    "plates": "plates",
    "mean": "score",
    "sd": "SD",
    "diff": "to fewest",
    "diff_low": "low",
    "diff_high": "high",
    "diff_p": "p",
}
_NOTES = (
    "A plate is a batch of the level that the data set acts on. All trainings have the same steps "
    "and rows in a training batch.",
)


def _arm(method: str, k: int) -> Arm:
    if method == "ben" and k > 1:
        return Arm("ben-multi", {"ben-multi": {"per_batch": k}})
    name = method.split("+")[0].strip()
    return Arm(method, {name: {"per_batch": k}})


def _reading(lab: Lab, curves: list[Curve]) -> tuple[str, str, str]:
    named = several(curves)
    goes = listed(
        [
            f"{c.label} " + ", ".join(f"{x.words} with {k:g}" for k, x in c.cells.items())
            for c in named
        ],
        sep="; ",
    )
    first = f"{lab.metric_words.capitalize()} is for {goes}{steady(curves)}."
    gaps = [
        (f"{c.label} with {max(c.cells):g} to {min(c.cells):g}", c.gaps(lab)[max(c.cells)])
        for c in named
        if len(c.cells) > 1
    ]
    best = listed(
        [f"{c.label} with {max(c.cells, key=lambda k: c.cells[k].mean):g}" for c in named]
    )
    change = listed([f"{name} {gap.words}" for name, gap in gaps])
    second = f"The highest mean has {best}; the ends differ: {change or 'there is one'} " + (
        f"({spread(lab)})."
    )
    more = "whether the number that is best here is so elsewhere: it was read off held-out batches"
    return first, second, cannot_tell(lab, gaps, more)
