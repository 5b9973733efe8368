"""Checks of names: spellings of classes and batches, the well position, features of location."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from bench.advice.checkup._check import Check, labels_of
from bench.data.views import column_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.core.dataset import Opened

SHOWN = 3
"""Maximum number of examples in a sentence."""
_PLACE = re.compile(
    r"(?:^|_)(?:Location_|AreaShape_Center_|AreaShape_BoundingBox|BoundingBox(?:Minimum|Maximum)|"
    r"Number_Object_Number|ObjectNumber|ImageNumber|Parent_)"
)
"""CellProfiler features that state where an object is, or which one it is."""


def _folded(name: str) -> str:
    """Return a name without what distinguishes spellings: case, blanks, compatible characters."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def equal_spellings(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return groups of different names that are equal without case, blanks and character variants.

    Examples
    --------
    >>> equal_spellings(["DMSO", "DMSO ", "\N{MICRO SIGN}M", "\N{GREEK SMALL LETTER MU}M", "Taxol"])
    [('DMSO', 'DMSO '), ('\N{MICRO SIGN}M', '\N{GREEK SMALL LETTER MU}M')]
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names) - {""}):
        groups.setdefault(_folded(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def spellings(opened: Opened) -> Iterator[Check]:
    """Warn of classes and batches that differ only in spelling."""
    columns = {"label": labels_of(opened).tolist()}
    columns |= {level: column_of(opened, level).tolist() for level in opened.levels}
    for column, names in columns.items():
        groups = equal_spellings(names)
        if not groups:
            continue
        shown = "; ".join(" = ".join(map(repr, group)) for group in groups[:SHOWN])
        more = f"; and {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
        yield Check(
            f"spelling of {column}",
            "warn",
            f"names that differ in case, blanks or similar characters count as different: {shown}"
            f"{more}. Use one spelling",
            {"groups": len(groups)},
        )


def position(opened: Opened) -> Iterator[Check]:
    """Note that a table declares no well position, so that the layout cannot be checked."""
    if "position" not in opened.columns and not opened.is_images:
        yield Check(
            "position",
            "look",
            "no well position is declared, so what the plate layout reveals of the classes was not "
            'checked: add position = "COLUMN" if the table has it',
        )


def location_features(opened: Opened) -> Iterator[Check]:
    """Warn of features that contain the location or the number of an object."""
    names = [name for name in opened.features if _PLACE.search(name)]
    if names:
        shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
        yield Check(
            "location features",
            "warn",
            f"{len(names)} of {len(opened.features)} features are locations, numbers or parents of "
            f"objects ({shown}): they can reveal the position or the order instead of biology. "
            "Exclude them in features",
            {"features": len(names)},
        )
