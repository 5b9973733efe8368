"""``list``: registered names, read without importing their modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from bench.cli import completion
from bench.cli.options import Common, common_options
from bench.cli.output import Column, note, print_json, print_line, print_table
from bench.core.control_names import is_control_row
from bench.core.errors import BenchError, did_you_mean
from bench.core.meta import KINDS

if TYPE_CHECKING:
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
)

Rows = Sequence[Mapping[str, object]]


@click.command()
@click.argument("what", metavar="|".join(WHAT), shell_complete=completion.one_of(*WHAT))
@click.option("--reference", is_flag=True, help="With claims: include the published records.")
@common_options
def command(what: str, reference: bool, common: Common) -> None:
    """List methods, splits, data sets, metrics, studies, figures, published numbers or plugins."""
    if what not in WHAT:
        raise BenchError(did_you_mean(what, list(WHAT), "list"))
    if reference and what != "claims":
        raise BenchError(f"--reference is for `list claims`: remove it from `list {what}`")
    registry = common.registry()
    if what == "claims":
        rows, columns = _claims(common.store().load_all(reference=reference))
    else:
        rows, columns = _ROWS[what](registry)
    if common.as_json:
        print_json({what: rows})
        return
    _print(rows, columns)
    for entry in registry.broken:
        note(f"plugin {entry.provider} {entry.problem}")


def _methods(registry: Registry) -> tuple[Rows, list[str]]:
    from bench.core.access import Access, track_of

    rows: list[dict[str, object]] = []
    for entry in registry.entries("method"):
        meta = entry.meta
        access = meta.get("access", [])
        track = "reference" if is_control_row(meta.get("level")) else track_of(Access.parse(access))
        rows.append(
            {
                "name": entry.name,
                "level": meta.get("level", ""),
                "access": access,
                "track": track if "level" in meta else "",
                "provider": entry.provider,
                "version": meta.get("version"),
                "summary": meta.get("summary", ""),
                "reference": meta.get("reference", ""),
            }
        )
    return rows, ["name", "level", "track", "provider", "summary"]


def _splits(registry: Registry) -> tuple[Rows, list[str]]:
    from bench.data.catalog import known_splits

    rows: list[dict[str, object]] = []
    for split in known_splits(registry).values():
        meta = registry.entry("dataset", split.dataset).meta
        row: dict[str, object] = {
            "name": split.name,
            "alias_of": "",
            "dataset": split.dataset,
            "editions": meta.get("editions", []),
            "task": split.task,
            "metric": split.metric,
            "shift": split.shift,
        }
        rows.append(row)
        if split.alias:
            rows.append({**row, "name": split.alias, "alias_of": split.name})
    return sorted(rows, key=lambda row: str(row["name"])), ["name", "alias_of", "editions", "shift"]


def _datasets(registry: Registry) -> tuple[Rows, list[str]]:
    rows = [
        {
            "name": entry.name,
            "editions": entry.meta.get("editions", []),
            "levels": entry.meta.get("levels", []),
            "licence": entry.meta.get("licence", ""),
            "provider": entry.provider,
            "summary": entry.meta.get("summary", ""),
            "reference": entry.meta.get("reference", ""),
        }
        for entry in registry.entries("dataset")
    ]
    return rows, ["name", "editions", "levels", "summary"]


def _metrics(registry: Registry) -> tuple[Rows, list[str]]:
    rows = [
        {
            "name": entry.name,
            "needs": entry.meta.get("needs", ""),
            "range": entry.meta.get("range", []),
            "higher_is_better": entry.meta.get("higher_is_better"),
            "provider": entry.provider,
            "version": entry.meta.get("version"),
            "summary": entry.meta.get("summary", ""),
            "reference": entry.meta.get("reference", ""),
        }
        for entry in registry.entries("metric")
    ]
    return rows, ["name", "needs", "range", "higher_is_better", "summary"]


def _figures(registry: Registry) -> tuple[Rows, list[str]]:
    from bench.output.figures import all_figures

    keys = ("name", "title", "needs", "paper", "summary")
    rows = [
        {key: figure.meta.get(key, "") for key in keys} for figure in all_figures(registry).values()
    ]
    return rows, ["name", "needs", "summary"]


def _claims(records: Sequence[Record]) -> tuple[Rows, list[str]]:
    from bench.boards.claims import judge, published

    rows = [
        {
            "name": result.claim.name,
            "paper": result.claim.value,
            "measured": result.mean,
            "sd": result.sd,
            "n_seeds": result.n_seeds,
            "difference": result.difference,
            "interval": result.interval,
            "status": result.status,
            "reading": result.reading,
            "comparable": result.claim.comparable,
            "source": result.claim.source,
            "grade": result.claim.grade,
            "note": result.claim.note,
        }
        for result in judge(published(), records)
        if result.claim.comparable
    ]
    return rows, ["name", "paper", "measured", "status"]


def _reading_list(registry: Registry) -> tuple[Rows, list[str]]:  # noqa: ARG001
    """Return the published numbers that no recipe here can match."""
    from bench.boards.claims import published

    rows = [
        {
            "name": claim.name,
            "paper": claim.value,
            "sd": claim.sd,
            "source": claim.source,
            "grade": claim.grade,
            "note": claim.note,
            "reason": claim.unmatched,
        }
        for claim in published()
        if not claim.comparable
    ]
    return rows, ["name", "paper", "reason"]


def _studies(registry: Registry) -> tuple[Rows, list[str]]:
    from bench.studies import known

    keys = ("name", "question", "methods", "point", "points", "version")
    metas: Iterable[Mapping[str, object]] = known(registry).values()
    rows = [{key: meta[key] for key in keys} for meta in metas]
    return rows, ["name", "question", "methods"]


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


def _print(rows: Rows, columns: Sequence[str]) -> None:
    if not rows:
        print_line("none")
        return
    short = max(len(_text(row["name"])) for row in rows) < 40
    fixed = {"paper", "measured", "status", *(["name"] if short else [])}
    print_table(
        [Column(name.replace("_", " "), wrap=name not in fixed) for name in columns],
        [[_text(row[name]) for name in columns] for row in rows],
    )


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
