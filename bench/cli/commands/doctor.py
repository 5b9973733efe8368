"""``doctor``: what may stand in the way on this machine, and the cure."""

from __future__ import annotations

import dataclasses
import json
import sys

import click

from bench.cli.main import common, registry_for, store_for

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@common
def command(results: str | None, plugin: tuple[str, ...], as_json: bool, debug: bool) -> int:
    """Look at versions, devices, memory, disk, threads, data and plugins.

    Exit code 1 if anything would keep a run from working.
    """
    from bench.cli.doctor import examine

    found = examine(registry_for(plugin), store_for(results).root)
    failed = any(one.state == "fail" for one in found)
    if as_json:
        rows = [dataclasses.asdict(one) for one in found]
        click.echo(json.dumps({"findings": rows, "well": not failed}, indent=1))
        return int(failed)
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("state", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("found", overflow="fold")
    for one in found:
        table.add_row(Text(one.state, style=_COLOURS[one.state]), Text(one.name), Text(one.found))
        if one.cure:
            table.add_row("", "", Text(f"-> {one.cure}", style="bold" if one.state != "ok" else ""))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    n_warn = sum(one.state == "warn" for one in found)
    n_fail = sum(one.state == "fail" for one in found)
    click.echo(f"{n_fail} that stop runs, {n_warn} to mend, {len(found) - n_fail - n_warn} well")
    return int(failed)
