"""Expand methods, splits and seeds into jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.data.rescale import rescaled
from bench.runs.applicable import why_not, why_not_grouped
from bench.runs.chain import parse_chain
from bench.runs.job import (
    RETRIEVAL,
    Job,
    Options,  # TC
)
from bench.training.recipes import resolve

if TYPE_CHECKING:
    from bench.core.registry import Registry
    from bench.data.task import Task


def plan(
    methods: list[str],
    tasks: list[Task],
    seeds: list[int],
    options: Options,
    registry: Registry,
) -> list[Job]:
    """Return the jobs, after checking every pair of method and split.

    Raises
    ------
    BenchError
        If a name is unknown, no method has a parameter, a batch-wise method has a training set
        with one batch, or a metric cannot score the split.
    """
    jobs: list[Job] = []
    used: set[str] = set()
    for task in tasks:
        _check_metrics(task, registry)
        kind = "images" if task.opened.is_images else "profiles"
        recipe = resolve(options.recipe, kind, dict(options.overrides))
        if recipe.get("rescale"):
            task = rescaled(task, recipe.get("pixel_size", 0.0))  # noqa: PLW2901
        if task.source_domain is not None and recipe["standardise"] == "none":
            raise BenchError(
                f"split '{task.split.name}' takes a network to another camera, whose counts are "
                "not those of training: leave --standardise at image, or choose plate"
            )
        for typed in methods:
            chain = parse_chain(
                typed, registry, task.opened, options.values, recipe, task.split.preprocess
            )
            used.update(stage.name for stage in chain.stages)
            reason = why_not(chain, task) or why_not_grouped(chain, task, options.grouping)
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
                for seed in seeds
            ]
    unused = sorted(set(options.values) - used)
    if unused:
        raise BenchError(
            f"--set names '{unused[0]}', which is none of the methods of this run "
            f"({', '.join(sorted(used))})"
        )
    return jobs


def _check_metrics(task: Task, registry: Registry) -> None:
    """Raise if a metric cannot score the split."""
    split = task.split
    needs = {
        name: str(registry.entry("metric", name).meta["needs"])
        for name in (split.metric, *split.metrics)
    }
    if task.supervised and needs[split.metric] == "embedding":
        raise BenchError(
            f"split '{split.name}': {split.metric} scores profiles and cannot be the primary "
            "metric of predicted classes: name it in metrics, or write protocol = "
            '"unsupervised"'
        )
    if not task.supervised:
        wrong = [name for name in needs if name not in RETRIEVAL]
        if wrong:
            raise BenchError(
                f"split '{split.name}' scores retrieval, which {wrong[0]} does not: choose among "
                f"{', '.join(RETRIEVAL)}"
            )
        roles = ("treatment", "compound", "nscb_batch")
        missing = [role for role in roles if role not in task.opened.columns]
        if missing:
            raise BenchError(
                f"split '{split.name}' scores retrieval, which needs the columns "
                f"{', '.join(missing)}: name them in the data set"
            )
