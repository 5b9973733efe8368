"""``check`` of a study: run it on a small synthetic table, twice."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.testing.synthetic import Broken, Check, Report, call_checked, synthetic_data

if TYPE_CHECKING:
    from bench.core.registry import Registry
    from bench.data.task import Task
    from bench.studies import Finding, StudyContext


RECIPE = {"steps": 6, "batch_size": 16, "width": 8}
SEEDS = (0, 1)


def study_runs(name: str, registry: Registry) -> list[Check]:
    """Run a study on synthetic profiles with two seeds and at most two points; check its finding.

    Returns
    -------
    list of Check
        The study runs; table, sentences and figure can be written; a second call with the records
        of the first gives the same files.
    """
    from bench.studies import known, load, write

    meta, function = known(registry)[name], load(name, registry)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="labshift-check-") as folder:
        root = Path(folder)
        contents: list[dict[str, bytes]] = []

        def runs() -> str | None:
            context = _context(root / "results", name, registry)
            finding: Finding = call_checked("run", lambda: function(context))
            if context.failed:
                raise Broken(f"a run failed: {context.failed[0].reason}")
            _check_finding(finding)
            files = call_checked("write", lambda: write(root / "first", meta, context, finding))
            contents.append({file.name: file.read_bytes() for file in files})
            return f"left out: {', '.join(context.left_out)}" if context.left_out else None

        def repeats() -> None:
            context = _context(root / "results", name, registry)
            finding: Finding = call_checked("run", lambda: function(context))
            files = write(root / "second", meta, context, finding)
            differing = [f.name for f in files if f.read_bytes() != contents[0].get(f.name)]
            if differing:
                raise Broken(
                    f"a second call with the same records gives another {differing[0]}: use no "
                    "clock and no random numbers without a seed"
                )

        if report.look("runs on synthetic data", runs):
            report.look("repeats", repeats)
    return report.checks


def _check_finding(finding: object) -> None:
    """Raise unless the result is a finding with three texts and its columns in the table."""
    from bench.studies import Finding

    if not isinstance(finding, Finding):
        raise Broken(f"run returns {type(finding).__name__}: return a bench.studies.Finding")
    reading = finding.reading
    if len(reading) != 3 or not all(isinstance(text, str) and text.strip() for text in reading):
        raise Broken("reading must be three texts: result, size and spread, limitations")
    columns = {key for row in finding.table for key in row}
    missing = [key for key in finding.shown if finding.table and key not in columns]
    if missing:
        raise Broken(f"shown has the column '{missing[0]}', which no row of the table has")


def _context(results: Path, name: str, registry: Registry) -> StudyContext:
    from bench.records.store import Store
    from bench.runs.job import Options
    from bench.runs.runner import Runner
    from bench.studies import StudyContext, known

    def reopen(split: str, data: object) -> Task:
        raise BenchError(f"{split} is synthetic and has no settings: {data}")

    meta, options = known(registry)[name], Options("smoke", RECIPE, device="cpu")
    return StudyContext(
        _task(),
        meta["methods"],
        SEEDS,
        sorted({*meta["points"][:1], *meta["points"][-1:]}),
        registry,
        Runner(Store(results), options),
        options,
        reopen,
    )


def _task() -> Task:
    """Return a split of synthetic profiles that is tested on plates outside the training set."""
    from bench.core.split import Split
    from bench.data.task import open_task
    from bench.testing.synthetic import TEST, TRAINING

    # Studies refuse fixtures; nothing of these runs is kept.
    opened = replace(synthetic_data("profiles"), edition="simulated")
    split = Split(
        name=f"{opened.name}/plates",
        dataset=opened.name,
        shift="the plate is new",
        train={"plate": tuple(TRAINING)},
        test={"plate": tuple(TEST)},
        shares=("week", "well"),
    )
    return open_task(split.name, split, opened)
