"""CPJUMP1 compound plates: seven replicates of one layout after 24 and 48 hours.

2,688 wells of U2OS cells with 904 features; 302 compounds and 64 DMSO wells per plate. The data are
the pilot of the JUMP consortium (cpg0000), in files of CHAMMI-75. The published values were
normalised to the DMSO of the plate and feature-selected over all plates, so results do not support
claims without test-batch access. All plates at 24 hours have an anomaly of the WGA stain, so time
and anomaly are confounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ._tables import NoSettings, Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

META = {
    "kind": "dataset",
    "name": "cpjump1",
    "class": "Cpjump1",
    "version": 1,
    "summary": "One compound plate map of CPJUMP1 at two time points; 302 compounds.",
    "reference": "Chandrasekaran et al. 2024, doi:10.1038/s41592-024-02241-6",
    "licence": "MIT (files), CC0 1.0 (JUMP data)",
    "editions": ["real"],
    "levels": ["meta_plate", "meta_time_h"],
}

Settings = NoSettings
PLATES = (
    "BR00117010",
    "BR00117011",
    "BR00117012",
    "BR00117013",
    "BR00117024",
    "BR00117025",
    "BR00117026",
)
BATCH = "2020_11_04_CPJUMP1"


class Cpjump1(Table):
    """Wells of one plate map at two time points."""

    name = "cpjump1"
    folder = "cpjump1_compound_plates"
    table = "cpjump1_compound_wells.parquet"
    published = "94660a5b7354b1642277a0d7134c2aa8ee056bc5a206dc600bcd1b9b2f3f50c4"
    content = "754ca7b59f6c6edfb05dda271123f358a65d80edf6e3b602717d8a262559f9dc"
    declared: ClassVar[Mapping[str, object]] = {
        "name": "cpjump1-compounds",
        "features": "^(Cells|Cytoplasm|Nuclei)_",
        "id": ["meta_plate", "meta_well"],
        "label": "meta_compound",
        "batches": ["meta_plate", "meta_time_h"],
        "control": "meta_is_control",
        "treatment": ["meta_compound"],
        "metadata": ["meta_target_gene", "meta_control_type", "meta_stain_anomaly"],
        "upstream": ["normalised to the plate's DMSO wells", "features selected over the batch"],
    }

    def join(self, folder: Path) -> pd.DataFrame:
        """Return the wells of all plates with the time and the stain anomaly of their plate."""
        import pandas as pd

        plates = pd.read_csv(folder / "experiment-metadata.tsv", sep="\t")
        plates = plates[plates["Batch"] == BATCH].set_index("Assay_Plate_Barcode")
        wells = pd.concat(
            [
                pd.read_csv(folder / f"{name}_normalized_feature_select_negcon_batch.csv.gz")
                for name in PLATES
            ],
            ignore_index=True,
        )
        meta = pd.DataFrame(
            {
                "meta_plate": wells["Metadata_Plate"],
                "meta_well": wells["Metadata_Well"],
                "meta_time_h": wells["Metadata_Plate"].map(plates["Time"]),
                "meta_stain_anomaly": wells["Metadata_Plate"].map(plates["Anomaly"]),
                "meta_compound": wells["Metadata_pert_iname"],
                "meta_target_gene": wells["Metadata_gene"],
                "meta_control_type": wells["Metadata_control_type"].fillna("treated"),
                "meta_is_control": wells["Metadata_control_type"] == "negcon",
            }
        )
        features = [name for name in wells.columns if not name.startswith("Metadata_")]
        return pd.concat([meta, wells[features].astype("float32")], axis=1)
