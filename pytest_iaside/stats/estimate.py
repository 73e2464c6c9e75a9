"""Estimate: a number measured on a sample of images, and how far it may be off."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.intervals import jackknife_error, jackknife_interval


@dataclass(frozen=True, eq=False, kw_only=True)
class Estimate:
    """A number measured on a sample of images, with a confidence interval at ``level``.

    ``standard_error`` is the jackknife's over images. Where it cannot be known it is NaN, and the
    interval is infinite. ``image_values`` (K,) float64 belong to the images in their order, and
    their mean is ``value``: for paired comparisons.
    """

    value: float
    low: float
    high: float
    standard_error: float
    level: float
    image_values: Floats | None = field(default=None, repr=False)

    @classmethod
    def of_mean(cls, values: ArrayLike, level: float) -> Estimate:
        """Of the mean of ``values`` (K,), with Student's interval."""
        rows = np.asarray(values, dtype=np.float64)
        interval = jackknife_interval(rows, _itself, level)
        return cls._of(rows, float(interval.low), float(interval.high), level)

    @classmethod
    def of_proportion(cls, hits: ArrayLike, level: float) -> Estimate:
        """Of the share of ``hits`` (K,), each 0 or 1, with Wilson's interval (1927)."""
        rows = np.asarray(hits, dtype=np.float64)
        count, share = len(rows), float(rows.mean())
        square = float(special.ndtri(0.5 + level / 2)) ** 2
        centre = share + square / (2 * count)
        reach = np.sqrt(square * share * (1 - share) / count + (square / (2 * count)) ** 2)
        low, high = ((centre + side * reach) / (1 + square / count) for side in (-1, 1))
        # Rounding must not leave a share of 0 or 1 outside of its own interval.
        low, high = min(max(float(low), 0.0), share), max(min(float(high), 1.0), share)
        return cls._of(rows, low, high, level)

    @classmethod
    def _of(cls, rows: Floats, low: float, high: float, level: float) -> Estimate:
        return cls(
            value=float(rows.mean()),
            low=low,
            high=high,
            standard_error=float(jackknife_error(rows, _itself)),
            level=level,
            image_values=rows,
        )


def _itself(mean: Floats) -> Floats:
    return mean
