"""The cells of a grid, and what is read off a map of them (SPEC.md 3.1, 3.2)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.wavelets import (
    CellParts,
    cell_levels,
    check_grid,
    level_sums,
    spatial_map,
)

CORNER = [[0, 1, 2, 2], [1, 1, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2]]


@pytest.mark.parametrize("wavelet", ["haar", "sym4"])
def test_cells_add_up_to_the_image_and_a_mask_weights_them(wavelet: str) -> None:
    image = torch.rand(3, 32, 16, generator=torch.Generator().manual_seed(0))
    pictures = CellParts(image, 8, 3, wavelet)
    alone = pictures.alone(torch.arange(64))
    torch.testing.assert_close(alone.sum(dim=0), image, atol=2e-6, rtol=0)
    masks = torch.rand(5, 64, generator=torch.Generator().manual_seed(1))
    masks[0] = 1
    found = pictures.masked(masks)
    torch.testing.assert_close(found[0], image, atol=2e-6, rtol=0)
    expected = torch.einsum("nk,kchw->nchw", masks, alone)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_the_finest_haar_cell_is_a_patch_of_the_image() -> None:
    image = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    # Row 1, column 3 of a grid of 4 with one level: details of rows 8 to 16 and columns 8 to 16.
    found = CellParts(image, 4, 1, "haar").alone(torch.tensor([1 * 4 + 3]))[0, 0]
    expected = torch.zeros(16, 16)
    expected[8:, 8:] = 1
    np.testing.assert_array_equal(found != 0, expected != 0)


def test_levels_of_the_cells() -> None:
    np.testing.assert_array_equal(cell_levels(4, 2), CORNER)
    np.testing.assert_array_equal(np.bincount(cell_levels(16, 3).ravel()), [4, 12, 48, 192])


@given(exponent=st.integers(1, 5), more=st.integers(0, 2))
def test_levels_sum_to_the_map(exponent: int, more: int) -> None:
    grid = 1 << (exponent + more)
    maps = np.random.default_rng(grid).random((3, grid, grid))
    np.testing.assert_allclose(level_sums(maps, exponent).sum(axis=1), maps.sum(axis=(1, 2)))


def test_level_sums() -> None:
    maps = np.array([CORNER, np.ones((4, 4))], dtype=float)
    np.testing.assert_array_equal(level_sums(maps, 2), [[0, 3, 24], [1, 3, 12]])


class TestSpatialMap:
    def test_equal_cells_are_everywhere_and_sub_bands_add(self) -> None:
        found = spatial_map(np.full((1, 8, 8), 0.5), 3, 16, 24)
        np.testing.assert_allclose(found, np.full((1, 16, 24), 0.5 * 10))

    @pytest.mark.parametrize("corner", [(0, 4), (4, 0), (4, 4), (0, 2), (2, 0), (2, 2), (0, 0)])
    def test_a_cell_is_where_its_sub_band_says(self, corner: tuple[int, int]) -> None:
        # The top left cell of a sub-band of 4 × 4 or 2 × 2 cells; 8 × 8 cells, two levels.
        maps = np.zeros((1, 8, 8))
        maps[0][corner] = 1
        found = spatial_map(maps, 2, 32, 32)[0]
        reach = 8 if max(corner) == 4 else 16
        assert found[: reach // 2, : reach // 2] == pytest.approx(1)
        assert found[reach + reach // 2 :].sum() == found[:, reach + reach // 2 :].sum() == 0
        assert found.sum() == pytest.approx(reach**2)


class TestCheckGrid:
    @pytest.mark.parametrize(
        "arguments", [(224, 224, 16, 3), (224, 160, 32, 4), (8, 8, 8, 3), (240, 240, 80, 4)]
    )
    def test_what_fits(self, arguments: tuple[int, ...]) -> None:
        check_grid(*arguments)

    @pytest.mark.parametrize(
        ("grid", "levels", "near"),
        [(28, 3, "16 or 32"), (4, 3, "8"), (24, 3, "16 or 32"), (112, 3, "56"), (16.0, 5, "32")],
    )
    def test_what_does_not_names_the_nearest(self, grid, levels: int, near: str) -> None:
        advice = f"grid={grid} does not fit images of 224×224 .*multiple of .*: use {near}$"
        with pytest.raises(SettingsError, match=advice):
            check_grid(224, 224, grid, levels)

    def test_more_levels_than_the_sequence_has_dimensions_for(self) -> None:
        with pytest.raises(
            SettingsError, match=r"wavelet_levels=7 needs a grid of at least 128.*102"
        ):
            check_grid(256, 256, 128, 7)
