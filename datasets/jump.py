"""JUMP-CP: Cell Painting profiles of one plate map from many laboratories and microscopes.

Files have the layout of the Cell Painting Gallery and ``jump-cellpainting/datasets``, in
``$BENCH_DATA/jump``::

    metadata/plate.csv.gz  well.csv.gz  compound.csv.gz  microscope_config.csv
    metadata/perturbation_control.csv
    source_6/workspace/profiles/BATCH/PLATE/PLATE.parquet        one per plate, any number

A row is a well. Its features are the CellProfiler columns that all plates have and that are finite
in every well. The class is the compound (``Metadata_JCP2022``). DMSO wells are the negative
controls; empty wells are left out. Plates are read once, one after the other, into a memory-mapped
array on disk. The data set consists of the plates that are present, from a few to thousands.
Features are raw: preprocessing is a stage of the split, ``mad-int-select``.

The *fixture* edition is synthetic data in the same layout: five laboratories, three microscope
models, 35 plates. It tests the pipeline and has no biological meaning.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.api import BenchError, Opened
from bench.core.disk import new_folder
from bench.core.folders import cache_folder, data_folder

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from bench.core.types import Array, DType, Ints

META = {
    "kind": "dataset",
    "name": "jump",
    "class": "Jump",
    "version": 1,
    "summary": "Cell Painting profiles of one plate map in many laboratories; 302 compounds, DMSO "
    "on each plate.",
    "reference": "Chandrasekaran et al. 2023, doi:10.1101/2023.03.23.534023",
    "licence": "CC0 1.0 (profiles, believed), BSD-3 (tables)",
    "editions": ["real", "fixture"],
    "levels": ["plate", "batch", "source", "microscope"],
}

PARTS = ("Cells_", "Cytoplasm_", "Nuclei_")
TABLES = ("plate.csv.gz", "well.csv.gz", "compound.csv.gz", "microscope_config.csv")
CONTROLS = "perturbation_control.csv"
DMSO = "JCP2022_033924"
"""The negative control, if the table of controls is missing."""
EMPTY = "JCP2022_999999"
KEYS = ("Metadata_Source", "Metadata_Plate", "Metadata_Well")


@dataclass(frozen=True)
class Settings:
    """Settings of the data set: none."""


class Mapped:
    """Rows of an array on disk; a :class:`bench.api.Source`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._array = np.load(path, mmap_mode="r", allow_pickle=False)
        self.shape: tuple[int, ...] = (int(self._array.shape[1]),)
        self.dtype: DType = self._array.dtype

    def read(self, rows: Ints) -> Array:
        """Return a copy of the rows, ``(k, d)`` float32."""
        return np.asarray(self._array[np.asarray(rows)])


class Jump:
    """Wells of JUMP-CP; batch levels plate, batch, source (laboratory) and microscope."""

    Settings = Settings

    def __init__(self, settings: object = None) -> None:
        del settings  # none

    def editions(self) -> list[str]:
        """Return ``real`` if the tables and a plate are available, and ``fixture``."""
        folder = data_folder("jump")
        there = all((folder / "metadata" / name).is_file() for name in TABLES)
        return ["real", "fixture"] if there and plates_in(folder) else ["fixture"]

    def open(self, edition: str) -> Opened:
        """Open an edition; its plates are read first if necessary.

        Raises
        ------
        BenchError
            If files are missing or damaged, or do not have the published layout.
        """
        import pandas as pd

        folder = self.prepare(edition)
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        return Opened(
            name="jump",
            index=pd.read_parquet(folder / "index.parquet"),
            source=Mapped(folder / "X.npy"),
            levels=("plate", "batch", "source", "microscope"),
            level="plate",
            edition=edition,
            digest=facts["digest"],
            upstream=(f"cut to features finite in all wells ({facts['dropped']} left out)",)
            if facts["dropped"]
            else (),
            columns={
                "treatment": "treatment",
                "compound": "compound",
                "nscb_batch": "batch",
                "well": "well",
                "position": "position",
            },
        )

    def prepare(self, edition: str) -> Path:
        """Return the folder of an edition's array and index, creating them if necessary."""
        if edition == "fixture":
            from ._jump_fixture import ensure

            return self._ready(ensure(cache_folder("fixtures")))
        if edition != "real":
            raise BenchError(f"jump has the editions real and fixture, not '{edition}'")
        folder = data_folder("jump")
        missing = [name for name in TABLES if not (folder / "metadata" / name).is_file()]
        if missing or not plates_in(folder):
            what = f"metadata/{missing[0]}" if missing else "plates below source_*/workspace"
            raise BenchError(
                f"{folder} has no {what}: `python -m bench data fetch jump` gets them, or use "
                "--edition fixture to try the pipeline"
            )
        return self._ready(folder)

    def _ready(self, folder: Path) -> Path:
        """Return the path of the array of a folder's plates, reading the plates if they changed."""
        paths = plates_in(folder)
        marks = []
        for path in [*(folder / "metadata" / name for name in (*TABLES, CONTROLS)), *paths]:
            if path.exists():
                stat = path.stat()
                name = path.relative_to(folder).as_posix()
                marks.append([name, stat.st_size, stat.st_mtime_ns])
        text = json.dumps([META["version"], str(folder.absolute()), marks])
        target = cache_folder("jump") / hashlib.sha256(text.encode()).hexdigest()[:24]
        if target.is_dir():
            return target
        with new_folder(target) as part:
            read_plates(folder, paths, part)
        return target


def plates_in(folder: Path) -> list[Path]:
    """Return the parquet files of plates, sorted by name."""
    return sorted(folder.glob("source_*/workspace/profiles/*/*/*.parquet"))


COLUMNS = (
    "id", "label", "control", "plate", "batch", "source", "microscope", "plate_type", "well",
    "position", "treatment", "compound",
)  # fmt: skip
"""Columns of the index."""


def read_plates(folder: Path, paths: list[Path], target: Path) -> None:
    """Write ``X.npy``, ``index.parquet`` and ``facts.json`` from the plates of a folder.

    The plates are read twice, one at a time: first to find the features that are finite on all
    plates, then to read their values.

    Raises
    ------
    BenchError
        If a table or a plate does not have the published layout, or no well has a compound.
    """
    index, features, sums, n_seen = _survey(folder, paths)
    array = np.lib.format.open_memmap(
        target / "X.npy", "w+", np.float32, (len(index), len(features))
    )
    start = 0
    for number, chosen in index.groupby("file", sort=True)["row"]:
        _, _, X, total = _plate(paths[int(str(number))], features)
        if total != sums[int(str(number))]:
            raise BenchError(f"{paths[int(str(number))]} changed while it was read: run again")
        array[start : start + len(chosen)] = X[chosen.to_numpy()]
        start += len(chosen)
    array.flush()
    del array
    index = index[list(COLUMNS)]
    index.to_parquet(target / "index.parquet", index=False)
    # only names and bytes: library versions must not change the digest
    content = json.dumps([features, sums, *(index[c].astype(str).tolist() for c in COLUMNS)])
    facts = {
        "digest": hashlib.sha256(content.encode()).hexdigest(),
        "features": features,
        "dropped": n_seen - len(features),
        "plates": len(paths),
    }
    (target / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _survey(folder: Path, paths: list[Path]) -> tuple[pd.DataFrame, list[str], list[str], int]:
    """Return the wells of all plates with their file and row, and the features common to all.

    Returns
    -------
    index
        One row per well with a compound, sorted by ``file`` and ``row``.
    features
        Names of the features that are finite in all wells of all plates.
    sums
        SHA-256 of each plate.
    n_seen
        Number of distinct features over all plates.
    """
    import pandas as pd

    wells = _wells(folder)
    frames: list[pd.DataFrame] = []
    sums: list[str] = []
    features: list[str] | None = None
    seen: set[str] = set()
    for path in paths:
        columns, meta, X, total = _plate(path, None)
        usable = {name for k, name in enumerate(columns) if np.isfinite(X[:, k]).all()}
        seen |= set(columns)
        features = [name for name in (features or columns) if name in usable]
        frames.append(meta.assign(file=len(sums), row=np.arange(len(meta))))
        sums.append(total)
    if not features:
        raise BenchError(
            f"the plates in {folder} share no feature that is finite in all wells: features begin "
            f"with {', '.join(PARTS)}"
        )
    rows = pd.concat(frames, ignore_index=True)
    repeated = rows[rows.duplicated(list(KEYS))]
    if len(repeated):
        raise BenchError(
            f"plate {repeated['Metadata_Plate'].iloc[0]} of {repeated['Metadata_Source'].iloc[0]} "
            f"is in two files of {folder}: keep one"
        )
    index = rows.merge(wells, on=list(KEYS), how="inner")
    if not index["label"].ne("").any():
        raise BenchError(
            f"no well of the plates in {folder} is in metadata/well.csv.gz with a compound: the "
            "tables and the plates are not of one set"
        )
    index = index.sort_values(["file", "row"], kind="stable", ignore_index=True)
    return index, features, sums, len(seen)


def _plate(
    path: Path, features: list[str] | None
) -> tuple[list[str], pd.DataFrame, NDArray[np.float32], str]:
    """Return a plate's features, its wells, their values ``(n, d)``, and its sha256."""
    import pyarrow.parquet as pq

    from bench.data.own.reading import damaged

    with damaged(path, "parquet"):
        content = path.read_bytes()
        table = pq.ParquetFile(io.BytesIO(content))
        names = list(table.schema_arrow.names)
        lacking = [name for name in KEYS if name not in names]
        if lacking:
            raise BenchError(f"{path} has no column {lacking[0]}: it is no plate of JUMP-CP")
        columns = [name for name in names if name.startswith(PARTS)]
        wanted = columns if features is None else features
        meta = table.read(columns=list(KEYS)).to_pandas().astype(str)
        values = table.read(columns=wanted)
        with np.errstate(over="ignore"):
            X = np.column_stack(
                [np.asarray(values.column(name).to_numpy(), np.float32) for name in wanted]
                or [np.zeros((len(meta), 0), np.float32)]
            )
    if meta.duplicated().any():
        raise BenchError(f"{path} names a well twice: get it again")
    return columns, meta, X.astype(np.float32, copy=False), hashlib.sha256(content).hexdigest()


def _table(folder: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    path = folder / "metadata" / name
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise BenchError(f"{path} cannot be read as csv ({reason}): get it again") from None
    for column in columns:
        if column not in table.columns:
            raise BenchError(f"{path} has no column {column}: it is not the published table")
    return table


def _source(names: pd.Series[str]) -> pd.Series[str]:
    """Return ``source_3`` also for ``3``: earlier tables number the laboratories."""
    return names.where(names.str.startswith("source_"), "source_" + names)


def _wells(folder: Path) -> pd.DataFrame:
    """Return one row for each well with its compound, plate, batch, laboratory and microscope."""
    plates = _table(
        folder,
        "plate.csv.gz",
        ("Metadata_Source", "Metadata_Batch", "Metadata_Plate", "Metadata_PlateType"),
    )
    wells = _table(folder, "well.csv.gz", (*KEYS, "Metadata_JCP2022"))
    compounds = _table(folder, "compound.csv.gz", ("Metadata_JCP2022", "Metadata_InChIKey"))
    scopes = _table(
        folder, "microscope_config.csv", ("Metadata_Source", "Metadata_Microscope_Name")
    )
    negative, empty = {DMSO}, {EMPTY}
    if (folder / "metadata" / CONTROLS).exists():
        controls = _table(folder, CONTROLS, ("Metadata_JCP2022", "Metadata_pert_type"))
        negative = set(controls["Metadata_JCP2022"][controls["Metadata_pert_type"] == "negcon"])
        empty = set(controls["Metadata_JCP2022"][controls["Metadata_pert_type"] == "empty"])
    wells = wells[~wells["Metadata_JCP2022"].isin(empty | {""})]
    for name, table, keys in (
        ("plate.csv.gz", plates, ["Metadata_Source", "Metadata_Plate"]),
        ("well.csv.gz", wells, list(KEYS)),
    ):
        if table.duplicated(keys).any():
            raise BenchError(
                f"{folder / 'metadata' / name} has two rows for one {name.partition('.')[0]}: get "
                "it again"
            )
    joined = wells.merge(plates, on=["Metadata_Source", "Metadata_Plate"])
    joined["source"] = _source(joined["Metadata_Source"])
    scopes = scopes.assign(source=_source(scopes["Metadata_Source"]))
    microscope = scopes.drop_duplicates("source").set_index("source")["Metadata_Microscope_Name"]
    joined["microscope"] = joined["source"].map(microscope)
    lost = sorted(set(joined["source"][joined["microscope"].isna()]))
    if lost:
        raise BenchError(
            f"{folder / 'metadata' / 'microscope_config.csv'} names no microscope for {lost[0]}: "
            "get a later version of it"
        )
    joined["batch"] = joined["source"] + "/" + joined["Metadata_Batch"]
    joined["plate"] = joined["batch"] + "/" + joined["Metadata_Plate"]
    joined["plate_type"] = joined["Metadata_PlateType"]
    joined["position"] = joined["Metadata_Well"]
    joined["well"] = joined["plate"] + "/" + joined["position"]
    joined["id"] = joined["source"] + "/" + joined["Metadata_Plate"] + "/" + joined["position"]
    joined["control"] = joined["Metadata_JCP2022"].isin(negative)
    joined["label"] = joined["Metadata_JCP2022"].mask(joined["control"], "")
    joined["treatment"] = joined["Metadata_JCP2022"]
    inchi = compounds.drop_duplicates("Metadata_JCP2022").set_index("Metadata_JCP2022")
    key = joined["Metadata_JCP2022"].map(inchi["Metadata_InChIKey"])
    # different identifiers of one molecule are one compound; the first block omits the salt form
    joined["compound"] = key.where(key.notna() & (key != ""), joined["Metadata_JCP2022"])
    return joined
