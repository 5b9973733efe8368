"""Conformance checks of a figure."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, did_you_mean
from bench.core.registry import registry_with
from bench.output.figures import all_figures, draw
from bench.testing.records import example_records
from bench.testing.synthetic import (
    Broken,
    Check,  # TC
    Report,
    call_checked,
    check_texts,
    raise_failed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.core.registry import Registry


def check_figure(
    figure: str,
    *,
    plugins: tuple[Path | str, ...] = (),
    registry: Registry | None = None,
    raises: bool = True,
) -> list[Check]:
    """Check a figure: draw it from two runs on synthetic data, and from no runs.

    Parameters, result and errors are those of :func:`check_method`.
    """
    registry = registry or registry_with(plugins)
    figures = all_figures(registry)
    if figure not in figures:
        raise BenchError(did_you_mean(figure, list(figures), "figure"))
    figures[figure].load()
    report = Report()
    report.look("META", lambda: check_texts(figures[figure].meta, ("title", "summary")))

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        if report.look("without records", lambda: _draw(figure, [], folder, registry)):
            records = example_records(folder)
            report.look("with records", lambda: _draw(figure, records, folder, registry))
    return raise_failed(report.checks, figure, raises)


def _draw(
    name: str, records: Sequence[Mapping[str, object]], folder: Path, registry: Registry
) -> None:
    out = folder / "figures"
    files = call_checked(
        "draw", lambda: draw(records, [name], out, results=folder, registry=registry)
    )
    if not isinstance(files, list) or not files:
        raise Broken(
            "draw() must return the list of its files; without data, a figure shows the reason"
        )
    for file in files:
        if not isinstance(file, Path) or not file.is_file() or not file.is_relative_to(out):
            raise Broken(f"draw() returned {file}, which is not a file in inputs.out")
    if not any(file.suffix == ".csv" for file in files):
        raise Broken("no CSV with the numbers: append them to the table of the canvas")
