"""Which methods a data set supports, with reasons for the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.advice.checkup import FEW
from bench.core.access import Access
from bench.core.control_names import is_control_row
from bench.core.errors import BenchError
from bench.runs.job import Options
from bench.runs.plan import plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.advice.checkup import Check
    from bench.core.registry import Registry
    from bench.data.task import Task
    from bench.runs.job import Job


@dataclass(frozen=True)
class MethodSupport:
    """Whether a method can be used on a data set.

    Attributes
    ----------
    verdict
        ``yes``, ``with care`` or ``no``.
    """

    name: str
    verdict: str
    reason: str = ""


def supported(
    tasks: Sequence[Task], registry: Registry, lines: Sequence[Check]
) -> list[MethodSupport]:
    """Return a verdict for every registered method; reference rows are skipped.

    *No* means that a run would be refused or is not applicable to any of the splits. *With care*
    applies to methods that compute statistics of complete test batches, if batches have
    batch-specific classes or few rows.

    Parameters
    ----------
    lines
        Results of :func:`bench.advice.checkup.examine`.
    """
    supports = []
    for entry in registry.entries("method"):
        if is_control_row(entry.meta["level"]) or entry.problem:
            continue
        reasons, jobs = [], []
        for task in tasks:
            try:
                [job] = plan([entry.name], [task], [0], Options(), registry)
            except BenchError as error:
                reasons.append(str(error))
                continue
            if job.not_applicable:
                reasons.append(job.not_applicable)
            else:
                jobs.append(job)
        if not jobs:
            why = reasons[0] if reasons else "no split can be run"
            # Methods with the same missing requirement share one sentence.
            why = why.removeprefix(f"{entry.name} ").replace(f"{entry.name}.", "METHOD.")
            supports.append(MethodSupport(entry.name, "no", why))
            continue
        care = _care(jobs[0], lines)
        supports.append(MethodSupport(entry.name, "with care" if care else "yes", care))
    return supports


def _care(job: Job, lines: Sequence[Check]) -> str:
    """Return why a method requires care on these data; empty if it does not."""
    whole = Access.TEST_BATCH in job.chain.access or Access.ADAPT in job.chain.access
    stage = job.chain.stages[-1]
    by_topic = {line.topic: line for line in lines}
    nested = by_topic.get(f"class and {stage.level}")
    if whole and nested is not None and nested.state == "warn":
        return f"it aligns whole batches, and classes are confounded with {stage.level}"
    sizes = by_topic.get(f"level {stage.level}")
    if whole and sizes is not None and sizes.facts["min"] < FEW:
        return (
            f"statistics of few rows are noisy: the smallest {stage.level} has {sizes.facts['min']}"
        )
    controls = by_topic.get("controls")
    if Access.CONTROLS in job.chain.access and controls is not None and controls.state == "warn":
        return "some batches have no controls, and it uses its fallback there"
    return ""
