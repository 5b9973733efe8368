"""``new``: the file of a new method or data set, which works before anything is changed."""

from __future__ import annotations

import re

import click

from bench.cli.options import Common, common_options
from bench.cli.output import print_json, print_line, write_output
from bench.core.errors import BenchError, did_you_mean

WHAT = ("method", "dataset")


@click.command()
@click.argument("what", metavar="|".join(WHAT))
@click.argument("name")
@click.option("--images", is_flag=True, help="With dataset: of images, not of profiles.")
@click.option("--output", metavar="FILE", help="Where to write; else NAME.py (or NAME.toml) here.")
@common_options
def command(what: str, name: str, images: bool, output: str | None, common: Common) -> None:
    r"""Write the file of a new method (Python) or data set (TOML).

    \b
    python -m bench new method my-method
    python -m bench check my-method --plugin my_method.py
    python -m bench new dataset my-screen
    python -m bench new dataset my-cells --images
    """
    from pathlib import Path

    if what not in WHAT:
        raise BenchError(did_you_mean(what, list(WHAT), "thing to make"))
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise BenchError(f"'{name}' is no name: lower-case words joined by -, such as my-method")
    registry = common.registry()
    if name in registry.names(what):
        raise BenchError(f"the {what} '{name}' exists already: choose another name")
    suffix = "py" if what == "method" else "toml"
    path = Path(output or f"{name.replace('-', '_')}.{suffix}")
    if path.exists():
        raise BenchError(f"{path} exists: choose another --output, or remove it first")
    if images and what != "dataset":
        raise BenchError("--images goes with `new dataset NAME`: a method takes what comes")
    kind = "images" if images else what
    template = Path(__file__).parent.parent / "templates" / f"{kind}.{suffix}.txt"
    text = template.read_text(encoding="utf-8")
    words = "".join(part.capitalize() for part in name.split("-"))
    write_output(str(path), text.replace("@NAME@", name).replace("@CLASS@", words))
    if common.as_json:
        print_json({"written": str(path)})
        return
    print_line(f"wrote {path}")
    if what == "method":
        print_line(f"next: python -m bench check {name} --plugin {path}")
    else:
        print_line(f"next: edit it, then python -m bench check-data {path}")
