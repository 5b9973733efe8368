"""How metrics are found: by file, by entry point, without importing what is heavy."""

import subprocess
import sys
from pathlib import Path

from bench import metrics
from bench.core.errors import BenchError
from bench.core.registry import Registry
from tests.helpers.errors import raises

FOLDER = Path(metrics.__file__).parent

PLUGIN = '''
"""A metric of somebody else."""
from bench.metrics import Value

META = {"kind": "metric", "name": "NAME", "function": "score", "version": 1,
        "needs": "predictions", "range": [0, 1], "higher_is_better": True,
        "summary": "Share of zeros.", "reference": "none"}

def score(y_true, y_pred):
    return RESULT
'''


def plugin(path, name="zeros", result='Value(0.25, len(y_true), "all rows")'):
    path.write_text(PLUGIN.replace("NAME", name).replace("RESULT", result))
    return path


def test_every_file_is_a_metric_with_a_complete_literal():
    files = {p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_")}
    assert set(metrics.METRICS) == files
    for name, meta in metrics.METRICS.items():
        assert meta["kind"] == "metric"
        assert meta["needs"] in ("predictions", "scores", "embedding")
        lowest = -0.5 if name == "ari_leiden" else 0  # agreement below chance is negative
        assert meta["range"] == [lowest, 1]
        assert isinstance(meta["higher_is_better"], bool)
        assert isinstance(meta["oracle_is_best"], bool)
        assert isinstance(meta["version"], int)
        assert meta["summary"].endswith(".")
        assert meta["reference"]
        assert metrics._packaged_function(name).__doc__


def test_nothing_heavy_is_imported_to_list_or_to_score_predictions():
    script = (
        "import sys; import bench.metrics as m; m.METRICS; "
        "m.compute('balanced_accuracy', y_true=[0, 1], y_pred=[0, 0]); "
        "heavy = {'torch', 'sklearn', 'scanpy', 'matplotlib', 'scipy', 'pandas', 'harmonypy'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=FOLDER.parent.parent)


def test_an_unknown_name_is_answered_with_the_nearest():
    with raises(BenchError, "acuracy", "accuracy"):
        metrics.compute("acuracy", y_true=[0], y_pred=[0])


def test_a_plugin_file_brings_a_metric(tmp_path):
    registry = Registry((plugin(tmp_path / "zeros.py"),))
    assert registry.entry("metric", "zeros").meta["summary"] == "Share of zeros."
    arrays = {"y_true": [0, 1, 1], "y_pred": [0, 0, 0], "batch": ["a", "a", "b"]}
    assert metrics.compute("zeros", registry=registry, **arrays).value == 0.25


def test_a_name_taken_twice_names_both(tmp_path):
    with raises(BenchError, "nscb", "mine.py"):
        Registry((plugin(tmp_path / "mine.py", name="nscb"),))


def test_a_metric_must_return_a_value(tmp_path):
    registry = Registry((plugin(tmp_path / "zeros.py", result="0.5"),))
    with raises(BenchError, "bench.metrics.Value"):
        metrics.compute("zeros", registry=registry, y_true=[0], y_pred=[0])


def test_an_entry_point_brings_a_metric(tmp_path, monkeypatch):
    plugin(tmp_path / "someones_zeros.py")
    info = tmp_path / "someones-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench.metrics]\nzeros = someones_zeros\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "zeros" in Registry().names("metric")
    assert "someones_zeros" not in sys.modules
    assert metrics.compute("zeros", y_true=[0], y_pred=[0]).value == 0.25
    sys.modules.pop("someones_zeros", None)
