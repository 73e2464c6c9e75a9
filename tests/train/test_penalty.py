"""The penalty on answers that noise in single bands moves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.images.bands import BandPartition
from pytest_iaside.images.filters import band_energies
from pytest_iaside.train import spectral_penalty


def batch(count: int = 256) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


class Linear(nn.Module):
    """Logits (0, w·x)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        value = (x * self.weight).flatten(1).sum(dim=1)
        return torch.stack([torch.zeros_like(value), value], dim=1)


def test_of_a_linear_model_it_is_half_the_variance_of_its_logit() -> None:
    """KL ≈ ½·p(1−p)·(w·n)², and of white noise in a band E(w·n)² = ‖w_b‖²·e‖x−mean‖²/N_b."""
    weight = 1e-3 * torch.randn(1, 8, 8, generator=seeded())
    weight -= weight.mean()
    images = batch(4000)
    with torch.no_grad():
        found = float(
            spectral_penalty(Linear(weight), images, bands=4, energy=0.5, generator=seeded())
        )
    partition = BandPartition(8, 8, 4)
    own = (images - images.mean(dim=(2, 3), keepdim=True)).square().sum(dim=(1, 2, 3)).mean()
    # Each coordinate of the band has the same share of the energy.
    each = band_energies(weight[None], partition)[0] / torch.from_numpy(partition.counts)
    expected = 0.5 * 0.25 * 0.5 * float(own) * float(each.mean())
    assert found == pytest.approx(expected, rel=0.1)


def test_it_is_zero_where_noise_moves_nothing_and_otherwise_above() -> None:
    weight = 0.1 * torch.randn(1, 8, 8, generator=seeded())
    blind, seeing = Linear(0 * weight), Linear(weight)
    assert spectral_penalty(blind, batch(), bands=4).item() == pytest.approx(0, abs=1e-9)
    assert spectral_penalty(seeing, batch(), bands=4).item() > 0


def test_a_step_down_its_gradient_makes_it_less() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 3))
    before = spectral_penalty(model, batch(), bands=4, energy=1.0, generator=seeded())
    before.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter -= 0.5 * parameter.grad
    after = spectral_penalty(model, batch(), bands=4, energy=1.0, generator=seeded())
    assert after.item() < before.item()


def test_the_generator_decides() -> None:
    model = Linear(torch.ones(1, 8, 8))
    one, same = (spectral_penalty(model, batch(), bands=4, generator=seeded()) for _ in "ab")
    assert one.item() == same.item()


def test_settings() -> None:
    model = Linear(torch.ones(1, 8, 8))
    with pytest.raises(SettingsError, match="expected float images"):
        spectral_penalty(model, torch.zeros(2, 8, 8), bands=4)
    with pytest.raises(SettingsError, match="energy=0"):
        spectral_penalty(model, batch(), bands=4, energy=0)
    with pytest.raises(SettingsError, match="use at most"):
        spectral_penalty(model, batch(), bands=9)
    with pytest.raises(SettingsError, match=r"\(0, 1, 8, 8\); expected float images"):
        spectral_penalty(model, batch()[:0], bands=4)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda z: {"logits": z}, "returned a dict, expected logits"),
        (lambda z: (z,), "returned a tuple, expected logits"),
        (lambda z: z[:, 0], r"of shape \(\d+,\), expected logits"),
        (lambda z: z.long(), "returned torch.int64"),
        # The penalty of a single logit would be 0, whatever the model does.
        (lambda z: z[:, 1:], "a single logit for each image, .*torch.cat"),
    ],
)
def test_answers_that_are_no_logits(answer: Any, message: str) -> None:
    model = Linear(torch.ones(1, 8, 8))
    with pytest.raises(ModelError, match=message):
        spectral_penalty(lambda x: answer(model(x)), batch(), bands=4)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loses_no_more_than_its_rounding(dtype: torch.dtype) -> None:
    weight = torch.ones(1, 8, 8)
    expected = spectral_penalty(Linear(weight), batch(), bands=4, generator=seeded())
    found = spectral_penalty(
        Linear(weight.to(dtype)), batch().to(dtype), bands=4, generator=seeded()
    )
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=0.05)


def test_under_autocast_a_divergence_is_not_below_zero() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [spectral_penalty(model, batch(), bands=4, energy=1e-3).item() for _ in range(20)]
    assert min(found) > -1e-7
