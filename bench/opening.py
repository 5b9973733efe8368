"""From what was typed after ``--split`` to opened data and folds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.api import Opened, Split, make_params
from bench.errors import BenchError
from bench.plan import Target, open_target
from bench.splits import find_split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.registry import Registry

EDITIONS = {
    "real": "real data",
    "simulated": "SIMULATED data: a physical simulation in the published file format; "
    "no claim about real images",
    "fixture": "FIXTURE data: made-up files in the published layout; no scientific claim",
}


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
        split = find_split(typed)
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
    if edition != "auto" and edition not in there:
        raise BenchError(
            f"{split.dataset} has no {edition} edition here; there is {', '.join(there)}: "
            "leave --edition out, or put the files where `show dataset` says"
        )
    chosen = there[0] if edition == "auto" else edition
    say(f"{split.dataset}: {EDITIONS[chosen]}")
    result: Opened = dataset.open(chosen)
    return result
