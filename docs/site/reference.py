"""Reference pages: commands, public Python names, schema of records, gallery and report."""

from __future__ import annotations

import base64
import importlib
import typing
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import click
from markdown_pages import ROOT

from bench.cli.group import COMMANDS
from bench.output.report.page import build
from bench.records import schema
from results.docs import table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from entries import Site

DOORS = {
    "bench": "Run benchmarks, read records and boards, correct profiles.",
    "bench.api": "Contracts of methods, data sets and splits.",
    "bench.network": "Base classes of methods that train a network.",
    "bench.training": "Losses for network methods.",
    "bench.metrics": "Compute metrics.",
    "bench.testing": "Checks for methods, data sets and other extensions.",
}
"""Modules that are promised to others."""


# --------------------------------------------------------------------------- commands


def command_pages() -> Iterator[tuple[str, list[str]]]:
    """Yield a page per command, from the options that the program itself reads."""
    for name, (module, _) in COMMANDS.items():
        command = importlib.import_module(f"bench.cli.commands.{module}").command
        yield f"commands/{name}.md", _command(name, command)


def _command(name: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=f"python -m bench {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = ["[Commands](../commands.md)", "", f"# {name}", ""]
    lines += ["```text", f"python -m bench {name} {usage}", "```", ""]
    for part in (command.help or "").replace("\b", "\\b").split("\n\n"):
        if part.strip().startswith("\\b"):
            lines += ["```text", *part.strip().split("\n")[1:], "```", ""]
        else:
            lines += [" ".join(part.split()), ""]
    rows = []
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if record:
            rows.append([f"`{record[0]}`", record[1]])
    return [*lines, "## Options", "", *table(["option", "meaning"], rows)]


# --------------------------------------------------------------------------- Python


def api_pages() -> Iterator[tuple[str, list[str]]]:
    """Yield a page per promised module with everything in its ``__all__``."""
    rows = []
    for module, summary in DOORS.items():
        names = [n for n in importlib.import_module(module).__all__ if not n.startswith("__")]
        rows.append([f"[`{module}`](api/{module}.md)", summary, str(len(names))])
        lines = ["[Python](../api.md)", "", f"# {module}", "", summary, ""]
        for name in names:
            lines += [f"::: {module}.{name}", ""]
        yield f"api/{module}.md", lines
    yield (
        "api.md",
        [
            "# Python",
            "",
            "These import paths are promised. Everything else can change between versions.",
            "",
            *table(["module", "purpose", "names"], rows),
            "Errors for users are [`bench.api.BenchError`](api/bench.api.md): one line that says "
            "what is wrong and how to fix it.",
            "",
        ],
    )


# --------------------------------------------------------------------------- records


def schema_page() -> list[str]:
    """Return the page of ``run.json`` from its typed record."""
    lines = ["# Schema of run.json", "", f"Version {schema.SCHEMA}. Keys that are not listed are "]
    lines[-1] += "allowed. The types are in `bench/records/schema.py`; see [Records](records.md)."
    lines.append("")
    todo: list[Any] = [schema.RunRecord]
    for record in todo:
        hints = get_type_hints(record, include_extras=True)
        rows = []
        for key, declared in hints.items():
            required = get_origin(declared) is not typing.NotRequired
            hint = declared if required else get_args(declared)[0]
            kind, text = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, "")
            todo += [part for part in _records_in(kind) if part not in todo]
            optional = "" if required and key in record.__required_keys__ else "yes"
            rows.append([f"`{key}`", _type_text(kind), optional, text])
        lines += [f"## {record.__name__}", "", (record.__doc__ or "").split("\n")[0], ""]
        lines += table(["key", "type", "optional", "meaning"], rows)
    return lines


def _records_in(kind: Any) -> list[Any]:  # noqa: ANN401 - any type
    if typing.is_typeddict(kind):
        return [kind]
    return [record for part in get_args(kind) for record in _records_in(part)]


def _type_text(kind: Any) -> str:  # noqa: ANN401 - any type
    """Return a type as text; records are links to their tables."""
    if typing.is_typeddict(kind):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    origin, parts = get_origin(kind), get_args(kind)
    if origin is typing.Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (list, dict):
        return f"{origin.__name__} of {' to '.join(map(_type_text, parts))}"
    if parts:
        return " or ".join(map(_type_text, parts))
    return {object: "JSON", type(None): "null"}.get(kind, getattr(kind, "__name__", str(kind)))


def citation_page() -> list[str]:
    """Return the page with the citation, from ``CITATION.cff``."""
    import yaml

    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    authors = " and ".join(
        author.get("name") or f"{author['family-names']}, {author['given-names']}"
        for author in facts["authors"]
    )
    lines = ["# Cite labshift", "", "## Citation", "", facts["message"], "", "In BibTeX:", ""]
    lines += ["```text", "@software{labshift,", f"  author = {{{{{authors}}}}},"]
    lines += [f"  title = {{{facts['title']}: {facts['abstract'].rstrip('.')}}},"]
    lines += [f"  version = {{{facts['version']}}},", "}", "```", ""]
    if "date-released" not in facts:
        lines += [
            "This version is not released yet: it has no year, DOI or web address. For numbers of "
            "a report, also give the digest of its records, which is at the end of the page.",
            "",
        ]
    lines += ["## Papers", ""]
    for work in facts["references"]:
        names = ", ".join(f"{a['family-names']} {a['given-names']}" for a in work["authors"])
        lines += [
            f"- {names} ({work['year']}). {work['title']}. *{work['collection-title']}* "
            f"{work['volume']}: {work['start']}-{work['end']}."
        ]
    return [*lines, "", "The pages of [methods](methods.md) and [data sets](datasets.md) name the "
            "papers of each.", ""]  # fmt: skip


# --------------------------------------------------------------------------- figures


def gallery(site: Site, pages: Path, *, figures: bool) -> list[str]:
    """Write the report of the published records and return the page of its figures."""
    report = build(
        site.records,
        site.registry,
        figures=figures,
        every_picture=True,
        results=ROOT / "results",
    )
    (pages / "report.html").write_text(report.html, encoding="utf-8")
    lines = [
        "# Gallery",
        "",
        "Figures of the published records, drawn by `python -m bench report --reference`. The "
        "[report](report.html) has the same figures and all boards in one file.",
        "",
    ]
    folder = pages / "gallery"
    folder.mkdir(exist_ok=True)
    for picture in report.pictures:
        name = picture.stem.replace("/", "-")
        (folder / f"{name}.png").write_bytes(base64.b64decode(picture.png))
        data = ""
        if picture.table:
            (folder / f"{name}.csv").write_bytes(base64.b64decode(picture.table))
            data = f" [Data](gallery/{name}.csv)"
        lines += [f"## {picture.stem}", "", f"{picture.summary}{data}", ""]
        lines += [f"![{picture.stem}](gallery/{name}.png)", ""]
    studies = sorted((ROOT / "results" / "reference" / "studies").glob("*/*/*.png"))
    if studies:
        lines += ["## Studies", ""]
    for file in studies:
        study, split = file.parts[-3:-1]
        (folder / f"{study}-{split}.png").write_bytes(file.read_bytes())
        lines += [f"[{study}](studies/{study}.md) on {split}:", ""]
        lines += [f"![{study} on {split}](gallery/{study}-{split}.png)", ""]
    return lines
