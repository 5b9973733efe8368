"""Packaged tables of real profiles, joined from source files at cited commits.

This module downloads nothing: use ``python -m bench data fetch NAME``. It uses either the published
source files (verified by sha256) or an existing joined table. The joined table is stored in the
cache. A digest of its names and values verifies that both ways give the same table. The digest of
the data set is that of the first published table.
"""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import BenchError, Opened
from bench.core.disk import new_file
from bench.core.folders import cache_folder, data_folder, file_sums

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bench.core.types import Facts


@dataclass(frozen=True)
class NoSettings:
    """Settings of a table: none."""


class Table(ABC):
    """A table with only a real edition. Subclasses declare and join it."""

    Settings = NoSettings

    name: ClassVar[str]
    declared: ClassVar[Facts]
    """Keys of a ``dataset.toml``, as expected by :func:`bench.data.own.table.open_declared`."""
    folder: ClassVar[str]
    """Alternative folder of the joined table, in addition to the folder called ``name``."""
    table: ClassVar[str]
    """File name of the joined table."""
    published: ClassVar[str]
    """sha256 of the bytes of the joined table as first published."""
    content: ClassVar[str]
    """Result of :func:`content_of` for the joined table."""

    def __init__(self, settings: object = None) -> None:
        del settings  # none

    @abstractmethod
    def join(self, folder: Path) -> pd.DataFrame:
        """Return the table joined from the source files in a folder."""

    def editions(self) -> list[str]:
        """Return ``real`` if the source files or the joined table are available."""
        return ["real"] if self._joined() or self._sources() else []

    def open(self, edition: str) -> Opened:
        """Open the table, joining it first if necessary.

        Raises
        ------
        BenchError
            If no files are available, a source file is not the published one, or the table differs.
        """
        from bench.data.own.table import open_declared
        from bench.data.packaged import packaged_splits

        if edition != "real":
            raise BenchError(f"{self.name} has only real data, not the edition '{edition}'")
        path = self.prepare(edition)
        self._compare(path)
        splits = [split for split in packaged_splits().values() if split.dataset == self.name]
        opened = open_declared(self.declared, path, splits, self.published)
        return dataclasses.replace(opened, name=self.name, known_as=opened.name)

    def prepare(self, edition: str) -> Path:
        """Return the path of the joined table, creating it if necessary; does not use the network.

        Raises
        ------
        BenchError
            As :meth:`open`.
        """
        joined = self._joined()
        if joined is not None:
            return joined
        sources = self._sources()
        if sources is None:
            size = sum(file.bytes or 0 for file in self._files()) / 1e6
            raise BenchError(
                f"{self.name} is not on this machine: `python -m bench data fetch {self.name}` "
                f"gets it ({size:.1f} MB), or put {self.table} into {data_folder(self.name)}"
            )
        self._examine(sources)
        frame = self.join(sources)
        if content_of(frame) != self.content:
            raise BenchError(
                f"the files in {sources} do not give the published table of {self.name}: report "
                "it to the authors, with your versions of pandas and NumPy"
            )
        target = cache_folder("tables") / self.table
        with new_file(target) as part:
            frame.to_parquet(part, index=False)
        return target

    def _files(self) -> tuple[Any, ...]:
        from bench.data.fetch.listing import packaged_fetchable

        published = packaged_fetchable(self.name)
        return () if published is None else published.files

    def _folders(self) -> list[Path]:
        return [data_folder(self.name), data_folder(self.folder), data_folder("")]

    def _joined(self) -> Path | None:
        places = [folder / self.table for folder in self._folders()]
        paths = [path for path in (*places, cache_folder("tables") / self.table) if path.is_file()]
        return paths[0] if paths else None

    def _sources(self) -> Path | None:
        names = [file.name for file in self._files()]
        for folder in self._folders():
            if all((folder / name).is_file() for name in names):
                return folder
        return None

    def _examine(self, folder: Path) -> None:
        for file in self._files():
            if file_sums(folder / file.name)[0] != file.sha256:
                raise BenchError(
                    f"{folder / file.name} is not the published file: move it away, and "
                    f"`python -m bench data fetch {self.name}` gets it"
                )

    def _compare(self, path: Path) -> None:
        import pandas as pd

        from bench.data.own.reading import damaged

        with damaged(path, "parquet"):
            frame = pd.read_parquet(path)
        if content_of(frame) != self.content:
            raise BenchError(
                f"{path} is not the published table of {self.name}: delete it, and "
                f"`python -m bench data fetch {self.name}` gets it; a table of your own is given "
                "as FILE.toml:NAME"
            )


def content_of(frame: pd.DataFrame) -> str:
    """Return the sha256 (hex) of the column names and values of a table, from any file format.

    Features are compared as float32, columns ``meta_*`` as text, and missing values as "".
    """
    total = hashlib.sha256()
    for name in frame.columns:
        column = frame[name]
        total.update(f"\x1e{name}\x1f".encode())
        if str(name).startswith("meta_"):
            gone = column.isna().to_numpy(bool)
            values = column.to_numpy(object)
            text = ["" if no else str(value) for value, no in zip(values, gone, strict=True)]
            total.update("\x1f".join(text).encode())
        else:
            total.update(np.ascontiguousarray(column.to_numpy(np.float32)).tobytes())
    return total.hexdigest()


def features_of(frame: pd.DataFrame) -> list[str]:
    """Return the columns measured by CellProfiler in cells, in order."""
    parts = ("Cells_", "Cytoplasm_", "Nuclei_")
    return [name for name in frame.columns if name.startswith(parts)]
