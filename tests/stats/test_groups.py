"""Intervals over groups of images: closed forms, a brute-force oracle, and groups of one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_iaside.compare.evidence import Evidence
from pytest_iaside.measure.quantities import Quantity
from pytest_iaside.stats import sid_intervals
from pytest_iaside.stats.estimate import Estimate
from pytest_iaside.stats.groups import design_effect, group_count, joined, of_rows, typical_size
from pytest_iaside.stats.intervals import (
    jackknife_error,
    jackknife_interval,
    leave_one_out,
    paired_error,
    unpaired_error,
)
from pytest_iaside.stats.power import detectable_share
from pytest_iaside.stats.score import sid, signed_src
from pytest_iaside.stats.structured import why_unstructured

SIZES = (1, 4, 2, 7, 1, 3)
UNEQUAL = np.repeat(np.arange(len(SIZES)), SIZES)
ROWS = np.random.default_rng(0).gamma(2.0, size=(len(UNEQUAL), 4))
OTHERS = ROWS + np.random.default_rng(1).normal(0.2, 0.5, size=ROWS.shape)


def identity(mean):
    return mean


def ratio(mean):
    return mean[..., 0] / mean[..., 1]


def score(psi, least):
    return signed_src(sid(psi, least))[..., None]


def oracle(rows, groups, statistic):
    """The jackknife by its definition: every group is deleted, and all else counted anew."""
    left = [statistic(rows[groups != group].mean(axis=0)) for group in np.unique(groups)]
    mean = sum(left) / len(left)
    factor = (len(left) - 1) / len(left)
    return np.sqrt(factor * sum((each - mean) ** 2 for each in left))


def test_rows_are_joined_by_keys_and_by_labels():
    assert joined("abc", "xyz") is None
    assert joined("abcd", "xxyy").tolist() == [0, 0, 1, 1]
    # The same key twice is one row, and ties its two labels together.
    assert joined("abca", "xyzy").tolist() == [0, 0, 1]
    # A chain over two partitions: a–b in one, b–c in the other.
    assert joined("abcd", "xxyz", "pqqr").tolist() == [0, 0, 0, 1]
    assert of_rows("aab", [1, 2, 3]).tolist() == [0, 0, 1]
    assert of_rows("aab", None) is None
    assert joined("abc", "xxx").tolist() == [0, 0, 0]


def test_equal_groups_are_the_cluster_robust_variance_of_a_mean():
    groups, means = np.repeat(np.arange(8), 5), np.random.default_rng(2).normal(size=(8, 1))
    rows = means[groups] + np.random.default_rng(3).normal(size=(40, 1))
    by_hand = rows.reshape(8, 5).mean(axis=1)
    found = jackknife_interval(rows, identity, 0.9, groups=groups)
    np.testing.assert_allclose(jackknife_error(rows, identity, groups), stats.sem(by_hand))
    expected = stats.t.interval(0.9, 7, by_hand.mean(), stats.sem(by_hand))
    np.testing.assert_allclose([found.low[0], found.high[0]], expected)


@pytest.mark.parametrize("statistic", [identity, ratio])
def test_unequal_groups_are_the_jackknife_by_its_definition(statistic):
    expected = oracle(ROWS, UNEQUAL, statistic)
    np.testing.assert_allclose(jackknife_error(ROWS, statistic, UNEQUAL), expected, rtol=1e-12)


def test_the_order_of_images_does_not_matter():
    order = np.random.default_rng(4).permutation(len(ROWS))
    shuffled = joined([str(place) for place in order], UNEQUAL[order].tolist())
    found = jackknife_error(ROWS[order], ratio, shuffled)
    np.testing.assert_allclose(found, jackknife_error(ROWS, ratio, UNEQUAL), rtol=1e-12)


def test_pairs_and_two_samples_have_groups_less_one_degrees_of_freedom():
    error, freedom = paired_error(ROWS, OTHERS, np.subtract, UNEQUAL)
    np.testing.assert_allclose(error, oracle(ROWS - OTHERS, UNEQUAL, identity), rtol=1e-12)
    assert freedom.tolist() == [5] * 4
    some = np.repeat(np.arange(5), 3)
    error, freedom = unpaired_error(ROWS, OTHERS[:15], np.subtract, UNEQUAL, some)
    first, second = oracle(ROWS, UNEQUAL, identity), oracle(OTHERS[:15], some, identity)
    np.testing.assert_allclose(error, np.hypot(first, second), rtol=1e-12)
    welch = (first**2 + second**2) ** 2 / (first**4 / 5 + second**4 / 4)
    np.testing.assert_allclose(freedom, welch, rtol=1e-12)


def test_intervals_of_shares_take_the_same_groups():
    level, psi = 0.95, ROWS + np.array([0, 3, 6, 9])  # No doubt which band is the least.
    low, high = sid_intervals.interval(psi, score, level, groups=UNEQUAL)
    error = oracle(psi, UNEQUAL, lambda mean: signed_src(sid(mean)))
    reach = stats.t.ppf(0.975, 5) * error
    np.testing.assert_allclose((high - low)[0] / 2, reach, rtol=1e-12)
    low, high = sid_intervals.change_interval(psi, psi + ROWS, score, level, groups=UNEQUAL)
    both = np.hstack([psi, psi + ROWS])
    error = oracle(both, UNEQUAL, lambda m: signed_src(sid(m[:4])) - signed_src(sid(m[4:])))
    np.testing.assert_allclose((high - low)[0] / 2, stats.t.ppf(0.975, 5) * error, rtol=1e-12)


def test_one_group_says_nothing():
    one = np.zeros(len(ROWS), dtype=np.int64)
    assert np.isnan(jackknife_error(ROWS, identity, one)).all()
    assert np.isinf(jackknife_interval(ROWS, identity, 0.95, groups=one).high).all()
    assert np.isinf(paired_error(ROWS, OTHERS, np.subtract, one)[0]).all()
    for bounds in (
        sid_intervals.interval(ROWS, score, 0.95, groups=one),
        sid_intervals.change_interval(ROWS, OTHERS, score, 0.95, groups=one),
        sid_intervals.contrast_interval([ROWS, OTHERS], [-1, 1], score, 0.95, groups=one),
    ):
        assert np.isneginf(bounds[0]).all() and np.isposinf(bounds[1]).all()
    share = Estimate.of_proportion(np.eye(1, 22)[0], 0.95, one)
    assert (share.low, share.high) == (0.0, 1.0)


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
def test_groups_of_one_are_no_groups_bit_for_bit(seed, count):
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(2, count, 4))
    alone = np.arange(count)
    np.testing.assert_array_equal(leave_one_out(first, alone), leave_one_out(first))
    for statistic in (identity, ratio):
        one = jackknife_error(first, statistic, alone)
        np.testing.assert_array_equal(one, jackknife_error(first, statistic))
    for one, other in (
        (paired_error(first, second, np.subtract, alone), paired_error(first, second, np.subtract)),
        (
            unpaired_error(first, second, np.subtract, alone, alone),
            unpaired_error(first, second, np.subtract),
        ),
    ):
        np.testing.assert_array_equal(one, other)
    hits = (first[:, 0] > 0).astype(float)
    assert design_effect(hits, alone) == 1.0
    assert joined([str(place) for place in alone], alone.tolist()) is None


def test_the_design_effect_of_hits():
    groups = np.repeat(np.arange(10), 4)
    assert typical_size(groups, 40) == 4 and group_count(groups, 40) == 10
    assert typical_size(UNEQUAL, 18) == pytest.approx(sum(n * n for n in SIZES) / 18)
    # Nothing turned: it may be that whole groups do.
    assert design_effect(np.zeros(40), groups) == 4
    # Whole groups turned: 4; half of each group turned, which is less apart than chance: 1.
    assert design_effect(np.repeat([1.0, 0.0], 20), groups) == pytest.approx(4, rel=0.02)
    halves = np.tile([1.0, 0.0, 1.0, 0.0], 10)
    assert design_effect(halves, groups) == pytest.approx((0 + 16) / (40 / 39 * 10 + 4))
    # A few images turned, each alone: between the two.
    few = np.zeros(40)
    few[[0, 4, 8]] = 1
    assert 1 < design_effect(few, groups) < 4


def hits_of(changes, groups):
    before = np.maximum(-np.asarray(changes, float), 0)[:, None]
    after = np.maximum(np.asarray(changes, float), 0)[:, None]
    hit = Quantity(name="hits", family="hits", better="higher", unit="hit")
    return Evidence(after, before, (hit,), 0.95, groups=groups)


def test_hits_that_turn_as_whole_groups_count_as_groups():
    """Agresti and Min's interval of 10 images, with Student's quantile of 9 degrees of freedom."""
    groups = np.repeat(np.arange(10), 4)
    changes = np.zeros(40)
    changes[:8] = -1  # Two groups of ten.
    found = hits_of(changes, groups).change_of_means([0])
    effect = design_effect(changes, groups)
    assert effect == pytest.approx(4, rel=0.03)
    count = 40 / effect + 2
    centre = -8 / effect / count
    error = np.sqrt(((8 / effect + 1) / count - centre**2) / count)
    reach = stats.t.ppf(0.975, 9) * error
    assert found.low[0] == pytest.approx(centre - reach, rel=1e-12)
    assert found.high[0] == pytest.approx(centre + reach, rel=1e-12)
    # Far wider than of 40 images that turned one by one.
    alone = hits_of(changes, None).change_of_means([0])
    assert found.high[0] - found.low[0] > 1.9 * (alone.high[0] - alone.low[0])


def test_what_hits_can_see_is_that_of_as_many_images_alone():
    groups = np.repeat(np.arange(10), 4)
    evidence = hits_of(np.zeros(40), groups)
    assert evidence.drawn == 10 and evidence.alone([0]) == 10
    assert detectable_share(10, 0.02, 0.95, 9) >= detectable_share(10, 0.02, 0.95)
    assert hits_of(np.zeros(40), None).alone([0]) == 40


def test_wilsons_interval_of_groups_is_that_of_an_effective_number_of_images():
    groups, hits = np.repeat(np.arange(10), 4), np.repeat([1.0, 1.0, 0.0, 1.0, 1.0], 8)
    effect, square = design_effect(hits, groups), stats.t.ppf(0.975, 9) ** 2
    count, share = 40 / effect, 0.8
    centre = (share + square / (2 * count)) / (1 + square / count)
    reach = np.sqrt(square * share * 0.2 / count + (square / (2 * count)) ** 2)
    found = Estimate.of_proportion(hits, 0.95, groups)
    assert found.low == pytest.approx(centre - reach / (1 + square / count))
    assert found.high == pytest.approx(centre + reach / (1 + square / count))
    assert found.value == share
    np.testing.assert_allclose(found.standard_error, oracle(hits[:, None], groups, identity)[0])


def test_fewer_than_four_groups_tell_nothing_from_noise():
    psi = np.random.default_rng(0).normal(1, 0.01, size=(12, 4)) * np.array([4, 3, 2, 1])
    told = {"distinct_labels": 3, "predicted": False}
    sure = (psi, psi.sum(axis=1), psi[:, 0], psi[:, 0])
    assert why_unstructured(*sure, **told) == ""
    assert why_unstructured(*sure, **told, groups=np.repeat(np.arange(4), 3)) == ""
    why = why_unstructured(*sure, **told, groups=np.repeat(np.arange(3), 4))
    assert why.startswith("the 12 images come in 3 groups, of which nothing can be told")
    assert "in 1 group," in why_unstructured(*sure, **told, groups=np.zeros(12, dtype=int))


def test_where_groups_are_few_they_are_named_and_not_the_images():
    psi = np.repeat([[3.0, 1.0], [-2.9, -1.0]], 4, axis=0) * np.array([[1.0, 1.1] * 4]).T
    told = {"distinct_labels": 3, "predicted": False, "groups": np.arange(8) // 2}
    why = why_unstructured(psi, psi.sum(axis=1), psi[:, 0], psi[:, 0], **told)
    assert "over 8 images in 4 groups" in why
    assert "or the groups are too few" in why
