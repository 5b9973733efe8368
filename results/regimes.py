"""Write README's table "Which method when" from the records in ``reference/``.

Run as ``python results/regimes.py`` from the root of a checkout. ``--check`` compares instead of
writing. ``--measure DIR`` first measures the conditions of the published splits again, with the
functions of ``check-data``; DIR has the folders of the real tables. Simulated editions are written
to the cache.
"""

from __future__ import annotations

import csv
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.advice.checkup import composition_distance, predicted_by_columns
from bench.boards.select import boards
from bench.core.registry import Registry
from bench.core.words import count
from bench.data.opening import open_all
from bench.data.views import column_of
from bench.output.report.regimes import FILE, Conditions, Regime, conditions, regimes
from bench.records.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.data.task import Task

BEGIN, END = "<!-- regimes -->", "<!-- /regimes -->"
TABLES = {
    "jump-moa-stains/stains": "jump_moa_dye_batches/dataset.toml:stains",
    "jump-source3-statistics/batches": "jump_source3_image_stats/dataset.toml:batches",
    "bbbc021-ljosa2013/weeks": "bbbc021_ljosa2013/dataset.toml:weeks",
    "cpjump1-compounds/times": "cpjump1_compound_plates/dataset.toml:times",
}
"""Real tables of users: their files below the folder of ``--measure``."""
IMAGES = (
    "mitosis-scanners/phase",
    "mitosis-scanners/atypical",
    "blood-objects/laboratories",
    "mitocheck-cells/periods",
)
"""Packaged data sets of real images, read from ``$BENCH_DATA``."""
ALWAYS = ("ben", "adabn")
"""Methods that a cell always shows, if they were run."""
COUNTED = 3
"""Maximum number of methods in a cell of verdicts."""
SHOWN = 2
"""Number of other methods that a cell shows."""
SIMULATED = (
    "coos7/test3",
    "coos7/test4",
    "sim/no-shift",
    "sim/laboratory",
    "sim/microscope",
    "sim/both",
    "sim/many-laboratories",
    "sim/label-shift",
    "sim/confounded",
)


def main() -> None:
    """Measure if requested, then write or compare."""
    if "--measure" in sys.argv:
        measure(Path(sys.argv[sys.argv.index("--measure") + 1]))
    readme = HERE.parent / "README.md"
    before = readme.read_text(encoding="utf-8")
    head, begin, rest = before.partition(BEGIN)
    if not begin or END not in rest:
        sys.exit(f"error: README.md has no block {BEGIN} … {END}: restore it")
    tail = rest.partition(END)[2]
    after = "".join([head, BEGIN, "\n", "\n".join(table()), "\n", END, tail])
    if "--check" in sys.argv:
        if before != after:
            sys.exit("error: README.md is stale: run python results/regimes.py")
        return
    readme.write_text(after, encoding="utf-8")


# --------------------------------------------------------------------------- conditions


def measure(folder: Path) -> None:
    """Write the conditions of all published splits."""
    registry = Registry()
    rows = []
    for name in (*TABLES, *IMAGES, *SIMULATED):
        file = str(folder / TABLES[name]) if name in TABLES else name
        edition = "simulated" if name in SIMULATED else "real"
        _, _, [task] = open_all(file, registry, "auto" if name in TABLES else edition)
        rows.append(conditions_of(task, name, edition))
    with FILE.open("w", encoding="utf-8", newline="") as target:
        names = [field.name for field in dataclasses.fields(Conditions)]
        writer = csv.DictWriter(target, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in rows)


def conditions_of(task: Task, name: str, edition: str) -> Conditions:
    """Return the conditions of a split at the default batch level.

    The composition is the larger one of training and test rows; with ``hold_out`` every row is a
    test row once, and all rows are compared.
    """
    opened = task.opened
    control = opened.index["control"].to_numpy(bool)
    labels, batch = column_of(opened, "label"), column_of(opened, opened.level)
    if task.split.hold_out is None:
        groups = [rows for fold in task.folds for rows in (fold.train, fold.test)]
    else:
        groups = [np.unique(np.concatenate([fold.test for fold in task.folds]))]
    used = np.unique(np.concatenate(groups))
    classes = [rows[~control[rows] & (labels[rows] != "")] for rows in groups]
    sizes = np.unique(batch[used], return_counts=True)[1]
    controls = [int(control[used][batch[used] == b].sum()) for b in np.unique(batch[used])]
    position = [
        check
        for check in predicted_by_columns(opened, [task.split])
        if check.topic == "column position" and "new_batch" in check.facts
    ]
    margin = 0.0
    if position:
        facts = position[0].facts
        margin = (facts["new_batch"] - facts["chance"]) / (1 - facts["chance"])
    return Conditions(
        split=name,
        edition=edition,
        level=opened.level,
        batches=len(sizes),
        rows_median=float(np.median(sizes)),
        composition=round(max(composition_distance(labels[r], batch[r]) for r in classes), 3),
        controls_min=min(controls),
        position_margin=round(margin, 3),
    )


# --------------------------------------------------------------------------- table


def table() -> list[str]:
    """Return the lines of the table, real data first."""
    records = Store(HERE).load_reference()
    head = ["batches", "evidence", "improves", "worsens", "no detectable difference"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for regime in regimes(boards(records), conditions()):
        cells = [regime.text, _evidence(regime)]
        cells += [_counts(regime, regime.better), _counts(regime, regime.worse), _others(regime)]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _evidence(regime: Regime) -> str:
    """Return the splits; of simulated data their number, since FINDINGS.md has a table of them."""
    if regime.edition == "simulated":
        return f"simulated: {count(len(regime.splits), 'split')}" + "\\*" * bool(regime.layout)
    names = [f"{name}" + ("\\*" if name in regime.layout else "") for name in regime.splits]
    return f"{regime.edition}: {', '.join(names)}"


def _counts(regime: Regime, counts: dict[str, int]) -> str:
    """Return the methods with a verdict on most tested splits, and the number of the others."""
    names = sorted(counts, key=lambda name: (-counts[name], name not in ALWAYS, name))
    n = regime.n_tested
    shown = names if len(names) <= COUNTED else names[: COUNTED - 1]
    cells = [f"`{name}`" + (f" ({counts[name]}/{n})" if n > 1 else "") for name in shown]
    if len(shown) < len(names):
        cells.append(f"{len(names) - len(shown)} others")
    return ", ".join(cells) or "–"


def _others(regime: Regime) -> str:
    """Return mean differences without a verdict; without a test they are marked as such."""
    text = _gaps(regime.same)
    if regime.untested:
        text += ("; " if text else "") + f"no test: {_gaps(regime.untested)}"
    return text or "–"


def _gaps(gaps: dict[str, tuple[float, ...]]) -> str:
    """Return the methods of :data:`ALWAYS` and the first others, and the range of the rest."""
    others = [name for name in gaps if name not in ALWAYS]
    shown = {*ALWAYS, *others[:SHOWN]}
    cells = [f"`{name}` {_range(gap)}" for name, gap in gaps.items() if name in shown]
    rest = [value for name, gap in gaps.items() if name not in shown for value in gap]
    if rest:
        cells.append(f"{len(gaps) - len(cells)} others {_range(rest)}")
    return ", ".join(cells)


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:+.3f}" if low == high else f"{low:+.3f}…{high:+.3f}"


if __name__ == "__main__":
    main()
