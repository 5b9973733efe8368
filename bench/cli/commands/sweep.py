"""``sweep``: all runs of a suite file, on one machine or a cluster."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from bench.cli import completion
from bench.cli.clusters import ClusterOptions, cluster_options, execute, host_of
from bench.cli.options import DEVICE, IF_EXISTS, ISOLATE, Common, common_options
from bench.cli.output import note, print_json
from bench.cli.progress import waiting

if TYPE_CHECKING:
    from bench.cli.sweep_output import Costs
    from bench.runs.sweeps.graph import Graph
    from bench.runs.sweeps.suite import Suite


@click.command()
@click.argument("suite", metavar="SUITE", shell_complete=completion.suites)
@cluster_options
@DEVICE
@IF_EXISTS
@ISOLATE
@click.option("--dry-run", is_flag=True, help="Print tasks and their expected cost.")
@click.option("--status", is_flag=True, help="Print what is done, running and left.")
@common_options
def command(
    suite: str,
    cluster: ClusterOptions,
    device: str,
    if_exists: str,
    isolate: str,
    dry_run: bool,
    status: bool,
    common: Common,
) -> int:
    r"""Run a suite: methods, splits, seeds, settings and tuning budgets in one file.

    SUITE is a TOML file or a packaged suite: smoke, default, paper-lin2022, nightly. Each training
    is made once for all runs that need it. Interrupt it at any time; the same command continues.
    Several sweeps and runs may use one results folder at the same time.

    \b
    python -m bench sweep smoke
    python -m bench sweep suite.toml --jobs 8
    python -m bench sweep suite.toml --cluster slurm --profile slurm.toml
    python -m bench sweep suite.toml --dry-run
    """
    from bench.cli.run_output import summary
    from bench.cli.sweep_output import print_end, print_plan, print_status
    from bench.runs.sweeps.suite import read_suite

    where = cluster.where()
    read = read_suite(suite)
    store = common.store()
    graph, costs = _graph(read, common, device, if_exists, isolate, plan=dry_run)
    if dry_run:
        print_plan(read, graph, costs, as_json=common.as_json)
        return 0
    if status:
        print_status(read, graph, store, as_json=common.as_json)
        return 0
    records, seconds = execute(graph, where, store, events=common.as_json)
    if common.as_json:
        print_json(
            {
                "suite": read.name,
                "runs": [summary(record) for record in (*graph.stored.values(), *records)],
                "tasks": graph.count(),
                "unavailable": {item.split: item.reason for item in graph.unavailable},
                "skipped": graph.skipped,
            }
        )
    else:
        again = f" --results {shlex.quote(common.results)}" if common.results else ""
        print_end(read, graph, records, again, seconds)
    return int(any(record.status == "failed" for record in records))


def _graph(
    suite: Suite, common: Common, device: str, if_exists: str, isolate: str, *, plan: bool
) -> tuple[Graph, Costs]:
    """Open the data of a suite; return its graph and, for a plan, the expected cost."""
    from bench.cli.dry_run import Estimator
    from bench.cli.sweep_output import Costs
    from bench.runs.sweeps.graph import build
    from bench.runs.sweeps.units import units_of

    store = common.store()
    host = host_of(store, common, device, if_exists, isolate=isolate)
    costs = Costs(Estimator(store, device), device)
    lines: list[str] = []  # an error is then the only line
    with waiting(f"opening {suite.name}"):
        visit = costs.add if plan else lambda unit, jobs: None
        graph = build(units_of(suite, host), lines.append, visit)
    for line in lines if not common.as_json else ():
        note(line)
    return graph, costs
