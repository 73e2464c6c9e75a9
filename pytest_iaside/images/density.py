"""How energy is spread over frequencies: of images, and of what perturbs them (SPEC.md 1.8)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_iaside.errors import ReferenceSampleError, SettingsError
from pytest_iaside.images.reference import Pictures
from pytest_iaside.stats.arrays import Floats

Curve = tuple[Floats, Floats]


def energy_spectral_density(images: Pictures) -> Curve:
    """Radius (R,) in cycles an image and mean energy (R,) of the frequencies at that radius.

    ``images`` (K, C, H, W) uint8 or float. ESD_r is the mean of |F(u, v)|² over the frequencies
    whose radius rounds to r, up to Nyquist, over channels and over images; the transform is
    orthonormal, so white noise of deviation σ has the density σ². Images that are not square
    are measured along their shorter side. SPEC.md 1.8.

    Raises ReferenceSampleError when the images have another shape or hold NaN.
    """
    pictures = _pictures(images, "images")
    rings = _rings(*pictures.shape[-2:])
    energies = np.stack([_energy(picture, rings) for picture in pictures])
    return np.arange(len(rings), dtype=np.float64), np.asarray(energies.mean(axis=0))


def spectral_snr(images: Pictures, perturbed: Pictures, *, energy: float = 0.10) -> Curve:
    """Radius (R,) and the ratio (R,) of an image's energy to its perturbation's, in dB.

    The perturbation of each image, ``perturbed`` − ``images``, is first scaled to the share
    ``energy`` of the image's own: perturbations of any strength are compared by where they
    lie. Infinite where a perturbation leaves a radius alone. SPEC.md 1.8.

    Raises ReferenceSampleError when shapes differ or an image is not perturbed at all;
    SettingsError for ``energy``.
    """
    if not 0 < energy < np.inf:
        raise SettingsError(f"energy={energy!r} must be a share above 0, such as 0.1")
    before, after = _pictures(images, "images"), _pictures(perturbed, "perturbed")
    if before.shape != after.shape:
        raise ReferenceSampleError(
            f"images have shape {tuple(before.shape)} and perturbed ones {tuple(after.shape)}; "
            "give each image with what it became"
        )
    rings = _rings(*before.shape[-2:])
    signal, noise = np.zeros((2, len(rings)))
    for number, (one, other) in enumerate(zip(before, after, strict=True)):
        change = other - one
        strength = float(change.square().sum())
        if strength == 0:
            raise ReferenceSampleError(
                f"image {number} is not perturbed: there is no change whose spectrum could be told"
            )
        signal += _energy(one, rings)
        noise += energy * float(one.square().sum()) / strength * _energy(change, rings)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arange(len(rings), dtype=np.float64), 10 * np.log10(signal / noise)


def power_law_exponent(radius: Floats, density: Floats) -> float:
    """α of the power law ESD ∝ r^−α: least squares in log-log, without the mean (r = 0).

    Every radius weighs as many frequencies as lie on it, in proportion to r: the lowest few are
    uncertain, and rounding to whole radii biases them the most. Natural images have about 2, white
    noise 0. NaN where fewer than two radii have energy. SPEC.md 1.8.
    """
    known = (radius > 0) & (density > 0)
    if known.sum() < 2:
        return float("nan")
    # polyfit's weights multiply residuals, not their squares.
    weights = np.sqrt(radius[known])
    slope, _ = np.polyfit(np.log(radius[known]), np.log(density[known]), 1, w=weights)
    return float(-slope)


def _pictures(images: Any, what: str) -> Tensor:
    tensor = torch.as_tensor(images)
    if tensor.ndim != 4 or 0 in tensor.shape:
        raise ReferenceSampleError(
            f"{what} have shape {tuple(tensor.shape)}, expected (images, channels, height, width)"
        )
    pictures = tensor.to(torch.float64) / (255 if tensor.dtype == torch.uint8 else 1)
    if not pictures.isfinite().all():
        raise ReferenceSampleError(f"{what} hold NaN or infinity; expected finite values")
    return pictures


def _rings(height: int, width: int) -> list[NDArray[np.int64]]:
    """For each radius from 0 to Nyquist the flat indices of the frequencies that lie on it."""
    rows, columns = np.fft.fftfreq(height), np.fft.fftfreq(width)
    side = min(height, width)
    # To the nearest, halves up: numpy's own rounding would take every other ring's edge.
    radius = np.floor(np.hypot(rows[:, None], columns) * side + 0.5).astype(np.int64).ravel()
    return [np.flatnonzero(radius == r) for r in range(side // 2 + 1)]


def _energy(picture: Tensor, rings: list[NDArray[np.int64]]) -> Floats:
    """Mean energy of a picture (C, H, W) at each radius."""
    energy = torch.fft.fft2(picture, norm="ortho").abs().square().mean(dim=0).flatten().numpy()
    return np.array([energy[ring].mean() for ring in rings])
