"""Limits on a score for models that have none, and scores without a limit."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import (
    Classifier,
    ReferenceSample,
    assert_equivalent_robustness,
    assert_perturbation_robustness,
    assert_spectral_response,
    assert_spectral_robustness,
)
from pytest_iaside.errors import SettingsError

torch.manual_seed(0)
IMAGES = torch.rand(8, 3, 12, 12)
NETWORK = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(27, 3))
LABELS = torch.arange(8) % 3
ORDINARY = ReferenceSample(IMAGES, LABELS)


def likelihood(logits: Tensor, classes: Tensor) -> Tensor:
    return -nn.functional.cross_entropy(logits, classes, reduction="none")


SCORED = Classifier(NETWORK, score=likelihood)
SEVERAL = Classifier(NETWORK, task="multilabel")


def outside(asserted: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call the assertion where no test is known to run."""
    return contextvars.Context().run(asserted, *arguments, **keywords)


REFUSED = [
    (
        assert_spectral_robustness,
        "max_score_drop",
        r"give max_log_likelihood_drop or max_accuracy_drop, or Classifier\(…, score=…\)",
    ),
    (assert_perturbation_robustness, "max_score_drop", "give max_accuracy_drop, or Classifier"),
    (assert_perturbation_robustness, "max_score_loss_rise", "give max_error_rise, or Classifier"),
    (assert_spectral_response, "max_score_loss_rise", "give max_loss_rise, or Classifier"),
]


@pytest.mark.parametrize(("asserted", "name", "advice"), REFUSED)
@pytest.mark.parametrize("model", [NETWORK, SEVERAL, [NETWORK, NETWORK]])
def test_of_a_model_without_a_score_are_refused(
    asserted: Callable[..., Any], name: str, advice: str, model: Any
) -> None:
    with pytest.raises(SettingsError, match=f"{name}=0.1 limits a score of your own, .*{advice}"):
        outside(asserted, model, ORDINARY, **{name: 0.1})


def test_of_two_models_without_one_as_well() -> None:
    advice = "give max_log_likelihood_difference or max_accuracy_difference, or Classifier"
    with pytest.raises(SettingsError, match=advice):
        outside(assert_equivalent_robustness, NETWORK, SEVERAL, ORDINARY, max_score_difference=0.1)


@pytest.mark.parametrize(
    ("asserted", "names"),
    [
        (assert_perturbation_robustness, "max_score_drop=… or max_score_loss_rise=…, in its unit"),
        (assert_spectral_response, "be lost: max_score_loss_rise=…, in its unit"),
    ],
)
def test_a_score_needs_one(asserted: Callable[..., Any], names: str) -> None:
    with pytest.raises(SettingsError, match=f"a score of your own .score., .*{names}"):
        outside(asserted, SCORED, ORDINARY)
