"""The records that a call returns, as a list that notebooks show as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.records.record import Record

if TYPE_CHECKING:
    import pandas as pd


class Runs(list[Record]):
    """A list of records."""

    def to_frame(self) -> pd.DataFrame:
        """Return one row per record: method, split, seed, status, and the primary metric.

        ``metric`` names the primary metric of the split and ``value`` has it; undefined values are
        missing. ``reason`` states why a run has no value.
        """
        import pandas as pd

        columns = ["method", "split", "edition", "seed", "status", "metric", "value", "reason"]
        rows = [
            (r.method, r.split, r.edition, r.seed, r.status, r.primary, r.value(), r.reason)
            for r in self
        ]
        return pd.DataFrame(rows, columns=columns).astype({"value": "float64"})

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False, float_format="{:.3f}".format, na_rep=""))
