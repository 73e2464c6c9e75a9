"""Intervals against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pytest_iaside.stats.intervals import (
    Anytime,
    jackknife_error,
    jackknife_interval,
    leave_one_out,
    paired_error,
    unpaired_error,
)


def _rows(count=40, columns=3, seed=0):
    return np.random.default_rng(seed).gamma(2.0, size=(count, columns))


def identity(mean):
    return mean


def test_leave_one_out_means():
    rows = _rows(5)
    expected = [np.delete(rows, i, axis=0).mean(axis=0) for i in range(5)]
    np.testing.assert_allclose(leave_one_out(rows), expected, atol=1e-14)


def test_jackknife_of_a_mean_is_the_student_interval():
    rows = _rows()
    np.testing.assert_allclose(jackknife_error(rows, identity), stats.sem(rows), rtol=1e-12)
    interval = jackknife_interval(rows, identity, 0.95)
    expected = stats.t.interval(0.95, len(rows) - 1, rows.mean(axis=0), stats.sem(rows))
    np.testing.assert_allclose([interval.low, interval.high], expected, rtol=1e-12)


def test_jackknife_error_of_a_ratio_follows_the_delta_method():
    rows = _rows(4000, 2)
    x, y = rows.mean(axis=0)
    gradient = np.array([1 / y, -x / y**2])
    expected = np.sqrt(gradient @ np.cov(rows.T) @ gradient / len(rows))
    found = jackknife_error(rows, lambda mean: mean[..., 0] / mean[..., 1])
    assert found == pytest.approx(expected, rel=2e-3)


def test_rows_without_spread_make_an_interval_of_no_width():
    rows = np.full((10, 2), 3.25)
    interval = jackknife_interval(rows, identity, 0.95)
    assert interval.low.tolist() == interval.high.tolist() == [3.25, 3.25]


def test_one_row_says_nothing():
    interval = jackknife_interval([[1.0, 2.0]], identity, 0.95)
    assert np.isneginf(interval.low).all() and np.isposinf(interval.high).all()
    assert np.isnan(jackknife_error([[1.0, 2.0]], identity)).all()


def test_the_anytime_reach_is_the_published_boundary():
    """At many images, where Student's quantiles are normal: eq. 10 with its tuned ρ."""
    law = Anytime(level=0.95, images=1000)
    rho2 = (-2 * np.log(0.05) + np.log(-2 * np.log(0.05) + 1)) / 1000
    for count in (500, 1000, 100_000):
        mixed = count * rho2
        boundary = np.sqrt(2 * (mixed + 1) / mixed * np.log(np.sqrt(mixed + 1) / 0.05))
        assert law.reach(0.95, np.array(count - 1)) == pytest.approx(boundary, rel=0.02)


def test_an_anytime_p_value_is_where_the_sequence_stops_excluding_zero():
    law = Anytime(level=0.95, images=50)
    freedom = np.array([15.0, 40.0, 200.0])
    for level in (0.9, 0.95, 0.999):
        ratio = law.reach(level, freedom)
        np.testing.assert_allclose(law.p_value(ratio, freedom), 1 - level, rtol=1e-6)
    assert law.p_value(np.array(0.0), np.array(20.0)) == 1.0


def test_looking_at_every_count_covers_as_promised():
    generator = np.random.default_rng(0)
    law = Anytime(level=0.95, images=32)
    counts = np.arange(16, 201)
    missed = 0
    for _ in range(1000):
        rows = generator.normal(size=200)
        sums, squares = np.cumsum(rows)[15:], np.cumsum(rows**2)[15:]
        error = np.sqrt((squares - sums**2 / counts) / (counts - 1) / counts)
        missed += bool((np.abs(sums / counts) > law.reach(0.95, counts - 1.0) * error).any())
    # The promise is 5 % over all counts from the first on; 200 is not infinity.
    assert missed <= 50


def test_unpaired_errors_are_welchs():
    ours, theirs = _rows(30, 2, seed=1), 2 * _rows(17, 2, seed=2)
    error, freedom = unpaired_error(ours, theirs, np.subtract)
    first, second = ours.var(axis=0, ddof=1) / 30, theirs.var(axis=0, ddof=1) / 17
    np.testing.assert_allclose(error, np.sqrt(first + second), rtol=1e-12)
    expected = stats.ttest_ind(ours, theirs, equal_var=False).df
    np.testing.assert_allclose(freedom, expected, rtol=1e-10)


def test_paired_errors_are_of_the_differences():
    ours = _rows(30, 2, seed=1)
    theirs = ours + 0.1 * _rows(30, 2, seed=2)
    error, freedom = paired_error(ours, theirs, np.subtract)
    np.testing.assert_allclose(error, stats.sem(ours - theirs), rtol=1e-9)
    assert freedom.tolist() == [29, 29]
