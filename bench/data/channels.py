"""Images with other channels in test rows than in training rows.

A network has a fixed number of input channels, the slots. A split names the channel in each slot
for training and for test:

.. code-block:: toml

    train_channels = ["nucleus", "ER", "actin"]
    test_channels = ["nucleus", "none", "actin"]     # the test images lack the marker ER

    train_channels = ["nucleus", "ER"]
    test_channels = ["nucleus", "actin"]             # actin was never seen in training

A slot ``none`` is 0 in all pixels. A network that treats channels alike, such as
:func:`bench.training.per_channel.network`, can leave it out.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from bench.core.canonical import canonical_json
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.samples import Source
    from bench.core.split import Split
    from bench.core.types import Array, Bools, DType, Ints

NONE = "none"
"""Name of an empty slot."""
BLANK = -1


class Slots:
    """Source of rows with the channels of their slots; has ``shape`` and ``dtype``.

    Parameters
    ----------
    source
        Images ``(n, C, H, W)``.
    train, test
        Channel of each slot, :data:`BLANK` for an empty one.
    tested
        ``(n,)`` which rows get the slots of ``test``.
    """

    def __init__(
        self, source: Source, train: Sequence[int], test: Sequence[int], tested: Bools
    ) -> None:
        self._source, self._tested = source, tested
        self._order = {False: list(train), True: list(test)}
        self.shape: tuple[int, ...] = (len(train), *source.shape[1:])
        self.dtype: DType = np.dtype(source.dtype)

    def read(self, rows: Ints) -> Array:
        """Return images ``(k, n_slots, H, W)`` in the dtype of the data set."""
        rows = np.asarray(rows, dtype=np.int64)
        images = self._source.read(rows)
        result = np.zeros((len(rows), *self.shape), self.dtype)
        for tested, order in self._order.items():
            own = np.flatnonzero(self._tested[rows] == tested)
            for slot, channel in enumerate(order):
                if channel != BLANK:
                    result[own, slot] = images[own, channel]
        return result


def positions(names: Sequence[str], data: Opened, where: str) -> list[int]:
    """Return the position of each named channel, :data:`BLANK` for ``none``.

    Raises
    ------
    BenchError
        If the data set has no such channel, or its channels have no names.
    """
    shape = data.source.shape
    if not data.is_images or len(data.channels) != shape[0]:
        what = "has profiles" if not data.is_images else f"does not name its {shape[0]} channels"
        raise BenchError(f"split '{where}': {data.name} {what}: leave train_channels out")
    known = [*data.channels, NONE]
    for name in names:
        if name not in known:
            raise BenchError(f"split '{where}': {did_you_mean(name, known, 'channel')}")
    return [BLANK if name == NONE else data.channels.index(name) for name in names]


def in_slots(data: Opened, names: Sequence[str], called: Sequence[str], where: str) -> Opened:
    """Return images with the named channels, which are then called otherwise.

    Used for transfers between data sets with unequal channels. A data set that has exactly these
    channels is returned unchanged.

    Raises
    ------
    BenchError
        As :func:`positions`.
    """
    slots = positions(names, data, where)
    if tuple(names) == tuple(called) == data.channels:
        return data
    everything = np.ones(len(data.index), bool)
    text = canonical_json([data.digest, list(names)])
    return dataclasses.replace(
        data,
        source=Slots(data.source, slots, slots, everything),
        digest=hashlib.sha256(text.encode()).hexdigest(),
        channels=tuple(called),
        content=None,
    )


def with_slots(data: Opened, split: Split, test: Ints) -> Opened:
    """Return images with the channels that a split gives to training and test rows.

    Parameters
    ----------
    data
        Images with named channels.
    split
        A split with ``train_channels`` and ``test_channels``.
    test
        Its test rows.

    Raises
    ------
    BenchError
        As :func:`positions`.
    """
    train_slots = positions(split.train_channels, data, split.name)
    test_slots = positions(split.test_channels, data, split.name)
    tested = np.zeros(len(data.index), bool)
    tested[test] = True
    ids = data.index["id"].to_numpy(str)
    text = canonical_json([data.digest, list(split.train_channels), list(split.test_channels)])
    digest = hashlib.sha256(text.encode())
    digest.update("\n".join(sorted(ids[tested].tolist())).encode())
    pairs = ", ".join(
        f"{before} becomes {after}"
        for before, after in zip(split.train_channels, split.test_channels, strict=True)
        if before != after
    )
    return dataclasses.replace(
        data,
        source=Slots(data.source, train_slots, test_slots, tested),
        digest=digest.hexdigest(),
        channels=split.train_channels,
        notes=(*data.notes, f"channels of the test images: {pairs}"),
    )
