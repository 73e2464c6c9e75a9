"""A penalty on how far noise in single bands moves a model's answers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pytest_iaside.checks import check_positive, check_whole
from pytest_iaside.errors import ModelError, SettingsError
from pytest_iaside.images.bands import Norm
from pytest_iaside.train.noise import computable, noise_in_bands


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
    answers: two passes. A training loop adds a multiple of it to its loss. The model stays in the
    mode that it is in: in training mode dropout moves answers as well, and batch norm counts both
    passes.

    Raises SettingsError for settings out of range, and for a batch that is no float images;
    ModelError for answers that are not logits of two classes or more.
    """
    check_whole("bands", bands, 2)
    check_positive("energy", energy)
    if batch.ndim != 4 or not batch.is_floating_point() or not batch.numel():
        raise SettingsError(
            f"batch is {batch.dtype} of shape {tuple(batch.shape)}; expected float images (images, "
            "channels, height, width)"
        )
    device = None if generator is None else generator.device
    band = torch.randint(bands, (len(batch),), generator=generator, device=device)
    with torch.no_grad():
        images = computable(batch)
        draws = torch.randn(batch.shape, generator=generator, device=device).to(images)
        energies = torch.full((len(batch),), float(energy))
        noise = noise_in_bands(images, band, energies, partition, bands, draws).to(batch.dtype)
    clean, noisy = (_log_probabilities(model(x), len(batch)) for x in (batch, batch + noise))
    return nn.functional.kl_div(noisy, clean, reduction="batchmean", log_target=True)


def _log_probabilities(logits: Any, count: int) -> Tensor:
    """Those of ``count`` images, (B, C), in float32 or better: half precision rounds below 0."""
    expected = f"expected logits, a floating ({count}, classes) tensor"
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"the model returned a {type(logits).__name__}, {expected}; wrap the model in a "
            "function that returns its logits"
        )
    if logits.ndim != 2 or len(logits) != count or not logits.is_floating_point():
        raise ModelError(
            f"the model returned {logits.dtype} of shape {tuple(logits.shape)}, {expected}"
        )
    if logits.shape[1] < 2:
        raise ModelError(
            f"the model returned a single logit for each image, {expected} of two classes or more: "
            "for a logit z of yes or no give the penalty torch.cat([torch.zeros_like(z), z], dim=1)"
        )
    return torch.log_softmax(computable(logits), dim=1)
