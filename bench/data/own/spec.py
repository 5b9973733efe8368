"""Format of ``dataset.toml``: its keys, their allowed values, and error messages."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bench.core.errors import BenchError, did_you_mean
from bench.core.split import Split
from bench.data.packaged import packaged_splits
from bench.data.rules import check_split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.core.types import Facts


_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {_shown(value)}")
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"must be a string or a list of strings, not {_shown(value)}")
    if not all(item.strip() for item in value):
        raise ValueError("must not contain an empty string")
    twice = [item for item, n in Counter(value).items() if n > 1]
    if twice:
        raise ValueError(f"names '{twice[0]}' twice: keep one")
    return tuple(value)


def _some_texts(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    if not texts:
        raise ValueError("must name at least one column")
    return texts


def _numbers(value: Any) -> tuple[int, ...]:  # noqa: ANN401 - a value of a TOML file before it is checked
    whole = isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
    if not whole or not value or len(set(value)) != len(value):
        raise ValueError(f"must list whole numbers from 0, each once, not {_shown(value)}")
    return tuple(value)


def _side(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        example = '{ COLUMN = ["value"] }'
        raise ValueError(f"must be a table of column values such as {example}, not {_shown(value)}")
    partition = {}
    for column, values in value.items():
        listed = values if isinstance(values, list) else [values]
        if any(isinstance(item, dict | list) for item in listed):
            raise ValueError(f"must list plain values for {column}, not {_shown(values)}")
        partition[column] = tuple(str(item) for item in listed)
    return partition


def _control(value: object) -> dict[str, tuple[str, ...]] | str:
    if not isinstance(value, dict):
        return _text(value)
    if len(value) != 1:
        raise ValueError(f"must name one column and its control values, not {_shown(value)}")
    return _side(value)


def _test(value: object) -> dict[str, tuple[str, ...]] | str:
    return value if value == "all" else _side(value)


def _rules(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f'must be a table of rules such as COLUMN = "< 50", not {_shown(value)}')
    return value


def _pixel(value: object) -> str | float:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1000:
        raise ValueError(f"must be a pixel size in um or the name of a column, not {_shown(value)}")
    return float(value)


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, bool | dict) else repr(value)
    text = text.lower() if isinstance(value, bool) else text
    return text if len(text) <= 60 else text[:57] + "…"


Text = Annotated[str, BeforeValidator(_text)]
SomeTexts = Annotated[tuple[str, ...], BeforeValidator(_some_texts)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(_numbers)]
Pixel = Annotated[str | float, BeforeValidator(_pixel)]
AnyTexts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
RowFilter = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_side)]
Rules = Annotated[dict[str, str], BeforeValidator(_rules)]
Control = Annotated[dict[str, tuple[str, ...]] | str, BeforeValidator(_control)]
TestSide = Annotated[dict[str, tuple[str, ...]] | str, BeforeValidator(_test)]


class SplitSpec(BaseModel):
    """One ``[splits.NAME]`` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hold_out: Text | None = None
    train: RowFilter | None = None
    validation: RowFilter | None = None
    test: TestSide | None = None
    protocol: Text = "supervised"
    task: Text | None = None
    metric: Text | None = None
    metrics: AnyTexts = ()
    score_unit: Text | None = None
    shift: Text | None = None
    expose: AnyTexts | None = None
    shares: AnyTexts = ()
    also_new: Text | None = None


class Spec(BaseModel):
    """Content of a ``dataset.toml``. Columns have the same names as in the table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    kind: Text = "profiles"
    table: Text
    features: Text | None = None
    layer: Text | None = None
    obsm: Text | None = None
    images: SomeTexts | None = None
    array: Text | None = None
    axes: Text = "NCHW"
    channels: Numbers | None = None
    crop: SomeTexts | None = None
    pixel: Pixel | None = None
    id: SomeTexts | None = None
    label: Text
    batches: SomeTexts
    level: Text | None = None
    control: Control | None = None
    treatment: SomeTexts | None = None
    compound: SomeTexts | None = None
    nscb_batch: Text | None = None
    well: SomeTexts | None = None
    position: Text | None = None
    entity: Text | None = None
    relationships: AnyTexts = ()
    cell_count: Text | None = None
    exclude: Text | None = None
    exclude_if: Rules = Field(default_factory=dict)
    metadata: AnyTexts = ()
    upstream: AnyTexts = ()
    encoder: Text | None = None
    licence: Text | None = None
    citation: Text | None = None
    score_unit: Text = "row"
    expose: AnyTexts = ()
    splits: dict[str, SplitSpec] = Field(default_factory=dict)

    @property
    def control_column(self) -> str | None:
        """The column that marks controls, by its own values or by those that ``control`` lists."""
        return next(iter(self.control)) if isinstance(self.control, dict) else self.control

    @property
    def steps(self) -> tuple[str, ...]:
        """Upstream processing, first the encoder of a table of embeddings."""
        return (*([f"encoder: {self.encoder}"] if self.encoder else ()), *self.upstream)


_EXAMPLES = {
    "name": 'name = "my-plates"',
    "table": 'table = "FILE.parquet"',
    "features": 'features = "^(Cells|Nuclei)_", a regular expression over the columns',
    "label": 'label = "COLUMN"',
    "batches": 'batches = ["PLATE COLUMN", "DAY COLUMN"], smallest first',
}


def _problem(error: Any, data: Facts) -> str:  # noqa: ANN401 - a value of a TOML file before it is checked
    """Return a pydantic error as one sentence, in the terms of the TOML file."""
    at = [str(part) for part in error["loc"]]
    key = at[-1]
    in_split = len(at) == 3 and at[0] == "splits"
    if error["type"] == "extra_forbidden":
        if in_split and key in Spec.model_fields:
            return (
                f"'{key}' in [splits.{at[1]}] belongs to the data set: move it above "
                "the first [splits.…] line"
            )
        if in_split:
            return did_you_mean(key, list(SplitSpec.model_fields), f"key in [splits.{at[1]}]")
        message = did_you_mean(key, list(Spec.model_fields), "key")
        if isinstance(data.get(key), dict) and "splits" not in message.partition("Did you")[2]:
            return f"unknown table [{key}]: a split is written [splits.{key}]"
        return message
    if error["type"] == "missing":
        return f"no key '{key}': add {_EXAMPLES.get(key, f'{key} = …')}"
    name = ".".join(at)
    if error["type"] == "value_error":
        return f"{name} {error['ctx']['error']}"
    return f"{name} must be a table such as [splits.weeks], not {_shown(error['input'])}"


def problem_of(error: ValidationError, data: Facts) -> str:
    """Return the first problem of a description as one sentence, and the number of others."""
    problems = error.errors()
    # a misspelt key is also reported as missing: report the misspelling
    problems.sort(key=lambda e: {"extra_forbidden": 0, "missing": 2}.get(e["type"], 1))
    more = f" ({len(problems) - 1} more after this)" if len(problems) > 1 else ""
    return f"{_problem(problems[0], data)}{more}"


def parse(path: Path) -> Spec:
    """Read a ``dataset.toml``; raises :class:`BenchError` with a one-line message."""
    if path.is_dir():
        raise BenchError(f"{path} is a folder: name the dataset.toml in it")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        others = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, others, n=1, cutoff=0.5)
        hint = f"did you mean {path.parent / near[0]}?" if near else "check the path"
        raise BenchError(f"there is no file {path}: {hint}") from None
    except OSError as error:
        raise BenchError(f"{path} cannot be read ({error.strerror}): check it") from None
    except UnicodeDecodeError:
        raise BenchError(f"{path} is not text in UTF-8: save it as UTF-8") from None
    if not text.strip():
        raise BenchError(
            f"{path} is empty: it needs at least name, table, features, label, batches and a "
            "[splits.NAME] table"
        )
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BenchError(f"{path} is not TOML: {error}; correct that line") from None
    except RecursionError:
        raise BenchError(f"{path} is too deeply nested: write it without such tables") from None
    try:
        return Spec.model_validate(data)
    except ValidationError as error:
        raise BenchError(f"{path}: {problem_of(error, data)}") from None


def _sentence(spec: SplitSpec) -> str:
    """Describe how train and test differ, for a split without a description."""
    what = "well position" if spec.also_new == "well" else f"value of {spec.also_new}"
    also = f", except rows with the {what} of a scored row" if spec.also_new else ""
    if spec.protocol == "unsupervised":
        return "no training: all rows are corrected at once and scored by retrieval"
    if spec.hold_out is not None:
        return f"each value of {spec.hold_out} is the test set once; the rest trains{also}"

    def rows(partition: Mapping[str, Sequence[str]]) -> str:
        return " and ".join(
            f"{column} {' or '.join(values[:4])}{' or …' if len(values) > 4 else ''}"
            for column, values in partition.items()
        )

    test = rows(spec.test) if isinstance(spec.test, dict) else str(spec.test)
    train = f"rows of {rows(spec.train)} train" if spec.train else "all other rows train"
    checked = f"; {rows(spec.validation)} validates" if spec.validation else ""
    return f"the test set is {test}{checked}; {train}{also}"


def split_of(spec: Spec, name: str, own: SplitSpec) -> Split:
    """Return the split of a ``[splits.NAME]`` table; raises if its keys contradict each other."""
    if own.protocol == "transfer":
        raise BenchError(
            f"split '{name}': an encoder is taken from one registered data set to another, not to "
            'a file: leave protocol out, or write protocol = "unsupervised"'
        )
    unsupervised = own.protocol == "unsupervised"
    metric = own.metric or (own.metrics[0] if unsupervised and own.metrics else None)
    if unsupervised and metric is None:
        raise BenchError(
            f'split \'{name}\' is unsupervised and names no metric: add metrics = ["nscb", "nsc"]'
        )
    expose = spec.expose if own.expose is None else own.expose
    for column, what in ((spec.label, "label"), (spec.control_column, "control")):
        if column in expose:
            raise BenchError(
                f"split '{name}' exposes '{column}', the {what} column: take it out of expose"
            )
    return check_split(
        Split(
            name=f"{spec.name}/{name}",
            dataset=spec.name,
            shift=own.shift or _sentence(own),
            task=own.task or ("retrieve" if unsupervised else "classify"),
            metric=metric or "balanced_accuracy",
            score_unit=own.score_unit or spec.score_unit,
            hold_out=own.hold_out,
            train=own.train,
            validation=own.validation,
            test=own.test,
            protocol=own.protocol,
            expose=expose,
            metrics=own.metrics,
            shares=own.shares,
            also_new=own.also_new or "",
        )
    )


def check(spec: Spec) -> None:
    """Raise if the keys of a description contradict each other, before its table is read."""
    for name, what in ((spec.name, "name"), *((name, "split name") for name in spec.splits)):
        if not re.fullmatch(_NAME, name):
            raise BenchError(f"{what} '{name}' may contain letters, digits, '.', '_' and '-' only")
    taken = sorted({f"{spec.name}/{name}" for name in spec.splits} & set(packaged_splits()))
    if taken:
        # records of both would be on one board
        raise BenchError(
            f"'{taken[0]}' is the name of a packaged split: choose another name for the data set "
            "or the split"
        )
    if spec.kind not in ("profiles", "images"):
        raise BenchError(did_you_mean(spec.kind, ["profiles", "images"], "kind"))
    _check_pixels(spec)
    if spec.layer and spec.obsm:
        raise BenchError("layer and obsm both name the features: keep one of them")
    if spec.level is not None and spec.level not in spec.batches:
        raise BenchError(did_you_mean(spec.level, list(spec.batches), "level (one of batches)"))
    if spec.label in spec.batches:
        raise BenchError(f"'{spec.label}' is the label and in batches: it can be one of the two")
    if not spec.splits:
        raise BenchError('no split: add [splits.NAME] with hold_out = "COLUMN" below the keys')
    try:
        re.compile(spec.features or "")
    except re.error as error:
        raise BenchError(
            f"features '{spec.features}' is not a regular expression: {error}; correct it"
        ) from None


def _check_pixels(spec: Spec) -> None:
    """Raise for image keys on profiles, and for images specified in more than one way."""
    from bench.data.own.images import AXES

    keys = ("images", "array", "channels", "crop", "pixel")
    used = [key for key in keys if getattr(spec, key)]
    if spec.kind == "profiles":
        if used:
            raise BenchError(f"'{used[0]}' is for images: write kind = \"images\", or take it out")
        if spec.features is None:
            raise BenchError(f"no key 'features': add {_EXAMPLES['features']}")
        return
    if spec.features is not None:
        raise BenchError('images have no features: take that key out, or write kind = "profiles"')
    if bool(spec.images) == bool(spec.array):
        raise BenchError(
            'kind = "images" needs images = "COLUMN OF FILE NAMES" or array = "FILE.npy", one of '
            "the two"
        )
    if spec.axes not in AXES:
        raise BenchError(did_you_mean(spec.axes, list(AXES), "axes"))
    if spec.array and (spec.exclude or spec.exclude_if):
        raise BenchError(
            "exclude needs images in files, not an array: remove the rows from the array and table"
        )
    if spec.crop and (spec.array or len(spec.crop) != 4):
        raise BenchError(
            "crop needs images, and names four columns: top, left, height and width in pixels"
        )
