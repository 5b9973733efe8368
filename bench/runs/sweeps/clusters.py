"""Dask clusters of a sweep: processes of this machine, a running scheduler, or a batch system."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
import tomllib
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError, did_you_mean
from bench.core.folders import expanded
from bench.runs.device import THREADS, threads

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH_SYSTEMS = ("slurm", "pbs", "lsf", "sge")
GPU = "GPU"
"""Dask resource of a worker with an accelerator."""
BLAS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
KILLS = 10
"""Workers of a batch system that may end during one task: trainings continue in the next one."""


@dataclass(frozen=True)
class Profile:
    """Resources of one job of a batch system, which has one or several workers.

    Attributes
    ----------
    jobs
        Number of jobs; ``--jobs`` takes precedence.
    queue, account, walltime
        Partition or queue, account or project, and time limit such as ``04:00:00``.
    memory
        Memory of a job, such as ``16GB``.
    workers
        Workers per job. Each executes one task at a time on ``$BENCH_THREADS`` threads.
    gpus
        Accelerators per job: 0 or 1, so that each task sees one device.
    image
        Container image; workers are started with ``apptainer exec``.
    prologue
        Shell lines before the worker, such as ``module load python``.
    directives
        Additional directives of the batch system, such as ``--constraint=a100``.
    interface
        Network interface that all machines share, such as ``ib0``.
    python
        Python of the workers. Default: that of the command.
    local_directory, log_directory
        Folders for temporary files and for the output of jobs.
    """

    jobs: int = 1
    queue: str | None = None
    account: str | None = None
    walltime: str | None = None
    memory: str = "8GB"
    workers: int = 1
    gpus: int = 0
    image: str | None = None
    prologue: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    interface: str | None = None
    python: str | None = None
    local_directory: str | None = None
    log_directory: str | None = None


@dataclass(frozen=True)
class Where:
    """Where the tasks of a sweep run; without any field they run in this process.

    Attributes
    ----------
    jobs
        Worker processes of this machine, or jobs of a batch system.
    memory
        Memory limit of each local worker, such as ``8GiB``.
    scheduler
        Address of a running scheduler.
    cluster, profile
        One of :data:`BATCH_SYSTEMS` and a TOML file with the fields of :class:`Profile`.
    devices
        Processes that compute each training together, one after another.
    """

    jobs: int | None = None
    memory: str | None = None
    scheduler: str | None = None
    cluster: str | None = None
    profile: str | None = None
    devices: int = 1

    def __post_init__(self) -> None:
        if self.cluster is not None and self.cluster not in BATCH_SYSTEMS:
            raise BenchError(did_you_mean(self.cluster, list(BATCH_SYSTEMS), "cluster"))
        if self.scheduler is not None and (self.cluster is not None or self.jobs is not None):
            raise BenchError(
                "--scheduler uses the workers of a running scheduler: remove --jobs and --cluster"
            )
        if self.devices > 1 and not self.serial:
            raise BenchError(
                "--devices computes one training after another: use it without --jobs and "
                "--scheduler"
            )
        if (self.cluster is None) != (self.profile is None):
            raise BenchError(
                "--cluster and --profile belong together: --cluster slurm --profile slurm.toml"
            )
        if self.memory is not None and (self.jobs is None or self.cluster is not None):
            raise BenchError("--memory is the limit of the workers of --jobs on this machine")

    @property
    def serial(self) -> bool:
        """Whether tasks run in this process."""
        return self.scheduler is None and self.cluster is None and (self.jobs or 1) == 1


@dataclass
class Connection:
    """A client of a Dask scheduler.

    Attributes
    ----------
    client
        The ``distributed.Client``.
    dashboard
        Address of Dask's dashboard; empty without one.
    local_gpus
        Accelerators of this machine that local workers share.
    n_jobs
        Number of jobs of a batch system that were submitted.
    refused
        Errors of the batch system when jobs were submitted.
    """

    client: Any
    dashboard: str = ""
    local_gpus: int = 0
    n_jobs: int = 0
    refused: list[str] = field(default_factory=list)


def read_profile(text: str) -> Profile:
    """Read the profile of a batch system.

    Raises
    ------
    BenchError
        If the file does not exist or is invalid.
    """
    path = expanded(text)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"--profile {text} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"--profile {text} is not valid TOML: {error}") from None
    kinds = {f.name: str(f.type) for f in fields(Profile)}
    for key, value in data.items():
        if key not in kinds:
            raise BenchError(f"--profile {text}: {did_you_mean(key, list(kinds), 'key')}")
        kind = kinds[key]
        if kind == "int" and (type(value) is not int or not 0 <= value <= 10_000):
            raise BenchError(f"--profile {text}: {key} must be a whole number, not {value!r}")
        if kind.startswith("str") and (not isinstance(value, str) or not value):
            raise BenchError(f"--profile {text}: {key} must be a string, not {value!r}")
        if kind.startswith("tuple"):
            if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
                raise BenchError(f"--profile {text}: {key} must be a list of strings")
            data[key] = tuple(value)
    profile = Profile(**data)
    if profile.gpus > 1:
        raise BenchError(f"--profile {text}: gpus is 0 or 1 per job; use more jobs for more")
    if not profile.jobs or not profile.workers:
        raise BenchError(f"--profile {text}: jobs and workers must be at least 1")
    return profile


@contextlib.contextmanager
def connect(where: Where, device: str) -> Iterator[Connection]:
    """Start or find a cluster, and close what was started.

    Parameters
    ----------
    where
        Which cluster; not serial.
    device
        ``--device`` of the command.

    Raises
    ------
    BenchError
        If Dask is not installed, or the cluster cannot be reached or started.
    """
    try:
        import dask
        import distributed
    except ImportError:
        raise BenchError(
            "sweeps on several processes need Dask: pip install 'labshift[cluster]', or leave out "
            "--jobs, --scheduler and --cluster"
        ) from None
    for name in ("distributed", "distributed.client", "distributed.deploy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors are raised here
    refused: list[str] = []
    environment = {name: os.environ.get(name) or str(threads()) for name in BLAS}
    options: dict[str, object] = {
        "distributed.nanny.pre-spawn-environ": environment,
        "distributed.scheduler.allowed-failures": 3 if where.cluster is None else KILLS,
    }
    if where.scheduler is None and where.cluster is None:  # a busy machine is slow, not dead
        options |= {f"distributed.comm.timeouts.{name}": "180s" for name in ("connect", "tcp")}
    with dask.config.set(options), contextlib.ExitStack() as stack:
        gpus = n_jobs = 0
        if where.scheduler is None:
            if where.cluster is None:
                gpus = _local_gpus(device)
                cluster = _local(where, gpus)
            else:
                cluster, n_jobs = _batch(where, environment, refused)
            stack.callback(_close, cluster)
            target = cluster
        else:
            target = where.scheduler
        try:
            client = distributed.Client(target, timeout=20, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise BenchError(
                f"no Dask scheduler answers at {where.scheduler}: start one with `dask scheduler`, "
                f"or correct the address ({str(error).splitlines()[0]})"
            ) from None
        stack.callback(_close, client)
        yield Connection(client, _dashboard(client), gpus, n_jobs, refused)


def _close(part: Any) -> None:  # noqa: ANN401 - Dask has no types
    """Close a client or a cluster, also if its scheduler or batch system no longer answers."""
    with contextlib.suppress(Exception):
        part.close(timeout=5)


def _local(where: Where, gpus: int) -> Any:  # noqa: ANN401 - Dask has no types
    from distributed import LocalCluster

    try:
        return LocalCluster(
            n_workers=where.jobs,
            threads_per_worker=1,
            memory_limit=where.memory or "auto",
            dashboard_address="127.0.0.1:0",
            resources={GPU: 1} if gpus else None,
            silence_logs=logging.CRITICAL,
        )
    except ValueError as error:
        raise BenchError(f"--memory {where.memory} is not a size such as 8GiB: {error}") from None


def _local_gpus(device: str) -> int:
    """Return the number of CUDA devices; 0 if networks run on the CPU."""
    if device == "cpu":
        return 0
    import torch

    return int(torch.cuda.device_count())


def _batch(where: Where, environment: dict[str, str], refused: list[str]) -> tuple[Any, int]:
    """Submit jobs; return the cluster and the number of jobs."""
    assert where.cluster is not None
    assert where.profile is not None
    profile = read_profile(where.profile)
    try:
        import dask_jobqueue
        from distributed.deploy.spec import ProcessInterface
    except ImportError:
        raise BenchError("--cluster needs dask-jobqueue: pip install 'labshift[cluster]'") from None
    base = getattr(dask_jobqueue, f"{where.cluster.upper()}Cluster")

    job_class: Any = base.job_cls

    class Job(job_class):  # type: ignore[misc]  # Dask has no types
        """A job that keeps the answer of the batch system if it is refused."""

        async def start(self) -> None:
            try:
                await super().start()
            except Exception as error:  # noqa: BLE001 - Dask would only log it
                refused.append(_answer(error))
                await ProcessInterface.start(self)

    try:
        cluster = base(job_cls=Job, **batch_options(where.cluster, profile, environment))
        n_jobs = where.jobs or profile.jobs
        # Unlike scale, adapt submits a job again that ended at its time limit.
        cluster.adapt(minimum_jobs=n_jobs, maximum_jobs=n_jobs)
    except (OSError, ValueError, RuntimeError) as error:
        raise BenchError(
            f"--cluster {where.cluster} cannot be started: {str(error).splitlines()[0]}; correct "
            f"{where.profile}"
        ) from None
    return cluster, n_jobs


def batch_options(system: str, profile: Profile, environment: dict[str, str]) -> dict[str, object]:
    """Return the options of a dask-jobqueue cluster.

    Parameters
    ----------
    system
        One of :data:`BATCH_SYSTEMS`.
    profile
        Resources of a job.
    environment
        Environment variables of the workers.
    """
    n_cpus = profile.workers * threads()
    python = profile.python or sys.executable
    if profile.image is not None:
        python = f"apptainer exec {'--nv ' if profile.gpus else ''}{profile.image} {python}"
    # Not every batch system passes the environment on.
    own = {name: shlex.quote(v) for name, v in os.environ.items() if name.startswith("BENCH_")}
    exports = {**own, THREADS: str(threads()), **environment}
    directives = list(profile.directives)
    account = "account"
    cpus: dict[str, object]
    if system == "slurm":
        cpus = {"job_cpu": n_cpus}
        directives += ["--gres=gpu:1"] if profile.gpus else []
    elif system == "pbs":
        gpu = ":ngpus=1" if profile.gpus else ""
        cpus = {"resource_spec": f"select=1:ncpus={n_cpus}{gpu}:mem={profile.memory}"}
    elif system == "lsf":
        account, cpus = "project", {"ncpus": n_cpus}
        directives += ["-gpu num=1"] if profile.gpus else []
    else:
        account, cpus = "project", {}
        directives += ["-l gpu=1"] if profile.gpus else []
    options: dict[str, object] = {
        # One task per worker at a time: a task may use all CPUs of its worker.
        "cores": profile.workers,
        "processes": profile.workers,
        "memory": profile.memory,
        "queue": profile.queue,
        account: profile.account,
        "walltime": profile.walltime,
        "job_extra_directives": directives,
        "job_script_prologue": [
            *(f"export {name}={value}" for name, value in exports.items()),
            *profile.prologue,
        ],
        "worker_extra_args": ["--resources", f"{GPU}=1"] if profile.gpus else [],
        "interface": profile.interface,
        "local_directory": profile.local_directory,
        "log_directory": profile.log_directory,
        "python": python,
        "job_name": "labshift",
        "scheduler_options": {"dashboard_address": ":0"},
        **cpus,
    }
    return {key: value for key, value in options.items() if value is not None}


def _answer(error: Exception) -> str:
    """Return the last line that a command of the batch system wrote, without Dask's report."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "stderr:" in lines:
        lines = lines[lines.index("stderr:") + 1 :] or lines
    return lines[0] if lines else type(error).__name__


def _dashboard(client: Any) -> str:  # noqa: ANN401 - Dask has no types
    import importlib.util

    if importlib.util.find_spec("bokeh") is None:
        return ""
    return str(client.dashboard_link or "")
