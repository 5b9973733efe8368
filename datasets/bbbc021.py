"""BBBC021: MCF7 cells under 113 compounds, 38 of them with a known mechanism of action.

Each row is one field of view: DNA, tubulin and actin (16 bit). Only fields of DMSO and of
treatments with a known mechanism are read. Batch levels, smallest first: plate, week.
``treatment`` is compound and concentration, ``well`` is unique (``Week1_22123/B02``), ``position``
is the well name within the plate, ``image`` is the field. The full data set has 103 treatments
of 38 compounds with 12 mechanisms on 55 plates from 10 weeks; every compound was imaged in only
one week.

The *real* edition is read as published, from the data folder (``bbbc021``):
``BBBC021_v1_image.csv``, ``BBBC021_v1_moa.csv`` and the plate folders as the archives unpack,
``Week1_22123/`` and so on. Fields with missing files are left out, and every record states their
number, so a subset of the 55 archives is sufficient. Images are decoded once, into an array of
about 20 GB in the cache folder. The *fixture* edition consists of small synthetic files in the same
layout, read by the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import BenchError, Opened, param
from bench.core.folders import data_folder
from bench.data.image_ref import ImageRef
from bench.data.pixel_cache import decoded

from . import _bbbc021_fixture, _fixtures
from ._digest import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bench.core.meta import Meta

META: Meta = {
    "kind": "dataset",
    "name": "bbbc021",
    "class": "BBBC021",
    "version": 1,
    "summary": "MCF7 cells under 103 treatments with 12 mechanisms of action, imaged in ten weeks.",
    "reference": "Caie et al. 2010, Mol. Cancer Ther. 9:1913; Ljosa et al. 2012, Nat. Methods "
    "9:637; Ljosa et al. 2013",
    "url": "https://bbbc.broadinstitute.org/BBBC021",
    "licence": "see the page the files were downloaded from",
    "size": "55 archives of about 0.8 GB; the decoded fields take about 20 GB in the cache folder",
    "files": "BBBC021_v1_image.csv, BBBC021_v1_moa.csv, and a folder a plate, such as Week1_22123/",
    "editions": ["real", "fixture"],
    "levels": ["plate", "week"],
}

IMAGES, MECHANISMS = "BBBC021_v1_image.csv", "BBBC021_v1_moa.csv"
CHANNELS = {"DNA": "DAPI", "tubulin": "Tubulin", "actin": "Actin"}
"""Channel -> its name in the columns of the published table."""
COLUMNS = {
    "plate": "Image_Metadata_Plate_DAPI",
    "position": "Image_Metadata_Well_DAPI",
    "replicate": "Replicate",
    "compound": "Image_Metadata_Compound",
    "concentration": "Image_Metadata_Concentration",
}
CONTROL = "DMSO"
CONFOUNDED = (
    "every compound was imaged in one week alone, so NSC also rewards profiles that tell the "
    "weeks apart; NSCB leaves out neighbours of the same week"
)


@dataclass(frozen=True)
class Settings:
    """Values that the files do not contain."""

    pixel: float = param(
        0.32,
        "Size of a pixel in the sample, which the files do not state (assumed: 6.45 um at 20x); it "
        "decides what a network that was trained on another data set is shown.",
        unit="um",
        low=0.01,
        high=100.0,
    )


class BBBC021:
    """BBBC021 in its real and fixture editions."""

    Settings = Settings

    def __init__(self, settings: Any = None) -> None:  # noqa: ANN401 - an instance of Settings
        self.settings = Settings() if settings is None else settings

    def editions(self) -> list[str]:
        """Return ``real`` if the published table is available, and ``fixture``."""
        there = (data_folder("bbbc021") / IMAGES).is_file()
        return ["real", "fixture"] if there else ["fixture"]

    def prepare(self, edition: str) -> Path:
        """Return the folder of an edition, writing the fixture if necessary."""
        if edition == "fixture":
            return _fixtures.ensure("bbbc021", _bbbc021_fixture.VERSION, _bbbc021_fixture.write)
        if edition != "real":
            raise BenchError(f"bbbc021 has the editions real and fixture, not '{edition}'")
        folder = data_folder("bbbc021")
        for name in (IMAGES, MECHANISMS):
            if not (folder / name).is_file():
                raise BenchError(
                    f"{folder} lacks {name}: put the published file there, or use --edition fixture"
                )
        return folder

    def open(self, edition: str) -> Opened:
        """Open an edition; its images are decoded the first time.

        Raises
        ------
        BenchError
            If files are missing or damaged, or do not have the published layout.
        """
        folder = self.prepare(edition)
        index, files = read_index(folder)
        there, notes = _present(folder, files)
        pictures = [ImageRef(paths) for paths, ok in zip(files, there, strict=True) if ok]
        index = index[there].reset_index(drop=True)
        pixels = decoded(pictures, label="bbbc021")
        if pixels.shape[0] != len(CHANNELS):
            raise BenchError(
                f"{pictures[0].files[0]} and its two neighbours give {pixels.shape[0]} channels, "
                "expected one each: get them again"
            )
        weeks = index[~index["control"]].groupby("compound")["week"].nunique()
        return Opened(
            name="bbbc021",
            index=index,
            source=pixels,
            levels=("plate", "week"),
            level="plate",
            edition=edition,
            digest=digest_of(index, pixels.digest),
            upstream=("reduced to fields of treatments with a known mechanism and of DMSO",),
            settings={} if self.settings == Settings() else {"pixel": self.settings.pixel},
            columns={
                "well": "well",
                "position": "position",
                "treatment": "treatment",
                "compound": "compound",
                "nscb_batch": "week",
            },
            notes=(*notes, *([CONFOUNDED] if (weeks == 1).all() else [])),
            channels=tuple(CHANNELS),
            pixel=self.settings.pixel,
            content=pixels.digests,
        )


def read_index(folder: Path) -> tuple[pd.DataFrame, list[tuple[Path, ...]]]:
    """Return the fields of DMSO and of treatments with a mechanism, and the files of each.

    Raises
    ------
    BenchError
        If a table cannot be read, lacks a column, or contradicts itself.
    """
    import pandas as pd

    wanted = [*COLUMNS.values()]
    for name in CHANNELS.values():
        wanted += [f"Image_FileName_{name}", f"Image_PathName_{name}"]
    table = _read(folder / IMAGES, wanted)
    mechanism = _mechanisms(folder / MECHANISMS)
    plain = {new: table[old] for new, old in COLUMNS.items()}
    dose = _numbers(folder / IMAGES, plain["concentration"])
    control = plain["compound"] == CONTROL
    label = [mechanism.get(pair, "") for pair in zip(plain["compound"], dose, strict=True)]
    week = plain["plate"].str.partition("_")[0]
    files = table["Image_FileName_DAPI"]
    index = pd.DataFrame(
        {
            "id": plain["plate"] + "/" + files.str.replace(r"\.tiff?$", "", regex=True),
            "label": np.where(control, "", label),
            "control": control,
            "plate": plain["plate"],
            "week": week,
            "well": plain["plate"] + "/" + plain["position"],
            "position": plain["position"],
            "compound": plain["compound"],
            "treatment": np.where(
                control, CONTROL, plain["compound"] + "@" + pd.Series([f"{d:g}" for d in dose])
            ),
            "replicate": plain["replicate"],
        }
    )
    index["image"] = index["id"]
    if index["id"].duplicated().any():
        twice = index["id"][index["id"].duplicated()].iloc[0]
        raise BenchError(f"{folder / IMAGES} lists the field {twice} twice: get the file again")
    kept = control.to_numpy() | (index["label"] != "").to_numpy()
    if not (index["label"] != "").any():
        raise BenchError(
            f"no field of {IMAGES} in {folder} has a compound and a concentration of {MECHANISMS}: "
            "get both files again"
        )
    parts = [
        [
            folder / _place(path) / name
            for path, name in zip(
                table[f"Image_PathName_{channel}"], table[f"Image_FileName_{channel}"], strict=True
            )
        ]
        for channel in CHANNELS.values()
    ]
    paths = [row for row, ok in zip(zip(*parts, strict=True), kept, strict=True) if ok]
    return index[kept].reset_index(drop=True), paths


def _place(path: str) -> str:
    """Return the folder name after unpacking: the table has ``Week1/Week1_22123``."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # a broken CSV or text that is not UTF-8 is a ValueError
        reason = str(error).strip().splitlines()[0]
        raise BenchError(f"{path} cannot be read as CSV: get it again ({reason})") from error
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in columns if column not in table]
    if missing or not len(table):
        lack = f"no column {missing[0]}" if missing else "no rows"
        raise BenchError(f"{path} has {lack}: it is not the published file; get it again")
    table = table[columns].copy()
    for column in columns:
        table[column] = table[column].str.strip()
        if (table[column] == "").any():
            row = int(np.flatnonzero(table[column] == "")[0])
            raise BenchError(f"{path}, data row {row + 1}: {column} is empty: get the file again")
    return table


def _numbers(path: Path, column: pd.Series[str]) -> list[float]:
    values = []
    for row, text in enumerate(column.tolist()):
        try:
            values.append(round(float(text), 6))
        except ValueError:
            raise BenchError(
                f"{path}, data row {row + 1}: '{text}' is no concentration: get the file again"
            ) from None
    return values


def _mechanisms(path: Path) -> dict[tuple[str, float], str]:
    table = _read(path, ["compound", "concentration", "moa"])
    mechanisms: dict[tuple[str, float], str] = {}
    dose = _numbers(path, table["concentration"])
    for compound, number, moa in zip(table["compound"], dose, table["moa"], strict=True):
        if mechanisms.setdefault((compound, number), moa) != moa:
            raise BenchError(
                f"{path} gives {compound} at {number:g} two mechanisms: get the file again"
            )
    return mechanisms


def _present(folder: Path, files: list[tuple[Path, ...]]) -> tuple[np.ndarray, list[str]]:
    """Return which fields have all their files, listing each folder once, and a note."""
    listed: dict[Path, set[str]] = {}
    there = np.ones(len(files), bool)
    first = ""
    for i, paths in enumerate(files):
        for path in paths:
            if path.parent not in listed:
                try:
                    listed[path.parent] = {entry.name for entry in path.parent.iterdir()}
                except OSError:
                    listed[path.parent] = set()
            if path.name not in listed[path.parent]:
                first = first or f"{path.parent.name}/{path.name}"
                there[i] = False
    if not there.any():
        raise BenchError(
            f"{folder} has none of the images that {IMAGES} lists, such as {first}: unpack the "
            "archives of the plates there"
        )
    n = int((~there).sum())
    note = (
        f"{n} of {len(files)} fields that {IMAGES} lists are not there and were left out, the "
        f"first of them {first}"
    )
    return there, [note] if n else []
