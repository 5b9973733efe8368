"""Give commands damaged and unusual input of every kind, and count how they end.

Run from the root: ``python -m tests.attack.inputs [N [SEED]]``. Each case changes one file or
argument of a small valid input: ``dataset.toml``, tables, images, archives, records, plugins,
suites, and variables of the environment. A command may work, or end with one line and exit code 2
(1 for a failed run). A traceback, another exit code, or more than :data:`SECONDS` is a fault.
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
import time
import traceback
import zipfile
from collections import Counter
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bench.cli.main import main
from bench.core.errors import BenchError
from bench.data.fetch.archive import unpack
from tests.helpers import tiny

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 60
"""Time of a case, on a busy machine; a hang takes longer."""

HARMLESS = ("works", "failed run", "one line")
"""How a command may end."""

TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "\0", "a\x1b[31m", "../..", "/", "nan", "-0", "1e999", "²", "label", "💥"]
    ),
)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


class Case:
    """A folder with valid input, and the commands that read it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.table = tiny.write_table(root / "data")
        self.results = root / "results"
        self.plugin = tiny.write_method(root / "plugins", "mine", "class M(Profile):\n    pass\n")
        self.suite = root / "suite.toml"
        self.suite.write_text(f'[[block]]\nmethods = ["zscore"]\nsplits = ["{self.table}"]\n')
        called = call("run", "-m", "identity", "-s", self.table, "--no-controls", results=self)
        assert called == "works", called
        [self.record] = self.results.glob("runs/*/*/run.json")


def call(*arguments: object, results: Case, plugin: bool = False) -> str:
    """Return how a command ends."""
    typed = [str(argument) for argument in arguments]
    typed += ["--results", str(results.results)]
    if plugin:
        typed += ["--plugin", str(results.plugin)]
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(typed)
    except SystemExit as error:
        code = error.code
    except Exception as error:  # noqa: BLE001 - the fault that is looked for
        return f"traceback: {''.join(traceback.format_exception(error))[-1500:]}"
    if "Traceback (most recent call last)" in err.getvalue():
        return f"traceback: {err.getvalue()[-1500:]}"
    if code in (0, 1):
        return "works" if code == 0 else "failed run"
    lines = err.getvalue().splitlines()
    if code == 2 and lines and lines[-1].startswith("error: "):
        return "one line"
    return f"exit code {code}: {err.getvalue()[-500:]}"


# --------------------------------------------------------------------------- changes of files


def bytes_of(data: st.DataObject, content: bytes) -> bytes:
    """Return a file with flipped, cut, repeated or inserted bytes."""
    how = data.draw(st.sampled_from(["flip", "cut", "insert", "empty", "repeat"]))
    at = data.draw(st.integers(0, max(0, len(content) - 1)))
    if how == "flip" and content:
        return (
            content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
        )
    if how == "cut":
        return content[:at]
    if how == "insert":
        return content[:at] + data.draw(st.binary(max_size=20)) + content[at:]
    return b"" if how == "empty" else content + content[at:]


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


def change_toml(data: st.DataObject, case: Case) -> str:
    path = case.table
    path.write_text(toml_line(data, path.read_text()), encoding="utf-8", errors="surrogatepass")
    command = data.draw(
        st.sampled_from([("check-data",), ("run", "-m", "zscore", "--no-controls", "-s")])
    )
    return call(*command, path, results=case)


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
    command = data.draw(
        st.sampled_from([("check-data",), ("run", "-m", "zscore", "--no-controls", "-s")])
    )
    return call(*command, case.table, results=case)


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
        finally:  # at the same place, so that names in files stay valid
            shutil.rmtree(work)
            kept.rename(work)
        outcomes[f"{kind}: {outcome}"] += 1

    one()


def main_attack() -> None:
    """Print the outcomes."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    start = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = attack(Path(folder), -(-n // len(CHANGES)), list(CHANGES), start)
    sys.stdout.write(f"seed {start}, {sum(outcomes.values())} cases, ")
    sys.stdout.write(f"{time.monotonic() - began:.0f} s\n")
    for name, count in sorted(outcomes.items()):
        sys.stdout.write(f"{count:6d}  {name}\n")


if __name__ == "__main__":
    np.seterr(all="ignore")
    main_attack()
