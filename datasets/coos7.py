"""COOS-7: cells of seven organelle classes and four tests of increasing shift.

The published data are five HDF5 files, ``COOS7_v1.1_training.hdf5`` and ``COOS7_v1.1_test1.hdf5``
to ``..._test4.hdf5``, with the keys ``data`` (N x 2 x 64 x 64: protein, nucleus), ``labels``,
``dateIDs``, ``microscopeIDs``, ``plateIDs`` and ``wellIDs``. Sizes and dtypes are read from the
files. The paper reports the class-balanced error, 1 - ``balanced_accuracy``; its classifiers on
fixed features are ``fixed-knn``, ``fixed-logistic`` and ``fixed-forest``. The *real* edition is
these files in ``$BENCH_DATA/coos7`` or the user's data folder.

The *simulated* edition consists of the same five files, written by :mod:`bench.datasets.simulator`
and read by the same code. They have only the published keys. The laboratory, which the published
layout does not contain, is read from ``parameters.json`` in the same folder, so only this edition
has the column ``laboratory``. It is not a separate batch level, because in these files it changes
together with the microscope.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import BenchError, Opened, param
from bench.core.folders import cache_folder, data_folder

from ._crop_files import (
    CropFile,
    Rows,
    check_alike,
    classes_of,
    digest_of,
    parameters_of,
)
from .simulator.knobs import effects, expand

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bench.core.types import Array, JsonObject

META = {
    "kind": "dataset",
    "name": "coos7",
    "class": "COOS7",
    "version": 1,
    "summary": "Fluorescent proteins of seven organelles in mouse cells; four tests, the last "
    "from another laboratory and microscope.",
    "reference": "Lu et al. 2019, NeurIPS, arXiv:1906.07282",
    "licence": "see the record the files were downloaded from",
    "editions": ["real", "simulated"],
    "levels": ["plate", "date", "microscope"],
}

PARTS = ("training", "test1", "test2", "test3", "test4")


def file_name(part: str) -> str:
    """Return the published file name of a part."""
    return f"COOS7_v1.1_{part}.hdf5"


@dataclass(frozen=True)
class Settings:
    """Settings of the simulated edition, except ``pixel``, which is for the real one."""

    draw: int = param(
        100,
        "Which draw of laboratories, microscopes, days and plates; 0-9 are for development, "
        "reported numbers use 100 and above.",
        low=0,
    )
    strength: float = param(
        1.0,
        "Multiplies every technical deviation from the reference condition; 0 is none.",
        low=0.0,
        high=4.0,
    )
    off: str = param(
        "",
        "Effects switched off, separated by commas: groups (culture, staining, optics, camera, "
        "plate-map) or single ones such as lamp,focus; parameters.json of the data lists all.",
    )
    scale: float = param(1.0, "Multiplies the number of images.", low=0.01, high=20.0)
    pixel: str = param(
        "",
        "Pixel size of each microscope of the real files, um, for --rescale: MICROSCOPE:UM, "
        "separated by commas. The files do not state it; the microscopes' metadata do.",
    )


class COOS7:
    """COOS-7 in its real and simulated editions.

    Batch levels, smallest first: plate, date (the day of imaging), microscope. Names of an inner
    level that occur in several outer ones are prefixed with the outer name, so levels are nested.
    ``well`` contains the names of plate and well, ``position`` that of the well only. ``pixel`` is
    the pixel size of each image in um, if it is known: the simulated edition has it in
    ``parameters.json``, as a microscope has it in its metadata; for the real files it is given by
    ``--set data.pixel=0:0.2,1:0.3``.
    """

    Settings = Settings

    def __init__(self, settings: Any = None) -> None:  # noqa: ANN401 - an instance of Settings
        chosen = Settings() if settings is None else settings
        self.off = effects(chosen.off)
        self.settings = dataclasses.replace(chosen, off=",".join(sorted(self.off)))
        self.pixels = _pixel_sizes(chosen.pixel)

    def editions(self) -> list[str]:
        """Return ``real`` if a published file is available, and ``simulated``.

        If any simulator setting is set, the simulated edition takes precedence.
        """
        real = any((data_folder("coos7") / file_name(part)).exists() for part in PARTS)
        if not real:
            return ["simulated"]
        return ["simulated", "real"] if self._changed() else ["real", "simulated"]

    def open(self, edition: str) -> Opened:
        """Open an edition; the simulated one is written first if it is not in the cache.

        Raises
        ------
        BenchError
            If files are missing or truncated, or do not have the published layout.
        """
        if edition == "simulated":
            if self.pixels:
                raise BenchError(
                    "pixel of coos7 is for the real files; the simulated edition states its own "
                    "pixel sizes: leave it out, or add --edition real"
                )
            return self._open(self.prepare(edition), edition, self._changed())
        if edition != "real":
            raise BenchError(f"coos7 has the editions real and simulated, not '{edition}'")
        if self._changed():
            names = ", ".join(sorted(self._changed()))
            raise BenchError(
                f"{names} of coos7 change the simulated edition only: add --edition simulated or "
                "leave them out"
            )
        settings = {"pixel": self.settings.pixel} if self.pixels else {}
        return self._open(self.prepare(edition), edition, settings)

    def prepare(self, edition: str) -> Path:
        """Return the folder of an edition's files, simulating them if necessary."""
        if edition == "real":
            folder = data_folder("coos7")
            missing = [part for part in PARTS if not (folder / file_name(part)).exists()]
            if missing:
                names = ", ".join(file_name(part) for part in missing)
                raise BenchError(
                    f"{folder} lacks {names}: `python -m bench data fetch coos7` gets them, or put "
                    "the files there, or use --edition simulated"
                )
            return folder
        from .simulator import layout, write
        from .simulator.conditions import Conditions

        chosen = self.settings
        return write.ensure(
            cache_folder("simulated"),
            "coos7",
            layout.coos7(chosen.scale),
            Conditions(chosen.draw, chosen.strength, expand(self.off)),
        )

    def _changed(self) -> JsonObject:
        default = Settings()
        return {
            name: value
            for name, value in dataclasses.asdict(self.settings).items()
            if value != getattr(default, name) and name != "pixel"
        }

    def _open(self, folder: Path, edition: str, settings: JsonObject) -> Opened:
        paths = [folder / file_name(part) for part in PARTS]
        paths = [path for path in paths if path.exists()]
        files = [CropFile.describe(path) for path in paths]
        check_alike(files)
        parameters = parameters_of(folder) if edition == "simulated" else {}
        index = _index(files, parameters, self.pixels)
        pixel = {"pixel": "pixel"} if "pixel" in index.columns else {}
        return Opened(
            name="coos7",
            index=index,
            source=Rows([file.rows for file in files]),
            levels=("plate", "date", "microscope"),
            level="plate",
            edition=edition,
            digest=digest_of(paths, parameters),
            upstream=("crops of 64 x 64 pixels around nuclei",),
            settings=settings,
            columns={"well": "well", "position": "position", **pixel},
        )


def _nested(inner: Array, outer: Array) -> Array:
    """Return inner names, prefixed with the outer names if one occurs in several of those."""
    pairs = {(a, b) for a, b in zip(inner.tolist(), outer.tolist(), strict=True)}
    if len(pairs) == len({a for a, _ in pairs}):
        return inner
    return np.array(
        [f"{b}/{a}" for a, b in zip(inner.tolist(), outer.tolist(), strict=True)], dtype=object
    )


def _pixel_sizes(text: str) -> dict[str, float]:
    """Return the pixel size of each microscope, um, from ``MICROSCOPE:UM,...``."""
    sizes: dict[str, float] = {}
    for entry in filter(None, (entry.strip() for entry in text.split(","))):
        name, _, size = entry.rpartition(":")
        try:
            sizes[name.strip()] = float(size)
        except ValueError:
            sizes[name.strip()] = 0.0
        if not name.strip() or not 0 < sizes[name.strip()] < float("inf"):
            raise BenchError(
                f"pixel of coos7 is MICROSCOPE:UM, separated by commas, such as 0:0.2,1:0.3, not "
                f"'{entry}'"
            )
    return sizes


def _index(files: list[CropFile], parameters: JsonObject, pixels: dict[str, float]) -> pd.DataFrame:
    import pandas as pd

    def joined(name: str) -> Array:
        return np.concatenate([file.columns[name] for file in files])

    microscope = joined("microscope")
    date = _nested(joined("date"), microscope)
    raw_plate = joined("plate")
    plate = _nested(raw_plate, date)
    position = joined("position")
    columns = {
        "id": np.concatenate(
            [
                np.array([f"{file.part}/{i:06d}" for i in range(file.rows.count)], dtype=object)
                for file in files
            ]
        ),
        "label": np.concatenate([classes_of(file) for file in files]),
        "control": np.zeros(len(plate), dtype=bool),
        "part": np.repeat([file.part for file in files], [f.rows.count for f in files]),
        "plate": plate,
        "date": date,
        "microscope": microscope,
    }
    if pixels:
        unknown = sorted(set(microscope.tolist()) - set(pixels))
        if unknown:
            raise BenchError(
                f"pixel of coos7 has no size for microscope {', '.join(unknown)}: add it"
            )
        columns["pixel"] = np.array([f"{pixels[m]:g}" for m in microscope.tolist()], object)
    if parameters:
        sizes = {str(p["plate"]): f"{p['knobs']['pixel-size']:g}" for p in parameters["plates"]}
        columns["pixel"] = np.array([sizes[name] for name in raw_plate.tolist()], dtype=object)
        laboratory = {str(p["plate"]): str(p["laboratory"]) for p in parameters["plates"]}
        columns["laboratory"] = np.array(
            [laboratory[name] for name in raw_plate.tolist()], dtype=object
        )
    columns["well"] = np.array(
        [f"{a}/{b}" for a, b in zip(plate.tolist(), position.tolist(), strict=True)], dtype=object
    )
    columns["position"] = position
    return pd.DataFrame(columns)
