"""Advice as one offline HTML page: no script, no request, printable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.advice.advice import Advice
    from bench.advice.checkup import Check

TEMPLATE = Path(__file__).parent / "templates" / "advice.html"
HALF = 100.0
"""Half-width of a row's interval bar in its own units; a gain of 0 is in the middle."""


def page(advice: Sequence[Advice], lines: Sequence[Check], command: str) -> str:
    """Return the HTML of a page.

    Parameters
    ----------
    advice
        One per split; text in it is escaped.
    """
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(advice=advice, lines=lines, command=command, place=place)


def place(advice: Advice, value: float) -> float:
    """Return the position of a gain in a bar: all rows of a split share the scale, 0 is centred."""
    ends = [abs(v) for row in advice.rows for v in (row.gain, row.low, row.high) if v is not None]
    largest = max(ends, default=0.0) or 1.0
    # Two units are free on each side, so that a mark at the end is fully visible.
    return round(HALF + (HALF - 2) * value / largest, 1)
