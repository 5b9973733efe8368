"""JUMP-Target-2 in many laboratories: one plate map, eight encoders, profiles of MorphoHELM.

One row per well of the JUMP-Target-2 plates of cpg0016: 302 compounds and DMSO, on the same layout
in every laboratory. The encoder is a setting: ``--set data.encoder=subcell``.

The published values were standardised per plate on all wells, reduced to 64 principal components of
all plates, and divided by median and MAD of the plate's DMSO wells. Test rows took part in that, so
results do not support claims without test-batch access; for raw features see ``jump``.

Files, in ``$BENCH_DATA/jump-target2``::

    cellprofiler_normalized.parquet  ...          one per encoder: Metadata_* and PC_0 ... PC_63
    microscope_config.csv                         laboratory -> microscope

The tables are stored by Git LFS at a commit of the repository; sizes and SHA-256 are those of its
pointers. No table has been read here: the loader is tested on files in the published layout.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.api import BenchError, Opened, param
from bench.core.disk import new_file
from bench.core.folders import cache_folder, data_folder, file_sums

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

META = {
    "kind": "dataset",
    "name": "jump-target2",
    "class": "JumpTarget2",
    "version": 1,
    "summary": "JUMP-Target-2 wells of many laboratories, in eight encoders; 302 compounds.",
    "reference": "MorphoHELM 2026, arXiv:2605.15383; JUMP, doi:10.1101/2023.03.23.534023",
    "licence": "MIT (tables of MorphoHELM), CC0 1.0 (JUMP data)",
    "editions": ["real"],
    "levels": ["plate", "batch", "source", "microscope"],
}

ENCODERS = (
    "cellprofiler",
    "cloome",
    "dino_v2_cls_token",
    "dino_v2_patch_token",
    "open_phenom",
    "resnet",
    "resnet_untrained",
    "subcell",
)
DMSO = "JCP2022_033924"
EMPTY = ("JCP2022_999999", "", "nan", "None")
SCOPES = "microscope_config.csv"
COLUMNS = ("Metadata_Source", "Metadata_Plate", "Metadata_Well", "Metadata_JCP2022")
PLATE_GROUPS = 5
"""Number of test sets of the split by plate."""
UPSTREAM = (
    "standardised per plate on all wells",
    "64 principal components of all plates",
    "median and MAD of the plate's DMSO wells",
)


@dataclass(frozen=True)
class Settings:
    """Settings of the data set."""

    encoder: str = param(ENCODERS[0], "encoder of the profiles", choices=ENCODERS)


class JumpTarget2:
    """Wells of one plate map; batch levels plate, batch, source (laboratory) and microscope."""

    Settings = Settings

    def __init__(self, settings: object = None) -> None:
        self._encoder: str = getattr(settings, "encoder", ENCODERS[0])

    @property
    def _table(self) -> Path:
        return data_folder("jump-target2") / f"{self._encoder}_normalized.parquet"

    def editions(self) -> list[str]:
        """Return ``real`` if the tables of the encoder and of the microscopes are available."""
        scopes = data_folder("jump-target2") / SCOPES
        return ["real"] if self._table.is_file() and scopes.is_file() else []

    def open(self, edition: str) -> Opened:
        """Open the table of the encoder.

        Raises
        ------
        BenchError
            If a file is missing, damaged, or does not have the published layout.
        """
        from bench.data.own.table import open_declared
        from bench.data.packaged import packaged_splits

        if edition != "real":
            raise BenchError(f"jump-target2 has only real data, not the edition '{edition}'")
        path = self.prepare(edition)
        splits = [s for s in packaged_splits().values() if s.dataset == "jump-target2"]
        declared = {
            "name": "jump-target2",
            "features": "^PC_",
            "id": ["source", "plate", "well_position"],
            "label": "compound",
            "batches": ["plate", "batch", "source", "microscope"],
            "control": "is_control",
            "treatment": ["compound"],
            "compound": ["compound"],
            "nscb_batch": "source",
            "well": ["plate", "well_position"],
            "position": "well_position",
            "metadata": ["plate_group"],
            "encoder": self._encoder,
            "upstream": list(UPSTREAM),
        }
        opened = open_declared(declared, path, splits)
        changed = {} if self._encoder == ENCODERS[0] else {"encoder": self._encoder}
        return dataclasses.replace(opened, settings=changed)

    def prepare(self, edition: str) -> Path:
        """Return the path of the table with plain column names, writing it if necessary."""
        folder = data_folder("jump-target2")
        for path in (self._table, folder / SCOPES):
            if not path.is_file():
                raise BenchError(
                    f"{path} is not on this machine: `python -m bench data fetch jump-target2` "
                    "gets it, or put it there"
                )
        sums = "".join(file_sums(path)[0] for path in (self._table, folder / SCOPES))
        key = hashlib.sha256(f"{META['version']} {sums}".encode()).hexdigest()[:16]
        target = cache_folder("tables") / f"jump-target2-{self._encoder}-{key}.parquet"
        if not target.is_file():
            frame = read_wells(self._table, folder / SCOPES)
            with new_file(target) as part:
                frame.to_parquet(part, index=False)
        return target


def read_wells(path: Path, scopes: Path) -> pd.DataFrame:
    """Return one row per well with a compound: metadata with plain names, and the features.

    Raises
    ------
    BenchError
        If a table is damaged or lacks a column, a laboratory has no microscope, or no well is DMSO.
    """
    import pandas as pd

    from bench.data.own.reading import damaged

    with damaged(path, "parquet"):
        table = pd.read_parquet(path)
    features = [name for name in table.columns if str(name).startswith("PC_")]
    absent = [name for name in COLUMNS if name not in table.columns]
    if absent or not features:
        raise BenchError(
            f"{path} has no column {absent[0] if absent else 'PC_0'}: it is no table of MorphoHELM "
            "(a Git LFS pointer has 130 bytes): fetch it again"
        )
    try:
        microscopes = pd.read_csv(scopes, dtype=str).set_index("Metadata_Source")[
            "Metadata_Microscope_Name"
        ]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{scopes} is not the published table ({error}): fetch it again") from None
    compound = table["Metadata_JCP2022"].astype(str)
    table = table[~compound.isin(EMPTY)].reset_index(drop=True)
    text = {name: table[name].astype(str) for name in COLUMNS}
    source = text["Metadata_Source"]
    unknown = sorted(set(source) - set(microscopes.index))
    if unknown:
        raise BenchError(f"{scopes} has no microscope of {unknown[0]}: fetch both tables again")
    control = text["Metadata_JCP2022"] == DMSO
    if not control.any():
        raise BenchError(f"{path} has no DMSO wells ({DMSO}): it is not the published table")
    plate = text["Metadata_Plate"]
    batch = table.get("Metadata_Batch", plate)
    meta = pd.DataFrame(
        {
            "source": source,
            "batch": source + "/" + batch.astype(str),
            "plate": source + "/" + plate,
            "well_position": text["Metadata_Well"],
            "compound": text["Metadata_JCP2022"],
            "is_control": control,
            "microscope": source.map(microscopes),
            "plate_group": plate.map(plate_group),
        }
    )
    return pd.concat([meta, table[features].astype("float32")], axis=1)


def plate_group(plate: str) -> str:
    """Return the test set of a plate, from its name alone: plates of other files change nothing."""
    return f"group {hashlib.sha256(plate.encode()).digest()[0] % PLATE_GROUPS}"
