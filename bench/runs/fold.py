"""All stages of a chain on one fold: fit, apply, and what of it is on disk already."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.access import Access
from bench.core.method import Context
from bench.core.samples import Output
from bench.core.seeds import seed_for
from bench.data.views import Side, column_of, make_side
from bench.runs import identity
from bench.runs.apply import apply_all, grouping_of, undeclared_adaptation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from bench.data.grouping import Grouping
    from bench.data.sides import Fold
    from bench.runs.cache import Cache
    from bench.runs.chain import Stage
    from bench.runs.code import Codes
    from bench.runs.job import Job


class FoldRun:
    """All stages of a chain on one fold."""

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
        ids = job.ids(fold)
        if target.origin is not None:
            return self._transferred(ids)
        out_train: Output | None = None
        out_test: Output | None = None
        for k, (stage, one) in enumerate(zip(job.chain.stages, ids, strict=True)):
            train = self._side(fold.train, stage.level, "train", labels=target.supervised)
            test = self._side(fold.test, stage.level, "test", labels=False)
            if job.grouping is not None:
                test = self._grouped(job.grouping, test)
            if out_train is not None and out_test is not None:
                train, test = train.with_profiles(out_train.X), test.with_profiles(out_test.X)
            if stage.kind == "reference":
                from bench.scoring.controls import reference_outputs

                out_train, out_test = reference_outputs(
                    stage.name, target.opened, train, test, target.classes, job.seed
                )
                if stage.name == "identity":  # what every profile correction is compared with
                    facts = {"level": stage.level}
                    code = self.codes.of_stage(job, k)
                    self.cache.write("apply", one.apply_test, _arrays(test, out_test), facts, code)
            else:
                outputs = self._stage(k, stage, one, train, {"train": train, "test": test})
                out_train, out_test = outputs["train"], outputs["test"]
            self.train_key = one.apply_train
            if k == len(job.chain.stages) - 1:
                self.batch_sizes = [len(b) for b in grouping_of(test.batch, True) or []]
        assert out_train is not None
        assert out_test is not None
        return train, out_train, test, out_test

    def _transferred(self, ids: list[identity.StageIds]) -> tuple[Side, Output, Side, Output]:
        """Train the first stage on another data set; fit the later ones on the rows scored."""
        job, fold, target = self.job, self.fold, self.job.target
        origin = target.origin
        assert origin is not None
        out_train: Output | None = None
        out_test: Output | None = None
        for k, (stage, one) in enumerate(zip(job.chain.stages, ids, strict=True)):
            # Both are the rows that are scored, each in an order of its own.
            train = self._side(fold.test, stage.level, "train", labels=False)
            test = self._side(fold.test, stage.level, "test", labels=False)
            if stage.kind == "reference":
                from bench.scoring.controls import reference_outputs

                out_train, out_test = reference_outputs(
                    stage.name, target.opened, train, test, target.classes, job.seed
                )
            elif out_train is None or out_test is None:
                learnt = make_side(
                    origin.opened,
                    origin.train,
                    origin.classes,
                    stage.level,
                    "train",
                    identity.rows_digest(origin.opened, origin.train),
                    job.seed,
                    labels=True,
                )
                answers = replace(test, n_classes=len(origin.classes))
                out_test = self._stage(k, stage, one, learnt, {"test": answers})["test"]
                place = {int(row): i for i, row in enumerate(test.rows)}
                out_train = Output(out_test.X[[place[int(row)] for row in train.rows]])
            else:
                train, test = train.with_profiles(out_train.X), test.with_profiles(out_test.X)
                outputs = self._stage(k, stage, one, train, {"train": train, "test": test})
                out_train, out_test = outputs["train"], outputs["test"]
            self.batch_sizes = [len(b) for b in grouping_of(test.batch, True) or []]
        assert out_train is not None
        assert out_test is not None
        return train, out_train, test, out_test

    def network(self) -> Any:
        """Return the first stage fitted: from disk, or trained again if it is not there."""
        stage = self.job.chain.stages[0]
        train = self._side(self.fold.train, stage.level, "train", labels=self.job.target.supervised)
        test = self._side(self.fold.test, stage.level, "test", labels=False)
        return self._fitted(0, stage, self.job.ids(self.fold)[0], train, test)[0]

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

    def _grouped(self, grouping: Grouping, test: Side) -> Side:
        """Return the evaluation side as a study wants it, its rows the same for every stage."""
        from bench.scoring.labels import inference_batches

        if not grouping.drops_rows:
            return inference_batches(grouping, test, self.job.seed)
        # What is left out is drawn once, at the level that the chain corrects.
        level = next(stage.level for stage in self.job.chain.stages if stage.per_batch)
        whole = self._side(self.fold.test, level, "test", labels=False)
        left = inference_batches(grouping, whole, self.job.seed).rows
        return test.take(np.flatnonzero(np.isin(test.rows, left)))

    def _stage(
        self, k: int, stage: Stage, ids: identity.StageIds, train: Side, sides: dict[str, Side]
    ) -> dict[str, Output]:
        """Return the outputs of a stage that is fitted on ``train``, for each of ``sides``."""
        access = stage.access
        code = self.codes.of_stage(self.job, k)
        keys = {"train": ids.apply_train, "test": ids.apply_test}
        kept = {role: self.cache.read("apply", keys[role], code, stage.name) for role in sides}
        outputs: dict[str, Output] = {}
        for role, artifact in kept.items():
            if artifact is not None:
                self._count(role, artifact.meta)
                arrays = artifact.arrays
                outputs[role] = Output(arrays["embeddings"], arrays.get("logits"))
        if kept["test"] is not None and len(outputs) == len(sides):
            # The chain costs what it would cost alone, and its curves are those of its training.
            self._trained(stage, kept["test"].meta["fit"])
            return outputs
        method, trained = self._fitted(k, stage, ids, train, sides["test"])
        self._trained(stage, trained)
        state = {name: array.copy() for name, array in method.state().items()}
        for role, side in sides.items():
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
            from bench.scoring.result import check_output

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
                "level": stage.level,
                "train": keys["train"] if role == "test" else None,
            }
            self.cache.write("apply", keys[role], _arrays(side, output), facts, code)
            self._count(role, facts)
            outputs[role] = output
        return outputs

    def _rows(self, role: str) -> Any:
        learnt = role == "train" and self.job.target.origin is None
        return self.fold.train if learnt else self.fold.test

    def _count(self, role: str, facts: Mapping[str, Any]) -> None:
        self.apply_s += facts["apply_s"]
        # Stages of a chain meet the same batches: the largest count, not the sum.
        self.fallbacks[role] = max(self.fallbacks[role], facts["fallbacks"])
        self.notes += facts["notes"]
        self.adaptation = self.adaptation or facts["adaptation"]

    def _fitted(
        self,
        k: int,
        stage: Stage,
        ids: identity.StageIds,
        train: Side,
        test: Side,
    ) -> tuple[Any, Mapping[str, Any]]:
        """Return the fitted method, and what its training cost and logged."""
        job, access, network = self.job, stage.access, stage.kind == "network"
        code = self.codes.of_fit(job, k)
        kept = self.cache.read("fit", ids.fit, code, stage.name)
        device = self.device() if network else "cpu"
        if kept is not None:
            return self._rebuilt(stage, kept.arrays), kept.meta
        owner, _ = identity.fit_name(stage, job.registry)
        scratch = self.cache.scratch(ids.fit, code) if network else None
        points: list[tuple[int, str, float]] = []
        seen = {"steps": 0}
        log = _log(points)
        progress = _progress(seen, self.progress, self.label)
        known_as = train.opened.known_as or train.opened.name
        context = Context(
            seed=seed_for("fit", owner, known_as, job.seed),
            recipe=dict(job.recipe),
            device=device,
            scratch=scratch,
            log=log,
            progress=progress,
        )
        method = stage.cls(stage.params)
        view = train.view(
            access,
            batches=Access.TRAIN_BATCH in access,
            labels=True,  # a side without labels holds -1 throughout
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
        self.cache.write("fit", ids.fit, method.state(), facts, code)
        return method, facts

    def _rebuilt(self, stage: Stage, state: Mapping[str, Any]) -> Any:
        """Return a fitted method made from its state, on the device in use."""
        method = stage.cls.from_state(stage.params, state)
        if stage.kind == "network" and hasattr(method, "to"):
            method.to(self.device())
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


def _arrays(side: Side, output: Output) -> dict[str, NDArray[Any]]:
    """Return what is kept of an output: rows by their ids and batches, as UTF-8 (a quarter)."""
    arrays: dict[str, NDArray[Any]] = {
        "embeddings": output.X,
        "ids": np.char.encode(column_of(side.opened, "id")[side.rows], "utf-8"),
        "batch": np.char.encode(side.batch, "utf-8"),
    }
    if output.logits is not None:
        arrays["logits"] = output.logits
    return arrays


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
