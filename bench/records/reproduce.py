"""The command that reproduces a row of a board."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.core.types import Facts

__all__ = ["command_of"]


def command_of(runs: Sequence[Facts]) -> str:
    """Return the command of runs that differ in their seeds only.

    Parameters
    ----------
    runs
        Summaries from ``bench.records.record.summarise``, for one method with its parameters,
        one split, edition and recipe.

    Returns
    -------
    str
        ``python -m bench run …``. Several lines if the seeds are not 0 to N - 1, since one
        command runs one seed or the first N. For tuned runs, the original command.
    """
    first = runs[0]
    if first.get("selection", "last") != "last":
        return "\n".join(sorted({str(run["command"]) for run in runs if run.get("command")}))
    words = ["python", "-m", "bench", "run", "--method", str(first["method"])]
    words += ["--split", str(first["split"])]
    if first["recipe"] != "default":
        words += ["--recipe", str(first["recipe"])]
    if ".toml" not in str(first["split"]):  # tables have a single edition
        words += ["--edition", str(first["edition"])]
    owners = {
        "recipe": first.get("recipe_overrides") or {},
        "data": first.get("dataset_settings") or {},
        **(first.get("params") or {}),
    }
    for owner, values in owners.items():
        words += [
            word
            for key in sorted(values)
            for word in ("--set", f"{owner}.{key}={_word(values[key])}")
        ]
    return "\n".join(
        shlex.join([*words, *seeds]) for seeds in _seeds(int(run["seed"]) for run in runs)
    )


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _seeds(seeds: Iterable[int]) -> list[list[str]]:
    """Return the options that select exactly these seeds, one list per command."""
    known = sorted(set(seeds))
    if known == list(range(len(known))) and len(known) > 1:
        return [["--seeds", str(len(known))]]
    return [["--seed", str(seed)] for seed in known]
