"""BBBC021 as CellProfiler profiles: 632 wells of MCF-7 cells, 12 mechanisms, 10 weeks.

Well means of 516 raw features (Ljosa et al. 2013), joined with the image table by plate and well,
and with the mechanisms by compound and concentration, all from one commit of
``cytomining/cytominergallery``. Each compound occurs in only one week, so week and compound are
confounded: scaling the treated wells of each week removes the biology together with the week.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bench.api import BenchError

from ._tables import NoSettings, Table, features_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

META = {
    "kind": "dataset",
    "name": "bbbc021-profiles",
    "class": "BBBC021Profiles",
    "version": 1,
    "summary": "CellProfiler profiles of wells; 12 mechanisms of action, 10 weeks, DMSO on each "
    "plate.",
    "reference": "Ljosa et al. 2013, doi:10.1177/1087057113503553; BBBC021v1, Caie et al. 2010",
    "licence": "repository BSD-style; images believed CC BY-NC-SA 3.0",
    "editions": ["real"],
    "levels": ["meta_plate", "meta_week"],
}

Settings = NoSettings


class BBBC021Profiles(Table):
    """Wells of BBBC021 as profiles."""

    name = "bbbc021-profiles"
    folder = "bbbc021_ljosa2013"
    table = "bbbc021_ljosa2013_wells.parquet"
    published = "be24940b58477a12409def3e3183a5f6afb91dead2a41c273248345adfb5bdba"
    content = "db248fa6c14bb1706dd001b922566603dda60ac6030467ba0754426bb5c4892c"
    declared: ClassVar[Mapping[str, object]] = {
        "name": "bbbc021-ljosa2013",
        "features": "^(Cells|Cytoplasm|Nuclei)_",
        "id": ["meta_plate", "meta_well"],
        "label": "meta_moa",
        "batches": ["meta_plate", "meta_week"],
        "control": "meta_is_control",
        "treatment": ["meta_compound", "meta_concentration"],
        "compound": "meta_compound",
        "nscb_batch": "meta_week",
        "upstream": [],
        "metadata": ["meta_replicate", "meta_concentration"],
    }

    def join(self, folder: Path) -> pd.DataFrame:
        """Return profiles with the week, compound and mechanism of each well.

        Raises
        ------
        BenchError
            If a well has no image or a treatment has no mechanism.
        """
        import pandas as pd

        profiles = pd.read_csv(folder / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz")
        images = pd.read_csv(folder / "BBBC021_v1_image.csv.gz")
        mechanisms = pd.read_csv(folder / "BBBC021_v1_moa.csv")
        images["meta_week"] = images["Image_PathName_DAPI"].str.partition("/")[0]
        wells = images[
            [
                "Image_Metadata_Plate_DAPI",
                "Image_Metadata_Well_DAPI",
                "meta_week",
                "Replicate",
                "Image_Metadata_Compound",
                "Image_Metadata_Concentration",
            ]
        ].drop_duplicates()
        wells.columns = pd.Index(
            [
                "meta_plate",
                "meta_well",
                "meta_week",
                "meta_replicate",
                "meta_compound",
                "meta_concentration",
            ]
        )
        keys = ["meta_plate", "meta_well"]
        named = profiles.rename(
            columns={"Image_Metadata_Plate": keys[0], "Image_Metadata_Well": keys[1]}
        )
        joined = named[keys].merge(wells, on=keys, how="left", validate="one_to_one")
        mechanisms.columns = pd.Index(["meta_compound", "meta_concentration", "meta_moa"])
        joined = joined.merge(
            mechanisms,
            on=["meta_compound", "meta_concentration"],
            how="left",
            validate="many_to_one",
        )
        lost = joined[joined.isna().any(axis=1)]
        if len(lost):
            raise BenchError(
                f"{len(lost)} wells of {folder} have no image or no mechanism: get the files again"
            )
        joined["meta_is_control"] = joined["meta_compound"] == "DMSO"
        return pd.concat([joined, profiles[features_of(profiles)].astype("float32")], axis=1)
