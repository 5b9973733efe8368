"""Runs: chain of stages -> outputs -> record. The only caller of ``fit`` and ``apply``."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from bench.data import Side, make_side
from bench.errors import BenchError
from bench.recipes import resolve
from bench.splits import Fold, audit, folds, split_digest
from bench.store import Store, digest, predictions_digest

if TYPE_CHECKING:
    from bench.probe import Probe
    from bench.registry import Registry

Say = Callable[[str], None]
FEW_SEEDS = 3
"""With fewer seeds a row is marked and not ranked."""
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
            "recipe_overrides": dict(self.overrides),
            "recipe_digest": digest(dict(self.recipe)),
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
        For unknown names, parameters nobody has, or a batch-wise method on a training set with
        one batch.
    """
    jobs: list[Job] = []
    used: set[str] = set()
    for target in targets:
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


def _why_not(chain: Chain, target: Target) -> str:
    """Return why a chain cannot run on a split, or an empty string."""
    opened = target.opened
    for stage in chain.stages:
        if stage.name == "position-only" and not (
            opened.columns.get("position") or opened.columns.get("well")
        ):
            return f"{opened.name} has no column with the position on the plate"
        if stage.kind == "network" and not target.supervised:
            return f"{stage.name} needs labels to train on, and {target.split.name} gives none"
        if Access.TRAIN_WELL in stage.access and "well" not in opened.columns:
            return f"{stage.name} needs to know which rows share a well; {opened.name} does not say"
        if "controls" in stage.needs and not opened.has_controls:
            return f"{stage.name} needs negative controls, and {opened.name} has none"
        if "controls" in stage.needs:
            control = opened.index["control"].to_numpy(bool)
            if any(not control[fold.test].any() for fold in target.folds):
                return f"{stage.name} needs controls in every test set of {target.split.name}"
        if stage.kind == "network" and Access.TRAIN_BATCH in stage.access:
            batch = opened.index[stage.level].to_numpy(str)
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
        self._kept: dict[str, Output] = {}

    # ------------------------------------------------------------------ one run

    def run(self, job: Job) -> dict[str, Any]:
        """Return the record of a job: from disk if it is there, else made and committed."""
        spec = job.spec()
        run_id = digest(spec)
        found = self.store.find(run_id)
        if found is not None and self.options.if_exists == "skip":
            self._source_changed(job, found)
            return {**found.data, "method": job.chain.typed, "split": job.target.typed}
        if job.not_applicable:
            record = self._head(job, spec, run_id, "not-applicable", job.not_applicable)
            return self._commit(record, _no_metrics(), replace=found is not None)
        if found is None or self.options.if_exists == "rerun":
            self.store.prepare()
        fresh = found is not None
        try:
            record, tables = self._make(job, spec, run_id, fresh=fresh)
        except NotApplicable as error:
            record = self._head(job, spec, run_id, "not-applicable", str(error))
            return self._commit(record, _no_metrics(), replace=fresh)
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
        if fresh and found is not None and self.options.if_exists == "verify":
            same = record["predictions_sha256"] == found["predictions_sha256"]
            record["verified"] = same
            if not same:
                record["status"] = "failed"
                record["reason"] = (
                    "verify: the predictions differ from those on record; "
                    + _what_differs(found.data, record)
                )
            return record
        return self._commit(record, *tables, replace=fresh)

    def _commit(self, record: dict[str, Any], *tables: Any, replace: bool) -> dict[str, Any]:
        path = self.store.commit(record, *tables, replace=replace)
        for fold in record["spec"]["folds"]:
            for stage in fold["stages"]:
                self.store.drop_scratch(stage["fit_id"])
        return {**record, "path": str(path)}

    # ------------------------------------------------------------------ making it

    def _make(
        self, job: Job, spec: Mapping[str, Any], run_id: str, *, fresh: bool
    ) -> tuple[dict[str, Any], tuple[Any, ...]]:
        from bench.evaluate import Scores

        target = job.target
        scores = Scores(target.split, target.opened, target.classes)
        cost = {"fit_s": 0.0, "apply_s": 0.0, "steps": 0, "images_seen": 0}
        curves: list[dict[str, Any]] = []
        notes: dict[str, None] = {}
        adaptation: str | None = None
        fallbacks = 0
        sizes: list[int] = []
        for k, fold in enumerate(target.folds):
            label = job.chain.typed
            if len(target.folds) > 1:
                label += f" {fold.name} ({k + 1}/{len(target.folds)})"
            made = _FoldRun(self, job, fold, label, fresh)
            train, out_train, test, out_test = made.outputs()
            cost["fit_s"] += made.fit_s
            cost["apply_s"] += made.apply_s
            cost["steps"] += made.steps
            cost["images_seen"] += made.images_seen
            curves += made.curves
            notes.update(dict.fromkeys(made.notes))
            adaptation = adaptation or made.adaptation
            fallbacks += made.fallbacks
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
        if fallbacks:
            notes[f"{fallbacks} batches were too small and took the fallback"] = None
        record = self._head(job, spec, run_id, "ok", "")
        unranked = list(record["unranked_because"])
        if adaptation:
            unranked.append("undeclared adaptation")
        record.update(
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
        for name, now in _sources(job.chain).items():
            if found.get("sources", {}).get(name, now) != now:
                self.say(
                    f"note: {name} changed since this record was made; "
                    "--if-exists rerun makes it again"
                )

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

    def __init__(self, runner: Runner, job: Job, fold: Fold, label: str, fresh: bool) -> None:
        self.runner, self.job, self.fold = runner, job, fold
        self.label, self.fresh = label, fresh
        self.fit_s = self.apply_s = 0.0
        self.steps = self.images_seen = self.fallbacks = 0
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
        runner, access = self.runner, stage.access
        kept = [self._kept(key) for key in (ids.apply_train, ids.apply_test)]
        if kept[0] is not None and kept[1] is not None:
            return kept[0], kept[1]
        method = self._fitted(stage, ids, train, test)
        state = {name: array.copy() for name, array in method.state().items()}
        outputs: list[Output] = []
        for side, key, known in zip(
            (train, test), (ids.apply_train, ids.apply_test), kept, strict=True
        ):
            if known is not None:
                outputs.append(known)
                continue
            view = side.view(access, batches=stage.per_batch)
            grouping = grouping_of(side.batch, stage.per_batch)
            seed = seed_for("chunks", key)
            started = time.perf_counter()
            output = apply_all(method, access, view, grouping, seed)
            seconds = time.perf_counter() - started
            from bench.evaluate import check_output

            check_output(stage.name, output, len(side), side.n_classes)
            adaptation = None
            if side is test:
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
            }
            arrays = {"embeddings": output.X}
            if output.logits is not None:
                arrays["logits"] = output.logits
            if not self.fresh:
                runner.store.write_artifact("apply", key, arrays, facts)
            self._count(facts)
            outputs.append(output)
        return outputs[0], outputs[1]

    def _count(self, facts: Mapping[str, Any]) -> None:
        self.apply_s += facts["apply_s"]
        self.fallbacks += facts["fallbacks"]
        self.notes += facts["notes"]
        self.adaptation = self.adaptation or facts["adaptation"]

    def _kept(self, key: str) -> Output | None:
        if self.fresh:
            return None
        artifact = self.runner.store.read_artifact("apply", key)
        if artifact is None:
            return None
        self._count(artifact.meta)
        return Output(artifact.arrays["embeddings"], artifact.arrays.get("logits"))

    def _fitted(self, stage: Stage, ids: identity.StageIds, train: Side, test: Side) -> Any:
        runner, job, access = self.runner, self.job, stage.access
        kept = None if self.fresh else runner.store.read_artifact("fit", ids.fit)
        if stage.kind == "network":
            runner.device()
        if kept is not None:
            self._trained(kept.meta)
            return self._rebuilt(stage, kept.arrays)
        owner, _ = identity.fit_name(stage, job.registry)
        points: list[dict[str, Any]] = []
        seen = {"steps": 0}
        log = _log(points, self.fold.name, stage.name)
        progress = _progress(seen, runner.progress, self.label)
        context = Context(
            seed=seed_for("fit", owner, train.opened.name, job.seed),
            recipe=job.recipe,
            device=runner.device() if stage.kind == "network" else "cpu",
            scratch=runner.store.scratch(ids.fit) if stage.kind == "network" else None,
            log=log,
            progress=progress,
        )
        if self.fresh:
            runner.store.drop_scratch(ids.fit)
            if context.scratch is not None:
                context.scratch.mkdir(parents=True, exist_ok=True)
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
        }
        if not self.fresh:
            runner.store.write_artifact("fit", ids.fit, method.state(), facts)
        self.curves += points
        self._trained(facts)
        return method

    def _rebuilt(self, stage: Stage, state: Mapping[str, Any]) -> Any:
        """Return a fitted method made from its state, on the device in use."""
        method = stage.cls.from_state(stage.params, state)
        if stage.kind == "network" and hasattr(method, "to"):
            method.to(self.runner.device())
        return method

    def _trained(self, facts: Mapping[str, Any]) -> None:
        self.fit_s += facts["fit_s"]
        self.steps += facts["steps"]
        self.images_seen += facts["images_seen"]


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


def _log(points: list[dict[str, Any]], fold: str, stage: str) -> Callable[..., None]:
    def log(step: int, **scalars: float) -> None:
        points.extend(
            {"fold": fold, "stage": stage, "step": step, "name": name, "value": float(value)}
            for name, value in scalars.items()
        )

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
