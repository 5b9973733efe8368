"""``score``: predictions and embeddings that were computed elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import arguments, completion
from bench.cli.options import PATH, Common, check, common_options
from bench.cli.output import note, print_json, print_line, write_output
from bench.cli.progress import waiting
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from bench.data.task import Task

TRACKS = ("inductive", "test-controls", "test-batch", "transductive")


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, type=PATH)
@click.option(
    "--split",
    "-s",
    required=True,
    metavar="S",
    shell_complete=completion.splits,
    help="Split, or FILE.toml[:NAME].",
)
@click.option("--name", metavar="NAME", help="Name on boards [default: the name of the file].")
@click.option(
    "--track",
    metavar="TRACK",
    default="transductive",
    show_default=True,
    shell_complete=completion.one_of(*TRACKS),
    help="What the model used: inductive, test-controls, test-batch or transductive.",
)
@click.option(
    "--kind",
    metavar="KIND",
    default="auto",
    show_default=True,
    shell_complete=completion.one_of("auto", "classes", "scores", "embeddings"),
    help="auto, classes, scores or embeddings.",
)
@click.option("--features", metavar="REGEX", help="Columns of embeddings [default: all numbers].")
@click.option(
    "--trained-on",
    metavar="FILE",
    type=PATH,
    help="Ids of the model's training samples, one a line.",
)
@click.option("--deterministic", is_flag=True, help="One file represents all seeds.")
@click.option("--seed", metavar="N", help="Seed of the first file [default: 0].")
@click.option("--edition", metavar="NAME", default="auto", show_default=True, help="Of the data.")
@click.option("--set", "settings", multiple=True, metavar="data.KEY=VALUE", help="Set data.KEY.")
@click.option("--ids", metavar="FILE", type=PATH, help="Write the required ids as CSV and stop.")
@common_options
def command(  # noqa: PLR0913, PLR0917 - one parameter per option
    files: tuple[str, ...],
    split: str,
    name: str | None,
    track: str,
    kind: str,
    features: str | None,
    trained_on: str | None,
    deterministic: bool,
    seed: str | None,
    edition: str,
    settings: tuple[str, ...],
    ids: str | None,
    common: Common,
) -> int:
    r"""Score predictions or embeddings of any model on a split.

    FILE is a table (parquet, csv, tsv or h5ad) with a column id and one of: a column prediction,
    one column of scores per class, or numeric columns of an embedding. Several files are seeds of
    one model. Rows are marked "not run here" on boards.

    \b
    python -m bench score predictions.parquet --split screen.toml --track inductive
    python -m bench score seed0.parquet seed1.parquet seed2.parquet -s ottawa --name my-encoder
    python -m bench score --split ottawa --ids required.csv
    """
    from bench.runs.external import Submission, score

    check("track", track, TRACKS)
    registry = common.registry()
    pending: list[str] = []
    task = _opened(split, common, edition, settings, pending)
    if ids is not None:
        _write_ids(task, ids, common)
        return 0
    if not files:
        raise BenchError("no file: name a table with predictions or embeddings, or use --ids FILE")
    first = arguments.seeds(seed, None, 1)
    assert first is not None
    path = Path(files[0])
    known = frozenset[str]() if trained_on is None else _lines(Path(trained_on))
    submission = Submission(name or path.name.partition(".")[0], track, deterministic, known)
    records = []
    for k, file in enumerate(files):
        with waiting(f"scoring {file}"):
            records.append(
                score(
                    Path(file),
                    task,
                    submission,
                    registry,
                    common.store(),
                    seed=first[0] + k,
                    kind=kind,
                    features=features,
                )
            )
    if common.as_json:
        from bench.cli.run_output import summary

        print_json({"runs": [summary(record) for record in records]})
        return 0
    for line in pending:
        note(line)
    for record in records:
        value = record.value()
        shown = "undefined" if value is None else f"{value:.3f}"
        print_line(
            f"{record.method} on {record.split_id}, seed {record.seed}, {record.track}: "
            f"{record.primary} {shown}, {record.n_eval} scored"
        )
    for line in dict.fromkeys(text for record in records for text in record.notes):
        print_line(line)
    print_line(f"next: python -m bench leaderboard --split {records[0].split_id}")
    return 0


def _opened(
    split: str, common: Common, edition: str, settings: tuple[str, ...], pending: list[str]
) -> Task:
    from bench.runs.experiment import prepare

    experiment = prepare(
        "identity",
        split,
        edition=edition,
        settings=settings,
        results=common.results,
        plugins=common.plugins,
        say=pending.append,
    )
    if len(experiment.tasks) > 1:
        raise BenchError("--split takes one split here: score each split with its own command")
    return experiment.tasks[0]


def _write_ids(task: Task, output: str, common: Common) -> None:
    import csv
    import io

    from bench.runs.external import required_ids

    rows = required_ids(task)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("id", "fold", "partition"), *rows])
    write_output(output, text.getvalue(), "--ids")
    if common.as_json:
        print_json({"file": output, "rows": len(rows)})
    else:
        print_line(f"{len(rows)} rows in {output}: test rows need predictions, all need embeddings")


def _lines(path: Path) -> frozenset[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"--trained-on {path} cannot be read ({error}): check the path") from None
    return frozenset(line.strip() for line in text.splitlines() if line.strip())
