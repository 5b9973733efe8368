"""Expand methods, splits and seeds into jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.core.split import RETRIEVAL
from bench.data.rescale import rescaled
from bench.runs.applicable import why_not, why_not_grouped
from bench.runs.chain import parse_chain
from bench.runs.job import (
    Job,
    Options,  # TC
)
from bench.training.recipes import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.registry import Registry
    from bench.data.task import Task


def plan(
    methods: list[str],
    tasks: list[Task],
    seeds: Sequence[int] | None,
    options: Options,
    registry: Registry,
) -> list[Job]:
    """Return the jobs, after checking every pair of method and split.

    A method that does not apply to a split has jobs with a reason, so that it does not prevent the
    others from running. A deterministic chain has one job, with the first seed.

    Parameters
    ----------
    seeds
        Seeds of each pair; None for the default of each split (:func:`default_seeds`).

    Raises
    ------
    BenchError
        If a name is unknown, no method has a parameter, or a metric cannot score the split.
    """
    jobs: list[Job] = []
    used: set[str] = set()
    for task in tasks:
        _check_metrics(task, registry)
        kind = "images" if task.opened.is_images else "profiles"
        recipe = resolve(options.recipe, kind, dict(options.overrides))
        if recipe.get("rescale"):
            task = rescaled(task, recipe.get("pixel_size", 0.0))  # noqa: PLW2901 - the rescaled split replaces it
        if task.source_domain is not None and recipe["standardise"] == "none":
            raise BenchError(
                f"split '{task.split.name}' applies a network to images of another camera: use "
                "--standardise image (the default) or plate, not none"
            )
        for typed in methods:
            chain = parse_chain(
                typed, registry, task.opened, options.values, recipe, task.split.preprocess
            )
            used.update(stage.name for stage in chain.stages)
            reason = why_not(chain, task) or why_not_grouped(chain, task, options.grouping)
            task_seeds = default_seeds(task) if seeds is None else seeds
            jobs += [
                Job(
                    task,
                    chain,
                    seed,
                    options.recipe,
                    recipe,
                    options.overrides,
                    registry,
                    reason,
                    options.grouping,
                )
                for seed in (task_seeds[:1] if chain.deterministic else task_seeds)
            ]
    unused = sorted(set(options.values) - used)
    if unused:
        raise BenchError(
            f"--set refers to '{unused[0]}', which is not in this run: its methods are "
            f"{', '.join(sorted(used))}"
        )
    return jobs


def default_seeds(task: Task) -> list[int]:
    """Return the seeds of a split unless others are requested: three for tables, one for images.

    The number does not depend on the machine. Networks on images take minutes per seed.
    """
    return [0] if task.opened.is_images else [0, 1, 2]


def _check_metrics(task: Task, registry: Registry) -> None:
    """Raise if a metric cannot score the split."""
    split = task.split
    needs = {
        name: str(registry.entry("metric", name).meta["needs"])
        for name in (split.metric, *split.metrics)
    }
    if task.supervised and needs[split.metric] == "embedding":
        raise BenchError(
            f"split '{split.name}': {split.metric} scores profiles, not predicted classes, so it "
            'cannot be the primary metric: list it under metrics, or set protocol = "unsupervised"'
        )
    if not task.supervised:
        wrong = [name for name in needs if name not in RETRIEVAL]
        if wrong:
            raise BenchError(
                f"split '{split.name}' has no training set, so {wrong[0]} cannot score it: use "
                f"{', '.join(RETRIEVAL)}"
            )
        roles = ("treatment", "compound", "nscb_batch")
        missing = [role for role in roles if role not in task.opened.columns]
        if missing:
            raise BenchError(
                f"split '{split.name}' has no training set and requires the columns "
                f"{', '.join(missing)}: name them in the data set"
            )
