"""Reference to an image on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    pass

__all__ = ["Picture"]


@dataclass(frozen=True, slots=True)
class Picture:
    """One image: its files and the part of them that is meant.

    Attributes
    ----------
    files
        Their channels are put one behind the other; all have the same height and width.
    crop
        Top, left, height and width in pixels, inside the image; None is all of it.
    channels
        Which of the channels, in which order; None is all of them in file order.
    """

    files: tuple[Path, ...]
    crop: tuple[int, int, int, int] | None = None
    channels: tuple[int, ...] | None = None
