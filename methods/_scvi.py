"""The data and training of scvi-tools models, shared by ``scvi`` and ``sysvi``."""

from __future__ import annotations

import logging
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from ._joint import seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

    from bench.api import Floats, Ints


def annotated(X: Floats, codes: Ints) -> AnnData:
    """Return features ``(n, d)`` with the batch of each row and a constant size factor."""
    import pandas as pd
    from anndata import AnnData

    obs = pd.DataFrame(
        {"batch": pd.Categorical(codes.astype(str)), "size": np.ones(len(X), np.float32)},
        index=[str(k) for k in range(len(X))],
    )
    return AnnData(X=X, obs=obs)


def latent(
    build: Callable[[], Any],
    epochs: int,
    batch_size: int,
    seed: int,
    weights: Mapping[str, float] | None = None,
) -> NDArray[Any]:
    """Train a model on one CPU and return the means of its latent variables, ``(n, p)``.

    Parameters
    ----------
    build
        Returns the untrained model; called with all generators seeded.
    epochs, batch_size
        Of the training.
    seed
        Seed of initialisation, batches and sampling.
    weights
        Weights of terms of the loss.
    """
    names = ("lightning.pytorch", "pytorch_lightning", "scvi")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with seeded(seed), tempfile.TemporaryDirectory() as folder:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            model = build()
            model.train(
                max_epochs=epochs,
                batch_size=batch_size,
                accelerator="cpu",
                devices=1,
                enable_progress_bar=False,
                enable_model_summary=False,
                logger=False,
                train_size=1.0,
                shuffle_set_split=False,
                default_root_dir=folder,
                **({"plan_kwargs": dict(weights)} if weights else {}),
            )
            result: NDArray[Any] = np.asarray(model.get_latent_representation())
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
    return result
