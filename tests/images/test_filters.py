"""SPEC.md 6, I-ASIDE 1 and 2: what a coalition of bands shows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.filters import band_energies, changed, components, gaussian_absence, split
from pytest_iaside.measure.game.coalitions import exact_coalitions


def _images(count=2, channels=3, height=16, width=15, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, height, width, generator=generator, dtype=torch.float64)


def _filtered(image, partition, coalition):
    """Equation 5 with zero absence, written down directly with the full FFT."""
    mask = np.isin(partition.index, list(coalition))
    return np.fft.ifft2(np.fft.fft2(image) * mask)


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(6, 21),
    width=st.integers(6, 21),
    bands=st.integers(2, 4),
    norm=st.sampled_from(["linf", "l2"]),
)
def test_split_is_the_fft_filter_of_the_paper(height, width, bands, norm):
    partition = BandPartition(height, width, bands, norm)
    images = _images(height=height, width=width)
    parts = split(images, partition)
    for band in range(bands):
        expected = _filtered(images.numpy(), partition, [band])
        # Symmetric masks: a filtered real image is real.
        assert np.abs(expected.imag).max() < 1e-14
        np.testing.assert_allclose(parts[:, band].numpy(), expected.real, atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(6, 21), width=st.integers(6, 21), norm=st.sampled_from(["linf", "l2"]))
def test_bands_sum_to_the_image_are_projections_and_share_its_energy(height, width, norm):
    partition = BandPartition(height, width, 4, norm)
    images = _images(height=height, width=width)
    parts = split(images, partition)
    torch.testing.assert_close(parts.sum(dim=1), images, atol=1e-13, rtol=0)
    torch.testing.assert_close(split(parts[:, 2], partition)[:, 2], parts[:, 2], atol=1e-13, rtol=0)
    assert split(parts[:, 2], partition)[:, 1].abs().max() < 1e-13
    energy = (parts**2).sum(dim=(1, 2, 3, 4))
    torch.testing.assert_close(energy, (images**2).sum(dim=(1, 2, 3)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("space", ["input", "pixel"])
def test_combine_is_additive_over_disjoint_coalitions_and_ends_at_nothing_and_all(space):
    partition = BandPartition(16, 15, 4)
    images = _images()
    pictures = components(images, partition, space=space, dtype=torch.float64)
    coalitions = torch.from_numpy(exact_coalitions(4)).double()
    shown = pictures.combine(coalitions).view(2, 16, 3, 16, 15)
    torch.testing.assert_close(shown[:, 15], images, atol=1e-13, rtol=0)
    assert shown[:, 0].abs().max() == 0
    for a, b in itertools.combinations(range(16), 2):
        if a & b == 0:
            torch.testing.assert_close(shown[:, a] + shown[:, b], shown[:, a | b])


@pytest.mark.parametrize("space", ["input", "pixel"])
@pytest.mark.parametrize("absence", ["zero", "gaussian"])
def test_coalitions_that_stay_together_are_what_all_bands_make_of_them(space, absence):
    together = torch.tensor(
        [[[1, 0, 0, 1], [1, 1, 1, 0]], [[0, 0, 1, 0], [0, 0, 0, 0]]], dtype=torch.bool
    )
    absent = None
    if absence == "gaussian":
        absent = torch.stack([gaussian_absence((3, 16, 15), seed=seed) for seed in (1, 2)])
    settings = {"absent": absent, "space": space, "dtype": torch.float64}
    settings |= {"mean": torch.tensor([0.4]), "std": torch.tensor([0.2, 0.3, 0.5])}
    images, partition = _images(), BandPartition(16, 15, 4)
    expected = components(images, partition, **settings).combine(together)
    found = components(images, partition, together=together, **settings).combine(torch.eye(2))
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=0)


def test_combine_returns_channels_last_batches():
    pictures = components(_images(), BandPartition(16, 15, 4))
    shown = pictures.combine(torch.ones(5, 4))
    assert shown.shape == (10, 3, 16, 15)
    assert shown.dtype == torch.float32
    assert shown.is_contiguous(memory_format=torch.channels_last)


def test_known_pictures_lie_in_known_bands():
    partition = BandPartition(16, 16, 8)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    constant = torch.full((16, 16), 0.7)
    checkerboard = (-1.0) ** (x + y)
    cosine = torch.cos(2 * torch.pi * (2 * y + 5 * x) / 16)
    images = torch.stack([constant, checkerboard, cosine]).double()[:, None]
    parts = split(images, partition)[:, :, 0]
    energy = (parts**2).sum(dim=(2, 3))
    band = partition.index[2, 5]
    assert band == 5  # max(2·2/16, 2·5/16) = 0.625 of Nyquist
    expected = torch.zeros(3, 8, dtype=torch.float64)
    expected[0, 0], expected[1, 7], expected[2, band] = 16 * 16 * 0.49, 256.0, 128.0
    torch.testing.assert_close(energy, expected, atol=1e-5, rtol=1e-6)


def test_white_noise_shares_its_energy_by_the_number_of_points():
    partition = BandPartition(32, 32, 4)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(400, 1, 32, 32, generator=generator, dtype=torch.float64)
    energy = (split(noise, partition) ** 2).sum(dim=(2, 3, 4)).mean(dim=0) / 32**2
    expected = torch.from_numpy(partition.counts / 32**2)
    # Each share is a mean of χ² variables: its standard error is √(2·share/1024/400).
    error = (2 * expected / 1024 / 400).sqrt()
    assert ((energy - expected).abs() < 4 * error).all()


def test_the_two_spaces_differ_in_what_an_absent_band_zero_looks_like():
    partition = BandPartition(16, 16, 4)
    images = torch.full((1, 3, 16, 16), 0.5)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.5])
    nothing = torch.zeros(1, 4)
    by_input = components(images, partition, mean=mean, std=std, space="input").combine(nothing)
    by_pixel = components(images, partition, mean=mean, std=std, space="pixel").combine(nothing)
    # The data set's mean colour is 0 after normalisation, black is −mean/std.
    assert by_input.abs().max() == 0
    torch.testing.assert_close(by_pixel[0, :, 3, 4], -mean / std)


def test_absent_bands_show_another_picture():
    partition = BandPartition(16, 15, 4)
    images, absent = _images(seed=0), _images(seed=1)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.5])
    coalition = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    for space in ("input", "pixel"):
        pictures = components(
            images, partition, absent=absent, mean=mean, std=std, space=space, dtype=torch.float64
        )
        shown = pictures.combine(coalition)
        view = (3, 1, 1)
        normalised = (images - mean.double().view(view)) / std.double().view(view)
        base = (normalised if space == "input" else images).numpy()
        expected = (
            _filtered(base, partition, [0, 2]) + _filtered(absent.numpy(), partition, [1, 3])
        ).real
        if space == "pixel":
            expected = (expected - mean.numpy().reshape(view)) / std.numpy().reshape(view)
        np.testing.assert_allclose(shown.numpy(), expected, atol=1e-6)


def test_gaussian_absence_has_the_variance_the_specification_gives():
    noise = torch.stack([gaussian_absence((3, 24, 24), seed=seed) for seed in range(60)])
    spectrum = torch.fft.fft2(noise)
    # Away from the points that are their own mirror image, where it is real.
    inner = spectrum[..., 1:12, 1:12]
    for part in (inner.real, inner.imag):
        assert part.var().item() == pytest.approx(0.5, rel=0.03)
    assert torch.equal(gaussian_absence((3, 8, 8), seed=5), gaussian_absence((3, 8, 8), seed=5))
    assert not torch.equal(gaussian_absence((3, 8, 8), seed=5), gaussian_absence((3, 8, 8), seed=6))


@pytest.mark.parametrize("channels_last", [False, True])
def test_changes_are_added_before_mean_and_std(channels_last):
    images, partition = _images(seed=0), BandPartition(16, 15, 4)
    changes = split(_images(seed=1) - images, partition)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.5])
    amounts = torch.tensor([[1.0, 0.0, 0.5, -2.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    pictures = changed(images, changes, mean, std, dtype=torch.float64, channels_last=channels_last)
    shown = pictures.combine(amounts).unflatten(0, (len(images), 3))
    mixed = images[:, None] + torch.einsum("sm,kmchw->kschw", amounts.double(), changes)
    expected = (mixed - mean.double().view(3, 1, 1)) / std.double().view(3, 1, 1)
    np.testing.assert_allclose(shown, expected, atol=1e-6)
    plain = changed(images, changes, None, None, dtype=torch.float64).combine(amounts[2:])
    np.testing.assert_allclose(plain, _images(seed=1), atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_energies_of_bands_are_those_of_their_pictures(norm):
    images, partition = _images(), BandPartition(16, 15, 4, norm)
    expected = split(images, partition).square().sum(dim=(2, 3, 4))
    np.testing.assert_allclose(band_energies(images, partition), expected, rtol=1e-12)
    np.testing.assert_allclose(expected.sum(dim=1), images.double().square().sum(dim=(1, 2, 3)))
