"""Profiles of all rows of a table before and after each correction, for studies of retrieval.

Each correction is fitted on all rows without classes and applied to the same rows, by the code path
of :class:`bench.Corrector`. Methods that learn from classes are left out: their profiles would be
scored by what they were trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.canonical import digest
from bench.core.errors import BenchError
from bench.core.progress import report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.core.types import Floats
    from bench.studies._context import StudyContext

BASELINE = "identity"
"""The uncorrected table, which every method is compared with."""


def corrected(context: StudyContext) -> Iterator[tuple[str, Floats]]:
    """Yield each method with its profiles ``(n, d)``, in the order of the data's rows.

    The uncorrected table comes first. A method that cannot be used is left out with the reason.
    """
    opened = context.task.opened
    if opened.is_images:
        context.leave_out("all methods", "profiles of images: score a table of embeddings")
        return
    table = opened.source.read(np.arange(len(opened.index)))
    methods = [BASELINE, *(m for m in context.methods if m != BASELINE)]
    for k, method in enumerate(methods):
        report("correcting", k, len(methods))
        try:
            X = table if method == BASELINE else _of(context, method, table)
        except (BenchError, ValueError) as error:
            context.leave_out(method, str(error))
            continue
        yield method, X


def _of(context: StudyContext, method: str, table: Floats) -> Floats:
    from bench.runs.corrector import Corrector

    opened, seed = context.task.opened, context.seeds[0]
    stages = [name.strip() for name in method.split("+")]
    entries = [context.registry.entry("method", name) for name in stages]
    kinds = {str(entry.meta["level"]) for entry in entries}
    if kinds & {"network", "classifier"}:
        raise BenchError("it learns from classes, which are scored here")
    values = {name: own for name, own in context.options.values.items() if name in stages}
    params = {f"{name}.{key}": value for name, own in values.items() for key, value in own.items()}
    versions = {entry.name: entry.meta["version"] for entry in entries}
    context.depend_on(digest([opened.digest, method, versions, params, seed]))
    return Corrector(method, params=params, seed=seed).fit_transform(
        table,
        batch=opened.index[opened.level].to_numpy(str),
        controls=opened.index["control"].to_numpy(bool),
    )
