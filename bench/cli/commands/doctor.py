"""``doctor``: problems of this machine that affect runs, with fixes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import Common, common_options
from bench.cli.output import Cell, Column, print_json, print_line, print_raw, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cli.doctor import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--report", is_flag=True, help="Print one block of text for a bug report.")
@common_options
def command(report: bool, common: Common) -> int:
    r"""Check the environment and suggest fixes.

    Checks versions, plugins, isolation, cores, threads, devices, extras, Dask, R, memory, disk and
    data. A GPU is tried with a small computation. Exit code 1 if runs cannot work.

    \b
    python -m bench doctor
    python -m bench doctor --report
    """
    from bench.cli.doctor import examine

    checks = examine(common.registry(), common.store().root)
    n = Counter(check.state for check in checks)
    if report:
        print_raw(_report(checks))
        return int(n["fail"] > 0)
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
    print_line("for a bug report: python -m bench doctor --report")
    return int(n["fail"] > 0)


def _report(checks: Sequence[Finding]) -> str:
    """Return the findings as one block of Markdown, without paths of the user's home."""
    from bench.runs.provenance import environment

    facts = environment("cpu", 0, "float32")
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    lines = [
        f"labshift: {facts['labshift']} {facts.get('commit', '')}".rstrip(),
        f"python:   {facts['python']} on {facts['platform']}",
        f"cpu:      {facts['cpu']}",
        f"packages: {packages}",
        "",
    ]
    width = max(len(check.name) for check in checks)
    lines += [f"{check.state:<4}  {check.name:<{width}}  {check.found}" for check in checks]
    text = "\n".join(lines).replace(str(Path.home()), "~")
    return f"```text\n{text}\n```"
