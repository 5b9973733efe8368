"""``check``: whether a method keeps the contract, on small made-up data."""

from __future__ import annotations

import json

import click

from bench.cli import completion
from bench.cli.main import common, registry_for


@click.command()
@click.argument("method", shell_complete=completion.kinds("method"))
@common
def command(
    method: str, results: str | None, plugin: tuple[str, ...], as_json: bool, debug: bool
) -> int:
    r"""Check that a method keeps the contract, on small made-up data.

    Prints a line for each check. Exit code 1 if one fails.

    \b
    python -m bench check ben
    python -m bench check my-method --plugin my_method.py
    """
    registry = registry_for(plugin)
    registry.entry("method", method)
    from bench.testing.method import check_method

    checks = check_method(method, registry=registry, raises=False)
    failed = sum(not check.ok for check in checks)
    if as_json:
        rows = [{"name": check.name, "ok": check.ok, "message": check.message} for check in checks]
        click.echo(json.dumps({"method": method, "ok": not failed, "checks": rows}, indent=1))
        return 1 if failed else 0
    for check in checks:
        message = f": {check.message}" if check.message else ""
        click.echo(f"{'ok    ' if check.ok else 'FAILED'}  {check.name}{message}")
    if failed:
        click.echo(f"{method} fails {failed} of {len(checks)} checks")
    else:
        click.echo(f"{method} keeps the contract: {len(checks)} checks")
    return 1 if failed else 0
