"""``list``: registered names, read without importing their modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from bench.cli import completion
from bench.cli.options import Common, common_options
from bench.cli.output import note, print_json, print_line, print_list
from bench.core.control_names import is_control_row
from bench.core.errors import BenchError, did_you_mean
from bench.core.meta import KINDS

if TYPE_CHECKING:
    from bench.core.entry import Entry
    from bench.core.registry import Registry
    from bench.records.record import Record

WHAT = (
    "methods",
    "splits",
    "datasets",
    "metrics",
    "studies",
    "figures",
    "claims",
    "reading-list",
    "plugins",
    "runs",
)

SHORT_ID = 12
"""Characters of a run id in the table; any start of a run id that is unique can be typed."""

Rows = Sequence[Mapping[str, object]]


@click.command()
@click.argument("what", metavar="|".join(WHAT), shell_complete=completion.one_of(*WHAT))
@click.option(
    "--reference", is_flag=True, help="With claims and runs: include the published records."
)
@click.option("--wide", is_flag=True, help="Do not shorten long cells.")
@common_options
def command(what: str, reference: bool, wide: bool, common: Common) -> None:
    r"""List methods, splits, runs and other things, one per line.

    `show` prints the details of one.

    \b
    python -m bench list methods
    python -m bench list runs --wide
    """
    if what not in WHAT:
        raise BenchError(did_you_mean(what, list(WHAT), "list"))
    if reference and what not in ("claims", "runs"):
        raise BenchError(f"--reference applies to claims and runs: remove it from `list {what}`")
    registry = common.registry()
    if what in _OF_RECORDS:
        rows, columns = _OF_RECORDS[what](common.store().load_all(reference=reference))
    else:
        rows, columns = _ROWS[what](registry)
    if common.as_json:
        print_json({what: rows})
        return
    _print(rows, columns, wide)
    for entry in registry.broken:
        note(f"plugin {entry.provider} {entry.problem}")


def _facts(entry: Entry, *keys: str) -> dict[str, object]:
    """Return name, provider and values of META in the order of ``keys``."""
    known: dict[str, object] = {"range": [], **entry.meta}
    known |= {"name": entry.name, "provider": entry.provider}
    if not entry.resolved:
        known |= dict.fromkeys(("version", "higher_is_better"))
    return {key: known.get(key, "") for key in keys}


def _values(source: object, *names: str) -> dict[str, object]:
    return {name: getattr(source, name) for name in names}


def _methods(registry: Registry) -> tuple[Rows, list[str]]:
    from bench.core.access import Access, track_of

    rows: list[dict[str, object]] = []
    for entry in registry.entries("method"):
        level, track = entry.meta["level"], ""
        if level:
            is_control = is_control_row(level)
            track = "reference" if is_control else track_of(Access.parse(entry.meta["access"]))
        rows.append(
            {
                **_facts(entry, "name", "level", "access"),
                "track": track,
                **_facts(entry, "provider", "version", "summary", "reference"),
            }
        )
    plugins = any(row["provider"] != "labshift" for row in rows)
    return rows, ["name", "level", "track", *(["provider"] if plugins else []), "summary"]


def _splits(registry: Registry) -> tuple[Rows, list[str]]:
    from bench.data.catalog import known_splits

    rows: list[dict[str, object]] = []
    for split in known_splits(registry).values():
        meta = registry.entry("dataset", split.dataset).meta
        row: dict[str, object] = {
            "name": split.name,
            "alias_of": "",
            "dataset": split.dataset,
            "editions": meta["editions"],
            "task": split.task,
            "metric": split.metric,
            "shift": split.shift,
        }
        rows.append(row)
        if split.alias:
            rows.append({**row, "name": split.alias, "alias_of": split.name})
    return sorted(rows, key=lambda row: str(row["name"])), ["name", "editions", "shift"]


def _datasets(registry: Registry) -> tuple[Rows, list[str]]:
    keys = ("name", "editions", "levels", "licence", "provider", "summary", "reference")
    rows = [_facts(entry, *keys) for entry in registry.entries("dataset")]
    return rows, ["name", "editions", "summary"]


def _metrics(registry: Registry) -> tuple[Rows, list[str]]:
    keys = ("name", "needs", "range", "higher_is_better", "ignores", "provider", "version")
    rows = [_facts(entry, *keys, "summary", "reference") for entry in registry.entries("metric")]
    return rows, ["name", "needs", "summary"]


def _figures(registry: Registry) -> tuple[Rows, list[str]]:
    from bench.output.figures import all_figures

    keys = ("name", "title", "needs", "paper", "summary")
    rows = [_facts(figure, *keys) for figure in all_figures(registry).values()]
    return rows, ["name", "summary"]


def _claims(records: Sequence[Record]) -> tuple[Rows, list[str]]:
    from bench.boards.claims import judge, published

    rows = [
        {
            "name": result.claim.name,
            "paper": result.claim.value,
            "measured": result.mean,
            **_values(result, "sd", "n_seeds", "difference", "interval", "status", "reading"),
            **_values(result.claim, "comparable", "source", "grade", "note"),
        }
        for result in judge(published(), records)
        if result.claim.comparable
    ]
    return rows, ["paper", "measured", "status", "name"]


def _runs(records: Sequence[Record]) -> tuple[Rows, list[str]]:
    from bench.boards.values import label_of

    rows = [
        {
            "run_id": record.run_id,
            "method": label_of(record.method_id, record.params),
            **_values(record, "split_id", "edition", "recipe", "selection", "seed", "status"),
            "metric": record.primary,
            "score": record.value() if record.ok else None,
            "created": record.created,
            "path": str(record.path or ""),
        }
        for record in sorted(records, key=lambda record: (record.created, record.run_id))
    ]
    return rows, ["run_id", "seed", "score", "recipe", "method", "split_id"]


def _reading_list(registry: Registry) -> tuple[Rows, list[str]]:  # noqa: ARG001 - signature of all listings
    """Return the published numbers that no recipe here can match."""
    from bench.boards.claims import published

    rows = [
        {
            "name": claim.name,
            "paper": claim.value,
            **_values(claim, "sd", "source", "grade", "note"),
            "reason": claim.unmatched,
        }
        for claim in published()
        if not claim.comparable
    ]
    return rows, ["paper", "name", "reason"]


def _studies(registry: Registry) -> tuple[Rows, list[str]]:
    from bench.studies import known

    keys = ("name", "question", "methods", "point", "points", "version")
    metas: Iterable[Mapping[str, object]] = known(registry).values()
    rows = [{key: meta[key] for key in keys} for meta in metas]
    return rows, ["name", "question"]


def _plugins(registry: Registry) -> tuple[Rows, list[str]]:
    """Import every plugin and report which of them work."""
    rows = []
    entries = [e for kind in KINDS for e in registry.entries(kind)]
    for entry in [*[e for e in entries if e.provider != "labshift"], *registry.broken]:
        state = "works"
        try:
            if entry.kind in KINDS:
                registry.entry(entry.kind, entry.name).load()
            else:
                state = entry.problem
        except BenchError as error:
            state = str(error)
        rows.append(
            {"name": entry.name, "kind": entry.kind, "provider": entry.provider, "state": state}
        )
    return rows, ["name", "kind", "provider", "state"]


_ROWS: Mapping[str, Callable[[Registry], tuple[Rows, list[str]]]] = {
    "methods": _methods,
    "splits": _splits,
    "datasets": _datasets,
    "metrics": _metrics,
    "studies": _studies,
    "figures": _figures,
    "reading-list": _reading_list,
    "plugins": _plugins,
}


_OF_RECORDS: Mapping[str, Callable[[Sequence[Record]], tuple[Rows, list[str]]]] = {
    "claims": _claims,
    "runs": _runs,
}


def _print(rows: Rows, columns: Sequence[str], wide: bool) -> None:
    if not rows:
        print_line("none")
        return
    names = [column.replace("_", " ").removesuffix(" id") for column in columns]
    print_list(names, [[_cell(row, column) for column in columns] for row in rows], wide=wide)


def _cell(row: Mapping[str, object], column: str) -> str:
    if column == "shift" and row["alias_of"]:
        return f"alias of {row['alias_of']}"
    if column == "run_id":
        return str(row[column])[:SHORT_ID]
    if column == "score" and row["status"] != "ok":
        return str(row["status"])
    return _text(row[column])


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
