"""Conformance checks of a study."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from bench.core.registry import registry_with
from bench.testing.synthetic import (
    Broken,
    Check,  # TC
    Report,
    raise_failed,
)

if TYPE_CHECKING:
    from pathlib import Path

    from bench.core.registry import Registry


def check_study(
    study: str,
    *,
    plugins: tuple[Path | str, ...] = (),
    registry: Registry | None = None,
    raises: bool = True,
) -> list[Check]:
    """Check that the file of a study is complete. To run it: ``study NAME --recipe smoke``.

    Parameters, result and errors are those of :func:`check_method`.
    """
    registry = registry or registry_with(plugins)
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
