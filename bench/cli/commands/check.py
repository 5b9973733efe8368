"""``check``: whether a method keeps the contract, on small made-up data."""

from __future__ import annotations

import click

from bench.cli import completion
from bench.cli.options import Common, common_options
from bench.cli.output import print_json, print_line


@click.command()
@click.argument("method", shell_complete=completion.kinds("method"))
@common_options
def command(method: str, common: Common) -> int:
    r"""Check that a method keeps the contract, on small made-up data.

    Prints a line for each check. Exit code 1 if one fails.

    \b
    python -m bench check ben
    python -m bench check my-method --plugin my_method.py
    """
    registry = common.registry()
    registry.entry("method", method)
    from bench.testing.method import check_method

    checks = check_method(method, registry=registry, raises=False)
    failed = sum(not check.ok for check in checks)
    if common.as_json:
        rows = [{"name": check.name, "ok": check.ok, "message": check.message} for check in checks]
        print_json({"method": method, "ok": not failed, "checks": rows})
        return 1 if failed else 0
    for check in checks:
        message = f": {check.message}" if check.message else ""
        print_line(f"{'ok    ' if check.ok else 'FAILED'}  {check.name}{message}")
    if failed:
        print_line(f"{method} fails {failed} of {len(checks)} checks")
    else:
        print_line(f"{method} keeps the contract: {len(checks)} checks")
    return 1 if failed else 0
