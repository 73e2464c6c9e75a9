"""Maps as pictures: colours by value, and sizes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pytest_iaside.report.charts.heat import colours, enlarged, heat, png, reduced


@pytest.mark.parametrize("value", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_colours_grow_lighter(value: float) -> None:
    dark, light = colours(np.array([[value - 0.1, value + 0.1]]).clip(0, 1))[0].astype(int)
    assert light @ (299, 587, 114) > dark @ (299, 587, 114)


def test_a_map_goes_from_nothing_to_its_top() -> None:
    values = np.linspace(0, 2, 101)[None]
    np.testing.assert_array_equal(heat(values, top=2.0)[0, [0, 100]], colours(np.array([0.0, 1.0])))
    np.testing.assert_array_equal(heat(np.zeros((2, 2))), colours(np.zeros((2, 2))))


def test_pictures_keep_what_they_show() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    large = enlarged(pixels, 12)
    assert large.shape == (9, 15, 3)
    np.testing.assert_array_equal(large[::3, ::3], pixels)
    assert reduced(large, 5).shape == (3, 5, 3)
    with Image.open(io.BytesIO(png(pixels))) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), pixels)
