"""Rows of a user's table that are left out: a file of ids, and rules on numeric columns.

::

    exclude = "excluded.csv"            # columns id and reason

    [exclude_if]
    Metadata_Count_Cells = "< 50"       # fewer cells
    ImageQuality_PowerLogLogSlope = "<= -2.5"
    ImageQuality_PercentMaximal = "> 1"
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.core.errors import BenchError, did_you_mean
from bench.core.words import count, listed
from bench.data.own.columns import as_text, joined_columns
from bench.data.own.files import open_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bench.core.types import Bools, Floats, JsonObject
    from bench.data.own.files import TableFile
    from bench.data.own.spec import Spec

KEEP_ALL = "all"
"""Setting ``keep`` that excludes no rows."""
_OPERATORS: dict[str, Callable[..., object]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_RULE = re.compile(r"(<=|>=|<|>)\s*([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?\.\d+)")


def parse_rules(rules: Mapping[str, str]) -> dict[str, tuple[str, float]]:
    """Return column -> operator and number.

    Raises
    ------
    BenchError
        If a rule is not a comparison with a number.
    """
    parsed = {}
    for column, text in rules.items():
        match = _RULE.fullmatch(text.strip())
        if match is None:
            raise BenchError(
                f"exclude_if: '{text}' for {column} is not a comparison with a number: write for "
                'example "< 50"'
            )
        parsed[column] = match[1], float(match[2])
    return parsed


def reasons_of(spec: Spec, folder: Path, table: TableFile) -> dict[str, Bools]:
    """Return reason -> which rows it excludes, ``(n,)``.

    Parameters
    ----------
    spec
        Content of the ``dataset.toml``.
    folder
        Its folder; ``exclude`` is relative to it.
    table
        The open table.

    Raises
    ------
    BenchError
        If the file or a column is missing or invalid, or an id is unknown.
    """
    reasons: dict[str, Bools] = {}
    if spec.exclude is not None:
        reasons |= _listed(spec, folder / spec.exclude, table)
    rules = parse_rules(spec.exclude_if)
    reasons |= {
        f"{column} {sign} {limit:g}": _by_rule(table, column, sign, limit)
        for column, (sign, limit) in rules.items()
    }
    return reasons


def excluded(reasons: Mapping[str, Bools], keep: str) -> tuple[Bools, str, JsonObject]:
    """Return which rows are left out, a sentence with the counts, and facts for the data digest.

    Parameters
    ----------
    reasons
        Reason -> rows, at least one.
    keep
        Reason to ignore: its rows are kept unless another excludes them; :data:`KEEP_ALL`, or "".

    Raises
    ------
    BenchError
        If a reason is unknown or all rows are excluded.
    """
    if keep and keep != KEEP_ALL and keep not in reasons:
        raise BenchError("data.keep: " + did_you_mean(keep, [KEEP_ALL, *reasons], "reason"))
    n = len(next(iter(reasons.values())))
    reasons = {name: own for name, own in reasons.items() if keep not in (name, KEEP_ALL)}
    mask = np.logical_or.reduce([np.zeros(n, bool), *reasons.values()])
    if mask.all():
        raise BenchError("exclude and exclude_if leave no rows: change them")
    counts = [f"{int(own.sum())} {reason}" for reason, own in reasons.items() if own.any()]
    sentence = f"{int(mask.sum())} of {count(len(mask), 'row')} excluded"
    sentence += f": {listed(counts, 6)}" if counts else ""
    facts: JsonObject = {"rows": np.flatnonzero(mask).tolist()}
    return mask, sentence, facts


def _listed(spec: Spec, path: Path, table: TableFile) -> dict[str, Bools]:
    """Return reason -> rows of the file ``exclude``."""
    if spec.id is None:
        raise BenchError("exclude names rows by id: add the key id with the columns of the ids")
    file = open_table(path)
    if absent := [name for name in ("id", "reason") if name not in file.columns]:
        raise BenchError(
            f"{path} has no column '{absent[0]}': it needs id and reason; ids of several columns "
            "are joined by |"
        )
    frame, _ = file.read(["id", "reason"], [])
    ids, why = as_text(frame["id"]).tolist(), as_text(frame["reason"]).tolist()
    if twice := [name for name, n in Counter(ids).items() if n > 1]:
        raise BenchError(f"{path} has id '{twice[0]}' in several rows: keep one")
    own, _ = table.read(list(spec.id), [])
    names = joined_columns([as_text(own[column]) for column in spec.id])
    if unknown := sorted(set(ids) - set(names.tolist())):
        raise BenchError(
            f"{path} excludes {len(unknown)} ids that are not in the table (first: "
            f"'{unknown[0]}', expected for example '{names[0]}'): correct them"
        )
    reason = dict(zip(ids, why, strict=True))
    of_row = np.array(
        [reason.get(name, "") or ("listed" if name in reason else "") for name in names]
    )
    return {text: of_row == text for text in sorted(set(of_row.tolist()) - {""})}


def _by_rule(table: TableFile, column: str, sign: str, limit: float) -> Bools:
    if column not in table.columns:
        raise BenchError("exclude_if: " + did_you_mean(column, table.columns, "column"))
    frame, _ = table.read([column], [])
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64)
    if np.isnan(values).any():
        n = int(np.isnan(values).sum())
        raise BenchError(
            f"exclude_if: column {column} has no number in {count(n, 'row')}: fill it, or exclude "
            "these rows by id"
        )
    return np.asarray(_OPERATORS[sign](values, limit), bool)


def read_kept(
    spec: Spec,
    file: Path,
    path: Path,
    table: TableFile,
    needed: list[str],
    features: list[str],
    keep: str = "",
) -> tuple[pd.DataFrame, Floats, tuple[str, ...], JsonObject]:
    """Return the rows that are not excluded, a note with their number, and facts of exclusions.

    ``keep`` is as for :func:`excluded`.
    """
    frame, X = table.read(needed, features)
    if not len(frame):
        raise BenchError(f"{path} has no rows: write at least two classes in two batches")
    if spec.exclude is None and not spec.exclude_if:
        if keep:
            raise BenchError("data.keep: the table excludes no rows: leave the setting out")
        return frame, X, (), {}
    reasons = reasons_of(spec, file.parent, table)
    if not reasons:
        return frame, X, (), {}
    mask, sentence, facts = excluded(reasons, keep)
    return frame[~mask], np.ascontiguousarray(X[~mask]), (sentence,), facts
