"""Suite files: which methods, splits, seeds, settings and tuning budgets belong to a sweep.

::

    title = "Two methods on two splits"

    [[block]]
    methods = ["erm", "ben"]
    splits = ["coos7/test4", "my_screen.toml:weeks"]
    seeds = 3                                # or a list of seeds
    settings = [{}, { "ben.rows" = "controls" }]
    trials = [0, 10]                         # 0: default parameters, 10: tuned with 10 trials

A block is the product of its keys; a run that occurs in several blocks is made once.
"""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import BenchError, did_you_mean
from bench.core.folders import expanded
from bench.runs.arguments import MAX_SEEDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.core.types import Facts

SUITES = Path(__file__).parent / "suites"
"""Folder of the packaged suites."""
MAX_TRIALS = 100_000


@dataclass(frozen=True, kw_only=True)
class BlockOptions:
    """Options that are the same for all runs of a block.

    Attributes
    ----------
    seeds
        The seeds; None for the default of each split.
    recipe, edition, network, standardise, rescale, metrics
        As the options of ``run``.
    rule, level, validations, recipe_keys
        As the options of ``tune``.
    controls
        Whether the control rows of the splits are run, too.
    companions
        Whether the in-distribution companions of the splits are run, too.
    """

    seeds: tuple[int, ...] | None = None
    recipe: str = "default"
    edition: str = "auto"
    network: str | None = None
    standardise: str | None = None
    rescale: bool = False
    metrics: tuple[str, ...] = ()
    rule: str = "ood-val"
    level: str = ""
    validations: int = 2
    recipe_keys: tuple[str, ...] = ()
    controls: bool = True
    companions: bool = True


@dataclass(frozen=True)
class Block(BlockOptions):
    """Methods that run on the same splits with the same options.

    Attributes
    ----------
    methods, splits
        As ``--method`` and ``--split``; ``methods = "all"`` for all packaged methods.
    settings
        Alternatives of ``--set``, each a mapping from ``[NAME.]KEY`` to a value.
    trials
        Tuning budgets: 0 is a run with default parameters, N is ``tune --trials N``.
    optional
        Whether splits without data on this machine are skipped instead of being an error.
    """

    methods: tuple[str, ...]
    splits: tuple[str, ...]
    settings: tuple[dict[str, object], ...] = ({},)
    trials: tuple[int, ...] = (0,)
    optional: bool = False


@dataclass(frozen=True)
class Suite:
    """A suite file.

    Attributes
    ----------
    name
        Its file name without ``.toml``.
    title
        One line that describes it.
    blocks
        Its blocks, in the order of the file.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]


def packaged() -> list[str]:
    """Return the names of the packaged suites."""
    return sorted(file.stem for file in SUITES.glob("*.toml"))


def read_suite(text: str) -> Suite:
    """Read a packaged suite or a file.

    Parameters
    ----------
    text
        A name of :func:`packaged`, or the path of a TOML file.

    Raises
    ------
    BenchError
        If there is no such suite, or the file is invalid; the message names file, block and key.
    """
    path = SUITES / f"{text}.toml" if text in packaged() else expanded(text)
    if not path.is_file():
        if path.suffix == ".toml" or "/" in text:
            raise BenchError(
                f"the suite {text} does not exist; packaged suites: {', '.join(packaged())}"
            )
        raise BenchError(did_you_mean(text, packaged(), "suite") + " A file ends in .toml.")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not valid TOML: {error}") from None
    return parse(data, path.stem, str(path) if path.parent != SUITES else text)


def parse(data: Facts, name: str, where: str) -> Suite:
    """Return the suite of a parsed file.

    Parameters
    ----------
    data
        Content of the file.
    name
        Name of the suite.
    where
        Beginning of error messages.

    Raises
    ------
    BenchError
        For an unknown key or a wrong value.
    """
    for key in data:
        if key not in ("title", "block"):
            raise BenchError(f"{where}: {did_you_mean(key, ['title', 'block'], 'key')}")
    title, blocks = data.get("title", name), data.get("block")
    if not isinstance(title, str):
        raise BenchError(f"{where}: title must be a string, not {title!r}")
    if not isinstance(blocks, list) or not blocks:
        raise BenchError(f"{where} has no [[block]]: add one with methods and splits")
    parsed = tuple(_block(block, f"{where}, block {k + 1}") for k, block in enumerate(blocks))
    return Suite(name, title, parsed)


def _block(data: object, where: str) -> Block:
    if not isinstance(data, dict):
        raise BenchError(f"{where} must be a table: write [[block]] above its keys")
    known = [field.name for field in fields(Block)]
    values: dict[str, object] = {}
    for key, value in data.items():
        if key not in known:
            raise BenchError(f"{where}: {did_you_mean(key, known, 'key')}")
        try:
            values[key] = _READERS[key](value)
        except ValueError as error:
            raise BenchError(f"{where}: {key} must be {error}, not {value!r}") from None
    for field in fields(Block):
        if field.default is MISSING and not values.get(field.name):
            raise BenchError(f"{where} has no {field.name}: add at least one")
    return Block(**values)  # type: ignore[arg-type]  # checked by the readers


def _texts(value: object) -> tuple[str, ...]:
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise ValueError("a list of strings")
    return tuple(dict.fromkeys(item.strip() for item in listed if item.strip()))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a string")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _integers(most: int, least: int, what: str) -> Callable[[object], tuple[int, ...]]:
    def read(value: object) -> tuple[int, ...]:
        listed = value if isinstance(value, list) else [value]
        if not listed or not all(type(n) is int and least <= n <= most for n in listed):
            raise ValueError(what)
        return tuple(dict.fromkeys(listed))

    return read


def _seeds(value: object) -> tuple[int, ...]:
    if isinstance(value, list):
        return _integers(10**9 - 1, 0, "a list of seeds from 0")(value)
    [n] = _integers(MAX_SEEDS, 1, f"a list, or a number from 1 to {MAX_SEEDS}")(value)
    return tuple(range(n))


def _validations(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("a number from 1")
    return value


def _settings(value: object) -> tuple[dict[str, object], ...]:
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(isinstance(item, dict) for item in listed):
        raise ValueError('a table such as { "ben.rows" = "controls" }, or a list of tables')
    return tuple(_flat(item) for item in listed if isinstance(item, dict))


def _flat(table: Facts, prefix: str = "") -> dict[str, object]:
    """Return ``{"ben.rows": "controls"}`` for ``{"ben": {"rows": "controls"}}``."""
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            raise ValueError("without lists: write one table per alternative")
        else:
            flat[prefix + key] = value
    return flat


_READERS: dict[str, Callable[[object], object]] = {
    "methods": _texts,
    "splits": _texts,
    "seeds": _seeds,
    "settings": _settings,
    "trials": _integers(MAX_TRIALS, 0, f"a number from 0 to {MAX_TRIALS}, or a list of numbers"),
    "recipe": _text,
    "edition": _text,
    "network": _text,
    "standardise": _text,
    "rescale": _flag,
    "metrics": _texts,
    "rule": _text,
    "level": _text,
    "validations": _validations,
    "recipe_keys": _texts,
    "controls": _flag,
    "companions": _flag,
    "optional": _flag,
}
