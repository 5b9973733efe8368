"""Findings of ``doctor``, and checks of graphics cards, optional libraries, Dask and R."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.words import file_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


GOOD, WARN, FAIL = "ok", "warn", "fail"
NO_EXTRAS = frozenset(["test", "docs"])
"""Extras of developers, which runs do not use."""
SUBMIT = {"sbatch": "slurm", "qsub": "pbs or sge", "bsub": "lsf"}
"""Program that submits a job -> value of ``--cluster``."""
R_SECONDS = 60.0
"""Time limit for R, in seconds."""


@dataclass(frozen=True)
class Finding:
    """Result of a check.

    Attributes
    ----------
    state
        ``ok``, ``warn`` or ``fail``.
    cure
        How to fix it; empty if there is no problem.
    """

    name: str
    state: str
    found: str
    cure: str = ""


def check_gpu(number: int) -> Finding:
    """Compute on a CUDA device: a driver can list a card that does not work."""
    import torch

    name = torch.cuda.get_device_name(number)
    try:
        values = torch.arange(6.0, device=f"cuda:{number}").reshape(2, 3)
        product = (values @ values.T).cpu().tolist()
        if product != [[5.0, 14.0], [14.0, 50.0]]:
            raise RuntimeError(f"a product of two matrices is {product}")
    except RuntimeError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding(
            "device",
            FAIL,
            f"cuda:{number} {name} does not compute ({reason})",
            "install a torch build for this card and driver, or use --device cpu",
        )
    free, total = torch.cuda.mem_get_info(number)
    capability = ".".join(map(str, torch.cuda.get_device_capability(number)))
    bfloat16 = "with" if torch.cuda.is_bf16_supported() else "without"
    return Finding(
        "device",
        GOOD,
        f"cuda:{number} {name}, {file_size(free)} of {file_size(total)} free, "
        f"CUDA {torch.version.cuda}, capability {capability}, {bfloat16} bfloat16",
    )


def check_extras(lines: Iterable[str]) -> Iterator[Finding]:
    """State which extras are installed, and which libraries of an incomplete extra are missing.

    Parameters
    ----------
    lines
        Requirements of labshift, with markers such as ``extra == "s3"``.
    """
    from packaging.requirements import Requirement

    extras: dict[str, dict[str, str | None]] = {}
    for line in lines:
        name = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if name is None or name[1] in NO_EXTRAS:
            continue
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate({"extra": name[1]}):
            extras.setdefault(name[1], {})[need.name] = _version(need.name)
    whole = {extra: own for extra, own in extras.items() if all(own.values())}
    versions = {name: version for own in whole.values() for name, version in own.items()}
    text = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    if whole:
        yield Finding("extras", GOOD, f"{', '.join(sorted(whole))} ({text})")
    if missing := sorted(set(extras) - set(whole)):
        yield Finding("extras", GOOD, f"not installed: {', '.join(missing)}")


def check_dask() -> Iterator[Finding]:
    """Check that Dask and its distributed part belong together, and name batch systems."""
    dask, distributed = _version("dask"), _version("distributed")
    if not dask and not distributed:
        cure = "for --jobs, --scheduler and --cluster: python -m pip install 'labshift[cluster]'"
        yield Finding("dask", GOOD, "not installed", cure)
        return
    if dask != distributed:
        yield Finding(
            "dask",
            WARN,
            f"dask {dask or 'missing'} and distributed {distributed or 'missing'} do not match",
            "python -m pip install -U dask distributed",
        )
        return
    systems = [name for program, name in SUBMIT.items() if shutil.which(program)]
    text = f"dask {dask}, dask-jobqueue {_version('dask-jobqueue') or 'not installed'}"
    yield Finding("dask", GOOD, f"{text}; batch system: {', '.join(systems) or 'none'}")


def check_r() -> Iterator[Finding]:
    """Find R and the package Seurat, which only ``seurat-rpca`` needs."""
    program = shutil.which("Rscript")
    if program is None:
        yield Finding("R", GOOD, "not installed; only seurat-rpca needs it")
        return
    code = (
        'cat(R.version.string, "\\n"); cat(if (nzchar(system.file(package = "Seurat"))) '
        'as.character(packageVersion("Seurat")))'
    )
    call = [program, "--vanilla", "-e", code]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=R_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding("R", WARN, f"{program} does not run ({error})", "install R again")
        return
    version, _, seurat = done.stdout.partition("\n")
    if seurat.strip():
        yield Finding("R", GOOD, f"{version.strip()}, Seurat {seurat.strip()}")
    else:
        cure = "for seurat-rpca, in R: install.packages('Seurat')"
        yield Finding("R", GOOD, f"{version.strip()}, without Seurat", cure)


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
