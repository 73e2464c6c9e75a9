"""A penalty on how far noise in single bands moves a model's answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pytest_iaside.checks import check_positive, check_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.bands import Norm
from pytest_iaside.train.noise import noise_in_bands


def spectral_penalty(
    model: nn.Module,
    batch: Tensor,
    *,
    bands: int = 8,
    partition: Norm = "linf",
    energy: float = 0.1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The mean divergence, in nats, of answers under noise in one band from those without: ().

    ``batch`` (B, C, H, W) is what ``model`` is fed; noise of ``energy`` times an image's own around
    its mean is put into a band that is drawn for each image (SPEC.md 8), by ``generator`` if given.
    The divergence is KL[Q(·|x) ‖ Q(·|x + n_b)], differentiable in the parameters through both
    answers: two passes. A training loop adds a multiple of it to its loss.

    Raises SettingsError for settings out of range, and for a batch that is no float images.
    """
    check_whole("bands", bands, 2)
    check_positive("energy", energy)
    if batch.ndim != 4 or not batch.is_floating_point():
        raise SettingsError(
            f"batch is {batch.dtype} of shape {tuple(batch.shape)}; expected float images (images, "
            "channels, height, width)"
        )
    band = torch.randint(bands, (len(batch),), generator=generator)
    draws = torch.randn(batch.shape, generator=generator).to(batch)
    energies = torch.full((len(batch),), float(energy))
    with torch.no_grad():
        noise = noise_in_bands(batch, band, energies, partition, bands, draws)
    clean, noisy = (torch.log_softmax(model(x), dim=1) for x in (batch, batch + noise))
    return nn.functional.kl_div(noisy, clean, reduction="batchmean", log_target=True)
