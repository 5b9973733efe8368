"""One training on several devices: processes that each compute a part of every step.

The command is process 0. The others are started with the first training, open its data when process
0 begins it, and keep nothing on disk. They exchange gradients through ``torch.distributed``: NCCL
with CUDA, otherwise gloo.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import multiprocessing
import os
import socket
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError, RunFailed
from bench.runs.chain import Chain
from bench.runs.progress import Silent
from bench.runs.sweeps.graph import learnt_stage
from bench.runs.sweeps.units import opened
from bench.runs.sweeps.work import as_in_the_command, execute

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from bench.runs.progress import Progress
    from bench.runs.sweeps.graph import Task
    from bench.runs.sweeps.work import Result, Stamp

PATIENCE = dt.timedelta(minutes=10)
"""Time after which a process that waits for another one fails."""


class Devices:
    """Processes for the trainings of a sweep; started with the first training.

    Parameters
    ----------
    n
        Number of processes, with this one.
    device
        ``--device`` of the command.
    """

    def __init__(self, n: int, device: str) -> None:
        self.n = n
        self._cuda = _cuda(n, device)
        self._helpers: list[tuple[BaseProcess, Connection]] = []

    def execute(
        self, task: Task, parents: Sequence[Result], progress: Progress, expected: Stamp
    ) -> Result:
        """Execute a task; all processes compute a training."""
        if task.kind != "fit":
            return execute(task, parents, progress, expected)
        from bench.training.parallel.group import Group, together

        with together(Group(0, self.n, lambda: self._begin(task))):
            result = execute(task, parents, progress, expected)
        self._end()
        return result

    def _begin(self, task: Task) -> None:
        """Let the other processes train, too."""
        if not self._helpers:
            self._start()
        for _, connection in self._helpers:
            connection.send(task)

    def _start(self) -> None:
        import torch.distributed as dist

        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        try:
            for rank in range(1, self.n):
                if self._cuda:
                    os.environ["CUDA_VISIBLE_DEVICES"] = _visible(visible, rank)
                mine, theirs = context.Pipe()
                arguments = (rank, self.n, port, self._cuda, theirs)
                process = context.Process(target=_helper, args=arguments, daemon=True)
                process.start()
                self._helpers.append((process, mine))
        finally:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            if visible is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = visible
        _join(0, self.n, port, self._cuda)
        assert dist.is_initialized()

    def _end(self) -> None:
        """Wait until the other processes have ended a training; stop them if one failed."""
        failed = False
        for process, connection in self._helpers:
            try:
                failed = bool(connection.recv()) or failed
            except (EOFError, OSError):
                failed = True
            failed = failed or not process.is_alive()
        if failed:
            self.close()

    def close(self) -> None:
        """Stop the other processes."""
        if not self._helpers:
            return
        import torch.distributed as dist

        for process, connection in self._helpers:
            with contextlib.suppress(OSError):
                connection.send(None)
            connection.close()
            process.join(2)
            if process.is_alive():
                process.kill()
                process.join()
        self._helpers.clear()
        dist.destroy_process_group()


@contextlib.contextmanager
def devices(n: int, device: str) -> Iterator[Devices]:
    """Stop the processes at the end of a block."""
    pool = Devices(n, device)
    try:
        yield pool
    finally:
        pool.close()


def _cuda(n: int, device: str) -> bool:
    """Return whether each process has a CUDA device.

    Raises
    ------
    BenchError
        If there are some, but not enough.
    """
    if device == "cpu":
        return False
    import torch

    there = torch.cuda.device_count()
    if there and there < n:
        raise BenchError(f"--devices {n}: there are {there} CUDA devices; use --device cpu or less")
    return there > 0


def _visible(before: str | None, rank: int) -> str:
    return before.split(",")[rank] if before else str(rank)


def _join(rank: int, n: int, port: int, cuda: bool) -> None:
    import torch.distributed as dist

    dist.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=n,
        timeout=PATIENCE,
    )


def _helper(rank: int, n: int, port: int, cuda: bool, connection: Any) -> None:  # noqa: ANN401 - a Connection of two types
    """Train with process 0 whenever it sends a task, until it closes the connection."""
    from bench.training.parallel.group import Group, together

    _join(rank, n, port, cuda)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while (task := connection.recv()) is not None:
            try:
                with together(Group(rank, n)):
                    _train(task)
            except Exception as error:  # noqa: BLE001 - process 0 reports it
                if not isinstance(error, RunFailed):
                    traceback.print_exc()
                connection.send(str(error) or type(error).__name__)
                return
            connection.send("")


def _train(task: Task) -> None:
    """Compute this process's part of a training."""
    with as_in_the_command(task.unit.host):
        unit = opened(task.unit)
        job = unit.jobs[task.number]
        [fold] = [fold for fold in job.task.folds if fold.name == task.fold]
        job = job.of_fold(fold)
        k = learnt_stage(job)
        assert k is not None
        chain = Chain(job.chain.typed, job.chain.stages[: k + 1])
        runner = unit.runner(Silent())
        runner.fold_run(replace(job, chain=chain), fold, "ignore").network()
