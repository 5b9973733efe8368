"""Decode one image file to an array: PNG and TIFF of 8 and 16 bit, any number of channels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from bench.core.types import Array

__all__ = ["DTYPES", "read_image"]

DTYPES = ("uint8", "uint16", "float32")
"""Accepted pixel types; others raise, because a cast would lose or invent values."""
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_image(path: Path) -> Array:
    """Return the pixels of a file, ``(C, H, W)`` of ``uint8``, ``uint16`` or ``float32``.

    The format is detected from the first bytes, not from the file name. The planes of a TIFF stack
    are the channels, in file order. Palettes are expanded to colours; an alpha channel is kept.

    Raises
    ------
    BenchError
        If the file does not exist, is damaged, is neither PNG nor TIFF, or has another pixel type
        or more than three axes.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise BenchError(
            f"{path} cannot be read ({reason}): put it back, or mend its permissions"
        ) from error
    try:
        if content.startswith(_PNG):
            import imagecodecs

            pixels = imagecodecs.png_decode(content)
            pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        elif content.startswith(_TIFF):
            pixels = _tiff(path, content)
        else:
            raise BenchError(f"{path} is neither PNG nor TIFF: convert it to one of them")
    except BenchError:
        raise
    except Exception as error:  # the decoders raise many exception types
        lines = str(error).strip().splitlines()
        raise BenchError(
            f"{path} cannot be decoded; it is truncated or damaged: get it again "
            f"({lines[0] if lines else type(error).__name__})"
        ) from error
    native = pixels.dtype.newbyteorder("=")
    if native.name not in DTYPES:
        raise BenchError(
            f"{path} holds pixels of type {native.name}: store them as {', '.join(DTYPES)}"
        )
    return np.ascontiguousarray(pixels, dtype=native)


def _tiff(path: Path, content: bytes) -> Array:
    import io

    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as file:
        series = file.series[0]
        pixels, axes = np.asarray(series.asarray()), series.axes
    if pixels.ndim == 3 and axes.endswith("S"):
        pixels = np.moveaxis(pixels, -1, 0)
    elif pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3:
        raise BenchError(
            f"{path} has the axes {axes}, expected height and width and at most one more: store "
            "one image a file"
        )
    return pixels
