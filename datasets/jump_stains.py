"""One JUMP-MOA compound plate under four staining variants: stains not seen in training.

1,535 wells with the 259 features common to all three batches; 47 mechanisms and 24 negative
controls per plate, with the same layout on each plate. From one commit of the Broad Institute's
repository of new phenotypic dyes. The published values were normalised to the DMSO of the plate and
feature-selected over all plates, so results do not support claims without test-batch access.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ._tables import NoSettings, Table, features_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

META = {
    "kind": "dataset",
    "name": "jump-stains",
    "class": "JumpStains",
    "version": 1,
    "summary": "One compound plate map under four staining variants; 47 mechanisms of action.",
    "reference": "Broad Institute, new phenotypic dye testing 2022-09",
    "licence": "BSD-3",
    "editions": ["real"],
    "levels": ["meta_plate"],
}

Settings = NoSettings
BATCHES = ("2023_05_15_Batch1", "2023_05_17_Batch2", "2023_05_17_Batch3")
STAINS = {
    "BR00122246": "CP + MitoBrilliant",
    "BR00122247": "CP + PhenoVue phalloidin 400LS",
    "BR00122248": "Standard CP (exposed to ChromaLive)",
    "BR00122250": "Standard CP",
}
"""Plate -> stain, from the authors' analysis notebook."""
COLUMNS = {
    "Metadata_batch": "meta_batch",
    "Metadata_Plate": "meta_plate",
    "Metadata_Well": "meta_well",
    "Metadata_broad_sample": "meta_broad_sample",
    "Metadata_Common Name": "meta_compound",
    "Metadata_MoA": "meta_moa",
    "Metadata_control_type": "meta_control_type",
    "Metadata_Count_Cells": "meta_cell_count",
}


class JumpStains(Table):
    """Wells of one plate map under four stains."""

    name = "jump-stains"
    folder = "jump_moa_dye_batches"
    table = "jump_moa_dye_wells.parquet"
    published = "b825d1c929e5b2efe8c3e0528c7f7233ff3c3736f5536aae537c5ea48699a296"
    content = "e1b88e6cd62aedb499e70bf8ba288b5e48ed941fd00c0b1f5dba185f90dc77f5"
    declared: ClassVar[Mapping[str, object]] = {
        "name": "jump-moa-stains",
        "features": "^(Cells|Cytoplasm|Nuclei)_",
        "id": ["meta_plate", "meta_well"],
        "label": "meta_moa",
        "batches": ["meta_plate"],
        "control": "meta_is_control",
        "treatment": "meta_compound",
        "compound": "meta_compound",
        "metadata": ["meta_stain", "meta_batch", "meta_cell_count"],
        "cell_count": "meta_cell_count",
        "upstream": ["normalised to DMSO per plate", "features selected over all plates"],
    }

    def join(self, folder: Path) -> pd.DataFrame:
        """Return the wells of all batches with the features that all batches have."""
        import pandas as pd

        parts = [
            pd.read_csv(folder / f"{name}_normalized_feature_select_negcon_batch.csv.gz")
            for name in BATCHES
        ]
        shared = [name for name in features_of(parts[0]) if all(name in part for part in parts)]
        whole = pd.concat([part[[*COLUMNS, *shared]] for part in parts], ignore_index=True)
        meta = whole[list(COLUMNS)].rename(columns=COLUMNS)
        meta["meta_stain"] = meta["meta_plate"].map(STAINS)
        meta["meta_is_control"] = meta["meta_control_type"] == "negcon"
        return pd.concat([meta, whole[shared].astype("float32")], axis=1)
