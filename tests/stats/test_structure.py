"""ψ told from noise, and trained models from untrained ones."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from profiles import TRAINED, make_profile
from torch import nn

from pytest_iaside.images.reference import ReferenceSample
from pytest_iaside.measure.spectral import measure
from pytest_iaside.stats.structured import label_information, uninformed


def _log_softmax(logits):
    logits = np.asarray(logits, dtype=float)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_information_of_a_perfect_classifier_is_the_log_of_its_classes():
    confident = _log_softmax(np.kron(np.eye(4), np.ones((5, 1))) * 40)
    labels = np.repeat(np.arange(4), 5)
    np.testing.assert_allclose(label_information(confident, labels), np.log(4), atol=1e-12)
    soft = np.eye(4)[labels]
    np.testing.assert_allclose(label_information(confident, soft), np.log(4), atol=1e-12)


def test_information_weighs_labels_the_same_however_many_images_show_them():
    labels = np.array([0] * 90 + [1] * 10)
    confident = _log_softmax(np.eye(2)[labels] * 40)
    np.testing.assert_allclose(label_information(confident, labels), np.log(2), atol=1e-12)


def test_one_answer_for_all_images_informs_of_nothing():
    log_probabilities = np.tile(_log_softmax([[3.0, 1.0, 0.0]]), (6, 1))
    np.testing.assert_allclose(
        label_information(log_probabilities, np.arange(6) % 3), 0, atol=1e-12
    )
    assert np.isnan(label_information(log_probabilities[:1], np.array([0]))).all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": 1}, "one image cannot tell"),
        ({"psi": TRAINED * 1e-7, "noise": 1e-8}, "less than rounding"),
        ({"psi": TRAINED * 0.02, "noise": 1.0}, "cannot be told from nothing"),
        ({"psi": -TRAINED}, "less likely with all bands than with none"),
        ({"psi": 0.8 + 0.02 * np.arange(8), "noise": 1.0}, "no band can be told from the others"),
        ({"information": 0.0}, "nearly the same of any other image"),
        ({"information": -0.2}, "makes its label less likely, by 0.2 nats: the labels or the"),
        ({"information": 1.0, "labels": "predicted"}, r"1 nats about its label \(at least 1.2"),
    ],
)
def test_each_way_of_meaning_nothing_is_said(changes, reason):
    profile = make_profile(**changes)
    assert not profile.structured
    assert re.search(reason, profile.unstructured_because)


def test_a_sample_of_one_class_is_judged_by_chance_and_never_by_its_own_predictions():

    profile = make_profile()
    alike = np.zeros(len(profile), dtype=np.int64)
    assert replace(profile, labels=alike).structured
    predicted = make_profile(labels="predicted")
    reason = replace(predicted, labels=alike).unstructured_because
    assert "same class for every image" in reason


def _small_networks():
    for seed in range(3):
        torch.manual_seed(seed)
        yield nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(288, 10),
        )


def _striped_images(count=40):
    """Ten classes of pictures: gratings of ten orientations on a soft background, and noise."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    images = []
    for n in range(count):
        angle = torch.tensor(torch.pi * (n % 10) / 10)
        wave = torch.cos(0.9 * (x * angle.cos() + y * angle.sin()))
        noise = 0.05 * torch.randn(3, 32, 32, generator=generator)
        images.append((0.5 + 0.25 * wave + noise).clamp(0, 1))
    return torch.stack(images), torch.arange(count) % 10


@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "predictions"])
def test_untrained_networks_come_out_unstructured(labelled):
    images, labels = _striped_images()
    sample = ReferenceSample(images, labels if labelled else None)
    for network in _small_networks():
        profile = measure(network, sample, bands=4)
        assert not profile.structured, profile
        # Confident nonsense is nonsense: large logits are no information either.
        with torch.no_grad():
            network[-1].weight *= 30
        assert not measure(network, sample, bands=4).structured


def test_a_trained_network_comes_out_structured():
    images, labels = _striped_images()
    network = next(_small_networks())
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    for given in (labels, None):
        profile = measure(network, ReferenceSample(images, given), bands=4)
        assert profile.structured, profile.unstructured_because


@pytest.mark.parametrize("soft", [False, True])
def test_information_against_its_definition(soft):
    generator = np.random.default_rng(0)
    log_probabilities = _log_softmax(2 * generator.normal(size=(20, 6)))
    hard = generator.integers(0, 4, size=20)
    hard[0] = 5  # a label that no other image shows
    labels = np.eye(6)[hard] * 0.8 + 0.2 / 6 if soft else hard
    expected = []
    for n in range(20):
        means = []
        for label in np.unique(hard):
            others = [m for m in range(20) if m != n and hard[m] == label]
            if others:
                means.append(np.exp(log_probabilities[others]).mean(axis=0))
        gain = log_probabilities[n] - np.log(np.mean(means, axis=0))
        expected.append(labels[n] @ gain if soft else gain[hard[n]])
    np.testing.assert_allclose(label_information(log_probabilities, labels), expected, atol=1e-9)


def test_what_noise_hides_is_not_said_to_be_less_than_expected():
    uncertain = np.array([1.5, -1.2, 1.4, -1.3, 1.6, -1.1, 0.6, 0.3])
    said = uninformed(uncertain, uncertain, distinct_labels=4, predicted=False)
    assert said.startswith("an image tells the model 0.22 nats about its label, which 8 images")
    assert "expected" not in said
    rounding = np.full(8, -2.8e-17)
    said = uninformed(rounding, rounding, distinct_labels=4, predicted=False)
    assert said.startswith("an image tells the model no nats about its label (at least 0.001")
