"""``show``: details of one method, split, data set or run."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import arguments, completion
from bench.cli.options import PATH, Common, common_options
from bench.cli.output import print_json, print_line, print_list
from bench.core.control_names import is_control_row
from bench.core.errors import BenchError, did_you_mean
from bench.core.words import duration, file_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core.access import Access
    from bench.core.describe import Parameter
    from bench.core.entry import Entry
    from bench.core.method import Method
    from bench.core.registry import Registry
    from bench.data.fetch.listing import Fetchable
    from bench.records.record import Record

WHAT = ("method", "split", "dataset", "run", "failed")


@click.command()
@click.argument("what", metavar="|".join(WHAT), shell_complete=completion.one_of(*WHAT))
@click.argument("name", required=False, default="", shell_complete=completion.names)
@click.option("--figure", metavar="FILE", type=PATH, help="With dataset: draw example cells.")
@click.option("--edition", metavar="NAME", default="auto", help="With --figure.")
@click.option("--set", "settings", multiple=True, metavar="data.KEY=VALUE", help="With --figure.")
@common_options
def command(
    what: str,
    name: str,
    figure: str | None,
    edition: str,
    settings: tuple[str, ...],
    common: Common,
) -> None:
    r"""Show details of a method, split, data set, run or failed run.

    A run is named by the start of its run_id; `show failed` without a name lists all failed runs.

    \b
    python -m bench show method ben
    python -m bench show run 3fa9
    python -m bench show failed
    """
    if what not in WHAT:
        raise BenchError(did_you_mean(what, list(WHAT), "thing to show"))
    if figure and what != "dataset":
        raise BenchError("--figure applies to `show dataset NAME`")
    if what == "failed":
        _failed(name, common)
        return
    if not name:
        raise BenchError(f"`show {what}` requires a name: see `python -m bench list {what}s`")
    registry = common.registry()
    if what == "method":
        facts = _method(name, registry)
    elif what == "split":
        facts = _split(name, registry)
    elif what == "dataset":
        facts = _dataset(name, registry)
        if figure:
            facts["figure"] = _draw(name, registry, edition, settings, figure)
    else:
        record = arguments.find_run(name, common.store())
        facts = dict(record.data) if common.as_json else _run(record)
    if common.as_json:
        print_json(facts)
    else:
        _print(facts)


def _run(record: Record) -> dict[str, object]:
    """Return a summary of a run; ``--json`` prints the complete record."""
    data = record.data
    cost, machine = data["cost"], data["provenance"]
    scores = {
        name: round(subsets["all"], 4)
        for name, subsets in data["metrics"].items()
        if name.endswith(data["primary"]) and "all" in subsets
    }
    return {
        "run": data["run_id"],
        "method": data["method_id"],
        "parameters": {stage: values for stage, values in data["params"].items() if values},
        **{key: data[key] for key in ("split", "shift")},
        "data": f"{data['spec']['dataset']}, {data['spec']['edition']}",
        "recipe": f"{data['spec']['recipe']}, seed {data['spec']['seed']}",
        "status": f"{data['status']} {data['reason']}".strip(),
        "not ranked because of": data["unranked_because"],
        "track": data["track"],
        "scores": scores,
        "chance": round(data["chance"], 4),
        "scored rows": data["n_eval"],
        "cost": f"fit {duration(cost['fit_s'])}, apply {duration(cost['apply_s'])}, "
        f"peak {file_size(cost['peak_bytes'])}",
        "device": machine.get("device", ""),
        "created": machine.get("created", ""),
        "command": machine.get("command", ""),
        "complete record": f"python -m bench show run {data['run_id'][:12]} --json",
    }


def _failed(prefix: str, common: Common) -> None:
    """Print the failed runs with ids that start with ``prefix``; the traceback of a single one."""
    store = common.store()
    failures = [f for f in store.failures() if f["run_id"].startswith(prefix)]
    if prefix and not failures:
        raise BenchError(f"no failed run in {store.root} has an id that starts with '{prefix}'")
    if common.as_json:
        print_json({"failed": [{**failure, "path": str(failure["path"])} for failure in failures]})
    elif prefix and len(failures) == 1:
        print_line((failures[0]["path"] / "traceback.txt").read_text(encoding="utf-8"))
        print_line(f"environment: {failures[0]['path'] / 'environment.json'}")
    elif not failures:
        print_line("none")
    else:
        keys = ("seed", "method", "split")
        rows = [
            [f["run_id"][:12], *(str(f["about"].get(key, "")) for key in keys), f["error"]]
            for f in failures
        ]
        print_list(["run", *keys, "error"], rows)
        print_line("to repeat them: python -m bench run --retry-failed")


_ACCESS = {
    "train-batch": "the batch of each training row",
    "train-well": "the well of each training row",
    "controls": "which training rows are negative controls",
    "test-controls": "which rows of a test batch are negative controls",
    "test-batch": "all unlabelled rows of a test batch at once",
    "adapt": "the complete unlabelled evaluation set while fitting",
}
"""Description of each access."""

_LABELS = {
    "shares the fit of": "uses the fit of",
    "measured against": "compared with",
    "must be told": "uses",
    "what it does": "description",
    "to get the real files": "command for the real files",
    "here": "available editions",
    "what it is": "description",
}
"""Labels of the text output where they differ from the keys of the JSON document."""


def _method(name: str, registry: Registry) -> dict[str, object]:
    from bench.core.access import Access, track_of
    from bench.core.describe import parameters
    from bench.output.report.methods import plain_docstring
    from bench.runs.contract import checked_params, declared_needs

    entry = registry.entry("method", name)
    meta = entry.meta
    access = meta["access"]
    facts: dict[str, object] = {
        "name": name,
        "summary": meta["summary"],
        "reference": meta["reference"],
        "url": meta["url"],
        "level": meta["level"],
        "version": meta["version"],
        "provider": entry.provider,
        "access": access,
        "track": track_of(Access.parse(access)),
    }
    if "fit" in meta:
        facts["shares the fit of"] = meta["fit"]
    if is_control_row(meta["level"]):
        return {**facts, "track": "reference"}
    facts["helps"], facts["hurts"] = meta["helps"], meta["hurts"]
    default = "erm" if meta["level"] == "network" else "identity"
    facts["measured against"] = meta.get("against", default)
    cls = entry.load()
    params = checked_params(entry, lambda: cls.Params())  # noqa: PLW0108 - a class may lack it
    needs = sorted(declared_needs(entry, cls, params))
    uses = [_ACCESS[key] for key in access] + [f"needs {column} in the data" for column in needs]
    facts["must be told"] = uses or ["nothing beyond labelled training rows"]
    facts["what it does"] = plain_docstring(_docstring(entry, cls))
    facts["parameters"] = [
        _parameter(entry, parameter, cls) for parameter in parameters(cls.Params)
    ]
    return facts


def _docstring(entry: Entry, cls: type[Method]) -> str:
    """Return the docstring of the module of a method, or of its class."""
    if not entry.isolated or entry.path is None:
        module = inspect.getmodule(cls)
        return inspect.cleandoc((module and module.__doc__) or cls.__doc__ or "")
    tree = ast.parse(entry.path.read_text(encoding="utf-8"))
    nodes: list[ast.Module | ast.ClassDef] = [tree]
    nodes += [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls.__name__]
    return next(filter(None, map(ast.get_docstring, nodes)), "")


def _parameter(entry: Entry, parameter: Parameter, cls: type[Method]) -> dict[str, object]:
    """Describe a parameter, with the track of each of its choices."""
    from bench.core.access import track_of
    from bench.runs.contract import check_declarations, checked_params

    def access(choice: object) -> Access:
        params = checked_params(entry, lambda: cls.Params(**{parameter.name: choice}))
        return check_declarations(entry, cls, params)

    facts: dict[str, object] = {
        "name": parameter.name,
        "default": parameter.value,
        "unit": parameter.unit,
        "phase": parameter.phase,
        "doc": parameter.doc,
    }
    if parameter.choices:
        facts["choices"] = {str(choice): track_of(access(choice)) for choice in parameter.choices}
    elif parameter.low is not None or parameter.high is not None:
        facts["range"] = [parameter.low, parameter.high]
    elif parameter.pattern:
        facts["pattern"] = parameter.pattern
    if parameter.search:
        facts["search"] = list(parameter.search)
    return facts


def _split(name: str, registry: Registry) -> dict[str, object]:
    from bench.data.catalog import resolve

    split = resolve(name, registry).split
    return {k: v for k, v in dataclasses.asdict(split).items() if v not in (None, "", (), {})}


def _dataset(name: str, registry: Registry) -> dict[str, object]:
    from bench.core.folders import data_folder
    from bench.core.params import make_params
    from bench.data.catalog import known_splits
    from bench.data.fetch.listing import fetchable, fetchable_names

    entry = registry.entry("dataset", name)
    cls = entry.load()
    module = inspect.getmodule(cls)
    hidden = ("kind", "class", "fetch", "splits")
    facts: dict[str, object] = {
        k: v for k, v in entry.meta.items() if k not in hidden and v not in ("", [])
    }
    if name in fetchable_names(registry):
        facts.setdefault("size", _download(fetchable(name, registry)))
        facts["to get the real files"] = f"python -m bench data fetch {name}"
    facts["here"] = cls(make_params("data", cls.Settings, {})).editions()
    if "real" in entry.meta["editions"]:
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


def _download(files: Fetchable) -> str:
    """Return the size of the download, or why it is not known beforehand."""
    from bench.core.words import file_size

    if files.bytes is not None:
        return f"{file_size(files.bytes)} to download"
    if files.zenodo:
        return "given by the record on Zenodo, shown before the download"
    if files.rows:
        return f"depends on the number of files in {files.rows[0].table}"
    return "not stated by the source"


def _draw(
    name: str, registry: Registry, edition: str, settings: tuple[str, ...], output: str
) -> str:
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
    editions = dataset.editions()
    if edition != "auto" and edition not in editions:
        raise BenchError(
            f"the {edition} edition of {name} is not available; use {', '.join(editions)}"
        )
    opened = dataset.open(editions[0] if edition == "auto" else edition)
    if not opened.is_images:
        raise BenchError(f"{name} has profiles; example cells require images")
    draw_examples(opened, Path(output))
    return output


def _print(facts: Mapping[str, object]) -> None:
    for key, value in facts.items():
        label = _LABELS.get(key, key)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            print_line(f"{label}:")
            for item in value:
                rest = {k: v for k, v in item.items() if k not in ("name", "doc") and v != ""}
                details = ", ".join(f"{k} {_text(v)}" for k, v in rest.items())
                end = f" ({details})" if details else ""
                print_line(f"  {item.get('name', '')}: {item.get('doc', '')}{end}", wrap=True)
        elif isinstance(value, str) and "\n" in value:
            print_line(f"{label}:\n{_paragraphs(value)}\n", wrap=True)
        elif key in ("helps", "hurts") and not value:
            print_line(f"{label}: none declared")
        elif value not in ("", [], {}):
            print_line(f"{label}: {_text(value)}", wrap=True)


def _paragraphs(text: str) -> str:
    """Return a docstring with one line per paragraph; equations and lists keep their lines."""
    blocks = [block.split("\n") for block in re.split(r"\n\s*\n", text.strip("\n"))]
    return "\n\n".join(
        "\n".join(lines)
        if any(line.startswith((" ", "- ", "* ")) for line in lines)
        else " ".join(lines)
        for lines in blocks
    )


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k}: {_text(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return repr(value) if value == "" else str(value)
