"""Digital damage: exposure, compression, resampling, warping."""

from functools import partial
from io import BytesIO

import numpy as np
import PIL.Image
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from pytest_iaside.perturb.noise import Image

PIXELATED_SIZES = (0.6, 0.5, 0.4, 0.3, 0.25)
"""For each severity: the size that ``pixelate`` shrinks to, as a share of the image's."""


def brightness(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's brightness: the value (of hue, saturation, value) raised, at most to 1."""
    value = image.max(axis=2, keepdims=True)
    raised = np.minimum(value + (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1], 1)
    # Hue and saturation are ratios of the channels: they stay when all grow by one factor.
    # Black has neither and becomes grey.
    ratios = np.divide(image, value, out=np.ones_like(image), where=value > 0)
    return np.asarray(raised * ratios)


def contrast(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's contrast: each channel drawn towards its mean."""
    means = image.mean(axis=(0, 1), keepdims=True)
    return np.asarray((image - means) * (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1] + means)


def elastic_transform(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's elastic warping, in its form for any image size.

    That form scales with the image and warps locally at every severity. The published
    ImageNet-C also moves the corners of a triangle at random, mostly at severities 1 and 2.
    """
    strength = 250 * (0.05, 0.065, 0.085, 0.1, 0.12)[severity - 1]
    height, width, _ = image.shape
    coordinates = np.indices((height, width), dtype=np.float64)
    for along, size in zip(coordinates, (height, width), strict=True):
        shifts = random.uniform(-0.005 * size, 0.005 * size, (height, width))
        smoothness = (0.01 * height, 0.01 * width)
        shifts = ndimage.gaussian_filter(shifts, smoothness, mode="reflect", truncate=3)
        along += strength * shifts
    warp = partial(ndimage.map_coordinates, coordinates=coordinates, order=1, mode="reflect")
    return np.stack([warp(channel) for channel in np.moveaxis(image, 2, 0)], axis=2)


def pixelate(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's pixelation, on 8 bits: shrunk by means over boxes, enlarged by repetition."""
    share = PIXELATED_SIZES[severity - 1]
    height, width, _ = image.shape
    large, small = (width, height), (int(width * share), int(height * share))
    pixelated = [
        PIL.Image.fromarray(pixels)
        .resize(small, PIL.Image.Resampling.BOX)
        .resize(large, PIL.Image.Resampling.NEAREST)
        for pixels in np.ascontiguousarray(_eight_bits(image).transpose(2, 0, 1))
    ]
    return np.stack([np.asarray(channel) for channel in pixelated], axis=2) / 255


def jpeg_compression(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's JPEG, on 8 bits, of quality 25 down to 7."""
    quality = (25, 18, 15, 10, 7)[severity - 1]
    pixels = _eight_bits(image)
    file = BytesIO()
    PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(
        file, "JPEG", quality=quality
    )
    with PIL.Image.open(file) as picture:
        return np.asarray(picture, dtype=np.float64).reshape(image.shape) / 255


def _eight_bits(image: Image) -> NDArray[np.uint8]:
    return np.rint(image * 255).astype(np.uint8)
