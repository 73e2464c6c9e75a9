"""Coalition filtering: what a model sees when only some bands are present (SPEC.md 1.2).

The filter is linear, so every coalition of an image is an affine combination of M
pictures. They are made once by M inverse FFTs; a coalition then costs one row of a
matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pytest_iaside.images.bands import BandPartition

Absence = Literal["zero", "gaussian", "replacement"]
Space = Literal["input", "pixel"]


@dataclass(frozen=True)
class Components:
    """Images taken apart: a coalition S shows ``offset + Σ_{i∈S} parts[i]``.

    Or, where it says how much of each part, ``offset + Σ_i S_i·parts[i]``.

    ``parts`` is (K, M, H·W·C) and ``offset`` (K, 1, H·W·C) or None where it is zero; ``shape``
    is (C, H, W). With ``channels_last`` the pixels lie in the order height, width, channel, so
    that a product of them is a batch in that memory format without a copy.
    """

    parts: Tensor
    offset: Tensor | None
    shape: tuple[int, int, int]
    channels_last: bool

    def of(self, images: slice) -> Components:
        """The components of some of the images."""
        offset = None if self.offset is None else self.offset[images]
        return Components(self.parts[images], offset, self.shape, self.channels_last)

    def combine(self, coalitions: Tensor) -> Tensor:
        """Images (K·S, C, H, W) of ``coalitions``, (S, M) or (K, S, M): how much of each part."""
        channels, height, width = self.shape
        mixed: Tensor = torch.matmul(coalitions.to(self.parts), self.parts)
        if self.offset is not None:
            mixed += self.offset
        if self.channels_last:
            return mixed.view(-1, height, width, channels).permute(0, 3, 1, 2)
        return mixed.view(-1, channels, height, width)


def split(
    images: Tensor,
    partition: BandPartition,
    together: Tensor | None = None,
    *,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Take images (K, C, H, W) apart into their bands, (K, M, C, H, W) of ``dtype``.

    The components are real and sum to the image (SPEC.md 6, I-ASIDE 1). ``together``, (K, S, M) of
    truth values, are coalitions of bands that stay together: (K, S, C, H, W).
    """
    height, width = images.shape[-2:]
    index = torch.from_numpy(partition.index).to(images.device)
    if together is None:
        together = torch.eye(partition.bands, dtype=torch.bool, device=images.device)[None]
    # Every band is symmetric under (u, v) → (−u, −v): half of the plane says it all.
    masks = together[:, :, None, index[:, : width // 2 + 1]]
    spectrum = torch.fft.rfft2(images.to(dtype))
    parts: Tensor = torch.fft.irfft2(spectrum[:, None] * masks, s=(height, width))
    return parts


def components(
    images: Tensor,
    partition: BandPartition,
    *,
    absent: Tensor | None = None,
    mean: Tensor | None = None,
    std: Tensor | None = None,
    space: Space = "input",
    dtype: torch.dtype = torch.float32,
    channels_last: bool = True,
    together: Tensor | None = None,
) -> Components:
    """Prepare [0, 1] images (K, C, H, W) for playing coalitions of their bands.

    ``absent`` holds what stands in for a missing band (eq. 5's b, as pictures of the same
    shape; None is zero). With ``space="input"`` the bands are those of the normalised
    tensor; with ``"pixel"`` those of the pixels, which are normalised afterwards. Of the few
    coalitions ``together`` (``split``) each is a part, which costs less than all bands.
    """
    pictures = images.to(torch.float64)
    centre, scale = _normalisation(pictures, mean, std)
    shown = (pictures - centre) / scale if space == "input" else pictures
    parts = split(shown, partition, together)
    offset = None
    if absent is not None:
        parts, offset = parts - split(absent, partition, together), absent.to(torch.float64)
    if space == "pixel":
        offset = torch.zeros_like(pictures) if offset is None else offset
        parts, offset = parts / scale, (offset - centre) / scale
    return _packed(parts, offset, dtype, channels_last)


def changed(
    images: Tensor,
    parts: Tensor,
    mean: Tensor | None,
    std: Tensor | None,
    *,
    dtype: torch.dtype = torch.float32,
    channels_last: bool = True,
) -> Components:
    """Prepare [0, 1] images (K, C, H, W) for changes ``parts`` (K, M, C, H, W) to be added to them.

    Both are in units of pixels and normalised afterwards. Nothing is clipped: what is shown may
    leave [0, 1] (SPEC.md 7, 8).
    """
    pictures = images.to(torch.float64)
    centre, scale = _normalisation(pictures, mean, std)
    changes = parts if std is None else parts / std.to(parts).view(-1, 1, 1)
    return _packed(changes, (pictures - centre) / scale, dtype, channels_last)


def band_energies(changes: Tensor, partition: BandPartition) -> Tensor:
    """‖x_b‖² of each band of images or changes (K, C, H, W), over channels, (K, M) float64.

    They sum to ‖x‖² (SPEC.md 6, I-ASIDE 1).
    """
    spectrum = torch.fft.fft2(changes.to(torch.float64), norm="ortho")
    energy = spectrum.abs().square().sum(dim=1).flatten(1)
    index = torch.from_numpy(partition.index).to(changes.device).flatten()
    found: Tensor = energy.new_zeros(len(energy), partition.bands).index_add_(1, index, energy)
    return found


def _normalisation(
    like: Tensor, mean: Tensor | None, std: Tensor | None
) -> tuple[Tensor | float, Tensor | float]:
    centre = 0.0 if mean is None else mean.to(like).view(-1, 1, 1)
    scale = 1.0 if std is None else std.to(like).view(-1, 1, 1)
    return centre, scale


def _packed(
    parts: Tensor, offset: Tensor | None, dtype: torch.dtype, channels_last: bool
) -> Components:
    """Components of ``parts`` (K, M, C, H, W) and ``offset`` (K, C, H, W)."""
    count, bands, channels, height, width = parts.shape
    order = (0, 1, 3, 4, 2) if channels_last else (0, 1, 2, 3, 4)
    parts = parts.permute(order).reshape(count, bands, -1).to(dtype)
    if offset is not None:
        offset = offset[:, None].permute(order).reshape(count, 1, -1).to(dtype)
    return Components(parts, offset, (channels, height, width), channels_last)


def gaussian_absence(shape: tuple[int, int, int], *, seed: int) -> Tensor:
    """Noise (C, H, W) float64 that stands in for missing bands (SPEC.md 1.2, ``gaussian``).

    Its discrete Fourier transform (unnormalised, Hermitian) has variance 1/2 in each of
    the real and imaginary parts, so a pixel's standard deviation is 1/√(H·W).
    """
    _, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    return noise.div_((height * width) ** 0.5)
