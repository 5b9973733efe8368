"""Findings of ``doctor``, and checks of graphics cards and optional libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.words import file_size

if TYPE_CHECKING:
    from collections.abc import Iterator


GOOD, WARN, FAIL = "ok", "warn", "fail"
OPTIONAL = ("dask", "lightning-fabric", "fsspec", "s3fs", "scib-metrics", "timm", "mlflow", "rpy2")
"""Distributions of the extras."""


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


def optional_libraries() -> Iterator[Finding]:
    """List the installed libraries of the extras."""
    from importlib import metadata

    versions = {}
    for name in OPTIONAL:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield Finding("optional libraries", GOOD, text or "none installed")
