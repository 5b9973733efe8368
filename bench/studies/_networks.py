"""Fitted networks and profiles of folds, for studies that look inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import RunFailed
from bench.data.sides import Fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from bench.core.samples import Output, Samples
    from bench.data.views import Side
    from bench.runs.job import Job
    from bench.studies._lab import Lab
    from bench.training.method import NetworkMethod

__all__ = ["batch_statistics", "fitted_network", "profiles_of"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


def fitted_network(lab: Lab, job: Job, fold: Fold) -> NetworkMethod:
    """Return the fitted network of a chain on one fold, from disk or trained again."""
    return cast("NetworkMethod", lab.runner.fold_run(job, fold).network())


def profiles_of(lab: Lab, job: Job, train: Ints, test: Ints) -> tuple[Side, Output]:
    """Return the training side and its profiles of a chain fitted on any rows.

    The trainings and profiles are kept like those of runs, but no record is made: nothing is
    scored, so a row may stand on both sides.

    Parameters
    ----------
    lab, job
        The study's, and what is fitted.
    train, test
        Rows of the opened data set; ``test`` is what a transductive method adapts to.
    """
    whole = job.target.folds[0]
    fold = Fold(
        name="study",
        train=np.sort(train),
        validation=np.empty(0, np.int64),
        test=np.sort(test),
        scored=np.ones(len(test), bool),
        classes=whole.classes,
        n_excluded=0,
        excluded_classes=(),
    )
    run = lab.runner.fold_run(job, fold)
    side, output, _, _ = run.outputs()
    lab.rest_on(job.ids(fold)[-1].apply_train)
    return side, output


def batch_statistics(
    method: NetworkMethod, view: Samples, groups: Sequence[Ints]
) -> list[tuple[str, Doubles, Doubles]]:
    """Return what each BatchNorm layer would take from each group of rows.

    Every group is sent through the network by itself, the layers normalising as the method asks
    for: by running averages, or by the group. In front of each BatchNorm layer the mean and the
    biased variance of every channel over the group's rows and pixels are taken, as the layer does.

    Parameters
    ----------
    method
        A fitted network.
    view
        Rows as ``apply`` sees them.
    groups
        Positions of the rows of each group, at least two each.

    Returns
    -------
    list
        For each layer in order its path, and mean and variance ``(groups, channels)``.
    """
    from bench.training.batchnorm import BatchStatistics, moments

    model = method.fitted.model
    layers = [(n, m) for n, m in model.network.named_modules() if isinstance(m, BatchStatistics)]
    found: dict[str, list[tuple[Doubles, Doubles]]] = {name: [] for name, _ in layers}

    def watching(name: str) -> Callable[[Any, tuple[Tensor, ...]], None]:
        def watch(module: Any, inputs: tuple[Tensor, ...]) -> None:
            mean, var, _, _ = moments(inputs[0], None, None)
            found[name].append((mean[0].double().cpu().numpy(), var[0].double().cpu().numpy()))

        return watch

    hooks = [layer.register_forward_pre_hook(watching(name)) for name, layer in layers]
    try:
        for rows in groups:
            before = {name: len(seen) for name, seen in found.items()}
            method.apply(view.take(rows))
            if any(len(seen) != before[name] + 1 for name, seen in found.items()):
                raise RunFailed("it sends a group of rows through the network in several parts")
    finally:
        for hook in hooks:
            hook.remove()
    return [
        (name, np.stack([m for m, _ in seen]), np.stack([v for _, v in seen]))
        for name, seen in found.items()
    ]
