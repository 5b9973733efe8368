"""Schema of ``run.json``: every key with its type and one line of documentation.

The types below are the schema. :mod:`bench.records.checking` checks records against them when they
are read, and exports them as JSON Schema. Keys that are not listed are allowed: records of a later
labshift with more keys can still be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
    """A value of a JSON file."""
else:
    Json = object


SCHEMA = 1
"""Version of ``run.json``. Records of a later version raise an error."""

READOUTS = ("head", "probe", "knn1")
"""Readout heads: the network's own head, the shared linear probe, the nearest training profile."""
PREFIXES = tuple(f"{readout}." for readout in READOUTS)
"""Prefixes of metric names, one per readout head."""

NOT_RUN_HERE = "not run here"
"""Mark of a record of predictions or embeddings that were computed elsewhere."""

Status = Literal["ok", "not-applicable", "failed"]
Isolated = Literal["no", "process", "bubblewrap"]
Aggregation = Literal["", "mean", "pooled"]
"""How the primary score combines folds; empty for a single fold."""
Params = dict[str, dict[str, Json]]
"""Parameters that differ from their defaults, by stage."""


class Stage(TypedDict):
    """One method of a chain on one fold."""

    method: Annotated[str, "Name of the method"]
    version: Annotated[int, "Version of the method"]
    params: Annotated[dict[str, Json], "Parameters that differ from their defaults"]
    level: NotRequired[Annotated[str, "Batch level that the stage uses"]]
    fit_id: NotRequired[Annotated[str, "Identity of the fit, hex"]]
    apply_id: NotRequired[Annotated[str, "Identity of the outputs for the test rows, hex"]]
    pinned: NotRequired[Annotated[dict[str, str], "Revision and SHA-256 of pretrained weights"]]


class Fold(TypedDict):
    """One fold of a split."""

    fold: Annotated[str, "Name of the fold"]
    stages: Annotated[list[Stage], "Stages of the chain, in order"]
    recipe: NotRequired[Annotated[dict[str, Json], "Recipe values tuned for this fold"]]


class Source(TypedDict):
    """The data set that a transferred encoder was trained on."""

    split_id: Annotated[str, "Split that the encoder was trained on"]
    dataset: Annotated[str, "Name of the data set"]
    dataset_settings: Annotated[dict[str, Json], "Settings that differ from their defaults"]
    data_digest: Annotated[str, "Digest of the data"]


class TuningBudget(TypedDict):
    """Budget of a tuned run; part of the run's identity."""

    rule: NotRequired[Annotated[str, "Selection rule"]]
    level: NotRequired[Annotated[str, "Batch level of the rule"]]
    trials: NotRequired[Annotated[int, "Trials finished, the fewest of any fold"]]
    trials_asked: NotRequired[Annotated[int, "Trials requested per fold"]]
    seconds_asked: NotRequired[Annotated[float, "Time budget per fold in seconds; 0 is unlimited"]]
    validations: NotRequired[Annotated[int, "Validation sets per fold"]]
    space: NotRequired[Annotated[list[str], "Search space, one line per dimension"]]


class Spec(TypedDict):
    """Everything that identifies a run; its digest is the run id."""

    method_id: Annotated[str, "Chain of methods joined by '+'"]
    split_id: Annotated[str, "Canonical name of the split"]
    split_digest: Annotated[str, "Digest of the split's rows"]
    dataset: Annotated[str, "Name of the data set"]
    dataset_settings: Annotated[dict[str, Json], "Settings that differ from their defaults"]
    edition: Annotated[str, "Variant of the data: real, simulated or fixture"]
    data_digest: Annotated[str, "Digest of the data"]
    recipe: Annotated[str, "Name of the training recipe"]
    recipe_overrides: Annotated[dict[str, Json], "Recipe values set by hand"]
    recipe_digest: Annotated[str, "Digest of the resolved recipe"]
    standardise: Annotated[str, "Standardisation of the inputs: none, image or plate"]
    seed: Annotated[int, "Seed of the run"]
    selection: Annotated[str, "Rule that selected the parameters; 'last' is none"]
    score_unit: Annotated[str, "Unit that is scored: 'row', or the column that groups rows"]
    folds: Annotated[list[Fold], "Folds of the split with the stages of the chain"]
    metric_versions: Annotated[dict[str, int], "Version of each metric"]
    rescale: NotRequired[Annotated[bool, "Whether images were brought to one pixel size"]]
    numerics: NotRequired[Annotated[int, "Version of the numerics; absent for version 1"]]
    grouping: NotRequired[Annotated[dict[str, Json], "Inference batches of a study"]]
    tuning: NotRequired[Annotated[TuningBudget, "Budget of the parameter search"]]
    preprocess: NotRequired[Annotated[str, "Profile preprocessing before the first stage"]]
    cluster: NotRequired[Annotated[str, "Level of the clusters, where the split sets it"]]
    also_new: NotRequired[Annotated[str, "Column with values that are new as well"]]
    aggregate: NotRequired[Annotated[list[str], "Aggregation steps before retrieval"]]
    source: NotRequired[Annotated[Source, "Pre-training data of a transferred encoder"]]


Column = dict[str, list[float | None]]
"""Metric name with its readout prefix -> one value per cluster."""


class Clusters(TypedDict):
    """Metrics within each cluster (plate, week, laboratory, ...) of the test rows."""

    level: Annotated[str, "Level of the clusters; empty where nothing was scored"]
    names: Annotated[list[str], "Names of the clusters"]
    n: Annotated[list[int], "Scored units per cluster"]
    values: Annotated[Column, "Metric within each cluster; null where it is undefined"]
    parts: Annotated[Column, "Contribution of each cluster to the metric over all units"]
    weights: Annotated[Column, "Weights of the contributions"]


class Units(TypedDict):
    """Values of a batch level among the scored rows of all folds."""

    test: Annotated[int, "Number of values"]
    new: Annotated[int, "Number of those that are absent from the training rows of their fold"]
    height: Annotated[int, "Place of the level in the data set, 0 is the smallest"]


class Cost(TypedDict):
    """Cost of a run, summed over folds."""

    fit_s: Annotated[float, "Seconds of fitting"]
    apply_s: Annotated[float, "Seconds of applying"]
    peak_bytes: Annotated[int, "Peak resident memory above the start of the run, in bytes"]
    steps: Annotated[int, "Optimiser steps"]
    images_seen: Annotated[int, "Rows passed through the network in training"]


class Batches(TypedDict, total=False):
    """Test batches of a run; empty if nothing was scored."""

    n_test: Annotated[int, "Number of test batches"]
    rows_min: Annotated[int, "Rows of the smallest test batch"]
    rows_median: Annotated[float, "Median rows of a test batch"]
    rows_max: Annotated[int, "Rows of the largest test batch"]
    fallbacks: Annotated[int, "Test batches that were too small and used the fallback"]


class Provenance(TypedDict, total=False):
    """Machine, versions and command. They are not part of the run's identity."""

    python: Annotated[str, "Version of Python"]
    platform: Annotated[str, "Operating system and architecture"]
    cpu: Annotated[str, "Model of the processor"]
    device: Annotated[str, "Device: cpu, or cuda with the name of the card"]
    threads: Annotated[int, "Threads of torch"]
    precision: Annotated[str, "float32 or bfloat16"]
    packages: Annotated[dict[str, str], "Versions of installed packages"]
    labshift: Annotated[str, "Version of labshift"]
    commit: Annotated[str, "Git commit of the checkout; absent without one"]
    modified: Annotated[bool, "Present if tracked files have uncommitted changes"]
    command: Annotated[str, "Command line of the run"]
    created: Annotated[str, "Time of the run (UTC, ISO 8601)"]
    recipe: Annotated[dict[str, Json], "Resolved training recipe"]


class Code(TypedDict):
    """Digest of the code that can change results."""

    digest: Annotated[str, "Digest over all files"]
    files: Annotated[dict[str, str], "Digest per file"]


class FoldTuning(TypedDict):
    """Result of the parameter search on one fold."""

    fold: Annotated[str, "Name of the fold"]
    trials: Annotated[int, "Trials finished"]
    pruned: Annotated[int, "Trials stopped early"]
    failed: Annotated[int, "Trials that failed"]
    seconds: Annotated[float, "Seconds spent"]
    validations: Annotated[int, "Validation sets"]
    score: Annotated[float | None, "Validation score of the selected parameters"]
    params: Annotated[Params, "Selected parameters by stage"]
    recipe: Annotated[dict[str, Json], "Selected recipe values"]


class Tuning(TuningBudget):
    """Budget, spending and result of the parameter search."""

    seconds: NotRequired[Annotated[float, "Seconds spent on all folds"]]
    seed: NotRequired[Annotated[int, "Seed of the trials"]]
    folds: NotRequired[Annotated[list[FoldTuning], "Result per fold"]]


class External(TypedDict):
    """File with predictions or embeddings that were computed elsewhere."""

    kind: Annotated[str, "classes, scores or embeddings"]
    sha256: Annotated[str, "Digest of the content, independent of the order of the rows"]
    file: Annotated[str, "Name of the file"]


class RunRecord(TypedDict):
    """Contents of ``run.json``."""

    schema: Annotated[int, "Version of the schema"]
    run_id: Annotated[str, "Digest of the spec, hex; also the name of the folder"]
    spec: Annotated[Spec, "Everything that identifies the run"]
    method: Annotated[str, "Chain of methods as typed"]
    method_id: Annotated[str, "Chain of methods joined by '+'"]
    split: Annotated[str, "Split as typed"]
    params: Annotated[Params, "Parameters that differ from their defaults, by stage"]
    level: Annotated[str, "Batch level of the last stage"]
    track: Annotated[str, "Track: what the method may use of the test set"]
    access: Annotated[list[str], "Information that the method used"]
    badges: Annotated[list[str], "Marks shown next to the method's name"]
    readout: Annotated[str, "Readout head whose metrics also have names without a prefix"]
    classifier: NotRequired[Annotated[bool, "Whether the method is a classifier on its own"]]
    status: Annotated[Status, "ok, not-applicable or failed"]
    reason: Annotated[str, "Reason of a status other than ok"]
    ranked: Annotated[bool, "Whether the run may be ranked"]
    unranked_because: Annotated[list[str], "Reasons for not ranking the run"]
    metrics: Annotated[
        dict[str, dict[str, float]], "Metric -> subset ('all', 'pooled', 'fold=…') -> value"
    ]
    metrics_rest_on: Annotated[dict[str, dict[str, str]], "Metric -> subset -> data it is based on"]
    undefined: NotRequired[Annotated[dict[str, str], "Requested metrics without a value: reason"]]
    primary: Annotated[str, "Primary metric of the run"]
    lower_is_better: Annotated[list[str], "Metrics for which lower is better"]
    clusters: Annotated[Clusters, "Metrics within each cluster"]
    n_eval: Annotated[int, "Scored units"]
    n_excluded: Annotated[int, "Test rows of classes without training rows"]
    excluded_classes: Annotated[list[str], "Those classes"]
    n_classes: Annotated[int, "Number of classes"]
    classes: Annotated[list[str], "Names of the classes, in the order of the scores"]
    chance: Annotated[float, "Score of guessing"]
    probe_C: NotRequired[Annotated[list[float], "Inverse penalty of the probe per fold"]]
    batches: Annotated[Batches, "Test batches"]
    undeclared_adaptation: Annotated[str | None, "Undeclared use of the test set, if detected"]
    notes: Annotated[list[str], "Notes of the run"]
    cautions: Annotated[list[str], "Warnings of the data set, and code of others in this process"]
    upstream: Annotated[list[str], "Preprocessing done before the data were published"]
    licence: NotRequired[Annotated[str, "Licence of the data; absent for simulated data"]]
    exposed: Annotated[list[str], "Columns that methods may read"]
    shift: Annotated[str, "Difference between training and test data"]
    isolated: NotRequired[
        Annotated[Isolated, "Isolation of methods of others; absent for packaged methods"]
    ]
    deterministic: NotRequired[Annotated[bool, "Whether one seed represents all"]]
    held_out: NotRequired[Annotated[str, "Column of the held-out values; empty for a fixed test"]]
    units: NotRequired[Annotated[dict[str, Units], "Tested and new values per batch level"]]
    preprocess: NotRequired[Annotated[str, "Profile preprocessing before the first stage"]]
    cost: Annotated[Cost, "Cost of the run"]
    predictions_sha256: Annotated[str, "Digest of the predictions; empty without any"]
    sources: Annotated[dict[str, str], "SHA-256 of the method's source files"]
    code: NotRequired[Annotated[Code, "Code that made the run; absent in older records"]]
    tuning: NotRequired[Annotated[Tuning, "Parameter search of a tuned run"]]
    external: NotRequired[Annotated[External, "Present if outputs were computed elsewhere"]]
    provenance: Annotated[Provenance, "Machine, versions and command"]
    digests: NotRequired[Annotated[dict[str, str], "SHA-256 of the record's own files"]]
    verified: NotRequired[Annotated[bool, "Result of --if-exists verify; not stored"]]


class Machine(TypedDict):
    """Parts of the provenance that a board compares between runs."""

    device: Annotated[str | None, "Device"]
    precision: Annotated[str | None, "Precision"]
    threads: Annotated[int | None, "Threads of torch"]
    platform: Annotated[str | None, "Operating system and architecture"]
    torch: Annotated[str | None, "Version of torch"]


class CodeSummary(TypedDict):
    """The code of a run, for comparing runs; empty if it was not recorded."""

    digest: Annotated[str, "Digest over all files"]
    folders: Annotated[dict[str, str], "Digest per folder"]


class Summary(TypedDict):
    """The part of a record that boards use, as a flat dictionary; stored in the index."""

    run_id: str
    method: str
    method_id: str
    split: str
    split_id: str
    split_digest: str
    dataset: str
    dataset_settings: dict[str, Json]
    edition: str
    data_digest: str
    recipe: str
    recipe_overrides: dict[str, Json]
    recipe_digest: str
    standardise: str
    seed: int
    selection: str
    score_unit: str
    metric_versions: dict[str, int]
    numerics: int
    grouping: dict[str, Json] | None
    shift: str
    deterministic: bool
    n_folds: int
    held_out: str
    units: dict[str, Units]
    params: Params
    track: str
    access: list[str]
    level: str
    badges: list[str]
    readout: str
    classifier: bool
    status: Status
    reason: str
    ranked: bool
    unranked_because: list[str]
    primary: str
    lower_is_better: list[str]
    n_eval: int
    n_excluded: int
    n_classes: int
    chance: float
    undeclared_adaptation: str | None
    cautions: list[str]
    upstream: list[str]
    cost: Cost
    predictions_sha256: str
    tuning: Tuning | None
    metrics: dict[str, float]
    pooled: dict[str, float]
    aggregation: Aggregation
    versions: dict[str, int]
    machine: Machine
    code: CodeSummary
    created: str
    command: str
