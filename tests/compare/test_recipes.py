"""A bad training among good ones: what makes an interval wide does not make a gate green."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from pytest_iaside import Classifier, Comparison, ReferenceSample, SpectralProfile, compare, measure
from pytest_iaside.measure.trainings import mean_of

WAVES = torch.stack([torch.cos(2 * torch.pi * k * torch.arange(16) / 16) for k in (1, 3, 7)])


def sample(count: int = 60) -> ReferenceSample:
    classes = torch.arange(count) % 3
    images = 0.5 + 0.2 * WAVES[classes][:, None, None, :].expand(count, 1, 16, 16)
    noise = 0.05 * torch.randn(count, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return ReferenceSample((images + noise).clamp(0, 1), classes)


@cache
def training(seed: int, brittle: float = 0.0) -> SpectralProfile:
    """Trainings differ by how well they find each wave; a brittle one takes noise for class 0."""
    gains = 2 + 0.3 * torch.rand(3, generator=torch.Generator().manual_seed(seed))

    def network(images: torch.Tensor) -> torch.Tensor:
        logits = (images.mean(dim=(1, 2)) @ WAVES.T) * gains
        rough = (images[:, 0, 1:] - images[:, 0, :-1]).abs().mean(dim=(1, 2))
        return logits + brittle * (rough[:, None] - 0.06).clamp(0) * torch.tensor([1.0, 0, 0])

    return measure(
        Classifier(network, name=f"seed {seed}"), sample(), bands=4, panel=[("white_noise", 3)]
    )


def trainings(*seeds: int) -> SpectralProfile:
    return mean_of([training(seed) for seed in seeds])


def under_noise(found: Comparison) -> set[str]:
    return {check.verdict for check in found.checks if check.name.startswith("perturbed")}


@pytest.mark.parametrize("baseline", [(0,), (0, 1, 2, 3, 4)])
def test_one_that_fails_under_noise_is_not_hidden_by_others(baseline: tuple[int, ...]) -> None:
    bad = mean_of([training(5), training(6), training(7, brittle=200.0)])
    found = compare(bad, trainings(*baseline))
    assert found.verdict == "inconclusive"
    assert "inconclusive" in under_noise(found)


def test_which_training_it_is_stands_in_the_check() -> None:
    bad = mean_of([training(5), training(6), training(7, brittle=200.0)])
    found = compare(bad, trainings(0, 1, 2, 3, 4))
    told = [check.sentence for check in found.checks if check.verdict == "inconclusive"]
    assert any("training 3 of 3 alone: accuracy under white_noise 3" in each for each in told)


def test_good_ones_alone_are_as_before() -> None:
    good = compare(trainings(5, 6, 7), trainings(0, 1, 2, 3, 4))
    assert good.verdict in ("pass", "nothing found")
    assert not any("alone:" in check.sentence for check in good.checks)


def test_no_share_is_said_to_fall_by_more_than_all() -> None:
    bad = mean_of([training(5), training(6), training(7, brittle=200.0)])
    told = [check.sentence for check in compare(bad, trainings(0)).checks if check.where]
    assert any("nothing less than all would be found" in each for each in told)
    for check in compare(bad, trainings(0)).checks:
        if check.name.endswith(("accuracy", "probability")) and check.detectable >= 1:
            assert "nothing less than all" in check.sentence
