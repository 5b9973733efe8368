"""Fit the images of one data set to the network of another: same channels, extent and size.

A network trained on images of one data set expects structures of one size and channels in one
order. Images of the other data set are cut into pieces that have the physical width of a training
image, computed from the pixel sizes of both data sets, and resampled to its size in pixels.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core.dataset import Opened
    from bench.core.samples import Source
    from bench.core.types import Array, DType, Ints


def fitted_to(
    target: Opened, like: Opened, channels: Mapping[str, str] | None, where: str
) -> Opened:
    """Return a data set whose rows are pieces of another's images, as wide as training images.

    Pieces do not overlap. As many as fit are placed in a centred grid on each image. The column
    ``image`` contains the id of the image from which a piece was cut.

    Parameters
    ----------
    like
        The training data set; ``shape``, ``channels`` and ``pixel`` of its images are used.
    channels
        Channel of ``target`` -> channel of ``like``; None if they have the same names.

    Raises
    ------
    BenchError
        If the correspondence of the channels is not declared, a pixel size is unknown, or an image
        is smaller than a piece.
    """
    if not (target.is_images and like.is_images):
        raise BenchError(f"split '{where}': both data sets of a transfer must contain images")
    order = _order(target, like, channels, where)
    for data in (target, like):
        if data.pixel <= 0:
            raise BenchError(
                f"split '{where}': the pixel size of {data.name} is unknown, so its images cannot "
                "be resampled to one scale: add it to the data set"
            )
    piece = _piece(target, like, where)
    n, per_image = len(target.index), len(piece.corners)
    index = target.index.loc[np.repeat(np.arange(n), per_image)].reset_index(drop=True)
    index["image"] = index["id"]
    number = np.tile(np.arange(per_image), n)
    index["id"] = [f"{name}/{k}" for name, k in zip(index["image"], number, strict=True)]
    facts = {"target": target.digest, "order": order, **dataclasses.asdict(piece)}
    text = json.dumps(facts, sort_keys=True)
    extent = [like.pixel * pixels for pixels in like.source.shape[1:]]
    step = (
        f"cut into crops of {extent[0]:.1f} x {extent[1]:.1f} um, {per_image} of each image, and "
        f"resampled from {target.pixel:g} to {like.pixel:g} um a pixel"
    )
    return dataclasses.replace(
        target,
        index=index,
        source=Pieces(target.source, piece, tuple(order)),
        digest=hashlib.sha256(text.encode()).hexdigest(),
        upstream=(*target.upstream, step),
        columns={**target.columns, "image": "image"},
        channels=like.channels,
        pixel=like.pixel,
        content=None,
    )


def _order(
    target: Opened, like: Opened, channels: Mapping[str, str] | None, where: str
) -> list[int]:
    """Return the index of the target channel for each channel of a training image."""
    names = {data.name: list(data.channels) for data in (target, like)}
    for data in (target, like):
        if len(data.channels) != data.source.shape[0]:
            raise BenchError(
                f"split '{where}': {data.name} does not name its {data.source.shape[0]} channels: "
                "add their names to the data set"
            )
    if channels is None:
        if sorted(target.channels) == sorted(like.channels):
            return [target.channels.index(name) for name in like.channels]
        raise BenchError(
            f"split '{where}': {target.name} has the channels {', '.join(target.channels)} and "
            f"{like.name} {', '.join(like.channels)}: name the matching channels with "
            f'channels = {{ {target.channels[0]} = "{like.channels[0]}", … }}'
        )
    unknown = [name for name in channels if name not in target.channels]
    unknown += [name for name in channels.values() if name not in like.channels]
    if unknown:
        raise BenchError(
            f"split '{where}': '{unknown[0]}' in channels is no channel; {target.name} has "
            f"{', '.join(names[target.name])}, {like.name} {', '.join(names[like.name])}"
        )
    place = {new: old for old, new in channels.items()}
    missing = [name for name in like.channels if name not in place]
    if missing or len(place) != len(channels):
        name = missing[0] if missing else next(iter(channels.values()))
        raise BenchError(
            f"split '{where}': channels must name one channel of {target.name} for each of "
            f"{like.name}; look at '{name}'"
        )
    return [target.channels.index(place[name]) for name in like.channels]


@dataclass(frozen=True)
class Piece:
    """Cut pattern of each image: ``corners`` (top, left), ``height``, ``width``, ``size``."""

    corners: tuple[tuple[int, int], ...]
    height: int
    width: int
    size: tuple[int, int]


def _piece(target: Opened, like: Opened, where: str) -> Piece:
    size = like.source.shape[1], like.source.shape[2]
    cut = [max(1, round(pixels * like.pixel / target.pixel)) for pixels in size]
    whole = target.source.shape[1:]
    count = [a // b for a, b in zip(whole, cut, strict=True)]
    if 0 in count:
        extents = [
            " x ".join(f"{pixels * data.pixel:.1f}" for pixels in data.source.shape[1:])
            for data in (target, like)
        ]
        raise BenchError(
            f"split '{where}': images of {target.name} ({extents[0]} um) are smaller than those "
            f"that the network was trained on ({extents[1]} um): check the pixel sizes, "
            "--set data.pixel and --set data.source.pixel"
        )
    first = [(a - b * k) // 2 for a, b, k in zip(whole, cut, count, strict=True)]
    corners = tuple(
        (first[0] + i * cut[0], first[1] + j * cut[1])
        for i in range(count[0])
        for j in range(count[1])
    )
    return Piece(corners, cut[0], cut[1], (size[0], size[1]))


class Pieces:
    """Source that cuts and resamples pieces on read; has ``shape`` and ``dtype``."""

    def __init__(self, source: Source, piece: Piece, order: tuple[int, ...]) -> None:
        self._source, self._piece, self._order = source, piece, order
        self.shape: tuple[int, ...] = (len(order), *piece.size)
        self.dtype: DType = np.dtype(source.dtype)

    def read(self, rows: Ints) -> Array:
        """Return pieces ``(k, C, H, W)`` in the dtype of the data set; integer types are rounded.

        Resampling is bilinear. When downsampling, the kernel is widened to the new pixel size, so
        that fine structures do not alias.
        """
        import torch
        from torch.nn import functional

        rows = np.asarray(rows, dtype=np.int64)
        piece, per_image = self._piece, len(self._piece.corners)
        pieces = np.empty((len(rows), *self.shape), self.dtype)
        images, which = np.unique(rows // per_image, return_inverse=True)
        for start in range(0, len(images), 16):
            block = images[start : start + 16]
            whole = self._source.read(block)[:, list(self._order)]
            mine = np.flatnonzero((which >= start) & (which < start + len(block)))
            cuts = np.stack(
                [
                    whole[which[i] - start, :, top : top + piece.height, left : left + piece.width]
                    for i, (top, left) in ((i, piece.corners[rows[i] % per_image]) for i in mine)
                ]
            ).astype(np.float32)
            if cuts.shape[2:] != piece.size:
                tensor = torch.from_numpy(cuts)
                tensor = functional.interpolate(tensor, piece.size, mode="bilinear", antialias=True)
                cuts = tensor.numpy()
            if self.dtype.kind != "f":
                limits = np.iinfo(self.dtype)
                cuts = np.clip(np.rint(cuts), limits.min, limits.max)
            pieces[mine] = cuts.astype(self.dtype)
        return pieces
