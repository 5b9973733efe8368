"""Fit and apply all stages of a chain on one fold, or read them from disk."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.core.access import Access
from bench.core.control_names import is_control_row
from bench.core.method import Context
from bench.core.samples import Output
from bench.core.seeds import seed_for
from bench.data.views import Partition, column_of, make_partition
from bench.runs import identity
from bench.runs.apply import apply_all, grouping_of, undeclared_adaptation
from bench.runs.spent import Spent
from bench.scoring.controls import control_view
from bench.scoring.labels import inference_batches
from bench.scoring.result import check_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.core.method import Method
    from bench.core.types import Array, Arrays, Facts, Ints, JsonObject
    from bench.data.inference_batches import InferenceBatches
    from bench.data.partitions import Fold
    from bench.runs.cache import Cache
    from bench.runs.chain import Stage
    from bench.runs.code import Codes
    from bench.runs.job import Job


Outputs = dict[str, Output]
"""``train`` and ``test``: outputs of the rows of each side."""


class FoldRun:
    """All stages of a chain on one fold.

    Parameters
    ----------
    job, fold
        The job and the fold to run. The job has the parameters selected for this fold.
    cache, codes
        Artifacts on disk, and digests of the code that produces them.
    progress
        ``progress(label, done, total)`` reports training steps.

    Attributes
    ----------
    spent
        Costs and remarks, available after :meth:`outputs` returns.
    batch_sizes
        Rows in each test batch.
    train_key
        Identity of the profiles of the training rows.
    """

    def __init__(
        self,
        job: Job,
        fold: Fold,
        cache: Cache,
        codes: Codes,
        device: Callable[[], str],
        progress: Callable[[str, int, int], None] = lambda label, done, total: None,
        label: str = "",
    ) -> None:
        self.job, self.fold, self.cache, self.codes = job, fold, cache, codes
        self.device, self.progress, self.label = device, progress, label
        self.spent = Spent()
        self.batch_sizes: list[int] = []
        self.train_key = ""

    def outputs(self) -> tuple[Partition, Output, Partition, Output]:
        """Fit and apply all stages; return both sides with the output of the last stage."""
        profiles: Outputs = {}
        for k, ids in enumerate(self.job.ids(self.fold)):
            stage = self.job.chain.stages[k]
            train, test = self._partitions(stage)
            if profiles:
                train = train.with_profiles(profiles["train"].X)
                test = test.with_profiles(profiles["test"].X)
            if is_control_row(stage.kind):
                profiles = self._control_row(k, ids, train, test)
            elif (learnt := self._learnt(k, train)) is train:
                profiles = self._stage(k, ids, train, {"train": train, "test": test})
            else:
                scored = replace(test, n_classes=learnt.n_classes)
                output = self._stage(k, ids, learnt, {"test": scored})["test"]
                profiles = {"train": _reordered(output, test.rows, train.rows), "test": output}
            self.train_key = ids.apply_train
        self.batch_sizes = [len(batch) for batch in grouping_of(test.batch, True) or []]
        return train, profiles["train"], test, profiles["test"]

    def network(self) -> Method:
        """Return the fitted first stage, from disk if available, otherwise trained."""
        train, test = self._partitions(self.job.chain.stages[0])
        return self._fitted(0, self.job.ids(self.fold)[0], self._learnt(0, train), test)[0]

    def _partitions(self, stage: Stage) -> tuple[Partition, Partition]:
        """Return the training rows and the evaluation rows in the form that a stage sees."""
        task, fold = self.job.task, self.fold
        rows = task.training_rows(fold)
        train = self._partition(rows, stage.level, "train", labels=task.supervised)
        test = self._partition(fold.test, stage.level, "test", labels=False)
        if self.job.grouping is not None:
            test = self._grouped(self.job.grouping, test)
        return train, test

    def _partition(self, rows: Ints, level: str, role: str, *, labels: bool) -> Partition:
        task = self.job.task
        return make_partition(
            task.opened,
            rows,
            task.classes,
            level,
            role,
            identity.rows_digest(task.opened, rows),
            self.job.seed,
            labels=labels,
            expose=task.split.expose,
        )

    def _learnt(self, k: int, train: Partition) -> Partition:
        """Return the rows that a stage is fitted on: training rows, or rows of the source."""
        partition = self.job.task.stage_rows(k, self.fold)
        if partition.opened is train.opened:
            return train
        return make_partition(
            partition.opened,
            partition.rows,
            partition.classes,
            self.job.chain.stages[k].level,
            "train",
            identity.rows_digest(partition.opened, partition.rows),
            self.job.seed,
            labels=True,
        )

    def _grouped(self, grouping: InferenceBatches, test: Partition) -> Partition:
        """Return the evaluation side with a study's grouping, the same rows for every stage."""
        if not grouping.drops_rows:
            return inference_batches(grouping, test, self.job.seed)
        # Omitted rows are drawn once, at the batch level that the chain corrects.
        level = next(stage.level for stage in self.job.chain.stages if stage.per_batch)
        everything = self._partition(self.fold.test, level, "test", labels=False)
        left = inference_batches(grouping, everything, self.job.seed).rows
        return test.take(np.flatnonzero(np.isin(test.rows, left)))

    def _control_row(
        self, k: int, ids: identity.StageIds, train: Partition, test: Partition
    ) -> Outputs:
        """Return the outputs of a control row, which may see inputs that methods cannot."""
        stage, classes = self.job.chain.stages[k], self.job.task.classes
        method = stage.cls(stage.params)
        views = {
            role: control_view(partition, classes, profiles=method.reads_profiles)
            for role, partition in (("train", train), ("test", test))
        }
        method.fit(views["train"], None, Context(seed=self.job.seed, recipe={}))
        outputs = {role: method.apply(view) for role, view in views.items()}
        if stage.name == "identity":  # the baseline of every profile correction
            code = self.codes.of_stage(self.job, k)
            arrays = _arrays(test, outputs["test"])
            self.cache.write("apply", ids.apply_test, arrays, {"level": stage.level}, code)
        return outputs

    def _stage(
        self, k: int, ids: identity.StageIds, learnt: Partition, partitions: dict[str, Partition]
    ) -> Outputs:
        """Return the outputs of a stage fitted on ``learnt``, for each of ``partitions``."""
        stage = self.job.chain.stages[k]
        code = self.codes.of_stage(self.job, k)
        keys = {"train": ids.apply_train, "test": ids.apply_test}
        outputs: Outputs = {}
        fit: Facts | None = None
        for role in partitions:
            artifact = self.cache.read("apply", keys[role], code, stage.name)
            if artifact is None:
                continue
            self.spent.add_apply(role, artifact.meta)
            arrays = artifact.arrays
            outputs[role] = Output(arrays["embeddings"], arrays.get("logits"))
            fit = artifact.meta["fit"] or fit
        if fit is not None and len(outputs) == len(partitions):
            self.spent.add_fit(self.fold.name, stage.name, fit)
            return outputs
        method, fit = self._fitted(k, ids, learnt, partitions["test"])
        self.spent.add_fit(self.fold.name, stage.name, fit)
        state = {name: array.copy() for name, array in method.state().items()}
        for role in [role for role in partitions if role not in outputs]:
            output, facts = self._applied(stage, method, state, role, partitions[role])
            of_test = role == "test"
            facts |= {"fit": fit if of_test else None, "train": keys["train"] if of_test else None}
            self.cache.write("apply", keys[role], _arrays(partitions[role], output), facts, code)
            self.spent.add_apply(role, facts)
            outputs[role] = output
        return outputs

    def _applied(
        self, stage: Stage, method: Method, state: Arrays, role: str, partition: Partition
    ) -> tuple[Output, JsonObject]:
        """Apply a fitted method to a side; check its output and its access."""
        access = stage.access
        view = partition.view(access, batches=stage.per_batch)
        # Group by the anonymised names, so that the call order carries no information.
        grouping = grouping_of(view.batch, stage.per_batch)
        task, fold = self.job.task, self.fold
        rows = fold.test if role == "test" else task.training_rows(fold)
        # Depends on the rows only, so the same rows from another file are mixed in the same way.
        seed = seed_for("chunks", identity.rows_digest(partition.opened, rows), self.job.seed)
        started = time.perf_counter()
        output = apply_all(method, view, grouping, seed)
        seconds = time.perf_counter() - started
        check_output(stage.name, output, len(partition), partition.n_classes)
        adaptation = None
        if role == "test":

            def rebuild() -> Method:
                return self._rebuilt(stage, state)

            adaptation = undeclared_adaptation(
                method, access, view, grouping, output, seed, rebuild
            )
        return output, {
            "apply_s": seconds,
            "fallbacks": output.fallbacks,
            "notes": list(output.notes),
            "adaptation": adaptation,
            "level": stage.level,
        }

    def _fitted(
        self, k: int, ids: identity.StageIds, learnt: Partition, test: Partition
    ) -> tuple[Method, Facts]:
        """Return a fitted method, with the cost and the curves of its training."""
        job, stage = self.job, self.job.chain.stages[k]
        access, network = stage.access, stage.kind == "network"
        code = self.codes.of_fit(job, k)
        kept = self.cache.read("fit", ids.fit, code, stage.name)
        device = self.device() if network else "cpu"
        if kept is not None:
            return self._rebuilt(stage, kept.arrays), kept.meta
        owner, _ = identity.fit_name(stage, job.registry)
        points: list[tuple[int, str, float]] = []
        seen = {"steps": 0}
        context = Context(
            seed=seed_for("fit", owner, learnt.opened.known_as or learnt.opened.name, job.seed),
            recipe=dict(job.recipe),
            device=device,
            scratch=self.cache.scratch(ids.fit, code) if network else None,
            log=_log(points),
            progress=_progress(seen, self.progress, self.label),
        )
        method: Method = stage.cls(stage.params)
        view = learnt.view(
            access,
            batches=Access.TRAIN_BATCH in access,
            labels=True,  # a side without labels has -1 for all rows
            wells=Access.TRAIN_WELL in access,
        )
        adapt = test.view(access, batches=True) if Access.ADAPT in access else None
        started = time.perf_counter()
        method.fit(view, adapt, context)
        # A network method counts the rows itself; for others, use the steps reported as progress.
        spent = getattr(method, "cost", None) or {"steps": seen["steps"], "images_seen": 0}
        facts = {
            "fit_s": time.perf_counter() - started,
            "steps": spent["steps"],
            "images_seen": spent["images_seen"],
            "curves": points,
        }
        self.cache.write("fit", ids.fit, method.state(), facts, code)
        return method, facts

    def _rebuilt(self, stage: Stage, state: Mapping[str, Array]) -> Method:
        """Rebuild a fitted method from its state, on the current device."""
        method: Method = stage.cls.from_state(stage.params, state)
        if stage.kind == "network" and hasattr(method, "to"):
            method.to(self.device())
        return method


def _reordered(output: Output, rows: Ints, wanted: Ints) -> Output:
    """Return an output with its rows in another order."""
    place = {row: i for i, row in enumerate(rows.tolist())}
    return Output(output.X[[place[row] for row in wanted.tolist()]])


def _arrays(partition: Partition, output: Output) -> Arrays:
    """Return the arrays of an output to store, with ids and batches of its rows in UTF-8."""
    arrays: Arrays = {
        "embeddings": output.X,
        "ids": np.char.encode(column_of(partition.opened, "id")[partition.rows], "utf-8"),
        "batch": np.char.encode(partition.batch, "utf-8"),
    }
    if output.logits is not None:
        arrays["logits"] = output.logits
    return arrays


# Separate closures, so that methods cannot reach other objects through their arguments.


def _log(points: list[tuple[int, str, float]]) -> Callable[..., None]:
    def log(step: int, **scalars: float) -> None:
        values = {name: float(value) for name, value in scalars.items()}
        # Records cannot store NaN, so non-finite points are dropped.
        points.extend((int(step), name, v) for name, v in values.items() if np.isfinite(v))

    return log


def _progress(
    seen: dict[str, int], show: Callable[[str, int, int], None], label: str
) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        seen["steps"] = done
        show(label, done, total)

    return progress
