"""Training batches: who is in them, how often, and that a step is a pure function."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.core.errors import BenchError, NotApplicable
from bench.training.samplers import batchwise, codes, mixed, usable_groups
from tests.helpers.errors import raises

SIZES = [3, 10, 25, 60]
GROUP = np.repeat(np.arange(4), SIZES)[np.random.default_rng(0).permutation(98)]
CONTROLS = np.random.default_rng(1).random(98) < 0.3


def test_codes_number_batches_in_the_order_of_their_names():
    group, names = codes(np.array(["b", "a", "b", "c"]))
    assert group.tolist() == [1, 0, 1, 2]
    assert names.tolist() == ["a", "b", "c"]
    assert group.dtype == np.int64


def test_mixed_epoch_holds_each_row_at_most_once_and_all_but_the_remainder():
    sample = mixed(GROUP, 16, seed=5)
    per_epoch = 98 // 16
    for epoch in range(3):
        drawn = np.concatenate([sample(epoch * per_epoch + s)[0] for s in range(per_epoch)])
        assert len(drawn) == per_epoch * 16
        assert len(np.unique(drawn)) == len(drawn)
    first, second = sample(0)[0], sample(per_epoch)[0]
    assert not np.array_equal(first, second)


def test_mixed_rows_are_drawn_equally_often():
    sample = mixed(GROUP, 16, seed=5)
    counts = np.bincount(np.concatenate([sample(s)[0] for s in range(6 * 400)]), minlength=98)
    # 400 epochs, each leaves out 2 of 98 rows: hypergeometric, spread far below Poisson
    assert counts.min() > 400 * 96 / 98 - 15
    assert counts.max() <= 400


def test_mixed_with_fewer_rows_than_a_batch_takes_all_of_them():
    idx, _ = mixed(GROUP[:7], 16, seed=0)(3)
    assert sorted(idx.tolist()) == list(range(7))


def test_independent_draws_batches_uniformly_whatever_their_size():
    sample = batchwise(GROUP, 8, seed=2)
    drawn = [int(sample(s)[1][0]) for s in range(2000)]
    assert stats.chisquare(np.bincount(drawn, minlength=4)).pvalue > 1e-3


def test_independent_steps_do_not_remember_one_another():
    sample = batchwise(GROUP, 8, seed=2)
    drawn = np.array([int(sample(s)[1][0]) for s in range(4000)])
    pairs = np.histogram2d(drawn[:-1], drawn[1:], bins=4)[0]
    assert stats.chi2_contingency(pairs).pvalue > 1e-3


def test_independent_repeats_rows_only_where_the_batch_is_too_small():
    sample = batchwise(GROUP, 10, seed=3)
    seen = set()
    for step in range(200):
        idx, group = sample(step)
        assert len(idx) == 10
        assert np.array_equal(GROUP[idx], group)
        assert len(set(group.tolist())) == 1
        unique = len(np.unique(idx))
        if group[0] == 0:
            assert unique <= 3
        else:  # 10 rows of exactly 10, 25 and 60
            assert unique == 10
        seen.add(int(group[0]))
    assert seen == {0, 1, 2, 3}


def test_independent_rows_within_a_batch_are_uniform():
    sample = batchwise(GROUP, 10, seed=3)
    counts = np.zeros(98)
    for step in range(3000):
        idx, group = sample(step)
        if group[0] == 3:
            counts[idx] += 1
    assert stats.chisquare(counts[GROUP == 3]).pvalue > 1e-3


@pytest.mark.parametrize("how", ["independent", "covering"])
def test_several_batches_share_a_training_batch_equally(how):
    sample = batchwise(GROUP, 11, seed=4, how=how, per_batch=3)
    for step in range(100):
        idx, group = sample(step)
        names, counts = np.unique(group, return_counts=True)
        assert np.array_equal(GROUP[idx], group)
        if how == "independent":
            assert len(names) == 3
            assert sorted(counts.tolist()) == [3, 4, 4]
        else:
            assert len(names) <= 3
            assert counts.max() <= 4


@pytest.mark.parametrize("per_batch", [1, 2, 4])
def test_covering_epoch_visits_every_row_exactly_once(per_batch):
    k = 8 * per_batch
    sample = batchwise(GROUP, k, seed=6, how="covering", per_batch=per_batch)
    pieces = [-(-n // 8) for n in SIZES]
    per_epoch = max(-(-sum(pieces) // per_batch), max(pieces))  # noqa: PLW3301 - as in the sampler
    for epoch in range(3):
        parts = [sample(epoch * per_epoch + s) for s in range(per_epoch)]
        drawn = np.concatenate([idx for idx, _ in parts])
        assert sorted(drawn.tolist()) == list(range(98))
        for idx, group in parts:
            assert len(idx) <= k
            assert len(np.unique(group)) <= per_batch
    assert not np.array_equal(sample(0)[0], sample(per_epoch)[0])


def test_covering_pieces_of_a_batch_differ_by_at_most_one_row():
    sample = batchwise(GROUP, 8, seed=6, how="covering")
    sizes = {g: set() for g in range(4)}
    for step in range(15):
        idx, group = sample(step)
        sizes[int(group[0])].add(len(idx))
    assert sizes == {0: {3}, 1: {5}, 2: {6, 7}, 3: {7, 8}}


@pytest.mark.parametrize("how", ["independent", "covering"])
def test_rows_treated_never_draws_a_control(how):
    sample = batchwise(GROUP, 8, seed=7, how=how, rows="treated", controls=CONTROLS)
    assert not any(CONTROLS[sample(step)[0]].any() for step in range(60))


@pytest.mark.parametrize("share, expected", [(0.5, 4), (0.25, 2), (0.01, 1), (0.99, 7)])
def test_rows_controls_adds_the_stated_share_from_the_same_batch(share, expected):
    sample = batchwise(GROUP, 8, seed=8, rows="controls", controls=CONTROLS, control_share=share)
    for step in range(60):
        idx, group = sample(step)
        assert len(idx) == 8
        assert len(set(group.tolist())) == 1
        assert CONTROLS[idx].sum() == expected


def test_rows_controls_and_several_batches_give_each_its_own_controls():
    sample = batchwise(GROUP, 12, seed=8, rows="controls", controls=CONTROLS, per_batch=2)
    for step in range(40):
        idx, group = sample(step)
        for g in np.unique(group):
            assert CONTROLS[idx[group == g]].sum() == 3
            assert (~CONTROLS[idx[group == g]]).sum() == 3


def test_covering_controls_visits_every_treated_row_once():
    controls = CONTROLS | (np.arange(98) == np.flatnonzero(GROUP == 0)[0])
    sample = batchwise(GROUP, 8, seed=9, how="covering", rows="controls", controls=controls)
    treated = [-(-int((~controls & (GROUP == g)).sum()) // 4) for g in range(4)]
    drawn = np.concatenate([sample(s)[0] for s in range(sum(treated))])
    assert sorted(drawn[~controls[drawn]].tolist()) == np.flatnonzero(~controls).tolist()


def test_batches_without_enough_statistics_rows_are_left_out():
    controls = CONTROLS & (GROUP != 2)
    assert usable_groups(GROUP, "controls", controls).tolist() == [
        g for g in range(4) if controls[GROUP == g].any()
    ]
    assert usable_groups(GROUP, "all", None, least=10).tolist() == [1, 2, 3]
    sample = batchwise(GROUP, 8, seed=1, rows="controls", controls=controls)
    assert all((sample(s)[1] != 2).all() for s in range(80))


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: mixed(GROUP, 16, seed),
        lambda seed: batchwise(GROUP, 16, seed),
        lambda seed: batchwise(GROUP, 16, seed, how="covering", per_batch=2),
        lambda seed: batchwise(GROUP, 16, seed, rows="controls", controls=CONTROLS),
    ],
)
def test_a_step_depends_on_seed_and_number_alone(make):
    forwards = [make(11)(step)[0] for step in range(30)]
    again = make(11)
    for step in [29, 3, 17, 0, 29]:
        assert np.array_equal(again(step)[0], forwards[step])
    other = [make(12)(step)[0] for step in range(30)]
    assert not all(np.array_equal(a, b) for a, b in zip(forwards, other, strict=True))


def test_too_few_usable_batches_are_named():
    with raises(NotApplicable, "2", "1"):
        batchwise(np.zeros(5, np.int64), 4, 0, per_batch=2)
    with raises(NotApplicable, "1", "controls", "0", "4"):
        batchwise(GROUP, 4, 0, rows="controls", controls=np.zeros(98, bool))
    with raises(NotApplicable):
        mixed(GROUP[:0], 4, 0)
    with raises(BenchError, "controls", fix=False):
        batchwise(GROUP, 4, 0, rows="treated")
    with raises(BenchError, "3", "2", fix=False):
        batchwise(GROUP, 3, 0, per_batch=2, rows="controls", controls=CONTROLS)


def test_one_treated_row_makes_a_batch_usable():
    group = np.repeat([0, 1, 2], 4)
    controls = np.array([True, True, True, False] + [True] * 4 + [False] * 4)
    assert usable_groups(group, "treated", controls).tolist() == [0, 2]
    assert usable_groups(group, "treated", controls, least=2).tolist() == [2]
    assert usable_groups(group, "controls", controls).tolist() == [0]


def test_the_smallest_training_batch_has_one_row_per_batch():
    idx, group = batchwise(GROUP, 3, 0, per_batch=3)(0)
    assert len(idx) == len(set(group.tolist())) == 3
    with raises(BenchError, "2", "3", fix=False):
        batchwise(GROUP, 2, 0, per_batch=3)
    idx, group = batchwise(GROUP, 4, 0, per_batch=2, rows="controls", controls=CONTROLS)(0)
    for g in set(group.tolist()):
        assert CONTROLS[idx[group == g]].sum() == 1


def test_a_training_batch_may_have_one_row():
    rows = [mixed(GROUP, 1, seed=0)(step)[0] for step in range(98)]
    assert sorted(np.concatenate(rows)) == list(range(98))
    with raises(BenchError, "0"):
        mixed(GROUP, 0, seed=0)


def test_rows_all_draws_controls_too_although_they_are_known():
    sample = batchwise(GROUP, 16, seed=0, how="covering", controls=CONTROLS)
    drawn = np.concatenate([sample(step)[0] for step in range(20)])
    assert set(drawn.tolist()) == set(range(98))


@pytest.mark.parametrize(("rows", "last"), [("controls", True), ("treated", False)])
def test_the_last_batch_may_have_only_controls_or_none(rows, last):
    group = np.array([0, 0, 1, 1])
    controls = np.array([False, True, last, last])
    expected = [0, 1] if rows == "treated" else [0]
    assert usable_groups(group, rows, controls).tolist() == expected
    assert usable_groups(group, rows, np.array([False, True, True, True])).tolist() == [0]
