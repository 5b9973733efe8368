"""``new``: write the file of a new extension, which works before anything is changed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import Common, common_options, output_option
from bench.cli.output import Column, print_json, print_line, print_table, write_output
from bench.cli.progress import waiting
from bench.core.errors import BenchError, did_you_mean
from bench.core.folders import expanded

if TYPE_CHECKING:
    from bench.core.registry import Registry

KINDS = {
    "method": "method",
    "network-method": "method",
    "dataset": "dataset",
    "loader": "dataset",
    "metric": "metric",
    "figure": "figure",
    "study": "study",
}
"""What can be written, and the kind under which it is registered."""


@click.command()
@click.argument("what", metavar="|".join(KINDS))
@click.argument("name")
@click.option("--images", is_flag=True, help="With dataset: of images, not of profiles.")
@click.option(
    "--from",
    "source",
    metavar="PATH",
    help="With dataset: guess the keys from this table or folder.",
)
@output_option(help="Output file [default: ./NAME.py or ./NAME.toml].")
@common_options
def command(
    what: str, name: str, images: bool, source: str | None, output: str | None, common: Common
) -> None:
    r"""Write the file of a new extension; it works before anything is changed.

    A dataset describes a table or images of your own (TOML); a loader is a data set class for any
    other format. All others are Python files, used with --plugin FILE or moved to the folder of
    their kind.

    \b
    python -m bench new method my-method
    python -m bench new network-method my-network
    python -m bench new dataset my-screen
    python -m bench new dataset my-screen --from profiles.parquet
    python -m bench new dataset my-cells --images
    python -m bench new metric my_metric
    """
    if what not in KINDS:
        raise BenchError(did_you_mean(what, list(KINDS), "kind of file"))
    if images and what != "dataset":
        raise BenchError("--images goes with `new dataset NAME`")
    if source and (what != "dataset" or images):
        raise BenchError("--from goes with `new dataset NAME`, without --images")
    name = _checked(what, name)
    if name in _names(KINDS[what], common.registry()):
        raise BenchError(f"a {KINDS[what]} is named '{name}' already: choose another name")
    suffix = "toml" if what == "dataset" else "py"
    path = Path(output or f"{name.replace('-', '_')}.{suffix}")
    if path.exists():
        raise BenchError(f"{path} exists: choose another --output, or remove it first")
    if source:
        _describe(Path(expanded(source)), name, path, common)
        return
    template = f"{'images' if images else what}.{suffix}.txt"
    text = (Path(__file__).parent.parent / "templates" / template).read_text(encoding="utf-8")
    class_name = "".join(part.capitalize() for part in name.split("-"))
    write_output(str(path), text.replace("@NAME@", name).replace("@CLASS@", class_name))
    if what == "dataset":
        follow = f"edit it, then python -m bench check-data {path}"
    else:
        follow = f"python -m bench check {name} --plugin {path}"
    if common.as_json:
        print_json({"written": str(path), "next": follow})
        return
    print_line(f"wrote {path}")
    print_line(f"next: {follow}")


def _describe(source: Path, name: str, path: Path, common: Common) -> None:
    """Write the description of a table or a folder, and print the guesses."""
    from bench.advice.describe import describe
    from bench.advice.tables import write_table
    from bench.data.own.table import load

    if not source.exists():
        raise BenchError(f"--from: there is no {source}: check the path")
    written = [str(path)]
    notes: tuple[str, ...] = ()
    with waiting(f"reading {source}"):
        if source.is_dir():
            source, notes = write_table(source, path)
            written.insert(0, str(source))
        described = describe(source, name, path.parent)
        write_output(str(path), described.text)
        problem, n_rows, n_classes = "", 0, 0
        if described.missing:
            problem = f"replace '?' in {path}: {' and '.join(described.missing)}"
        else:
            try:
                index = load(path).open().index
                n_rows, n_classes = len(index), len(set(index["label"]) - {""})
            except BenchError as error:
                problem = str(error)
    follow = f"python -m bench check-data {path}"
    if common.as_json:
        guesses = [dataclasses.asdict(item) for item in described.guesses]
        content = {"written": written, "notes": notes, "guesses": guesses, "problem": problem}
        print_json({**content, "next": follow})
        return
    for note in notes:
        print_line(note)
    print_table(
        [Column("key", wrap=False), Column("value", max_width=40), "reason"],
        [[item.key, _text(item.value), item.reason] for item in described.guesses],
    )
    print_line(f"wrote {' and '.join(written)}")
    if problem:
        print_line(f"to correct first: {problem}", wrap=True)
    else:
        print_line(f"it opens: {n_rows:,} rows, {n_classes} classes")
    print_line(f"next: {follow}")


def _text(value: str | list[str] | dict[str, list[str]] | None) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} = {' or '.join(values)}" for key, values in value.items())
    return "?" if value is None else value if isinstance(value, str) else ", ".join(value)


def _checked(what: str, name: str) -> str:
    """Return a name in the spelling of its kind."""
    if what == "metric":  # a metric's name is that of its function
        name = name.replace("-", "_")
    mark = "_" if what == "metric" else "-"
    if not re.fullmatch(rf"[a-z][a-z0-9]*({mark}[a-z0-9]+)*", name):
        raise BenchError(
            f"invalid name '{name}': use lower-case words joined by {mark}, such as my{mark}{what}"
        )
    return name


def _names(kind: str, registry: Registry) -> list[str]:
    if kind == "figure":
        from bench.output.figures import all_figures

        return list(all_figures(registry))
    if kind == "study":
        from bench.studies import known

        return list(known(registry))
    return registry.names(kind)
