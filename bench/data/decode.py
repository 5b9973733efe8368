"""Decode one image to an array: PNG, TIFF, JPEG and OME-Zarr, any number of channels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

    from bench.core.types import Array


DECODER = 2
"""Version of the decoding of a file, in the key of cached images. 2: OME files of a set, palettes
and inverted intensities."""

DTYPES = ("uint8", "uint16", "float32")
"""Accepted pixel types; others raise, because a cast would lose or invent values."""
_PNG = b"\x89PNG\r\n\x1a\n"
_OME_FILE = re.compile(r'FileName="([^"]*)"')
_JPEG = b"\xff\xd8\xff"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_image(path: Path) -> Array:
    """Return the pixels of a file, ``(C, H, W)`` of ``uint8``, ``uint16`` or ``float32``.

    The format is detected from the first bytes, not from the file name. A folder must be a zarr
    array. The planes of a TIFF stack
    are the channels, in file order; of an OME-TIFF that is one of several files of an image, the
    planes in this file. Palettes are expanded to colours, intensities stored with zero as white are
    inverted, and an alpha channel is kept.

    Raises
    ------
    BenchError
        If the file does not exist, is damaged or incomplete, is not PNG, TIFF or JPEG, or has
        another pixel type or more than three axes.
    """
    path = Path(path)
    if path.is_dir():
        return _checked(path, _zarr(path))
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise BenchError(
            f"{path} cannot be read ({reason}): put it back, or change its permissions"
        ) from error
    try:
        if content.startswith(_PNG):
            import imagecodecs

            pixels = _channels_first(imagecodecs.png_decode(content))
        elif content.startswith(_JPEG):
            import imagecodecs

            pixels = _channels_first(imagecodecs.jpeg_decode(content))
        elif content.startswith(_TIFF):
            pixels = _tiff(path, content)
        else:
            raise BenchError(f"{path} is not PNG, TIFF or JPEG: convert it to one of them")
    except BenchError:
        raise
    except Exception as error:  # the decoders raise many exception types
        lines = str(error).strip().splitlines()
        raise BenchError(
            f"{path} cannot be decoded; it is truncated or damaged: get it again "
            f"({lines[0] if lines else type(error).__name__})"
        ) from error
    return _checked(path, pixels)


def _checked(path: Path, pixels: Array) -> Array:
    """Return pixels in native byte order; raises for other types."""
    native = pixels.dtype.newbyteorder("=")
    if native.name not in DTYPES:
        raise BenchError(
            f"{path} has pixels of type {native.name}: store them as {', '.join(DTYPES)}"
        )
    return np.ascontiguousarray(pixels, dtype=native)


def _zarr(path: Path) -> Array:
    from bench.data.zarr_image import is_zarr_array, read_zarr_image

    if not is_zarr_array(path):
        raise BenchError(f"{path} is a folder and no zarr array: name an image")
    return read_zarr_image(path)


def _channels_first(pixels: Array) -> Array:
    """Return ``(C, H, W)`` of a decoded ``(H, W)`` or ``(H, W, C)``."""
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def _tiff(path: Path, content: bytes) -> Array:
    import io

    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as file:
        # The metadata of one file of an OME set also name the planes of the other files, which
        # would be filled with zeros.
        several = file.is_ome and len(set(_OME_FILE.findall(file.ome_metadata or ""))) > 1
    with tifffile.TiffFile(io.BytesIO(content), is_ome=False if several else None) as file:
        series = file.series[0]
        page = series.keyframe
        _check_planes(path, file, series)
        pixels, axes = np.asarray(series.asarray()), series.axes
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        if pixels.ndim != 2:
            raise BenchError(f"{path} is a stack of images with palettes: store intensities")
        pixels, axes = _colours(pixels, np.asarray(page.colormap)), "SYX"
    elif page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind == "u":
        pixels = np.iinfo(pixels.dtype).max - pixels
    if pixels.ndim == 3 and axes.endswith("S"):
        pixels = np.moveaxis(pixels, -1, 0)
    elif pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3:
        raise BenchError(
            f"{path} has the axes {axes}, expected height and width and at most one more: store "
            "one image per file"
        )
    return pixels


def _check_planes(path: Path, file: TiffFile, series: TiffPageSeries) -> None:
    """Raise if a plane, strip or tile was never written; it would be read as zeros."""
    n_missing = sum(page is None for page in series.pages)
    if n_missing:
        raise BenchError(
            f"{path} is incomplete: its metadata name {len(series.pages)} planes, and {n_missing} "
            "of them are not in the file: get it again"
        )
    for number, page in enumerate(file.pages, 1):
        n_empty = sum(not size for size in page.databytecounts)
        if n_empty:
            raise BenchError(
                f"{path} is incomplete: {n_empty} of {len(page.databytecounts)} strips of plane "
                f"{number} were not written and would be read as zeros: get it again"
            )


def _colours(indices: Array, palette: Array) -> Array:
    """Return ``(3, H, W)`` colours of palette indices; 8 bit if the palette has no more."""
    colours: Array = palette[:, indices]
    if not (palette % 257).any():  # TIFF stores colours of 8 bit as 16 bit, multiplied by 257
        colours = (colours // 257).astype(np.uint8)
    return colours
