"""A small valid input, the commands that read it, and how to damage a file of it."""

from __future__ import annotations

import io
import traceback
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from bench.cli.main import main
from tests.attack.kills import write_images
from tests.helpers import tiny

if TYPE_CHECKING:
    from pathlib import Path

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
        self.pictures = write_images(root / "pictures")
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
