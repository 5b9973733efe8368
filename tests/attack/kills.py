"""Kill a run before and after each write that it makes durable, and run again.

Run from the root: ``python -m tests.attack.kills [N]``. Each case is a process that kills itself
(SIGKILL) at one call of ``os.fsync``, ``os.rename`` or ``os.replace``. Afterwards the results
folder has either the complete record or none, and the next run gives the predictions of an
undisturbed run. N limits the number of cases; default: all.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from bench.records.store import Store
from tests.helpers import tiny

CALLS = ("fsync", "rename", "replace")
METHOD = "zscore"


def run(root: Path) -> str:
    """Run a method and return the digest of its predictions."""
    [record] = tiny.Bench(root).run(METHOD, tiny.task())
    return record.predictions_sha256


def counted(kill_at: int, *, before: bool) -> list[str]:
    """Count calls in this process; kill it at one of them, counted from 0."""
    calls: list[str] = []

    def wrapped(name: str, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            at = len(calls) - 1 == kill_at
            if at and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments, **options)
            if at:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in CALLS:
        setattr(os, name, wrapped(name, getattr(os, name)))
    return calls


def child(root: Path, kill_at: int, *, before: bool) -> int:
    """Run in a forked process; return its status. Without a kill, it writes the number of calls."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            calls = counted(kill_at, before=before)
            run(root)
            (root / "calls").write_text(str(len(calls)))
            code = 0
        except BaseException:  # noqa: BLE001 - a fork must not return to the caller's code
            traceback.print_exc()
        os._exit(code)
    return os.waitpid(pid, 0)[1]


def attack(folder: Path, most: int | None = None) -> Counter[str]:
    """Return the outcomes of a kill at each call, at most ``most`` of them evenly spread."""
    truth = run(folder / "truth")
    assert child(folder / "count", -1, before=False) == 0
    n = int((folder / "count" / "calls").read_text())
    cases = [(k, before) for k in range(n) for before in (True, False)]
    step = 1 if most is None else max(1, len(cases) // most)
    outcomes: Counter[str] = Counter()
    for k, before in cases[::step]:
        root = folder / f"{k}-{before}"
        status = child(root, k, before=before)
        outcomes[outcome(root, status, truth)] += 1
    return outcomes


def outcome(root: Path, status: int, truth: str) -> str:
    """Return what a kill left, and whether the next run is that of an undisturbed one."""
    if not os.WIFSIGNALED(status):
        return f"not killed: status {status}"
    said: list[str] = []
    records = Store(root, warn=said.append).load_all()
    left = "a complete record" if records else "no record"
    if said or any(record.predictions_sha256 != truth for record in records):
        return f"a damaged record: {said}"
    if run(root) != truth:
        return f"{left}; the next run differs"
    return f"{left}; the next run is identical"


def main() -> None:
    """Print the outcomes."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder:
        for name, count in attack(Path(folder), most).most_common():
            sys.stdout.write(f"{count:6d}  {name}\n")


if __name__ == "__main__":
    main()
