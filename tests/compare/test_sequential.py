"""Adaptive sampling: when it stops, and that when does not depend on how it looks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from profiles import TRAINED, make_profile

from pytest_iaside import Thresholds
from pytest_iaside.compare.sequential import (
    MINIMUM_IMAGES,
    compare_sequentially,
    drawing_order,
    stopping_rule,
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


@pytest.mark.parametrize("shift", [np.zeros(8), FALLEN], ids=["same", "fallen"])
def test_clear_cases_stop_at_the_minimum(shift):
    assert _stop(_candidate(shift, noise=0.003), [1] * 120) == MINIMUM_IMAGES


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
