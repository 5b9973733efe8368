"""Splits derived from the training rows of a split: validation sets and ordinary hold-outs.

Test rows of the split are never read, with one exception: :func:`mixed_to_test` trains on test
plates to measure the generalisation gap on the test distribution (WILDS, Koh et al. 2021,
section 5.1). It must not be used for model selection.

The held-out rows have their own seed address (``generator("carve", …)``). They are the same for
every method, seed and recipe, and differ between splits.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError
from bench.core.seeds import generator
from bench.core.split import identity_name
from bench.data.audit import audit, split_digest
from bench.data.partitions import Fold
from bench.data.task import Task
from bench.data.views import column_of
from bench.records.selection import Derived, derived_name, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.dataset import Opened
    from bench.core.types import Array, Ints


SHARE = 0.25
"""Share of the rows, wells or batches in each held-out set."""


def validation(task: Task, fold: Fold, name: str, *, level: str = "", parts: int = 2) -> list[Task]:
    """Return the validation splits that a selection rule scores candidates on, for one fold.

    Parameters
    ----------
    task, fold
        The split, and the fold whose training rows are partitioned.
    name
        ``id-val``, ``ood-val`` or ``leave-one-batch-out``.
    level
        Batch level to hold out. If empty, the default of the data set.
    parts
        Number of disjoint held-out sets of rows or batches, at most the number of groups.
        ``leave-one-batch-out`` always has one per batch.

    Raises
    ------
    BenchError
        If the training rows have too few batches for the rule, or no held-out row has a class
        that also occurs in the remaining rows. The message names a rule that can be used.
    """
    column, used = _grouping(task.opened, name, level)
    groups = _groups(column[fold.train])
    _check_batches(task, fold, name, used, len(groups))
    if name == "leave-one-batch-out":
        sets = [[group] for group in groups]
    else:
        sets = _disjoint(groups, parts, task, fold, name, used)
    of_fold = fold.name if len(task.folds) > 1 else ""
    held_folds = []
    for held in sets:
        held_fold = _without(task, fold, column, held)
        if held_fold is not None:
            held_folds.append(held_fold)
    if not held_folds:
        raise BenchError(
            f"{name} cannot be used on {task.split.name}{_of(of_fold)}: the held-out {used}s share "
            "no class with the other training rows; choose --rule id-val"
        )
    return [
        _derived(
            task,
            Derived(task.split.name, name, level, part, len(held_folds), of_fold),
            f"validation: {rule(name).summary}",
            [dataclasses.replace(held_fold, name=fold.name)],
        )
        for part, held_fold in enumerate(held_folds, 1)
    ]


def oracle(task: Task, fold: Fold) -> Task:
    """Return one fold with its own test rows under a derived name, for oracle selection only."""
    of_fold = fold.name if len(task.folds) > 1 else ""
    name = Derived(task.split.name, "oracle", fold=of_fold)
    return _derived(task, name, f"oracle: {rule('oracle').summary}", [fold])


def check_only_training(task: Task, fold: Fold, derived: Sequence[Task]) -> None:
    """Raise :class:`BenchError` if a derived split has a row outside the fold's training rows.

    Called on every split that is scored for model selection.
    """
    ids = column_of(task.opened, "id")
    mine = set(ids[fold.train].tolist())
    for validation in derived:
        for part in validation.folds:
            for partition in (part.train, part.validation, part.test):
                foreign = set(column_of(validation.opened, "id")[partition].tolist()) - mine
                if foreign:
                    raise BenchError(
                        f"selection on the test set is refused: {validation.split.name} has "
                        f"{len(foreign)} rows outside the training rows of {task.split.name}"
                        f"{_of(fold.name)}, such as '{min(foreign)}'"
                    )


def _of(fold: str) -> str:
    return f", fold {fold}" if fold else ""


def _grouping(opened: Opened, name: str, level: str) -> tuple[Array, str]:
    """Return the group of each row, ``(n,)``, and the noun for a group."""
    if name == "id-val":
        return _wells(opened)
    if level and level not in opened.levels:
        raise BenchError(
            f"--level is '{level}', but the batch levels of {opened.name} are "
            f"{', '.join(opened.levels)}"
        )
    used = level or opened.level
    return column_of(opened, used), used


def _wells(opened: Opened) -> tuple[Array, str]:
    well = opened.columns.get("well", "well")
    if well in opened.index.columns:
        column = column_of(opened, well)
        if (column != "").all():
            return column, "well"
    return column_of(opened, "id"), "row"


def _groups(column: Array) -> list[str]:
    return sorted(set(column.tolist()))


def _check_batches(task: Task, fold: Fold, name: str, used: str, n: int) -> None:
    needed = max(rule(name).min_batches, 2)
    if n < needed:
        others = [word for word in ("id-val", "last") if word != name]
        raise BenchError(
            f"{name} needs {needed} values of {used} in the training rows, so that two are left "
            f"to train on, and {task.split.name}{_of(fold.name if len(task.folds) > 1 else '')}"
            f" has {n}: choose {' or '.join(others)}, or another --level"
        )


def _disjoint(
    groups: list[str], parts: int, task: Task, fold: Fold, *address: str
) -> list[list[str]]:
    """Return disjoint random sets of about :data:`SHARE` of the groups each."""
    rng = generator("carve", *address, identity_name(task.split.name), fold.name)
    shuffled = [groups[i] for i in rng.permutation(len(groups))]
    size = max(1, round(SHARE * len(groups)))
    if rule(address[0]).min_batches and len(groups) - size < 2:
        size = len(groups) - 2
    n = max(1, min(parts, len(groups) // size))
    return [sorted(shuffled[k * size : (k + 1) * size]) for k in range(n)]


def _without(task: Task, fold: Fold, column: Array, held: Sequence[str]) -> Fold | None:
    """Return the fold with some groups held out, or None if no held-out row can be scored."""
    out = np.isin(column[fold.train], list(held))
    return _scored(task, fold.name, fold.train[~out], fold.train[out])


def _scored(task: Task, name: str, train: Ints, test: Ints) -> Fold | None:
    labels = column_of(task.opened, "label")
    known = set(labels[train].tolist()) & set(task.classes)
    held = labels[test]
    scored = np.isin(held, sorted(known))
    if len(known) < 2 or not scored.any():
        return None
    outside = held[~scored & np.isin(held, task.classes)]
    return Fold(
        name=name,
        train=np.sort(train),
        validation=np.zeros(0, dtype=np.int64),
        test=np.sort(test),
        scored=scored[np.argsort(test)],
        classes=task.classes,
        n_excluded=len(outside),
        excluded_classes=tuple(sorted(set(outside.tolist()))),
    )


def _derived(task: Task, name: Derived, shift: str, folds: list[Fold]) -> Task:
    opened = task.opened
    split = dataclasses.replace(
        task.split,
        name=derived_name(name),
        shift=shift,
        hold_out=None,
        train=None,
        validation=None,
        test=None,
        alias="",
        companion="",
        shares=(),
        also_new="",
    )
    looked_at = (opened.columns.get("well", "well"), *opened.levels)
    shares = tuple(dict.fromkeys(c for c in looked_at if c in opened.index.columns))
    split = dataclasses.replace(split, shares=shares)
    audit(split, opened, folds)  # raises if a sample is in both training and test rows
    return Task(split.name, split, opened, folds, split_digest(opened, folds))


def held_out(task: Task, kind: str, level: str = "") -> Task | None:
    """Return a split that tests on held-out *training* rows, as an ordinary hold-out does.

    Parameters
    ----------
    kind
        ``random-rows``, ``random-wells``, or ``held-out`` with a batch ``level``.
    level
        For ``held-out``: the batch level to hold out.

    Returns
    -------
    Task or None
        The folds of ``task``. About a quarter of each fold's training rows become its test rows,
        and the others are its training rows. None if the data do not allow it: wells are unknown
        or have one row each, the level has one training value, or no row can be scored.
    """
    opened = task.opened
    if kind == "random-rows":
        column = column_of(opened, "id")
    elif kind == "random-wells":
        column, noun = _wells(opened)
        if noun == "row" or len(set(column.tolist())) == len(column):
            return None
    else:
        column = column_of(opened, level)
    folds = []
    for fold in task.folds:
        groups = _groups(column[fold.train])
        if len(groups) < 2:
            return None
        rng = generator("carve", kind, level, identity_name(task.split.name), fold.name)
        size = max(1, round(SHARE * len(groups)))
        held = [groups[i] for i in rng.permutation(len(groups))[:size]]
        held_fold = _without(task, fold, column, held)
        if held_fold is not None:
            folds.append(held_fold)
    if not folds:
        return None
    what = {
        "random-rows": "random rows of the training set",
        "random-wells": "random wells of the training set",
    }.get(kind, f"whole values of {level} of the training set")
    name = Derived(task.split.name, kind, level)
    return _derived(task, name, f"an ordinary hold-out: {what}", folds)


def mixed_to_test(task: Task) -> tuple[Task, str] | None:
    """Return a split that scores the same test rows with models trained on the test distribution.

    The test plates of each fold are split into two halves. Each half is scored by a model whose
    training set has as many rows replaced by rows of the other half, so its size is unchanged.
    If a test set is one plate, its wells are halved; if wells are unknown, its rows are.

    Returns
    -------
    tuple or None
        The split, with two folds for each fold of ``task``, and the noun for the halved groups.
        None if there is nothing to halve.
    """
    opened = task.opened
    plate = opened.levels[0]
    options = [(column_of(opened, plate), plate), _wells(opened)]
    able = [
        (column, noun)
        for column, noun in options
        if all(len(_groups(column[fold.test])) >= 2 for fold in task.folds)
    ]
    if not able:
        return None
    column, halved = able[0]
    mixed_folds = []
    for fold in task.folds:
        groups = _groups(column[fold.test])
        rng = generator("carve", "mixed-to-test", identity_name(task.split.name), fold.name)
        shuffled = [groups[i] for i in rng.permutation(len(groups))]
        first = np.isin(column[fold.test], shuffled[: len(groups) // 2])
        for k, half in enumerate((first, ~first), 1):
            mixed = fold.test[~half]
            n = len(fold.train)
            if len(mixed) > n // 2:
                mixed = rng.permutation(mixed)[: n // 2]
            kept = rng.permutation(fold.train)[: n - len(mixed)]
            mixed_fold = _scored(
                task, f"{fold.name}#{k}", np.concatenate([kept, mixed]), fold.test[half]
            )
            if mixed_fold is None:
                continue
            # Score exactly the rows of the original split, so that only the training set differs.
            own = dict(zip(fold.test.tolist(), fold.scored.tolist(), strict=True))
            both = mixed_fold.scored & np.array([own[row] for row in mixed_fold.test.tolist()])
            mixed_folds.append(dataclasses.replace(mixed_fold, scored=both))
    mixed_folds = [mixed_fold for mixed_fold in mixed_folds if mixed_fold.scored.any()]
    if not mixed_folds:
        return None
    name = Derived(task.split.name, "mixed-to-test")
    shift = f"none: trained with other {halved}s of the test set in place of as many training rows"
    return _derived(task, name, shift, mixed_folds), halved
