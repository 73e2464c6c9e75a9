"""The perturbation game: closed forms of SPEC.md 6, number 6, and what every game owes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from changed_models import PIXELS, SIDE, WEIGHTS, curved, images, linear, random, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pytest_iaside import (
    CORRUPTIONS,
    BandPartition,
    Classifier,
    Execution,
    ModelError,
    ReferenceSample,
    ReferenceSampleError,
    SettingsError,
    corrupt,
    fgsm,
    perturbation_spectrum,
    pgd,
)
from pytest_iaside.images.filters import split
from pytest_iaside.measure.answers import answers
from pytest_iaside.measure.metrics import correct
from pytest_iaside.measure.panel import rated
from pytest_iaside.models.tasks import log_likelihood, probability
from pytest_iaside.perturb.adapters import from_torchattacks

BANDS = 3
PARTITION = BandPartition(SIDE, SIDE, BANDS)
PGD = partial(pgd, eps=0.05, steps=3, step_size=0.02)
SCORES: tuple[Any, ...] = ("log-likelihood", "probability", "accuracy")


torch.manual_seed(0)
network = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 16), nn.Tanh(), nn.Linear(16, 5)).eval()


def stored(sample: ReferenceSample, became: Tensor) -> ReferenceSample:
    return ReferenceSample(became, names=sample.names)


def split_change(sample: ReferenceSample, became: ReferenceSample) -> np.ndarray[Any, Any]:
    """δ_b of every image, (K, M, D)."""
    change = became.pixels().double() - sample.pixels().double()
    return split(change, PARTITION).flatten(2).numpy()


def test_a_score_linear_in_the_image_loses_w_times_the_change() -> None:
    sample = images(labels=[0] * 4)
    became = stored(sample, images(seed=5).images)
    found = perturbation_spectrum(linear, sample, became, bands=BANDS)
    expected = -split_change(sample, became) @ WEIGHTS.numpy()
    np.testing.assert_allclose(found.image_phi(), expected, atol=1e-6)
    assert found.forward_passes == 4 * (2**BANDS + 1)


def test_the_split_is_the_same_before_and_after_mean_and_std() -> None:
    """(x − mean)/std is linear: the classifier undoes it, so nothing may change."""
    sample = images(labels=[0] * 4)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    undone = Classifier(
        lambda x: linear(x * std.view(-1, 1, 1) + mean.view(-1, 1, 1)), mean=mean, std=std
    )
    plain, normalised = (
        perturbation_spectrum(model, sample, ("contrast", 3), bands=BANDS)
        for model in (linear, undone)
    )
    np.testing.assert_allclose(normalised.image_phi(), plain.image_phi(), atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(band=st.integers(0, BANDS - 1), seed=st.integers(0, 1000))
def test_a_change_within_one_band_is_all_that_hurts(band: int, seed: int) -> None:
    sample = ReferenceSample(0.4 + 0.2 * images(2).images, [0, 1])
    noise = split(0.02 * random(2, 3, SIDE, SIDE, seed=seed), PARTITION)[:, band]
    became = stored(sample, sample.pixels() + noise.float())
    found = perturbation_spectrum(curved, sample, became, bands=BANDS)
    others = np.delete(np.arange(BANDS), band)
    assert np.abs(found.image_phi()[:, others]).max() < 1e-6
    np.testing.assert_allclose(found.image_phi()[:, band], found.image_loss(), atol=1e-6)
    assert found.energy_shares[band] == pytest.approx(1, abs=1e-6)


def test_gaussian_noise_through_a_quadratic_score() -> None:
    """φ_b = −(xᵀAδ_b + ½δ_bᵀAδ), of which the mean is −½s²·tr(A P_b)."""
    side, count, deviation = 6, 600, 0.08
    pixels = side * side
    root = 0.3 * random(pixels, pixels, seed=4)
    matrix = -(root + root.T) / 2 + 0.5 * torch.eye(pixels, dtype=torch.float64)
    model = scored(lambda x: 0.5 * (((x - 0.5) @ matrix) * (x - 0.5)).sum(dim=1) - 40)
    base = 0.5 + 0.01 * random(count, 1, side, side, seed=6)
    sample = ReferenceSample(base, [0] * count)
    noise = deviation * random(count, 1, side, side, seed=7)
    became = stored(sample, sample.pixels() + noise.float())
    found = perturbation_spectrum(model, sample, became, bands=2)
    partition = BandPartition(side, side, 2)
    x = sample.pixels().double().flatten(1).numpy() - 0.5
    change = became.pixels().double() - sample.pixels().double()
    parts = split(change, partition).flatten(2).numpy()
    a, whole = matrix.numpy(), change.flatten(1).numpy()
    expected = -np.einsum("ki,ij,kbj->kb", x + 0.5 * whole, a, parts)
    np.testing.assert_allclose(found.image_phi(), expected, atol=2e-5)
    unit = torch.eye(pixels, dtype=torch.float64).view(pixels, 1, side, side)
    for band in range(2):
        projection = split(unit, partition)[:, band].flatten(1).numpy()
        mean = -0.5 * deviation**2 * np.trace(a @ projection)
        phi = found.image_phi()[:, band]
        assert abs(phi.mean() - mean) < 4 * phi.std() / np.sqrt(count)
        assert abs(mean) > 8 * phi.std() / np.sqrt(count)


EVERY: list[tuple[Any, str]] = [((name, 3), "hard") for name in CORRUPTIONS]
EVERY += [(each, kind) for each in (("white_noise", 3), PGD) for kind in ("soft", "predicted")]
EVERY += [(partial(fgsm, eps=0.05, norm="l2"), "hard"), (PGD, "hard")]


@pytest.mark.parametrize(("perturbation", "given_labels"), EVERY)
def test_phi_of_an_image_sums_to_its_loss(perturbation: Any, given_labels: str) -> None:
    labels = {
        "hard": [0, 1, 2, 3],
        "soft": torch.softmax(random(4, 5, seed=8), dim=1),
        "predicted": None,
    }[given_labels]
    sample = images(labels=labels)
    found = perturbation_spectrum(curved, sample, perturbation, bands=BANDS)
    clean, became = answers(curved, sample, [None, perturbation])
    expected = {
        "log-likelihood": partial(rated, labels=found.labels, rating=log_likelihood),
        "probability": partial(rated, labels=found.labels, rating=probability),
        "accuracy": partial(correct, labels=found.labels),
    }
    if given_labels == "soft":
        expected["probability"] = lambda z: (
            found.labels * np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        ).sum(axis=1)
    for score in SCORES:
        loss = expected[score](clean) - expected[score](became)
        np.testing.assert_allclose(found.image_loss(score), loss, atol=1e-6)
        np.testing.assert_allclose(found.image_phi(score).sum(axis=1), loss, atol=1e-6)
        assert found.loss(score).value == pytest.approx(loss.mean(), abs=1e-6)


def test_an_attack_of_another_library_is_played() -> None:
    pytest.importorskip("torchattacks")
    sample, attack = images(labels=[0, 1, 2, 3]), from_torchattacks("FGSM", eps=0.05)
    other, own = (
        perturbation_spectrum(network, sample, each, bands=BANDS)
        for each in (attack, partial(fgsm, eps=0.05))
    )
    np.testing.assert_allclose(other.values, own.values, atol=1e-5)
    assert other.settings["whose change"] == "each model's own"


def test_nothing_changed_loses_nothing() -> None:
    sample = images()
    found = perturbation_spectrum(curved, sample, lambda pixels: pixels, bands=BANDS)
    # The same answers in another row of a batch differ by rounding on some CPUs.
    np.testing.assert_allclose(found.values, 0.0, atol=1e-15)
    assert not found.energy.any()
    assert np.isnan(found.energy_shares).all()
    assert any("leaves 4 of 4 images as they are" in note for note in found.notes)
    assert "nats lost; " in repr(found)


def test_energy_is_that_of_the_change_in_each_band() -> None:
    sample = images(3)
    found = perturbation_spectrum(curved, sample, ("white_noise", 3), bands=BANDS)
    became = corrupt(sample.images, "white_noise", 3)
    expected = (split_change(sample, stored(sample, became)) ** 2).sum(axis=2)
    np.testing.assert_allclose(found.energy, expected, rtol=1e-9)
    shares = (expected / expected.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(found.energy_shares, shares)


def test_batches_workers_and_order_make_no_difference() -> None:
    sample = images(10, labels=[0, 1, 2, 3, 4] * 2)
    noise = ("white_noise", 3)
    first = perturbation_spectrum(curved, sample, noise, bands=BANDS)
    for size in (1, 7, 100):
        execution = Execution(batch_size=size)
        other = perturbation_spectrum(curved, sample, noise, bands=BANDS, execution=execution)
        np.testing.assert_allclose(other.values, first.values, atol=1e-9)
    with ThreadPoolExecutor(2) as executor:
        execution = Execution(executor=executor)
        other = perturbation_spectrum(curved, sample, noise, bands=BANDS, execution=execution)
        np.testing.assert_allclose(other.values, first.values, atol=1e-9)
        assert other.forward_passes == first.forward_passes
    order = [3, 9, 0, 5, 1, 8, 2, 7, 4, 6]
    shuffled = perturbation_spectrum(curved, sample.take(order), noise, bands=BANDS)
    np.testing.assert_allclose(shuffled.values, first.values[order], atol=1e-9)
    np.testing.assert_allclose(shuffled.energy, first.energy[order], rtol=1e-12)


@pytest.mark.parametrize("design", ["latin", "permutation"])
def test_designs_are_unbiased_and_sum_to_the_loss(design: Any) -> None:
    sample, noise = images(3, labels=[0, 1, 2]), ("white_noise", 5)
    exact = perturbation_spectrum(curved, sample, noise, bands=BANDS)
    darker = stored(sample, corrupt(sample.images, *noise))  # The same whatever the seed.
    drawn = np.stack(
        [
            perturbation_spectrum(
                curved, sample, darker, bands=BANDS, design=design, seed=seed
            ).image_phi()
            for seed in range(60)
        ]
    )
    loss = np.broadcast_to(exact.image_loss(), drawn.shape[:2])
    np.testing.assert_allclose(drawn.sum(axis=2), loss, atol=1e-9)
    error = drawn.std(axis=0, ddof=1) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(axis=0) - exact.image_phi()) <= 4 * error + 1e-12).all()


def test_many_bands_are_played_by_a_design() -> None:
    generator = torch.Generator().manual_seed(0)
    sample = ReferenceSample(torch.rand(2, 1, 28, 28, generator=generator), [0, 1])
    weights = 0.05 * random(28 * 28, 3, seed=2)
    found = perturbation_spectrum(
        lambda x: torch.tanh(x.flatten(1).double() @ weights), sample, ("white_noise", 3), bands=12
    )
    assert found.settings["design"] == "latin"
    assert found.forward_passes == 2 * (12 * 11 + 2 + 1)
    assert found.image_phi().shape == (2, 12)
    clean, noisy = answers(
        lambda x: torch.tanh(x.flatten(1).double() @ weights), sample, [None, ("white_noise", 3)]
    )
    losses = [rated(each, found.labels, log_likelihood) for each in (clean, noisy)]
    np.testing.assert_allclose(found.image_loss(), losses[0] - losses[1], atol=1e-6)


def test_labels_may_be_those_of_another_model() -> None:
    sample = images()
    baseline = perturbation_spectrum(curved, sample, ("contrast", 3), bands=BANDS)
    assert baseline.labels.tolist() == curved(sample.pixels()).argmax(dim=1).tolist()
    turned = perturbation_spectrum(
        lambda x: curved(x).roll(1, 1), sample, ("contrast", 3), bands=BANDS, labels_from=baseline
    )
    assert turned.labels.tolist() == baseline.labels.tolist()
    assert turned.answers is not None
    assert turned.answers["accuracy, clean"].mean() == 0
    first = perturbation_spectrum(curved, sample, ("contrast", 3), bands=BANDS, samples=2)
    np.testing.assert_allclose(first.values, baseline.values[:2], atol=1e-12)


def test_an_attack_is_each_models_own_and_says_so() -> None:
    sample = images(labels=[0, 1, 2, 3])
    found = perturbation_spectrum(curved, sample, PGD, bands=BANDS)
    assert found.settings["whose change"] == "each model's own"
    assert any("attacks the model that is measured" in note for note in found.notes)
    noise = perturbation_spectrum(curved, sample, ("white_noise", 3), bands=BANDS)
    assert noise.settings["whose change"] == "the same for every model"
    with pytest.raises(ModelError, match="gradient"):
        perturbation_spectrum(lambda x: curved(x).detach(), sample, PGD, bands=BANDS)


def test_logits_that_are_not_finite_name_the_bands() -> None:
    sample = images(3)

    def fragile(batch: Tensor) -> Tensor:
        moved = (batch - sample.pixels()[1]).flatten(1).abs().amax(dim=1) < 0.02
        same = (batch - sample.pixels()[1]).flatten(1).abs().amax(dim=1) < 1e-6
        return torch.where((moved & ~same)[:, None], torch.nan, curved(batch))

    with pytest.raises(ModelError, match=r"image 1 changed in the bands \{0\}"):
        perturbation_spectrum(fragile, sample, lambda x: (x + 0.01).clamp(0, 1), bands=2)


@pytest.mark.parametrize(
    ("perturbation", "changed", "error", "message"),
    [
        ("contrast", {}, SettingsError, "is no list of perturbations|is not a perturbation"),
        (("contras", 1), {}, SettingsError, "did you mean 'contrast'"),
        (("contrast", 6), {}, SettingsError, "severity=6"),
        (lambda x: x + 2, {}, SettingsError, "values from"),
        (lambda x: x[:1], {}, SettingsError, "returned shape"),
        (images(3), {}, ReferenceSampleError, "perturbed images"),
        (("contrast", 1), {"bands": 1}, SettingsError, "bands=1 is out of range"),
        (("contrast", 1), {"bands": 9}, SettingsError, "use at most"),
        (("contrast", 1), {"design": "all"}, SettingsError, "design='all'"),
        (("contrast", 1), {"seed": 0.5}, SettingsError, "seed=0.5"),
        (("contrast", 1), {"samples": 9}, SettingsError, "samples=9"),
        (("contrast", 1), {"execution": "cpu"}, SettingsError, "expected an Execution"),
    ],
)
def test_what_does_not_fit_is_told(
    perturbation: Any, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        perturbation_spectrum(curved, images(), perturbation, **({"bands": BANDS} | changed))
    with pytest.raises(SettingsError, match="score='loss' is unknown"):
        name: Any = "loss"
        perturbation_spectrum(curved, images(1), ("contrast", 1), bands=2).image_phi(name)


def test_a_module_is_played_as_a_function_is() -> None:
    sample = images(labels=[0, 1, 2, 3])
    found = [
        perturbation_spectrum(model, sample, ("contrast", 5), bands=BANDS).values
        for model in (network, lambda x: network(x))
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
