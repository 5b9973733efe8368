"""Training recipes: named literals, resolved to one plain dict that all compared methods share.

A resolved recipe is JSON and part of a fit's identity. It contains all training settings. A method
may change the sampler and the loss, but never these values.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.access import Access
from bench.core.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from bench.core.types import JsonObject, Recipe


KINDS = ("images", "profiles")

TORCHVISION = (
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "swin_t",
    "vgg11_bn",
    "wide_resnet50_2",
)
"""Names of supported torchvision networks."""

_COMMON: JsonObject = {
    "network": "",
    "network_sha256": "",
    "width": 32,
    "layers": 3,
    "weights": "none",
    "steps": 0,
    "epochs": 0,
    "batch_size": 64,
    "optimiser": "adam",
    "lr": 1e-3,
    "weight_decay": 1e-5,
    "warmup": 0.1,
    "schedule": "cosine",
    "augment": "none",
    "standardise": "none",
    "precision": "float32",
    "channels_last": False,
}

OPTIONAL: JsonObject = {
    "rescale": False,
    "pixel_size": 0.0,
    "scale_range": 1.0,
    "batches_per_step": 1,
    "compile": False,
}
"""Keys with their defaults, in a resolved recipe only if they differ, so that old ids stay."""

_IMAGES = {
    "network": "small-resnet",
    "augment": "flips-rotations",
    "standardise": "image",
    "channels_last": True,
}
_PROFILES = {"network": "mlp", "width": 128}

# BEN's published optimisation (Lin & Lu 2022, section 4.1): Adam 1e-3, weight decay 1e-5, batches
# of 75, 90 epochs of N // 75 steps, 10 of them with linear warm-up.
_PUBLISHED = {"epochs": 90, "batch_size": 75, "warmup": 10 / 90}

RECIPES: dict[str, dict[str, JsonObject]] = {
    "smoke": {
        "images": {**_IMAGES, "width": 8, "steps": 30, "batch_size": 32, "lr": 3e-3},
        "profiles": {**_PROFILES, "width": 32, "steps": 60, "batch_size": 32, "lr": 3e-3},
    },
    "default": {
        "images": {**_IMAGES, "steps": 500, "lr": 2e-3},
        "profiles": {**_PROFILES, "steps": 400},
    },
    "paper": {
        "images": {**_IMAGES, **_PUBLISHED, "network": "resnet50", "weights": "imagenet"},
        "profiles": {**_PROFILES, **_PUBLISHED, "width": 512},
    },
}
"""Name -> kind of sample -> differences from the common values."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "weights": ("none", "imagenet"),
    "optimiser": ("adam", "adamw"),
    "schedule": ("cosine", "constant"),
    "augment": ("none", "flips-rotations"),
    "standardise": ("none", "image", "plate"),
    "precision": ("float32", "bfloat16"),
}

# Inclusive ranges; the lower end of lr is exclusive and checked separately.
_RANGES: dict[str, tuple[float, float]] = {
    "width": (1, 65536),
    "layers": (2, 64),
    "steps": (0, 100_000_000),
    "epochs": (0, 1_000_000),
    "batch_size": (2, 1_000_000),
    "lr": (0, 1000),
    "weight_decay": (0, 1000),
    "warmup": (0, 1),
    "pixel_size": (0, 1000),
    "scale_range": (1, 4),
    "batches_per_step": (1, 1024),
}


_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def keys() -> tuple[str, ...]:
    """Return the keys that may be overridden."""
    return tuple(key for key in (*_COMMON, *OPTIONAL) if key != "network_sha256")


def _convert(key: str, value: Any) -> Any:  # noqa: ANN401 - a recipe value before it is checked
    kind = type({**_COMMON, **OPTIONAL}[key])
    try:
        if kind is bool:
            return _TRUTH[str(value).lower()]
        if kind is int and (isinstance(value, bool) or float(value) != int(float(value))):
            raise ValueError
        if kind is float and (isinstance(value, bool) or not math.isfinite(float(value))):
            raise ValueError
        return kind(float(value)) if kind is int else kind(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        noun = {bool: "true or false", int: "a whole number", float: "a finite number"}[kind]
        raise BenchError(f"recipe key '{key}' takes {noun}, not '{value}'") from None


def _check(key: str, value: Any) -> None:  # noqa: ANN401 - a recipe value before it is checked
    if key in _CHOICES and value not in _CHOICES[key]:
        raise BenchError(f"recipe key '{key}' is one of {' | '.join(_CHOICES[key])}, not '{value}'")
    if key in _RANGES:
        low, high = _RANGES[key]
        if not low <= value <= high or (key == "lr" and value == 0):
            raise BenchError(f"recipe key '{key}' must be in {low:g} .. {high:g}, not {value}")


def factory_source(network: str) -> Path:
    """Return the source file of ``module:factory`` or ``path/to/file.py:factory``.

    Raises
    ------
    BenchError
        If the module or file does not exist.
    """
    module, _, factory = network.rpartition(":")
    if not module or not factory.isidentifier():
        raise BenchError(f"network '{network}' must look like module:factory or file.py:factory")
    if module.endswith(".py"):
        path = Path(module)
        if not path.is_file():
            raise BenchError(f"network '{network}': there is no file {module}")
        return path
    # Console scripts do not have the current folder on sys.path; `python -m` does.
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.append(here)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    finally:
        if added:
            sys.path.remove(here)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise BenchError(
            f"network '{network}': Python finds no module '{module}' (give file.py:factory, or run "
            "from its folder)"
        )
    return Path(spec.origin)


_FILES: dict[tuple[str, str], str] = {}
"""Files of custom networks loaded in this process, by content and factory name."""


def located(recipe: Recipe) -> str:
    """Return the network of a recipe in a form that can be imported now.

    The recipe of a stored training may name a file that was moved since. A file with the same
    content, loaded from its new path, is then used.
    """
    network = str(recipe["network"])
    key = (str(recipe.get("network_sha256", "")), network.rpartition(":")[2])
    return _FILES.get(key, network)


def _check_network(recipe: JsonObject, kind: str) -> None:
    network = recipe["network"]
    recipe["network_sha256"] = ""
    if ":" in network:
        source = factory_source(network)
        recipe["network_sha256"] = sha256(source.read_bytes()).hexdigest()
        _FILES[recipe["network_sha256"], network.rpartition(":")[2]] = network
        if recipe["weights"] != "none":
            recipe["weights"] = "none"
        return
    if kind == "profiles":
        if network != "mlp":
            raise BenchError(
                f"profiles are trained on with network=mlp or your own module:factory, "
                f"not '{network}'"
            )
        return
    if network == "mlp":
        raise BenchError("network=mlp takes profiles, and these samples are images")
    if network not in ("small-resnet", *TORCHVISION):
        names = ["small-resnet", *TORCHVISION]
        raise BenchError(did_you_mean(network, names, "network") + " Or give module:factory.")


def resolve(name: str, kind: str, overrides: Recipe | None = None) -> JsonObject:
    """Return the complete recipe of a fit, as plain JSON.

    Parameters
    ----------
    name
        ``smoke``, ``default`` or ``paper``.
    kind
        ``images`` or ``profiles``: the kind of sample.
    overrides
        Values by key; strings are converted to the key's type. ``steps`` and ``epochs`` replace
        each other. ``network`` may be the user's own ``module:factory``. The recipe then includes
        the SHA-256 of its source file.

    Returns
    -------
    dict
        Every key of the recipe; those of ``OPTIONAL`` only if they differ from their default.
        ``warmup`` is the fraction of steps with a linearly rising rate. One epoch is
        ``n // batch_size`` steps. ``steps`` is 0 if ``epochs`` is used.
        ``rescale`` brings all images to one pixel size before any method, ``pixel_size`` um or, if
        that is 0, the median of the training images (:mod:`bench.data.rescale`). ``scale_range``
        is the largest factor of the random magnification of training images; 1 is none.
        ``batches_per_step`` is the number of batches with averaged gradients in a step
        (:mod:`bench.training.parallel.averaged`); an epoch then has as many fewer steps.
        ``compile`` trains the network with ``torch.compile`` (:mod:`bench.training.compiled`).

    Raises
    ------
    BenchError
        For an unknown name or key, or an invalid value.
    """
    if name not in RECIPES:
        raise BenchError(did_you_mean(name, list(RECIPES), "recipe"))
    if kind not in KINDS:
        raise BenchError(f"a recipe is for {' or '.join(KINDS)}, not '{kind}'")
    recipe = {**_COMMON, **OPTIONAL, **RECIPES[name][kind]}
    changes = dict(overrides or {})
    for key, text in changes.items():
        if key not in keys():
            raise BenchError(did_you_mean(key, list(keys()), "recipe key"))
        recipe[key] = _convert(key, text)
        _check(key, recipe[key])
    if "steps" in changes and "epochs" in changes and recipe["steps"] and recipe["epochs"]:
        raise BenchError("a recipe has steps or epochs, not both: leave one of them out")
    if "steps" in changes and recipe["steps"]:
        recipe["epochs"] = 0
    elif "epochs" in changes and recipe["epochs"]:
        recipe["steps"] = 0
    if not recipe["steps"] and not recipe["epochs"]:
        raise BenchError("a recipe needs steps or epochs above 0")
    if "network" in changes and "weights" not in changes and recipe["network"] == "small-resnet":
        recipe["weights"] = "none"
    _check_network(recipe, kind)
    if recipe["weights"] != "none" and recipe["network"] not in TORCHVISION:
        raise BenchError(
            f"weights={recipe['weights']} exist for torchvision's networks, not for "
            f"'{recipe['network']}': set weights=none"
        )
    if recipe["pixel_size"] and not recipe["rescale"]:
        raise BenchError("pixel_size is used with rescale=true only: set both, or neither")
    if kind == "profiles":
        of_images = {"augment": "none", "channels_last": False, **OPTIONAL}
        del of_images["batches_per_step"], of_images["compile"]
        for key, only in of_images.items():
            if recipe[key] != only:
                raise BenchError(f"{key}={recipe[key]} is for images, and these are profiles")
        if recipe["standardise"] == "image":
            raise BenchError("standardise=image is for images; profiles take none or plate")
    return {k: value for k, value in recipe.items() if k not in OPTIONAL or value != OPTIONAL[k]}


def recipe_access(recipe: Recipe) -> Access:
    """Return the access that a recipe adds to the access of every network method.

    Only standardising by plate adds access: it uses the batch of each training row and all rows of
    the test batch.
    """
    if recipe["standardise"] == "plate":
        return Access.TRAIN_BATCH | Access.TEST_BATCH
    return Access.NONE
