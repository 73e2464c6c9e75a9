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

from collections.abc import Callable, Iterable

import numpy as np

from pytest_iaside.stats.intervals import STUDENT, Change, Law, Rows, paired_error, unpaired_error

Shares = Callable[[Rows, Rows], Rows]
"""Of ψ (…, M) and the value it is measured from (…, 1)."""
# A band whose ψ lies further above the least one's, in standard errors, is not the least.
BEYOND_DOUBT = 3.0


def least(psi: Rows) -> Rows:
    """The least ψ, (…, 1)."""
    return np.asarray(psi.min(axis=-1, keepdims=True))


def interval(rows: Rows, shares: Shares, level: float, *, law: Law = STUDENT) -> tuple[Rows, Rows]:
    """Bounds of ``shares`` of the mean of ψ, rows (K, M)."""
    nothing = np.zeros_like(rows)

    def once(ours: Rows, theirs: Rows) -> Rows:
        return shares(ours, least(ours))

    if len(rows) < 2:
        return _anything(once(rows[0], nothing[0]))
    if certain(rows):
        return _around(rows, nothing, once, level, law)
    low, high = _least_bounds(rows, 1 - (1 - level) / 2, law)
    return _union(
        _around(rows, nothing, _measured_from(shares, at), 1 - (1 - level) / 2, law)
        for at in (low, high)
    )


def change_interval(
    ours: Rows,
    theirs: Rows,
    shares: Shares,
    level: float,
    *,
    law: Law = STUDENT,
    paired: bool = True,
) -> tuple[Rows, Rows]:
    """Bounds of the change in ``shares``, (K, M) and (L, M) rows of ψ."""

    def once(a: Rows, b: Rows) -> Rows:
        return shares(a, least(a)) - shares(b, least(b))

    if min(len(ours), len(theirs)) < 2:
        return _anything(once(ours[0], theirs[0]))
    if certain(ours) and certain(theirs):
        return _around(ours, theirs, once, level, law, paired)
    # Half of the error is for the shares, a sixth for each of three bounds on the least ψ.
    half, sixth = 1 - (1 - level) / 2, 1 - (1 - level) / 6
    here, there = (_least_bounds(rows, sixth, law) for rows in (ours, theirs))
    moves = _least_moves(ours, theirs, sixth, law, paired)
    # Seen from either side, so that swapping the two flips the sign and nothing else.
    pairs = [
        (np.clip(at + move, *here), at)
        for at in (there[0], least(theirs.mean(axis=0)), there[1])
        for move in moves
    ] + [
        (at, np.clip(at - move, *there))
        for at in (here[0], least(ours.mean(axis=0)), here[1])
        for move in moves
    ]
    return _union(
        _around(ours, theirs, _changed_from(shares, *pair), half, law, paired) for pair in pairs
    )


def _measured_from(shares: Shares, at: Rows) -> Change:
    return lambda ours, theirs: shares(ours, at)


def _changed_from(shares: Shares, here: Rows, there: Rows) -> Change:
    return lambda ours, theirs: shares(ours, here) - shares(theirs, there)


def _around(
    ours: Rows, theirs: Rows, change: Change, level: float, law: Law, paired: bool = True
) -> tuple[Rows, Rows]:
    found = change(ours.mean(axis=0), theirs.mean(axis=0))
    error, freedom = (paired_error if paired else unpaired_error)(ours, theirs, change)
    reach = law.reach(level, freedom) * error
    return found - reach, found + reach


def _union(intervals: Iterable[tuple[Rows, Rows]]) -> tuple[Rows, Rows]:
    lows, highs = zip(*intervals, strict=True)
    # Where so much may be subtracted that nothing is left, a share can be anything.
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def _anything(like: Rows) -> tuple[Rows, Rows]:
    return np.full_like(like, -np.inf), np.full_like(like, np.inf)


def certain(rows: Rows) -> bool:
    """Whether it is beyond doubt which band has the least mean ψ of rows (K, M)."""
    return int(_may_be_least(rows).sum()) == 1


def _may_be_least(rows: Rows) -> Rows:
    """Which bands, (M,), may have the least ψ."""
    above = rows - rows[:, [int(rows.mean(axis=0).argmin())]]
    error = above.std(axis=0, ddof=1) / np.sqrt(len(rows))
    return np.asarray(above.mean(axis=0) <= BEYOND_DOUBT * error)


def _least_bounds(rows: Rows, level: float, law: Law) -> tuple[Rows, Rows]:
    """Bounds of the least ψ, (1,) each: no band is certain to be it, so each counts."""
    low, high = _bands(rows, np.zeros_like(rows), level, law)
    return low.min(keepdims=True), high.min(keepdims=True)


def _least_moves(
    ours: Rows, theirs: Rows, level: float, law: Law, paired: bool
) -> tuple[Rows, Rows]:
    """Bounds of how far the least ψ moved, (1,) each.

    It moved at least as far as the band that is the least now, and at most as far as the one
    that was: so paired changes of few bands bound it, and no change bounds it to nothing.
    """
    low, high = _bands(ours, theirs, level, law, paired)
    return (
        low[_may_be_least(ours)].min(keepdims=True),
        high[_may_be_least(theirs)].max(keepdims=True),
    )


def _bands(
    ours: Rows, theirs: Rows, level: float, law: Law, paired: bool = True
) -> tuple[Rows, Rows]:
    return _around(ours, theirs, np.subtract, 1 - (1 - level) / ours.shape[1], law, paired)
