"""Limits from what retrainings differ by, on trainings whose spread is known."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pytest_iaside import Classifier, ReferenceSample, SpectralProfile, compare, measure
from pytest_iaside.compare.calibration import calibrate
from pytest_iaside.compare.left_out import left_out
from pytest_iaside.errors import BaselineError
from pytest_iaside.measure.trainings import mean_of
from pytest_iaside.thresholds import Thresholds


@pytest.fixture(scope="module")
def profile() -> SpectralProfile:
    waves = torch.stack([torch.cos(2 * torch.pi * k * torch.arange(16) / 16) for k in (1, 3, 7)])
    classes = torch.arange(24) % 3
    images = 0.5 + 0.2 * waves[classes][:, None, None, :].expand(24, 1, 16, 16)
    noise = 0.05 * torch.randn(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    sample = ReferenceSample((images + noise).clamp(0, 1), classes)
    network = Classifier(lambda x: 3 * x.mean(dim=(1, 2)) @ waves.T, name="waves")
    return measure(network, sample, bands=4, panel=[("white_noise", 1)])


def trainings(profile: SpectralProfile, count: int, deviation: float, seed: int = 0) -> list:  # type: ignore[type-arg]
    """Copies of ``profile`` whose ψ of band 0 is moved, for all images alike, by a normal draw."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        values, by_size = profile.values.copy(), profile.by_size.copy()
        moved = deviation * profile.value * generator.standard_normal()
        values[:, 0] += moved
        by_size[:, 0] -= moved  # From L(∅), as between real trainings.
        model = replace(profile.model, name=f"seed {number}", fingerprint=f"{number:016d}")
        found.append(replace(profile, values=values, by_size=by_size, model=model))
    return found


def test_a_limit_is_a_prediction_for_one_more_pair(profile: SpectralProfile) -> None:
    deviation = 0.2
    found = calibrate(mean_of(trainings(profile, 8, deviation)))
    limits = {each.setting: each for each in found.limits}
    assert (found.trainings, found.pairs) == (8, 56)
    # Every image moved alike: pairs differ by √2 deviations, and images add nothing.
    drawn = np.random.default_rng(0).standard_normal(8) * deviation
    differences = (drawn[:, None] - drawn)[~np.eye(8, dtype=bool)]
    assert limits["max_value_drop"].spread == pytest.approx(np.std(differences, ddof=1), rel=0.25)
    assert limits["max_accuracy_drop"].spread == pytest.approx(0, abs=1e-9)
    assert found.red > found.red_proposed == 0


def test_of_a_thousand_more_pairs_a_hundredth_is_red_at_the_most(profile: SpectralProfile) -> None:
    red = []
    for seed in range(20):
        some = trainings(profile, 7, 0.05, seed)
        limits = calibrate(mean_of(some[:5])).limits
        wider = replace(Thresholds(), **{each.setting: each.proposed for each in limits})  # type: ignore[arg-type]
        red.append(compare(some[5], some[6], wider).fails())
    assert np.mean(red) <= 0.05


def test_what_nothing_keeps_has_no_limit(profile: SpectralProfile) -> None:
    found = calibrate(mean_of(trainings(profile, 4, 2.0)))
    limits = {each.setting: each for each in found.limits}
    assert limits["max_value_drop"].proposed is None
    assert limits["max_accuracy_drop"].proposed is not None


def test_two_trainings_are_too_few(profile: SpectralProfile) -> None:
    with pytest.raises(BaselineError, match="holds 2 trainings, but it takes 3"):
        calibrate(mean_of(trainings(profile, 2, 0.1)))
    with pytest.raises(BaselineError, match="holds 1 training, but"):
        calibrate(profile)


def test_a_training_that_tells_nothing_gives_no_limits(profile: SpectralProfile) -> None:
    *good, last = trainings(profile, 4, 0.05)
    nothing = replace(last, values=0 * last.values, by_size=0 * last.by_size)
    with pytest.raises(BaselineError, match=r"training 4 of 4 \(seed 3\).*without that training"):
        calibrate(mean_of([*good, nothing]))


def test_the_level_counts_with_trainings_as_well(
    profile: SpectralProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = set()

    def compared(*pair: Any, level: float = 0.95) -> object:
        levels.add(level)
        return compare(*pair, level=level)

    monkeypatch.setattr(sys.modules[left_out.__module__], "compare", compared)
    calibrate(mean_of(trainings(profile, 3, 0.05)), level=0.8)
    assert levels == {0.8}
