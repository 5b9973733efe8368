"""Check records against their own files, and repeated runs against their records.

:func:`check` recomputes the metrics of a record from its predictions. :func:`compare` compares a
record with a repetition of its run. Both give one of three answers:

- ``identical``: all values are equal, bit for bit;
- ``equal``: facts are equal, and each metric over all scored units or a fold differs by at most
  :data:`TOLERANCE`, as it does on another processor or with other versions of libraries;
- ``different``: everything else.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bench.core.checkout import ROOT
from bench.core.code_digest import differing, file_digests
from bench.core.errors import BenchError
from bench.core.words import count, listed
from bench.records.digests import DIGESTS
from bench.records.tables import packed_counts, predictions_digest
from bench.runs import provenance
from bench.scoring.recompute import Values, cluster_values, metric_values, recomputed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core.registry import Registry
    from bench.records.record import Record
    from bench.records.schema import Provenance, RunRecord

TOLERANCE = 0.002
"""Largest difference of a metric between processors; .0016 was measured on published records."""
ROUNDING = 1e-9
"""Largest difference of two computations of one value from the same predictions."""
FACTS = (
    "status",
    "method_id",
    "track",
    "access",
    "ranked",
    "unranked_because",
    "readout",
    "primary",
    "n_eval",
    "n_excluded",
    "excluded_classes",
    "classes",
    "chance",
    "undeclared_adaptation",
)
"""Keys of a record that do not depend on the machine."""

Answer = Literal["identical", "equal", "different"]


@dataclass
class Verification:
    """Result of a check or a comparison.

    Attributes
    ----------
    answer
        ``identical``, ``equal`` or ``different``.
    n_compared
        Number of values that were recomputed and compared.
    largest
        Largest absolute difference of a metric over all scored units or a fold.
    differences
        What differs, one text each.
    not_compared
        Metrics that cannot be recomputed from predictions.
    remarks
        What could not be checked, such as missing predictions.
    changed
        Versions, machine and source files that changed since the record was written.
    """

    answer: Answer = "identical"
    n_compared: int = 0
    largest: float = 0.0
    differences: list[str] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def differs(self, text: str) -> None:
        """Add a difference that no tolerance allows."""
        self.answer = "different"
        self.differences.append(text)

    def values(self, stored: Values, computed: Values, tolerance: float) -> None:
        """Compare values that both sides have."""
        for key in sorted(stored.keys() & computed.keys()):
            then, now = stored[key], computed[key]
            self.n_compared += 1
            if then == now:
                continue
            overall = key[1] in ("all", "pooled") or key[1].startswith("fold=")
            gap = math.inf if then is None or now is None else abs(then - now)
            if overall:
                self.largest = max(self.largest, gap)
            if gap > tolerance and (overall or tolerance == ROUNDING):
                self.differs(
                    f"{' of '.join(key)}: {_shown(then)} on record, {_shown(now)} computed"
                )
            elif self.answer == "identical":
                self.answer = "equal"

    def merged(self, other: Verification) -> Verification:
        """Return both results as one; the worse answer counts."""
        order = ("identical", "equal", "different")
        return Verification(
            max(self.answer, other.answer, key=order.index),
            self.n_compared + other.n_compared,
            max(self.largest, other.largest),
            self.differences + other.differences,
            other.not_compared,
            self.remarks + other.remarks,
            other.changed or self.changed,
        )

    @property
    def text(self) -> str:
        """One line: the answer and its reasons."""
        compared = f"{count(self.n_compared, 'value')} compared"
        if self.answer == "different":
            line = f"different: {listed(self.differences, 3)}"
        elif self.answer == "equal":
            line = f"equal within {TOLERANCE} (largest difference {self.largest:.1g}), {compared}"
        else:
            line = f"identical, {compared}"
        if self.remarks:
            line += f"; {'; '.join(self.remarks)}"
        if self.changed and self.answer != "identical":
            line += f"; changed since: {listed(self.changed, 8)}"
        return line


def _shown(value: float | None) -> str:
    return "no value" if value is None else f"{value:.6g}"


def check(record: Record, registry: Registry | None = None) -> Verification:
    """Recompute what a record's files determine and compare it with the record.

    Parameters
    ----------
    record
        A record; its digests were checked when it was read.
    registry
        Registry with the metrics of plugins.

    Returns
    -------
    Verification
        Its ``changed`` names what differs between the record's environment and code and those of
        this process.
    """
    data, result = record.data, Verification()
    result.changed = changed_since(data, _now(), _code_now(data))
    if DIGESTS not in data:
        result.remarks.append("no digests: written by an earlier version")
    if not record.ok:
        return result
    stored = metric_values(data)
    if record.path is not None:
        table = record.metrics_table()
        written = json.loads((record.path / "run.json").read_text(encoding="utf-8"))
        try:
            if table is None:
                raise BenchError("metrics.parquet is missing")
            packed_counts(written["metrics"], table)
        except BenchError as error:
            result.differs(str(error))
    _within(record, stored, result)
    predictions = record.predictions()
    if predictions is None:
        if data["predictions_sha256"] and record.path is not None:
            result.differs("predictions.parquet is missing")
        else:
            result.remarks.append("no predictions: only relations between values are checked")
        return result
    if predictions_digest(predictions) != data["predictions_sha256"]:
        result.differs("predictions.parquet is not that of the record")
    elif len(predictions) != data["n_eval"]:
        result.differs(f"{len(predictions)} predictions, but n_eval is {data['n_eval']}")
    elif "y_pred" in predictions:
        try:
            metrics, clusters = recomputed(record, predictions, registry)
        except Exception as error:  # noqa: BLE001 - the table can have any contents
            result.differs(f"predictions.parquet cannot be scored: {error}")
            return result
        result.values(stored, metrics, ROUNDING)
        result.values(cluster_values(data), clusters, ROUNDING)
        result.not_compared = sorted({m for m, _ in stored} - {m for m, _ in metrics})
    return result


def _within(record: Record, stored: Values, result: Verification) -> None:
    """Check values that follow from others: copies, means over folds, and sums over clusters."""
    data, readout = record.data, record.readout
    computed: Values = {}
    for metric, subset in stored:
        if (own := (f"{readout}.{metric}", subset)) in stored:
            computed[metric, subset] = stored[own]
    result.values(stored, computed, ROUNDING)
    clusters = record.clusters
    sums: Values = {}
    for metric, parts in clusters["parts"].items():
        weights = clusters["weights"].get(metric, [])
        pairs = [(p, w) for p, w in zip(parts, weights, strict=False) if p is not None and w]
        total = math.fsum(weight for _, weight in pairs)
        if total and len(parts) == len(weights):
            sums[metric, "all"] = math.fsum(part * weight for part, weight in pairs) / total
    for metric, values in data["metrics"].items():
        folds = [v for subset, v in values.items() if subset.startswith("fold=")]
        if "pooled" in values and len(folds) == len(record.folds):
            sums.setdefault((metric, "all"), math.fsum(folds) / len(folds))
    recorded = {key: stored.get(key) for key in sums}
    for key, then in recorded.items():  # the order of these sums is not that of the record
        if then is not None and math.isclose(then, sums[key] or 0.0, abs_tol=1e-12):
            sums[key] = then
    result.values(recorded, sums, ROUNDING)


def compare(stored: RunRecord, fresh: RunRecord) -> Verification:
    """Compare a record with a repetition of its run, in every value that both computed."""
    result = Verification()
    code = fresh["code"]["files"] if "code" in fresh else {}
    result.changed = changed_since(stored, fresh["provenance"], code)
    if "code" not in stored and stored["sources"] != fresh["sources"]:
        result.changed.append("source of the method")
    for key in FACTS:
        then, now = stored[key], fresh[key]  # type: ignore[literal-required]
        result.n_compared += 1
        if then != now:
            result.differs(f"{key}: {then} on record, {now} computed")
    old, new = metric_values(stored), metric_values(fresh)
    for metric, subset in sorted(old.keys() ^ new.keys()):
        result.differs(f"{metric} of {subset} exists on one side only")
    result.values(old, new, TOLERANCE)
    result.values(cluster_values(stored), cluster_values(fresh), TOLERANCE)
    result.n_compared += 1
    if stored["predictions_sha256"] != fresh["predictions_sha256"] and result.answer == "identical":
        result.answer = "equal"
    return result


def changed_since(record: RunRecord, environment: Provenance, code: Mapping[str, str]) -> list[str]:
    """Return the names of versions, machine and source files that differ from a record's.

    Parameters
    ----------
    record
        The record.
    environment
        The present environment. Keys that it lacks are not compared.
    code
        Digests of the present source files.
    """
    then = record["provenance"]
    keys = ("labshift", "python", "platform", "cpu", "device", "threads", "precision")
    changed = [
        key
        for key in keys
        if key in environment and key in then and then[key] != environment[key]  # type: ignore[literal-required]
    ]
    packages, now = then.get("packages", {}), environment.get("packages", {})
    changed += [f"{name} {packages[name]}" for name in packages if now.get(name) != packages[name]]
    if "code" in record:
        changed += differing(record["code"]["files"], code)
    return list(dict.fromkeys(changed))


def _now() -> Provenance:
    """Return the present environment, without what only a run determines."""
    now = provenance.environment(device="cpu", threads=1, precision="float32")
    for key in ("device", "threads", "precision"):
        del now[key]  # type: ignore[misc]
    return now


def _code_now(record: RunRecord) -> dict[str, str]:
    """Return the present digests of the source files of a record, where their paths are known."""
    files = record["code"]["files"] if "code" in record else {}
    result: dict[str, str] = {}
    for name, recorded in files.items():
        places = (ROOT / name, ROOT / "bench" / name)
        path = next((place for place in places if place.is_file()), None)
        # Files of plugins can be anywhere.
        result |= (
            file_digests([path])
            if path is not None
            else ({} if name.startswith(("bench/", "methods/", "datasets/")) else {name: recorded})
        )
    return result
