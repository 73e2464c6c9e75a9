"""What is removed first and what takes its place, against scipy and plain definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from explained_models import pictures
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn import functional

from pytest_iaside import ReferenceSample, SettingsError
from pytest_iaside.explain.faithfulness import (
    Removal,
    as_removal,
    box_blur,
    checked_maps,
    removed_parts,
    usual_blur,
)

RANDOM = np.random.default_rng(0)


class TestBlur:
    @pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 100])
    def test_is_the_mean_of_what_lies_in_the_image(self, width: int) -> None:
        image = pictures(1, 2, 9, 6)[0].double()
        found = box_blur(image, width)
        for row in range(9):
            for column in range(6):
                up, left = max(row - width // 2, 0), max(column - width // 2, 0)
                down, right = row - width // 2 + width, column - width // 2 + width
                mean = image[:, up:down, left:right].mean(dim=(1, 2))
                torch.testing.assert_close(found[:, row, column], mean, rtol=1e-12, atol=1e-12)

    def test_is_torchs_average_pooling(self) -> None:
        image = pictures(1, 3, 20, 17)
        expected = functional.avg_pool2d(image, 5, stride=1, padding=2, count_include_pad=False)
        torch.testing.assert_close(box_blur(image, 5), expected, atol=1e-6, rtol=0)
        assert box_blur(image, 5).dtype == image.dtype

    def test_is_wide_in_proportion(self) -> None:
        assert usual_blur(224, 300) == usual_blur(500, 500) == 100
        assert usual_blur(112, 112) == 50
        assert usual_blur(28, 30) == 12
        assert usual_blur(1, 5) == 1


class TestRanks:
    def test_of_pixels(self) -> None:
        maps = np.array([[0.1, 3.0], [-2.0, 0.5]])
        np.testing.assert_array_equal(Removal().ranks(maps), [[2, 0], [3, 1]])

    def test_ties_go_by_rows(self) -> None:
        np.testing.assert_array_equal(Removal().ranks(np.zeros((2, 3))), [[0, 1, 2], [3, 4, 5]])

    def test_of_cells_that_do_not_divide_the_image(self) -> None:
        removal = Removal(kind="cells", grid=2)
        np.testing.assert_array_equal(
            removal.parts(3, 5), [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [2, 2, 2, 3, 3]]
        )
        # Means, so that a large cell is not the more important for its size.
        maps = np.array([[1, 1, 1, 2.5, 2], [1, 1, 1, 0, 0], [3, 3, 3, 0, 5]])
        np.testing.assert_array_equal(
            removal.ranks(maps), [[3, 3, 3, 2, 2], [3, 3, 3, 2, 2], [0, 0, 0, 1, 1]]
        )

    @pytest.mark.parametrize("window", [3, 5])
    def test_erosion_keeps_what_morphology_keeps(self, window: int) -> None:
        maps = RANDOM.normal(size=(12, 11))
        ranks = Removal(kind="erosion", window=window).ranks(maps)
        assert sorted(ranks.ravel()) == list(range(132))
        for threshold in np.quantile(maps, [0.5, 0.8, 0.95, 0.99]):
            kept = ndimage.binary_erosion(
                maps <= threshold, np.ones((window, window)), border_value=1
            )
            np.testing.assert_array_equal(ranks >= (~kept).sum(), kept)

    def test_erosion_takes_the_peak_of_a_patch_first(self) -> None:
        maps = np.zeros((9, 9))
        maps[4, 4], maps[3, 4], maps[0, 0] = 5, 4, 3
        ranks = Removal(kind="erosion", window=3).ranks(maps)
        assert (ranks[4, 4], ranks[3, 4]) == (0, 1)
        assert (ranks[3:6, 3:6] < 9).all()
        assert ranks[0, 0] > 9

    def test_the_usual_window(self) -> None:
        maps = np.zeros((100, 100))
        maps[50, 50] = 1
        ranks = Removal(kind="erosion").ranks(maps)
        assert (ranks[48:53, 48:53] < 25).all()  # 100/25 is even: 5.


class TestShares:
    @given(st.integers(1, 60_000), st.integers(1, 100))
    def test_of_parts(self, parts: int, steps: int) -> None:
        for step in (0, 1, steps // 2, steps - 1, steps):
            assert removed_parts(step / steps, parts) == step * parts // steps


class TestReplacement:
    def test_black_and_blur(self) -> None:
        image = pictures(1, 3, 28, 28)[0]
        assert torch.equal(Removal(replacement="black").replaced(image), torch.zeros(3, 28, 28))
        assert torch.equal(Removal().replaced(image), box_blur(image, 12))
        assert torch.equal(Removal(blur=3).replaced(image), box_blur(image, 3))


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"kind": "rows"}, "kind='rows' is unknown; use one of pixels, cells, erosion"),
            ({"replacement": "noise"}, "replacement='noise' is unknown; use one of blur, black"),
            ({"blur": 0}, "blur=0 must be a whole number of at least 1"),
            ({"grid": 2.5}, "grid=2.5"),
            ({"window": True}, "window=True"),
            ({"window": 4}, "window=4 must be odd, so that it has a pixel in its middle; use 5"),
        ],
    )
    def test_of_a_removal(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            Removal(**settings)

    def test_by_name(self) -> None:
        assert as_removal("cells") == Removal(kind="cells")
        with pytest.raises(SettingsError, match="kind='column' is unknown"):
            as_removal("column")

    def test_a_grid_finer_than_the_image(self) -> None:
        with pytest.raises(SettingsError, match="grid=16 is too fine for images of 12×20 pixels"):
            Removal(kind="cells").parts(12, 20)

    @pytest.mark.parametrize(
        ("maps", "message"),
        [
            (np.zeros((2, 13, 12)), r"maps have shape \(2, 13, 12\), expected \(3, 13, 12\)"),
            (np.zeros((13, 12)), r"maps have shape \(13, 12\), expected"),
            (np.zeros((3, 3, 13, 12)), r"maps have shape \(3, 3, 13, 12\)"),
            (np.zeros((3, 13, 12), dtype=bool), "maps are bool; expected numbers"),
            (np.where(np.arange(3)[:, None, None] == 1, np.nan, np.zeros((3, 13, 12))), "image 1"),
            (np.full((3, 13, 12), np.inf), "the map of image 0 holds NaN or infinite values"),
        ],
    )
    def test_of_maps(self, maps: Any, message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            checked_maps(maps, ReferenceSample(pictures()))

    def test_maps_of_any_kind(self) -> None:
        sample = ReferenceSample(pictures(1))
        values = torch.rand(13, 12, requires_grad=True)
        found = checked_maps(values, sample)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found[0], values.detach().numpy())
        assert checked_maps(np.ones((1, 13, 12), dtype=np.int8), sample).sum() == 156
