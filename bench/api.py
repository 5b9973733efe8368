"""The contracts: all that a method, a data set or a metric imports.

A method sees :class:`Samples`, a *view* of some rows. What a method did not declare in its
:class:`Access` is not in the view, nor reachable from it by attributes. Views protect against
mistakes; they are no sandbox against code that reads files behind the harness's back.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bench.errors import AccessError, BenchError, NotApplicable, RunFailed
from bench.seeds import generator, seed_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd

__all__ = [
    "Access",
    "AccessError",
    "BenchError",
    "Context",
    "Dataset",
    "Method",
    "NotApplicable",
    "Opened",
    "Output",
    "RunFailed",
    "Samples",
    "Source",
    "Split",
    "generator",
    "make_params",
    "param",
    "seed_for",
    "track_of",
]

Strings = NDArray[np.str_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


class Access(enum.Flag):
    """What a method may see beyond the rows and labels of the training set.

    ``TRAIN_BATCH``
        the batch of each training row.
    ``TRAIN_WELL``
        which training rows come from the same well, under opaque names: no position.
    ``CONTROLS``
        which rows are negative controls, in every view that it gets.
    ``TEST_CONTROLS``
        the negative controls of the one test batch that is being corrected.
    ``TEST_BATCH``
        all unlabelled rows of the one test batch that is being corrected.
    ``ADAPT``
        the whole unlabelled evaluation set while fitting.
    """

    NONE = 0
    TRAIN_BATCH = enum.auto()
    TRAIN_WELL = enum.auto()
    CONTROLS = enum.auto()
    TEST_CONTROLS = enum.auto()
    TEST_BATCH = enum.auto()
    ADAPT = enum.auto()

    @property
    def words(self) -> list[str]:
        """The names in the spelling of the command line: ``test-batch``."""
        return [flag.name.lower().replace("_", "-") for flag in Access if flag in self]  # type: ignore[union-attr]

    @classmethod
    def parse(cls, words: list[str]) -> Access:
        """Read the words of a method's literal; raise :class:`BenchError` on an unknown one."""
        access = cls.NONE
        for word in words:
            try:
                access |= cls[word.upper().replace("-", "_")]
            except KeyError:
                known = ", ".join(cls(~cls.NONE).words)
                raise BenchError(f"unknown access '{word}'. Known: {known}.") from None
        return access


TRACKS = ("inductive", "test-controls", "test-batch", "transductive", "reference")


def track_of(access: Access) -> str:
    """Return the track of an access, the weakest claim that it forces."""
    if Access.ADAPT in access:
        return "transductive"
    if Access.TEST_BATCH in access:
        return "test-batch"
    if Access.TEST_CONTROLS in access:
        return "test-controls"
    return "inductive"


class Source(Protocol):
    """Reads the raw rows of an opened data set. Held by the harness, never by a method."""

    shape: tuple[int, ...]
    """Shape of one row: ``(C, H, W)`` of an image or ``(d,)`` of a profile."""
    dtype: np.dtype[Any]
    """``uint8``, ``uint16`` or ``float32``."""

    def read(self, rows: Ints) -> NDArray[Any]:
        """Return the rows, ``(k, *shape)`` in :attr:`dtype`, in the order asked for."""
        ...


class _Handle:
    """An opaque key into the private table of sources, so that a view holds no source.

    It has no attributes, not even a weak reference: the callback of one would lead to the table.
    """

    __slots__ = ()

    def __del__(self) -> None:
        _SOURCES.pop(id(self), None)

    def __copy__(self) -> _Handle:
        return self

    def __deepcopy__(self, memo: Any) -> _Handle:
        return self


_SOURCES: dict[int, tuple[Source, Ints]] = {}


def new_handle(source: Source, rows: Ints) -> _Handle:
    """Return a key to these rows of a source, for the harness; gone from the table with the key."""
    handle = _Handle()
    _SOURCES[id(handle)] = (source, rows)
    return handle


@dataclass(frozen=True, eq=False)
class Samples:
    """A view of some rows. Row order says nothing: it is a seeded shuffle.

    Attributes
    ----------
    ids
        ``(n,)`` opaque names, salted for each run.
    y
        ``(n,)`` int64 classes ``0 .. n_classes - 1``; -1 is withheld, or a row without a class
        (negative controls: part of the batch like any other row, but with no loss).
    batch
        ``(n,)`` opaque batch names at the level that the method acts on; ``""`` withheld.
    n_classes
        Number of classes of the task.
    shape
        Shape of one row: ``(C, H, W)`` for images, ``(d,)`` for profiles.
    X
        ``(n, d)`` float32 profiles (a table, or the output of an earlier stage), else None.
    exposed
        Columns that the split exposes on purpose; they are printed with the result.
    well
        ``(n,)`` opaque names of the wells of training rows, with ``TRAIN_WELL`` access, else None.
    """

    ids: Strings
    y: Ints
    batch: Strings
    n_classes: int
    shape: tuple[int, ...]
    X: Floats | None = None
    exposed: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    well: Strings | None = None
    _controls: Bools | None = field(default=None, repr=False)
    _handle: _Handle | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_images(self) -> bool:
        """Whether rows are images (read by :meth:`images`) rather than profiles (``X``)."""
        return self.X is None

    def images(self, idx: Ints, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return images ``(k, C, H, W)`` in the native dtype (uint8, uint16 or float32).

        Parameters
        ----------
        idx
            ``(k,)`` positions in this view.
        out
            Optional array to fill and return.

        Raises
        ------
        BenchError
            If the view holds profiles, not images.
        """
        if self._handle is None:
            raise BenchError("these samples are profiles: read .X, not .images()")
        source, rows = _SOURCES[id(self._handle)]
        pixels = source.read(rows[np.asarray(idx)])
        if out is None:
            return pixels
        out[...] = pixels
        return out

    def controls(self) -> Bools:
        """Return ``(n,)`` bool, true for negative controls.

        Raises
        ------
        AccessError
            If the method did not declare :attr:`Access.CONTROLS`.
        """
        if self._controls is None:
            raise AccessError(
                "which rows are negative controls was not declared: add 'controls' to the "
                "method's access"
            )
        return self._controls

    def take(self, idx: NDArray[Any]) -> Samples:
        """Return the view of the rows at ``idx``, ``(k,)`` positions or a boolean mask."""
        idx = np.asarray(idx)
        handle = None
        if self._handle is not None:
            source, rows = _SOURCES[id(self._handle)]
            handle = new_handle(source, rows[idx])
        return dataclasses.replace(
            self,
            ids=self.ids[idx],
            y=self.y[idx],
            batch=self.batch[idx],
            X=None if self.X is None else self.X[idx],
            exposed={name: column[idx] for name, column in self.exposed.items()},
            well=None if self.well is None else self.well[idx],
            _controls=None if self._controls is None else self._controls[idx],
            _handle=handle,
        )


@dataclass(frozen=True, eq=False)
class Output:
    """What a stage returns for a view: row ``i`` belongs to ``ids[i]``.

    Attributes
    ----------
    X
        ``(n, d)`` float32, finite: the profile. For a network the input of its last linear layer.
    logits
        ``(n, n_classes)`` float32 where the method has a classification head, else None.
    fallbacks
        Number of test batches that were smaller than the method's stated minimum and took its
        stated fallback.
    notes
        Sentences for the record, such as which step was left out.
    """

    X: Floats
    logits: Floats | None = None
    fallbacks: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Context:
    """What the harness hands to ``fit``.

    Attributes
    ----------
    seed
        The run's seed, already mixed with the address of this fit.
    recipe
        The resolved recipe: steps, batch_size, lr, network, standardise, ... (see
        ``bench.recipes``). Equal for all methods that are compared.
    device
        ``cpu`` or ``cuda``.
    scratch
        A folder for checkpoints, gone when the record is committed.
    log
        ``log(step, **scalars)`` adds a point to the record's curves.
    progress
        ``progress(done, total)`` moves the bar.
    """

    seed: int
    recipe: Mapping[str, Any]
    device: str = "cpu"
    scratch: Path | None = None
    log: Callable[..., None] = lambda step, **scalars: None
    progress: Callable[[int, int], None] = lambda done, total: None

    def generator(self, *address: str | int) -> np.random.Generator:
        """Return a generator for one purpose, such as ``ctx.generator("sampler")``."""
        return generator("context", self.seed, *address)


@runtime_checkable
class Method(Protocol):
    """A correction: one file, one class named in the ``class`` entry of the file's ``META``.

    The runner calls ``fit`` once for each training set and ``apply`` for the training rows and the
    evaluation rows; both are timed. A method gets labels in ``fit`` alone.

    ``apply`` is deterministic and leaves the method unchanged. If the method declares
    ``TEST_BATCH`` or ``TEST_CONTROLS``, each call holds all rows of exactly one batch; otherwise
    it holds a seeded random mixture of rows, and what it returns for a row must not depend on the
    other rows of the call.
    """

    Params: ClassVar[type]
    """A frozen dataclass of :func:`param` fields."""

    def __init__(self, params: Any) -> None: ...

    @classmethod
    def access(cls, params: Any) -> Access:
        """Return what the method needs to see with these parameters."""
        ...

    def fit(self, train: Samples, adapt: Samples | None, ctx: Context) -> None:
        """Learn from the training view; ``adapt`` is the evaluation view if ADAPT is declared."""
        ...

    def apply(self, samples: Samples) -> Output:
        """Return profiles, and logits if there is a head, for the rows of the view."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was learned, as arrays."""
        ...

    @classmethod
    def from_state(cls, params: Any, state: Mapping[str, NDArray[Any]]) -> Method:
        """Rebuild a fitted method."""
        ...


# --------------------------------------------------------------------------- parameters


def param(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    choices: tuple[Any, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    pattern: str | None = None,
    search: tuple[Any, ...] | None = None,
    log: bool = False,
    phase: str = "fit",
) -> Any:
    """Return a dataclass field of a method's ``Params``.

    Parameters
    ----------
    default
        The default; its type (bool, int, float or str) is the parameter's type.
    doc
        One sentence for ``show method``.
    unit
        Physical unit or kind of count, such as ``images``.
    choices
        All values allowed, for a string.
    low, high
        Inclusive range, for a number.
    pattern
        Regular expression that a string must match in full.
    search
        What ``tune`` explores: ``(low, high)`` for a number, the values for a string or bool;
        None is not tuned.
    log
        Whether ``tune`` samples the logarithm.
    phase
        ``fit`` if a change needs a new fit, ``apply`` if it does not.
    """
    if phase not in ("fit", "apply"):
        raise ValueError(f"phase is 'fit' or 'apply', not {phase!r}")
    meta = {
        "doc": doc,
        "unit": unit,
        "choices": choices,
        "low": low,
        "high": high,
        "pattern": pattern,
        "search": search,
        "log": log,
        "phase": phase,
    }
    return field(default=default, metadata=meta)


def _convert(owner: str, name: str, text: Any, default: Any) -> Any:
    kind = type(default)
    try:
        if kind is bool:
            words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
            return words[str(text).lower()]
        if kind is int and isinstance(text, float) and not text.is_integer():
            raise ValueError
        return kind(text)
    except (ValueError, KeyError, TypeError, OverflowError):
        noun = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise BenchError(f"{owner}.{name} takes {noun}, not '{text}'") from None


def make_params(owner: str, params_class: type, values: Mapping[str, Any]) -> Any:
    """Build a ``Params`` from text or typed values, checking names, types and ranges.

    Parameters
    ----------
    owner
        Name of the method, for messages.
    params_class
        A frozen dataclass whose fields come from :func:`param`.
    values
        Values by field name; strings are converted to the field's type.

    Raises
    ------
    BenchError
        For an unknown key, a value of the wrong type, or one out of range.
    """
    from bench.errors import did_you_mean

    fields = {f.name: f for f in dataclasses.fields(params_class)}
    made: dict[str, Any] = {}
    for key, text in values.items():
        if key not in fields:
            if not fields:
                raise BenchError(f"{owner} has no parameters, so '{key}' cannot be set")
            raise BenchError(did_you_mean(key, list(fields), f"parameter of {owner}"))
        meta, default = fields[key].metadata, fields[key].default
        value = _convert(owner, key, text, default)
        choices, low, high = meta["choices"], meta["low"], meta["high"]
        if choices is not None and value not in choices:
            known = " | ".join(map(str, choices))
            raise BenchError(f"{owner}.{key} is one of {known}, not '{value}'")
        if meta["pattern"] is not None and not re.fullmatch(meta["pattern"], value):
            raise BenchError(f"{owner}.{key} must look like {meta['pattern']}, not '{value}'")
        if isinstance(value, float) and not np.isfinite(value):
            raise BenchError(f"{owner}.{key} must be finite, not '{text}'")
        if (low is not None and value < low) or (high is not None and value > high):
            span = f"{'' if low is None else low} .. {'' if high is None else high}"
            raise BenchError(f"{owner}.{key} lies in {span}, not {value}")
        made[key] = value
    return params_class(**made)


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
    settings: Mapping[str, Any] = field(default_factory=dict)
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

    def __init__(self, settings: Any) -> None: ...

    def editions(self) -> list[str]:
        """Return the editions that can be opened on this machine now, best first."""
        ...

    def open(self, edition: str) -> Opened:
        """Open an edition quickly and without reading all pixels."""
        ...


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
