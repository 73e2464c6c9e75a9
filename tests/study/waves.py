"""Linear classifiers of two waves: how much each relies on the low one is known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pytest_iaside.images.reference import ReferenceSample

SIDE, COUNT = 16, 24
GRID = torch.arange(SIDE) / SIDE
LOW, HIGH = (torch.cos(2 * torch.pi * k * GRID) for k in (1, 7))  # bands 0 and 3 of four


class Waves(nn.Module):
    """Two classes by the sign of the waves: ``low`` of its weight on the low one, 1 − low not."""

    def __init__(self, low: float, strength: float = 6.0) -> None:
        super().__init__()
        self.register_buffer("weight", strength * (low * LOW + (1 - low) * HIGH) / SIDE)

    def forward(self, pixels: Tensor) -> Tensor:
        value = 8 * (pixels.mean(dim=(1, 2)) @ self.weight)
        return torch.stack([value, -value], dim=1)


def images() -> ReferenceSample:
    """24 images of both waves with noise; the sign of the waves is the class."""
    labels = torch.arange(COUNT) % 2
    sign = (1.0 - 2 * labels)[:, None]
    rows = 0.5 + 0.15 * sign * (LOW + HIGH)
    noise = 0.03 * torch.randn(COUNT, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    pixels = rows[:, None, None, :].expand(COUNT, 1, SIDE, SIDE) + noise
    return ReferenceSample(pixels.clamp(0, 1), labels)


def without(wave: Tensor, pixels: Tensor) -> Tensor:
    """``pixels`` with nearly all of one wave taken out of every row."""
    part = (pixels @ wave)[..., None] * wave / (wave @ wave)
    return (pixels - 0.9 * part).clamp(0, 1)


def without_high(pixels: Tensor) -> Tensor:
    return without(HIGH, pixels)


def without_low(pixels: Tensor) -> Tensor:
    return without(LOW, pixels)
