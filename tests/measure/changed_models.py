"""Classifiers whose scores are known functions of the image, and small samples for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pytest_iaside import ReferenceSample

SIDE = 12
PIXELS = 3 * SIDE * SIDE


def random(*shape: int, seed: int = 0) -> Tensor:
    """Normal random numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(count: int = 4, *, seed: int = 0, labels: object = None) -> ReferenceSample:
    generator = torch.Generator().manual_seed(seed)
    return ReferenceSample(torch.rand(count, 3, SIDE, SIDE, generator=generator), labels)


def scored(score: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A classifier of two classes with log Q(0|x) = ``score`` of pixels (B, D), below 0."""

    def model(batch: Tensor) -> Tensor:
        log_q = score(batch.flatten(1).double())
        return torch.stack([log_q, torch.log1p(-log_q.exp())], dim=1)

    return model


WEIGHTS = 0.01 * random(PIXELS, seed=1)
linear = scored(lambda x: x @ WEIGHTS - 5)
"""log Q(0|x) = w·x − 5: linear in the image (SPEC.md 6, I-ASIDE 5)."""

FIRST, SECOND = 0.1 * random(PIXELS, 16, seed=2), random(16, 5, seed=3)


def curved(batch: Tensor) -> Tensor:
    """Five classes, smooth and not linear, in float64 inside."""
    return torch.tanh((batch.flatten(1).double() - 0.5) @ FIRST) @ SECOND
