"""The contract of a data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from bench.core.samples import Source
    from bench.core.types import Strings

__all__ = ["Dataset", "Opened"]


# --------------------------------------------------------------------------- data


@dataclass(frozen=True, eq=False)
class Opened:
    """A data set that was opened in one edition.

    Attributes
    ----------
    index
        One row a sample, in file order. Columns: ``id`` (unique str), ``label`` (str; ``""`` for
        rows without a class), ``control`` (bool), and every batch level, ``well``, ``position``,
        ``treatment``, ``compound`` and other metadata as str columns.
    source
        Reads the rows; row ``i`` of ``index`` is row ``i`` of the source.
    levels
        Batch levels, smallest first: names of columns of ``index``.
    level
        The default level that methods act on.
    edition
        ``real``, ``simulated`` or ``fixture``.
    digest
        Content digest of the data (hex): of the files' sha256, not of their paths.
    upstream
        Processing that the data already had, in words.
    settings
        Parameters of the data themselves that differ from their defaults (a simulator's draw and
        strength): part of the identity of every run.
    columns
        Roles of columns: ``treatment``, ``compound``, ``nscb_batch``, ``well``, ``position``, and
        ``kind``: the column that says ``treatment`` for a treated row and something else for a
        control.
    control_classes
        Whether the data set publishes its controls as classes: they keep their labels, are trained
        on and scored. The control mask is then a label, and a run that used it is scored on the
        treatment classes alone.
    notes
        Sentences for every record, such as how many images were not there.
    cautions
        Batch level -> a sentence for the record of every run that acts on that level, such as what
        a batch gives away about its classes.
    channels
        Names of the channels of an image, in their order; empty where they are not known.
    pixel
        Size of a pixel in the sample, um; 0 where it is not known.
    content
        Returns ``(n,)`` digests of the rows' values, equal where two rows are: what the audit looks
        for on both sides of a split. None where it is not known without reading everything.
    known_as
        The name under which the same rows enter identities and seeds, where it is another one: a
        table has one fit, whether it is opened by its registered name or by its TOML file.
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
    channels: tuple[str, ...] = ()
    pixel: float = 0.0
    content: Callable[[], Strings] | None = None
    known_as: str = ""

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
    """A data set: one file in ``datasets/``, one class named in the file's ``META``.

    A data set whose splits rest on different files may also have ``open_split(edition, split)``,
    which returns what ``open`` returns but for the rows that no side of this split names. It is
    then called in place of ``open``; splits for which it returns the same digest share what was
    opened.
    """

    Settings: ClassVar[type]
    """A frozen dataclass of :func:`param` fields (a simulator's knobs); empty for most."""

    def __init__(self, settings: object) -> None: ...

    def editions(self) -> list[str]:
        """Return the editions that can be opened on this machine now, best first."""
        ...

    def open(self, edition: str) -> Opened:
        """Open an edition quickly and without reading all pixels."""
        ...
