"""``show``: everything about one method, split, data set or run."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import TYPE_CHECKING, Any

import click

from bench.cli import completion
from bench.cli.main import common, registry_for, store_for
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from bench.data.fetch.listing import Fetchable
    from bench.records.record import Record

WHAT = ("method", "split", "dataset", "run")


@click.command()
@click.argument("what", metavar="|".join(WHAT), shell_complete=completion.one_of(*WHAT))
@click.argument("name", shell_complete=completion.names)
@click.option("--figure", metavar="FILE", help="With dataset: draw example cells.")
@click.option("--edition", default="auto", show_default=True, help="With --figure.")
@click.option("--set", "settings", multiple=True, metavar="data.KEY=VALUE", help="With --figure.")
@common
def command(
    what: str,
    name: str,
    figure: str | None,
    edition: str,
    settings: tuple[str, ...],
    results: str | None,
    plugin: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> None:
    """Show a method, split, data set or run in full."""
    if what not in WHAT:
        raise BenchError(did_you_mean(what, list(WHAT), "thing to show"))
    if figure and what != "dataset":
        raise BenchError("--figure goes with `show dataset NAME`")
    registry = registry_for(plugin)
    if what == "method":
        facts = _method(name, registry)
    elif what == "split":
        facts = _split(name, registry)
    elif what == "dataset":
        facts = _dataset(name, registry)
        if figure:
            facts["figure"] = _draw(name, registry, edition, settings, figure)
    else:
        facts = dict(find_run(name, store_for(results)).data)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
    else:
        _print(facts)


_TOLD = {
    "train-batch": "the batch of each training row",
    "train-well": "the well of each training row",
    "controls": "which training rows are negative controls",
    "test-controls": "which rows of a test batch are negative controls",
    "test-batch": "all unlabelled rows of a test batch at once",
    "adapt": "the whole unlabelled evaluation set while fitting",
}
"""What each word of an access means for whoever brings the data."""


def _method(name: str, registry: Any) -> dict[str, Any]:
    from bench.core.access import Access, track_of

    entry = registry.entry("method", name)
    meta = dict(entry.meta)
    facts = {
        "name": name,
        "summary": meta.get("summary", ""),
        "reference": meta.get("reference", ""),
        "url": meta.get("url", ""),
        "level": meta["level"],
        "version": meta["version"],
        "provider": entry.provider,
        "access": meta.get("access", []),
        "track": track_of(Access.parse(meta.get("access", []))),
    }
    if meta.get("fit"):
        facts["shares the fit of"] = meta["fit"]
    if meta["level"] == "reference":
        return {**facts, "track": "reference"}
    for key in ("helps", "hurts"):
        facts[key] = list(meta.get(key, []))
    facts["measured against"] = meta.get("against") or (
        "erm" if meta["level"] == "network" else "identity"
    )
    cls = entry.load()
    needs = sorted(getattr(cls, "needs", lambda params: ())(cls.Params()))
    facts["must be told"] = [
        *(_TOLD[word] for word in meta.get("access", [])),
        *(f"needs {word} in the data" for word in needs),
    ] or ["nothing beyond labelled training rows"]
    module = inspect.getmodule(cls)
    facts["what it does"] = inspect.cleandoc((module and module.__doc__) or cls.__doc__ or "")
    fields = dataclasses.fields(cls.Params)
    facts["parameters"] = [_parameter(field, cls) for field in fields]
    return facts


def _parameter(field: Any, cls: Any) -> dict[str, Any]:
    """Describe a parameter, with the track that each of its choices leads to."""
    from bench.core.access import track_of

    meta = field.metadata
    facts = {
        "name": field.name,
        "default": field.default,
        "unit": meta.get("unit", ""),
        "phase": meta.get("phase", "fit"),
        "doc": meta.get("doc", ""),
    }
    if meta.get("choices"):
        facts["choices"] = {
            str(choice): track_of(cls.access(cls.Params(**{field.name: choice})))
            for choice in meta["choices"]
        }
    elif meta.get("low") is not None or meta.get("high") is not None:
        facts["range"] = [meta.get("low"), meta.get("high")]
    elif meta.get("pattern"):
        facts["pattern"] = meta["pattern"]
    if meta.get("search"):
        facts["search"] = list(meta["search"])
    return facts


def _split(name: str, registry: Any) -> dict[str, Any]:
    from bench.data.catalog import resolve

    split = resolve(name, registry).split
    return {k: v for k, v in dataclasses.asdict(split).items() if v not in (None, "", (), {})}


def _dataset(name: str, registry: Any) -> dict[str, Any]:
    from bench.core.folders import data_folder
    from bench.core.params import make_params
    from bench.data.catalog import known_splits
    from bench.data.fetch.listing import fetchable, fetchable_names

    entry = registry.entry("dataset", name)
    cls = entry.load()
    module = inspect.getmodule(cls)
    facts = {k: v for k, v in entry.meta.items() if k not in ("kind", "class", "fetch", "splits")}
    if name in fetchable_names(registry):
        facts.setdefault("size", _download(fetchable(name, registry)))
        facts["to get the real files"] = f"python -m bench data fetch {name}"
    facts["here"] = cls(make_params("data", cls.Settings, {})).editions()
    if "real" in entry.meta.get("editions", ()):
        facts["folder of the real files"] = str(data_folder(name))
    facts["what it is"] = inspect.cleandoc((module and module.__doc__) or "")
    facts["splits"] = [
        {"name": split.name, "doc": split.shift}
        for split in known_splits(registry).values()
        if split.dataset == name
    ]
    facts["settings (--set data.KEY=VALUE)"] = [
        {"name": f.name, "default": f.default, "doc": f.metadata.get("doc", "")}
        for f in dataclasses.fields(cls.Settings)
    ]
    return facts


def _download(what: Fetchable) -> str:
    """Return how much is downloaded, or why that is not known beforehand."""
    from bench.core.words import file_size

    if what.bytes is not None:
        return f"{file_size(what.bytes)} to download"
    if what.zenodo:
        return "known once the record is found, and shown before anything is downloaded"
    if what.rows:
        return f"depends on how many files {what.rows[0].table} lists; counted while they come"
    return "stated by no source"


def _draw(name: str, registry: Any, edition: str, settings: tuple[str, ...], output: str) -> str:
    from pathlib import Path

    from bench.core.params import make_params
    from bench.output.examples import draw_examples

    values = {}
    for text in settings:
        key, sign, value = text.partition("=")
        if not sign:
            raise BenchError(f"--set takes data.KEY=VALUE, not '{text}'")
        values[key.removeprefix("data.")] = value
    cls = registry.entry("dataset", name).load()
    dataset = cls(make_params("data", cls.Settings, values))
    there = dataset.editions()
    if edition != "auto" and edition not in there:
        raise BenchError(f"{name} has no {edition} edition here; there is {', '.join(there)}")
    opened = dataset.open(there[0] if edition == "auto" else edition)
    if not opened.is_images:
        raise BenchError(f"{name} holds profiles, and example cells need images")
    draw_examples(opened, Path(output))
    return output


def find_run(name: str, store: Any) -> Record:
    """Return the record whose run id begins so, of the results folder or the reference.

    Raises
    ------
    BenchError
        If there is none, or more than one.
    """
    records = store.load_all(reference=store.reference.is_dir())
    found: list[Record] = [r for r in records if r.run_id.startswith(name)]
    if not found:
        raise BenchError(f"no run begins with '{name}' in {store.root}; `run --json` prints run_id")
    if len({r.run_id for r in found}) > 1:
        raise BenchError(f"{len(found)} runs begin with '{name}': give more of the run_id")
    return found[0]


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    for key, value in facts.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            console.print(Text(f"{key}:"))
            for item in value:
                rest = {k: v for k, v in item.items() if k not in ("name", "doc") and v != ""}
                words = ", ".join(f"{k} {_word(v)}" for k, v in rest.items())
                end = f" ({words})" if words else ""
                console.print(Text(f"  {item.get('name', '')}: {item.get('doc', '')}{end}"))
        elif isinstance(value, str) and "\n" in value:
            console.print(Text(f"{key}:\n{value}\n"))
        elif key in ("helps", "hurts") and not value:
            console.print(Text(f"{key}: none declared"))
        elif value not in ("", [], {}):
            console.print(Text(f"{key}: {_word(value)}"))


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k}: {_word(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_word, value))
    return repr(value) if value == "" else str(value)
