"""Noise in single bands of a batch, and the bands of a batch's images."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from pytest_iaside.images.bands import BandPartition, Norm


@lru_cache(maxsize=8)
def band_index(
    height: int, width: int, bands: int, partition: Norm, device: torch.device
) -> Tensor:
    """The band of each frequency of ``torch.fft.rfft2``, (H, W // 2 + 1) on ``device``.

    Raises SettingsError where a band would hold none.
    """
    whole = torch.from_numpy(BandPartition(height, width, bands, partition).index)
    return whole[:, : width // 2 + 1].to(device)


def computable(images: Tensor) -> Tensor:
    """``images`` in float32, where half precision has no Fourier transform; others as they are."""
    return images.float() if images.dtype in (torch.float16, torch.bfloat16) else images


def filtered(images: Tensor, kept: Tensor, partition: Norm) -> Tensor:
    """Images (…, C, H, W) with the bands alone that are ``kept``, (…, M) of truth values."""
    height, width = images.shape[-2:]
    index = band_index(height, width, kept.shape[-1], partition, images.device)
    mask = kept.to(images.device)[..., index]
    spectrum = torch.fft.rfft2(images) * mask.unsqueeze(-3)
    found: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    return found


def noise_in_bands(
    images: Tensor, band: Tensor, energy: Tensor, partition: Norm, bands: int, draws: Tensor
) -> Tensor:
    """White noise ``draws`` (B, C, H, W) in one ``band`` (B,) of each image, (B, C, H, W).

    Of so much ``energy`` (B,), in units of the image's own around the mean of each channel
    (SPEC.md 8): 0 for an image of one colour.
    """
    kept = torch.nn.functional.one_hot(band.cpu(), bands).bool()
    noise = filtered(draws, kept, partition)
    centred = images - images.mean(dim=(-2, -1), keepdim=True)
    wanted = (energy.to(images) * centred.square().sum(dim=(-3, -2, -1))).sqrt()
    length = noise.square().sum(dim=(-3, -2, -1)).sqrt()
    scale = wanted / length.clamp(min=torch.finfo(noise.dtype).tiny)
    return noise * scale.view(-1, 1, 1, 1)
