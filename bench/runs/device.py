"""Number of CPU threads of a fit."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from bench.core.errors import BenchError

Say = Callable[[str], None]
THREADS = "BENCH_THREADS"
DEFAULT_THREADS = 1


def threads() -> int:
    """Return the number of threads of a fit: ``$BENCH_THREADS``, or 1 by default.

    One thread gives bit-identical results on machines with different numbers of cores. It also
    avoids slowdowns on busy machines, where two threads that wait for each other are slower
    than one.

    Raises
    ------
    BenchError
        If the variable is not an integer of at least 1.
    """
    text = os.environ.get(THREADS, "")
    if not text:
        return DEFAULT_THREADS
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) < 1:
        raise BenchError(f"${THREADS} is '{text}': set it to a whole number of at least 1")
    return int(text)
