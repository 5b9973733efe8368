"""Tiny data sets, tables on disk and methods from a few lines of source."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.api import Opened, Split
from bench.core.registry import Registry
from bench.data.opening import open_splits
from bench.data.own.table import ArraySource
from bench.data.task import StageRows, Task, open_task
from bench.data.views import Partition, make_partition
from bench.records.store import Store
from bench.runs import identity
from bench.runs.job import Job, Options
from bench.runs.plan import plan
from bench.runs.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.data.partitions import Fold
    from bench.records.record import Record
    from bench.runs.chain import Chain

LABELS = ("actin", "golgi", "nucleus")
QUICK = {"steps": 6, "batch_size": 16, "width": 8}
"""A recipe that trains in a tenth of a second."""


class Images:
    """An image source in memory."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self._pixels = pixels
        self.shape: tuple[int, ...] = pixels.shape[1:]
        self.dtype: np.dtype[Any] = pixels.dtype

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        return self._pixels[rows]


def frame(
    batches: int = 4, per_class: int = 5, controls: int = 4, seed: int = 0
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Return an index and profiles ``(n, 6)``: class means, a shift per plate, and noise."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    X: list[NDArray[np.float64]] = []
    for b in range(batches):
        shift = rng.normal(0, 1, 6)
        wells = [*np.repeat(np.arange(len(LABELS)), per_class), *[-1] * controls]
        for w, k in enumerate(wells):
            centre = np.zeros(6)
            if k >= 0:
                centre[k] = 2.0
            X.append(centre + shift + rng.normal(0, 0.6, 6))
            rows.append(
                {
                    "id": f"p{b}-w{w:02d}",
                    "label": LABELS[k] if k >= 0 else "",
                    "control": bool(k < 0),
                    "plate": f"p{b}",
                    "week": f"w{b // 2}",
                    "position": f"A{w:02d}",
                    "well": f"p{b}/A{w:02d}",
                    "count": str(rng.integers(9)),
                }
            )
    return pd.DataFrame(rows), np.array(X, dtype=np.float32)


def opened(
    *,
    images: bool = False,
    order: NDArray[np.int64] | None = None,
    index: pd.DataFrame | None = None,
    X: NDArray[np.float32] | None = None,
    seed: int = 0,
    name: str = "tiny",
    digest: str = "d" * 64,
    **shape: int,
) -> Opened:
    """Return a data set in memory with rows permuted by ``order``."""
    default, profiles = frame(seed=seed, **shape)
    index, X = default if index is None else index, profiles if X is None else X
    if order is not None:
        index, X = index.iloc[order].reset_index(drop=True), X[order]
    source: Any = ArraySource(X)
    if images:
        rng = np.random.default_rng(seed)
        pattern = rng.normal(0, 1, (X.shape[1], 2, 12, 12))
        pixels = np.einsum("nd,dchw->nchw", X, pattern) * 10 + 100
        source = Images(np.clip(pixels, 0, 255).astype(np.uint8))
    return Opened(
        name=name,
        index=index,
        source=source,
        levels=("plate", "week"),
        level="plate",
        edition="fixture",
        digest=digest,
        columns={"well": "well", "position": "position"},
    )


def split(name: str = "tiny/last", **fields: Any) -> Split:
    """Return a split; by default the last plate is the test set."""
    if not fields.keys() & {"hold_out", "test", "train"}:
        fields["test"] = {"plate": ("p3",)}
    fields.setdefault("shares", ("week",))
    return Split(name=name, dataset="tiny", shift="another plate", **fields)


def task(data: Opened | None = None, typed: str = "", **fields: Any) -> Task:
    """Return an opened split of a tiny data set."""
    declared = split(**fields)
    return open_task(typed or declared.name, declared, opened() if data is None else data)


def partition(data: Opened, fold: Fold, role: str, **options: Any) -> Partition:
    """Return one side of a fold; only the training side has labels."""
    rows = fold.train if role == "train" else fold.test
    level = options.pop("level", data.level)
    seed = options.pop("seed", 0)
    labels = options.pop("labels", role == "train")
    return make_partition(data, rows, fold.classes, level, role, seed, labels=labels, **options)


def write_table(folder: Path, splits: str = "", keys: str = "", **shape: int) -> Path:
    """Write the tiny data set as a table of the user; return the TOML file."""
    folder.mkdir(parents=True, exist_ok=True)
    index, X = frame(**shape)
    table = index.drop(columns=["well"])
    table["label"] = table["label"].replace("", "dmso")
    for j in range(X.shape[1]):
        table[f"f{j}"] = X[:, j]
    table.to_parquet(folder / "table.parquet")
    path = folder / "dataset.toml"
    path.write_text(
        textwrap.dedent("""\
            name = "tiny-table"
            table = "table.parquet"
            features = "^f[0-9]"
            id = ["id"]
            label = "label"
            batches = ["plate", "week"]
            control = "control"
            position = "position"
            """)
        + keys
        + (splits or '\n[splits.plates]\nhold_out = "plate"\nshares = ["week"]\n'),
        encoding="utf-8",
    )
    return path


def write_outputs(table: Path, folder: Path) -> None:
    """Write ``predictions`` and ``embeddings.parquet`` for the tiny table, and a ``new_plate``."""
    rows = pd.read_parquet(table.parent / "table.parquet")
    rows.assign(prediction=rows["label"])[["id", "prediction"]].to_parquet(
        folder / "predictions.parquet"
    )
    features = [name for name in rows if name.startswith("f")]
    rows[["id", *features]].to_parquet(folder / "embeddings.parquet")
    rows[rows["plate"] == "p3"].assign(plate="p9").to_parquet(folder / "new_plate.parquet")


def open_table(path: Path, *names: str) -> list[Task]:
    """Return the splits of a table on disk."""
    typed = [f"{path}:{name}" for name in names] or [str(path)]
    return open_splits(typed, Registry(), "auto", {}, lambda line: None)


def write_method(folder: Path, name: str, body: str, **meta: Any) -> Path:
    """Write a plugin file; ``body`` defines the class ``M`` and its helpers."""
    folder.mkdir(parents=True, exist_ok=True)
    literal = {
        "kind": "method",
        "name": name,
        "class": "M",
        "level": "profile",
        "version": 1,
        "summary": "For a test.",
        "reference": "none",
        "access": [],
        **meta,
    }
    path = folder / f"{name.replace('-', '_')}.py"
    head = (
        "from dataclasses import dataclass\n\nimport numpy as np\n\n"
        "from bench.api import Access, NotApplicable, Output, RunFailed, param\n"
        "from bench.network import NetworkMethod\n\n"
        "CALLS = []\n\n\n"
    )
    path.write_text(f"META = {literal!r}\n{head}{PROFILE}{textwrap.dedent(body)}", encoding="utf-8")
    return path


PROFILE = '''
@dataclass(frozen=True)
class NoParams:
    """None."""


class Profile:
    Params = NoParams
    ACCESS = Access.NONE

    def __init__(self, params):
        self.params = params

    @classmethod
    def access(cls, params):
        return cls.ACCESS

    def fit(self, train, adapt, ctx):
        CALLS.append("fit")

    def apply(self, samples):
        return Output(samples.X.copy())

    def state(self):
        return {"nothing": np.zeros(1)}

    @classmethod
    def from_state(cls, params, state):
        return cls(params)


'''


def stage_ids(
    chain: Chain,
    registry: Registry,
    data: Opened,
    recipe: Mapping[str, Any],
    classes: tuple[str, ...],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
    *,
    supervised: bool,
    expose: tuple[str, ...] = (),
) -> list[identity.StageIds]:
    """Return the identities of a chain whose stages are all fitted on the training rows."""
    learnt = StageRows(data, train, classes if supervised else ())
    partitions = [learnt] * len(chain.stages)
    return identity.stage_ids(chain, registry, recipe, seed, partitions, data, test, expose=expose)


class Bench:
    """A store and a registry with short calls for runs; counts fits and records messages."""

    def __init__(self, folder: Path, *plugins: Path) -> None:
        self.store = Store(folder)
        self.registry = Registry(plugins)
        self.said: list[str] = []

    def jobs(
        self,
        methods: str,
        tasks: Task | list[Task],
        seeds: int = 1,
        values: Mapping[str, Mapping[str, Any]] | None = None,
        recipe: str = "default",
        **overrides: Any,
    ) -> list[Job]:
        several = tasks if isinstance(tasks, list) else [tasks]
        options = Options(recipe, {**QUICK, **overrides}, values or {}, "cpu")
        return plan(methods.split(","), several, list(range(seeds)), options, self.registry)

    def run(
        self,
        methods: str,
        tasks: Task | list[Task],
        seeds: int = 1,
        values: Mapping[str, Mapping[str, Any]] | None = None,
        if_exists: str = "skip",
        **overrides: Any,
    ) -> list[Record]:
        jobs = self.jobs(methods, tasks, seeds, values, **overrides)
        runner = Runner(self.store, Options(device="cpu", if_exists=if_exists), self.said.append)
        return [runner.run(job) for job in jobs]

    def artifacts(self, file: str) -> list[Path]:
        return sorted((self.store.root / "artifacts").glob(f"*/{file}"))
