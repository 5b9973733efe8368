"""``data``: the real files: listed, located, fetched, checked. No other command uses a network."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from bench.cli.main import common, registry_for
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from bench.data.fetch.check import Report
    from bench.data.fetch.listing import Fetchable
    from bench.data.fetch.tree import Desk

WHAT = ("list", "where", "fetch", "verify")
LABEL = 36
"""Letters of what a bar is about; of a longer text the end is shown."""


@click.command()
@click.argument("what", metavar="|".join(WHAT))
@click.argument("name", required=False)
@click.option("--from", "given", metavar="PATH|URL", default="", help="Take the files from there.")
@click.option("--yes", is_flag=True, help="Size and licence are agreed to; ask nothing.")
@common
def command(
    what: str,
    name: str | None,
    given: str,
    yes: bool,
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> int:
    r"""List, locate, fetch or verify the files of real data sets.

    \b
    python -m bench data list
    python -m bench data fetch jump-stains
    python -m bench data fetch rxrx1 --from ~/downloads/rxrx1_v1.0.tar.gz
    python -m bench data verify coos7
    """
    from bench.data.fetch.listing import fetchable, fetchable_names

    if what not in WHAT:
        raise BenchError(did_you_mean(what, list(WHAT), "action"))
    if (given or yes) and what != "fetch":
        raise BenchError(f"--from and --yes go with `data fetch NAME`, not with `data {what}`")
    if what == "fetch" and name is None:
        raise BenchError("`data fetch` needs a name: `python -m bench data list` shows them")
    registry = registry_for(plugin)
    names = fetchable_names(registry) if name is None else [name]
    chosen = [fetchable(one, registry) for one in names]
    if what in ("list", "where"):
        _told(what, [_facts(one) for one in chosen], as_json)
        return 0
    bar = _Bar(quiet=as_json, yes=yes)
    if what == "fetch":
        return _fetch(chosen[0], given, bar, registry, as_json)
    return _verify(chosen, bar, as_json, named=name is not None)


# --------------------------------------------------------------------------- list, where


def _facts(what: Fetchable) -> dict[str, Any]:
    from bench.data.fetch.tree import SOURCE, folder_of

    folder = folder_of(what)
    return {
        "name": what.name,
        "bytes": what.bytes,
        "licence": what.licence,
        "title": what.title,
        "folder": str(folder),
        "there": folder.is_dir() and any(folder.iterdir()),
        "source": str(folder / SOURCE) if (folder / SOURCE).exists() else "",
    }


def _told(what: str, facts: list[dict[str, Any]], as_json: bool) -> None:
    from bench.core.words import file_size

    if as_json:
        click.echo(json.dumps({"data": facts}, indent=1))
        return
    if what == "where":
        for one in facts:
            state = "" if one["there"] else "   (not there yet)"
            alone = len(facts) == 1
            click.echo(one["folder"] if alone else f"{one['name']}: {one['folder']}{state}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "size", "here", "licence", "what"):
        table.add_column(column, overflow="fold", no_wrap=column in ("name", "size"))
    for one in facts:
        here = "yes" if one["there"] else "no"
        cells = (one["name"], file_size(one["bytes"]), here, one["licence"], one["title"])
        table.add_row(*[Text(str(cell)) for cell in cells])
    Console().print(table)


# --------------------------------------------------------------------------- fetch, verify


def _fetch(what: Fetchable, given: str, bar: _Bar, registry: Any, as_json: bool) -> int:
    from bench.data.fetch.fetcher import Fetcher

    with bar as desk:
        fetcher = Fetcher(what, given, desk)
        report = fetcher.run()
    prepared = "" if report.problems else _prepare(what, registry)
    if as_json:
        facts = {**_facts(what), **_summary(report), "source": fetcher.tree.source}
        click.echo(json.dumps({"data": [facts]}, indent=1))
    else:
        _report(what, report)
        if report.problems:
            click.echo(
                "  what was received lacks it: run with what is there, or delete "
                f"{fetcher.folder} and fetch it again, from elsewhere with --from"
            )
        else:
            click.echo(f"{what.name} is in {fetcher.folder}{prepared}")
    return 1 if report.problems else 0


def _prepare(what: Fetchable, registry: Any) -> str:
    """Let the data set make of its files what it reads, so that the first run need not."""
    from bench.core.params import make_params

    if what.dataset not in registry.names("dataset"):
        return ""
    cls = registry.entry("dataset", what.dataset).load()
    prepare = getattr(cls, "prepare", None)
    if prepare is None:
        return ""
    with _waiting(f"reading the files of {what.dataset}"):
        cls(make_params("data", cls.Settings, {})).prepare("real")
    return ", ready to be run"


def _waiting(label: str) -> Any:
    """Show on a terminal that something is going on; leaves no line behind."""
    from contextlib import nullcontext

    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(label)


def _verify(chosen: list[Fetchable], bar: _Bar, as_json: bool, *, named: bool) -> int:
    from bench.data.fetch.tree import folder_of, verify

    if not named:
        # one that adds to another's folder is verified by its name alone: it need not be wanted
        own = [what for what in chosen if what.folder == what.name]
        chosen = [what for what in own if folder_of(what).is_dir()]
    facts, bad = [], False
    for what in chosen:
        with bar as desk:
            report = verify(what, desk)
        bad = bad or bool(report.problems)
        facts.append({**_facts(what), **_summary(report)})
        if not as_json:
            _report(what, report)
    if as_json:
        click.echo(json.dumps({"data": facts}, indent=1))
    elif not chosen:
        click.echo("nothing was fetched yet: `python -m bench data list` shows what can be")
    return 1 if bad else 0


def _summary(report: Report) -> dict[str, Any]:
    return {"groups": report.groups, "problems": report.problems}


def _report(what: Fetchable, report: Report) -> None:
    n_groups = len(report.groups)
    counted = f"{report.files:,} files in {n_groups} group{'s' if n_groups != 1 else ''}"
    if not report.problems:
        click.echo(f"{what.name}: whole, {counted}" if n_groups else f"{what.name}: whole")
        return
    click.echo(f"{what.name}: NOT whole, {counted}")
    for problem in report.problems:
        click.echo(f"  {problem}")


# --------------------------------------------------------------------------- talking


class _Bar:
    """Lines and a bar on stderr; the bar on a terminal alone.

    Where nobody can be asked and nobody agreed beforehand, lines wait for the end: if it comes to a
    question, its error stands alone.
    """

    def __init__(self, *, quiet: bool, yes: bool) -> None:
        self._yes = yes
        self._held: list[str] | None = None if yes or sys.stdin.isatty() else []
        self._show_bar = sys.stderr.isatty() and not quiet
        self._bar: Any = None
        self._task: Any = None
        self._label = ""

    def __enter__(self) -> Desk:
        from bench.data.fetch.tree import Desk

        return Desk(say=self._say, confirm=self._confirm, show=self._show)

    def __exit__(self, error: object, *_: object) -> None:
        self._stop()
        if error is None:
            for line in self._held or ():
                click.echo(line, err=True)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _say(self, line: str) -> None:
        self._stop()
        if self._held is not None:
            self._held.append(line)
            return
        click.echo(line, err=True)

    def _confirm(self, question: str) -> bool:
        self._stop()
        if self._yes:
            click.echo(f"{question} yes", err=True)
            return True
        if self._held is not None:
            told = "; ".join(self._held)
            raise BenchError(f"{told}; {question} nobody can be asked here: add --yes to agree")
        return click.confirm(question, err=True)

    def _show(self, label: str, done: int, total: int, unit: str) -> None:
        if not self._show_bar:
            return
        from rich import progress
        from rich.console import Console

        if self._bar is None or label != self._label:
            self._stop()
            columns: list[Any] = [progress.TextColumn("{task.description}"), progress.BarColumn()]
            if unit == "bytes":
                columns += [progress.DownloadColumn(), progress.TransferSpeedColumn()]
            else:
                columns += [progress.MofNCompleteColumn()]
            self._bar = progress.Progress(
                *columns, progress.TimeRemainingColumn(), console=Console(stderr=True)
            )
            self._bar.start()
            short = label if len(label) <= LABEL else f"…{label[1 - LABEL :]}"
            self._task = self._bar.add_task(short, total=total or None)
            self._label = label
        self._bar.update(self._task, completed=done, total=total or None)
