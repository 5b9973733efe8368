"""Simulated shifts: one cause at a time, at any strength.

Plates of seven organelle classes from the simulator of simulated COOS-7, in the same file layout
and read by the same code. Each split changes one factor between training and test, which does not
happen in real data: the laboratory without the microscope, the microscope without the laboratory,
the stains, the shares of the classes, or nothing. ``strength`` multiplies the size of the shift,
so a method can be evaluated from no shift (0) to twice the usual shift and more. The ordinary
variation of days, plates and wells does not change.

``sim/warm-lamp`` tests for a shortcut. In training, classes are imaged one after another while the
lamp warms up, so brightness predicts the class. The same test cells are imaged twice: in the same
order (``sim/warm-lamp-kept``) and with the wells in random order. The drop between the two
measures how much a method relies on the lamp; ``run`` prints both scores and the drop. Run it with
``--standardise none`` as well as the default ``image``: standardising each image removes most of
the lamp effect before any method sees it.

In ``sim/confounded`` (``sim/nested`` in earlier versions), each class is on the plates of only one
day in training: a method that removes the differences between days and plates can also remove the
classes. This differs from a hierarchical design, where plates belong to one laboratory each and all
contain all classes.

In ``sim/many-laboratories`` the 12 training experiments are from 12 laboratories, each with its own
microscope, and the test experiments are from eight others: they differ as the training experiments
do. In the other splits training is from one laboratory and microscope, so the shift is outside the
span of training. ``experiments`` and ``plates`` change the number of training experiments and of
their plates at equal images; the first experiments and the test plates stay the same.

``sim/laboratory``, ``sim/microscope``, ``sim/both``, ``sim/new-markers``, ``sim/label-shift`` and
``sim/no-shift`` have the same training plates, so one trained model is evaluated on all six.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.api import BenchError, Opened, Split, param
from bench.core.folders import cache_folder

from ._crop_files import CropFile, Rows, check_alike, classes_of, digest_of, parameters_of
from .simulator.knobs import effects, expand

if TYPE_CHECKING:
    import pandas as pd

    from bench.core.types import JsonObject

    from .simulator.conditions import Conditions
    from .simulator.layout import Plate

META = {
    "kind": "dataset",
    "name": "sim",
    "class": "Simulated",
    "version": 1,
    "summary": "Simulated microscopy with one shift at a time: laboratory, microscope, lamp, "
    "stains, shares of classes, confounded classes, many laboratories, none.",
    "reference": "the simulator's own distributions, cited knob by knob",
    "licence": "MIT, as the code that writes it",
    "editions": ["simulated"],
    "levels": ["plate", "date", "laboratory", "microscope"],
}


@dataclass(frozen=True)
class Settings:
    """Settings of the simulation."""

    draw: int = param(
        100,
        "Which draw of laboratories, microscopes, days and plates; 0-9 are for development, "
        "reported numbers use 100 and above.",
        low=0,
    )
    strength: float = param(
        1.0,
        "Multiplies the shift between training and test; 0 is none. Classes are "
        "completely confounded with days from 1 on.",
        low=0.0,
        high=4.0,
    )
    off: str = param(
        "",
        "Effects switched off, separated by commas: groups (culture, staining, optics, camera, "
        "plate-map) or single ones such as lamp,focus; parameters.json of the data lists all.",
    )
    scale: float = param(1.0, "Multiplies the number of images.", low=0.01, high=20.0)
    experiments: int = param(
        12,
        "Training experiments of many-laboratories, each with its own laboratory and microscope; "
        "the number of training images stays.",
        low=1,
        high=48,
    )
    plates: int = param(
        2,
        "Plates per training experiment of many-laboratories; the number of training images stays.",
        low=1,
        high=20,
    )


class Simulated:
    """The simulated shifts; each split opens the files of its own experiment.

    Batch levels, smallest first: plate, date (the day of imaging), laboratory, microscope. Other
    columns: ``part`` (the file), ``marker`` (the stains, empty for the usual ones), ``well``,
    ``position``, ``pixel`` (pixel size, um) and ``minute`` (imaging time of a well, in minutes
    since the lamp was switched on, rounded down).
    """

    Settings = Settings

    def __init__(self, settings: Any = None) -> None:  # noqa: ANN401 - an instance of Settings
        chosen = Settings() if settings is None else settings
        self.off = effects(chosen.off)
        self.settings = dataclasses.replace(chosen, off=",".join(sorted(self.off)))

    def editions(self) -> list[str]:
        """Return ``simulated``."""
        return ["simulated"]

    def open(self, edition: str) -> Opened:
        """Open the files of all experiments; they are written first if they are not in the cache.

        Raises
        ------
        BenchError
            For another edition, or if the cache cannot be written.
        """
        from ._sim_experiments import EXPERIMENTS

        return self._open(edition, list(EXPERIMENTS))

    def open_split(self, edition: str, split: Split) -> Opened:
        """Open the experiments whose parts a split names, or all experiments if it names none."""
        from ._sim_experiments import EXPERIMENTS

        named: set[str] = set()
        for side in (split.train, split.validation, split.test):
            if isinstance(side, str) or (side is not None and "part" not in side):
                return self.open(edition)
            named.update(() if side is None else side["part"])
        names = [name for name, entry in EXPERIMENTS.items() if named & set(entry.parts)]
        return self._open(edition, names or list(EXPERIMENTS))

    def _open(self, edition: str, experiments: list[str]) -> Opened:
        if edition != "simulated":
            raise BenchError(f"sim has the edition simulated, not '{edition}'")
        from ._sim_experiments import EXPERIMENTS, Design
        from .simulator import write

        chosen = self.settings
        design = Design(
            chosen.draw, chosen.strength, chosen.scale, chosen.experiments, chosen.plates
        )
        files: list[CropFile] = []
        frames: list[pd.DataFrame] = []
        facts: JsonObject = {"files": {}}
        for name in experiments:
            experiment = EXPERIMENTS[name]
            conditions = experiment.conditions(chosen.draw, chosen.strength, expand(self.off))
            plates = experiment.plates(design)
            folder = write.ensure(cache_folder("simulated"), f"sim-{name}", plates, conditions)
            for part in experiment.parts:
                file = CropFile.describe(folder / write.file_name(part, f"sim-{name}"))
                files.append(file)
                of_part = {str(p.number): p for p in plates if part in p.parts}
                frames.append(_index(part, file, of_part, conditions))
            facts["files"] |= parameters_of(folder)["files"]
        check_alike(files)
        import pandas as pd

        default = Settings()
        return Opened(
            name="sim",
            index=pd.concat(frames, ignore_index=True),
            source=Rows([file.rows for file in files]),
            levels=("plate", "date", "laboratory", "microscope"),
            level="plate",
            edition="simulated",
            digest=digest_of([file.path for file in files], facts),
            upstream=("crops of 64 x 64 pixels around nuclei",),
            settings={
                name: value
                for name, value in dataclasses.asdict(chosen).items()
                if value != getattr(default, name)
            },
            columns={"well": "well", "position": "position", "pixel": "pixel"},
            channels=("protein", "nucleus"),
        )


SAME_PLATES = {"lamp-kept": "lamp-test", "lamp-scrambled": "lamp-test"}
"""Parts that show the same plates -> their common name."""


def _index(
    part: str, file: CropFile, plates: dict[str, Plate], conditions: Conditions
) -> pd.DataFrame:
    """Return the rows of one file.

    Tests reuse plate and day numbers for different plates and days. To keep them distinct, plate
    names include the part, and day names include the laboratory and microscope.
    """
    import pandas as pd

    from .simulator.layout import COLUMNS, ROWS, minutes_of, well_map

    number, position = file.columns["plate"].tolist(), file.columns["position"].tolist()
    of = [plates[name] for name in number]
    minute: dict[tuple[str, str], str] = {}
    for name, plate in plates.items():
        wells = well_map(plate, conditions)
        for (row, column, _), time in zip(wells, minutes_of(plate, wells, conditions), strict=True):
            minute[name, f"{ROWS[row]}{column + 1:02d}"] = str(int(time))
    pixel = {
        name: f"{conditions.value('pixel-size', plate.units, ['A01'])[0]:.6g}"
        for name, plate in plates.items()
    }
    assert COLUMNS < 100
    prefix = SAME_PLATES.get(part, part)
    names = [f"{prefix}/{name}" for name in number]
    return pd.DataFrame(
        {
            "id": np.array([f"{part}/{i:06d}" for i in range(len(of))], dtype=object),
            "label": classes_of(file),
            "control": np.zeros(len(of), dtype=bool),
            "part": part,
            "plate": names,
            "date": [f"{p.laboratory}{p.microscope}/{p.date}" for p in of],
            "laboratory": [p.laboratory for p in of],
            "microscope": [p.microscope for p in of],
            "marker": [p.marker for p in of],
            "well": [f"{a}/{b}" for a, b in zip(names, position, strict=True)],
            "position": position,
            "pixel": [pixel[name] for name in number],
            "minute": [minute[pair] for pair in zip(number, position, strict=True)],
        }
    )
