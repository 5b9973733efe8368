"""The declaration of a train/test split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


RETRIEVAL = ("nscb", "nsc", "map")
"""Metrics of a split without training."""
_RENAMED = {"sim/confounded": "sim/nested"}
"""Name -> former name. Former names are aliases; ids and seeds keep them, so records are found."""
_FORMER = {former: name for name, former in _RENAMED.items()}


def identity_name(name: str) -> str:
    """Return the name of a split in run ids and seeds: its first name, if it was renamed.

    ``name`` may be a derived split, which continues after ``~``.
    """
    base, mark, rest = name.partition("~")
    return f"{_RENAMED.get(base, base)}{mark}{rest}"


def current_name(name: str) -> str:
    """Return the present name of a split, or of a derived split, in a record."""
    base, mark, rest = name.partition("~")
    return f"{_FORMER.get(base, base)}{mark}{rest}"


@dataclass(frozen=True)
class Split:
    """Training and test sets, as column values of a data set's index.

    Attributes
    ----------
    name
        Canonical name such as ``coos7/test4`` or ``jump-moa-stains/stains``.
    dataset
        Name of the data set.
    shift
        One sentence: the difference between training and test data.
    task
        ``classify`` or ``retrieve``.
    metric
        Primary metric.
    score_unit
        ``row``, or a column of the index whose rows are averaged before scoring.
    hold_out
        A column: each of its values is the test set once. Excludes ``train``/``test``.
    train, validation, test
        Column name -> values; rows must match all columns. ``train=None`` with ``test`` set means
        all other rows. ``test="all"`` with ``protocol="unsupervised"`` means all rows.
    protocol
        ``supervised``, ``unsupervised`` or ``transfer``. With ``unsupervised``, all rows are
        corrected without labels and scored by retrieval. With ``transfer``, the first stage is
        trained on the training rows of another data set's split, with labels, and applied to all
        rows of this one unchanged. Later stages are fitted on these rows without labels, and scored
        by retrieval.
    source
        With ``transfer``: the name of the source split.
    channels
        With ``transfer``: channel of this data set -> matching channel of the source. By default
        the channels must have the same names.
    train_channels, test_channels
        Channel of each input of the network, for training and for test rows; ``none`` for an empty
        one. With ``transfer``, test channels are those of this data set. See
        :mod:`bench.data.channels`.
    aggregate
        Steps that aggregate rows for retrieval: ``COLUMN=mean`` or ``COLUMN=median``
        (element-wise), applied in order. If empty, the metric does the averaging.
    expose
        Columns that methods may see; printed with the result.
    metrics
        Further metrics to compute.
    shares
        Columns whose values may occur in both training and test (an in-distribution test).
    alias
        Alternative name.
    where
        Column name -> values: rows used by the split. All other rows are ignored.
    preprocess
        A profile method applied before every chain on this split, the same for all methods.
        It is part of their identities and tracks, but not of their names.
    also_new
        A column whose values must be new as well: ``"well"`` is the well position on the plate. The
        values are divided into groups, and each fold into one fold per group: rows of the group
        are scored, and labelled rows of the same values do not train. See
        :func:`bench.data.new_values.also_new_folds`.
    companion
        A split with the same training rows whose test rows come from the training batches, as in
        an ordinary hold-out. It is scored together with this split.
    cluster
        The batch level used as the cluster of confidence intervals. Default: the highest level
        that varies among the scored rows.
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
    also_new: str = ""
    train_channels: tuple[str, ...] = ()
    test_channels: tuple[str, ...] = ()
