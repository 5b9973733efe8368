"""``doctor``: problems of this machine that affect runs, with fixes."""

from __future__ import annotations

import dataclasses
from collections import Counter

import click

from bench.cli.options import Common, common_options
from bench.cli.output import Cell, Column, print_json, print_line, print_table

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@common_options
def command(common: Common) -> int:
    """Check the environment and suggest fixes.

    Checks versions, plugins, cores, threads, devices, memory, disk and data. Exit code 1 if runs
    cannot work.
    """
    from bench.cli.doctor import examine

    checks = examine(common.registry(), common.store().root)
    n = Counter(check.state for check in checks)
    if common.as_json:
        print_json(
            {"findings": [dataclasses.asdict(check) for check in checks], "well": not n["fail"]}
        )
        return int(n["fail"] > 0)
    rows: list[tuple[Cell, Cell, Cell]] = []
    for check in checks:
        rows.append(((check.state, _COLOURS[check.state]), check.name, check.found))
        if check.cure:
            rows.append(("", "", (f"-> {check.cure}", "" if check.state == "ok" else "bold")))
    print_table(
        [Column("state", wrap=False), Column("name", wrap=False), "found"], rows, header=False
    )
    print_line(f"{n['fail']} errors, {n['warn']} warnings, {n['ok']} passed")
    return int(n["fail"] > 0)
