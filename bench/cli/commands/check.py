"""``check``: whether an extension keeps its contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import click

from bench.cli import completion
from bench.cli.options import Common, common_options
from bench.cli.output import print_json, print_line
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from bench.core.registry import Registry
    from bench.testing.synthetic import Check

    class _Check(Protocol):
        def __call__(self, name: str, /, *, registry: Registry, raises: bool) -> list[Check]: ...


KINDS = ("method", "dataset", "metric", "figure", "study")


@click.command()
@click.argument("name", shell_complete=completion.kinds("method"))
@click.option("--kind", help=f"If several kinds have the name: {', '.join(KINDS)}.")
@click.option("--edition", help="Edition of a data set; else the first that is here.")
@common_options
def command(
    name: str,
    kind: str | None,
    edition: str | None,
    common: Common,
) -> int:
    r"""Check that a method, data set, metric, figure or study keeps its contract.

    Methods and metrics are called with small synthetic data, a data set is opened and read.
    Prints one line per check. Exit code 1 if one fails.

    \b
    python -m bench check ben
    python -m bench check my-method --plugin my_method.py
    python -m bench check camelyon17 --edition fixture
    """
    registry = common.registry()
    kind = _kind_of(name, kind, registry)
    if edition is not None and kind != "dataset":
        raise BenchError(f"--edition goes with data sets, and {name} is a {kind}")
    checks = _checks(kind, name, edition, registry)
    failed = sum(not check.ok for check in checks)
    if common.as_json:
        rows = [{"name": check.name, "ok": check.ok, "message": check.message} for check in checks]
        document = {kind: name, "kind": kind, "ok": not failed, "checks": rows}
        print_json(document)
        return 1 if failed else 0
    for check in checks:
        message = f": {check.message}" if check.message else ""
        print_line(f"{'ok    ' if check.ok else 'FAILED'}  {check.name}{message}")
    if failed:
        print_line(f"{name} fails {failed} of {len(checks)} checks")
    else:
        print_line(f"{name} keeps the contract: {len(checks)} checks")
    return 1 if failed else 0


def _kind_of(name: str, kind: str | None, registry: Registry) -> str:
    """Return the kind of a name: the one asked for, or the first that has it."""
    if kind is not None:
        if kind not in KINDS:
            raise BenchError(did_you_mean(kind, list(KINDS), "kind"))
        return kind
    from bench.output.figures import all_figures

    names = {each: registry.names(each) for each in KINDS}
    names["figure"] = list(all_figures(registry))
    for each, known in names.items():
        if name in known or any(e.name == name and e.kind == each for e in registry.broken):
            return each
    known = [name for group in names.values() for name in group]
    raise BenchError(did_you_mean(name, known, "extension"))


def _checks(kind: str, name: str, edition: str | None, registry: Registry) -> list[Check]:
    from bench import testing

    if kind == "dataset":
        return testing.check_dataset(name, edition=edition, registry=registry, raises=False)
    checks: dict[str, _Check] = {
        "method": testing.check_method,
        "metric": testing.check_metric,
        "figure": testing.check_figure,
        "study": testing.check_study,
    }
    return checks[kind](name, registry=registry, raises=False)
