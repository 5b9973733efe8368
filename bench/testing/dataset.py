"""Conformance checks of a data set."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.dataset import Opened
from bench.core.errors import BenchError
from bench.core.params import make_params
from bench.core.registry import registry_with
from bench.core.seeds import generator
from bench.testing.synthetic import (
    Broken,
    Check,  # TC
    Report,
    call_checked,
    check_texts,
    raise_failed,
)

if TYPE_CHECKING:
    from pathlib import Path

    from bench.core.registry import Registry
    from bench.core.types import Facts, JsonObject


CHUNK = 4096
"""Number of rows read at a time."""


def check_dataset(
    dataset: str | type,
    *,
    edition: str | None = None,
    settings: Facts | None = None,
    plugins: tuple[Path | str, ...] = (),
    registry: Registry | None = None,
    raises: bool = True,
) -> list[Check]:
    """Check that a data set follows the interface, by reading some of its rows.

    Parameters, result and errors are those of :func:`check_method`, and:

    Parameters
    ----------
    edition
        The edition to open. Default: the first one available.
    settings
        Settings of the data set, such as simulator parameters.
    """
    if isinstance(dataset, str):
        registry = registry or registry_with(plugins)
        entry = registry.entry("dataset", dataset)
        cls, meta = entry.load(), dict(entry.meta)
    else:
        cls = dataset
        meta = dict(getattr(sys.modules.get(cls.__module__), "META", {}) or {})
    checks = _DatasetChecks(cls, meta, edition, dict(settings or {})).run()
    return raise_failed(checks, str(meta.get("name") or cls.__name__), raises)


class _DatasetChecks:
    def __init__(
        self, cls: Any, meta: JsonObject, edition: str | None, settings: JsonObject
    ) -> None:
        self.cls, self.meta, self.edition, self.settings = cls, meta, edition, settings
        self.report = Report()
        self.dataset: Any = None
        self.opened: Any = None

    def run(self) -> list[Check]:
        look = self.report.look
        look("META", self._meta)
        if look("editions", self._editions) and look("open", self._open):
            look("index", self._index)
            look("rows", self._rows)
            look("digest", self._digest)
        return self.report.checks

    def _meta(self) -> None:
        from bench.core.meta import check_meta

        try:
            check_meta(self.meta, self.cls.__name__)
        except BenchError as error:
            raise Broken(str(error)) from None
        if self.meta["kind"] != "dataset" or self.meta["class"] != self.cls.__name__:
            raise Broken(f"kind must be 'dataset' and class '{self.cls.__name__}'")
        check_texts(self.meta, ("summary", "reference", "licence"))
        for key in ("editions", "levels"):
            if not self.meta.get(key):
                raise Broken(f"'{key}' is missing: it must be a non-empty list")

    def _editions(self) -> None:
        settings = make_params("data", self.cls.Settings, self.settings)
        self.dataset = self.cls(settings)
        there = call_checked("editions", self.dataset.editions)
        unknown = set(there) - {"real", "simulated", "fixture"}
        if unknown or not set(there) <= set(self.meta.get("editions") or there):
            raise Broken(f"editions() returned {there}: real, simulated, fixture, as META lists")
        if not there:
            raise Broken("no edition is available: move the files to the folder of the data set")
        self.edition = self.edition or there[0]

    def _open(self) -> None:
        self.opened = call_checked("open", lambda: self.dataset.open(self.edition))
        if not isinstance(self.opened, Opened):
            raise Broken(f"open() returned a {type(self.opened).__name__}, not Opened")
        if self.opened.edition != self.edition:
            raise Broken(f"open('{self.edition}') returned the edition {self.opened.edition}")
        if not self.opened.levels or self.opened.level not in self.opened.levels:
            raise Broken("level must be one of levels, the batch levels, smallest first")

    def _index(self) -> None:
        index = self.opened.index
        for name in ("id", "label", "control", *self.opened.levels):
            if name not in index.columns:
                raise Broken(f"the index has no column '{name}'")
        if not len(index):
            raise Broken("the index has no rows")
        if index["id"].duplicated().any():
            raise Broken(f"the id {index['id'][index['id'].duplicated()].iloc[0]} occurs twice")
        if index["control"].dtype != bool:
            raise Broken("the column 'control' must be bool")
        for name in ("id", "label", *self.opened.levels):
            if not all(isinstance(value, str) for value in index[name]):
                raise Broken(f"the column '{name}' must contain str, '' if there is no value")
        if (index["label"][~index["control"]] != "").sum() == 0:
            raise Broken("no row has a label")
        for role, column in self.opened.columns.items():
            if column not in index.columns:
                raise Broken(f"the role '{role}' is column '{column}', which does not exist")

    def _rows(self) -> None:
        source, n = self.opened.source, len(self.opened.index)
        if source.dtype not in (np.uint8, np.uint16, np.float32) or len(source.shape) not in (1, 3):
            raise Broken(
                "rows are (C, H, W) or (d,) of uint8, uint16 or float32, not "
                f"{source.shape} {source.dtype}"
            )
        rows = generator("check", "rows").integers(0, n, 16)
        rows[:2] = 0, n - 1
        values = call_checked("read", lambda: source.read(rows))
        if values.shape != (len(rows), *source.shape) or values.dtype != source.dtype:
            raise Broken(
                f"read() of {len(rows)} rows returned {values.shape} {values.dtype}, expected "
                f"{(len(rows), *source.shape)} {source.dtype}"
            )
        if not np.isfinite(values.astype(np.float64)).all():
            raise Broken("some values are not finite")
        singly = [call_checked("read", partial(source.read, rows[k : k + 1])) for k in (0, 1)]
        turned = call_checked("read", partial(source.read, rows[::-1].copy()))
        if not np.array_equal(turned[::-1], values) or not all(
            np.array_equal(row[0], values[number]) for number, row in enumerate(singly)
        ):
            raise Broken("read() must return rows in the requested order, including repeated rows")
        if len(call_checked("read", lambda: source.read(rows[:0]))):
            raise Broken("read() of no rows must return none")
        for start in range(0, n, CHUNK) if source.dtype == np.float32 else ():
            chunk = np.arange(start, min(start + CHUNK, n))
            finite = np.isfinite(source.read(chunk)).reshape(len(chunk), -1).all(axis=1)
            if not finite.all():
                first = self.opened.index["id"].iloc[start + int(np.argmin(finite))]
                raise Broken(f"row '{first}' has values that are NaN or infinite: drop or fill it")

    def _digest(self) -> None:
        again = call_checked("open", lambda: self.cls(self.dataset_settings()).open(self.edition))
        if not self.opened.digest or again.digest != self.opened.digest:
            raise Broken("the digest must be a hex string that depends on the content only")
        if list(again.index["id"]) != list(self.opened.index["id"]):
            raise Broken("opening the data set again returns other rows")

    def dataset_settings(self) -> Any:
        return make_params("data", self.cls.Settings, self.settings)
