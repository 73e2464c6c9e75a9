"""Spectra in closed form: white noise, waves, power laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_iaside import energy_spectral_density, power_law_exponent, spectral_snr
from pytest_iaside.errors import ReferenceSampleError, SettingsError


def noise(images: int, side: int, deviation: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    size = (images, 3, side, side)
    return deviation * torch.randn(size, generator=generator, dtype=torch.float64)


def test_white_noise_is_flat_to_one_percent() -> None:
    # 2,000 images of 3 channels: each ring's mean of n frequencies has an error of 1/√(6000·n/2).
    radius, density = energy_spectral_density(noise(2000, 32, 0.1))
    assert radius.tolist() == list(range(17))
    # The mean alone is one frequency: its error is 1.8 %.
    assert np.abs(density[1:] / 0.01 - 1).max() < 0.01 * np.sqrt(3)
    assert np.abs(density[3:] / 0.01 - 1).max() < 0.01
    assert abs(power_law_exponent(radius, density)) < 0.01


@pytest.mark.parametrize(("u", "v", "ring"), [(3, 4, 5), (0, 6, 6), (2, 2, 3), (0, 0, 0)])
def test_a_wave_lies_on_its_ring(u: int, v: int, ring: int) -> None:
    side = 24
    grid = torch.arange(side, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi * (u * grid[:, None] + v * grid) / side)
    radius, density = energy_spectral_density(wave[None, None])
    # All of the energy, Σ x² = 288 (576 for the mean), shared by the ring's frequencies.
    rings = np.floor(np.hypot(*np.meshgrid(*[np.fft.fftfreq(side, 1 / side)] * 2)) + 0.5)
    expected = np.zeros(len(radius))
    expected[ring] = float(wave.square().sum()) / (rings == ring).sum()
    assert density == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("side", [64, 97])
def test_the_exponent_of_a_power_law_is_recovered(alpha: float, side: int) -> None:
    frequencies = np.fft.fftfreq(side, 1 / side)
    radius = np.hypot(frequencies[:, None], frequencies)
    radius[0, 0] = 1.0
    fields = np.fft.fft2(np.random.default_rng(0).normal(size=(20, 1, side, side)))
    images = np.fft.ifft2(fields * radius ** (-alpha / 2)).real
    assert power_law_exponent(*energy_spectral_density(images)) == pytest.approx(alpha, abs=0.05)


@given(scale=st.floats(0.01, 100), shift=st.integers(0, 9))
def test_the_exponent_knows_no_scale_and_no_place(scale: float, shift: int) -> None:
    images = noise(2, 16).cumsum(dim=2).cumsum(dim=3)
    expected = power_law_exponent(*energy_spectral_density(images))
    moved = scale * torch.roll(images, (shift, 2 * shift), dims=(2, 3))
    found = power_law_exponent(*energy_spectral_density(moved))
    assert found == pytest.approx(expected, abs=1e-6)


def test_images_of_any_type_and_shape() -> None:
    pixels = torch.randint(0, 256, (2, 3, 20, 31), dtype=torch.uint8)
    radius, density = energy_spectral_density(pixels)
    assert len(radius) == 11
    assert density == pytest.approx(energy_spectral_density(pixels.double().numpy() / 255)[1])
    assert np.isnan(power_law_exponent(np.array([0.0, 1.0]), np.array([1.0, 0.0])))


def test_the_ratio_to_white_noise_is_the_spectrum_itself() -> None:
    images = noise(300, 16).cumsum(dim=2)
    radius, decibel = spectral_snr(images, images + 0.3 * noise(301, 16)[1:])
    _, density = energy_spectral_density(images)
    # Noise of a tenth of the energy of each image has a tenth of its mean density.
    level = float(images.square().mean()) / 10
    assert radius.tolist() == list(range(9))
    assert decibel[2:] == pytest.approx(10 * np.log10(density / level)[2:], abs=0.5)


def test_the_strength_of_a_perturbation_does_not_matter() -> None:
    images, change = noise(4, 16), noise(5, 16)[1:].cumsum(dim=3)
    one = spectral_snr(images, images + 0.01 * change)[1]
    assert one == pytest.approx(spectral_snr(images, images + 5 * change)[1])
    twice = spectral_snr(images, images + change, energy=0.2)[1]
    assert one - twice == pytest.approx(np.full(9, 10 * np.log10(2)))


def test_what_a_perturbation_leaves_alone_is_infinitely_clear() -> None:
    images = noise(1, 16)
    _, decibel = spectral_snr(images, images + 0.1)  # Only the mean changes.
    # Rounding leaves specks of energy elsewhere.
    assert decibel[0] < 20 and (decibel[1:] > 200).all()


def test_what_cannot_be_told_is_refused() -> None:
    images = noise(2, 8)
    with pytest.raises(ReferenceSampleError, match=r"images have shape \(3, 8, 8\), expected"):
        energy_spectral_density(images[0])
    with pytest.raises(ReferenceSampleError, match="images hold NaN or infinity"):
        energy_spectral_density(images * torch.nan)
    with pytest.raises(ReferenceSampleError, match=r"\(2, 3, 8, 8\) and perturbed ones \(1, 3"):
        spectral_snr(images, images[:1])
    with pytest.raises(ReferenceSampleError, match="image 0 is not perturbed"):
        spectral_snr(images, images)
    with pytest.raises(SettingsError, match="energy=0 must be a share above 0"):
        spectral_snr(images, images + 1, energy=0)
