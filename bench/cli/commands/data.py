"""``data``: the published files of data sets. No other command uses the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import click

from bench.cli import completion
from bench.cli.downloads import Downloads
from bench.cli.options import Common, common_options
from bench.cli.output import Column, print_json, print_line, print_table
from bench.cli.progress import waiting
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.registry import Registry
    from bench.data.fetch.check import Report
    from bench.data.fetch.listing import Fetchable

WHAT = ("list", "where", "fetch", "verify")


class _Facts(TypedDict):
    """What is printed of the files of a data set."""

    name: str
    bytes: int | None
    licence: str
    title: str
    folder: str
    there: bool
    source: str


@click.command()
@click.argument("what", metavar="|".join(WHAT), shell_complete=completion.one_of(*WHAT))
@click.argument("name", required=False)
@click.option("--from", "source", metavar="PATH|URL", default="", help="Get the files from here.")
@click.option("--yes", is_flag=True, help="Accept size and licence without a question.")
@common_options
def command(what: str, name: str | None, source: str, yes: bool, common: Common) -> int:
    r"""List, locate, fetch or verify published data sets.

    \b
    python -m bench data list
    python -m bench data fetch jump-stains
    python -m bench data fetch rxrx1 --from ~/downloads/rxrx1_v1.0.tar.gz
    python -m bench data verify coos7
    """
    from bench.data.fetch.listing import fetchable, fetchable_names

    if what not in WHAT:
        raise BenchError(did_you_mean(what, list(WHAT), "action"))
    if (source or yes) and what != "fetch":
        raise BenchError(f"--from and --yes are for `data fetch NAME`, not for `data {what}`")
    if what == "fetch" and name is None:
        raise BenchError("`data fetch` requires a name: `python -m bench data list` lists them")
    registry = common.registry()
    names = fetchable_names(registry) if name is None else [name]
    chosen = [fetchable(name, registry) for name in names]
    if what in ("list", "where"):
        facts = [_facts(files) for files in chosen]
        if common.as_json:
            print_json({"data": facts})
        elif what == "list":
            _print_list(facts)
        else:
            _print_where(facts)
        return 0
    downloads = Downloads(quiet=common.as_json, yes=yes)
    if what == "fetch":
        return _fetch(chosen[0], source, downloads, registry, common.as_json)
    return _verify(chosen, downloads, common.as_json, named=name is not None)


def _facts(files: Fetchable) -> _Facts:
    from bench.data.fetch.tree import SOURCE, folder_of

    folder = folder_of(files)
    return {
        "name": files.name,
        "bytes": files.bytes,
        "licence": files.licence,
        "title": files.title,
        "folder": str(folder),
        "there": folder.is_dir() and any(folder.iterdir()),
        "source": str(folder / SOURCE) if (folder / SOURCE).exists() else "",
    }


def _print_where(facts: Sequence[_Facts]) -> None:
    if len(facts) == 1:
        print_line(facts[0]["folder"])
        return
    for data in facts:
        state = "" if data["there"] else "   (no files)"
        print_line(f"{data['name']}: {data['folder']}{state}")


def _print_list(facts: Sequence[_Facts]) -> None:
    from bench.core.words import file_size

    rows = [
        [
            data["name"],
            file_size(data["bytes"]),
            "yes" if data["there"] else "no",
            data["licence"],
            data["title"],
        ]
        for data in facts
    ]
    print_table(
        [Column("name", wrap=False), Column("size", wrap=False), "here", "licence", "content"], rows
    )


def _fetch(
    files: Fetchable, source: str, downloads: Downloads, registry: Registry, as_json: bool
) -> int:
    from bench.data.fetch.fetcher import Fetcher

    with downloads as desk:
        fetcher = Fetcher(files, source, desk)
        report = fetcher.run()
    prepared = "" if report.problems else _prepare(files, registry)
    if as_json:
        facts = {**_facts(files), **_findings(report), "source": fetcher.tree.source}
        print_json({"data": [facts]})
    else:
        _print_report(files, report)
        if report.problems:
            print_line(
                "  the source does not have these files: run with those that are available, or "
                f"delete {fetcher.folder} and fetch again with --from another source"
            )
        else:
            print_line(f"{files.name} is in {fetcher.folder}{prepared}")
    return 1 if report.problems else 0


def _prepare(files: Fetchable, registry: Registry) -> str:
    """Convert the files now, so that the first run need not."""
    from bench.core.params import make_params

    if files.dataset not in registry.names("dataset"):
        return ""
    cls = registry.entry("dataset", files.dataset).load()
    if getattr(cls, "prepare", None) is None:
        return ""
    with waiting(f"reading the files of {files.dataset}"):
        cls(make_params("data", cls.Settings, {})).prepare("real")
    return ", ready to use"


def _verify(
    chosen: Sequence[Fetchable], downloads: Downloads, as_json: bool, *, named: bool
) -> int:
    from bench.data.fetch.tree import folder_of, verify

    if not named:
        # Optional files in the folder of another data set are verified only when named.
        own = [files for files in chosen if files.folder == files.name]
        chosen = [files for files in own if folder_of(files).is_dir()]
    facts, failed = [], False
    for files in chosen:
        with downloads as desk:
            report = verify(files, desk)
        failed = failed or bool(report.problems)
        facts.append({**_facts(files), **_findings(report)})
        if not as_json:
            _print_report(files, report)
    if as_json:
        print_json({"data": facts})
    elif not chosen:
        print_line("no data set was fetched yet: see `python -m bench data list`")
    return 1 if failed else 0


def _findings(report: Report) -> dict[str, object]:
    return {"groups": report.groups, "problems": report.problems}


def _print_report(files: Fetchable, report: Report) -> None:
    n_groups = len(report.groups)
    counted = f"{report.files:,} files in {n_groups} group{'s' if n_groups != 1 else ''}"
    if report.problems:
        print_line(f"{files.name}: INCOMPLETE, {counted}")
        for problem in report.problems:
            print_line(f"  {problem}")
    else:
        print_line(f"{files.name}: complete, {counted}" if n_groups else f"{files.name}: complete")
