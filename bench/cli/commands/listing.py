"""``list``: what there is, without importing any of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from bench.cli import completion
from bench.cli.main import common, registry_for, store_for
from bench.core.errors import BenchError, did_you_mean
from bench.core.meta import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WHAT = ("methods", "splits", "datasets", "metrics", "studies", "figures", "claims", "plugins")


@click.command()
@click.argument("what", metavar="|".join(WHAT), shell_complete=completion.one_of(*WHAT))
@click.option("--reference", is_flag=True, help="For claims: also records in results/reference.")
@common
def command(
    what: str,
    reference: bool,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> None:
    """List methods, splits, data sets, metrics, studies, figures, published claims or plugins."""
    if what not in WHAT:
        raise BenchError(did_you_mean(what, list(WHAT), "list"))
    if reference and what != "claims":
        raise BenchError(f"--reference is for `list claims`: leave it out of `list {what}`")
    registry = registry_for(plugin)
    if what == "claims":
        rows, columns = _claims(store_for(results).load_all(reference=reference))
    else:
        rows, columns = _ROWS[what](registry)
    if as_json:
        click.echo(json.dumps({what: rows}, indent=1))
        return
    _table(rows, columns)
    for entry in registry.broken:
        click.echo(f"plugin {entry.provider} {entry.problem}", err=True)


def _methods(registry: Any) -> tuple[list[dict[str, Any]], list[str]]:
    from bench.core.access import Access, track_of

    rows = []
    for entry in registry.entries("method"):
        meta = entry.meta
        known = "level" in meta
        access = meta.get("access", [])
        track = "reference" if meta.get("level") == "reference" else track_of(Access.parse(access))
        rows.append(
            {
                "name": entry.name,
                "level": meta.get("level", ""),
                "access": access,
                "track": track if known else "",
                "provider": entry.provider,
                "version": meta.get("version"),
                "summary": meta.get("summary", ""),
                "reference": meta.get("reference", ""),
            }
        )
    return rows, ["name", "level", "track", "provider", "summary"]


def _splits(registry: Any) -> tuple[list[dict[str, Any]], list[str]]:
    from bench.data.catalog import known_splits

    rows = []
    for split in known_splits(registry).values():
        meta = registry.entry("dataset", split.dataset).meta
        row = {
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
    return sorted(rows, key=lambda row: row["name"]), ["name", "alias_of", "editions", "shift"]


def _datasets(registry: Any) -> tuple[list[dict[str, Any]], list[str]]:
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


def _metrics(registry: Any) -> tuple[list[dict[str, Any]], list[str]]:
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


def _figures(registry: Any) -> tuple[list[dict[str, Any]], list[str]]:
    from bench.output.figures import all_figures

    keys = ("name", "title", "needs", "paper", "summary")
    rows = [
        {key: figure.meta.get(key, "") for key in keys} for figure in all_figures(registry).values()
    ]
    return rows, ["name", "needs", "summary"]


def _claims(records: list[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    from bench.boards.claims import judge, published

    rows = [
        {
            "name": one.claim.name,
            "paper": one.claim.value,
            "measured": one.mean,
            "sd": one.sd,
            "n_seeds": one.n_seeds,
            "difference": one.difference,
            "interval": one.interval,
            "status": one.status,
            "reading": one.reading,
            "comparable": one.claim.comparable,
            "source": one.claim.source,
            "grade": one.claim.grade,
            "note": one.claim.note,
        }
        for one in judge(published(), records)
    ]
    return rows, ["name", "paper", "measured", "status"]


def _studies(registry: Any) -> tuple[list[dict[str, Any]], list[str]]:
    from bench.studies import known

    keys = ("name", "question", "methods", "point", "points", "version")
    metas: Iterable[Mapping[str, object]] = known(registry).values()
    rows = [{key: meta[key] for key in keys} for meta in metas]
    return rows, ["name", "question", "methods"]


def _plugins(registry: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Import every plugin, to say which of them work."""
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


_ROWS = {
    "methods": _methods,
    "splits": _splits,
    "datasets": _datasets,
    "metrics": _metrics,
    "studies": _studies,
    "figures": _figures,
    "plugins": _plugins,
}


def _table(rows: list[dict[str, Any]], columns: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        click.echo("none")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    short = max(len(_cell(row["name"])) for row in rows) < 40
    for name in columns:
        whole = (name == "name" and short) or name in ("paper", "measured", "status")
        table.add_column(name.replace("_", " "), overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*[Text(_cell(row[name])) for name in columns])
    Console().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
