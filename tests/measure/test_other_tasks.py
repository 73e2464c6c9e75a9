"""Measurements of tasks other than one class of many: sums, oracles, files, comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytest_iaside import (
    Classifier,
    Measurement,
    ReferenceSample,
    ReferenceSampleError,
    SpectralProfile,
    Thresholds,
    compare,
    measure,
    perturbation_spectrum,
    spectral_response,
)
from pytest_iaside.measure.panel import measure_answers
from pytest_iaside.measure.perturbation import measure_perturbations

K, LABELS, SIDE = 12, 3, 8
WAVES = torch.stack(
    [
        torch.cos(torch.arange(SIDE) * torch.pi * frequency / 4)[None, :].expand(SIDE, SIDE)
        for frequency in (1, 2, 4)
    ]
)


def images(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images in which waves of three frequencies are or are not, and which are: (K, 3)."""
    generator = torch.Generator().manual_seed(seed)
    there = (torch.rand(K, LABELS, generator=generator) > 0.5).double()
    there[0], there[1] = 1.0, 0.0
    pixels = 0.5 + 0.12 * torch.einsum("kl,lhw->khw", there.float() * 2 - 1, WAVES)
    noise = 0.01 * torch.randn(K, 1, SIDE, SIDE, generator=generator)
    return (pixels[:, None] + noise).clamp(0, 1), there


class Finder(nn.Module):
    """One logit for each wave: how much of it is in an image."""

    def __init__(self, gain: float = 30.0, frequencies: int = LABELS) -> None:
        super().__init__()
        self.waves = nn.Parameter(WAVES[:frequencies].clone())
        self.gain = gain

    def forward(self, pixels: Tensor) -> Tensor:
        return self.gain * torch.einsum("khw,lhw->kl", pixels[:, 0], self.waves) / SIDE**2


def multilabel() -> tuple[Classifier, ReferenceSample]:
    pixels, there = images()
    return Classifier(Finder(), task="multilabel"), ReferenceSample(pixels, targets=there)


def closeness(outputs: Tensor, targets: Tensor) -> Tensor:
    return -(torch.sigmoid(outputs) - targets).abs().mean(dim=1)


def scored() -> tuple[Classifier, ReferenceSample]:
    pixels, there = images()
    return Classifier(Finder(), score=closeness, unit="points"), ReferenceSample(
        pixels, targets=there
    )


def clean_values(kind: str, pixels: Tensor, there: Tensor) -> Tensor:
    outputs = Finder()(pixels).detach().double()
    if kind == "score":
        return closeness(outputs, there)
    holds = torch.sigmoid(outputs)
    return (there * holds.log() + (1 - there) * (1 - holds).log()).sum(dim=1)


MADE = {"multilabel": multilabel, "score": scored}


@pytest.mark.parametrize("kind", MADE)
class TestBoth:
    def test_the_game_adds_up_to_the_clean_value(self, kind: str) -> None:
        classifier, sample = MADE[kind]()
        found = measure(classifier, sample, bands=4)
        expected = clean_values(kind, sample.pixels(), sample.targets)
        np.testing.assert_allclose(found.by_size[:, -1], expected, atol=1e-4)
        np.testing.assert_allclose(
            found.values.sum(axis=1), found.by_size[:, -1] - found.by_size[:, 0], atol=1e-9
        )
        assert (found.model.task, found.structured) == (kind, True)
        # Each wave lies in a band of its own: only in the last is nothing but the finest.
        assert (found.psi > 0).sum() >= 3

    def test_batches_backends_and_executors_agree(self, kind: str) -> None:
        from concurrent.futures import ThreadPoolExecutor

        from pytest_iaside import Execution

        classifier, sample = MADE[kind]()
        expected = measure(classifier, sample, bands=4).values
        for how in (Execution(batch_size=5), Execution(backend="openvino")):
            found = measure(classifier, sample, bands=4, execution=how).values
            np.testing.assert_allclose(found, expected, atol=1e-4)
        with ThreadPoolExecutor(2) as pool:
            how = Execution(executor=pool)
            found = measure(classifier, sample, bands=4, execution=how).values
        np.testing.assert_allclose(found, expected, atol=1e-4)

    def test_it_is_kept_in_files(self, kind: str, tmp_path: Path) -> None:
        classifier, sample = MADE[kind]()
        found = measure(classifier, sample, bands=4, panel="auto")
        loaded = SpectralProfile.load(found.save(tmp_path / "profile.yaml"))
        np.testing.assert_array_equal(loaded.values, found.values)
        assert (loaded.model.task, loaded.model.unit) == (found.model.task, found.model.unit)
        assert loaded.answers is not None and found.answers is not None
        assert loaded.answers.quantities == found.answers.quantities
        np.testing.assert_array_equal(loaded.labels, found.labels)

    def test_a_cached_game_is_the_same(self, kind: str) -> None:
        classifier, sample = MADE[kind]()
        first = measure(classifier, sample, bands=4, cache=True, panel="auto")
        again = measure(classifier, sample, bands=4, cache=True, panel="auto")
        assert again.passes_from_cache == again.forward_passes > 0
        np.testing.assert_array_equal(first.values, again.values)
        other = sample.with_targets(1 - sample.targets)
        assert measure(classifier, other, bands=4, cache=True).passes_from_cache == 0

    def test_another_model_is_held_against_it(self, kind: str) -> None:
        classifier, sample = MADE[kind]()
        settings: dict[str, Any] = (
            {"task": "multilabel"}
            if kind == "multilabel"
            else {"score": closeness, "unit": "points"}
        )
        limits = Thresholds(max_score_drop=0.05)
        before = measure(classifier, sample, bands=4, panel="auto")
        broken = Classifier(Finder(gain=-30.0), **settings)
        after = measure(broken, sample, bands=4, panel="auto")
        found = compare(after, before, limits)
        assert found.verdict == "drift"
        assert compare(before, before, limits).verdict == "pass"
        constant = measure(Classifier(Finder(gain=0.0), **settings), sample, bands=4, panel="auto")
        assert compare(constant, before, limits).verdict == "drift"

    def test_perturbations_and_noise_in_bands(self, kind: str) -> None:
        classifier, sample = MADE[kind]()
        spectrum = perturbation_spectrum(classifier, sample, ("white_noise", 5), bands=4)
        whole = spectrum.image_loss()
        np.testing.assert_allclose(spectrum.image_phi().sum(axis=1), whole, atol=1e-6)
        response = spectral_response(classifier, sample, bands=4, energies=(0.5, 2.0))
        assert response.image_response().shape == (K, 2, 4)
        measured = measure_perturbations(classifier, sample, [("white_noise", 5)])
        name = "score lost" if kind == "score" else "mPE"
        lost = measured[f"{name} under white_noise 5"]
        assert lost.mean() > 0
        if kind == "score":
            np.testing.assert_allclose(lost, whole, atol=1e-6)


def test_scores_of_what_is_no_tensor() -> None:
    """As a detector's: a list of dicts, of which the score makes a number each."""

    class Detector(nn.Module):
        def forward(self, pixels: Tensor) -> list[dict[str, Tensor]]:
            means = pixels.mean(dim=(1, 2, 3))
            return [{"boxes": each[None], "scores": each[None]} for each in means]

    def matched(outputs: list[dict[str, Tensor]], targets: list[dict[str, float]]) -> list[float]:
        return [
            -abs(float(o["boxes"][0]) - t["box"]) for o, t in zip(outputs, targets, strict=True)
        ]

    pixels, _ = images()
    targets = [{"box": float(each.mean())} for each in pixels]
    sample = ReferenceSample(pixels, targets=targets)
    found = measure(Classifier(Detector(), score=matched), sample, bands=4)
    np.testing.assert_allclose(found.by_size[:, -1], 0.0, atol=1e-6)
    # The mean lies in band 0 alone, and no other band is worth anything.
    np.testing.assert_allclose(found.psi[1:], 0.0, atol=1e-6)
    assert found.psi[0] == pytest.approx(float(np.mean([t["box"] for t in targets])), abs=1e-6)


def test_temperature_alone_is_no_harm_to_labels() -> None:
    classifier, sample = multilabel()
    one = measure_answers(classifier, sample)
    half = measure_answers(Classifier(Finder(gain=15.0), task="multilabel"), sample)
    np.testing.assert_allclose(
        half["log-likelihood, clean"], one["log-likelihood, clean"], atol=1e-6
    )
    assert half["temperature"][0] == pytest.approx(one["temperature"][0] / 2, rel=1e-6)


def test_without_targets_the_labels_are_predicted() -> None:
    classifier, sample = multilabel()
    found = measure(classifier, sample.with_targets(None), bands=4)
    predicted = (Finder()(sample.pixels()) > 0).double().numpy()
    np.testing.assert_array_equal(found.labels, predicted)
    other = measure(
        Classifier(Finder(gain=20.0), task="multilabel"),
        sample.with_targets(None),
        bands=4,
        labels_from=found,
    )
    np.testing.assert_array_equal(other.labels, predicted)


@pytest.mark.parametrize(
    ("classifier", "targets", "message"),
    [
        (Classifier(Finder(), score=closeness), None, "a score needs targets"),
        (
            Classifier(Finder(), task="multilabel"),
            torch.ones(K, 2),
            r"task='multilabel' with 3 labels expects targets of shape \(images, 3\)",
        ),
        (
            Classifier(Finder(), task="multilabel"),
            torch.full((K, LABELS), 2.0),
            r"targets of shape \(images, 3\) in \[0, 1\]",
        ),
    ],
)
def test_targets_that_do_not_fit(classifier: Classifier, targets: Any, message: str) -> None:
    sample = ReferenceSample(images()[0], targets=targets)
    with pytest.raises(ReferenceSampleError, match=message):
        measure(classifier, sample, bands=4)


def test_one_logit_and_two_classes() -> None:
    pixels, there = images()
    labels = there[:, 1].long()
    sample = ReferenceSample(pixels, labels)

    class One(Finder):
        def forward(self, pixels: Tensor) -> Tensor:
            return super().forward(pixels)[:, 1]

    class Two(Finder):
        def forward(self, pixels: Tensor) -> Tensor:
            z = super().forward(pixels)[:, 1:2]
            return torch.cat([torch.zeros_like(z), z], dim=1)

    one = measure(Classifier(One(), task="binary"), sample, bands=4, panel="auto")
    two = measure(Two(), sample, bands=4, panel="auto")
    np.testing.assert_allclose(one.values, two.values, atol=1e-5)
    assert isinstance(one.answers, Measurement)
    np.testing.assert_allclose(one.answers.values, two.answers.values, atol=1e-4)


def test_another_score_is_another_measurement() -> None:
    from pytest_iaside import BaselineError

    def lenient(outputs: Tensor, targets: Tensor) -> Tensor:
        return closeness(outputs, targets) / 2

    classifier, sample = scored()
    before = measure(classifier, sample, bands=4)
    after = measure(Classifier(Finder(), score=lenient, unit="points"), sample, bands=4)
    with pytest.raises(BaselineError, match=r"score: candidate .*lenient, baseline closeness"):
        compare(after, before)
    other = measure(Classifier(Finder(), score=closeness), sample, bands=4)
    with pytest.raises(BaselineError, match="unit: candidate score, baseline points"):
        compare(other, before)
