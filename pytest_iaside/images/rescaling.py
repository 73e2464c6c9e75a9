"""The rescaling of filtered images that the I-ASIDE authors' code does (SPEC.md 1.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pytest_iaside.images.filters import Components, Space


@dataclass(frozen=True)
class Rescaled:
    """Components of which every coalition's picture is |·|, stretched by ``ranges`` (2^M, 2).

    These are the least and the most of |·| under each coalition over the whole batch, so that 0
    and 1 are reached by some images of it: what one looks like depends on all others. With
    ``space="pixel"`` pixels are stretched, and normalised by ``mean`` and ``std`` (C, 1, 1)
    afterwards; else what the network is fed.
    """

    parts: Components
    ranges: Tensor
    space: Space
    mean: Tensor | float
    std: Tensor | float

    def of(self, images: slice) -> Rescaled:
        """Those of some of the images."""
        return replace(self, parts=self.parts.of(images))

    def combine(self, coalitions: Tensor) -> Tensor:
        """Images (K·S, C, H, W) of ``coalitions``, (S, M) or (K, S, M)."""
        strength = self.strength(coalitions)
        bits = 2 ** torch.arange(coalitions.shape[-1], device=coalitions.device)
        number = (coalitions.bool() * bits).sum(dim=-1).flatten()
        number = number.repeat(len(strength) // len(number))
        low, high = self.ranges[number.cpu()].to(strength).T.view(2, -1, 1, 1, 1)
        stretched = (strength - low) / torch.where(high > low, high - low, 1.0)
        normal: Tensor = (stretched - self.mean) / self.std
        return normal if self.space == "pixel" else stretched

    def strength(self, coalitions: Tensor) -> Tensor:
        """|·| of the filtered images, before they are stretched."""
        images = self.parts.combine(coalitions)
        return (images * self.std + self.mean if self.space == "pixel" else images).abs()

    def extent(self, coalitions: Tensor) -> Tensor:
        """Least and most of |·| under each of ``coalitions`` (S, M) over these images, (S, 2)."""
        values = self.strength(coalitions).reshape(-1, len(coalitions), *self.parts.shape)
        return torch.stack([values.amin(dim=(0, 2, 3, 4)), values.amax(dim=(0, 2, 3, 4))], dim=1)
