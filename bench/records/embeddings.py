"""Stored embeddings of runs, with the ids of their rows.

The artifact of an apply contains the rows of one side of one fold, in the order of its ``ids``.
This module reads neither data nor labels. Labels of scored rows are in a record's predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.core.code_digest import differing
from bench.core.control_names import is_control_row
from bench.core.errors import BenchError
from bench.core.words import listed
from bench.records.reproduce import command_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bench.records.record import Record
    from bench.records.store import Store


def skipped_fold(name: str) -> str:
    """Return the note of a fold that is not trained because none of its test rows is scored."""
    return f"fold {name} has nothing to score and was not trained"


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
    changed
        Source files that differ between the code that made these values and the code of the
        record, sorted. Empty if they agree, or if one of the two was not recorded.
    """

    fold: str
    side: str
    method: str
    X: NDArray[np.float32]
    ids: NDArray[np.str_]
    batch: NDArray[np.str_]
    level: str
    changed: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """A sentence if the code differs from that of the record, otherwise empty."""
        if not self.changed:
            return ""
        return (
            "These embeddings were computed by other code than the scores of the record "
            f"({listed(self.changed, 3)})."
        )


def embedding(
    store: Store, record: Record, fold: int, stage: int = -1, side: str = "test"
) -> Embedding | None:
    """Return the output of one stage of a run, or None if it is not stored with its ids.

    Parameters
    ----------
    fold
        Index of the fold, in the order of the record.
    stage
        Index of the stage. Default: the last stage.
    side
        ``test`` or ``train``.
    """
    entry = record.folds[fold]
    stages = entry["stages"][: stage % len(entry["stages"]) + 1]
    artifact = store.read_artifact("apply", stages[-1].get("apply_id", ""))
    if artifact is not None and side == "train":
        key = artifact.meta.get("train")
        artifact = store.read_artifact("apply", key) if key else None
    if artifact is None or "ids" not in artifact.arrays:
        return None
    return Embedding(
        fold=entry["fold"],
        side=side,
        method="+".join(step["method"] for step in stages),
        X=artifact.arrays["embeddings"],
        ids=np.char.decode(artifact.arrays["ids"], "utf-8"),
        batch=np.char.decode(artifact.arrays["batch"], "utf-8"),
        level=str(artifact.meta.get("level", "")),
        changed=_changed(artifact.meta.get("code", {}).get("files", {}), record),
    )


def _changed(files: Mapping[str, str], record: Record) -> tuple[str, ...]:
    """Return the files with different code in an artifact and a record."""
    code = record.data.get("code")
    if code is None:
        return ()
    # A run depends on further files, such as those of the metrics.
    shared = {name: digest for name, digest in code["files"].items() if name in files}
    return tuple(differing(files, shared))


def embeddings(store: Store, record: Record, sides: tuple[str, ...]) -> list[Embedding]:
    """Return the last stage's outputs of all executed folds.

    Raises
    ------
    BenchError
        If an output is not stored. The message gives the command that recreates it.
    """
    outputs = []
    for number, entry in enumerate(record.folds):
        name = entry["fold"]
        if skipped_fold(name) in record.notes:
            continue
        for side in sides:
            output = embedding(store, record, number, side=side)
            if output is None and side == "train" and is_control_row(record.track):
                raise BenchError(
                    f"run {record.run_id} is the control row {record.method}, which stores test "
                    "rows only: omit --side"
                )
            if output is None:
                raise BenchError(
                    f"the {side} embeddings of run {record.run_id} (fold {name}) are not in "
                    f"{store.root / 'artifacts'}: recreate them with "
                    f"`{command_of([record])} --if-exists rerun`"
                )
            outputs.append(output)
    return outputs
