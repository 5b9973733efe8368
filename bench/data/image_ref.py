"""Reference to an image on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    pass


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image: its files and the crop and channels to use.

    Attributes
    ----------
    files
        Image files, concatenated along the channel axis; all have the same height and width.
    crop
        Top, left, height and width in pixels, inside the image; None is the full image.
    channels
        Channels to use, in order; None is all of them in file order.
    """

    files: tuple[Path, ...]
    crop: tuple[int, int, int, int] | None = None
    channels: tuple[int, ...] | None = None
