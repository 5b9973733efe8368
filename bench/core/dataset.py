"""Interface of data sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd

    from bench.core.samples import Source
    from bench.core.types import Strings


@dataclass(frozen=True, eq=False)
class Opened:
    """A data set opened in one edition.

    Attributes
    ----------
    index
        One row per sample, in file order. Columns: ``id`` (unique str), ``label`` (str; ``""`` for
        rows without a class), ``control`` (bool), and as str columns every batch level, ``well``,
        ``position``, ``treatment``, ``compound`` and other metadata.
    source
        Reads the rows; row ``i`` of ``index`` is row ``i`` of the source.
    levels
        Batch levels, smallest first: names of columns of ``index``.
    level
        The default batch level for methods.
    edition
        ``real``, ``simulated`` or ``fixture``.
    digest
        Content digest of the data (hex), from the SHA-256 of the files, not their paths.
    upstream
        Description of upstream preprocessing.
    settings
        Non-default parameters of the data (such as replicate and strength of a simulator). They are
        part of the identity of every run.
    columns
        Roles of columns: ``treatment``, ``compound``, ``nscb_batch``, ``well``, ``position``,
        ``pixel``: the pixel size of each image in um, if images differ in it, ``entity``: what
        annotated relationships name, ``cell_count``: the number of cells, and ``kind``: the
        column with ``treatment`` for treated rows and another value for controls.
    control_classes
        Whether controls are classes of the data set. They then keep their labels and are trained on
        and scored. The control mask is then a label, so runs that use it are scored on the
        treatment classes only.
    notes
        Remarks for every record, such as the number of missing images.
    cautions
        Batch level -> a remark for the record of every run that acts on that level, such as what a
        batch reveals about its classes.
    features
        Names of the features of a table, in order; empty for images or if unknown.
    channels
        Names of the image channels, in order; empty if unknown.
    pixel
        Pixel size in the sample, um; 0 if it is unknown or if the column ``pixel`` has it.
    content
        Returns ``(n,)`` digests of the rows' values. Equal rows have equal digests; the audit uses
        them to find duplicates between training and test. None if computing them requires reading
        all data.
    relationships
        Files of annotated relationships between entities (column with the role ``entity``).
    licence
        Licence of the data; empty if unknown, and for data that are written here.
    known_as
        Name used for the rows in identities and seeds, if different. A table has one fit, whether
        it is opened by its registered name or by its TOML file.
    """

    name: str
    index: pd.DataFrame
    source: Source
    levels: tuple[str, ...]
    level: str
    edition: str
    digest: str
    upstream: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    control_classes: bool = False
    notes: tuple[str, ...] = ()
    cautions: Mapping[str, str] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    pixel: float = 0.0
    content: Callable[[], Strings] | None = None
    relationships: tuple[Path, ...] = ()
    known_as: str = ""
    licence: str = ""

    @property
    def is_images(self) -> bool:
        """Whether a row is an image."""
        return len(self.source.shape) == 3

    @property
    def has_controls(self) -> bool:
        """Whether any row is a negative control."""
        return bool(self.index["control"].any())


@runtime_checkable
class Dataset(Protocol):
    """A data set: one file in ``datasets/``, with its class named in the file's ``META``.

    If splits use different files, a data set may also define ``open_split(edition, split)``. It
    returns the same as ``open`` except for rows that the split does not use, and is called instead
    of ``open``. Splits with the same digest share the opened data set.
    """

    Settings: ClassVar[type]
    """A frozen dataclass of :func:`param` fields (simulator parameters); empty for most."""

    def __init__(self, settings: object) -> None: ...

    def editions(self) -> list[str]:
        """Return the editions available on this machine, in order of preference."""
        ...

    def open(self, edition: str) -> Opened:
        """Open an edition without reading all pixels."""
        ...
