"""``submit``: the folder of a pull request to a public leaderboard."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.commands.bundle import chosen, write
from bench.cli.options import PATH, SPLIT_FILTER, Common, common_options
from bench.cli.output import note, print_json, print_line
from bench.core.errors import BenchError
from bench.core.words import count, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.core.registry import Registry
    from bench.records.record import Record

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@SPLIT_FILTER
@click.option("--method", "-m", "method", metavar="M", help="Runs of one method or chain only.")
@click.option("--name", required=True, metavar="NAME", help="Name of the submission.")
@click.option("--authors", required=True, metavar="TEXT", help="Authors, separated by ';'.")
@click.option("--reference", "paper", default="", metavar="TEXT", help="Paper, DOI or repository.")
@click.option("--licence", default="", metavar="TEXT", help="Licence of the method's code.")
@click.option("--output", required=True, metavar="DIR", type=PATH, help="Folder; NAME is added.")
@common_options
def command(
    runs: tuple[str, ...],
    split: str | None,
    method: str | None,
    name: str,
    authors: str,
    paper: str,
    licence: str,
    output: str,
    common: Common,
) -> None:
    r"""Write the folder of a pull request to a public leaderboard.

    DIR/NAME gets the bundle of the runs, submission.json, README.md with the scores, and the
    sources of plugins. The runs must belong to a benchmark release. Until a run of a row is
    repeated with the same result, boards mark the row as not verified.

    \b
    python -m bench submit --method ben --name ben-2026 --authors "A. Author" --output submissions
    """
    if not _NAME.fullmatch(name):
        raise BenchError(f"--name {name}: use lower-case letters, digits, '.', '_' and '-'")
    names = [author.strip() for author in authors.split(";") if author.strip()]
    if not names:
        raise BenchError("--authors is empty: name at least one author, separated by ';'")
    registry = common.registry()
    records = chosen(runs, split, method, common)
    releases = _releases(records)
    folder = Path(output) / name
    if folder.exists():
        raise BenchError(f"{folder} exists: choose another --name, or delete it")
    files = _sources(records, registry)
    facts: dict[str, object] = {
        "name": name,
        "authors": names,
        "reference": paper,
        "licence": licence,
        "releases": releases,
        "methods": sorted({record.method_id for record in records}),
        "splits": sorted({record.split_id for record in records}),
        "sources": [file.name for file in files],
    }
    _write(folder, records, facts, files)
    if common.as_json:
        print_json({"folder": str(folder), **facts, "runs": len(records)})
        return
    for file in sorted(folder.iterdir()):
        print_line(str(file))
    if not licence:
        note("note: no --licence: others may not be allowed to run the method's code")
    print_line(f"{count(len(records), 'run')}, release {listed(releases)}")
    print_line(f"check it: python -m bench verify {folder / 'bundle.zip'}")
    print_line("then copy the folder to results/submissions/ of a checkout and open a pull request")


def _releases(records: Sequence[Record]) -> list[str]:
    """Return the releases of the runs.

    Raises
    ------
    BenchError
        If a run is not part of a release.
    """
    from bench.boards.release import release_note, release_of

    names = {record.run_id: release_of(record, record.primary) for record in records}
    for record in records:
        if not names[record.run_id]:
            why = release_note(record, record.primary)
            raise BenchError(
                f"run {record.run_id[:8]} ({record.method} on {record.split_id}) cannot be "
                f"submitted. {why} Select other runs with --split, or share a bundle"
            )
    return sorted(set(names.values()))


def _sources(records: Sequence[Record], registry: Registry) -> list[Path]:
    """Return the files of methods that are not packaged."""
    files: dict[str, Path] = {}
    for record in records:
        for stage in record.method_id.split("+"):
            if stage not in registry.names("method"):
                continue  # outputs that were computed elsewhere
            entry = registry.entry("method", stage)
            if entry.provider != "labshift":
                files |= {source.name: source for source in entry.sources}
    return list(files.values())


def _write(
    folder: Path, records: Sequence[Record], facts: dict[str, object], files: Sequence[Path]
) -> None:
    from bench.core.canonical import pretty_json
    from bench.core.disk import disk_errors, new_folder, write_files

    with disk_errors("write", folder, "--output"), new_folder(folder) as temporary:
        write(records, temporary / "bundle.zip")
        readme = _readme(records, facts)
        write_files(
            temporary,
            {"submission.json": pretty_json(facts), "README.md": readme.encode()},
        )
        for file in files:
            shutil.copy(file, temporary / file.name)


def _readme(records: Sequence[Record], facts: dict[str, object]) -> str:
    """Return the description of a submission: scores, commands, how to verify."""
    from bench.boards.render.text import boards_markdown
    from bench.boards.select import boards
    from bench.records.reproduce import command_of

    rows: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        rows.setdefault((record.method_id, record.split_id), []).append(record)
    commands = dict.fromkeys(command_of(members) for members in rows.values())
    authors = facts["authors"]
    assert isinstance(authors, list)
    lines = [
        f"# {facts['name']}",
        "",
        f"Authors: {', '.join(authors)}",
        f"Reference: {facts['reference'] or 'none given'}",
        f"Licence of the code: {facts['licence'] or 'none given'}",
        "",
        "## Scores",
        "",
        boards_markdown(boards(records)),
        "## Reproduce",
        "",
        "```",
        *commands,
        "```",
        "",
        "`python -m bench verify bundle.zip --output verification.json` checks all records and",
        "repeats one run. `environment.txt` in the bundle has the versions of all packages.",
        "",
    ]
    return "\n".join(lines)
