"""Classifiers whose log-likelihood is a function that is known in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from pytest_iaside.explain.sobol import Points

# So much less likely is class 0 than class 1 that its log-likelihood is its logit, to 1e-26.
BELOW = 60.0


class LogLikelihood(nn.Module):
    """Logits (f(x) − 60, 0): the log-softmax of class 0 is f(x) − 60 in float64, its gradient ∇f.

    ``f`` maps (B, C, H, W) to (B,) and stays well below 60.
    """

    def __init__(self, f: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.f = f
        self.register_buffer("rest", torch.zeros(1, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        values = self.f(x) - BELOW
        return torch.stack([values, self.rest.expand(len(x))], dim=1)


def linear(weight: Tensor) -> LogLikelihood:
    """f = w·x."""
    return LogLikelihood(lambda x: (x * weight).flatten(1).sum(dim=1))


def quadratic(matrix: Tensor) -> LogLikelihood:
    """f = ½ xᵀAx."""
    return LogLikelihood(
        lambda x: torch.einsum("bi,ij,bj->b", x.flatten(1), matrix, x.flatten(1)) / 2
    )


def sine(omega: float) -> LogLikelihood:
    """f = Σ_i sin ωx_i."""
    return LogLikelihood(lambda x: torch.sin(omega * x).flatten(1).sum(dim=1))


def step(at: Tensor, width: float) -> LogLikelihood:
    """f = Σ_i Φ((x_i − b_i)/τ)."""
    return LogLikelihood(lambda x: torch.special.ndtr((x - at) / width).flatten(1).sum(dim=1))


def small_network(classes: int = 5, channels: int = 3) -> nn.Module:
    """A convolutional network with batch normalisation and dropout."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh()]
    layers += [nn.Dropout(0.5), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, classes)]
    return nn.Sequential(*layers)


def pictures(count: int = 3, channels: int = 3, height: int = 13, width: int = 12) -> Tensor:
    """Noise in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, height, width, generator=generator)


def mixed(points: Points, k: int) -> np.ndarray:
    """C^k (points, inputs): A with the column of input ``k`` taken from B."""
    found = points.a.copy()
    found[:, k] = points.b[:, k]
    return found
