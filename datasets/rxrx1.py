"""RxRx1-WILDS: 1,138 genetic perturbations of four cell types in 51 experiments of four plates.

Each row is one image, a site of a well: 256 x 256 pixels of nuclei, endoplasmic reticulum and actin
(8 bit), one of 1,139 classes. Treatments occur once per experiment. The 30 positive controls and
the untreated well occur on every plate and are published as classes: they are used in training and
scored, and the control mask is a label. Batch levels, smallest first: plate (within an experiment,
named ``HUVEC-18/2``), experiment, cell type. ``well`` is unique (``HUVEC-18/2/B02``), ``position``
is the well name within the plate. The column ``official`` is the partition of the official split,
and ``mixed`` that of the published in-distribution split ``mixed-to-test``; both are computed by
the class in ``wilds``.

The *real* edition is read as published: ``rxrx1_v1.0/`` with ``metadata.csv``,
``images/EXPERIMENT/PlateN/WELL_sS.png`` and ``RELEASE_v1.0.txt``, in the data folder (as
``rxrx1/rxrx1_v1.0`` or ``rxrx1_v1.0``). Images are decoded once, into an array of about 25 GB in
the cache folder. Listed images that are missing are left out, and every record states their number.
The *fixture* edition consists of small synthetic files in the same layout, read by the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import BenchError, Opened, param
from bench.data.image_ref import ImageRef

from . import _fixtures, _rxrx1_fixture, _wilds

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bench.core.meta import Meta

META: Meta = {
    "kind": "dataset",
    "name": "rxrx1",
    "class": "RxRx1",
    "version": 1,
    "summary": "1,138 siRNAs in four cell types, 51 experiments of four plates; the test "
    "experiments are new.",
    "reference": "Taylor et al. 2019; Koh et al. 2021 (WILDS), arXiv:2012.07421",
    "url": "https://wilds.stanford.edu/datasets/#rxrx1",
    "licence": "CC BY-NC-SA 4.0",
    "size": "7,413,123,845 bytes to download; the decoded images take 24.7 GB in the cache folder",
    "files": "rxrx1_v1.0/ with metadata.csv, images/EXPERIMENT/PlateN/WELL_sS.png and "
    "RELEASE_v1.0.txt",
    "editions": ["real", "fixture"],
    "levels": ["plate", "experiment", "cell_type"],
}

COLUMNS = (
    "cell_type",
    "dataset",
    "experiment",
    "plate",
    "well",
    "site",
    "well_type",
    "sirna_id",
)
NUMBERS = ("plate", "site")
SIDES = ("train", "val", "test")
WELL_TYPES = ("treatment", "positive_control", "negative_control")
CAUTION = (
    "on every plate of RxRx1 the treatments are one of the same four groups, so whoever sees a "
    "plate as a whole can tell a quarter of the classes from the rest: part of a plate-wise "
    "method's score may come from the layout and not from the images"
)


@dataclass(frozen=True)
class Settings:
    """Values that the files do not contain."""

    pixel: float = param(
        0.65,
        "Size of a pixel in the sample, which the files do not state (assumed: 20x, binned twice); "
        "used where a network is taken to another data set.",
        unit="um",
        low=0.01,
        high=100.0,
    )


class RxRx1:
    """RxRx1-WILDS in its real and fixture editions."""

    Settings = Settings

    def __init__(self, settings: Any = None) -> None:  # noqa: ANN401 - an instance of Settings
        self.settings = Settings() if settings is None else settings

    def editions(self) -> list[str]:
        """Return ``real`` if a published metadata file is available, and ``fixture``."""
        return ["fixture"] if _wilds.find_folder("rxrx1") is None else ["real", "fixture"]

    def prepare(self, edition: str) -> Path:
        """Return the folder ``rxrx1_v1.0`` of an edition, writing the fixture if necessary."""
        if edition == "fixture":
            folder = _fixtures.ensure("rxrx1", _rxrx1_fixture.VERSION, _rxrx1_fixture.write)
            return folder / "rxrx1_v1.0"
        if edition != "real":
            raise BenchError(f"rxrx1 has the editions real and fixture, not '{edition}'")
        return _wilds.find_real("rxrx1")

    def open(self, edition: str) -> Opened:
        """Open an edition from its cached index; the first time, read the metadata and decode.

        Raises
        ------
        BenchError
            If files are missing or damaged, or do not have the published layout.
        """
        return open_folder(self.prepare(edition), edition, self.settings.pixel)


def open_folder(folder: Path, edition: str, pixel: float = Settings().pixel) -> Opened:
    """Open a folder in the published layout; ``pixel`` is the pixel size, um."""
    patterns = ("images", "images/*", "images/*/Plate*")
    index, pixels, facts = _wilds.open_kept("rxrx1", META["version"], folder, patterns, _read)
    return Opened(
        name="rxrx1",
        index=index,
        source=pixels,
        levels=("plate", "experiment", "cell_type"),
        level="plate",
        edition=edition,
        digest=facts["digest"],
        upstream=("reduced to three of six channels and to 256 x 256 pixels of 8 bit",),
        columns={
            "well": "well",
            "position": "position",
            "treatment": "label",
            "kind": "well_type",
        },
        control_classes=True,
        notes=tuple(facts["notes"]),
        cautions={"plate": CAUTION},
        channels=("nucleus", "ER", "actin"),
        pixel=pixel,
        content=pixels.digests,
    )


def _read(folder: Path) -> tuple[pd.DataFrame, list[ImageRef]]:
    """Return one row and one picture for each image listed in the metadata."""
    import pandas as pd

    path = folder / "metadata.csv"
    table = _wilds.read_metadata(path, COLUMNS, NUMBERS)
    for column, allowed in (("dataset", SIDES), ("well_type", WELL_TYPES)):
        unknown = sorted(set(table[column]) - set(allowed))
        if unknown:
            raise BenchError(
                f"{path}: '{unknown[0]}' is not a {column} (allowed: {', '.join(allowed)}): get "
                "the file again"
            )
    # 1138 and 1138.0 are the same class; text names are kept
    label = table["sirna_id"].str.replace(r"^(\d+)\.0+$", r"\1", regex=True)
    plate = table["experiment"] + "/" + table["plate"]
    well = plate + "/" + table["well"]
    index = pd.DataFrame(
        {
            "id": well + "/s" + table["site"],
            "label": label,
            "control": table["well_type"] == "negative_control",
            "plate": plate,
            "experiment": table["experiment"],
            "cell_type": table["cell_type"],
            "well": well,
            "position": table["well"],
            "site": table["site"],
            "well_type": table["well_type"],
        }
    )
    _wilds.refuse_twice(path, index)
    official = _official(table, label)
    index["official"] = _wilds.sides("rxrx1", official, "official")
    index["mixed"] = _wilds.sides("rxrx1", official, "mixed-to-test")
    index["official"] = index["official"].str.replace("id_test", "id")
    places = table["experiment"] + "/Plate" + table["plate"]
    names = table["well"] + "_s" + table["site"] + ".png"
    pictures = [
        ImageRef((folder / "images" / place / name,))
        for place, name in zip(places.tolist(), names.tolist(), strict=True)
    ]
    return index, pictures


def _official(table: pd.DataFrame, label: pd.Series[str]) -> pd.DataFrame:
    """Return the metadata in the dtypes that ``wilds`` reads, with consecutive class numbers."""
    codes = np.unique(label.to_numpy(str), return_inverse=True)[1]
    numbers = {column: table[column].astype(np.int64) for column in NUMBERS}
    return table.assign(sirna_id=codes, **numbers)
