"""Export corrected embeddings of a run to AnnData, parquet or npy."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np

from bench.core.disk import disk_errors, new_file, write_file
from bench.core.errors import BenchError
from bench.records.embeddings import Embedding, embedding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from bench.records.record import Record
    from bench.records.store import Store

FORMATS = ("h5ad", "parquet", "npy")


def chosen_sides(store: Store, record: Record, requested: str) -> tuple[str, ...]:
    """Return the sides to export: always ``test``; ``train`` if requested or available.

    With several folds, each row is in one test set and in the training sets of other models.
    Training rows are then exported only if requested.
    """
    if requested != "auto":
        return ("train", "test") if requested == "both" else (requested,)
    if len(record.folds) == 1 and embedding(store, record, 0, side="train") is not None:
        return ("train", "test")
    return ("test",)


def table(
    outputs: Sequence[Embedding], record: Record, index: pd.DataFrame | None = None
) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """Return the embeddings of a run and the metadata of their rows.

    Parameters
    ----------
    outputs
        Stored outputs of the run (:func:`bench.records.embeddings.embeddings`).
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
        If widths differ between folds, or the index does not contain all rows.
    """
    import pandas as pd

    widths = sorted({output.X.shape[1] for output in outputs})
    if len(widths) > 1:
        raise BenchError(
            f"the folds of run {record.run_id} have embeddings of {widths[0]} to {widths[-1]} "
            "columns, so they cannot be one table"
        )
    predictions = record.predictions()
    frames = [_rows(output, record, predictions, index) for output in outputs]
    obs = pd.concat(frames, ignore_index=True)
    names = obs["id"]
    if names.duplicated().any():
        names = obs["id"] + "|" + obs["fold"] + "|" + obs["split"]
    obs.index = pd.Index(names.to_numpy(str), name=None)
    return np.concatenate([output.X for output in outputs]), obs


def _rows(
    output: Embedding, record: Record, predictions: pd.DataFrame | None, index: pd.DataFrame | None
) -> pd.DataFrame:
    import pandas as pd

    ids = output.ids.astype(object)
    obs = pd.DataFrame({"id": ids, "fold": output.fold, "split": output.side})
    if output.level:
        obs[output.level] = output.batch.astype(object)
    unit = record.score_unit
    key = obs["id"]
    if index is not None:
        metadata = index.set_index("id").reindex(obs["id"])
        if metadata.isna().all(axis=1).any():
            raise BenchError(
                f"the data do not contain all rows of run {record.run_id}: specify its data with "
                "--split"
            )
        for name in index.columns:
            if name != "id":
                reserved = name in ("fold", "split", "prediction")
                obs[f"data_{name}" if reserved else name] = metadata[name].to_numpy()
        if unit != "row":
            key = pd.Series(metadata[unit].to_numpy(str))
    if predictions is None or "y_pred" not in predictions:
        return obs
    classes = np.array([*record.classes, ""], dtype=object)
    scored = predictions[predictions["fold"] == output.fold].drop_duplicates("id").set_index("id")
    if output.side == "train":
        scored = scored.iloc[:0]
    scored = scored.reindex(key)
    if index is None:
        obs["label"] = classes[scored["y_true"].fillna(-1).to_numpy(np.int64)]
    obs["prediction"] = classes[scored["y_pred"].fillna(-1).to_numpy(np.int64)]
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
        "labshift": record.provenance.get("labshift", ""),
    }


def write(
    X: NDArray[np.float32], obs: pd.DataFrame, facts: dict[str, str], form: str, path: Path
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
    files = [path]
    with disk_errors("write", path, "--output"):
        if form == "h5ad":
            with new_file(path) as temporary:
                _h5ad(X, obs, columns, facts, temporary)
        elif form == "parquet":
            with new_file(path) as temporary:
                _parquet(X, obs, columns, facts, temporary)
        else:
            sink = io.BytesIO()
            np.save(sink, X, allow_pickle=False)
            contents = {
                path: sink.getvalue(),
                path.with_suffix(".csv"): obs.to_csv(index=False, lineterminator="\n").encode(),
                path.with_suffix(".json"): (json.dumps(facts, indent=1) + "\n").encode(),
            }
            files = list(contents)
            for file, data in contents.items():
                write_file(file, data)
    return files


def _h5ad(
    X: NDArray[np.float32], obs: pd.DataFrame, columns: list[str], facts: dict[str, str], path: Path
) -> None:
    import anndata
    import pandas as pd

    strings = obs.copy()
    for name in strings.columns:
        if strings[name].dtype == object:
            strings[name] = strings[name].fillna("").astype(str)
            if name != "id":
                strings[name] = strings[name].astype("category")
    data = anndata.AnnData(X=X, obs=strings, var=pd.DataFrame(index=pd.Index(columns)))
    data.uns["labshift"] = facts
    data.write_h5ad(path)


def _parquet(
    X: NDArray[np.float32], obs: pd.DataFrame, columns: list[str], facts: dict[str, str], path: Path
) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = pd.concat([obs.reset_index(drop=True), pd.DataFrame(X, columns=columns)], axis=1)
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = {**(arrow.schema.metadata or {}), b"labshift": json.dumps(facts).encode()}
    pq.write_table(arrow.replace_schema_metadata(metadata), path)
