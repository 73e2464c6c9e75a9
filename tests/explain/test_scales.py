"""What is read off maps at several scales, of maps that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.lens import argmax_scale, inconsistency, optimal_scale
from pytest_iaside.explain.moments import check_scales

MAPS = arrays.arrays(np.float64, (3, 2, 7, 6), elements=st.floats(0, 10, allow_subnormal=False))


class TestArgmaxScale:
    def test_of_each_pixel(self) -> None:
        values = np.array([[[1.0, 5.0], [2.0, 0.0]], [[3.0, 4.0], [2.0, 0.0]]])
        found = argmax_scale((0.2, 0.7), values[:, None])
        # Ties, also of nothing at all, take the smallest scale.
        np.testing.assert_array_equal(found, [[[0.7, 0.2], [0.2, 0.2]]])

    def test_what_rounding_alone_tells_apart_is_a_tie(self) -> None:
        value = 0.1 + 0.2
        assert argmax_scale((0, 1), np.array([0.3, value])) == 0
        assert argmax_scale((0, 1), np.array([0.3, 0.3 * (1 + 1e-6)])) == 1


class TestOptimalScale:
    scales = (0.0, 0.5, 1.0)
    # ‖SG2‖₁ of two images of two pixels: (6, 4, 1) and (0, 1, 5), over the scales.
    sg2 = np.array([[6, 4, 1], [0, 1, 5]]).T.reshape(3, 2, 1, 1) * np.array([0.75, 0.25])

    def test_of_each_image(self) -> None:
        # s^2.5 is 0, 0.177, 1.
        found = optimal_scale(self.scales, self.sg2)
        np.testing.assert_array_equal(found, [1, 1])
        found = optimal_scale(self.scales, self.sg2, exponent=1)
        np.testing.assert_array_equal(found, [0.5, 1])

    def test_of_the_sample_and_of_each_pixel(self) -> None:
        assert optimal_scale(self.scales, self.sg2, exponent=1, per="sample") == 1
        found = optimal_scale(self.scales, self.sg2, exponent=1, per="pixel")
        np.testing.assert_array_equal(found, [[[0.5, 0.5]], [[1, 1]]])

    def test_of_nothing_is_the_first(self) -> None:
        found = optimal_scale(self.scales, np.zeros((3, 1, 2, 2)))
        assert found.tolist() == [0]

    def test_unknown(self) -> None:
        with pytest.raises(SettingsError, match="per='class' is unknown; use one of sample, image"):
            optimal_scale(self.scales, self.sg2, per="class")  # type: ignore[arg-type]


class TestInconsistency:
    def test_of_two_maps_is_one_less_their_cosine(self) -> None:
        first, second = np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]])
        found = inconsistency(np.stack([first, second])[:, None], downsampling=1)
        assert found.tolist() == pytest.approx([1 - 24 / 25])
        apart = np.stack([np.eye(2), 1 - np.eye(2), np.eye(2)])[:, None]
        # With one of the two others in common, with the other nothing.
        assert inconsistency(apart, downsampling=1).tolist() == pytest.approx([0.5])

    def test_blocks_of_five(self) -> None:
        # Within a block nothing counts but the mean; 12 pixels are blocks of 5, 5 and 2.
        first, second = np.zeros((2, 5, 12))
        first[0, 0] = first[0, 5] = first[0, 10] = 1
        second[4, 4] = second[2, 7] = second[3, 11] = 2
        assert inconsistency(np.stack([first, second])[:, None]).tolist() == pytest.approx([0])
        second[4, 4] = 0
        means = [1 / 25, 1 / 25, 1 / 10], [0, 2 / 25, 2 / 10]
        cosine = np.dot(*means) / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
        found = inconsistency(np.stack([first, second])[:, None])
        assert found.tolist() == pytest.approx([1 - cosine])

    @given(MAPS, st.floats(0.1, 10))
    def test_lies_between_0_and_1_and_knows_no_strength(
        self, maps: np.ndarray, strength: float
    ) -> None:
        found = inconsistency(maps)
        known = ~np.isnan(found)
        assert ((found[known] >= 0) & (found[known] <= 1 + 1e-12)).all()
        scaled = inconsistency(maps * np.array([1, strength, 2]).reshape(3, 1, 1, 1))
        np.testing.assert_allclose(scaled, found, atol=1e-9)
        np.testing.assert_allclose(inconsistency(maps[[0, 0]])[known], 0, atol=1e-9)

    def test_of_maps_whose_squares_vanish(self) -> None:
        maps = np.random.default_rng(0).random((3, 2, 7, 6))
        np.testing.assert_allclose(inconsistency(maps * 1e-200), inconsistency(maps), atol=1e-12)

    def test_is_unknown_of_one_scale_and_of_nothing(self) -> None:
        assert np.isnan(inconsistency(np.ones((1, 2, 3, 3)))).all()
        maps = np.ones((2, 2, 3, 3))
        maps[1, 1] = 0
        found = inconsistency(maps)
        assert found[0] == 0
        assert np.isnan(found[1])


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ((0, 0.5, 1.2), r"scales has 1.2; expected at least one number in \[0, 1\]"),
        ((-0.1, 0.5), "scales has -0.1"),
        ((0, float("nan")), "scales has nan"),
        ((0.5, 0.2), "scales has 0.5 before 0.2; expected .* each greater than the one before"),
        ((0.5, 0.5), "scales has 0.5 before 0.5"),
        ((), r"scales=\(\); expected at least one number"),
        (0.5, "scales=0.5; expected at least one number"),
        (("weak", "strong"), "scales=.'weak', 'strong'.; expected"),
    ],
)
def test_scales(scales: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        check_scales(scales)
