"""Give commands damaged and unusual input of every kind, and count how they end.

Run from the root: ``python -m tests.attack.inputs [N [SEED [FILE]]]``. Each case changes one file
or argument of a small valid input: ``dataset.toml``, tables, images, arrays, archives, records,
plugins, suites, and variables of the environment. A command may work, or end with one line and
exit code 2 (1 for a failed run). A traceback, another exit code, or more than :data:`SECONDS` is a
fault. With FILE, outcomes are kept there, and the same command continues after the last block.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import h5py
import numpy as np
import pandas as pd
import tifffile
import zarr
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from bench.core.errors import BenchError
from bench.data.fetch.archive import unpack
from tests.attack.counts import Counts
from tests.attack.input_case import TEXT, VALUE, Case, bytes_of, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

BLOCK = 10
"""Cases of a kind between two writes of the file; each block has its own seed."""

SECONDS = 60
"""Time of a case, on a busy machine; a hang takes longer."""

HARMLESS = ("works", "failed run", "one line")
"""How a command may end."""


def toml_line(data: st.DataObject, text: str) -> str:
    """Return a TOML file with another value, a new key or without a line."""
    lines = text.splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    how = data.draw(st.sampled_from(["value", "key", "drop", "table"]))
    value = data.draw(VALUE)
    shown = json.dumps(value, ensure_ascii=False)
    key = lines[at].partition("=")[0].strip() or "name"
    if how == "value":
        lines[at] = f"{key} = {shown}"
    elif how == "key":
        lines.insert(at, f"{json.dumps(data.draw(TEXT))} = {shown}")
    elif how == "drop":
        del lines[at]
    else:
        lines.insert(at, f"[splits.{json.dumps(data.draw(TEXT))}]")
    return "\n".join(lines)


def read(data: st.DataObject, case: Case, path: Path, method: str) -> str:
    """Read a data set by one of two commands."""
    command = st.sampled_from([("check-data",), ("run", "-m", method, "--no-controls", "-s")])
    return call(*data.draw(command), path, results=case)


def change_toml(data: st.DataObject, case: Case) -> str:
    path = case.table
    path.write_text(toml_line(data, path.read_text()), encoding="utf-8", errors="surrogatepass")
    return read(data, case, path, "zscore")


def change_table(data: st.DataObject, case: Case) -> str:
    path = case.table.parent / "table.parquet"
    frame = pd.read_parquet(path)
    how = data.draw(st.sampled_from(["bytes", "cell", "column", "rows", "csv"]))
    column = data.draw(st.sampled_from(list(frame)))
    if how == "bytes":
        path.write_bytes(bytes_of(data, path.read_bytes()))
    else:
        if how == "cell":
            frame[column] = frame[column].astype(object)
            frame.loc[data.draw(st.integers(0, len(frame) - 1)), column] = data.draw(
                st.one_of(
                    st.none(),
                    st.floats(),
                    TEXT.map(lambda t: t.encode("utf-8", "replace").decode()),
                )
            )
            frame[column] = frame[column].map(str)
        elif how == "column":
            frame = frame.drop(columns=column)
        elif how == "rows":
            frame = frame.sample(frac=data.draw(st.sampled_from([0.0, 0.02, 0.3])), random_state=0)
        if how == "csv" or data.draw(st.booleans()):
            text = frame.to_csv(index=False).encode("utf-8", "replace")
            (case.table.parent / "table.csv").write_bytes(bytes_of(data, text))
            case.table.write_text(case.table.read_text().replace("table.parquet", "table.csv"))
        else:
            frame.to_parquet(path)
    return read(data, case, case.table, "zscore")


def change_pictures(data: st.DataObject, case: Case) -> str:
    """Change an image file, or images in one array: its bytes, its type or its shape."""
    folder = case.pictures.parent
    count = st.sampled_from([0, 1, 2, 3, 5, 23, 24])
    shape = data.draw(st.lists(count, max_size=4))
    kind = data.draw(
        st.sampled_from(["uint8", "uint16", "int8", "float32", "float64", "bool", "complex64"])
    )
    fill = data.draw(st.sampled_from([0, 1, -1, 255, 1e30, float("nan"), float("inf")]))
    suffix = data.draw(st.sampled_from([".png", ".tif", ".npy", ".h5", ".zarr"]))
    path = folder / ("3.png" if suffix in (".png", ".tif") else f"pixels{suffix}")
    whole = data.draw(st.booleans())  # all images of the array as they must be
    size = (24, 12, 12) if whole else shape
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = np.random.default_rng(0).integers(0, 128, size).astype(kind)
        pixels.flat[: data.draw(st.sampled_from([0, 1, 144, 3456]))] = np.float64(fill).astype(kind)
    if not _written(path, suffix, pixels):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if suffix in (".npy", ".h5", ".zarr"):
        key = data.draw(st.sampled_from(["", ":x", ":y", ":"]))
        axes = data.draw(st.sampled_from(["NHW", "NCHW", "NHWC", "CNHW", "NN"]))
        key, axes = (":x" if suffix == ".h5" else "", "NHW") if whole else (key, axes)
        text = case.pictures.read_text().replace(
            'images = ["path"]', f'array = "pixels{suffix}{key}"\naxes = "{axes}"'
        )
        case.pictures.write_text(text)
    files = sorted(file for file in [path, *path.rglob("*")] if file.is_file())
    if files and data.draw(st.booleans()):
        file = data.draw(st.sampled_from(files))
        file.write_bytes(bytes_of(data, file.read_bytes()))
    return read(data, case, case.pictures, "identity")


def _written(path: Path, suffix: str, pixels: NDArray[Any]) -> bool:
    """Write pixels; return False if the format has no such pixels."""
    try:
        if suffix == ".png":
            Image.fromarray(pixels).save(path)
        elif suffix == ".tif":
            tifffile.imwrite(path, pixels)
        elif suffix == ".npy":
            np.save(path, pixels)
        elif suffix == ".h5":
            with h5py.File(path, "w") as file:
                file["x"] = pixels
        else:
            zarr.save_array(str(path), pixels)
    except Exception:  # noqa: BLE001 - of the libraries that write
        return False
    return True


def change_h5ad(data: st.DataObject, case: Case) -> str:
    """Change a table of AnnData: its bytes, or one of the datasets in it."""
    folder = case.table.parent
    frame = pd.read_parquet(folder / "table.parquet")
    features = [name for name in frame if name[0] == "f" and name[1:].isdigit()]
    path = folder / "table.h5ad"
    obs = frame.drop(columns=features)
    obs.index = obs.index.astype(str)
    X, var = frame[features].to_numpy(np.float32), pd.DataFrame(index=features)
    anndata.AnnData(X, obs=obs, var=var).write_h5ad(path)
    text = case.table.read_text().replace("table.parquet", "table.h5ad")
    case.table.write_text(text)
    if data.draw(st.booleans()):
        path.write_bytes(bytes_of(data, path.read_bytes()))
    else:
        with h5py.File(path, "a") as file:
            names: list[str] = []
            file.visit(names.append)
            name = data.draw(st.sampled_from(sorted(names)))
            del file[name]
            new = data.draw(st.sampled_from(["none", "number", "text", "group", "link", "numbers"]))
            if new == "group":
                file.create_group(name)
            elif new == "link":
                file[name] = h5py.SoftLink("/nowhere")
            elif new != "none":
                file[name] = {"number": 1, "text": "x", "numbers": np.arange(3)}[new]
    return read(data, case, case.table, "zscore")


def change_record(data: st.DataObject, case: Case) -> str:
    path = data.draw(st.sampled_from(sorted(case.record.parent.iterdir())))
    if path.suffix == ".json" and data.draw(st.booleans()):
        record = json.loads(path.read_text())
        place, key = record, data.draw(st.sampled_from(sorted(record)))
        while isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
            place = place[key]
            key = data.draw(st.sampled_from(sorted(place)))
        place[key] = data.draw(VALUE)
        path.write_text(json.dumps(record))
    else:
        path.write_bytes(bytes_of(data, path.read_bytes()))
    command = data.draw(
        st.sampled_from([("leaderboard",), ("list", "runs"), ("verify",), ("compare",)])
    )
    return call(*command, results=case)


def change_plugin(data: st.DataObject, case: Case) -> str:
    text = case.plugin.read_text()
    lines = text.splitlines()
    how = data.draw(st.sampled_from(["meta", "line", "bytes"]))
    if how == "bytes":
        case.plugin.write_bytes(bytes_of(data, text.encode()))
    elif how == "line":
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = data.draw(
            st.sampled_from(["", "raise KeyError('x')", "import no_such", "    pass"])
        )
        case.plugin.write_text("\n".join(lines))
    else:
        meta = eval(lines[0].removeprefix("META = "), {})
        meta[data.draw(st.sampled_from([*meta, "fit", "argument", "helps"]))] = data.draw(VALUE)
        case.plugin.write_text("\n".join([f"META = {meta!r}", *lines[1:]]), errors="replace")
    command = data.draw(
        st.sampled_from(
            [("show", "method", "mine"), ("run", "-m", "mine", "--no-controls", "-s", case.table)]
        )
    )
    return call(*command, results=case, plugin=True)


def change_suite(data: st.DataObject, case: Case) -> str:
    case.suite.write_text(
        toml_line(data, case.suite.read_text()), encoding="utf-8", errors="surrogatepass"
    )
    return call("sweep", case.suite, "--dry-run", results=case)


def change_archive(data: st.DataObject, case: Case) -> str:
    sink = io.BytesIO()
    if data.draw(st.booleans()):
        with zipfile.ZipFile(sink, "w") as file:
            for name in data.draw(st.sets(TEXT.map(lambda text: text or "x"), min_size=1)):
                file.writestr(zipfile.ZipInfo(name), b"abc")
    else:
        with tarfile.open(fileobj=sink, mode="w") as tar:
            for name in data.draw(st.lists(TEXT, min_size=1, max_size=3)):
                member = tarfile.TarInfo(name.encode("utf-8", "replace").decode())
                member.type = data.draw(st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6"]))
                member.linkname = "../x"
                member.size = 3 if member.type == b"0" else 0
                tar.addfile(member, io.BytesIO(b"abc"))
    path = case.root / "some.archive"
    content = sink.getvalue()
    path.write_bytes(bytes_of(data, content) if data.draw(st.booleans()) else content)
    before = {p for p in case.root.iterdir() if p.name != "unpacked"}
    try:
        unpack(path, case.root / "unpacked")
    except BenchError:
        return "one line"
    finally:
        after = {p for p in case.root.iterdir() if p.name != "unpacked"}
        assert after == before, after - before
        shutil.rmtree(case.root / "unpacked", ignore_errors=True)
    return "works"


def change_arguments(data: st.DataObject, case: Case) -> str:
    option = data.draw(
        st.sampled_from(["-m", "-s", "--seed", "--seeds", "--set", "--recipe", "--metrics",
                         "--isolate", "--timeout", "--device", "--edition", "--if-exists"])
    )  # fmt: skip
    value = data.draw(TEXT).replace("\0", "")
    arguments = [
        "run",
        "-m",
        "zscore",
        "-s",
        case.table,
        "--no-controls",
        "--dry-run",
        option,
        value,
    ]
    return call(*arguments, results=case)


def change_environment(data: st.DataObject, case: Case) -> str:
    name = data.draw(
        st.sampled_from(
            ["BENCH_THREADS", "BENCH_ARRAY_BYTES", "BENCH_PLUGINS", "BENCH_METHOD_BYTES"]
        )
    )
    value = data.draw(TEXT).replace("\0", "").encode("utf-8", "replace").decode()
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        return call("run", "-m", "zscore", "-s", case.table, "--no-controls", results=case)
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


CHANGES: dict[str, Callable[[Any, Case], str]] = {
    "dataset.toml": change_toml,
    "table": change_table,
    "pictures": change_pictures,
    "h5ad": change_h5ad,
    "record": change_record,
    "plugin": change_plugin,
    "suite": change_suite,
    "archive": change_archive,
    "arguments": change_arguments,
    "environment": change_environment,
}


@contextmanager
def limited() -> Iterator[None]:
    """Raise TimeoutError after :data:`SECONDS`."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def attack(folder: Path, n: int, kinds: list[str], start: int = 0) -> Counter[str]:
    """Return how ``n`` cases of each kind ended, as ``KIND: OUTCOME``."""
    case = Case(folder / "valid")
    outcomes: Counter[str] = Counter()
    for kind in kinds:
        _cases(kind, folder / "valid", case, n, start, outcomes)
    return outcomes


def _cases(kind: str, work: Path, case: Case, n: int, start: int, outcomes: Counter[str]) -> None:
    @seed(start)
    @settings(
        max_examples=n,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def one(data: Any) -> None:
        kept = work.with_name("kept")
        shutil.copytree(work, kept)
        try:
            with limited():
                outcome = CHANGES[kind](data, case)
        except TimeoutError:
            outcome = "hang"
        except Exception as error:  # noqa: BLE001 - any error is an outcome that is counted
            outcome = f"traceback: {type(error).__name__}: {error}"
        finally:  # at the same place, so that names in files stay valid
            shutil.rmtree(work)
            kept.rename(work)
        outcomes[f"{kind}: {outcome}"] += 1

    one()


def main_attack() -> None:
    """Print the outcomes."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    start = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    counts = Counts(Path(sys.argv[3]) if len(sys.argv) > 3 else None, start)
    while (missing := n - counts.outcomes.total()) > 0:
        each = min(BLOCK, -(-missing // len(CHANGES)))
        with tempfile.TemporaryDirectory() as folder:
            counts.add(attack(Path(folder), each, list(CHANGES), counts.seed + counts.done))
    sys.stdout.write(str(counts))


if __name__ == "__main__":
    np.seterr(all="ignore")
    main_attack()
