"""Camelyon17-WILDS: patches of lymph node sections from five hospitals, with or without tumour.

Each row is one patch, 96 x 96 pixels in three colours (8 bit). The label states whether the central
32 x 32 pixels contain tumour. Batch levels, smallest first: slide (50, ten per hospital) and
hospital, the default level of the methods. Hospital 2 is the test set, hospital 1 the validation
set; some patches of the three training hospitals are the in-distribution test set. The column
``official`` is the partition of the official split, as computed by the class in ``wilds``.
Confidence intervals are computed over slides. There are no controls and no wells.

The *real* edition is read as published: ``camelyon17_v1.0/`` with ``metadata.csv``,
``patches/patient_PPP_node_N/patch_patient_PPP_node_N_x_X_y_Y.png`` and ``RELEASE_v1.0.txt``, in the
data folder (as ``camelyon17/camelyon17_v1.0`` or ``camelyon17_v1.0``). Patches are decoded once,
into an array of about 13 GB in the cache folder. Listed patches that are missing are left out, and
every record states their number. The *fixture* edition consists of small synthetic files in the
same layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.api import BenchError, Opened, generator
from bench.data.image_ref import ImageRef

from . import _fixtures, _wilds

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bench.core.meta import Meta

META: Meta = {
    "kind": "dataset",
    "name": "camelyon17",
    "class": "Camelyon17",
    "version": 1,
    "summary": "Lymph node sections from five hospitals, tumour or none; the test hospital is new.",
    "reference": "Bandi et al. 2018; Koh et al. 2021 (WILDS), arXiv:2012.07421",
    "url": "https://wilds.stanford.edu/datasets/#camelyon17",
    "licence": "CC0 1.0",
    "size": "10,658,709,504 bytes to download; the decoded patches take 12.6 GB in the cache "
    "folder",
    "files": "camelyon17_v1.0/ with metadata.csv, patches/patient_PPP_node_N/*.png and "
    "RELEASE_v1.0.txt",
    "editions": ["real", "fixture"],
    "levels": ["slide", "hospital"],
}

COLUMNS = ("patient", "node", "x_coord", "y_coord", "tumor", "slide", "center", "split")
NUMBERS = COLUMNS[1:]
CLASSES = {"0": "normal", "1": "tumor"}
FIXTURE = 1
"""Version of the fixture."""


@dataclass(frozen=True)
class Settings:
    """Settings of the data set: none."""


class Camelyon17:
    """Camelyon17-WILDS in its real and fixture editions."""

    Settings = Settings

    def __init__(self, settings: object = None) -> None:
        self.settings = Settings() if settings is None else settings

    def editions(self) -> list[str]:
        """Return ``real`` if a published metadata file is available, and ``fixture``."""
        return ["fixture"] if _wilds.find_folder("camelyon17") is None else ["real", "fixture"]

    def prepare(self, edition: str) -> Path:
        """Return the folder ``camelyon17_v1.0`` of an edition; writes the fixture if necessary."""
        if edition == "fixture":
            return _fixtures.ensure("camelyon17", FIXTURE, write_fixture) / "camelyon17_v1.0"
        if edition != "real":
            raise BenchError(f"camelyon17 has the editions real and fixture, not '{edition}'")
        return _wilds.find_real("camelyon17")

    def open(self, edition: str) -> Opened:
        """Open an edition from its cached index; the first time, read the metadata and decode.

        Raises
        ------
        BenchError
            If files are missing or damaged, or do not have the published layout.
        """
        return open_folder(self.prepare(edition), edition)


def open_folder(folder: Path, edition: str) -> Opened:
    """Open a folder in the published layout."""
    patterns = ("patches", "patches/*")
    index, pixels, facts = _wilds.open_kept("camelyon17", META["version"], folder, patterns, _read)
    return Opened(
        name="camelyon17",
        index=index,
        source=pixels,
        levels=("slide", "hospital"),
        level="hospital",
        edition=edition,
        digest=facts["digest"],
        upstream=("cut into patches, of which each class was given about as many",),
        notes=tuple(facts["notes"]),
        content=pixels.digests,
    )


def _read(folder: Path) -> tuple[pd.DataFrame, list[ImageRef]]:
    """Return one row and one picture for each patch listed in the metadata."""
    import pandas as pd

    path = folder / "metadata.csv"
    table = _wilds.read_metadata(path, COLUMNS, NUMBERS)
    unknown = sorted(set(table["tumor"]) - set(CLASSES))
    if unknown:
        raise BenchError(f"{path}: tumor is 0 or 1, not {unknown[0]}: get the file again")
    # Patient numbers have three digits in file names, however the table was saved.
    patient = table["patient"].str.replace(r"\.0+$", "", regex=True).str.zfill(3)
    nodes = "patient_" + patient + "_node_" + table["node"]
    places = "x_" + table["x_coord"] + "_y_" + table["y_coord"]
    numbers = {column: table[column].astype(np.int64) for column in NUMBERS}
    official = table.assign(patient=patient, **numbers)
    partition = _wilds.sides("camelyon17", official, "official", index=True)
    index = pd.DataFrame(
        {
            "id": nodes + "/" + places,
            "label": table["tumor"].map(CLASSES),
            "control": False,
            "slide": table["slide"],
            "hospital": table["center"],
            "patient": patient,
            "node": table["node"],
            "official": pd.Series(partition).str.replace("id_val", "id"),
        }
    )
    _wilds.refuse_twice(path, index)
    pictures = [
        # some releases have an alpha channel, which wilds also drops
        ImageRef((folder / "patches" / node / f"patch_{node}_{place}.png",), channels=(0, 1, 2))
        for node, place in zip(nodes.tolist(), places.tolist(), strict=True)
    ]
    return index, pictures


HOSPITALS, SLIDES, PATCHES, SIZE = 5, 10, 12, 32
"""Hospitals, slides per hospital, patches per slide, and patch height and width in pixels."""
ABSENT = (7, 400)
"""Rows of the fixture's metadata whose patch is missing."""


def write_fixture(folder: Path) -> None:
    """Write a miniature ``camelyon17_v1.0/``: five hospitals of ten slides, as published."""
    import imagecodecs
    import pandas as pd

    root = folder / "camelyon17_v1.0"
    rng = generator("camelyon17-fixture")
    rows = []
    for slide in range(HOSPITALS * SLIDES):
        center, patient, node = slide // SLIDES, f"{4 + 2 * slide:03d}", slide % 5
        tumors = rng.permutation(PATCHES) % 2
        x, y = rng.permutation(PATCHES) * 96, rng.permutation(PATCHES) * 128
        for k in range(PATCHES):
            # a sixth of the patches of the training hospitals is the in-distribution test
            in_distribution = int(k % 6 == 5)
            rows.append((patient, node, x[k], y[k], tumors[k], slide, center, in_distribution))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    pixels = _fixtures.images(
        "camelyon17-fixture",
        table["tumor"].to_numpy(np.int64),
        table["center"].to_numpy(np.int64),
        size=SIZE,
    )
    for row, patch in enumerate(table.itertuples(index=False)):
        section = f"patient_{patch.patient}_node_{patch.node}"
        file = (
            root / "patches" / section / f"patch_{section}_x_{patch.x_coord}_y_{patch.y_coord}.png"
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        if row not in ABSENT:
            file.write_bytes(imagecodecs.png_encode(pixels[row]))
    table.to_csv(root / "metadata.csv", lineterminator="\n")
    (root / "RELEASE_v1.0.txt").write_text("made-up files in the layout of Camelyon17-WILDS v1.0\n")
