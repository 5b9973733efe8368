"""Cells of blood smears from three laboratories: real images, everything but the biology is new.

1,701 red cells, white cells and platelets (RGB, 64 x 64 pixels) from 924 fields of three public
sources: BCCD, PBC Barcelona and Raabin-WBC. Laboratory, stain, microscope, camera and zoom all
differ. Each object was cut from its field by a box scaled by 1.25 and resampled to 64 x 64 pixels,
so the size of a pixel differs between objects and is not known. Boxes are partly from a detector.
At most 3 objects of a class are from one field and 220 from one laboratory; Raabin-WBC has only 26
platelets. Source of fields and boxes: ``lugan113/TXL-PBC_Dataset``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ._images import ImageTable, NoSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

META = {
    "kind": "dataset",
    "name": "blood-objects",
    "class": "BloodObjects",
    "version": 1,
    "summary": "Red cells, white cells and platelets in blood smears of three laboratories.",
    "reference": "Gan and Li 2024, arXiv:2407.13214",
    "url": "https://github.com/lugan113/TXL-PBC_Dataset",
    "licence": "MIT (TXL-PBC); sources: BCCD MIT, PBC CC BY 4.0, Raabin-WBC free for any use",
    "size": "9.1 MB; cannot be downloaded, only taken with --from",
    "files": "objects_0.png",
    "editions": ["real"],
    "levels": ["field", "laboratory"],
}

Settings = NoSettings


class BloodObjects(ImageTable):
    """Objects of blood smears of three laboratories."""

    name = "blood-objects"
    folder = "blood_objects"
    pixels = "07fcb1619e323f19ac986aba03bf44a2fb115d9c1f8b510a81674cf70f8f5566"
    levels = ("field", "laboratory")
    level = "laboratory"
    labels: ClassVar[Mapping[str, str]] = {"blood-objects/laboratories": "cell"}
    channels = ("red", "green", "blue")
    upstream = ("objects cut with a margin of 25 % and resampled to 64 x 64 pixels",)
