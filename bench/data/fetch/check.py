"""Validate downloaded files against their metadata: counts per group, and unreadable files.

A correct checksum shows that an archive is the published one, not that it is complete, and most
archives have no published checksum. The *tree* is therefore checked: every file that the metadata
list must exist and be readable.

Kinds of check, with the keys of a ``[[check]]`` table:

``images``, ``tables``
    ``metadata`` (a csv), ``path`` (one template or a list, with ``{COLUMN}`` placeholders), ``by``
    (the column of the groups), and optionally ``where``, and the published numbers ``rows`` and
    ``n_groups``. Files are decoded as images or as parquet.
``sums``
    ``index``: a packaged table (in ``index/`` of ``bench.datasets``) with the columns ``file``
    and ``sha256``, and ``by``. Each file must have its published checksum.
``hdf5``
    ``files`` (a glob pattern), ``keys`` that each file must contain with one value per row, and
    optionally ``n_files`` and ``rows`` (the total number of rows).
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.core.folders import file_sums
from bench.data.hdf5 import refuse_links
from bench.data.packaged import packaged_index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.core.types import Facts, JsonObject


SHOWN = 3
"""Maximum number of problems of one kind that are listed."""


@dataclass
class Report:
    """Result of a check.

    Attributes
    ----------
    groups
        One dict per group: ``group``, ``expected``, ``found``, ``unreadable``.
    problems
        One sentence per problem; empty if the tree is complete.
    """

    groups: list[JsonObject] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def files(self) -> int:
        """Number of files found."""
        return sum(int(group["found"]) for group in self.groups)


def check_tree(
    folder: Path,
    checks: Sequence[Facts],
    *,
    read: bool = True,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Check a folder against the checks of its data set.

    Parameters
    ----------
    read
        Whether to decode the files; otherwise only their existence is checked.
    show
        ``show(done, total)`` in files.
    """
    report = Report()
    for check in checks:
        kind = str(check.get("kind"))
        if kind == "hdf5":
            _hdf5(folder, check, report)
        elif kind == "sums":
            _sums(folder, check, report, show)
        elif kind in _READ:
            _listed(folder, check, report, _READ[kind] if read else None, show)
        else:
            raise BenchError(
                f"unknown kind of check '{kind}': {', '.join([*_READ, 'sums', 'hdf5'])}"
            )
    return report


def _read_image(path: Path) -> None:
    import warnings

    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd TIFF tags do not affect the pixels
        with Image.open(path) as image:
            image.load()


def _read_table(path: Path) -> None:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        file.read_row_group(group)


_READ: dict[str, Callable[[Path], None]] = {"images": _read_image, "tables": _read_table}


def _listed(
    folder: Path,
    check: Facts,
    report: Report,
    read: Callable[[Path], None] | None,
    show: Callable[[int, int], None],
) -> None:
    import pandas as pd

    table_path = folder / check["metadata"]
    if not table_path.exists():
        report.problems.append(f"{table_path} is missing")
        return
    try:
        table = pd.read_csv(table_path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, EOFError) as error:
        report.problems.append(f"{table_path} cannot be read ({' '.join(str(error).split())})")
        return
    templates = [check["path"]] if isinstance(check["path"], str) else list(check["path"])
    columns = sorted({c for text in templates for c in re.findall(r"{(\w+)}", text)})
    needed = {*columns, check["by"], *check.get("where", {})}
    lacking = sorted(needed - set(table.columns))
    if lacking:
        report.problems.append(f"{table_path} has no column {', '.join(lacking)}")
        return
    for column, values in check.get("where", {}).items():
        table = table[table[column].isin([str(value) for value in values])]
    if "rows" in check and len(table) != check["rows"]:
        report.problems.append(
            f"{table_path} has {len(table):,} rows, {check['rows']:,} are published"
        )
    by = str(check["by"])
    if "n_groups" in check and table[by].nunique() != check["n_groups"]:
        report.problems.append(
            f"{table_path} names {table[by].nunique()} values of {by}, {check['n_groups']} are "
            "published"
        )
    wanted: dict[str, list[Path]] = {}
    for row in table[sorted({*columns, by})].to_dict("records"):
        paths = [folder / text.format_map(row) for text in templates]
        wanted.setdefault(str(row[by]), []).extend(paths)
    total, done = sum(map(len, wanted.values())), 0
    missing: list[str] = []
    broken: list[str] = []
    with ThreadPoolExecutor() as pool:
        for name, paths in wanted.items():
            unique = list(dict.fromkeys(paths))
            # List each folder once instead of testing thousands of files.
            there = {p for parent in {p.parent for p in unique} for p in _listing(parent)}
            present = [path for path in unique if path in there]
            gone = [path for path in unique if path not in there]
            bad = []
            if read is not None:
                bad = [
                    p for p, ok in zip(present, pool.map(_tried(read), present), strict=True) if ok
                ]
            report.groups.append(
                {
                    "group": name,
                    "expected": len(unique),
                    "found": len(present),
                    "unreadable": len(bad),
                }
            )
            for paths_, problems, word in ((gone, missing, "missing"), (bad, broken, "unreadable")):
                if paths_:
                    first = paths_[0].relative_to(folder)
                    problems.append(
                        f"{by} {name}: {len(paths_):,} of {len(unique):,} files are {word}, the "
                        f"first is {first}"
                    )
            done += len(paths)
            show(done, total)
    for problems in (missing, broken):
        report.problems += problems[:SHOWN]
        if len(problems) > SHOWN:
            report.problems.append(f"… and in {len(problems) - SHOWN} more groups")


def _listing(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _tried(read: Callable[[Path], None]) -> Callable[[Path], bool]:
    def broken(path: Path) -> bool:
        try:
            read(path)
        # decoders raise many exception types on damaged bytes
        except Exception:  # noqa: BLE001 - any exception means damaged bytes
            return True
        return False

    return broken


def listed(check: Facts) -> list[str]:
    """Return files that show whether a folder contains the tree of a check."""
    if "index" in check:
        return [str(packaged_index(str(check["index"]))["file"].iloc[0])]
    return [str(check["metadata"])] if "metadata" in check else []


def _sums(folder: Path, check: Facts, report: Report, show: Callable[[int, int], None]) -> None:
    """Compare the files of a packaged index with their checksums."""
    table = packaged_index(str(check["index"]))
    by, done = str(check["by"]), 0
    with ThreadPoolExecutor() as pool:
        for name, rows in table.groupby(by, sort=True):
            there = [folder / file for file in rows["file"]]
            states = list(pool.map(_state, there, rows["sha256"]))
            report.groups.append(
                {
                    "group": str(name),
                    "expected": len(states),
                    "found": len(states) - states.count("missing"),
                    "unreadable": states.count("different from the published ones"),
                }
            )
            for state in sorted({*states} - {""}):
                report.problems.append(
                    f"{by} {name}: {states.count(state):,} of {len(states):,} files are {state}, "
                    f"the first is {rows['file'].iloc[states.index(state)]}"
                )
            done += len(states)
            show(done, len(table))


def _state(path: Path, sha256: str) -> str:
    try:
        equal = file_sums(path)[0] == sha256
    except OSError:
        return "missing"
    return "" if equal else "different from the published ones"


def _hdf5(folder: Path, check: Facts, report: Report) -> None:
    import h5py

    paths = sorted(folder.glob(check["files"]))
    if len(paths) != check.get("n_files", len(paths)):
        report.problems.append(
            f"{folder} has {len(paths)} of {check['n_files']} files {check['files']}"
        )
    rows = 0
    for path in paths:
        bad = ""
        try:
            with h5py.File(path, "r") as file:
                for key in check["keys"]:
                    refuse_links(file, key, path)
                lengths = {key: len(file[key]) if key in file else -1 for key in check["keys"]}
                absent = [key for key, length in lengths.items() if length < 0]
                if absent:
                    bad = f"has no {', '.join(absent)}"
                elif len(set(lengths.values())) > 1:
                    bad = f"has keys of different lengths ({lengths})"
                else:
                    rows += next(iter(lengths.values()))
                    for key in check["keys"]:  # raises if the data are truncated
                        _ = file[key][0], file[key][-1]
        except BenchError as error:
            bad = f"is refused ({error})"
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
            bad = f"cannot be read as HDF5 ({' '.join(str(error).split())[:120]})"
        if bad:
            report.problems.append(f"{path} {bad}")
        report.groups.append(
            {"group": path.name, "expected": 1, "found": 1, "unreadable": int(bool(bad))}
        )
    if "rows" in check and rows != check["rows"] and not report.problems:
        report.problems.append(f"{rows:,} rows in all files, {check['rows']:,} are published")
