"""The declaration of a train/test split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["Split"]


@dataclass(frozen=True)
class Split:
    """What is trained on and what is tested on, as column values of a data set's index.

    Attributes
    ----------
    name
        Canonical name such as ``coos7/test4`` or ``jump-moa-stains/stains``.
    dataset
        Name of the data set.
    shift
        A sentence: what differs between train and test.
    task
        ``classify`` or ``retrieve``.
    metric
        Primary metric.
    score_unit
        ``row``, or a column of the index whose rows are averaged before scoring.
    hold_out
        A column: each of its values once as test. Excludes ``train``/``test``.
    train, validation, test
        Column name -> values; a row belongs if all columns match. ``train=None`` with ``test``
        given is "all other rows"; ``test="all"`` with ``protocol="unsupervised"`` is every row.
    protocol
        ``supervised``, or ``unsupervised``: no labels, correct all rows, score retrieval; or
        ``transfer``: the first stage is trained on the training rows of another data set's split,
        with their labels, and taken to all rows of this one as it is; later stages are fitted on
        these, without labels, and retrieval is scored.
    source
        With ``transfer``: the name of that split.
    channels
        With ``transfer``: channel of this data set -> channel of the other that it stands for.
        Without it the channels must have the same names.
    aggregate
        How rows become what retrieval is scored on: ``COLUMN=mean`` or ``COLUMN=median``
        (element-wise), one step after another; none leaves averaging to the metric.
    expose
        Columns handed to methods on purpose; printed with the result.
    metrics
        Further metrics to compute.
    shares
        Columns whose values may occur on both sides, declared (an in-distribution test).
    alias
        Another name.
    where
        Column name -> values: the rows that take part at all; the others are on neither side.
    preprocess
        A profile method that stands at the head of every chain on this split, the same for all
        that are compared: part of their identities and of their track, not of their names.
    companion
        A split with the same training rows whose test rows come from the training batches: what an
        ordinary hold-out would have reported. Scored beside this one.
    cluster
        The batch level whose values intervals are made over; by default the highest level that
        varies among the scored rows.
    """

    name: str
    dataset: str
    shift: str
    task: str = "classify"
    metric: str = "balanced_accuracy"
    score_unit: str = "row"
    hold_out: str | None = None
    train: Mapping[str, tuple[str, ...]] | None = None
    validation: Mapping[str, tuple[str, ...]] | None = None
    test: Mapping[str, tuple[str, ...]] | str | None = None
    protocol: str = "supervised"
    expose: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    alias: str = ""
    companion: str = ""
    cluster: str = ""
    source: str = ""
    channels: Mapping[str, str] | None = None
    aggregate: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] | None = None
    preprocess: str = ""
