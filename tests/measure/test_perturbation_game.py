"""The perturbation game: closed forms of SPEC.md 6, number 6, and what every game owes."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
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
    BaselineError,
    Classifier,
    Execution,
    Measurement,
    ModelError,
    ReferenceSample,
    ReferenceSampleError,
    SettingsError,
    compare,
    corrupt,
    perturbation_spectrum,
    pgd,
)
from pytest_iaside.images.filters import split
from pytest_iaside.measure.answers import answers
from pytest_iaside.measure.metrics import correct
from pytest_iaside.measure.panel import log_likelihoods, probabilities
from pytest_iaside.measure.perturbation_game import PerturbationSpectrum
from pytest_iaside.measure.trainings import mean_of
from pytest_iaside.thresholds import Limit

BANDS = 3
PARTITION = BandPartition(SIDE, SIDE, BANDS)
PGD = partial(pgd, eps=0.05, steps=3, step_size=0.02)
SCORES: tuple[Any, ...] = ("log-likelihood", "probability", "accuracy")


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


@pytest.mark.parametrize(("perturbation", "given_labels"), [*EVERY, (PGD, "hard")])
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
        "log-likelihood": partial(log_likelihoods, labels=found.labels, temperature=1.0),
        "probability": partial(probabilities, labels=found.labels, temperature=1.0),
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


def test_nothing_changed_loses_nothing() -> None:
    sample = images()
    found = perturbation_spectrum(curved, sample, lambda pixels: pixels, bands=BANDS)
    assert not found.values.any()
    assert not found.energy.any()
    assert np.isnan(found.energy_shares).all()
    assert any("leaves 4 of 4 images as they are" in note for note in found.notes)


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


def test_two_are_compared_image_by_image() -> None:
    sample = images(12, labels=[0, 1, 2, 3] * 3)
    one, other = (
        perturbation_spectrum(model, sample, ("white_noise", 3), bands=BANDS)
        for model in (curved, lambda x: curved(x) * 1.5)
    )
    found = compare(other, one, {"log-likelihood": Limit(change=1.0)})
    difference = other.values.mean(axis=0) - one.values.mean(axis=0)
    np.testing.assert_allclose([each.change for each in found.quantities], difference)
    assert {each.family for each in found.quantities} == set(SCORES)
    assert [each.better for each in found.quantities] == ["lower"] * 9
    assert found.answers  # How right clean images are answered belongs to it (SPEC.md 12).
    for changed in ({"bands": 2}, {"partition": "l2"}, {"design": "latin"}, {"seed": 1}):
        settings: Any = {"bands": BANDS} | changed
        another = perturbation_spectrum(curved, sample, ("white_noise", 3), **settings)
        with pytest.raises(BaselineError, match=next(iter(changed))):
            compare(another, one, {})
    blurred = perturbation_spectrum(curved, sample, ("gaussian_blur", 3), bands=BANDS)
    with pytest.raises(BaselineError, match="gaussian_blur 3"):
        compare(blurred, one, {})


def test_an_attack_is_each_models_own_and_says_so() -> None:
    sample = images(labels=[0, 1, 2, 3])
    found = perturbation_spectrum(curved, sample, PGD, bands=BANDS)
    assert found.settings["whose change"] == "each model's own"
    assert any("attacks the model that is measured" in note for note in found.notes)
    noise = perturbation_spectrum(curved, sample, ("white_noise", 3), bands=BANDS)
    assert noise.settings["whose change"] == "the same for every model"
    with pytest.raises(ModelError, match="gradient"):
        perturbation_spectrum(lambda x: curved(x).detach(), sample, PGD, bands=BANDS)


def test_a_file_gives_back_the_same(tmp_path: Path) -> None:
    sample = ReferenceSample(images(6).images, [0, 1, 2, 3, 4, 0], groups=list("aabbcc"))
    found = perturbation_spectrum(curved, sample, ("white_noise", 3), bands=BANDS)
    loaded = Measurement.load(found.save(tmp_path / "spectrum.yaml"))
    assert isinstance(loaded, PerturbationSpectrum)
    assert repr(loaded) == repr(found)
    for name in ("values", "energy", "labels"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(found, name))
    assert loaded.settings == found.settings
    assert loaded.phi()[1].standard_error == found.phi()[1].standard_error
    assert compare(loaded, found, {}).images == 6


def test_trainings_keep_each_change_that_is_their_own(tmp_path: Path) -> None:
    sample = images(6, labels=[0, 1, 2, 3, 4, 0])
    found = [
        perturbation_spectrum(model, sample, PGD, bands=BANDS)
        for model in (curved, lambda x: curved(x.flip(3)))
    ]
    mean = mean_of(found)
    np.testing.assert_allclose(mean.values, (found[0].values + found[1].values) / 2)
    loaded = Measurement.load(mean.save(tmp_path / "trainings.yaml"))
    assert isinstance(loaded, PerturbationSpectrum)
    for one, each in zip(loaded.trainings, found, strict=True):
        np.testing.assert_array_equal(one.energy, each.energy)
    np.testing.assert_allclose(loaded.image_phi(), mean.image_phi())


@pytest.mark.parametrize(
    ("old", "new"),
    [("bands: 3", "bands: 4"), ("bands: 3", "bands: none"), ("bands: 3", "bands: 0")],
)
def test_an_edited_file_is_refused(tmp_path: Path, old: str, new: str) -> None:
    found = perturbation_spectrum(curved, images(), ("contrast", 3), bands=BANDS)
    path = found.save(tmp_path / "spectrum.yaml")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BaselineError, match="it was edited or damaged"):
        Measurement.load(path)


def test_a_file_is_read_as_its_kind_whatever_was_imported(tmp_path: Path) -> None:
    found = perturbation_spectrum(curved, images(), ("contrast", 3), bands=BANDS)
    path = found.save(tmp_path / "spectrum.yaml")
    code = (
        "from pytest_iaside import Measurement; import sys;"
        f"print(type(Measurement.load({str(path)!r})).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "PerturbationSpectrum"


def test_intervals_are_over_groups() -> None:
    sample = images(8, labels=[0, 1, 2, 3] * 2)
    grouped = ReferenceSample(sample.images, sample.labels, groups=list("aabbccdd"))
    alone, together = (
        perturbation_spectrum(curved, each, ("contrast", 3), bands=BANDS)
        for each in (sample, grouped)
    )
    pairs = alone.image_loss().reshape(4, 2).mean(axis=1)
    assert together.loss().standard_error == pytest.approx(pairs.std(ddof=1) / 2)
    values = alone.image_loss()
    assert alone.loss().standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(8))


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
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 5)).eval()
    sample = images(labels=[0, 1, 2, 3])
    found = [
        perturbation_spectrum(model, sample, ("contrast", 5), bands=BANDS).values
        for model in (module, lambda x: module(x))
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
