"""The results folder of a call."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.core.folders import expanded
from bench.records.store import Store

if TYPE_CHECKING:
    from pathlib import Path


RESULTS = "BENCH_RESULTS"


def results_store(results: Path | str | None = None) -> Store:
    """Return the store of a results folder: ``results``, ``$BENCH_RESULTS`` or ``results/``."""
    return Store(expanded(results or os.environ.get(RESULTS) or "results"))
