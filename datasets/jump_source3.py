"""JUMP-CP source_3: image statistics, 8 compounds crossed with 9 batches of one laboratory.

1,800 images with 55 statistics of single channels and 10 correlations between channels, from
``bscheuringer/cell-painting-domain-shift-baselines``. That table has no compound names: labels are
joined by plate and well from ``jump-cellpainting/datasets``. There are no negative controls. Each
compound occupies four positions, the same on each plate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bench.api import BenchError

from ._tables import NoSettings, Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

META = {
    "kind": "dataset",
    "name": "jump-source3",
    "class": "JumpSource3",
    "version": 1,
    "summary": "Channel statistics of images; 8 compounds, each in all 9 batches of one "
    "laboratory.",
    "reference": "Chandrasekaran et al. 2023, doi:10.1101/2023.03.23.534023",
    "licence": "MIT (features), BSD-3 (labels)",
    "editions": ["real"],
    "levels": ["meta_plate", "meta_batch"],
}

Settings = NoSettings
SOURCE = "source_3"


class JumpSource3(Table):
    """Images of source_3 as channel statistics."""

    name = "jump-source3"
    folder = "jump_source3_image_stats"
    table = "jump_source3_image_stats.parquet"
    published = "a5f2eec3e6c05a9313584c66f3e142864771cb0bf5f00ab38fd1e5bc7f145159"
    content = "84abab4809eed3221933b483ba95dc2d1b7f67d3da64db5fc05df1f610fa2270"
    declared: ClassVar[Mapping[str, object]] = {
        "name": "jump-source3-statistics",
        "features": "^(?!meta_)",
        "id": ["meta_plate", "meta_well", "meta_site"],
        "label": "meta_compound",
        "batches": ["meta_plate", "meta_batch"],
        "level": "meta_batch",
        "metadata": ["meta_well", "meta_site"],
        "upstream": [],
    }

    def join(self, folder: Path) -> pd.DataFrame:
        """Return images with plate, well and site, parsed from their names, and their compound.

        Raises
        ------
        BenchError
            If a name has another format, or a well is not in the table of wells.
        """
        import pandas as pd

        images = pd.read_csv(folder / "per_image_features.csv")
        wells = pd.read_csv(folder / "well.csv.gz")
        controls = pd.read_csv(folder / "perturbation_control.csv")
        rows = []
        for name, batch in zip(images["Metadata_Sample_ID"], images["Metadata_Batch"], strict=True):
            start = f"{SOURCE}_{batch}_"
            parts = name.removeprefix(start).rsplit("_", 2)
            if not name.startswith(start) or len(parts) != 3 or not parts[2].isdigit():
                raise BenchError(
                    f"'{name}' in {folder / 'per_image_features.csv'} is not "
                    "SOURCE_BATCH_PLATE_WELL_SITE: get the file again"
                )
            rows.append((SOURCE, batch, parts[0], parts[1], int(parts[2])))
        meta = pd.DataFrame(
            rows, columns=["meta_source", "meta_batch", "meta_plate", "meta_well", "meta_site"]
        )
        wells = wells[wells["Metadata_Source"] == SOURCE]
        of_well = wells.set_index(["Metadata_Plate", "Metadata_Well"])["Metadata_JCP2022"]
        keys = pd.MultiIndex.from_frame(meta[["meta_plate", "meta_well"]])
        meta["meta_jcp2022"] = of_well.reindex(keys).to_numpy()
        name_of = controls.set_index("Metadata_JCP2022")["Metadata_Name"]
        meta["meta_compound"] = meta["meta_jcp2022"].map(name_of)
        n_lost = int(meta["meta_compound"].isna().sum())
        if n_lost:
            raise BenchError(f"{n_lost} images of {folder} have no compound: get the files again")
        features = [name for name in images.columns if not name.startswith("Metadata_")]
        return pd.concat([meta, images[features].astype("float32")], axis=1)
