"""Options of the commands that print boards."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.completion import one_of
from bench.cli.options import PATH, REFERENCE, SPLIT_FILTER, bundle, choice_option, output_option
from bench.cli.output import print_raw, uses_colour, width, write_output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.boards.board import Board
    from bench.cli.options import Common, Decorator
    from bench.core.registry import Registry
    from bench.records.record import Record
    from bench.records.store import Store

BUNDLES = click.option(
    "--bundle",
    "bundles",
    metavar="PATH",
    type=PATH,
    multiple=True,
    help="Include the runs of a bundle, or of all bundles in a folder. Repeatable.",
)
READOUTS = one_of("auto", "head", "probe", "knn1")


@dataclass(frozen=True)
class BoardOptions:
    """Options of the commands that print boards.

    Attributes
    ----------
    split, metric, readout, edition, recipe
        Which boards to compute; None for all.
    form, output
        ``--format`` and the file to write, None for stdout.
    reference, bundles
        Include the published records, and those of bundles.
    """

    split: str | None
    metric: str | None
    readout: str
    edition: str | None
    recipe: str | None
    form: str
    output: str | None
    reference: bool
    bundles: tuple[str, ...]

    def boards(
        self,
        store: Store,
        registry: Registry,
        *,
        methods: Sequence[str] | None = None,
        failures: bool = False,
        studies: bool = False,
    ) -> list[Board]:
        """Compute the boards from records.

        Parameters
        ----------
        failures, studies
            Include failed runs; include runs of studies.
        """
        from bench.boards.select import boards
        from bench.data.catalog import canonical_name

        return boards(
            with_bundles(store.load_all(reference=self.reference), self.bundles),
            split=canonical_name(self.split, registry),
            metric=self.metric,
            readout=self.readout,
            edition=self.edition,
            recipe=self.recipe,
            methods=methods,
            failures=store.failures() if failures else (),
            studies=studies,
        )

    def print(self, common: Common, render: Callable[[str, int, bool], str]) -> None:
        """Print the boards or write them to ``--output``.

        Parameters
        ----------
        render
            Takes format, width in characters and whether to use colour; returns text.
        """
        terminal = self.output is None and sys.stdout.isatty()
        colour = terminal and uses_colour()
        text = render("json" if common.as_json else self.form, width(terminal), colour)
        if self.output is None:
            print_raw(text)
        else:
            write_output(self.output, text)


def board_options(formats: str) -> Decorator:
    """Return the decorator that adds the options of boards."""
    return bundle(
        "options",
        BoardOptions,
        [
            SPLIT_FILTER,
            click.option("--metric", metavar="NAME", help="Default: primary metric of each split."),
            choice_option("--readout", "auto", "auto, head, probe or knn1.", READOUTS),
            click.option("--edition", metavar="NAME", help="real or simulated."),
            click.option("--recipe", metavar="NAME", help="smoke, default or paper."),
            click.option("--format", "form", metavar="NAME", default="table", help=formats),
            output_option(help="Write to FILE instead of stdout."),
            REFERENCE,
            BUNDLES,
        ],
    )


def with_bundles(records: list[Record], bundles: Sequence[str]) -> list[Record]:
    """Return records together with those of bundles; rows not verified are marked.

    Runs of the results folder take precedence.
    """
    import tempfile

    from bench.records.bundle import bundles_in, confirmed_runs, marked, read_bundle

    known = {record.run_id for record in records}
    for name in bundles:
        for path in bundles_in(Path(name)):
            bundle = read_bundle(path)
            with tempfile.TemporaryDirectory() as folder:
                others = marked(bundle.unpack(Path(folder)), confirmed_runs(bundle))
            records += [record for record in others if record.run_id not in known]
            known |= {record.run_id for record in others}
    return records
