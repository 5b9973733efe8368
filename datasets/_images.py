"""Image sets listed in a packaged table: class, batches, file and checksum of each image.

This module downloads nothing: use ``python -m bench data fetch NAME``. It reads either the files of
the source repository or contact sheets of the same images. A digest of the decoded images verifies
that both ways give the same pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bench.api import BenchError, Opened
from bench.core.folders import data_folder
from bench.data.fetch.listing import packaged_fetchable
from bench.data.fetch.tree import packed_files
from bench.data.image_ref import ImageRef
from bench.data.packaged import packaged_index
from bench.data.pixel_cache import decoded

from ._digest import digest_of
from ._tables import NoSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from bench.api import Split
    from bench.data.fetch.listing import Fetchable
    from bench.data.pixels import Pixels

__all__ = ["ImageTable", "NoSettings"]

SIZE = 64
"""Height and width of an image in pixels."""
_LOCATION = ("file", "sha256", "sheet", "top", "left")
"""Columns of a packaged table that locate an image; the others are columns of the index."""


class ImageTable:
    """A set of images with only a real edition. Subclasses declare it.

    Each split has its label column in the packaged table; it is the ``label`` of the index, and
    the other label columns are left out. A row without a label for the split remains in the index,
    unless the split excludes it with ``where``.
    """

    Settings = NoSettings

    name: ClassVar[str]
    folder: ClassVar[str]
    """Alternative name of the data set's folder."""
    pixels: ClassVar[str]
    """Digest of the decoded images."""
    levels: ClassVar[tuple[str, ...]]
    level: ClassVar[str]
    labels: ClassVar[Mapping[str, str]]
    """Split -> its label column; the first one is the default."""
    crop: ClassVar[tuple[int, int, int, int] | None] = None
    """Top, left, height and width of the part of a published file that is used."""
    columns: ClassVar[Mapping[str, str]] = {}
    channels: ClassVar[tuple[str, ...]]
    pixel: ClassVar[float] = 0.0
    """Pixel size, um; 0 if unknown."""
    upstream: ClassVar[tuple[str, ...]] = ()
    cautions: ClassVar[Mapping[str, str]] = {}

    def __init__(self, settings: object = None) -> None:
        del settings  # none

    def editions(self) -> list[str]:
        """Return ``real`` if the published files or the contact sheets are available."""
        return [] if self._source() is None else ["real"]

    def open(self, edition: str) -> Opened:
        """Open all images with the labels of the first split.

        Raises
        ------
        BenchError
            If no files are available, or the images are not the published ones.
        """
        return self._open(edition, next(iter(self.labels.values())))

    def open_split(self, edition: str, split: Split) -> Opened:
        """Open all images with the labels of a split; raises as :meth:`open`."""
        return self._open(edition, self.labels[split.name])

    def prepare(self, edition: str) -> Pixels:
        """Return the decoded images, decoding them first if necessary; raises as :meth:`open`."""
        if edition != "real":
            raise BenchError(f"{self.name} has only real data, not the edition '{edition}'")
        table = packaged_index(self.name)
        shape = len(self.channels), SIZE, SIZE
        pixels = decoded(self._references(table), shape=shape, label=self.name)
        if pixels.digest != self.pixels:
            raise BenchError(
                f"the images in {self._source()} are not the published images of {self.name}: "
                f"move them away, and `python -m bench data fetch {self.name}` gets them"
            )
        return pixels

    def _open(self, edition: str, label: str) -> Opened:
        pixels = self.prepare(edition)
        index = packaged_index(self.name)
        index.insert(1, "label", index[label])
        index.insert(2, "control", False)
        unused = {*_LOCATION, *self.labels.values()}
        index = index.drop(columns=[name for name in index if name in unused])
        return Opened(
            name=self.name,
            index=index,
            source=pixels,
            levels=self.levels,
            level=self.level,
            edition=edition,
            digest=digest_of(index, pixels.digest),
            upstream=self.upstream,
            columns=self.columns,
            cautions=self.cautions,
            channels=self.channels,
            pixel=self.pixel,
            content=pixels.digests,
        )

    def _published(self) -> Fetchable:
        files = packaged_fetchable(self.name)
        if files is None:  # a data set of this kind has such a file
            raise BenchError(f"datasets/files/{self.name}.toml is missing: install labshift again")
        return files

    def _source(self) -> Path | None:
        """Return the folder of the files, or None; contact sheets are preferred."""
        folders = [data_folder(self.name), data_folder(self.folder), data_folder("")]
        published = self._published()
        for folder in folders:
            if packed_files(published, folder):
                return folder
        for folder in folders:
            if any((folder / file.unpack).is_dir() for file in published.files):
                return folder
        return None

    def _references(self, table: pd.DataFrame) -> list[ImageRef]:
        """Return the location of each image, in the order of the table."""
        folder = self._source()
        if folder is None:
            raise BenchError(
                f"{self.name} is not on this machine: `python -m bench data fetch {self.name}` "
                f"gets it; `python -m bench show dataset {self.name}` says from where"
            )
        if packed_files(self._published(), folder):
            corners = zip(table["top"].astype(int), table["left"].astype(int), strict=True)
            return [
                ImageRef((folder / sheet,), (top, left, SIZE, SIZE))
                for sheet, (top, left) in zip(table["sheet"], corners, strict=True)
            ]
        paths = [folder / file for file in table["file"]]
        n_missing = sum(not path.is_file() for path in paths)
        if n_missing:
            raise BenchError(
                f"{n_missing} of {len(paths)} images of {self.name} are missing in {folder}: "
                f"`python -m bench data verify {self.name}` lists them; delete the folder and "
                f"fetch it again"
            )
        return [ImageRef((path,), self.crop) for path in paths]
