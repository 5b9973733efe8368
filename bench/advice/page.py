"""Advice as one page that opens from disk: no script, no request, readable on paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.advice.advice import Advice
    from bench.advice.checkup import Check

TEMPLATE = Path(__file__).parent / "templates" / "advice.html"
HALF = 100.0
"""Half the width of a row's interval bar in its own units; no gain stands in the middle."""


def page(advice: Sequence[Advice], lines: Sequence[Check], command: str) -> str:
    """Return the HTML of a page.

    Parameters
    ----------
    advice
        One for each split; text in it is escaped.
    lines
        What was found in the data.
    command
        What to type to make the page again.
    """
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(advice=advice, lines=lines, command=command, place=place)


def place(advice: Advice, value: float) -> float:
    """Return where a gain stands in a bar: all rows of a split share the scale, 0 in the middle."""
    ends = [abs(v) for row in advice.rows for v in (row.gain, row.low, row.high) if v is not None]
    largest = max(ends, default=0.0) or 1.0
    # Two units are kept free on each side, so that a mark at the end is seen whole.
    return round(HALF + (HALF - 2) * value / largest, 1)
