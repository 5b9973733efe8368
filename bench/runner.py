"""Runs: chain of stages -> outputs -> record. The only caller of ``fit`` and ``apply``."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench import identity, provenance
from bench.api import (
    Access,
    AccessError,
    Context,
    NotApplicable,
    Opened,
    Output,
    RunFailed,
    Split,
    seed_for,
)
from bench.apply import apply_all, grouping_of, undeclared_adaptation
from bench.chain import Chain, Stage, parse_chain
from bench.data import Side, column_of, make_side
from bench.errors import BenchError
from bench.recipes import resolve
from bench.splits import Fold, audit, folds, split_digest
from bench.store import Store, digest, predictions_digest

if TYPE_CHECKING:
    from bench.probe import Probe
    from bench.registry import Entry, Registry
    from bench.store import Artifact, Kind

Artifacts = Literal["keep", "renew", "ignore"]
"""What a run does with trainings and profiles on disk: takes and adds, makes again, or neither."""
Say = Callable[[str], None]
RETRIEVAL = ("nscb", "nsc", "map")
"""Metrics of a split without training."""
THREADS = "BENCH_THREADS"


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
    """

    recipe: str = "default"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"
    if_exists: str = "skip"


@dataclass(frozen=True, eq=False)
class Target:
    """A split that was opened: the data set and its folds."""

    typed: str
    split: Split
    opened: Opened
    folds: list[Fold]
    digest: str
    warnings: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The label map."""
        return self.folds[0].classes

    @property
    def supervised(self) -> bool:
        """Whether methods get labels."""
        return self.split.protocol == "supervised"


def open_target(typed: str, split: Split, opened: Opened, *, published: bool = False) -> Target:
    """Make the folds of a split and audit them.

    Parameters
    ----------
    typed, split, opened
        What was asked for.
    published
        Whether the sides are somebody else's published ones: sharing that was not declared is then
        a note in every record, since it cannot be mended here.

    Raises
    ------
    BenchError
        If a row, plate or well is on both sides and the split does not declare it.
    """
    made = folds(split, opened)
    shared = audit(split, opened, made)
    if shared and not published:
        raise BenchError(
            f"split '{split.name}': {'; '.join(shared)}; declare it with shares = [...] if it is "
            "meant, or mend the split"
        )
    return Target(typed, split, opened, made, split_digest(opened, made), tuple(shared))


@dataclass(frozen=True, eq=False)
class Job:
    """One run to make: a chain on a split with a seed."""

    target: Target
    chain: Chain
    seed: int
    recipe_name: str
    recipe: Mapping[str, Any]
    overrides: Mapping[str, Any]
    registry: Registry
    not_applicable: str = ""

    def spec(self) -> dict[str, Any]:
        """Return what identifies the run; hashed to its id."""
        from bench.metrics import METRICS

        target, opened = self.target, self.target.opened
        # Values as they are used: "500" typed and 500 given are one run.
        recipe = identity.recipe_identity(self.recipe)
        stages_of: list[dict[str, Any]] = []
        for fold in target.folds:
            ids = identity.stage_ids(
                self.chain,
                self.registry,
                opened,
                self.recipe,
                target.classes,
                fold.train,
                fold.test,
                self.seed,
                supervised=target.supervised,
                expose=target.split.expose,
            )
            stages = [
                {
                    "method": stage.name,
                    "version": stage.entry.meta["version"],
                    "params": stage.changed(),
                    "level": stage.level,
                    "fit_id": one.fit,
                    "apply_id": one.apply_test,
                }
                for stage, one in zip(self.chain.stages, ids, strict=True)
            ]
            stages_of.append({"fold": fold.name, "stages": stages})
        versions = {name: METRICS[name]["version"] for name in sorted(METRICS)}
        return {
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
            "selection": "last",
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
        for typed in methods:
            chain = parse_chain(typed, registry, target.opened, options.values, recipe)
            used.update(stage.name for stage in chain.stages)
            reason = _why_not(chain, target)
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


def _why_not(chain: Chain, target: Target) -> str:
    """Return why a chain cannot run on a split, or an empty string."""
    opened = target.opened
    for stage in chain.stages:
        if stage.name == "position-only" and "position" not in opened.columns:
            return f"{opened.name} has no column with the position on the plate"
        # What trains without a head trains without labels.
        headed = stage.kind == "network" and getattr(stage.cls, "has_head", True)
        if headed and not target.supervised:
            return f"{stage.name} needs labels to train on, and {target.split.name} gives none"
        if Access.TRAIN_WELL in stage.access and "well" not in opened.columns:
            return f"{stage.name} needs to know which rows share a well; {opened.name} does not say"
        if "images" in stage.needs and not opened.is_images:
            return f"{stage.name} needs images, and the rows of {opened.name} are profiles"
        if "controls" in stage.needs and not opened.has_controls:
            return f"{stage.name} needs negative controls, and {opened.name} has none"
        if "controls" in stage.needs:
            control = opened.index["control"].to_numpy(bool)
            if any(not control[fold.test].any() for fold in target.folds):
                return f"{stage.name} needs controls in every test set of {target.split.name}"
            if any(not control[fold.train].any() for fold in target.folds):
                return f"{stage.name} needs controls in every training set of {target.split.name}"
        # What the recipe adds (standardising by plate) makes no method train batch by batch.
        if stage.kind == "network" and Access.TRAIN_BATCH in stage.cls.access(stage.params):
            batch = column_of(opened, stage.level)
            for fold in target.folds:
                if len(np.unique(batch[fold.train])) < 2:
                    raise BenchError(
                        f"{stage.name} trains batch by batch, but the training rows of "
                        f"{target.split.name} (fold {fold.name}) hold one {stage.level}: choose "
                        f"another level with --set {stage.name}.level=..., or another split"
                    )
    return ""


class Runner:
    """Makes runs, or finds them on disk.

    Parameters
    ----------
    store
        Where records are.
    options
        What is equal for all runs.
    say
        Takes one line for people.
    progress
        ``progress(label, done, total)``.
    """

    def __init__(
        self,
        store: Store,
        options: Options,
        say: Say = lambda line: None,
        progress: Callable[[str, int, int], None] = lambda label, done, total: None,
    ) -> None:
        self.store = store
        self.options = options
        self.say = say
        self.progress = progress
        self._probes: dict[str, Probe] = {}
        self._device: str | None = None
        self._sources: dict[tuple[str, ...], str] = {}
        self.made: set[str] = set()
        """Ids of the artifacts that this runner wrote; a rerun takes no others."""
        self.outdated: set[str] = set()
        """Ids of artifacts on disk that another version of the source made."""

    # ------------------------------------------------------------------ one run

    def run(self, job: Job) -> dict[str, Any]:
        """Return the record of a job: from disk if it is there, else made and committed."""
        spec = job.spec()
        run_id = digest(spec)
        found = self.store.find(run_id)
        if found is not None and self.options.if_exists == "skip":
            self._source_changed(job, found)
            known = {"method": job.chain.typed, "split": job.target.typed, "path": str(found.path)}
            return {**found.data, **known}
        artifacts: Artifacts = "keep"
        if self.options.if_exists == "rerun":
            artifacts = "renew"
        elif found is not None:
            artifacts = "ignore"
        if artifacts != "ignore":
            self.store.prepare()
        tables: tuple[Any, ...] = (_no_metrics(),)
        try:
            if job.not_applicable:
                raise NotApplicable(job.not_applicable)
            record, tables = self._make(job, spec, run_id, artifacts)
        except NotApplicable as error:
            record = self._head(job, spec, run_id, "not-applicable", str(error))
        except Exception as error:
            if isinstance(error, BenchError) and not isinstance(error, (RunFailed, AccessError)):
                raise
            where = self.store.fail(
                run_id,
                traceback.format_exc(),
                self._environment(),
                {"method": job.chain.typed, "split": job.target.typed, "seed": job.seed},
            )
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            if isinstance(error, BenchError):
                reason = str(error)
            record = self._head(job, spec, run_id, "failed", " ".join(reason.split()))
            record["path"] = str(where)
            return record
        if found is not None and artifacts == "ignore":
            same = all(record[key] == found[key] for key in ("status", "predictions_sha256"))
            record.update(verified=same, path=str(found.path))
            if not same:
                record["status"] = "failed"
                record["reason"] = (
                    "verify: the predictions differ from those on record; "
                    + _what_differs(found.data, record)
                )
            return record
        return self._commit(record, *tables, replace=artifacts == "renew")

    def _commit(self, record: dict[str, Any], *tables: Any, replace: bool) -> dict[str, Any]:
        path = self.store.commit(record, *tables, replace=replace)
        for fold in record["spec"]["folds"]:
            for stage in fold["stages"]:
                self.store.drop_scratch(stage["fit_id"])
        return {**record, "path": str(path)}

    # ------------------------------------------------------------------ making it

    def _make(
        self, job: Job, spec: Mapping[str, Any], run_id: str, artifacts: Artifacts
    ) -> tuple[dict[str, Any], tuple[Any, ...]]:
        from bench.evaluate import Scores

        provenance.reset_peak()
        target = job.target
        scores = Scores(target.split, target.opened, target.classes, job.registry)
        cost = {"fit_s": 0.0, "apply_s": 0.0, "steps": 0, "images_seen": 0}
        curves: list[dict[str, Any]] = []
        notes: dict[str, None] = {}
        adaptation: str | None = None
        fallbacks = train_fallbacks = 0
        sizes: list[int] = []
        for k, fold in enumerate(target.folds):
            label = job.chain.typed
            if len(target.folds) > 1:
                label += f" {fold.name} ({k + 1}/{len(target.folds)})"
            if not fold.scored.any():
                scores.leave_out(fold)
                notes[f"fold {fold.name} has nothing to score and was not trained"] = None
                continue
            made = _FoldRun(self, job, fold, label, artifacts)
            train, out_train, test, out_test = made.outputs()
            cost["fit_s"] += made.fit_s
            cost["apply_s"] += made.apply_s
            cost["steps"] += made.steps
            cost["images_seen"] += made.images_seen
            curves += made.curves
            notes.update(dict.fromkeys(made.notes))
            adaptation = adaptation or made.adaptation
            fallbacks += made.fallbacks["test"]
            train_fallbacks += made.fallbacks["train"]
            sizes += made.batch_sizes
            scores.add(
                fold,
                train,
                out_train,
                test,
                out_test,
                job.seed,
                key=f"{made.train_key}/{job.seed}",
                probes=self._probes,
            )
        scored = scores.finish(job.chain.readout)
        if scores.n_excluded:
            notes[
                f"{scores.n_excluded} test rows of {len(scores.excluded_classes)} classes without "
                "training rows were left out"
            ] = None
        for n, what in ((fallbacks, "test"), (train_fallbacks, "training")):
            if n:
                verb = "batch was" if n == 1 else "batches were"
                notes[f"{n} {what} {verb} too small and took the fallback"] = None
        record = self._head(job, spec, run_id, "ok", "")
        unranked = list(record["unranked_because"])
        if adaptation:
            unranked.append("undeclared adaptation")
        record.update(
            readout=scored.readout,
            metrics=scored.metrics(),
            clusters=dict(scored.clusters),
            n_eval=scored.n_eval,
            n_excluded=scores.n_excluded,
            excluded_classes=sorted(scores.excluded_classes),
            probe_C=scores.probe_c,
            batches={
                "n_test": len(sizes),
                "rows_min": min(sizes),
                "rows_median": float(np.median(sizes)),
                "rows_max": max(sizes),
                "fallbacks": fallbacks,
            },
            undeclared_adaptation=adaptation,
            ranked=not unranked,
            unranked_because=unranked,
            notes=[*record["notes"], *notes, *scored.used],
            cost={**cost, "peak_bytes": provenance.peak_bytes()},
            predictions_sha256=predictions_digest(scored.predictions),
        )
        return record, (scored.table, scored.predictions, _curve_table(curves))

    def _head(
        self, job: Job, spec: Mapping[str, Any], run_id: str, status: str, reason: str
    ) -> dict[str, Any]:
        target, chain = job.target, job.chain
        unranked = ["smoke recipe"] if job.recipe_name == "smoke" else []
        if target.opened.edition == "fixture":
            unranked.append("fixture edition")
        track = chain.track
        notes = list(target.warnings)
        if not target.supervised and track != "reference":
            track = "transductive"
            notes.append("no training set: every method was fitted on the rows that are scored")
        return {
            "schema": 1,
            "run_id": run_id,
            "spec": dict(spec),
            "method": chain.typed,
            "method_id": chain.method_id,
            "split": target.typed,
            "params": {stage.name: stage.changed() for stage in chain.stages},
            "level": chain.stages[-1].level,
            "track": track,
            "access": chain.access.words,
            "badges": chain.badges,
            "readout": chain.readout,
            "status": status,
            "reason": reason,
            "ranked": not unranked and status == "ok",
            "unranked_because": unranked,
            "metrics": {},
            "primary": target.split.metric,
            "clusters": {"level": "", "names": [], "n": [], "values": {}},
            "n_eval": 0,
            "n_excluded": 0,
            "excluded_classes": [],
            "n_classes": len(target.classes),
            "classes": list(target.classes),
            "chance": 1.0 / len(target.classes),
            "batches": {},
            "undeclared_adaptation": None,
            "notes": notes,
            "upstream": list(target.opened.upstream),
            "exposed": list(target.split.expose),
            "shift": target.split.shift,
            "cost": {"fit_s": 0.0, "apply_s": 0.0, "peak_bytes": 0, "steps": 0, "images_seen": 0},
            "predictions_sha256": "",
            "sources": _sources(chain),
            "provenance": {**self._environment(), "recipe": dict(job.recipe)},
        }

    def _environment(self) -> dict[str, Any]:
        return provenance.environment(
            device=self._device or "cpu", threads=threads(), precision="float32"
        )

    def _source_changed(self, job: Job, found: Any) -> None:
        then, now = found.get("sources"), _sources(job.chain)
        for name in sorted({*now, *then}) if then is not None else ():
            if then.get(name) != now.get(name):
                self.say(
                    f"note: {name} changed since this record was made; "
                    "--if-exists rerun makes it again"
                )

    def lineage(self, entries: Sequence[Entry]) -> str:
        """Return a digest of the source files that an artifact came about by."""
        key = tuple(entry.name for entry in entries)
        if key not in self._sources:
            paths = [path for entry in entries for path in entry.sources]
            self._sources[key] = digest(sorted(set(provenance.source_digests(paths).values())))
        return self._sources[key]

    # ------------------------------------------------------------------ torch, when needed

    def device(self) -> str:
        """Return the device in use and set the number of threads, once."""
        if self._device is None:
            import torch

            asked = self.options.device
            available = torch.cuda.is_available()
            if asked == "cuda" and not available:
                raise BenchError(
                    "--device cuda was asked for, but torch sees no CUDA device: use --device cpu, "
                    "or install a CUDA build of torch"
                )
            self._device = "cuda" if available and asked != "cpu" else "cpu"
            torch.set_num_threads(threads())
        return self._device


class _FoldRun:
    """All stages of a chain on one fold."""

    def __init__(
        self, runner: Runner, job: Job, fold: Fold, label: str, artifacts: Artifacts
    ) -> None:
        self.runner, self.job, self.fold = runner, job, fold
        self.label, self.artifacts = label, artifacts
        self.fit_s = self.apply_s = 0.0
        self.steps = self.images_seen = 0
        self.fallbacks = {"train": 0, "test": 0}
        self.curves: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.adaptation: str | None = None
        self.batch_sizes: list[int] = []
        self.train_key = ""

    def outputs(self) -> tuple[Side, Output, Side, Output]:
        """Fit and apply stage after stage; return both sides with their last output."""
        job, fold, target = self.job, self.fold, self.job.target
        ids = identity.stage_ids(
            job.chain,
            job.registry,
            target.opened,
            job.recipe,
            target.classes,
            fold.train,
            fold.test,
            job.seed,
            supervised=target.supervised,
            expose=target.split.expose,
        )
        out_train: Output | None = None
        out_test: Output | None = None
        for k, (stage, one) in enumerate(zip(job.chain.stages, ids, strict=True)):
            train = self._side(fold.train, stage.level, "train", labels=target.supervised)
            test = self._side(fold.test, stage.level, "test", labels=False)
            if out_train is not None and out_test is not None:
                train, test = train.with_profiles(out_train.X), test.with_profiles(out_test.X)
            if stage.kind == "reference":
                from bench.evaluate import reference_outputs

                out_train, out_test = reference_outputs(
                    stage.name, target.opened, train, test, target.classes, job.seed
                )
            else:
                out_train, out_test = self._stage(k, stage, one, train, test)
            self.train_key = one.apply_train
            if k == len(job.chain.stages) - 1:
                self.batch_sizes = [len(b) for b in grouping_of(test.batch, True) or []]
        assert out_train is not None
        assert out_test is not None
        return train, out_train, test, out_test

    def _side(self, rows: Any, level: str, role: str, *, labels: bool) -> Side:
        target = self.job.target
        return make_side(
            target.opened,
            rows,
            target.classes,
            level,
            role,
            identity.rows_digest(target.opened, rows),
            self.job.seed,
            labels=labels,
            expose=target.split.expose,
        )

    def _stage(
        self, k: int, stage: Stage, ids: identity.StageIds, train: Side, test: Side
    ) -> tuple[Output, Output]:
        access = stage.access
        owner = self.job.registry.entry("method", identity.fit_name(stage, self.job.registry)[0])
        before = [earlier.entry for earlier in self.job.chain.stages[:k]]
        made_by = self.runner.lineage([*before, owner, stage.entry])
        keys = {"train": ids.apply_train, "test": ids.apply_test}
        kept = {role: self._read("apply", key, made_by, stage) for role, key in keys.items()}
        outputs: dict[str, Output] = {}
        for role, artifact in kept.items():
            if artifact is not None:
                self._count(role, artifact.meta)
                arrays = artifact.arrays
                outputs[role] = Output(arrays["embeddings"], arrays.get("logits"))
        if kept["train"] is not None and kept["test"] is not None:
            # The chain costs what it would cost alone, and its curves are those of its training.
            self._trained(stage, kept["test"].meta["fit"])
            return outputs["train"], outputs["test"]
        method, trained = self._fitted(stage, ids, train, test, [*before, owner])
        self._trained(stage, trained)
        state = {name: array.copy() for name, array in method.state().items()}
        for role, side in (("train", train), ("test", test)):
            if role in outputs:
                continue
            view = side.view(access, batches=stage.per_batch)
            # By the opaque names: the order of the calls says nothing either.
            grouping = grouping_of(view.batch, stage.per_batch)
            # Of the rows alone, so that the same rows from another file are mixed alike.
            mixed = identity.rows_digest(side.opened, self._rows(role))
            seed = seed_for("chunks", mixed, self.job.seed)
            started = time.perf_counter()
            output = apply_all(method, access, view, grouping, seed)
            seconds = time.perf_counter() - started
            from bench.evaluate import check_output

            check_output(stage.name, output, len(side), side.n_classes)
            adaptation = None
            if role == "test":
                adaptation = undeclared_adaptation(
                    method,
                    access,
                    view,
                    grouping,
                    output,
                    seed,
                    lambda: self._rebuilt(stage, state),
                )
            facts = {
                "apply_s": seconds,
                "fallbacks": output.fallbacks,
                "notes": list(output.notes),
                "adaptation": adaptation,
                "fit": trained if role == "test" else None,
            }
            arrays = {"embeddings": output.X}
            if output.logits is not None:
                arrays["logits"] = output.logits
            self._write("apply", keys[role], arrays, facts, made_by)
            self._count(role, facts)
            outputs[role] = output
        return outputs["train"], outputs["test"]

    def _rows(self, role: str) -> Any:
        return self.fold.train if role == "train" else self.fold.test

    def _count(self, role: str, facts: Mapping[str, Any]) -> None:
        self.apply_s += facts["apply_s"]
        # Stages of a chain meet the same batches: the largest count, not the sum.
        self.fallbacks[role] = max(self.fallbacks[role], facts["fallbacks"])
        self.notes += facts["notes"]
        self.adaptation = self.adaptation or facts["adaptation"]

    def _read(self, kind: Kind, key: str, made_by: str, stage: Stage) -> Artifact | None:
        """Return what was kept, unless it is not wanted or another source made it."""
        runner = self.runner
        if self.artifacts == "ignore" or (self.artifacts == "renew" and key not in runner.made):
            return None
        artifact = runner.store.read_artifact(kind, key)
        if artifact is None or artifact.meta.get("made_by") == made_by:
            return artifact
        runner.outdated.add(key)
        if kind == "fit":
            runner.say(f"note: {stage.name} changed since its training was kept: trained again")
        return None

    def _write(
        self,
        kind: Kind,
        key: str,
        arrays: Mapping[str, Any],
        facts: Mapping[str, Any],
        made_by: str,
    ) -> None:
        if self.artifacts == "ignore":
            return
        runner = self.runner
        replace = key in runner.outdated or (self.artifacts == "renew" and key not in runner.made)
        meta = {**facts, "made_by": made_by}
        runner.store.write_artifact(kind, key, arrays, meta, replace=replace)
        runner.made.add(key)
        runner.outdated.discard(key)

    def _fitted(
        self,
        stage: Stage,
        ids: identity.StageIds,
        train: Side,
        test: Side,
        entries: Sequence[Entry],
    ) -> tuple[Any, Mapping[str, Any]]:
        """Return the fitted method, and what its training cost and logged."""
        runner, job, access = self.runner, self.job, stage.access
        made_by = runner.lineage(entries)
        kept = self._read("fit", ids.fit, made_by, stage)
        if stage.kind == "network":
            runner.device()
        if kept is not None:
            return self._rebuilt(stage, kept.arrays), kept.meta
        owner, _ = identity.fit_name(stage, job.registry)
        scratch = None
        if stage.kind == "network" and self.artifacts != "ignore":
            if self.artifacts == "renew":
                runner.store.drop_scratch(ids.fit)
            scratch = runner.store.scratch(ids.fit)
        points: list[tuple[int, str, float]] = []
        seen = {"steps": 0}
        log = _log(points)
        progress = _progress(seen, runner.progress, self.label)
        context = Context(
            seed=seed_for("fit", owner, train.opened.name, job.seed),
            recipe=dict(job.recipe),
            device=runner.device() if stage.kind == "network" else "cpu",
            scratch=scratch,
            log=log,
            progress=progress,
        )
        method = stage.cls(stage.params)
        view = train.view(
            access,
            batches=Access.TRAIN_BATCH in access,
            labels=job.target.supervised,
            wells=Access.TRAIN_WELL in access,
        )
        adapt = None
        if Access.ADAPT in access:
            adapt = test.view(access, batches=True)
        started = time.perf_counter()
        method.fit(view, adapt, context)
        # A network method says itself what went through it; any other reports by its progress.
        spent = getattr(method, "cost", None) or {"steps": seen["steps"], "images_seen": 0}
        facts = {
            "fit_s": time.perf_counter() - started,
            "steps": spent["steps"],
            "images_seen": spent["images_seen"],
            "curves": points,
        }
        self._write("fit", ids.fit, method.state(), facts, made_by)
        return method, facts

    def _rebuilt(self, stage: Stage, state: Mapping[str, Any]) -> Any:
        """Return a fitted method made from its state, on the device in use."""
        method = stage.cls.from_state(stage.params, state)
        if stage.kind == "network" and hasattr(method, "to"):
            method.to(self.runner.device())
        return method

    def _trained(self, stage: Stage, facts: Mapping[str, Any]) -> None:
        self.fit_s += facts["fit_s"]
        self.steps += facts["steps"]
        self.images_seen += facts["images_seen"]
        where = {"fold": self.fold.name, "stage": stage.name}
        self.curves += [
            {**where, "step": step, "name": name, "value": value}
            for step, name, value in facts["curves"]
        ]


def threads() -> int:
    """Return the number of threads of a fit: ``$BENCH_THREADS``, else all cores up to 8."""
    text = os.environ.get(THREADS, "")
    if not text:
        return min(os.cpu_count() or 1, 8)
    if not text.isdigit() or int(text) < 1:
        raise BenchError(f"${THREADS} is '{text}': set it to a whole number of at least 1")
    return int(text)


def _sources(chain: Chain) -> dict[str, str]:
    return provenance.source_digests(path for s in chain.stages for path in s.entry.sources)


# These two are made here, so that what a method is handed leads back to nothing but themselves.


def _log(points: list[tuple[int, str, float]]) -> Callable[..., None]:
    def log(step: int, **scalars: float) -> None:
        values = {name: float(value) for name, value in scalars.items()}
        # A record holds no NaN: a point that is no number is left out of the curve.
        points.extend((int(step), name, v) for name, v in values.items() if np.isfinite(v))

    return log


def _progress(
    seen: dict[str, int], show: Callable[[str, int, int], None], label: str
) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        seen["steps"] = done
        show(label, done, total)

    return progress


def _what_differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    then, now = old["provenance"], new["provenance"]
    changed = [
        key for key in ("python", "cpu", "device", "threads") if then.get(key) != now.get(key)
    ]
    packages = now.get("packages", {})
    changed += [k for k, v in then.get("packages", {}).items() if packages.get(k) != v]
    if old.get("sources") != new.get("sources"):
        changed.append("the method's source")
    return f"changed since: {', '.join(changed)}" if changed else "nothing on record changed"


def _no_metrics() -> Any:
    import pandas as pd

    return pd.DataFrame({"metric": [], "subset": [], "value": [], "n": []}).astype(
        {"metric": str, "subset": str, "value": float, "n": int}
    )


def _curve_table(points: list[dict[str, Any]]) -> Any:
    if not points:
        return None
    import pandas as pd

    return pd.DataFrame(points, columns=["fold", "stage", "step", "name", "value"])


__all__ = ["Job", "Options", "RunFailed", "Runner", "Target", "open_target", "plan"]


def default_results() -> Path:
    """Return the results folder: ``$BENCH_RESULTS``, else ``results`` here."""
    return Path(os.environ.get("BENCH_RESULTS") or "results")
