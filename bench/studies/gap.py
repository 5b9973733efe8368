"""What the shift costs, measured on the test distribution, and what an ordinary hold-out hides.

In-distribution minus out-of-distribution accuracy mixes two things: the shift, and that the two
test sets are not equally hard. The gap is therefore measured on *one* test set, twice: by a model
trained as the split says, and by one whose training set holds other plates of the test set in the
place of as many training rows (``mixed-to-test``; Koh et al. 2021, WILDS, section 5.1). Both
differences are shown.

Beside it stands what the same method scores on rows held out of its training set: random rows,
random wells, whole plates, whole laboratories. That is what is reported where nobody looks at
another laboratory, and the difference is by how much it is too good. Every held-out set is about a
quarter of the training rows, drawn once for all methods and seeds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError
from bench.output.style import colour_of
from bench.runs.holdouts import held_out, mixed_to_test
from bench.studies._cells import Arm, Finding, Gap
from bench.studies._words import cannot_tell, count, listed, nothing, spread, words_of

if TYPE_CHECKING:
    from bench.data.target import Target
    from bench.output.canvas import Canvas
    from bench.studies._cells import Cell
    from bench.studies._lab import Lab

META = {
    "kind": "study",
    "name": "gap",
    "version": 1,
    "question": "What does the shift cost, and how much would an ordinary hold-out hide?",
    "methods": ["erm"],
    "point": "",
    "points": [],
}

TEST = "test"
MIXED = "mixed-to-test"


@dataclass(frozen=True)
class _Kind:
    """One way to test: its name, words, and the derived split; None is the split itself."""

    name: str
    words: str
    target: Target | None


def run(lab: Lab) -> Finding:
    """Score every method on the split, on the test distribution, and on ordinary hold-outs."""
    if not lab.target.supervised:
        lab.leave_out("all methods", f"{lab.target.split.name} has no training set")
        return Finding([], _SHOWN, nothing(lab))
    kinds = _kinds(lab)
    cells: dict[str, dict[str, Cell]] = {}
    for method in lab.methods:
        found: dict[str, Cell] = {}
        for kind in kinds:
            try:
                cell = lab.cell(Arm(method, target=kind.target))
            except BenchError as error:
                lab.leave_out(f"{method}, {kind.words}", str(error))
                continue
            if cell.ok:
                found[kind.name] = cell
            else:
                lab.leave_out(f"{method}, {kind.words}", cell.reason)
        if TEST in found:
            cells[method] = found
    if not cells:
        return Finding([], _SHOWN, nothing(lab))
    words = {kind.name: kind.words for kind in kinds}

    def draw(made: Canvas) -> None:
        _draw(made, lab, cells, words)

    height = 1.6 + 0.28 * len(kinds) * len(cells)
    return Finding(
        _table(lab, cells, words, {k.name: k.target or lab.target for k in kinds}),
        _SHOWN,
        _reading(lab, cells, words),
        draw,
        height=height,
        notes=_NOTES,
    )


_SHOWN = {
    "method": "method",
    "tested": "tested on",
    "train_rows": "training rows",
    "test_rows": "test rows",
    "mean": "score",
    "sd": "SD",
    "over": "above the test",
    "over_sd": "its SD",
    "over_low": "low",
    "over_high": "high",
    "over_p": "p",
}
_NOTES = (
    "Mixed-to-test scores the very rows of the test, so its difference is the shift's, and is "
    "paired by row group. All other hold-outs test on other rows: their difference to the test "
    "also holds how hard those rows are, and that they were trained on fewer rows and batches.",
    "Rows are means over folds, where a split has several; training rows of a fold.",
)


def _kinds(lab: Lab) -> list[_Kind]:
    """Return the ways to test that the data offer; the others are left out with a reason."""
    target = lab.target
    made = [_Kind(TEST, "the test of the split", None)]
    mixed = mixed_to_test(target)
    if mixed is None:
        lab.leave_out(MIXED, "a test set holds one plate, one well or nothing that can be halved")
    else:
        split, halved = mixed
        made.append(_Kind(MIXED, f"the test, trained with its other {_many(halved)}", split))
    plain = [(f"held-out:{level}", "held-out", level) for level in reversed(target.opened.levels)]
    plain += [("random-wells", "random-wells", ""), ("random-rows", "random-rows", "")]
    noun = "images" if target.opened.is_images else "rows"
    for name, kind, level in plain:
        held = held_out(target, kind, level)
        words = {
            "random-wells": "random training wells",
            "random-rows": f"random training {noun}",
        }.get(kind, f"whole training {_many(level)}")
        if held is None:
            lab.leave_out(words, "the training rows do not offer it")
        else:
            made.append(_Kind(name, words, held))
    return made


def _many(level: str) -> str:
    """Return a column's name as a noun in the plural."""
    return count(2, words_of(level)).removeprefix("2 ")


def _over(lab: Lab, found: dict[str, Cell], name: str) -> Gap:
    """Return a kind's score minus the test's: paired where both score the same rows."""
    gap = lab.gap(found[name], found[TEST])
    if name == MIXED:
        return gap
    return dataclasses.replace(gap, low=None, high=None, p=None, n_clusters=0)


def _table(
    lab: Lab,
    cells: dict[str, dict[str, Cell]],
    words: dict[str, str],
    targets: dict[str, Target],
) -> list[dict[str, Any]]:
    rows = []
    for found in cells.values():
        for name, cell in found.items():
            folds = [fold for fold in targets[name].folds if fold.scored.any()]
            facts = {
                **cell.facts(),
                "kind": name,
                "tested": words[name],
                "train_rows": round(sum(len(fold.train) for fold in folds) / len(folds)),
                "test_rows": sum(int(fold.scored.sum()) for fold in folds),
            }
            if name != TEST:
                facts |= _over(lab, found, name).facts("over")
            rows.append(facts)
    return rows


def _reading(
    lab: Lab, cells: dict[str, dict[str, Cell]], words: dict[str, str]
) -> tuple[str, str, str]:
    costs, hides, gaps = [], [], []
    for found in cells.values():
        test = found[TEST]
        label = test.label
        if MIXED in found:
            gap = _over(lab, found, MIXED)
            gaps.append((f"the shift for {label}", gap))
            costs.append(
                f"{label} {gap.words} ({found[MIXED].words} when trained with other rows of the "
                f"test set, {test.words} without)"
            )
        else:
            costs.append(f"{label} cannot be said: nothing of the test set can be trained on")
        plain = [name for name in found if name not in (TEST, MIXED)]
        over = [f"{words[name]} {_over(lab, found, name).words}" for name in plain]
        if over:
            hides.append(f"for {label} by " + listed(over, most=6))
    first = (
        f"On the test rows of {lab.target.split.name} the shift costs in "
        f"{lab.metric_words}: {listed(costs)}."
    )
    second = (
        f"Held-out training rows score above the test {'; '.join(hides)} ({spread(lab)})."
        if hides
        else "The training rows offer no hold-out of their own."
    )
    more = (
        "how much of what a hold-out is too good by is the shift's, since its rows are others "
        "than those of the test"
    )
    return first, second, cannot_tell(lab, gaps, more)


def _draw(made: Canvas, lab: Lab, cells: dict[str, dict[str, Cell]], words: dict[str, str]) -> None:
    axes = made.figure.subplots()
    names: list[str] = []
    several = len(cells) > 1
    for found in cells.values():
        for name, cell in found.items():
            y = -float(len(names))
            text = words[name] + (f" · {cell.label}" if several else "")
            names.append(text)
            own = name in (TEST, MIXED)
            colour = colour_of(cell.label)
            axes.plot(
                cell.values,
                [y] * len(cell.values),
                linestyle="none",
                marker="|",
                markersize=7,
                color=colour,
                alpha=0.6,
            )
            axes.plot(
                [cell.mean],
                [y],
                marker="o" if own else "s",
                color=colour,
                markerfacecolor=colour if own else "white",
            )
            axes.axhline(y, color="#DDDDDD", linewidth=0.5, zorder=0)
            made.table.append(
                {
                    "method": cell.label,
                    "tested": words[name],
                    "mean": cell.mean,
                    "sd": cell.sd,
                    "seeds": len(cell.seeds),
                }
            )
        axes.axvline(found[TEST].mean, color=colour_of(found[TEST].label), linewidth=0.6, alpha=0.5)
    axes.set_yticks([-float(i) for i in range(len(names))], names, parse_math=False)
    axes.set_xlabel(lab.metric_words)
    axes.tick_params(axis="y", length=0)
    made.notes(
        [
            "Filled: the rows of the test. Open: rows held out of the training set. Ticks are "
            "seeds; the line is the score on the test."
        ],
        130,
    )
