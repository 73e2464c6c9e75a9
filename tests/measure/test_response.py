"""The band response: its noise, closed forms of its means, and tolerances that are known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from changed_models import SIDE, WEIGHTS, curved, images, linear, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pytest_iaside import (
    BandPartition,
    BaselineError,
    Classifier,
    Execution,
    Measurement,
    ModelError,
    ReferenceSample,
    SettingsError,
    compare,
    spectral_response,
)
from pytest_iaside.images.filters import split
from pytest_iaside.measure.response import (
    ENERGIES,
    BandResponse,
    Tolerance,
    _tolerance,
    band_noise,
    contrast,
)

BANDS = 3
PARTITION = BandPartition(SIDE, SIDE, BANDS)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), bands=st.integers(1, 4), norm=st.sampled_from(["linf", "l2"]))
def test_noise_has_the_wanted_energy_and_lies_in_its_band_alone(
    seed: int, bands: int, norm: Any
) -> None:
    sample = images(2, seed=seed)
    partition = BandPartition(SIDE, SIDE, bands, norm)
    noise = band_noise(sample.digests, sample.pixels(), partition, seed).double()
    strength = contrast(sample.pixels())
    pixels = sample.pixels().double()
    centred = pixels - pixels.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(strength, centred.square().sum(dim=(1, 2, 3)))
    energy = noise.square().sum(dim=(2, 3, 4))
    torch.testing.assert_close(energy, strength[:, None].expand(2, bands), rtol=1e-6, atol=0)
    for band in range(bands):
        parts = split(noise[:, band], partition)
        torch.testing.assert_close(parts[:, band], noise[:, band], rtol=0, atol=1e-6)
        assert np.delete(parts.abs().amax(dim=(0, 2, 3, 4)).numpy(), band).max(initial=0) < 1e-6


def test_noise_depends_on_image_and_seed_alone() -> None:
    sample = images(4)
    whole = band_noise(sample.digests, sample.pixels(), PARTITION, 0)
    order = [2, 0, 3]
    some = sample.take(order)
    torch.testing.assert_close(band_noise(some.digests, some.pixels(), PARTITION, 0), whole[order])
    assert not torch.equal(band_noise(sample.digests, sample.pixels(), PARTITION, 1), whole)
    assert not torch.allclose(whole[0], whole[1])


def test_a_linear_score_loses_w_times_the_noise() -> None:
    """R_b(e) = −√e·w·n_b of every image; of a sign at random, so 0 in the mean."""
    sample = images(40, labels=[0] * 40)
    found = spectral_response(linear, sample, bands=BANDS, seed=3)
    noise = band_noise(sample.digests, sample.pixels(), PARTITION, 3).flatten(2).double() @ WEIGHTS
    expected = -np.sqrt(ENERGIES)[None, :, None] * noise.numpy()[:, None]
    np.testing.assert_allclose(found.image_response(), expected, atol=1e-6)
    for row in found.response(level=0.999):
        assert all(each.low < 0 < each.high for each in row)
    assert found.forward_passes == 40 * (len(ENERGIES) * BANDS + 1)


def test_a_quadratic_score_loses_in_proportion_to_the_energy() -> None:
    """log Q = −a·‖x − x₀‖²: R_b(e) = a·(e·‖n_b‖² + 2√e·n_b·(x − x₀))."""
    sample = images(3, labels=[0] * 3)
    model = scored(lambda x: -0.02 * (x - 0.5).square().sum(dim=1) - 1)
    found = spectral_response(model, sample, bands=BANDS, energies=[0.2, 0.5])
    noise = band_noise(sample.digests, sample.pixels(), PARTITION, 0).flatten(2)
    from_centre = sample.pixels().double().flatten(1)[:, None] - 0.5
    for rung, energy in enumerate((0.2, 0.5)):
        cross = 2 * energy**0.5 * (noise * from_centre).sum(dim=2)
        expected = 0.02 * (energy * contrast(sample.pixels())[:, None] + cross)
        np.testing.assert_allclose(found.image_response()[:, rung], expected, atol=1e-6)


def test_the_three_scores_are_of_the_same_answers() -> None:
    sample = images(5, labels=[0, 1, 2, 3, 4])
    found = spectral_response(curved, sample, bands=BANDS, energies=[0.5])
    noise = band_noise(sample.digests, sample.pixels(), PARTITION, 0)
    labels = torch.arange(5)
    clean = torch.log_softmax(curved(sample.pixels()), dim=1)
    for band in range(BANDS):
        shown = sample.pixels() + 0.5**0.5 * noise[:, band]
        noisy = torch.log_softmax(curved(shown), dim=1)
        before, after = clean[labels, labels], noisy[labels, labels]
        hits = [(each.argmax(dim=1) == labels).double() for each in (clean, noisy)]
        for score, expected in (
            ("log-likelihood", before - after),
            ("probability", (before.exp() - after.exp()).abs()),
            ("accuracy", hits[0] - hits[1]),
        ):
            name: Any = score
            np.testing.assert_allclose(found.image_response(name)[:, 0, band], expected, atol=1e-6)
    assert [quantity.unit for quantity in found.quantities[::BANDS]] == ["nats", "share", "share"]


def test_noise_is_added_to_pixels_before_mean_and_std() -> None:
    sample = images(labels=[0] * 4)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    undone = Classifier(
        lambda x: linear(x * std.view(-1, 1, 1) + mean.view(-1, 1, 1)), mean=mean, std=std
    )
    plain, normalised = (
        spectral_response(model, sample, bands=BANDS) for model in (linear, undone)
    )
    np.testing.assert_allclose(normalised.image_response(), plain.image_response(), atol=1e-6)


def test_batches_workers_and_order_make_no_difference() -> None:
    sample = images(10, labels=[0, 1, 2, 3, 4] * 2)
    first = spectral_response(curved, sample, bands=BANDS)
    others: list[Execution] = [Execution(batch_size=size) for size in (1, 4, 100)]
    with ThreadPoolExecutor(2) as executor:
        for execution in (*others, Execution(executor=executor)):
            other = spectral_response(curved, sample, bands=BANDS, execution=execution)
            np.testing.assert_allclose(other.values, first.values, atol=1e-9)
    order = [3, 9, 0, 5, 1, 8, 2, 7, 4, 6]
    shuffled = spectral_response(curved, sample.take(order), bands=BANDS)
    np.testing.assert_allclose(shuffled.values, first.values[order], atol=1e-9)


def test_an_image_of_one_colour_gets_no_noise() -> None:
    colours = torch.tensor([0.1, 0.7, 0.3]).view(3, 1, 1).expand(3, SIDE, SIDE)
    sample = ReferenceSample(torch.cat([colours[None], images(3).images]), [0, 1, 2, 3])
    found = spectral_response(curved, sample, bands=BANDS)
    assert np.abs(found.values[0]).max() < 1e-12
    assert not found.energy[0].any()
    assert found.energy[1:].all()
    assert "1 of 4 images are of one colour and got no noise" in found.notes


def flips(batch: Tensor) -> Tensor:
    """Right while an image is no further from 0.5 than 1.4 times the contrast of ``STEADY``."""
    far = (batch.double() - 0.5).square().sum(dim=(1, 2, 3)) > THRESHOLD
    return torch.stack([1.0 - 2 * far, 2.0 * far - 1], dim=1)


STEADY = 0.5 + 0.2 * torch.sign(images(60).pixels() - 0.5)
STEADY -= STEADY.mean(dim=(2, 3), keepdim=True) - 0.5
STRENGTH = float(contrast(STEADY).mean())
THRESHOLD = 1.4 * STRENGTH


def test_the_tolerance_of_a_threshold_is_where_half_cross_it() -> None:
    """‖x + n − 0.5‖² = (1 + e)·‖x‖² + 2√e·n·x crosses 1.4 in half of the images at e = 0.4."""
    sample = ReferenceSample(STEADY.clamp(0, 1), [0] * 60)
    energies = np.geomspace(0.2, 0.8, 13).tolist()
    found = spectral_response(flips, sample, bands=2, energies=energies)
    assert found.clean_accuracy == 1
    for tolerance in found.tolerance:
        assert tolerance.energy == pytest.approx(0.4, rel=0.12)
        assert tolerance.least <= tolerance.energy <= tolerance.most
    beyond = spectral_response(flips, sample, bands=2, energies=[0.05, 0.1])
    assert [str(each) for each in beyond.tolerance] == ["above 0.1"] * 2
    before = spectral_response(flips, sample, bands=2, energies=[0.9, 2.0])
    assert [str(each) for each in before.tolerance] == ["below 0.9"] * 2


@pytest.mark.parametrize(
    ("lost", "half", "expected"),
    [
        ([0.1, 0.5, 0.9], 0.3, 0.1**1.5),  # Half way between 0.01 and 0.1, in logarithms.
        ([0.3, 0.5, 0.9], 0.3, 0.01),
        ([0.1, 0.2, 0.6], 0.4, 0.1**0.5),
        ([0.1, 0.6, 0.2], 0.35, 0.1**1.5),  # The lowest counts.
    ],
)
def test_tolerances_are_interpolated_in_the_logarithm(
    lost: list[float], half: float, expected: float
) -> None:
    found = _tolerance([0.01, 0.1, 1.0], np.array(lost), half)
    assert found.energy == pytest.approx(expected)


def test_a_model_that_is_never_right_has_no_tolerance() -> None:
    found = _tolerance([0.01, 0.1], np.zeros(2), 0.0)
    assert np.isnan(found.energy)
    assert (found.least, found.most) == (0.0, float("inf"))
    assert str(found) == "unknown"
    assert str(Tolerance(0.1234567, 0.1, 0.3)) == "0.123"


def test_two_are_compared_image_by_image() -> None:
    sample = images(12, labels=[0, 1, 2, 3] * 3)
    one, other = (
        spectral_response(model, sample, bands=BANDS) for model in (curved, lambda x: 2 * curved(x))
    )
    found = compare(other, one, {})
    difference = other.values.mean(axis=0) - one.values.mean(axis=0)
    np.testing.assert_allclose([each.change for each in found.quantities], difference)
    for changed in ({"bands": 2}, {"energies": (0.1, 0.2)}, {"seed": 1}, {"partition": "l2"}):
        settings: Any = {"bands": BANDS} | changed
        with pytest.raises(BaselineError, match=next(iter(changed))):
            compare(spectral_response(curved, sample, **settings), one, {})


def test_a_file_gives_back_the_same(tmp_path: Path) -> None:
    sample = ReferenceSample(images(6).images, [0, 1, 2, 3, 4, 0], groups=list("aabbcc"))
    found = spectral_response(curved, sample, bands=BANDS)
    loaded = Measurement.load(found.save(tmp_path / "response.yaml"))
    assert isinstance(loaded, BandResponse)
    assert repr(loaded) == repr(found)
    np.testing.assert_array_equal(loaded.image_response(), found.image_response())
    np.testing.assert_array_equal(loaded.energy, found.energy)
    assert loaded.settings == found.settings
    row = found.image_response()[:, 0, 0].reshape(3, 2).mean(axis=1)
    error = loaded.response()[0][0].standard_error
    assert error == pytest.approx(row.std(ddof=1) / np.sqrt(3))


def test_logits_that_are_not_finite_name_the_band() -> None:
    sample = images(2)

    def fragile(batch: Tensor) -> Tensor:
        loud = split(batch, PARTITION)[:, 2].square().sum(dim=(1, 2, 3)) > 300
        return torch.where(loud[:, None], torch.nan, curved(batch))

    with pytest.raises(ModelError, match="image 0 with noise in band 2"):
        spectral_response(fragile, sample, bands=BANDS, energies=[20.0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"energies": ()}, "must rise from above 0"),
        ({"energies": 0.1}, "must rise from above 0"),
        ({"energies": (0.3, 0.1)}, "must rise from above 0"),
        ({"energies": (0.0, 0.1)}, "energies=0.0"),
        ({"energies": (0.1, float("inf"))}, "energies=inf"),
        ({"bands": 40}, "use 1 to 32"),
        ({"partition": "l1"}, "partition='l1'"),
        ({"seed": "0"}, "seed='0'"),
        ({"samples": 0}, "samples=0"),
        ({"execution": None}, "expected an Execution"),
    ],
)
def test_what_does_not_fit_is_told(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        spectral_response(curved, images(), **({"bands": BANDS} | changed))
