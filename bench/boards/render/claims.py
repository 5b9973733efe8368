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

__all__ = ["claims_markdown"]


# --------------------------------------------------------------------------- a table


def claims_markdown(
    records: Iterable[Record | Mapping[str, object]], names: Sequence[str] | None = None
) -> str:
    """Return a Markdown table of claims with their status, and a line with the totals.

    Parameters
    ----------
    records
        As for :func:`judge`.
    names
        Claims to show, in this order; by default all that records can match.

    Raises
    ------
    BenchError
        For an unknown name.
    """
    everything = judge(published(), records)
    by_name = {one.claim.name: one for one in everything}
    chosen = [one.claim.name for one in everything if one.claim.comparable]
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


def _line(one: Judged) -> str:
    claim = one.claim
    spread = f" ({claim.sd:g})" if claim.sd is not None else ""
    what = f"{claim.reported_method}, {claim.reported_dataset} {claim.reported_split}"
    note = f"; {claim.note}" if claim.note else ""
    cells = [
        f"{claim.value:g}{spread}",
        f"{what}, {claim.reported_metric} [{claim.source}{note}]",
        "–" if one.mean is None else f"{one.mean:.3f}" + (f" ({one.sd:.3f})" if one.sd else ""),
        "–" if one.difference is None else f"{one.difference:+.3f}",
        one.status,
    ]
    if one.interval is not None:
        cells[3] += f" [{one.interval[0]:+.3f}, {one.interval[1]:+.3f}]"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _count(judged: Sequence[Judged]) -> str:
    counts = Counter(one.status for one in judged)
    never = sum(not one.claim.comparable for one in judged)
    said = ", ".join(f"{counts[status]} {status}" for status in STATUSES)
    return (
        f"Of {len(judged)} published numbers: {said}; {never} of those not run have no recipe here "
        "that could match them. Rule: see `bench/boards/claims.py`."
    )
