"""Execute jobs and commit their records."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import numpy as np

from bench.core.code_digest import differing
from bench.core.errors import AccessError, BenchError, NotApplicable, RunFailed
from bench.core.guard import guarded
from bench.core.isolated import host
from bench.core.time_limit import time_limit
from bench.core.words import count, listed
from bench.data.near import copies
from bench.records.embeddings import skipped_fold
from bench.records.record import Record
from bench.records.tables import curve_table, no_metrics
from bench.runs import identity, isolation, provenance
from bench.runs.cache import Cache, Use
from bench.runs.code import Codes
from bench.runs.device import threads
from bench.runs.fold import FoldRun
from bench.runs.outline import add_results, method_sources, outline
from bench.runs.spent import Spent

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from bench.data.partitions import Fold
    from bench.records.schema import Provenance, RunRecord, Spec, Status
    from bench.records.store import Store
    from bench.runs.device import Say
    from bench.runs.job import Job, Options
    from bench.scoring.probe import Probe
    from bench.scoring.scorer import Scores

    Tables = tuple[pd.DataFrame, pd.DataFrame | None, pd.DataFrame | None]


class Runner:
    """Executes jobs, or reads their records from disk.

    Parameters
    ----------
    progress
        ``progress(label, done, total)``.

    Attributes
    ----------
    written
        Ids of artifacts written by this runner; a rerun uses no others.
    known
        Records that other processes made for this call, by run id; failed ones are not repeated.
    codes
        Digests of the code of stages and runs.
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
        self.written: set[str] = set()
        self.known: dict[str, Record] = {}
        self._probes: dict[str, Probe] = {}
        self._device: str | None = None
        self.codes = Codes()

    def run(self, job: Job) -> Record:
        """Return the record of a job, from disk if it exists; otherwise run it and commit it.

        Returns
        -------
        Record
            Its status is ``ok``, ``not-applicable`` or ``failed``. The path of a failed run is the
            folder with its traceback.

        Raises
        ------
        BenchError
            If the input is invalid. A run that fails for another reason has the status ``failed``.
        """
        spec = job.spec()
        run_id = identity.run_id(spec)
        if run_id in self.known:
            return self.known[run_id].renamed(job.chain.typed, job.task.typed)
        try:
            stored = self._stored(run_id)
        except BenchError as error:
            if self.options.if_exists != "verify":
                raise
            return self._unverified(job, spec, run_id, f"verify: {error}")
        if stored is not None and self._serves(job, stored):
            return stored.renamed(job.chain.typed, job.task.typed)
        use: Use = "keep"
        if self.options.if_exists == "rerun":
            use = "renew"
        elif self.options.if_exists == "verify" and stored is not None:
            use = "ignore"
        if use == "ignore":
            return self._executed(job, spec, run_id, use, stored)
        self.store.prepare()
        name = f"{job.chain.typed} on {job.task.typed}, seed {job.seed}"
        release = self.store.lock(
            run_id, lambda: self.say(f"{name}: waiting for another process that makes the same run")
        )
        try:
            stored = self.store.find(run_id)
            if use == "keep" and stored is not None and self._serves(job, stored):
                return stored.renamed(job.chain.typed, job.task.typed)
            return self._executed(job, spec, run_id, use, stored)
        finally:
            release()

    def _executed(
        self, job: Job, spec: Spec, run_id: str, use: Use, stored: Record | None
    ) -> Record:
        """Make a run and commit its record."""
        try:
            record, tables = self._guarded(job, spec, run_id, use)
        except Exception as error:
            if isinstance(error, BenchError) and not isinstance(error, (RunFailed, AccessError)):
                raise
            return self.failed(job, error)
        if use == "ignore" and stored is not None:
            return self._verified(job, spec, record, stored)
        replace = use == "renew" or stored is not None
        path = self.store.commit(record, *tables, replace=replace)
        for fold in spec["folds"]:
            for stage in fold["stages"]:
                self.store.drop_scratch(stage["fit_id"])
        return self.store.find(run_id) or Record(record, path)

    def stored(self, job: Job) -> Record | None:
        """Return the record of a job if it is on disk and need not be repeated."""
        record = self.store.find(identity.run_id(job.spec()))
        return record if record is not None and self._serves(job, record) else None

    def failed(self, job: Job, error: Exception) -> Record:
        """Save the traceback of the exception being handled; return a record of status failed.

        The record is not committed, so the run is repeated next time.
        """
        spec = job.spec()
        run_id = identity.run_id(spec)
        path = self.store.fail(run_id, traceback.format_exc(), self._environment(job), job.request)
        reason = str(error) if isinstance(error, BenchError) else last_line(error)
        record = self._outline(job, spec, run_id, "failed", " ".join(reason.split()))
        return Record(record, path)

    def _serves(self, job: Job, stored: Record) -> bool:
        """Return whether an existing record can be used; report if its code differs."""
        if self.options.if_exists not in ("skip", "refresh"):
            return False
        if not isolation.serves(stored.data.get("isolated"), isolation.of_chain(job.chain)):
            self.say(
                f"note: {job.chain.typed} on {job.task.typed}, seed {job.seed}, is repeated: its "
                "record was made with less isolation"
            )
            return False
        files = self._other_code(job, stored)
        if files and self.options.if_exists == "refresh":
            return False
        then = stored.data["provenance"].get("threads", threads())
        if then != threads() and any(stage.kind == "network" for stage in job.chain.stages):
            self.say(
                f"note: the record of {job.chain.typed} on {job.task.typed}, seed {job.seed}, "
                f"was made with {count(then, 'thread')}, and a fit uses {threads()} now: numbers "
                "of networks on images can differ"
            )
        if files:
            self.say(
                f"note: the record of {job.chain.typed} on {job.task.typed}, seed {job.seed}, "
                f"was made by other code ({listed(files, 3)}); --if-exists refresh repeats it"
            )
        return True

    def _other_code(self, job: Job, record: Record) -> list[str]:
        """Return the files that differ between a record's code and the current code."""
        if "code" in record.data:
            return differing(record.data["code"]["files"], self.codes.of_run(job)["files"])
        if self.options.if_exists == "refresh":
            return ["not recorded"]
        # Older records store only digests of the method's files.
        return differing(record.sources, method_sources(job.chain))

    def _stored(self, run_id: str) -> Record | None:
        """Return the record of a run. Only ``--if-exists verify`` raises if it is damaged."""
        verify = self.options.if_exists == "verify"
        return self.store.read(run_id) if verify else self.store.find(run_id)

    def _unverified(self, job: Job, spec: Spec, run_id: str, reason: str) -> Record:
        record = self._outline(job, spec, run_id, "failed", reason)
        record["verified"] = False
        return Record(record, self.store.path_of(run_id))

    def _verified(self, job: Job, spec: Spec, record: RunRecord, stored: Record) -> Record:
        """Return a repeated run with the result of comparing it with its record."""
        from bench.runs.verify import check, compare

        result = check(stored, job.registry).merged(compare(stored.data, record))
        if result.answer == "different":
            return self._unverified(job, spec, record["run_id"], f"verify: {result.text}")
        record["verified"] = True
        record["notes"].append(f"verified: {result.text}")
        return Record(record, stored.path)

    def _outline(
        self, job: Job, spec: Spec, run_id: str, status: Status = "ok", reason: str = ""
    ) -> RunRecord:
        code, environment = self.codes.of_run(job), self._environment(job)
        return outline(job, spec, run_id, code, environment, status=status, reason=reason)

    def _environment(self, job: Job) -> Provenance:
        return provenance.environment(
            device=self._device or "cpu",
            threads=threads(),
            precision=str(job.recipe.get("precision", "float32")),
        )

    def _guarded(self, job: Job, spec: Spec, run_id: str, use: Use) -> tuple[RunRecord, Tables]:
        """Fit, apply and score; undo what the method changed for the methods after it.

        Raises
        ------
        RunFailed
            If the method ends the process, replaces a function of the benchmark, or changes the
            record of another run.
        """
        notes: list[str] = []
        if not job.not_applicable:
            self._import_scoring(job)
            notes = copies(job.task, self.say)
        name, error = job.chain.typed, None
        isolated = isolation.of_chain(job.chain)
        with isolation.watched_records(self.store, isolated) as edited, guarded() as changes:
            try:
                with time_limit(self.options.timeout):
                    record, tables = self._computed(job, spec, run_id, use)
            except KeyboardInterrupt:
                raise
            except BaseException as raised:  # noqa: BLE001 - SystemExit, too: other methods still run
                error = raised
            finally:
                host.close_all()
        for setting in changes.settings:
            self.say(f"warning: {name} changed {setting}; it was restored")
        if changes.functions:
            raise RunFailed(
                f"{name} replaced {listed(changes.functions, 3)}, which was restored: a method "
                "must not change the benchmark"
            ) from error
        if edited:
            raise RunFailed(
                f"{name} changed the records of other runs ({listed(edited, 3)}): delete their "
                "folders and run them again; --isolate all prevents it"
            ) from error
        if isinstance(error, Exception):
            raise error
        if error is not None:
            raise RunFailed(f"{name} raised {error!r}") from error
        record["notes"] += notes
        if changes.settings:
            record["notes"].append(f"changed and restored: {', '.join(changes.settings)}")
        return record, tables

    def _import_scoring(self, job: Job) -> None:
        """Import what scores a run, so that replaced functions are noticed."""
        import sklearn.linear_model  # noqa: F401 - also before the memory of the run is counted

        import bench.scoring.scorer  # noqa: F401

        for name in job.metric_versions:
            job.registry.entry("metric", name).load()
        if any(stage.kind == "network" for stage in job.chain.stages):
            self.device()  # imports torch and sets its number of threads

    def _computed(self, job: Job, spec: Spec, run_id: str, use: Use) -> tuple[RunRecord, Tables]:
        """Fit, apply and score all folds."""
        from bench.scoring.scorer import Scores

        try:
            if job.not_applicable:
                raise NotApplicable(job.not_applicable)
            provenance.reset_peak()
            memory = provenance.peak_bytes()
            task = job.task
            scores = Scores(task.split, task.opened, task.classes, job.registry, job.masked)
            spent, notes, sizes = self._all_folds(job, scores, use)
            scored = scores.finish(job.chain.readout)
        except NotApplicable as error:
            record = self._outline(job, spec, run_id, "not-applicable", str(error))
            return record, (no_metrics(), None, None)
        if scores.n_excluded:
            notes.append(
                f"{scores.n_excluded} test rows of {len(scores.excluded_classes)} classes without "
                "training rows were left out"
            )
        for side, adjective in (("test", "test"), ("train", "training")):
            if n := spent.fallbacks[side]:
                verb = "was" if n == 1 else "were"
                batches = count(n, f"{adjective} batch")
                notes.append(f"{batches} {verb} too small and took the fallback")
        record = self._outline(job, spec, run_id)
        unranked = list(record["unranked_because"])
        if spent.adaptation:
            unranked.append("undeclared adaptation")
        add_results(record, scored, scores, notes)
        record |= {
            "batches": {
                "n_test": len(sizes),
                "rows_min": min(sizes),
                "rows_median": float(np.median(sizes)),
                "rows_max": max(sizes),
                "fallbacks": spent.fallbacks["test"],
            },
            "undeclared_adaptation": spent.adaptation,
            "ranked": not unranked,
            "unranked_because": unranked,
            "cost": {
                "fit_s": spent.fit_s,
                "apply_s": spent.apply_s,
                "steps": spent.steps,
                "images_seen": spent.images_seen,
                "peak_bytes": provenance.peak_bytes() - memory,
            },
        }
        return record, (scored.table, scored.predictions, curve_table(spent.curves))

    def _all_folds(self, job: Job, scores: Scores, use: Use) -> tuple[Spent, list[str], list[int]]:
        """Run all folds and add their outputs to the scores; return costs, notes, batch sizes."""
        spent, notes, sizes = Spent(), [], []
        folds = job.task.folds
        for k, fold in enumerate(folds):
            if not fold.scored.any():
                scores.leave_out(fold)
                notes.append(skipped_fold(fold.name))
                continue
            number = f" {fold.name} ({k + 1}/{len(folds)})" if len(folds) > 1 else ""
            run = self.fold_run(job.of_fold(fold), fold, use, job.chain.typed + number)
            try:
                sides = run.outputs()
            finally:
                run.cache.release()
            spent.add_fold(run.spent)
            notes += run.spent.notes
            sizes += run.batch_sizes
            key = f"{run.train_key}/{job.seed}"
            scores.add(fold, *sides, job.seed, key=key, probes=self._probes)
        return spent, notes, sizes

    def fold_run(self, job: Job, fold: Fold, use: Use = "keep", label: str = "") -> FoldRun:
        """Return the stages of a job on one fold, ready to be fitted and applied."""
        cache = Cache(self.store, use, self.written, self.say)
        cache.isolated = isolation.of_artifacts(job, fold)
        shown = label or job.chain.typed
        return FoldRun(job, fold, cache, self.codes, self.device, self.progress, shown)

    def device(self) -> str:
        """Return the device in use; sets the number of threads on the first call."""
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


def last_line(error: BaseException) -> str:
    """Return class and message of an exception, also if its message cannot be computed."""
    return traceback.format_exception_only(error)[-1].strip()
