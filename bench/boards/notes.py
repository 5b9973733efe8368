"""Title and notes of a board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.boards.baselines import BASELINES
from bench.boards.board import EDITIONS, SELECTIONS, Row, Values  # TC
from bench.boards.release import release_of
from bench.boards.stats.coverage import printed_coverage
from bench.boards.values import codes_differ, label_of_run
from bench.core.words import setting
from bench.records.summary import saw_test_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.boards.units import NewUnits
    from bench.records.record import Record


def board_title(run: Record, metric: str, readout: str, units: NewUnits) -> str:
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
        *filter(None, (units.title,)),
        *study,
        data,
        recipe,
        SELECTIONS.get(run.selection, run.selection),
        f"{metric} by {readout}",
        f"release {release}" if (release := release_of(run, metric)) else "no release",
    ]
    return " · ".join(parts)


def _pairs(values: Values) -> str:
    return ", ".join(f"{key}={setting(values[key])}" for key in sorted(values))


def chance_note(run: Record, metric: str) -> float | None:
    """Return the score of random guessing, for metrics where the number of classes gives it."""
    return float(run.chance) if metric in ("accuracy", "balanced_accuracy") else None


def coverage(rows: Sequence[Row]) -> list[str]:
    """Return the simulated coverage of intervals of this design as sentences."""
    designs = sorted(
        {
            (row.n_clusters, row.n_seeds, row.scores.shared_training, row.deterministic)
            for row in rows
            if row.ci_low is not None and row.scores is not None
        }
    )
    cells = [
        printed_coverage(n_clusters, n_seeds, shared_training=shared, deterministic=deterministic)
        for n_clusters, n_seeds, shared, deterministic in designs
    ]
    return list(dict.fromkeys(cell.sentence for cell in cells))


def detectable(rows: Sequence[Row]) -> list[str]:
    """Return the number of tests and the smallest detectable differences."""
    smallest = sorted(row.detectable for row in rows if row.detectable)
    if not smallest:
        return []
    span = f" ({smallest[0]:.3f} to {smallest[-1]:.3f} by method)" if len(smallest) > 1 else ""
    tests = f"{len(smallest)} test{'' if len(smallest) == 1 else 's'}"
    return [
        f"Verdicts: {tests} against the baselines, adjusted by Holm. Smallest detectable "
        f"difference (power 0.8, level 0.05 / {len(smallest)}): "
        f"{smallest[len(smallest) // 2]:.3f}{span}."
    ]


def missing_baselines(rows: Sequence[Row]) -> list[str]:
    """Name the rows without a baseline on the board."""
    names = [
        row.method
        for row in rows
        if row.scores is not None and not row.baseline and row.method_id not in BASELINES
    ]
    if not names:
        return []
    return [
        f"No baseline with a common seed for {_few(names)}: run erm, and identity on a table, "
        "with the same seeds."
    ]


def without_verdicts(oracle: float | None) -> list[str]:
    """Return why a board gives no verdicts, if it gives none."""
    if oracle is None:
        return []
    return [
        f"No verdicts: label-oracle scores {oracle:.3f}, so the readout misses classes that the "
        "profiles contain. Differences between methods may be failures of the readout."
    ]


def pooled_scores(runs: Sequence[Record]) -> list[str]:
    """Name the rows that have pooled scores and no value per held-out batch."""
    names = {label_of_run(run) for run in runs if run.aggregation == "pooled"}
    if not names:
        return []
    return [
        f"Pooled over held-out batches instead of their mean: {_few(names)} (older records without "
        "a value per batch). `--if-exists rerun` repeats them."
    ]


def mixture(runs: Sequence[Record]) -> list[str]:
    """List hardware and versions that differ between runs; last digits may differ."""
    notes = []
    machines = [{**run.machine} for run in runs]
    for key, noun in (
        ("device", "devices"),
        ("precision", "precisions"),
        ("threads", "numbers of threads"),
        ("torch", "versions of torch"),
        ("platform", "platforms"),
    ):
        made_with: dict[str, list[Record]] = {}
        for run, machine in zip(runs, machines, strict=True):
            if machine[key] is not None:
                made_with.setdefault(str(machine[key]), []).append(run)
        if len(made_with) > 1:
            labels = {value: {label_of_run(run) for run in made_with[value]} for value in made_with}
            texts = (f"{value} ({_few(labels[value])})" for value in sorted(labels))
            notes.append(f"Mixed {noun}: {', '.join(texts)}.")
    return notes


def other_code(rows: Sequence[Row]) -> list[str]:
    """Name the rows that were run by other harness code than their baseline."""
    bases = {row.method_id: row for row in rows if not row.params and row.scores is not None}
    names = [
        row.method
        for row in rows
        if row.baseline in bases and codes_differ(row.codes, bases[row.baseline].codes)
    ]
    if not names:
        return []
    return [
        f"Run by other code of labshift than their baseline: {_few(names)}. "
        "`--if-exists refresh` repeats them."
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
