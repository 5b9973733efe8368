"""Synthetic data in the layout of JUMP-CP: tests the pipeline, has no biological meaning.

Five laboratories with three microscope models and three batches each; two TARGET2 plates per batch
and one COMPOUND plate in the first batch of each laboratory. TARGET2 plates have 12 compounds in
two wells each; COMPOUND plates have six more. Each plate has eight DMSO wells and two empty ones.
Of the 48 features, one is constant, one has missing values, and six are near duplicates of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import generator
from bench.core.disk import new_folder

if TYPE_CHECKING:
    from pathlib import Path


VERSION = 1
SOURCES = {
    "source_2": "CV8000",
    "source_3": "Opera Phenix",
    "source_6": "CV8000",
    "source_8": "ImageXpress Micro Confocal",
    "source_10": "CV8000",
}
N_BATCHES = 3
N_PLATES = 2
N_COMPOUNDS = 12
N_MORE = 6
N_DMSO = 8
N_FEATURES = 40
N_REPEATS = 6
DMSO, EMPTY = "JCP2022_033924", "JCP2022_999999"
SEED = "jump fixture"


def ensure(root: Path) -> Path:
    """Return the folder of the fixture, creating it if necessary."""
    target = root / f"jump-v{VERSION}"
    if target.is_dir():
        return target
    with new_folder(target) as part:
        _write(part)
    return target


def _names() -> list[str]:
    parts = ("Cells", "Cytoplasm", "Nuclei")
    return [f"{parts[k % 3]}_Texture_{k:02d}" for k in range(N_FEATURES)]


def _write(folder: Path) -> None:
    import pandas as pd

    rng = generator(SEED, VERSION)
    compounds = [f"JCP2022_{k:06d}" for k in range(1, N_COMPOUNDS + N_MORE + 1)]
    effect = {name: rng.normal(0, 1.0, N_FEATURES) for name in compounds}
    mix = rng.normal(0, 1.0, (N_FEATURES, N_FEATURES)) / np.sqrt(N_FEATURES)
    plates: list[dict[str, str]] = []
    wells: list[dict[str, str]] = []
    of_scope = {name: rng.normal(0, 0.4, N_FEATURES) for name in sorted(set(SOURCES.values()))}
    for source, scope in SOURCES.items():
        of_source = of_scope[scope] + rng.normal(0, 0.4, N_FEATURES)
        gain = np.exp(rng.normal(0, 0.3, N_FEATURES))
        for b in range(1, N_BATCHES + 1):
            batch = f"2021_0{b}_01_Batch{b}"
            of_batch = of_source + rng.normal(0, 0.4, N_FEATURES)
            kinds = ["TARGET2"] * N_PLATES + (["COMPOUND"] if b == 1 else [])
            for p, kind in enumerate(kinds, 1):
                plate = f"{source[7:].zfill(2)}B{b}P{p}"
                plates.append(
                    {
                        "Metadata_Source": source,
                        "Metadata_Batch": batch,
                        "Metadata_Plate": plate,
                        "Metadata_PlateType": kind,
                    }
                )
                chosen = compounds[:N_COMPOUNDS] if kind == "TARGET2" else compounds
                content = [*chosen, *chosen, *[DMSO] * N_DMSO, EMPTY, EMPTY]
                shift = of_batch + rng.normal(0, 0.3, N_FEATURES)
                mine = []
                for k, name in enumerate(content):
                    well = {
                        "Metadata_Source": source,
                        "Metadata_Plate": plate,
                        "Metadata_Well": f"{'ABCDEFGH'[k // 12]}{k % 12 + 1:02d}",
                    }
                    mine.append(well)
                    wells.append({**well, "Metadata_JCP2022": name})
                noise = rng.normal(0, 1.0, (len(content), N_FEATURES)) @ (mix + np.eye(N_FEATURES))
                signal = np.stack([effect.get(name, np.zeros(N_FEATURES)) for name in content])
                X = (signal + 0.7 * noise + shift) * gain
                _plate(folder, source, batch, plate, mine, X, rng)
    meta = folder / "metadata"
    meta.mkdir()
    pd.DataFrame(plates).to_csv(meta / "plate.csv.gz", index=False)
    pd.DataFrame(wells).to_csv(meta / "well.csv.gz", index=False)
    keys = [f"{'ABCDEFGHIJKLMNOPQR'[k] * 14}-UHFFFAOYSA-N" for k in range(len(compounds))]
    pd.DataFrame({"Metadata_JCP2022": compounds, "Metadata_InChIKey": keys}).to_csv(
        meta / "compound.csv.gz", index=False
    )
    pd.DataFrame(
        {
            "Metadata_Source": list(SOURCES),
            "Metadata_Microscope_Name": list(SOURCES.values()),
        }
    ).to_csv(meta / "microscope_config.csv", index=False)
    pd.DataFrame(
        {
            "Metadata_JCP2022": [EMPTY, DMSO],
            "Metadata_pert_type": ["empty", "negcon"],
            "Metadata_Name": ["Empty", "DMSO"],
        }
    ).to_csv(meta / "perturbation_control.csv", index=False)


def _plate(
    folder: Path,
    source: str,
    batch: str,
    plate: str,
    wells: list[dict[str, str]],
    X: Any,  # noqa: ANN401 - an array of any type
    rng: np.random.Generator,
) -> None:
    import pandas as pd

    n = len(wells)
    frame = pd.DataFrame(wells)
    features = dict(zip(_names(), X.T.astype(np.float32), strict=True))
    for k in range(N_REPEATS):
        near = X[:, k] + 0.05 * rng.normal(0, 1, n)
        features[f"Nuclei_Repeat_{k}"] = near.astype(np.float32)
    features["Cells_Constant"] = np.ones(n, np.float32)
    gaps = X[:, 0].astype(np.float32)
    gaps[:: max(1, n // 2)] = np.nan
    features["Cells_Gaps"] = gaps
    frame = pd.concat([frame, pd.DataFrame(features)], axis=1)
    path = folder / source / "workspace" / "profiles" / batch / plate / f"{plate}.parquet"
    path.parent.mkdir(parents=True)
    frame.to_parquet(path, index=False)
