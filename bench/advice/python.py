"""``bench.check`` and ``bench.recommend``: AnnData, data frames, files and registered splits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.advice import guess
from bench.advice.checkup import Check, examine
from bench.advice.defaults import METHODS
from bench.advice.recommend import advise_splits
from bench.advice.support import MethodSupport, supported
from bench.core.errors import BenchError
from bench.core.registry import registry_with
from bench.data.opening import open_all
from bench.data.own.memory import MemoryTable, spec_in_memory
from bench.data.own.table import open_in_memory
from bench.data.task import open_task
from bench.records.results import results_store
from bench.runs.arguments import names, seed_list
from bench.runs.experiment import Experiment
from bench.runs.job import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.advice.advice import Advice
    from bench.core.dataset import Opened
    from bench.core.registry import Registry
    from bench.core.split import Split
    from bench.data.task import Task
    from bench.runs.progress import Progress

COLOURS = {"ok": "#2e7d32", "look": "#b26a00", "warn": "#c62828"}


@dataclass(frozen=True)
class Checkup:
    """Results of :func:`check`; a notebook shows them as a table.

    Attributes
    ----------
    checks
        Results with ``state`` (``ok``, ``look`` or ``warn``), ``topic``, ``text`` and ``facts``.
    methods
        Methods with a verdict (``yes``, ``with care`` or ``no``) and its reason.
    """

    checks: tuple[Check, ...]
    methods: tuple[MethodSupport, ...]

    @property
    def warnings(self) -> tuple[Check, ...]:
        """Checks that can invalidate a comparison."""
        return tuple(check for check in self.checks if check.state == "warn")

    def to_frame(self) -> pd.DataFrame:
        """Return one row per check: ``state``, ``topic`` and ``text``."""
        rows = [(check.state, check.topic, check.text) for check in self.checks]
        return pd.DataFrame(rows, columns=["state", "topic", "text"])

    def __repr__(self) -> str:
        lines = [f"{check.state:4}  {check.topic}: {check.text}" for check in self.checks]
        return "\n".join([*lines, "", f"suitable: {', '.join(self.suitable)}"])

    @property
    def suitable(self) -> tuple[str, ...]:
        """Names of the methods with the verdict ``yes``."""
        return tuple(method.name for method in self.methods if method.verdict == "yes")

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='color:{COLOURS[c.state]}'>{c.state}</td><td>{escape(c.topic)}</td>"
            f"<td style='text-align:left'>{escape(c.text)}</td></tr>"
            for c in self.checks
        )
        return f"<table>{rows}</table><p>Suitable: {escape(', '.join(self.suitable))}</p>"


@dataclass(frozen=True)
class Recommendation:
    """Result of :func:`recommend`; a notebook shows it as text with a table.

    Attributes
    ----------
    splits
        The advice for each split: ``use`` is the recommended method (empty: no correction),
        ``sections`` has the evidence as sentences, ``rows`` the comparisons.
    checks
        Results of the checks before.
    """

    splits: tuple[Advice, ...]
    checks: tuple[Check, ...]

    @property
    def use(self) -> str:
        """The recommended method for the first split; empty means no correction."""
        return self.splits[0].use

    def to_frame(self) -> pd.DataFrame:
        """Return one row per split and compared method, best first."""
        rows = [
            {"split": split.split, **dataclasses.asdict(row)}
            for split in self.splits
            for row in split.rows
        ]
        return pd.DataFrame(rows)

    def save(self, path: Path | str) -> None:
        """Write an HTML page that works offline."""
        from bench.advice.page import page
        from bench.core.disk import new_file

        with new_file(Path(path), parents=False) as part:
            part.write_text(page(list(self.splits), self.checks, "bench.recommend"), "utf-8")

    def __repr__(self) -> str:
        return "\n".join(
            line
            for split in self.splits
            for line in (split.title, *(s for part in split.sections.values() for s in part))
        )

    def _repr_html_(self) -> str:
        parts = []
        for split in self.splits:
            parts.append(f"<h4>{escape(split.title)}</h4>")
            for heading, sentences in split.sections.items():
                text = " ".join(map(escape, sentences))
                parts.append(f"<p><b>{escape(heading)}</b> {text}</p>")
            frame = pd.DataFrame([dataclasses.asdict(row) for row in split.rows])
            columns = ["method", "without", "mean", "gain", "low", "high", "p", "grade"]
            parts.append(frame[columns].to_html(index=False, float_format="{:.3f}".format))
        return "".join(parts)


def check(
    data: Any,  # noqa: ANN401 - AnnData, a DataFrame, or a name
    label: str | None = None,
    batch: str | Sequence[str] | None = None,
    *,
    control: str | Mapping[str, Sequence[str]] | None = None,
    features: str | None = None,
    layer: str | None = None,
    obsm: str | None = None,
    hold_out: str | None = None,
    keys: Mapping[str, object] | None = None,
    plugins: Iterable[Path | str] = (),
) -> Checkup:
    """Check a data set before training, as ``bench.check(adata, label="moa", batch="Plate")``.

    Parameters
    ----------
    data
        ``AnnData``, ``DataFrame``, a ``dataset.toml`` or the name of a split. Of the last two no
        other argument is needed.
    label
        Column of the class to predict.
    batch
        Column or columns of the batches, smallest first, such as ``["Plate", "Week"]``.
    control
        Column that is true for negative controls, or the values of a column:
        ``{"compound": ["DMSO"]}``.
    features
        Regular expression over the features. Default: all of an AnnData; of a DataFrame they are
        recognised by their names, as ``new dataset --from`` does.
    layer, obsm
        Layer or array of an AnnData with the features, instead of ``X``.
    hold_out
        Column of the batches that are held out. Default: the last of ``batch``.
    keys
        Further keys of a ``dataset.toml``, such as ``{"compound": "compound"}``.
    plugins
        Python files with methods or data sets.

    Raises
    ------
    BenchError
        If the data are invalid; the message is that of ``check-data``.

    Examples
    --------
    >>> import bench
    >>> bench.check(adata, label="moa", batch="Plate")  # doctest: +SKIP
    """
    registry = registry_with(plugins)
    declared = _keys(label, batch, control, features, layer, obsm, keys)
    opened, splits, tasks = _opened(data, declared, hold_out, registry)
    checks = examine(opened, splits)
    return Checkup(tuple(checks), tuple(supported(tasks, registry, checks)))


def recommend(  # noqa: PLR0913 - keywords of the public function
    data: Any,  # noqa: ANN401 - AnnData, a DataFrame, or a name
    label: str | None = None,
    batch: str | Sequence[str] | None = None,
    *,
    control: str | Mapping[str, Sequence[str]] | None = None,
    features: str | None = None,
    layer: str | None = None,
    obsm: str | None = None,
    hold_out: str | None = None,
    keys: Mapping[str, object] | None = None,
    methods: str | Iterable[str] = METHODS,
    seeds: int | Iterable[int] = 3,
    recipe: str = "default",
    results: Path | str | None = None,
    plugins: Iterable[Path | str] = (),
    progress: Progress | None = None,
) -> Recommendation:
    """Run suitable methods on held-out batches and recommend a correction.

    Parameters
    ----------
    data, label, batch, control, features, layer, obsm, hold_out, keys, plugins
        As of :func:`check`.
    methods
        Names or chains: ``["erm", "tvn"]`` or ``"erm,tvn"``.
    seeds
        Number of seeds, or the seeds themselves.
    recipe
        ``smoke``, ``default`` or ``paper``.
    results
        Results folder. Default: ``$BENCH_RESULTS`` if set, otherwise ``results``.
    progress
        Receives messages and progress. Default: a progress bar on a terminal or in a notebook.

    Raises
    ------
    BenchError
        If the data are invalid, a method is unknown, or there is no training set.

    Examples
    --------
    >>> import bench
    >>> bench.recommend(adata, label="moa", batch=["Plate", "Week"])  # doctest: +SKIP
    """
    registry = registry_with(plugins)
    chosen = names(methods, "methods")
    for stage in (stage.strip() for name in chosen for stage in name.split("+")):
        registry.entry("method", stage)
    declared = _keys(label, batch, control, features, layer, obsm, keys)
    opened, splits, tasks = _opened(data, declared, hold_out, registry)
    usable = [task for task in tasks if task.supervised]
    if not usable:
        raise BenchError("no split has a training set: name a batch to hold out")
    checks = examine(opened, splits)
    experiment = Experiment(
        list(dict.fromkeys(["erm", *chosen])),
        usable,
        seed_list(seeds),
        Options(recipe),
        registry,
        results_store(results),
    )
    jobs = [job for job in experiment.jobs() if not job.not_applicable]
    records = experiment.run(jobs, progress)
    supports = supported(usable, registry, checks)
    return Recommendation(tuple(advise_splits(jobs, records, checks, supports)), tuple(checks))


def _keys(
    label: str | None,
    batch: str | Sequence[str] | None,
    control: str | Mapping[str, Sequence[str]] | None,
    features: str | None,
    layer: str | None,
    obsm: str | None,
    keys: Mapping[str, object] | None,
) -> dict[str, object]:
    """Return the arguments that were declared, as keys of a ``dataset.toml``."""
    marked = control
    if control is not None and not isinstance(control, str):
        marked = {key: [v] if isinstance(v, str) else list(v) for key, v in control.items()}
    declared: dict[str, object] = {"label": label, "control": marked, "features": features}
    declared |= {"layer": layer, "obsm": obsm}
    if batch is not None:
        declared["batches"] = [batch] if isinstance(batch, str) else list(batch)
    return {**{key: value for key, value in declared.items() if value is not None}, **(keys or {})}


def _opened(
    data: Any,  # noqa: ANN401 - AnnData, a DataFrame, or a name
    declared: dict[str, object],
    hold_out: str | None,
    registry: Registry,
) -> tuple[Opened, list[Split], list[Task]]:
    if isinstance(data, str | Path):
        if declared or hold_out:
            raise BenchError(
                f"{next(iter(declared), 'hold_out')} goes with AnnData or a DataFrame: {data} "
                "describes itself"
            )
        return open_all(str(data), registry, "auto")
    table = MemoryTable(data, declared.get("layer"), declared.get("obsm"))  # type: ignore[arg-type]
    for key in ("label", "batches"):
        if key not in declared:
            name = "batch" if key == "batches" else key
            raise BenchError(f'name the column of the {name}: {name}="COLUMN"')
    levels = [str(level) for level in declared["batches"]]  # type: ignore[attr-defined]
    if "features" not in declared:
        roles = {str(declared["label"]), *levels}
        numbers = [name for name in table.numeric() if name not in roles or table.apart]
        declared["features"] = "." if table.apart else guess.features(numbers, roles)[0]
    held_out = hold_out or levels[-1]
    known = [level for level in levels if level in table.frame]
    shared = guess.shared(guess.Columns(table.frame[known], typed=True), held_out, known)
    spec, splits = spec_in_memory("data", declared, {held_out: shared})
    opened = open_in_memory(spec, table, splits)
    return opened, splits, [open_task(split.name, split, opened) for split in splits]
