"""``check-data``: problems of a data set, found before training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from bench.cli import completion
from bench.cli.options import Common, common_options
from bench.cli.output import Column, print_json, print_line, print_table
from bench.cli.progress import waiting
from bench.core.words import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.advice.checkup import Check
    from bench.advice.support import MethodSupport
    from bench.core.dataset import Opened

_COLOURS = {"ok": "green", "look": "yellow", "warn": "red"}


@click.command()
@click.argument("file", shell_complete=completion.splits)
@click.option("--edition", metavar="NAME", default="auto", help="Of a registered data set.")
@common_options
def command(file: str, edition: str, common: Common) -> None:
    r"""Check a data set and its splits before training.

    FILE is a dataset.toml, FILE.toml:NAME for one of its splits, or the name of a registered split.

    \b
    python -m bench check-data my_screen.toml
    python -m bench check-data jump-stains/stains
    """
    from bench.advice.checkup import examine
    from bench.advice.support import supported
    from bench.data.opening import open_all

    registry = common.registry()
    with waiting(f"reading {file}"):
        opened, splits, tasks = open_all(file, registry, edition)
        checks = examine(opened, splits)
        methods = supported(tasks, registry, checks)
    if common.as_json:
        print_json(
            {
                "dataset": opened.name,
                "edition": opened.edition,
                "findings": [dataclasses.asdict(check) for check in checks],
                "methods": [dataclasses.asdict(method) for method in methods],
            }
        )
        return
    _print(opened, checks, methods)


def _print(opened: Opened, checks: Sequence[Check], methods: Sequence[MethodSupport]) -> None:
    print_line(f"{opened.name} ({opened.edition})", "bold")
    print_table(
        [Column("state", wrap=False), Column("topic", max_width=34), "text"],
        [[(check.state, _COLOURS[check.state]), check.topic, check.text] for check in checks],
        header=False,
    )
    print_line("\nmethods that suit the data", "bold")
    for verdict in ("yes", "with care", "no"):
        reasons: dict[str, list[str]] = {}
        for method in methods:
            if method.verdict == verdict:
                reasons.setdefault(method.reason, []).append(method.name)
        for reason, names in reasons.items():
            print_line(f"{verdict}: {', '.join(names)}" + (f" - {reason}" if reason else ""))
    n = {state: sum(check.state == state for check in checks) for state in _COLOURS}
    print_line(f"\n{count(n['warn'], 'warning')}, {count(n['look'], 'note')}, {n['ok']} passed")
