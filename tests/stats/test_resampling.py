"""Power by resampling, against Student's law and against gates that are drawn one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pytest_iaside.stats.intervals import paired_error
from pytest_iaside.stats.power import power_of_fall, smallest_fall
from pytest_iaside.stats.resampling import Gates, Pool

ALLOWED, LEVEL = 0.1, 0.95
NORMAL = np.random.default_rng(0).normal(size=(2000, 2))
NORMAL = (NORMAL - NORMAL.mean(axis=0)) / NORMAL.std(axis=0, ddof=1)


@pytest.mark.parametrize("fall", [0.15, 0.25, 0.4])
@pytest.mark.parametrize("units", [10, 40])
def test_of_normal_differences_it_is_the_noncentral_t(units: int, fall: float) -> None:
    gates = Gates([Pool.of(0.3 * NORMAL)], units)
    wanted = power_of_fall(fall, 0.3, units, ALLOWED, LEVEL)
    assert gates.power(fall, ALLOWED, LEVEL) == pytest.approx([wanted, wanted], abs=0.035)


def test_the_smallest_fall_has_its_power() -> None:
    gates = Gates([Pool.of(NORMAL * [0.3, 0.6])], 40)
    found = gates.smallest(ALLOWED, LEVEL, 0.9)
    assert gates.power(found, ALLOWED, LEVEL) == pytest.approx([0.9, 0.9], abs=0.01)
    for fall, deviation in zip(found, (0.3, 0.6), strict=True):
        law = smallest_fall(deviation, 40, ALLOWED, LEVEL, 0.9)
        assert fall - ALLOWED == pytest.approx(law - ALLOWED, rel=0.05)


def test_of_skewed_differences_it_is_what_gates_find() -> None:
    """Shares of a whole that varies: Student's law is ten points off here."""
    generator = np.random.default_rng(3)
    whole = generator.exponential(size=60) + 0.2
    differences = -0.2 * whole + 0.3 * generator.exponential(size=60)
    pool = Pool.of(differences[:, None], whole)
    fall, units, count = 0.25, 30, 3000
    moved = differences - pool.shift(fall)[0]
    assert moved.mean() / whole.mean() == pytest.approx(-fall)
    red = 0
    for _ in range(count):
        some = generator.integers(0, 60, units)
        one, two = (moved + whole)[some, None], whole[some, None]
        error, freedom = paired_error(one, two, lambda new, old: (new - old) / old)
        change = (one.mean() - two.mean()) / two.mean()
        red += change + stats.t.ppf(0.975, freedom[0]) * error[0] < -ALLOWED
    found = Gates([pool], units).power(fall, ALLOWED, LEVEL)[0]
    assert found == pytest.approx(red / count, abs=0.035)
    assert 0.1 < found < 0.98


def test_groups_are_drawn_whole() -> None:
    """Ten copies of an image say no more than one."""
    alone = Gates([Pool.of(NORMAL[:200])], 20).power(1.0, ALLOWED, LEVEL)
    groups = np.repeat(np.arange(200), 10)
    together = Gates([Pool.of(NORMAL[:200].repeat(10, axis=0), groups=groups)], 20)
    assert together.power(1.0, ALLOWED, LEVEL) == pytest.approx(alone, abs=1e-12)
    assert Pool.of(NORMAL[:200]).deviation(0.5) == pytest.approx(
        Pool.of(NORMAL[:200].repeat(10, axis=0), groups=groups).deviation(0.5)
    )


def test_what_cannot_be_seen() -> None:
    pool = Pool.of(NORMAL[:50])
    assert Gates([pool], 1).power(5.0, ALLOWED, LEVEL).tolist() == [0, 0]
    assert np.isinf(Gates([pool], 1).smallest(ALLOWED, LEVEL, 0.9)).all()
    # A baseline that gains nothing has no share to lose.
    nothing = Pool.of(NORMAL[:50], -np.ones(50))
    assert Gates([nothing], 20).power(5.0, ALLOWED, LEVEL).tolist() == [0, 0]


def test_where_nothing_varies_all_beyond_the_limit_is_seen() -> None:
    gates = Gates([Pool.of(np.zeros((50, 1)))], 20)
    assert gates.smallest(ALLOWED, LEVEL, 0.99) == pytest.approx([ALLOWED], abs=1e-5)
    assert gates.power(ALLOWED + 1e-6, ALLOWED, LEVEL) == [1]


def test_pools_count_alike() -> None:
    one, two = Pool.of(NORMAL), Pool.of(3 * NORMAL)
    both = Gates([one, two], 20).power(0.9, ALLOWED, LEVEL)
    each = [power_of_fall(0.9, deviation, 20, ALLOWED, LEVEL) for deviation in (1.0, 3.0)]
    assert both == pytest.approx(2 * [np.mean(each)], abs=0.035)
