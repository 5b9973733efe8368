"""What the commands that train have in common on the line: names, seeds, --set."""

from __future__ import annotations

from typing import Any

from bench.core.errors import BenchError, did_you_mean

RECIPES = ("smoke", "default", "paper")
EDITIONS = ("auto", "real", "simulated", "fixture")
DEVICES = ("auto", "cpu", "cuda")
IF_EXISTS = ("skip", "refresh", "rerun", "verify")


def one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value of an option that is not among those allowed, naming the nearest."""
    if value not in allowed:
        raise BenchError(f"--{option}: {did_you_mean(value, list(allowed), option)}")


def names(text: str, option: str) -> list[str]:
    """Return the names of ``A[,B...]``, each once; refuse an empty list."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise BenchError(f"{option} is empty: give a name, or several with commas between")
    return list(dict.fromkeys(found))


def seeds_of(seed: str | None, seeds: str | None) -> list[int]:
    """Return the seeds of ``--seed N`` or ``--seeds N``; 0 without either."""
    if seed is not None and seeds is not None:
        raise BenchError("--seed and --seeds exclude each other: --seed 3 is one, --seeds 3 three")
    if seeds is not None:
        if not _whole(seeds) or not 1 <= int(seeds) <= 1000:
            raise BenchError(f"--seeds takes a whole number from 1 to 1000, not '{seeds}'")
        return list(range(int(seeds)))
    if seed is None:
        return [0]
    if not _whole(seed):
        raise BenchError(f"--seed takes a whole number of up to nine digits, not '{seed}'")
    return [int(seed)]


def _whole(text: str) -> bool:
    """Whether it is a whole number below 10^9; ``"²".isdigit()`` is true, too."""
    return text.isascii() and text.isdigit() and len(text) <= 9


def sorted_settings(
    texts: tuple[str, ...], methods: list[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Sort KEY=VALUE into method parameters, recipe overrides and data settings."""
    values: dict[str, dict[str, Any]] = {}
    overrides: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise BenchError(f"--set takes [NAME.]KEY=VALUE, not '{text}'")
        owner, _, name = key.rpartition(".")
        if owner == "recipe":
            overrides[name] = value
        elif owner in ("data", "data.source"):
            data[f"{owner}.{name}".removeprefix("data.")] = value
        else:
            values.setdefault(owner, {})[name] = value
    return values, overrides, data


def check_names(methods: list[str], registry: Any) -> None:
    """Name unknown methods before any data are opened."""
    for typed in methods:
        for name in typed.split("+"):
            registry.entry("method", name.strip())


def spread(values: dict[str, dict[str, Any]], methods: list[str], registry: Any) -> None:
    """Give a bare KEY to every chosen method, all of which must have it."""
    import dataclasses

    bare = values.pop("", {})
    for key, value in bare.items():
        for typed in methods:
            name = typed.split("+")[-1].strip()
            entry = registry.entry("method", name)
            fields: list[str] = []
            if entry.meta["level"] != "reference":
                fields = [f.name for f in dataclasses.fields(entry.load().Params)]
            if key not in fields:
                known = f"; its parameters are {', '.join(fields)}" if fields else ""
                raise BenchError(
                    f"--set {key}: {name} has no parameter of that name{known}; "
                    f"write METHOD.{key}=VALUE for one method alone"
                )
            values.setdefault(name, {})[key] = value


def check_parameters(values: dict[str, dict[str, Any]], registry: Any) -> None:
    """Refuse wrong parameters before any data are opened, or even simulated."""
    from bench.core.params import make_params

    for name, given in values.items():
        entry = registry.entry("method", name)
        if entry.meta["level"] != "reference":
            make_params(name, entry.load().Params, given)
