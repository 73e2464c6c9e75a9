"""What is said of targets, scores and probabilities that do not fit the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import (
    BaselineError,
    Classifier,
    ModelError,
    ReferenceSample,
    ReferenceSampleError,
    compare,
    fourier_heat_map,
    mean_prediction_error,
    measure,
)
from pytest_iaside.explain import fam, wcam
from pytest_iaside.images.targets import digests_of
from pytest_iaside.measure.metrics import accuracy, corruption_errors

torch.manual_seed(0)
IMAGES = torch.rand(8, 3, 12, 12)
NETWORK = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(27, 3))
CLASSES = torch.arange(8) % 3
TAGS = nn.functional.one_hot(CLASSES, 3)
SCORED = ReferenceSample(IMAGES, targets=CLASSES)


def likelihood(logits: Tensor, classes: Tensor) -> Tensor:
    return -nn.functional.cross_entropy(logits, classes, reduction="none")


@pytest.mark.parametrize("panel", ["auto", None])
@pytest.mark.parametrize("targets", [CLASSES, CLASSES.tolist(), TAGS])
def test_targets_of_a_classifier_are_refused(targets: Any, panel: Any) -> None:
    sample = ReferenceSample(IMAGES, targets=targets)
    with pytest.raises(ReferenceSampleError, match="which are for task='multilabel' and score="):
        measure(NETWORK, sample, bands=3, panel=panel)


def test_targets_of_several_labels_may_be_truth_values() -> None:
    model = Classifier(NETWORK, task="multilabel")
    values = [
        measure(model, ReferenceSample(IMAGES, targets=tags), bands=3, panel="auto").by_size
        for tags in (TAGS.bool(), TAGS.double())
    ]
    assert (values[0] == values[1]).all()


@pytest.mark.parametrize(
    "normalised",
    [
        lambda found: found - found.mean(),
        lambda found: found.argsort().argsort(),
        lambda found: (found - found.min()) / (found.max() - found.min()).clamp(min=1e-9),
    ],
)
def test_a_score_that_depends_on_the_batch_is_refused(normalised: Any) -> None:
    model = Classifier(NETWORK, score=lambda z, t: normalised(likelihood(z, t)))
    with pytest.raises(ModelError, match="among other images and"):
        measure(model, SCORED, bands=3)


@pytest.mark.parametrize("found", [None, ["good"] * 4])
def test_a_score_without_numbers_is_refused(found: Any) -> None:
    with pytest.raises(ModelError, match="that holds no numbers, for 4 images"):
        measure(Classifier(NETWORK, score=lambda z, t: found), SCORED, bands=3)


WRONG: dict[str, tuple[Any, str]] = {
    "NaN": (
        lambda z, t: torch.where(t == 2, torch.nan, likelihood(z, t)),
        "score= returned NaN or infinity for image 2 with no band; expected a finite number: check",
    ),
    "infinity": (lambda z, t: -likelihood(z, t) / 0, "returned NaN or infinity for image 0"),
    "complex": (
        lambda z, t: likelihood(z, t).to(torch.complex64),
        r"returned complex numbers \(torch.complex64\) for 4 images, expected real ones",
    ),
    "a mean": (
        lambda z, t: likelihood(z, t).mean(),
        r"returned shape \(\) for 4 images, expected \(4,\): .*; leave out its mean over the batch",
    ),
    "too many": (
        lambda z, t: torch.cat([likelihood(z, t)] * 2),
        r"returned shape \(8,\) for 4 images, expected \(4,\): one number for each image, more",
    ),
    "too few": (lambda z, t: likelihood(z, t)[1:], r"returned shape \(3,\) for 4 images"),
    "several for each": (lambda z, t: z, r"returned shape \(4, 3\) for 4 images, expected \(4,\)"),
    "one argument": (lambda z: z, "score= failed on 4 images, the first image 0 .*; it gets what"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_score_may_not_return(what: str) -> None:
    score, message = WRONG[what]
    with pytest.raises(ModelError, match=message):
        measure(Classifier(NETWORK, score=score), SCORED, bands=3)


def test_a_score_that_fails_without_some_bands_names_them() -> None:
    dark = lambda z, t: torch.where(z.abs().sum(dim=1) < 0.2, torch.nan, likelihood(z, t))  # noqa: E731
    model = Classifier(lambda x: x.mean(dim=(2, 3)), score=dark)
    with pytest.raises(ModelError, match=r"returned NaN .* for image 0 with no band; expect"):
        measure(model, SCORED, bands=3)


@pytest.mark.parametrize("kind", [list, Tensor.numpy, lambda found: found[:, None]])
def test_lists_arrays_and_columns_are_scores_too(kind: Any) -> None:
    one, other = (
        measure(Classifier(NETWORK, score=score), SCORED, bands=3)
        for score in (likelihood, lambda z, t: kind(likelihood(z, t)))
    )
    assert (one.values == other.values).all()


def test_what_are_no_probabilities_is_named() -> None:
    model = Classifier(lambda x: 9 + NETWORK(x), output="probabilities")
    with pytest.raises(ModelError, match="where output='probabilities' was said"):
        measure(model, ReferenceSample(IMAGES, CLASSES), bands=3)


@pytest.mark.parametrize("ask", [accuracy, corruption_errors, mean_prediction_error])
def test_shares_of_classes_are_none_of_a_score(ask: Any) -> None:
    more = (("contrast", 2),) if ask is mean_prediction_error else ()
    with pytest.raises(ModelError, match="answers with no class of many"):
        ask(Classifier(NETWORK, score=likelihood), SCORED, *more)


def test_a_heat_map_of_a_score_is_refused() -> None:
    with pytest.raises(ModelError, match="measured by a score of your own"):
        fourier_heat_map(Classifier(NETWORK, score=likelihood), SCORED)


def test_of_several_labels_errors_are_means_over_them() -> None:
    model = Classifier(NETWORK, task="multilabel")
    sample = ReferenceSample(IMAGES, targets=TAGS)
    found = mean_prediction_error(model, sample, lambda x: 1 - x)
    with torch.no_grad():
        moved = (NETWORK(IMAGES).sigmoid() - NETWORK(1 - IMAGES).sigmoid()).abs().mean()
        wrong = ((NETWORK(IMAGES) > 0) != TAGS.bool()).double().mean()
    assert found.value == pytest.approx(float(moved), abs=1e-6)
    clean = fourier_heat_map(model, sample, passes=8).clean_error_rate
    assert clean == pytest.approx(float(wrong))


def test_a_score_has_no_class_to_explain() -> None:
    segmenter = nn.Conv2d(3, 2, 1)
    model = Classifier(segmenter, score=lambda z, t: z.mean(dim=(1, 2, 3)))
    for explain in (wcam, fam):
        with pytest.raises(ModelError, match="so there is no class to explain"):
            explain(model, torch.rand(1, 3, 16, 16))


def test_profiles_of_unlike_units_are_not_compared() -> None:
    old, new = (
        measure(Classifier(NETWORK, score=likelihood, unit=unit), SCORED, bands=3)
        for unit in ("nats", "grades")
    )
    with pytest.raises(BaselineError, match="unit: candidate grades, baseline nats"):
        compare(new, old)


@dataclass
class Boxed:
    mask: Tensor


class Plain:
    def __init__(self, value: int) -> None:
        self.value = value


def test_targets_are_told_apart_by_all_they_hold() -> None:
    long = torch.arange(5000)  # repr leaves the middle out.
    other = long.clone()
    other[2500] = 0
    different = [Boxed(long), Boxed(other), Plain(1), Plain(2), {1, 2}, {1, 3}, "a", None, 1.5]
    assert len(set(digests_of(tuple(different)))) == len(different)
    assert digests_of((Plain(1),)) == digests_of((Plain(1),))
    with pytest.raises(ReferenceSampleError, match="a target is a object"):
        digests_of((object(),))
