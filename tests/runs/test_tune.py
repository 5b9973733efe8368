"""Tuning: validation rows alone, equal budgets, and studies that survive what kills them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.boards import select as leaderboard
from bench.cli.main import main
from bench.core.errors import BenchError
from bench.core.registry import Registry
from bench.records.selection import derived_name, parse_derived, select
from bench.records.store import Store
from bench.runs import holdouts as carve
from bench.runs.job import Options
from bench.runs.runner import Runner
from bench.runs.tuning.space import Budget, Dimension, Tuning, search_space
from bench.runs.tuning.trials import suggest
from bench.runs.tuning.tune import tune
from tests.helpers import tiny
from tests.helpers.errors import mentions, raises
from tests.helpers.factories import as_records
from tests.helpers.processes import PATIENCE, forked, killed_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.data.task import Task

NOISE = '''
import time as clock


@dataclass(frozen=True)
class Noise:
    """Two values to tune."""

    amount: float = param(1.0, "noise that is added", low=0.0, high=10.0, search=(0.0, 4.0))
    kind: str = param("plain", "a word", choices=("plain", "other"), search=("plain", "other"))


class M(Profile):
    Params = Noise

    def fit(self, train, adapt, ctx):
        DURING_FIT

    def apply(self, samples):
        seeds = [int(i, 36) % 2**31 for i in (s[-6:] for s in samples.ids)]
        noise = np.array([np.random.default_rng(s).normal(0, 1, samples.X.shape[1]) for s in seeds])
        X = samples.X + self.params.amount * noise
        return Output((X * (2 if self.params.kind == "other" else 1)).astype(np.float32))
'''


def plugin(folder: Path, during_fit: str = "pass", name: str = "noise") -> Path:
    return tiny.write_method(folder, name, NOISE.replace("DURING_FIT", during_fit))


def tuning(
    folder: Path,
    task: Task,
    registry: Registry,
    trials: int = 4,
    method: str = "noise",
    values: Mapping[str, Mapping[str, Any]] | None = None,
    **changes: Any,
) -> Tuning:
    budget = Budget(trials, changes.pop("seconds", 0.0), changes.pop("parts", 2))
    options = Options("default", dict(tiny.QUICK), values or {}, "cpu")
    return Tuning(task, method, registry, options, Store(folder), budget, **changes)


def done(plan: Tuning, seeds: tuple[int, ...] = (0,)) -> list[dict[str, Any]]:
    return tune(plan, Runner(plan.store, plan.options), seeds)


def chosen(record: dict[str, Any]) -> list[Any]:
    return [(fold["fold"], fold["params"], fold["score"]) for fold in record["tuning"]["folds"]]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry((plugin(tmp_path / "plugins"),))


def one_fold() -> Task:
    """Return a split that trains on four plates and is tested on a fifth."""
    return tiny.task(tiny.opened(batches=5), test={"plate": ("p4",)})


def by_weeks(batches: int = 6) -> Task:
    """Return a hold-out of weeks: three folds of two plates each."""
    return tiny.task(tiny.opened(batches=batches), name="tiny/weeks", hold_out="week", shares=())


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuning, dict[str, Any]]:
    """Return how weeks were tuned, and the record."""
    folder = tmp_path_factory.mktemp("tuned")
    plan = tuning(folder / "r", by_weeks(), Registry((plugin(folder / "plugins"),)))
    [record] = done(plan)
    return plan, record


Tuned = tuple[Tuning, dict[str, Any]]


def test_a_tuned_record_says_what_was_spent_and_chosen(tuned: Tuned) -> None:
    _, record = tuned
    spec, said = record["spec"], record["tuning"]
    assert spec["selection"] == "ood-val"
    assert spec["tuning"]["trials"] == 4
    assert said["trials"] == 4
    assert said["seconds"] >= 0
    assert said["space"] == ["noise.amount 0 .. 4", "noise.kind plain | other"]
    assert [fold["fold"] for fold in said["folds"]] == ["w0", "w1", "w2"]
    for fold, stages in zip(said["folds"], spec["folds"], strict=True):
        assert fold["fold"] == stages["fold"]
        assert stages["stages"][-1]["params"] == fold["params"].get("noise", {})
        assert fold["trials"] == 4
        assert fold["validations"] == 2


def test_what_is_chosen_is_what_the_pure_function_of_the_records_says(tuned: Tuned) -> None:
    plan, record = tuned
    trials = [r for r in plan.store.load_all() if "~ood-val" in r["spec"]["split_id"]]
    for fold in record["tuning"]["folds"]:
        choice = select(trials, "ood-val", "tiny/weeks", "identity+noise", fold=fold["fold"])
        again = select(trials[::-1], "ood-val", "tiny/weeks", "identity+noise", fold=fold["fold"])
        assert choice == again
        assert (choice.params, choice.score) == (fold["params"], fold["score"])


def test_a_second_call_answers_from_disk(tuned: Tuned) -> None:
    plan, first = tuned
    n = len(plan.store.load_all())
    [second] = done(plan)
    assert second["run_id"] == first["run_id"]
    assert len(plan.store.load_all()) == n


def test_a_larger_budget_goes_on_where_the_smaller_ended(
    tmp_path: Path, registry: Registry
) -> None:
    task = one_fold()
    [small] = done(tuning(tmp_path / "a", task, registry, trials=3))
    [large] = done(tuning(tmp_path / "a", task, registry, trials=13))
    [fresh] = done(tuning(tmp_path / "b", task, registry, trials=13))
    assert chosen(large) == chosen(fresh)
    assert large["run_id"] == fresh["run_id"] != small["run_id"]


def test_test_labels_and_profiles_move_no_choice(tmp_path: Path, registry: Registry) -> None:
    data = tiny.opened(batches=5)
    test = (data.index["plate"] == "p4").to_numpy()
    fields: dict[str, Any] = {"test": {"plate": ("p4",)}}
    [honest] = done(tuning(tmp_path / "a", tiny.task(data, **fields), registry))
    # Every label of the test rows is another one, and so are their profiles.
    index, X = data.index.copy(), data.source.read(np.arange(len(test))).copy()
    index.loc[test, "label"] = index.loc[test, "label"].replace(
        {"actin": "golgi", "golgi": "nucleus", "nucleus": "actin"}
    )
    X[test] = -3 * X[test]
    spoilt = tiny.task(tiny.opened(index=index, X=X), **fields)
    [other] = done(tuning(tmp_path / "b", spoilt, registry))
    assert chosen(other) == chosen(honest)
    assert other["predictions_sha256"] != honest["predictions_sha256"]


def test_no_fold_is_chosen_for_with_rows_it_is_tested_on(tuned: Tuned) -> None:
    plan, _ = tuned
    task = plan.task
    week = task.opened.index.set_index("id")["week"]
    for record in plan.store.load_all():
        where = parse_derived(record["spec"]["split_id"])
        if where is None:
            continue
        scored = record.predictions()
        assert scored is not None
        assert where.fold not in set(week[scored["id"]])


def test_a_validation_set_that_holds_test_rows_is_refused(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = by_weeks()

    def cheat(task: Task, fold: Any, *args: Any, **kwargs: Any) -> list[Task]:
        return [dataclasses.replace(task, folds=[fold])]

    monkeypatch.setattr("bench.runs.tuning.tune.validation", cheat)
    with raises(BenchError, "p0-w00", "38"):
        done(tuning(tmp_path / "r", task, registry))
    assert Store(tmp_path / "r").load_all() == []


def test_the_oracle_says_so_and_is_never_ranked(tmp_path: Path, registry: Registry) -> None:
    plan = tuning(tmp_path / "r", one_fold(), registry, trials=2, rule="oracle")
    records = done(plan, seeds=(0, 1, 2))
    assert all(record["ranked"] is False for record in records)
    assert "oracle: selected on the test rows" in records[0]["unranked_because"]
    runs = as_records([{**r, "spec": {**r["spec"], "edition": "real"}} for r in records])
    [board] = leaderboard.boards(runs)
    assert "never ranked" in board.title
    assert [row.rank for row in board.rows] == [None]


@pytest.mark.parametrize("name", ["id-val", "ood-val", "leave-one-batch-out"])
def test_a_rule_holds_out_what_it_says(name: str) -> None:
    task = by_weeks()
    fold = task.folds[0]
    result = carve.validation(task, fold, name, parts=3)
    index = task.opened.index
    level = "well" if name == "id-val" else "plate"
    held: list[str] = []
    for item in result:
        [part] = item.folds
        assert not set(part.train) & set(part.test)
        assert set(part.train) | set(part.test) == set(fold.train)
        train, test = (set(index[level].iloc[rows]) for rows in (part.train, part.test))
        assert not train & test
        held += sorted(test)
        assert parse_derived(item.split.name) is not None
        assert len(set(index["plate"].iloc[part.train])) >= 2
    assert len(held) == len(set(held))  # disjoint
    if name == "leave-one-batch-out":
        assert sorted(held) == sorted(set(index["plate"].iloc[fold.train]))
    else:
        assert len(result) == 3


def test_rows_are_drawn_by_address_and_not_by_the_order_of_the_index() -> None:
    data = tiny.opened(batches=8)
    order = np.random.default_rng(3).permutation(len(data.index))
    fields: dict[str, Any] = {"name": "tiny/weeks", "hold_out": "week", "shares": ()}
    item, other = (
        carve.validation(task, task.folds[1], "ood-val")
        for task in (
            tiny.task(data, **fields),
            tiny.task(tiny.opened(batches=8, order=order), **fields),
        )
    )
    assert [t.digest for t in item] == [t.digest for t in other]
    assert len({t.digest for t in item}) == 2


def test_one_of_two_wells_can_be_held_out() -> None:
    data = tiny.opened(batches=3)
    well = data.index.groupby(["plate", "label"]).cumcount() % 2
    new = (data.index["plate"] == "p2").astype(int)
    names = [f"w{k}{side}" for k, side in zip(well, new, strict=True)]
    data = dataclasses.replace(data, index=data.index.assign(well=names))
    task = tiny.task(data, test={"plate": ("p2",)})
    [item] = carve.validation(task, task.folds[0], "id-val", parts=1)
    held = data.index["well"].iloc[item.folds[0].test]
    assert len(set(held)) == 1


@pytest.mark.parametrize("name", ["ood-val", "leave-one-batch-out"])
def test_too_few_batches_are_refused_with_a_reason(
    name: str, tmp_path: Path, registry: Registry
) -> None:
    task = tiny.task(tiny.opened(batches=3), test={"plate": ("p2",)})
    with raises(BenchError, "3", "plate", "2", "id-val"):
        done(tuning(tmp_path / "r", task, registry, rule=name))
    [record] = done(tuning(tmp_path / "r", task, registry, rule="id-val", trials=2))
    assert record["spec"]["selection"] == "id-val"


def test_classes_of_one_batch_alone_cannot_be_validated() -> None:
    data = tiny.opened(batches=4)
    index = data.index.copy()
    index["label"] = np.where(index["label"] == "", "", index["plate"] + "-" + index["label"])
    index.loc[index["plate"] == "p3", "label"] = "p0-actin"
    nested = tiny.opened(index=index, X=data.source.read(np.arange(len(index))))
    task = tiny.task(nested, test={"plate": ("p3",)})
    with raises(BenchError, "--rule"):
        carve.validation(task, task.folds[0], "leave-one-batch-out")


def test_nothing_is_carved_without_a_training_set(tmp_path: Path, registry: Registry) -> None:
    data = dataclasses.replace(
        tiny.opened(),
        columns={"treatment": "label", "compound": "label", "nscb_batch": "week"},
    )
    task = tiny.task(
        data, name="tiny/profile", protocol="unsupervised", test="all", metric="nsc", shares=()
    )
    with raises(BenchError):
        done(tuning(tmp_path / "r", task, registry))


def test_names_of_derived_splits_are_read_back() -> None:
    task = by_weeks(batches=8)
    for item in carve.validation(task, task.folds[2], "ood-val", level="week", parts=2):
        said = parse_derived(item.split.name)
        assert said is not None
        assert (said.split, said.kind, said.level, said.fold) == (
            "tiny/weeks",
            "ood-val",
            "week",
            "w2",
        )
        assert derived_name(said) == item.split.name
    assert parse_derived("coos7/test4") is None


def test_values_set_by_hand_are_not_tuned(tmp_path: Path, registry: Registry) -> None:
    plan = tuning(tmp_path / "r", by_weeks(), registry, values={"noise": {"amount": "2"}})
    assert [item.name for item in search_space(plan)] == ["noise.kind"]


def test_choices_that_need_what_the_data_lack_are_left_out(tmp_path: Path) -> None:
    plan = tuning(tmp_path / "r", one_fold(), Registry(), method="adabn")
    assert [item.words for item in plan.space] == ["adabn.rows all | treated | controls"]
    without = tiny.task(tiny.opened(batches=5, controls=0), test={"plate": ("p4",)})
    assert tuning(tmp_path / "r", without, Registry(), method="adabn").space == []


def test_a_parameter_without_effect_is_not_sampled(tmp_path: Path) -> None:
    import optuna

    def space(**rows: str) -> list[Dimension]:
        values = {"ben": dict(rows)} if rows else {}
        return tuning(tmp_path / "r", one_fold(), Registry(), method="ben", values=values).space

    share = "ben.control_share 0.25 .. 0.75"
    assert [d.words for d in space()][-1] == f"{share} if ben.rows = controls"
    assert [d.words for d in space(rows="controls")][-1] == share
    assert "ben.control_share" not in [d.name for d in space(rows="all")]
    without = tiny.task(tiny.opened(batches=5, controls=0), test={"plate": ("p4",)})
    names = [d.name for d in tuning(tmp_path / "r", without, Registry(), method="ben").space]
    assert names == ["ben.sampler", "ben.per_batch"]
    study = optuna.create_study()
    sampled = set()
    for _ in range(30):
        trial = study.ask()
        params, _ = suggest(study, trial, "ben on tiny", space())
        study.tell(trial, 0.0)
        sampled.add((params["ben"]["rows"], "control_share" in params["ben"]))
    assert sampled == {("all", False), ("treated", False), ("controls", True)}


def test_a_method_whose_trials_all_fail_stops_no_other(tmp_path: Path) -> None:
    registry = Registry((plugin(tmp_path / "p", 'raise RunFailed("no")'),))
    plan = tuning(tmp_path / "r", one_fold(), registry, trials=2)
    [record] = done(plan)
    assert (record.status, record.selection) == ("failed", "ood-val")
    [failure] = [f for f in plan.store.failures() if f["about"]["split"] == record.split]
    assert failure["run_id"] == record.run_id
    assert plan.store.load_all() == []


def test_a_method_without_a_space_is_said_so(tmp_path: Path, registry: Registry) -> None:
    plan = tuning(tmp_path / "r", by_weeks(), registry, method="erm")
    with raises(BenchError, "erm"):
        done(plan)
    with raises(BenchError, "lrr", "lr"):
        done(tuning(tmp_path / "r", by_weeks(), registry, method="erm", recipe_keys=("lrr",)))


def test_recipe_keys_are_tuned_and_recorded_by_fold(tmp_path: Path) -> None:
    plan = tuning(
        tmp_path / "r", one_fold(), Registry(), trials=4, method="erm", recipe_keys=("lr",), parts=1
    )
    [record] = done(plan)
    [fold] = record["tuning"]["folds"]
    [stages] = record["spec"]["folds"]
    assert stages.get("recipe", {}) == fold["recipe"]
    assert record["spec"]["recipe_overrides"] == {k: tiny.QUICK[k] for k in tiny.QUICK}
    # Weights of candidates that were not taken are gone.
    fits = {stage["fit_id"] for stage in stages["stages"]}
    left = {path.parent.name for path in (tmp_path / "r" / "artifacts").glob("*/*.safetensors")}
    assert fits <= left
    assert len(left) <= 2


def tuned_rows(trials: Mapping[str, int]) -> list[dict[str, Any]]:
    from tests.helpers.factories import make_record

    result = []
    for k, (method, n) in enumerate(trials.items()):
        for seed in range(3):
            said = {"trials": n, "seconds_asked": 0.0, "validations": 2, "seconds": 10.0 * n}
            result.append(
                make_record(
                    method, seed, 0.5 + 0.1 * k, edition="real", selection="ood-val", tuning=said
                )
            )
    return result


def test_equal_budgets_are_ranked_and_printed() -> None:
    [board] = leaderboard.boards(as_records(tuned_rows({"erm": 20, "dann": 20})))
    assert [row.rank for row in board.rows] == [1, 2]
    assert "tuned by ood-val" in board.title
    mentions(board.notes, "20 trials", "2 validation sets", "200 s")


def test_an_unequal_budget_is_flagged_and_not_ranked() -> None:
    records = as_records(tuned_rows({"erm": 20, "dann": 20, "deep-coral": 50}))
    [board] = leaderboard.boards(records)
    ranks = {row.method: row.rank for row in board.rows}
    assert ranks == {
        "dann": 1,
        "erm": 2,
        "deep-coral": None,
    }
    [row] = [row for row in board.rows if row.method_id == "deep-coral"]
    mentions(row.reason, "50")


def test_tuned_and_default_rows_are_never_on_one_board() -> None:
    from tests.helpers.factories import make_record

    default = [make_record("ben", seed, 0.6, edition="real") for seed in range(3)]
    shown = leaderboard.boards(as_records([*default, *tuned_rows({"erm": 20, "dann": 20})]))
    assert [board.selection for board in shown] == ["last", "ood-val"]
    assert [{row.method_id for row in board.rows} for board in shown] == [{"ben"}, {"erm", "dann"}]


def test_trials_are_on_no_ordinary_board(tuned: Tuned) -> None:
    plan, _ = tuned
    real = [{**r.data, "spec": {**r["spec"], "edition": "real"}} for r in plan.store.load_all()]
    assert any("~" in r["spec"]["split_id"] for r in real)
    assert [b.split for b in leaderboard.boards(as_records(real))] == ["tiny/weeks"]
    asked = "tiny/weeks~ood-val.1of2@w0"
    assert {b.split for b in leaderboard.boards(as_records(real), split=asked)} == {asked}


def test_poor_trials_are_given_up_after_the_first_validation_set(
    tmp_path: Path, registry: Registry
) -> None:
    [record] = done(tuning(tmp_path / "r", one_fold(), registry, trials=14))
    assert record["tuning"]["folds"][0]["pruned"] > 0


def test_a_trial_that_fails_counts_and_the_others_decide(tmp_path: Path) -> None:
    fails = 'if self.params.kind == "other": raise RunFailed("no")'
    registry = Registry((plugin(tmp_path / "p", fails),))
    [record] = done(tuning(tmp_path / "r", one_fold(), registry, trials=8))
    folds = record["tuning"]["folds"]
    assert sum(fold["failed"] for fold in folds) > 0
    assert all(fold["trials"] == 8 for fold in folds)
    assert all("kind" not in fold["params"].get("noise", {}) for fold in folds)


def test_no_trial_is_begun_after_the_seconds_are_spent(tmp_path: Path) -> None:
    registry = Registry((plugin(tmp_path / "p", "clock.sleep(0.1)"),))
    [record] = done(tuning(tmp_path / "r", one_fold(), registry, trials=50, seconds=0.5))
    assert 1 <= record["tuning"]["trials"] < 10
    assert record["tuning"]["trials_asked"] == 50


def command(folder: Path, file: Path, table: Path, trials: int, *more: str) -> list[str]:
    return [
        *(sys.executable, "-c", "from bench.cli.main import main\nmain()", "tune"),
        *(
            "--method",
            "noise",
            "--split",
            f"{table}:plates",
            "--trials",
            str(trials),
            "--seed",
            "0",
        ),
        # The method writes files, which isolation prevents.
        *("--results", str(folder), "--plugin", str(file), "--isolate", "none", "--seed", "0"),
        *("--json", *more),
    ]


def finished(folder: Path) -> int:
    """Return how many trials the journals say are finished."""
    lines = [line for f in folder.glob("tuning/*.journal") for line in f.read_bytes().splitlines()]
    return sum(b'"state":1' in line or b'"state":2' in line for line in lines)


@pytest.mark.attack
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_killed_study_goes_on_and_equals_one_that_never_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = plugin(tmp_path / "plugins")
    table = tiny.write_table(tmp_path / "table", batches=4)

    def tuned(folder: Path) -> dict[str, Any]:
        with pytest.raises(SystemExit) as stopped:
            main(command(folder, file, table, 12)[3:])
        assert stopped.value.code == 0
        [run] = json.loads(capsys.readouterr().out)["runs"]
        return run

    whole = tuned(tmp_path / "whole")
    killed = tmp_path / "killed"
    counts = [0]
    for write in (40, 200):
        # Killed while a line was written: optuna's lock is left behind.
        kill = killed_at(
            "optuna.storages.journal", "JournalFileSymlinkLock.release", write, before=True
        )
        words = command(killed, file, table, 12)[3:]
        assert forked(partial(main, words), kill) == -signal.SIGKILL
        [lock] = killed.glob("tuning/*.lock")
        assert lock.is_symlink()
        counts.append(finished(killed))
    assert counts[0] < counts[1] < counts[2] < finished(tmp_path / "whole")
    # A kill in the middle of a line.
    with lock.with_suffix("").open("ab") as tail:
        tail.write(b'{"op_code":4,"worker')
    before = finished(killed)
    again = tuned(killed)
    assert finished(killed) >= before
    assert again["run_id"] == whole["run_id"]
    assert chosen(again) == chosen(whole)
    assert [f["pruned"] for f in again["tuning"]["folds"]] == [
        f["pruned"] for f in whole["tuning"]["folds"]
    ]


def test_two_processes_do_not_write_one_journal(tmp_path: Path, registry: Registry) -> None:
    from filelock import FileLock

    plan = tuning(tmp_path / "r", one_fold(), registry, trials=1)
    done(plan)
    [journal] = (tmp_path / "r" / "tuning").glob("*.journal")
    with FileLock(str(journal.with_suffix(".owner"))):
        with raises(BenchError, "tuning"):
            done(plan)


def test_sqlite_gives_what_the_journal_gives(tmp_path: Path, registry: Registry) -> None:
    task = one_fold()
    [journal] = done(tuning(tmp_path / "a", task, registry))
    url = f"sqlite:///{tmp_path / 'tuning.db'}"
    [database] = done(tuning(tmp_path / "b", task, registry, storage=url))
    assert chosen(database) == chosen(journal)
    # A worker that died in a trial: its trial is lost, its place is taken by the next.
    with sqlite3.connect(tmp_path / "tuning.db") as rows:
        rows.execute("update trials set state = 'RUNNING' where number = 3")
        rows.execute("delete from trial_values where trial_id = 4")
        rows.execute(
            "update trial_user_attributes set value_json = ? where key = 'worker' and trial_id = 4",
            (json.dumps(f"{os.uname().nodename}:999999999"),),
        )
    rows.close()
    [mended] = done(tuning(tmp_path / "b", task, registry, storage=url))
    assert chosen(mended) == chosen(journal)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("tuning.db", ("URL",)),
        ("nothing://here", ()),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/none", ()),
    ],
)
def test_a_database_that_is_not_there_is_one_line(
    url: str, words: str, tmp_path: Path, registry: Registry
) -> None:
    plan = tuning(tmp_path / "r", one_fold(), registry, storage=url)
    with raises(BenchError, *words) as error:
        done(plan)
    assert "secret" not in str(error.value)


@pytest.fixture
def postgres() -> Iterator[str]:
    """Start a PostgreSQL of our own in a folder that is gone afterwards; return its URL."""
    tools = {name: shutil.which(name) for name in ("initdb", "postgres", "pg_isready")}
    missing = [name for name, path in tools.items() if path is None]
    if missing:
        pytest.skip(f"PostgreSQL is not installed: no {', '.join(missing)}")
    pytest.importorskip("psycopg")
    import pwd

    user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if os.geteuid() == 0:  # which PostgreSQL refuses
        try:
            entry = pwd.getpwnam("nobody")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user 'nobody'")
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **user}
    data = str(folder / "data")
    result = subprocess.run(
        [
            str(tools["initdb"]),
            "-D",
            data,
            "-U",
            "tester",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ],
        check=False,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        **quiet,
    )
    if result.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip("initdb does not work here")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            *(str(tools["postgres"]), "-D", data, "-p", str(port), "-k", str(folder)),
            *("-h", "127.0.0.1", "-c", "fsync=off"),
        ],
        cwd=folder,
        **quiet,
    )
    try:
        ready = [str(tools["pg_isready"]), "-h", "127.0.0.1", "-p", str(port), "-q"]
        end = time.monotonic() + PATIENCE
        while subprocess.run(ready, check=False).returncode and time.monotonic() < end:
            assert server.poll() is None
            time.sleep(0.1)
        yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(timeout=PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.services
def test_workers_share_a_study_in_postgresql(tmp_path: Path, postgres: str) -> None:
    # Each waits in its first trial until the other has begun one too.
    wait = (
        "from pathlib import Path; import os\n"
        f"        folder = Path({str(tmp_path / 'begun')!r}); folder.mkdir(exist_ok=True)\n"
        "        (folder / str(os.getpid())).touch()\n"
        f"        end = clock.monotonic() + {PATIENCE}\n"
        "        while len(list(folder.iterdir())) < 2 and clock.monotonic() < end:\n"
        "            clock.sleep(0.01)"
    )
    file = plugin(tmp_path / "plugins", wait)
    table = tiny.write_table(tmp_path / "table", batches=4)
    workers = [
        subprocess.Popen(
            command(tmp_path / "results", file, table, 4, "--storage", postgres),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [worker.communicate(timeout=PATIENCE) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    [item], [other] = (json.loads(stdout)["runs"] for stdout, _ in outputs)
    assert item["run_id"] == other["run_id"]
    assert item["tuning"]["trials"] == 4
    # Both of them worked: the lines say which trials each made.
    assert all("trial" in stderr for _, stderr in outputs)
