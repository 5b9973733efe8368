"""Registry: literals are read without importing, and broken files affect no others."""

from __future__ import annotations

import ast
import os
import py_compile
import subprocess
import sys
from pathlib import Path
from typing import Any

import bench.methods  # type: ignore[import-untyped,unused-ignore]
import pytest

from bench.core.control_names import NAMES
from bench.core.errors import BenchError
from bench.core.meta import read_meta
from bench.core.registry import Registry
from tests.helpers.errors import mentions, raises

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"method": "methods", "dataset": "datasets", "metric": "bench/metrics"}
METHOD = '''
"""A method of somebody else."""
import sys
sys.modules[__name__].__dict__["imported"] = True
META = {"kind": "method", "name": "NAME", "class": "Theirs", "level": "profile", "version": 1,
        "summary": "Theirs.", "reference": "none", "access": []}
class Theirs:
    """Theirs."""
'''


def write(folder: Path, name: str = "theirs", text: str = METHOD, file: str | None = None) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / (file or f"{name.replace('-', '_')}.py")
    path.write_text(text.replace("NAME", name))
    return path


def distribution(folder: Path, name: str, **points: str) -> None:
    """Write what pip leaves behind of an installed distribution."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{point.replace('_', '-')} = {target}\n" for point, target in points.items()]
    (info / "entry_points.txt").write_text("[bench.methods]\n" + "".join(lines))


@pytest.mark.parametrize("kind", ["method", "dataset", "metric"])
def test_each_packaged_name_is_its_file(kind: str) -> None:
    files = [p for p in (ROOT / FOLDERS[kind]).glob("*.py") if not p.stem.startswith("_")]
    registry = Registry()
    assert registry.broken == []
    assert len(files) + (len(NAMES) if kind == "method" else 0) == len(registry.entries(kind))
    for path in files:
        name = path.stem if kind == "metric" else path.stem.replace("_", "-")
        entry = registry.entry(kind, name)
        assert entry.path == path
        tree = ast.parse(path.read_text())
        target = entry.meta["function" if kind == "metric" else "class"]
        definitions = (ast.ClassDef, ast.FunctionDef)
        assert target in [node.name for node in tree.body if isinstance(node, definitions)]


def test_reference_rows_are_listed_like_methods() -> None:
    entries = {e.name: e for e in Registry().entries("method")}
    for name in NAMES:
        assert entries[name].meta["level"] == "reference"
        assert entries[name].provider == "labshift"
        assert entries[name].load().Params()


def test_a_new_file_in_the_folder_is_a_new_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a-new-one")
    monkeypatch.setattr(bench.methods, "__path__", [*bench.methods.__path__, str(tmp_path)])
    entry = Registry().entry("method", "a-new-one")
    assert entry.load().__name__ == "Theirs"
    assert entry.provider == "labshift"
    sys.modules.pop("bench.methods.a_new_one", None)


def test_a_half_written_file_in_the_folder_stops_only_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "half-written", "META = {'kind': ")
    monkeypatch.setattr(bench.methods, "__path__", [*bench.methods.__path__, str(tmp_path)])
    registry = Registry()
    assert registry.entry("method", "zscore").load()
    with raises(BenchError, "half-written", "1"):
        registry.entry("method", "half-written")


def run(script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("what", ["methods", "datasets", "metrics", "splits"])
def test_listing_imports_nothing_of_what_is_listed(what: str, tmp_path: Path) -> None:
    plugin = write(tmp_path, "theirs", METHOD + "\nraise RuntimeError('imported')\n")
    script = (
        "import sys\nfrom bench.cli.main import main\n"
        f"try:\n    main(['list', '{what}'])\n"
        "except SystemExit as done:\n    assert not done.code\n"
        "loaded = [m for m in sys.modules if m.startswith(('bench.methods.', 'bench.datasets.'))]\n"
        "assert not loaded, loaded\n"
        "heavy = {'torch', 'scanpy', 'sklearn', 'matplotlib', 'pandas', 'h5py'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    out = run(script, BENCH_PLUGINS=str(plugin))
    if what == "methods":
        assert "theirs" in out
        assert "zscore" in out


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    registry = Registry()
    with raises(BenchError, "zscor"):
        registry.entry("method", "zscor")
    with raises(BenchError, "dataset", "coos7"):
        registry.entry("dataset", "coos")
    with raises(BenchError, "dataset", "q", "coos7"):
        registry.entry("dataset", "q")


@pytest.mark.parametrize("name", ["zscore", "identity"])
def test_a_plugin_named_by_the_user_may_not_take_a_name(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, file="mine.py")
    with raises(BenchError, name, "mine.py"):
        Registry((path,))


def test_two_plugins_of_the_user_may_not_share_a_name(tmp_path: Path) -> None:
    paths = (write(tmp_path / "a", file="one.py"), write(tmp_path / "b", file="two.py"))
    with raises(BenchError, "theirs", "one.py", "two.py"):
        Registry(paths)
    assert Registry((paths[0], paths[0])).entry("method", "theirs").path == paths[0]


def test_a_name_taken_twice_in_the_environment_belongs_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, two = write(tmp_path / "a", file="one.py"), write(tmp_path / "b", file="two.py")
    three = write(tmp_path / "c", "zscore", file="three.py")
    monkeypatch.setenv("BENCH_PLUGINS", os.pathsep.join(map(str, (item, two, three))))
    registry = Registry()
    with raises(BenchError, "theirs", "one.py", "two.py"):
        registry.entry("method", "theirs")
    with raises(BenchError, "zscore.py", "three.py"):
        registry.entry("method", "zscore")
    assert registry.entry("method", "robust").load()
    assert [entry.provider for entry in registry.broken] == ["two.py", "three.py"]


def test_a_file_given_twice_in_two_spellings_is_one_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_PLUGINS", os.pathsep.join(["theirs.py", "./theirs.py", str(path)]))
    for plugins in ((), (path,), (Path("theirs.py"),)):
        assert Registry(plugins).entry("method", "theirs").load().__name__ == "Theirs"
        assert Registry(plugins).broken == []


def test_a_literal_may_be_annotated(tmp_path: Path) -> None:
    path = write(tmp_path, text=METHOD.replace("META =", "META: dict[str, object] ="))
    assert read_meta(path)["name"] == "theirs"


BAD: list[tuple[str, str, str]] = [
    ('"version": 1', '"version": len("1")', "META"),
    ('"version": 1', '"version": {[]: 1}', "META"),
    ("META = {", "META = 3 or {", "META"),
    ("META", "OTHER", "META"),
    ('"kind": "method"', '"kind": "methods"', "kind"),
    ('"name": "NAME"', '"name": ""', "name"),
    ('"name": "NAME"', '"name": "a+b"', "a+b"),
    ('"class": "Theirs"', '"class": ""', "class"),
    ('"version": 1', '"version": "1"', "version"),
    ('"version": 1', '"version": True', "version"),
    ('"level": "profile"', '"level": "profiles"', "level"),
    ('"level": "profile"', '"level": "reference"', "level"),
    ('"access": []', '"access": "none"', "access"),
    ('"access": []', '"access": ["test-batches"]', "test-batches"),
    ('"access": []', '"access": [], "helps": ["illumination"]', "helps"),
    ('"access": []', '"access": [], "hurts": "nested"', "hurts"),
    (
        '"access": []',
        '"access": [], "helps": ["scale"], "hurts": ["scale"]',
        "scale",
    ),
    ('"access": []', '"access": [], "against": "theirs"', "against"),
    ("import sys", "import sys !", "line"),
]


def test_the_former_name_of_a_kind_of_shift_is_replaced(tmp_path: Path) -> None:
    text = METHOD.replace(
        '"access": []', '"access": [], "helps": ["nested"], "hurts": ["confounded"]'
    )
    meta = Registry((write(tmp_path, text=text),)).entry("method", "theirs").meta
    assert (meta["helps"], meta["hurts"]) == (["hierarchical"], ["confounded"])


@pytest.mark.parametrize("old, new, name", BAD)
def test_a_bad_literal_is_said_to_who_named_it_and_stops_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, name: str
) -> None:
    assert old in METHOD
    path = write(tmp_path, text=METHOD.replace(old, new))
    with raises(BenchError, name, path):
        Registry((path,))
    monkeypatch.setenv("BENCH_PLUGINS", str(path))
    registry = Registry()
    assert registry.entry("method", "zscore")
    assert str(path) in registry.broken[0].problem
    with raises(BenchError, name):
        registry.entry("method", "theirs")


@pytest.mark.parametrize("make", ["missing", "folder", "binary"])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, make: str) -> None:
    path = tmp_path / "theirs.py"
    if make == "folder":
        path.mkdir()
    elif make == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    with raises(BenchError):
        Registry((path,))


@pytest.mark.parametrize(
    "text, says",
    [
        ("import no_such_module", ("ModuleNotFoundError", "no_such_module")),
        ("1 / 0", ("ZeroDivisionError",)),
        ("raise SystemExit(3)", ("SystemExit", "3")),
        ("del Theirs", ("Theirs",)),
        ("from ..above import x", ("ImportError",)),
    ],
)
def test_a_plugin_that_fails_to_import_says_why(tmp_path: Path, text: str, says: str) -> None:
    entry = Registry((write(tmp_path, text=METHOD + text),)).entry("method", "theirs")
    for _ in range(2):
        with raises(BenchError, *says) as caught:
            entry.load()
        assert "theirs.py" in str(caught.value)


def test_a_plugin_may_import_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, file="_helper.py", text="from ._deeper import VALUE\n")
    write(tmp_path, file="_deeper.py", text="VALUE = 7\n")
    write(tmp_path, file="unrelated.py", text="VALUE = 8\n")
    path = write(tmp_path, text=METHOD + "from ._helper import VALUE\nTheirs.value = VALUE\n")
    entry = Registry((path,)).entry("method", "theirs")
    assert entry.load().value == 7
    assert [p.name for p in entry.sources] == ["_deeper.py", "_helper.py", "theirs.py"]


def test_neighbours_of_two_folders_are_kept_apart(tmp_path: Path) -> None:
    values = {}
    for name in ("one", "two"):
        write(tmp_path / name, file="_helper.py", text=f"VALUE = '{name}'\n")
        text = METHOD + "from ._helper import VALUE\nTheirs.value = VALUE\n"
        path = write(tmp_path / name, name, text)
        values[name] = Registry((path,)).entry("method", name).load().value
    assert values == {"one": "one", "two": "two"}


def test_the_name_of_the_file_is_free(tmp_path: Path) -> None:
    path = write(tmp_path, file="my method-2.1.py")
    entry = Registry((path,)).entry("method", "theirs")
    assert entry.load() is entry.load()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a folder used as site-packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_an_entry_point_is_not_imported_until_it_is_asked_for(site: Path) -> None:
    write(site / "someones", "theirs")
    (site / "someones" / "__init__.py").write_text("")
    distribution(site, "someones", theirs="someones.theirs:Theirs")
    registry = Registry()
    [listed] = [entry for entry in registry.entries("method") if entry.name == "theirs"]
    assert (listed.provider, listed.meta["summary"]) == ("someones", "not loaded")
    assert not [name for name in sys.modules if name.startswith("someones")]
    entry = registry.entry("method", "theirs")
    assert entry.meta["summary"] == "Theirs."
    assert entry.path == site / "someones" / "theirs.py"
    assert "someones.theirs" not in sys.modules
    assert entry.load().__name__ == "Theirs"


def test_an_entry_point_may_pass_on_what_another_module_defines(site: Path) -> None:
    path = write(site / "someones", "theirs")
    (site / "someones" / "__init__.py").write_text("from .theirs import Theirs\n")
    distribution(site, "someones", theirs="someones:Theirs")
    entry = Registry().entry("method", "theirs")
    assert (entry.meta["version"], entry.path) == (1, path)
    assert entry.load().__name__ == "Theirs"


def test_an_entry_point_without_source_is_imported(site: Path) -> None:
    path = write(site, "theirs", file="someones_theirs.py")
    py_compile.compile(str(path), cfile=str(site / "someones_theirs.pyc"))
    path.unlink()
    distribution(site, "someones", theirs="someones_theirs:Theirs")
    entry = Registry().entry("method", "theirs")
    assert (entry.meta["version"], entry.path, entry.sources) == (1, None, [])
    assert entry.load().__name__ == "Theirs"


@pytest.mark.parametrize(
    "files, target, says",
    [
        ({}, "nowhere:Theirs", ("nowhere",)),
        ({}, "nowhere.deeper:Theirs", ("nowhere",)),
        ({"mine.py": "x = 1"}, "mine:x", ()),
        ({"mine.py": METHOD.replace("NAME", "other")}, "mine:Theirs", ()),
        ({"mine.py": "META ="}, "mine:Theirs", ()),
        ({"mine/__init__.py": "1 / 0", "mine/a.py": METHOD}, "mine.a:Theirs", ("ZeroDivision",)),
        (
            {"mine/__init__.py": "raise SystemExit", "mine/a.py": ""},
            "mine.a:Theirs",
            ("SystemExit",),
        ),
    ],
)
def test_a_broken_entry_point_says_who_to_tell_and_stops_nobody_else(
    site: Path, files: dict[str, str], target: str, says: str
) -> None:
    for name, text in files.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text)
    distribution(site, "someones", theirs=target)
    registry = Registry()
    for _ in range(2):
        with raises(BenchError, *says) as caught:
            registry.entry("method", "theirs")
        mentions(str(caught.value), "someones")
    assert registry.entry("method", "zscore").load()


@pytest.mark.parametrize("name", ["zscore", "identity"])
def test_an_installed_distribution_cannot_take_over_a_name(site: Path, name: str) -> None:
    write(site, name, file="someones_method.py")
    distribution(site, "someones", **{name: "someones_method:Theirs"})
    registry = Registry()
    with raises(BenchError, name, "someones_method"):
        registry.entry("method", name)
    assert registry.entry("method", "robust").load()


def test_two_distributions_that_share_a_name_are_both_named(site: Path) -> None:
    for owner in ("ours", "theirs"):
        write(site, "same", file=f"{owner}_same.py")
        distribution(site, owner, same=f"{owner}_same:Theirs")
    with raises(BenchError, "ours", "theirs", "_same"):
        Registry().entry("method", "same")
