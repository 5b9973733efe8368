"""Names and seeds, as in calls from Python and on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable


MAX_SEEDS = 1000


def names(texts: str | Iterable[str], option: str) -> list[str]:
    """Return the names of ``"A,B"`` or ``["A", "B"]``, each once.

    Raises
    ------
    BenchError
        If there is none. The message starts with ``option``.
    """
    parts = [texts] if isinstance(texts, str) else list(texts)
    result = [name.strip() for text in parts for name in text.split(",") if name.strip()]
    if not result:
        raise BenchError(f"{option} is empty: specify one name, or several separated by commas")
    return list(dict.fromkeys(result))


def seed_list(seeds: int | Iterable[int]) -> list[int]:
    """Return the seeds 0 to N - 1 of a number N, or the given seeds, each once.

    Raises
    ------
    BenchError
        If N is not from 1 to :data:`MAX_SEEDS`.
    """
    if not isinstance(seeds, int):
        return list(dict.fromkeys(seeds))
    if not 1 <= seeds <= MAX_SEEDS:
        raise BenchError(f"--seeds takes an integer from 1 to {MAX_SEEDS}, not {seeds}")
    return list(range(seeds))
