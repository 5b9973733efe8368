"""Storage of an optuna study."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.canonical import digest
from bench.core.errors import BenchError
from bench.runs.tuning.space import (
    BEAT,
    BEAT_S,
    WARM_UP,
    Tuning,  # TC
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import optuna


@contextlib.contextmanager
def open_study(tuning: Tuning, name: str, higher: bool) -> Iterator[optuna.Study]:
    """Open or create a study. A journal can be used by one process at a time."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=WARM_UP, n_warmup_steps=0)
    with contextlib.ExitStack() as stack:
        if tuning.storage:
            storage = _database(tuning.storage)
        else:
            storage = stack.enter_context(_journal(tuning.store.root / "tuning", name))
        yield optuna.create_study(
            study_name=name,
            storage=storage,
            direction="maximize" if higher else "minimize",
            pruner=pruner,
            load_if_exists=True,
        )


def _database(url: str) -> Any:  # noqa: ANN401 - types of optuna are imported lazily
    import optuna

    if "://" not in url:
        raise BenchError(
            f"--storage takes the URL of a database, such as sqlite:///tuning.db or "
            f"postgresql+psycopg://user@host/name, not '{url}'"
        )
    try:
        for attempt in range(5):
            try:
                return optuna.storages.RDBStorage(url)
            except Exception as error:
                # If workers create the tables at the same time, all but one fail.
                race = any(text in str(error) for text in ("already exists", "duplicate key"))
                if not race or attempt == 4:
                    raise
                time.sleep(0.5 * (attempt + 1))
    except (ImportError, OSError) as error:
        raise BenchError(
            f"--storage {_without_password(url)}: the driver cannot be loaded ({error}); "
            "install it, such as `pip install 'psycopg[binary]'`"
        ) from error
    except Exception as error:
        # SQLAlchemy and each driver raise their own exceptions.
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BenchError(
            f"--storage {_without_password(url)} cannot be opened ({first}): correct the URL or "
            "start the database"
        ) from error


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.split(':')[0]}@{tail}" if at else url


@contextlib.contextmanager
def _journal(folder: Path, name: str) -> Iterator[Any]:
    """Open the journal of a study, truncating a line left incomplete by a killed process."""
    from filelock import FileLock, Timeout
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(
            f"{folder} cannot be made ({error.strerror}): choose another folder with --results"
        ) from None
    path = folder / f"{digest(name, 16)}.journal"
    owner = FileLock(str(path.with_suffix(".owner")))
    try:
        owner.acquire(timeout=0)
    except Timeout:
        raise BenchError(
            f"another process is tuning '{name}' in {folder}: wait for it, or give all workers one "
            "database with --storage URL"
        ) from None
    try:
        # No other process uses the journal, so an existing optuna lock is stale.
        Path(f"{path}.lock").unlink(missing_ok=True)
        if path.is_file():
            data = path.read_bytes()
            complete = data[: data.rfind(b"\n") + 1]
            if len(complete) < len(data):
                os.truncate(path, len(complete))
        yield JournalStorage(JournalFileBackend(str(path)))
    finally:
        owner.release()


class Beat:
    """Heartbeat that shows other workers that a trial is still running."""

    def __init__(self, trial: Any, *, on: bool) -> None:  # noqa: ANN401 - types of optuna are imported lazily
        self._trial, self._on = trial, on
        self._stop: Any = None

    def __enter__(self) -> None:
        if not self._on:
            return
        import threading

        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(BEAT_S):
                self._trial.set_user_attr(BEAT, time.time())

        self._stop = stop
        self._thread = threading.Thread(target=beat, daemon=True)
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        if self._stop is not None:
            self._stop.set()
            self._thread.join()
            self._stop = None
