"""Miniature RxRx1-WILDS: its 51 experiments, 4 cell types and 4 plates, with few small wells.

As in the published data, each experiment has every treatment once, and every control once per
plate. In all experiments the treatments form the same four plate groups. Some wells were imaged at
only one site, and the metadata list images that are missing. Class numbers have no meaning:
controls are mixed with treatments and identified by ``well_type``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.api import generator

from ._fixtures import images

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
EXPERIMENTS = {
    # cell type: number of experiments in the official training, validation and test partitions
    "HEPG2": (7, 1, 3),
    "HUVEC": (16, 1, 7),
    "RPE": (7, 1, 3),
    "U2OS": (3, 1, 1),
}
PLATES, GROUPS, SIZE = 4, 4, 32
TREATMENTS = (0, 1, 3, 4, 6, 7, 8, 10, 11, 12, 13, 14)
POSITIVE, NEGATIVE = (2, 9), 5
WELLS = ("B02", "B03", "C07", "E11", "H18", "N23")
ONE_SITE = ("HUVEC-03_2_C07", "RPE-09_4_B02")
ABSENT = ("HEPG2-01/Plate3/B03_s1.png", "HUVEC-20/Plate1/H18_s2.png", "U2OS-04/Plate2/E11_s2.png")
COLUMNS = [
    "site_id",
    "well_id",
    "cell_type",
    "dataset",
    "experiment",
    "plate",
    "well",
    "site",
    "well_type",
    "sirna",
    "sirna_id",
]


def write(folder: Path, size: int = SIZE) -> None:
    """Write ``rxrx1_v1.0/`` with images of ``size`` x ``size`` pixels into an existing folder."""
    import imagecodecs
    import pandas as pd

    root = folder / "rxrx1_v1.0"
    rows = _rows()
    table = pd.DataFrame(rows, columns=COLUMNS)
    experiment = pd.factorize(table["experiment"])[0]
    plate = experiment * PLATES + table["plate"].to_numpy() - 1
    kind = table["sirna_id"].to_numpy(np.int64)
    pixels = images("rxrx1-fixture", kind, plate.astype(np.int64), size=size)
    paths = [
        f"{name}/Plate{number}/{well}_s{site}.png"
        for name, number, well, site in table[["experiment", "plate", "well", "site"]].itertuples(
            index=False
        )
    ]
    for path, picture in zip(paths, pixels, strict=True):
        file = root / "images" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if path not in ABSENT:
            file.write_bytes(imagecodecs.png_encode(picture))
    table.to_csv(root / "metadata.csv", index=False, lineterminator="\n")
    (root / "RELEASE_v1.0.txt").write_text("made-up files in the layout of RxRx1-WILDS v1.0\n")


def _rows() -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for cell_type, counts in EXPERIMENTS.items():
        partition = [
            word for word, n in zip(("train", "val", "test"), counts, strict=True) for _ in range(n)
        ]
        for number, dataset in enumerate(partition, 1):
            name = f"{cell_type}-{number:02d}"
            rng = generator("rxrx1-fixture", name)
            groups = rng.permutation(GROUPS)
            for plate in range(1, PLATES + 1):
                group = TREATMENTS[groups[plate - 1] :: GROUPS]
                content = [
                    *[("treatment", sirna) for sirna in group],
                    *[("positive_control", sirna) for sirna in POSITIVE],
                    ("negative_control", NEGATIVE),
                ]
                places = rng.permutation(len(WELLS))
                for place in np.argsort(places):
                    well = WELLS[places[place]]
                    kind, sirna = content[place]
                    for site in (1, 2):
                        where = f"{name}_{plate}_{well}"
                        if site == 2 and where in ONE_SITE:
                            continue
                        word = "EMPTY" if kind == "negative_control" else f"s{20000 + 7 * sirna}"
                        row = (cell_type, dataset, name, plate, well, site, kind, word, sirna)
                        rows.append((f"{where}_{site}", where, *row))
    return rows
