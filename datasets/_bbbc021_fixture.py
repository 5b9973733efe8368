"""Miniature BBBC021: 12 mechanisms, compounds restricted to one week, two fields per well.

As in the published data, two mechanisms occur in only one week, some compounds have two
concentrations, some have no known mechanism, and one listed file is missing. Each week has two
plates with the same wells (replicates).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.api import generator

from ._fixtures import images

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
MECHANISMS = (
    "Actin disruptors",
    "Aurora kinase inhibitors",
    "Cholesterol-lowering",
    "DNA damage",
    "DNA replication",
    "Eg5 inhibitors",
    "Epithelial",
    "Kinase inhibitors",
    "Microtubule destabilizers",
    "Microtubule stabilizers",
    "Protein degradation",
    "Protein synthesis",
)
ONE_WEEK = ("Cholesterol-lowering", "Kinase inhibitors")
WEEKS, PLATES, DMSO, SITES = 4, 2, 3, (1, 2)
HEIGHT, WIDTH = 72, 136
ABSENT = ("Week2", "s2")
"""Week, first plate and site of the one listed file that is missing."""
CHANNELS = (("DAPI", 1), ("Tubulin", 2), ("Actin", 4))
HEAD = ["TableNumber", "ImageNumber"]
TAIL = [
    "Image_Metadata_Plate_DAPI",
    "Image_Metadata_Well_DAPI",
    "Replicate",
    "Image_Metadata_Compound",
    "Image_Metadata_Concentration",
]


def compounds() -> list[tuple[str, float, str, int]]:
    """Return compound, concentration, mechanism (empty if unknown) and week, counted from 0."""
    rows: list[tuple[str, float, str, int]] = []
    for k, moa in enumerate(MECHANISMS):
        for j in range(2):
            week = k % WEEKS if moa in ONE_WEEK else (k + 2 * j) % WEEKS
            rows.append((f"compound {2 * k + j:02d}", 0.3, moa, week))
            if k % 4 == 0:
                rows.append((f"compound {2 * k + j:02d}", 3.0, moa, week))
    return rows + [(f"unknown {week}", 1.0, "", week) for week in range(WEEKS)]


def write(folder: Path) -> None:
    """Write both tables and the plate folders into an existing folder."""
    import pandas as pd
    import tifffile

    content = compounds()
    mechanisms = sorted({moa for *_, moa, _ in content})
    rows, kinds, plates = [], [], []
    for week in range(WEEKS):
        for replicate in range(1, PLATES + 1):
            plate = f"Week{week + 1}_{22100 + 10 * week + replicate}"
            mine = [(c, dose, moa) for c, dose, moa, where in content if where == week]
            wells = [*mine, *[("DMSO", 0.0, "DMSO")] * DMSO]
            places = generator("bbbc021-fixture", week).permutation(60)[: len(wells)]
            for (compound, dose, moa), place in zip(wells, places, strict=True):
                well = f"{'BCDEFG'[place // 10]}{place % 10 + 2:02d}"
                for site in SITES:
                    rows.append((plate, well, site, replicate, compound, dose))
                    kinds.append(len(mechanisms) if compound == "DMSO" else mechanisms.index(moa))
                    plates.append(PLATES * week + replicate - 1)
    pixels = images(
        "bbbc021-fixture", np.array(kinds, np.int64), np.array(plates, np.int64), size=WIDTH
    )
    table = []
    for number, (row, picture) in enumerate(zip(rows, pixels, strict=True), 1):
        plate, well, site, replicate, compound, dose = row
        (folder / plate).mkdir(exist_ok=True)
        line: list[object] = [1, number]
        for channel, (_, filter_number) in enumerate(CHANNELS):
            unique = generator("bbbc021-fixture", "name", number, channel).integers(16**8)
            name = f"{plate}_{well}_s{site}_w{filter_number}{unique:08X}.tif"
            line += [name, f"{plate.partition('_')[0]}/{plate}"]
            absent = number == _absent(rows) and channel == 1
            if not absent:
                counts = picture[:HEIGHT, :, channel].astype(np.uint16) * 37 + 200
                tifffile.imwrite(folder / plate / name, counts)
        table.append([*line, plate, well, replicate, compound, dose])
    named = [
        f"Image_{what}_{channel}" for channel, _ in CHANNELS for what in ("FileName", "PathName")
    ]
    listed = pd.DataFrame(table, columns=[*HEAD, *named, *TAIL])
    listed.to_csv(folder / "BBBC021_v1_image.csv", index=False, lineterminator="\n")
    answers = [(c, dose, moa) for c, dose, moa, _ in content if moa] + [("DMSO", 0.0, "DMSO")]
    pd.DataFrame(answers, columns=["compound", "concentration", "moa"]).to_csv(
        folder / "BBBC021_v1_moa.csv", index=False, lineterminator="\n"
    )


def _absent(rows: list[tuple[str, str, int, int, str, float]]) -> int:
    week, site = ABSENT
    return next(
        number
        for number, row in enumerate(rows, 1)
        if row[0].startswith(week) and f"s{row[2]}" == site
    )
