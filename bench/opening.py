"""From what was typed after ``--split`` to opened data and folds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.api import Opened, Split, make_params
from bench.errors import BenchError
from bench.plan import Target, open_target
from bench.splits import find_split, packaged_splits, read_split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.registry import Registry

EDITIONS = {
    "real": "real data",
    "simulated": "SIMULATED data: a physical simulation in the published file format; "
    "no claim about real images",
    "fixture": "FIXTURE data: made-up files in the published layout; no scientific claim",
}


def known_splits(registry: Registry) -> dict[str, Split]:
    """Return the packaged splits and those of data set plugins, by canonical name.

    A plugin gives its splits in the list ``splits`` of its ``META``: each a literal with the fields
    of :class:`bench.api.Split`.

    Raises
    ------
    BenchError
        If a split of a plugin is wrong, or its name is taken.
    """
    known = packaged_splits()
    for entry in registry.entries("dataset"):
        if entry.provider == "labshift" or entry.problem:
            continue
        meta = registry.entry("dataset", entry.name).meta
        for number, table in enumerate(meta.get("splits", []), 1):
            where = f"META of {entry.origin}, split {number}"
            split = read_split(where, {"dataset": entry.name, **table})
            if split.name in known:
                raise BenchError(f"{where}: the name '{split.name}' is taken: rename it")
            known[split.name] = split
    return known


def open_splits(
    names: list[str],
    registry: Registry,
    edition: str,
    settings: Mapping[str, Any],
    say: Callable[[str], None],
) -> list[Target]:
    """Open every split that was named; a data set is opened once.

    Parameters
    ----------
    names
        Names, aliases, or ``FILE.toml[:NAME]``.
    registry
        Where data sets are looked up.
    edition
        ``auto`` takes the real edition where it is there, and says which one it took.
    settings
        Values of the data's own parameters, such as a simulator's ``strength``.
    say
        Takes the line about the edition.

    Raises
    ------
    BenchError
        For an unknown name, an edition that is not there, or bad data.
    """
    from bench.tables import parse_split_argument

    opened: dict[str, Opened] = {}
    targets: list[Target] = []
    for typed in names:
        own = parse_split_argument(typed)
        if own is not None:
            targets.append(_own(typed, own, edition, settings, opened))
            continue
        split = find_split(typed, known_splits(registry))
        if split.dataset not in opened:
            opened[split.dataset] = _open(split, registry, edition, settings, say)
        data = opened[split.dataset]
        targets.append(open_target(typed, split, data, published=data.edition == "real"))
    return targets


def _own(
    typed: str,
    argument: Any,
    edition: str,
    settings: Mapping[str, Any],
    opened: dict[str, Opened],
) -> Target:
    from bench.tables import load

    if settings:
        raise BenchError(f"--set data.{next(iter(settings))}: a table of your own has no settings")
    if edition not in ("auto", "real"):
        raise BenchError(f"--edition {edition}: a table of your own is real data; leave it out")
    path, name = argument
    data = load(path)
    split: Split = data.split(name)
    key = str(path.resolve())
    if key not in opened:
        opened[key] = data.open()
    return open_target(typed, split, opened[key])


def _open(
    split: Split,
    registry: Registry,
    edition: str,
    settings: Mapping[str, Any],
    say: Callable[[str], None],
) -> Opened:
    cls = registry.entry("dataset", split.dataset).load()
    dataset = cls(make_params("data", cls.Settings, settings))
    there = dataset.editions()
    if not there and edition in ("auto", "real"):
        dataset.open("real")  # says what is missing, and how to get it
    if edition != "auto" and edition not in there:
        raise BenchError(
            f"{split.dataset} has no {edition} edition here; there is "
            f"{', '.join(there) or 'none'}: leave --edition out, or put the files where "
            "`show dataset` says"
        )
    chosen = there[0] if edition == "auto" else edition
    say(f"{split.dataset}: {EDITIONS[chosen]}")
    result: Opened = dataset.open(chosen)
    return result
