"""Clean against perturbed attribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from pytest_iaside import ReferenceSample, SettingsError
from pytest_iaside.explain.perturbed import PerturbedExplanation, explain_perturbed

SIDE = 16
SETTINGS: dict[str, Any] = {"grid": 8, "wavelet_levels": 2, "points": 8}


def images(count: int = 2) -> Tensor:
    return torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def looks_at(mask: Tensor) -> Any:
    """Class 1 where the image is bright inside ``mask``."""

    def network(x: Tensor) -> Tensor:
        value = 4 * (x * mask).sum(dim=(1, 2, 3)) / mask.sum() - 2
        return torch.stack([-value, value], dim=1)

    return network


def corner(top: bool) -> Tensor:
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, :8, :8] = float(top)
    mask[:, 8:, 8:] = float(not top)
    return mask


def either(x: Tensor) -> Tensor:
    """Looks at the top left of an image, and of a dark one at the bottom right."""
    dark = (x.mean(dim=(1, 2, 3)) < 0.2).to(x)[:, None]
    return (1 - dark) * looks_at(corner(True))(x) + dark * looks_at(corner(False))(x)


def darker(x: Tensor) -> Tensor:
    return 0.3 * x


def test_the_same_image_has_not_moved() -> None:
    found = explain_perturbed(looks_at(corner(True)), images(), lambda x: x.clone(), 1, **SETTINGS)
    np.testing.assert_allclose(found.distances, 0, atol=1e-6)
    assert all(each.value == pytest.approx(0, abs=1e-6) for each in found.level_change(0))
    assert found.p_value(0) == 1
    assert "that its place moved cannot be told" in found.sentence(0)


def test_a_place_that_moved_is_told() -> None:
    def network(x: Tensor) -> Tensor:
        # What is masked is darker as well: the whole image decides.
        return either(x)

    found = explain_perturbed(network, 0.5 + images() / 2, darker, 1, **SETTINGS)
    assert (found.distances > 0.3).all()
    assert found.p_value(0) < 0.05
    assert "its place moved (distance 0." in found.sentence(0)
    assert found.perturbation == "darker"


def test_every_way_to_deal_the_maps_out_once() -> None:
    found = explain_perturbed(looks_at(corner(True)), images(1), darker, 1, repeats=3, **SETTINGS)
    assert len(found.null(0)) == 10  # Half of 6 choose 3.
    assert found.null(0)[0] == pytest.approx(found.distances[0])
    assert 0 < found.p_value(0) <= 1


def test_levels_are_compared_mask_by_mask() -> None:
    found = explain_perturbed(either, images(), ("contrast", 3), 1, repeats=4, **SETTINGS)
    before, after = (
        np.array([each.levels[1] for each in side]) for side in (found.clean, found.perturbed)
    )
    changes = found.level_change(1)
    assert [each.value for each in changes] == pytest.approx((after - before).mean(axis=0))
    error = (after - before)[:, 2].std(ddof=1) / 2
    assert changes[2].high - changes[2].value == pytest.approx(stats.t.ppf(0.975, 3) * error)
    assert found.perturbation == "contrast 3"
    # The same masks for both, and others in every repeat.
    assert not np.array_equal(found.clean[0].map, found.clean[1].map)


def test_scales_that_changed_are_told() -> None:
    """Blurred, nothing is left of the finest details that the model looks at."""

    def fine(x: Tensor) -> Tensor:
        steps = (x[..., 0::2] - x[..., 1::2]).abs().mean(dim=(1, 2, 3))
        value = 8 * steps + 2 * x.mean(dim=(1, 2, 3))
        return torch.stack([-value, value], dim=1)

    def smoothed(x: Tensor) -> Tensor:
        return x.mean(dim=3, keepdim=True).expand_as(x).clone()

    found = explain_perturbed(fine, images(), smoothed, 1, **SETTINGS)
    assert found.level_change(0)[2].high < 0
    assert "less from details of 1–2 px (−" in found.sentence(0)


def test_samples_and_labels() -> None:
    sample = ReferenceSample(images(), torch.tensor([0, 1]))
    found = explain_perturbed(either, sample, ("white_noise", 2), repeats=2, **SETTINGS)
    assert isinstance(found, PerturbedExplanation) and len(found.names) == 2
    assert found.clean[0].classes.tolist() == found.perturbed[1].classes.tolist()
    with pytest.raises(SettingsError, match="repeats=1"):
        explain_perturbed(either, sample, ("white_noise", 2), repeats=1, **SETTINGS)
    with pytest.raises(SettingsError, match="severity"):
        explain_perturbed(either, sample, ("white_noise", 9), **SETTINGS)


def test_a_small_distance_is_not_rounded_to_nothing() -> None:
    found = explain_perturbed(looks_at(corner(True)), images(1), lambda x: 0.97 * x, **SETTINGS)
    assert 0 < found.distances[0] < 0.005
    assert f"(distance {found.distances[0]:.2g}, " in found.sentence(0)
