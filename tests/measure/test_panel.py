"""Answers clean and under a panel: closed forms, and what a change of confidence does to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

from pytest_iaside import ReferenceSample
from pytest_iaside.measure.metrics import accuracy
from pytest_iaside.measure.panel import PANEL, measure_answers
from pytest_iaside.stats.structured import label_information
from pytest_iaside.stats.temperature import temperature_of

SIDE, CLASSES, COUNT = 16, 4, 40
WEIGHTS = torch.randn(3 * SIDE * SIDE, CLASSES, generator=torch.Generator().manual_seed(3))


def model(images: Tensor) -> Tensor:
    return (images - 0.5).flatten(1) @ WEIGHTS


def sample(labelled: bool = True) -> ReferenceSample:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(COUNT, 3, SIDE, SIDE, generator=generator)
    labels = model(images).argmax(dim=1)
    labels[::5] = (labels[::5] + 1) % CLASSES
    return ReferenceSample(images, labels.tolist() if labelled else None)


def test_every_quantity_is_what_it_says() -> None:
    found = measure_answers(model, sample(), [("white_noise", 2), ("contrast", 4)])
    logits = model(sample().pixels()).double().numpy()
    labels = found.labels
    temperature = temperature_of(logits, labels)
    assert found["temperature"] == pytest.approx(temperature)
    scaled = special.log_softmax(logits / temperature, axis=1)[np.arange(COUNT), labels]
    np.testing.assert_allclose(found["log-likelihood, clean"], scaled, atol=1e-5)
    np.testing.assert_allclose(found["probability of the label, clean"], np.exp(scaled), atol=1e-5)
    assert found["accuracy, clean"].mean() == pytest.approx(0.8)
    for name, severity in (("white_noise", 2), ("contrast", 4)):
        expected = accuracy(model, sample(), (name, severity)).value
        assert found[f"accuracy under {name} {severity}"].mean() == pytest.approx(expected)
    for title in ("accuracy", "log-likelihood", "probability of the label"):
        places = (", clean", " under white_noise 2", " under contrast 4")
        mean = np.mean([found[f"{title}{place}"] for place in places], axis=0)
        np.testing.assert_allclose(found[f"{title}, clean and perturbed"], mean)
    assert found.forward_passes == 3 * COUNT
    given = special.log_softmax(logits, axis=1)
    np.testing.assert_allclose(found["L(all)"], given[np.arange(COUNT), labels], atol=1e-4)
    np.testing.assert_allclose(found["information"], label_information(given, labels), atol=1e-4)
    assert len(found.quantities) == 3 * 4 + 3


@pytest.mark.parametrize("labelled", [True, False])
def test_another_confidence_changes_the_temperature_alone(labelled: bool) -> None:
    before = measure_answers(model, sample(labelled))
    after = measure_answers(lambda images: 3 * model(images) + 7, sample(labelled))
    assert after["temperature"] == pytest.approx(3 * before["temperature"], rel=1e-4)
    for quantity in before.quantities:
        if quantity.name not in ("temperature", "L(all)", "information"):
            np.testing.assert_allclose(after[quantity.name], before[quantity.name], atol=2e-3)


def test_a_constant_on_one_logit_is_seen() -> None:
    """Bands see nothing of it: v(S) − v(∅) does not move (SPEC.md 6, perturbation game 7)."""
    before = measure_answers(model, sample(), ())
    after = measure_answers(lambda images: model(images) + 90 * torch.eye(CLASSES)[3], sample(), ())
    share = float((before.labels == 3).mean())
    assert after["accuracy, clean"].mean() == pytest.approx(share)
    assert before["accuracy, clean"].mean() == pytest.approx(0.8)


def test_labels_of_a_baseline_count_where_there_are_none() -> None:
    before = measure_answers(model, sample(labelled=False))
    turned = measure_answers(lambda x: model(x).roll(1, 1), sample(False), labels_from=before)
    assert before["accuracy, clean"].mean() == 1
    assert turned["accuracy, clean"].mean() == 0
    np.testing.assert_array_equal(turned.labels, before.labels)


def test_the_usual_panel_fits_small_and_grey_images() -> None:
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    found = measure_answers(lambda x: x.flatten(1)[:, :3], ReferenceSample(images, [0, 1, 2, 0]))
    assert found.forward_passes == 4 * (len(PANEL) + 1)
    assert np.isfinite(found.values).all()
