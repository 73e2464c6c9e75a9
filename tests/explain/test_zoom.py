"""Zoom consistency: level shares of images, and of the same twice as large (SPEC.md 3.2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pytest_iaside.errors import SettingsError
from pytest_iaside.explain.wavelets import cell_levels
from pytest_iaside.explain.wcam import WaveletAttribution, ZoomConsistency, wcam, zoom_consistency


def brightness(x: Tensor) -> Tensor:
    mean = x.mean(dim=(1, 2, 3))
    return torch.stack([mean, 0.5 - mean], dim=1)


def stripes(period: int, count: int = 2) -> Tensor:
    wave = (torch.arange(32) // (period // 2) % 2).float()
    strength = torch.linspace(0.5, 1, count).view(-1, 1, 1, 1)
    return strength * wave.expand(count, 3, 32, 32)


def contrast(x: Tensor) -> Tensor:
    """Sees how far pixels are from the mean of a quarter, whatever the scale of what is there."""
    quarters = x.unflatten(2, (2, 16)).unflatten(4, (2, 16))
    variance = quarters.var(dim=(3, 5)).sum(dim=(1, 2, 3))
    return torch.stack([variance, -variance], dim=1)


def with_levels(shares: list[list[float]], depth: int) -> WaveletAttribution:
    levels = cell_levels(1 << depth, depth)
    maps = np.stack([np.array(row)[levels] / np.bincount(levels.ravel())[levels] for row in shares])
    found = wcam(brightness, torch.rand(len(shares), 3, 16, 16), grid=4, wavelet_levels=2, points=2)
    return replace(found, map=maps, depth=depth)


def test_changes_are_between_levels_of_the_same_scale() -> None:
    regular = with_levels([[0.6, 0.3, 0.1], [0.8, 0.1, 0.1]], 2)
    zoomed = with_levels([[0.5, 0.3, 0.1, 0.1], [0.8, 0.2, 0, 0]], 3)
    found = ZoomConsistency(regular=regular, zoomed=zoomed)
    expected = [[-0.1, 0, 0, 0.1], [0, 0.1, -0.1, 0]]
    np.testing.assert_allclose(found.changes, expected, atol=1e-12)
    np.testing.assert_allclose(found.change, [-0.05, 0.05, -0.05, 0.05], atol=1e-12)
    np.testing.assert_allclose(found.change_error, [0.05] * 4, atol=1e-12)
    assert found.consistency == pytest.approx(1 - 0.1)


def test_a_model_of_the_mean_is_consistent() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = zoom_consistency(brightness, images, images, wavelet_levels=2, grid=8)
    np.testing.assert_allclose(found.change, 0, atol=1e-9)
    assert found.consistency == pytest.approx(1)
    assert (found.regular.depth, found.zoomed.depth) == (2, 3)


def test_twice_as_large_structures_are_on_corresponding_levels() -> None:
    # Stripes of 4 pixels are details of the second level of two; of 8, of the third of three.
    consistent = zoom_consistency(
        contrast, stripes(4), stripes(8), wavelet_levels=2, grid=8, output="logit", points=32
    )
    assert consistent.regular.levels[:, 1] == pytest.approx(1)
    assert consistent.zoomed.levels[:, 1] == pytest.approx(1)
    assert consistent.consistency == pytest.approx(1)
    # Stripes that stay as they are, are a level finer in the zoomed image's count.
    moved = zoom_consistency(
        contrast, stripes(4), stripes(4), wavelet_levels=2, grid=8, output="logit", points=32
    )
    np.testing.assert_allclose(moved.change, [0, -1, 1, 0], atol=1e-6)
    assert moved.consistency == pytest.approx(0, abs=1e-6)


def test_both_explain_the_class_of_the_regular_image() -> None:
    dark, bright = torch.full((1, 3, 32, 32), 0.1), torch.full((1, 3, 32, 32), 0.9)
    found = zoom_consistency(brightness, dark, bright, wavelet_levels=1, grid=4)
    np.testing.assert_array_equal(found.regular.classes, [1])
    np.testing.assert_array_equal(found.zoomed.classes, [1])
    assert np.isnan(found.change_error).all()


def test_refusals() -> None:
    images = torch.rand(2, 3, 32, 32)
    with pytest.raises(SettingsError, match="2 regular and 1 zoomed images were given"):
        zoom_consistency(brightness, images, images[:1])
    with pytest.raises(SettingsError, match=r"grid=4 .* and 3 levels; .*: use 8"):
        zoom_consistency(brightness, images, images, wavelet_levels=2, grid=4)
