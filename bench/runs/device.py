"""Runs: a job becomes a record, found on disk or made and committed."""

from __future__ import annotations

import os
from collections.abc import Callable

from bench.core.errors import BenchError

Say = Callable[[str], None]
THREADS = "BENCH_THREADS"


def threads() -> int:
    """Return the number of threads of a fit: ``$BENCH_THREADS``, else all cores up to 8."""
    text = os.environ.get(THREADS, "")
    if not text:
        return min(os.cpu_count() or 1, 8)
    if not text.isdigit() or int(text) < 1:
        raise BenchError(f"${THREADS} is '{text}': set it to a whole number of at least 1")
    return int(text)
