"""Checkout, editable, strict editable and wheel: the same names, and no others overwritten.

Three top-level folders become one import name. What could go wrong is silent: a file left out of
the wheel, or a package named ``datasets`` that belongs to somebody else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPENDENCIES = sysconfig.get_path("purelib")
OWNER = "OWNER = 'somebody else'\n"
ASK = """
import bench, datasets, bench.methods, bench.datasets, json, methods_owner
print(json.dumps({
    "bench": bench.__file__,
    "methods": list(bench.methods.__path__),
    "datasets": list(bench.datasets.__path__),
    "owner": getattr(datasets, "OWNER", "overwritten"),
    "of methods": methods_owner.OWNER,
}))
"""


def tracked(*folders: str) -> list[str]:
    """Return the files of the last commit, as git names them."""
    command = ["git", "ls-tree", "-r", "--name-only", "HEAD", *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is no git checkout, so there is no list of files to compare with")
    return done.stdout.splitlines()


def python(
    executable: str | Path,
    *arguments: str,
    cwd: Path,
    path: tuple[Path | str, ...] = (),
    timeout: float = 300,
) -> str:
    """Run Python with a clean environment and return what it prints."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "BENCH", "PIP_"))}
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    if path:
        environ["PYTHONPATH"] = os.pathsep.join(map(str, path))
    done = subprocess.run(
        [str(executable), *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-500:]
    return done.stdout


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what git tracks, without its history: what a newcomer downloads."""
    tracked()
    folder = tmp_path_factory.mktemp("exported")
    archive = folder / "tree.tar"
    subprocess.run(["git", "archive", "-o", archive, "HEAD"], cwd=ROOT, check=True)
    (folder / "labshift").mkdir()
    # Python before 3.11.4 has no filters for tar files.
    subprocess.run(["tar", "-xf", archive, "-C", folder / "labshift"], check=True)
    return folder / "labshift"


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with packages of other people: ``datasets`` and ``methods``."""
    folder = tmp_path_factory.mktemp("others")
    for name in ("datasets", "methods"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(OWNER)
    (folder / "methods_owner.py").write_text("from methods import OWNER\n")
    return folder


@pytest.mark.parametrize("folder", ["methods", "datasets"])
def test_folder_beside_the_harness_is_no_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_every_folder_with_python_files_is_named_in_the_packages() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    result = {str(Path(name).parent) for name in tracked("bench", "methods", "datasets")}
    code = {name for name in result if list((ROOT / name).glob("*.py"))}
    expected = {
        ("bench." if not name.startswith("bench") else "") + name.replace("/", ".") for name in code
    }
    assert expected == set(settings["packages"])


def test_version_stands_in_one_spelling() -> None:
    import bench

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["project"]["version"] == bench.__version__


def in_checkout(exported: Path, *arguments: str, others: tuple[Path, ...] = ()) -> str:
    """Run in a checkout that is not installed: ``-S`` keeps an editable install out of it."""
    return python(sys.executable, "-S", *arguments, cwd=exported, path=(*others, DEPENDENCIES))


def test_checkout_that_is_not_installed_lists_its_methods(exported: Path) -> None:
    listed = json.loads(in_checkout(exported, "-m", "bench", "list", "methods", "--json"))
    names = {row["name"] for row in listed["methods"]}
    assert {"erm", "ben", "adabn", "identity"} <= names
    files = {Path(name).stem for name in tracked("methods") if name.endswith(".py")}
    assert "0.1.0" in in_checkout(exported, "-m", "bench", "--version")
    assert {name.replace("-", "_") for name in names} >= {n for n in files if n[0] != "_"}


def test_packages_of_other_people_survive_beside_a_checkout(exported: Path, others: Path) -> None:
    said = json.loads(in_checkout(exported, "-c", ASK, others=(others,)))
    assert said["owner"] == "somebody else"
    assert said["of methods"] == "somebody else"
    assert said["bench"] == str(exported / "bench" / "__init__.py")
    assert said["methods"] == [str(exported / "methods")]
    assert said["datasets"] == [str(exported / "datasets")]


def test_a_checkout_uses_its_own_methods_beside_an_editable_installation(exported: Path) -> None:
    """Two checkouts, one installed: the one that is run from must not mix in the other's files."""
    ask = "import bench, bench.methods; print(bench.__file__, *bench.methods.__path__)"
    said = python(sys.executable, "-c", ask, cwd=exported).split()
    assert said == [str(exported / "bench" / "__init__.py"), str(exported / "methods")]


@dataclass(frozen=True)
class Installed:
    """An environment of its own, where the project was installed in one of three ways."""

    how: str
    python: Path
    site: Path
    source: Path


BUILD = """
import sys
from setuptools import build_meta
how, folder = sys.argv[1:]
settings = {"editable_mode": "strict"} if how == "strict" else None
build = build_meta.build_wheel if how == "wheel" else build_meta.build_editable
print(build(folder, settings))
"""


def built(how: str, source: Path, folder: Path) -> Path:
    """Build a wheel with the setuptools of this environment."""
    said = python(sys.executable, "-W", "ignore", "-c", BUILD, how, str(folder), cwd=source)
    return folder / said.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", exported, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module", params=["wheel", "editable", "strict"])
def installed(
    request: pytest.FixtureRequest,
    exported: Path,
    wheel: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Installed:
    """Install into a new environment in which others' packages were installed before."""
    folder = tmp_path_factory.mktemp(request.param)
    venv.create(folder / "env", with_pip=False, symlinks=True)
    executable = folder / "env" / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(python(executable, "-c", ask, cwd=folder).strip())
    for name in ("datasets", "methods"):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text(OWNER)
    (site / "methods_owner.py").write_text("from methods import OWNER\n")
    (site / "dependencies.pth").write_text(DEPENDENCIES + "\n")
    file = wheel if request.param == "wheel" else built(request.param, exported, folder)
    pip(executable, folder, "install", "--no-deps", "--no-index", str(file))
    return Installed(request.param, executable, site, exported)


def pip(executable: Path, cwd: Path, *arguments: str) -> None:
    python(sys.executable, "-m", "pip", "--python", str(executable), *arguments, cwd=cwd)


@pytest.mark.slow
def test_wheel_holds_exactly_what_git_tracks(wheel: Path) -> None:
    names = [n for n in tracked("bench", "methods", "datasets") if not n.endswith("README.md")]
    expected = {name if name.startswith("bench/") else f"bench/{name}" for name in names}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    about = {name.partition(".dist-info/")[2] for name in names}
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= about
    for name in (
        "py.typed",
        "output/labshift.mplstyle",
        "boards/stats/coverage.csv",
        "boards/stats/coverage_leave_one_out.csv",
        "boards/published.csv",
        "datasets/splits/coos7.toml",
    ):
        assert f"bench/{name}" in names


@pytest.mark.slow
def test_wheel_unpacked_elsewhere_lists_ottawa(wheel: Path, tmp_path: Path, others: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "lib")
    path = (tmp_path / "lib", others, DEPENDENCIES)
    said = python(
        sys.executable, "-S", "-m", "bench", "list", "splits", "--json", cwd=tmp_path, path=path
    )
    splits = {row["name"]: row["alias_of"] for row in json.loads(said)["splits"]}
    assert splits["ottawa"] == "coos7/test4"
    where = json.loads(python(sys.executable, "-S", "-c", ASK, cwd=tmp_path, path=path))
    assert where["bench"].startswith(str(tmp_path))
    assert where["methods"] == [str(tmp_path / "lib" / "bench" / "methods")]
    assert where["owner"] == "somebody else"


@pytest.mark.slow
def test_every_way_of_installing_works_and_leaves_again(
    installed: Installed, tmp_path: Path
) -> None:
    for cwd in (tmp_path, installed.source):
        where = json.loads(python(installed.python, "-c", ASK, cwd=cwd))
        assert where["owner"] == where["of methods"] == "somebody else"
        for kind in ("methods", "datasets"):
            [folder] = where[kind]
            assert list(Path(folder).glob("[a-z]*.py")), kind
    if installed.how == "wheel":
        [folder] = json.loads(python(installed.python, "-c", ASK, cwd=tmp_path))["methods"]
        assert Path(folder) == installed.site / "bench" / "methods"

    script = installed.python.parent / "labshift"
    said = json.loads(
        python(installed.python, str(script), "list", "splits", "--json", cwd=tmp_path)
    )
    assert "ottawa" in {row["name"] for row in said["splits"]}
    said = json.loads(
        python(installed.python, "-m", "bench", "list", "methods", "--json", cwd=tmp_path)
    )
    assert "ben" in {row["name"] for row in said["methods"]}

    pip(installed.python, tmp_path, "uninstall", "--yes", "labshift")
    assert not script.exists()
    for name in ("datasets", "methods"):
        assert (installed.site / name / "__init__.py").read_text() == OWNER
        assert [p.name for p in (installed.site / name).glob("*.py")] == ["__init__.py"]
