"""Intervals of what is read off a SID, also in the corner of its min-shift.

SID and SRC measure ψ from the least band's (SPEC.md 1.5). Where it is beyond doubt which band
that is, they are smooth in ψ and the jackknife's interval holds. Where several bands may be
the least, it is not: the smallest of noisy values lies below all of them, every share is
biased, and nominal 95 % intervals cover as little as 60 %. There the least value is treated as
what it is, an unknown of its own: given it, shares are smooth again, so the interval here is
the union of the intervals over all values it may have. It holds at least as often as it
promises, and is wide; a gate is then more often inconclusive, not more often wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.intervals import (
    STUDENT,
    Change,
    Law,
    anything,
    jackknife_interval,
    paired_error,
    unpaired_error,
)

Shares = Callable[[Floats, Floats], Floats]
"""Of ψ (…, M) and the value it is measured from (…, 1)."""
# A band whose ψ lies further above the least one's, in standard errors, is not the least.
BEYOND_DOUBT = 3.0


def least(psi: Floats) -> Floats:
    """The least ψ, (…, 1)."""
    return np.asarray(psi.min(axis=-1, keepdims=True))


def interval(
    rows: Floats, shares: Shares, level: float, *, law: Law = STUDENT
) -> tuple[Floats, Floats]:
    """Bounds of ``shares`` of the mean of ψ, rows (K, M)."""
    nothing = np.zeros_like(rows)

    def once(candidate: Floats, baseline: Floats) -> Floats:
        return shares(candidate, least(candidate))

    if len(rows) < 2:
        return anything(once(rows[0], nothing[0]))
    if certain(rows):
        return _around(rows, nothing, once, level, law)
    low, high = _least_bounds(rows, 1 - (1 - level) / 2, law)
    return _union(
        _around(rows, nothing, _measured_from(shares, at), 1 - (1 - level) / 2, law)
        for at in (low, high)
    )


def change_interval(
    candidate: Floats,
    baseline: Floats,
    shares: Shares,
    level: float,
    *,
    law: Law = STUDENT,
    paired: bool = True,
) -> tuple[Floats, Floats]:
    """Bounds of the change in ``shares``, (K, M) and (L, M) rows of ψ."""

    def once(a: Floats, b: Floats) -> Floats:
        return shares(a, least(a)) - shares(b, least(b))

    if min(len(candidate), len(baseline)) < 2:
        return anything(once(candidate[0], baseline[0]))
    if certain(candidate) and certain(baseline):
        return _around(candidate, baseline, once, level, law, paired)
    # Half of the error is for the shares, a sixth for each of three bounds on the least ψ.
    half, sixth = 1 - (1 - level) / 2, 1 - (1 - level) / 6
    of_candidate, of_baseline = (_least_bounds(rows, sixth, law) for rows in (candidate, baseline))
    moves = _least_moves(candidate, baseline, sixth, law, paired)
    # Seen from either side, so that swapping the two flips the sign and nothing else.
    pairs = [
        (np.clip(at + move, *of_candidate), at)
        for at in (of_baseline[0], least(baseline.mean(axis=0)), of_baseline[1])
        for move in moves
    ] + [
        (at, np.clip(at - move, *of_baseline))
        for at in (of_candidate[0], least(candidate.mean(axis=0)), of_candidate[1])
        for move in moves
    ]
    return _union(
        _around(candidate, baseline, _changed_from(shares, *pair), half, law, paired)
        for pair in pairs
    )


def contrast_interval(
    points: Sequence[Floats], weights: Sequence[float], shares: Shares, level: float
) -> tuple[Floats, Floats]:
    """Bounds of Σ weight·shares of the mean ψ of ``points``, rows (K, M) of the same images.

    ``weights`` add up to 0: of checkpoints that do not differ the contrast is 0, and so are both
    bounds.
    """
    if len(points[0]) < 2:
        return anything(shares(points[0][0], least(points[0][0])))
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
    bounds = [_least_bounds(rows, each, STUDENT) for rows in points]
    intervals = []
    for middle in middles:
        moves = [_least_moves(rows, points[middle], each, STUDENT, True) for rows in points]
        for at in (bounds[middle][0], least(points[middle].mean(axis=0)), bounds[middle][1]):
            near, far = (
                [np.clip(at + move[end], *bound) for move, bound in zip(moves, bounds, strict=True)]
                for end in (0, 1)
            )
            intervals += [contrast.around(corner, half) for corner in contrast.corners(near, far)]
    return _union(intervals)


class _Contrast:
    """The weighted sum as a function of the mean ψ of all points side by side."""

    def __init__(self, points: Sequence[Floats], weights: Sequence[float], shares: Shares) -> None:
        self._rows = np.hstack(points)
        self._width = points[0].shape[1]
        self._weights, self._shares = weights, shares

    def around(self, at: Sequence[Floats] | None, level: float) -> tuple[Floats, Floats]:
        """The jackknife's interval, shares measured from ``at``, or from the least ψ themselves."""

        def total(mean: Floats) -> Floats:
            return np.asarray(sum(self._terms(mean, at)))

        found = jackknife_interval(self._rows, total, level)
        return found.low, found.high

    def corners(self, near: Sequence[Floats], far: Sequence[Floats]) -> list[list[Floats]]:
        """Of the two ends of every least ψ those that make the sum the least and the greatest.

        Every term rises, or falls, with the value it is measured from all the way.
        """
        mean = self._rows.mean(axis=0)
        ends = list(zip(near, far, strict=True))
        terms = zip(self._terms(mean, near), self._terms(mean, far), strict=True)
        smaller = [0 if bool(np.all(first <= second)) else 1 for first, second in terms]
        return [
            [pair[side ^ greatest] for pair, side in zip(ends, smaller, strict=True)]
            for greatest in (0, 1)
        ]

    def _terms(self, mean: Floats, at: Sequence[Floats] | None) -> list[Floats]:
        parts = np.split(mean, len(self._weights), axis=-1)
        places = [least(part) for part in parts] if at is None else at
        return [
            weight * self._shares(part, place)
            for weight, part, place in zip(self._weights, parts, places, strict=True)
        ]


def _measured_from(shares: Shares, at: Floats) -> Change:
    return lambda candidate, baseline: shares(candidate, at)


def _changed_from(shares: Shares, at: Floats, at_baseline: Floats) -> Change:
    return lambda candidate, baseline: shares(candidate, at) - shares(baseline, at_baseline)


def _around(
    candidate: Floats, baseline: Floats, change: Change, level: float, law: Law, paired: bool = True
) -> tuple[Floats, Floats]:
    found = change(candidate.mean(axis=0), baseline.mean(axis=0))
    error, freedom = (paired_error if paired else unpaired_error)(candidate, baseline, change)
    reach = law.reach(level, freedom) * error
    return found - reach, found + reach


def _union(intervals: Iterable[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    lows, highs = zip(*intervals, strict=True)
    # Where so much may be subtracted that nothing is left, a share can be anything.
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def certain(rows: Floats) -> bool:
    """Whether it is beyond doubt which band has the least mean ψ of rows (K, M)."""
    return int(_may_be_least(rows).sum()) == 1


def _may_be_least(rows: Floats) -> Floats:
    """Which bands, (M,), may have the least ψ."""
    above = rows - rows[:, [int(rows.mean(axis=0).argmin())]]
    error = above.std(axis=0, ddof=1) / np.sqrt(len(rows))
    return np.asarray(above.mean(axis=0) <= BEYOND_DOUBT * error)


def _least_bounds(rows: Floats, level: float, law: Law) -> tuple[Floats, Floats]:
    """Bounds of the least ψ, (1,) each: no band is certain to be it, so each counts."""
    low, high = _bands(rows, np.zeros_like(rows), level, law)
    return low.min(keepdims=True), high.min(keepdims=True)


def _least_moves(
    candidate: Floats, baseline: Floats, level: float, law: Law, paired: bool
) -> tuple[Floats, Floats]:
    """Bounds of how far the least ψ moved, (1,) each.

    It moved at least as far as the band that is the least now, and at most as far as the one
    that was: so paired changes of few bands bound it, and no change bounds it to nothing.
    """
    low, high = _bands(candidate, baseline, level, law, paired)
    return (
        low[_may_be_least(candidate)].min(keepdims=True),
        high[_may_be_least(baseline)].max(keepdims=True),
    )


def _bands(
    candidate: Floats, baseline: Floats, level: float, law: Law, paired: bool = True
) -> tuple[Floats, Floats]:
    return _around(
        candidate, baseline, np.subtract, 1 - (1 - level) / candidate.shape[1], law, paired
    )
