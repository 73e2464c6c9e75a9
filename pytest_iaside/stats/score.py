"""The spectral importance distribution and the spectral robustness score (SPEC.md 1.5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pytest_iaside.stats.arrays import Floats

BETA = 0.75


def sid(psi: ArrayLike, least: ArrayLike | None = None) -> Floats:
    """Spectral importance distribution Ψ* (…, M) of Shapley values (…, M): SPEC.md 1.5.

    Sums to 1 with least entry 0; NaN where all ψ are equal (the shares are then 0/0). With
    ``least`` (…, 1) the shares are of ψ above that value instead of above their own least.
    """
    psi = np.asarray(psi, dtype=np.float64)
    shifted = psi - (psi.min(axis=-1, keepdims=True) if least is None else np.asarray(least))
    total = shifted.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(shifted, total, out=np.full_like(shifted, np.nan), where=total > 0))


def signed_src(shares: ArrayLike, beta: float = BETA) -> Floats:
    """Spectral robustness score with its sign (…) of SIDs (…, M): SPEC.md 1.5 without |·|.

    Positive where importance lies on low frequencies, negative where it lies on high ones. Each
    band weighs ``beta`` times as much as the one below it; ``beta`` lies between 0 and 1.
    """
    shares = np.asarray(shares, dtype=np.float64)
    slope, uniform = _normalised_slope(shares.shape[-1], beta)
    return np.asarray((shares @ slope - uniform) / (1.0 - uniform))


def src(shares: ArrayLike) -> Floats:
    """The paper's spectral robustness score (…) of SIDs (…, M): SPEC.md 1.5, at most .5217."""
    return np.abs(signed_src(shares))


def src_range(bands: int) -> tuple[float, float]:
    """Least and greatest signed score that a SID of so many bands can attain."""
    scores = signed_src(np.eye(bands))
    return float(scores.min()), float(scores.max())


def _normalised_slope(bands: int, beta: float) -> tuple[Floats, float]:
    slope = beta ** np.arange(bands)
    length = float(np.linalg.norm(slope))
    return np.asarray(slope / length, dtype=np.float64), float(slope.sum()) / (bands * length)
