"""The results folder of a call, and all records in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.core.folders import expanded
from bench.records.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.record import Record

__all__ = ["load_records", "results_store"]

RESULTS = "BENCH_RESULTS"


def results_store(results: Path | str | None = None) -> Store:
    """Return the store of a results folder: ``results``, ``$BENCH_RESULTS`` or ``results/``.

    Parameters
    ----------
    results
        The folder; it is created if needed.
    """
    return Store(expanded(results or os.environ.get(RESULTS) or "results"))


def load_records(results: Path | str | None = None, *, reference: bool = False) -> list[Record]:
    """Return all records of a results folder, sorted by run id.

    Parameters
    ----------
    results
        The folder. Default: ``$BENCH_RESULTS`` if set, otherwise ``results``.
    reference
        Include the published records in its subfolder ``reference``.

    Raises
    ------
    BenchError
        If a record is damaged or the folder cannot be read.
    """
    return results_store(results).load_all(reference)
