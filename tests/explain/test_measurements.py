"""Diagnoses as readings: the attributions' own numbers, on the classes of the baseline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import ReferenceSample, SettingsError
from pytest_iaside.compare.compare import compare
from pytest_iaside.explain import (
    measure_lens_smoothness,
    measure_reconstruction_depth,
    measure_scale_reliance,
    reconstruction_depth,
    spectral_lens,
    wcam,
)
from pytest_iaside.explain.measurements import level_title
from pytest_iaside.thresholds import Limit

SAMPLE = ReferenceSample(torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
SMALL = {"grid": 8, "wavelet_levels": 2, "points": 4}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3), nn.GELU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(54, 4)).eval()


def test_scale_reliance_is_the_shares_of_the_levels(network: nn.Module) -> None:
    found = measure_scale_reliance(network, SAMPLE, **SMALL, fine=2)
    expected = wcam(network, SAMPLE, **SMALL)
    np.testing.assert_allclose(found.values[:, :3], expected.levels)
    np.testing.assert_allclose(
        found["fine share (details up to 4 px)"], expected.levels[:, 1:].sum(axis=1)
    )
    assert [quantity.name for quantity in found.quantities[:3]] == [
        "share of level 0 (structures of 4 px and more)",
        "share of level 1 (details of 2–4 px)",
        "share of level 2 (details of 1–2 px)",
    ]
    np.testing.assert_array_equal(found.labels, expected.classes)
    assert found.forward_passes == expected.forward_passes


def test_depth_is_that_of_the_reconstruction(network: nn.Module) -> None:
    found = measure_reconstruction_depth(network, SAMPLE, **SMALL)
    expected = reconstruction_depth(network, SAMPLE, wcam(network, SAMPLE, **SMALL))
    np.testing.assert_array_equal(found["reconstruction depth"], expected)


def test_smoothness_is_the_mean_of_arglens(network: nn.Module) -> None:
    found = measure_lens_smoothness(network, SAMPLE, scales=[0.0, 0.5, 1.0], max_samples=16)
    lens = spectral_lens(network, SAMPLE, scales=[0.0, 0.5, 1.0], max_samples=16)
    np.testing.assert_allclose(found["mean ArgLens"], lens.arglens.mean(axis=(1, 2)))
    assert found.settings["scales"] == [0.0, 0.5, 1.0]


class Coarse(nn.Module):
    """A logit that is the image's mean, or the contrast of neighbouring pixels."""

    def __init__(self, fine: float) -> None:
        super().__init__()
        stripes = torch.ones(16, 16)
        stripes[:, 1::2] = -1
        weights = (1 - fine) * torch.ones(16, 16) + fine * stripes
        self.register_buffer("weights", weights / 16)

    def forward(self, images: Tensor) -> Tensor:
        logit = (images[:, 0] * self.weights).sum(dim=(1, 2))
        return torch.stack([logit, -logit], dim=1)


def test_a_model_that_leans_on_fine_detail_is_told() -> None:
    striped = ReferenceSample(
        (0.5 + 0.4 * Coarse(1.0).weights * 16).expand(4, 1, 16, 16)
        + 0.05 * SAMPLE.images[:1] * torch.arange(4).view(4, 1, 1, 1) / 4
    )
    baseline = measure_scale_reliance(Coarse(0.0), striped, **SMALL)
    fine = baseline["fine share (details up to 2 px)"]
    np.testing.assert_allclose(fine, 0, atol=1e-6)
    other = measure_scale_reliance(Coarse(1.0), striped, **SMALL, labels_from=baseline)
    assert other["fine share (details up to 2 px)"].min() > 0.95
    comparison = compare(other, baseline, {"fine": Limit(change=0.05)})
    assert comparison.verdict == "drift"
    assert comparison.summary().startswith(
        "fine share (details up to 2 px) rose by more than is allowed. Failed: fine share"
    )


def test_the_classes_are_the_baselines(network: nn.Module) -> None:
    baseline = measure_scale_reliance(network, SAMPLE, **SMALL)
    turned = nn.Sequential(network, Turned())
    found = measure_scale_reliance(turned, SAMPLE, **SMALL, labels_from=baseline)
    np.testing.assert_array_equal(found.labels, baseline.labels)
    own = measure_scale_reliance(turned, SAMPLE, **SMALL)
    assert (own.labels != baseline.labels).all()


class Turned(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits.roll(1, dims=1)


@pytest.mark.parametrize("fine", [0, 3, True, 1.0])
def test_levels_that_cannot_be_fine_are_refused(network: nn.Module, fine: int) -> None:
    with pytest.raises(SettingsError, match="must be a whole number from 1 to wavelet_levels=2"):
        measure_scale_reliance(network, SAMPLE, **SMALL, fine=fine)


def test_levels_are_told_in_pixels() -> None:
    assert [level_title(level, 3) for level in range(4)] == [
        "structures of 8 px and more",
        "details of 4–8 px",
        "details of 2–4 px",
        "details of 1–2 px",
    ]


def test_a_grid_that_fits_is_found_for_small_images(network: nn.Module) -> None:
    small = ReferenceSample(torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    found = measure_scale_reliance(network, small, points=4)
    # 28 can be halved twice, and 4 cells a side are the most below 8 that divide it.
    assert (found.settings["grid"], found.settings["wavelet_levels"]) == (4, 2)
    # A candidate is measured as its baseline was, whatever would be found.
    before = measure_scale_reliance(network, SAMPLE, **SMALL)
    now = measure_scale_reliance(network, SAMPLE, points=4, labels_from=before)
    assert (now.settings["grid"], now.settings["wavelet_levels"]) == (8, 2)
    np.testing.assert_array_equal(now.values, before.values)
