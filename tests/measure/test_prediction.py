"""Prediction of a perturbation's cost: Owen's extension, the ladder, rules of both."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from changed_models import PIXELS, SIDE, WEIGHTS, curved, images, linear, random, scored
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_iaside import (
    BandPartition,
    Classifier,
    ReferenceSample,
    SettingsError,
    fgsm,
    measure,
    perturbation_spectrum,
    spectral_response,
)
from pytest_iaside.images.filters import split
from pytest_iaside.measure.band_changes import band_changes
from pytest_iaside.measure.game.coalitions import exact_coalitions
from pytest_iaside.measure.prediction import (
    added_noise_loss,
    beyond_ladder,
    interpolated,
    owen_extension,
    pooled_noise_loss,
    predict_loss,
)
from pytest_iaside.measure.response import BandResponse

BANDS = 3
PARTITION = BandPartition(SIDE, SIDE, BANDS)
shares = st.floats(0, 1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), players=st.integers(1, 5))
def test_at_corners_the_owen_extension_is_the_table(seed: int, players: int) -> None:
    table = random(3, 2**players, seed=seed).numpy()
    for column, coalition in enumerate(exact_coalitions(players)):
        corner = np.broadcast_to(coalition.astype(float), (3, players))
        np.testing.assert_array_equal(owen_extension(table, corner), table[:, column])


@given(gains=st.lists(shares, min_size=4, max_size=4), seed=st.integers(0, 1000))
def test_of_an_additive_game_it_is_linear(gains: list[float], seed: int) -> None:
    worth = random(4, seed=seed).numpy()
    table = (exact_coalitions(4) @ worth)[None]
    found = owen_extension(table, np.array([gains]))
    assert found[0] == pytest.approx(worth @ gains, abs=1e-12)


@given(gains=st.lists(shares, min_size=3, max_size=3), seed=st.integers(0, 1000))
def test_it_is_the_mean_over_bands_that_are_there_by_chance(gains: list[float], seed: int) -> None:
    table, present = random(1, 8, seed=seed).numpy(), exact_coalitions(3)
    chance = np.where(present, gains, 1 - np.array(gains)).prod(axis=1)
    assert owen_extension(table, np.array([gains]))[0] == pytest.approx(chance @ table[0])


def test_gains_outside_of_0_and_1_are_clipped() -> None:
    table = random(1, 4).numpy()
    assert owen_extension(table, np.array([[1.7, -0.2]])) == pytest.approx(table[0, 1])


def test_the_ladder_is_followed_and_never_left() -> None:
    rungs, losses = np.array([0.01, 0.1, 1.0]), np.array([0.2, 0.8, 3.2])
    wanted = np.array([0.0, 0.005, 0.01, 0.1**1.5, 0.1, 0.1**0.5, 1.0, 50.0])
    expected = [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 3.2]
    np.testing.assert_allclose(interpolated(rungs, losses, wanted), expected)
    signed = interpolated(rungs, np.array([-0.1, 0.3, 0.3]), np.array([0.005, 0.055, 0.5]))
    np.testing.assert_allclose(signed, [-0.05, 0.1, 0.3])


def test_of_a_linear_score_removed_bands_are_foretold_exactly() -> None:
    """log Q = w·x − 5: bands weakened to g lose Σ (1 − g_b)·w·x_b, which the game measures."""
    sample = images(4, labels=[0] * 4)
    parts = split(sample.pixels(), PARTITION)
    weights = torch.tensor([1.0, 0.6, 0.3], dtype=torch.float64).view(1, BANDS, 1, 1, 1)
    became = ReferenceSample((parts * weights).sum(dim=1).float().clamp(0, 1), names=sample.names)
    profile = measure(linear, sample, bands=BANDS)
    foretold = predict_loss(sample, became, rule="removed bands", profile=profile)
    found = perturbation_spectrum(linear, sample, became, bands=BANDS)
    np.testing.assert_allclose(foretold.image_values, found.image_loss(), atol=2e-3)
    assert foretold.low <= foretold.value <= foretold.high
    order = [2, 0, 3]
    some = predict_loss(
        sample.take(order), became.take(order), rule="removed bands", profile=profile
    )
    assert foretold.image_values is not None
    np.testing.assert_allclose(some.image_values, foretold.image_values[order])


def test_of_a_quadratic_score_added_noise_is_foretold_in_the_mean() -> None:
    """R_b(e) = a·e·‖x − mean x‖² in the mean over noise, for any noise of the same energy."""
    count = 200
    sample = ReferenceSample(0.35 + 0.3 * images(count).images, [0] * count)
    model = scored(lambda x: -0.02 * (x - 0.5).square().sum(dim=1) - 1)
    response = spectral_response(model, sample, bands=BANDS, energies=[0.01, 0.1, 1.0])
    noise = 0.08 * random(count, 3, SIDE, SIDE, seed=3)
    became = ReferenceSample((sample.pixels() + noise).float().clamp(0, 1), names=sample.names)
    foretold = predict_loss(sample, became, rule="added noise", response=response)
    found = perturbation_spectrum(model, sample, became, bands=BANDS)
    assert foretold.value == pytest.approx(0.02 * 0.08**2 * PIXELS, rel=0.05)
    assert foretold.value == pytest.approx(found.loss().value, rel=0.1)


def test_the_sum_is_the_sum() -> None:
    sample = images(4, labels=[0, 1, 2, 3])
    response = spectral_response(curved, sample, bands=BANDS)
    profile = measure(curved, sample, bands=BANDS)
    noise: Any = partial(predict_loss, sample, ("contrast", 3), response=response, profile=profile)
    one, other, both = (noise(rule=r) for r in ("added noise", "removed bands", "sum"))
    np.testing.assert_allclose(both.image_values, one.image_values + other.image_values)
    accuracy = noise(rule="added noise", score="accuracy")
    changes = band_changes(sample, ("contrast", 3), bands=BANDS)
    expected = added_noise_loss(response, changes.energies, "accuracy")
    np.testing.assert_allclose(accuracy.image_values, expected)
    assert beyond_ladder(response, np.array([[0.5, 1.0, 1.1], [2.0, 0.0, 0.3]])) == 2 / 6


def test_the_larger_and_the_independent_are_of_both() -> None:
    sample = images(4, labels=curved(images(4).pixels()).argmax(dim=1))
    response = spectral_response(curved, sample, bands=BANDS)
    profile = measure(curved, sample, bands=BANDS)
    call: Any = partial(predict_loss, sample, ("contrast", 3), response=response, profile=profile)
    noise, removed, larger, independent = (
        call(rule=r).image_values for r in ("added noise", "removed bands", "larger", "independent")
    )
    np.testing.assert_allclose(larger, np.maximum(noise, removed))
    assert profile.value > 0
    left = np.clip(1 - noise / profile.value, 0, 1)
    np.testing.assert_allclose(independent, noise + removed * left)


def response_of(losses: list[list[float]]) -> BandResponse:
    """A response with the ``losses`` (R, M) of log-likelihood at the usual energies."""
    found = spectral_response(curved, images(2, labels=[0, 1]), bands=BANDS)
    rows = np.tile(np.array(losses, dtype=float).ravel(), (2, 3))
    return replace(found, values=rows)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_noise_of_bands_that_respond_alike_is_pooled_before_it_costs(power: float) -> None:
    """R_b(e) = 3·e^p in every band: noise of all of them together costs 3·(Σ e_b)^p."""
    rungs = np.array([0.01, 0.1, 1.0])
    response = response_of(np.tile(3 * rungs[:, None] ** power, (1, BANDS)).tolist())
    energies = np.array([[0.02, 0.1, 0.05], [0.3, 0.3, 0.3], [0.0, 0.2, 0.0], [5.0, 5.0, 5.0]])
    expected = 3 * np.minimum(energies.sum(axis=1), 1) ** power
    found = pooled_noise_loss(response, energies)
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=3 / 200)


def test_a_band_whose_noise_costs_nothing_does_not_count() -> None:
    response = response_of([[0.03, 0.0, -0.1], [0.3, 0.0, 0.0], [3.0, 0.0, 0.1]])
    found = pooled_noise_loss(response, np.array([[0.5, 1.0, 0.0], [0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(found, [1.5, 0.0], atol=0.02)
    none = response_of([[0.0] * BANDS, [-1.0] * BANDS, [-2.0] * BANDS])
    np.testing.assert_array_equal(pooled_noise_loss(none, np.ones((2, BANDS))), [0, 0])


def test_gains_are_of_what_the_game_took_apart() -> None:
    """Fed (x − 0.5)/0.2, a loss of contrast around 0.5 weakens every band alike."""
    sample = images(4, labels=[0] * 4)
    fed = Classifier(lambda z: linear(0.2 * z + 0.5), mean=0.5, std=0.2)
    profile = measure(fed, sample, bands=BANDS)

    def paler(pixels: torch.Tensor) -> torch.Tensor:
        return 0.5 + 0.4 * (pixels - 0.5)

    foretold = predict_loss(sample, paler, rule="removed bands", profile=profile, fed_to=fed)
    expected = 0.6 * ((sample.pixels().double() - 0.5).flatten(1) @ WEIGHTS)
    np.testing.assert_allclose(foretold.image_values, expected, atol=1e-5)
    with pytest.raises(SettingsError, match="give fed_to="):
        predict_loss(sample, paler, rule="removed bands", profile=profile)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rule": "both"}, "rule='both' is unknown"),
        ({"score": "loss"}, "score='loss' is unknown"),
        ({"response": None}, "needs what was measured"),
        ({"rule": "pooled noise", "response": None}, "needs what was measured"),
        ({"rule": "removed bands"}, "rule='removed bands' needs profile="),
        ({"rule": "sum"}, "rule='removed bands' needs profile="),
        ({"perturbation": partial(fgsm, eps=0.1)}, "an attack changes images by the model"),
        ({"perturbation": ("contras", 1)}, "did you mean 'contrast'"),
    ],
)
def test_what_does_not_fit_is_told(changed: dict[str, Any], message: str) -> None:
    sample = images(3, labels=[0, 1, 2])
    given: dict[str, Any] = {
        "perturbation": ("contrast", 1),
        "rule": "added noise",
        "response": spectral_response(curved, sample, bands=BANDS),
    } | changed
    with pytest.raises(SettingsError, match=message):
        predict_loss(sample, given.pop("perturbation"), **given)


def test_profiles_that_do_not_fit_are_told() -> None:
    sample = images(3, labels=[0, 1, 2])
    call: Any = partial(predict_loss, sample, ("contrast", 1), rule="removed bands")
    latin = measure(curved, sample, bands=BANDS, design="latin")
    with pytest.raises(SettingsError, match="does not hold the log-likelihoods of all coalitions"):
        call(profile=latin)
    with pytest.raises(SettingsError, match="lacks 1 of 3 images"):
        call(profile=measure(curved, sample.take([0, 1]), bands=BANDS))
    profile = measure(curved, sample, bands=BANDS)
    with pytest.raises(SettingsError, match="score='accuracy' cannot be foretold"):
        call(profile=profile, score="accuracy")
    response = spectral_response(curved, sample, bands=2)
    with pytest.raises(SettingsError, match="the profile is of"):
        call(profile=profile, response=response)
