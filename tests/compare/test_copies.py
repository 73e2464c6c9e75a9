"""Exact copies of an image count as one: they are no evidence of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import make_profile
from test_compare_quantities import SHARE, readings

from pytest_iaside import Thresholds, compare
from pytest_iaside.compare.comparison import Comparison
from pytest_iaside.compare.sequential import compare_sequentially
from pytest_iaside.compare.trend import compare_trend
from pytest_iaside.measure.measurement import Measurement
from pytest_iaside.measure.profile import SpectralProfile
from pytest_iaside.stats.arrays import averaged
from pytest_iaside.stats.intervals import STUDENT
from pytest_iaside.thresholds import Limit

FALLEN = np.array([0, 0, 0, 0, 0, -0.08, 0, 0])


def two(images: int = 12, seed: int = 0) -> tuple[SpectralProfile, SpectralProfile]:
    """A candidate and its baseline: one band fell, by more in some images than in others."""
    baseline = make_profile(images=images, seed=seed)
    spread = 0.06 * np.random.default_rng(seed).normal(size=(images, 8))
    return replace(baseline, values=baseline.values + FALLEN + spread), baseline


def assert_same(one: Comparison, other: Comparison) -> None:
    assert (one.verdict, one.images, one.lead) == (other.verdict, other.images, other.lead)
    # As text: from Python 3.13 on dataclasses that hold the same NaN are no longer equal.
    assert repr((one.checks, one.quantities)) == repr((other.checks, other.quantities))
    assert one.image_changes is not None and other.image_changes is not None
    ours, theirs = (
        [(each.name, each.contribution) for each in found.image_changes.images]
        for found in (one, other)
    )
    assert ours == theirs


@settings(max_examples=25, deadline=None)
@given(copies=st.lists(st.integers(0, 11), max_size=30), order=st.randoms())
def test_copies_change_not_a_bit(copies: list[int], order: object) -> None:
    candidate, baseline = two()
    rows = [*range(12), *copies]
    order.shuffle(rows)  # type: ignore[attr-defined]  # hypothesis does not say that it is a Random
    # Images are named and numbered by their first copies.
    found = compare(candidate.take(rows), baseline.take(rows))
    assert_same(found, compare(candidate, baseline))


def test_twelve_digits_ten_times_are_twelve() -> None:
    candidate, baseline = two()
    strict = Thresholds(max_band_drop=0.01)
    once = compare(candidate, baseline, strict)
    rows = list(range(12)) * 10
    many = compare(candidate.take(rows), baseline.take(rows), strict)
    assert once.verdict == many.verdict == "inconclusive"
    assert (len(many.candidate), many.images) == (120, 12)
    assert many.notes[0] == "108 of 120 images are exact copies of others: each counts once"
    # As if each were an image of its own, it would be drift.
    digests = tuple(f"{i:032x}" for i in range(120))
    apart = (replace(one.take(rows), digests=digests) for one in (candidate, baseline))
    assert compare(*apart, strict).verdict == "drift"


def test_a_single_copy_is_told_in_the_singular() -> None:
    candidate, baseline = two()
    rows = [*range(12), 3]
    found = compare(candidate.take(rows), baseline.take(rows))
    assert found.notes[0] == "1 of 13 images is an exact copy of another: the two count once"


def test_unpaired_copies_count_once_on_either_side() -> None:
    candidate, baseline = two()
    plain = compare(candidate, baseline, paired=False)
    found = compare(
        candidate.take([*range(12), 0, 0]), baseline.take([5, *range(12)]), paired=False
    )
    assert found.images == 12
    assert repr((found.checks, found.quantities)) == repr((plain.checks, plain.quantities))
    assert found.notes[:2] == (
        "2 of 14 images of the candidate are exact copies of others: each counts once",
        "1 of 13 images of the baseline is an exact copy of another: the two count once",
    )


def test_copies_are_no_more_looks() -> None:
    candidate, baseline = two(20)
    rows = [*range(20), *range(20)]
    ways = {"exhausted": False}
    found = compare_sequentially(candidate.take(rows), baseline.take(rows), Thresholds(), **ways)
    assert_same(found, compare_sequentially(candidate, baseline, Thresholds(), **ways))


def test_a_trend_counts_copies_once() -> None:
    candidate, baseline = two()
    middle = replace(baseline, values=(candidate.values + baseline.values) / 2)
    points = [baseline, middle, candidate]
    rows = [*range(12), 4, 4, 7]
    plain = compare_trend(points, [0, 1, 2], Thresholds())
    found = compare_trend([one.take(rows) for one in points], [0, 1, 2], Thresholds())
    assert (repr(found.checks), found.images) == (repr(plain.checks), 12)


@given(copies=st.lists(st.integers(0, 11), max_size=30))
def test_a_profile_says_the_same_with_copies(copies: list[int]) -> None:
    plain = two()[0]
    found = plain.take([*range(12), *copies])
    for what in ("psi", "sid", "src", "signed_src", "value"):
        ours, theirs = found.interval(what), plain.interval(what)
        np.testing.assert_array_equal([ours.low, ours.high], [theirs.low, theirs.high])
        np.testing.assert_array_equal(getattr(found, what), getattr(plain, what))
    np.testing.assert_array_equal(found.standard_error, plain.standard_error)
    assert found.unstructured_because == plain.unstructured_because


def test_one_image_many_times_is_one_image() -> None:
    found = make_profile(images=2).take([0] * 50)
    assert np.isnan(found.standard_error).all()
    assert found.unstructured_because.startswith("one image cannot tell")


def hits(values: Sequence[float], digests: Sequence[str]) -> Measurement:
    """Hits of images whose copies have labels of their own."""
    found = readings(values, quantities=(SHARE,))
    return replace(found, digests=tuple(digests), labels=np.arange(len(values)))


@given(
    images=st.lists(
        st.tuples(st.sampled_from("abcdef"), st.booleans(), st.booleans()), min_size=3, max_size=20
    )
)
def test_hits_of_copies_are_shares(images: list[tuple[str, bool, bool]]) -> None:
    """Agresti and Min's interval is that of the rows and of half an image in each of four cells."""
    digests, new, old = zip(*images, strict=True)
    limits = {"share": Limit(change=0.1)}
    found = compare(hits(new, digests), hits(old, digests), limits).quantities[0]
    rows = averaged(np.subtract(new, old, dtype=float), digests)
    if len(rows) < 2:
        return
    weights = np.append(np.ones(len(rows)), [0.5] * 4)
    cells = np.append(rows, [1, -1, 0, 0])
    centre = np.average(cells, weights=weights)
    square = np.average((cells - centre) ** 2, weights=weights) / weights.sum()
    reach = STUDENT.reach(0.95, np.array(np.inf)) * np.sqrt(square)
    assert found.change == pytest.approx(rows.mean())
    if not (rows == 0).all():
        assert (found.low, found.high) == pytest.approx((centre - reach, centre + reach))

    apart = compare(hits(new, digests), hits(old, digests), limits, paired=False).quantities[0]
    sides = [
        np.append(averaged(np.array(side, dtype=float), digests), [1, 0]) for side in (new, old)
    ]
    centre = sides[0].mean() - sides[1].mean()
    reach = STUDENT.reach(0.95, np.array(np.inf)) * np.sqrt(
        sum(side.var() / len(side) for side in sides)
    )
    assert (apart.low, apart.high) == pytest.approx((centre - reach, centre + reach))


class TestAveraged:
    @given(data=st.data(), keys=st.lists(st.sampled_from("abc"), min_size=1, max_size=9))
    def test_means_of_each_key_whatever_the_order(
        self, data: st.DataObject, keys: list[str]
    ) -> None:
        rows = np.random.default_rng(len(keys)).normal(size=(len(keys), 2))
        found = dict(zip(dict.fromkeys(keys), averaged(rows, keys), strict=True))
        for key, row in found.items():
            assert row == pytest.approx(rows[[each == key for each in keys]].mean(axis=0))
        order = data.draw(st.permutations(range(len(keys))))
        other = [keys[at] for at in order]
        again = dict(zip(dict.fromkeys(other), averaged(rows[order], other), strict=True))
        assert {k: row.tolist() for k, row in again.items()} == {
            k: row.tolist() for k, row in found.items()
        }

    def test_equal_rows_are_not_rounded(self) -> None:
        rows = np.full((3, 1), 0.1)
        assert averaged(rows, ["a"] * 3).tolist() == [[0.1]]
        assert averaged(rows, ["a", "b", "c"]) is rows
