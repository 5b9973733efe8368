"""The baseline of each method, and its difference to that baseline.

One rule for leaderboards, ``compare``, ``recommend`` and studies:

* a correction in a chain is compared with its first stage if that is uncorrected (``erm+tvn`` with
  ``erm``, ``identity+tvn`` with ``identity``), otherwise with plain training (``ben+tvn`` with
  ``erm``);
* a correction of a table that returns fewer components (:data:`REDUCED`) is compared with the
  uncorrected table in as many components;
* a method that names another method under ``against`` in its META is compared with that one;
* all other networks are compared with ``erm``, profile methods and classifiers with ``identity``.

If a baseline has no row, the next one in the rule is used: ``pca``, ``identity``, ``erm``.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from bench.boards.board import MIN_SEEDS, Row  # TC
from bench.boards.pairing import pair
from bench.boards.stats.tests import holm
from bench.core.control_names import is_control_row
from bench.core.meta import with_defaults
from bench.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bench.boards.pairing import Paired
    from bench.core.meta import Meta


BASELINES = ("identity", "pca", "pca-100", "erm")
"""Rows without a correction."""
REDUCED = {
    "harmony": "pca",
    "harmony-map": "pca",
    "harmony2": "pca",
    "mnn": "pca",
    "scanorama": "pca-100",
    "scvi": "pca",
    "sysvi": "pca",
}
"""Correction that returns fewer columns -> the uncorrected table in about as many components."""
ALPHA = 0.05
"""Family-wise level of the verdicts of a board."""
IMPROVES, WORSENS, NO_DIFFERENCE = "improves", "worsens", "no detectable difference"


@functools.cache
def _registry() -> Registry:
    return Registry()


def _meta(method: str) -> Meta:
    """Return the META of a method; that of an unknown method has defaults only."""
    for entry in _registry().entries("method"):
        if entry.name == method:
            return entry.meta
    return with_defaults("method", {})


@functools.cache
def _candidates(method_id: str) -> tuple[str, ...]:
    """Return the baselines of a chain, in order of preference."""
    stages = method_id.split("+")
    meta = _meta(stages[-1])
    if len(stages) > 1 and stages[0] not in BASELINES:
        return ("erm", "identity")
    if len(stages) > 1 and stages[0] == "erm":
        return ("erm",)
    if "against" in meta:
        return (meta["against"], "erm", "identity")
    profiles = len(stages) > 1 or meta["level"] in ("profile", "classifier", "reference")
    first = (REDUCED[stages[-1]],) if stages[-1] in REDUCED else ()
    return (*first, "identity", "erm") if profiles else ("erm", "identity")


def baseline_of(method_id: str, available: Collection[str]) -> str:
    """Return the chain that a method is compared with; empty if there is none.

    Parameters
    ----------
    available
        Chains with scores. Those not in it are skipped.
    """
    if method_id in BASELINES:
        return ""
    return next((name for name in _candidates(method_id) if name in available), "")


def rows_by_baseline(rows: Sequence[Row]) -> dict[str, Row]:
    """Return chain -> its row with default parameters; of several versions, the last."""
    return {row.method_id: row for row in rows if not row.params and row.scores is not None}


def verdict_of(gap: Paired, p_holm: float | None, *, higher: bool) -> str:
    """Return ``improves``, ``worsens``, ``no detectable difference``, or "" without a test.

    Parameters
    ----------
    gap
        Difference to the baseline. With fewer than three seeds there is no verdict, unless both
        methods are deterministic.
    p_holm
        Its p value, adjusted for all tests of the board (Holm 1979).
    """
    if p_holm is None or (gap.n_seeds < MIN_SEEDS and not gap.deterministic):
        return ""
    if p_holm >= ALPHA:
        return NO_DIFFERENCE
    return IMPROVES if (gap.difference > 0) == higher else WORSENS


def compared(rows: Sequence[Row], *, higher: bool, verdicts: bool = True) -> list[Row]:
    """Add the differences to the baselines, adjusted p values and verdicts.

    Notes
    -----
    Control rows have differences but no verdict, and do not count as tests. P values are adjusted
    over all other rows with an interval of the difference, ranked or not. Rows of one method with
    equal scores count as one test.
    """
    bases = rows_by_baseline(rows)
    result = []
    for row in rows:
        gaps: dict[str, Paired] = {}
        name = baseline_of(row.method_id, bases)
        for other in dict.fromkeys((*filter(None, (name,)), *BASELINES)):
            base = bases.get(other)
            if base is None or base is row or row.scores is None or base.scores is None:
                continue
            gap = pair(row.scores, base.scores)
            if gap is not None:
                gaps[other] = gap
        result.append(
            dataclasses.replace(
                row,
                baseline=name if name in gaps else "",
                differences=gaps,
                p_holm=None,
                detectable=None,
                verdict="",
            )
        )
    tested = [row for row in result if not is_control_row(row.track) and row.versus is not None]
    # A default that is also set by hand gives a second row of the same runs: it is no second test.
    tests = {_test_key(row): row.versus.p for row in tested if row.versus is not None}
    adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
    n_tests = sum(p is not None for p in adjusted.values())
    by_row = {id(row): adjusted[_test_key(row)] for row in tested}
    judged = []
    for row in result:
        p, gap = by_row.get(id(row)), row.versus
        if p is not None and gap is not None:
            row = dataclasses.replace(  # noqa: PLW2901 - completed in steps
                row,
                p_holm=p,
                detectable=gap.detectable(n_tests),
                verdict=verdict_of(gap, p, higher=higher) if verdicts else "",
            )
        judged.append(row)
    return judged


def _test_key(row: Row) -> tuple[str, str, tuple[float, ...], float | None]:
    return row.method_id, row.baseline, row.values, row.p
