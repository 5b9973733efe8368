"""Corrupt records at random and look at the boards.

Run from the root: ``python -m tests.attack.records [N]``. Each case changes one file of one record:
a flipped bit, a removed or overwritten part, the file of another record, or a value of the JSON
with or without new digests. The changed record must be left out and named, or the boards must be
equal to those before. With new digests, ``verify`` must find what is not equal.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.boards.render.dispatch import render
from bench.boards.select import boards
from bench.core.errors import BenchError
from bench.core.seeds import generator
from bench.records.folder import read_folder
from bench.records.store import Store
from bench.runs.verify import check
from tests.helpers import tiny
from tests.helpers.factories import edit_signed

if TYPE_CHECKING:
    import numpy as np

FILES = ("run.json", "metrics.parquet", "predictions.parquet")
VALUES: tuple[object, ...] = (None, True, 0, -1, 0.999, "x", "\x1b[2J", [], {}, {"all": 0.999})


def make_results(root: Path) -> None:
    """Write a few small runs."""
    bench = tiny.Bench(root)
    data = tiny.opened()
    object.__setattr__(data, "edition", "simulated")  # fixtures are on no board
    bench.run("identity,zscore,erm", tiny.task(data))


def shown(root: Path) -> tuple[str, list[str]]:
    """Return the boards of a folder as JSON, and the warnings."""
    said: list[str] = []
    return render(boards(Store(root, warn=said.append).load_all()), "json"), said


def corrupted(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return changed contents of a file."""
    how, at = rng.integers(4), int(rng.integers(len(data)))
    changed = bytearray(data)
    if how == 0:
        changed[at] ^= 1 << int(rng.integers(8))
    elif how == 1:
        del changed[at:]
    elif how == 2:
        changed[at : at + 64] = bytes(min(64, len(data) - at))
    else:
        return other
    return bytes(changed)


def change_value(data: dict[str, Any], rng: np.random.Generator) -> None:
    """Replace a random value of a record, at any depth."""
    target: Any = data
    while True:
        keys = sorted(target) if isinstance(target, dict) else range(len(target))
        key = keys[int(rng.integers(len(keys)))]
        inner = target[key]
        if isinstance(inner, (dict, list)) and inner and rng.random() < 0.8:
            target = inner
            continue
        target[key] = similar(inner) if rng.random() < 0.5 else VALUES[rng.integers(len(VALUES))]
        return


def similar(value: object) -> object:
    """Return another value of the same type, as somebody who edits a record would choose."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1 if isinstance(value, int) else 1 - value / 2
    return f"{value} "


def attack(root: Path, n: int, seed: int = 0) -> Counter[str]:
    """Return the outcomes of ``n`` corruptions of the records of a folder."""
    rng = generator("attack", seed)
    folders = sorted(file.parent for file in (root / "runs").rglob("run.json"))
    truth, _ = shown(root)
    outcomes: Counter[str] = Counter()
    for k in range(n):
        folder = folders[k % len(folders)]
        file = folder / FILES[int(rng.integers(len(FILES)))]
        before = file.read_bytes()
        signed = False
        if rng.random() < 0.5:
            other = folders[(k + 1) % len(folders)] / file.name
            file.write_bytes(corrupted(before, other.read_bytes(), rng))
        else:
            file = folder / FILES[0]
            before = file.read_bytes()
            signed = rng.random() < 0.5
            if signed:
                edit_signed(file, lambda data: change_value(data, rng))
            else:
                data = json.loads(before)
                change_value(data, rng)
                file.write_text(json.dumps(data))
        outcomes[outcome(root, folder, truth, signed=signed)] += 1
        file.write_bytes(before)
    assert shown(root)[0] == truth
    return outcomes


def outcome(root: Path, folder: Path, truth: str, *, signed: bool) -> str:
    """Return what happens with a corrupted record."""
    try:
        text, said = shown(root)
    except BenchError as error:
        return f"an error ends the command: {error}"
    except Exception as error:  # noqa: BLE001 - counted
        return f"traceback: {error!r}"
    if said:
        return "left out and named" if str(folder) in said[0] else "left out, not named"
    if text == truth:
        return "boards are equal"
    if not signed:
        return "wrong number"
    record = read_folder(folder)
    assert record is not None
    checks = check(record).answer == "different"
    return "new digests: found by verify" if checks else "new digests: not in the predictions"


def main() -> None:
    """Print the outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        make_results(Path(folder))
        n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
        for name, count in attack(Path(folder), n).most_common():
            sys.stdout.write(f"{count:6d}  {name}\n")


if __name__ == "__main__":
    main()
