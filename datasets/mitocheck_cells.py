"""MitoCheck cells: a real fluorescence screen on which batch correction can remove biology.

2,952 HeLa cells (H2B-GFP, gray, 64 x 64 pixels, 8 bit) with 15 phenotypes labelled by hand, from 62
plates on 42 days; 2,068 of them have one of the six phenotypes with more than 170 cells. ``block``
numbers six consecutive periods of days. All cells of a well share one siRNA, so the phenotype
depends on well, plate and day: standardising a plate or a day also removes biology. Neighbouring
frames show the same cell (``track``); they are always on the same day. No row is marked as a
control. Intensities were scaled by the source to a common range.

Images are unchanged, from one commit of ``WayScience/phenotypic_profiling``. Plate, day, well
position and frame are from the published file names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ._images import ImageTable, NoSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

META = {
    "kind": "dataset",
    "name": "mitocheck-cells",
    "class": "MitoCheckCells",
    "version": 1,
    "summary": "HeLa cells of an siRNA screen on 42 days, 15 phenotypes; a batch has few wells, "
    "so correction can remove biology.",
    "reference": "Neumann et al. 2010, Nature 464:721 (MitoCheck, IDR idr0013); images of "
    "T. Walter in WayScience/phenotypic_profiling",
    "url": "https://github.com/WayScience/phenotypic_profiling",
    "licence": "CC BY 4.0",
    "size": "an archive of more than 60 MB, of which 5 MB are used",
    "files": "phenotypic_profiling/6.single_cell_images/mitocheck_single_cell_sample_images/"
    "CLASS/*.png, or cells_0.png, cells_1.png and cells_2.png",
    "editions": ["real"],
    "levels": ["plate", "date", "block"],
}

Settings = NoSettings
CAUTION = (
    "the cells of a well share one siRNA and a batch has few wells, so a batch says much about its "
    "classes: statistics of a batch contain biology"
)


class MitoCheckCells(ImageTable):
    """Labelled cells of the MitoCheck screen."""

    name = "mitocheck-cells"
    folder = "mitocheck_cells"
    pixels = "b8f1cdd8e3d6c27233222ece7c5c2ae10d4c5216d91575c72a195d920c5e3092"
    levels = ("plate", "date", "block")
    level = "date"
    labels: ClassVar[Mapping[str, str]] = {
        "mitocheck-cells/periods": "phenotype_6",
        "mitocheck-cells/periods-15": "phenotype",
    }
    columns: ClassVar[Mapping[str, str]] = {"well": "well", "position": "position"}
    channels = ("H2B-GFP",)
    upstream = ("intensities scaled by the source to a common range",)
    cautions: ClassVar[Mapping[str, str]] = {"plate": CAUTION, "date": CAUTION}
