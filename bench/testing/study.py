"""Conformance checks of a study."""

from __future__ import annotations

import inspect
from pathlib import Path

from bench.core.registry import Registry
from bench.testing.synthetic import (
    Broken,
    Check,  # TC
    Report,
    raise_failed,
)


def check_study(
    study: str,
    *,
    plugins: tuple[Path | str, ...] = (),
    registry: Registry | None = None,
    raises: bool = True,
) -> list[Check]:
    """Check that the file of a study is complete. To run it: ``study NAME --recipe smoke``.

    Parameters
    ----------
    study
        Name of the study.
    plugins
        Plugin files to search for the name.
    registry
        Registry used to look up the name instead.
    raises
        Whether to raise if a check fails.

    Returns
    -------
    list of Check
        In the order of execution.

    Raises
    ------
    AssertionError
        If a check fails. The message describes the error and a fix.
    BenchError
        If no plugin file has this study, or it cannot be imported.
    """
    registry = registry or Registry(tuple(Path(path) for path in plugins))
    entry = registry.entry("study", study)
    function = entry.load()
    report = Report()

    def methods() -> None:
        for chain in entry.meta["methods"]:
            for stage in chain.split("+"):
                registry.entry("method", stage.strip())
        if bool(entry.meta["point"]) != bool(entry.meta["points"]):
            raise Broken("point (the name of the varied quantity) requires points, and vice versa")

    def run() -> None:
        if not callable(function) or len(inspect.signature(function).parameters) != 1:
            raise Broken("run must be a function of one argument, the study's context")
        if not inspect.getdoc(function):
            raise Broken("run has no docstring: describe what it measures")

    report.look("META", methods)
    report.look("run", run)
    return raise_failed(report.checks, study, raises)
