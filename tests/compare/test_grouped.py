"""Comparisons of images that come in groups: whose groups hold, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import make_profile
from scipy import stats

from pytest_iaside import Thresholds, compare
from pytest_iaside.compare.sequential import (
    MINIMUM_IMAGES,
    compare_sequentially,
    drawing_order,
    drawing_order_of_groups,
    stopping_rule,
    unseen,
)
from pytest_iaside.compare.trend import compare_trend

K = 40
TENS = tuple(f"group {at // 4}" for at in range(K))
BASELINE = make_profile(images=K)
SPREAD = np.random.default_rng(1).normal(-0.1, 0.1, size=(10, 8)).repeat(4, axis=0)
CANDIDATE = make_profile(image_psi=BASELINE.image_psi + SPREAD)


def grouped(profile, groups=TENS):
    return replace(profile, groups=None if groups is None else tuple(groups))


def numbers(found):
    return [(c.change, c.low, c.high, c.p_value) for c in found.quantities] + [
        (c.low, c.high, c.verdict, c.detectable, c.images_to_pass) for c in found.checks
    ]


def test_every_interval_is_over_groups():
    found = compare(grouped(CANDIDATE), grouped(BASELINE))
    assert (found.images, found.groups, found.size) == (40, 10, "40 images in 10 groups")
    means = SPREAD[::4]
    level = 1 - 0.05 / 8
    reach = stats.t.ppf(0.5 + level / 2, 9) * stats.sem(means)
    for band in found.bands:
        assert band.change == pytest.approx(means[:, band.index].mean())
        half = reach[band.index]
        assert (band.low, band.high) == pytest.approx((band.change - half, band.change + half))
    (value,) = [check for check in found.checks if check.name == "value"]
    assert value.groups_to_pass == pytest.approx(value.images_to_pass / 4)
    assert found.notes == ()


@settings(deadline=None)
@given(st.integers(0, 2**16))
def test_groups_of_one_give_todays_numbers_bit_for_bit(seed):
    spread = np.random.default_rng(seed).normal(-0.05, 0.2, size=(K, 8))
    candidate = make_profile(image_psi=BASELINE.image_psi + spread)
    alone = tuple(f"image {at}" for at in range(K))
    plain = compare(candidate, BASELINE)
    said = compare(grouped(candidate, alone), grouped(BASELINE, alone))
    assert numbers(plain) == numbers(said)
    assert plain.summary() == said.summary()
    assert (plain.groups, said.groups) == (None, 40)
    assert candidate.summary() == {
        name: each for name, each in grouped(candidate, alone).summary().items() if name != "groups"
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "groups", "note"),
    [
        (TENS, None, 10, "the baseline was made without groups"),
        (None, TENS, 10, "the reference sample gives no groups, and those of the baseline count"),
        (TENS, TENS, 10, ""),
        # Other words for the same.
        (TENS, [f"{at // 4}" for at in range(K)], 10, ""),
        # Those of the candidate are finer: the coarser hold.
        (TENS, [f"{at // 8}" for at in range(K)], 5, "the groups are others than the baseline's"),
        # Neither is finer: what hangs together in both.
        (TENS, [f"{(at + 2) // 4}" for at in range(K)], 1, "the groups are others"),
    ],
)
def test_whose_groups_hold(ours, theirs, groups, note):
    found = compare(grouped(CANDIDATE, ours), grouped(BASELINE, theirs))
    assert found.groups == groups
    assert [text for text in found.notes if "groups" in text and note in text] == (
        [*found.notes] if note else []
    )
    same = compare(grouped(CANDIDATE), grouped(BASELINE))
    if groups == 10:
        assert numbers(found) == numbers(same)


def test_unpaired_samples_have_groups_of_their_own():
    other = replace(BASELINE, digests=tuple(f"{at:032x}" for at in range(100, 140)))
    found = compare(grouped(CANDIDATE), other, paired=False)
    wide = compare(CANDIDATE, other, paired=False)
    assert found.groups == 10 and wide.groups is None
    assert found.bands[0].high - found.bands[0].low != wide.bands[0].high - wide.bands[0].low
    assert any("only the candidate's images come in groups" in note for note in found.notes)
    both = compare(grouped(CANDIDATE), grouped(other), paired=False)
    assert not any("groups" in note for note in both.notes)


def test_copies_of_an_image_in_two_groups_make_them_one_and_it_is_said():
    digests = (*BASELINE.digests[:39], BASELINE.digests[0])
    one, other = (
        replace(grouped(each), digests=digests, labels=np.zeros(K, dtype=int))
        for each in (CANDIDATE, BASELINE)
    )
    assert one.group_count == 9
    found = compare(one, other)
    assert (found.images, found.groups) == (39, 9)
    assert "exact copies of 1 image are in different groups, which count as one" in found.notes


def test_one_large_group_is_named():
    lopsided = ["all"] * 30 + [f"{at}" for at in range(10)]
    found = compare(grouped(CANDIDATE, lopsided), grouped(BASELINE, lopsided))
    assert any("the largest of 11 groups holds 30 of 40 images" in note for note in found.notes)


def test_too_few_groups_decide_nothing_and_are_no_drift():
    three = [f"{at % 3}" for at in range(K)]
    one = grouped(BASELINE, three)
    assert one.unstructured_because.startswith("the 40 images come in 3 groups")
    found = compare(one, BASELINE)
    assert found.fails("drift") and found.verdict == "inconclusive"
    assert compare(one, grouped(BASELINE, three)).fails("drift")


def test_a_trend_leaves_out_groups():
    profiles = [grouped(BASELINE), grouped(CANDIDATE, None)]
    limits = Thresholds(max_src_drop=0.05, max_value_drop=0.2)
    kept = {name: limits.limits[name] for name in ("src", "value")}
    found = compare_trend(profiles, [1, 2], Thresholds(**_only(kept)))
    assert found.groups == 10
    two = compare(grouped(CANDIDATE), grouped(BASELINE))
    for one, other in zip(found.quantities, two.quantities, strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high))


def _only(limits):
    given = {"max_src_drop": limits["src"].change, "max_value_drop": limits["value"].change}
    rest = ("max_sid_shift", "max_band_drop", "min_src", "max_upper_change")
    known = Thresholds.__dataclass_fields__
    return {**given, **{name: None for name in rest if name in known}}


def test_groups_are_drawn_whole_and_copies_last():
    digests = [f"{at:03d}" for at in range(24)]
    groups = [at % 6 for at in range(24)]
    digests[23] = digests[5]
    order, ends = drawing_order_of_groups(digests, groups, 0)
    assert sorted(order) == list(range(24)) and order[-1] == 23
    assert ends[-1] == 23 and len(ends) == 6
    for start, end in zip([0, *ends], ends, strict=False):
        assert len({groups[image] for image in order[start:end]}) == 1
    # The same whatever the order of the images, and of the numbers of the groups.
    turned = list(range(23))[::-1]
    again, _ = drawing_order_of_groups(
        [digests[at] for at in turned], [9 - groups[at] for at in turned], 0
    )
    assert [turned[at] for at in again] == order[:-1]


def test_classes_take_turns_also_in_groups():
    digests = [f"{at:03d}" for at in range(40)]
    groups, classes = [at // 2 for at in range(40)], [at // 2 % 2 for at in range(40)]
    order, _ = drawing_order_of_groups(digests, groups, 0, classes)
    first = [classes[image] for image in order[:20]]
    assert 8 <= sum(first) <= 12
    alone = drawing_order_of_groups(digests, list(range(40)), 0, classes)[0]
    assert sorted(alone) == sorted(drawing_order(digests, 0, classes))


def test_a_sequence_looks_only_where_a_group_is_complete():
    baseline = make_profile(images=120)
    fallen = np.array([0, 0, 0, 0, 0, -0.3, 0, 0])
    groups = [f"{at // 3}" for at in range(120)]
    spread = 0.003 * np.random.default_rng(0).normal(size=(120, 8))
    candidate = grouped(make_profile(image_psi=baseline.image_psi + fallen + spread), groups)
    ends = list(range(3, 121, 3))
    limits = Thresholds(max_band_drop=0.01)

    def stopped(pieces):
        rule = stopping_rule(grouped(baseline, groups), limits, ends=ends)
        counts = (rule(candidate.first(int(count))) for count in np.cumsum(pieces))
        return next((count for count in counts if count is not None), None)

    assert stopped([1] * 120) == stopped([7] * 17) == 3 * MINIMUM_IMAGES
    one = compare_sequentially(
        candidate.first(60), grouped(baseline, groups), limits, exhausted=False
    )
    assert one.groups == 20
    # The law counts groups: as of 20 images of their means.
    plain = compare_sequentially(candidate.first(60), baseline, limits, exhausted=False)
    assert plain.groups == 20 and numbers(plain) == numbers(one)


def test_what_is_unseen_is_counted_in_groups():
    assert unseen(60, 120) == pytest.approx(-np.log(0.05) / 60)
    assert unseen(60, 120, groups=20) == pytest.approx(-np.log(0.05) / 20)
    assert unseen(60, 120, groups=20, largest=2.0) == pytest.approx(-2 * np.log(0.05) / 20)
    assert unseen(118, 120, groups=20) == pytest.approx(2 / 120)
