"""The comparison over all splits as text, Markdown, CSV and JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from bench.boards.board import EDITIONS
from bench.boards.overall import KINDS, OverallRow
from bench.boards.render.parts import Part, check_format, csv_text, part_markdown, parts_text
from bench.boards.stats.bayes import ROPE
from bench.boards.stats.scores import MIN_CLUSTERS
from bench.core.words import DASH, count, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.boards.overall import Overall


HEAD = (
    "method",
    "mean rank",
    "mean difference",
    "lowest … highest",
    "data sets",
    "splits",
    "tested",
    "improves",
    "worsens",
    "P(worse)",
    "P(equivalent)",
    "P(better)",
)
TERMINAL_HEAD = (
    "method",
    "rank",
    "mean",
    "range",
    "sets",
    "improves",
    "worsens",
    "P(w.)",
    "P(eq.)",
    "P(b.)",
)
"""Columns in 80 characters; improves and worsens are of the tested splits."""
EMPTY = (
    "No comparison: no method has a difference to its baseline. Run erm, or identity on a table.\n"
)


def render(results: Sequence[Overall], form: str, *, width: int = 120, colour: bool = False) -> str:
    """Return the comparisons as text; the same records give the same bytes."""
    check_format(form, FORMATS)
    return _table(results, width, colour) if form == "table" else FORMATS[form](results)


def title_of(result: Overall) -> str:
    """Return the title: kind of method, edition, numbers of data sets and splits."""
    n_splits = sum(map(len, result.datasets.values()))
    return (
        f"{result.kind} methods · {EDITIONS[result.edition]} · "
        f"{count(len(result.datasets), 'data set')}, {count(n_splits, 'split')}"
        + (f" · release {result.release} and splits outside it" if result.release else "")
    )


def notes_of(result: Overall) -> list[str]:
    """Return the sentences below a comparison."""
    baseline = " or ".join(KINDS[result.kind])
    notes = [
        f"Differences to {baseline} on the main board of each split. They are averaged within "
        "data sets, then over data sets. Splits per data set: "
        f"{', '.join(f'{name} {len(splits)}' for name, splits in result.datasets.items())}. "
        f"Ranks are ranks of these differences. They are over the {result.n_ranked} methods with a "
        "value on every data set."
    ]
    if result.critical_difference is not None and result.p is not None:
        notes.append(
            f"Friedman: chi2 = {result.statistic:.2f}, p = {result.p:.2g}. Nemenyi: ranks that "
            f"differ by {result.critical_difference:.2f} or more differ at 5 %. P: Bayesian "
            f"signed-rank test against the baseline; within {ROPE:g} is equivalent."
        )
    elif not result.tested:
        notes.append(
            f"{count(len(result.datasets), 'data set')}: points and counts only. A test needs "
            f"{MIN_CLUSTERS}."
        )
    if result.never_worse:
        tested = {row.method: row.n_tested for row in result.rows}
        names = ", ".join(f"{method} ({tested[method]})" for method in result.never_worse)
        notes.append(
            f"Never measurably worse than no correction (splits with a test): {names}. This is no "
            "proof of no harm: see the smallest detectable difference of each board."
        )
    return notes


def _cells(row: OverallRow) -> list[str]:
    values = list(row.differences.values())
    span = f"{number(min(values), sign=True)} … {number(max(values), sign=True)}"
    return [
        row.method,
        number(row.mean_rank, 2),
        number(row.mean_difference, sign=True),
        span if len(values) > 1 else DASH,
        str(row.n_datasets),
        str(row.n_splits) if row.n_splits else DASH,
        str(row.n_tested),
        str(row.n_improves),
        str(row.n_worsens),
        number(row.p_worse, 2),
        number(row.p_equivalent, 2),
        number(row.p_better, 2),
    ]


def _table(results: Sequence[Overall], width: int, colour: bool) -> str:
    parts = []
    for result in results:
        head = TERMINAL_HEAD if result.tested else TERMINAL_HEAD[:-3]
        rows = [_terminal_cells(row)[: len(head)] for row in _ranked_first(result)]
        least = min(20, max(len(row.method) for row in result.rows))
        parts.append(Part(title_of(result), [(head, rows)], notes_of(result), least))
    return parts_text(parts, ("method",), width, colour) if parts else EMPTY


def _ranked_first(result: Overall) -> list[OverallRow]:
    """Return the rows; those without a value on every data set are last."""
    return sorted(result.rows, key=lambda row: (row.mean_rank is None, row.mean_rank or 0.0))


def _terminal_cells(row: OverallRow) -> list[str]:
    method, rank, difference, span, n_datasets, _, n_tested, better, worse, *p = _cells(row)
    return [
        method,
        rank,
        difference,
        span.replace(" ", ""),
        n_datasets,
        f"{better} of {n_tested}",
        f"{worse} of {n_tested}",
        *p,
    ]


def _markdown(results: Sequence[Overall]) -> str:
    lines: list[str] = []
    for result in results:
        rows = [_cells(row) for row in _ranked_first(result)]
        part = Part(title_of(result), [(HEAD, rows)], notes_of(result))
        lines += part_markdown(part, lambda head: "|---" + "|---:" * (len(head) - 1) + "|")
    return "\n".join(lines) + "\n" if lines else EMPTY


def to_json(results: Sequence[Overall]) -> dict[str, list[dict[str, object]]]:
    """Return the comparisons as JSON types."""
    return {
        "overall": [
            {
                **{key: value for key, value in vars(result).items() if key != "rows"},
                "title": title_of(result),
                "rows": [
                    {**dataclasses.asdict(row), "n_datasets": row.n_datasets} for row in result.rows
                ],
                "notes": notes_of(result),
            }
            for result in results
        ]
    }


def _csv(results: Sequence[Overall]) -> str:
    names = [name for name in OverallRow.__dataclass_fields__ if name != "differences"]
    names.append("n_datasets")
    rows = (
        [result.edition, result.kind, *(getattr(row, name) for name in names)]
        for result in results
        for row in result.rows
    )
    return csv_text(["edition", "kind", *names], rows)


def _json(results: Sequence[Overall]) -> str:
    return json.dumps(to_json(results), indent=1, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Overall]], str]] = {
    "table": lambda results: _table(results, 120, False),
    "md": _markdown,
    "csv": _csv,
    "json": _json,
}
"""Formats by their name on the command line."""
