"""Mitotic figures on three slide scanners: real images, another microscope.

1,721 figures from 135 slides of human breast cancer, one patient each, all from UMC Utrecht
(MIDOG 2021 part of AMi-Br): RGB images of 64 x 64 pixels, 0.25 um per pixel, H&E. Each scanner
digitised other slides, so ``case`` (the slide) is nested in ``scanner``; classes and scanners are
crossed. The split ``phase`` has the 1,248 figures on whose phase two experts agree (without ten
ring forms); ``atypical`` has all figures and the majority of three pathologists.

An image is the central 64 x 64 pixels of the published 128 x 128 patch, unchanged, from one commit
of ``DeepMicroscopy/AMi-Br_Benchmark``. The scanner of a slide is from the table of MIDOG++.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ._images import ImageTable, NoSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

META = {
    "kind": "dataset",
    "name": "mitosis-scanners",
    "class": "MitosisScanners",
    "version": 1,
    "summary": "Mitotic figures of 135 breast cancer slides on three slide scanners; phase or "
    "atypical.",
    "reference": "Bertram et al. 2025, doi:10.1007/978-3-658-47422-5_25; Aubreville et al. 2023, "
    "Sci Data 10:484",
    "url": "https://github.com/DeepMicroscopy/AMi-Br_Benchmark",
    "licence": "MIT",
    "size": "an archive of about 212 MB, of which 51 MB are kept",
    "files": "AMi-Br_Benchmark/AMi-Br/{Normal,Atypical}/MIDOG21_*.png, or midog64_0.png and "
    "midog64_1.png",
    "editions": ["real"],
    "levels": ["case", "scanner"],
}

Settings = NoSettings


class MitosisScanners(ImageTable):
    """Mitotic figures on three slide scanners."""

    name = "mitosis-scanners"
    folder = "mitosis_scanners"
    pixels = "4323ab43631df2f671927bcebeacb11a489432789310eac7d62f5d905f485d34"
    levels = ("case", "scanner")
    level = "scanner"
    labels: ClassVar[Mapping[str, str]] = {
        "mitosis-scanners/phase": "phase",
        "mitosis-scanners/atypical": "atypical",
    }
    crop = (32, 32, 64, 64)
    channels = ("red", "green", "blue")
    pixel = 0.25
