"""Networks that find waves in images, and what deploying makes of them."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from pytest_iaside import ReferenceSample

SIDE = 16
GRID = torch.arange(SIDE) / SIDE
WAVES = torch.stack([torch.cos(2 * torch.pi * k * GRID) for k in (1, 3, 7)])


def images(count: int = 60, noise: float = 0.15, seed: int = 0) -> ReferenceSample:
    """So many images of three classes, with enough noise that some are answered wrong."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    pictures = 0.5 + 0.06 * WAVES[labels][:, None, None, :].expand(count, 1, SIDE, SIDE)
    pictures = pictures + noise * torch.randn(count, 1, SIDE, SIDE, generator=generator)
    return ReferenceSample(pictures.clamp(0, 1), labels)


def network(scale: float = 1.0) -> nn.Module:
    """Three templates, one a wave, and a head."""
    found = nn.Sequential(
        OrderedDict(flat=nn.Flatten(), templates=nn.Linear(SIDE * SIDE, 3), head=nn.Linear(3, 3))
    )
    with torch.no_grad():
        found.templates.weight.copy_(WAVES[:, None, :].expand(3, SIDE, SIDE).flatten(1) / SIDE)
        found.templates.bias.zero_()
        found.head.weight.copy_(2.0 * scale * torch.eye(3))
        found.head.bias.zero_()
    return found.eval()


def changed(name: str, by: float, seed: int = 1) -> nn.Module:
    """The network with noise of ``by`` times the deviation on the weights of one layer."""
    found = network()
    weight = found.get_submodule(name).weight
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        weight.add_(by * weight.std() * noise)
    return found


class Within(nn.Module):
    """A network that normalises pixels itself."""

    def __init__(self, inner: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.inner, self.mean, self.std = inner, mean, std

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.inner((pixels - self.mean) / self.std)
        return found
