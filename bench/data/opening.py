"""Open the data sets and folds of the splits given with ``--split``."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError
from bench.core.folders import cache_folder
from bench.core.guard import guarded
from bench.core.once import file_sha256, once
from bench.core.params import make_params
from bench.data.catalog import NamedSplit, find_split, known_splits, resolve, resolve_all
from bench.data.channels import in_slots, with_slots
from bench.data.folds import SourceDomain, folds
from bench.data.task import Task, open_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bench.core.dataset import Opened
    from bench.core.registry import Registry
    from bench.core.split import Split
    from bench.data.own.table import OwnData

EDITIONS = {
    "real": "real data",
    "simulated": "SIMULATED data: a physical simulation in the published file format; "
    "no claim about real images",
    "fixture": "FIXTURE data: synthetic files in the published layout; no scientific claim",
}


def open_splits(
    names: list[str],
    registry: Registry,
    edition: str,
    settings: Mapping[str, object],
    say: Callable[[str], None],
    opened: dict[str, Opened] | None = None,
) -> list[Task]:
    """Open the given splits; each data set is opened once.

    Parameters
    ----------
    names
        Names, aliases, or ``FILE.toml[:NAME]``.
    edition
        ``auto`` prefers the real edition if it is available, and reports its choice.
    settings
        Parameters of the data set, such as a simulator's ``strength``. The prefix ``source.``
        selects the data set that an encoder is trained on before a transfer.
    say
        Receives the line about the edition.
    opened
        Data sets that earlier calls with the same edition and settings opened; new ones are added.

    Raises
    ------
    BenchError
        For an unknown name, an edition that is not available, or invalid data.
    """
    opened = {} if opened is None else opened
    parts: dict[str, Opened] = {}
    reported: set[str] = set()
    tasks: list[Task] = []
    for typed in names:
        named = resolve(typed, registry)
        split = named.split
        if named.own is not None:
            tasks.append(_own(named, named.own, edition, settings, opened))
            _say_once(_licence_of(tasks[-1].opened), reported, say)
            continue
        if split.protocol == "transfer":
            tasks.append(_transfer(typed, split, registry, edition, settings, say, reported))
            continue
        data = opened.get(split.dataset)
        if data is None:
            with _watched(split.dataset, registry, say):
                dataset, chosen = _choose(split, registry, edition, settings)
            _say_once(f"{split.dataset}: {EDITIONS[chosen]}", reported, say)
            licence = _licence(split.dataset, chosen, registry)
            if chosen == "simulated":
                drop_changed(cache_folder("simulated"), say)
            in_parts = hasattr(dataset, "open_split")
            with _watched(split.dataset, registry, say):
                data = dataset.open_split(chosen, split) if in_parts else dataset.open(chosen)
            data = replace(data, licence=licence)
            if in_parts:
                data = parts.setdefault(f"{data.name} {data.digest}", data)
            else:
                opened[split.dataset] = data
            _say_once(_licence_of(data), reported, say)
        if split.train_channels:
            data = with_slots(data, split, folds(split, data)[0].test)
        tasks.append(open_task(typed, split, data, published=data.edition == "real"))
    return tasks


@contextlib.contextmanager
def _watched(name: str, registry: Registry, say: Callable[[str], None]) -> Iterator[None]:
    """Undo what the data set of a plugin changes for the runs after it.

    Raises
    ------
    BenchError
        If it replaces a function of the benchmark.
    """
    entry = registry.entry("dataset", name)
    if entry.provider == "labshift":
        yield
        return
    with guarded() as changes:
        yield
    for setting in changes.settings:
        say(f"warning: data set {name} changed {setting}; it was restored")
    if changes.functions:
        raise BenchError(
            f"data set '{name}' of {entry.origin} replaces {changes.functions[0]}: a plugin must "
            "not change the benchmark; remove the assignment"
        )


def drop_changed(root: Path, say: Callable[[str], None]) -> None:
    """Delete simulated files in the cache that differ from their digests, so they are made again.

    Each file is read once per size, times and inode.

    Parameters
    ----------
    root
        Folder with one folder per simulation, each with ``parameters.json``.
    """
    for path in sorted(root.glob("[!.]*/parameters.json")):
        try:
            files = json.loads(path.read_text(encoding="utf-8"))["files"]
            changed = [
                name
                for name, facts in files.items()
                if once(path.with_name(name), partial(file_sha256, path.with_name(name)), small=0)
                != facts["sha256"]
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # incomplete: the data set writes it again
        if changed:
            say(f"note: simulated again: {changed[0]} in {path.parent} was changed")
            shutil.rmtree(path.parent, ignore_errors=True)


def _say_once(line: str, reported: set[str], say: Callable[[str], None]) -> None:
    if line and line not in reported:
        reported.add(line)
        say(line)


def _licence(name: str, edition: str, registry: Registry) -> str:
    """Return the licence of the real edition of a data set; simulated data have none."""
    return registry.entry("dataset", name).meta["licence"] * (edition == "real")


def _licence_of(data: Opened) -> str:
    return f"{data.name}: licence {data.licence}" if data.licence else ""


def _own(
    named: NamedSplit,
    own: OwnData,
    edition: str,
    settings: Mapping[str, object],
    opened: dict[str, Opened],
) -> Task:
    if other := [name for name in settings if name != "keep"]:
        raise BenchError(
            f"--set data.{other[0]}: a table of your own has no such setting, only keep"
        )
    if edition not in ("auto", "real"):
        raise BenchError(f"--edition {edition}: a table of your own is real data: leave it out")
    key = str(own.path.resolve())
    if key not in opened:
        opened[key] = replace(own.open(str(settings.get("keep", ""))), licence=own.licence)
    return open_task(named.typed, named.split, opened[key])


def _transfer(
    typed: str,
    split: Split,
    registry: Registry,
    edition: str,
    settings: Mapping[str, object],
    say: Callable[[str], None],
    reported: set[str],
) -> Task:
    """Open both data sets of a transfer in one edition, and cut the target to fit the source."""
    from bench.data.transfer import fitted_to

    source = find_split(split.source, known_splits(registry))
    names = (source.dataset, split.dataset)
    own = {key: value for key, value in settings.items() if not key.startswith("source.")}
    other = {key.removeprefix("source."): v for key, v in settings.items() if key not in own}
    classes = [registry.entry("dataset", name).load() for name in names]
    datasets = [
        cls(make_params("data", cls.Settings, values))
        for cls, values in zip(classes, (other, own), strict=True)
    ]
    there = [name for name in datasets[1].editions() if name in datasets[0].editions()]
    chosen = _edition(f"{source.dataset} with {split.dataset}", there, edition)
    both: list[Opened] = []
    for name, dataset in zip(names, datasets, strict=True):
        _say_once(f"{name}: {EDITIONS[chosen]}", reported, say)
        with _watched(name, registry, say):
            data = dataset.open(chosen)
        both.append(replace(data, licence=_licence(name, chosen, registry)))
    opened, target = both
    for data in (opened, target):
        _say_once(_licence_of(data), reported, say)
    if split.train_channels:
        opened = in_slots(opened, split.train_channels, split.train_channels, split.name)
        target = in_slots(target, split.test_channels, split.train_channels, split.name)
    source_folds = folds(source, opened)
    if source.protocol != "supervised" or len(source_folds) != 1:
        raise BenchError(
            f"split '{split.name}': source '{source.name}' must train on one set of rows with "
            "labels: name a split with train and test"
        )
    source_domain = SourceDomain(
        source.name, opened, source_folds[0].train, source_folds[0].classes
    )
    data = fitted_to(target, opened, split.channels, split.name)
    return open_task(typed, split, data, published=chosen == "real", source_domain=source_domain)


def _choose(
    split: Split, registry: Registry, edition: str, settings: Mapping[str, object]
) -> tuple[Any, str]:
    """Return the data set of a split and the edition to open."""
    cls = registry.entry("dataset", split.dataset).load()
    dataset = cls(make_params("data", cls.Settings, settings))
    there = dataset.editions()
    if not there and edition in ("auto", "real"):
        dataset.open("real")  # raises: what is missing and how to get it
    return dataset, _edition(split.dataset, there, edition)


def _edition(name: str, there: list[str], edition: str) -> str:
    """Return the edition to open; ``there`` lists the available ones, best first."""
    if not there or (edition != "auto" and edition not in there):
        asked = "common" if edition == "auto" else edition
        available = ", ".join(there) or "none"
        raise BenchError(
            f"{name} has no {asked} edition here; there is {available}: leave --edition out, or "
            "put the files where `show dataset` says"
        )
    return there[0] if edition == "auto" else edition


def open_all(file: str, registry: Registry, edition: str) -> tuple[Opened, list[Split], list[Task]]:
    """Open a data set and its splits.

    Parameters
    ----------
    file
        A ``dataset.toml``, ``FILE.toml:NAME`` for one of its splits, or the name of a split.

    Returns
    -------
    tuple
        The data set, the requested splits, and those that can be run.
    """
    named = resolve_all(file, registry)
    own = named[0].own
    if own is None:
        [task] = open_splits([file], registry, edition, {}, lambda line: None)
        return task.opened, [task.split], [task]
    opened = own.open()
    tasks = []
    for name in named:
        with contextlib.suppress(BenchError):  # check-data reports the problem
            tasks.append(open_task(name.typed, name.split, opened))
    return opened, [name.split for name in named], tasks
