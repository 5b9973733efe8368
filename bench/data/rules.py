"""Checks of a split declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from bench.core.split import Split

    pass


Texts = NDArray[np.object_]

_TASKS = ("classify", "retrieve")
_PROTOCOLS = ("supervised", "unsupervised", "transfer")
_STEPS = ("mean", "median")
WHOLE = "all"


def check_split(split: Split) -> Split:  # noqa: PLR0912 - one branch per rule
    """Return the split; raises :class:`BenchError` if its fields contradict each other."""
    where = f"split '{split.name}'"
    if not split.shift.strip():
        raise BenchError(
            f'{where} does not say what differs between train and test: add shift = "…"'
        )
    if split.task not in _TASKS:
        raise BenchError(f"{where}: " + did_you_mean(split.task, list(_TASKS), "task"))
    if split.protocol not in _PROTOCOLS:
        raise BenchError(f"{where}: " + did_you_mean(split.protocol, list(_PROTOCOLS), "protocol"))
    if split.where is not None and (not split.where or not all(split.where.values())):
        raise BenchError(f'{where}: where is empty: write where = {{ COLUMN = ["value"] }}')
    hidden = [name for name in split.expose if name in ("label", "id", "control")]
    if hidden:
        raise BenchError(f"{where} exposes '{hidden[0]}': take it out of expose")
    if split.protocol != "transfer" and (split.source or split.channels):
        raise BenchError(f'{where} names source or channels, which need protocol = "transfer"')
    if len(split.train_channels) != len(split.test_channels):
        raise BenchError(
            f"{where}: train_channels and test_channels must be of one length: write none for a "
            "channel that is absent"
        )
    if split.train_channels and split.channels:
        raise BenchError(f"{where}: channels and train_channels exclude each other: keep one")
    if split.train_channels and (split.hold_out or split.protocol == "unsupervised"):
        raise BenchError(
            f"{where}: train_channels need one set of training and of test rows: write train and "
            "test instead of hold_out"
        )
    if split.aggregate and split.protocol == "supervised":
        raise BenchError(f"{where}: aggregate is for retrieval; name a score_unit instead")
    for step in split.aggregate:
        if step.rpartition("=")[2] not in _STEPS or not step.rpartition("=")[0]:
            raise BenchError(
                f"{where}: a step of aggregate is COLUMN=mean or COLUMN=median, not '{step}'"
            )
    if split.protocol == "transfer" and not split.source:
        raise BenchError(
            f'{where} does not say what the encoder is trained on: add source = "DATASET/SPLIT"'
        )
    if split.also_new and split.protocol != "supervised":
        raise BenchError(f"{where}: also_new needs a training set: leave it or protocol out")
    if split.also_new and split.also_new in ("label", "id", "control", split.hold_out):
        raise BenchError(
            f"{where}: also_new cannot be '{split.also_new}': name a further column, or \"well\""
        )
    if split.protocol != "supervised":
        if split.hold_out or split.train or split.validation or split.test != WHOLE:
            raise BenchError(
                f"{where} is {split.protocol}, which takes all rows: write test = "
                '"all" and leave out hold_out, train and validation'
            )
        return split
    if split.hold_out is not None:
        if split.train or split.validation or split.test:
            raise BenchError(
                f"{where} has hold_out, which defines training and test rows: leave out "
                "train, validation and test, or leave out hold_out"
            )
        return split
    if split.test is None:
        raise BenchError(
            f'{where} says nothing about the test rows: add hold_out = "COLUMN" or '
            'test = { COLUMN = ["value"] }'
        )
    if isinstance(split.test, str):
        raise BenchError(
            f'{where} has test = "{split.test}", which needs protocol = "unsupervised"; to test on '
            'some rows write test = { COLUMN = ["value"] }'
        )
    for partition in ("train", "validation", "test"):
        table = getattr(split, partition)
        if table is not None and not table:
            raise BenchError(
                f'{where}: {partition} is empty: write {partition} = {{ COLUMN = ["value"] }}'
            )
        for column, values in (table or {}).items():
            if not values:
                raise BenchError(f"{where}: {partition}.{column} is empty: name at least one value")
    return split
