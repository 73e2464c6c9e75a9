"""Intervals for statistics of a mean over images, linear or not.

Everything a profile reports is a function of the mean of per-image rows, so that the jackknife's
leave-one-out means have a closed form. Where images come in groups, a whole group is left out at
a time, and there are as many degrees of freedom as groups but one (SPEC.md 10).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import Groups, group_count, group_sums

Statistic = Callable[[Floats], Floats]
"""Of a mean (…, D), or of many at once."""
Change = Callable[[Floats, Floats], Floats]
"""Of two means (…, D)."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a confidence interval; floats, or arrays with one entry per band."""

    low: Floats
    high: Floats
    level: float


def anything(like: Floats) -> tuple[Floats, Floats]:
    """The bounds of what nothing is known of, of the shape of ``like``."""
    return np.full_like(like, -np.inf), np.full_like(like, np.inf)


def leave_one_out(rows: ArrayLike, groups: Groups = None) -> Floats:
    """Means of the rows (K, D) with one row left out of each, (K, D), or one group, (G, D)."""
    rows = np.asarray(rows, dtype=np.float64)
    count = len(rows)
    if groups is None:
        return np.asarray((rows.sum(axis=0) - rows) / (count - 1))
    left = (count - np.bincount(groups)).reshape(-1, *[1] * (rows.ndim - 1))
    return np.asarray((rows.sum(axis=0) - group_sums(rows, groups)) / left)


def jackknife_error(rows: ArrayLike, statistic: Statistic, groups: Groups = None) -> Floats:
    """Jackknife standard error of ``statistic`` of the mean of rows (K, D).

    NaN below two rows, or two ``groups``.
    """
    rows = np.asarray(rows, dtype=np.float64)
    count = group_count(groups, len(rows))
    if count < 2:
        return np.full_like(np.asarray(statistic(rows.mean(axis=0))), np.nan)
    left_out = statistic(leave_one_out(rows, groups))
    spread = left_out - left_out.mean(axis=0)
    return np.asarray(np.sqrt((count - 1) / count * (spread**2).sum(axis=0)))


class Law(Protocol):
    """How far a statistic may lie from the truth, in standard errors."""

    def reach(self, level: float, freedom: Floats) -> Floats:
        """Standard errors on either side of an interval at ``level``."""

    def p_value(self, ratio: Floats, freedom: Floats) -> Floats:
        """Two-sided p-value of a distance of ``ratio`` standard errors."""


class Student:
    """The law of one look at a number of images that was fixed beforehand."""

    def reach(self, level: float, freedom: Floats) -> Floats:
        return np.asarray(special.stdtrit(freedom, 0.5 + level / 2))

    def p_value(self, ratio: Floats, freedom: Floats) -> Floats:
        return np.asarray(2 * special.stdtr(freedom, -ratio))


@dataclass(frozen=True)
class Anytime:
    """The law of looking after every image and stopping when one likes.

    After every image, or every group of images, which count as one. The asymptotic confidence
    sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Annals of Statistics 2024, eq.
    10): Robbins' normal mixture, tightest at ``images`` images and ``level``. Log-likelihoods are
    unbounded below, so no sequence for bounded variables applies. What the guarantee rests on:
    images are a random sample in random order, their ψ have a little more than a finite variance,
    and the first look comes late enough for their mean to be nearly normal. Normal quantiles are
    turned into Student's, which is what keeps it at few images.
    """

    level: float
    images: int

    def reach(self, level: float, freedom: Floats) -> Floats:
        mixed = self._mixed(freedom)
        z = np.sqrt(2 * (mixed + 1) / mixed * np.log(np.sqrt(mixed + 1) / (1 - level)))
        return np.asarray(-special.stdtrit(freedom, special.ndtr(-z)))

    def p_value(self, ratio: Floats, freedom: Floats) -> Floats:
        mixed = self._mixed(freedom)
        # Through the logarithm: both tails underflow for changes that cannot be missed.
        z = -special.ndtri(np.maximum(special.stdtr(freedom, -ratio), 1e-300))
        return np.asarray(
            np.minimum(np.sqrt(mixed + 1) * np.exp(-(z**2) * mixed / (2 * (mixed + 1))), 1.0)
        )

    def _mixed(self, freedom: Floats) -> Floats:
        chance = -2 * np.log(1 - self.level)
        return np.asarray((np.asarray(freedom) + 1) * (chance + np.log(chance + 1)) / self.images)


STUDENT = Student()


def paired_error(
    candidate: Floats, baseline: Floats, change: Change, groups: Groups = None
) -> tuple[Floats, Floats]:
    """Jackknife standard error of ``change`` of the two means, rows in pairs (K, D).

    With the degrees of freedom. Infinite below two rows, or two ``groups``.
    """
    rows = np.hstack([candidate, baseline])
    width = candidate.shape[1]

    def statistic(mean: Floats) -> Floats:
        return change(mean[..., :width], mean[..., width:])

    error = jackknife_error(rows, statistic, groups)
    count = group_count(groups, len(rows))
    known = np.full_like(error, np.inf) if count < 2 else error
    return known, _freedom(count, error)


def unpaired_error(
    candidate: Floats,
    baseline: Floats,
    change: Change,
    groups: Groups = None,
    baseline_groups: Groups = None,
) -> tuple[Floats, Floats]:
    """The same for two samples of different images, (K, D) and (L, D): Welch's error."""
    candidate_mean, baseline_mean = candidate.mean(axis=0), baseline.mean(axis=0)
    first = jackknife_error(candidate, lambda mean: change(mean, baseline_mean), groups) ** 2
    second = jackknife_error(baseline, lambda m: change(candidate_mean, m), baseline_groups) ** 2
    counts = group_count(groups, len(candidate)), group_count(baseline_groups, len(baseline))
    squares = first**2 / max(counts[0] - 1, 1) + second**2 / max(counts[1] - 1, 1)
    together = first + second
    freedom = np.divide(together**2, squares, out=_freedom(counts[0], together), where=squares > 0)
    return np.where(np.isnan(together), np.inf, np.sqrt(together)), freedom


def _freedom(count: int, like: Floats) -> Floats:
    return np.full_like(like, max(count - 1, 1))


def jackknife_interval(
    rows: ArrayLike,
    statistic: Statistic,
    level: float,
    *,
    law: Law = STUDENT,
    groups: Groups = None,
) -> Interval:
    """Interval around the plug-in estimate with the jackknife's standard error."""
    rows = np.asarray(rows, dtype=np.float64)
    value = np.asarray(statistic(rows.mean(axis=0)))
    count = group_count(groups, len(rows))
    if count < 2:
        return Interval(*anything(value), level)
    error = jackknife_error(rows, statistic, groups)
    reach = law.reach(level, _freedom(count, error)) * error
    return Interval(value - reach, value + reach, level)


def holm(p_values: Floats) -> Floats:
    """Holm's step-down adjustment (1979): reject where the result is below the level."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted
