"""Read one image of an OME-Zarr file: the zarr array of a field at full resolution."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.errors import BenchError
from bench.data.zarr_codecs import open_zarr

if TYPE_CHECKING:
    from pathlib import Path

    from bench.core.types import Array

_AXES = {2: "yx", 3: "cyx", 4: "czyx", 5: "tczyx"}
"""Axes of an array without OME metadata, by their number."""


def attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a zarr group, format 2 or 3; those of OME-Zarr 0.5 are unpacked.

    Raises
    ------
    BenchError
        If the metadata are not JSON.
    """
    for name, key in ((".zattrs", ""), ("zarr.json", "attributes")):
        path = folder / name
        if path.is_file():
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
                stored = stored.get(key, {}) if key else stored
                return dict(stored.get("ome", stored))
            except (OSError, ValueError, AttributeError) as error:
                reason = f"{path} cannot be read as JSON ({error}): copy it again"
                raise BenchError(reason) from None
    return {}


def is_zarr_array(path: Path) -> bool:
    """Whether a path is the folder of a zarr array, format 2 or 3."""
    return (path / ".zarray").is_file() or (path / "zarr.json").is_file()


def files_of(path: Path) -> list[Path]:
    """Return the files of an image: itself, or all files of a zarr array, sorted."""
    return sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]


def _declared_axes(image: Path) -> str:
    """Return the axes of an OME-Zarr image, or an empty string.

    Versions 0.1 and 0.2 have none, 0.3 has names, 0.4 and 0.5 have objects with names, and 0.6 has
    them in coordinate systems, of which the first is that of the arrays.
    """
    scales = attributes(image).get("multiscales") or [{}]
    systems = scales[0].get("coordinateSystems") or [{}]
    declared = scales[0].get("axes") or systems[0].get("axes") or ()
    return "".join(axis["name"] if isinstance(axis, dict) else axis for axis in declared)


def read_zarr_image(path: Path) -> Array:
    """Return the pixels of a zarr array, ``(C, H, W)``.

    Axes are those of the OME-Zarr image that contains the array, otherwise (t, c, z, y, x) and
    its ends. Time points and planes must be single.

    Raises
    ------
    BenchError
        If the array is damaged or incomplete, or has several time points or planes.
    """
    array: Any = open_zarr(path)
    n_missing = array.nchunks - array.nchunks_initialized
    if n_missing > 0:
        raise BenchError(
            f"{path} is incomplete: {n_missing} of {array.nchunks} chunks are not stored and would "
            f"be read as {array.fill_value}: copy it again"
        )
    axes = _declared_axes(path.parent) or _AXES.get(array.ndim, "")
    if len(axes) != array.ndim or not axes.endswith("yx"):
        raise BenchError(f"{path} has the axes {axes or array.ndim}: they must end with y and x")
    sizes = dict(zip(axes, array.shape, strict=True))
    for axis, what in (("t", "time points"), ("z", "planes")):
        if sizes.get(axis, 1) != 1:
            raise BenchError(
                f"{path} has {sizes[axis]} {what}: write one, for example their maximum projection"
            )
    try:
        pixels = np.asarray(array[...])
    except Exception as error:  # the decoders raise many exception types
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BenchError(
            f"{path} cannot be decoded; it is truncated or damaged: get it again ({reason})"
        ) from error
    return pixels.reshape(sizes.get("c", 1), sizes["y"], sizes["x"])
