"""Measurement held against a baseline: intervals, verdicts, limits, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_iaside.compare.compare import compare
from pytest_iaside.errors import BaselineError, SettingsError
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.provenance import ModelInfo, ReferenceInfo
from pytest_iaside.measure.quantities import Quantity
from pytest_iaside.thresholds import Limit

ERROR = Quantity(name="error", family="error", better="lower")
SHARE = Quantity(name="share", family="share", better="higher", unit="hit")


def readings(*columns: Any, quantities: tuple[Quantity, ...] = (ERROR,)) -> Measurement:
    values = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    count = len(values)
    return Measurement(
        kind="test",
        quantities=quantities,
        values=values,
        digests=tuple(f"{image:064x}" for image in range(count)),
        names=tuple(f"{image}.png" for image in range(count)),
        labels=np.zeros(count, dtype=np.int64),
        settings={"seed": 0},
        reference=ReferenceInfo(
            digest="d", images=count, channels=3, height=8, width=8, labels="dataset"
        ),
        model=ModelInfo(name="model", classes=10),
        forward_passes=count,
    )


NOISE = np.random.default_rng(0).normal(size=(2, 50))
OLD = 0.3 + 0.1 * NOISE[0]
CLOSE = OLD + 0.02 + 0.01 * NOISE[1]


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    comparison = compare(readings(CLOSE), readings(OLD), {"error": Limit(change=0.1)})
    (change,) = comparison.quantities
    expected = stats.ttest_rel(CLOSE, OLD)
    low, high = expected.confidence_interval(0.95)
    assert change.change == pytest.approx(np.mean(CLOSE - OLD))
    assert (change.low, change.high) == pytest.approx((low, high))
    assert change.p_value == pytest.approx(expected.pvalue)
    assert change.moved


def test_intervals_hold_for_a_family_together_and_p_values_for_all() -> None:
    both = tuple(replace(ERROR, name=name) for name in ("first", "second"))
    comparison = compare(
        readings(CLOSE, OLD, quantities=both), readings(OLD, CLOSE, quantities=both), {}
    )
    first, second = comparison.quantities
    low, high = stats.ttest_rel(CLOSE, OLD).confidence_interval(0.975)
    assert (first.low, first.high) == pytest.approx((low, high))
    assert (second.low, second.high) == pytest.approx((-high, -low))
    assert first.p_value == pytest.approx(2 * stats.ttest_rel(CLOSE, OLD).pvalue)


def test_counted_quantities_have_the_interval_of_agresti_and_min() -> None:
    old = np.repeat([1.0, 0.0], [80, 20])
    new = old.copy()
    new[:9] = 0  # nine lost
    new[-2:] = 1  # two won
    comparison = compare(
        readings(new, quantities=(SHARE,)),
        readings(old, quantities=(SHARE,)),
        {"share": Limit(change=0.05)},
    )
    (change,) = comparison.quantities
    lost, won, count = 9.5, 2.5, 102
    centre = (won - lost) / count
    error = np.sqrt((lost + won) - (lost - won) ** 2 / count) / count
    reach = stats.norm.ppf(0.975) * error
    assert change.change == pytest.approx(-0.07)
    assert (change.low, change.high) == pytest.approx((centre - reach, centre + reach))
    assert comparison.verdict == "inconclusive"


def test_no_change_of_few_images_does_not_prove_that_there_is_none() -> None:
    right = np.ones(10)
    quantities = (SHARE, ERROR)
    old = readings(right, OLD[:10], quantities=quantities)
    limits = {"share": Limit(change=0.05)}
    moved = compare(readings(right, OLD[:10] + 0.01, quantities=quantities), old, limits)
    assert moved.verdict == "inconclusive"
    # The same answers to everything are another matter: nothing is drawn at random.
    same = compare(replace(old), old, limits)
    assert same.verdict == "pass" and not same.changed
    assert same.notes == ("both models give the same answers to every image",)


@pytest.mark.parametrize(
    ("shift", "allowed", "direction", "verdict"),
    [
        (0.02, 0.05, "worse", "pass"),
        (0.02, 0.01, "worse", "drift"),
        (0.02, 0.02, "worse", "inconclusive"),
        (-0.05, 0.01, "worse", "pass"),
        (-0.05, 0.01, "any", "drift"),
        (0.0, 0.01, "any", "pass"),
    ],
)
@pytest.mark.parametrize("better", ["lower", "higher"])
def test_verdicts(shift: float, allowed: float, direction: Any, verdict: str, better: Any) -> None:
    sign = 1 if better == "lower" else -1
    quantity = replace(ERROR, better=better)
    scatter = NOISE[1] - NOISE[1].mean()
    new = readings(OLD + sign * (shift + 0.01 * scatter), quantities=(quantity,))
    old = readings(OLD, quantities=(quantity,))
    limits = {"error": Limit(change=allowed)}
    comparison = compare(new, old, limits, direction=direction)
    assert comparison.verdict == verdict
    (check,) = comparison.checks
    # Where changes for the better count, too, what is allowed lies on the side of the change.
    expected = sign if direction == "worse" else np.sign(check.change)
    assert check.limit == expected * allowed
    assert check.change == pytest.approx(sign * shift)
    assert comparison.fails() is (verdict == "drift")
    assert comparison.fails("inconclusive") is (verdict != "pass")


@pytest.mark.parametrize(
    ("better", "bound", "verdict"),
    [
        ("lower", 0.4, "pass"),
        ("lower", 0.2, "drift"),
        ("lower", 0.3, "inconclusive"),
        ("higher", 0.2, "pass"),
        ("higher", 0.4, "drift"),
    ],
)
def test_a_bound_is_on_the_candidate_alone(better: Any, bound: float, verdict: str) -> None:
    new = readings(OLD - OLD.mean() + 0.3, quantities=(replace(ERROR, better=better),))
    comparison = compare(new, new, {"error": Limit(bound=bound)})
    (check,) = comparison.checks
    assert (check.name, check.verdict) == ("bound", verdict)
    low, high = stats.t.interval(0.95, 49, loc=0.3, scale=stats.sem(OLD))
    assert (check.low, check.high) == pytest.approx((low, high))


def test_the_one_that_got_the_most_worse_decides_and_is_told_first() -> None:
    names = ("first", "second", "third")
    quantities = tuple(replace(ERROR, name=name) for name in names)
    old = readings(OLD, OLD, OLD, quantities=quantities)
    new = readings(OLD, OLD + 0.1 + 0.01 * NOISE[1], OLD - 0.2, quantities=quantities)
    comparison = compare(new, old, {"error": Limit(change=0.02)})
    (check,) = comparison.checks
    assert check.where == "second"
    assert comparison.summary().startswith(
        "second rose by more than is allowed. Failed: second 0.313 → 0.413 (+0.100"
    )
    assert "allowed +0.020)" in comparison.summary()
    assert comparison.notes == ()  # The third is better, but nobody is told to accept the second.
    alone = compare(new, old, {"error": Limit(change=0.15)})
    assert "better than the baseline" in alone.notes[0] and "third" in alone.notes[0]


def test_images_are_paired_by_their_digests_in_any_order() -> None:
    new, old = readings(CLOSE), readings(OLD)
    turned = new.take(list(reversed(range(50))))
    limits = {"error": Limit(change=0.01)}
    one, other = (compare(each, old, limits) for each in (new, turned))
    assert repr(one.quantities) == repr(other.quantities)
    some = compare(new.take(range(20)), old, limits)
    assert some.images == 20
    assert some.quantities[0].change == pytest.approx(np.mean((CLOSE - OLD)[:20]))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=20),
    st.floats(0.1, 10),
    st.floats(-5, 5),
)
def test_changes_scale_with_the_quantity(
    changes: list[float], factor: float, offset: float
) -> None:
    rows = np.asarray(changes)
    zero = readings(np.full(len(rows), offset))
    one = compare(readings(offset + rows), zero, {}).quantities[0]
    other = compare(readings(offset + factor * rows), zero, {}).quantities[0]
    if np.abs(rows).min() > 1e-2:
        expected = (factor * one.change, factor * one.low, factor * one.high)
        assert (other.change, other.low, other.high) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "other"}, "kind: candidate test, baseline other"),
        ({"settings": {"seed": 1}}, "seed: candidate 0, baseline 1"),
        ({"quantities": (SHARE,)}, "quantities: candidate error, baseline share"),
        ({"model": ModelInfo(name="m", classes=2)}, "classes: candidate 10, baseline 2"),
    ],
)
def test_what_does_not_belong_together_is_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(BaselineError, match=named):
        compare(readings(OLD), replace(readings(OLD), **change), {})


def test_another_reference_sample_is_refused() -> None:
    other = readings(OLD)
    other = replace(other, reference=replace(other.reference, digest="e", height=9))
    with pytest.raises(
        BaselineError, match=r"image size: candidate 3×8×8.*sample: candidate 50 images \(d\)"
    ):
        compare(readings(OLD), other, {})


def test_a_limit_of_nothing_that_was_measured_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"limit for 'mce'.*given for error"):
        compare(readings(OLD), readings(OLD), {"mce": Limit(change=1.0)})


def test_one_image_decides_nothing() -> None:
    comparison = compare(readings(OLD[:1] + 0.5), readings(OLD[:1]), {"error": Limit(change=0.1)})
    assert comparison.verdict == "inconclusive"
    assert not comparison.changed


def test_a_share_of_hits_is_bounded_by_wilsons_interval() -> None:
    # Five of five: the plain interval would have no width, and exclude every bound below 1.
    same = readings(np.ones(5), quantities=(SHARE,))
    (check,) = compare(same, same, {"share": Limit(bound=0.9)}).checks
    low, high = stats.binomtest(5, 5).proportion_ci(0.95, method="wilson")
    assert (check.low, check.high) == pytest.approx((low, high))
    assert check.verdict == "inconclusive"


def test_shares_of_other_images_have_an_interval_where_all_are_hits() -> None:
    # Agresti and Caffo: a hit and a miss more on either side.
    right, wrong = (readings(np.full(20, each), quantities=(SHARE,)) for each in (1.0, 0.0))
    (change,) = compare(right, right, {"share": Limit(change=0.1)}, paired=False).quantities
    share = 21 / 22
    error = np.sqrt(2 * share * (1 - share) / 22)
    assert change.change == 0
    assert change.high == pytest.approx(-change.low)
    assert 1.9 * error < change.high < 2.2 * error
    (fell,) = compare(wrong, right, {"share": Limit(change=0.1)}, paired=False).checks
    assert fell.verdict == "drift" and fell.low < -0.9
