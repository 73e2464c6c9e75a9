"""Numbers at the ends of what there is: infinite, tiny, half precise; few of all, and many."""

from __future__ import annotations

import math
import resource
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_iaside import (
    ModelError,
    ReferenceSample,
    SettingsError,
    assert_spectral_robustness,
    measure,
)
from pytest_iaside.stats.structured import label_information
from pytest_iaside.stats.temperature import temperature_of


def net(classes: int = 3, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, classes))
    found[2].weight.data *= scale
    return found.to(dtype)


def images(count: int = 6, side: int = 8) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def sample(count: int = 6, side: int = 8, classes: int = 3) -> ReferenceSample:
    return ReferenceSample(images(count, side), [i % classes for i in range(count)])


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_logits_that_are_not_finite(value: float) -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        found = net()(x)
        found[:, 1] = value
        return found

    with pytest.raises(ModelError, match="NaN or infinite logits for image 0"):
        measure(broken, sample(), bands=3)


def test_half_precision_that_overflows_is_told_and_one_that_does_not_is_measured() -> None:
    with pytest.raises(ModelError, match="NaN or infinite logits for image 0"):
        measure(net(scale=1e6, dtype=torch.float16), sample(), bands=3)
    half, whole = (
        measure(net(dtype=kind), sample(), bands=3) for kind in (torch.half, torch.float)
    )
    np.testing.assert_allclose(half.values, whole.values, atol=5e-3)


def test_logits_near_the_largest_float_are_measured() -> None:
    one, other = (measure(net(scale=scale), sample(), bands=3) for scale in (1e30, 1e36))
    assert np.isfinite(one.values).all() and np.isfinite(other.values).all()
    np.testing.assert_allclose(other.values, one.values * 1e6, rtol=1e-3, atol=1e30)


def test_numbers_below_the_smallest_normal_one_say_nothing() -> None:
    for model, given in ((net(scale=1e-42), images()), (net(), images() * 1e-42)):
        found = measure(model, ReferenceSample(given, [0, 1, 2, 0, 1, 2]), bands=3, panel="auto")
        assert np.isfinite(found.values).all()
        assert not found.structured


def test_two_classes_and_twenty_two_thousand() -> None:
    few = measure(net(2), sample(classes=2), bands=3, panel="auto")
    assert few.model.classes == 2 and np.isfinite(few.values).all()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    many = measure(net(22_000), sample(), bands=3)
    assert many.model.classes == 22_000
    np.testing.assert_allclose(many.values.sum(axis=1), many.by_size[:, -1] - many.by_size[:, 0])
    # In kilobytes: nothing has classes times classes numbers, which are 4 GB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000


def test_what_is_said_of_many_classes_is_what_their_distributions_say() -> None:
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(9, 7)), generator.integers(0, 7, 9)
    spread = np.eye(7)[labels]
    assert temperature_of(logits, labels) == temperature_of(logits, spread)
    np.testing.assert_allclose(
        label_information(np.log(np.full((9, 7), 1 / 7)), labels), 0.0, atol=1e-12
    )


def test_one_pixel_has_no_bands() -> None:
    for bands in (2, 8):
        with pytest.raises(SettingsError, match=r"1×1 images are too small for \d+ bands"):
            measure(net(), sample(side=1), bands=bands)
    found = measure(net(), sample(side=2), bands=2)
    assert found.values.shape == (6, 2) and np.isfinite(found.values).all()


@pytest.mark.parametrize("kind", ["one image", "identical images"])
def test_one_image_and_copies_of_one_decide_nothing(kind: str) -> None:
    some = images(1)
    given = some if kind == "one image" else some.expand(8, -1, -1, -1).clone()
    reference = ReferenceSample(given, [0] * len(given))
    baseline = measure(net(), reference, bands=3, panel="auto")
    assert np.isfinite(baseline.values).all()

    def gate(model: Any, name: str) -> str:
        how: Any = {"baseline": baseline, "bands": 3, "name": name}
        try:
            return str(assert_spectral_robustness(model, reference, **how).verdict)
        except AssertionError:
            return "drift"

    worse = net()
    worse[2].weight.data *= -1  # type: ignore[operator,union-attr]  # a Sequential's Linear
    # Neither a pass: nobody knows how far images differ.
    assert gate(net(), "same") in ("inconclusive", "drift")
    assert gate(worse, "worse") in ("inconclusive", "drift")
