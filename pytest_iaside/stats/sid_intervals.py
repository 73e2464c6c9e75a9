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
from dataclasses import dataclass

import numpy as np

from pytest_iaside.stats.arrays import Floats
from pytest_iaside.stats.groups import Groups, group_count
from pytest_iaside.stats.intervals import (
    STUDENT,
    Change,
    Law,
    anything,
    jackknife_error,
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
    rows: Floats, shares: Shares, level: float, *, law: Law = STUDENT, groups: Groups = None
) -> tuple[Floats, Floats]:
    """Bounds of ``shares`` of the mean of ψ, rows (K, M), which may come in ``groups``."""
    drawn = _Drawn(law, True, groups)
    nothing = np.zeros_like(rows)

    def once(candidate: Floats, baseline: Floats) -> Floats:
        return shares(candidate, least(candidate))

    if group_count(groups, len(rows)) < 2:
        return anything(once(rows[0], nothing[0]))
    if certain(rows, groups):
        return _around(rows, nothing, once, level, drawn)
    low, high = _least_bounds(rows, 1 - (1 - level) / 2, drawn)
    return _union(
        _around(rows, nothing, _measured_from(shares, at), 1 - (1 - level) / 2, drawn)
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
    groups: Groups = None,
    baseline_groups: Groups = None,
) -> tuple[Floats, Floats]:
    """Bounds of the change in ``shares``, (K, M) and (L, M) rows of ψ.

    ``groups`` are those of the pairs, or else of the candidate's rows alone.
    """
    drawn = _Drawn(law, paired, groups, baseline_groups)
    of_baseline_rows = groups if paired else baseline_groups

    def once(a: Floats, b: Floats) -> Floats:
        return shares(a, least(a)) - shares(b, least(b))

    counts = group_count(groups, len(candidate)), group_count(of_baseline_rows, len(baseline))
    if min(counts) < 2:
        return anything(once(candidate[0], baseline[0]))
    if certain(candidate, groups) and certain(baseline, of_baseline_rows):
        return _around(candidate, baseline, once, level, drawn)
    # Half of the error is for the shares, a sixth for each of three bounds on the least ψ.
    half, sixth = 1 - (1 - level) / 2, 1 - (1 - level) / 6
    of_candidate, of_baseline = (
        _least_bounds(rows, sixth, _Drawn(law, True, some))
        for rows, some in ((candidate, groups), (baseline, of_baseline_rows))
    )
    moves = _least_moves(candidate, baseline, sixth, drawn)
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
        _around(candidate, baseline, _changed_from(shares, *pair), half, drawn) for pair in pairs
    )


def contrast_interval(
    points: Sequence[Floats],
    weights: Sequence[float],
    shares: Shares,
    level: float,
    *,
    groups: Groups = None,
) -> tuple[Floats, Floats]:
    """Bounds of Σ weight·shares of the mean ψ of ``points``, rows (K, M) of the same images.

    ``weights`` add up to 0: of checkpoints that do not differ the contrast is 0, and so are both
    bounds.
    """
    if group_count(groups, len(points[0])) < 2:
        return anything(shares(points[0][0], least(points[0][0])))
    contrast = _Contrast(points, weights, shares, groups)
    if all(certain(rows, groups) for rows in points):
        return contrast.around(None, level)
    # Half of the error is for the shares; the other for the bounds on the least ψ of each point
    # and on how far it moved from that of the middle one. Of two in the middle either counts, so
    # that turning the order round flips the sign and nothing else.
    count = len(points)
    middles = {(count - 1) // 2, count // 2}
    moving = {frozenset((middle, at)) for middle in middles for at in range(count) if at != middle}
    half = 1 - (1 - level) / 2
    each = 1 - (1 - level) / 2 / (count + len(moving))
    drawn = _Drawn(STUDENT, True, groups)
    bounds = [_least_bounds(rows, each, drawn) for rows in points]
    intervals = []
    for middle in middles:
        moves = [_least_moves(rows, points[middle], each, drawn) for rows in points]
        for at in (bounds[middle][0], least(points[middle].mean(axis=0)), bounds[middle][1]):
            near, far = (
                [np.clip(at + move[end], *bound) for move, bound in zip(moves, bounds, strict=True)]
                for end in (0, 1)
            )
            intervals += [contrast.around(corner, half) for corner in contrast.corners(near, far)]
    return _union(intervals)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """How rows were drawn: looked at once or often, in pairs or not, in which groups."""

    law: Law
    paired: bool
    groups: Groups = None
    baseline_groups: Groups = None

    def error(self, candidate: Floats, baseline: Floats, change: Change) -> tuple[Floats, Floats]:
        if self.paired:
            return paired_error(candidate, baseline, change, self.groups)
        return unpaired_error(candidate, baseline, change, self.groups, self.baseline_groups)


class _Contrast:
    """The weighted sum as a function of the mean ψ of all points side by side."""

    def __init__(
        self, points: Sequence[Floats], weights: Sequence[float], shares: Shares, groups: Groups
    ) -> None:
        self._rows, self._groups = np.hstack(points), groups
        self._width = points[0].shape[1]
        self._weights, self._shares = weights, shares

    def around(self, at: Sequence[Floats] | None, level: float) -> tuple[Floats, Floats]:
        """The jackknife's interval, shares measured from ``at``, or from the least ψ themselves."""

        def total(mean: Floats) -> Floats:
            return np.asarray(sum(self._terms(mean, at)))

        found = jackknife_interval(self._rows, total, level, groups=self._groups)
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
    candidate: Floats, baseline: Floats, change: Change, level: float, drawn: _Drawn
) -> tuple[Floats, Floats]:
    found = change(candidate.mean(axis=0), baseline.mean(axis=0))
    error, freedom = drawn.error(candidate, baseline, change)
    reach = drawn.law.reach(level, freedom) * error
    return found - reach, found + reach


def _union(intervals: Iterable[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    lows, highs = zip(*intervals, strict=True)
    # Where so much may be subtracted that nothing is left, a share can be anything.
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def certain(rows: Floats, groups: Groups = None) -> bool:
    """Whether it is beyond doubt which band has the least mean ψ of rows (K, M)."""
    return int(_may_be_least(rows, groups).sum()) == 1


def _may_be_least(rows: Floats, groups: Groups) -> Floats:
    """Which bands, (M,), may have the least ψ."""
    above = rows - rows[:, [int(rows.mean(axis=0).argmin())]]
    if groups is None:
        error = above.std(axis=0, ddof=1) / np.sqrt(len(rows))
    else:
        error = jackknife_error(above, np.asarray, groups)
    return np.asarray(above.mean(axis=0) <= BEYOND_DOUBT * error)


def _least_bounds(rows: Floats, level: float, drawn: _Drawn) -> tuple[Floats, Floats]:
    """Bounds of the least ψ, (1,) each: no band is certain to be it, so each counts."""
    low, high = _bands(rows, np.zeros_like(rows), level, drawn)
    return low.min(keepdims=True), high.min(keepdims=True)


def _least_moves(
    candidate: Floats, baseline: Floats, level: float, drawn: _Drawn
) -> tuple[Floats, Floats]:
    """Bounds of how far the least ψ moved, (1,) each.

    It moved at least as far as the band that is the least now, and at most as far as the one
    that was: so paired changes of few bands bound it, and no change bounds it to nothing.
    """
    low, high = _bands(candidate, baseline, level, drawn)
    before = drawn.groups if drawn.paired else drawn.baseline_groups
    return (
        low[_may_be_least(candidate, drawn.groups)].min(keepdims=True),
        high[_may_be_least(baseline, before)].max(keepdims=True),
    )


def _bands(
    candidate: Floats, baseline: Floats, level: float, drawn: _Drawn
) -> tuple[Floats, Floats]:
    return _around(candidate, baseline, np.subtract, 1 - (1 - level) / candidate.shape[1], drawn)
