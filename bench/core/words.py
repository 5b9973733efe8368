"""Spellings shared by messages, boards and pages."""

from __future__ import annotations

__all__ = ["plural"]


def plural(level: str) -> str:
    """Return the plural of a batch level: plates, batches, laboratories."""
    if level.endswith(("s", "x", "ch")):
        return f"{level}es"
    return f"{level[:-1]}ies" if level.endswith("y") else f"{level}s"
