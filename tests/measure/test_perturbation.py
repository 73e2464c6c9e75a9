"""Perturbation readings: the metrics' own numbers, image by image, on the right labels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import (
    ReferenceSample,
    ReferenceSampleError,
    SettingsError,
    assert_perturbation_robustness,
    compare,
    corrupt,
    fgsm,
    mean_corruption_error,
    mean_prediction_error,
    measure_perturbations,
    perturbation_spectrum,
)
from pytest_iaside.measure.metrics import accuracy, corruption_errors

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (6, 3, 24, 24), generator=GENERATOR, dtype=torch.uint8)
LABELED = ReferenceSample(IMAGES, torch.arange(6) % 4)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(54, 4))
    with torch.no_grad():
        network[-1].weight *= 8
    return network.eval()


def test_every_quantity_is_the_metrics_own(network: nn.Module) -> None:
    pairs = [("contrast", 3), ("white_noise", 2)]
    found = measure_perturbations(network, LABELED, pairs, temperature=2.0, seed=3)
    assert [quantity.name for quantity in found.quantities] == [
        "clean accuracy",
        "mPE under contrast 3",
        "accuracy under contrast 3",
        "mPE under white_noise 2",
        "accuracy under white_noise 2",
    ]
    clean = accuracy(network, LABELED)
    np.testing.assert_array_equal(found["clean accuracy"], clean.image_values)
    for name, severity in pairs:
        error = mean_prediction_error(network, LABELED, (name, severity), temperature=2.0, seed=3)
        right = accuracy(network, LABELED, (name, severity), seed=3)
        np.testing.assert_allclose(found[f"mPE under {name} {severity}"], error.image_values)
        np.testing.assert_array_equal(
            found[f"accuracy under {name} {severity}"], right.image_values
        )
    assert found.forward_passes == 18


def test_the_corruption_error_is_the_metrics_own(network: nn.Module) -> None:
    found = measure_perturbations(network, LABELED, [("contrast", 1)], normaliser="alexnet")
    expected = mean_corruption_error(corruption_errors(network, LABELED), "alexnet")
    np.testing.assert_allclose(found["mCE (%)"], expected.image_values)
    assert found.settings["normaliser"] == "alexnet"
    assert found.forward_passes == 6 * 77


def test_functions_attacks_and_stored_images_are_named(network: nn.Module) -> None:
    stored = ReferenceSample(corrupt(IMAGES, "contrast", 3), LABELED.labels, names=LABELED.names)
    given = {
        "darker": lambda pixels: 0.5 * pixels,
        "attacked": partial(fgsm, eps=0.1),
        "stored": stored,
        "made": ("contrast", 3),
    }
    found = measure_perturbations(network, LABELED, given)
    assert found.settings["perturbations"] == list(given)
    np.testing.assert_allclose(found["mPE under stored"], found["mPE under made"], atol=1e-6)
    assert found["mPE under attacked"].mean() > 0
    unnamed = measure_perturbations(network, LABELED, [partial(fgsm, eps=0.1)])
    assert unnamed.settings["perturbations"] == ["fgsm eps=0.1"]


def test_stored_images_may_be_more_than_are_measured(network: nn.Module) -> None:
    stored = ReferenceSample(corrupt(IMAGES, "contrast", 3), names=LABELED.names)
    given = {"stored": stored, "darker": lambda pixels: 0.5 * pixels}
    whole = measure_perturbations(network, LABELED, given)
    some = measure_perturbations(network, LABELED, given, samples=3)
    np.testing.assert_allclose(some.values, whole.values[:3], atol=1e-6)


def test_predicted_labels_may_be_anothers(network: nn.Module) -> None:
    unlabelled = LABELED.with_labels(None)
    baseline = measure_perturbations(network, unlabelled, [("contrast", 1)])
    assert baseline["clean accuracy"].mean() == 1
    with torch.no_grad():
        network[-1].bias += torch.tensor([0.0, 50.0, 0.0, 0.0])
    try:
        found = measure_perturbations(network, unlabelled, [("contrast", 1)], labels_from=baseline)
    finally:
        with torch.no_grad():
            network[-1].bias -= torch.tensor([0.0, 50.0, 0.0, 0.0])
    np.testing.assert_array_equal(found.labels, baseline.labels)
    np.testing.assert_array_equal(found["clean accuracy"], baseline.labels == 1)


@pytest.mark.parametrize(
    ("perturbations", "message"),
    [
        ([], "perturbations is empty"),
        ("contrast", "is no list of perturbations"),
        ([("contrast", 1), ("contrast", 1)], "'contrast 1' more than once"),
        ([("contras", 1)], "did you mean 'contrast'"),
        ([("contrast", 6)], "severity=6"),
    ],
)
def test_what_is_no_perturbation_is_told(
    network: nn.Module, perturbations: Any, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        measure_perturbations(network, LABELED, perturbations)


def test_stored_images_of_other_labels_stand_in_another_order() -> None:
    random = np.random.default_rng(0)
    pictures, labels = random.random((6, 3, 8, 8), dtype=np.float32), [0, 1, 2, 0, 1, 2]
    stored = ReferenceSample(pictures[::-1] * np.float32(0.5), labels[::-1])
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3))
    message = r"image 0 has the label 0, but its perturbed image 2 \(4 of 6 differ\)"
    with pytest.raises(ReferenceSampleError, match=message):
        measure_perturbations(network, ReferenceSample(pictures, labels), [stored])
    with pytest.raises(ReferenceSampleError, match=message):
        perturbation_spectrum(network, ReferenceSample(pictures, labels), stored, bands=4)
    # Without labels nobody can tell, and names that were given tell better.
    measure_perturbations(network, ReferenceSample(pictures, labels), [ReferenceSample(pictures)])
    names = list("abcdef")
    named = ReferenceSample(pictures, [1] * 6, names=names)
    measure_perturbations(network, ReferenceSample(pictures, labels, names=names), [named])


def test_stored_images_that_are_too_few() -> None:
    pictures = np.random.default_rng(0).random((6, 3, 8, 8), dtype=np.float32)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3))
    with pytest.raises(ReferenceSampleError, match="give each clean image its perturbed one"):
        measure_perturbations(network, ReferenceSample(pictures), [ReferenceSample(pictures[:3])])


@pytest.mark.parametrize("given", [("contrast", 3), ["contrast", 3]])
def test_a_single_perturbation_is_told_to_go_into_a_list(given: Any, network: nn.Module) -> None:
    with pytest.raises(SettingsError, match=r"is one perturbation; give a list of them: \["):
        measure_perturbations(network, LABELED, given)


def test_a_temperature_that_is_no_number(network: nn.Module) -> None:
    with pytest.raises(SettingsError, match="temperature='a' must be a finite number above 0"):
        assert_perturbation_robustness(network, LABELED, temperature="a")  # type: ignore[arg-type]


def test_limits_of_another_measurement_say_which_there_are(network: nn.Module) -> None:
    measured = measure_perturbations(network, LABELED, [("contrast", 3)])
    message = (
        r"for accuracy, effective, mpe, such as thresholds=\{'accuracy': Limit\(change=0.05\)\}"
    )
    with pytest.raises(SettingsError, match=message):
        compare(measured, measured)


def test_perturbations_that_depend_on_more_than_the_image_are_told(network: nn.Module) -> None:
    def centred(images: Tensor) -> Tensor:
        return (images - images.mean(dim=0) + 0.5).clamp(0, 1)

    def darker(images: Tensor) -> Tensor:
        return images / 2

    def grainy(images: Tensor) -> Tensor:
        return (images + 0.1 * torch.randn_like(images)).clamp(0, 1)

    notes = measure_perturbations(network, LABELED, [centred, darker, grainy]).notes
    batch, drawn = (note for note in notes if "makes" in note)
    assert batch.startswith("centred makes another image of image 0 alone than among others")
    assert drawn.startswith("grainy makes other images each time")
