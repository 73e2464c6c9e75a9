"""SPEC.md 1.1: the bands partition the plane, for any size, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import floor, isqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_iaside.errors import SettingsError
from pytest_iaside.images.bands import BandPartition

sizes = st.integers(min_value=2, max_value=41)
norms = st.sampled_from(["linf", "l2"])


def test_counts_of_the_papers_setting():
    partition = BandPartition(224, 224, 8)
    assert partition.counts.tolist() == [729, 2296, 3864, 5432, 7000, 8568, 10136, 12151]


def test_edges_and_labels_are_cycles_per_pixel():
    partition = BandPartition(224, 224, 8)
    assert partition.edges.tolist() == [i / 16 for i in range(9)]
    assert partition.labels[4] == "0.25–0.31 cycles/px"
    assert BandPartition(64, 64, 4, "l2").edges[-1] == pytest.approx(np.sqrt(0.5))


@settings(max_examples=60, deadline=None)
@given(height=sizes, width=sizes, bands=st.integers(2, 12), norm=norms)
def test_every_frequency_is_in_the_band_that_exact_arithmetic_says(height, width, bands, norm):
    try:
        partition = BandPartition(height, width, bands, norm)
    except SettingsError:
        return
    for row in range(height):
        for column in range(width):
            u = row if 2 * row < height else row - height
            v = column if 2 * column < width else column - width
            a, b = Fraction(2 * abs(u), height), Fraction(2 * abs(v), width)
            if norm == "linf":
                band = floor(bands * max(a, b))
            else:
                square = bands**2 * (a**2 + b**2) / 2
                # ⌊√(p/q)⌋ without rounding.
                band = isqrt(square.numerator // square.denominator)
            assert partition.index[row, column] == min(band, bands - 1)


@settings(max_examples=60, deadline=None)
@given(height=sizes, width=sizes, bands=st.integers(1, 8), norm=norms)
def test_bands_are_symmetric_and_leave_nothing_out(height, width, bands, norm):
    try:
        partition = BandPartition(height, width, bands, norm)
    except SettingsError:
        return
    index = partition.index
    mirrored = np.roll(index[::-1, ::-1], (1, 1), axis=(0, 1))
    assert (index == mirrored).all()
    assert partition.counts.sum() == height * width
    assert (partition.counts > 0).all()
    assert index[0, 0] == 0


def test_an_empty_band_is_named_with_the_largest_number_that_fits():
    with pytest.raises(SettingsError, match=r"band 3 of 8 .* 12×12 images; use at most 7 bands"):
        BandPartition(12, 12, 8)
    assert (BandPartition(12, 12, 7).counts > 0).all()


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), bands=st.integers(2, 20), norm=norms)
def test_the_advice_of_the_error_works(height, width, bands, norm):
    try:
        BandPartition(height, width, bands, norm)
    except SettingsError as error:
        if "too small" in str(error):
            for fewer in range(2, bands):
                with pytest.raises(SettingsError):
                    BandPartition(height, width, fewer, norm)
            return
        most = int(str(error).split("at most ")[1].split()[0])
        assert 2 <= most < bands
        BandPartition(height, width, most, norm)


@pytest.mark.parametrize(("sides", "norm"), [((1, 1), "linf"), ((1, 3), "l2"), ((3, 1), "l2")])
def test_images_too_small_for_any_bands(sides, norm):
    with pytest.raises(SettingsError, match="images are too small for 2 bands, each needs"):
        BandPartition(*sides, 2, norm)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((8, 8, 0), "0 bands asked for"),
        ((8, 8, 33), "use 1 to 32"),
        ((0, 8, 2), "0×8 pixels"),
        ((8, 8, 2, "l1"), "partition='l1' is unknown; use one of linf, l2"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(SettingsError, match=message):
        BandPartition(*arguments)


@pytest.mark.parametrize("bands", [2.5, True, "8"])
def test_bands_are_a_whole_number(bands):
    with pytest.raises(SettingsError, match=f"bands={bands!r} must be a whole number"):
        BandPartition(24, 24, bands)
