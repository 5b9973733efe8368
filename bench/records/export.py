"""Export corrected embeddings of a run to AnnData, parquet or npy."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.errors import BenchError
from bench.records.embeddings import Embedding, embedding, embeddings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from bench.records.record import Record
    from bench.records.store import Store

FORMATS = ("h5ad", "parquet", "npy")

__all__ = ["FORMATS", "chosen_sides", "provenance", "table", "write"]


def chosen_sides(store: Store, record: Record, asked: str) -> tuple[str, ...]:
    """Return the sides to export: always ``test``; ``train`` if requested or available.

    With several folds, each row is in one test set and in the training sets of other models.
    Training rows are then exported only if requested.
    """
    if asked != "auto":
        return ("train", "test") if asked == "both" else (asked,)
    one = len(record.folds) == 1
    return ("train", "test") if one and embedding(store, record, 0, side="train") else ("test",)


def table(
    store: Store, record: Record, sides: Sequence[str], index: pd.DataFrame | None = None
) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """Return the embeddings of a run and the metadata of their rows.

    Parameters
    ----------
    store, record
        The run and its results folder.
    sides
        ``train``, ``test`` or both.
    index
        The index of the data set (``bench.api.Opened.index``). Without it, rows that were not
        scored have no labels, and the only batch level is the one that the method acted on.

    Returns
    -------
    X : ndarray
        ``(n, d)`` float32.
    obs : pandas.DataFrame
        One row per embedding: ``id``, ``fold``, ``split`` (``train`` or ``test``), the columns of
        the index (with the prefix ``data_`` if the name is taken), ``label``, ``prediction`` (empty
        if the row was not scored).

    Raises
    ------
    BenchError
        If embeddings are not stored, or their widths differ between folds.
    """
    import pandas as pd

    parts = embeddings(store, record, tuple(sides))
    widths = sorted({part.X.shape[1] for part in parts})
    if len(widths) > 1:
        raise BenchError(
            f"the folds of run {record.run_id} have embeddings of {widths[0]} to {widths[-1]} "
            "columns, which make no table"
        )
    predictions = record.predictions()
    obs = pd.concat([_rows(part, record, predictions, index) for part in parts], ignore_index=True)
    names = obs["id"]
    if names.duplicated().any():
        names = obs["id"] + "|" + obs["fold"] + "|" + obs["split"]
    obs.index = pd.Index(names.to_numpy(str), name=None)
    return np.concatenate([part.X for part in parts]), obs


def _rows(
    part: Embedding, record: Record, predictions: pd.DataFrame | None, index: pd.DataFrame | None
) -> pd.DataFrame:
    import pandas as pd

    ids = part.ids.astype(object)
    obs = pd.DataFrame({"id": ids, "fold": part.fold, "split": part.side})
    if part.level:
        obs[part.level] = part.batch.astype(object)
    unit = record.score_unit
    key = obs["id"]
    if index is not None:
        known = index.set_index("id").reindex(obs["id"])
        if known.isna().all(axis=1).any():
            raise BenchError(
                f"the data do not contain all rows of run {record.run_id}: name those that it was "
                "made of with --split"
            )
        for name in index.columns:
            if name != "id":
                taken = name in ("fold", "split", "prediction")
                obs[f"data_{name}" if taken else name] = known[name].to_numpy()
        if unit != "row":
            key = pd.Series(known[unit].to_numpy(str))
    if predictions is None or "y_pred" not in predictions:
        return obs
    classes = np.array([*record.classes, ""], dtype=object)
    mine = predictions[predictions["fold"] == part.fold].drop_duplicates("id").set_index("id")
    if part.side == "train":
        mine = mine.iloc[:0]
    found = mine.reindex(key)
    if index is None:
        obs["label"] = classes[found["y_true"].fillna(-1).to_numpy(np.int64)]
    obs["prediction"] = classes[found["y_pred"].fillna(-1).to_numpy(np.int64)]
    return obs


def provenance(record: Record) -> dict[str, str]:
    """Return the provenance of the embeddings, as text."""
    return {
        "run_id": record.run_id,
        "method": record.method_id,
        "params": json.dumps(record.params, sort_keys=True),
        "track": record.track,
        "split": record.split_id,
        "shift": record.shift,
        "edition": record.edition,
        "dataset_settings": json.dumps(record.dataset_settings, sort_keys=True),
        "data_digest": record.data_digest,
        "recipe": record.recipe,
        "seed": str(record.seed),
        "labshift": record.provenance.get("packages", {}).get("labshift", ""),
    }


def write(
    X: NDArray[np.float32],
    obs: pd.DataFrame,
    facts: dict[str, str],
    form: str,
    path: Path,
) -> list[Path]:
    """Write embeddings in one of :data:`FORMATS` and return the files.

    ``npy`` adds a CSV of ``obs`` in the same row order and a JSON of ``facts``. Parquet stores the
    facts in the schema metadata under ``labshift``, h5ad in ``uns["labshift"]``.

    Raises
    ------
    BenchError
        If a file cannot be written. An existing file is then unchanged.
    """
    columns = [f"e{k:04d}" for k in range(X.shape[1])]
    if form == "h5ad":
        return [_placed(path, lambda part: _h5ad(X, obs, columns, facts, part))]
    if form == "parquet":
        return [_placed(path, lambda part: _parquet(X, obs, columns, facts, part))]
    sink = io.BytesIO()
    np.save(sink, X, allow_pickle=False)
    texts = {
        path: sink.getvalue(),
        path.with_suffix(".csv"): obs.to_csv(index=False, lineterminator="\n").encode(),
        path.with_suffix(".json"): (json.dumps(facts, indent=1) + "\n").encode(),
    }
    return [_placed(file, _bytes_to(data)) for file, data in texts.items()]


def _bytes_to(data: bytes) -> object:
    return lambda part: part.write_bytes(data)


def _placed(path: Path, fill: Any) -> Path:  # noqa: ANN401
    """Write a temporary file in the same folder and rename it to ``path``."""
    part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fill(part)
        part.replace(path)
    except OSError as error:
        raise BenchError(
            f"{path} cannot be written ({error.strerror or error}): choose another --output"
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return path


def _h5ad(
    X: NDArray[np.float32], obs: pd.DataFrame, columns: list[str], facts: dict[str, str], part: Path
) -> None:
    import anndata
    import pandas as pd

    kept = obs.copy()
    for name in kept.columns:
        if kept[name].dtype == object:
            kept[name] = kept[name].fillna("").astype(str)
            if name != "id":
                kept[name] = kept[name].astype("category")
    made = anndata.AnnData(X=X, obs=kept, var=pd.DataFrame(index=pd.Index(columns)))
    made.uns["labshift"] = facts
    made.write_h5ad(part)


def _parquet(
    X: NDArray[np.float32], obs: pd.DataFrame, columns: list[str], facts: dict[str, str], part: Path
) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = pd.concat([obs.reset_index(drop=True), pd.DataFrame(X, columns=columns)], axis=1)
    made = pa.Table.from_pandas(whole, preserve_index=False)
    note = {**(made.schema.metadata or {}), b"labshift": json.dumps(facts).encode()}
    pq.write_table(made.replace_schema_metadata(note), part)
