"""``new``: write the file of a new extension, which works before anything is changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import Common, common_options, output_option
from bench.cli.output import print_json, print_line, write_output
from bench.core.errors import BenchError, did_you_mean

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
@output_option(help="Output file [default: ./NAME.py or ./NAME.toml].")
@common_options
def command(what: str, name: str, images: bool, output: str | None, common: Common) -> None:
    r"""Write the file of a new extension; it works before anything is changed.

    A dataset describes a table or images of your own (TOML); a loader is a data set class for any
    other format. All others are Python files, used with --plugin FILE or moved to the folder of
    their kind.

    \b
    python -m bench new method my-method
    python -m bench new network-method my-network
    python -m bench new dataset my-screen
    python -m bench new dataset my-cells --images
    python -m bench new metric my_metric
    """
    if what not in KINDS:
        raise BenchError(did_you_mean(what, list(KINDS), "kind of file"))
    if images and what != "dataset":
        raise BenchError("--images goes with `new dataset NAME`")
    name = _checked(what, name)
    if name in _names(KINDS[what], common.registry()):
        raise BenchError(f"a {KINDS[what]} is named '{name}' already: choose another name")
    suffix = "toml" if what == "dataset" else "py"
    path = Path(output or f"{name.replace('-', '_')}.{suffix}")
    if path.exists():
        raise BenchError(f"{path} exists: choose another --output, or remove it first")
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
