"""What is to be run: splits opened and audited, chains checked against them, and jobs with ids.

Everything that can be refused is refused here, before anything is trained.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import identity
from bench.api import TRACKS, Access, Ints, Opened, Split, track_of
from bench.chain import Chain, parse_chain
from bench.data import column_of
from bench.errors import BenchError
from bench.recipes import resolve
from bench.splits import Fold, Origin, audit, folds, split_digest
from bench.store import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.chain import Stage
    from bench.grouping import Grouping
    from bench.registry import Registry

RETRIEVAL = ("nscb", "nsc", "map")
"""Metrics of a split without training."""
TREATMENTS = "accuracy_treatments"
"""Metric of a run that saw which rows are controls where these are classes."""


@dataclass(frozen=True)
class Options:
    """What is equal for all runs of one call.

    Attributes
    ----------
    recipe
        ``smoke``, ``default`` or ``paper``.
    overrides
        Recipe keys that were set by hand.
    values
        Method parameters by method name.
    device
        ``auto``, ``cpu`` or ``cuda``.
    if_exists
        ``skip``, ``rerun`` or ``verify``.
    grouping
        For studies: how the rows of each test batch are grouped into inference batches instead of
        whole (see ``bench.grouping``); None is whole.
    """

    recipe: str = "default"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"
    if_exists: str = "skip"
    grouping: Grouping | None = None


@dataclass(frozen=True, eq=False)
class Target:
    """A split that was opened: the data set and its folds."""

    typed: str
    split: Split
    opened: Opened
    folds: list[Fold]
    digest: str
    warnings: tuple[str, ...] = ()
    origin: Origin | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The label map."""
        return self.folds[0].classes

    @property
    def supervised(self) -> bool:
        """Whether classes of this data set are learned and predicted."""
        return self.split.protocol == "supervised"

    def trained_on(self, stage: int, fold: Fold) -> tuple[Opened, Ints]:
        """Return the data set and the rows that a stage of a chain is fitted on."""
        if self.origin is None:
            return self.opened, fold.train
        if stage == 0:
            return self.origin.opened, self.origin.train
        return self.opened, fold.test


def open_target(
    typed: str,
    split: Split,
    opened: Opened,
    *,
    published: bool = False,
    origin: Origin | None = None,
) -> Target:
    """Make the folds of a split and audit them.

    Parameters
    ----------
    typed, split, opened
        What was asked for.
    published
        Whether the sides are somebody else's published ones: sharing that was not declared is then
        a note in every record, since it cannot be mended here.
    origin
        What the encoder is trained on, with the protocol ``transfer``.

    Raises
    ------
    BenchError
        If a row, plate or well is on both sides and the split does not declare it.
    """
    made = folds(split, opened)
    shared = audit(split, opened, made)
    if shared and not published:
        raise BenchError(
            f"split '{split.name}': {'; '.join(text.rstrip('.') for text in shared)}; declare it "
            "with shares = [...] if it is meant, or mend the split"
        )
    digest = split_digest(opened, made)
    return Target(typed, split, opened, made, digest, tuple(shared), origin)


def with_metrics(target: Target, names: Sequence[str], registry: Registry) -> Target:
    """Return a target that is scored by further metrics too.

    They are part of what identifies a run, and change neither its training nor its other values.

    Raises
    ------
    BenchError
        For an unknown metric.
    """
    for name in names:
        registry.entry("metric", name)
    wanted = tuple(dict.fromkeys((*target.split.metrics, *names)))
    return dataclasses.replace(target, split=dataclasses.replace(target.split, metrics=wanted))


@dataclass(frozen=True, eq=False)
class Tuned:
    """What was chosen for one fold, from its own training rows.

    Attributes
    ----------
    chain
        The stages with the chosen parameters.
    recipe
        The resolved recipe with the chosen values.
    overrides
        The recipe values that were chosen.
    """

    chain: Chain
    recipe: Mapping[str, Any]
    overrides: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Job:
    """One run to make: a chain on a split with a seed.

    Attributes
    ----------
    selection
        The rule that chose its parameters; ``last`` is none.
    tuned
        Fold -> what was chosen for it; empty without selection.
    tuning
        The budget of the choice, part of the run's identity; see ``bench.tune``.
    tuning_facts
        What else is recorded of it.
    """

    target: Target
    chain: Chain
    seed: int
    recipe_name: str
    recipe: Mapping[str, Any]
    overrides: Mapping[str, Any]
    registry: Registry
    not_applicable: str = ""
    grouping: Grouping | None = None
    selection: str = "last"
    tuned: Mapping[str, Tuned] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)
    tuning_facts: Mapping[str, Any] = field(default_factory=dict)

    def of_fold(self, fold: Fold) -> Job:
        """Return the job with the parameters that were chosen for one fold; itself without any."""
        chosen = self.tuned.get(fold.name)
        if chosen is None:
            return self
        return dataclasses.replace(self, chain=chosen.chain, recipe=chosen.recipe, tuned={})

    def ids(self, fold: Fold) -> list[identity.StageIds]:
        """Return the identities of all stages on one fold."""
        mine, target = self.of_fold(fold), self.target
        return identity.stage_ids(
            mine.chain,
            self.registry,
            target.opened,
            mine.recipe,
            target.classes,
            fold.train,
            fold.test,
            self.seed,
            supervised=target.supervised,
            expose=target.split.expose,
            origin=target.origin,
            grouping=self.grouping,
        )

    @property
    def chains(self) -> list[Chain]:
        """The chains of all folds: one without selection."""
        return [one.chain for one in self.tuned.values()] or [self.chain]

    @property
    def access(self) -> Access:
        """What any fold's chain needs to see."""
        access = Access.NONE
        for chain in self.chains:
            access |= chain.access
        return access

    @property
    def track(self) -> str:
        """The track of that access: the weakest claim of all folds."""
        return self.chain.track if self.chain.track == TRACKS[-1] else track_of(self.access)

    @property
    def masked(self) -> bool:
        """Whether the chain sees which rows are controls although these are classes."""
        seen = Access.CONTROLS | Access.TEST_CONTROLS
        classes = self.target.supervised and self.target.opened.control_classes
        return classes and bool(self.access & seen)

    @property
    def primary(self) -> str:
        """The metric that the run stands for."""
        return TREATMENTS if self.masked else self.target.split.metric

    @property
    def cautions(self) -> list[str]:
        """What the data set says about methods that act on one of its batch levels."""
        cautions = self.target.opened.cautions
        levels = [stage.level for stage in self.chain.stages if stage.sees_batches]
        return list(dict.fromkeys(cautions[level] for level in levels if level in cautions))

    def spec(self) -> dict[str, Any]:
        """Return what identifies the run; hashed to its id."""
        from bench.metrics import scored

        target, opened = self.target, self.target.opened
        # Values as they are used: "500" typed and 500 given are one run.
        recipe = identity.recipe_identity(self.recipe)
        stages_of: list[dict[str, Any]] = []
        for fold in target.folds:
            mine = self.of_fold(fold)
            stages = [
                {
                    "method": stage.name,
                    "version": stage.entry.meta["version"],
                    "params": stage.changed(),
                    "level": stage.level,
                    "fit_id": one.fit,
                    "apply_id": one.apply_test,
                }
                for stage, one in zip(mine.chain.stages, self.ids(fold), strict=True)
            ]
            stages_of.append({"fold": fold.name, "stages": stages})
            if fold.name in self.tuned and self.tuned[fold.name].overrides:
                stages_of[-1]["recipe"] = dict(self.tuned[fold.name].overrides)
        # Only those that score this split: a new metric leaves the runs of others where they are.
        names = scored(
            (target.split.metric, *target.split.metrics),
            supervised=target.supervised,
            n_classes=len(target.classes),
        )
        if self.masked:
            names = [TREATMENTS]
        versions = {
            name: self.registry.entry("metric", name).meta["version"] for name in sorted(names)
        }
        # Only where one is set: runs of whole test batches are what they were.
        study = {} if self.grouping is None else {"grouping": self.grouping.spec}
        # Only where something was chosen: other runs are what they were.
        tuning = {"tuning": dict(self.tuning)} if self.tuning else {}
        # Named only where there is one: without it a run is the run that it was.
        first = {"preprocess": self.chain.preprocess} if self.chain.preprocess else {}
        # Named only where it is not the highest level that varies, which needs no name.
        cluster = {"cluster": target.split.cluster} if target.split.cluster else {}
        aggregate = {"aggregate": list(target.split.aggregate)} if target.split.aggregate else {}
        return {
            **study,
            **tuning,
            **first,
            **cluster,
            **aggregate,
            **_source_of(target.origin),
            "method_id": self.chain.method_id,
            "split_id": target.split.name,
            "split_digest": target.digest,
            "dataset": opened.name,
            "dataset_settings": dict(opened.settings),
            "edition": opened.edition,
            "data_digest": opened.digest,
            "recipe": self.recipe_name,
            "recipe_overrides": {key: recipe[key] for key in self.overrides},
            "recipe_digest": digest(recipe),
            "standardise": self.recipe.get("standardise", "none"),
            "seed": self.seed,
            "selection": self.selection,
            "score_unit": target.split.score_unit,
            "folds": stages_of,
            "metric_versions": versions,
        }


def plan(
    methods: list[str],
    targets: list[Target],
    seeds: list[int],
    options: Options,
    registry: Registry,
) -> list[Job]:
    """Check every pair of method and split before anything runs, and return the jobs.

    Raises
    ------
    BenchError
        For unknown names, parameters nobody has, a batch-wise method on a training set with one
        batch, or a metric that cannot score the split.
    """
    jobs: list[Job] = []
    used: set[str] = set()
    for target in targets:
        _check_metrics(target, registry)
        kind = "images" if target.opened.is_images else "profiles"
        recipe = resolve(options.recipe, kind, dict(options.overrides))
        if target.origin is not None and recipe["standardise"] == "none":
            raise BenchError(
                f"split '{target.split.name}' takes a network to another camera, whose counts are "
                "not those of training: leave --standardise at image, or choose plate"
            )
        for typed in methods:
            chain = parse_chain(
                typed, registry, target.opened, options.values, recipe, target.split.preprocess
            )
            used.update(stage.name for stage in chain.stages)
            reason = _why_not(chain, target) or _why_not_grouped(chain, target, options.grouping)
            for seed in seeds:
                jobs.append(
                    Job(
                        target,
                        chain,
                        seed,
                        options.recipe,
                        recipe,
                        options.overrides,
                        registry,
                        reason,
                        options.grouping,
                    )
                )
    unused = sorted(set(options.values) - used)
    if unused:
        raise BenchError(
            f"--set names '{unused[0]}', which is none of the methods of this run "
            f"({', '.join(sorted(used))})"
        )
    return jobs


def _check_metrics(target: Target, registry: Registry) -> None:
    """Refuse a metric that the split cannot be scored by, before anything is trained."""
    split = target.split
    needs = {
        name: str(registry.entry("metric", name).meta["needs"])
        for name in (split.metric, *split.metrics)
    }
    if target.supervised and needs[split.metric] == "embedding":
        raise BenchError(
            f"split '{split.name}': {split.metric} scores profiles and cannot be the primary "
            "metric of predicted classes: name it in metrics, or write protocol = "
            '"unsupervised"'
        )
    if not target.supervised:
        wrong = [name for name in needs if name not in RETRIEVAL]
        if wrong:
            raise BenchError(
                f"split '{split.name}' scores retrieval, which {wrong[0]} does not: choose among "
                f"{', '.join(RETRIEVAL)}"
            )
        roles = ("treatment", "compound", "nscb_batch")
        missing = [role for role in roles if role not in target.opened.columns]
        if missing:
            raise BenchError(
                f"split '{split.name}' scores retrieval, which needs the columns "
                f"{', '.join(missing)}: name them in the data set"
            )


def _source_of(origin: Origin | None) -> dict[str, Any]:
    """Return what a record states of the data set that an encoder was trained on."""
    if origin is None:
        return {}
    return {
        "source": {
            "split_id": origin.split,
            "dataset": origin.opened.name,
            "dataset_settings": dict(origin.opened.settings),
            "data_digest": origin.opened.digest,
        }
    }


def _no_transfer(stage: Stage, number: int, target: Target) -> str:
    """Return why a stage cannot take part in a transfer, or an empty string."""
    if target.origin is None or number:
        return ""
    if stage.name in ("position-only", "batch-only"):
        return f"the wells and batches of training are not those of {target.opened.name}"
    if Access.ADAPT in stage.access:
        return (
            f"{stage.name} trains on the rows that are scored, and {target.split.name} takes the "
            "encoder as it was trained"
        )
    if stage.level not in target.origin.opened.levels:
        raise BenchError(
            f"{stage.name}.level is '{stage.level}', which is no batch level of "
            f"{target.origin.opened.name} that it is trained on: choose among "
            f"{', '.join(set(target.origin.opened.levels) & set(target.opened.levels))}"
        )
    return ""


def _why_not(chain: Chain, target: Target) -> str:
    """Return why a chain cannot run on a split, or an empty string."""
    opened = target.opened
    for number, stage in enumerate(chain.stages):
        reason = _no_transfer(stage, number, target)
        if reason:
            return reason
        learnt = [target.trained_on(number, fold) for fold in target.folds]
        source = learnt[0][0]
        if stage.name == "position-only" and "position" not in opened.columns:
            return f"{opened.name} has no column with the position on the plate"
        # What trains without a head trains without labels.
        trained = stage.kind in ("network", "classifier")
        headed = trained and getattr(stage.cls, "has_head", True)
        if headed and target.split.protocol == "unsupervised":
            return f"{stage.name} needs labels to train on, and {target.split.name} gives none"
        if Access.TRAIN_WELL in stage.access and "well" not in source.columns:
            return f"{stage.name} needs to know which rows share a well; {source.name} does not say"
        if "images" in stage.needs and not opened.is_images:
            return f"{stage.name} needs images, and the rows of {opened.name} are profiles"
        if "controls" in stage.needs and not opened.has_controls:
            return f"{stage.name} needs negative controls, and {opened.name} has none"
        if "controls" in stage.needs:
            control = opened.index["control"].to_numpy(bool)
            if any(not control[fold.test].any() for fold in target.folds):
                return f"{stage.name} needs controls in every test set of {target.split.name}"
            if any(not one.index["control"].to_numpy(bool)[rows].any() for one, rows in learnt):
                return f"{stage.name} needs controls in every training set of {target.split.name}"
        # What the recipe adds (standardising by plate) makes no method train batch by batch.
        if stage.kind == "network" and Access.TRAIN_BATCH in stage.cls.access(stage.params):
            for fold, (one, rows) in zip(target.folds, learnt, strict=True):
                if len(np.unique(column_of(one, stage.level)[rows])) < 2:
                    raise BenchError(
                        f"{stage.name} trains batch by batch, but the training rows of "
                        f"{target.split.name} (fold {fold.name}) hold one {stage.level}: choose "
                        f"another level with --set {stage.name}.level=..., or another split"
                    )
    return ""


def _why_not_grouped(chain: Chain, target: Target, grouping: Grouping | None) -> str:
    """Return why a chain cannot run with test rows grouped in a study's way, or an empty string."""
    if grouping is None:
        return ""
    if not target.supervised:
        return f"{target.split.name} has no training set: its rows are corrected as they are"
    if not any(stage.per_batch for stage in chain.stages):
        return f"{chain.typed} looks at no test batch: how rows are grouped there moves nothing"
    for stage in chain.stages:
        if Access.ADAPT in stage.access:
            return f"{stage.name} is fitted on the evaluation rows: they cannot be grouped anew"
    if grouping.drops_rows:
        if len({stage.level for stage in chain.stages if stage.per_batch}) > 1:
            return f"the stages of {chain.typed} correct several batch levels"
        if not target.opened.has_controls:
            return f"{target.opened.name} has no negative controls to leave out"
        control = target.opened.index["control"].to_numpy(bool)
        if any(control[fold.test[fold.scored]].any() for fold in target.folds):
            return f"the negative controls of {target.opened.name} are scored: none can be left out"
    return ""
