"""Estimate: a number measured on a sample of images, and how far it may be off."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import Groups, design_effect, group_count
from pytest_iaside.stats.intervals import jackknife_error, jackknife_interval


@dataclass(frozen=True, eq=False, kw_only=True)
class Estimate:
    """A number measured on a sample of images, with a confidence interval at ``level``.

    ``standard_error`` is the jackknife's over images, or over groups of them. Where it cannot be
    known it is NaN, and the interval is infinite. ``image_values`` (K,) float64 belong to the
    images in their order, and their mean is ``value``: for paired comparisons.
    """

    value: float
    low: float
    high: float
    standard_error: float
    level: float
    image_values: Floats | None = field(default=None, repr=False)

    @classmethod
    def of_mean(cls, values: ArrayLike, level: float, groups: Groups = None) -> Estimate:
        """Of the mean of ``values`` (K,), with Student's interval."""
        rows = np.asarray(values, dtype=np.float64)
        interval = jackknife_interval(rows, _itself, level, groups=groups)
        return cls._of(rows, float(interval.low), float(interval.high), level, groups)

    @classmethod
    def of_proportion(cls, hits: ArrayLike, level: float, groups: Groups = None) -> Estimate:
        """Of the share of ``hits`` (K,), each 0 or 1, with Wilson's interval (1927).

        In ``groups`` of as many hits as would say as much alone, and with Student's quantile
        (Korn and Graubard, Survey Methodology 1998; Franco et al., JSSAM 2019).
        """
        rows = np.asarray(hits, dtype=np.float64)
        count, share = len(rows) / design_effect(rows, groups), float(rows.mean())
        reached = float(special.ndtri(0.5 + level / 2))
        if groups is not None:
            if (drawn := group_count(groups, len(rows))) < 2:
                return cls._of(rows, 0.0, 1.0, level, groups)
            reached = float(special.stdtrit(drawn - 1, 0.5 + level / 2))
        square = reached**2
        centre = share + square / (2 * count)
        reach = np.sqrt(square * share * (1 - share) / count + (square / (2 * count)) ** 2)
        low, high = ((centre + side * reach) / (1 + square / count) for side in (-1, 1))
        # Rounding must not leave a share of 0 or 1 outside of its own interval.
        low, high = min(max(float(low), 0.0), share), max(min(float(high), 1.0), share)
        return cls._of(rows, low, high, level, groups)

    @classmethod
    def of_moves(cls, moves: ArrayLike, level: float, groups: Groups = None) -> Estimate:
        """Of the mean of ``moves`` (K,), each −1, 0 or 1, with Agresti and Min's interval (2005).

        Hits before less hits after: two moves are added, half an image to each way and one that
        stays, so that an interval has a width where no image moved (compare/evidence.py).
        """
        rows = np.asarray(moves, dtype=np.float64)
        drawn = group_count(groups, len(rows))
        if drawn < 2:
            return cls._of(rows, -1.0, 1.0, level, groups)
        effect = design_effect(rows, groups)
        count = len(rows) / effect + 2
        centre = float(rows.sum()) / effect / count
        square = ((float((rows**2).sum()) / effect + 1) / count - centre**2) / count
        reach = float(special.stdtrit(drawn - 1, 0.5 + level / 2)) * float(np.sqrt(square))
        # The centre lies nearer to 0 than the mean, which its interval has to hold all the same.
        value = float(rows.mean())
        low, high = max(min(centre - reach, value), -1.0), min(max(centre + reach, value), 1.0)
        return cls._of(rows, low, high, level, groups)

    @classmethod
    def _of(cls, rows: Floats, low: float, high: float, level: float, groups: Groups) -> Estimate:
        return cls(
            value=float(rows.mean()),
            low=low,
            high=high,
            standard_error=float(jackknife_error(rows, _itself, groups)),
            level=level,
            image_values=rows,
        )


def _itself(mean: Floats) -> Floats:
    return mean
