"""The rule that decides: four verdicts, and what a check could have seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_iaside.compare.check import WIDEST, Check, decide, worst
from pytest_iaside.compare.words import about, interval_of, signed
from pytest_iaside.stats.power import POWER, detectable, detectable_share

ALLOWED = 0.02
numbers = st.floats(-1, 1, allow_nan=False)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.10, -0.03, "drift"),
        (-0.019, 0.5, "pass"),
        (-0.05, 0.04, "nothing found"),  # 0.118 would be found.
        (-0.08, 0.07, "inconclusive"),  # 0.184 would be.
        (-0.08, 0.01, "inconclusive"),  # The middle is not allowed.
        (-np.inf, np.inf, "inconclusive"),
        (np.nan, np.nan, "inconclusive"),
    ],
)
def test_an_interval_decides(low: float, high: float, verdict: str) -> None:
    assert decide(low, high, ALLOWED) == verdict
    assert decide(-high, -low, ALLOWED, better="lower") == verdict


def test_changes_for_the_better_count_where_they_are_asked_for() -> None:
    for low, high, verdict in ((0.03, 0.1, "drift"), (-0.01, 0.01, "pass"), (-0.01, 0.07, None)):
        found = decide(low, high, ALLOWED, direction="any")
        assert found == (verdict or "inconclusive")
        assert decide(low, high, ALLOWED) == "pass"


def test_what_is_detectable_is_found_with_its_power() -> None:
    """By the normal law itself, and by drawing estimates around a true change of that size."""
    error, level = 0.01, 0.95
    reach = stats.norm.ppf(0.975)
    change = detectable(np.array(-reach * error), np.array(reach * error), ALLOWED, level)
    assert change == pytest.approx(ALLOWED + (reach + stats.norm.ppf(POWER)) * error)
    drawn = np.random.default_rng(0).normal(-change, error, 4000)
    verdicts = [decide(at - reach * error, at + reach * error, ALLOWED) for at in drawn]
    assert np.mean([each == "drift" for each in verdicts]) == pytest.approx(POWER, abs=0.006)


@settings(max_examples=200, deadline=None)
@given(middle=numbers, half=st.floats(0, 1), allowed=st.floats(1e-3, 0.5))
def test_green_verdicts_say_what_they_say(middle: float, half: float, allowed: float) -> None:
    low, high = middle - half, middle + half
    seen = float(detectable(np.array(low), np.array(high), allowed, 0.95))
    match decide(low, high, allowed):
        case "pass":
            assert low >= -allowed
        case "nothing found":
            assert (low + high) / 2 >= -allowed and seen <= WIDEST * allowed
        case "drift":
            assert high < -allowed
        case "inconclusive":
            assert (low + high) / 2 < -allowed or seen > WIDEST * allowed
    # A narrower interval around the same change is never less certain of what is allowed.
    order = ("drift", "inconclusive", "nothing found", "pass")
    if middle >= -allowed:
        narrower = decide(middle - half / 2, middle + half / 2, allowed)
        assert order.index(narrower) >= order.index(decide(low, high, allowed))


def test_the_worst_verdict_counts() -> None:
    assert worst([]) == "pass"
    assert worst(["pass", "nothing found"]) == "nothing found"
    assert worst(["pass", "inconclusive", "nothing found"]) == "inconclusive"
    assert worst(["inconclusive", "drift", "pass"]) == "drift"


@pytest.mark.parametrize(
    ("count", "told"), [(3.2, "4"), (41.0, "41"), (104.0, "110"), (12_345.0, "13,000")]
)
def test_numbers_of_images_are_rounded_up(count: float, told: str) -> None:
    assert about(count) == told


@pytest.mark.parametrize("images", [24, 50, 100, 400])
def test_a_share_that_is_lost_is_found_with_its_power(images: int) -> None:
    """Drawn from the binomial law, and held against Agresti and Min's interval."""
    found = detectable_share(images, ALLOWED, 0.95)
    lost = np.random.default_rng(0).binomial(images, found, 20_000)
    count = images + 2
    error = np.sqrt((lost + 1) / count - (lost / count) ** 2) / np.sqrt(count)
    drift = -lost / count + stats.norm.ppf(0.975) * error < -ALLOWED
    assert drift.mean() == pytest.approx(POWER, abs=0.004)
    assert detectable_share(4, 0.5, 0.95) == 1.0


def test_intervals_are_cut_to_what_is_possible() -> None:
    """A score lies between −1 and 1, so its change is 2 at most; shares move by all at most."""

    def told(name: str, low: float, high: float) -> str:
        check = Check(
            name=name, baseline=0, candidate=0, change=0, low=low, high=high, limit=-0.02,
            verdict="inconclusive",
        )  # fmt: skip
        return interval_of(check, 0.95, signed)

    assert told("src", -2.9, 1.8) == "95% CI −2.000…+1.800"
    assert told("src", -2.9, 2.0) == "95% CI undetermined"
    assert told("sid", -0.1, 4.0) == "95% CI −0.100…+1.000"
    assert told("min_src", -1.5, 0.5) == "95% CI −1.000…+0.500"
    assert told("value", -np.inf, np.inf) == "95% CI undetermined"
    assert told("value", -5.0, 4.0) == "95% CI −5.000…+4.000"
