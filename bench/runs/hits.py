"""Records of a repeated command, found without opening its data.

Opening data imports pandas and reads tables, only to compute the ids of runs. The ids are therefore
stored in the cache, together with the state of everything that they depend on: the command, the
code, the installed packages, the files of the data and the records. While nothing changes, a
repeated command reads its records only. Importing this module imports neither NumPy nor pandas.

Remembered are commands on tables of the user and on simulated data, without extensions of others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.core.canonical import canonical_json
from bench.core.checkout import ROOT
from bench.core.disk import new_file
from bench.core.folders import cache_folder, data_folder, expanded
from bench.core.once import file_stamp
from bench.records.digests import FILES
from bench.records.store import Store
from bench.runs.companions import Companion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bench.core.types import JsonObject
    from bench.records.record import Record
    from bench.runs.companions import Companions
    from bench.runs.experiment import Experiment
    from bench.runs.job import Job

VERSION = 1
"""Format of the remembered files."""
FOLDER = "hits"
MOST = 200
"""Maximum number of remembered commands."""
RECENT = 1.0
"""Seconds: files changed so shortly before the command are not relied on, because a later change
could leave the same time."""
_PACKAGED = ".dist-info", ".egg-info"


@dataclass(frozen=True)
class Hit:
    """Records of a command.

    Attributes
    ----------
    lines
        Lines about the data.
    records
        One per job, in order.
    facts
        What the caller stored.
    """

    lines: list[str]
    records: list[Record]
    companions: Companions
    facts: JsonObject


class Runs(NamedTuple):
    """Records of a command that has finished, and the number of notes about them."""

    records: Sequence[Record]
    companions: Companions
    control_rows: Sequence[Record]
    n_notes: int


class Memory:
    """Remembers the runs of one command.

    Parameters
    ----------
    request
        Everything in the command that its runs or its output depend on.
    store
        The results folder.
    """

    def __init__(self, request: JsonObject, store: Store) -> None:
        self.store = store
        self._started = time.time()
        everything = {
            "version": VERSION,
            "request": request,
            "store": str(store.root.absolute()),
            "here": str(Path.cwd()),
            "python": sys.version,
            "packages": _packages(),
            "code": _code(),
            "folders": [str(cache_folder("")), str(data_folder(""))],
            "environment": {k: v for k, v in os.environ.items() if k.startswith("BENCH_")},
        }
        key = hashlib.sha256(canonical_json(everything).encode()).hexdigest()[:32]
        self.path = cache_folder(FOLDER) / f"{key}.json"

    def read(self) -> Hit | None:
        """Return the records; None if the command is not remembered or anything changed."""
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
            if any(_state(path) != state for path, state in known["inputs"].items()):
                return None
            if any(self._stamp(run_id) != stamp for run_id, stamp in known["records"].items()):
                return None
            found = {run_id: self.store.find(run_id) for run_id in known["records"]}
            records = {run_id: record for run_id, record in found.items() if record is not None}
            if len(records) < len(found):
                return None
            return Hit(
                list(known["lines"]),
                [records[i].renamed(method, split) for i, method, split in known["runs"]],
                {
                    (method, split, seed): Companion(records[i].renamed(method, other), new)
                    for method, split, seed, i, other, new in known["companions"]
                },
                known["facts"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(
        self,
        experiment: Experiment,
        jobs: Sequence[Job],
        runs: Runs,
        lines: Sequence[str],
        facts: Mapping[str, object],
        *,
        controls: bool,
    ) -> None:
        """Remember the runs of a command that has finished; errors are ignored.

        Parameters
        ----------
        jobs, runs
            The jobs and their records.
        lines
            Lines about the data.
        facts
            JSON that :meth:`read` returns again.
        controls
            Whether the control rows belong to the command.
        """
        twins = experiment.companion_jobs(jobs).values()
        others = experiment.control_jobs() if controls else []
        inputs = _inputs([*jobs, *twins, *others])
        records, companions = runs.records, runs.companions
        shown = [*records, *(companion.record for companion in companions.values())]
        if inputs is None or any(record.status == "failed" for record in shown):
            return
        from bench.runs.identity import run_id

        ids = [record.run_id for record in shown] + [run_id(job.spec()) for job in others]
        stamps = {run: self._stamp(run) for run in ids}
        recent = self._started - RECENT
        if not all(stamps.values()) or any(_changed(path) > recent for path in inputs):
            return
        known = {
            "inputs": {path: _state(path) for path in inputs},
            "records": stamps,
            "lines": list(lines),
            "runs": [[r.run_id, r.method, r.split] for r in records],
            "companions": [
                [*key, c.record.run_id, c.record.split, c.new_batches]
                for key, c in companions.items()
            ],
            "facts": facts,
        }
        with contextlib.suppress(OSError, ValueError), new_file(self.path) as file:
            file.write_text(json.dumps(known, allow_nan=False), encoding="utf-8")
        _drop_oldest(self.path.parent)

    def _stamp(self, run_id: str) -> str:
        """Return the stamps of the files of a run; empty without the run."""
        folder = self.store.path_of(run_id)
        stamps = [_state(str(folder / name)) for name in FILES]
        return " ".join(stamps) if stamps[0] else ""


def memory(
    request: JsonObject, store: Store, settings: Iterable[str], plugins: Iterable[str]
) -> Memory | None:
    """Return the memory of a command; None if its runs depend on more than :class:`Memory` sees.

    Parameters
    ----------
    request, store
        As for :class:`Memory`.
    settings
        Values in the command that may name files, such as those of ``--set``.
    plugins
        Files with extensions.
    """
    files = any("/" in text or os.sep in text or ".py" in text for text in settings)
    extended = any(plugins) or bool(os.environ.get("BENCH_PLUGINS"))
    remote = type(store) is not Store or "://" in os.environ.get("BENCH_DATA", "")
    return None if files or extended or remote else Memory(request, store)


def _inputs(jobs: Iterable[Job]) -> list[str] | None:
    """Return the paths that the ids of runs depend on; None if they are not known.

    A path that ends with a separator is a folder, of which only the names matter.
    """
    from bench.data.catalog import parse_split_argument

    paths: dict[str, None] = {}
    seen: set[str] = set()
    for job in jobs:
        task = job.task
        if not _is_own_code(job) or ":" in str(job.recipe.get("network", "")):
            return None
        if task.typed in seen:
            continue
        seen.add(task.typed)
        file = parse_split_argument(task.typed)
        found = _of_table(file[0]) if file is not None else _of_simulation(job)
        if found is None:
            return None
        paths |= dict.fromkeys(found)
    return list(paths)


def _is_own_code(job: Job) -> bool:
    """Return whether only packaged code and no pretrained weights make a run."""
    registry = job.registry
    stages = [stage for some in job.chains for stage in some.stages]
    names = registry.names("dataset")
    entries = [stage.entry for stage in stages]
    entries += [registry.entry("metric", name) for name in job.metric_versions]
    entries += [registry.entry("dataset", n) for n in [job.task.split.dataset] if n in names]
    packaged = all(entry.provider == "labshift" and not entry.isolated for entry in entries)
    return packaged and not any(stage.pinned for stage in stages)


def _of_table(file: Path) -> list[str] | None:
    """Return the files of a user's table; None for images."""
    from bench.data.own.spec import parse

    spec = parse(file)
    if spec.kind == "images":
        return None
    names = [spec.table, *([spec.exclude] if spec.exclude else []), *spec.relationships]
    return [str(path.absolute()) for path in (file, *(file.parent / expanded(n) for n in names))]


def _of_simulation(job: Job) -> list[str] | None:
    """Return all simulated files, and the folders where real ones would be used instead."""
    task = job.task
    opened = [task.opened, *([] if task.source_domain is None else [task.source_domain.opened])]
    if any(data.edition != "simulated" for data in opened):
        return None
    root = cache_folder("simulated")
    folders = [root, *(path for path in sorted(root.glob("[!.]*")) if path.is_dir())]
    real = [data_folder(name) for name in {task.split.dataset, *(data.name for data in opened)}]
    files = chain.from_iterable(folder.glob("[!.]*.*") for folder in folders[1:])
    return [*(f"{folder}{os.sep}" for folder in (*folders, *real)), *map(str, sorted(files))]


def _state(path: str) -> str:
    """Return a text that changes with a file, or with the names in a folder; empty without it."""
    try:
        if not path.endswith(os.sep):
            return file_stamp(path)
        names = sorted(p.name for p in Path(path).iterdir() if not p.name.startswith("."))
        return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    except OSError:
        return ""


def _changed(path: str) -> float:
    """Return the time of the last change of a file; 0 for folders."""
    if path.endswith(os.sep):
        return 0.0
    with contextlib.suppress(OSError):
        facts = os.stat(path)  # noqa: PTH116 - as in file_stamp
        return max(facts.st_mtime, facts.st_ctime)
    return float("inf")


def _code() -> str:
    """Return a digest of names, sizes and times of the files of the package."""
    folders = [ROOT / "bench", ROOT / "methods", ROOT / "datasets"]
    lines = sorted(line for folder in folders[:1] for line in _tree(str(folder)))
    if (ROOT / "bench" / "methods").is_dir():
        folders = folders[:1]
    lines += sorted(line for folder in folders[1:] for line in _tree(str(folder)))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _tree(folder: str) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__pycache__":
                continue
            if entry.is_dir():
                yield from _tree(entry.path)
            else:
                facts = entry.stat()
                yield f"{entry.path} {facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns}"


def _packages() -> list[str]:
    """Return names and times of the installed distributions, which may add extensions."""
    lines = []
    for folder in dict.fromkeys(sys.path):
        with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
            lines += [
                f"{entry.path} {entry.stat().st_mtime_ns}"
                for entry in entries
                if entry.name.endswith(_PACKAGED)
            ]
    return sorted(lines)


def _drop_oldest(folder: Path) -> None:
    """Delete the oldest remembered commands if there are many."""
    with contextlib.suppress(OSError):
        files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in files[:-MOST]:
            path.unlink(missing_ok=True)
