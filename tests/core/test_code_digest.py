"""A digest of code depends on executed code only, and not on the Python version."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from bench.core import code_digest
from bench.core.code_digest import combined, differing, file_digests, source_digest

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = '''"""A module."""
from __future__ import annotations
import math

META = {"name": "a", "version": 1}
__all__ = ["area"]
RATE = 0.5
"""Of something."""


class Circle:
    """A circle."""

    radius: float = 1.0

    def area(self, scale: float = 1.0) -> float:
        """Return the area."""
        return math.pi * self.radius**2 * scale  # by the formula


def name(x: int, w: int = 3) -> str:
    return f"{x!r:>{w}}" "" f"{w:}b" "c"
'''


@pytest.mark.parametrize(
    "old, new",
    [
        ('"""A module."""', '""" A module, and more.\n\n"""'),
        ('    """Return the area."""\n', ""),
        ('"""Of something."""\n', ""),
        ("  # by the formula", ""),
        ('"version": 1', '"version": 2'),
        ('__all__ = ["area"]\n', ""),
        ("import math", "import math, os"),
        ("x: int, w: int = 3) -> str", "x, w=3)"),
        ("radius: float = 1.0", "radius: 'float' = 1.0"),
        ("0.5", "5e-1"),
        ("\n\n\ndef name", "\ndef name"),
        ('"" f"{w:}b" "c"', 'f"{w:}bc"'),
    ],
)
def test_words_layout_and_types_change_nothing(old: str, new: str) -> None:
    assert old in SOURCE
    assert source_digest(SOURCE.replace(old, new)) == source_digest(SOURCE)


@pytest.mark.parametrize(
    "old, new",
    [
        ("0.5", "0.25"),
        ("0.5", '"0.5"'),
        ("scale: float = 1.0", "scale: float = 2.0"),
        ("**2 *", "**2 /"),
        ("self.radius**2", "self.radius"),
        ("return math.pi", "return math.tau"),
        ("!r:", "!s:"),
        ('"c"', '"d"'),
        ("class Circle:", "class Circle(object):"),
        ("RATE = 0.5", "RATE = True"),
    ],
)
def test_what_runs_changes_the_digest(old: str, new: str) -> None:
    assert old in SOURCE
    assert source_digest(SOURCE.replace(old, new)) != source_digest(SOURCE)


def test_the_digest_is_the_same_on_every_python_version() -> None:
    assert source_digest(SOURCE)[:16] == "c5e737f0bff80867"


def test_empty_fields_of_newer_versions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = source_digest(SOURCE)
    parse = ast.parse

    def newer(source: str) -> ast.Module:
        """Parse, and add the fields that some versions have and others have not."""
        tree = parse(source)
        for node in ast.walk(tree):
            fields = [f for f in node._fields if f != "type_params"]
            setattr(node, "_fields", (*fields, "type_params", "new"))  # noqa: B010 - not a declared attribute
            setattr(node, "type_params", [])  # noqa: B010 - not a declared attribute
            setattr(node, "new", None)  # noqa: B010 - not a declared attribute
            if isinstance(node, ast.Constant):
                node.kind = "u"
        return tree

    monkeypatch.setattr("bench.core.code_digest.ast.parse", newer)
    assert source_digest(SOURCE) == expected


def test_files_are_named_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    file, other = tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"
    for path in (file, other):
        path.parent.mkdir()
        path.write_text(SOURCE)
    first = file_digests([file])
    assert first == file_digests([file, other]) == file_digests([file])
    other.write_text(SOURCE.replace("0.5", "0.25"))
    both = file_digests([file, other])
    assert len(both) == 2
    assert differing(first, both) == [name for name in both if name not in first]
    assert combined(first) != combined(both)
    other.write_text("def broken(:")
    assert file_digests([other]) == file_digests([other])
    own = file_digests([code_digest.__file__])
    assert list(own) == ["bench/core/code_digest.py"]
    cached = list((tmp_path / "cache").rglob("*.json"))
    assert len(cached) == 1
    cached[0].write_text("damaged")
    assert file_digests([file]) == first


def test_folders_that_all_runs_of_a_split_share_have_a_digest() -> None:
    files = {
        "bench/training/loop.py": "1",
        "bench/core/seeds.py": "2",
        "bench/metrics/nsc.py": "3",
        "datasets/coos7.py": "4",
        "methods/ben.py": "5",
        "plugin/mine.py": "6",
    }
    folders = code_digest.by_folder(files)
    assert list(folders) == ["bench/core", "bench/training", "datasets"]
    changed = code_digest.by_folder({**files, "bench/training/loop.py": "7"})
    assert differing(folders, changed) == ["bench/training"]
