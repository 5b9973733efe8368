"""Fitted corrections in a file, and their application to new tables.

The file is in the safetensors format, which contains no code: arrays of the fitted stages, arrays
that describe the training batches, and a JSON header under the key ``labshift``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.core.access import Access
from bench.core.disk import disk_errors, new_file
from bench.core.errors import BenchError
from bench.core.version import __version__
from bench.core.words import count, listed
from bench.runs.rows import registry_of
from bench.runs.similarity import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bench.core.types import Arrays, Bools, Facts, Floats, Strings
    from bench.records.schema import Isolated
    from bench.runs.chain import Chain
    from bench.runs.corrector import Corrector
    from bench.runs.similarity import Similarity

FORMAT = 1
"""Version of the file format. Files of a later version are refused."""
KEY = "labshift"


@dataclass(frozen=True)
class Header:
    """JSON header of a saved correction.

    Attributes
    ----------
    format, labshift
        Versions of the format and of the program.
    method, params, recipe, seed
        As passed to :class:`bench.Corrector`.
    versions
        Name and version of the method of each stage.
    n_features, features
        Number of features, and their names in order; empty if they had none.
    n_out
        Number of columns returned.
    dataset, batch, control
        Name of the data set, and its columns with batches and controls; empty if unknown.
    batches
        Names of the training batches.
    with_controls
        Whether training rows were negative controls.
    isolated
        How methods of others were isolated in the fit; None for packaged methods.
    """

    method: str
    params: Facts
    recipe: Facts
    seed: int
    versions: list[list[object]]
    n_features: int
    features: list[str]
    n_out: int
    batches: list[str]
    with_controls: bool
    dataset: str = ""
    batch: str = ""
    control: str = ""
    isolated: Isolated | None = None
    format: int = FORMAT
    labshift: str = field(default=__version__)


def write_corrector(
    corrector: Corrector,
    path: Path | str,
    *,
    dataset: str = "",
    batch: str = "",
    control: str = "",
) -> None:
    """Write a fitted correction.

    Parameters
    ----------
    corrector
        A fitted corrector without classes.
    path
        The file; its name usually ends in ``.safetensors``.
    dataset, batch, control
        Name of the training data, and its columns with batches and controls.

    Raises
    ------
    BenchError
        If the correction cannot be used on other rows, or the file cannot be written.
    """
    from safetensors.numpy import save

    chain = corrector.chain_
    refuse_bound(chain)
    method, params = corrector.fitted_
    header = Header(
        method=method,
        params=dict(params),
        recipe=dict(corrector.recipe or {}),
        seed=corrector.seed,
        versions=_versions(chain),
        n_features=int(corrector.n_features_in_),
        features=[str(name) for name in getattr(corrector, "feature_names_in_", [])],
        n_out=int(corrector.n_features_out_),
        batches=corrector.batches_.tolist(),
        with_controls=corrector.with_controls_,
        dataset=dataset,
        batch=batch,
        control=control,
        isolated=corrector.isolated_,
    )
    arrays = {f"reference/{name}": array for name, array in corrector.reference_.arrays.items()}
    for k, state in enumerate(corrector.states_):
        arrays |= {f"stage{k}/{name}": array for name, array in state.items()}
    solid = {n: np.ascontiguousarray(a).reshape(np.shape(a)) for n, a in arrays.items()}
    data = save(solid, {KEY: json.dumps(asdict(header))})
    target = Path(path)
    with disk_errors("write", target, "--output"), new_file(target) as temporary:
        temporary.write_bytes(data)


def read_corrector(path: Path | str, isolate: str = "plugins") -> tuple[Corrector, Header]:
    """Read a correction written by :func:`write_corrector`.

    Parameters
    ----------
    path
        The file.
    isolate
        As of :class:`bench.Corrector`.

    Raises
    ------
    BenchError
        If the file is damaged, of another format or later version, or a method has changed since.
    """
    from safetensors.numpy import load

    from bench.runs.corrector import Corrector

    path = Path(path)
    try:
        raw = path.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        text = json.loads(raw[8 : 8 + size])["__metadata__"][KEY]
        values = json.loads(text)
        arrays = load(raw)
    except FileNotFoundError:
        raise BenchError(f"there is no file {path}: check the path") from None
    except Exception as error:  # noqa: BLE001 - safetensors and json raise many types
        raise BenchError(
            f"{path} is not a saved correction ({type(error).__name__}): write one with "
            "`python -m bench fit METHOD --data FILE.toml --output FILE.safetensors`"
        ) from None
    if int(values.get("format", 0)) > FORMAT:
        raise BenchError(
            f"{path} was written by labshift {values.get('labshift')} in format "
            f"{values['format']}, and this version reads format {FORMAT}: update labshift"
        )
    header = Header(**{f.name: values[f.name] for f in fields(Header) if f.name in values})
    corrector = Corrector(
        header.method,
        params=header.params,
        recipe=header.recipe or None,
        seed=header.seed,
        isolate=isolate,
    )
    _refuse_other_versions(path, header, isolate)
    corrector.fitted_ = (header.method, dict(header.params))
    corrector.n_features_in_ = header.n_features
    if header.features:
        corrector.feature_names_in_ = np.array(header.features, dtype=object)
    corrector.n_features_out_ = header.n_out
    corrector.batches_ = np.array(header.batches)
    corrector.with_controls_ = header.with_controls
    corrector.classes_, corrector.fallbacks_ = np.array([]), 0
    corrector.isolated_ = header.isolated
    corrector.states_ = [_part(arrays, f"stage{k}/") for k in range(len(header.versions))]
    corrector.reference_ = Reference(_part(arrays, "reference/"))
    return corrector, header


def refuse_bound(chain: Chain) -> None:
    """Raise if a stage corrects the rows that it was fitted on only."""
    for stage in chain.stages:
        if Access.ADAPT in stage.access:
            raise BenchError(
                f"{stage.name} is fitted on the rows that it corrects, so it cannot be saved for "
                "other rows: use a method on another track, such as harmony-map or tvn"
            )


def _versions(chain: Chain) -> list[list[object]]:
    return [[stage.name, stage.entry.meta["version"]] for stage in chain.stages]


def _refuse_other_versions(path: Path, header: Header, isolate: str) -> None:
    registry = registry_of(isolate)
    for name, version in header.versions:
        present = registry.entry("method", str(name)).meta["version"]
        if present != version:
            raise BenchError(
                f"{path} was fitted by {name} version {version}, and version {present} is "
                "installed: fit it again"
            )


def _part(arrays: Arrays, prefix: str) -> Arrays:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


@dataclass(frozen=True, eq=False)
class NewTable:
    """A table to correct.

    Attributes
    ----------
    X
        ``(n, d)`` features in the order of the fit.
    rows
        All other columns.
    batch, controls
        ``(n,)`` batch names, and mask of negative controls; None without such a column.
    """

    X: Floats
    rows: pd.DataFrame
    batch: Strings | None
    controls: Bools | None


def read_new(
    path: Path, header: Header, *, batch: str | None = None, control: str | None = None
) -> NewTable:
    """Read a table with the features of a saved correction.

    Parameters
    ----------
    path
        A parquet, csv, tsv or h5ad file.
    header
        Of the correction.
    batch, control
        Columns with batches and controls. Default: those of the training data.

    Raises
    ------
    BenchError
        If features are missing or not finite, a column is missing, or a row has no batch.
    """
    from bench.data.own.columns import as_text, bools, finite, refuse_missing
    from bench.data.own.files import open_table

    if not header.features:
        raise BenchError(
            "the correction was fitted on an array without column names: fit it on a DataFrame, or "
            "use Corrector.load and arrays"
        )
    table = open_table(path)
    missing = [name for name in header.features if name not in table.numbers]
    if missing:
        raise BenchError(
            f"{path} lacks {len(missing)} of {len(header.features)} features of the correction: "
            f"{listed(missing, 3)}; compute the same features, or fit a correction on these"
        )
    chosen = {"batch": batch or header.batch, "control": control or header.control}
    for option, name in chosen.items():
        if name and name not in table.columns:
            raise BenchError(
                f"{path} has no column '{name}' with the {option} of each row: name it with "
                f"--{option} COLUMN"
            )
    features = set(header.features)
    others = [name for name in table.columns if table.apart or name not in features]
    frame, X = table.read(others, header.features)
    if not len(frame):
        raise BenchError(f"{path} has no rows: write at least one")
    finite(X, header.features, np.array([f"row {k}" for k in range(len(frame))], dtype=object))
    names = None
    if chosen["batch"]:
        text = as_text(frame[chosen["batch"]])
        what = f"{path}: batch column '{chosen['batch']}'"
        refuse_missing(text, np.ones(len(text), bool), what, "fill it or drop those rows")
        names = text.astype(str)
    mask = None
    if chosen["control"]:
        mask = bools(frame[chosen["control"]], chosen["control"], table.typed)
    return NewTable(X, frame, names, mask)


def warnings_of(corrector: Corrector, table: NewTable, similar: Sequence[Similarity]) -> list[str]:
    """Return how the batches of a new table differ from those of the fit, one sentence each.

    Parameters
    ----------
    corrector, table
        The fitted correction and the new table.
    similar
        As from :meth:`bench.Corrector.compare`.
    """
    n = len(table.X)
    batch = np.full(n, "all") if table.batch is None else table.batch
    controls = np.zeros(n, bool) if table.controls is None else table.controls
    lines = _few(corrector, batch, controls)
    new = sorted(set(batch.tolist()) - set(corrector.batches_.tolist()))
    bound = [
        stage.name
        for stage in corrector.chain_.stages
        if Access.TRAIN_BATCH in stage.access and not stage.per_batch
    ]
    if new and bound:
        lines.append(
            f"{listed(bound)} learned from batch names and does not know "
            f"{listed(new, 3)}: it corrects them as an average batch"
        )
    for similarity in similar:
        for name in similarity.exceeded:
            distance, limit = similarity.distances[name], similarity.thresholds[name]
            lines.append(
                f"batch {similarity.batch} is unlike the training batches in {name}: distance "
                f"{distance:.2f}, largest of {similarity.n_training} training batches {limit:.2f} "
                f"(about 1 in {similarity.n_training + 1} ordinary batches exceeds it)"
            )
    return lines


def _few(corrector: Corrector, batch: Strings, controls: Bools) -> list[str]:
    """Return which batches have fewer rows or controls than a stage requires."""
    lines = []
    for stage in corrector.chain_.stages:
        least = max(
            int(getattr(stage.params, name, 0) or 0) for name in ("min_controls", "min_rows")
        )
        if not stage.per_batch or not least:
            continue
        own = controls if Access.TEST_CONTROLS in stage.access else np.ones(len(batch), bool)
        what = "control" if Access.TEST_CONTROLS in stage.access else "row"
        names, codes = np.unique(batch, return_inverse=True)
        for name, number in zip(names, np.bincount(codes, own, len(names)), strict=True):
            if number < least:
                lines.append(
                    f"batch {name} has {count(int(number), what)}, and {stage.name} needs {least}: "
                    "the fallback of the method was used"
                )
    return lines
