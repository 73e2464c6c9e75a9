"""What a comparison can see, against scipy's laws and against counting every case."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pytest_iaside.stats.power import (
    detectable,
    fewest,
    images_for_fall,
    images_for_share,
    least_lost,
    power_of_fall,
    power_of_share,
    smallest_fall,
    smallest_share,
)

LEVEL, ALLOWED = 0.95, 0.02


@pytest.mark.parametrize("images", [3, 24, 100, 5000])
@pytest.mark.parametrize("fall", [0.01, 0.02, 0.05, 0.3])
def test_the_power_of_a_fall_is_that_of_a_noncentral_t(images: int, fall: float) -> None:
    beyond = (fall - ALLOWED) / 0.2 * np.sqrt(images)
    wanted = stats.nct.sf(stats.t.ppf(0.975, images - 1), images - 1, beyond)
    assert power_of_fall(fall, 0.2, images, ALLOWED, LEVEL) == pytest.approx(wanted, abs=1e-7)


def test_many_images_are_of_the_normal_law() -> None:
    """Beyond the limit by both quantiles, in standard errors."""
    quantiles = stats.norm.ppf(0.975) + stats.norm.ppf(0.99)
    found = smallest_fall(0.2, 10_000, ALLOWED, LEVEL)
    assert found == pytest.approx(ALLOWED + quantiles * 0.2 / 100, rel=2e-4)
    assert images_for_fall(found, 0.2, ALLOWED, LEVEL) == pytest.approx(10_000, rel=1e-3)
    half = np.array(stats.norm.ppf(0.975) * 0.2 / 100)
    assert found == pytest.approx(float(detectable(-half, half, ALLOWED, LEVEL)), rel=2e-4)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.99])
def test_the_smallest_fall_and_the_fewest_images_have_the_power(power: float) -> None:
    fall = smallest_fall(0.3, 40, ALLOWED, LEVEL, power)
    assert power_of_fall(fall, 0.3, 40, ALLOWED, LEVEL) == pytest.approx(power, abs=1e-5)
    assert images_for_fall(fall + 1e-9, 0.3, ALLOWED, LEVEL, power) == 40
    assert images_for_fall(fall - 1e-3, 0.3, ALLOWED, LEVEL, power) > 40


def test_what_cannot_be_seen() -> None:
    assert smallest_fall(0.3, 1, ALLOWED, LEVEL) == np.inf
    assert power_of_fall(0.5, 0.3, 1, ALLOWED, LEVEL) == 0
    assert images_for_fall(ALLOWED, 0.3, ALLOWED, LEVEL) == np.inf
    assert images_for_share(ALLOWED, ALLOWED, LEVEL) == np.inf
    assert smallest_share(4, 0.5, LEVEL) == 1
    # Where no image differs from another, whatever is beyond the limit is found by two.
    assert power_of_fall(0.021, 0.0, 2, ALLOWED, LEVEL) == 1
    assert power_of_fall(0.019, 0.0, 2, ALLOWED, LEVEL) == 0
    assert smallest_fall(0.0, 2, ALLOWED, LEVEL) == ALLOWED


def drifts(lost: int, won: int, images: int, allowed: float = ALLOWED) -> bool:
    """Agresti and Min's interval of the change, as evidence.py has it."""
    count = images + 2
    centre = (won - lost) / count
    error = np.sqrt(((lost + won + 1) / count - centre**2) / count)
    return bool(centre + stats.norm.ppf(0.975) * error < -allowed)


@pytest.mark.parametrize("images", [10, 24, 61])
@pytest.mark.parametrize("allowed", [0.0, 0.02, 0.1])
def test_the_fewest_lost_are_counted(images: int, allowed: float) -> None:
    for won in range(6):
        least = int(least_lost(images, np.array([float(won)]), allowed, LEVEL)[0])
        left = range(images + 1 - won)
        counted = [lost for lost in left if drifts(lost, won, images, allowed)]
        assert counted == [lost for lost in left if lost >= least]


@pytest.mark.parametrize("won", [0.0, 0.05, 0.2])
def test_the_power_of_a_share_counts_every_case(won: float) -> None:
    images, fall = 30, 0.3
    shares = [fall + won, won, 1 - fall - 2 * won]
    law = stats.multinomial(images, shares)
    wanted = sum(
        law.pmf([lost, more, images - lost - more])
        for lost in range(images + 1)
        for more in range(images + 1 - lost)
        if drifts(lost, more, images)
    )
    assert power_of_share(fall, images, ALLOWED, LEVEL, won) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("won", [0.0, 0.04])
def test_the_smallest_share_has_the_power(won: float) -> None:
    fall = smallest_share(100, ALLOWED, LEVEL, 0.9, won)
    assert power_of_share(fall, 100, ALLOWED, LEVEL, won) == pytest.approx(0.9, abs=1e-4)
    images = images_for_share(fall, ALLOWED, LEVEL, 0.9, won)
    assert images <= 100
    assert power_of_share(fall, int(images), ALLOWED, LEVEL, won) >= 0.9 - 1e-6
    assert power_of_share(fall, int(images) - 1, ALLOWED, LEVEL, won) < 0.9


def test_many_images_make_a_share_normal() -> None:
    """Of won 5 % and lost 15 %: the variance of a difference is .2 − .1²."""
    images = 2000
    error = np.sqrt((0.2 - 0.1**2) / images)
    wanted = stats.norm.sf(stats.norm.ppf(0.975) - (0.1 - 0.08) / error)
    assert power_of_share(0.1, images, 0.08, LEVEL, 0.05) == pytest.approx(wanted, abs=0.02)


def test_few_images_are_asked_for_only_where_few_count() -> None:
    # Two that happen to be alike are enough for a law of what is at hand, and so is every hundred.
    alike = lambda images: images == 2 or images >= 100  # noqa: E731
    assert fewest(alike) == 2
    assert fewest(alike, least=50) == 100
    assert fewest(alike, least=100) == 100
