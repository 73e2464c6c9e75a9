"""The Fourier heat map: its waves, linear models in closed form, and its bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from changed_models import SIDE, WEIGHTS, curved, images, linear
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_iaside import Classifier, ModelError, ReferenceSample, SettingsError
from pytest_iaside.measure.fourier import cosines, fourier_heat_map
from pytest_iaside.stats.arrays import random_by


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(2, 13), width=st.integers(2, 13), u=st.integers(-6, 6), v=st.integers(-6, 6)
)
def test_a_wave_has_length_one_and_lies_on_two_frequencies(
    height: int, width: int, u: int, v: int
) -> None:
    (wave,) = cosines(torch.tensor([[u, v]], dtype=torch.float64), height, width)
    assert float(wave.norm()) == pytest.approx(1)
    energy = torch.fft.fft2(wave, norm="ortho").abs().square()
    two = {(u % height, v % width), (-u % height, -v % width)}
    assert sum(float(energy[place]) for place in two) == pytest.approx(1)


def signs(sample: ReferenceSample, seed: int = 0) -> torch.Tensor:
    drawn = [
        random_by(f"wave {seed} {each}").choice([-1.0, 1.0], size=3) for each in sample.digests
    ]
    return torch.from_numpy(np.stack(drawn))


@pytest.mark.parametrize("normalised", [False, True])
def test_a_linear_score_loses_w_times_the_wave(normalised: bool) -> None:
    """The loss at (u, v) is −norm·Σ_c r_c·⟨w_c, U_uv⟩ in the mean over images."""
    sample = images(5, labels=[0] * 5)
    model: Any = linear
    if normalised:
        mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
        model = Classifier(
            lambda x: linear(x * std.view(-1, 1, 1) + mean.view(-1, 1, 1)), mean=mean, std=std
        )
    found = fourier_heat_map(model, sample, norm=2.0)
    weights = WEIGHTS.view(3, SIDE, SIDE)
    assert found.u.tolist() == found.v.tolist() == list(range(-6, 7))
    each = np.empty((5, 13, 13))
    for i, u in enumerate(found.u):
        for j, v in enumerate(found.v):
            (wave,) = cosines(torch.tensor([[u, v]], dtype=torch.float64), SIDE, SIDE)
            each[:, i, j] = -2.0 * signs(sample) @ (weights * wave).sum(dim=(1, 2))
    np.testing.assert_allclose(found.loss, each.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.loss_error, each.std(axis=0, ddof=1) / 5**0.5, atol=1e-6)
    np.testing.assert_array_equal(found.loss, found.loss[::-1, ::-1])
    # 144 frequencies: 4 of them their own mirror image, the others in pairs.
    assert found.forward_passes == 5 * (4 + 140 // 2 + 1)


def test_error_rates_are_those_of_the_waved_images() -> None:
    sample = images(6, labels=[0, 1, 2, 3, 4, 0])
    found = fourier_heat_map(curved, sample, norm=3.0, radius=1)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    clean = curved(sample.pixels()).argmax(dim=1) != labels
    assert found.clean_error_rate == pytest.approx(float(clean.double().mean()))
    assert found.error_rate.shape == (3, 3)
    for i, u in enumerate((-1, 0, 1)):
        (wave,) = cosines(torch.tensor([[u, 1]], dtype=torch.float64), SIDE, SIDE)
        shown = sample.pixels() + 3.0 * signs(sample)[:, :, None, None] * wave
        wrong = (curved(shown).argmax(dim=1) != labels).double()
        assert found.error_rate[i, 2] == pytest.approx(float(wrong.mean()))
        assert found.error_rate_error[i, 2] == pytest.approx(float(wrong.std()) / 6**0.5)


def test_the_grid_is_as_fine_as_the_passes_allow() -> None:
    sample = images(2, labels=[0, 1])
    found = fourier_heat_map(curved, sample, passes=13)
    assert found.u.tolist() == [-6, -3, 0, 3, 6]
    assert found.forward_passes <= 2 * (13 + 1)
    fine = fourier_heat_map(curved, sample, radius=3)
    np.testing.assert_allclose(found.loss[1:4, 1:4], fine.loss[::3, ::3], atol=1e-9)


def test_groups_and_seeds_count() -> None:
    sample = images(6, labels=[0, 1, 2, 3, 4, 0])
    grouped = ReferenceSample(sample.images, sample.labels, groups=list("aabbcc"))
    one, other = (fourier_heat_map(curved, each, radius=1) for each in (sample, grouped))
    np.testing.assert_array_equal(one.loss, other.loss)
    assert (one.loss_error != other.loss_error).any()
    drawn = fourier_heat_map(curved, sample, radius=1, seed=1)
    assert not np.allclose(drawn.loss, one.loss)


def test_logits_that_are_not_finite_name_the_wave() -> None:
    sample = ReferenceSample(0.5 * images(3).images)
    (wave,) = cosines(torch.tensor([[1.0, -1.0]], dtype=torch.float64), SIDE, SIDE)

    def fragile(batch: torch.Tensor) -> torch.Tensor:
        strength = (batch.double() * wave).sum(dim=(2, 3)).abs().amin(dim=1)
        return torch.where((strength > 50)[:, None], torch.nan, curved(batch))

    with pytest.raises(ModelError, match=r"image 0 under the wave of frequency \((1, -1|-1, 1)\)"):
        fourier_heat_map(fragile, sample, norm=100.0, radius=1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"norm": 0}, "norm=0 must be a finite number above 0, in units of pixels"),
        ({"radius": 7}, "radius=7 is beyond the Nyquist frequency of 12×12 images; use at most 6"),
        ({"radius": 0}, "radius=0 must be a whole number of at least 1"),
        ({"passes": 1}, "passes=1"),
        ({"seed": None}, "seed=None"),
    ],
)
def test_what_does_not_fit_is_told(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        fourier_heat_map(curved, images(2), **changed)


def test_it_is_told_in_one_line() -> None:
    sample = images(3)
    found = fourier_heat_map(curved, sample, radius=2)
    told = repr(found)
    assert len(told) < 150 and told.startswith("FourierHeatMap(5×5 frequencies, norm")
    row, column = np.unravel_index(found.loss.argmax(), found.loss.shape)
    assert f"most is lost at u={found.u[row]}, v={found.v[column]} (" in told
