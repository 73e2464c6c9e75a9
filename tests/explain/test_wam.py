"""Gradients in the wavelet domain, against closed forms and PyWavelets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pywt
import torch
from explained_models import linear, quadratic, small_network

from pytest_iaside import Classifier, ModelError, SettingsError
from pytest_iaside.execute.execution import Execution
from pytest_iaside.explain.wam import wam
from pytest_iaside.explain.wcam import wcam

SIDE, GRID, LEVELS = 8, 4, 2
SETTINGS: dict[str, Any] = {"grid": GRID, "wavelet_levels": LEVELS}
MEAN, STD = 0.5, 0.25


def images(count: int = 2, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, SIDE, SIDE, generator=generator)


def packed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """PyWavelets' coefficients of the last two axes, packed."""
    found = pywt.wavedecn(array, "haar", "periodization", LEVELS, axes=(-2, -1))
    return np.asarray(pywt.coeffs_to_array(found, axes=(-2, -1))[0])


def cells(coefficients: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    side = SIDE // GRID
    return coefficients.reshape(-1, GRID, side, GRID, side).sum(axis=(2, 4))


@pytest.mark.parametrize(("wavelet", "levels"), [("haar", LEVELS), ("db2", 1)])
def test_of_a_linear_function_it_is_the_transform_of_its_weights(wavelet: str, levels: int) -> None:
    weight = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(5)).double()
    chosen = {**SETTINGS, "wavelet": wavelet, "wavelet_levels": levels}
    found = wam(linear(weight), images(), 0, samples=3, **chosen)
    array = pywt.wavedecn(weight.numpy(), wavelet, "periodization", levels, axes=(1, 2))
    expected = np.abs(pywt.coeffs_to_array(array, axes=(1, 2))[0]).sum(axis=0)
    np.testing.assert_allclose(found.coefficients, [expected, expected], atol=1e-9)
    np.testing.assert_allclose(found.map, cells(found.coefficients), atol=1e-12)
    assert (found.gradients, found.classes.tolist()) == (6, [0, 0])


def test_integrated_it_is_what_each_coefficient_adds() -> None:
    """Of a linear function z·w, whose sum over coefficients is f, by Parseval."""
    weight = torch.randn(1, SIDE, SIDE, generator=torch.Generator().manual_seed(6)).double()
    model = Classifier(linear(weight), mean=MEAN, std=STD)
    found = wam(model, images(2, 1), 0, samples=2, path="integrated", **SETTINGS)
    inputs = ((images(2, 1).double() - MEAN) / STD).numpy()
    expected = np.abs(packed(inputs) * packed(weight.numpy()))[:, 0]
    np.testing.assert_allclose(found.coefficients, expected, atol=1e-6)
    assert (found.map >= 0).all()


def test_integrated_of_a_quadratic_function() -> None:
    """∇f = Ax is linear on the line from 0: its mean is Ax/2."""
    matrix = torch.randn(SIDE**2, SIDE**2, generator=torch.Generator().manual_seed(7)).double() / 90
    matrix = (matrix + matrix.T) / 2
    found = wam(quadratic(matrix), images(2, 1), 0, samples=1, path="integrated", **SETTINGS)
    inputs = images(2, 1).double().flatten(1)
    half = (inputs @ matrix / 2).view(2, SIDE, SIDE).numpy()
    expected = np.abs(packed(half) * packed(inputs.view(2, SIDE, SIDE).numpy()))
    np.testing.assert_allclose(found.coefficients, expected, atol=1e-6)


def test_levels_and_places_are_those_of_a_wcam() -> None:
    network = small_network().eval()
    found = wam(network, images(3), samples=4, **SETTINGS)
    other = wcam(network, images(3), points=2, **SETTINGS)
    assert found.classes.tolist() == other.classes.tolist()
    np.testing.assert_allclose(found.levels.sum(axis=1), 1)
    # Cells of levels 0, 1 and 2 of a grid of 4: 1, 3 and 12 of them.
    sums = np.array([found.map[0, 0, 0], 0, found.map[0].sum()])
    sums[1] = found.map[0, :2, :2].sum() - sums[0]
    sums[2] -= sums[0] + sums[1]
    np.testing.assert_allclose(found.levels[0], sums / sums.sum())
    means = sums / [1, 3, 12]
    np.testing.assert_allclose(found.level_means[0], means / means.sum())
    assert found.spatial.shape == other.spatial.shape == (3, SIDE, SIDE)
    np.testing.assert_allclose(other.level_means.sum(axis=1), 1)


@pytest.mark.parametrize("path", ["smooth", "integrated"])
def test_of_batches_neighbours_and_order(path: Any) -> None:
    network = small_network()
    whole = wam(network, images(3), 1, samples=7, path=path, **SETTINGS)
    for size in (1, 5):
        execution = Execution(batch_size=size)
        other = wam(network, images(3), 1, samples=7, path=path, execution=execution, **SETTINGS)
        np.testing.assert_allclose(other.coefficients, whole.coefficients, rtol=1e-4, atol=1e-9)
    alone = wam(network, images(3)[[2]], 1, samples=7, path=path, **SETTINGS)
    np.testing.assert_allclose(alone.coefficients[0], whole.coefficients[2], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "straight"}, "path='straight'"),
        ({"samples": 0}, "samples=0 must be a whole number of at least 1"),
        ({"noise": 0}, "noise=0"),
        ({"grid": 6}, "grid=6 does not fit"),
    ],
)
def test_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        wam(small_network(), images(), **{**SETTINGS, **settings})


def test_first_order_indices_are_the_total_ones_of_a_linear_model() -> None:
    """Nothing interacts: what a cell explains alone is all that it explains."""
    weight = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))

    def network(x: torch.Tensor) -> torch.Tensor:
        value = (x * weight).sum(dim=(1, 2, 3))
        return torch.stack([value, -value], dim=1)

    found = wcam(network, images(1), 0, output="logit", **{**SETTINGS, "points": 2**11})
    np.testing.assert_allclose(found.first_order, found.map, atol=0.05)
    assert found.map.sum() == pytest.approx(1, abs=0.1)


def test_a_model_that_looks_at_nothing_has_no_shares() -> None:
    def blind(x: torch.Tensor) -> torch.Tensor:
        return 0 * x.sum(dim=(1, 2, 3))[:, None] + torch.arange(4.0)

    for path in ("smooth", "integrated"):
        with pytest.raises(ModelError, match="class 3 has no gradient but 0 for image 0"):
            wam(blind, images(), path=path, **SETTINGS)  # type: ignore[arg-type]


def test_a_slow_wave_has_small_slopes_at_every_level() -> None:
    """Why gradients alone do not say at which scale a model looks; coefficients do."""
    side = 64
    wave = torch.cos(2 * torch.pi * torch.arange(side) / side).expand(1, side, side)

    def slow(x: torch.Tensor) -> torch.Tensor:
        value = 1e-3 * (x * wave).sum(dim=(1, 2, 3))
        return torch.stack([-value, value], dim=1)

    picture = 0.5 + 0.4 * wave[None]
    smooth, integrated = (
        wam(slow, picture, grid=8, wavelet_levels=3, path=path).levels[0]  # type: ignore[arg-type]
        for path in ("smooth", "integrated")
    )
    assert smooth[1:].max() < 1.1 * smooth[1:].min() and smooth[3] > 0.1
    assert integrated[0] > 0.9 and integrated[3] < 0.01
