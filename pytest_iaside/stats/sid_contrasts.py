"""The interval of a contrast: what is read off the SIDs of several checkpoints, weighted and added.

A line fitted to a score over checkpoints has a slope that is such a sum. All checkpoints were
measured on the same images, so images are left out of all of them together. Where it is not
beyond doubt which band is the least, the least values are unknowns of their own, as in shares.py
for two profiles: the interval is the union over all that they may be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_iaside.stats.intervals import Rows, jackknife_interval
from pytest_iaside.stats.sid_intervals import Shares, certain, least


def contrast_interval(
    points: Sequence[Rows], weights: Sequence[float], shares: Shares, level: float
) -> tuple[Rows, Rows]:
    """Bounds of Σ weight·shares of the mean ψ of ``points``, rows (K, M) of the same images.

    ``weights`` add up to 0: of checkpoints that do not differ the contrast is 0, and so are both
    bounds.
    """
    if len(points[0]) < 2:
        nothing = np.full_like(shares(points[0][0], least(points[0][0])), np.inf)
        return -nothing, nothing
    contrast = _Contrast(points, weights, shares)
    if all(certain(rows) for rows in points):
        return contrast.around(None, level)
    # Half of the error is for the shares; the other for the bounds on the least ψ of each point
    # and on how far it moved from that of the middle one. Of two in the middle either counts, so
    # that turning the order round flips the sign and nothing else.
    count = len(points)
    middles = {(count - 1) // 2, count // 2}
    moving = {frozenset((middle, at)) for middle in middles for at in range(count) if at != middle}
    half = 1 - (1 - level) / 2
    each = 1 - (1 - level) / 2 / (count + len(moving))
    bounds = [_least_bounds(rows, each) for rows in points]
    intervals = []
    for middle in middles:
        moves = [_least_moves(rows, points[middle], each) for rows in points]
        for at in (bounds[middle][0], least(points[middle].mean(axis=0)), bounds[middle][1]):
            near, far = (
                [np.clip(at + move[end], *bound) for move, bound in zip(moves, bounds, strict=True)]
                for end in (0, 1)
            )
            intervals += [contrast.around(corner, half) for corner in contrast.corners(near, far)]
    lows, highs = zip(*intervals, strict=True)
    # Where so much may be subtracted that nothing is left, a share can be anything.
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


class _Contrast:
    """The weighted sum as a function of the mean ψ of all points side by side."""

    def __init__(self, points: Sequence[Rows], weights: Sequence[float], shares: Shares) -> None:
        self._rows = np.hstack(points)
        self._width = points[0].shape[1]
        self._weights, self._shares = weights, shares

    def around(self, at: Sequence[Rows] | None, level: float) -> tuple[Rows, Rows]:
        """The jackknife's interval, shares measured from ``at``, or from the least ψ themselves."""

        def total(mean: Rows) -> Rows:
            return np.asarray(sum(self._terms(mean, at)))

        found = jackknife_interval(self._rows, total, level)
        return found.low, found.high

    def corners(self, near: Sequence[Rows], far: Sequence[Rows]) -> list[list[Rows]]:
        """Of the two ends of every least ψ those that make the sum the least and the greatest.

        Every term rises, or falls, with the value it is measured from all the way.
        """
        mean = self._rows.mean(axis=0)
        ends = list(zip(near, far, strict=True))
        terms = zip(self._terms(mean, near), self._terms(mean, far), strict=True)
        smaller = [0 if bool(np.all(here <= there)) else 1 for here, there in terms]
        return [
            [pair[side ^ greatest] for pair, side in zip(ends, smaller, strict=True)]
            for greatest in (0, 1)
        ]

    def _terms(self, mean: Rows, at: Sequence[Rows] | None) -> list[Rows]:
        parts = np.split(mean, len(self._weights), axis=-1)
        places = [least(part) for part in parts] if at is None else at
        return [
            weight * self._shares(part, place)
            for weight, part, place in zip(self._weights, parts, places, strict=True)
        ]


def _least_bounds(rows: Rows, level: float) -> tuple[Rows, Rows]:
    """Bounds of the least ψ, (1,) each: no band is certain to be it, so each counts."""
    low, high = _bands(rows, level)
    return low.min(keepdims=True), high.min(keepdims=True)


def _least_moves(ours: Rows, theirs: Rows, level: float) -> tuple[Rows, Rows]:
    """Bounds of how far the least ψ lies from that of ``theirs``, (1,) each."""
    low, high = _bands(ours - theirs, level)
    return (
        low[_may_be_least(ours)].min(keepdims=True),
        high[_may_be_least(theirs)].max(keepdims=True),
    )


def _bands(rows: Rows, level: float) -> tuple[Rows, Rows]:
    bands = rows.shape[1]
    found = jackknife_interval(rows, lambda mean: mean, 1 - (1 - level) / bands)
    return found.low, found.high


def _may_be_least(rows: Rows) -> list[int]:
    lowest = int(rows.mean(axis=0).argmin())
    others = (band for band in range(rows.shape[1]) if band != lowest)
    return [lowest, *(band for band in others if not certain(rows[:, [lowest, band]]))]
