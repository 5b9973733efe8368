"""``results``: size of the results folder, and deletion of what can be recreated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli import completion
from bench.cli.disk_usage import PRUNABLE
from bench.cli.options import Common, common_options
from bench.cli.output import print_json, print_line, print_list
from bench.core.errors import BenchError, did_you_mean
from bench.core.words import duration, file_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cli.disk_usage import Usage

ACTIONS = ("du", "prune")
DEFAULT = ("unused", "failed")


@click.command()
@click.argument("action", metavar="|".join(ACTIONS), shell_complete=completion.one_of(*ACTIONS))
@click.argument("parts", nargs=-1, metavar="[PART]...", shell_complete=completion.one_of(*PRUNABLE))
@click.option("--yes", is_flag=True, help="With prune: delete; otherwise it only prints.")
@common_options
def command(action: str, parts: tuple[str, ...], yes: bool, common: Common) -> None:
    r"""Show the size of the results folder, or delete what can be recreated.

    `du` lists the parts of the folder. `prune` deletes parts: unused, failed, scratch, embeddings
    or weights; by default unused and failed. Records are never deleted.

    \b
    python -m bench results du
    python -m bench results prune
    python -m bench results prune embeddings weights --yes
    """
    from bench.cli.disk_usage import disk_usage, remove

    if action not in ACTIONS:
        raise BenchError(did_you_mean(action, list(ACTIONS), "action"))
    if action == "du" and (parts or yes):
        raise BenchError("`results du` takes no part and no --yes: they are for `results prune`")
    for part in parts:
        if part not in PRUNABLE:
            raise BenchError(did_you_mean(part, list(PRUNABLE), "part"))
    store = common.store()
    if action == "prune" and "://" in store.location:
        raise BenchError(
            f"`results prune` deletes folders: use the tools of the store for {store.location}"
        )
    usages = disk_usage(store)
    if action == "prune":
        usages = [usage for usage in usages if usage.name in (parts or DEFAULT)]
        if yes:
            remove(store, usages)
    if common.as_json:
        rows = [
            {"part": u.name, "bytes": u.n_bytes, "entries": len(u.folders), "seconds": u.seconds}
            for u in usages
        ]
        print_json({"results": str(store.root), "parts": rows, "deleted": yes})
        return
    if not usages:
        print_line(f"{store.root}: nothing to {'delete' if action == 'prune' else 'show'}")
        return
    _print(usages)
    total = file_size(sum(usage.n_bytes for usage in usages))
    if action == "du":
        print_line(f"{total} in {store.root}")
    else:
        print_line(f"deleted {total}" if yes else f"{total} to delete: add --yes")


def _print(usages: Sequence[Usage]) -> None:
    rows = [
        [
            usage.name,
            file_size(usage.n_bytes),
            "" if usage.seconds is None else duration(usage.seconds),
            usage.description,
        ]
        for usage in usages
    ]
    print_list(["part", "size", "to recreate", "contents"], rows)
