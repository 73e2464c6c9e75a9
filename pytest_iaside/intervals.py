"""Intervals for statistics of a mean over images, linear or not.

Everything a profile reports is a function of the mean of per-image rows. That makes both
resampling schemes a matrix product: the jackknife's leave-one-out means have a closed
form, and a bootstrap replicate is a row of counts times the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Method = Literal["jackknife", "bca"]
RESAMPLES = 4000


@dataclass(frozen=True)
class Interval:
    """Bounds of a confidence interval; floats, or arrays with one entry per band."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    level: float


def leave_one_out(rows: ArrayLike) -> NDArray[np.float64]:
    """Means (K, D) of the rows (K, D) with one row left out of each."""
    rows = np.asarray(rows, dtype=np.float64)
    count = len(rows)
    return np.asarray((rows.sum(axis=0) - rows) / (count - 1))


def jackknife_error(rows: ArrayLike, statistic: Statistic) -> NDArray[np.float64]:
    """Jackknife standard error of ``statistic`` of the mean of rows (K, D); NaN below two rows."""
    rows = np.asarray(rows, dtype=np.float64)
    count = len(rows)
    if count < 2:
        return np.full_like(np.asarray(statistic(rows.mean(axis=0))), np.nan)
    left_out = np.asarray(statistic(leave_one_out(rows)))
    spread = left_out - left_out.mean(axis=0)
    return np.asarray(np.sqrt((count - 1) / count * (spread**2).sum(axis=0)))


def jackknife_interval(rows: ArrayLike, statistic: Statistic, level: float) -> Interval:
    """Student interval around the plug-in estimate with the jackknife's standard error."""
    rows = np.asarray(rows, dtype=np.float64)
    value = np.asarray(statistic(rows.mean(axis=0)))
    if len(rows) < 2:
        return Interval(np.full_like(value, -np.inf), np.full_like(value, np.inf), level)
    reach = stats.t.ppf(0.5 + level / 2, len(rows) - 1) * jackknife_error(rows, statistic)
    return Interval(value - reach, value + reach, level)


def bca_interval(rows: ArrayLike, statistic: Statistic, level: float, *, seed: int = 0) -> Interval:
    """Bias-corrected and accelerated bootstrap interval over images (Efron 1987).

    Seeded: the same rows give the same interval. Bias correction and acceleration are left
    out of an entry that the bootstrap does not move.
    """
    rows = np.asarray(rows, dtype=np.float64)
    value = np.asarray(statistic(rows.mean(axis=0)))
    count = len(rows)
    if count < 2:
        return Interval(np.full_like(value, -np.inf), np.full_like(value, np.inf), level)
    counts = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    # NaN is a replicate without a SID (all ψ equal); it says nothing about the statistic.
    replicates = np.asarray(statistic(counts @ rows / count))
    below = np.mean((replicates < value) + 0.5 * (replicates == value), axis=0)
    edge = 0.5 / RESAMPLES
    bias = stats.norm.ppf(np.clip(below, edge, 1 - edge))
    influence = np.asarray(statistic(leave_one_out(rows)))
    influence = influence.mean(axis=0) - influence
    cubes, squares = (influence**3).sum(axis=0), (influence**2).sum(axis=0)
    acceleration = np.divide(
        cubes, 6 * squares**1.5, out=np.zeros_like(value, dtype=np.float64), where=squares > 0
    )
    bounds = []
    for tail in (0.5 - level / 2, 0.5 + level / 2):
        shifted = bias + stats.norm.ppf(tail)
        at = stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
        bounds.append(_columnwise_quantile(replicates, at))
    return Interval(bounds[0], bounds[1], level)


def _columnwise_quantile(
    replicates: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    if replicates.ndim == 1:
        return np.asarray(np.nanquantile(replicates, at))
    columns = zip(replicates.T, at, strict=True)
    return np.array([np.nanquantile(column, share) for column, share in columns])
