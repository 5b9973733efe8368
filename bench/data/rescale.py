"""Bring all images of a split to one pixel size.

Practitioners resample images of another microscope to the pixel size of the training images, which
is in the metadata of every microscope. With ``rescale`` the images of a split are resampled about
their centre (:mod:`bench.core.resampling`) to the pixel size of the training images, or to a given
one. An image with smaller pixels shows less of the sample; its margin is filled by reflection.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.core.resampling import resampled
from bench.data.views import column_of

if TYPE_CHECKING:
    from bench.core.dataset import Opened
    from bench.core.samples import Source
    from bench.core.types import Array, DType, Floats, Ints
    from bench.data.task import Task


PIXEL = "pixel"
"""Role of the column with the pixel size of each image."""
VERSION = 1
"""Version of the resampling, part of the data digest; increased when its numbers change."""


def pixel_sizes(opened: Opened) -> Floats:
    """Return the pixel size of each image, ``(n,)`` float64, um.

    Raises
    ------
    BenchError
        If the data set does not state it for all images.
    """
    column = opened.columns.get(PIXEL)
    if column is None:
        sizes = np.full(len(opened.index), float(opened.pixel))
    else:
        names, inverse = np.unique(column_of(opened, column), return_inverse=True)
        sizes = np.array([_number(name) for name in names.tolist()])[inverse]
    unknown = int((~(sizes > 0)).sum())
    if unknown:
        raise BenchError(
            f"rescale needs the pixel size of each image, and {opened.name} does not state it for "
            f"{unknown} of {len(sizes)}: add it to the data set, or leave rescale out"
        )
    return sizes


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def rescaled(task: Task, pixel_size: float = 0.0) -> Task:
    """Return a task with images of one pixel size.

    Parameters
    ----------
    pixel_size
        The new pixel size, um. 0 takes the median of the training images (the lower of two), over
        all folds; images that have it are not changed.

    Raises
    ------
    BenchError
        If the samples are profiles, or a pixel size is unknown.
    """
    opened, where = task.opened, task.split.name
    if not opened.is_images:
        raise BenchError(f"rescale is for images, and {where} has profiles: leave it out")
    if task.source_domain is not None:
        raise BenchError(
            f"split '{where}' always resamples its images to the pixel size of the training "
            "images: leave rescale out"
        )
    sizes = pixel_sizes(opened)
    if not pixel_size:
        rows = np.unique(np.concatenate([fold.train for fold in task.folds]))
        if not len(rows):
            raise BenchError(
                f"split '{where}' has no training images with a pixel size: give one "
                "with --set recipe.pixel_size=UM"
            )
        pixel_size = float(np.quantile(sizes[rows], 0.5, method="lower"))
    facts = [VERSION, opened.digest, pixel_size, hashlib.sha256(sizes.tobytes()).hexdigest()]
    rescaled_data = dataclasses.replace(
        opened,
        source=_Rescaled(opened.source, pixel_size / sizes),
        digest=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
        upstream=(*opened.upstream, f"resampled to {pixel_size:g} um per pixel"),
        columns={role: name for role, name in opened.columns.items() if role != PIXEL},
        pixel=pixel_size,
        content=None,
    )
    return dataclasses.replace(task, opened=rescaled_data)


class _Rescaled:
    """Source that resamples images on read; has the ``shape`` and ``dtype`` of the images."""

    def __init__(self, source: Source, steps: Floats) -> None:
        self._source, self._steps = source, steps
        self.shape: tuple[int, ...] = source.shape
        self.dtype: DType = source.dtype

    def read(self, rows: Ints) -> Array:
        """Return images ``(k, C, H, W)`` in the order of ``rows``."""
        rows = np.asarray(rows, dtype=np.int64)
        images = self._source.read(rows)
        steps = self._steps[rows]
        changed = np.unique(steps[steps != 1])
        if len(changed):
            images = np.array(images)
        for step in changed:
            chosen = np.flatnonzero(steps == step)
            images[chosen] = resampled(images[chosen], float(step))
        return images
