"""Compare published runs with repetitions on another processor.

Run as ``python results/processors.py RESULTS`` from the root of a checkout: runs of the results
folder RESULTS that are published under the same id are compared, and
``reference/processors.csv`` is written. ``findings.py`` prints it. Only pairs with the same package
versions, number of threads and kind of device count.
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.core.control_names import NAMES
from bench.core.errors import BenchError
from bench.core.words import count
from bench.records.store import Store
from results._tables import table

if TYPE_CHECKING:
    from bench.records.record import Record

FILE = HERE / "reference" / "processors.csv"
SMALL = 0.001
"""Differences up to this are not listed."""
BEST = 5
"""Number of best rows; their order is compared."""


def measure(results: Path) -> list[dict[str, object]]:
    """Return a row per split and method with repeated runs, all seeds of it."""
    published = {record.run_id: record for record in Store(HERE).load_reference()}
    pairs: dict[tuple[str, str], list[tuple[Record, Record]]] = {}
    for record in Store(results).load_all():
        other = published.get(record.run_id)
        if other is None or record.status != "ok" or not _comparable(record, other):
            continue
        pairs.setdefault((record.split_id, record.method_id), []).append((other, record))
    rows: list[dict[str, object]] = []
    for (split, method), both in sorted(pairs.items()):
        before = [_score(first) for first, _ in both]
        after = [_score(second) for _, second in both]
        gaps = [b - a for a, b in zip(before, after, strict=True)]
        rows.append(
            {
                "split": split,
                "method": method,
                "published_on": both[0][0].data["provenance"]["cpu"],
                "repeated_on": both[0][1].data["provenance"]["cpu"],
                "runs": len(both),
                "equal_predictions": sum(
                    a.data["predictions_sha256"] == b.data["predictions_sha256"] for a, b in both
                ),
                "equal_scores": sum(gap == 0 for gap in gaps),
                "published": statistics.mean(before),
                "repeated": statistics.mean(after),
                "sd_over_seeds": statistics.stdev(before) if len(before) > 1 else "",
                "largest_difference": max(gaps, key=abs),
            }
        )
    return rows


def _score(record: Record) -> float:
    value = record.value(readout="probe")
    value = record.value() if value is None else value
    if value is None:
        raise BenchError(f"run {record.run_id} has no {record.primary}: publish it again")
    return value


def _comparable(first: Record, second: Record) -> bool:
    a, b = first.data["provenance"], second.data["provenance"]
    same = (a["packages"], a["threads"], a["device"]) == (b["packages"], b["threads"], b["device"])
    return same and a["cpu"] != b["cpu"]


def section() -> list[str]:
    """Return the section of ``FINDINGS.md``, from the CSV."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    runs = sum(int(row["runs"]) for row in rows)
    listed = [row for row in rows if abs(float(row["largest_difference"])) > SMALL]
    listed.sort(key=lambda row: -abs(float(row["largest_difference"])))
    processors = Counter((row["published_on"], row["repeated_on"]) for row in rows)
    names = "; ".join(f"{first}, and again on {second}" for first, second in processors)
    lines = [
        "## Another processor",
        "",
        f"{count(runs, 'published run')} on real tables, run on {names}. Packages and the number "
        f"of threads are the same. Predictions are equal bit for bit in "
        f"{sum(int(row['equal_predictions']) for row in rows)} runs, scores in "
        f"{sum(int(row['equal_scores']) for row in rows)}. Rows with a run that differs by more "
        f"than {SMALL}:",
        "",
        *table(
            ["split", "method", "runs", "published", "repeated", "largest difference", "SD, seeds"],
            [
                [
                    row["split"],
                    f"`{row['method']}`",
                    row["runs"],
                    f"{float(row['published']):.3f}",
                    f"{float(row['repeated']):.3f}",
                    f"{float(row['largest_difference']):+.3f}",
                    f"{float(row['sd_over_seeds']):.3f}" if row["sd_over_seeds"] else "–",
                ]
                for row in listed
            ],
        ),
    ]
    for split in dict.fromkeys(row["split"] for row in rows):
        lines += _order(split, [row for row in rows if row["split"] == split])
    return [*lines, "Command: `python results/processors.py RESULTS`.", ""]


def _order(split: str, rows: list[dict[str, str]]) -> list[str]:
    """Say whether the best rows keep their order; control rows are left out."""
    ranked = [row for row in rows if row["method"] not in NAMES]
    if len(ranked) <= BEST:
        return []
    orders = [
        [row["method"] for row in sorted(ranked, key=lambda row: -float(row[key]))][:BEST]
        for key in ("published", "repeated")
    ]
    first = ", ".join(f"`{name}`" for name in orders[0])
    if orders[0] == orders[1]:
        return [f"On {split} the best {BEST} of the repeated rows keep their order: {first}.", ""]
    second = ", ".join(f"`{name}`" for name in orders[1])
    return [
        f"On {split} the order of the best {BEST} repeated rows is {first}; again, {second}.",
        "",
    ]


def main() -> None:
    """Measure and write the CSV."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("error: name a results folder with repeated runs: results/processors.py RESULTS")
    rows = measure(Path(sys.argv[1]))
    if not rows:
        sys.exit(f"error: {sys.argv[1]} has no run that is published from another processor")
    with FILE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
