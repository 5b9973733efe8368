"""JUMP-Lite: images of DMSO and of eight positive controls in several laboratories, five markers.

Files have the layout of JUMP-Lite 1.0 in the Cell Painting Gallery, in ``$BENCH_DATA/jump-lite``::

    metadata/jump_lite_perturbation_metadata.parquet      well -> compound
    metadata/microscope_config.csv                        laboratory -> microscope
    jpegxl_lossy_d20.zarr/SOURCE__BATCH__PLATE__WELL__SITE/   .zarray and 0.0.0

One array per site, ``(5, y, x)`` uint16, in zarr format 2 with JPEG XL. A row is a site with an
array; its class is the compound, DMSO wells are the negative controls. Of each image a square
in the centre is used. Wells of other compounds can be put there too; their classes are theirs.

The compression is lossy, at the highest of the published levels. The embeddings of the release are
in one file per site and are not read. No file has been read here: the loader is tested on files in
the published layout.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import BenchError, Opened, param
from bench.core.folders import data_folder
from bench.data.image_ref import ImageRef
from bench.data.pixel_cache import decoded

from ._digest import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

META = {
    "kind": "dataset",
    "name": "jump-lite",
    "class": "JumpLite",
    "version": 1,
    "summary": "JUMP-Lite images of eight positive controls and DMSO in six laboratories.",
    "reference": "Munoz et al. 2026, arXiv:2608.07632; JUMP, doi:10.1101/2023.03.23.534023",
    "licence": "CC0 1.0 (Cell Painting Gallery, believed), MIT (code)",
    "editions": ["real"],
    "levels": ["plate", "batch", "source", "microscope"],
}

STORE = "jpegxl_lossy_d20.zarr"
WELLS = "metadata/jump_lite_perturbation_metadata.parquet"
SCOPES = "metadata/microscope_config.csv"
CHANNELS = ("AGP", "DNA", "ER", "Mito", "RNA")
DMSO = "JCP2022_033924"
COLUMNS = ("Metadata_Source", "Metadata_Batch", "Metadata_Plate", "Metadata_Well")
PLATE_GROUPS = 5


@dataclass(frozen=True)
class Settings:
    """Settings of the data set."""

    crop: int = param(256, "side of the square in the centre", unit="pixels", low=16, high=970)


class JumpLite:
    """Sites of JUMP-Lite; batch levels plate, batch, source (laboratory) and microscope."""

    Settings = Settings

    def __init__(self, settings: Any = None) -> None:  # noqa: ANN401 - an instance of Settings
        self.settings = Settings() if settings is None else settings

    def editions(self) -> list[str]:
        """Return ``real`` if the tables and an image are available."""
        folder = data_folder("jump-lite")
        there = (folder / WELLS).is_file() and (folder / SCOPES).is_file()
        return ["real"] if there and any((folder / STORE).glob("*/.zarray")) else []

    def open(self, edition: str) -> Opened:
        """Open the sites that are there; their images are decoded the first time.

        Raises
        ------
        BenchError
            If files are missing or damaged, or do not have the published layout.
        """
        folder = self.prepare(edition)
        index, folders = read_sites(folder)
        side = self.settings.crop
        pixels = decoded(
            [ImageRef((site,), crop=centre(site, side)) for site in folders], label="jump-lite"
        )
        if pixels.shape[0] != len(CHANNELS):
            raise BenchError(
                f"{folders[0]} has {pixels.shape[0]} channels, expected {', '.join(CHANNELS)}: "
                "fetch it again"
            )
        return Opened(
            name="jump-lite",
            index=index,
            source=pixels,
            levels=("plate", "batch", "source", "microscope"),
            level="plate",
            edition=edition,
            digest=digest_of(index, pixels.digest),
            upstream=("JPEG XL at distance 20", f"centre of {side} x {side} pixels"),
            settings={} if self.settings == Settings() else {"crop": side},
            columns={
                "well": "well",
                "position": "position",
                "treatment": "treatment",
                "compound": "compound",
                "nscb_batch": "source",
            },
            channels=CHANNELS,
            content=pixels.digests,
        )

    def prepare(self, edition: str) -> Path:
        """Return the folder of the files; nothing is written."""
        if edition != "real":
            raise BenchError(f"jump-lite has only real data, not the edition '{edition}'")
        folder = data_folder("jump-lite")
        if not self.editions():
            lacking = next((n for n in (WELLS, SCOPES) if not (folder / n).is_file()), STORE)
            raise BenchError(
                f"{folder} has no {lacking}: `python -m bench data fetch jump-lite` gets it"
            )
        return folder


def read_sites(folder: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Return the sites with an array and with a compound in their well, sorted by key.

    Raises
    ------
    BenchError
        If a table lacks a column, a laboratory has no microscope, or no site has a compound.
    """
    import pandas as pd

    from bench.data.own.reading import damaged

    with damaged(folder / WELLS, "parquet"):
        wells = pd.read_parquet(folder / WELLS).astype(str)
    for name in ("Metadata_Well_Key", "Metadata_JCP2022", *COLUMNS):
        if name not in wells.columns:
            raise BenchError(f"{folder / WELLS} has no column {name}: fetch it again")
    try:
        scopes = pd.read_csv(folder / SCOPES, dtype=str).set_index("Metadata_Source")
        microscopes = scopes["Metadata_Microscope_Name"]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{folder / SCOPES} is not the published table ({error})") from None
    sites = sorted(path.parent for path in (folder / STORE).glob("*/.zarray"))
    keys = pd.Series([site.name for site in sites]).str.rpartition("__")
    known = wells.drop_duplicates("Metadata_Well_Key").set_index("Metadata_Well_Key")
    used = keys[0].isin(known.index) & ~keys[0].map(known["Metadata_JCP2022"]).isin(["None", "nan"])
    if not used.any():
        raise BenchError(
            f"no array in {folder / STORE} is of a well with a compound in {WELLS}: the table and "
            "the images are not of one release"
        )
    rows = known.loc[keys[0][used]].reset_index()
    source, compound = rows["Metadata_Source"], rows["Metadata_JCP2022"]
    lost = sorted(set(source) - set(microscopes.index))
    if lost:
        raise BenchError(f"{folder / SCOPES} has no microscope of {lost[0]}: fetch it again")
    control = compound == DMSO
    batch = source + "/" + rows["Metadata_Batch"]
    plate = batch + "/" + rows["Metadata_Plate"]
    index = pd.DataFrame(
        {
            "id": keys[0][used].to_numpy() + "__" + keys[2][used].to_numpy(),
            "label": compound.mask(control, ""),
            "control": control,
            "plate": plate,
            "batch": batch,
            "source": source,
            "microscope": source.map(microscopes),
            "plate_group": rows["Metadata_Plate"].map(plate_group),
            "position": rows["Metadata_Well"],
            "well": plate + "/" + rows["Metadata_Well"],
            "treatment": compound,
            "compound": compound,
        }
    )
    return index, [site for site, ok in zip(sites, used, strict=True) if ok]


def plate_group(plate: str) -> str:
    """Return the test set of a plate, from its name alone."""
    return f"group {hashlib.sha256(plate.encode()).digest()[0] % PLATE_GROUPS}"


def centre(site: Path, side: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the square in the centre of an array.

    Raises
    ------
    BenchError
        If the array is smaller, or its metadata are damaged.
    """
    try:
        shape = json.loads((site / ".zarray").read_text(encoding="utf-8"))["shape"]
        height, width = (int(n) for n in shape[-2:])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{site}/.zarray is damaged ({error}): fetch it again") from None
    if min(height, width) < side:
        raise BenchError(
            f"{site} has {height} x {width} pixels, fewer than {side}: use --set data.crop="
            f"{min(height, width)}"
        )
    top, left = np.array([height - side, width - side]) // 2
    return int(top), int(left), side, side
