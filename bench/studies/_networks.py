"""Fitted networks and profiles of folds, for studies of network internals."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import RunFailed
from bench.data.partitions import Fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from torch.nn import Module

    from bench.core.samples import Output, Samples
    from bench.data.views import Partition
    from bench.runs.job import Job
    from bench.studies._context import StudyContext
    from bench.training.method import NetworkMethod


Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


def fitted_network(context: StudyContext, job: Job, fold: Fold) -> NetworkMethod:
    """Return the fitted network of a chain on one fold, loaded from disk or retrained."""
    return cast("NetworkMethod", context.runner.fold_run(job, fold).network())


def profiles_of(
    context: StudyContext, job: Job, train: Ints, test: Ints
) -> tuple[Partition, Output]:
    """Return the training side and its profiles of a chain fitted on any rows.

    Trainings and profiles are stored like those of runs, but without a record: nothing is scored,
    so a row can be on both sides.

    Parameters
    ----------
    train, test
        Rows of the opened data set; a transductive method adapts to ``test``.
    """
    first = job.task.folds[0]
    fold = Fold(
        name="study",
        train=np.sort(train),
        validation=np.empty(0, np.int64),
        test=np.sort(test),
        scored=np.ones(len(test), bool),
        classes=first.classes,
        n_excluded=0,
        excluded_classes=(),
    )
    run = context.runner.fold_run(job, fold)
    partition, output, _, _ = run.outputs()
    context.depend_on(job.ids(fold)[-1].apply_train)
    return partition, output


def batch_statistics(
    method: NetworkMethod, view: Samples, groups: Sequence[Ints]
) -> list[tuple[str, Doubles, Doubles]]:
    """Return the statistics of each group of rows before each BatchNorm layer.

    The network processes each group separately, and its layers normalise as in the method: by
    running averages, or by the group. The mean and the biased variance of every channel over the
    rows and pixels of the group are computed before each BatchNorm layer, as in the layer.

    Parameters
    ----------
    groups
        Row positions of each group, at least two each.

    Returns
    -------
    list
        One entry per layer, in order: its path, and mean and variance ``(groups, channels)``.
    """
    from bench.training.batchnorm import BatchStatistics, moments

    model = method.fitted.model
    layers = [(n, m) for n, m in model.network.named_modules() if isinstance(m, BatchStatistics)]
    statistics: dict[str, list[tuple[Doubles, Doubles]]] = {name: [] for name, _ in layers}

    def recorder(name: str) -> Callable[[Module, tuple[Tensor, ...]], None]:
        def record(module: Module, inputs: tuple[Tensor, ...]) -> None:  # noqa: ARG001 - signature of a forward hook
            mean, var, _, _ = moments(inputs[0], None, None)
            values = mean[0].double().cpu().numpy(), var[0].double().cpu().numpy()
            statistics[name].append(values)

        return record

    hooks = [layer.register_forward_pre_hook(recorder(name)) for name, layer in layers]
    try:
        for rows in groups:
            before = {name: len(values) for name, values in statistics.items()}
            method.apply(view.take(rows))
            if any(len(values) != before[name] + 1 for name, values in statistics.items()):
                raise RunFailed("it does not process a group of rows in one pass of the network")
    finally:
        for hook in hooks:
            hook.remove()
    return [
        (name, np.stack([m for m, _ in values]), np.stack([v for _, v in values]))
        for name, values in statistics.items()
    ]
