"""Noise: random errors of single pixels."""

import numpy as np
from numpy.random import Generator

from pytest_iaside.stats.arrays import Floats

Image = Floats
"""(H, W, C) in [0, 1]; what a corruption returns may overstep that, and is clipped later."""


def white_noise(image: Image, severity: int, random: Generator) -> Image:
    """Gaussian noise of deviation 0.1 to 0.2 (SPEC.md 2)."""
    return image + random.normal(0, (0.1, 0.125, 0.15, 0.175, 0.2)[severity - 1], image.shape)


def poisson(image: Image, severity: int, random: Generator) -> Image:
    """Photon counting, 255 photons in a full pixel (an 8-bit camera at unit gain) down to 16.

    ImageNet-C's own, with far fewer photons, is ``shot_noise``.
    """
    photons = (255, 128, 64, 32, 16)[severity - 1]
    return random.poisson(image * photons) / photons


def salt_and_pepper(image: Image, severity: int, random: Generator) -> Image:
    """Whole pixels, 1 to 20 % of them, turned white or black; a dead pixel has no colour.

    ImageNet-C's own, which strikes each channel by itself, is ``impulse_noise``.
    """
    share = (0.01, 0.02, 0.05, 0.1, 0.2)[severity - 1]
    return _struck(image, share, random.random((*image.shape[:2], 1)))


def gaussian_noise(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's Gaussian noise."""
    return image + random.normal(0, (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1], image.shape)


def shot_noise(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's Poisson noise, of 60 down to 3 photons in a full pixel."""
    photons = (60, 25, 12, 5, 3)[severity - 1]
    return random.poisson(image * photons) / photons


def impulse_noise(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's salt and pepper, on each channel by itself."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    return _struck(image, share, random.random(image.shape))


def _struck(image: Image, share: float, lots: Image) -> Image:
    # Half of the share of the lots lies at either end of [0, 1).
    pepper, salt = lots < share / 2, lots >= 1 - share / 2
    return np.where(salt, 1.0, np.where(pepper, 0.0, image))
