"""Changes of what perturbations cost, band by band."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from pytest_iaside import ReferenceSample
from pytest_iaside.compare.losses import loss_changes
from pytest_iaside.measure.decomposition import bands_that_fit, divided
from pytest_iaside.measure.perturbation import PerturbedAnswers, measure_perturbations
from pytest_iaside.measure.perturbation_game import perturbation_spectrum

ASKED: list[Any] = [("white_noise", 3), ("contrast", 2)]


def sample(count: int = 12, **more: Any) -> ReferenceSample:
    generator = torch.Generator().manual_seed(0)
    return ReferenceSample(
        torch.rand(count, 1, 16, 16, generator=generator), torch.arange(count) % 2, **more
    )


def network(weight: float) -> Any:
    def answer(images: torch.Tensor) -> torch.Tensor:
        fine = (images[..., 1:] - images[..., :-1]).square().mean(dim=(1, 2, 3))
        return torch.stack([weight * fine, 0 * fine], dim=1)

    return answer


def measured(weight: float, of: ReferenceSample | None = None) -> PerturbedAnswers:
    of = sample() if of is None else of
    found = measure_perturbations(network(weight), of, ASKED)
    return divided(found, network(weight), of, ASKED)


def test_losses_are_those_of_the_perturbation_game() -> None:
    found = measured(3.0)
    assert found.phi is not None and found.change is not None
    for place, each in enumerate(ASKED):
        alone = perturbation_spectrum(network(3.0), sample(), each, design="antithetic")
        columns = slice(8 * place, 8 * place + 8)
        np.testing.assert_allclose(found.phi[:, columns], alone.image_phi())
        np.testing.assert_allclose(found.change[:, columns], alone.energy)
    # 16 coalitions and the clean image, for each of two perturbations.
    assert found.forward_passes == 12 * (3 + 2 * 17)


def test_some_images_and_some_perturbations() -> None:
    whole = measured(3.0)
    plain = measure_perturbations(network(3.0), sample(), ASKED)
    found = divided(plain, network(3.0), sample(), ASKED, names=["contrast 2"], images=5)
    assert found.phi is not None and whole.phi is not None
    assert np.isnan(found.phi[:, :8]).all() and np.isnan(found.phi[5:]).all()
    np.testing.assert_allclose(found.phi[:5, 8:], whole.phi[:5, 8:])


def test_the_change_is_paired_image_by_image() -> None:
    before, after = measured(3.0), measured(9.0)
    assert before.phi is not None and after.phi is not None
    changes = loss_changes(after, before, 0.9)
    assert {each.perturbation for each in changes} == {"white_noise 3", "contrast 2"}
    noise = next(each for each in changes if each.perturbation == "white_noise 3")
    moved = (after.phi - before.phi)[:, :8]
    assert noise.change.value == pytest.approx(moved.sum(axis=1).mean())
    reach = stats.t.ppf(0.95, 11) * moved.sum(axis=1).std(ddof=1) / np.sqrt(12)
    assert noise.change.low == pytest.approx(noise.change.value - reach)
    # Bands hold together.
    reach = stats.t.ppf(1 - 0.05 / 8, 11) * moved[:, 3].std(ddof=1) / np.sqrt(12)
    assert noise.bands[3].high == pytest.approx(moved[:, 3].mean() + reach)
    assert noise.baseline[2].value == pytest.approx(before.phi[:, 2].mean())
    assert noise.energy.sum() == pytest.approx(1)


def test_in_any_order_and_on_the_images_of_both() -> None:
    before, after = measured(3.0), measured(9.0)
    straight = loss_changes(after, before, 0.95)
    turned = loss_changes(after.take(range(11, -1, -1)), before, 0.95)
    assert [each.change.value for each in turned] == pytest.approx(
        [each.change.value for each in straight]
    )
    some = loss_changes(after, before.first(7), 0.95)
    assert [each.images for each in some] == [7, 7]
    assert loss_changes(after, before.first(1), 0.95) == ()


def test_groups_count_once() -> None:
    groups = [at // 3 for at in range(12)]
    pairs = [measured(weight, sample(groups=groups)) for weight in (9.0, 3.0)]
    alone = loss_changes(measured(9.0), measured(3.0), 0.95)[0]
    together = loss_changes(*pairs, 0.95)[0]
    assert together.change.value == pytest.approx(alone.change.value)
    assert together.change.high - together.change.low != pytest.approx(
        alone.change.high - alone.change.low
    )


def test_without_bands_nothing_is_said() -> None:
    found = measured(3.0)
    assert loss_changes(replace(found, phi=None, change=None), found, 0.95) == ()


@pytest.mark.parametrize(("side", "bands"), [(28, 8), (16, 8), (6, 4), (2, 2)])
def test_small_images_have_fewer_bands(side: int, bands: int) -> None:
    assert bands_that_fit((1, side, side)) == bands


def test_what_is_told_as_nothing_does_not_cost_more() -> None:
    """A model that takes contrast out loses rounding alone, of one sign on every image."""
    before = measured(3.0)
    assert before.phi is not None
    for lost, told in ((1e-9, False), (0.004, False), (0.006, True)):
        phi = before.phi + np.where(np.arange(16) == 8, lost, 0.0)
        contrast = {
            each.perturbation: each for each in loss_changes(replace(before, phi=phi), before, 0.95)
        }["contrast 2"]
        assert contrast.change.low > 0 and contrast.costs_more is told
