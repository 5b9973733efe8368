"""Published claims as Markdown."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bench.boards.claims import (
    STATUSES,
    Judged,  # TC
    judge,
    published,
)
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.records.record import Record


def claims_markdown(
    records: Iterable[Record | Mapping[str, object]], names: Sequence[str] | None = None
) -> str:
    """Return a Markdown table of claims with their status, and a line with the totals.

    Published numbers that no recipe here can match are not shown unless named.

    Parameters
    ----------
    names
        Claims to show, in this order; by default all that records can match.
    """
    everything = judge(published(), records)
    by_name = {judged.claim.name: judged for judged in everything}
    chosen = [judged.claim.name for judged in everything if judged.claim.comparable]
    if names is not None:
        for name in names:
            if name not in by_name:
                raise BenchError(did_you_mean(name, list(by_name), "claim"))
        chosen = list(names)
    lines = [
        "| reported | method, split, metric | measured | difference | status |",
        "|---|---|---|---|---|",
    ]
    lines += [_line(by_name[name]) for name in chosen]
    lines += ["", _count(everything)]
    return "\n".join(lines) + "\n"


def _line(judged: Judged) -> str:
    claim = judged.claim
    spread = f" ({claim.sd:g})" if claim.sd is not None else ""
    protocol = f"{claim.reported_method}, {claim.reported_dataset} {claim.reported_split}"
    note = f"; {claim.note}" if claim.note else ""
    measured = "–"
    if judged.mean is not None:
        measured = f"{judged.mean:.3f}" + (f" ({judged.sd:.3f})" if judged.sd else "")
    cells = [
        f"{claim.value:g}{spread}",
        f"{protocol}, {claim.reported_metric} [{claim.source}{note}]",
        measured,
        "–" if judged.difference is None else f"{judged.difference:+.3f}",
        judged.status,
    ]
    if judged.interval is not None:
        cells[3] += f" [{judged.interval[0]:+.3f}, {judged.interval[1]:+.3f}]"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _count(judged: Sequence[Judged]) -> str:
    claims = [result for result in judged if result.claim.comparable]
    counts = Counter(result.status for result in claims)
    totals = ", ".join(f"{counts[status]} {status}" for status in STATUSES)
    return (
        f"Of {len(claims)} published numbers with a recipe here: {totals}. "
        f"{len(judged) - len(claims)} others cannot be matched: `list reading-list`. Rule: see "
        "`bench/boards/claims.py`."
    )
