"""Jobs to run: opened and audited splits, chains checked against them, and their ids.

All input errors are raised here, before anything is trained.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from bench.core.access import TRACKS, Access, track_of
from bench.core.canonical import digest
from bench.records.selection import parse_derived
from bench.runs import identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core.registry import Registry
    from bench.core.types import JsonObject, Recipe, Values
    from bench.data.folds import SourceDomain
    from bench.data.inference_batches import InferenceBatches
    from bench.data.partitions import Fold
    from bench.data.task import Task
    from bench.records.schema import Spec, Tuning, TuningBudget
    from bench.runs.chain import Chain

TREATMENTS = "accuracy_treatments"
"""Metric of a run that sees which rows are controls although controls are classes."""


@dataclass(frozen=True)
class Options:
    """Options common to all runs of one call.

    Attributes
    ----------
    recipe
        ``smoke``, ``default`` or ``paper``.
    overrides
        Recipe keys set by hand.
    values
        Method parameters by method name.
    device
        ``auto``, ``cpu`` or ``cuda``.
    if_exists
        ``skip``, ``refresh``, ``rerun`` or ``verify``.
    grouping
        For studies: how the rows of each test batch are partitioned into inference batches
        (see ``bench.data.inference_batches``). If None, each test batch is one inference batch.
    timeout
        Seconds after which a run is stopped and recorded as failed; 0 is no limit.
    """

    recipe: str = "default"
    overrides: Recipe = field(default_factory=dict)
    values: Values = field(default_factory=dict)
    device: str = "auto"
    if_exists: str = "skip"
    grouping: InferenceBatches | None = None
    timeout: float = 0.0


@dataclass(frozen=True, eq=False)
class Tuned:
    """Selected parameters of one fold, from its own training rows."""

    chain: Chain
    recipe: Recipe
    overrides: Recipe


@dataclass(frozen=True, eq=False)
class Job:
    """One run: a chain on a split with a seed.

    Attributes
    ----------
    selection
        The rule that selected its parameters; ``last`` means no selection.
    tuned
        Fold -> selected parameters; empty without selection.
    tuning
        The tuning budget, part of the run's identity; None without selection.
    tuning_facts
        Recorded cost and result of the tuning.
    """

    task: Task
    chain: Chain
    seed: int
    recipe_name: str
    recipe: Recipe
    overrides: Recipe
    registry: Registry
    not_applicable: str = ""
    grouping: InferenceBatches | None = None
    selection: str = "last"
    tuned: Mapping[str, Tuned] = field(default_factory=dict)
    tuning: TuningBudget | None = None
    tuning_facts: Tuning | None = None

    def of_fold(self, fold: Fold) -> Job:
        """Return the job with the parameters selected for one fold, or itself without selection."""
        if fold.name not in self.tuned:
            return self
        selected = self.tuned[fold.name]
        return dataclasses.replace(self, chain=selected.chain, recipe=selected.recipe, tuned={})

    def ids(self, fold: Fold) -> list[identity.StageIds]:
        """Return the identities of all stages on one fold."""
        job, task = self.of_fold(fold), self.task
        stages = range(len(job.chain.stages))
        return identity.stage_ids(
            job.chain,
            self.registry,
            job.recipe,
            self.seed,
            [task.stage_rows(stage, fold) for stage in stages],
            task.opened,
            fold.test,
            expose=task.split.expose,
            grouping=self.grouping,
        )

    @property
    def chains(self) -> list[Chain]:
        """The chains of all folds; a single chain without selection."""
        return [selected.chain for selected in self.tuned.values()] or [self.chain]

    @property
    def access(self) -> Access:
        """Union of the access of all folds' chains."""
        access = Access.NONE
        for chain in self.chains:
            access |= chain.access
        return access

    @property
    def track(self) -> str:
        """The most permissive track that the access implies."""
        return self.chain.track if self.chain.track == TRACKS[-1] else track_of(self.access)

    @property
    def masked(self) -> bool:
        """Whether the chain sees which rows are controls although controls are classes."""
        seen = Access.CONTROLS | Access.TEST_CONTROLS
        classes = self.task.supervised and self.task.opened.control_classes
        return classes and bool(self.access & seen)

    @property
    def primary(self) -> str:
        """The primary metric of the run."""
        return TREATMENTS if self.masked else self.task.split.metric

    @property
    def cautions(self) -> list[str]:
        """Warnings of the data set about methods that act on one of its batch levels."""
        cautions = self.task.opened.cautions
        levels = [stage.level for stage in self.chain.stages if stage.sees_batches]
        return list(dict.fromkeys(cautions[level] for level in levels if level in cautions))

    @property
    def metric_versions(self) -> dict[str, int]:
        """Metrics that score the run, with their versions."""
        from bench.metrics import scored

        split = self.task.split
        # Only metrics that score this split, so that a new metric does not change other run ids.
        names = [TREATMENTS]
        if not self.masked:
            names = scored(
                (split.metric, *split.metrics),
                supervised=self.task.supervised,
                n_classes=len(self.task.classes),
            )
        entries = {name: self.registry.entry("metric", name) for name in sorted(names)}
        return {name: entry.meta["version"] for name, entry in entries.items()}

    @property
    def request(self) -> JsonObject:
        """What was asked for, with which the run can be repeated: names, seed and settings.

        ``settings`` has the keys of ``--set``. ``origin`` is ``run``, ``tune`` or ``study``.
        """
        task, opened = self.task, self.task.opened
        settings: JsonObject = {f"recipe.{key}": value for key, value in self.overrides.items()}
        for stage in self.chain.stages:
            settings |= {f"{stage.name}.{key}": v for key, v in stage.changed().items()}
        settings |= {f"data.{key}": value for key, value in opened.settings.items()}
        if task.source_domain is not None:
            source = task.source_domain.opened.settings
            settings |= {f"data.source.{key}": value for key, value in source.items()}
        derived = parse_derived(task.split.name) is not None
        origin = "tune" if derived or self.selection != "last" else "run"
        return {
            "method": self.chain.typed,
            "split": task.typed,
            "seed": self.seed,
            "recipe": self.recipe_name,
            "edition": opened.edition,
            "settings": settings,
            "metrics": list(task.split.metrics),
            "origin": origin if self.grouping is None else "study",
        }

    def spec(self) -> Spec:
        """Return the specification that identifies the run; see :func:`identity.run_id`."""
        task, opened = self.task, self.task.opened
        # Use parsed values, so that "500" and 500 give the same run.
        recipe = identity.recipe_identity(self.recipe)
        stages_of: list[JsonObject] = []
        for fold in task.folds:
            chain = self.of_fold(fold).chain
            stages = [
                {
                    "method": stage.name,
                    "version": stage.entry.meta["version"],
                    "params": stage.changed(),
                    "level": stage.level,
                    "fit_id": ids.fit,
                    "apply_id": ids.apply_test,
                    **({"pinned": stage.pinned} if stage.pinned else {}),
                }
                for stage, ids in zip(chain.stages, self.ids(fold), strict=True)
            ]
            stages_of.append({"fold": fold.name, "stages": stages})
            if fold.name in self.tuned and self.tuned[fold.name].overrides:
                stages_of[-1]["recipe"] = dict(self.tuned[fold.name].overrides)
        # Included only if set, so that ids of runs without a grouping do not change.
        study = {} if self.grouping is None else {"grouping": self.grouping.spec}
        # Included only if parameters were selected, so that other ids do not change.
        tuning = {} if self.tuning is None else {"tuning": dict(self.tuning)}
        # Included only if set, so that other ids do not change.
        first = {"preprocess": self.chain.preprocess} if self.chain.preprocess else {}
        # Included only if it is not the default, the highest level that varies.
        cluster = {"cluster": task.split.cluster} if task.split.cluster else {}
        # Included only if set, so that other ids do not change.
        rescale = {"rescale": True} if self.recipe.get("rescale") else {}
        also_new = {"also_new": task.split.also_new} if task.split.also_new else {}
        aggregate = {"aggregate": list(task.split.aggregate)} if task.split.aggregate else {}
        spec = {
            **study,
            **tuning,
            **first,
            **cluster,
            **also_new,
            **aggregate,
            **rescale,
            **_source_of(task.source_domain),
            "method_id": self.chain.method_id,
            "split_id": task.split.name,
            "split_digest": task.digest,
            "dataset": opened.name,
            "dataset_settings": dict(opened.settings),
            "edition": opened.edition,
            "data_digest": opened.digest,
            "recipe": self.recipe_name,
            "recipe_overrides": {
                # An optional key at its default is not in the recipe: the run is the default one.
                key: recipe[key]
                for key in self.overrides
                if key in recipe
            },
            "recipe_digest": digest(recipe),
            "standardise": self.recipe.get("standardise", "none"),
            "seed": self.seed,
            "selection": self.selection,
            "score_unit": task.split.score_unit,
            "folds": stages_of,
            "metric_versions": self.metric_versions,
            **identity.numerics(),
        }
        return cast("Spec", spec)


def _source_of(source_domain: SourceDomain | None) -> JsonObject:
    """Return the recorded facts about the data set that an encoder was trained on."""
    if source_domain is None:
        return {}
    return {
        "source": {
            "split_id": source_domain.split,
            "dataset": source_domain.opened.name,
            "dataset_settings": dict(source_domain.opened.settings),
            "data_digest": source_domain.opened.digest,
        }
    }
