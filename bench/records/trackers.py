"""Log runs to experiment trackers: TensorBoard and MLflow (extra ``track``).

Only complete records are logged, each once. Records that a tracker already has are skipped. Both
libraries are imported on first use. Data are sent only to the tracking server that the user
configured.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Protocol

from bench.core.disk import disk_errors, new_folder
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bench.records.record import Record
    from bench.records.store import Store


class Tracker(Protocol):
    """Logs complete records."""

    where: str
    """Command to view the results."""

    def add(self, record: Record) -> bool:
        """Add a record; return False if it already exists."""
        ...


def trackers(names: list[str], store: Store) -> list[Tracker]:
    """Return the trackers with the given names.

    Parameters
    ----------
    names
        Names in :data:`TRACKERS`.
    store
        Results folder, which also contains files of the trackers.

    Raises
    ------
    BenchError
        If a name is unknown, or a library is not installed.
    """
    chosen: list[Tracker] = []
    for name in names:
        if name not in TRACKERS:
            raise BenchError(did_you_mean(name, list(TRACKERS), "tracker"))
        chosen.append(TRACKERS[name](store.outputs))
    return chosen


def scalars(record: Record) -> dict[str, float]:
    """Return the record's values over all rows by name, and the cost of the run."""
    metrics = record.data["metrics"]
    scores = {name: values["all"] for name, values in metrics.items() if "all" in values}
    cost = record.cost
    return scores | {f"cost/{key}": float(cost[key]) for key in cost}  # type: ignore[literal-required]


def facts(record: Record) -> dict[str, str]:
    """Return split, edition, recipe, seed and changed parameters of the run, as text."""
    names = ("split_id", "dataset", "edition", "recipe", "selection", "seed", "track", "readout")
    values: dict[str, object] = {"method": record.method_id}
    values |= {name.removesuffix("_id"): getattr(record, name) for name in names}
    for stage, params in record.params.items():
        values |= {f"{stage}.{key}": value for key, value in params.items()}
    values |= {f"recipe.{key}": value for key, value in record.recipe_overrides.items()}
    values |= {f"data.{key}": value for key, value in record.dataset_settings.items()}
    return {key: str(value) for key, value in values.items()}


def curves(record: Record) -> Iterator[tuple[str, int, float]]:
    """Yield points of the training curves: name, step, value. Names include the fold."""
    table = record.curves()
    if table is None:
        return
    several = table["fold"].nunique() > 1
    columns = (table[name].tolist() for name in ("fold", "stage", "step", "name", "value"))
    for fold, stage, step, name, value in zip(*columns, strict=True):
        yield (f"{stage}/{fold}/{name}" if several else f"{stage}/{name}"), int(step), float(value)


def title(record: Record) -> str:
    """Return a readable name: method, split, seed and the first letters of the run id."""
    return (
        f"{record.method_id} {record.split_id} {record.edition} {record.recipe} "
        f"seed {record.seed} {record.run_id[:8]}"
    )


class TensorBoard:
    """Event files in ``<results>/tensorboard``, one folder per run id."""

    def __init__(self, root: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise _missing("TensorBoard") from None
        self._writer: Any = SummaryWriter
        self.folder = root / "tensorboard"
        self.where = f"tensorboard --logdir {self.folder}"

    def add(self, record: Record) -> bool:
        """Write the curves, the scores at the last step, and the facts of the run."""
        name = title(record).replace("/", "-").replace(" ", "_")
        folder = self.folder / name
        if folder.exists():
            return False
        with disk_errors("write", folder), new_folder(folder) as temporary:
            writer = self._writer(log_dir=str(temporary))
            last = 0
            for label, step, value in curves(record):
                writer.add_scalar(label, value, step)
                last = max(last, step)
            for label, value in scalars(record).items():
                writer.add_scalar(f"score/{label}", value, last)
            writer.add_text("run", "  \n".join(f"{k}: {v}" for k, v in facts(record).items()))
            writer.close()
        return True


class MLflow:
    """Runs of the experiment ``labshift`` at ``$MLFLOW_TRACKING_URI``.

    The default is the database ``<results>/mlflow.db``.
    """

    experiment = "labshift"

    def __init__(self, root: Path) -> None:
        # MLflow sends usage statistics unless this is set.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise _missing("MLflow") from None
        address = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not address:
            root.mkdir(parents=True, exist_ok=True)
            address = f"sqlite:///{(root / 'mlflow.db').absolute()}"
        self.where = f"mlflow ui --backend-store-uri {address}"
        try:
            self._client = MlflowClient(tracking_uri=address)
            experiment = self._client.get_experiment_by_name(self.experiment)
            self._id = (
                experiment.experiment_id
                if experiment
                else self._client.create_experiment(self.experiment)
            )
        except MlflowException as error:
            first = str(error).splitlines()[0]
            raise BenchError(
                f"MLflow at {address} does not answer ({first}): correct $MLFLOW_TRACKING_URI, or "
                "unset it to use a file in the results"
            ) from None

    def add(self, record: Record) -> bool:
        """Log parameters, tags, scores and curves; an incomplete run is logged again."""
        from mlflow.entities import Metric, Param

        query = f"tags.run_id = '{record.run_id}'"
        for old in self._client.search_runs([self._id], query):
            if old.info.status == "FINISHED":
                return False
            self._client.delete_run(old.info.run_id)
        tags = {"run_id": record.run_id, "path": str(record.path or "")}
        run = self._client.create_run(self._id, tags=tags, run_name=title(record)).info
        when = run.start_time
        points = [Metric(_name(key), value, when, step) for key, step, value in curves(record)]
        points += [Metric(_name(key), value, when, 0) for key, value in scalars(record).items()]
        params = [Param(_name(key), value) for key, value in facts(record).items()]
        self._client.log_batch(run.run_id, params=params)
        for k in range(0, len(points), 1000):  # maximum batch size of the server
            self._client.log_batch(run.run_id, metrics=points[k : k + 1000])
        self._client.set_terminated(run.run_id)
        return True


def _name(text: str) -> str:
    """Return a valid MLflow name: letters, digits and ``_-. :/``."""
    return re.sub(r"[^\w\-. :/]", "_", text, flags=re.ASCII)


def _missing(library: str) -> BenchError:
    return BenchError(
        f"{library} is not installed: python -m pip install 'labshift[track]', or omit --track"
    )


TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow}
"""Name on the command line -> tracker."""
