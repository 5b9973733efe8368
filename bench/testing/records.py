"""Records of two methods on synthetic data, for checks of figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.records.record import Record


_TOML = """
name = "example"
table = "example.csv"
features = "^f"
id = ["id"]
label = "label"
batches = ["plate"]
control = "control"

[splits.plates]
hold_out = "plate"
"""


class _Silent:
    """A progress receiver that shows nothing."""

    def say(self, line: str) -> None:
        """Ignore a message."""

    def update(self, label: str, done: int, total: int) -> None:
        """Ignore progress."""

    def done(self, record: Record) -> None:
        """Ignore a finished run."""


def example_records(folder: Path) -> Sequence[Mapping[str, object]]:
    """Return runs of ``identity`` and ``zscore`` with two seeds on a table of 168 rows."""
    import pandas as pd

    from bench.runs.experiment import run
    from bench.testing.synthetic import synthetic_data

    data = synthetic_data("profiles")
    table = data.index[["id", "label", "control", "plate"]]
    values = data.source.read(table.index.to_numpy())
    features = pd.DataFrame(values, columns=[f"f{k}" for k in range(values.shape[1])])
    split = folder / "example.toml"
    split.write_text(_TOML, encoding="utf-8")
    frame = pd.concat([table.reset_index(drop=True), features], axis=1)
    frame.to_csv(split.with_suffix(".csv"), index=False)
    return run(
        ["identity", "zscore"],
        str(split),
        seeds=2,
        recipe="smoke",
        device="cpu",
        results=folder,
        progress=_Silent(),
    )
