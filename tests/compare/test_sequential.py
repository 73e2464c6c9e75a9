"""Adaptive sampling: when it stops, and that when does not depend on how it looks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import TRAINED, make_profile

from pytest_iaside import Thresholds, compare
from pytest_iaside.compare.sequential import (
    MINIMUM_IMAGES,
    compare_sequentially,
    drawing_order,
    stopping_rule,
    unseen,
)

BASELINE = make_profile(images=120)
THRESHOLDS = Thresholds(max_band_drop=0.01)


def _candidate(shift, noise=0.05, seed=1):
    spread = noise * np.random.default_rng(seed).normal(size=BASELINE.image_psi.shape)
    return make_profile(image_psi=BASELINE.image_psi + np.asarray(shift) + spread)


def _stop(candidate, pieces):
    rule = stopping_rule(BASELINE, THRESHOLDS)
    for count in np.cumsum(pieces):
        found = rule(candidate.first(int(count)))
        if found is not None:
            return found
    return None


FALLEN = [0, 0, 0, 0, 0, -0.3, 0, 0]
BORDERLINE = [0, 0, 0, 0, 0, -0.065, 0, 0]


def test_a_clear_drift_stops_at_the_minimum():
    assert _stop(_candidate(FALLEN, noise=0.003), [1] * 120) == MINIMUM_IMAGES


@pytest.mark.parametrize(("limit", "images"), [(0.15, 20), (0.05, 60), (0.024, 118), (0.01, 119)])
def test_a_pass_waits_until_what_is_unseen_is_allowed(limit, images):
    """Nothing changed at all: 3/m of the images must be no more than the least limit."""
    others = ("max_band_drop", "max_upper_band_change", "max_src_drop", "max_sid_shift")
    least = Thresholds(max_value_drop=limit, **dict.fromkeys(others, 1.0))
    assert stopping_rule(BASELINE, least)(BASELINE) == images


def test_the_share_of_the_unseen_is_the_rule_of_three_s():
    assert unseen(300, 10_000) == pytest.approx(-math.log(0.05) / 300)
    assert 0.95**60 < 1 - 0.95 < 0.95**58  # 60 images miss a change of 5 % of them by chance
    assert unseen(60, 10_000) < 0.05 < unseen(59, 10_000)
    assert unseen(99, 100) == pytest.approx(0.01)  # one is left
    assert unseen(100, 100) == 0


def test_an_unclear_case_never_stops_early():
    assert _stop(_candidate(BORDERLINE, noise=0.3), [10] * 12) is None


@pytest.mark.parametrize("pieces", [[1] * 120, [7] * 17, [50, 70], [120]])
def test_when_it_stops_does_not_depend_on_how_the_rounds_are_cut(pieces):
    candidate = _candidate(FALLEN, noise=0.35)
    found = _stop(candidate, pieces)
    assert found == _stop(candidate, [2] * 60)
    assert MINIMUM_IMAGES < found < 120


def test_an_unstructured_candidate_never_passes_early():
    uninformed = np.full(120, -1.0)
    same, fallen = (_candidate(shift, noise=0.003) for shift in (np.zeros(8), FALLEN))
    assert _stop(same, [120]) == 119
    assert _stop(replace(same, information=uninformed), [120]) is None
    assert _stop(replace(fallen, information=uninformed), [120]) == MINIMUM_IMAGES


def test_intervals_allow_for_having_looked():
    candidate = _candidate(FALLEN).first(40)
    early = compare_sequentially(candidate, BASELINE, THRESHOLDS, exhausted=False)
    last = compare_sequentially(candidate, BASELINE, THRESHOLDS, exhausted=True)
    assert early.verdict == last.verdict == "drift"
    assert early.level == last.level == 0.975
    for a, b in zip(early.bands, last.bands, strict=True):
        # Between 1.2 and 2 times as wide as an interval that looks once.
        assert 1.2 < (a.high - a.low) / (b.high - b.low) < 2.0
    assert early.bands[5].moved and not early.bands[4].moved


def test_looking_after_every_image_alarms_no_more_often_than_allowed():
    """Candidates that lie exactly on the allowance of one check, looked at 33 times each."""
    allowed = Thresholds(
        max_src_drop=None, max_sid_shift=None, max_value_drop=None, max_band_drop=0.01
    )
    shift = np.zeros(8)
    shift[5] = -0.01 * TRAINED.sum()
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(150):
        noise = 0.3 * (generator.exponential(size=(48, 8)) - 1)
        candidate = make_profile(image_psi=BASELINE.image_psi[:48] + shift + noise)
        rule = stopping_rule(BASELINE, allowed)
        stopped = rule(candidate)
        if stopped is not None:
            comparison = compare_sequentially(
                candidate.first(stopped), BASELINE, allowed, exhausted=False
            )
            alarms += comparison.verdict == "drift"
    # One-sided, half of 2.5 % at most; 150 draws of 1.25 % exceed 7 less than once in a thousand.
    assert alarms <= 7


def test_the_order_of_drawing_belongs_to_the_images():
    digests = [f"{i:032x}" for i in range(30)]
    order = drawing_order(digests, seed=0)
    assert sorted(order) == list(range(30)) and order != list(range(30))
    reversed_order = drawing_order(digests[::-1], seed=0)
    assert [digests[i] for i in order] == [digests[::-1][i] for i in reversed_order]
    assert drawing_order(digests, seed=1) != order


CLASSES = np.repeat(np.arange(20), 5)


def _of_classes(values, classes=CLASSES):
    return replace(make_profile(image_psi=values), labels=classes)


def _drawn(candidate, baseline, seed):
    """Both as the gate draws them: evenly over classes."""
    order = drawing_order(candidate.digests, seed, candidate.labels.tolist())
    return candidate.take(order), baseline.take(order)


@settings(max_examples=25, deadline=None)
@given(
    broken=st.integers(0, 19),
    seed=st.integers(0, 99),
    limit=st.floats(0.01, 0.3),
    left=st.floats(-1.0, 0.5),
)
def test_a_pass_has_seen_the_class_that_broke(broken, seed, limit, left):
    """One class of 20, five images each, keeps but the share ``left`` of its ψ."""
    generator = np.random.default_rng(seed)
    psi = TRAINED + 0.003 * generator.normal(size=(2, 100, 8))
    psi[0, broken == CLASSES] *= left
    limits = dict.fromkeys(("max_src_drop", "max_sid_shift", "max_band_drop", "max_value_drop"))
    thresholds = Thresholds(**limits | {"max_value_drop": limit})
    candidate, baseline = _drawn(*map(_of_classes, psi), seed)
    stopped = stopping_rule(baseline, thresholds)(candidate)
    if stopped is None:
        return
    found = compare_sequentially(
        candidate.first(stopped), baseline, thresholds, exhausted=stopped == 100
    )
    assert found.verdict in ("pass", "drift")
    if found.verdict == "pass":
        # The class lost 1/20 of (1 − left) of v(all): allowed, or seen and found small.
        assert broken in candidate.labels[:stopped] or (1 - left) / 20 < limit
        assert (1 - left) / 20 < limit + 0.01


@pytest.mark.parametrize("broken", range(20))
def test_no_class_is_broken_unseen(broken):
    psi = TRAINED + 0.003 * np.random.default_rng(broken).normal(size=(2, 100, 8))
    psi[0, broken == CLASSES] = 0
    candidate, baseline = _drawn(*map(_of_classes, psi), 0)
    stopped = stopping_rule(baseline, THRESHOLDS)(candidate)
    if stopped is not None:
        early = compare_sequentially(
            candidate.first(stopped), baseline, THRESHOLDS, exhausted=False
        )
        assert early.verdict == "drift" and broken in candidate.labels[:stopped]
    assert compare(candidate, baseline, THRESHOLDS).verdict != "pass"


def test_one_broken_image_of_fifty_never_passes_early():
    psi = np.repeat(TRAINED[None], 50, axis=0) + 0.003 * np.random.default_rng(0).normal(
        size=(50, 8)
    )
    baseline = make_profile(image_psi=psi)
    for broken in range(50):
        after = psi.copy()
        after[broken] = 0
        assert stopping_rule(baseline, THRESHOLDS)(make_profile(image_psi=after)) is None


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), shift=st.floats(0.1, 1.0))
def test_a_change_of_all_images_is_found_at_the_first_look(seed, shift):
    psi = TRAINED + 0.003 * np.random.default_rng(seed).normal(size=(2, 100, 8))
    psi[0, :, 1] -= shift
    candidate, baseline = _drawn(*map(_of_classes, psi), seed)
    assert stopping_rule(baseline, THRESHOLDS)(candidate) == MINIMUM_IMAGES


def test_copies_are_no_looks():
    rows = [*range(MINIMUM_IMAGES - 1), *range(60)]
    fallen = _candidate(FALLEN, noise=0.003)
    # The 16th image comes after the copies of the first 15.
    assert stopping_rule(BASELINE, THRESHOLDS)(fallen.take(rows)) == 2 * MINIMUM_IMAGES - 1


class TestDrawingOrder:
    DIGESTS = tuple(f"{i:032x}" for i in range(30))

    @given(seed=st.integers(0, 99), size=st.integers(1, 6), classes=st.integers(1, 5))
    def test_classes_of_one_size_take_turns(self, seed: int, size: int, classes: int) -> None:
        digests, labels = self.DIGESTS[: size * classes], [*range(classes)] * size
        order = drawing_order(digests, seed, labels)
        assert sorted(order) == list(range(len(digests)))
        for turn in range(size):
            some = order[turn * classes : (turn + 1) * classes]
            assert sorted(labels[image] for image in some) == list(range(classes))
        # Within a class, in the order in which all would be drawn without classes.
        plain = drawing_order(digests, seed)
        for label in range(classes):
            assert [i for i in order if labels[i] == label] == [
                i for i in plain if labels[i] == label
            ]

    @given(seed=st.integers(0, 99), many=st.integers(2, 29))
    def test_what_is_drawn_is_a_fair_sample_at_any_time(self, seed: int, many: int) -> None:
        labels = [0] * many + [1] * (30 - many)
        order = drawing_order(self.DIGESTS, seed, labels)
        for count in range(1, 31):
            drawn = sum(labels[image] for image in order[:count])
            assert abs(drawn - count * (30 - many) / 30) < 2

    @given(data=st.data(), labels=st.lists(st.integers(0, 3), min_size=30, max_size=30))
    def test_it_depends_neither_on_the_order_nor_on_the_names_of_classes(
        self, data: st.DataObject, labels: list[int]
    ) -> None:
        shuffled = data.draw(st.permutations(range(30)))
        digests = [f"{i // 2:032x}" for i in range(30)]  # each twice
        order = drawing_order(digests, 0, labels)
        other = drawing_order([digests[i] for i in shuffled], 0, [labels[i] for i in shuffled])
        assert [(digests[i], labels[i]) for i in order] == [
            (digests[shuffled[i]], labels[shuffled[i]]) for i in other
        ]
        renamed = drawing_order(digests, 0, [each + 7 for each in labels])
        assert renamed == order

    def test_copies_come_last(self) -> None:
        digests = [*self.DIGESTS[:10], *self.DIGESTS[:5]]
        order = drawing_order(digests, 0, [0, 1] * 5 + [0, 1] * 2 + [0])
        assert sorted(order[:10]) == list(range(10))
        assert sorted(order[10:]) == list(range(10, 15))

    def test_the_turns_of_classes_change(self) -> None:
        order = drawing_order(self.DIGESTS, 0, [*range(5)] * 6)
        turns = {
            tuple(image % 5 for image in order[start : start + 5]) for start in range(0, 30, 5)
        }
        assert len(turns) > 1
