"""Synthetic data and helpers for the conformance checks of extensions.

To use the checks in the tests of a plugin::

    from bench.testing.synthetic import check_method

    def test_my_method():
        check_method("my-method")

All checks run on small synthetic data within seconds. A method that passes can be run, stored,
resumed and compared. The checks do not measure its quality. They find mistakes, but cannot detect
deliberate circumvention.
"""

from __future__ import annotations

import hashlib
import pickle
import random
import sys
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.core.checkout import ROOT
from bench.core.dataset import Opened
from bench.core.errors import AccessError, BenchError, RunFailed
from bench.core.samples import Output
from bench.core.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from bench.core.samples import Samples
    from bench.core.types import Array, DType


__all__ = ["Check", "synthetic_data"]

KINDS = ("images", "profiles")
CLASSES = ("a", "b", "c")
TRAINING = {"p0": 24, "p1": 24, "p2": 24, "p3": 24}
TEST = {"p4": 22, "p5": 26, "p6": 24}
RAGGED = {"p0": 24, "p1": 24, "p2": 1, "p3": 2}
"""Rows per plate of the synthetic data; unequal sizes for methods that act on small plates."""


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes
    ----------
    message
        The error and a fix, or a remark.
    """

    name: str
    ok: bool
    message: str = ""


class Broken(Exception):
    """A check failed; the message describes the error and a fix."""


class Rows:
    """A source of rows in memory."""

    def __init__(self, values: Array) -> None:
        self._values = values
        self.shape: tuple[int, ...] = values.shape[1:]
        self.dtype: DType = values.dtype

    def read(self, rows: NDArray[np.int64]) -> Array:
        return self._values[rows]


def synthetic_data(kind: str = "profiles", plates: Mapping[str, int] | None = None) -> Opened:
    """Return a small data set in memory: three classes, controls, and a shift per plate.

    Parameters
    ----------
    kind
        ``profiles``, (n, 6) float32; or ``images``, (n, 2, 18, 18) uint8.
    plates
        Number of rows per plate. Default: 96 training rows on four plates and 72 test rows on
        three.

    Returns
    -------
    Opened
        Levels ``plate`` and ``week``; two rows per well; about a quarter of the wells are controls.
    """
    import pandas as pd

    if kind not in KINDS:
        raise BenchError(f"synthetic data are {' or '.join(KINDS)}, not '{kind}'")
    sizes = {**TRAINING, **TEST} if plates is None else dict(plates)
    rng = generator("made-up", kind)
    rows = []
    for number, (plate, size) in enumerate(sizes.items()):
        for k in range(size):
            well = k // 2
            control = size > 3 and well % 4 == 0
            rows.append(
                {
                    "id": f"{plate}-row{k:02d}",
                    "label": "" if control else CLASSES[well % len(CLASSES)],
                    "control": control,
                    "plate": plate,
                    "week": f"w{number // 2}",
                    "well": f"{plate}-A{well:02d}",
                }
            )
    index = pd.DataFrame(rows)
    code = np.array([0 if row["control"] else 1 + CLASSES.index(row["label"]) for row in rows])
    on = np.unique(index["plate"].to_numpy(str), return_inverse=True)[1]
    gain, offset = rng.uniform(0.6, 1.6, len(sizes)), rng.normal(0, 1, len(sizes))
    values: Array
    if kind == "profiles":
        signature = 2 * rng.standard_normal((1 + len(CLASSES), 6))
        values = signature[code] + rng.standard_normal((len(rows), 6))
        values = (gain[on, None] * values + offset[on, None]).astype(np.float32)
    else:
        texture = rng.uniform(0, 1, (1 + len(CLASSES), 2, 18, 18))
        values = 60 * texture[code] + 20 * rng.uniform(0, 1, (len(rows), 2, 18, 18))
        values = values * gain[on, None, None, None] + 30 + 8 * offset[on, None, None, None]
        values = np.clip(values, 0, 255).astype(np.uint8)
    return Opened(
        name="made-up",
        index=index,
        source=Rows(values),
        levels=("plate", "week"),
        level="plate",
        edition="fixture",
        digest=hashlib.sha256(values.tobytes()).hexdigest(),
        columns={"well": "well"},
    )


class Report:
    """Runs checks and collects their results."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def look(self, name: str, check: Callable[[], str | None]) -> bool:
        """Run a check. It returns a remark or None, and raises if it fails."""
        try:
            remark = check()
        except Broken as broken:
            self.checks.append(Check(name, False, " ".join(str(broken).split())))
            return False
        self.checks.append(Check(name, True, remark or ""))
        return True


def raise_failed(checks: list[Check], name: str, raises: bool) -> list[Check]:
    """Return checks; if ``raises``, raise AssertionError if one failed."""
    failed = [f"{check.name}: {check.message}" for check in checks if not check.ok]
    if raises and failed:
        raise AssertionError(f"{name} does not follow the interface:\n" + "\n".join(failed))
    return checks


def check_texts(meta: Mapping[str, object], keys: Sequence[str]) -> None:
    """Raise :class:`Broken` unless each key of a literal has one line of text."""
    for key in keys:
        text = meta.get(key)
        if not isinstance(text, str) or not text.strip() or "\n" in text:
            raise Broken(f"'{key}' is missing: add one line of text")


def call_checked(label: str, call: Callable[[], Any], hint: str = "") -> Any:
    """Run the plugin's code; convert an exception to a failed check with its location."""
    try:
        return call()
    except Broken:
        raise
    except AccessError as error:
        raise Broken(
            f"{label} used information that access(params) does not declare{_where(error)}: {error}"
        ) from error
    except RunFailed as error:
        raise Broken(str(error)) from error
    except Exception as error:
        if "read-only" in str(error):
            hint = "; samples are read-only: use a copy"
        if isinstance(error, BenchError):
            raise Broken(f"{label} rejected the synthetic data{_where(error)}: {error}") from error
        raise Broken(
            f"{label} raised {type(error).__name__}{_where(error)}: {error}{hint}"
        ) from error


def _where(error: BaseException) -> str:
    """Return the last location outside the package, as `` (file.py line 12)``."""
    package = ROOT / "bench"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not path.resolve().is_relative_to(package):
            return f" ({path.name} line {frame.lineno})"
    return ""


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, since threads slow down computations on few rows."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def noise(seed: int) -> Iterator[None]:
    """Reseed the global generators, which extensions must not use, and restore them on exit."""
    legacy = np.random.get_state()  # noqa: NPY002 - the global generator is checked
    plain = random.getstate()
    torch = sys.modules.get("torch")
    before = None if torch is None else torch.random.get_rng_state()
    np.random.seed(seed)  # noqa: NPY002 - the global generator is checked
    random.seed(seed)
    if torch is not None:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        np.random.set_state(legacy)  # noqa: NPY002 - the global generator is checked
        random.setstate(plain)
        if torch is not None:
            torch.random.set_rng_state(before)


def bits(output: Output) -> tuple[bytes, bytes]:
    return output.X.tobytes(), b"" if output.logits is None else output.logits.tobytes()


def bits_of(view: Samples) -> tuple[bytes, ...]:
    return tuple(a.tobytes() for a in (view.ids, view.y, view.batch, view.X) if a is not None)


def state_bits(method: Any) -> dict[str, bytes]:
    state = call_checked("state", method.state)
    return {name: np.asarray(array).tobytes() for name, array in state.items()}


def shared_memory(cls: Any) -> dict[str, bytes]:
    """Return values in plain containers of the class and its module, as bytes."""
    module = sys.modules.get(cls.__module__)
    memory: dict[str, bytes] = {}
    for where, owner in (("class attribute", cls), ("global", module)):
        for name, value in vars(owner).items() if owner is not None else ():
            plain = (bool, int, float, str, list, dict, set, tuple, np.ndarray, type(None))
            if name.startswith("__") or not isinstance(value, plain):
                continue
            try:
                memory[f"the {where} {name}"] = pickle.dumps(value)
            except (pickle.PicklingError, TypeError, AttributeError):
                continue
    return memory


def call_or_refusal(label: str, call: Callable[[], object]) -> str | None:
    """Run a call that may raise a BenchError, but no other exception; return its message."""
    try:
        output = call()
    except Broken as broken:
        refused = broken.__cause__
        if isinstance(refused, BenchError) and not isinstance(refused, (AccessError, RunFailed)):
            return str(refused)
        raise Broken(
            f"{label}: {broken}; return an output (Output.fallbacks counts batches that were too "
            "small), or raise BenchError with a one-line message"
        ) from None
    if isinstance(output, Output) and not np.isfinite(output.X).all():
        raise Broken(f"{label} returned values that are not finite: use training rows instead")
    return None
