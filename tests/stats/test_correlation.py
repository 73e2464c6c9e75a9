"""Correlations and their intervals, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_iaside.stats.correlation import (
    adjust,
    averages,
    clustered,
    correlate,
    left_out,
    pearson,
)

PAIRS = np.random.default_rng(0).normal(size=(2, 24))


@pytest.mark.parametrize("count", [4, 9, 24])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_pearson_and_fishers_interval_are_scipys(count: int, level: float) -> None:
    x, y = PAIRS[:, :count]
    y = y - 0.8 * x
    found, expected = correlate(x, y, level), stats.pearsonr(x, y)
    interval = expected.confidence_interval(level)
    assert found.units == count
    assert found.pearson == pytest.approx(expected.statistic)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(expected.pvalue)


def test_spearman_is_scipys_and_its_interval_that_of_bonett_and_wright() -> None:
    x, y = np.exp(PAIRS[0]), PAIRS[1] + 0.5 * PAIRS[0]
    y[3] = y[4]  # a tie
    found = correlate(x, y, 0.95)
    assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
    reach = stats.norm.ppf(0.975) * np.sqrt((1 + found.spearman**2 / 2) / 21)
    bounds = np.tanh(np.arctanh(found.spearman) + np.array([-reach, reach]))
    assert (found.rank_low, found.rank_high) == pytest.approx(tuple(bounds))


def test_three_models_tell_nothing_and_perfect_ones_everything() -> None:
    three = correlate([1, 2, 4], [3, 1, 2], 0.95)
    assert (three.low, three.high) == (-1, 1)
    perfect = correlate([1, 2, 3, 4, 5], [10, 8, 6, 4, 2], 0.95)
    assert (perfect.pearson, perfect.low, perfect.high) == pytest.approx((-1, -1, -1))
    assert perfect.p_value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("constant", [[0.1] * 5, [0.0] * 5, [1e9 / 3] * 5])
def test_what_is_constant_goes_together_with_nothing(constant: list[float]) -> None:
    found = correlate(constant, [1, 2, 3, 4, 5], 0.95)
    numbers = (found.pearson, found.low, found.high, found.spearman, found.p_value)
    assert np.isnan(numbers).all()


@given(
    st.lists(st.integers(-50, 50), min_size=5, max_size=5), st.floats(0.1, 10), st.floats(-100, 100)
)
def test_scale_and_origin_do_not_matter(values: list[int], scale: float, origin: float) -> None:
    other = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    x = np.array(values, dtype=float)
    first, second = pearson(x, other), pearson(scale * x + origin, other)
    np.testing.assert_allclose(first, second, atol=1e-7)
    np.testing.assert_allclose(pearson(other, x), first, atol=1e-12)


def test_holms_p_values_count_the_table_and_pass_over_what_has_none() -> None:
    x = np.arange(6.0)
    tables = [x + PAIRS[0][:6] * noise for noise in (0.2, 2.0, 6.0)]
    known = [correlate(x, y, 0.95) for y in tables]
    constant = correlate(x, np.ones(6), 0.95)
    p = sorted(one.p_value for one in known)
    expected = dict(
        zip(p, np.minimum(np.maximum.accumulate([3 * p[0], 2 * p[1], p[2]]), 1), strict=True)
    )
    first, nothing, *others = adjust([known[0], constant, *known[1:]])
    assert np.isnan(nothing.adjusted)
    for one in (first, *others):
        assert one.adjusted == pytest.approx(expected[one.p_value])


def test_models_of_a_recipe_are_averaged_by_first_appearance() -> None:
    values = np.array([[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 4.0, 2.0]])
    np.testing.assert_array_equal(averages(values, ["b", "a", "b", "a"]), [[2.0, 4.0], [2.0, 1.0]])


def test_fishers_interval_covers_and_copies_break_it() -> None:
    """What correlate's docstring says: why recipes are averaged."""
    rng, draws = np.random.default_rng(1), 600
    covered = {"alone": 0, "copies": 0}
    for _ in range(draws):
        x, y = rng.normal(size=(2, 12))
        alone = correlate(x, -0.6 * x + 0.8 * y, 0.95)
        covered["alone"] += alone.low <= -0.6 <= alone.high
        x, y = np.repeat(rng.normal(size=(2, 3)), 4, axis=1) + 0.01 * rng.normal(size=(2, 12))
        copies = correlate(x, -0.6 * x + 0.8 * y, 0.95)
        covered["copies"] += copies.low <= -0.6 <= copies.high
    assert covered["alone"] / draws == pytest.approx(0.95, abs=0.03)
    assert covered["copies"] / draws < 0.75


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=9))
def test_pearson_is_scipys_and_none_of_what_is_constant(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=float).T
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        assert np.isnan(pearson(first, second))
    else:
        assert pearson(first, second) == pytest.approx(stats.pearsonr(first, second)[0])


def test_what_varies_little_is_not_constant() -> None:
    first, second = 1 + 1e-7 * PAIRS
    assert pearson(first, second) == pytest.approx(np.corrcoef(PAIRS)[0, 1], abs=1e-6)


def test_of_clusters_one_is_left_out_at_a_time() -> None:
    x, y = [1.0, 2.0, 3.0, 5.0, 8.0, 9.0], [2.0, 1.0, 4.0, 3.0, 9.0, 7.0]
    members = ["a", "a", "b", "c", "c", "d"]
    r, low, high = clustered(x, y, members, 0.95)
    assert r == pytest.approx(stats.pearsonr(x, y).statistic)
    left = [[2, 3, 4, 5], [0, 1, 3, 4, 5], [0, 1, 2, 5], [0, 1, 2, 3, 4]]
    z = [np.arctanh(np.corrcoef(np.array(x)[rows], np.array(y)[rows])[0, 1]) for rows in left]
    error = np.sqrt(3 / 4 * sum((each - np.mean(z)) ** 2 for each in z))
    reach = stats.t.ppf(0.975, 3) * error
    assert (low, high) == pytest.approx(
        (np.tanh(np.arctanh(r) - reach), np.tanh(np.arctanh(r) + reach))
    )


def test_of_clusters_that_say_nothing_nothing_is_known() -> None:
    assert clustered([1, 2, 3], [1, 2, 4], ["a", "a", "b"], 0.95)[1:] == (-1, 1)
    assert clustered([1, 2, 3, 4], [2, 4, 6, 8], list("abcd"), 0.95) == pytest.approx((1, 1, 1))
    assert np.isnan(clustered([1, 1, 1], [1, 2, 3], list("abc"), 0.95)).all()


def test_intervals_of_clusters_cover_where_units_are_near_copies() -> None:
    """15 clusters of 2 near copies with a true r of 0.6."""
    random, held = np.random.default_rng(5), []
    members = np.repeat(np.arange(15), 2).astype(str).tolist()
    for _ in range(300):
        x, y = random.normal(size=(2, 15, 1)) + 0.1 * random.normal(size=(2, 15, 2))
        _, low, high = clustered(x.ravel(), (0.6 * x + 0.8 * y).ravel(), members, 0.95)
        held.append(low <= 0.6 <= high)
    assert 0.9 <= np.mean(held) <= 0.99


def test_each_unit_is_foretold_by_the_line_of_all_others() -> None:
    """numpy's polyfit, once without each."""
    x, y = PAIRS[:, :11]
    y = y + 0.7 * x
    errors, of_means = [], []
    for unit in range(11):
        others = np.arange(11) != unit
        slope, intercept = np.polyfit(x[others], y[others], 1)
        errors.append(y[unit] - slope * x[unit] - intercept)
        of_means.append(y[unit] - y[others].mean())
    found = left_out(x, y)
    assert found.error == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert found.of_mean == pytest.approx(np.sqrt(np.mean(np.square(of_means))))


def test_units_on_one_line_are_foretold_without_an_error() -> None:
    found = left_out([1.0, 2.0, 4.0, 7.0], [3.0, 5.0, 9.0, 15.0])
    assert found.error == pytest.approx(0, abs=1e-12)
    assert found.of_mean > 4


def test_no_line_foretells_what_a_constant_says_or_a_unit_on_its_own() -> None:
    constant = left_out([0.1, 0.1, 0.1], [1.0, 2.0, 3.0])
    assert np.isnan(constant.error)
    assert constant.of_mean == pytest.approx(np.sqrt((1.5**2 + 0 + 1.5**2) / 3))
    # Without the last one there is no line through the others.
    assert np.isnan(left_out([1.0, 1.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0]).error)
    assert np.isnan(left_out([1.0, 2.0], [1.0, 2.0]).of_mean)
