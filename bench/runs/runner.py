"""Execute jobs and commit their records."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.canonical import digest
from bench.core.code_digest import differing, shortened
from bench.core.errors import AccessError, BenchError, NotApplicable, RunFailed
from bench.records.selection import rule
from bench.records.tables import predictions_digest
from bench.runs import provenance
from bench.runs.cache import Cache, Use
from bench.runs.code import Codes
from bench.runs.device import (
    Say,  # TC
    threads,
)
from bench.runs.fold import FoldRun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.data.sides import Fold
    from bench.records.store import Store
    from bench.runs.chain import Chain
    from bench.runs.job import Job, Options
    from bench.scoring.probe import Probe


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
        self._codes = Codes()
        self.made: set[str] = set()
        """Ids of artifacts that this runner wrote; a rerun uses no others."""

    # ------------------------------------------------------------------ one run

    def run(self, job: Job) -> dict[str, Any]:
        """Return the record of a job: from disk if it is there, else made and committed."""
        spec = job.spec()
        run_id = digest(spec)
        found = self.store.find(run_id)
        if found is not None and self.options.if_exists in ("skip", "refresh"):
            files = self._other_code(job, found)
            if not files or self.options.if_exists == "skip":
                if files:
                    self._note_other_code(job, files)
                typed = {"method": job.chain.typed, "split": job.target.typed}
                return {**found.data, **typed, "path": str(found.path)}
        artifacts: Use = "keep"
        if self.options.if_exists == "rerun":
            artifacts = "renew"
        elif self.options.if_exists == "verify" and found is not None:
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
                self._environment(job),
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
        return self._commit(record, *tables, replace=artifacts == "renew" or found is not None)

    def _commit(self, record: dict[str, Any], *tables: Any, replace: bool) -> dict[str, Any]:
        path = self.store.commit(record, *tables, replace=replace)
        for fold in record["spec"]["folds"]:
            for stage in fold["stages"]:
                self.store.drop_scratch(stage["fit_id"])
        return {**record, "path": str(path)}

    # ------------------------------------------------------------------ making it

    def _make(
        self, job: Job, spec: Mapping[str, Any], run_id: str, artifacts: Use
    ) -> tuple[dict[str, Any], tuple[Any, ...]]:
        from bench.scoring.scorer import Scores

        provenance.reset_peak()
        target = job.target
        scores = Scores(target.split, target.opened, target.classes, job.registry, job.masked)
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
            made = self.fold_run(job.of_fold(fold), fold, artifacts, label)
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
            metrics_rest_on=scored.rests_on,
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
        if not rule(job.selection).ranked:
            unranked.append(f"{job.selection}: selected on the test rows")
        if target.opened.edition == "fixture":
            unranked.append("fixture edition")
        if job.grouping is not None:
            unranked.append(f"study: {job.grouping.words}")
        if job.masked:
            unranked.append("which rows are controls is a label here")
        track = job.track
        notes = [*target.warnings, *target.opened.notes]
        if job.masked:
            notes.append(
                "controls are classes here and the method was told which rows they are: scored on "
                "the treatment classes, without an official rank"
            )
        notes += job.cautions
        if target.split.protocol == "unsupervised" and track != "reference":
            track = "transductive"
            notes.append("no training set: every method was fitted on the rows that are scored")
        if target.origin is not None and track != "reference":
            notes += _of_transfer(job)
            track = track if len(chain.stages) == 1 else "transductive"
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
            "access": job.access.words,
            "badges": chain.badges,
            "readout": chain.readout,
            "status": status,
            "reason": reason,
            "ranked": not unranked and status == "ok",
            "unranked_because": unranked,
            "metrics": {},
            "primary": job.primary,
            "lower_is_better": _lower_is_better(job),
            "clusters": {
                "level": "",
                "names": [],
                "n": [],
                "values": {},
                "parts": {},
                "weights": {},
            },
            "n_eval": 0,
            "n_excluded": 0,
            "excluded_classes": [],
            "n_classes": len(target.classes),
            "classes": list(target.classes),
            "chance": 1.0 / len(target.classes),
            "batches": {},
            "undeclared_adaptation": None,
            "notes": notes,
            "cautions": job.cautions,
            "upstream": list(target.opened.upstream),
            "exposed": list(target.split.expose),
            "shift": target.split.shift,
            **({"preprocess": chain.preprocess} if chain.preprocess else {}),
            "cost": {"fit_s": 0.0, "apply_s": 0.0, "peak_bytes": 0, "steps": 0, "images_seen": 0},
            "predictions_sha256": "",
            "sources": _sources(chain),
            "code": self._codes.of_run(job),
            **({"tuning": {**job.tuning, **job.tuning_facts}} if job.tuning else {}),
            "provenance": {**self._environment(job), "recipe": dict(job.recipe)},
        }

    def _environment(self, job: Job) -> dict[str, Any]:
        return provenance.environment(
            device=self._device or "cpu",
            threads=threads(),
            precision=str(job.recipe.get("precision", "float32")),
        )

    def fold_run(self, job: Job, fold: Fold, artifacts: Use = "keep", label: str = "") -> FoldRun:
        """Return the stages of a job on one fold, ready to be fitted and applied."""
        cache = Cache(self.store, artifacts, self.made, self.say)
        shown = label or job.chain.typed
        return FoldRun(job, fold, cache, self._codes, self.device, self.progress, shown)

    def _other_code(self, job: Job, record: Mapping[str, Any]) -> list[str]:
        """Return the files in which the code of a record differs from the code in use."""
        if "code" in record:
            now = self._codes.of_run(job)
            if record["code"]["digest"] == now["digest"]:
                return []
            return differing(record["code"]["files"], now["files"])
        if self.options.if_exists == "refresh":
            return ["its code is not recorded"]
        # Records without a digest of their code state the content of the method's files.
        return differing(record.get("sources") or {}, _sources(job.chain))

    def _note_other_code(self, job: Job, files: Sequence[str]) -> None:
        self.say(
            f"note: the record of {job.chain.typed} on {job.target.typed}, seed {job.seed}, was "
            f"made by other code ({shortened(files)}); --if-exists refresh repeats it"
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


def _of_transfer(job: Job) -> list[str]:
    """Say what was learned where."""
    origin, later = job.target.origin, [stage.name for stage in job.chain.stages[1:]]
    assert origin is not None
    notes = [f"the encoder was trained on {origin.split} and not changed", *origin.opened.notes]
    if later:
        notes.append(f"{', '.join(later)}: fitted on the rows that are scored, without labels")
    return notes


def _sources(chain: Chain) -> dict[str, str]:
    return provenance.source_digests(path for s in chain.stages for path in s.entry.sources)


def _lower_is_better(job: Job) -> list[str]:
    """Return which of the split's metrics are better when lower; plugins' are known here alone."""
    split = job.target.split
    names = dict.fromkeys((job.primary, split.metric, *split.metrics))
    metas = {name: job.registry.entry("metric", name).meta for name in names}
    return [name for name, meta in metas.items() if not meta.get("higher_is_better", True)]


def _what_differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    then, now = old["provenance"], new["provenance"]
    changed = [
        key for key in ("python", "cpu", "device", "threads") if then.get(key) != now.get(key)
    ]
    packages = now.get("packages", {})
    changed += [k for k, v in then.get("packages", {}).items() if packages.get(k) != v]
    if "code" in old:
        changed += differing(old["code"]["files"], new["code"]["files"])
    elif old.get("sources") != new.get("sources"):
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
