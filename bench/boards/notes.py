"""Title and notes of a board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.boards.board import EDITIONS, SELECTIONS, Row, Values  # TC
from bench.boards.stats.coverage import printed_coverage
from bench.boards.stats.tests import smallest_p
from bench.boards.values import codes_differ, label_of_run
from bench.core.words import setting
from bench.records.summary import saw_test_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.records.record import Record


# --------------------------------------------------------------------------- text


def board_title(run: Record, metric: str, readout: str) -> str:
    """Return the title of a board."""
    data = EDITIONS.get(run.edition, run.edition)
    if run.dataset_settings:
        data += f" ({_pairs(run.dataset_settings)})"
    recipe = f"recipe {run.recipe}"
    if run.recipe_overrides:
        recipe += f" with {_pairs(run.recipe_overrides)}"
    study = [f"study ({_pairs(run.grouping)})"] if run.grouping else []
    parts = [
        run.split_id,
        *study,
        data,
        recipe,
        SELECTIONS.get(run.selection, run.selection),
        f"{metric} by {readout}",
    ]
    return " · ".join(parts)


def _pairs(values: Values) -> str:
    return ", ".join(f"{key}={setting(values[key])}" for key in sorted(values))


def chance_note(run: Record, metric: str) -> float | None:
    """Return the score of random guessing, for metrics where the number of classes gives it."""
    return float(run.chance) if metric in ("accuracy", "balanced_accuracy") else None


def coverage(rows: Sequence[Row]) -> list[str]:
    """Return the simulated coverage of such intervals as a sentence."""
    sizes = sorted({(row.n_clusters, row.n_seeds) for row in rows if row.ci_low is not None})
    return list(dict.fromkeys(printed_coverage(*size).sentence for size in sizes))


def detectable(rows: Sequence[Row]) -> list[str]:
    """Return the detectable difference to ERM, from the spread of the observed differences."""
    found: list[tuple[float, int]] = []
    for row in rows:
        gap = row.versus_erm
        if gap is not None and row.track != "reference" and gap.detectable:
            found.append((gap.detectable, gap.n_clusters))
    if not found:
        return []
    n = found[-1][1]
    least = sorted(value for value, _ in found)
    span = f" ({least[0]:.3f} to {least[-1]:.3f} by method)" if len(least) > 1 else ""
    return [
        f"Smallest difference to ERM that {n} clusters detect with power 0.8 (paired t test, "
        f"5 %): {least[len(least) // 2]:.3f}{span}. Minimum attainable p (sign-flip test, "
        f"n = {n}): {smallest_p(n):.2g}."
    ]


def mixture(runs: Sequence[Record]) -> list[str]:
    """List hardware and versions that differ between runs; last digits may differ."""
    notes = []
    for key, noun in (
        ("device", "devices"),
        ("precision", "precisions"),
        ("threads", "numbers of threads"),
        ("torch", "versions of torch"),
        ("platform", "platforms"),
    ):
        labels: dict[str, set[str]] = {}
        for run in runs:
            value = {**run.machine}[key]
            if value is not None:
                labels.setdefault(str(value), set()).add(label_of_run(run))
        if len(labels) > 1:
            texts = (f"{value} ({_few(labels[value])})" for value in sorted(labels))
            notes.append(f"Mixed {noun}: {', '.join(texts)}.")
    return notes


def other_code(rows: Sequence[Row], base: Row | None) -> list[str]:
    """Name the rows whose harness code differs from that of ERM."""
    if base is None:
        return []
    names = [r.method for r in rows if r.versus_erm and codes_differ(r.codes, base.codes)]
    if not names:
        return []
    return [
        f"Run by other code of labshift than {base.method}, to which they are compared: "
        f"{_few(names)}. `--if-exists refresh` repeats them."
    ]


def _few(names: Iterable[str]) -> str:
    """Return the names of up to three rows, or their number."""
    labels = sorted(names)
    return ", ".join(labels) if len(labels) <= 3 else f"{len(labels)} rows"


def upstream(runs: Sequence[Record]) -> list[str]:
    """Return upstream preprocessing, which is not part of any track."""
    steps = dict.fromkeys(step for run in runs for step in run.upstream)
    if not steps:
        return []
    text = f"Upstream preprocessing: {'; '.join(steps)}."
    if saw_test_batches(steps):
        text += " Steps fitted over all batches used the test batches, whatever a row's track."
    return [text]


def cautions(runs: Sequence[Record]) -> list[str]:
    """Return the data set's warnings about methods, with the affected rows."""
    labels: dict[str, set[str]] = {}
    for run in runs:
        for sentence in run.cautions:
            labels.setdefault(sentence, set()).add(label_of_run(run))
    return [f"{', '.join(sorted(rows))}: {text}." for text, rows in sorted(labels.items())]


def failed_notes(runs: Sequence[Record], failures: Sequence[Mapping[str, object]]) -> list[str]:
    """Return notes about failed runs, which are missing from the board."""
    names = {name for run in runs for name in (run.split_id, run.split)}
    notes = [
        f"Failed and not shown: {run.method}, seed {run.seed} ({run.reason})."
        for run in runs
        if run.status == "failed"
    ]
    for failure in failures:
        about = failure.get("about")
        if isinstance(about, dict) and str(about.get("split")) in names:
            notes.append(
                f"Failed and not shown: {about.get('method')}, seed {about.get('seed')} "
                f"({failure.get('error', '')})."
            )
    return sorted(notes)
