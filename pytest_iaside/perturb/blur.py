"""Blurs: lenses out of focus, moved cameras, frosted glass."""

import math

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from pytest_iaside.perturb.noise import Image

LEVELS_OF_GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
"""For each severity: deviation of the blur, reach in pixels, rounds."""


def gaussian_blur(image: Image, severity: int, random: Generator) -> Image:
    """Gaussian kernels of 3×3, 3×3, 5×5, 5×5 and 7×7 pixels (SPEC.md 2).

    The deviations are those that OpenCV gives kernels 3, 4, 5, 6 and 7 wide: 0.8 to 1.4.
    """
    deviation = 0.3 * ((severity + 1) / 2 - 1) + 0.8
    radius, blur = (severity + 1) // 2, (deviation, deviation, 0)
    return np.asarray(ndimage.gaussian_filter(image, blur, radius=radius, mode="mirror"))


def defocus_blur(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's defocus: the mean over a disc of radius 3 to 10, softened at its rim."""
    radius, softness = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    reach = max(radius, 8)
    offsets = np.arange(-reach, reach + 1)
    disc = (np.hypot(offsets[:, None], offsets) <= radius).astype(float)
    disc = ndimage.gaussian_filter(
        disc / disc.sum(), softness, radius=1 if radius <= 8 else 2, mode="mirror"
    )
    mirrored = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    # Here: its import takes longer than a gate of an unchanged model does.
    from scipy import signal

    return np.asarray(signal.fftconvolve(mirrored, disc[..., None], mode="valid", axes=(0, 1)))


def glass_blur(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's glass: blurred, pixels displaced by -reach to reach - 1, blurred.

    Like ImageNet-C's, whose swap lost one of the two, a pixel takes the place of another.
    """
    deviation, reach, rounds = LEVELS_OF_GLASS[severity - 1]
    blur = (deviation, deviation, 0)
    image = ndimage.gaussian_filter(image, blur, mode="nearest")
    height, width, channels = image.shape
    rows, columns = np.arange(height - reach, reach, -1), np.arange(width - reach, reach, -1)
    targets = (rows[:, None] * width + columns).ravel()
    # One after the other, since a pixel that was displaced may be displaced again; plain
    # lists, because single entries of arrays are slow.
    origin = list(range(height * width))
    for _ in range(rounds):
        down, right = random.integers(-reach, reach, size=(2, len(targets)))
        sources = targets + down * width + right
        for target, source in zip(targets.tolist(), sources.tolist(), strict=True):
            origin[target] = origin[source]
    displaced = image.reshape(-1, channels)[origin].reshape(image.shape)
    return np.asarray(ndimage.gaussian_filter(displaced, blur, mode="nearest"))


def motion_blur(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's motion: a trail that fades, within 45° of the horizontal."""
    radius, deviation = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    return moved(image, radius, deviation, random.uniform(-45, 45))


def zoom_blur(image: Image, severity: int, random: Generator) -> Image:
    """ImageNet-C's zoom: the mean of the image and of ever larger pictures of its centre."""
    step, last = ((0.01, 11), (0.01, 15), (0.02, 10), (0.02, 12), (0.03, 10))[severity - 1]
    pictures = [zoomed(image, 1 + i * step) for i in range(last + 1)]
    return (image + sum(pictures)) / (len(pictures) + 1)


def moved(image: Image, radius: int, deviation: float, degrees: float) -> Image:
    """A trail of 2 · radius + 1 pixels that fades as a Gaussian; the border is repeated."""
    along = np.arange(2 * radius + 1)
    weights = np.exp(-(along**2) / (2 * deviation**2))
    weights /= weights.sum()
    angle = math.radians(degrees)
    down = np.ceil(along * math.sin(angle) - 0.5).astype(int)
    right = np.ceil(along * math.cos(angle) - 0.5).astype(int)
    reach = 2 * radius
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width, _ = image.shape
    trail = np.zeros_like(image)
    for weight, row, column in zip(weights, reach + down, reach + right, strict=True):
        trail += weight * padded[row : row + height, column : column + width]
    return trail


def zoomed(image: Image, factor: float) -> Image:
    """The centre of the image, enlarged by linear interpolation to the size of the image."""
    for axis in (0, 1):
        size = image.shape[axis]
        part = math.ceil(size / factor)
        start = (size - part) // 2
        # The part's ends stay ends; what comes out too long by rounding is cut off.
        positions = start + np.linspace(0, part - 1, round(part * factor))[:size]
        low = np.floor(positions).astype(int)
        high = np.minimum(low + 1, start + part - 1)
        between = np.expand_dims(positions - low, (1 - axis, 2))
        image = image.take(low, axis) * (1 - between) + image.take(high, axis) * between
    return image
