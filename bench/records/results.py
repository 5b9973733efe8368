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
    """Return the store of a results folder: ``results``, ``$BENCH_RESULTS`` or ``results/``.

    A URL such as ``s3://bucket/folder`` is a folder of an object store.
    """
    text = str(results or os.environ.get(RESULTS) or "results")
    if "://" not in text:
        return Store(expanded(text))
    from bench.core.objects import path_of_url
    from bench.records.remote import RemoteStore

    path = path_of_url(text)
    return RemoteStore(text) if path is None else Store(path)
