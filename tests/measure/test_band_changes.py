"""What a perturbation does to bands, and surrogates: images that are changed by no more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from changed_models import SIDE, images, random
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_iaside import BandPartition, ReferenceSample, SettingsError
from pytest_iaside.images.filters import split
from pytest_iaside.measure.band_changes import BandChanges, band_changes, surrogate
from pytest_iaside.measure.response import contrast

BANDS = 3
PARTITION = BandPartition(SIDE, SIDE, BANDS)
GREY = ReferenceSample(0.4 + 0.2 * images(4).images, [0, 1, 2, 3])
"""Images that stay inside [0, 1] when they are changed a little."""


@settings(max_examples=20, deadline=None)
@given(gains=st.lists(st.floats(0.1, 1), min_size=BANDS, max_size=BANDS))
def test_gains_are_those_that_bands_were_weakened_by(gains: list[float]) -> None:
    sample = images(3)
    parts = split(sample.pixels(), PARTITION)
    weights = torch.tensor(gains, dtype=torch.float64).view(1, BANDS, 1, 1, 1)
    became = ReferenceSample((parts * weights).sum(dim=1).clamp(0, 1))
    if not torch.allclose(became.pixels().double(), (parts * weights).sum(dim=1), atol=1e-6):
        return  # What was clipped is no gain any more.
    found = band_changes(sample, became, bands=BANDS)
    np.testing.assert_allclose(found.gains, np.tile(gains, (3, 1)), atol=1e-5)
    assert found.energies.max() < 1e-9


def test_what_is_new_in_a_band_is_its_energy() -> None:
    sample = ReferenceSample(0.3 + 0.4 * images(3).images)
    parts = split(sample.pixels(), PARTITION)
    noise = split(0.05 * random(3, 3, SIDE, SIDE, seed=9), PARTITION)
    # At a right angle to what the band holds already.
    along = (noise * parts).sum(dim=(2, 3, 4), keepdim=True) / parts.square().sum(
        dim=(2, 3, 4), keepdim=True
    )
    noise -= along * parts
    became = ReferenceSample((sample.pixels() + noise.sum(dim=1)).float())
    found = band_changes(sample, became, bands=BANDS)
    np.testing.assert_allclose(found.gains, 1, atol=1e-5)
    expected = noise.square().sum(dim=(2, 3, 4)) / contrast(sample.pixels())[:, None]
    np.testing.assert_allclose(found.energies, expected, rtol=1e-4)


def test_images_of_one_colour_have_no_energy_of_their_own() -> None:
    flat = ReferenceSample(torch.full((2, 3, SIDE, SIDE), 0.5))
    found = band_changes(flat, ("white_noise", 3), bands=BANDS)
    assert not found.energies.any()
    assert (found.gains[:, 1:] == 1).all()


def changes(gains: list[float], energies: list[float], shift: float) -> BandChanges:
    """The same of every grey image and channel."""
    rows = (np.tile(each, (len(GREY), 1)) for each in (gains, energies, [shift] * 3))
    return BandChanges(*rows, GREY.digests, PARTITION, centred=True)


@settings(max_examples=20, deadline=None)
@given(
    gains=st.lists(st.floats(0.2, 1.2), min_size=BANDS, max_size=BANDS),
    energies=st.lists(st.floats(0.001, 0.3), min_size=BANDS, max_size=BANDS),
    shift=st.floats(-0.1, 0.1),
)
def test_a_surrogate_has_the_gains_energies_and_means_it_was_made_with(
    gains: list[float], energies: list[float], shift: float
) -> None:
    wanted = changes(gains, energies, shift)
    found = band_changes(GREY, surrogate(GREY, wanted), bands=BANDS, centred=True)
    np.testing.assert_allclose(found.gains, wanted.gains, atol=0.01)
    np.testing.assert_allclose(found.energies, wanted.energies, rtol=0.02, atol=1e-6)
    np.testing.assert_allclose(found.shifts, wanted.shifts, atol=1e-4)


def test_without_noise_it_is_the_weakened_image_itself() -> None:
    made = surrogate(GREY, changes([1.0, 0.5, 0.0], [0.0] * BANDS, 0.1))
    pixels = GREY.pixels().double()
    parts = split(pixels, PARTITION)
    expected = parts[:, 0] + 0.5 * parts[:, 1] + 0.1
    torch.testing.assert_close(made.pixels().double(), expected, atol=1e-6, rtol=0)
    assert made.names == GREY.names
    assert made.labels is not None
    assert made.labels.tolist() == [0, 1, 2, 3]


def test_what_clipping_takes_from_noise_is_made_up_for() -> None:
    """Half of the noise on black images is clipped; the energies that are left are those wanted."""
    dark = ReferenceSample((images(4).images > 0.8).float())
    wanted = band_changes(dark, ("white_noise", 3), bands=BANDS, centred=True)
    found = band_changes(dark, surrogate(dark, wanted), bands=BANDS, centred=True)
    np.testing.assert_allclose(found.energies, wanted.energies, rtol=0.1)
    np.testing.assert_allclose(found.gains, wanted.gains, atol=0.02)


def test_a_surrogate_of_an_image_depends_on_no_other() -> None:
    wanted = band_changes(GREY, ("white_noise", 2), bands=BANDS, centred=True)
    two = GREY.take([3, 1])
    some = band_changes(two, ("white_noise", 2), bands=BANDS, centred=True)
    rows = surrogate(GREY, wanted).images[[3, 1]]
    torch.testing.assert_close(surrogate(two, some).images, rows)


def test_averages_are_of_all_images_and_for_others() -> None:
    found = band_changes(GREY, ("contrast", 2), bands=BANDS, centred=True)
    others = images(6, seed=5)
    average = found.averaged(others)
    assert average.digests == others.digests
    for name in ("gains", "energies", "shifts"):
        expected = np.tile(getattr(found, name).mean(axis=0), (6, 1))
        np.testing.assert_allclose(getattr(average, name), expected)
    assert surrogate(others, average).shape == others.shape


def test_changes_of_other_images_or_not_centred_make_no_surrogate() -> None:
    plain = band_changes(GREY, ("contrast", 2), bands=BANDS)
    centred = band_changes(GREY, ("contrast", 2), bands=BANDS, centred=True)
    for reference, given_ in ((GREY, plain), (images(4, seed=9), centred)):
        with pytest.raises(SettingsError, match="made from centred changes of the same images"):
            surrogate(reference, given_)
