"""``check``: check that an extension follows its interface."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

import click

from bench.cli import completion
from bench.cli.options import Common, common_options
from bench.cli.output import print_json, print_line
from bench.core.errors import BenchError, did_you_mean
from bench.core.folders import expanded
from bench.core.meta import read_meta

if TYPE_CHECKING:
    from bench.core.registry import Registry
    from bench.testing.synthetic import Check

    class _Check(Protocol):
        def __call__(self, name: str, /, *, registry: Registry, raises: bool) -> list[Check]: ...


KINDS = ("method", "dataset", "metric", "figure", "study")


@click.command()
@click.argument("name", shell_complete=completion.kinds("method"))
@click.option("--kind", metavar="KIND", help=f"Kind of NAME: {', '.join(KINDS)}.")
@click.option("--edition", metavar="NAME", help="Edition of a data set [default: first available].")
@common_options
def command(name: str, kind: str | None, edition: str | None, common: Common) -> int:
    r"""Check that a method, data set, metric, figure or study follows its interface.

    NAME is a registered name, or the FILE.py of an extension. Methods, metrics and studies are run
    on small synthetic data; a data set is opened and read. Exit code 1 if a check fails.

    \b
    python -m bench check ben
    python -m bench check my_method.py
    python -m bench check camelyon17 --edition fixture
    """
    if name.endswith(".py"):
        file = expanded(name)
        meta = read_meta(file)
        name, kind = meta["name"], kind or meta["kind"]
        common = dataclasses.replace(common, plugins=(*common.plugins, str(file)))
    registry = common.registry("none")  # the checks look into classes and functions
    kind = _kind_of(name, kind, registry)
    if edition is not None and kind != "dataset":
        raise BenchError(f"--edition applies to data sets, but {name} is a {kind}")
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
        print_line(f"{name}: {failed} of {len(checks)} checks failed")
    else:
        print_line(f"{name}: all {len(checks)} checks passed")
    return 1 if failed else 0


def _kind_of(name: str, kind: str | None, registry: Registry) -> str:
    """Return the kind of a name: the one asked for, or the first that has it."""
    if kind is not None:
        if kind not in KINDS:
            raise BenchError(did_you_mean(kind, list(KINDS), "kind"))
        return kind
    from bench.output.figures import all_figures
    from bench.studies import known

    names = {candidate: registry.names(candidate) for candidate in KINDS}
    names["figure"] = list(all_figures(registry))
    names["study"] = list(known(registry))
    for candidate, registered in names.items():
        broken = any(e.name == name and e.kind == candidate for e in registry.broken)
        if broken or name in registered:
            return candidate
    every_name = [other for registered in names.values() for other in registered]
    raise BenchError(did_you_mean(name, every_name, "extension"))


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
    # Packaged studies are not in the registry; their literals are checked when they are listed.
    packaged = kind == "study" and name not in registry.names("study")
    results = [] if packaged else checks[kind](name, registry=registry, raises=False)
    if kind == "study" and all(check.ok for check in results):
        from bench.cli.study_check import study_runs

        results += study_runs(name, registry)
    return results
