"""Corruptions of images: four classical noises and blurs, and the 15 of ImageNet-C.

The parameters of ImageNet-C are those of Hendrycks and Dietterich, "Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations" (ICLR 2019), in the form for any
image size that the package imagecorruptions gave them.
"""

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pytest_iaside.checks import check_whole, is_whole
from pytest_iaside.errors import SettingsError
from pytest_iaside.images.reference import Pictures, ReferenceSample
from pytest_iaside.perturb import blur, digital, noise, weather
from pytest_iaside.perturb.noise import Image
from pytest_iaside.stats.arrays import random_by

Corruption = Callable[[Image, int, np.random.Generator], Image]

_CLASSICAL: dict[str, Corruption] = {
    "white_noise": noise.white_noise,
    "poisson": noise.poisson,
    "salt_and_pepper": noise.salt_and_pepper,
    "gaussian_blur": blur.gaussian_blur,
}
_OF_IMAGENET_C: tuple[Corruption, ...] = (
    *(noise.gaussian_noise, noise.shot_noise, noise.impulse_noise),
    *(blur.defocus_blur, blur.glass_blur, blur.motion_blur, blur.zoom_blur),
    *(weather.snow, weather.frost, weather.fog),
    *(digital.brightness, digital.contrast, digital.elastic_transform),
    *(digital.pixelate, digital.jpeg_compression),
)
_IMAGENET_C = {apply.__name__: apply for apply in _OF_IMAGENET_C}
IMAGENET_C: tuple[str, ...] = tuple(_IMAGENET_C)
"""The 15 corruptions of ImageNet-C, in its order: noise, blur, weather, digital."""
CORRUPTIONS: tuple[str, ...] = (*_CLASSICAL, *IMAGENET_C)
"""What ``corrupt`` knows: white_noise, poisson, salt_and_pepper, gaussian_blur, and IMAGENET_C."""
SEVERITIES = range(1, 6)

# Grey or red, green and blue: of other channels nobody knows what white or saturation is.
_OF_COLOURS = {"snow", "frost", "brightness", "jpeg_compression"}
# Rounding may leave a whole grey level this far below itself; it must not be cut off.
_WHOLE = 1e-6


def corrupt(
    images: Pictures,
    corruption: str,
    severity: int,
    *,
    seed: int = 0,
    frost_textures: str | Path | None = None,
) -> Tensor:
    """Corrupted copies of ``images``, of their shape, type and device.

    ``images`` is (K, C, H, W), uint8 or float in [0, 1]; ``corruption`` one of CORRUPTIONS;
    ``severity`` 1 to 5. Random numbers come from (seed, digest of the image, corruption,
    severity), so an image's result depends on no other image, nor on order, batch or worker;
    the digest is ReferenceSample's, so uint8 and float copies of an image get other noise.
    uint8 results are rounded down, as ImageNet-C's are; JPEG and pixelation work on 8 bits.

    Frost lays textures over the images: those in the folder ``frost_textures``, or that the
    environment variable IASIDE_FROST_DIR names, or GENERATED ones, which are no photographs
    of frost and not comparable with ImageNet-C's.

    Raises SettingsError for an unknown corruption, severity or folder, and for images too
    small for it or without its channels; ReferenceSampleError for what is no images.
    """
    check_corruption(corruption)
    check_severity(severity)
    check_whole("seed", int(seed) if isinstance(seed, np.integer) else seed, 0)
    sample = ReferenceSample(images)
    check_fit(corruption, int(severity), sample.shape)
    apply = (_CLASSICAL | _IMAGENET_C)[corruption]
    if corruption == "frost":
        apply = partial(weather.frost, textures=weather.frost_textures(frost_textures))
    corrupted = torch.empty_like(sample.images)
    eight_bits = sample.images.dtype == torch.uint8
    for position, digest in enumerate(sample.digests):
        image = sample.images[position].permute(1, 2, 0).numpy().astype(np.float64)
        if eight_bits:
            image /= 255
        random = random_by(f"{seed} {digest} {corruption} {int(severity)}")
        result = np.clip(apply(image, int(severity), random), 0, 1)
        if eight_bits:
            result = np.floor(result * 255 + _WHOLE)
        corrupted[position] = torch.from_numpy(result.transpose(2, 0, 1))
    if isinstance(images, Tensor):
        return corrupted.to(device=images.device, dtype=images.dtype)
    return corrupted.to(getattr(torch, images.dtype.name))


def check_corruption(corruption: str, known: Sequence[str] = CORRUPTIONS) -> None:
    """Raise SettingsError, with the nearest name, unless ``corruption`` is one of ``known``."""
    if corruption in known:
        return
    nearest = difflib.get_close_matches(str(corruption), known, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    known_ones = ", ".join(known)
    raise SettingsError(f"there is no corruption {corruption!r}; {hint}Use one of {known_ones}")


def check_severity(severity: int) -> None:
    """Raise SettingsError unless ``severity`` is 1, 2, 3, 4 or 5."""
    whole = is_whole(severity) or isinstance(severity, np.integer)
    if not whole or severity not in SEVERITIES:
        raise SettingsError(f"severity={severity!r} must be 1, 2, 3, 4 or 5 (the strongest)")


def check_fit(corruption: str, severity: int, shape: tuple[int, int, int]) -> None:
    """Raise SettingsError where images of ``shape`` (channels, height, width) cannot have it."""
    channels, height, width = shape
    if corruption in _OF_COLOURS and channels not in (1, 3):
        raise SettingsError(
            f"{corruption} needs images of 1 (grey) or 3 (red, green, blue) channels, but these "
            f"have {channels}; leave the corruption out, or corrupt the three alone"
        )
    least = _least_side(corruption, severity)
    if min(height, width) < least:
        raise SettingsError(
            f"{corruption} of severity {severity} needs images of at least {least}×{least} "
            f"pixels, but these have {height}×{width}; enlarge them or leave the corruption out"
        )


def _least_side(corruption: str, severity: int) -> int:
    """The least height and width of which the corruption makes something else."""
    if corruption == "glass_blur":
        _, reach, _ = blur.LEVELS_OF_GLASS[severity - 1]
        return 2 * reach + 1
    if corruption == "pixelate":
        share = digital.PIXELATED_SIZES[severity - 1]
        return next(side for side in range(1, 100) if int(side * share) >= 1)
    return 2 if corruption in ("fog", "zoom_blur") else 1
