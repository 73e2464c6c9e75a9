"""Numbers as reports show them."""

from __future__ import annotations

import math

import pytest

from pytest_iaside.report.charts.svg import at, tick_text
from pytest_iaside.report.numbers import fixed, formatted, percent, share, signed


@pytest.mark.parametrize(
    ("form", "number", "shown"),
    [
        (".3f", -0.0004, "0.000"),
        (".3f", -0.0005001, "-0.001"),
        (".0f", -0.4, "0"),
        ("+.3f", -0.0, "+0.000"),
        ("+.1%", -0.0004, "+0.0%"),
        ("+.1%", -0.0006, "-0.1%"),
        (".2f", -100.0, "-100.00"),
        (".2f", -0.1, "-0.10"),
    ],
)
def test_a_zero_has_no_minus(form: str, number: float, shown: str) -> None:
    assert formatted(number, form) == shown


def test_each_kind_has_its_signs() -> None:
    value = -1 / 8000
    assert fixed(value) == "0.000"
    assert fixed(value, 4) == "−0.0001"
    assert (signed(value), signed(-value, 4)) == ("+0.000", "+0.0001")
    assert (percent(value), share(value), share(value, 2)) == ("+0.0%", "0.0%", "−0.01%")
    assert [kind(math.nan) for kind in (fixed, signed, percent, share)] == ["—"] * 4


def test_coordinates_and_ticks_have_none_either() -> None:
    assert (at(-0.04), at(-0.06), at(7.0)) == ("0", "-0.1", "7")
    assert (tick_text(-1e-12, 0.1), tick_text(-0.1, 0.1)) == ("0.0", "−0.1")
