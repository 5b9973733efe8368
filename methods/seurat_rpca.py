r"""Seurat's integration by reciprocal principal components, run by R.

Each batch has principal components of its own. Two batches are projected onto each other's; pairs
of rows that are mutual nearest neighbours there are anchors, weighted by how consistent their
neighbourhoods are. Batches are merged pair by pair. A row moves by the mean of its nearest anchors'
differences, with Gaussian weights. It is more conservative than Seurat's canonical correlation
where batches share few classes.

Features are standardised by the training rows; all of them are returned. Training *and* evaluation
batches are integrated together, so the method is transductive and cannot correct later rows.

It needs ``Rscript`` with the package Seurat (tested with 4.3.0); no package of Python brings it.
R runs in a process of its own, and values are exchanged as binary files. Neighbours of anchors are
exact; numbers of neighbours are reduced where the smallest batch has fewer rows or anchors. The
seed has no effect. Each pair of batches is compared, so the time grows with the square of their
number.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.api import BenchError, NotApplicable, param

from ._joint import Joint, JointRows, standardised

if TYPE_CHECKING:
    from numpy.typing import NDArray

META = {
    "kind": "method",
    "name": "seurat-rpca",
    "class": "SeuratRpca",
    "deterministic": True,
    "level": "profile",
    "version": 1,
    "summary": "Seurat's integration by reciprocal principal components; needs R.",
    "reference": "Hao et al. 2021, Cell 184:3573-3587",
    "url": "https://doi.org/10.1016/j.cell.2021.04.048",
    "access": ["train-batch", "adapt"],
}

SCRIPT = r"""
arguments <- commandArgs(TRUE)
folder <- arguments[1]
n <- as.integer(arguments[2]); d <- as.integer(arguments[3])
dims <- as.integer(arguments[4]); anchor <- as.integer(arguments[5])
suppressPackageStartupMessages(library(Seurat))
X <- matrix(readBin(file.path(folder, "X.bin"), "double", n * d), nrow = d)
dimnames(X) <- list(paste0("f", seq_len(d)), paste0("r", seq_len(n)))
batch <- readBin(file.path(folder, "batch.bin"), "integer", n)
set.seed(as.integer(arguments[6]))
smallest <- min(table(batch))
dims <- min(dims, smallest - 1, d - 1)
objects <- lapply(sort(unique(batch)), function(b) {
  own <- X[, batch == b, drop = FALSE]
  object <- suppressWarnings(CreateSeuratObject(counts = own))
  object <- suppressWarnings(SetAssayData(object, slot = "data", new.data = own))
  object <- suppressWarnings(ScaleData(object, features = rownames(X), verbose = FALSE))
  suppressWarnings(RunPCA(object, features = rownames(X), npcs = dims, approx = FALSE,
                          verbose = FALSE))
})
anchors <- suppressWarnings(FindIntegrationAnchors(
  object.list = objects, anchor.features = rownames(X), reduction = "rpca", dims = seq_len(dims),
  k.anchor = min(anchor, smallest - 1), k.filter = NA, k.score = min(30, smallest - 1),
  nn.method = "rann", verbose = FALSE))
pairs <- split(anchors@anchors$cell2, paste(anchors@anchors$dataset1, anchors@anchors$dataset2))
weight <- min(100, sapply(pairs, function(cells) length(unique(cells))) - 1)
repeat {
  result <- tryCatch(suppressWarnings(IntegrateData(
    anchorset = anchors, dims = seq_len(dims), k.weight = weight, verbose = FALSE)),
    error = function(e) if (weight < 4) stop(e) else NULL)
  if (!is.null(result)) break
  weight <- weight %/% 2
}
Z <- as.matrix(GetAssayData(result, assay = "integrated", slot = "data"))[rownames(X), colnames(X)]
writeBin(as.double(Z), file.path(folder, "Z.bin"))
cat(as.character(packageVersion("Seurat")))
"""


@dataclass(frozen=True)
class SeuratRpcaParams:
    """Parameters of Seurat, by its defaults."""

    level: str = param("", "batch level that is corrected; empty is the data set's default")
    n_components: int = param(
        30, "components of a batch", unit="components", low=2, high=500, search=(10, 50)
    )
    k_anchor: int = param(
        5, "neighbours that can be anchors", unit="rows", low=1, high=1000, search=(5, 20)
    )


class SeuratRpca(Joint):
    """Reciprocal PCA through Rscript."""

    Params: ClassVar[type] = SeuratRpcaParams
    name = "seurat-rpca"

    def corrected(self, rows: JointRows, seed: int) -> NDArray[Any]:
        """Return the integrated features ``(n, d)``."""
        program = r_program()
        sizes = np.bincount(rows.codes)
        if sizes.min() < 4:
            raise NotApplicable(
                f"seurat-rpca needs 4 rows in each batch, and the smallest has {sizes.min()}: "
                "choose another level with --set seurat-rpca.level=..."
            )
        X = standardised(rows, self.name).astype(np.float64)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "script.R").write_text(SCRIPT, encoding="utf-8")
            (folder / "X.bin").write_bytes(np.ascontiguousarray(X).tobytes())
            (folder / "batch.bin").write_bytes(rows.codes.astype(np.int32).tobytes())
            numbers = [*X.shape, self.params.n_components, self.params.k_anchor, seed % 2**31]
            done = subprocess.run(
                [program, "--vanilla", str(folder / "script.R"), name, *map(str, numbers)],
                capture_output=True,
                text=True,
            )
            if done.returncode != 0:
                reason = " ".join(done.stderr.replace("Execution halted", "").split())[-300:]
                raise BenchError(
                    f"seurat-rpca: R ended with code {done.returncode} ({reason}): check that "
                    "`Rscript -e 'library(Seurat)'` works"
                )
            Z = np.frombuffer((folder / "Z.bin").read_bytes(), np.float64)
        return Z.reshape(X.shape)


def r_program() -> str:
    """Return the path of Rscript, once Seurat is known to be installed.

    Raises
    ------
    NotApplicable
        If Rscript or Seurat is missing.
    """
    program = shutil.which("Rscript")
    if program is None:
        raise NotApplicable(
            "seurat-rpca needs Rscript, which is not installed: install R and its package Seurat"
        )
    there = subprocess.run(
        [program, "--vanilla", "-e", 'quit(status = !nzchar(system.file(package = "Seurat")))'],
        capture_output=True,
    )
    if there.returncode != 0:
        raise NotApplicable(
            "seurat-rpca needs the R package Seurat, which Rscript does not find: install it in R"
        )
    return program
