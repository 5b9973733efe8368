"""Title and notes of a board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.boards.board import EDITIONS, SELECTIONS, Row, Values  # TC
from bench.boards.stats.coverage import printed_coverage
from bench.boards.stats.tests import smallest_p
from bench.boards.values import changed_params, label_of, word
from bench.records.summary import saw_test_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


# --------------------------------------------------------------------------- words


def board_title(
    run: Mapping[str, Any], metric: str, readout: str, settings: Values, overrides: Values
) -> str:
    """Return the title of a board."""
    edition = str(run["edition"])
    data = EDITIONS.get(edition, edition)
    if settings:
        data += f" ({_pairs(settings)})"
    recipe = f"recipe {run['recipe']}"
    if overrides:
        recipe += f" with {_pairs(overrides)}"
    selection = str(run.get("selection", "last"))
    study = [f"study ({_pairs(run['grouping'])})"] if run.get("grouping") else []
    words = [
        str(run["split_id"]),
        *study,
        data,
        recipe,
        SELECTIONS.get(selection, selection),
        f"{metric} by {readout}",
    ]
    return " · ".join(words)


def _pairs(values: Values) -> str:
    return ", ".join(f"{key}={word(values[key])}" for key in sorted(values))


def chance_note(run: Mapping[str, Any], metric: str) -> float | None:
    """Return the score of guessing, where the number of classes says it."""
    chance = run.get("chance")
    known = ("accuracy", "balanced_accuracy")
    return float(chance) if chance is not None and metric in known else None


def coverage(rows: Sequence[Row]) -> list[str]:
    """Say how often intervals such as these hold the truth, as simulated."""
    sizes = sorted({(row.n_clusters, row.n_seeds) for row in rows if row.ci_low is not None})
    return list(dict.fromkeys(printed_coverage(*size).sentence for size in sizes))


def detectable(rows: Sequence[Row]) -> list[str]:
    """Say which difference to ERM the board can detect, from the spread of those it has."""
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
        f"Smallest difference to ERM that {n} clusters find in 4 of 5 experiments (paired t test, "
        f"5 %): {least[len(least) // 2]:.3f}{span}. Smallest p that flips of {n} signs can give: "
        f"{smallest_p(n):.2g}."
    ]


def mixture(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what the runs of a board do not share, and which rows have what: it may move digits."""
    notes = []
    for key, noun in (
        ("device", "devices"),
        ("precision", "precisions"),
        ("threads", "numbers of threads"),
        ("torch", "versions of torch"),
        ("platform", "platforms"),
    ):
        values = {(run.get("machine") or {}).get(key) for run in runs} - {None}
        if len(values) < 2:
            continue
        found: dict[str, set[str]] = {}
        for run in runs:
            value = (run.get("machine") or {}).get(key)
            if value is not None:
                label = label_of(str(run["method_id"]), changed_params(run))
                found.setdefault(str(value), set()).add(label)
        words = (f"{value} ({_few(found[value])})" for value in sorted(found))
        notes.append(f"Mixed {noun}: {', '.join(words)}.")
    return notes


def _few(names: Iterable[str]) -> str:
    """Name up to three rows, or say how many there are."""
    known = sorted(names)
    return ", ".join(known) if len(known) <= 3 else f"{len(known)} rows"


def upstream(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what had been done to the data before any method saw them, which no track counts."""
    done = dict.fromkeys(str(step) for run in runs for step in run.get("upstream") or ())
    if not done:
        return []
    text = f"Done to the data before any method saw them: {'; '.join(done)}."
    if saw_test_batches(done):
        text += " What was fitted over all batches has seen the test batches, whatever a row's"
        text += " track says."
    return [text]


def cautions(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what the data set says about some of the methods, and which these are."""
    about: dict[str, dict[str, None]] = {}
    for run in runs:
        for sentence in run.get("cautions") or ():
            label = label_of(str(run["method_id"]), changed_params(run))
            about.setdefault(str(sentence), {})[label] = None
    return [f"{', '.join(sorted(labels))}: {text}." for text, labels in sorted(about.items())]


def failed_notes(
    runs: Sequence[Mapping[str, Any]], failures: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return notes about runs that failed and are missing from the board."""
    names = {str(run[key]) for run in runs for key in ("split_id", "split")}
    notes = [
        f"Failed and not shown: {run['method']}, seed {run['seed']} ({run.get('reason', '')})."
        for run in runs
        if run.get("status") == "failed"
    ]
    for failure in failures:
        about = failure.get("about") or {}
        if str(about.get("split")) in names:
            notes.append(
                f"Failed and not shown: {about.get('method')}, seed {about.get('seed')} "
                f"({failure.get('error', '')})."
            )
    return sorted(notes)
