"""``check-data``: what a careful colleague would say of a data set."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from typing import Any

import click

from bench.cli import completion
from bench.cli.main import common, registry_for
from bench.cli.progress import waiting
from bench.core.errors import BenchError

_COLOURS = {"ok": "green", "look": "yellow", "warn": "red"}


@click.command()
@click.argument("file", shell_complete=completion.splits)
@click.option("--edition", default="auto", show_default=True, help="Of a registered data set.")
@common
def command(
    file: str,
    edition: str,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> None:
    r"""Look at a data set and its splits before anything is trained.

    FILE is a dataset.toml, FILE.toml:NAME for one of its splits, or the name of a registered split.

    \b
    python -m bench check-data my_screen.toml
    python -m bench check-data jump-stains/stains
    """
    from bench.advice.checkup import examine
    from bench.advice.support import supported

    registry = registry_for(plugin)
    with waiting(f"reading {file}"):
        opened, splits, targets = open_all(file, registry, edition)
        lines = examine(opened, splits)
        methods = supported(targets, registry, lines)
    if as_json:
        document = {
            "dataset": opened.name,
            "edition": opened.edition,
            "findings": [dataclasses.asdict(line) for line in lines],
            "methods": [dataclasses.asdict(one) for one in methods],
        }
        click.echo(json.dumps(document, indent=1, allow_nan=False))
        return
    _print(opened, lines, methods)


def open_all(file: str, registry: Any, edition: str) -> tuple[Any, list[Any], list[Any]]:
    """Return the data set, the splits that were asked for, and those of them that can be run.

    Raises
    ------
    BenchError
        If the data cannot be opened.
    """
    from bench.data.catalog import resolve_all
    from bench.data.opening import open_splits
    from bench.data.target import open_target

    named = resolve_all(file, registry)
    own = named[0].own
    if own is None:
        [target] = open_splits([file], registry, edition, {}, lambda line: None)
        return target.opened, [target.split], [target]
    opened = own.open()
    targets = []
    for one in named:
        with contextlib.suppress(BenchError):  # reported among the findings
            targets.append(open_target(one.typed, one.split, opened))
    return opened, [one.split for one in named], targets


def _print(opened: Any, lines: list[Any], methods: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(Text(f"{opened.name} ({opened.edition})", style="bold"))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("state", no_wrap=True)
    table.add_column("topic", overflow="fold", max_width=34)
    table.add_column("text", overflow="fold")
    for line in lines:
        state = Text(line.state, style=_COLOURS[line.state])
        table.add_row(state, Text(line.topic), Text(line.text))
    console.print(table)
    console.print(Text("\nmethods that the data can support", style="bold"))
    for verdict in ("yes", "with care", "no"):
        reasons: dict[str, list[str]] = {}
        for one in methods:
            if one.verdict == verdict:
                reasons.setdefault(one.reason, []).append(one.name)
        for reason, names in reasons.items():
            text = f"{verdict}: {', '.join(names)}" + (f" - {reason}" if reason else "")
            console.print(Text(text), soft_wrap=True)
    n = {state: sum(line.state == state for line in lines) for state in _COLOURS}
    click.echo(f"\n{n['warn']} warnings, {n['look']} to know, {n['ok']} well")
