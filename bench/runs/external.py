"""Score predictions and embeddings that were computed elsewhere.

Embeddings are scored like the output of a method: by the shared probe, nearest neighbours and
retrieval. The record has the run id of its content, and the mark :data:`NOT_RUN_HERE`: nothing
about the model was checked but its output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.core.access import Access
from bench.core.errors import BenchError, did_you_mean
from bench.core.samples import Output
from bench.core.words import count
from bench.data.external import External, read_external
from bench.data.views import class_codes, column_of, make_partition
from bench.metrics import needs
from bench.records.record import Record
from bench.records.schema import NOT_RUN_HERE
from bench.runs import identity, provenance
from bench.runs.chain import Chain, Stage
from bench.runs.code import Codes
from bench.runs.job import Job, Options
from bench.runs.outline import add_results, outline
from bench.runs.plan import plan
from bench.scoring.labels import treatment_classes
from bench.scoring.scorer import Scores

if TYPE_CHECKING:
    from pathlib import Path

    from bench.core.registry import Registry
    from bench.core.types import Ints, Strings
    from bench.data.partitions import Fold
    from bench.data.task import Task
    from bench.data.views import Partition
    from bench.records.store import Store
    from bench.scoring.result import Scored

DECLARED = {
    "inductive": Access.NONE,
    "test-controls": Access.CONTROLS | Access.TEST_CONTROLS,
    "test-batch": Access.TEST_BATCH,
    "transductive": Access.ADAPT,
}
"""Track declared by the author -> access that it implies."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Submission:
    """What the author states about the outputs of a model.

    Attributes
    ----------
    name
        Name on boards.
    track
        A key of :data:`DECLARED`.
    deterministic
        Whether another seed of the model gives the same output.
    trained_on
        Ids of the samples that the model was trained on, if known.
    """

    name: str
    track: str
    deterministic: bool = False
    trained_on: frozenset[str] = frozenset()


def score(
    path: Path,
    task: Task,
    submission: Submission,
    registry: Registry,
    store: Store,
    *,
    seed: int = 0,
    kind: str = "auto",
    features: str | None = None,
) -> Record:
    """Score a table of predictions or embeddings on a split and commit the record.

    Parameters
    ----------
    path
        The table (``bench.data.external``).
    task
        The opened split.
    submission
        Name, declared track and training samples.
    registry, store
        Registry used to look up names, and results folder.
    seed
        Seed of the model, and of the probe.
    kind, features
        As for :func:`bench.data.external.read_external`.

    Raises
    ------
    BenchError
        If the name is taken, a sample is missing, duplicated or unknown, a value is not finite, or
        the model was trained on a test row.
    """
    _check(submission, task, registry)
    known = set(task.opened.index.columns)
    classes = task.classes if task.supervised else ()
    table = read_external(path, classes, known, kind=kind, features=features)
    if table.kind != "embeddings" and not task.supervised:
        raise BenchError(
            f"split '{task.split.name}' scores retrieval, and {path} has {table.kind}: score "
            "embeddings"
        )
    notes = _check_rows(table, task, submission)
    job = _job(table, task, submission, registry, seed)
    if job.masked and table.kind == "classes":
        raise BenchError(
            f"controls are classes of {task.opened.name}: a model that knows them is scored among "
            f"the treatments, which needs scores; {path} has classes"
        )
    spec = job.spec()
    run_id = identity.run_id(spec)
    environment = provenance.environment(device="cpu", threads=1, precision="float32")
    record = outline(job, spec, run_id, Codes().of_run(job), environment)
    scores = Scores(task.split, task.opened, task.classes, registry, job.masked)
    for fold in task.folds:
        if not fold.scored.any():
            scores.leave_out(fold)
        elif table.kind == "embeddings":
            _add_embeddings(scores, table, task, fold, seed)
        else:
            _add_predictions(scores, table, task, fold)
    scored = scores.finish(job.chain.readout)
    if table.kind != "embeddings":
        scored = _without(scored, table, task, registry)
    record["badges"] = [NOT_RUN_HERE]
    record["external"] = {"kind": table.kind, "sha256": table.digest, "file": table.path.name}
    add_results(record, scored, scores, notes)
    tables = (scored.table, scored.predictions, None)
    return Record(record, store.commit(record, *tables, replace=store.find(run_id) is not None))


def required_ids(task: Task) -> list[tuple[str, str, str]]:
    """Return id, fold and partition (``train`` or ``test``) of every row that is needed."""
    return [
        (str(name), fold.name, partition)
        for fold in task.folds
        for partition, rows in (("train", _labelled(task, fold)), ("test", fold.test[fold.scored]))
        for name in column_of(task.opened, "id")[rows]
    ]


def _check(submission: Submission, task: Task, registry: Registry) -> None:
    name = submission.name
    if not _NAME.fullmatch(name):
        raise BenchError(
            f"--name '{name}' may contain letters, digits, '.', '_' and '-' only: choose another"
        )
    if name in registry.names("method"):
        raise BenchError(
            f"--name '{name}' is a method of this benchmark: choose another name for your model"
        )
    if submission.track not in DECLARED:
        raise BenchError(f"--track: {did_you_mean(submission.track, list(DECLARED), 'track')}")
    if task.source_domain is not None:
        raise BenchError(
            f"split '{task.split.name}' scores an encoder trained on {task.source_domain.split}: "
            "score a split with its own training rows"
        )


def _check_rows(table: External, task: Task, submission: Submission) -> list[str]:
    """Refuse unknown rows and tested rows of the model's training; return notes."""
    path, all_ids = table.path, column_of(task.opened, "id")
    unknown = table.ids[~np.isin(table.ids, all_ids)]
    if unknown.size:
        raise BenchError(
            f"{path} has {len(unknown)} of {len(table.ids)} ids that are not in "
            f"{task.opened.name} (first: '{unknown[0]}', expected for example '{all_ids[0]}'): "
            "`--ids FILE` writes the ids that the split needs"
        )
    folds = [fold.name for fold in task.folds]
    if table.has_folds and (other := sorted(set(table.fold.tolist()) - {*folds})):
        raise BenchError(f"{path}, column fold: {did_you_mean(other[0], folds, 'fold')}")
    tested = _names(task, *(fold.test[fold.scored] for fold in task.folds))
    if leaked := sorted(tested & submission.trained_on):
        raise BenchError(
            f"the model was trained on {len(leaked)} test rows of {task.split.name} (first: "
            f"'{leaked[0]}'): train it without them, or choose a split without these rows"
        )
    notes = [f"{table.kind} from a file, not computed by labshift; track as declared"]
    if not submission.trained_on:
        notes.append("training rows of the model are not known, so leakage was not checked")
    if table.kind == "embeddings":
        notes.append(f"{count(len(table.columns), 'feature')} per row")
        if len(folds) > 1 and not table.has_folds and task.supervised:
            notes.append(
                "the same embeddings in every fold: valid if the model was trained on other data"
            )
        notes += _equal_rows(table, task)
    else:
        n_trained = sum(
            int((table.positions(fold.name, _ids(task, fold.train)) >= 0).sum())
            for fold in task.folds
            if table.has_folds or len(folds) == 1
        )
        if n_trained:
            notes.append(f"predictions of {count(n_trained, 'training row')} were ignored")
        if table.kind == "scores" and not table.probabilities:
            notes.append("scores are no probabilities: a softmax was applied")
    return notes


def _equal_rows(table: External, task: Task) -> list[str]:
    """Return a note about test embeddings that equal a training embedding."""
    if not task.supervised:
        return []
    n = 0
    for fold in task.folds:
        sides = []
        for rows in (_labelled(task, fold), fold.test[fold.scored]):
            at = table.required(fold.name, _ids(task, rows), "embedding")
            sides.append([row.tobytes() for row in table.X[at]])
        trained = set(sides[0])
        n += sum(row in trained for row in sides[1])
    return [f"{count(n, 'test row')} with the embedding of a training row"] if n else []


def _ids(task: Task, rows: Ints) -> Strings:
    return column_of(task.opened, "id")[rows]


def _names(task: Task, *sides: Ints) -> set[str]:
    return {name for rows in sides for name in _ids(task, rows).tolist()}


def _labelled(task: Task, fold: Fold) -> Ints:
    """Return the training rows that a readout is fitted on."""
    if not task.supervised:
        return fold.train[:0]
    return fold.train[class_codes(task.opened, fold.train, task.classes) >= 0]


def _job(table: External, task: Task, submission: Submission, registry: Registry, seed: int) -> Job:
    """Return a job with a single stage: the model, identified by the content of its output."""
    [base] = plan(["identity"], [task], [seed], Options(), registry)
    stage = base.chain.stages[-1]
    meta = stage.entry.meta.copy()
    meta["level"] = "profile" if table.kind == "embeddings" else "classifier"
    meta["fit"] = "identity"
    meta["deterministic"] = submission.deterministic
    outside = type("Outside", (stage.cls,), {"pinned": lambda params: {"sha256": table.digest}})
    own = Stage(
        replace(stage.entry, name=submission.name, meta=meta),
        outside,
        stage.params,
        stage.level,
        also=DECLARED[submission.track],
    )
    return replace(base, chain=Chain(submission.name, (own,)))


def _add_embeddings(scores: Scores, table: External, task: Task, fold: Fold, seed: int) -> None:
    """Add a fold like the output of a method: the same rows in the same order."""

    def side(role: str, rows: Ints, needed: Ints) -> tuple[Partition, Output]:
        opened = task.opened
        address = (role, identity.rows_digest(opened, rows), seed)
        labels = task.supervised and role == "train"
        partition = make_partition(
            opened, rows, task.classes, opened.level, *address, labels=labels
        )
        X = np.zeros((len(partition), table.X.shape[1]), np.float32)
        place = np.flatnonzero(np.isin(partition.rows, needed))
        ids = _ids(task, partition.rows[place])
        X[place] = table.X[table.required(fold.name, ids, f"{role} embedding")]
        return partition, Output(X)

    train = side("train", task.training_rows(fold), _labelled(task, fold))
    test = side("test", fold.test, fold.test[fold.scored])
    scores.add(fold, *train, *test, seed)


def _add_predictions(scores: Scores, table: External, task: Task, fold: Fold) -> None:
    """Add the predicted rows of a fold; no readout is fitted."""
    import pandas as pd

    opened, split = task.opened, task.split
    rows = fold.test[fold.scored]
    if scores.masked:
        treated = treatment_classes(opened, task.classes)
        rows = rows[treated[class_codes(opened, rows, task.classes)]]
    at = table.required(fold.name, _ids(task, rows), "test")
    scores.leave_out(fold)
    frame = pd.DataFrame(
        {
            "id": _ids(task, rows),
            "fold": fold.name,
            "y_true": class_codes(opened, rows, task.classes),
            **{f"level:{level}": column_of(opened, level)[rows] for level in opened.levels},
        }
    )
    if split.score_unit != "row":
        frame["unit"] = column_of(opened, split.score_unit)[rows]
    frame["head"] = list(table.scores(at, task.classes))
    scores.frames.append(frame)


def _without(scored: Scored, table: External, task: Task, registry: Registry) -> Scored:
    """Return the scores of predictions without the metrics that need what the file lacks."""
    lacking = {"embedding": "embeddings"}
    if table.kind == "classes":
        lacking["scores"] = "scores"
    bare = scored.table["metric"].str.rpartition(".")[2]
    names = {*bare, *task.split.metrics}
    kinds = {name: needs(name, registry) for name in sorted(names)}
    absent = {
        name: f"needs {lacking[kind]}, and the file has {table.kind}"
        for name, kind in kinds.items()
        if kind in lacking
    }
    return replace(
        scored,
        table=scored.table[~bare.isin(absent)].reset_index(drop=True),
        undefined={**scored.undefined, **absent},
    )
