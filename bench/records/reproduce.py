"""The command that reproduces a row of a board."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from bench.core.words import setting
from bench.records.schema import NOT_RUN_HERE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.records.record import Record


def command_of(runs: Sequence[Record]) -> str:
    """Return the command of runs that differ in their seeds only.

    Parameters
    ----------
    runs
        Runs of one method with its parameters, one split, edition and recipe.

    Returns
    -------
    str
        ``python -m bench run …``. Several lines if the seeds are not 0 to N - 1, since one
        command runs one seed or the first N. For tuned runs and for outputs computed elsewhere, the
        original command.
    """
    first = runs[0]
    if first.selection != "last" or NOT_RUN_HERE in first.badges:
        return "\n".join(sorted({run.command for run in runs if run.command}))
    command = ["python", "-m", "bench", "run", "--method", first.method, "--split", first.split]
    if first.recipe != "default":
        command += ["--recipe", first.recipe]
    if ".toml" not in first.split:  # tables have a single edition
        command += ["--edition", first.edition]
    owners = {"recipe": first.recipe_overrides, "data": first.dataset_settings, **first.params}
    for owner, values in owners.items():
        for key in sorted(values):
            command += ["--set", f"{owner}.{key}={setting(values[key])}"]
    return "\n".join(shlex.join([*command, *seeds]) for seeds in _seeds(run.seed for run in runs))


def _seeds(seeds: Iterable[int]) -> list[list[str]]:
    """Return the options that select exactly these seeds, one list per command."""
    unique = sorted(set(seeds))
    if unique == list(range(len(unique))) and len(unique) > 1:
        return [["--seeds", str(len(unique))]]
    return [["--seed", str(seed)] for seed in unique]
