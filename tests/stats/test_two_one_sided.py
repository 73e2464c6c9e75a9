"""Two one-sided tests against statsmodels', and how many images they take."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.weightstats import ttost_paired

from pytest_iaside.stats.equivalence import beyond_margin, images_to_show, within_margin
from pytest_iaside.stats.intervals import jackknife_interval


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_an_interval_within_the_margin_is_both_tests_rejecting(level: float) -> None:
    generator = np.random.default_rng(0)
    decided = []
    for _ in range(200):
        count = int(generator.integers(5, 40))
        baseline = generator.normal(size=count)
        candidate = baseline + generator.normal(generator.uniform(-0.3, 0.3), 0.5, size=count)
        margin = float(generator.uniform(0.1, 0.6))
        moved = (candidate - baseline)[:, None]
        interval = jackknife_interval(moved, lambda mean: mean, level)
        shown = bool(within_margin(interval.low, interval.high, margin).all())
        p_value, *_ = ttost_paired(candidate, baseline, -margin, margin)
        assert shown == (p_value < (1 - level) / 2)
        decided.append(shown)
    assert 20 < sum(decided) < 180


def test_beyond_is_on_either_side_and_nan_is_nowhere() -> None:
    low = np.array([0.11, -0.3, -0.05, 0.05, np.nan])
    high = np.array([0.2, -0.11, 0.05, 0.2, np.nan])
    assert beyond_margin(low, high, 0.1).tolist() == [True, True, False, False, False]
    assert within_margin(low, high, 0.1).tolist() == [False, False, True, False, False]


def test_images_to_show_halves_an_interval_with_four_times_as_many() -> None:
    assert images_to_show(25, 0.0, 0.2, 0.1) == pytest.approx(100)
    assert images_to_show(25, -0.05, 0.1, 0.1) == pytest.approx(100)
    assert images_to_show(25, 0.1, 0.01, 0.1) == np.inf
    assert images_to_show(25, float("nan"), 0.01, 0.1) == np.inf
