"""Stored embeddings of runs, with the ids of their rows.

The artifact of an apply contains the rows of one side of one fold, in the order of its ``ids``.
This module reads neither data nor labels. Labels of scored rows are in a record's predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.core.types import Facts
    from bench.records.store import Store

__all__ = ["Embedding", "again", "embedding", "embeddings"]


@dataclass(frozen=True, eq=False)
class Embedding:
    """Output of one stage for one side of a fold.

    Attributes
    ----------
    fold, side, method
        Origin: ``side`` is ``train`` or ``test``, ``method`` the chain up to the stage.
    X
        ``(n, d)`` float32.
    ids, batch
        ``(n,)`` ids of the rows and names of their batches.
    level
        The batch level that the stage acts on.
    """

    fold: str
    side: str
    method: str
    X: NDArray[np.float32]
    ids: NDArray[np.str_]
    batch: NDArray[np.str_]
    level: str


def embedding(
    store: Store, record: Facts, fold: int, stage: int = -1, side: str = "test"
) -> Embedding | None:
    """Return the output of one stage of a run, or None if it is not stored with its ids.

    Parameters
    ----------
    store
        Results folder with the artifacts.
    record
        A record.
    fold
        Index of the fold, in the order of the record.
    stage
        Index of the stage. Default: the last stage.
    side
        ``test`` or ``train``.

    Raises
    ------
    BenchError
        If the files are damaged.
    """
    entry = record["spec"]["folds"][fold]
    stages = entry["stages"]
    place = stage % len(stages)
    found = store.read_artifact("apply", stages[place]["apply_id"])
    if found is not None and side == "train":
        key = found.meta.get("train")
        found = store.read_artifact("apply", key) if key else None
    if found is None or "ids" not in found.arrays:
        return None
    return Embedding(
        fold=str(entry["fold"]),
        side=side,
        method="+".join(one["method"] for one in stages[: place + 1]),
        X=found.arrays["embeddings"],
        ids=np.char.decode(found.arrays["ids"], "utf-8"),
        batch=np.char.decode(found.arrays["batch"], "utf-8"),
        level=str(found.meta.get("level", "")),
    )


def embeddings(store: Store, record: Facts, sides: tuple[str, ...]) -> list[Embedding]:
    """Return the last stage's outputs of all executed folds.

    Raises
    ------
    BenchError
        If an output is not stored. The message gives the command that recreates it.
    """
    made = []
    left_out = {
        str(note).split(" ")[1]
        for note in record.get("notes", ())
        if str(note).endswith("was not trained")
    }
    for number, entry in enumerate(record["spec"]["folds"]):
        if str(entry["fold"]) in left_out:
            continue
        for side in sides:
            one = embedding(store, record, number, side=side)
            if one is None and side == "train" and record["track"] == "reference":
                raise BenchError(
                    f"run {record['run_id']} is the reference row {record['method']}, of which "
                    "only test rows are kept: leave --side out"
                )
            if one is None:
                raise BenchError(
                    f"the {side} embeddings of run {record['run_id']} (fold {entry['fold']}) are "
                    f"not kept in {store.root / 'artifacts'}: make them again with "
                    f"`{again(record)}`"
                )
            made.append(one)
    return made


def again(record: Facts) -> str:
    """Return the command that repeats a run and recreates its embeddings."""
    import shlex

    spec = record["spec"]
    words = ["python", "-m", "bench", "run", "--method", str(record["method"])]
    words += ["--split", str(record["split"]), "--seed", str(spec["seed"])]
    if spec["recipe"] != "default":
        words += ["--recipe", str(spec["recipe"])]
    owners = {"recipe": spec.get("recipe_overrides") or {}}
    owners |= {"data": spec.get("dataset_settings") or {}, **(record.get("params") or {})}
    for owner, values in owners.items():
        for key, value in values.items():
            words += ["--set", f"{owner}.{key}={value}"]
    return shlex.join([*words, "--if-exists", "rerun"])
