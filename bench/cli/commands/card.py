"""``card``: cards of data sets, splits and saved corrections."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bench.cli import completion
from bench.cli.options import Common, common_options, output_option
from bench.cli.output import print_json, print_line, print_raw, write_output


@click.command()
@click.argument("target", shell_complete=completion.kinds("dataset"))
@output_option(help="Output file [default: stdout].")
@common_options
def command(target: str, output: str | None, common: Common) -> None:
    r"""Write the card of a data set, a split or a saved correction.

    For data, the card is Croissant metadata (JSON-LD): files with checksums, licence, splits. For a
    file of `fit` it is a model card in Markdown: method, training batches, use, limits.

    \b
    python -m bench card jump-stains --output croissant.json
    python -m bench card screen.toml --output croissant.json
    python -m bench card tvn.safetensors --output README.md
    """
    if target.lower().endswith(".safetensors"):
        from bench.runs.model_card import model_card

        common.registry()  # methods of plugins
        kind, text = "model card", model_card(target)
    else:
        from bench.data.croissant import card

        document = card(target, common.registry())
        kind, text = "Croissant", json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if output is not None:
        write_output(output, text)
    if common.as_json:
        content = text if kind == "model card" else json.loads(text)
        print_json({"kind": kind, "file": output, "card": content})
    elif output is None:
        print_raw(text)
    else:
        print_line(f"{Path(output)}  {kind} of {target}")
