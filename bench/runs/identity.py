"""Identities of fits, profiles and runs: hashes of declared inputs, computed without torch.

``fit id``   method and version, non-default fit-phase parameters, resolved recipe, seed, label map,
training rows, adaptation rows if used, content digest of the data, and the parent stage's apply id.
``apply id`` fit id, apply-phase parameters, the evaluated rows and their grouping.
``run id``   all of these, the split and the metric versions.
"""

from __future__ import annotations

import hashlib
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.core.access import Access
from bench.core.canonical import digest
from bench.core.split import identity_name
from bench.core.version import NUMERICS
from bench.data.views import column_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.core.dataset import Opened
    from bench.core.registry import Registry
    from bench.core.types import Ints, JsonObject, Recipe
    from bench.data.inference_batches import InferenceBatches
    from bench.data.task import StageRows
    from bench.runs.chain import Chain, Stage

_DIGESTS: weakref.WeakKeyDictionary[Opened, dict[int, tuple[Ints, str]]] = (
    weakref.WeakKeyDictionary()
)


def rows_digest(opened: Opened, rows: Ints) -> str:
    """Return a digest of the ids of some rows, independent of their order.

    Cached per array of rows, because a chain on many folds uses the same arrays repeatedly.
    """
    kept = _DIGESTS.setdefault(opened, {})
    if id(rows) not in kept:  # the array is also stored, so its id cannot be reused
        ids = np.sort(column_of(opened, "id")[rows])
        digest_of_ids = hashlib.sha256("\x1f".join(ids.tolist()).encode()).hexdigest()[:32]
        kept[id(rows)] = (rows, digest_of_ids)
    return kept[id(rows)][1]


def recipe_identity(recipe: Recipe) -> JsonObject:
    """Return the parts of a recipe that identify a fit. A custom network file counts by content.

    ``my/nets.py:wide`` becomes ``nets.py:wide``, because the SHA-256 of the file is also listed.
    Moving the folder therefore does not change identities.
    """
    file, colon, factory = str(recipe.get("network", "")).rpartition(":")
    if colon and file.endswith(".py"):
        return {**recipe, "network": f"{Path(file).name}:{factory}"}
    return dict(recipe)


@dataclass(frozen=True)
class StageIds:
    """Identities of one stage on one fold."""

    fit: str
    apply_train: str
    apply_test: str


def numerics() -> dict[str, int]:
    """Return the version of the benchmark's numerics, included only if it is not 1."""
    return {} if NUMERICS == 1 else {"numerics": NUMERICS}


def run_id(spec: Mapping[str, object]) -> str:
    """Return the id of the run that a specification describes; it survives renamed splits."""
    return digest({**spec, "split_id": identity_name(str(spec["split_id"]))})


def fit_name(stage: Stage, registry: Registry) -> tuple[str, int]:
    """Return the name and version of the method whose fit a stage uses."""
    owner = stage.entry.meta.get("fit", stage.name)
    return owner, int(registry.entry("method", owner).meta["version"])


def _data(opened: Opened) -> JsonObject:
    name = opened.known_as or opened.name
    return {"digest": opened.digest, "settings": dict(opened.settings), "name": name}


def stage_ids(
    chain: Chain,
    registry: Registry,
    recipe: Recipe,
    seed: int,
    learnt: Sequence[StageRows],
    opened: Opened,
    test: Ints,
    *,
    expose: tuple[str, ...] = (),
    grouping: InferenceBatches | None = None,
) -> list[StageIds]:
    """Return the identities of all stages of a chain on one fold.

    Parameters
    ----------
    chain, registry, recipe, seed
        The stages, the registry for their methods, the resolved recipe and the run's seed.
    learnt
        The rows that each stage is fitted on. If the first stage is transferred from another data
        set, its rows are from that data set, and its identity is that of a run on it.
    grouping
        A study's grouping of the test rows. It is part of an apply id only if it can change the
        result: for stages that see a test batch, and for all stages if rows are omitted.
    """
    test_rows = rows_digest(opened, test)
    here = _data(opened)
    result: list[StageIds] = []
    parent_train = parent_test = ""
    for stage, partition in zip(chain.stages, learnt, strict=True):
        transferred = partition.opened is not opened
        learnt_rows = rows_digest(partition.opened, partition.rows)
        train_rows = test_rows if transferred else learnt_rows
        owner, version = fit_name(stage, registry)
        access = stage.access
        # Included only if there is any, so that other ids do not change.
        pinned = {"pinned": stage.pinned} if stage.pinned else {}
        fit = digest(
            {
                **pinned,
                "method": owner,
                "version": version,
                "params": stage.changed("fit"),
                # Without batch access in the fit, the fit does not depend on the level.
                "level": stage.level if access & (Access.TRAIN_BATCH | Access.ADAPT) else "",
                "recipe": recipe_identity(recipe) if stage.kind == "network" else {},
                "expose": list(expose),
                "seed": seed,
                "classes": list(partition.classes),
                "train": learnt_rows,
                "adapt": test_rows if Access.ADAPT in access else "",
                "data": _data(partition.opened),
                "parent": [parent_train, parent_test if Access.ADAPT in access else ""],
                **numerics(),
            }
        )
        how = {
            "fit": fit,
            "method": stage.name,
            "version": stage.entry.meta["version"],
            "params": stage.changed("apply"),
            "grouping": stage.level if stage.per_batch else "",
            "expose": list(expose),
        }
        if transferred:
            how["data"] = here
        # Without a training set both sides have the same rows, but in different orders.
        role = {"side": "train"} if train_rows == test_rows else {}
        parent_train = digest({**how, **role, "rows": train_rows, "parent": parent_train})
        study: JsonObject = {}
        if grouping is not None and (stage.per_batch or grouping.drops_rows):
            study = {"study": grouping.spec}
        parent_test = digest({**how, **study, "rows": test_rows, "parent": parent_test})
        result.append(StageIds(fit, parent_train, parent_test))
    return result
