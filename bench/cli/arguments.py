"""Resolve arguments of the command line: names, seeds, splits, runs and data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.runs.arguments import MAX_SEEDS, names, seed_list

if TYPE_CHECKING:
    from bench.records.record import Record
    from bench.records.store import Store

__all__ = ["find_run", "names", "seeds"]


def seeds(seed: str | None, n_seeds: str | None, default: int | None = None) -> list[int] | None:
    """Return the seeds of ``--seed N`` or ``--seeds N``.

    Parameters
    ----------
    default
        Number of seeds without either; None leaves the choice to each split.

    Raises
    ------
    BenchError
        If both are given, or one is out of range.
    """
    if seed is not None and n_seeds is not None:
        raise BenchError(
            "use either --seed or --seeds: --seed 3 runs seed 3, --seeds 3 runs seeds 0 to 2"
        )
    if n_seeds is not None:
        if not _digits(n_seeds):
            raise BenchError(f"--seeds takes an integer from 1 to {MAX_SEEDS}, not '{n_seeds}'")
        return seed_list(int(n_seeds))
    if seed is None:
        return None if default is None else seed_list(default)
    if not _digits(seed):
        raise BenchError(f"--seed takes an integer of up to nine digits, not '{seed}'")
    return [int(seed)]


def _digits(text: str) -> bool:
    """Whether it is an integer from 0 to 10^9 - 1; ``"²".isdigit()`` is true, too."""
    return text.isascii() and text.isdigit() and len(text) <= 9


def find_run(prefix: str, store: Store) -> Record:
    """Return the record whose run id starts with ``prefix``, published records included.

    Raises
    ------
    BenchError
        If there is none, or more than one.
    """
    matches = [
        record
        for record in store.load_all(reference=store.reference.is_dir())
        if record.run_id.startswith(prefix)
    ]
    if not matches:
        raise BenchError(
            f"no run id in {store.root} starts with '{prefix}': `run --json` prints run_id"
        )
    if len({record.run_id for record in matches}) > 1:
        raise BenchError(
            f"{len(matches)} run ids start with '{prefix}': type more characters of the run_id"
        )
    return matches[0]
